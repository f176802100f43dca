//! Heads of requests.

use std::borrow::Cow;

use super::url::{pairs, percent_decode};
use super::{Body, HeadError, MAX_HEAD, MAX_HEADERS, body, has_word, owned, values};

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `GET`, `POST` and so on, as sent.
    pub method: String,
    /// From its first slash, without the query, still with its escapes: [`Self::segments`].
    pub path: String,
    /// What follows the question mark, still with its escapes: [`Self::param`].
    pub query: String,
    /// The header lines in their order: [`Self::header`].
    pub headers: Vec<(String, String)>,
    /// How the end of the body is found.
    pub body: Body,
    /// Whether another request may follow on the connection.
    pub keep_alive: bool,
}

impl Head {
    /// Reads a head from the beginning of `buf`: it and its length, or `None` if more is needed.
    pub fn parse(buf: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut lines);
        let length = match request.parse(buf)? {
            httparse::Status::Complete(length) if length <= MAX_HEAD => length,
            httparse::Status::Partial if buf.len() < MAX_HEAD => return Ok(None),
            _ => return Err(HeadError::TooLarge),
        };
        let method = request.method.ok_or(HeadError::Malformed)?.to_owned();
        let (path, query) = split_target(request.path.ok_or(HeadError::Malformed)?)?;
        let headers = owned(request.headers);
        let is_1_0 = request.version == Some(0);
        let hosts = values(&headers, "host").count();
        if hosts > 1 || (hosts == 0 && !is_1_0) {
            return Err(HeadError::Host);
        }
        let body = body(&headers)?.unwrap_or(Body::Length(0));
        if is_1_0 && body == Body::Chunked {
            return Err(HeadError::Coding);
        }
        let keep_alive = if is_1_0 {
            has_word(&headers, "connection", "keep-alive")
        } else {
            !has_word(&headers, "connection", "close")
        };
        Ok(Some((Self { method, path, query, headers, body, keep_alive }, length)))
    }

    /// The value of a header, the first if there are several; names have no case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// The values of all headers of this name in their order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        values(&self.headers, name)
    }

    /// Whether a header that is a list of words (`Connection`, `Upgrade`) has `word` in it; words
    /// have no case.
    pub fn has_word(&self, name: &str, word: &str) -> bool {
        has_word(&self.headers, name, word)
    }

    /// The parts of the path between slashes, escapes resolved. `/` has none.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        let parts = (!path.is_empty()).then(|| path.split('/'));
        parts.into_iter().flatten().map(|part| percent_decode(part, false).unwrap_or_default())
    }

    /// The value of a parameter in the query, the first if there are several.
    pub fn param(&self, name: &str) -> Option<String> {
        self.params().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The parameters of the query, escapes resolved; one with a broken escape is left out.
    pub fn params(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        pairs(&self.query)
    }
}

/// Path and query of a target in origin-form or, as tailscale-rs sends it, absolute-form
/// (RFC 9112 section 3.2); `*` stays as it is.
fn split_target(target: &str) -> Result<(String, String), HeadError> {
    let local = match target.split_once("://") {
        Some((scheme, rest)) if target.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            let known = ["http", "https"].iter().any(|name| scheme.eq_ignore_ascii_case(name));
            let authority = rest.find(['/', '?']).unwrap_or(rest.len());
            if !known || authority == 0 {
                return Err(HeadError::Target);
            }
            rest.get(authority..).unwrap_or_default()
        }
        _ if target.starts_with('/') || target == "*" => target,
        _ => return Err(HeadError::Target),
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    let valid =
        !local.contains('#') && percent_decode(path, false).is_some_and(|p| !p.contains('\0'));
    if !valid {
        return Err(HeadError::Target);
    }
    let path = if path.is_empty() { "/" } else { path };
    Ok((path.to_owned(), query.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Head, HeadError> {
        Head::parse(text.as_bytes()).map(|parsed| parsed.expect("complete").0)
    }

    #[test]
    fn an_upgrade() {
        let bytes =
            b"POST /ts2021 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: Go-http-client/1.1\r\n\
            Content-Length: 0\r\nConnection: upgrade\r\nUpgrade: tailscale-control-protocol\r\n\
            X-Tailscale-Handshake: AJEBAGA=\r\n\r\nEARLY";
        let (head, length) = Head::parse(bytes).unwrap().unwrap();
        assert_eq!(&bytes[length..], b"EARLY");
        assert_eq!((&*head.method, &*head.path, &*head.query), ("POST", "/ts2021", ""));
        assert_eq!(head.header("x-tailscale-handshake"), Some("AJEBAGA="));
        assert_eq!(head.header("Cookie"), None);
        assert!(head.has_word("connection", "Upgrade"));
        assert!(!head.has_word("connection", "upgrad"));
        assert_eq!(head.body, Body::Length(0));
        assert!(head.keep_alive);
        for cut in 0..length {
            assert_eq!(Head::parse(&bytes[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn targets() {
        for (target, path, query) in [
            ("/key?v=130", "/key", "v=130"),
            ("http://127.0.0.1:8899/ts2021", "/ts2021", ""),
            ("HTTPS://[::1]:8443/derp?a=b://c", "/derp", "a=b://c"),
            ("http://host", "/", ""),
            ("http://host?x", "/", "x"),
            ("/a://b", "/a://b", ""),
            ("//a", "//a", ""),
            ("*", "*", ""),
        ] {
            let head = parse(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
            assert_eq!((&*head.path, &*head.query), (path, query), "{target}");
        }
        for target in ["host:443", "ftp://host/", "http:///x", "x", "/%ff", "/%00", "/%1", "/a#b"] {
            let head = parse(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(head, Err(HeadError::Target), "{target}");
        }
    }

    #[test]
    fn escapes() {
        let text = "GET /api/v1/node/7/rename/a%2Fb%C3%A9+c?user=j%40x&q=a+b&bad=%zz&q=2&e HTTP/1.1\r\nHost: a\r\n\r\n";
        let head = parse(text).unwrap();
        let segments: Vec<_> = head.segments().collect();
        assert_eq!(segments, ["api", "v1", "node", "7", "rename", "a/b\u{e9}+c"]);
        assert_eq!(head.param("user").as_deref(), Some("j@x"));
        assert_eq!(head.param("q").as_deref(), Some("a b"));
        assert_eq!(head.param("e").as_deref(), Some(""));
        assert_eq!(head.param("bad"), None);
        assert_eq!(head.params().count(), 4);
        assert_eq!(parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().segments().count(), 0);
    }

    #[test]
    fn connections_that_stay() {
        for (version, line, stays) in [
            ("1.1", "", true),
            ("1.1", "Connection: Close\r\n", false),
            ("1.1", "Connection: foo, close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: keep-alive\r\n", true),
        ] {
            let head = parse(&format!("GET / HTTP/{version}\r\nHost: a\r\n{line}\r\n")).unwrap();
            assert_eq!(head.keep_alive, stays, "{version} {line}");
        }
    }

    #[test]
    fn refused() {
        for (text, error) in [
            ("GET / HTTP/1.1\r\n\r\n", HeadError::Host),
            ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", HeadError::Host),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", HeadError::Version),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HeadError::Version),
            ("\u{16}\u{3}\u{1}\u{2}", HeadError::Malformed),
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::Version),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", HeadError::Malformed),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::Coding),
        ] {
            assert_eq!(Head::parse(text.as_bytes()), Err(error), "{text:?}");
        }
        assert!(parse("GET / HTTP/1.0\r\n\r\n").is_ok());
    }

    #[test]
    fn limits() {
        let lines = "A: b\r\n".repeat(MAX_HEADERS - 1);
        assert!(parse(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).is_ok());
        let over =
            Head::parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}A: b\r\n\r\n").as_bytes());
        assert_eq!(over, Err(HeadError::TooLarge));
        let long = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(n));
        let room = MAX_HEAD - long(0).len();
        assert!(parse(&long(room)).is_ok());
        assert_eq!(Head::parse(long(room + 1).as_bytes()), Err(HeadError::TooLarge));
        let endless = "x".repeat(MAX_HEAD);
        assert_eq!(Head::parse(endless.as_bytes()), Err(HeadError::TooLarge));
        assert_eq!(Head::parse(&endless.as_bytes()[1..]), Ok(None));
    }
}
