//! `auth`: machines and sessions that wait for an administrator.

use argh::FromArgs;

use super::Error;
use super::dialect::object;
use super::nodes::registered;
use super::session::Session;

/// Requests that wait for an administrator
#[derive(FromArgs)]
#[argh(subcommand, name = "auth")]
pub(super) struct Auth {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    Register(Register),
    Approve(Approve),
    Reject(Reject),
}

/// Let a waiting machine in
#[derive(FromArgs)]
#[argh(subcommand, name = "register")]
struct Register {
    /// what the page that the client opened shows
    #[argh(option, arg_name = "id")]
    auth_id: String,
    /// the user to own the node
    #[argh(option, short = 'u', arg_name = "user")]
    user: String,
}

/// Say yes to a request
#[derive(FromArgs)]
#[argh(subcommand, name = "approve")]
struct Approve {
    /// what the page that the client opened shows
    #[argh(option, arg_name = "id")]
    auth_id: String,
}

/// Say no to a request
#[derive(FromArgs)]
#[argh(subcommand, name = "reject")]
struct Reject {
    /// what the page that the client opened shows
    #[argh(option, arg_name = "id")]
    auth_id: String,
}

impl Auth {
    #[inline(never)]
    pub(super) fn run(self, session: &Session) -> Result<(), Error> {
        match self.verb {
            Verb::Register(command) => {
                let body =
                    object([("authId", command.auth_id.into()), ("user", command.user.into())]);
                registered(session, &session.post("/api/v1/auth/register", body)?)
            }
            Verb::Approve(command) => answer(session, "approve", command.auth_id, "approved"),
            Verb::Reject(command) => answer(session, "reject", command.auth_id, "rejected"),
        }
    }
}

fn answer(session: &Session, verb: &str, id: String, done: &str) -> Result<(), Error> {
    let body = object([("authId", id.into())]);
    let answer = session.post(&format!("/api/v1/auth/{verb}"), body)?;
    session.print(&answer, &format!("Auth request {done}"))
}
