//! `config show` and `configtest`: what the settings are, and whether they are right.

use std::path::Path;

use argh::FromArgs;
use gramscale_proto::policy;
use gramscale_proto::wire::json;

use super::Error;
use super::dialect::object;
use super::output::{self, Format};
use crate::config::{Loaded, Origin, Problem, Request, Settings, Surroundings, Weight, load};

/// The settings
#[derive(FromArgs)]
#[argh(subcommand, name = "config")]
pub(super) struct Config {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    Show(Show),
}

/// Print every setting as the server would use it (also: dump)
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct Show {}

/// Check the configuration, and the policy if it is a file
#[derive(FromArgs)]
#[argh(subcommand, name = "configtest")]
pub(super) struct ConfigTest {}

/// Which configuration the command line names.
#[derive(Clone, Copy, Default)]
pub(super) struct Source<'a> {
    /// A YAML or JSON file.
    pub(super) file: Option<&'a str>,
    /// A UCI file.
    pub(super) uci: Option<&'a str>,
}

impl Source<'_> {
    /// Reads it, with settings that flags made over it.
    pub(super) fn load(self, flags: &[(&'static str, &'static str, &str)]) -> Loaded {
        let (file, uci) = (self.file.map(Path::new), self.uci.map(Path::new));
        load(&Request { file, uci, flags }, &Surroundings::here())
    }

    /// The settings for a command that only has to find the server: what else is wrong is the
    /// server's business.
    pub(super) fn for_client(self) -> Result<Settings, Error> {
        let Loaded { settings, problems, .. } = self.load(&[]);
        let concerns = |problem: &&Problem| {
            let ours =
                ["cli", "data_dir", "unix_socket"].iter().any(|k| problem.key.starts_with(k));
            let all = matches!(problem.origin, Origin::Line(_, 0)) && problem.key.is_empty();
            problem.weight == Weight::Error && (ours || all)
        };
        match problems.0.iter().find(concerns) {
            Some(problem) => Err(Error::Local(problem.to_string())),
            None => Ok(settings),
        }
    }
}

impl Config {
    #[inline(never)]
    pub(super) fn run(self, source: Source<'_>, format: Format) -> Result<(), Error> {
        let Verb::Show(_) = self.verb;
        let loaded = source.load(&[]);
        let value = json::read(loaded.settings.to_json().as_bytes()).unwrap_or_default();
        let problems = loaded.problems.to_string();
        if !problems.is_empty() {
            eprintln!("{problems}");
        }
        let format = if format == Format::Human { Format::Yaml } else { format };
        output::print(&format.render(&value, ""))
    }
}

/// Reads the configuration and says what is wrong with it.
pub(super) fn test(source: Source<'_>, format: Format) -> Result<(), Error> {
    let loaded = source.load(&[]);
    let mut texts: Vec<String> = loaded.problems.0.iter().map(Problem::to_string).collect();
    let mut good = loaded.problems.0.iter().all(|problem| problem.weight == Weight::Warning);
    if let Some(wrong) = wrong_policy(&loaded.settings) {
        texts.push(wrong);
        good = false;
    }
    let texts = texts.join("\n");
    if !good {
        return Err(Error::Local(texts));
    }
    if !texts.is_empty() {
        eprintln!("{texts}");
    }
    let named = loaded.file.map_or_else(
        || "There is no configuration file; the defaults are good".to_owned(),
        |file| format!("{} is good", file.display()),
    );
    output::print(&format.render(&object([("result", named.as_str().into())]), &named))
}

/// What is wrong with the policy's file, if there is one.
fn wrong_policy(settings: &Settings) -> Option<String> {
    let path = settings.policy.path.as_ref().filter(|_| !settings.policy.in_database)?;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => return Some(format!("{}: can't read it: {e}", path.display())),
    };
    let wrong = policy::Policy::parse(&text).err()?;
    Some(format!("{}: {wrong}", path.display()))
}
