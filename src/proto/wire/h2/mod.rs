//! HTTP/2 (RFC 9113) as the clients of the control protocol speak it inside Noise: a connection
//! with prior knowledge, no push, no CONNECT, request bodies that are small.
//!
//! [`Connection`] is the server's end without I/O: bytes in, [`Event`]s and bytes out. It owns
//! buffers only while something is partial or queued. Work that a peer can cause and that costs
//! the peer nothing (resets, pings, settings, empty frames) is paid from a budget.
//!
//! [`client`] is enough of the other end for tests and load generators.

pub mod client;
mod connection;
mod frame;
mod hpack;
mod huffman;
mod request;
mod stream;

use std::fmt;

pub use connection::{Connection, Event};
pub use request::Request;
pub use stream::{Part, SendError};

/// What opens a connection before its first frame (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A flow-control window before any setting or update (section 6.9.2).
const DEFAULT_WINDOW: i32 = 65535;

/// Error codes (RFC 9113, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Nothing is wrong; closing gracefully.
    None = 0,
    /// The peer broke the protocol.
    Protocol = 1,
    /// We failed.
    Internal = 2,
    /// More was sent than a window allows.
    FlowControl = 3,
    /// A frame for a stream that has ended.
    StreamClosed = 5,
    /// A frame of a wrong size.
    FrameSize = 6,
    /// The request was not looked at and can be repeated.
    Refused = 7,
    /// The stream is not needed any more.
    Cancel = 8,
    /// The state of header compression is lost.
    Compression = 9,
    /// The peer causes too much work.
    Calm = 11,
}

/// Why a connection is at an end. What is queued, a GOAWAY with the code, should still be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H2Error {
    /// What the peer is told.
    pub code: Code,
    /// What happened, for the log.
    pub reason: &'static str,
}

impl H2Error {
    pub(crate) const fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

impl fmt::Display for H2Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HTTP/2: ")?;
        f.write_str(self.reason)
    }
}

impl std::error::Error for H2Error {}
