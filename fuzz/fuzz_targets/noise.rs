//! Records cut at random places open to what was sealed, a damaged one to nothing; and no bytes
//! make a handshake panic.
#![no_main]

use gramscale_proto::wire::key::PrivateKey;
use gramscale_proto::wire::noise::{Initiator, Opener, Responder, Sealer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<Vec<u8>>, Vec<u8>, Option<(u16, u8)>, Vec<u8>)| {
    let (texts, cuts, damage, raw) = input;
    let mut sealer = Sealer::new([1; 32]);
    let mut stream = Vec::new();
    for text in &texts {
        sealer.seal(text, &mut stream).unwrap();
    }
    let whole = texts.concat();
    assert_eq!(open(&stream, &cuts), Ok(whole.clone()));
    if let Some((at, flip)) = damage
        && let Some(byte) = stream.get_mut(usize::from(at))
        && flip != 0
    {
        *byte ^= flip;
        // A longer length may wait for bytes that never come; nothing wrong comes out.
        if let Ok(opened) = open(&stream, &cuts) {
            assert!(opened.len() < whole.len() && whole.starts_with(&opened));
        }
    }
    let _ = open(&raw, &cuts);

    let responder = Responder::new(PrivateKey::from([2; 32]));
    assert!(responder.accept([3; 32], &raw).is_err());
    let (initiator, _) =
        Initiator::start(PrivateKey::from([4; 32]), responder.public(), [5; 32], 1).unwrap();
    assert!(initiator.finish(&raw).is_err());
});

fn open(stream: &[u8], cuts: &[u8]) -> Result<Vec<u8>, ()> {
    let mut opener = Opener::new([1; 32]);
    let mut stream = stream.to_vec();
    let mut rest = &mut stream[..];
    let mut opened = Vec::new();
    for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([usize::MAX]) {
        let (piece, tail) = rest.split_at_mut(cut.min(rest.len()));
        rest = tail;
        let mut at = 0;
        while let Some(text) = opener.next(piece, &mut at).map_err(|_| ())? {
            opened.extend_from_slice(text);
        }
    }
    Ok(opened)
}
