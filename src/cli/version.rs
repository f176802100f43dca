//! `version`: what this program is.

use argh::FromArgs;
use gramscale_proto::wire::json;

use super::Error;
use super::output::{self, Format};
use crate::version;

/// Print the version of this program
#[derive(FromArgs)]
#[argh(subcommand, name = "version")]
pub(super) struct Version {}

pub(super) fn run(format: Format) -> Result<(), Error> {
    let value = json::read(version::json().as_bytes()).unwrap_or_default();
    output::print(&format.render(&value, &version::text()))
}
