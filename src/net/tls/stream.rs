//! A TLS connection that holds no buffer while nothing is on its way.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
};

use crate::net::Stream;

/// What is read at once: a record is up to 16 KiB and some bytes (RFC 8446 section 5.2), so that
/// there is room for the rest of one and for the next.
const READ: usize = 36 * 1024;

/// Plain bytes put into records at once; also bounds what waits for a slow peer.
const WRITE: usize = 32 * 1024;

/// What a record adds to its bytes in any of our suites, rounded up; [`WRITE`] makes two.
const OVERHEAD: usize = 2 * 64;

thread_local! {
    // One of each serves all connections, since none needs it across a wait.
    static PLAIN_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static READ_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static WRITE_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The server's end of a TLS connection.
pub(in crate::net) struct TlsStream {
    inner: Stream,
    state: RefCell<State>,
}

struct State {
    session: UnbufferedServerConnection,
    /// The part of a record that has arrived.
    incoming: Vec<u8>,
    /// Decrypted and not yet read.
    plain: Vec<u8>,
    plain_read: usize,
    /// Encrypted and not yet sent.
    outgoing: Vec<u8>,
    sent: usize,
    /// The peer has said that nothing more comes.
    ended: bool,
    /// We have said so.
    closing: bool,
}

impl TlsStream {
    /// Makes the handshake.
    pub(super) async fn accept(inner: Stream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let session = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let state = State {
            session,
            incoming: Vec::new(),
            plain: Vec::new(),
            plain_read: 0,
            outgoing: Vec::new(),
            sent: 0,
            ended: false,
            closing: false,
        };
        let stream = Self { inner, state: RefCell::new(state) };
        poll_fn(|context| stream.poll_handshake(context)).await?;
        Ok(stream)
    }

    pub(in crate::net) fn inner(&self) -> &Stream {
        &self.inner
    }

    /// Whether there is something to read without the socket.
    pub(in crate::net) fn has_plain(&self) -> bool {
        let state = self.state.borrow();
        state.plain_read < state.plain.len() || state.ended
    }

    fn poll_handshake(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.state.borrow_mut();
        while state.session.is_handshaking() {
            ready!(self.poll_fill(state, context))?;
        }
        self.poll_send(state, context)
    }

    pub(in crate::net) fn poll_read(
        &self,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.state.borrow_mut();
        loop {
            if let Some(n) = state.take_plain(buf) {
                return Poll::Ready(Ok(n));
            }
            if state.ended || buf.is_empty() {
                return Poll::Ready(Ok(0));
            }
            ready!(self.poll_fill(state, context))?;
        }
    }

    pub(in crate::net) fn poll_write(
        &self,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.state.borrow_mut();
        if state.closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_send(state, context))?;
        let piece = buf.get(..WRITE).unwrap_or(buf);
        if !piece.is_empty() {
            state.encrypt(Some(piece))?;
        }
        // What cannot be sent now is sent by the next call of any kind.
        match self.poll_send(state, context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(piece.len())),
        }
    }

    pub(in crate::net) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(&mut self.state.borrow_mut(), context))?;
        Pin::new(&mut &self.inner).poll_flush(context)
    }

    pub(in crate::net) fn poll_close(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.state.borrow_mut();
        ready!(self.poll_send(state, context))?;
        if !state.closing {
            state.encrypt(None)?;
            state.closing = true;
            ready!(self.poll_send(state, context))?;
        }
        Pin::new(&mut &self.inner).poll_close(context)
    }

    /// Reads from the socket once and works on what has come.
    fn poll_fill(&self, state: &mut State, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buf = READ_BUFFER.take();
        buf.resize(READ, 0);
        let result = self.fill(state, context, &mut buf);
        READ_BUFFER.set(buf);
        // Also answers that the session itself wants to give: handshake, alerts.
        let sent = self.poll_send(state, context);
        ready!(result)?;
        match sent {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn fill(
        &self,
        state: &mut State,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<()>> {
        let kept = state.incoming.len();
        let Some((head, room)) =
            buf.split_at_mut_checked(kept).filter(|(_, room)| !room.is_empty())
        else {
            return Poll::Ready(Err(broken("a message is too long")));
        };
        let n = ready!(Pin::new(&mut &self.inner).poll_read(context, room))?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        head.copy_from_slice(&state.incoming);
        let filled = buf.get_mut(..kept + n).unwrap_or_default();
        let used = state.advance(filled)?;
        // To its size: it may have to wait for long.
        state.incoming = filled.get(used..).unwrap_or_default().to_vec();
        Poll::Ready(Ok(()))
    }

    fn poll_send(&self, state: &mut State, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = state.outgoing.get(state.sent..).filter(|rest| !rest.is_empty()) {
            state.sent += ready!(Pin::new(&mut &self.inner).poll_write(context, rest))?;
        }
        if state.outgoing.capacity() > 0 {
            state.sent = 0;
            WRITE_BUFFER.set(std::mem::take(&mut state.outgoing));
        }
        Poll::Ready(Ok(()))
    }
}

impl State {
    fn take_plain(&mut self, buf: &mut [u8]) -> Option<usize> {
        let rest = self.plain.get(self.plain_read..).filter(|rest| !rest.is_empty())?;
        let n = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        self.plain_read += n;
        if self.plain_read == self.plain.len() {
            self.plain_read = 0;
            PLAIN_BUFFER.set(std::mem::take(&mut self.plain));
        }
        Some(n)
    }

    /// Takes complete records from the beginning of `buf`; returns how many bytes that were.
    fn advance(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let rest = buf.get_mut(used..).unwrap_or_default();
            let status = self.session.process_tls_records(rest);
            used += status.discard;
            match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(broken)?;
                        used += record.discard;
                        if self.plain.is_empty() {
                            self.plain = PLAIN_BUFFER.take();
                            self.plain.clear();
                        }
                        self.plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.outgoing, 0, |out| encode(&mut data, out))?;
                }
                // Sent in its order with all else.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::Closed) => {
                    self.ended = true;
                    return Ok(used);
                }
                // Blocked for reading, or nothing left to read.
                Ok(_) => return Ok(used),
                Err(error) => {
                    // The alert that tells the peer. The session still points into what it has
                    // not discarded.
                    let rest = buf.get_mut(used..).unwrap_or_default();
                    let status = self.session.process_tls_records(rest);
                    if let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state {
                        append(&mut self.outgoing, 0, |out| encode(&mut data, out))?;
                    }
                    return Err(broken(error));
                }
            }
        }
    }

    /// Encrypts `plain`, or for `None` the notice that nothing more comes.
    fn encrypt(&mut self, plain: Option<&[u8]>) -> io::Result<()> {
        let mut incoming = std::mem::take(&mut self.incoming);
        // What the session itself has to say comes first.
        let used = self.advance(&mut incoming)?;
        incoming.drain(..used.min(incoming.len()));
        let status = self.session.process_tls_records(&mut incoming);
        let result = match status.state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let room = plain.map_or(0, |plain| plain.len() + OVERHEAD);
                append(&mut self.outgoing, room, |out| {
                    let result = match plain {
                        Some(plain) => traffic.encrypt(plain, out),
                        None => traffic.queue_close_notify(out),
                    };
                    result.map_err(|error| match error {
                        EncryptError::InsufficientSize(size) => Some(size),
                        EncryptError::EncryptExhausted => None,
                    })
                })
            }
            // Both sides have closed.
            _ if plain.is_none() => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        };
        self.incoming = incoming;
        result
    }
}

type Encoded = Result<usize, Option<InsufficientSizeError>>;

fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, out: &mut [u8]) -> Encoded {
    data.encode(out).map_err(|error| match error {
        EncodeError::InsufficientSize(size) => Some(size),
        EncodeError::AlreadyEncoded => None,
    })
}

/// Lets `write` fill the end of `out`: at first `room` bytes, then as many as it asks for.
fn append(
    out: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Encoded,
) -> io::Result<()> {
    if out.capacity() == 0 {
        *out = WRITE_BUFFER.take();
        out.clear();
    }
    let filled = out.len();
    loop {
        out.resize(filled + room, 0);
        let result = write(out.get_mut(filled..).unwrap_or_default());
        out.truncate(filled + result.as_ref().map_or(0, |n| *n));
        match result {
            Ok(_) => return Ok(()),
            Err(Some(InsufficientSizeError { required_size })) if required_size > room => {
                room = required_size;
            }
            Err(_) => return Err(broken("the session can encrypt no more")),
        }
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
