//! Our server's end of HTTP/2 against the client of the `h2` crate; the input decides about
//! requests, answers, windows and how the bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/proto/tests/oracle/mod.rs"]
mod oracle;

fuzz_target!(|choices: &[u8]| oracle::exchange(choices));
