//! A connection against literal frames, well-formed and not.

use std::rc::Rc;

use super::*;
use crate::wire::h2::client::{self, Client};
use crate::wire::h2::{PREFACE, SendError};

const LIMIT: usize = 100_000;

/// `len kind flags stream payload`.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, kind, flags, stream, payload);
    out
}

/// `GET /` of `https`, complete with this frame if `flags` say so.
const GET: &[u8] = b"\x82\x84\x87";
const POST: &[u8] = b"\x83\x84\x87";

/// A connection whose settings are exchanged.
fn open() -> Connection {
    let mut connection = Connection::new(LIMIT);
    connection.recv(PREFACE).unwrap();
    connection.recv(&frame(4, 0, 0, &[])).unwrap();
    connection.recv(&frame(4, 1, 0, &[])).unwrap();
    output(&mut connection);
    connection
}

fn output(connection: &mut Connection) -> Vec<u8> {
    let mut out = Vec::new();
    connection.take_output(&mut out, usize::MAX);
    out
}

/// Opens a connection with a request `GET /` on stream 1, taken from the events.
fn asked() -> Connection {
    let mut connection = open();
    connection.recv(&frame(1, 5, 1, GET)).unwrap();
    assert!(matches!(connection.next_event(), Some(Event::Request(r)) if r.stream == 1));
    connection
}

fn refused(connection: &mut Connection, bytes: &[u8]) -> Code {
    let error = connection.recv(bytes).unwrap_err();
    let out = output(connection);
    let goaway = &out[out.len() - 17..];
    assert_eq!(goaway[..9], *b"\0\0\x08\x07\0\0\0\0\0", "{out:x?}");
    assert_eq!(goaway[13..], [0, 0, 0, error.code as u8]);
    assert_eq!(connection.recv(b""), Err(error), "an error stays");
    assert!(!connection.has_output());
    error.code
}

#[test]
fn first_bytes() {
    let mut connection = Connection::new(LIMIT);
    let settings = b"\0\0\x12\x04\0\0\0\0\0\0\x01\0\0\0\0\0\x03\0\0\0\x20\0\x06\0\0\x40\0";
    assert_eq!(output(&mut connection), settings);
    for byte in PREFACE {
        connection.recv(&[*byte]).unwrap();
    }
    connection.recv(b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\x01\0\0").unwrap();
    assert_eq!(output(&mut connection), b"\0\0\0\x04\x01\0\0\0\0");
    assert_eq!(refused(&mut Connection::new(0), b"GET /"), Code::Protocol);
    assert_eq!(refused(&mut Connection::new(0), b"PRI * HTTP/1.1"), Code::Protocol);
    let early = [&PREFACE[..], &frame(6, 0, 0, &[0; 8])].concat();
    assert_eq!(refused(&mut Connection::new(0), &early), Code::Protocol);
    let early = [&PREFACE[..], &frame(4, 1, 0, &[])].concat();
    assert_eq!(refused(&mut Connection::new(0), &early), Code::Protocol);
}

#[test]
fn request_and_answer() {
    let mut connection = open();
    let block = b"\x83\x87\x04\x08/machine\x41\x06unused\x5c\x013";
    connection.recv(&frame(1, 4, 1, block)).unwrap();
    connection.recv(&frame(0, 8, 1, b"\x04a....")).unwrap();
    assert_eq!(connection.next_event(), None);
    connection.recv(&frame(0, 1, 1, b"bc")).unwrap();
    let request = Request {
        stream: 1,
        method: "POST".into(),
        path: "/machine".into(),
        authority: "unused".into(),
        headers: vec![("content-length".into(), "3".into())],
        body: b"abc".to_vec(),
    };
    assert_eq!(connection.next_event(), Some(Event::Request(Box::new(request))));
    connection.respond(1, 200, &[("content-type", "a/b"), ("x", "y")], false).unwrap();
    connection.send(1, b"hello".to_vec().into(), false).unwrap();
    connection.send(1, Rc::<[u8]>::from(&b"world"[..]).into(), true).unwrap();
    assert_eq!(connection.queued(1), 10);
    assert_eq!(
        output(&mut connection),
        [frame(1, 4, 1, b"\x88\x0f\x10\x03a/b\x00\x01x\x01y"), frame(0, 1, 1, b"helloworld")]
            .concat()
    );
    assert_eq!(connection.open_streams(), 0);
    assert_eq!(connection.send(1, vec![1].into(), true), Err(SendError::Gone));
    assert_eq!(connection.next_event(), None);

    connection.recv(&frame(1, 5, 3, GET)).unwrap();
    connection.respond(3, 404, &[], true).unwrap();
    assert_eq!(output(&mut connection), frame(1, 5, 3, b"\x8d"));
}

#[test]
fn answers_in_order() {
    let mut connection = open();
    connection.recv(&frame(1, 4, 1, POST)).unwrap();
    assert_eq!(connection.respond(1, 200, &[], true), Err(SendError::Order));
    connection.recv(&frame(0, 1, 1, b"")).unwrap();
    assert_eq!(connection.send(1, vec![1].into(), false), Err(SendError::Order));
    assert_eq!(connection.respond(3, 200, &[], true), Err(SendError::Gone));
    let long = "x".repeat(20_000);
    assert_eq!(connection.respond(1, 200, &[("a", &long)], false), Err(SendError::TooLarge));
    connection.respond(1, 200, &[], false).unwrap();
    assert_eq!(connection.respond(1, 200, &[], false), Err(SendError::Order));
    let shared: Rc<[u8]> = vec![0; 1 << 20].into();
    for _ in 0..16 {
        connection.send(1, shared.clone().into(), false).unwrap();
    }
    assert_eq!(connection.send(1, shared.clone().into(), false), Err(SendError::Full));
    connection.send(1, vec![].into(), true).unwrap();
    assert_eq!(connection.send(1, vec![].into(), true), Err(SendError::Order));
    connection.reset(1, Code::Internal);
    assert_eq!(Rc::strong_count(&shared), 1);
    assert!(output(&mut connection).ends_with(&frame(3, 0, 1, &[0, 0, 0, 2])));
    assert_eq!((connection.queued(1), connection.queued), (0, 0));
}

#[test]
fn windows_of_the_peer() {
    let mut connection = asked();
    connection.respond(1, 200, &[], false).unwrap();
    connection.send(1, vec![7; 100_000].into(), false).unwrap();
    let out = output(&mut connection);
    let sent = |out: &[u8]| {
        let (mut at, mut frames, mut len) = (0, frame::Frames::default(), 0);
        while let Some((head, payload)) = frames.next(out, &mut at).unwrap() {
            if head.kind == 0 {
                len += payload.len();
            }
        }
        len
    };
    assert_eq!(sent(&out), 65535);
    assert!(!connection.has_output());
    // More for the stream does not help while the connection has nothing left.
    connection.recv(&frame(8, 0, 1, &[0, 0, 1, 0])).unwrap();
    assert!(!connection.has_output());
    connection.recv(&frame(8, 0, 0, &[0, 0, 0, 9])).unwrap();
    assert_eq!(sent(&output(&mut connection)), 9);
    // The stream has 247 left. A smaller setting takes it below zero.
    connection.recv(&frame(8, 0, 0, &[0x7f, 0, 0, 0])).unwrap();
    connection.recv(&frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])).unwrap();
    assert_eq!(sent(&output(&mut connection)), 0);
    connection.recv(&frame(8, 0, 1, &[0, 0, 0xff, 0x08])).unwrap();
    assert_eq!(sent(&output(&mut connection)), 0);
    connection.recv(&frame(8, 0, 1, &[0, 0, 0, 1])).unwrap();
    assert_eq!(sent(&output(&mut connection)), 1);
    connection.recv(&frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff])).unwrap();
    assert_eq!(connection.next_event(), None);
    assert_eq!(sent(&output(&mut connection)), 100_000 - 65545);
    assert_eq!(connection.next_event(), Some(Event::Drained { stream: 1 }));
    assert_eq!(connection.queued(1), 0);
}

#[test]
fn windows_that_overflow() {
    let most = [0x7f, 0xff, 0xff, 0xff];
    assert_eq!(refused(&mut open(), &frame(8, 0, 0, &most)), Code::FlowControl);
    assert_eq!(refused(&mut open(), &frame(8, 0, 0, &[0; 4])), Code::Protocol);
    assert_eq!(refused(&mut open(), &frame(8, 0, 0, &[0; 5])), Code::FrameSize);
    assert_eq!(refused(&mut open(), &frame(4, 0, 0, b"\0\x04\x80\0\0\0")), Code::FlowControl);
    let mut connection = asked();
    connection.recv(&frame(8, 0, 1, &[0x7f, 0xff, 0, 0])).unwrap();
    let settings = frame(4, 0, 0, &[0, 4, 0, 1, 0xff, 0xff]);
    assert_eq!(refused(&mut connection, &settings), Code::FlowControl);
    for (update, code) in [(most, 3), ([0; 4], 1)] {
        let mut connection = asked();
        connection.recv(&frame(8, 0, 1, &update)).unwrap();
        assert_eq!(output(&mut connection), frame(3, 0, 1, &[0, 0, 0, code]));
        assert_eq!(connection.next_event(), Some(Event::Cancelled { stream: 1 }));
    }
}

#[test]
fn output_in_portions_and_turns() {
    let mut connection = open();
    for stream in [1, 3] {
        connection.recv(&frame(1, 5, stream, GET)).unwrap();
        connection.respond(stream, 200, &[], false).unwrap();
        connection.send(stream, vec![stream as u8; 10_000].into(), true).unwrap();
    }
    let mut order = Vec::new();
    loop {
        let mut out = b"kept".to_vec();
        connection.take_output(&mut out, 1);
        if out.len() == 4 {
            break;
        }
        let (mut at, mut frames) = (4, frame::Frames::default());
        while let Some((head, payload)) = frames.next(&out, &mut at).unwrap() {
            if head.kind == 0 {
                order.push((head.stream, payload.len(), head.flags));
            }
        }
    }
    assert_eq!(
        order,
        [(1, 4068, 0), (3, 4068, 0), (1, 4068, 0), (3, 4068, 0), (1, 1864, 1), (3, 1864, 1)]
    );
    let mut out = Vec::new();
    connection.take_output(&mut out, 0);
    assert!(out.is_empty());
}

#[test]
fn windows_that_we_give() {
    let mut connection = open();
    connection.recv(&frame(1, 4, 1, POST)).unwrap();
    let half = [0; 16384];
    connection.recv(&frame(0, 0, 1, &half[..16383])).unwrap();
    assert_eq!(output(&mut connection), b"");
    connection.recv(&frame(0, 8, 1, &half)).unwrap();
    let update = [0, 0, 0x7f, 0xff];
    let both = [frame(8, 0, 0, &update), frame(8, 0, 1, &update)].concat();
    assert_eq!(output(&mut connection), both);
    // What comes for streams that are gone is given back as well.
    connection.recv(&frame(3, 0, 1, &[0; 4])).unwrap();
    connection.recv(&frame(0, 0, 1, &half)).unwrap();
    assert_eq!(output(&mut connection), frame(3, 0, 1, &[0, 0, 0, 5]));
    connection.recv(&frame(0, 0, 1, &half[1..])).unwrap();
    assert!(output(&mut connection).starts_with(&frame(8, 0, 0, &update)));
}

#[test]
fn bodies_that_do_not_fit() {
    // Announced.
    let mut connection = open();
    connection.recv(&frame(1, 4, 1, b"\x83\x84\x87\x5c\x06100001")).unwrap();
    let declined = |status: &[u8]| [frame(1, 5, 1, status), frame(3, 0, 1, &[0, 0, 0, 0])].concat();
    assert_eq!(output(&mut connection), declined(b"\x08\x03413"));
    assert_eq!((connection.next_event(), connection.open_streams()), (None, 0));
    // Not announced.
    let mut connection = open();
    connection.set_body_limit(10);
    connection.recv(&frame(1, 4, 1, POST)).unwrap();
    connection.recv(&frame(0, 0, 1, &[0; 10])).unwrap();
    connection.recv(&frame(0, 0, 1, &[0; 1])).unwrap();
    assert_eq!(output(&mut connection), declined(b"\x08\x03413"));
    assert_eq!((connection.next_event(), connection.open_streams()), (None, 0));
    // The last of it: no more is to be stopped.
    connection.recv(&frame(1, 4, 3, POST)).unwrap();
    connection.recv(&frame(0, 1, 3, &[0; 11])).unwrap();
    assert_eq!(output(&mut connection), frame(1, 5, 3, b"\x08\x03413"));
    assert_eq!((connection.next_event(), connection.bodies), (None, 0));
    // Too much on several streams.
    let mut connection = open();
    connection.set_body_limit(10);
    for stream in [1, 3, 5] {
        connection.recv(&frame(1, 4, stream, POST)).unwrap();
        connection.recv(&frame(0, 0, stream, &[0; 8])).unwrap();
    }
    assert_eq!(output(&mut connection), frame(3, 0, 5, &[0, 0, 0, 7]));
    connection.recv(&frame(0, 1, 1, &[])).unwrap();
    assert!(matches!(connection.next_event(), Some(Event::Request(r)) if r.body.len() == 8));
    // A body counts until the answer begins, as the caller may hold it.
    connection.recv(&frame(1, 4, 7, POST)).unwrap();
    connection.recv(&frame(0, 1, 7, &[0; 8])).unwrap();
    assert_eq!(output(&mut connection), frame(3, 0, 7, &[0, 0, 0, 7]));
    connection.respond(1, 200, &[], false).unwrap();
    connection.recv(&frame(1, 4, 9, POST)).unwrap();
    connection.recv(&frame(0, 1, 9, &[0; 8])).unwrap();
    assert!(matches!(connection.next_event(), Some(Event::Request(_))));
}

#[test]
fn lengths_that_do_not_match() {
    let three = b"\x83\x84\x87\x5c\x013";
    for (body, end) in [(&b"ab"[..], 1), (b"abcd", 0), (b"abcd", 1)] {
        let mut connection = open();
        connection.recv(&frame(1, 4, 1, three)).unwrap();
        connection.recv(&frame(0, end, 1, body)).unwrap();
        assert_eq!(output(&mut connection), frame(3, 0, 1, &[0, 0, 0, 1]));
        assert_eq!((connection.next_event(), connection.bodies), (None, 0));
    }
    let mut connection = open();
    connection.recv(&frame(1, 5, 1, three)).unwrap();
    assert_eq!(output(&mut connection), frame(3, 0, 1, &[0, 0, 0, 1]));
}

#[test]
fn trailers() {
    let mut connection = open();
    connection.recv(&frame(1, 4, 1, POST)).unwrap();
    connection.recv(&frame(0, 0, 1, b"body")).unwrap();
    connection.recv(&frame(1, 5, 1, b"\0\x01x\x01y")).unwrap();
    assert!(matches!(connection.next_event(), Some(Event::Request(r)) if r.body == b"body"));
    for (flags, block) in [(4, &b"\0\x01x\x01y"[..]), (5, GET)] {
        let mut connection = open();
        connection.recv(&frame(1, 4, 1, POST)).unwrap();
        connection.recv(&frame(1, flags, 1, block)).unwrap();
        assert_eq!(output(&mut connection), frame(3, 0, 1, &[0, 0, 0, 1]));
    }
}

#[test]
fn header_blocks_in_parts() {
    let mut connection = open();
    connection.recv(&frame(1, 1, 1, &GET[..1])).unwrap();
    connection.recv(&frame(9, 0, 1, &GET[1..2])).unwrap();
    connection.recv(&frame(9, 4, 1, &GET[2..])).unwrap();
    assert!(matches!(connection.next_event(), Some(Event::Request(_))));

    let parts = |next: &[u8]| {
        let mut connection = open();
        connection.recv(&frame(1, 0, 1, GET)).unwrap();
        refused(&mut connection, next)
    };
    assert_eq!(parts(&frame(6, 0, 0, &[0; 8])), Code::Protocol);
    assert_eq!(parts(&frame(9, 4, 3, &[])), Code::Protocol);
    assert_eq!(parts(&frame(1, 4, 1, GET)), Code::Protocol);
    assert_eq!(parts(&frame(9, 0, 1, &[0; 16384])), Code::Calm);
    assert_eq!(parts(&frame(9, 0, 1, &[]).repeat(1001)), Code::Calm);
    assert_eq!(refused(&mut open(), &frame(9, 4, 1, GET)), Code::Protocol);
    assert_eq!(refused(&mut open(), &frame(1, 5, 1, b"\xff")), Code::Compression);
}

#[test]
fn requests_that_are_refused() {
    let answer = |block: &[u8]| {
        let mut connection = open();
        connection.recv(&frame(1, 5, 1, block)).unwrap();
        assert_eq!((connection.next_event(), connection.open_streams()), (None, 0));
        output(&mut connection)
    };
    assert_eq!(answer(b"\x82\x84"), frame(3, 0, 1, &[0, 0, 0, 1]));
    // One entry of the table, many times: small on the wire, large in memory.
    let mut bomb = GET.to_vec();
    bomb.extend_from_slice(b"\x40\x01x\x7f\x81\x1e");
    bomb.extend_from_slice(&[b'y'; 3968]);
    bomb.extend_from_slice(&[0xbe; 12_000]);
    assert_eq!(answer(&bomb), frame(1, 5, 1, b"\x08\x03431"));
}

#[test]
fn streams_at_once() {
    let mut connection = open();
    for n in 0..33 {
        connection.recv(&frame(1, 5, 2 * n + 1, GET)).unwrap();
    }
    assert_eq!(output(&mut connection), frame(3, 0, 65, &[0, 0, 0, 7]));
    assert_eq!(connection.open_streams(), 32);
    connection.respond(7, 200, &[], true).unwrap();
    connection.recv(&frame(1, 5, 67, GET)).unwrap();
    assert_eq!(connection.open_streams(), 32);
}

#[test]
fn frames_of_the_wrong_place_or_size() {
    use Code::{FrameSize, Protocol};
    for (kind, flags, stream, payload, code) in [
        (0, 0, 0, &[][..], Protocol),
        (0, 0, 1, &[], Protocol),
        (0, 0, 2, &[], Protocol),
        (0, 8, 1, &[1], Protocol),
        (1, 5, 0, GET, Protocol),
        (1, 5, 2, GET, Protocol),
        (1, 0xd, 1, &[9, 0], Protocol),
        (2, 0, 0, &[0; 5], Protocol),
        (2, 0, 1, &[0; 4], FrameSize),
        (3, 0, 0, &[0; 4], Protocol),
        (3, 0, 1, &[0; 4], Protocol),
        (3, 0, 1, &[0; 3], FrameSize),
        (4, 0, 1, &[], Protocol),
        (4, 0, 0, &[0; 5], FrameSize),
        (4, 1, 0, &[0; 6], FrameSize),
        (4, 0, 0, &[0, 2, 0, 0, 0, 2], Protocol),
        (4, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff], Protocol),
        (4, 0, 0, &[0, 5, 1, 0, 0, 0], Protocol),
        (5, 4, 1, &[0; 8], Protocol),
        (6, 0, 1, &[0; 8], Protocol),
        (6, 0, 0, &[0; 7], FrameSize),
        (7, 0, 1, &[0; 8], Protocol),
        (7, 0, 0, &[0; 7], FrameSize),
        (8, 0, 1, &[0, 0, 0, 1], Protocol),
        (9, 4, 0, &[], Protocol),
    ] {
        let bytes = frame(kind, flags, stream, payload);
        assert_eq!(refused(&mut open(), &bytes), code, "{kind} {flags} {stream} {payload:x?}");
    }
    assert_eq!(refused(&mut open(), b"\0\x40\x01\0\0\0\0\0\x01"), FrameSize);
    // Unknown frames and settings, PRIORITY of any stream and a GOAWAY mean nothing to us.
    let mut connection = open();
    connection.recv(&frame(0x10, 0xff, 9, b"anything")).unwrap();
    connection.recv(&frame(2, 0, 99, &[0; 5])).unwrap();
    connection.recv(&frame(7, 0, 0, &[0; 9])).unwrap();
    assert_eq!(output(&mut connection), b"");
    connection.recv(&frame(4, 0, 0, b"\xab\xcd\xff\xff\xff\xff")).unwrap();
    assert_eq!(output(&mut connection), frame(4, 1, 0, &[]));
}

#[test]
fn streams_that_have_ended() {
    let mut connection = asked();
    // Half closed: the request was whole.
    connection.recv(&frame(0, 1, 1, b"more")).unwrap();
    assert_eq!(output(&mut connection), frame(3, 0, 1, &[0, 0, 0, 5]));
    assert_eq!(connection.next_event(), Some(Event::Cancelled { stream: 1 }));
    let mut connection = asked();
    connection.recv(&frame(1, 5, 1, b"")).unwrap();
    assert_eq!(output(&mut connection), frame(3, 0, 1, &[0, 0, 0, 5]));
    // Closed.
    let mut connection = asked();
    connection.respond(1, 200, &[], true).unwrap();
    output(&mut connection);
    connection.recv(&frame(8, 0, 1, &[0, 0, 0, 1])).unwrap();
    connection.recv(&frame(3, 0, 1, &[0, 0, 0, 8])).unwrap();
    connection.recv(&frame(2, 0, 1, &[0; 5])).unwrap();
    assert_eq!(output(&mut connection), b"");
    connection.recv(&frame(0, 0, 1, b"x")).unwrap();
    connection.recv(&frame(1, 5, 1, GET)).unwrap();
    assert_eq!(output(&mut connection), frame(3, 0, 1, &[0, 0, 0, 5]).repeat(2));
    // Passed over.
    connection.recv(&frame(1, 5, 9, GET)).unwrap();
    connection.recv(&frame(1, 5, 7, GET)).unwrap();
    assert_eq!(output(&mut connection), frame(3, 0, 7, &[0, 0, 0, 5]));
}

#[test]
fn cancelled_requests() {
    let cancel = frame(3, 0, 1, &[0, 0, 0, 8]);
    // Before the caller knew of it.
    let mut connection = open();
    connection.recv(&frame(1, 5, 1, GET)).unwrap();
    connection.recv(&cancel).unwrap();
    assert_eq!(connection.next_event(), None);
    // While the answer is under way.
    let mut connection = asked();
    connection.respond(1, 200, &[], false).unwrap();
    connection.send(1, vec![0; 100].into(), false).unwrap();
    output(&mut connection);
    connection.recv(&cancel).unwrap();
    assert_eq!(connection.next_event(), Some(Event::Cancelled { stream: 1 }));
    assert_eq!(connection.next_event(), None);
    // When the caller is done with it.
    let mut connection = asked();
    connection.respond(1, 200, &[], false).unwrap();
    connection.send(1, vec![0; 100].into(), true).unwrap();
    connection.recv(&cancel).unwrap();
    assert_eq!((connection.next_event(), connection.queued), (None, 0));
}

#[test]
fn floods() {
    let flood = |bytes: &[u8]| {
        let mut connection = open();
        let mut count = 0;
        while connection.recv(bytes).is_ok() {
            output(&mut connection);
            count += 1;
        }
        assert!(output(&mut connection).ends_with(&[0, 0, 0, 11]));
        count
    };
    // Ten units are spent by the exchange of settings.
    assert_eq!(flood(&frame(6, 0, 0, &[0; 8])), 990);
    assert_eq!(flood(&frame(6, 1, 0, &[0; 8])), 990);
    assert_eq!(flood(&frame(4, 0, 0, &[])), 198);
    assert_eq!(flood(&frame(2, 0, 1, &[0; 5])), 990);
    assert_eq!(flood(&frame(0xff, 0, 1, &[0; 5])), 990);
    assert_eq!(flood(&frame(8, 0, 0, &[0, 0, 0, 1])), 990);

    let mut connection = open();
    connection.recv(&frame(1, 4, 1, POST)).unwrap();
    let error = connection.recv(&frame(0, 0, 1, &[]).repeat(991)).unwrap_err();
    assert_eq!(error.code, Code::Calm);

    let resets = |connection: &mut Connection, from: u32| {
        (from..2000).find(|n| {
            let id = 2 * n + 1;
            let both = [frame(1, 5, id, GET), frame(3, 0, id, &[0, 0, 0, 8])].concat();
            connection.recv(&both).is_err()
        })
    };
    assert_eq!(resets(&mut open(), 0), Some(99));
    let mut connection = open();
    for n in 0..90 {
        let id = 2 * n + 1;
        connection.recv(&frame(1, 5, id, GET)).unwrap();
        connection.recv(&frame(3, 0, id, &[0, 0, 0, 8])).unwrap();
    }
    connection.tick();
    assert_eq!(resets(&mut connection, 90), Some(190));
}

#[test]
fn replies_that_nobody_reads() {
    let mut connection = open();
    let pings = frame(6, 0, 0, &[0; 8]).repeat(900);
    let mut failed = None;
    for _ in 0..10 {
        connection.tick();
        failed = failed.or(connection.recv(&pings).err());
        assert!(connection.control.len() < 40_000);
    }
    assert_eq!(failed.map(|e| e.code), Some(Code::Calm));
}

#[test]
fn window_updates_are_paid_by_what_is_sent() {
    let mut connection = asked();
    connection.recv(&frame(8, 0, 0, &[0x7f, 0, 0, 0])).unwrap();
    connection.respond(1, 200, &[], false).unwrap();
    let shared: Rc<[u8]> = vec![0; 4096].into();
    let updates = [frame(8, 0, 0, &[0, 0, 0x10, 0]), frame(8, 0, 1, &[0, 0, 0x10, 0])].concat();
    for _ in 0..5000 {
        connection.send(1, shared.clone().into(), false).unwrap();
        assert!(output(&mut connection).len() > 4096);
        connection.recv(&updates).unwrap();
    }
}

#[test]
fn stalled_requests() {
    let mut connection = open();
    connection.recv(&frame(1, 4, 1, POST)).unwrap();
    connection.recv(&frame(1, 5, 3, GET)).unwrap();
    connection.tick();
    connection.recv(&frame(0, 0, 1, b"x")).unwrap();
    connection.tick();
    assert_eq!(output(&mut connection), b"");
    connection.tick();
    assert_eq!(output(&mut connection), frame(3, 0, 1, &[0, 0, 0, 8]));
    assert!(matches!(connection.next_event(), Some(Event::Request(r)) if r.stream == 3));
    assert_eq!((connection.next_event(), connection.bodies), (None, 0));
}

#[test]
fn pings() {
    let mut connection = open();
    connection.recv(&frame(6, 0, 0, b"12345678")).unwrap();
    assert_eq!(output(&mut connection), frame(6, 1, 0, b"12345678"));
    connection.ping();
    assert_eq!(output(&mut connection), frame(6, 0, 0, &[0; 8]));
    connection.recv(&frame(6, 1, 0, &[0; 8])).unwrap();
    connection.recv(&frame(6, 1, 0, &[0; 8])).unwrap();
    assert_eq!(connection.next_event(), Some(Event::Pong));
    assert_eq!(connection.next_event(), None);
}

#[test]
fn graceful_end() {
    let mut connection = asked();
    connection.go_away();
    connection.go_away();
    assert_eq!(output(&mut connection), frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    connection.recv(&frame(1, 5, 3, GET)).unwrap();
    assert_eq!(output(&mut connection), frame(3, 0, 3, &[0, 0, 0, 7]));
    connection.respond(1, 200, &[], true).unwrap();
    assert_eq!(output(&mut connection), frame(1, 5, 1, b"\x88"));
    assert_eq!(connection.open_streams(), 0);
}

#[test]
fn with_our_client() {
    let mut server = Connection::new(LIMIT);
    let mut client = Client::new(client::GO_WINDOW);
    let stream = client.request("POST", "/x", &[("ts-lb", "key")], vec![5; 90_000]);
    let mut body = Vec::new();
    let mut answered = false;
    for _ in 0..100 {
        let mut out = Vec::new();
        client.take_output(&mut out);
        server.recv(&out).unwrap();
        while let Some(event) = server.next_event() {
            if let Event::Request(request) = event {
                assert_eq!((request.body.len(), request.header("ts-lb")), (90_000, Some("key")));
                server.respond(request.stream, 200, &[("x", "y")], false).unwrap();
                server.send(request.stream, vec![6; 200_000].into(), true).unwrap();
            }
        }
        client.recv(&output(&mut server)).unwrap();
        while let Some(event) = client.next_event() {
            match event {
                client::Event::Answer { status, headers, .. } => {
                    assert_eq!((status, headers), (200, vec![("x".into(), "y".into())]));
                    answered = true;
                }
                client::Event::Data { bytes, .. } => body.extend(bytes),
                client::Event::End { stream: ended } => {
                    assert_eq!(ended, stream);
                    assert!(answered && body == vec![6; 200_000]);
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    panic!("no end");
}
