//! What every command that speaks to the server needs: the connection, the form of its output,
//! and whether to ask first.

use std::io::{IsTerminal as _, Write as _};

use gramscale_proto::wire::time::{Timestamp, parse_duration};
use serde_json::Value;

use super::Error;
use super::client::{Client, Target, escape};
use super::config::Source;
use super::dialect::released;
use super::output::{self, Format};
use crate::config::Settings;

/// One run of a command against the server.
pub(super) struct Session {
    client: Client,
    format: Format,
    force: bool,
    /// When the command began.
    pub(super) now: Timestamp,
}

impl Session {
    /// Finds out where the server is; connects only when something is called.
    pub(super) fn open(source: Source<'_>, format: Format, force: bool) -> Result<Self, Error> {
        let settings = source.for_client()?;
        let client = Client::new(target(&settings)?, settings.client.timeout);
        let now = Timestamp(gramscale_rt::clock::unix_nanos());
        Ok(Self { client, format, force, now })
    }

    /// `GET`.
    pub(super) fn get(&self, path: &str) -> Result<Value, Error> {
        self.client.call("GET", path, None)
    }

    /// `POST`, without a body if `body` is null.
    pub(super) fn post(&self, path: &str, body: Value) -> Result<Value, Error> {
        self.client.call("POST", path, (!body.is_null()).then_some(&body))
    }

    /// `POST`, if there is a server.
    pub(super) fn post_at_once(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.client.at_once().call("POST", path, Some(body))
    }

    /// `PUT`.
    pub(super) fn put(&self, path: &str, body: Value) -> Result<Value, Error> {
        self.client.call("PUT", path, Some(&body))
    }

    /// `DELETE`.
    pub(super) fn delete(&self, path: &str) -> Result<Value, Error> {
        self.client.call("DELETE", path, None)
    }

    /// Prints what REST answered, or `human` for people.
    pub(super) fn print(&self, value: &Value, human: &str) -> Result<(), Error> {
        output::print(&self.format.render(&released(value), human))
    }

    /// The same for what headscale has not, which is printed as it is.
    pub(super) fn print_own(&self, value: &Value, human: &str) -> Result<(), Error> {
        output::print(&self.format.render(value, human))
    }

    /// Asks whether to go on, unless `--force` was given. `what` completes "This will ...".
    pub(super) fn confirm(&self, what: &str) -> Result<bool, Error> {
        if self.force {
            return Ok(true);
        }
        if !std::io::stdin().is_terminal() {
            return Err(Error::Usage(format!(
                "this would {what}, and there is no terminal to ask; add --force to do it"
            )));
        }
        let mut answer = String::new();
        let mut asked = std::io::stderr();
        let read = write!(asked, "This will {what}. Go on? [y/N] ")
            .and_then(|()| asked.flush())
            .and_then(|()| std::io::stdin().read_line(&mut answer));
        read.map_err(|e| Error::Local(format!("cannot ask whether to {what}: {e}; add --force")))?;
        let yes = matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES");
        if !yes {
            output::print("Nothing was changed\n")?;
        }
        Ok(yes)
    }

    /// When something that lives for `length` from now ends, as REST wants it.
    pub(super) fn expiration(&self, length: &str) -> Result<Value, Error> {
        let length = parse_duration(length)
            .map_err(|e| Error::Usage(format!("\"{length}\" can't be used as expiration: {e}")))?;
        Ok(self.now.after(length).to_string().into())
    }

    /// The one user with this number, name or email address.
    pub(super) fn user(&self, id: Option<&str>, name: Option<&str>) -> Result<Value, Error> {
        let (query, text) = match (id, name) {
            (Some(id), _) if is_number(id) => ("id", id),
            (Some(name), _) | (None, Some(name)) => ("name", name),
            (None, None) => {
                return Err(Error::Usage("name the user with --name or --identifier".into()));
            }
        };
        let answer = self.get(&format!("/api/v1/user?{query}={}", escape(text)))?;
        match list(&answer, "users") {
            [user] => Ok(user.clone()),
            [] => Err(Error::Usage(format!(
                "there is no user with the {query} \"{text}\"; `users list` shows all"
            ))),
            _ => Err(Error::Usage(format!(
                "several users have the name \"{text}\"; give the ID of one with --identifier"
            ))),
        }
    }
}

/// Where the server is: elsewhere, if the settings say so, else at its socket.
pub(super) fn target(settings: &Settings) -> Result<Target, Error> {
    let client = &settings.client;
    if client.address.is_empty() {
        return Ok(Target::Socket(settings.socket.clone()));
    }
    if client.insecure {
        return Err(Error::Usage(
            "certificates are always checked: name that of the server in SSL_CERT_FILE, and \
             leave cli.insecure out"
                .into(),
        ));
    }
    Target::remote(&client.address, &client.api_key)
}

/// Whether `text` can be an id.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The text of a member; empty if there is none.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a member is true.
pub(super) fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

/// The time of a member, if it is set.
pub(super) fn time(value: &Value, key: &str) -> Option<Timestamp> {
    Timestamp::parse(text(value, key)).ok().flatten()
}

/// The list of a member; empty if there is none.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A list of texts, one a line.
pub(super) fn lines(value: &Value, key: &str) -> String {
    list(value, key).iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

/// The values of a flag that may be given several times, each with several values and commas
/// between them.
pub(super) fn split(values: &[String]) -> Value {
    let parts = values.iter().flat_map(|v| v.split(','));
    parts.map(str::trim).filter(|v| !v.is_empty()).map(Value::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        let values = ["a,b".to_owned(), String::new(), " c ".to_owned()];
        assert_eq!(split(&values).to_string(), r#"["a","b","c"]"#);
        assert_eq!(split(&[String::new()]).to_string(), "[]");
    }

    #[test]
    fn numbers() {
        assert!(is_number("0") && is_number("123"));
        assert!(!is_number("") && !is_number("1a") && !is_number("-1"));
    }

    #[test]
    fn members() {
        let value: Value = serde_json::from_str(
            r#"{"a":"x","t":"1970-01-01T00:00:01Z","z":"0001-01-01T00:00:00Z","l":["1","2"],"b":true}"#,
        )
        .expect("valid");
        assert_eq!((text(&value, "a"), text(&value, "none")), ("x", ""));
        assert_eq!(time(&value, "t"), Some(Timestamp::from_secs(1)));
        assert_eq!(time(&value, "z"), None);
        assert_eq!(lines(&value, "l"), "1\n2");
        assert!(flag(&value, "b") && !flag(&value, "a"));
    }
}
