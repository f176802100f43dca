//! One type for every kind of byte stream.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use gramscale_rt::{Async, sys};

#[cfg(feature = "tls")]
use super::tls::TlsStream;
use super::websocket::WebSocket;

/// A byte stream: TCP, a unix socket, TLS or a WebSocket.
///
/// Reading and writing need no exclusive access: `&Stream` has the traits as well, so one task
/// may read while another writes. What is written is sure to be sent only after a flush.
pub struct Stream {
    kind: Kind,
    /// What was read but not consumed, to be read again first.
    early: RefCell<Vec<u8>>,
}

enum Kind {
    Tcp(Async<TcpStream>),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
    Unix(Async<UnixStream>),
    Web(Box<WebSocket>),
}

impl Stream {
    fn new(kind: Kind) -> Self {
        Self { kind, early: RefCell::default() }
    }

    /// Puts bytes back: they are read first, before those already put back.
    pub fn unread(&self, bytes: &[u8]) {
        let mut early = self.early.borrow_mut();
        early.splice(..0, bytes.iter().copied());
    }

    /// Waits until a read may give something, without needing a buffer meanwhile. A hint: the
    /// read can still have to wait.
    pub async fn readable(&self) {
        poll_fn(|context| self.poll_readable(context)).await;
    }

    /// [`Self::readable`] for futures written by hand.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.early.borrow().is_empty() {
            return Poll::Ready(());
        }
        match &self.kind {
            Kind::Tcp(io) => io.poll_readable(context),
            #[cfg(feature = "tls")]
            Kind::Tls(tls) if tls.has_plain() => Poll::Ready(()),
            #[cfg(feature = "tls")]
            Kind::Tls(tls) => tls.inner().poll_readable(context),
            Kind::Unix(io) => io.poll_readable(context),
            Kind::Web(web) => web.inner().poll_readable(context),
        }
    }

    /// Waits until a write may be taken, so that what is written need not be made before. A hint:
    /// the write can still have to wait.
    pub async fn writable(&self) {
        // At the other end of a unix socket is only the command line.
        if let Some(tcp) = self.tcp() {
            tcp.writable().await;
        }
    }

    /// Appends what is there, up to `most` bytes, to `buf`; 0 is the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of reading the underlying socket.
    pub async fn read_into(&self, buf: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let filled = buf.len();
        buf.resize(filled + most, 0);
        let result = poll_fn(|context| match buf.get_mut(filled..) {
            Some(room) => Pin::new(&mut &*self).poll_read(context, room),
            None => Poll::Ready(Ok(0)),
        })
        .await;
        buf.truncate(filled + result.as_ref().map_or(0, |n| *n));
        result
    }

    /// Ends a TCP connection whose peer acknowledges nothing for `limit`
    /// (`TCP_USER_TIMEOUT`); without effect on other sockets.
    pub fn set_user_timeout(&self, limit: Duration) {
        if let Some(tcp) = self.tcp() {
            // Refused only for what is no TCP socket.
            let _ = sys::set_user_timeout(tcp, limit);
        }
    }

    /// The TCP socket underneath, if there is one.
    pub fn tcp(&self) -> Option<&Async<TcpStream>> {
        match &self.kind {
            Kind::Tcp(io) => Some(io),
            #[cfg(feature = "tls")]
            Kind::Tls(tls) => tls.inner().tcp(),
            Kind::Unix(_) => None,
            Kind::Web(web) => web.inner().tcp(),
        }
    }

    /// Takes what was put back.
    fn take_early(&self, buf: &mut [u8]) -> Option<usize> {
        let mut early = self.early.borrow_mut();
        if early.is_empty() {
            return None;
        }
        let n = early.len().min(buf.len());
        let (head, _) = early.split_at(n);
        if let Some(room) = buf.get_mut(..n) {
            room.copy_from_slice(head);
        }
        early.drain(..n);
        if early.is_empty() {
            *early = Vec::new();
        }
        Some(n)
    }
}

impl From<Async<TcpStream>> for Stream {
    fn from(io: Async<TcpStream>) -> Self {
        Self::new(Kind::Tcp(io))
    }
}

impl From<Async<UnixStream>> for Stream {
    fn from(io: Async<UnixStream>) -> Self {
        Self::new(Kind::Unix(io))
    }
}

impl From<WebSocket> for Stream {
    fn from(web: WebSocket) -> Self {
        Self::new(Kind::Web(Box::new(web)))
    }
}

#[cfg(feature = "tls")]
impl From<TlsStream> for Stream {
    fn from(tls: TlsStream) -> Self {
        Self::new(Kind::Tls(Box::new(tls)))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Tcp(_) => "Stream(tcp)",
            #[cfg(feature = "tls")]
            Kind::Tls(_) => "Stream(tls)",
            Kind::Unix(_) => "Stream(unix)",
            Kind::Web(_) => "Stream(websocket)",
        })
    }
}

impl AsyncRead for &Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(n) = self.take_early(buf) {
            return Poll::Ready(Ok(n));
        }
        match &self.kind {
            Kind::Tcp(io) => Pin::new(&mut &*io).poll_read(context, buf),
            #[cfg(feature = "tls")]
            Kind::Tls(tls) => tls.poll_read(context, buf),
            Kind::Unix(io) => Pin::new(&mut &*io).poll_read(context, buf),
            Kind::Web(web) => web.poll_read(context, buf),
        }
    }
}

impl AsyncWrite for &Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &self.kind {
            Kind::Tcp(io) => Pin::new(&mut &*io).poll_write(context, buf),
            #[cfg(feature = "tls")]
            Kind::Tls(tls) => tls.poll_write(context, buf),
            Kind::Unix(io) => Pin::new(&mut &*io).poll_write(context, buf),
            Kind::Web(web) => web.poll_write(context, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &self.kind {
            Kind::Tcp(io) => Pin::new(&mut &*io).poll_write_vectored(context, bufs),
            #[cfg(feature = "tls")]
            Kind::Tls(tls) => gather(bufs, |buf| tls.poll_write(context, buf)),
            Kind::Unix(io) => Pin::new(&mut &*io).poll_write_vectored(context, bufs),
            Kind::Web(web) => gather(bufs, |buf| web.poll_write(context, buf)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.kind {
            Kind::Tcp(io) => Pin::new(&mut &*io).poll_flush(context),
            #[cfg(feature = "tls")]
            Kind::Tls(tls) => tls.poll_flush(context),
            Kind::Unix(io) => Pin::new(&mut &*io).poll_flush(context),
            Kind::Web(web) => web.poll_flush(context),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.kind {
            Kind::Tcp(io) => Pin::new(&mut &*io).poll_close(context),
            #[cfg(feature = "tls")]
            Kind::Tls(tls) => tls.poll_close(context),
            Kind::Unix(io) => Pin::new(&mut &*io).poll_close(context),
            Kind::Web(web) => web.poll_close(context),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(context, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(context, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write_vectored(context, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_close(context)
    }
}

/// Most bytes of a vectored write that are put together for one record or message.
const GATHER: usize = 32 * 1024;

thread_local! {
    // Serves all streams, since none needs it across a wait.
    static GATHERED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Puts the pieces together for those who take one: a record or message for each would cost
/// more than the copy.
fn gather<T>(bufs: &[IoSlice<'_>], write: impl FnOnce(&[u8]) -> T) -> T {
    let mut pieces = bufs.iter().filter(|buf| !buf.is_empty());
    let (first, second) = (pieces.next(), pieces.next());
    if second.is_none() {
        return write(first.map_or(&[], |buf| &**buf));
    }
    let mut gathered = GATHERED.take();
    gathered.clear();
    for buf in bufs {
        let room = GATHER.saturating_sub(gathered.len());
        gathered.extend_from_slice(buf.get(..room).unwrap_or(buf));
    }
    let result = write(&gathered);
    GATHERED.set(gathered);
    result
}

#[cfg(test)]
mod tests {
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use gramscale_rt::block_on;

    use super::*;

    #[test]
    fn put_back_comes_first() {
        block_on(async {
            let (a, b) = UnixStream::pair().unwrap();
            let (a, b) =
                (Stream::from(Async::new(a).unwrap()), Stream::from(Async::new(b).unwrap()));
            (&b).write_all(b"world").await.unwrap();
            a.unread(b"lo ");
            a.unread(b"hel");
            a.readable().await;
            let mut buf = [0; 4];
            assert_eq!((&a).read(&mut buf).await.unwrap(), 4);
            assert_eq!(&buf, b"hell");
            assert_eq!((&a).read(&mut buf).await.unwrap(), 2);
            let mut rest = b"o ".to_vec();
            assert_eq!(a.read_into(&mut rest, 100).await.unwrap(), 5);
            assert_eq!(rest, b"o world");
            drop(b);
            assert_eq!(a.read_into(&mut rest, 100).await.unwrap(), 0);
        });
    }
}
