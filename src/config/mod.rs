//! The settings: embedded defaults, over them a file (headscale's YAML or JSON, or UCI), over that
//! the environment, over that the command line.
//!
//! One table of keys drives it all; `docs/configuration.md` is made from it.

mod check;
mod key;
mod layer;
mod problem;
mod settings;
mod slot;
mod table;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gramscale_proto::wire::json::Json;

pub use problem::{Origin, Problem, Problems, Weight};
pub(crate) use settings::url_parts;
pub use settings::{
    Client, DATABASE, Database, Derp, Foreign, LogFormat, Nat, Policy, Router, Settings,
};
pub use table::table;

use key::KEYS;
use layer::Layers;
use slot::Slot;

/// Bytes of a configuration file at most.
const FILE_MAX: u64 = 1 << 20;

/// What the command line says about settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// A YAML or JSON file (`-c`).
    pub file: Option<&'a Path>,
    /// A UCI file (`--uci`).
    pub uci: Option<&'a Path>,
    /// Settings by their names in YAML, each with the flag that made it.
    pub flags: &'a [(&'static str, &'static str, &'a str)],
}

/// What the process finds around it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// Whether it runs as root.
    pub root: bool,
    /// Where it was started.
    pub folder: PathBuf,
}

/// Settings, and where they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings. Where [`Problems::is_fatal`], some of them are not what was asked for.
    pub settings: Settings,
    /// What is wrong.
    pub problems: Problems,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn here() -> Self {
        let text = |text: std::ffi::OsString| text.into_string().ok();
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
            .collect();
        let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        Self { variables, root, folder: std::env::current_dir().unwrap_or_default() }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Where the state lies unless something says otherwise.
    fn data_dir(&self) -> PathBuf {
        match (self.variable("XDG_DATA_HOME"), self.variable("HOME")) {
            (Some(data), _) => Path::new(data).join("gramscale"),
            (None, Some(home)) => Path::new(home).join(".local/share/gramscale"),
            // As services are started.
            (None, None) if self.root => "/var/lib/gramscale".into(),
            (None, None) => self.folder.join("gramscale"),
        }
    }

    /// The file to be read: as asked for, else the first that is there.
    fn file(&self, request: &Request<'_>) -> Option<(PathBuf, bool)> {
        let uci = request.uci.map(|path| (self.folder.join(path), true));
        let file = request.file.map(|path| (self.folder.join(path), false));
        let named = ["GRAMSCALE_CONFIG", "HEADSCALE_CONFIG"]
            .iter()
            .find_map(|name| self.variable(name))
            .map(|path| (self.folder.join(path), false));
        uci.or(file).or(named).or_else(|| self.search())
    }

    fn search(&self) -> Option<(PathBuf, bool)> {
        let uci = PathBuf::from("/etc/config/gramscale");
        if uci.is_file() {
            return Some((uci, true));
        }
        let home = self.variable("HOME").map(Path::new);
        let folders = [
            Some(PathBuf::from("/etc/gramscale")),
            home.map(|home| home.join(".gramscale")),
            Some(PathBuf::from("/etc/headscale")),
            home.map(|home| home.join(".headscale")),
            Some(self.folder.clone()),
        ];
        let files = folders.into_iter().flatten().flat_map(|folder| {
            ["config.yaml", "config.yml", "config.json"].map(|name| folder.join(name))
        });
        files.into_iter().find(|file| file.is_file()).map(|file| (file, false))
    }
}

/// Reads all sources.
pub fn load(request: &Request<'_>, around: &Surroundings) -> Loaded {
    let mut layers = Layers::new(Settings::new(&around.data_dir()));
    let file = around.file(request);
    let mut base = around.folder.clone();
    if let Some((path, is_uci)) = &file {
        base = path.parent().map(Path::to_owned).unwrap_or(base);
        let name = Rc::new(path.clone());
        match read(path) {
            Ok(text) => lay_file(&mut layers, &text, *is_uci, &name),
            Err(error) => {
                let text = format!("can't read it: {error}");
                layers.problems.add(Weight::Error, &Origin::Line(name, 0), "", text);
            }
        }
    }
    layers.environment(&around.variables, &base);
    for (name, flag, value) in request.flags {
        layers.flag(name, flag, value, &around.folder);
    }
    check::check(&mut layers);
    Loaded {
        settings: layers.settings,
        problems: layers.problems,
        file: file.map(|(path, _)| path),
    }
}

fn lay_file(layers: &mut Layers, text: &str, is_uci: bool, file: &Rc<PathBuf>) {
    let wrong = if is_uci {
        // It is a router. Routers boot in 1970; elsewhere, a server that nothing synchronises
        // would never let a key expire.
        layers.settings.trust_clock = false;
        layers.settings.nat.enabled = true;
        layers.settings.log_format = LogFormat::Syslog;
        match layer::read_uci(text) {
            Ok(sections) => return layers.uci(&sections, file),
            Err(wrong) => wrong,
        }
    } else {
        #[cfg(feature = "yaml")]
        match gramscale_proto::wire::yaml::parse(text) {
            Ok(document) => return layers.yaml(&document, file),
            Err(error) => (error.line, error.to_string()),
        }
        #[cfg(not(feature = "yaml"))]
        (0, "this build reads UCI files only; name one with --uci".to_owned())
    };
    layers.problems.add(Weight::Error, &Origin::Line(Rc::clone(file), wrong.0), "", wrong.1);
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let size = File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if size as u64 > FILE_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

impl Settings {
    /// All settings by their names in YAML, as JSON; secrets are hidden.
    pub fn to_json(&self) -> String {
        let mut settings = self.clone();
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        let mut open: Vec<&str> = Vec::new();
        json.open('{');
        // The keys of a group stand together in the table.
        for key in KEYS {
            if key.name.is_empty() || matches!(key.slot, Slot::Unused(_)) {
                continue;
            }
            let (group, last) = key.name.rsplit_once('.').unwrap_or(("", key.name));
            let groups = || group.split('.').filter(|part| !part.is_empty());
            let same = open.iter().zip(groups()).take_while(|(a, b)| *a == b).count();
            open.drain(same..).for_each(|_| _ = json.close('}'));
            for part in groups().skip(same) {
                json.key(part).open('{');
                open.push(part);
            }
            json.key(last);
            key.slot.show(&mut settings, &mut json);
        }
        open.iter().for_each(|_| _ = json.close('}'));
        json.close('}');
        String::from_utf8(out).unwrap_or_default()
    }
}

/// A YAML document, such as a map of relays, as JSON.
///
/// # Errors
///
/// It is no YAML, or has what is not read here; the text names the line.
#[cfg(feature = "yaml")]
pub fn yaml_to_json(text: &str) -> Result<String, String> {
    match gramscale_proto::wire::yaml::parse(text) {
        Ok(node) => Ok(node.to_json()),
        Err(error) => Err(format!("line {}: {error}", error.line)),
    }
}
