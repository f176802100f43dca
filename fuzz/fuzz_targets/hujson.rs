#![no_main]
//! Any text: read or refused, and standardising moves nothing.

use gramscale_proto::wire::hujson;
use gramscale_proto::wire::json::Json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut bytes = text.as_bytes().to_vec();
    if let Err(error) = hujson::standardise(&mut bytes) {
        hujson::position(text, error.offset);
        return;
    }
    assert_eq!(bytes.len(), text.len());
    let json = String::from_utf8(bytes).expect("comments are blanked as a whole");
    match hujson::parse(&json) {
        Err(error) => assert!(error.offset <= text.len()),
        Ok(value) => {
            // What is written of it is read as the same.
            let mut out = Vec::new();
            value.render(&mut Json::new(&mut out));
            let again = String::from_utf8(out).expect("JSON is text");
            hujson::parse(&again).expect("what we write we read");
        }
    }
});
