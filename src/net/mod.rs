//! Connections: listeners, places and their limits, streams, the HTTP/1.1 server.
//!
//! Knows nothing of tailnets. One [`Stream`] type stands for TCP, unix sockets, TLS and
//! WebSockets, so that what is built on it is compiled once.

pub mod fetch;
mod forwarded;
pub mod http;
pub mod listen;
pub mod places;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;
pub mod websocket;

use std::net::SocketAddr;

pub use stream::Stream;

use self::places::Slot;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `None` for a unix socket; without a port if a proxy told it.
    pub addr: Option<SocketAddr>,
    /// Whether the connection is encrypted by our own TLS.
    pub tls: bool,
}

/// An accepted connection; also what is left of one after an HTTP upgrade.
#[derive(Debug)]
pub struct Connection {
    /// Reads first what was read of it already.
    pub stream: Stream,
    /// Who is at the other end.
    pub peer: Peer,
    /// The place it occupies.
    pub slot: Slot,
}
