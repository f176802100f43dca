//! `policy`: who may reach whom.

use std::io::Read as _;

use argh::FromArgs;
use serde_json::Value;

use super::Error;
use super::client::escape;
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
    Explain(Explain),
    Test(Test),
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

/// Check a policy; without a server, all but its tests and the users it names
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
struct Check {
    /// the policy, in HuJSON; - reads standard input
    #[argh(option, short = 'f', arg_name = "file")]
    file: String,
}

/// Say which line of the policy in force allows a connection, or why none does (also: why)
#[derive(FromArgs)]
#[argh(subcommand, name = "explain")]
struct Explain {
    /// who: a node's name, or as in the policy: a user, group:, tag:, an address
    #[argh(positional, arg_name = "src")]
    source: String,
    /// to what: the same, and :PORT
    #[argh(positional, arg_name = "dst")]
    destination: String,
    /// the protocol, if it is not tcp
    #[argh(option, arg_name = "protocol", default = "String::new()")]
    proto: String,
}

/// Run the tests of the policy in force on the users and nodes there are now
#[derive(FromArgs)]
#[argh(subcommand, name = "test")]
struct Test {}

impl Policy {
    #[inline(never)]
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
                let answer = session.put("/api/v1/policy", body)?;
                warn(&answer);
                session.print(&answer, "Policy updated.")
            }
            Verb::Check(command) => {
                let text = read(&command.file)?;
                let body = object([("policy", text.as_str().into())]);
                match session.post_at_once("/api/v1/policy/check", &body) {
                    Err(Error::Unreachable { .. }) => check_alone(session, &text),
                    answer => {
                        let answer = answer?;
                        warn(&answer);
                        session.print(&answer, "Policy is valid")
                    }
                }
            }
            Verb::Explain(command) => {
                let answer = session.get(&format!(
                    "/api/v1/policy/explain?src={}&dst={}&proto={}",
                    escape(&command.source),
                    escape(&command.destination),
                    escape(&command.proto)
                ))?;
                let line = Some(text(&answer, "text")).filter(|line| !line.is_empty());
                let line = line.map(|line| format!("\n{line}")).unwrap_or_default();
                session.print_own(&answer, &format!("{}{line}", text(&answer, "reason")))
            }
            Verb::Test(_) => {
                let answer = session.post("/api/v1/policy/test", Value::Null)?;
                let count = answer.get("tests").and_then(Value::as_u64).unwrap_or_default();
                let passed = match count {
                    0 => "The policy has no tests".to_owned(),
                    1 => "The test passed".to_owned(),
                    _ => format!("All {count} tests passed"),
                };
                session.print_own(&answer, &passed)
            }
        }
    }
}

/// Checks what can be checked where no server runs.
fn check_alone(session: &Session, text: &str) -> Result<(), Error> {
    use gramscale_proto::policy::Policy;
    let read = if cfg!(feature = "yaml") { Policy::parse_any } else { Policy::parse };
    let policy = read(text).map_err(|e| Error::Local(e.to_string()))?;
    policy.without_effect().iter().for_each(|note| eprintln!("{note}"));
    let told = "Policy is valid as far as can be told without a server: its tests and the users \
                it names are not looked at";
    session.print(&object([]), told)
}

/// Says what the server has noted about a policy.
fn warn(answer: &Value) {
    let notes = answer.get("notes").and_then(Value::as_array).into_iter().flatten();
    notes.filter_map(Value::as_str).for_each(|note| eprintln!("{note}"));
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
