//! Calls of the REST interface: over the server's unix socket, or over the network to a server
//! elsewhere. One request a connection; it blocks, for the command line has nothing else to do.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gramscale_proto::wire::http1::encode;
use gramscale_proto::wire::json;
use serde_json::Value;

use super::Error;
use crate::net::fetch::{Call, FetchError, Limits};

/// The most an answer may hold: far above the listing of some thousand nodes.
const ANSWER_LIMIT: usize = 32 << 20;

/// How long an answer may take once the server has the request: a commit on a router's flash takes
/// up to seconds, and others may be before it.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Pauses between attempts to reach the server grow from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// On this machine; whoever may open the socket may command.
    Socket(PathBuf),
    /// Elsewhere.
    Remote {
        /// `https://HOST:PORT` or `http://HOST:PORT`.
        url: String,
        /// The API key.
        key: String,
    },
}

impl Target {
    /// Reads the address of a server elsewhere; without a scheme it is https.
    pub(super) fn remote(address: &str, key: &str) -> Result<Self, Error> {
        if key.is_empty() {
            return Err(Error::Usage(
                "a server elsewhere wants an API key; put one made with `apikeys create` on it \
                 into HEADSCALE_CLI_API_KEY"
                    .into(),
            ));
        }
        let url =
            if address.contains("://") { address.into() } else { format!("https://{address}") };
        Ok(Self::Remote { url, key: key.to_owned() })
    }
}

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

    /// The same, but it waits for no server that is not there.
    pub(super) fn at_once(&self) -> Self {
        Self::new(self.target.clone(), Duration::ZERO)
    }

    /// Sends a request and returns the JSON of the answer; a refusal is [`Error::Refused`].
    pub(super) fn call(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let call = Call { method, target, key: "", body: &body };
        let limits = Limits { time: ANSWER_TIME, size: ANSWER_LIMIT, ..Limits::default() };
        let answer = match &self.target {
            Target::Socket(path) => call.over(self.reach(path)?, &limits),
            Target::Remote { url, key } => Call { key, ..call }.to(url, &limits),
        };
        let (status, body) = answer.map_err(|e| self.failed(&e))?;
        if !(200..300).contains(&status) {
            return Err(refusal(status, &body));
        }
        json::read(&body).map_err(|_| Error::Broken("its answer is no JSON".into()))
    }

    /// Tries until the time is over, for the server may just be starting. What waiting can't
    /// change (permissions, a wrong name) ends at once.
    fn reach(&self, path: &Path) -> Result<UnixStream, Error> {
        let end = Instant::now() + self.timeout;
        let mut pause = PAUSE.0;
        loop {
            let connected = UnixStream::connect(path).and_then(|stream| {
                stream.set_read_timeout(Some(ANSWER_TIME))?;
                stream.set_write_timeout(Some(ANSWER_TIME))?;
                Ok(stream)
            });
            let error = match connected {
                Ok(stream) => return Ok(stream),
                Err(e) => e,
            };
            let may_come =
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
            let left = end.saturating_duration_since(Instant::now());
            if !may_come || left.is_zero() {
                let place = path.display().to_string();
                let denied = error.kind() == io::ErrorKind::PermissionDenied;
                return Err(Error::Unreachable { place, reason: fault(&error), denied });
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn failed(&self, error: &FetchError) -> Error {
        match (&self.target, error) {
            (Target::Remote { url, .. }, FetchError::Connect(_, error)) => {
                Error::Unreachable { place: url.clone(), reason: fault(error), denied: false }
            }
            (Target::Remote { url, .. }, error) => {
                Error::Local(format!("cannot ask the server at {url}: {error}"))
            }
            (Target::Socket(_), error) => Error::Broken(error.to_string()),
        }
    }
}

/// What went wrong, without the number of the system's error.
fn fault(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it is not there".into(),
        io::ErrorKind::ConnectionRefused => "nobody listens".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::TimedOut => "it took too long".into(),
        _ => error.to_string(),
    }
}

/// The server's own words for a refusal: `detail` of a problem document, `message` of headscale
/// before 0.30, or the text.
fn refusal(status: u16, body: &[u8]) -> Error {
    let value = json::read(body).unwrap_or_default();
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
    fn refusals() {
        let text = |body: &str| refusal(404, body.as_bytes()).to_string();
        assert_eq!(text(r#"{"title":"Not Found","detail":"no such node"}"#), "no such node");
        assert_eq!(text(r#"{"code":5,"message":"user not found","details":[]}"#), "user not found");
        assert_eq!(text(r#"{"title":"Not Found"}"#), "Not Found");
        assert_eq!(text("Unauthorized\n"), "Unauthorized");
        assert_eq!(text(""), "the server refused with status 404 and no reason");
    }

    #[test]
    fn remotes() {
        for (address, url) in [
            ("http://h", "http://h"),
            ("https://h:8443/", "https://h:8443/"),
            ("h", "https://h"),
            ("h:50443", "https://h:50443"),
        ] {
            let wanted = Target::Remote { url: url.into(), key: "k".into() };
            assert_eq!(Target::remote(address, "k"), Ok(wanted), "{address}");
        }
        assert!(Target::remote("http://h", "").is_err());
        let client = Client::new(Target::remote("ftp://h", "k").unwrap(), Duration::ZERO);
        let text = "cannot ask the server at ftp://h: an http or https URL is expected";
        assert_eq!(client.call("GET", "/", None), Err(Error::Local(text.into())));
    }

    #[test]
    fn nobody_there() {
        let client = Client::new(Target::Socket("/nonexistent/s".into()), Duration::ZERO);
        let error = client.call("GET", "/", None).map_err(|e| e.to_string());
        let text = "cannot reach the server at /nonexistent/s (it is not there): is it running? \
            start it with `gramscale serve`, or name its configuration with -c or its \
            folder in GRAMSCALE_DATA_DIR";
        assert_eq!(error, Err(text.into()));
    }
}
