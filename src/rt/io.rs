//! Descriptors as asynchronous streams.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use crate::reactor::{Side, Source};

/// A descriptor registered with the reactor of this thread.
///
/// Reading and writing may be done by different tasks at the same time. Sockets, pipes and the
/// like can be registered; ordinary files cannot.
pub struct Async<T: AsFd> {
    io: Option<T>,
    source: Rc<Source>,
}

impl<T: AsFd> Async<T> {
    /// Makes `io` nonblocking and registers it.
    ///
    /// # Errors
    ///
    /// The kernel's: no memory, the limit of `/proc/sys/fs/epoll`, or a descriptor that cannot
    /// be waited for.
    pub fn new(io: T) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&io, true)?;
        Self::register(io, true)
    }

    /// Registers what is nonblocking already, with one system call less than [`Self::new`].
    pub fn from_nonblocking(io: T) -> io::Result<Self> {
        Self::register(io, true)
    }

    /// `writable`: whether the first write may be tried before the kernel reports.
    pub(crate) fn register(io: T, writable: bool) -> io::Result<Self> {
        let source = crate::reactor().add(&io, writable)?;
        Ok(Self { io: Some(io), source })
    }

    /// What was registered. Reading or writing it directly may cost a wake-up.
    pub fn get_ref(&self) -> &T {
        self.io.as_ref().expect("present until into_inner")
    }

    /// Takes it out of the reactor; it stays nonblocking.
    pub fn into_inner(mut self) -> T {
        let io = self.io.take().expect("present until into_inner");
        self.source.reactor.remove(&self.source, &io);
        io
    }

    /// Waits until a read may succeed. A hint: the read can still be refused.
    pub async fn readable(&self) {
        poll_fn(|context| self.poll_readable(context)).await;
    }

    /// [`Self::readable`] for futures written by hand.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.source.read.poll_ready(context)
    }

    /// Waits until a write may succeed. A hint: the write can still be refused.
    pub async fn writable(&self) {
        poll_fn(|context| self.source.write.poll_ready(context)).await;
    }

    /// Does a reading operation, as often as it takes until it is not refused (`WouldBlock`).
    pub async fn read_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|context| self.poll_read_with(context, &mut op)).await
    }

    /// Does a writing operation, as often as it takes until it is not refused (`WouldBlock`).
    pub async fn write_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|context| self.poll_write_with(context, &mut op)).await
    }

    /// [`Self::read_with`] for futures written by hand.
    pub fn poll_read_with<R>(
        &self,
        context: &mut Context<'_>,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_with(&self.source.read, context, op)
    }

    /// [`Self::write_with`] for futures written by hand.
    pub fn poll_write_with<R>(
        &self,
        context: &mut Context<'_>,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_with(&self.source.write, context, op)
    }

    fn poll_with<R>(
        &self,
        side: &Side,
        context: &mut Context<'_>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            ready!(side.poll_ready(context));
            match op(self.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => side.refused(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl<T: AsFd> Drop for Async<T> {
    fn drop(&mut self) {
        if let Some(io) = &self.io {
            self.source.reactor.remove(&self.source, io);
        }
    }
}

impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.fmt(f)
    }
}

// Shared by all four trait implementations. `moved` holds for streams only: a short read of a
// datagram socket says nothing, but those have no `Read`.
impl<T: AsFd> Async<T> {
    fn stream_read(
        &self,
        context: &mut Context<'_>,
        asked: usize,
        op: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let done = ready!(self.poll_read_with(context, op));
        done.as_ref().iter().for_each(|done| self.source.read.moved(**done, asked));
        Poll::Ready(done)
    }

    fn stream_write(
        &self,
        context: &mut Context<'_>,
        asked: usize,
        op: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let done = ready!(self.poll_write_with(context, op));
        done.as_ref().iter().for_each(|done| self.source.write.moved(**done, asked));
        Poll::Ready(done)
    }

    /// Ends the writing half, where there are halves.
    fn finish(&self) -> io::Result<()> {
        match rustix::net::shutdown(self, rustix::net::Shutdown::Write) {
            Ok(()) | Err(rustix::io::Errno::NOTCONN | rustix::io::Errno::NOTSOCK) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl<T: AsFd> AsyncRead for &Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.stream_read(context, buf.len(), |mut io| io.read(buf))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let asked = bufs.iter().map(|buf| buf.len()).sum();
        self.stream_read(context, asked, |mut io| io.read_vectored(bufs))
    }
}

impl<T: AsFd> AsyncWrite for &Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream_write(context, buf.len(), |mut io| io.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let asked = bufs.iter().map(|buf| buf.len()).sum();
        self.stream_write(context, asked, |mut io| io.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish())
    }
}

impl<T: AsFd> Unpin for Async<T> {}

impl<T: AsFd> AsyncRead for Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(context, buf)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read_vectored(context, bufs)
    }
}

impl<T: AsFd> AsyncWrite for Async<T>
where
    for<'a> &'a T: Write,
{
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

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish())
    }
}
