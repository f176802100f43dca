//! Heads of requests and responses, chunked bodies and escapes: what is complete does not depend
//! on what follows, nor on how it was cut.
#![no_main]

use gramscale_proto::wire::http1::chunked::{ChunkError, Decoder};
use gramscale_proto::wire::http1::{Head, ResponseHead, encode, form, has_end, percent_decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (bytes, cuts) = input;
    if let Ok(Some((head, length))) = Head::parse(&bytes) {
        assert!(has_end(&bytes[..length], 0));
        assert_eq!(Head::parse(&bytes[..length]), Ok(Some((head.clone(), length))));
        assert!(head.path == "*" || head.path.starts_with('/'));
        head.segments().chain(head.params().map(|(key, _)| key)).for_each(drop);
    }
    if let Ok(Some((head, length))) = ResponseHead::parse(&bytes) {
        assert_eq!(ResponseHead::parse(&bytes[..length]), Ok(Some((head, length))));
    }
    assert_eq!(decode(&bytes, &[]), decode(&bytes, &cuts));
    form(&bytes).for_each(drop);
    if let Ok(text) = std::str::from_utf8(&bytes) {
        let mut escaped = String::new();
        encode(text, &mut escaped);
        assert_eq!(percent_decode(&escaped, true).as_deref(), Some(text));
    }
});

fn decode(mut rest: &[u8], cuts: &[u8]) -> Result<(Vec<u8>, usize, bool), ChunkError> {
    const LIMIT: usize = 4096;
    let mut decoder = Decoder::new(LIMIT);
    let (mut body, mut taken) = (Vec::new(), 0);
    for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([usize::MAX]) {
        let (piece, tail) = rest.split_at(cut.min(rest.len()));
        let n = decoder.feed(piece, &mut body)?;
        assert!(n == piece.len() || decoder.is_done());
        assert!(body.len() <= LIMIT);
        taken += n;
        rest = tail;
        if decoder.is_done() {
            break;
        }
    }
    Ok((body, taken, decoder.is_done()))
}
