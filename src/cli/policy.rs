//! `policy`: who may reach whom.

use std::io::Read as _;

use argh::FromArgs;

use super::Error;
use super::dialect::object;
use super::output;
use super::session::{Session, text};

/// The policy: who may reach whom
#[derive(FromArgs)]
#[argh(subcommand, name = "policy")]
pub(super) struct Policy {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    Get(Get),
    Set(Set),
    Check(Check),
}

/// Print the policy in force (also: show, view, fetch)
#[derive(FromArgs)]
#[argh(subcommand, name = "get")]
struct Get {}

/// Check a policy, and put it in force (also: put, update)
#[derive(FromArgs)]
#[argh(subcommand, name = "set")]
struct Set {
    /// the policy, in HuJSON; - reads standard input
    #[argh(option, short = 'f', arg_name = "file")]
    file: String,
}

/// Check a policy
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
struct Check {
    /// the policy, in HuJSON; - reads standard input
    #[argh(option, short = 'f', arg_name = "file")]
    file: String,
}

impl Policy {
    pub(super) fn run(self, session: &Session) -> Result<(), Error> {
        match self.verb {
            Verb::Get(_) => {
                let answer = session.get("/api/v1/policy")?;
                let policy = text(&answer, "policy");
                output::print(policy)?;
                output::print(if policy.ends_with('\n') { "" } else { "\n" })
            }
            Verb::Set(command) => {
                let body = object([("policy", read(&command.file)?.into())]);
                session.print(&session.put("/api/v1/policy", body)?, "Policy updated.")
            }
            Verb::Check(command) => {
                let body = object([("policy", read(&command.file)?.into())]);
                session.print(&session.post("/api/v1/policy/check", body)?, "Policy is valid")
            }
        }
    }
}

fn read(path: &str) -> Result<String, Error> {
    let mut text = String::new();
    let read = if path == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(e) => Err(Error::Local(format!("cannot read the policy from {path}: {e}"))),
    }
}
