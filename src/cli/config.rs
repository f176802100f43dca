//! `config show` and `configtest`: what the settings are, and whether they are right.

use argh::FromArgs;

use super::Error;
use super::output::Format;

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

/// Check the configuration
#[derive(FromArgs)]
#[argh(subcommand, name = "configtest")]
pub(super) struct ConfigTest {}

impl Config {
    pub(super) fn run(self, config: Option<&str>, format: Format) -> Result<(), Error> {
        let Verb::Show(_) = self.verb;
        test(config, format)
    }
}

/// Reads the configuration and says what is wrong with it.
pub(super) fn test(_config: Option<&str>, _format: Format) -> Result<(), Error> {
    Err(Error::Local("the configuration is not part of this build".into()))
}
