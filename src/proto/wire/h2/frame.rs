//! Frames (RFC 9113, sections 4 and 6): their layout, and how they are found in a stream of bytes.

use crate::wire::pieces::{Pieces, Whole};

use super::{Code, H2Error};

/// Bytes before the payload of a frame.
pub(super) const HEADER_LEN: usize = 9;
/// The largest payload we accept, which is also the least that must be accepted.
pub(super) const MAX_PAYLOAD: usize = 16384;

/// Types of frames.
pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(super) mod flag {
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Identifiers of settings (section 6.5.2).
pub(super) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// What stands before a payload, without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a frame.
pub(super) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    write_head(out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
}

/// Appends what stands before a payload of `len` bytes.
pub(super) fn write_head(out: &mut Vec<u8>, len: usize, kind: u8, flags: u8, stream: u32) {
    let [_, l2, l1, l0] = (len as u32).to_be_bytes();
    let [s3, s2, s1, s0] = stream.to_be_bytes();
    out.extend_from_slice(&[l2, l1, l0, kind, flags, s3, s2, s1, s0]);
}

/// Appends a SETTINGS frame.
pub(super) fn write_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    write_head(out, settings.len() * 6, kind::SETTINGS, 0, 0);
    for (id, value) in settings {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// The identifiers and values of a SETTINGS payload.
pub(super) fn settings(payload: &[u8]) -> Result<impl Iterator<Item = (u16, u32)>, H2Error> {
    if !payload.len().is_multiple_of(6) {
        return Err(H2Error::new(Code::FrameSize, "SETTINGS of an odd length"));
    }
    let entry = |entry: &[u8]| {
        let (id, value) = entry.split_first_chunk()?;
        Some((u16::from_be_bytes(*id), u32::from_be_bytes(value.try_into().ok()?)))
    };
    Ok(payload.chunks_exact(6).filter_map(entry))
}

/// A payload of exactly four bytes.
pub(super) fn word(payload: &[u8]) -> Result<u32, H2Error> {
    let error = H2Error::new(Code::FrameSize, "a frame of four bytes has another length");
    Ok(u32::from_be_bytes(payload.try_into().map_err(|_| error)?))
}

/// The payload of a DATA or HEADERS frame without padding and priority.
pub(super) fn unpadded<'a>(head: &Head, mut payload: &'a [u8]) -> Result<&'a [u8], H2Error> {
    let short = H2Error::new(Code::Protocol, "more padding than payload");
    if head.has(flag::PADDED) {
        let (padding, rest) = payload.split_first().ok_or(short)?;
        let len = rest.len().checked_sub(usize::from(*padding)).ok_or(short)?;
        payload = rest.split_at(len).0;
    }
    if head.kind == kind::HEADERS && head.has(flag::PRIORITY) {
        payload = payload.get(5..).ok_or(short)?;
    }
    Ok(payload)
}

/// Finds the frames in bytes that come in any pieces.
#[derive(Debug, Default)]
pub(super) struct Frames(Pieces);

impl Frames {
    /// The next frame in `input` behind `at`, which moves on; `None` when all of `input` is used.
    /// To be called until it returns `None`.
    pub(super) fn next<'a>(
        &'a mut self,
        input: &'a [u8],
        at: &mut usize,
    ) -> Result<Option<(Head, &'a [u8])>, H2Error> {
        Ok(match self.0.next(input, at, HEADER_LEN, frame_len)? {
            None => None,
            Some(Whole::Input(range)) => input.get(range).and_then(split),
            Some(Whole::Held) => split(self.0.held()),
        })
    }
}

/// The length of the frame that begins here, with its header, once that is complete.
fn frame_len(frame: &[u8]) -> Result<Option<usize>, H2Error> {
    let Some([a, b, c, ..]) = frame.first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
    if len > MAX_PAYLOAD {
        return Err(H2Error::new(Code::FrameSize, "a frame larger than we allow"));
    }
    Ok(Some(HEADER_LEN + len))
}

fn split(frame: &[u8]) -> Option<(Head, &[u8])> {
    let ([_, _, _, kind, flags, stream @ ..], payload) = frame.split_first_chunk::<HEADER_LEN>()?;
    // The top bit is reserved and to be ignored.
    let stream = u32::from_be_bytes(*stream) & 0x7fff_ffff;
    Some((Head { kind: *kind, flags: *flags, stream }, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(frames: &mut Frames, input: &[u8]) -> Result<Vec<(Head, Vec<u8>)>, H2Error> {
        let (mut at, mut found) = (0, Vec::new());
        while let Some((head, payload)) = frames.next(input, &mut at)? {
            found.push((head, payload.to_vec()));
        }
        assert_eq!(at, input.len());
        Ok(found)
    }

    #[test]
    fn pieces_of_every_size() {
        let mut bytes = Vec::new();
        write(&mut bytes, kind::PING, flag::ACK, 0, b"12345678");
        write_settings(&mut bytes, &[]);
        write_settings(&mut bytes, &[(4, 0x0102_0304), (0xabcd, 7)]);
        assert_eq!(bytes[..17], *b"\0\0\x08\x06\x01\0\0\0\x0012345678");
        assert_eq!(bytes[26..], *b"\0\0\x0c\x04\0\0\0\0\0\0\x04\x01\x02\x03\x04\xab\xcd\0\0\0\x07");
        bytes.extend_from_slice(b"\0\0\x01\x00\x09\xff\xff\xff\xffx");
        for size in 1..=bytes.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                found.extend(all(&mut frames, piece).unwrap());
            }
            assert_eq!(frames.0.capacity(), 0);
            let data = Head { kind: kind::DATA, flags: 9, stream: 0x7fff_ffff };
            assert_eq!(found.len(), 4);
            assert_eq!(found[0].1, b"12345678");
            assert_eq!(found[3], (data, b"x".to_vec()));
            let both: Vec<_> = settings(&found[2].1).unwrap().collect();
            assert_eq!(both, [(4, 0x0102_0304), (0xabcd, 7)]);
        }
    }

    #[test]
    fn lengths() {
        let mut frames = Frames::default();
        assert_eq!(all(&mut frames, b"\0\x40\0\0\0\0\0\0\x01").unwrap(), []);
        assert!(frames.0.capacity() <= 32, "memory for what has not come");
        let error = all(&mut Frames::default(), b"\0\x40\x01\0\0\0\0\0\x01").unwrap_err();
        assert_eq!(error.code, Code::FrameSize);
        assert_eq!(word(&[0; 3]).unwrap_err().code, Code::FrameSize);
        assert_eq!(settings(&[0; 7]).err().map(|e| e.code), Some(Code::FrameSize));
    }

    #[test]
    fn padding_and_priority() {
        let strip = |kind, flags, payload: &'static [u8]| {
            unpadded(&Head { kind, flags, stream: 1 }, payload).map_err(|e| e.code)
        };
        assert_eq!(strip(kind::DATA, 0, b"abc"), Ok(&b"abc"[..]));
        assert_eq!(strip(kind::DATA, flag::PADDED, b"\x02abc"), Ok(&b"a"[..]));
        assert_eq!(strip(kind::DATA, flag::PADDED, b"\x03abc"), Ok(&b""[..]));
        assert_eq!(strip(kind::DATA, flag::PADDED, b"\x04abc"), Err(Code::Protocol));
        assert_eq!(strip(kind::DATA, flag::PADDED, b""), Err(Code::Protocol));
        assert_eq!(strip(kind::DATA, flag::PRIORITY, b"abc"), Ok(&b"abc"[..]));
        assert_eq!(strip(kind::HEADERS, flag::PRIORITY, b"12345abc"), Ok(&b"abc"[..]));
        assert_eq!(strip(kind::HEADERS, flag::PRIORITY, b"1234"), Err(Code::Protocol));
        assert_eq!(strip(kind::HEADERS, 0x28, b"\x0112345abc"), Ok(&b"ab"[..]));
    }
}
