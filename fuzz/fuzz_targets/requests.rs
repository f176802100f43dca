//! Bodies of clients: what is read of them is JSON, reads the same again, and keeps to its limits;
//! what serde_json takes for a value is skipped where nobody knows its name.
#![no_main]

use gramscale_proto::wire::hujson::MAX_DEPTH;
use gramscale_proto::wire::json::fold_names;
use gramscale_proto::wire::tailcfg::{Hostinfo, LIST_MAX, MapRequest, RegisterRequest, TEXT_MAX};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &[u8]| {
    let mut body = text.to_vec();
    if let Ok(request) = RegisterRequest::parse(&mut body) {
        assert_eq!(twice(&body, RegisterRequest::parse), format!("{request:?}"));
        let _ = (request.auth_key(), request.expiry());
        request.hostinfo.iter().for_each(host);
    }
    let mut body = text.to_vec();
    if let Ok(request) = MapRequest::parse(&mut body) {
        assert_eq!(twice(&body, MapRequest::parse), format!("{request:?}"));
        assert!(request.endpoints().count() <= LIST_MAX);
        request.hostinfo.iter().for_each(host);
    }
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return };
    let mut folded = text.to_vec();
    fold_names(&mut folded);
    let folded = serde_json::from_slice(&folded).expect("names in lower case are names");
    if let (Some(value), Some(folded)) = (lower(&value), lower(&folded)) {
        assert_eq!(value, folded);
    }
    if depth(&value) < MAX_DEPTH {
        let mut body = [b"{\"x\":", text, b"}"].concat();
        MapRequest::parse(&mut body).expect("any value of an unknown name");
    }
});

/// What is read of a body that was read before, which has left its names in lower case.
fn twice<T: std::fmt::Debug, E>(body: &[u8], parse: fn(&mut [u8]) -> Result<T, E>) -> String {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).expect("what is read is JSON");
    let again = parse(&mut body.to_vec());
    format!("{:?}", again.unwrap_or_else(|_| panic!("what was read is read again")))
}

fn host(host: &Hostinfo) {
    assert!(host.routes().is_sorted() && host.routes().len() <= LIST_MAX);
    assert!(host.request_tags().iter().all(|tag| tag.len() <= TEXT_MAX));
    assert!(host.services().count() <= LIST_MAX && host.ssh_host_keys().len() <= 8);
    let _ = (host.is_app_connector(), host.is_peer_relay(), host.home_derp());
}

/// With all names in lower case; `None` if two of an object are then the same.
fn lower(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Array(items) => Value::Array(items.iter().map(lower).collect::<Option<_>>()?),
        Value::Object(members) => {
            let mut all = serde_json::Map::new();
            for (name, value) in members {
                if all.insert(name.to_ascii_lowercase(), lower(value)?).is_some() {
                    return None;
                }
            }
            Value::Object(all)
        }
        other => other.clone(),
    })
}

fn depth(value: &Value) -> usize {
    let deepest = |values: &mut dyn Iterator<Item = &Value>| values.map(depth).max().unwrap_or(0);
    match value {
        Value::Array(items) => 1 + deepest(&mut items.iter()),
        Value::Object(members) => 1 + deepest(&mut members.values()),
        _ => 0,
    }
}
