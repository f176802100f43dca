//! DERP version 2: the frames between a relay and its clients (client `derp/derp.go`).
//!
//! A frame is one byte of type, the length of its payload as four bytes big-endian, and the
//! payload. [`Frame`] is one frame whose data stays where it was read, [`Reader`] finds frames in a
//! stream of bytes, [`login`] holds the two sealed messages that open a connection.
//!
//! A connection: the server sends `ServerKey`, the client `ClientInfo`, the server `ServerInfo`;
//! then packets flow. Either side skips types it does not know.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::key::{KEY_LEN, NodeKey};

pub mod login;
mod reader;

pub use reader::Reader;

/// The version of the protocol spoken here, in `ClientInfo`, `ServerInfo` and `Derp-Version`.
pub const VERSION: u8 = 2;
/// Bytes before the payload: the type and the length.
pub const HEADER_LEN: usize = 5;
/// What a `ServerKey` frame begins with: `DERP` and the key emoji.
pub const MAGIC: [u8; 8] = *b"DERP\xF0\x9F\x94\x91";
/// Bytes of a relayed packet at most; the clients never send more.
pub const MAX_PACKET: usize = 64 << 10;
/// Bytes of payload above which a frame of unknown type is no longer skipped: the clients' limit
/// for any frame.
pub const MAX_FRAME: usize = 1 << 20;
/// Bytes of payload of `ClientInfo` and `ServerInfo` at most. Real ones have under 300; the
/// reference takes 256 KiB, from somebody who has proven nothing yet.
pub const MAX_LOGIN: usize = 4 << 10;
/// Bytes of payload of every other frame at most, as in the reference.
pub const MAX_OTHER: usize = 1000;

/// Flag of `PeerPresent`: an ordinary client.
pub const PRESENT_REGULAR: u8 = 1;
/// Flag of `PeerPresent`: another relay of the mesh.
pub const PRESENT_MESH: u8 = 2;
/// Flag of `PeerPresent`: a prober.
pub const PRESENT_PROBER: u8 = 4;
/// Flag of `PeerPresent`: a client that would rather be on another node of the region.
pub const PRESENT_NOT_IDEAL: u8 = 8;

const SERVER_KEY: u8 = 0x01;
const CLIENT_INFO: u8 = 0x02;
const SERVER_INFO: u8 = 0x03;
const SEND_PACKET: u8 = 0x04;
const RECV_PACKET: u8 = 0x05;
const KEEP_ALIVE: u8 = 0x06;
const NOTE_PREFERRED: u8 = 0x07;
const PEER_GONE: u8 = 0x08;
const PEER_PRESENT: u8 = 0x09;
const FORWARD_PACKET: u8 = 0x0A;
const WATCH_CONNS: u8 = 0x10;
const CLOSE_PEER: u8 = 0x11;
const PING: u8 = 0x12;
const PONG: u8 = 0x13;
const HEALTH: u8 = 0x14;
const RESTARTING: u8 = 0x15;

/// One frame. Payloads may be longer than is told here; what follows is for later versions and is
/// ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Client: who it is, with a sealed [`login::ClientInfo`] (nonce and box).
    ClientInfo {
        /// The client's node key.
        key: NodeKey,
        /// 24 bytes of nonce and the box.
        sealed: &'a [u8],
    },
    /// Mesh: close the connections of a key.
    ClosePeer(NodeKey),
    /// Mesh: a packet from a client of another relay.
    ForwardPacket {
        /// The key it comes from.
        src: NodeKey,
        /// The key it goes to.
        dst: NodeKey,
        /// The packet.
        data: &'a [u8],
    },
    /// Server: what is wrong with the connection; empty when all is well again.
    Health(&'a str),
    /// Server: nothing, so that the client sees a live connection (it waits 120 s).
    KeepAlive,
    /// Client: whether this relay is its home.
    NotePreferred(bool),
    /// Server: a key that has sent to this client is no longer reachable here.
    PeerGone {
        /// The key that went.
        key: NodeKey,
        /// Why.
        reason: GoneReason,
    },
    /// Server to mesh: a key is connected.
    PeerPresent {
        /// The key that came.
        key: NodeKey,
        /// Where it connected from.
        addr: SocketAddr,
        /// [`PRESENT_REGULAR`] and its like.
        flags: u8,
    },
    /// Either: asks for a [`Frame::Pong`] with the same bytes.
    Ping([u8; 8]),
    /// Either: answers a [`Frame::Ping`].
    Pong([u8; 8]),
    /// Server: a packet for the client.
    RecvPacket {
        /// The key it comes from.
        src: NodeKey,
        /// The packet.
        data: &'a [u8],
    },
    /// Server: it restarts. Milliseconds on the wire.
    Restarting {
        /// How long the client waits before it connects again.
        reconnect_in: Duration,
        /// How long it then tries.
        try_for: Duration,
    },
    /// Client: a packet for another client.
    SendPacket {
        /// The key it goes to.
        dst: NodeKey,
        /// The packet.
        data: &'a [u8],
    },
    /// Server: a sealed `ServerInfo` (nonce and box), which ends the login.
    ServerInfo {
        /// 24 bytes of nonce and the box.
        sealed: &'a [u8],
    },
    /// Server: its key, first of all.
    ServerKey(NodeKey),
    /// A type that is not known here; its payload is skipped.
    Unknown(u8),
    /// Mesh: asks to be told who comes and goes.
    WatchConns,
}

/// Why a peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoneReason {
    /// It was connected here and is no longer.
    Disconnected,
    /// It is not connected here; the answer to a packet for it.
    NotHere,
    /// A reason of a later version.
    Other(u8),
}

impl GoneReason {
    fn byte(self) -> u8 {
        match self {
            Self::Disconnected => 0,
            Self::NotHere => 1,
            Self::Other(byte) => byte,
        }
    }
}

impl<'a> Frame<'a> {
    /// Reads the payload of a frame of type `kind`.
    pub fn parse(kind: u8, payload: &'a [u8]) -> Result<Self, FrameError> {
        Self::read(kind, payload).ok_or(FrameError::Malformed { kind })
    }

    fn read(kind: u8, mut payload: &'a [u8]) -> Option<Self> {
        let rest = &mut payload;
        Some(match kind {
            SERVER_KEY => {
                if take::<8>(rest)? != MAGIC {
                    return None;
                }
                Self::ServerKey(key(rest)?)
            }
            CLIENT_INFO => Self::ClientInfo { key: key(rest)?, sealed: rest },
            SERVER_INFO => Self::ServerInfo { sealed: rest },
            SEND_PACKET => Self::SendPacket { dst: key(rest)?, data: packet(rest)? },
            RECV_PACKET => Self::RecvPacket { src: key(rest)?, data: packet(rest)? },
            KEEP_ALIVE => Self::KeepAlive,
            NOTE_PREFERRED => Self::NotePreferred(take::<1>(rest)? == [1]),
            PEER_GONE => {
                let key = key(rest)?;
                // The first version of the frame had no reason.
                let reason = match rest.first().copied().unwrap_or(0) {
                    0 => GoneReason::Disconnected,
                    1 => GoneReason::NotHere,
                    other => GoneReason::Other(other),
                };
                Self::PeerGone { key, reason }
            }
            PEER_PRESENT => {
                let key = key(rest)?;
                let ip = Ipv6Addr::from(take::<16>(rest)?).to_canonical();
                let addr = SocketAddr::new(ip, u16::from_be_bytes(take(rest)?));
                Self::PeerPresent { key, addr, flags: rest.first().copied().unwrap_or(0) }
            }
            FORWARD_PACKET => {
                Self::ForwardPacket { src: key(rest)?, dst: key(rest)?, data: packet(rest)? }
            }
            WATCH_CONNS => Self::WatchConns,
            CLOSE_PEER => Self::ClosePeer(key(rest)?),
            PING => Self::Ping(take(rest)?),
            PONG => Self::Pong(take(rest)?),
            HEALTH => Self::Health(std::str::from_utf8(rest).ok()?),
            RESTARTING => Self::Restarting { reconnect_in: millis(rest)?, try_for: millis(rest)? },
            kind => Self::Unknown(kind),
        })
    }

    /// The frame as bytes, in two parts: those that are made here, and its data, which stays where
    /// it is. A frame of unknown type has no payload.
    pub fn parts(&self) -> (Head, &'a [u8]) {
        let mut head = Head { bytes: [0; Head::MAX], len: HEADER_LEN };
        let (kind, body): (u8, &[u8]) = match self {
            Self::ServerKey(key) => {
                head.push(&MAGIC);
                head.push(&key.0);
                (SERVER_KEY, &[])
            }
            Self::ClientInfo { key, sealed } => {
                head.push(&key.0);
                (CLIENT_INFO, sealed)
            }
            Self::ServerInfo { sealed } => (SERVER_INFO, sealed),
            Self::SendPacket { dst, data } => {
                head.push(&dst.0);
                (SEND_PACKET, data)
            }
            Self::RecvPacket { src, data } => {
                head.push(&src.0);
                (RECV_PACKET, data)
            }
            Self::KeepAlive => (KEEP_ALIVE, &[]),
            Self::NotePreferred(preferred) => {
                head.push(&[u8::from(*preferred)]);
                (NOTE_PREFERRED, &[])
            }
            Self::PeerGone { key, reason } => {
                head.push(&key.0);
                head.push(&[reason.byte()]);
                (PEER_GONE, &[])
            }
            Self::PeerPresent { key, addr, flags } => {
                head.push(&key.0);
                head.push(&match addr.ip() {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    IpAddr::V6(ip) => ip.octets(),
                });
                head.push(&addr.port().to_be_bytes());
                head.push(&[*flags]);
                (PEER_PRESENT, &[])
            }
            Self::ForwardPacket { src, dst, data } => {
                head.push(&src.0);
                head.push(&dst.0);
                (FORWARD_PACKET, data)
            }
            Self::WatchConns => (WATCH_CONNS, &[]),
            Self::ClosePeer(key) => {
                head.push(&key.0);
                (CLOSE_PEER, &[])
            }
            Self::Ping(bytes) => {
                head.push(bytes);
                (PING, &[])
            }
            Self::Pong(bytes) => {
                head.push(bytes);
                (PONG, &[])
            }
            Self::Health(text) => (HEALTH, text.as_bytes()),
            Self::Restarting { reconnect_in, try_for } => {
                for time in [reconnect_in, try_for] {
                    let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
                    head.push(&millis.to_be_bytes());
                }
                (RESTARTING, &[])
            }
            Self::Unknown(kind) => (*kind, &[]),
        };
        let payload = head.len.saturating_sub(HEADER_LEN).saturating_add(body.len());
        let [k, l0, l1, l2, l3, ..] = &mut head.bytes;
        *k = kind;
        [*l0, *l1, *l2, *l3] = u32::try_from(payload).unwrap_or(u32::MAX).to_be_bytes();
        (head, body)
    }

    /// Appends the frame to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let (head, body) = self.parts();
        out.extend_from_slice(&head);
        out.extend_from_slice(body);
    }
}

/// The first bytes of a frame: its header and what has a fixed length. Derefs to bytes.
pub struct Head {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl Head {
    /// The longest: `ForwardPacket`, with two keys.
    const MAX: usize = HEADER_LEN + 2 * KEY_LEN;

    fn push(&mut self, part: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..).and_then(|b| b.get_mut(..part.len())) {
            room.copy_from_slice(part);
            self.len += part.len();
        }
    }
}

impl std::ops::Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Whether a packet is a path discovery message: it begins with `TS` and the speech bubble emoji
/// and has at least the sender's key and a nonce (client `disco/disco.go`).
pub fn is_disco(packet: &[u8]) -> bool {
    packet.len() >= 62 && packet.starts_with(b"TS\xF0\x9F\x92\xAC")
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The payload is not what the type demands.
    Malformed {
        /// The type.
        kind: u8,
    },
    /// The payload is longer than the type allows.
    TooLong {
        /// The type.
        kind: u8,
        /// Bytes of payload announced.
        len: u32,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { kind } => write!(f, "malformed DERP frame of type {kind:#04x}"),
            Self::TooLong { kind, len } => {
                write!(f, "DERP frame of type {kind:#04x} announces {len} bytes, too many")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Bytes of payload that a frame of type `kind` may have; `None` for types that are skipped.
fn max_payload(kind: u8) -> Option<usize> {
    Some(match kind {
        CLIENT_INFO | SERVER_INFO => MAX_LOGIN,
        SEND_PACKET | RECV_PACKET => KEY_LEN + MAX_PACKET,
        FORWARD_PACKET => 2 * KEY_LEN + MAX_PACKET,
        SERVER_KEY..=RESTARTING if !matches!(kind, 0x0B..=0x0F) => MAX_OTHER,
        _ => return None,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn key(rest: &mut &[u8]) -> Option<NodeKey> {
    take(rest).map(NodeKey)
}

fn packet<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    (rest.len() <= MAX_PACKET).then_some(*rest)
}

fn millis(rest: &mut &[u8]) -> Option<Duration> {
    take(rest).map(|bytes| Duration::from_millis(u32::from_be_bytes(bytes).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeKey = NodeKey([0xAA; 32]);
    const B: NodeKey = NodeKey([0xBB; 32]);

    /// The header as written here, then `keys` (one byte stands for 32), then `tail`.
    fn bytes(header: [u8; 5], keys: &[u8], tail: &[u8]) -> Vec<u8> {
        let mut out = header.to_vec();
        keys.iter().for_each(|k| out.extend_from_slice(&[*k; 32]));
        out.extend_from_slice(tail);
        out
    }

    #[test]
    fn literal_frames() {
        let restarting =
            Frame::Restarting { reconnect_in: Duration::from_secs(1), try_for: Duration::ZERO };
        let addr = "192.0.2.1:41641".parse().unwrap();
        let present = b"\0\0\0\0\0\0\0\0\0\0\xFF\xFF\xC0\x00\x02\x01\xA2\xA9\x05";
        let flags = PRESENT_REGULAR | PRESENT_PROBER;
        let gone = |reason| Frame::PeerGone { key: B, reason };
        for (frame, expected) in [
            (
                Frame::ServerKey(A),
                [&b"\x01\0\0\0\x28DERP\xF0\x9F\x94\x91"[..], &[0xAA; 32]].concat(),
            ),
            (
                Frame::ClientInfo { key: A, sealed: b"box" },
                bytes([2, 0, 0, 0, 35], &[0xAA], b"box"),
            ),
            (Frame::ServerInfo { sealed: b"box" }, bytes([3, 0, 0, 0, 3], &[], b"box")),
            (
                Frame::SendPacket { dst: B, data: b"hello" },
                bytes([4, 0, 0, 0, 37], &[0xBB], b"hello"),
            ),
            (
                Frame::RecvPacket { src: A, data: b"hello" },
                bytes([5, 0, 0, 0, 37], &[0xAA], b"hello"),
            ),
            (Frame::KeepAlive, vec![6, 0, 0, 0, 0]),
            (Frame::NotePreferred(true), vec![7, 0, 0, 0, 1, 1]),
            (Frame::NotePreferred(false), vec![7, 0, 0, 0, 1, 0]),
            (gone(GoneReason::Disconnected), bytes([8, 0, 0, 0, 33], &[0xBB], &[0])),
            (gone(GoneReason::NotHere), bytes([8, 0, 0, 0, 33], &[0xBB], &[1])),
            (gone(GoneReason::Other(0xF0)), bytes([8, 0, 0, 0, 33], &[0xBB], &[0xF0])),
            (Frame::PeerPresent { key: A, addr, flags }, bytes([9, 0, 0, 0, 51], &[0xAA], present)),
            (
                Frame::ForwardPacket { src: A, dst: B, data: b"hello" },
                bytes([10, 0, 0, 0, 69], &[0xAA, 0xBB], b"hello"),
            ),
            (Frame::WatchConns, vec![0x10, 0, 0, 0, 0]),
            (Frame::ClosePeer(A), bytes([0x11, 0, 0, 0, 32], &[0xAA], &[])),
            (Frame::Ping(*b"12345678"), b"\x12\0\0\0\x0812345678".to_vec()),
            (Frame::Pong(*b"12345678"), b"\x13\0\0\0\x0812345678".to_vec()),
            (Frame::Health("ill"), b"\x14\0\0\0\x03ill".to_vec()),
            (restarting, b"\x15\0\0\0\x08\x00\x00\x03\xE8\0\0\0\0".to_vec()),
            (Frame::Unknown(0x42), vec![0x42, 0, 0, 0, 0]),
        ] {
            let mut out = Vec::new();
            frame.emit(&mut out);
            assert_eq!(out, expected, "{frame:?}");
            assert_eq!(Frame::parse(expected[0], &expected[HEADER_LEN..]), Ok(frame));
        }
    }

    #[test]
    fn short_payloads() {
        let payload = [0; 100];
        for (kind, least) in [
            (SERVER_KEY, 40),
            (CLIENT_INFO, 32),
            (SEND_PACKET, 32),
            (RECV_PACKET, 32),
            (NOTE_PREFERRED, 1),
            (PEER_GONE, 32),
            (PEER_PRESENT, 50),
            (FORWARD_PACKET, 64),
            (CLOSE_PEER, 32),
            (PING, 8),
            (PONG, 8),
            (RESTARTING, 8),
        ] {
            let short = Frame::parse(kind, &payload[..least - 1]);
            assert_eq!(short, Err(FrameError::Malformed { kind }));
            // The magic of a server key is not zero.
            assert_eq!(Frame::parse(kind, &payload[..least]).is_ok(), kind != SERVER_KEY);
        }
        assert_eq!(Frame::parse(HEALTH, &[0xFF]), Err(FrameError::Malformed { kind: HEALTH }));
        let big = vec![0; 33 + MAX_PACKET];
        assert!(Frame::parse(SEND_PACKET, &big).is_err());
        assert!(Frame::parse(SEND_PACKET, &big[1..]).is_ok());
    }

    #[test]
    fn later_versions_append() {
        let long = [1; 60];
        assert_eq!(Frame::parse(PING, &long), Ok(Frame::Ping([1; 8])));
        assert_eq!(Frame::parse(KEEP_ALIVE, &long), Ok(Frame::KeepAlive));
        assert_eq!(
            Frame::parse(PEER_GONE, &long[..32]),
            Ok(Frame::PeerGone { key: NodeKey([1; 32]), reason: GoneReason::Disconnected })
        );
    }

    #[test]
    fn disco() {
        let mut packet = b"TS\xF0\x9F\x92\xAC".to_vec();
        packet.resize(61, 0);
        assert!(!is_disco(&packet));
        packet.push(0);
        assert!(is_disco(&packet));
        packet[0] = b't';
        assert!(!is_disco(&packet));
    }
}
