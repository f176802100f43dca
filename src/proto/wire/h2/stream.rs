//! One stream: the request while it comes in, the answer while it goes out.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use super::Request;

/// A piece of a body.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes that other streams send as well.
    Shared(Rc<[u8]>),
    /// Bytes of this stream alone.
    Owned(Vec<u8>),
}

impl Part {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl From<Rc<[u8]>> for Part {
    fn from(bytes: Rc<[u8]>) -> Self {
        Self::Shared(bytes)
    }
}

impl From<Vec<u8>> for Part {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes)
    }
}

/// Why something cannot be sent on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The stream is at an end, most likely because the client has cancelled it.
    Gone,
    /// Out of turn: an answer begins once, and a body follows it.
    Order,
    /// So much is queued on the connection that it should be given up.
    Full,
    /// Header fields that do not fit a frame.
    TooLarge,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the client has closed the stream",
            Self::Order => "the answer begins twice, or its body comes before or after it",
            Self::Full => "the client reads too slowly; too much is queued for it",
            Self::TooLarge => "the header fields of an answer do not fit a frame",
        })
    }
}

impl std::error::Error for SendError {}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// How much we may send; below zero after the peer made its windows smaller.
    pub(super) window: i32,
    pub(super) answer: Answer,
    /// Bytes of the request's body until the answer begins.
    pub(super) body: usize,
    /// The request until it is complete.
    pub(super) incoming: Option<Box<Incoming>>,
    pub(super) queue: Queue,
}

impl Stream {
    /// Whether a frame can be sent if the connection's window allows it.
    pub(super) fn is_ready(&self, connection_window: i32) -> bool {
        if self.queue.len == 0 {
            self.answer == Answer::Ended
        } else {
            self.window > 0 && connection_window > 0
        }
    }
}

/// How far our side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    None,
    /// The header fields are sent.
    Begun,
    /// What is queued is the last.
    Ended,
}

#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) request: Request,
    /// What `content-length` announced.
    pub(super) length: Option<u64>,
    /// Received, but not yet given back to the peer's window.
    pub(super) unreleased: usize,
    /// Ticks since the last bytes came.
    pub(super) stalled: u8,
}

/// A body that waits for windows and for the socket.
#[derive(Debug, Default)]
pub(super) struct Queue {
    parts: VecDeque<Part>,
    /// How much of the first part is sent.
    sent: usize,
    /// Bytes that are left.
    pub(super) len: usize,
}

impl Queue {
    pub(super) fn push(&mut self, part: Part) {
        let len = part.bytes().len();
        if len > 0 {
            self.len += len;
            self.parts.push_back(part);
        }
    }

    /// Appends the next `count` bytes to `out`; no more than there are.
    pub(super) fn take(&mut self, mut count: usize, out: &mut Vec<u8>) {
        while let Some(part) = self.parts.front() {
            let rest = part.bytes().get(self.sent..).unwrap_or_default();
            let now = rest.get(..count).unwrap_or(rest);
            out.extend_from_slice(now);
            count -= now.len();
            self.len -= now.len();
            if now.len() < rest.len() {
                self.sent += now.len();
                return;
            }
            self.sent = 0;
            self.parts.pop_front();
        }
        // Nothing is left: keep no memory either.
        self.parts = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_in_order_and_given_back() {
        let shared: Rc<[u8]> = Rc::from(&b"shared"[..]);
        let mut queue = Queue::default();
        queue.push(shared.clone().into());
        queue.push(Vec::new().into());
        queue.push(b"own".to_vec().into());
        assert_eq!((queue.len, queue.parts.len()), (9, 2));
        let mut out = Vec::new();
        queue.take(4, &mut out);
        assert_eq!((out.as_slice(), queue.len), (&b"shar"[..], 5));
        queue.take(2, &mut out);
        assert_eq!(Rc::strong_count(&shared), 1);
        queue.take(1, &mut out);
        queue.take(2, &mut out);
        assert_eq!((out.as_slice(), queue.len), (&b"sharedown"[..], 0));
        assert_eq!(queue.parts.capacity(), 0);
        queue.take(0, &mut out);
        assert_eq!(out.len(), 9);
    }
}
