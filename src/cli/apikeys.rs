//! `apikeys`: keys for the REST interface.

use argh::FromArgs;
use serde_json::Value;

use super::Error;
use super::client::escape;
use super::dialect::object;
use super::session::{Session, list, text, time};
use super::table::{Table, words};

/// API keys, for the REST interface
#[derive(FromArgs)]
#[argh(subcommand, name = "apikeys")]
pub(super) struct ApiKeys {
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

/// Make a key; it is shown this once (also: c, new)
#[derive(FromArgs)]
#[argh(subcommand, name = "create")]
struct Create {
    /// how long it can be used, such as 24h, 90d or 1y (default: 90d)
    #[argh(option, short = 'e', arg_name = "time", default = "String::from(\"90d\")")]
    expiration: String,
}

/// List keys (also: ls, show)
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {}

/// End a key's use, and keep it in the list (also: revoke, exp, e)
#[derive(FromArgs)]
#[argh(subcommand, name = "expire")]
struct Expire {
    /// the key's prefix
    #[argh(option, short = 'p', arg_name = "prefix")]
    prefix: Option<String>,
    /// the key's ID
    #[argh(option, short = 'i', arg_name = "id")]
    id: Option<String>,
}

/// Delete a key (also: remove, del)
#[derive(FromArgs)]
#[argh(subcommand, name = "delete")]
struct Delete {
    /// the key's prefix
    #[argh(option, short = 'p', arg_name = "prefix")]
    prefix: Option<String>,
    /// the key's ID
    #[argh(option, short = 'i', arg_name = "id")]
    id: Option<String>,
}

impl ApiKeys {
    #[inline(never)]
    pub(super) fn run(self, session: &Session) -> Result<(), Error> {
        match self.verb {
            Verb::Create(command) => create(session, &command),
            Verb::List(_) => show(session),
            Verb::Expire(command) => {
                let (name, value) = chosen(command.prefix, command.id)?;
                let body = object([(name, value.into())]);
                session.print(&session.post("/api/v1/apikey/expire", body)?, "Key expired")
            }
            Verb::Delete(command) => {
                let path = match chosen(command.prefix, command.id)? {
                    ("id", id) => format!("/api/v1/apikey/-?id={}", escape(&id)),
                    (_, prefix) => format!("/api/v1/apikey/{}", escape(&prefix)),
                };
                session.print(&session.delete(&path)?, "Key deleted")
            }
        }
    }
}

/// The one way in which a key is named. A prefix may be given as the listing shows it.
fn chosen(prefix: Option<String>, id: Option<String>) -> Result<(&'static str, String), Error> {
    match (prefix, id) {
        (Some(prefix), None) => {
            let bare = prefix.strip_prefix("hskey-api-").unwrap_or(&prefix);
            Ok(("prefix", bare.strip_suffix("-***").unwrap_or(bare).to_owned()))
        }
        (None, Some(id)) => Ok(("id", id)),
        _ => Err(Error::Usage("name the key with --prefix or --id, and one of them only".into())),
    }
}

fn create(session: &Session, command: &Create) -> Result<(), Error> {
    let body = object([("expiration", session.expiration(&command.expiration)?)]);
    let answer = session.post("/api/v1/apikey", body)?;
    session.print(answer.get("apiKey").unwrap_or(&Value::Null), text(&answer, "apiKey"))
}

fn show(session: &Session) -> Result<(), Error> {
    let answer = session.get("/api/v1/apikey")?;
    let keys = list(&answer, "apiKeys");
    let mut table = Table::new(&["ID", "Prefix", "Expiration", "Created"]);
    for key in keys {
        table.row([
            text(key, "id").to_owned(),
            text(key, "prefix").to_owned(),
            time(key, "expiration").map_or_else(|| "-".into(), |at| words(at, session.now)),
            time(key, "createdAt").map(|t| t.table()).unwrap_or_default(),
        ]);
    }
    session.print(&Value::from(keys), &table.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name() {
        let prefix = |text: &str| chosen(Some(text.into()), None);
        assert_eq!(prefix("abc"), Ok(("prefix", "abc".into())));
        assert_eq!(prefix("hskey-api-abc-***"), Ok(("prefix", "abc".into())));
        assert_eq!(chosen(None, Some("7".into())), Ok(("id", "7".into())));
        assert!(chosen(None, None).is_err());
        assert!(chosen(Some("a".into()), Some("7".into())).is_err());
    }
}
