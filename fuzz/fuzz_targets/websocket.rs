//! Frames, cut at random places, give what the whole gives; what is framed comes out again.
#![no_main]

use gramscale_proto::wire::websocket::{Decoder, FrameError, HEADER, write_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>, [u8; 4])| {
    let (bytes, cuts, mask) = input;
    assert_eq!(decode(&bytes, &[]), decode(&bytes, &cuts));
    let mut frame = Vec::new();
    write_header(&mut frame, bytes.len());
    assert!(frame.len() <= HEADER);
    frame[1] |= 0x80;
    frame.extend_from_slice(&mask);
    frame.extend(bytes.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    assert_eq!(decode(&frame, &cuts), Ok((bytes, Vec::new(), false)));
});

fn decode(mut rest: &[u8], cuts: &[u8]) -> Result<(Vec<u8>, Vec<u8>, bool), FrameError> {
    let mut decoder = Decoder::default();
    let (mut plain, mut replies) = (Vec::new(), Vec::new());
    for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([usize::MAX]) {
        let (piece, tail) = rest.split_at(cut.min(rest.len()));
        let (mut piece, before) = (piece.to_vec(), replies.len());
        let n = decoder.decode(&mut piece, &mut replies)?;
        assert!(n <= piece.len() && replies.len() - before <= piece.len() + 129);
        plain.extend_from_slice(&piece[..n]);
        rest = tail;
    }
    Ok((plain, replies, decoder.is_closed()))
}
