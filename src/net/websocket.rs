//! The WebSocket forms of the control protocol and of the relay, which browsers use.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use gramscale_proto::wire::http1::{Head, write_head};
use gramscale_proto::wire::websocket::{
    Decoder, HEADER, NORMAL, accept_key, write_close, write_header,
};

use super::Stream;
use super::http::Response;

/// Bytes of the largest message sent; also bounds what is kept for a slow peer.
const MESSAGE: usize = 16 * 1024;

/// Answers to pings that wait to be sent before nothing more is read.
const BACKLOG: usize = 4096;

/// Checks a request to open a WebSocket that carries `protocol`: the head of the 101 response,
/// or the refusal.
pub fn accept(head: &Head, protocol: &str) -> Result<Vec<u8>, Response> {
    let refuse = |status, text: &str| Err(Response::text(status, format!("{text}\n")));
    if head.method != "GET" || !head.has_word("upgrade", "websocket") {
        return refuse(400, "a GET request with Upgrade: websocket is expected");
    }
    if !head.has_word("connection", "upgrade") {
        return refuse(400, "Connection: upgrade is missing");
    }
    if head.header("sec-websocket-version") != Some("13") {
        let text = "version 13 of the WebSocket protocol is expected\n";
        return Err(Response::text(426, text).with("Sec-WebSocket-Version", "13"));
    }
    // 16 bytes in base64.
    let Some(key) = head.header("sec-websocket-key").filter(|key| key.len() == 24) else {
        return refuse(400, "Sec-WebSocket-Key is missing or no key");
    };
    if !head.has_word("sec-websocket-protocol", protocol) {
        return refuse(400, &format!("the WebSocket protocol \"{protocol}\" is expected"));
    }
    let mut out = Vec::new();
    let lines = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", &accept_key(key)),
        ("Sec-WebSocket-Protocol", protocol),
    ];
    write_head(&mut out, 101, &lines, None);
    Ok(out)
}

/// The byte stream inside the binary messages on `stream`, after the 101 response.
pub fn unwrap(stream: Stream) -> Stream {
    Stream::from(WebSocket { inner: stream, state: RefCell::default() })
}

/// A byte stream in the binary messages of another.
pub(super) struct WebSocket {
    inner: Stream,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    decoder: Decoder,
    /// Frames that wait to be sent.
    out: Vec<u8>,
    /// No more frames may be sent.
    closing: bool,
}

impl WebSocket {
    pub(super) fn inner(&self) -> &Stream {
        &self.inner
    }

    pub(super) fn poll_read(
        &self,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.state.borrow_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            if state.decoder.is_closed() {
                return Poll::Ready(Ok(0));
            }
            if state.out.len() > BACKLOG {
                ready!(self.poll_out(&mut state.out, context))?;
            }
            let n = ready!(Pin::new(&mut &self.inner).poll_read(context, buf))?;
            let Some(input) = buf.get_mut(..n).filter(|input| !input.is_empty()) else {
                // Without a closing frame: as any stream that breaks off.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            };
            let decoded = state.decoder.decode(input, &mut state.out);
            if let Err(error) = decoded {
                write_close(&mut state.out, error.code());
            }
            state.closing |= decoded.is_err() || state.decoder.is_closed();
            // What cannot be sent now goes with the next write.
            if let Poll::Ready(Err(error)) = self.poll_out(&mut state.out, context) {
                return Poll::Ready(Err(error));
            }
            match decoded {
                Ok(0) => {}
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(error) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
        }
    }

    pub(super) fn poll_write(
        &self,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.state.borrow_mut();
        if state.closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_out(&mut state.out, context))?;
        let message = buf.get(..MESSAGE).unwrap_or(buf);
        state.out.reserve_exact(HEADER + message.len());
        write_header(&mut state.out, message.len());
        state.out.extend_from_slice(message);
        match self.poll_out(&mut state.out, context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(message.len())),
        }
    }

    pub(super) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(&mut self.state.borrow_mut().out, context))?;
        Pin::new(&mut &self.inner).poll_flush(context)
    }

    pub(super) fn poll_close(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.state.borrow_mut();
        if !state.closing {
            state.closing = true;
            write_close(&mut state.out, NORMAL);
        }
        ready!(self.poll_out(&mut state.out, context))?;
        Pin::new(&mut &self.inner).poll_close(context)
    }

    fn poll_out(&self, out: &mut Vec<u8>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !out.is_empty() {
            let n = ready!(Pin::new(&mut &self.inner).poll_write(context, out))?;
            out.drain(..n.min(out.len()));
        }
        *out = Vec::new();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use gramscale_rt::{Async, block_on};

    use super::*;

    fn head(lines: &str) -> Head {
        let text = format!("GET /derp HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        Head::parse(text.as_bytes()).unwrap().unwrap().0
    }

    const LINES: &str = "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: other, derp\r\n";

    #[test]
    fn handshake() {
        let out = accept(&head(LINES), "derp").unwrap();
        let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
            Sec-WebSocket-Protocol: derp\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        for (from, to, status) in [
            ("WebSocket", "h2c", 400),
            ("keep-alive, Upgrade", "keep-alive", 400),
            (": 13", ": 8", 426),
            ("dGhlIHN", "", 400),
            ("other, derp", "other", 400),
        ] {
            let lines = LINES.replace(from, to);
            assert_eq!(accept(&head(&lines), "derp").unwrap_err().status, status, "{lines}");
        }
    }

    fn pair() -> (Stream, Stream) {
        let (a, b) = UnixStream::pair().unwrap();
        (unwrap(Async::new(a).unwrap().into()), Async::new(b).unwrap().into())
    }

    #[test]
    fn echo() {
        block_on(async {
            let (mut web, mut raw) = pair();
            raw.write_all(b"\x89\x81\0\0\0\0p\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")
                .await
                .unwrap();
            let mut buf = [0; 5];
            web.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"Hello");
            web.write_all(b"world").await.unwrap();
            let mut buf = [0; 10];
            raw.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"\x8a\x01p\x82\x05world");
            raw.write_all(b"\x88\x80abcd").await.unwrap();
            assert_eq!(web.read(&mut buf).await.unwrap(), 0);
            let mut end = [0; 4];
            raw.read_exact(&mut end).await.unwrap();
            assert_eq!(&end, b"\x88\x02\x03\xe8");
            assert!(web.write(b"more").await.is_err());
            web.close().await.unwrap();
            assert_eq!(raw.read(&mut buf).await.unwrap(), 0);
        });
    }

    #[test]
    fn large_writes_become_messages() {
        block_on(async {
            let (mut web, mut raw) = pair();
            let data = vec![9; MESSAGE + 1];
            let write = async {
                web.write_all(&data).await.unwrap();
                web.close().await.unwrap();
            };
            let mut got = Vec::new();
            futures_lite::future::zip(write, raw.read_to_end(&mut got)).await.1.unwrap();
            assert_eq!(got.len(), 4 + MESSAGE + 2 + 1 + 4);
            assert!(got.starts_with(b"\x82\x7e\x40\x00\x09"));
            assert!(got.ends_with(b"\x09\x82\x01\x09\x88\x02\x03\xe8"));
        });
    }

    #[test]
    fn garbage_and_breaks() {
        block_on(async {
            let (mut web, mut raw) = pair();
            raw.write_all(b"\x81\x81\0\0\0\0x").await.unwrap();
            let error = web.read(&mut [0; 10]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let mut end = [0; 4];
            raw.read_exact(&mut end).await.unwrap();
            assert_eq!(&end, b"\x88\x02\x03\xeb");
            let (mut web, raw) = pair();
            drop(raw);
            let error = web.read(&mut [0; 10]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        });
    }
}
