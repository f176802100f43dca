//! The cipher in Rust, for every processor.

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};

use crate::TAG_LEN;

pub(super) fn seal(
    key: &[u8; 32],
    nonce: &[u8; 12],
    ad: &[u8],
    text: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    let sealed = ChaCha20Poly1305::new(Key::from_slice(key)).encrypt_in_place_detached(
        Nonce::from_slice(nonce),
        ad,
        text,
    );
    sealed.ok().map(Into::into)
}

pub(super) fn open(
    key: &[u8; 32],
    nonce: &[u8; 12],
    ad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Option<()> {
    ChaCha20Poly1305::new(Key::from_slice(key))
        .decrypt_in_place_detached(Nonce::from_slice(nonce), ad, text, Tag::from_slice(tag))
        .ok()
}
