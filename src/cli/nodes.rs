//! `nodes`: the machines of the tailnet.

use argh::FromArgs;
use gramscale_proto::wire::key::{MachineKey, NodeKey};
use serde_json::Value;

use super::Error;
use super::client::escape;
use super::dialect::object;
use super::session::{Session, flag, is_number, lines, list, split, text, time};
use super::table::{Table, words};

/// Nodes, the machines of the tailnet
#[derive(FromArgs)]
#[argh(subcommand, name = "nodes")]
pub(super) struct Nodes {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    List(List),
    ListRoutes(ListRoutes),
    Register(Register),
    Expire(Expire),
    Rename(Rename),
    Delete(Delete),
    Tag(Tag),
    Approve(Approve),
    ApproveRoutes(ApproveRoutes),
    BackfillIps(BackfillIps),
}

/// List nodes (also: ls, show)
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// only nodes of this user
    #[argh(option, short = 'u', arg_name = "user")]
    user: Option<String>,
}

/// List nodes that offer routes, and which are approved and used (also: lsr, routes)
#[derive(FromArgs)]
#[argh(subcommand, name = "list-routes")]
struct ListRoutes {
    /// only this node (ID or name)
    #[argh(option, short = 'i', arg_name = "id")]
    identifier: Option<String>,
}

/// Let a waiting machine in; `auth register` is the new name
#[derive(FromArgs)]
#[argh(subcommand, name = "register")]
struct Register {
    /// the user to own the node
    #[argh(option, short = 'u', arg_name = "user")]
    user: String,
    /// the key that the client shows
    #[argh(option, short = 'k', arg_name = "key")]
    key: String,
}

/// End a node's login, now or later (also: logout, exp, e)
#[derive(FromArgs)]
#[argh(subcommand, name = "expire")]
struct Expire {
    /// the node's ID or name
    #[argh(option, short = 'i', arg_name = "id")]
    identifier: String,
    /// when, as 2030-01-31T15:04:05Z; now if not given
    #[argh(option, short = 'e', arg_name = "time")]
    expiry: Option<String>,
    /// let the login never end
    #[argh(switch, short = 'd')]
    disable: bool,
}

/// Give a node another name
#[derive(FromArgs)]
#[argh(subcommand, name = "rename")]
struct Rename {
    /// the name to have
    #[argh(positional)]
    new_name: String,
    /// the node's ID or name
    #[argh(option, short = 'i', arg_name = "id")]
    identifier: String,
}

/// Delete a node (also: del)
#[derive(FromArgs)]
#[argh(subcommand, name = "delete")]
struct Delete {
    /// the node's ID or name
    #[argh(option, short = 'i', arg_name = "id")]
    identifier: String,
}

/// Set the tags of a node (also: tags, t)
#[derive(FromArgs)]
#[argh(subcommand, name = "tag")]
struct Tag {
    /// the node's ID or name
    #[argh(option, short = 'i', arg_name = "id")]
    identifier: String,
    /// tags, such as tag:server; several times or with commas
    #[argh(option, short = 't', arg_name = "tags")]
    tags: Vec<String>,
}

/// Let a node in that waits for it
#[derive(FromArgs)]
#[argh(subcommand, name = "approve")]
struct Approve {
    /// the node's ID or name
    #[argh(option, short = 'i', arg_name = "id")]
    identifier: String,
}

/// Set which routes of a node are used
#[derive(FromArgs)]
#[argh(subcommand, name = "approve-routes")]
struct ApproveRoutes {
    /// the node's ID or name
    #[argh(option, short = 'i', arg_name = "id")]
    identifier: String,
    /// prefixes, with commas; an empty text approves none
    #[argh(option, short = 'r', arg_name = "routes")]
    routes: Vec<String>,
}

/// Give and take addresses after the prefixes were changed
#[derive(FromArgs)]
#[argh(subcommand, name = "backfillips")]
struct BackfillIps {}

impl Nodes {
    #[inline(never)]
    pub(super) fn run(self, session: &Session) -> Result<(), Error> {
        match self.verb {
            Verb::List(command) => show(session, &command),
            Verb::ListRoutes(command) => show_routes(session, &command),
            Verb::Register(command) => register(session, &command.user, &command.key),
            Verb::Expire(command) => expire(session, command),
            Verb::Rename(command) => {
                let name = escape(&command.new_name);
                act(session, &command.identifier, &format!("rename/{name}"), Value::Null, "renamed")
            }
            Verb::Delete(command) => delete(session, &command),
            Verb::Tag(command) => {
                let body = object([("tags", split(&command.tags))]);
                act(session, &command.identifier, "tags", body, "updated")
            }
            Verb::Approve(command) => {
                act(session, &command.identifier, "approve", Value::Null, "approved")
            }
            Verb::ApproveRoutes(command) => approve_routes(session, &command),
            Verb::BackfillIps(_) => backfill(session),
        }
    }
}

fn show(session: &Session, command: &List) -> Result<(), Error> {
    let user = match &command.user {
        Some(user) => format!("?user={}", escape(text(&session.user(Some(user), None)?, "name"))),
        None => String::new(),
    };
    let answer = session.get(&format!("/api/v1/node{user}"))?;
    let nodes = list(&answer, "nodes");
    let mut table = Table::new(&[
        "ID",
        "Hostname",
        "Name",
        "MachineKey",
        "NodeKey",
        "User",
        "Tags",
        "IP addresses",
        "Ephemeral",
        "Last seen",
        "Expiration",
        "Connected",
        "Expired",
    ]);
    for node in nodes {
        let own = |key| text(node, key).to_owned();
        let key = node.get("preAuthKey").unwrap_or(&Value::Null);
        let expiry = time(node, "expiry");
        let seen = match time(node, "lastSeen") {
            _ if flag(node, "online") => "now".into(),
            Some(seen) => words(seen, session.now),
            None => String::new(),
        };
        let expired = expiry.is_some_and(|at| at <= session.now);
        table.row([
            own("id"),
            own("name"),
            own("givenName"),
            own("machineKey").parse::<MachineKey>().map(|k| k.short()).unwrap_or_default(),
            own("nodeKey").parse::<NodeKey>().map(|k| k.short()).unwrap_or_default(),
            text(node.get("user").unwrap_or(&Value::Null), "name").to_owned(),
            lines(node, "tags"),
            lines(node, "ipAddresses"),
            flag(key, "ephemeral").to_string(),
            seen,
            expiry.map_or_else(|| "N/A".into(), |at| words(at, session.now)),
            match flag(node, "online") {
                _ if node.get("approved") == Some(&Value::Bool(false)) => "waits for approval",
                true => "online",
                false => "offline",
            }
            .into(),
            if expired { "yes" } else { "no" }.into(),
        ]);
    }
    session.print(&Value::from(nodes), &table.render())
}

fn show_routes(session: &Session, command: &ListRoutes) -> Result<(), Error> {
    let answer = session.get("/api/v1/node")?;
    let wanted = |node: &&Value| {
        let chosen = command.identifier.as_deref().is_none_or(|name| is_named(node, name));
        let routes = ["approvedRoutes", "availableRoutes", "subnetRoutes"];
        chosen && routes.iter().any(|key| !list(node, key).is_empty())
    };
    let nodes: Vec<Value> = list(&answer, "nodes").iter().filter(wanted).cloned().collect();
    let mut table = Table::new(&["ID", "Hostname", "Approved", "Available", "Serving (Primary)"]);
    for node in &nodes {
        table.row([
            text(node, "id").to_owned(),
            text(node, "givenName").to_owned(),
            lines(node, "approvedRoutes"),
            lines(node, "availableRoutes"),
            lines(node, "subnetRoutes"),
        ]);
    }
    session.print(&Value::from(nodes), &table.render())
}

fn register(session: &Session, user: &str, key: &str) -> Result<(), Error> {
    let path = format!("/api/v1/node/register?user={}&key={}", escape(user), escape(key));
    let answer = session.post(&path, Value::Null)?;
    registered(session, &answer)
}

/// Prints the node of an answer that let one in.
pub(super) fn registered(session: &Session, answer: &Value) -> Result<(), Error> {
    let node = answer.get("node").unwrap_or(&Value::Null);
    session.print(node, &format!("Node {} registered", text(node, "givenName")))
}

fn expire(session: &Session, command: Expire) -> Result<(), Error> {
    let (body, done) = match (command.expiry, command.disable) {
        (Some(_), true) => {
            return Err(Error::Usage("give --expiry or --disable, not both".into()));
        }
        (Some(at), false) => (object([("expiry", at.into())]), "expiration updated"),
        (None, true) => (object([("disableExpiry", true.into())]), "expiry disabled"),
        (None, false) => (Value::Null, "expired"),
    };
    act(session, &command.identifier, "expire", body, done)
}

fn delete(session: &Session, command: &Delete) -> Result<(), Error> {
    let id = find(session, &command.identifier)?;
    let answer = session.get(&format!("/api/v1/node/{id}"))?;
    let name = text(answer.get("node").unwrap_or(&Value::Null), "givenName");
    if !session.confirm(&format!("delete the node \"{name}\" (ID {id})"))? {
        return Ok(());
    }
    session.delete(&format!("/api/v1/node/{id}"))?;
    session.print(&object([("Result", "Node deleted".into())]), "Node deleted")
}

fn approve_routes(session: &Session, command: &ApproveRoutes) -> Result<(), Error> {
    if command.routes.is_empty() {
        return Err(Error::Usage(
            "say which routes with --routes; an empty text (--routes '') approves none".into(),
        ));
    }
    let body = object([("routes", split(&command.routes))]);
    act(session, &command.identifier, "approve_routes", body, "updated")
}

fn backfill(session: &Session) -> Result<(), Error> {
    if !session.confirm("give nodes the addresses that they lack, and take those outside")? {
        return Ok(());
    }
    let answer = session.post("/api/v1/node/backfillips?confirmed=true", Value::Null)?;
    let changes = lines(&answer, "changes");
    let human = if changes.is_empty() { "Nothing was to change".into() } else { changes };
    session.print(&answer, &human)
}

/// Calls an action of a node and prints the node, or "Node" and what was done to it.
fn act(session: &Session, node: &str, action: &str, body: Value, done: &str) -> Result<(), Error> {
    let id = find(session, node)?;
    let answer = session.post(&format!("/api/v1/node/{id}/{action}"), body)?;
    session.print(answer.get("node").unwrap_or(&Value::Null), &format!("Node {done}"))
}

/// The ID of a node that is named by it or by its name.
fn find(session: &Session, node: &str) -> Result<String, Error> {
    if is_number(node) {
        return Ok(node.to_owned());
    }
    let answer = session.get("/api/v1/node")?;
    let found = list(&answer, "nodes").iter().find(|n| is_named(n, node));
    match found {
        Some(found) => Ok(text(found, "id").to_owned()),
        None => Err(Error::Usage(format!(
            "there is no node with the name \"{node}\"; `nodes list` shows all"
        ))),
    }
}

fn is_named(node: &Value, name: &str) -> bool {
    let key = if is_number(name) { "id" } else { "givenName" };
    text(node, key) == name
}
