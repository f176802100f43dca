//! STUN as Tailscale's clients use it (RFC 8489; client `net/stun/stun.go`).
//!
//! Only their binding request is recognised: SOFTWARE is `tailnode` and FINGERPRINT comes last. So
//! the server reflects nothing for others, and an answer is about as long as its request.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The UDP port of STUN (RFC 8489 section 14.2).
pub const PORT: u16 = 3478;
/// Bytes of a request at most. The clients send 40; a sender of more makes us compute a checksum.
pub const MAX_REQUEST: usize = 256;
/// Bytes of the longest response.
pub const MAX_RESPONSE: usize = 44;

const HEADER_LEN: usize = 20;
const REQUEST: [u8; 2] = [0x00, 0x01];
const SUCCESS: [u8; 2] = [0x01, 0x01];
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const SOFTWARE: u16 = 0x8022;
const FINGERPRINT: u16 = 0x8028;
/// Bytes of the fingerprint attribute with its header.
const FINGERPRINT_LEN: usize = 8;
/// RFC 8489 section 14.7.
const FINGERPRINT_XOR: u32 = 0x5354_554E;
const NAME: &[u8] = b"tailnode";

/// Ties a response to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionId(pub [u8; 12]);

/// Recognises the binding request of a Tailscale client.
pub fn parse_request(datagram: &[u8]) -> Result<TransactionId, StunError> {
    let (id, kind, attributes) = split(datagram)?;
    if kind != REQUEST {
        return Err(StunError::NotRequest);
    }
    if datagram.len() > MAX_REQUEST {
        return Err(StunError::TooLong);
    }
    let mut named = false;
    let mut last = None;
    for attribute in Attributes(attributes) {
        let (kind, value) = attribute?;
        named |= kind == SOFTWARE && value == NAME;
        last = Some((kind, value));
    }
    if !named {
        return Err(StunError::Stranger);
    }
    let Some((FINGERPRINT, value)) = last else { return Err(StunError::Fingerprint) };
    let before = datagram.len().saturating_sub(FINGERPRINT_LEN);
    let sum = fingerprint(datagram.get(..before).unwrap_or_default());
    if value != sum { Err(StunError::Fingerprint) } else { Ok(id) }
}

/// The request that the clients send; for tests and for checking one's own server.
pub fn request(id: TransactionId) -> [u8; 40] {
    let mut out = [0; 40];
    let mut at = Cursor { out: &mut out, len: 0 };
    at.push(&REQUEST);
    at.push(&[0, 20]);
    at.push(&COOKIE);
    at.push(&id.0);
    at.push(&SOFTWARE.to_be_bytes());
    at.push(&[0, NAME.len() as u8]);
    at.push(NAME);
    let sum = fingerprint(at.out.get(..at.len).unwrap_or_default());
    at.push(&FINGERPRINT.to_be_bytes());
    at.push(&[0, 4]);
    at.push(&sum);
    out
}

/// A response as bytes, to which it derefs.
pub struct Response {
    bytes: [u8; MAX_RESPONSE],
    len: usize,
}

impl Response {
    /// Tells the sender of request `id` that it was seen at `addr`. An IPv4 address in IPv6 form is
    /// told as IPv4.
    pub fn new(id: TransactionId, addr: SocketAddr) -> Self {
        let mut bytes = [0; MAX_RESPONSE];
        let mut at = Cursor { out: &mut bytes, len: 0 };
        let ip = addr.ip().to_canonical();
        let (family, value_len) = if ip.is_ipv4() { (1, 8) } else { (2, 20) };
        at.push(&SUCCESS);
        at.push(&[0, value_len + 4]);
        at.push(&COOKIE);
        at.push(&id.0);
        at.push(&XOR_MAPPED_ADDRESS.to_be_bytes());
        at.push(&[0, value_len, 0, family]);
        at.push(&mask_port(addr.port()).to_be_bytes());
        match mask_ip(ip, id) {
            IpAddr::V4(ip) => at.push(&ip.octets()),
            IpAddr::V6(ip) => at.push(&ip.octets()),
        }
        let len = at.len;
        Self { bytes, len }
    }
}

impl std::ops::Deref for Response {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Reads a response with an XOR-MAPPED-ADDRESS.
pub fn parse_response(datagram: &[u8]) -> Result<(TransactionId, SocketAddr), StunError> {
    let (id, kind, attributes) = split(datagram)?;
    if kind != SUCCESS {
        return Err(StunError::NotResponse);
    }
    for attribute in Attributes(attributes) {
        let (XOR_MAPPED_ADDRESS, value) = attribute? else { continue };
        let (port, ip) = match *value {
            [_, 1, p0, p1, a, b, c, d] => ([p0, p1], IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            [_, 2, p0, p1, ref ip @ ..] => {
                let ip: [u8; 16] = ip.try_into().map_err(|_| StunError::Malformed)?;
                ([p0, p1], IpAddr::V6(ip.into()))
            }
            _ => return Err(StunError::Malformed),
        };
        let port = mask_port(u16::from_be_bytes(port));
        return Ok((id, SocketAddr::new(mask_ip(ip, id), port)));
    }
    Err(StunError::NotResponse)
}

/// Why a datagram is not what it should be. A server says nothing to any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StunError {
    /// The checksum is wrong, or not last.
    Fingerprint,
    /// The attributes do not fill the message.
    Malformed,
    /// It is not a binding request.
    NotRequest,
    /// It is not a binding response with an address.
    NotResponse,
    /// It is not STUN.
    NotStun,
    /// It does not come from a Tailscale client.
    Stranger,
    /// It is longer than [`MAX_REQUEST`].
    TooLong,
}

impl fmt::Display for StunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fingerprint => "STUN fingerprint missing or wrong",
            Self::Malformed => "malformed STUN attributes",
            Self::NotRequest => "not a STUN binding request",
            Self::NotResponse => "not a STUN binding response",
            Self::NotStun => "not STUN",
            Self::Stranger => "STUN request of other software",
            Self::TooLong => "STUN request too long",
        })
    }
}

impl std::error::Error for StunError {}

/// CRC-32 as in Ethernet and zip (reflected polynomial 0xEDB88320), one bit at a time: requests are
/// 32 bytes, a table would be 1 KB.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn fingerprint(message: &[u8]) -> [u8; 4] {
    (crc32(message) ^ FINGERPRINT_XOR).to_be_bytes()
}

/// Message to transaction id, type and attributes.
fn split(datagram: &[u8]) -> Result<(TransactionId, [u8; 2], &[u8]), StunError> {
    let (header, attributes) =
        datagram.split_first_chunk::<HEADER_LEN>().ok_or(StunError::NotStun)?;
    let [k0, k1, l0, l1, c0, c1, c2, c3, id @ ..] = *header;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    if k0 & 0xC0 != 0 || [c0, c1, c2, c3] != COOKIE || len != attributes.len() {
        return Err(StunError::NotStun);
    }
    Ok((TransactionId(id), [k0, k1], attributes))
}

/// The attributes of a message: type and value, each padded to four bytes.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), StunError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let attribute = self.0.split_first_chunk::<4>().and_then(|([k0, k1, l0, l1], rest)| {
            let len = usize::from(u16::from_be_bytes([*l0, *l1]));
            let value = rest.get(..len)?;
            // The padding of the last attribute may be missing.
            self.0 = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            Some((u16::from_be_bytes([*k0, *k1]), value))
        });
        if attribute.is_none() {
            self.0 = &[];
        }
        Some(attribute.ok_or(StunError::Malformed))
    }
}

fn mask_port(port: u16) -> u16 {
    port ^ 0x2112
}

fn mask_ip(ip: IpAddr, id: TransactionId) -> IpAddr {
    let cookie = u32::from_be_bytes(COOKIE);
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() ^ cookie).into(),
        IpAddr::V6(ip) => {
            let mut mask = [0; 16];
            let mut at = Cursor { out: &mut mask, len: 0 };
            at.push(&COOKIE);
            at.push(&id.0);
            Ipv6Addr::from_bits(ip.to_bits() ^ u128::from_be_bytes(mask)).into()
        }
    }
}

/// Fills a message from the front.
struct Cursor<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Cursor<'_> {
    fn push(&mut self, part: &[u8]) {
        if let Some(room) = self.out.get_mut(self.len..).and_then(|b| b.get_mut(..part.len())) {
            room.copy_from_slice(part);
            self.len += part.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId =
        TransactionId([0xCA, 0x0D, 0xD7, 0x9A, 0xCF, 0x73, 0xFF, 0x56, 0xCF, 0xD2, 0x96, 0x2C]);

    /// As captured from a client.
    const BYTES: [u8; 40] = *b"\x00\x01\x00\x14\x21\x12\xa4\x42\xca\x0d\xd7\x9a\xcf\x73\xff\x56\
        \xcf\xd2\x96\x2c\x80\x22\x00\x08tailnode\x80\x28\x00\x04\x05\xce\xb8\xee";

    #[test]
    fn check_value_of_the_crc() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn literal_request() {
        assert_eq!(request(ID), BYTES);
        assert_eq!(parse_request(&BYTES), Ok(ID));
    }

    #[test]
    fn every_byte_counts() {
        for at in 0..BYTES.len() {
            let mut bytes = BYTES;
            bytes[at] ^= 0x40;
            assert!(parse_request(&bytes).is_err(), "byte {at}");
            assert!(parse_request(&BYTES[..at]).is_err(), "length {at}");
        }
        assert_eq!(parse_request(&[&BYTES[..], b"x"].concat()), Err(StunError::NotStun));
    }

    /// A request with these attributes and, if `sealed`, a right fingerprint at the end.
    fn with(attributes: &[u8], sealed: bool) -> Vec<u8> {
        let len = attributes.len() + if sealed { FINGERPRINT_LEN } else { 0 };
        let mut out = vec![0, 1];
        out.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        out.extend_from_slice(&COOKIE);
        out.extend_from_slice(&ID.0);
        out.extend_from_slice(attributes);
        if sealed {
            let sum = fingerprint(&out);
            out.extend_from_slice(&[0x80, 0x28, 0, 4]);
            out.extend_from_slice(&sum);
        }
        out
    }

    #[test]
    fn strangers() {
        let name = b"\x80\x22\x00\x08tailnode";
        assert_eq!(parse_request(&with(name, true)), Ok(ID));
        assert_eq!(parse_request(&with(b"", true)), Err(StunError::Stranger));
        let other = b"\x80\x22\x00\x07someone\0";
        assert_eq!(parse_request(&with(other, true)), Err(StunError::Stranger));
        assert_eq!(parse_request(&with(name, false)), Err(StunError::Fingerprint));
        // Behind the fingerprint comes another attribute.
        let mut late = with(name, true);
        late.extend_from_slice(b"\x80\x22\x00\x08tailnode");
        late[3] = 32;
        assert_eq!(parse_request(&late), Err(StunError::Fingerprint));
        // Attributes longer than the message, and cut in their headers.
        for bad in [&b"\x80\x22\x00\xFFtailnode"[..], b"\x80\x22\x00", b"\x80\x22\xFF\xFF"] {
            assert_eq!(parse_request(&with(bad, false)), Err(StunError::Malformed));
        }
        // An attribute that is not known, with padding, may come before.
        let padded = b"\xC0\x57\x00\x03abc\0\x80\x22\x00\x08tailnode";
        assert_eq!(parse_request(&with(padded, true)), Ok(ID));
        let long = [&[0xC0, 0x57, 0, 236][..], &[0; 236], name].concat();
        assert_eq!(parse_request(&with(&long, true)), Err(StunError::TooLong));
        let mut response = BYTES;
        response[0] = 1;
        assert_eq!(parse_request(&response), Err(StunError::NotRequest));
    }

    #[test]
    fn literal_responses() {
        let id = TransactionId(*b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C");
        for (addr, expected) in [
            (
                "192.0.2.1:32853",
                &b"\x01\x01\x00\x0C\x21\x12\xA4\x42\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\
                   \x00\x20\x00\x08\x00\x01\xA1\x47\xE1\x12\xA6\x43"[..],
            ),
            (
                "[2001:db8::1]:3478",
                b"\x01\x01\x00\x18\x21\x12\xA4\x42\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\
                  \x00\x20\x00\x14\x00\x02\x2C\x84\x01\x13\xA9\xFA\x01\x02\x03\x04\x05\x06\x07\x08\
                  \x09\x0A\x0B\x0D",
            ),
        ] {
            let addr: SocketAddr = addr.parse().unwrap();
            assert_eq!(Response::new(id, addr)[..], *expected);
            assert_eq!(parse_response(expected), Ok((id, addr)));
            for len in 0..expected.len() {
                assert!(parse_response(&expected[..len]).is_err());
            }
        }
        let mapped = Response::new(id, "[::ffff:192.0.2.1]:32853".parse().unwrap());
        assert_eq!(mapped[..], Response::new(id, "192.0.2.1:32853".parse().unwrap())[..]);
        assert_eq!(parse_response(&BYTES), Err(StunError::NotResponse));
    }
}
