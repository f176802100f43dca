//! What a connection of the control protocol costs while it waits: counted, not estimated.

use std::alloc::System;

use gramscale_proto::wire::h2::{Connection, Event};
use gramscale_proto::wire::key::PrivateKey;
use gramscale_proto::wire::noise::{Initiator, Responder, Session};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes of heap for a connection with one open stream and nothing queued.
const IDLE_BUDGET: usize = 1024;

fn main() {
    let responder = Responder::new(PrivateKey::from([1; 32]));
    let (initiator, initiation) =
        Initiator::start(PrivateKey::from([2; 32]), responder.public(), [3; 32], 145).unwrap();
    let map: std::rc::Rc<[u8]> = vec![b'm'; 300_000].into();
    let mut out = Vec::with_capacity(1 << 20);
    let mut client = Vec::with_capacity(1 << 16);
    let mut sealed = Vec::with_capacity(1 << 16);

    let region = Region::new(COUNTED);
    let (response, session) = responder.accept([4; 32], &initiation).unwrap();
    let mut server = Box::new((session, Connection::new(1 << 20)));
    let created = in_use(&region);
    let mut peer = initiator.finish(&response).unwrap();

    let (ref mut session, ref mut connection) = *server;
    client.extend_from_slice(&opening());
    for piece in client.chunks(1000) {
        peer.seal.seal(piece, &mut sealed).unwrap();
    }
    for piece in sealed.chunks_mut(700) {
        feed(session, connection, piece);
    }
    for (stream, path) in [(1, "/machine/register"), (3, "/machine/map")] {
        let Some(Event::Request(request)) = connection.next_event() else { panic!() };
        assert_eq!((request.stream, request.path.as_str()), (stream, path));
        connection.respond(stream, 200, &[("content-type", "application/json")], false).unwrap();
        connection.send(stream, map.clone().into(), stream == 1).unwrap();
    }
    assert_eq!(connection.next_event(), None);
    for _ in 0..100 {
        out.clear();
        connection.take_output(&mut out, usize::MAX);
    }
    assert_eq!(connection.next_event(), Some(Event::Drained { stream: 3 }));
    assert_eq!((connection.open_streams(), connection.queued(3)), (1, 0));
    let idle = in_use(&region);
    drop(server);
    let left = in_use(&region);
    println!("a connection: created {created} bytes, waiting {idle} bytes, closed {left} bytes");
    assert!(idle <= IDLE_BUDGET);
    assert_eq!(left, 0);
}

fn in_use(region: &Region<System>) -> usize {
    let change = region.change();
    change.bytes_allocated - change.bytes_deallocated
}

fn feed(session: &mut Session, connection: &mut Connection, piece: &mut [u8]) {
    let mut at = 0;
    while let Some(plain) = session.open.next(piece, &mut at).unwrap() {
        connection.recv(plain).unwrap();
    }
}

/// What Go's client sends: its settings, a first request that fills the table, and, having read
/// our settings, a second one that begins with a table of size zero.
fn opening() -> Vec<u8> {
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let [_, _, high, low] = (payload.len() as u32).to_be_bytes();
        out.extend_from_slice(&[0, high, low, kind, flags, 0, 0, 0, stream]);
        out.extend_from_slice(payload);
    };
    frame(4, 0, 0, &[0, 2, 0, 0, 0, 0, 0, 4, 0, 64, 0, 0, 0, 6, 0, 160, 1, 64]);
    frame(8, 0, 0, &[64, 0, 0, 0]);
    let mut block = b"\x41\x11control.example:1\x83\x44\x11/machine/register\x87".to_vec();
    block.extend_from_slice(b"\x5c\x046000\x50\x04gzip\x7a\x12Go-http-client/2.0");
    block.extend_from_slice(b"\x40\x05ts-lb\x48nodekey:");
    block.extend_from_slice(&[b'a'; 64]);
    frame(1, 4, 1, &block);
    frame(0, 1, 1, &[b'r'; 6000]);
    frame(4, 1, 0, &[]);
    let mut block = b"\x20\x01\x11control.example:1\x83\x04\x0c/machine/map\x87".to_vec();
    block.extend_from_slice(b"\x0f\x0d\x043000\x00\x05ts-lb\x48nodekey:");
    block.extend_from_slice(&[b'a'; 64]);
    frame(1, 4, 3, &block);
    frame(0, 1, 3, &[b'm'; 3000]);
    frame(8, 0, 0, &[16, 0, 0, 0]);
    out
}
