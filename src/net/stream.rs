//! One type for every kind of byte stream.

use std::cell::RefCell;
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

/// A byte stream: TCP, a unix socket, TLS or a WebSocket.
///
/// Reading and writing need no exclusive access: `&Stream` has the traits as well, so one task
/// may read while another writes.
pub struct Stream {
    kind: Kind,
    /// What was read but not consumed, to be read again first.
    early: RefCell<Vec<u8>>,
}

pub(super) enum Kind {
    Tcp(Async<TcpStream>),
    Unix(Async<UnixStream>),
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
        if !self.early.borrow().is_empty() {
            return;
        }
        match &self.kind {
            Kind::Tcp(io) => io.readable().await,
            Kind::Unix(io) => io.readable().await,
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
            Kind::Unix(_) => None,
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

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Tcp(_) => "Stream(tcp)",
            Kind::Unix(_) => "Stream(unix)",
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
            Kind::Unix(io) => Pin::new(&mut &*io).poll_read(context, buf),
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
            Kind::Unix(io) => Pin::new(&mut &*io).poll_write(context, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &self.kind {
            Kind::Tcp(io) => Pin::new(&mut &*io).poll_write_vectored(context, bufs),
            Kind::Unix(io) => Pin::new(&mut &*io).poll_write_vectored(context, bufs),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.kind {
            Kind::Tcp(io) => Pin::new(&mut &*io).poll_flush(context),
            Kind::Unix(io) => Pin::new(&mut &*io).poll_flush(context),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.kind {
            Kind::Tcp(io) => Pin::new(&mut &*io).poll_close(context),
            Kind::Unix(io) => Pin::new(&mut &*io).poll_close(context),
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
