//! The `chunked` transfer coding (RFC 9112 section 7.1), decoded as it arrives.

use std::fmt;

/// Bytes of a line (a size with its extensions, a trailer) that are read past; nobody sends any.
const MAX_LINE: u16 = 1024;

/// Trailer lines that are read past.
const MAX_TRAILERS: u8 = 32;

/// Decodes one body.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Bytes the body may still have beyond the current chunk.
    room: usize,
    line: u16,
    trailers: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a size; how many there were.
    Size(usize, u8),
    Extension(usize),
    SizeEnd(usize),
    Data(usize),
    DataEnd,
    DataEndLine,
    /// At the beginning of a trailer line, or of the empty line that ends the body.
    Trailer,
    TrailerText,
    TrailerEnd,
    LastEnd,
    Done,
}

impl Decoder {
    /// A decoder for a body of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { state: State::Size(0, 0), room: limit, line: 0, trailers: 0 }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes bytes from the connection, appends what is body to `out`, and returns how many
    /// were taken: fewer than given only when the body [`Self::is_done`].
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, ChunkError> {
        let mut rest = input;
        while !self.is_done() {
            if let State::Data(left) = self.state {
                let (data, tail) = rest.split_at(left.min(rest.len()));
                out.extend_from_slice(data);
                rest = tail;
                let left = left - data.len();
                self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                if left > 0 {
                    break;
                }
            }
            let Some((byte, tail)) = rest.split_first() else { break };
            self.state = self.step(*byte)?;
            rest = tail;
        }
        Ok(input.len() - rest.len())
    }

    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        Ok(match (self.state, byte) {
            (State::Size(size, digits), _) if byte.is_ascii_hexdigit() => {
                let digit = (byte as char).to_digit(16).unwrap_or_default() as usize;
                let size = size.checked_mul(16).ok_or(ChunkError::TooLarge)? + digit;
                if size > self.room {
                    return Err(ChunkError::TooLarge);
                }
                State::Size(size, digits.checked_add(1).ok_or(ChunkError::Malformed)?)
            }
            (State::Size(_, 0), _) => return Err(ChunkError::Malformed),
            (State::Size(size, _) | State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Size(size, _), b';' | b' ' | b'\t') => {
                self.line = 0;
                State::Extension(size)
            }
            (State::Extension(size), _) if byte != b'\n' => {
                self.count()?;
                State::Extension(size)
            }
            (State::SizeEnd(0), b'\n') => State::Trailer,
            (State::SizeEnd(size), b'\n') => {
                self.room -= size;
                State::Data(size)
            }
            (State::DataEnd, b'\r') => State::DataEndLine,
            (State::DataEndLine, b'\n') => State::Size(0, 0),
            (State::Trailer, b'\r') => State::LastEnd,
            (State::Trailer, _) if byte != b'\n' => {
                self.line = 0;
                self.trailers += 1;
                if self.trailers > MAX_TRAILERS {
                    return Err(ChunkError::TooLarge);
                }
                State::TrailerText
            }
            (State::TrailerText, b'\r') => State::TrailerEnd,
            (State::TrailerText, _) if byte != b'\n' => {
                self.count()?;
                State::TrailerText
            }
            (State::TrailerEnd, b'\n') => State::Trailer,
            (State::LastEnd, b'\n') => State::Done,
            _ => return Err(ChunkError::Malformed),
        })
    }

    fn count(&mut self) -> Result<(), ChunkError> {
        self.line += 1;
        if self.line > MAX_LINE { Err(ChunkError::TooLarge) } else { Ok(()) }
    }
}

/// Why bytes are not a chunked body that can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// Not the coding; a line must end in CR LF.
    Malformed,
    /// More bytes than the limit, or endless extensions or trailers.
    TooLarge,
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the chunks of the body are malformed",
            Self::TooLarge => "the body is too large",
        })
    }
}

impl std::error::Error for ChunkError {}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        b"4\r\nWiki\r\n6;ext=\"v\"\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nT: v\r\n\r\nNEXT";

    #[test]
    fn whole_and_in_pieces() {
        for piece in [1, 2, 3, 7, BODY.len()] {
            let mut decoder = Decoder::new(24);
            let mut out = Vec::new();
            let mut taken = 0;
            for bytes in BODY.chunks(piece) {
                if decoder.is_done() {
                    break;
                }
                taken += decoder.feed(bytes, &mut out).unwrap();
            }
            assert!(decoder.is_done());
            assert_eq!(out, b"Wikipedia in \r\n\r\nchunks.");
            assert_eq!(&BODY[taken..], b"NEXT");
        }
    }

    #[test]
    fn unfinished() {
        let end = BODY.len() - 4;
        for cut in 0..end {
            let mut decoder = Decoder::new(24);
            assert_eq!(decoder.feed(&BODY[..cut], &mut Vec::new()), Ok(cut));
            assert!(!decoder.is_done());
        }
    }

    #[test]
    fn refused() {
        use ChunkError::{Malformed, TooLarge};
        let long = format!("0;{}", "x".repeat(2000));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(40));
        for (text, error) in [
            ("\r\n", Malformed),
            ("-1\r\n", Malformed),
            ("0x1\r\n", Malformed),
            (" 1\r\n", Malformed),
            ("1\n", Malformed),
            ("1;a\nb", Malformed),
            ("1\r\nab", Malformed),
            ("1\r\na\n", Malformed),
            ("0\r\n\n", Malformed),
            ("0\r\na\n", Malformed),
            ("19\r\n", TooLarge),
            ("18\r\n123456789012345678901234\r\n1\r\n", TooLarge),
            ("ffffffffffffffffffffffff\r\n", TooLarge),
            (&long, TooLarge),
            (&trailers, TooLarge),
        ] {
            let result = Decoder::new(24).feed(text.as_bytes(), &mut Vec::new());
            assert_eq!(result, Err(error), "{text:?}");
        }
        let zeros = "0".repeat(300);
        assert_eq!(Decoder::new(24).feed(zeros.as_bytes(), &mut Vec::new()), Err(Malformed));
    }
}
