//! Heads of responses, to write and to read.

use super::{Body, HeadError, Headers, MAX_HEAD, MAX_HEADERS, body, has_word, owned, values};

/// Appends the head of a response. `length` is that of the body; `None` says nothing of it, as
/// with status 101 and 204.
///
/// There is no `Date`: a router may not know it (RFC 9110 section 6.6.1). A header whose value
/// has a line end or another control character in it is left out: it could forge a response.
pub fn write_head(out: &mut Vec<u8>, status: u16, headers: &[(&str, &str)], length: Option<usize>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, status.into());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        if value.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control()) {
            line(out, name, value.as_bytes());
        }
    }
    if let Some(length) = length {
        out.extend_from_slice(b"Content-Length: ");
        decimal(out, length);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The words that go with a status (RFC 9110 section 15).
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// The head of a response, as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Three digits.
    pub status: u16,
    /// The header lines in their order.
    pub headers: Vec<(String, String)>,
    /// How the end of the body is found, were this not the answer to `HEAD`.
    pub body: Body,
    /// Whether another request may follow on the connection.
    pub keep_alive: bool,
}

impl ResponseHead {
    /// Reads a head from the beginning of `buf`: it and its length, or `None` if more is needed.
    pub fn parse(buf: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut lines);
        let length = match response.parse(buf)? {
            httparse::Status::Complete(length) if length <= MAX_HEAD => length,
            httparse::Status::Partial if buf.len() < MAX_HEAD => return Ok(None),
            _ => return Err(HeadError::TooLarge),
        };
        let status = response.code.ok_or(HeadError::Malformed)?;
        let headers = owned(response.headers);
        let bare = status < 200 || status == 204 || status == 304;
        let body = if bare { Body::Length(0) } else { body(&headers)?.unwrap_or(Body::Close) };
        let keep_alive = response.version == Some(1)
            && body != Body::Close
            && !has_word(&headers, "connection", "close");
        Ok(Some((Self { status, headers, body, keep_alive }, length)))
    }

    /// The value of a header, the first if there are several; names have no case.
    pub fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        values(&self.headers as &Headers, name).next()
    }
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn decimal(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(number.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes() {
        let mut out = Vec::new();
        let headers =
            [("Content-Type", "text/plain"), ("X-Bad", "a\r\nSet-Cookie: b"), ("X-Nul", "\0")];
        write_head(&mut out, 200, &headers, Some(12));
        let text = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
        let mut out = Vec::new();
        write_head(&mut out, 101, &[("Upgrade", "DERP")], None);
        assert_eq!(out, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n\r\n");
    }

    #[test]
    fn reads() {
        let bytes = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 3\r\n\r\nabc";
        let (head, length) = ResponseHead::parse(bytes).unwrap().unwrap();
        assert_eq!(&bytes[length..], b"abc");
        assert_eq!((head.status, head.body, head.keep_alive), (302, Body::Length(3), true));
        assert_eq!(head.header("location"), Some("/x"));
        for cut in 0..length {
            assert_eq!(ResponseHead::parse(&bytes[..cut]), Ok(None), "{cut}");
        }
        let parse = |text: &str| ResponseHead::parse(text.as_bytes()).map(|p| p.unwrap().0);
        let until_close = parse("HTTP/1.1 200 OK\r\n\r\n").unwrap();
        assert_eq!((until_close.body, until_close.keep_alive), (Body::Close, false));
        let empty = parse("HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert_eq!((empty.body, empty.keep_alive), (Body::Length(0), true));
        let closing = parse("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert!(!closing.unwrap().keep_alive);
        let twice = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(parse(twice), Err(HeadError::BodyLength));
        assert!(ResponseHead::parse(b"SSH-2.0-OpenSSH").is_err());
    }
}
