//! WebSocket frames (RFC 6455) as a server reads and writes them, for byte streams inside
//! binary messages: where one message ends and the next begins has no meaning to us.

use std::fmt;

use base64::Engine as _;
use sha1::{Digest as _, Sha1};

/// What a handshake appends to the client's key (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Payload of the longest control frame (section 5.5).
const MAX_CONTROL: usize = 125;

/// A header without a mask: two bytes and a length of up to eight.
const MAX_HEADER: usize = 10;

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// Appends the header of a binary message of `length` bytes, which follow it as they are.
pub fn write_header(out: &mut Vec<u8>, length: usize) {
    frame_header(out, Opcode::Binary, length);
}

/// Appends a frame that closes the connection for the reason `code` (section 7.4.1).
pub fn write_close(out: &mut Vec<u8>, code: u16) {
    frame_header(out, Opcode::Close, 2);
    out.extend_from_slice(&code.to_be_bytes());
}

/// The closing code for a connection that has served its purpose.
pub const NORMAL: u16 = 1000;

fn frame_header(out: &mut Vec<u8>, opcode: Opcode, length: usize) {
    const FIN: u8 = 0x80;
    out.push(FIN | opcode as u8);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continuation = 0,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// Takes the frames of a client apart as their bytes arrive.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The header, as far as it has arrived, with the mask.
    header: Vec<u8>,
    frame: Option<Frame>,
    /// A message has begun and not ended.
    in_message: bool,
    /// The payload of a control frame.
    control: Vec<u8>,
    closed: bool,
}

#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    last: bool,
    left: u64,
    /// Turned so that its first byte is for the next byte of payload.
    mask: [u8; 4],
}

impl Decoder {
    /// Whether the client has closed: what follows is ignored.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes what has arrived in `buf`, leaves what is payload at its beginning and returns the
    /// length of that. Frames that must be sent in answer are appended to `replies`; they are
    /// never longer than what was taken and 4 bytes.
    pub fn decode(&mut self, buf: &mut [u8], replies: &mut Vec<u8>) -> Result<usize, FrameError> {
        let (mut from, mut to) = (0, 0);
        while !self.closed {
            let Some(frame) = &mut self.frame else {
                let Some(byte) = buf.get(from) else { break };
                from += 1;
                self.header.push(*byte);
                self.frame = self.parse_header()?;
                continue;
            };
            let here = buf.len() - from;
            let n = usize::try_from(frame.left).map_or(here, |left| left.min(here));
            let payload = buf.get_mut(from..from + n).unwrap_or_default();
            unmask(payload, &mut frame.mask);
            frame.left -= n as u64;
            let done = frame.left == 0;
            match frame.opcode {
                Opcode::Binary | Opcode::Continuation => {
                    buf.copy_within(from..from + n, to);
                    to += n;
                }
                _ => self.control.extend_from_slice(payload),
            }
            from += n;
            if !done {
                break;
            }
            self.end_frame(replies);
        }
        Ok(to)
    }

    /// `None` while more bytes are needed.
    fn parse_header(&mut self) -> Result<Option<Frame>, FrameError> {
        let (first, second, rest) = match self.header.as_slice() {
            [first, second, rest @ ..] => (*first, *second, rest),
            _ => return Ok(None),
        };
        let opcode = match first & 0x7f {
            0 => Opcode::Continuation,
            1 => return Err(FrameError::Text),
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(FrameError::Reserved),
        };
        if second & 0x80 == 0 {
            return Err(FrameError::Unmasked);
        }
        let (length, mask) = match (second & 0x7f, rest) {
            (126, [a, b, mask @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), mask),
            (127, [a, b, c, d, e, f, g, h, mask @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), mask)
            }
            (126 | 127, _) => return Ok(None),
            (short, mask) => (u64::from(short), mask),
        };
        let &[a, b, c, d] = mask else { return Ok(None) };
        let last = first & 0x80 != 0;
        let is_control = !matches!(opcode, Opcode::Binary | Opcode::Continuation);
        let fits = match opcode {
            Opcode::Continuation => self.in_message,
            Opcode::Binary => !self.in_message,
            _ => last && length <= MAX_CONTROL as u64,
        };
        if !fits || length > i64::MAX as u64 {
            return Err(FrameError::Sequence);
        }
        if !is_control {
            self.in_message = !last;
        }
        self.header.clear();
        Ok(Some(Frame { opcode, last, left: length, mask: [a, b, c, d] }))
    }

    fn end_frame(&mut self, replies: &mut Vec<u8>) {
        let Some(frame) = self.frame.take() else { return };
        match frame.opcode {
            Opcode::Ping => {
                frame_header(replies, Opcode::Pong, self.control.len());
                replies.extend_from_slice(&self.control);
            }
            Opcode::Close => {
                self.closed = true;
                let code = self.control.first_chunk().map_or(NORMAL, |c| u16::from_be_bytes(*c));
                write_close(replies, code);
            }
            Opcode::Binary | Opcode::Continuation | Opcode::Pong => {}
        }
        debug_assert!(frame.last || self.in_message);
        self.control = Vec::new();
    }
}

/// Bytes that [`write_header`] appends at most.
pub const HEADER: usize = MAX_HEADER;

fn unmask(payload: &mut [u8], mask: &mut [u8; 4]) {
    for four in payload.chunks_mut(4) {
        four.iter_mut().zip(*mask).for_each(|(byte, key)| *byte ^= key);
    }
    mask.rotate_left(payload.len() % 4);
}

/// Why bytes are not frames that can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A kind of frame or an extension that was not agreed on.
    Reserved,
    /// A frame that cannot come here: a continuation of nothing, a long control frame.
    Sequence,
    /// A text message.
    Text,
    /// A frame without a mask.
    Unmasked,
}

impl FrameError {
    /// The code to close with.
    pub fn code(self) -> u16 {
        match self {
            Self::Reserved | Self::Sequence | Self::Unmasked => 1002,
            Self::Text => 1003,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reserved => "a WebSocket frame of an unknown kind",
            Self::Sequence => "a WebSocket frame out of sequence",
            Self::Text => "a WebSocket text message where binary ones are expected",
            Self::Unmasked => "a WebSocket frame without a mask",
        })
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>, bool), FrameError> {
        let mut decoder = Decoder::default();
        let (mut plain, mut replies) = (Vec::new(), Vec::new());
        for piece in pieces {
            let mut buf = piece.to_vec();
            let n = decoder.decode(&mut buf, &mut replies)?;
            plain.extend_from_slice(&buf[..n]);
        }
        Ok((plain, replies, decoder.is_closed()))
    }

    /// The "Hello" of RFC 6455 section 5.7, as a binary message.
    const HELLO: &[u8] = b"\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

    #[test]
    fn key() {
        // RFC 6455 section 1.3.
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn messages() {
        assert_eq!(decode(&[HELLO]), Ok((b"Hello".to_vec(), vec![], false)));
        let bytes: Vec<&[u8]> = HELLO.chunks(1).collect();
        assert_eq!(decode(&bytes), Ok((b"Hello".to_vec(), vec![], false)));
        let twice = [HELLO, HELLO].concat();
        for piece in 1..twice.len() {
            let pieces: Vec<&[u8]> = twice.chunks(piece).collect();
            assert_eq!(decode(&pieces).unwrap().0, b"HelloHello", "{piece}");
        }
    }

    #[test]
    fn a_ping_between_fragments() {
        let frames = b"\x02\x83\x01\x02\x03\x04\x60\x60\x60\
            \x89\x82\x00\x00\x00\x00pi\
            \x80\x82\x00\x00\x00\x00de";
        let (plain, replies, closed) = decode(&[frames]).unwrap();
        assert_eq!(plain, b"abcde");
        assert_eq!(replies, b"\x8a\x02pi");
        assert!(!closed);
        let empty = decode(&[b"\x89\x80abcd\x8a\x80abcd\x82\x80abcd"]).unwrap();
        assert_eq!(empty, (vec![], b"\x8a\x00".to_vec(), false));
    }

    #[test]
    fn the_end() {
        let close = b"\x88\x82\x00\x00\x00\x00\x03\xe9ignored";
        assert_eq!(
            decode(&[HELLO, close]),
            Ok((b"Hello".to_vec(), b"\x88\x02\x03\xe9".to_vec(), true))
        );
        let bare = decode(&[b"\x88\x80abcd"]);
        assert_eq!(bare, Ok((vec![], b"\x88\x02\x03\xe8".to_vec(), true)));
    }

    #[test]
    fn lengths() {
        for (length, header) in [
            (0, &b"\x82\x00"[..]),
            (125, b"\x82\x7d"),
            (126, b"\x82\x7e\x00\x7e"),
            (65_535, b"\x82\x7e\xff\xff"),
            (65_536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ] {
            let mut out = Vec::new();
            write_header(&mut out, length);
            assert_eq!(out, header);
            // The same with a mask of zeros, as a client would send it.
            out[1] |= 0x80;
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&vec![7; length]);
            assert_eq!(decode(&[&out]).unwrap().0, vec![7; length]);
        }
    }

    #[test]
    fn refused() {
        for (bytes, error) in [
            (&b"\x82\x05Hello"[..], FrameError::Unmasked),
            (b"\x81\x85abcdHello", FrameError::Text),
            (b"\xc2\x85abcdHello", FrameError::Reserved),
            (b"\x83\x80abcd", FrameError::Reserved),
            (b"\x80\x80abcd", FrameError::Sequence),
            (b"\x02\x80abcd\x82\x80abcd", FrameError::Sequence),
            (b"\x09\x80abcd", FrameError::Sequence),
            (b"\x89\xfe\x00\x7eabcd", FrameError::Sequence),
            (b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00abcd", FrameError::Sequence),
        ] {
            assert_eq!(decode(&[bytes]), Err(error), "{bytes:x?}");
        }
    }
}
