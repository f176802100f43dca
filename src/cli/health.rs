//! `health`: whether the server runs and its store works.

use argh::FromArgs;

use super::Error;
use super::session::{Session, flag};

/// Ask the server whether it is well; the exit status tells
#[derive(FromArgs)]
#[argh(subcommand, name = "health")]
pub(super) struct Health {}

pub(super) fn run(session: &Session) -> Result<(), Error> {
    let answer = session.get("/api/v1/health")?;
    if !flag(&answer, "databaseConnectivity") {
        return Err(Error::Broken("its store does not work; see its log".into()));
    }
    session.print(&answer, "The server is well")
}
