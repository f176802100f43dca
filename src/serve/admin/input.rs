//! What requests carry: queries and JSON bodies, read leniently.
//!
//! Bodies come from programs of several generations, so a member may be named `displayName` or
//! `display_name`, and a number may be a text.

use gramscale_proto::tailnet::Now;
use gramscale_proto::tailnet::record::Expiry;
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::json;
use gramscale_proto::wire::time::Timestamp;
use serde_json::Value;

use super::problem::Problem;

/// 2026-01-01: a clock before this is wrong, for the program is younger.
const YOUNGEST_PAST: Timestamp = Timestamp::from_secs(1_767_225_600);

/// A JSON body.
#[derive(Debug)]
pub(super) struct Body(Value);

impl Body {
    /// Reads a body; an empty one has no members.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        if bytes.is_empty() {
            return Ok(Self(Value::Null));
        }
        match json::read(bytes) {
            Ok(value @ (Value::Object(_) | Value::Null)) => Ok(Self(value)),
            Ok(_) => Err(Problem::invalid("the body must be a JSON object")),
            Err(e) => Err(Problem::invalid(format!("the body is no JSON: {e}"))),
        }
    }

    fn get(&self, name: &str) -> &Value {
        let same = |key: &str| {
            let letters = key.bytes().filter(|b| *b != b'_').map(|b| b.to_ascii_lowercase());
            letters.eq(name.bytes().map(|b| b.to_ascii_lowercase()))
        };
        let members = self.0.as_object().into_iter().flatten();
        members.filter(|(key, _)| same(key)).map(|(_, v)| v).next().unwrap_or(&Value::Null)
    }

    /// A text, or a number as text; empty if absent.
    pub(super) fn text(&self, name: &str) -> Result<String, Problem> {
        match self.get(name) {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(Problem::invalid(format!("{name} must be a text"))),
        }
    }

    /// An id; `None` if absent, empty or 0, which mean the same in these interfaces.
    pub(super) fn id(&self, name: &str) -> Result<Option<u64>, Problem> {
        match self.text(name)?.as_str() {
            "" | "0" => Ok(None),
            text => number(text, name).map(Some),
        }
    }

    /// A truth value; false if absent.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            Value::Null => Ok(false),
            Value::Bool(value) => Ok(*value),
            _ => Err(Problem::invalid(format!("{name} must be true or false"))),
        }
    }

    /// A list of texts; empty if absent.
    pub(super) fn list(&self, name: &str) -> Result<Vec<String>, Problem> {
        let wrong = || Problem::invalid(format!("{name} must be a list of texts"));
        match self.get(name) {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => {
                items.iter().map(|v| v.as_str().map(String::from).ok_or_else(wrong)).collect()
            }
            _ => Err(wrong()),
        }
    }

    /// When something is to end; `None` if absent.
    pub(super) fn expiry(&self, name: &str, now: Now) -> Result<Option<Expiry>, Problem> {
        moment(&self.text(name)?, name, now)
    }
}

/// When something is to end; `None` for an empty text or Go's zero time.
pub(super) fn moment(text: &str, name: &str, now: Now) -> Result<Option<Expiry>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let at = Timestamp::parse(text).map_err(|e| Problem::invalid(format!("{name}: {e}")))?;
    Ok(at.map(|at| expiry(at, now)))
}

/// A moment that was told to us, as an expiry.
///
/// While our clock can't be trusted, the command line computed the moment from that same clock,
/// so what it meant is the distance. A clock that is plainly wrong gives away a moment that comes
/// from a good one.
fn expiry(at: Timestamp, now: Now) -> Expiry {
    let from_elsewhere = now.wall < YOUNGEST_PAST && at >= YOUNGEST_PAST;
    if now.trusted || from_elsewhere || at <= now.wall {
        Expiry::At(at)
    } else {
        Expiry::In(at.since(now.wall))
    }
}

/// An id in a path or query.
pub(super) fn number(text: &str, name: &str) -> Result<u64, Problem> {
    let wrong = |_| Problem::invalid(format!("\"{text}\" is no {name}: a number is expected"));
    text.parse().map_err(wrong)
}

/// The value of a query's parameter; `None` if it is absent or empty.
pub(super) fn query(head: &Head, name: &str) -> Option<String> {
    head.param(name).filter(|value| !value.is_empty())
}

/// The part of a listing that a query asks for: `limit` entries behind the id `after`. Both are
/// ours; without them a listing is whole.
#[derive(Clone, Copy)]
pub(super) struct Page {
    after: u64,
    limit: u64,
}

impl Page {
    pub(super) fn parse(head: &Head) -> Result<Self, Problem> {
        let value = |name, default| match query(head, name) {
            Some(text) => number(&text, name),
            None => Ok(default),
        };
        Ok(Self { after: value("after", 0)?, limit: value("limit", u64::MAX)? })
    }

    /// The part of a list that is sorted by id.
    pub(super) fn of<T>(
        self,
        list: impl Iterator<Item = T>,
        id: impl Fn(&T) -> u64,
    ) -> impl Iterator<Item = T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        list.filter(move |item| id(item) > self.after).take(limit)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn body(text: &str) -> Body {
        Body::parse(text.as_bytes()).expect("a body")
    }

    #[test]
    fn names_and_kinds() {
        let body = body(
            r#"{"display_name":"a","pictureUrl":"b","user":7,"id":"8","none":null,
                "reusable":true,"acl_tags":["x","y"],"zero":"0"}"#,
        );
        assert_eq!(body.text("displayName"), Ok("a".into()));
        assert_eq!(body.text("pictureUrl"), Ok("b".into()));
        assert_eq!(body.text("user"), Ok("7".into()));
        assert_eq!(body.text("missing"), Ok(String::new()));
        assert_eq!((body.id("user"), body.id("id")), (Ok(Some(7)), Ok(Some(8))));
        assert_eq!((body.id("zero"), body.id("none")), (Ok(None), Ok(None)));
        assert_eq!((body.flag("reusable"), body.flag("none")), (Ok(true), Ok(false)));
        assert_eq!(body.list("aclTags"), Ok(vec!["x".into(), "y".into()]));
        assert_eq!(body.list("none"), Ok(Vec::new()));
        assert!(body.text("reusable").is_err() && body.id("displayName").is_err());
        assert!(body.flag("id").is_err() && body.list("id").is_err());
    }

    #[test]
    fn malformed() {
        assert!(Body::parse(b"").is_ok() && Body::parse(b"null").is_ok());
        for bad in [&b"{"[..], b"[]", b"7", b"\xff", b"{}x", b"{\"a\":}"] {
            assert!(Body::parse(bad).is_err(), "{bad:?}");
        }
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(Body::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn expiries() {
        let now = |wall, trusted| Now {
            wall: Timestamp::from_secs(wall),
            trusted,
            uptime: Duration::ZERO,
        };
        let at = Timestamp::from_secs;
        let good = 1_800_000_000;
        assert_eq!(expiry(at(good + 60), now(good, true)), Expiry::At(at(good + 60)));
        let minute = Expiry::In(Duration::from_secs(60));
        assert_eq!(expiry(at(good + 60), now(good, false)), minute);
        assert_eq!(expiry(at(160), now(100, false)), minute);
        assert_eq!(expiry(at(good), now(100, false)), Expiry::At(at(good)));
        let body = body(r#"{"expiry":"0001-01-01T00:00:00Z","bad":"soon"}"#);
        assert_eq!(body.expiry("expiry", now(good, true)), Ok(None));
        assert!(body.expiry("bad", now(good, true)).is_err());
    }
}
