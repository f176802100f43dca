//! Requests to a server's REST interface: any method, a JSON body, a key. They block, and no
//! redirect is followed: it could lead the key astray.

use std::fmt::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::url::Url;
use super::{FetchError, Limits, exchange, reach};

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// Path and query, escaped.
    pub target: &'a str,
    /// Sent as `Authorization: Bearer`; empty for none.
    pub key: &'a str,
    /// JSON; empty for none.
    pub body: &'a str,
}

impl Call<'_> {
    /// Asks the server at the other end of a socket; returns the status and the body. Of the
    /// limits only the size counts: the socket has its own times.
    ///
    /// # Errors
    ///
    /// When there is no whole answer; one with any status is.
    pub fn over(&self, mut socket: UnixStream, limits: &Limits) -> Result<Answer, FetchError> {
        let (head, body) = exchange(&mut socket, &self.text("localhost"), limits.size)?;
        Ok((head.status, body))
    }

    /// Asks the server at `base`, of which scheme, host and port count.
    ///
    /// # Errors
    ///
    /// When there is no whole answer; one with any status is.
    pub fn to(&self, base: &str, limits: &Limits) -> Result<Answer, FetchError> {
        let url = Url::parse(base).ok_or(FetchError::Url)?;
        let text = self.text(&url.authority());
        let (head, body) = reach(&url, limits, Instant::now() + limits.time, &text)?;
        Ok((head.status, body))
    }

    fn text(&self, authority: &str) -> String {
        let Self { method, target, key, body } = self;
        let mut text = format!(
            "{method} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
             Accept: application/json\r\n"
        );
        // Writing to a String does not fail.
        if !key.is_empty() {
            let _ = write!(text, "Authorization: Bearer {key}\r\n");
        }
        if !body.is_empty() {
            text.push_str("Content-Type: application/json\r\n");
        }
        if *method != "GET" {
            let _ = write!(text, "Content-Length: {}\r\n", body.len());
        }
        text.push_str("\r\n");
        text.push_str(body);
        text
    }
}

/// The status and the body.
pub type Answer = (u16, Vec<u8>);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn texts() {
        let call = Call { method: "GET", target: "/api/v1/user", key: "", body: "" };
        assert_eq!(
            call.text("localhost"),
            "GET /api/v1/user HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Accept: application/json\r\n\r\n"
        );
        let call = Call { method: "PUT", target: "/p", key: "k", body: "\"x\"" };
        assert_eq!(
            call.text("h:8080"),
            "PUT /p HTTP/1.1\r\nHost: h:8080\r\nConnection: close\r\nAccept: application/json\r\n\
             Authorization: Bearer k\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n\
             \"x\""
        );
    }

    #[test]
    fn over_a_socket() {
        let call = Call { method: "GET", target: "/", key: "", body: "" };
        let ask = |answer: &'static [u8]| {
            let (near, mut far) = UnixStream::pair().unwrap();
            let server = std::thread::spawn(move || {
                let mut request = [0; 1024];
                let n = far.read(&mut request).unwrap();
                assert!(request.get(..n).unwrap().ends_with(b"\r\n\r\n"));
                far.write_all(answer).unwrap();
            });
            let answer = call.over(near, &Limits::default());
            server.join().unwrap();
            answer.ok()
        };
        let found = Some((404, b"{}".to_vec()));
        assert_eq!(ask(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"), found);
        assert_eq!(ask(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n{}"), None);
        assert_eq!(ask(b"HTTP/1.1 404 Not Found\r\n\r\n{}"), found);
        assert_eq!(ask(b"SSH-2.0\r\n\r\n"), None);
        assert_eq!(ask(b""), None);
        assert_eq!(ask(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n").map(|a| a.0), Some(302));
    }
}
