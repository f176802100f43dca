//! No text makes the reader of YAML panic, and what it reads is the same when written as JSON,
//! which is YAML as well.
#![no_main]

use gramscale_proto::wire::yaml;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(node) = yaml::parse(text) else { return };
    let json = node.to_json();
    let again = yaml::parse(&json).expect("JSON is YAML");
    assert_eq!(again.to_json(), json);
});
