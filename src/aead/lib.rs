//! ChaCha20-Poly1305 (RFC 8439) behind two functions that are not generic.
//!
//! The cipher's own crates are generic and would be instantiated in their caller, at the caller's
//! optimisation level ("s", for size). Here they are instantiated once, in a crate that is built
//! at level 3, which is more than twice as fast on MIPS for 10 KB of code.
//!
//! On x86-64 and ARM64 the feature `ring` takes that library's assembly instead. Most messages are
//! short, and the crates' vector code spends five times as much on one of 160 bytes.
#![forbid(unsafe_code)]

use std::fmt;

#[cfg(all(feature = "ring", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod assembly;
#[cfg(any(test, not(all(feature = "ring", any(target_arch = "x86_64", target_arch = "aarch64")))))]
mod portable;

#[cfg(all(feature = "ring", any(target_arch = "x86_64", target_arch = "aarch64")))]
use assembly as cipher;
#[cfg(not(all(feature = "ring", any(target_arch = "x86_64", target_arch = "aarch64"))))]
use portable as cipher;

/// Bytes of the authentication tag.
pub const TAG_LEN: usize = 16;

/// Encrypts `text` in place and returns its tag.
///
/// A `(key, nonce)` pair must never be used for two texts.
#[inline(never)]
pub fn seal(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
    // The ciphers refuse only texts of 256 GiB and more.
    cipher::seal(key, nonce, ad, text).unwrap_or([0; TAG_LEN])
}

/// Decrypts `text` in place if `tag` belongs to it; on error `text` is worth nothing.
#[inline(never)]
pub fn open(
    key: &[u8; 32],
    nonce: &[u8; 12],
    ad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), Forged> {
    cipher::open(key, nonce, ad, text, tag).ok_or(Forged)
}

/// The tag does not belong to the text: it was altered, or made with another key or nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

impl fmt::Display for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message failed authentication")
    }
}

impl std::error::Error for Forged {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8439_section_2_8_2() {
        let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
        let nonce = [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47];
        let ad = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one \
                      tip for the future, sunscreen would be it.";
        let mut text = plain.to_vec();
        let tag = seal(&key, &nonce, &ad, &mut text);
        assert_eq!(text[..8], [0xd3, 0x1a, 0x8d, 0x34, 0x64, 0x8e, 0x60, 0xdb]);
        assert_eq!(tag[..8], [0x1a, 0xe1, 0x0b, 0x59, 0x4f, 0x09, 0xe2, 0x6a]);
        assert_eq!(open(&key, &nonce, &ad[1..], &mut text.clone(), &tag), Err(Forged));
        open(&key, &nonce, &ad, &mut text, &tag).unwrap();
        assert_eq!(text, plain);
    }

    #[test]
    fn both_ciphers_are_the_same() {
        let (key, nonce, ad) = ([7; 32], [3; 12], [5; 40]);
        for len in (0..600).chain([4077, 12_231]) {
            let plain: Vec<u8> = (0..len).map(|i| (i * 31) as u8).collect();
            let ad = &ad[..len % ad.len()];
            let (mut ours, mut portable) = (plain.clone(), plain.clone());
            let tag = seal(&key, &nonce, ad, &mut ours);
            assert_eq!(portable::seal(&key, &nonce, ad, &mut portable), Some(tag), "{len}");
            assert_eq!(ours, portable, "{len}");
            let mut other = tag;
            other[len % TAG_LEN] ^= 1;
            assert_eq!(open(&key, &nonce, ad, &mut ours.clone(), &other), Err(Forged), "{len}");
            open(&key, &nonce, ad, &mut ours, &tag).unwrap();
            portable::open(&key, &nonce, ad, &mut portable, &tag).unwrap();
            assert!(ours == plain && portable == plain, "{len}");
        }
    }
}
