//! The program as a plugin of OpenWrt's rpcd: what LuCI calls on the ubus object of this name.
//!
//! rpcd starts it through the link `/usr/libexec/rpcd/luci.gramscale`, with `list` for the methods
//! and their arguments, or with `call METHOD` and the arguments as JSON on standard input. Each
//! method is one call of the REST interface, by [`METHODS`]; nothing is decided here.

use std::io::Read as _;
use std::time::Duration;

use gramscale_proto::wire::json::{self, Json};
use serde_json::{Map, Value};

use super::client::{Client, escape};
use super::config::Source;
use super::output::{self, Format};
use super::session::{self, Session};
use super::{Error, reach};

/// The name that makes the program the plugin.
pub(super) const NAME: &str = "luci.gramscale";

/// rpcd reads no more of an answer, and then gives none (`RPC_EXEC_MAX_SIZE`). Long listings are
/// asked for by `after` and `limit`.
const ANSWER_LIMIT: usize = 256 * 1024;

/// The most bytes of arguments; ubus carries no more in a message.
const INPUT_LIMIT: u64 = 1 << 20;

/// A method: a call of the REST interface. Arguments named in the path stand there; the others
/// are the query, or the body's members where the verb takes a body.
struct Method {
    name: &'static str,
    verb: &'static str,
    path: &'static str,
    /// The name of each argument, and a value of its type, which is how rpcd is told of types.
    takes: &'static [(&'static str, &'static str)],
}

const TEXT: &str = "\"\"";
const FLAG: &str = "false";
const LIST: &str = "[]";

const fn method(
    name: &'static str,
    verb: &'static str,
    path: &'static str,
    takes: &'static [(&'static str, &'static str)],
) -> Method {
    Method { name, verb, path, takes }
}

const ID: &[(&str, &str)] = &[("id", TEXT)];
const PAGE: &[(&str, &str)] = &[("after", TEXT), ("limit", TEXT)];
const POLICY: &[(&str, &str)] = &[("policy", TEXT)];

/// The one method that is no call: it dials the login URL, which the server can't do itself.
const REACH: &str = "reach";

/// What only reads comes first; the access list of the LuCI app has the same two groups.
const METHODS: &[Method] = &[
    method("status", "GET", "status", &[]),
    method("nodes", "GET", "node?host=true", PAGE),
    method("logins", "GET", "auth", &[]),
    method("users", "GET", "user", PAGE),
    method("auth_keys", "GET", "preauthkey", PAGE),
    method("policy", "GET", "policy", &[]),
    method("policy_check", "POST", "policy/check", POLICY),
    method(REACH, "", "", &[]),
    method("policy_explain", "GET", "policy/explain", &[("src", TEXT), ("dst", TEXT)]),
    method("node_register", "POST", "auth/register", &[("authId", TEXT), ("user", TEXT)]),
    method("node_reject", "POST", "auth/reject", &[("authId", TEXT)]),
    method("node_approve", "POST", "node/{id}/approve", ID),
    method("node_rename", "POST", "node/{id}/rename/{name}", &[("id", TEXT), ("name", TEXT)]),
    method(
        "node_expire",
        "POST",
        "node/{id}/expire",
        &[("id", TEXT), ("expiry", TEXT), ("disableExpiry", FLAG)],
    ),
    method("node_tags", "POST", "node/{id}/tags", &[("id", TEXT), ("tags", LIST)]),
    method("node_routes", "POST", "node/{id}/approve_routes", &[("id", TEXT), ("routes", LIST)]),
    method("node_delete", "DELETE", "node/{id}", ID),
    method(
        "user_create",
        "POST",
        "user",
        &[("name", TEXT), ("displayName", TEXT), ("email", TEXT)],
    ),
    method("user_rename", "POST", "user/{id}/rename/{name}", &[("id", TEXT), ("name", TEXT)]),
    method(
        "user_role",
        "POST",
        "user/{id}/role/{role}",
        &[("id", TEXT), ("role", TEXT), ("transfer", FLAG)],
    ),
    method("user_delete", "DELETE", "user/{id}", ID),
    method(
        "auth_key_create",
        "POST",
        "preauthkey",
        &[
            ("user", TEXT),
            ("reusable", FLAG),
            ("ephemeral", FLAG),
            ("preapproved", FLAG),
            ("expiration", TEXT),
            ("aclTags", LIST),
        ],
    ),
    method("auth_key_expire", "POST", "preauthkey/expire", ID),
    method("auth_key_delete", "DELETE", "preauthkey", ID),
    method("policy_set", "PUT", "policy", POLICY),
];

/// Does what rpcd asks for, and prints the answer: one JSON object, errors included, for rpcd
/// tells nobody an exit status.
#[inline(never)]
pub(super) fn run(args: &[String]) -> Result<(), Error> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["list"] => output::print(&signatures()),
        ["call", name] => {
            let answer = answer(name).unwrap_or_else(|error| refusal(&error));
            output::print(&answer)
        }
        _ => Err(Error::Usage("rpcd starts this with `list` or `call METHOD`".into())),
    }
}

fn signatures() -> String {
    let mut out = Vec::new();
    let mut json = Json::new(&mut out);
    json.open('{');
    for method in METHODS {
        json.key(method.name).open('{');
        method.takes.iter().for_each(|(name, like)| _ = json.key(name).raw(like.as_bytes()));
        json.close('}');
    }
    json.close('}');
    String::from_utf8(out).unwrap_or_default()
}

fn answer(name: &str) -> Result<String, Error> {
    let method = METHODS.iter().find(|method| method.name == name);
    let method = method.ok_or_else(|| Error::Usage(format!("there is no method {name}")))?;
    let mut input = Vec::new();
    let read = std::io::stdin().take(INPUT_LIMIT).read_to_end(&mut input);
    read.map_err(|e| Error::Local(format!("cannot read the arguments: {e}")))?;
    let source = Source::default();
    if method.name == REACH {
        let session = Session::open(source, Format::Json, false)?;
        return Ok(reach::look(&session, &source.load(&[]).settings)?.0.to_string());
    }
    let call = method.call(&input)?;
    let target = session::target(&source.for_client()?)?;
    // LuCI asks again by itself; it is told at once when nobody is there.
    let client = Client::new(target, Duration::ZERO);
    let value = client.call(method.verb, &call.path, call.body.as_ref())?;
    let text = value.to_string();
    if text.len() > ANSWER_LIMIT {
        return Err(Error::Local("this is too long for LuCI: use the command line".into()));
    }
    Ok(text)
}

/// A call of the REST interface.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    path: String,
    body: Option<Value>,
}

impl Method {
    fn call(&self, input: &[u8]) -> Result<Call, Error> {
        let mut given = match json::read(input) {
            Ok(Value::Object(members)) => members,
            _ if input.trim_ascii().is_empty() => Map::new(),
            _ => return Err(Error::Usage("the arguments are no JSON object".into())),
        };
        let mut call = Call { path: format!("/api/v1/{}", self.path), body: None };
        let mut body = Map::new();
        for (name, _) in self.takes {
            let slot = format!("{{{name}}}");
            let value = given.remove(*name).filter(|value| !value.is_null());
            if call.path.contains(&slot) {
                let text = match &value {
                    Some(Value::String(text)) if !text.is_empty() => escape(text),
                    Some(Value::Number(number)) => number.to_string(),
                    _ => return Err(Error::Usage(format!("{} needs {name}", self.name))),
                };
                call.path = call.path.replace(&slot, &text);
            } else if let Some(value) = value {
                if matches!(self.verb, "POST" | "PUT") {
                    body.insert((*name).to_owned(), value);
                } else {
                    call.path.push(if call.path.contains('?') { '&' } else { '?' });
                    call.path.push_str(name);
                    call.path.push('=');
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    call.path.push_str(&escape(&text));
                }
            }
        }
        call.body = (!body.is_empty()).then_some(Value::Object(body));
        Ok(call)
    }
}

/// `status` is that of the server's answer, or 0 if there is none: it does not run.
fn refusal(error: &Error) -> String {
    let status = match error {
        Error::Refused { status, .. } => i64::from(*status),
        Error::Unreachable { .. } => 0,
        _ => 400,
    };
    let mut out = Vec::new();
    let mut json = Json::new(&mut out);
    json.open('{').key("error").open('{').key("status").int(status);
    json.key("text").string(&error.to_string()).close('}').close('}');
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, input: &str) -> Result<(String, String), String> {
        let method = METHODS.iter().find(|method| method.name == name).expect("a method");
        let call = method.call(input.as_bytes()).map_err(|error| error.to_string())?;
        Ok((call.path, call.body.map(|body| body.to_string()).unwrap_or_default()))
    }

    #[test]
    fn calls() {
        for (name, input, path, body) in [
            ("status", "", "/api/v1/status", ""),
            ("status", r#"{"ubus_rpc_session":"0"}"#, "/api/v1/status", ""),
            (
                "nodes",
                r#"{"after":"7","limit":100}"#,
                "/api/v1/node?host=true&after=7&limit=100",
                "",
            ),
            (
                "node_rename",
                r#"{"id":"7","name":"a/b ?"}"#,
                "/api/v1/node/7/rename/a%2Fb%20%3F",
                "",
            ),
            (
                "node_tags",
                r#"{"id":"7","tags":["tag:a"]}"#,
                "/api/v1/node/7/tags",
                r#"{"tags":["tag:a"]}"#,
            ),
            ("node_approve", r#"{"id":"7"}"#, "/api/v1/node/7/approve", ""),
            ("node_expire", r#"{"id":"7"}"#, "/api/v1/node/7/expire", ""),
            ("node_delete", r#"{"id":"../user/1"}"#, "/api/v1/node/..%2Fuser%2F1", ""),
            ("auth_key_delete", r#"{"id":"3"}"#, "/api/v1/preauthkey?id=3", ""),
            ("policy_set", r#"{"policy":"{}\n"}"#, "/api/v1/policy", r#"{"policy":"{}\n"}"#),
        ] {
            assert_eq!(call(name, input), Ok((path.into(), body.into())), "{name} {input}");
        }
        for input in ["[]", "{", r#"{"id":""}"#, r#"{"id":["7"]}"#, "{}"] {
            assert!(call("node_delete", input).is_err(), "{input}");
        }
    }

    #[test]
    fn methods_are_listed_with_their_types() {
        let list: Value = serde_json::from_str(&signatures()).expect("JSON");
        assert_eq!(list.as_object().map(Map::len), Some(METHODS.len()));
        assert_eq!(
            list["auth_key_create"].to_string(),
            r#"{"aclTags":[],"ephemeral":false,"expiration":"","preapproved":false,"reusable":false,"user":""}"#
        );
        assert_eq!(list["status"].to_string(), "{}");
        for method in METHODS {
            let named = |(name, _): &&(&str, &str)| method.path.contains(&format!("{{{name}}}"));
            let slots = method.path.matches('{').count();
            assert_eq!(method.takes.iter().filter(named).count(), slots, "{}", method.name);
        }
    }

    #[test]
    fn refusals() {
        let refused = Error::Refused { status: 409, text: "\"a\" exists".into() };
        let text = r#"{"error":{"status":409,"text":"\"a\" exists"}}"#;
        assert_eq!(refusal(&refused), text);
        let away = Error::Unreachable { place: "/s".into(), reason: "no".into(), denied: false };
        assert!(refusal(&away).starts_with(r#"{"error":{"status":0,"text":"cannot reach"#));
    }
}
