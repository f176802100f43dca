//! The cipher of ring, where that is one piece of assembly.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};

use crate::TAG_LEN;

pub(super) fn seal(
    key: &[u8; 32],
    nonce: &[u8; 12],
    ad: &[u8],
    text: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let tag = with(key)?.seal_in_place_separate_tag(nonce, Aad::from(ad), text).ok()?;
    tag.as_ref().try_into().ok()
}

pub(super) fn open(
    key: &[u8; 32],
    nonce: &[u8; 12],
    ad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Option<()> {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened =
        with(key)?.open_in_place_separate_tag(nonce, Aad::from(ad), Tag::from(*tag), text, 0..);
    opened.ok().map(drop)
}

fn with(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(LessSafeKey::new)
}
