//! The HTTP/1.1 server: reads requests, asks a [`Service`], writes responses.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::AsyncWriteExt;
use futures_lite::future::BoxedLocal;
use gramscale_proto::wire::http1::chunked::{ChunkError, Decoder};
use gramscale_proto::wire::http1::{self, Body, Head, HeadError, MAX_HEAD};
use gramscale_proto::wire::prefix::Prefix;
use gramscale_rt::timeout;

use super::{Connection, Peer, Stream, forwarded};

/// From the connection, or the first byte of a later request, to the end of a head. Clients send
/// it in one piece; the worst links need some seconds.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Between two requests of a connection.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// For a whole body: the largest that are taken are policies of some 100 KiB.
const BODY_TIME: Duration = Duration::from_secs(60);

/// For a piece of a response to be taken by the peer.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// Bytes of a response written under one [`WRITE_TIME`]: a peer slower than 2 KiB/s is cut.
const PIECE: usize = 64 * 1024;

/// What is read at once.
const READ: usize = 4096;

/// After a refusal, this much of what the peer still sends is read and thrown away for up to
/// [`LINGER_TIME`]: closed at once, the kernel would take the refusal back.
const LINGER: usize = 256 * 1024;

/// See [`LINGER`].
const LINGER_TIME: Duration = Duration::from_secs(2);

/// What answers the requests of a listener.
pub trait Service {
    /// The longest body that is read for this request, in bytes; 413 is the answer to a longer
    /// one.
    fn body_limit(&self, head: &Head) -> usize;

    /// Proxies whose word about the address of a client is believed.
    fn proxies(&self) -> &[Prefix] {
        &[]
    }

    /// Answers a request.
    fn call(self: Rc<Self>, request: Request) -> BoxedLocal<Reply>;
}

/// A request with its body.
#[derive(Debug)]
pub struct Request {
    /// Method, path, headers.
    pub head: Head,
    /// Who asks.
    pub peer: Peer,
    /// Whole, and no longer than [`Service::body_limit`] allowed.
    pub body: Vec<u8>,
}

/// What becomes of a request.
pub enum Reply {
    /// An answer, after which another request may come.
    Response(Response),
    /// The connection leaves HTTP.
    Upgrade {
        /// Written as it is; empty if the peer expects none.
        head: Vec<u8>,
        /// Takes over.
        then: Box<dyn FnOnce(Connection) -> BoxedLocal<()>>,
    },
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(response) => response.fmt(f),
            Self::Upgrade { head, .. } => write!(f, "Upgrade({} bytes)", head.len()),
        }
    }
}

/// An answer. `Content-Length` and `Connection` are added when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Three digits.
    pub status: u16,
    /// Header lines; one whose value has control characters is not sent.
    pub headers: Vec<(&'static str, String)>,
    /// Not sent to `HEAD`.
    pub body: Vec<u8>,
}

impl Response {
    /// Without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// With a web page.
    pub fn html(status: u16, body: impl Into<String>) -> Self {
        Self::typed(status, "text/html; charset=utf-8", body.into())
    }

    /// With a JSON document.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::typed(status, "application/json", body.into())
    }

    /// With plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self::typed(status, "text/plain; charset=utf-8", body.into())
    }

    /// With one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn typed(status: u16, kind: &str, body: String) -> Self {
        let headers = vec![("Content-Type", kind.to_owned())];
        Self { status, headers, body: body.into_bytes() }
    }
}

/// Serves a connection until either side is done with it.
pub fn serve(connection: Connection, service: Rc<dyn Service>) -> impl Future<Output = ()> {
    serve_opened(std::future::ready(Some(connection)), service)
}

/// Serves a connection that has yet to be opened, for example by a TLS handshake.
pub fn serve_opened(
    opening: impl Future<Output = Option<Connection>>,
    service: Rc<dyn Service>,
) -> impl Future<Output = ()> {
    // In a box of its own, so that the kilobyte it needs is given back when the connection leaves
    // HTTP: most connections then stay for days.
    let http = Box::pin(async move { requests(opening.await?, service).await });
    async move {
        let upgraded = http.await;
        if let Some(upgraded) = upgraded {
            upgraded.await;
        }
    }
}

/// Answers requests until the connection is done with, or leaves HTTP for what is returned.
async fn requests(mut connection: Connection, service: Rc<dyn Service>) -> Option<BoxedLocal<()>> {
    let mut buf = Vec::new();
    let mut patience = HEAD_TIME;
    loop {
        let head = match read_head(&connection.stream, &mut buf, patience).await {
            Ok(Some(head)) => head,
            Ok(None) => return None,
            Err(refusal) => {
                refuse(&connection.stream, refusal).await;
                return None;
            }
        };
        let peer =
            connection.peer.addr.map(|addr| forwarded::client(addr, &head, service.proxies()));
        connection.slot.belongs_to(peer);
        let limit = service.body_limit(&head);
        let body = match read_body(&connection.stream, &mut buf, &head, limit).await {
            Ok(Some(body)) => body,
            Ok(None) => return None,
            Err(refusal) => {
                refuse(&connection.stream, refusal).await;
                return None;
            }
        };
        let (is_head, keep_alive) = (head.method == "HEAD", head.keep_alive);
        let peer = Peer { addr: peer, ..connection.peer };
        let request = Request { head, peer, body };
        match service.clone().call(request).await {
            Reply::Response(response) => {
                let sent = write_response(&connection.stream, response, is_head, keep_alive).await;
                if !sent || !keep_alive {
                    let _ = connection.stream.close().await;
                    return None;
                }
            }
            Reply::Upgrade { head, then } => {
                if !write_all(&connection.stream, &head).await {
                    return None;
                }
                connection.stream.unread(&buf);
                connection.peer = peer;
                return Some(then(connection));
            }
        }
        if buf.is_empty() {
            // Nothing is kept for a connection that only waits.
            buf = Vec::new();
        }
        patience = IDLE_TIME;
    }
}

/// Why a request is not given to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    status: u16,
    why: &'static str,
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        Self { status: error.status(), why: "the request cannot be read" }
    }
}

impl From<ChunkError> for Refusal {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Malformed => Self { status: 400, why: "the body cannot be read" },
            ChunkError::TooLarge => TOO_LARGE,
        }
    }
}

const TOO_LARGE: Refusal = Refusal { status: 413, why: "the body is too large" };
const TOO_SLOW: Refusal = Refusal { status: 408, why: "the request took too long" };

/// Takes a head out of `buf`, reading more as needed. `None`: the peer is gone, or said nothing.
async fn read_head(
    stream: &Stream,
    buf: &mut Vec<u8>,
    patience: Duration,
) -> Result<Option<Head>, Refusal> {
    if buf.is_empty() {
        // Without a buffer: most connections that wait have nothing more to say.
        if timeout(patience, stream.readable()).await.is_none() {
            return Ok(None);
        }
        match timeout(patience, stream.read_into(buf, READ)).await {
            Some(Ok(n)) if n > 0 => {}
            _ => return Ok(None),
        }
    }
    match timeout(HEAD_TIME, rest_of_head(stream, buf)).await {
        Some(result) => result,
        None => Err(TOO_SLOW),
    }
}

async fn rest_of_head(stream: &Stream, buf: &mut Vec<u8>) -> Result<Option<Head>, Refusal> {
    // The first bytes are looked at even when incomplete: what is not HTTP shows at once.
    let mut look = true;
    loop {
        // Empty lines before a request are allowed (RFC 9112 section 2.2).
        let blank = buf.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        buf.drain(..blank);
        if (look || buf.len() >= MAX_HEAD)
            && let Some((head, length)) = Head::parse(buf)?
        {
            buf.drain(..length);
            return Ok(Some(head));
        }
        let seen = buf.len();
        if !matches!(stream.read_into(buf, READ).await, Ok(n) if n > 0) {
            return Ok(None);
        }
        look = http1::has_end(buf, seen);
    }
}

/// Takes the body of a request out of `buf`, reading more as needed. `None`: the peer is gone.
async fn read_body(
    stream: &Stream,
    buf: &mut Vec<u8>,
    head: &Head,
    limit: usize,
) -> Result<Option<Vec<u8>>, Refusal> {
    let length = match head.body {
        Body::Length(0) => return Ok(Some(Vec::new())),
        Body::Length(length) => {
            let length = usize::try_from(length).ok().filter(|length| *length <= limit);
            Some(length.ok_or(TOO_LARGE)?)
        }
        Body::Chunked | Body::Close => None,
    };
    if buf.is_empty() && head.has_word("expect", "100-continue") {
        let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
        if !write_all(stream, go_on).await {
            return Ok(None);
        }
    }
    let body = async {
        match length {
            Some(length) => Ok(read_counted(stream, buf, length).await.ok()),
            None => read_chunked(stream, buf, limit).await,
        }
    };
    match timeout(BODY_TIME, body).await {
        Some(result) => result,
        None => Err(TOO_SLOW),
    }
}

async fn read_counted(stream: &Stream, buf: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    while buf.len() < length {
        // Memory is given as the bytes come, not as they are announced.
        let most = (length - buf.len()).min(PIECE);
        if stream.read_into(buf, most).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let rest = buf.split_off(length);
    Ok(std::mem::replace(buf, rest))
}

async fn read_chunked(
    stream: &Stream,
    buf: &mut Vec<u8>,
    limit: usize,
) -> Result<Option<Vec<u8>>, Refusal> {
    let mut decoder = Decoder::new(limit);
    let mut body = Vec::new();
    loop {
        let taken = decoder.feed(buf, &mut body)?;
        buf.drain(..taken);
        if decoder.is_done() {
            return Ok(Some(body));
        }
        if !matches!(stream.read_into(buf, READ).await, Ok(n) if n > 0) {
            return Ok(None);
        }
    }
}

/// Whether it was written as a whole.
async fn write_response(
    stream: &Stream,
    response: Response,
    is_head: bool,
    keep_alive: bool,
) -> bool {
    let Response { status, headers, body } = response;
    let mut lines: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    lines.push(("Connection", if keep_alive { "keep-alive" } else { "close" }));
    let bare = status < 200 || status == 204 || status == 304;
    let mut out = Vec::with_capacity(256);
    http1::write_head(&mut out, status, &lines, (!bare).then_some(body.len()));
    if bare || is_head {
        return write_all(stream, &out).await;
    }
    // One segment for what fits one; a large body is not copied.
    if body.len() <= READ {
        out.extend_from_slice(&body);
        return write_all(stream, &out).await;
    }
    write_all(stream, &out).await && write_all(stream, &body).await
}

async fn write_all(mut stream: &Stream, bytes: &[u8]) -> bool {
    for piece in bytes.chunks(PIECE) {
        let written = timeout(WRITE_TIME, stream.write_all(piece)).await;
        if !matches!(written, Some(Ok(()))) {
            return false;
        }
    }
    matches!(timeout(WRITE_TIME, stream.flush()).await, Some(Ok(())))
}

async fn refuse(mut stream: &Stream, refusal: Refusal) {
    let Refusal { status, why } = refusal;
    log::debug!("http: refused with {status}: {why}");
    if !write_response(stream, Response::text(status, format!("{why}\n")), false, false).await {
        return;
    }
    let _ = stream.close().await;
    let drain = async {
        let mut buf = Vec::new();
        let mut total = 0;
        while let Ok(n @ 1..) = stream.read_into(&mut buf, READ).await {
            buf.clear();
            total += n;
            if total >= LINGER {
                break;
            }
        }
    };
    timeout(LINGER_TIME, drain).await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::SocketAddr;
    use std::os::unix::net::UnixStream;

    use futures_lite::AsyncReadExt;
    use gramscale_rt::{Async, block_on, spawn, unblock};

    use super::super::places::Slot;
    use super::*;

    /// Answers with what it was asked; `/up` leaves HTTP and echoes; `/who` tells who asks.
    struct Echo([Prefix; 1]);

    impl Service for Echo {
        fn body_limit(&self, head: &Head) -> usize {
            if head.path == "/big" { 1_000_000 } else { 10 }
        }

        fn proxies(&self) -> &[Prefix] {
            &self.0
        }

        fn call(self: Rc<Self>, request: Request) -> BoxedLocal<Reply> {
            Box::pin(async move {
                if request.head.path == "/up" {
                    let then = |mut connection: Connection| -> BoxedLocal<()> {
                        Box::pin(async move {
                            let mut byte = [0; 5];
                            connection.stream.read_exact(&mut byte).await.unwrap();
                            connection.stream.write_all(&byte).await.unwrap();
                        })
                    };
                    return Reply::Upgrade { head: b"UP ".to_vec(), then: Box::new(then) };
                }
                if request.head.path == "/who" {
                    return Response::text(200, format!("{:?}", request.peer.addr)).into();
                }
                if request.head.path == "/big" {
                    return Response { status: 200, headers: vec![], body: request.body }.into();
                }
                let body = String::from_utf8_lossy(&request.body).into_owned();
                Response::text(200, format!("{} {} {body}", request.head.method, request.head.path))
                    .into()
            })
        }
    }

    /// What a client that sends `request` and ends its half gets.
    fn exchange(request: &[u8]) -> String {
        exchange_from(None, request)
    }

    fn exchange_from(addr: Option<SocketAddr>, request: &[u8]) -> String {
        let request = request.to_vec();
        block_on(async move {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let connection = Connection {
                stream: Async::new(ours).unwrap().into(),
                peer: Peer { addr, tls: false },
                slot: Slot::uncounted(),
            };
            let server = spawn(serve(connection, Rc::new(Echo(["10.0.0.0/8".parse().unwrap()]))));
            let got = unblock(move || {
                // The server may refuse before it has read all.
                let _ = theirs.write_all(&request);
                let _ = theirs.shutdown(std::net::Shutdown::Write);
                let mut got = Vec::new();
                theirs.read_to_end(&mut got).unwrap();
                got
            });
            let got = got.await;
            server.await;
            String::from_utf8_lossy(&got).into_owned()
        })
    }

    fn ok(body: &str, connection: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Connection: {connection}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[test]
    fn requests_in_a_row() {
        let got = exchange(
            b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n\r\nPOST /c HTTP/1.1\r\nHost: h\r\n\
            Content-Length: 3\r\n\r\nxyzPUT /d HTTP/1.1\r\nHost: h\r\n\
            Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\
            GET http://h/e HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /never",
        );
        let expected = ok("GET /a ", "keep-alive")
            + &ok("POST /c xyz", "keep-alive")
            + &ok("PUT /d hi", "keep-alive")
            + &ok("GET /e ", "close");
        assert_eq!(got, expected);
    }

    #[test]
    fn head_has_no_body() {
        let got = exchange(b"HEAD /a HTTP/1.0\r\n\r\n");
        let full = ok("HEAD /a ", "close");
        assert_eq!(got, full.strip_suffix("HEAD /a ").unwrap());
    }

    #[test]
    fn an_upgrade_gets_the_early_bytes() {
        let up = b"GET /up HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n\r\nearlyrest";
        assert_eq!(exchange(up), "UP early");
    }

    #[test]
    fn each_request_of_a_proxy_has_a_client_of_its_own() {
        let ask = |addr: &str| {
            let head = "GET /who HTTP/1.1\r\nHost: h\r\nX-Real-IP:";
            let both = format!("{head} 192.0.2.1\r\n\r\n{head} 192.0.2.2\r\n\r\n");
            exchange_from(Some(addr.parse().unwrap()), both.as_bytes())
        };
        let (one, other) = ("Some(192.0.2.1:0)", "Some(192.0.2.2:0)");
        assert_eq!(ask("10.0.0.1:7"), ok(one, "keep-alive") + &ok(other, "keep-alive"));
        let stranger = ok("Some(192.0.2.9:7)", "keep-alive");
        assert_eq!(ask("192.0.2.9:7"), stranger.repeat(2));
    }

    #[test]
    fn refusals() {
        let chunk = "Transfer-Encoding: chunked\r\n\r\n";
        for (text, status) in [
            ("\u{16}\u{3}\u{1}garbage".to_owned(), 400),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/3.0\r\nHost: h\r\n\r\n".to_owned(), 505),
            (format!("GET /{}", "x".repeat(100_000)), 431),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n".to_owned(), 413),
            (format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", u64::MAX), 413),
            (format!("POST / HTTP/1.1\r\nHost: h\r\n{chunk}b\r\n"), 413),
            (format!("POST / HTTP/1.1\r\nHost: h\r\n{chunk}x\r\n"), 400),
        ] {
            let got = exchange(text.as_bytes());
            let line = format!("HTTP/1.1 {status} {}\r\n", http1::reason(status));
            assert!(got.starts_with(&line), "{text:.40?}: {got}");
            assert!(got.contains("Connection: close\r\n"));
        }
    }

    #[test]
    fn the_end_is_no_request() {
        for text in
            ["", "\r\n", "GET / HT", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc"]
        {
            assert_eq!(exchange(text.as_bytes()), "", "{text:?}");
        }
    }

    #[test]
    fn large_bodies() {
        let body: Vec<u8> = (0..300_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
        let mut request = format!(
            "POST /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        let got = exchange(&request);
        assert!(got.as_bytes().ends_with(&body));
    }

    #[test]
    fn goes_on_when_asked() {
        let got = exchange(
            b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        );
        assert_eq!(got, "HTTP/1.1 100 Continue\r\n\r\n");
    }

    #[test]
    fn a_slow_head_is_cut() {
        block_on(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let stream: Stream = Async::new(ours).unwrap().into();
            theirs.write_all(b"GET / HTTP/1.1\r\n").unwrap();
            let mut buf = Vec::new();
            // As `read_head`, with a test's patience.
            let got = timeout(Duration::from_millis(50), rest_of_head(&stream, &mut buf)).await;
            assert_eq!(got, None);
            // One that says nothing is left without an answer.
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let stream: Stream = Async::new(ours).unwrap().into();
            let got = read_head(&stream, &mut Vec::new(), Duration::from_millis(10)).await;
            assert_eq!(got, Ok(None));
        });
    }
}
