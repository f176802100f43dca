//! Outbound requests over http and https: [`get`] for relay maps, [`Call`] for the command line.
//!
//! Rare and small, so each runs on a thread of its own with plain blocking calls; the resolver
//! of the system blocks anyway.

mod call;
#[cfg(feature = "tls")]
mod roots;
mod url;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gramscale_proto::wire::http1::chunked::Decoder;
use gramscale_proto::wire::http1::{Body, HeadError, ResponseHead};

pub use self::call::{Answer, Call};

use self::url::Url;

/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// For one address of a host to answer.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// What is read at once.
const READ: usize = 16 * 1024;

/// How far a request may go.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For everything, from the name look-up to the last byte.
    pub time: Duration,
    /// Bytes of the body.
    pub size: usize,
    /// Whether to believe our clock when a certificate is checked: if not, none is refused for
    /// its age.
    pub clock: bool,
    /// The authorities to trust, as a PEM file, instead of the system's.
    pub authorities: Option<PathBuf>,
}

impl Default for Limits {
    fn default() -> Self {
        let time = Duration::from_secs(30);
        Self { time, size: 1024 * 1024, clock: true, authorities: None }
    }
}

/// Fetches what is at `url`.
///
/// # Errors
///
/// Anything but a body with status 200, at the end of up to five redirects; from https none
/// leads to http.
pub async fn get(url: &str, limits: Limits) -> Result<Vec<u8>, FetchError> {
    let url = Url::parse(url).ok_or(FetchError::Url)?;
    let time = limits.time;
    let work = gramscale_rt::unblock(move || follow(url, &limits));
    gramscale_rt::timeout(time, work).await.unwrap_or(Err(FetchError::Time))
}

/// Why nothing was fetched.
#[derive(Debug)]
pub enum FetchError {
    /// No authorities to trust were found.
    Authorities,
    /// No address of the host answered.
    Connect(String, io::Error),
    /// The answer is not HTTP, or breaks off.
    Http(String),
    /// The host has no address.
    Name(String),
    /// Redirects without end, or to something else than https.
    Redirect,
    /// More bytes than allowed.
    Size,
    /// Another status than 200.
    Status(u16),
    /// It took too long.
    Time,
    /// The encryption failed; most often the certificate.
    Tls(String),
    /// Built without TLS.
    Unsupported,
    /// Not an http or https URL.
    Url,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authorities => f.write_str(
                "no certificates of authorities found; install the package ca-bundle or \
                 ca-certificates, or set SSL_CERT_FILE",
            ),
            Self::Connect(host, error) => write!(f, "cannot connect to {host}: {error}"),
            Self::Http(what) => write!(f, "the answer cannot be read: {what}"),
            Self::Name(host) => write!(f, "the host name {host} has no address"),
            Self::Redirect => f.write_str("the redirects lead nowhere"),
            Self::Size => f.write_str("the answer is too large"),
            Self::Status(status) => write!(f, "the server answered with status {status}"),
            Self::Time => f.write_str("it took too long"),
            Self::Tls(what) => write!(f, "no secure connection: {what}"),
            Self::Unsupported => f.write_str("this program was built without https"),
            Self::Url => f.write_str("an http or https URL is expected"),
        }
    }
}

impl std::error::Error for FetchError {}

impl From<HeadError> for FetchError {
    fn from(error: HeadError) -> Self {
        Self::Http(error.to_string())
    }
}

fn follow(mut url: Url, limits: &Limits) -> Result<Vec<u8>, FetchError> {
    let deadline = Instant::now() + limits.time;
    for _ in 0..=REDIRECTS {
        let (head, body) = request(&url, limits, deadline)?;
        match head.status {
            200 => return Ok(body),
            301 | 302 | 303 | 307 | 308 => {
                let target = head.header("location").and_then(|to| url.join(to));
                url = target.ok_or(FetchError::Redirect)?;
            }
            status => return Err(FetchError::Status(status)),
        }
    }
    Err(FetchError::Redirect)
}

fn request(
    url: &Url,
    limits: &Limits,
    deadline: Instant,
) -> Result<(ResponseHead, Vec<u8>), FetchError> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: gramscale/{}\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        url.target,
        url.authority(),
        env!("CARGO_PKG_VERSION"),
    );
    reach(url, limits, deadline, &request)
}

/// Sends a request to the host of the URL and reads the answer.
fn reach(
    url: &Url,
    limits: &Limits,
    deadline: Instant,
    request: &str,
) -> Result<(ResponseHead, Vec<u8>), FetchError> {
    let mut socket = connect(url, deadline)?;
    if url.secure {
        secure(url, socket, limits, request)
    } else {
        exchange(&mut socket, request, limits.size)
    }
}

#[cfg(feature = "tls")]
fn secure(
    url: &Url,
    socket: Timed,
    limits: &Limits,
    request: &str,
) -> Result<(ResponseHead, Vec<u8>), FetchError> {
    let name =
        rustls::pki_types::ServerName::try_from(url.host.clone()).map_err(|_| FetchError::Url)?;
    let config = roots::config(limits.authorities.as_deref(), limits.clock)?;
    let session = rustls::ClientConnection::new(config, name)
        .map_err(|error| FetchError::Tls(error.to_string()))?;
    exchange(&mut rustls::StreamOwned::new(session, socket), request, limits.size)
}

#[cfg(not(feature = "tls"))]
fn secure(_: &Url, _: Timed, _: &Limits, _: &str) -> Result<(ResponseHead, Vec<u8>), FetchError> {
    Err(FetchError::Unsupported)
}

fn connect(url: &Url, deadline: Instant) -> Result<Timed, FetchError> {
    let name = || url.host.clone();
    let addresses =
        (url.host.as_str(), url.port).to_socket_addrs().map_err(|_| FetchError::Name(name()))?;
    let mut last = None;
    for address in addresses {
        let left = left(deadline).map_err(|_| FetchError::Time)?;
        match TcpStream::connect_timeout(&address, left.min(CONNECT_TIME)) {
            Ok(socket) => return Ok(Timed { socket, deadline }),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| FetchError::Name(name()), |error| FetchError::Connect(name(), error)))
}

/// A socket whose operations end at a moment.
struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Read for Timed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.deadline)?))?;
        self.socket.read(buf)
    }
}

impl Write for Timed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.deadline)?))?;
        self.socket.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Sends the request and reads the answer. Not generic: it is the same for both schemes.
fn exchange(
    stream: &mut dyn ReadWrite,
    request: &str,
    limit: usize,
) -> Result<(ResponseHead, Vec<u8>), FetchError> {
    stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).map_err(failed)?;
    let mut piece = vec![0; READ];
    let mut buf = Vec::new();
    let (head, length) = loop {
        match ResponseHead::parse(&buf)? {
            // Of no use to us: 100 and 103.
            Some((head, length)) if head.status < 200 => drop(buf.drain(..length)),
            Some(parsed) => break parsed,
            None if read(stream, &mut piece, &mut buf)? == 0 => {
                return Err(FetchError::Http("it breaks off".into()));
            }
            None => {}
        }
    };
    buf.drain(..length);
    let redirected = matches!(head.status, 300..400);
    if redirected {
        return Ok((head, Vec::new()));
    }
    let body = read_body(stream, head.body, buf, &mut piece, limit)?;
    Ok((head, body))
}

fn read_body(
    stream: &mut dyn ReadWrite,
    kind: Body,
    mut buf: Vec<u8>,
    piece: &mut [u8],
    limit: usize,
) -> Result<Vec<u8>, FetchError> {
    let breaks_off = || FetchError::Http("it breaks off".into());
    match kind {
        Body::Length(length) => {
            let length = usize::try_from(length).ok().filter(|length| *length <= limit);
            let length = length.ok_or(FetchError::Size)?;
            while buf.len() < length {
                if read(stream, piece, &mut buf)? == 0 {
                    return Err(breaks_off());
                }
            }
            buf.truncate(length);
            Ok(buf)
        }
        Body::Chunked => {
            let mut decoder = Decoder::new(limit);
            let mut body = Vec::new();
            loop {
                decoder.feed(&buf, &mut body).map_err(|_| FetchError::Size)?;
                buf.clear();
                if decoder.is_done() {
                    return Ok(body);
                }
                if read(stream, piece, &mut buf)? == 0 {
                    return Err(breaks_off());
                }
            }
        }
        Body::Close => {
            while buf.len() <= limit {
                if read(stream, piece, &mut buf)? == 0 {
                    return Ok(buf);
                }
            }
            Err(FetchError::Size)
        }
    }
}

fn read(
    stream: &mut dyn ReadWrite,
    piece: &mut [u8],
    buf: &mut Vec<u8>,
) -> Result<usize, FetchError> {
    let n = stream.read(piece).map_err(failed)?;
    buf.extend_from_slice(piece.get(..n).unwrap_or_default());
    Ok(n)
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn failed(error: io::Error) -> FetchError {
    match error.kind() {
        // A blocking socket reports its time limit as the former.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => FetchError::Time,
        // What rustls says of a certificate is inside.
        io::ErrorKind::InvalidData => FetchError::Tls(error.to_string()),
        _ => FetchError::Http(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
