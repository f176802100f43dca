//! Calls of the REST interface: HTTP/1.1 over the server's unix socket, or over TCP to a server
//! elsewhere. One request a connection; it blocks, for the command line has nothing else to do.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gramscale_proto::wire::http1::chunked::Decoder;
use gramscale_proto::wire::http1::{Body, ResponseHead, encode};
use serde_json::Value;

use super::Error;

/// The most an answer may hold: far above the listing of some thousand nodes.
const ANSWER_LIMIT: u64 = 32 << 20;

/// How long an answer may take once the server has the request: a commit on a router's flash takes
/// up to seconds, and others may be before it.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Pauses between attempts to reach the socket grow from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// On this machine; whoever may open the socket may command.
    Socket(PathBuf),
    /// Elsewhere, over plain HTTP.
    Remote {
        /// `HOST:PORT`.
        authority: String,
        /// The API key.
        key: String,
    },
}

impl Target {
    /// Reads the address of a server elsewhere: `http://HOST[:PORT]`.
    pub(super) fn remote(address: &str, key: &str) -> Result<Self, Error> {
        let Some(rest) = address.strip_prefix("http://") else {
            return Err(Error::Usage(format!(
                "the address \"{address}\" of the server would need https, which the command line \
                 does not speak; run the command on the server itself, or give http://HOST:PORT"
            )));
        };
        if key.is_empty() {
            return Err(Error::Usage(
                "a server elsewhere wants an API key; put one made with `apikeys create` on it \
                 into HEADSCALE_CLI_API_KEY"
                    .into(),
            ));
        }
        let host = rest.trim_end_matches('/');
        let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
            port.bytes().all(|b| b.is_ascii_digit())
                && (!before.contains(':') || before.ends_with(']'))
        });
        let authority = if has_port { host.to_owned() } else { format!("{host}:80") };
        Ok(Self::Remote { authority, key: key.to_owned() })
    }
}

/// What a request goes through; behind a pointer, so that the code for both kinds is one.
trait Stream: Read + Write {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

/// Speaks to one server.
pub(super) struct Client {
    target: Target,
    timeout: Duration,
}

impl Client {
    /// `timeout` is how long the server may take to be reached.
    pub(super) fn new(target: Target, timeout: Duration) -> Self {
        Self { target, timeout }
    }

    /// Sends a request and returns the JSON of the answer; a refusal is [`Error::Refused`].
    pub(super) fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let request = self.request(method, path, body);
        let answer = exchange(&mut *self.reach()?, &request);
        let answer = answer.map_err(|e| Error::Broken(fault(&e)))?;
        let (status, body) = parse(&answer).map_err(|what| Error::Broken(what.to_owned()))?;
        if !(200..300).contains(&status) {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|_| Error::Broken("its answer is no JSON".into()))
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> String {
        let (host, key) = match &self.target {
            Target::Socket(_) => ("localhost", None),
            Target::Remote { authority, key } => (authority.as_str(), Some(key)),
        };
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Accept: application/json\r\n"
        );
        if let Some(key) = key {
            let _ = write!(text, "Authorization: Bearer {key}\r\n");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        if !body.is_empty() {
            text.push_str("Content-Type: application/json\r\n");
        }
        if method != "GET" {
            let _ = write!(text, "Content-Length: {}\r\n", body.len());
        }
        text.push_str("\r\n");
        text.push_str(&body);
        text
    }

    /// Tries until the time is over, for the server may just be starting. What waiting can't
    /// change (permissions, a wrong name) ends at once.
    fn reach(&self) -> Result<Box<dyn Stream>, Error> {
        let end = Instant::now() + self.timeout;
        let mut pause = PAUSE.0;
        loop {
            let error = match self.connect() {
                Ok(stream) => return Ok(stream),
                Err(e) => e,
            };
            let may_come =
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
            let left = end.saturating_duration_since(Instant::now());
            if !may_come || left.is_zero() {
                return Err(self.unreachable(&error));
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let authority = match &self.target {
            Target::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(ANSWER_TIME))?;
                return Ok(Box::new(stream));
            }
            Target::Remote { authority, .. } => authority,
        };
        let mut last = io::Error::other("the name has no address");
        for addr in authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&addr, self.timeout.max(Duration::from_millis(1))) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(ANSWER_TIME))?;
                    return Ok(Box::new(stream));
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn unreachable(&self, error: &io::Error) -> Error {
        let place = match &self.target {
            Target::Socket(path) => path.display().to_string(),
            Target::Remote { authority, .. } => authority.clone(),
        };
        Error::Unreachable { place, reason: fault(error), denied: is_denied(error) }
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// What went wrong, without the number of the system's error.
fn fault(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it is not there".into(),
        io::ErrorKind::ConnectionRefused => "nobody listens".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it took too long".into(),
        _ => error.to_string(),
    }
}

fn exchange(stream: &mut dyn Stream, request: &str) -> io::Result<Vec<u8>> {
    // A server that refuses early may close before it has read all; its answer still counts.
    let sent = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    match stream.take(ANSWER_LIMIT).read_to_end(&mut answer) {
        Err(e) if answer.is_empty() => Err(sent.err().unwrap_or(e)),
        _ => Ok(answer),
    }
}

/// Status and body of a whole answer.
fn parse(answer: &[u8]) -> Result<(u16, Vec<u8>), &'static str> {
    const CUT: &str = "it closed the connection before its answer was complete";
    let (head, length) =
        ResponseHead::parse(answer).map_err(|_| "its answer is not HTTP")?.ok_or(CUT)?;
    let rest = answer.get(length..).ok_or(CUT)?;
    let body = match head.body {
        Body::Length(length) => {
            let length = usize::try_from(length).map_err(|_| CUT)?;
            rest.get(..length).ok_or(CUT)?.to_vec()
        }
        Body::Close => rest.to_vec(),
        // A proxy may have done that.
        Body::Chunked => {
            let (mut decoder, mut body) = (Decoder::new(rest.len()), Vec::new());
            decoder.feed(rest, &mut body).map_err(|_| CUT)?;
            decoder.is_done().then_some(body).ok_or(CUT)?
        }
    };
    Ok((head.status, body))
}

/// The server's own words for a refusal: `detail` of a problem document, `message` of headscale
/// before 0.30, or the text.
fn refusal(status: u16, body: &[u8]) -> Error {
    let value = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let said = ["detail", "message", "title"]
        .iter()
        .find_map(|key| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()));
    let text = match said {
        Some(text) => text.to_owned(),
        None => String::from_utf8_lossy(body.get(..body.len().min(200)).unwrap_or_default())
            .trim()
            .to_owned(),
    };
    Error::Refused { status, text }
}

/// Writes `text` so that it can stand in a path or a query.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode(text, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}rest";
        assert_eq!(parse(whole), Ok((200, b"{}".to_vec())));
        let open = b"HTTP/1.0 404 Not Found\r\nX: y\r\n\r\nno";
        assert_eq!(parse(open), Ok((404, b"no".to_vec())));
        let chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(parse(chunks), Ok((200, b"abc0123456789".to_vec())));
        for bad in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
            b"HTTP/1.1\r\n\r\n",
            b"SSH-2.0\r\n\r\n",
            b"HTTP/1.1 \xff\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nabc",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn refusals() {
        let text = |body: &str| refusal(404, body.as_bytes()).to_string();
        assert_eq!(text(r#"{"title":"Not Found","detail":"no such node"}"#), "no such node");
        assert_eq!(text(r#"{"code":5,"message":"user not found","details":[]}"#), "user not found");
        assert_eq!(text(r#"{"title":"Not Found"}"#), "Not Found");
        assert_eq!(text("Unauthorized\n"), "Unauthorized");
        assert_eq!(text(""), "the server refused with status 404 and no reason");
    }

    #[test]
    fn requests() {
        let client = Client::new(Target::Socket("/x".into()), Duration::ZERO);
        assert_eq!(
            client.request("GET", "/api/v1/user", None),
            "GET /api/v1/user HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Accept: application/json\r\n\r\n"
        );
        let target = Target::remote("http://h:8080/", "k").expect("an address");
        assert_eq!(
            Client::new(target, Duration::ZERO).request("PUT", "/p", Some(&"x".into())),
            "PUT /p HTTP/1.1\r\nHost: h:8080\r\nConnection: close\r\nAccept: application/json\r\n\
             Authorization: Bearer k\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n\
             \"x\""
        );
    }

    #[test]
    fn remotes() {
        for (address, authority) in [
            ("http://h", "h:80"),
            ("http://h:8080", "h:8080"),
            ("http://[::1]", "[::1]:80"),
            ("http://[::1]:81/", "[::1]:81"),
        ] {
            let target = Target::remote(address, "k");
            let wanted = Target::Remote { authority: authority.into(), key: "k".into() };
            assert_eq!(target.ok(), Some(wanted), "{address}");
        }
        assert!(Target::remote("h:443", "k").is_err());
        assert!(Target::remote("https://h", "k").is_err());
        assert!(Target::remote("http://h", "").is_err());
    }

    #[test]
    fn nobody_there() {
        let client = Client::new(Target::Socket("/nonexistent/s".into()), Duration::ZERO);
        let error = client.call("GET", "/", None).map_err(|e| e.to_string());
        let text = "cannot reach the server at /nonexistent/s (it is not there): is it running? \
            start it with `gramscale serve`, or name its configuration with -c";
        assert_eq!(error, Err(text.into()));
    }
}
