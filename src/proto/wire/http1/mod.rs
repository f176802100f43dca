//! HTTP/1.1 (RFC 9110 and 9112): heads of requests and responses; [`chunked`] bodies.
//!
//! Stricter than the RFC allows to be where two readings of one message are possible: what
//! stands in front of us (a proxy) and we must agree on where a request ends.

pub mod chunked;
mod request;
mod response;
mod url;

use std::fmt;

pub use request::Head;
pub use response::{ResponseHead, reason, write_head};
pub use url::{encode, form, percent_decode};

/// Bytes of the longest head taken: a browser's with large cookies is some 8 KiB.
pub const MAX_HEAD: usize = 16 * 1024;

/// Header lines of the longest head taken; proxies and browsers send some 30.
pub const MAX_HEADERS: usize = 64;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// By the `chunked` coding.
    Chunked,
    /// By the end of the connection; only responses have such bodies.
    Close,
    /// By counting bytes; zero if there is no body.
    Length(u64),
}

/// Why bytes are not a head that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// `Content-Length` is no number, comes twice, or beside `Transfer-Encoding`.
    BodyLength,
    /// A transfer coding other than `chunked`.
    Coding,
    /// No `Host`, or several.
    Host,
    /// Not HTTP at all, or a malformed line.
    Malformed,
    /// The target is neither a path nor an absolute URL, or its escapes are not UTF-8.
    Target,
    /// More than [`MAX_HEAD`] bytes or [`MAX_HEADERS`] lines.
    TooLarge,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version,
}

impl HeadError {
    /// The status to refuse a request with.
    pub fn status(self) -> u16 {
        match self {
            Self::BodyLength | Self::Host | Self::Malformed | Self::Target => 400,
            Self::TooLarge => 431,
            Self::Coding => 501,
            Self::Version => 505,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BodyLength => "the length of the body is ambiguous",
            Self::Coding => "only the transfer coding \"chunked\" is understood",
            Self::Host => "one Host header is expected",
            Self::Malformed => "this is not HTTP/1.1",
            Self::Target => "the target is not a path",
            Self::TooLarge => "the head is too large",
            Self::Version => "HTTP/1.1 is expected",
        })
    }
}

impl std::error::Error for HeadError {}

/// Whether the end of a head has arrived: looks only at what came after the first `seen` bytes,
/// so that a head that trickles in is not parsed again for each byte.
pub fn has_end(buf: &[u8], seen: usize) -> bool {
    let from = seen.saturating_sub(3);
    let tail = buf.get(from..).unwrap_or_default();
    tail.windows(2).any(|two| two == b"\n\n") || tail.windows(3).any(|three| three == b"\n\r\n")
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooLarge,
            httparse::Error::Version => Self::Version,
            _ => Self::Malformed,
        }
    }
}

/// The header lines of a head, in their order.
type Headers = Vec<(String, String)>;

fn owned(headers: &[httparse::Header<'_>]) -> Headers {
    let value = |bytes| String::from_utf8_lossy(bytes).into_owned();
    headers.iter().map(|header| (header.name.to_owned(), value(header.value))).collect()
}

fn values<'a>(headers: &'a Headers, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
    let named = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
    headers.iter().filter(named).map(|(_, value)| value.as_str())
}

/// Whether a header that is a list of words (`Connection`, `Upgrade`) has `word` in it.
fn has_word(headers: &Headers, name: &str, word: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}

/// `None` without a header that tells (RFC 9112 section 6).
fn body(headers: &Headers) -> Result<Option<Body>, HeadError> {
    let mut lengths = values(headers, "content-length");
    let mut codings = values(headers, "transfer-encoding");
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(None),
        (Some(length), None) if lengths.next().is_none() => {
            let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
            let length = digits.then(|| length.parse().ok()).flatten();
            length.map(|length| Some(Body::Length(length))).ok_or(HeadError::BodyLength)
        }
        (None, Some(coding)) if codings.next().is_none() => {
            let chunked = coding.eq_ignore_ascii_case("chunked");
            if chunked { Ok(Some(Body::Chunked)) } else { Err(HeadError::Coding) }
        }
        _ => Err(HeadError::BodyLength),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let head = b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest";
        assert!(has_end(head, 0));
        // The end may straddle what was seen.
        assert!(has_end(head, 23));
        assert!(!has_end(&head[..23], 0));
        assert!(!has_end(head, 27));
        assert!(!has_end(head, 1000));
        assert!(has_end(b"GET / HTTP/1.1\n\n", 0));
    }

    #[test]
    fn body_lengths() {
        let parse = |lines: &[(&str, &str)]| {
            body(&lines.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
        };
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[("content-LENGTH", "12")]), Ok(Some(Body::Length(12))));
        assert_eq!(parse(&[("Transfer-Encoding", "Chunked")]), Ok(Some(Body::Chunked)));
        for length in ["", "+1", "-1", "1,1", "0x1", "1 ", "18446744073709551616"] {
            assert_eq!(
                parse(&[("Content-Length", length)]),
                Err(HeadError::BodyLength),
                "{length}"
            );
        }
        let twice = [("Content-Length", "1"), ("Content-Length", "1")];
        assert_eq!(parse(&twice), Err(HeadError::BodyLength));
        let both = [("Content-Length", "1"), ("Transfer-Encoding", "chunked")];
        assert_eq!(parse(&both), Err(HeadError::BodyLength));
        assert_eq!(parse(&[("Transfer-Encoding", "gzip, chunked")]), Err(HeadError::Coding));
    }
}
