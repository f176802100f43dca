//! `version`: what this program is.

use argh::FromArgs;

use super::Error;
use super::output::{self, Format};
use crate::version;

/// Print the version of this program
#[derive(FromArgs)]
#[argh(subcommand, name = "version")]
pub(super) struct Version {}

pub(super) fn run(format: Format) -> Result<(), Error> {
    let value = serde_json::from_str(&version::json()).unwrap_or_default();
    output::print(&format.render(&value, &version::text()))
}
