//! `users`: who owns nodes.

use argh::FromArgs;
use serde_json::Value;

use super::Error;
use super::client::escape;
use super::dialect::object;
use super::session::{Session, list, text, time};
use super::table::Table;

/// Users, who own nodes
#[derive(FromArgs)]
#[argh(subcommand, name = "users")]
pub(super) struct Users {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    Create(Create),
    List(List),
    Destroy(Destroy),
    Rename(Rename),
    SetRole(SetRole),
}

/// Make a user (also: c, new)
#[derive(FromArgs)]
#[argh(subcommand, name = "create")]
struct Create {
    /// name for commands and policies
    #[argh(positional)]
    name: String,
    /// name for people
    #[argh(option, short = 'd', arg_name = "text", default = "String::new()")]
    display_name: String,
    /// email address
    #[argh(option, short = 'e', arg_name = "text", default = "String::new()")]
    email: String,
    /// where a picture is
    #[argh(option, short = 'p', arg_name = "url", default = "String::new()")]
    picture_url: String,
    /// owner, admin, network-admin, it-admin, billing-admin, auditor or member
    #[argh(option, arg_name = "role", default = "String::new()")]
    role: String,
}

/// List users (also: ls, show)
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// only the user with this ID
    #[argh(option, short = 'i', arg_name = "id")]
    identifier: Option<String>,
    /// only the user with this name
    #[argh(option, short = 'n', arg_name = "name")]
    name: Option<String>,
    /// only users with this email address
    #[argh(option, short = 'e', arg_name = "text")]
    email: Option<String>,
}

/// Delete a user who owns no nodes (also: delete)
#[derive(FromArgs)]
#[argh(subcommand, name = "destroy")]
struct Destroy {
    /// the user's ID
    #[argh(option, short = 'i', arg_name = "id")]
    identifier: Option<String>,
    /// the user's name
    #[argh(option, short = 'n', arg_name = "name")]
    name: Option<String>,
}

/// Rename a user (also: mv)
#[derive(FromArgs)]
#[argh(subcommand, name = "rename")]
struct Rename {
    /// the user's ID
    #[argh(option, short = 'i', arg_name = "id")]
    identifier: Option<String>,
    /// the user's name
    #[argh(option, short = 'n', arg_name = "name")]
    name: Option<String>,
    /// the name to have
    #[argh(option, short = 'r', arg_name = "name")]
    new_name: String,
}

/// Give a user a role, which policies know as autogroup:ROLE
#[derive(FromArgs)]
#[argh(subcommand, name = "set-role")]
struct SetRole {
    /// owner, admin, network-admin, it-admin, billing-admin, auditor or member
    #[argh(positional)]
    role: String,
    /// the user's ID
    #[argh(option, short = 'i', arg_name = "id")]
    identifier: Option<String>,
    /// the user's name
    #[argh(option, short = 'n', arg_name = "name")]
    name: Option<String>,
    /// who is the owner becomes an admin
    #[argh(switch)]
    transfer: bool,
}

impl Users {
    #[inline(never)]
    pub(super) fn run(self, session: &Session) -> Result<(), Error> {
        match self.verb {
            Verb::Create(command) => create(session, command),
            Verb::List(command) => show(session, &command),
            Verb::Destroy(command) => destroy(session, &command),
            Verb::Rename(command) => rename(session, &command),
            Verb::SetRole(command) => set_role(session, &command),
        }
    }
}

fn create(session: &Session, command: Create) -> Result<(), Error> {
    let body = object([
        ("name", command.name.into()),
        ("displayName", command.display_name.into()),
        ("email", command.email.into()),
        ("pictureUrl", command.picture_url.into()),
        ("role", command.role.into()),
    ]);
    let answer = session.post("/api/v1/user", body)?;
    session.print(answer.get("user").unwrap_or(&Value::Null), "User created")
}

fn show(session: &Session, command: &List) -> Result<(), Error> {
    let filters = [("name", &command.name), ("email", &command.email), ("id", &command.identifier)];
    let chosen = filters.iter().find_map(|(key, value)| Some((key, value.as_deref()?)));
    let path = match chosen {
        Some((key, value)) => format!("/api/v1/user?{key}={}", escape(value)),
        None => "/api/v1/user".into(),
    };
    let answer = session.get(&path)?;
    let users = list(&answer, "users");
    let mut table = Table::new(&["ID", "Name", "Username", "Email", "Created", "Role"]);
    for user in users {
        let own = |key| text(user, key).to_owned();
        let created = time(user, "createdAt").map(|t| t.table()).unwrap_or_default();
        let (id, name, email) = (own("id"), own("name"), own("email"));
        table.row([id, own("displayName"), name, email, created, own("role")]);
    }
    session.print(&Value::from(users), &table.render())
}

fn destroy(session: &Session, command: &Destroy) -> Result<(), Error> {
    let user = session.user(command.identifier.as_deref(), command.name.as_deref())?;
    let (id, name) = (text(&user, "id"), text(&user, "name"));
    if !session.confirm(&format!("delete the user \"{name}\" (ID {id}) and its preauth keys"))? {
        return Ok(());
    }
    let answer = session.delete(&format!("/api/v1/user/{}", escape(id)))?;
    session.print(&answer, "User destroyed")
}

fn rename(session: &Session, command: &Rename) -> Result<(), Error> {
    let user = session.user(command.identifier.as_deref(), command.name.as_deref())?;
    let (id, name) = (escape(text(&user, "id")), escape(&command.new_name));
    let answer = session.post(&format!("/api/v1/user/{id}/rename/{name}"), Value::Null)?;
    session.print(answer.get("user").unwrap_or(&Value::Null), "User renamed")
}

fn set_role(session: &Session, command: &SetRole) -> Result<(), Error> {
    let user = session.user(command.identifier.as_deref(), command.name.as_deref())?;
    let (id, role) = (escape(text(&user, "id")), escape(&command.role));
    let body = object([("transfer", command.transfer.into())]);
    let answer = session.post(&format!("/api/v1/user/{id}/role/{role}"), body)?;
    session.print(answer.get("user").unwrap_or(&Value::Null), "Role set")
}
