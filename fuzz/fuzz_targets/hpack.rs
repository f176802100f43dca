//! Header blocks, each a request of one connection, so that they share a table: what comes out as
//! a request keeps the rules for requests.
#![no_main]

use gramscale_proto::wire::h2::{Connection, Event};
use libfuzzer_sys::fuzz_target;

const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fuzz_target!(|blocks: Vec<Vec<u8>>| {
    let mut connection = Connection::new(0);
    connection.recv(OPENING).unwrap();
    for (block, stream) in blocks.iter().zip((1_u32..).step_by(2)) {
        // `GET /` first, so that fewer blocks lack what a request needs.
        let block = [&b"\x82\x84\x87"[..], block].concat();
        let [_, len @ ..] = (block.len().min(16384) as u32).to_be_bytes();
        let mut frame = len.to_vec();
        frame.extend_from_slice(&[1, 5]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(&block[..block.len().min(16384)]);
        if connection.recv(&frame).is_err() {
            return;
        }
        while let Some(event) = connection.next_event() {
            let Event::Request(request) = event else { panic!("{event:?}") };
            assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/"));
            let size = request.headers.iter().map(|(n, v)| n.len() + v.len() + 32).sum::<usize>();
            assert!(size <= 16384);
            for (name, value) in &request.headers {
                assert!(!name.is_empty() && *name == name.to_ascii_lowercase());
                assert!(!value.contains(['\0', '\r', '\n']));
            }
            connection.respond(request.stream, 204, &[], true).unwrap();
        }
        connection.take_output(&mut Vec::new(), usize::MAX);
    }
});
