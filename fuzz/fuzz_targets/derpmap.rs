//! A document that is read and written is JSON without a backslash, and reads as the same map.
#![no_main]

use gramscale_proto::wire::derpmap::{DerpMap, Document, Form};
use gramscale_proto::wire::json::Json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(document) = Document::from_json(text) else { return };
    let mut map = DerpMap::default();
    map.merge(&document);
    let mut out = Vec::new();
    map.write(&mut Json::new(&mut out), Form::Pinned);
    assert!(!out.contains(&b'\\'));
    let again = Document::from_json(&out).expect("what was written is read");
    assert_eq!(again.unknown, [""; 0]);
    assert_eq!(again.regions.len(), map.regions.len());
});
