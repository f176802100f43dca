//! The encrypted transport of the control protocol (Tailscale `control/controlbase`): a handshake
//! `Noise_IK_25519_ChaChaPoly_BLAKE2s` and a record layer of its own.
//!
//! [`Responder`] and [`Initiator`] make a [`Session`]; its [`Sealer`] and [`Opener`] are the two
//! directions of the record layer. Randomness comes in as an argument.
//!
//! The handshake is written out here over three primitives that the program contains anyway. The
//! snow crate would drive the same pattern, but its records count nonces the other way round, so
//! only its handshake could be used, and that costs 38 KB of x86-64 code with these primitives
//! plugged in and 63 KB with its own. It is the oracle of the tests instead.

mod handshake;
mod record;

use std::fmt;

use super::key::MachineKey;
pub use handshake::{Initiator, Responder};
pub use record::{Opener, Sealer};

/// Bytes of the message that opens a handshake, with its header (`initiationMessage`).
pub const INITIATION_LEN: usize = 101;
/// Bytes of the answer to it (`responseMessage`).
pub const RESPONSE_LEN: usize = 51;
/// Bytes of a whole record at most (`maxMessageSize`).
pub const MAX_FRAME: usize = 4096;
/// Bytes that one record carries at most (`maxPlaintextSize`).
pub const MAX_PLAIN: usize = MAX_FRAME - HEADER_LEN - gramscale_aead::TAG_LEN;

/// Type and length before every message but the first.
const HEADER_LEN: usize = 3;
const TYPE_INITIATION: u8 = 1;
const TYPE_RESPONSE: u8 = 2;
const TYPE_ERROR: u8 = 3;
const TYPE_RECORD: u8 = 4;

/// An established transport.
#[derive(Debug)]
pub struct Session {
    /// Who is at the other end, proved by the handshake.
    pub peer: MachineKey,
    /// The protocol version both ends agree on, which is the client's capability version.
    pub version: u16,
    /// Encrypts what we send.
    pub seal: Sealer,
    /// Decrypts what we receive.
    pub open: Opener,
}

/// Appends the message that refuses a handshake; clients show `text` to people.
///
/// The text is not authenticated. Longer ones than fit a frame are cut.
pub fn refuse(text: &str, out: &mut Vec<u8>) {
    // A character has four bytes at most.
    let whole = (MAX_FRAME - HEADER_LEN - 3..=MAX_FRAME - HEADER_LEN).rev();
    let text = whole.filter_map(|len| text.get(..len)).next().unwrap_or(text);
    out.extend_from_slice(&header(TYPE_ERROR, text.len()));
    out.extend_from_slice(text.as_bytes());
}

/// The header of a message; `len` is below [`MAX_FRAME`].
fn header(kind: u8, len: usize) -> [u8; HEADER_LEN] {
    let [high, low] = (len as u16).to_be_bytes();
    [kind, high, low]
}

/// Why a transport cannot be made or go on. All are fatal to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseError {
    /// A message of a handshake has another type or length than the protocol gives it.
    Malformed,
    /// The handshake does not verify: made for another server key, or altered.
    Handshake,
    /// A frame of a type that does not belong here.
    Type(u8),
    /// A record that is shorter than its tag or longer than [`MAX_FRAME`].
    Length(u16),
    /// A record does not verify: altered, repeated or left out.
    Record,
    /// All nonces of a direction are used.
    Exhausted,
}

impl fmt::Display for NoiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the handshake message has a wrong length or type"),
            Self::Handshake => {
                f.write_str("the handshake does not verify; the client may hold an old server key")
            }
            Self::Type(kind) => write!(f, "frame type {kind} where a record is expected"),
            Self::Length(len) => write!(f, "a record of {len} bytes"),
            Self::Record => f.write_str("a record does not verify"),
            Self::Exhausted => f.write_str("the session has used all its nonces"),
        }
    }
}

impl std::error::Error for NoiseError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal() {
        let mut out = Vec::new();
        refuse("too old", &mut out);
        assert_eq!(out, b"\x03\x00\x07too old");
        out.clear();
        refuse(&"é".repeat(3000), &mut out);
        assert_eq!((out.len(), &out[..3]), (3 + 4092, &[3, 0x0f, 0xfc][..]));
        out.clear();
        refuse(&"x".repeat(MAX_FRAME - HEADER_LEN), &mut out);
        assert_eq!(out.len(), MAX_FRAME);
    }
}
