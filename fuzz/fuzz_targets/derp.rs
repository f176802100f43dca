//! A stream of DERP frames, cut at random places, gives what the whole gives; and each frame read
//! and written again is the frame.
#![no_main]

use gramscale_proto::wire::derp::{Frame, HEADER_LEN, Reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (stream, cuts) = input;
    let whole = read([&stream[..]].into_iter());
    let mut rest = &stream[..];
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, tail) = rest.split_at(usize::from(cut).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces.push(rest);
    assert_eq!(read(pieces.into_iter()), whole);
});

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Vec<u8>, String>> {
    let mut reader = Reader::default();
    let mut seen = Vec::new();
    for mut piece in pieces {
        loop {
            match reader.next(&mut piece) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let mut bytes = Vec::new();
                    frame.emit(&mut bytes);
                    if !matches!(frame, Frame::Unknown(_)) {
                        assert_eq!(Frame::parse(bytes[0], &bytes[HEADER_LEN..]), Ok(frame));
                    }
                    seen.push(Ok(bytes));
                }
                Err(error) => {
                    seen.push(Err(error.to_string()));
                    return seen;
                }
            }
        }
    }
    seen
}
