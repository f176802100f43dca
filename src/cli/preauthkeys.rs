//! `preauthkeys`: keys with which machines come in without being asked.

use argh::FromArgs;
use serde_json::Value;

use super::Error;
use super::client::escape;
use super::dialect::object;
use super::session::{Session, flag, lines, list, split, text, time};
use super::table::{Table, words};

/// Preauth keys, with which machines join unattended
#[derive(FromArgs)]
#[argh(subcommand, name = "preauthkeys")]
pub(super) struct PreAuthKeys {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    Create(Create),
    List(List),
    Expire(Expire),
    Delete(Delete),
}

/// Make a key (also: c, new)
#[derive(FromArgs)]
#[argh(subcommand, name = "create")]
struct Create {
    /// whose nodes it makes (ID or name); needed unless there are tags
    #[argh(option, short = 'u', arg_name = "user")]
    user: Option<String>,
    /// may be used more than once
    #[argh(switch)]
    reusable: bool,
    /// its nodes are deleted when they have been gone for a while
    #[argh(switch)]
    ephemeral: bool,
    /// its nodes need no approval, where nodes do
    #[argh(switch)]
    preapproved: bool,
    /// how long it can be used, such as 30m, 24h or 90d (default: 1h)
    #[argh(option, short = 'e', arg_name = "time", default = "String::from(\"1h\")")]
    expiration: String,
    /// tags of its nodes, such as tag:server; several times or with commas
    #[argh(option, arg_name = "tags")]
    tags: Vec<String>,
}

/// List keys (also: ls, show)
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// only keys of this user (ID or name)
    #[argh(option, short = 'u', arg_name = "user")]
    user: Option<String>,
}

/// End a key's use, and keep it in the list (also: revoke, exp, e)
#[derive(FromArgs)]
#[argh(subcommand, name = "expire")]
struct Expire {
    /// the key's ID
    #[argh(option, short = 'i', arg_name = "id")]
    id: String,
}

/// Delete a key (also: del, rm, d)
#[derive(FromArgs)]
#[argh(subcommand, name = "delete")]
struct Delete {
    /// the key's ID
    #[argh(option, short = 'i', arg_name = "id")]
    id: String,
}

impl PreAuthKeys {
    #[inline(never)]
    pub(super) fn run(self, session: &Session) -> Result<(), Error> {
        match self.verb {
            Verb::Create(command) => create(session, &command),
            Verb::List(command) => show(session, &command),
            Verb::Expire(command) => {
                let body = object([("id", command.id.into())]);
                session.print(&session.post("/api/v1/preauthkey/expire", body)?, "Key expired")
            }
            Verb::Delete(command) => {
                let path = format!("/api/v1/preauthkey?id={}", escape(&command.id));
                session.print(&session.delete(&path)?, "Key deleted")
            }
        }
    }
}

fn create(session: &Session, command: &Create) -> Result<(), Error> {
    let user = match command.user.as_deref() {
        Some("0") | None => Value::Null,
        Some(user) => text(&session.user(Some(user), None)?, "id").into(),
    };
    let mut body = object([
        ("reusable", command.reusable.into()),
        ("ephemeral", command.ephemeral.into()),
        ("preapproved", command.preapproved.into()),
        ("expiration", session.expiration(&command.expiration)?),
        ("aclTags", split(&command.tags)),
    ]);
    if let (Value::Object(members), false) = (&mut body, user.is_null()) {
        members.insert("user".into(), user);
    }
    let answer = session.post("/api/v1/preauthkey", body)?;
    let key = answer.get("preAuthKey").unwrap_or(&Value::Null);
    session.print(key, text(key, "key"))
}

fn show(session: &Session, command: &List) -> Result<(), Error> {
    let answer = session.get("/api/v1/preauthkey")?;
    let owner = match &command.user {
        Some(user) => Some(session.user(Some(user), None)?),
        None => None,
    };
    let owned = |key: &&Value| {
        let user = key.get("user").unwrap_or(&Value::Null);
        owner.as_ref().is_none_or(|owner| text(user, "id") == text(owner, "id"))
    };
    let keys: Vec<Value> = list(&answer, "preAuthKeys").iter().filter(owned).cloned().collect();
    let mut table = Table::new(&[
        "ID",
        "Key/Prefix",
        "Reusable",
        "Ephemeral",
        "Used",
        "Expiration",
        "Created",
        "Owner",
    ]);
    for key in &keys {
        let tags = lines(key, "aclTags");
        let user = text(key.get("user").unwrap_or(&Value::Null), "name");
        let owner = if !tags.is_empty() { tags } else { user.to_owned() };
        table.row([
            text(key, "id").to_owned(),
            text(key, "key").to_owned(),
            flag(key, "reusable").to_string(),
            flag(key, "ephemeral").to_string(),
            flag(key, "used").to_string(),
            time(key, "expiration").map_or_else(|| "-".into(), |at| words(at, session.now)),
            time(key, "createdAt").map(|t| t.table()).unwrap_or_default(),
            if owner.is_empty() { "-".into() } else { owner },
        ]);
    }
    session.print(&Value::from(keys), &table.render())
}
