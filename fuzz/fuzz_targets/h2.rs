//! Whatever comes after the preface of HTTP/2, in pieces, does what it does as a whole, and leaves
//! nothing queued for streams that are gone.
#![no_main]

use std::rc::Rc;

use gramscale_proto::wire::h2::{Connection, Event, H2Error, Part};
use libfuzzer_sys::fuzz_target;

const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (stream, cuts) = input;
    let stream = [OPENING, &stream].concat();
    let whole = run([&stream[..]].into_iter(), false);
    let mut pieces = Vec::new();
    let mut rest = &stream[..];
    for cut in cuts {
        let (piece, tail) = rest.split_at(usize::from(cut).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces.push(rest);
    assert_eq!(run(pieces.iter().copied(), false), whole);
    // Answers change what frames do, so here only the invariants are checked.
    run(pieces.iter().copied(), true);
});

type Seen = (Vec<Event>, Vec<u8>, Option<H2Error>);

fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>, answer: bool) -> Seen {
    let mut connection = Connection::new(5000);
    let (mut events, mut out, mut error) = (Vec::new(), Vec::new(), None);
    let shared: Rc<[u8]> = vec![7; 70_000].into();
    let mut open = Vec::new();
    for piece in pieces {
        error = error.or(connection.recv(piece).err());
        if !answer {
            continue;
        }
        while let Some(event) = connection.next_event() {
            match event {
                Event::Request(request) => {
                    assert!(request.body.len() <= 5000 && request.stream % 2 == 1);
                    let id = request.stream;
                    connection.respond(id, 200, &[("content-type", "a/b")], false).unwrap();
                    connection.send(id, Part::Shared(shared.clone()), false).unwrap();
                    open.push(id);
                }
                Event::Drained { stream } => {
                    assert_eq!(connection.queued(stream), 0);
                    connection.send(stream, Part::Owned(vec![1]), true).unwrap();
                    open.retain(|id| *id != stream);
                }
                Event::Cancelled { stream } => {
                    assert_eq!(connection.queued(stream), 0);
                    open.retain(|id| *id != stream);
                }
                Event::Pong => {}
            }
        }
        connection.take_output(&mut out, 9000);
    }
    while let Some(event) = connection.next_event() {
        events.push(event);
    }
    assert!(connection.open_streams() <= 32);
    if answer {
        // Each open answer holds its part once, and nothing else does.
        assert!(Rc::strong_count(&shared) <= 1 + connection.open_streams());
    }
    connection.take_output(&mut out, usize::MAX);
    (events, out, error)
}
