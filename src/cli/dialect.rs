//! Two dialects of the same objects: REST speaks camelCase, ids as texts and RFC 3339; the command
//! line prints what headscale's releases print: snake_case, ids as numbers, times as seconds and
//! nanoseconds, and nothing that is empty.

use gramscale_proto::wire::time::Timestamp;
use serde_json::{Map, Value};

/// Turns what REST answered into what `-o json` and `-o yaml` print.
pub(super) fn released(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(released).collect()),
        Value::Object(members) => {
            // Collecting would sort first, which is 4 KB of code.
            let mut shown = Map::new();
            for (key, value) in members {
                let value = member(key, value);
                if !is_empty(&value) {
                    shown.insert(snake(key), value);
                }
            }
            Value::Object(shown)
        }
        other => other.clone(),
    }
}

fn member(key: &str, value: &Value) -> Value {
    let Value::String(text) = value else { return released(value) };
    match key {
        "id" => text.parse::<u64>().map_or_else(|_| value.clone(), Value::from),
        "createdAt" | "expiration" | "expiry" | "lastSeen" | "updatedAt" => moment(text),
        "registerMethod" => Value::from(match text.as_str() {
            "REGISTER_METHOD_AUTH_KEY" => 1,
            "REGISTER_METHOD_CLI" => 2,
            "REGISTER_METHOD_OIDC" => 3,
            _ => 0,
        }),
        _ => value.clone(),
    }
}

fn moment(text: &str) -> Value {
    match Timestamp::parse(text) {
        Ok(Some(time)) => {
            let mut shown = Map::new();
            for (key, n) in [("seconds", time.secs()), ("nanos", i64::from(time.nanos()))] {
                if n != 0 {
                    shown.insert(key.to_owned(), n.into());
                }
            }
            Value::Object(shown)
        }
        Ok(None) => Value::Null,
        Err(_) => text.into(),
    }
}

/// What Go's `omitempty` leaves out. A message that is there but empty stays.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) => false,
    }
}

fn snake(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        // A name that begins with a capital is our own and stays.
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
            out.push(c.to_ascii_lowercase());
        } else {
            out.push(c);
        }
    }
    out
}

/// An object of a few members.
pub(super) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let mut object = Map::new();
    for (key, value) in members {
        object.insert(key.to_owned(), value);
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node() {
        let rest = r#"{
            "id": "7", "machineKey": "mkey:00", "nodeKey": "nodekey:01", "discoKey": "",
            "ipAddresses": ["100.64.0.1", "fd7a:115c:a1e0::1"], "name": "laptop",
            "user": {"id": "1", "name": "ann", "createdAt": "2026-01-02T03:04:05Z",
                     "displayName": "", "email": "", "providerId": "", "provider": "",
                     "profilePicUrl": "http://x/y"},
            "lastSeen": "2026-01-02T03:04:05.000000006Z", "expiry": null, "preAuthKey": null,
            "createdAt": "0001-01-01T00:00:00Z", "registerMethod": "REGISTER_METHOD_CLI",
            "givenName": "laptop", "online": false, "approvedRoutes": [], "tags": []
        }"#;
        let printed = r#"{
            "id": 7, "machine_key": "mkey:00", "node_key": "nodekey:01",
            "ip_addresses": ["100.64.0.1", "fd7a:115c:a1e0::1"], "name": "laptop",
            "user": {"id": 1, "name": "ann", "created_at": {"seconds": 1767323045},
                     "profile_pic_url": "http://x/y"},
            "last_seen": {"seconds": 1767323045, "nanos": 6},
            "register_method": 2, "given_name": "laptop"
        }"#;
        let parse = |text| serde_json::from_str::<Value>(text).expect("valid");
        assert_eq!(released(&parse(rest)), parse(printed));
    }

    #[test]
    fn odd_values() {
        let value = object([
            ("id", "abc".into()),
            ("expiry", "soon".into()),
            ("createdAt", "1970-01-01T00:00:00Z".into()),
            ("registerMethod", "REGISTER_METHOD_UNSPECIFIED".into()),
        ]);
        let printed = r#"{"created_at":{},"expiry":"soon","id":"abc"}"#;
        assert_eq!(released(&value).to_string(), printed);
        let ours = object([("Result", "done".into())]);
        assert_eq!(released(&ours), ours);
        assert_eq!(released(&Value::Array(Vec::new())).to_string(), "[]");
        assert_eq!(released(&Value::from("key")).to_string(), "\"key\"");
    }
}
