//! The server's end of a connection: its state, and what the caller steers it with.

mod recv;
mod send;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::frame::{self, Frames, kind, setting};
use super::hpack::Decoder;
use super::request::{MAX_HEADER_LIST, Request};
use super::stream::{Answer, Stream};
use super::{Code, DEFAULT_WINDOW, H2Error};

/// Streams at once. The clients hold one open and need a few beside it; with fewer than 16 their
/// calls would wait for each other.
const MAX_STREAMS: usize = 32;
/// Ticks after which a request that does not go on is dropped.
const STALL_TICKS: u8 = 2;

/// Work that a peer may cause between two ticks without asking for anything useful.
const BUDGET: u16 = 1000;
/// Sent bytes that earn back one unit. The clients give windows back in steps of 4 KiB, once for
/// the stream and once for the connection.
const EARN_BYTES: usize = 2048;

/// Something that the caller has to act on.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole request, to be answered with [`Connection::respond`].
    Request(Box<Request>),
    /// A request will not be answered: the client has cancelled it, or its stream failed.
    Cancelled {
        /// The stream, unknown to the connection from now on.
        stream: u32,
    },
    /// All that was queued on a stream is in the output, and more can follow.
    Drained {
        /// The stream.
        stream: u32,
    },
    /// The answer to [`Connection::ping`].
    Pong,
}

/// The server's end of a connection.
#[derive(Debug)]
pub struct Connection {
    /// Bytes of a request's body at most.
    body_limit: usize,
    /// Bytes of all bodies whose requests are not answered.
    bodies: usize,
    /// Bytes of the preface that have come.
    preface: usize,
    /// Whether the peer's first settings have come.
    settled: bool,
    frames: Frames,
    /// A header block that goes on in the next frame.
    block: Option<Box<Block>>,
    hpack: Decoder,
    last_stream: u32,
    /// Received, but not yet given back to the peer's window.
    unreleased: usize,
    budget: u16,
    failed: Option<H2Error>,

    streams: Vec<Stream>,
    events: VecDeque<Event>,
    /// Frames that go out before any body.
    control: Vec<u8>,
    /// How much we may send on all streams.
    window: i32,
    /// The window of a new stream.
    stream_window: i32,
    /// Bytes queued on all streams.
    queued: usize,
    /// Sent bytes that have not earned anything yet.
    earning: usize,
    /// Whose turn it is to send.
    turn: usize,
    pinging: bool,
    closing: bool,
}

#[derive(Debug)]
struct Block {
    stream: u32,
    end: bool,
    bytes: Vec<u8>,
}

impl Connection {
    /// A connection whose requests have bodies of up to `body_limit` bytes each, and of twice that
    /// together until they are answered. Our settings are in the output at once, before the client
    /// has said anything.
    pub fn new(body_limit: usize) -> Self {
        let mut control = Vec::new();
        frame::write_settings(
            &mut control,
            &[
                // Without a table no connection keeps memory between its requests.
                (setting::HEADER_TABLE_SIZE, 0),
                (setting::MAX_CONCURRENT_STREAMS, MAX_STREAMS as u32),
                (setting::MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST as u32),
            ],
        );
        Self {
            body_limit,
            bodies: 0,
            preface: 0,
            settled: false,
            frames: Frames::default(),
            block: None,
            hpack: Decoder::new(),
            last_stream: 0,
            unreleased: 0,
            budget: BUDGET,
            failed: None,
            streams: Vec::new(),
            events: VecDeque::new(),
            control,
            window: DEFAULT_WINDOW,
            stream_window: DEFAULT_WINDOW,
            queued: 0,
            earning: 0,
            turn: 0,
            pinging: false,
            closing: false,
        }
    }

    /// Changes the limit of bodies, of those that come in as well.
    pub fn set_body_limit(&mut self, bytes: usize) {
        self.body_limit = bytes;
    }

    /// Takes received bytes, in pieces of any size. Events and output may follow.
    ///
    /// An error ends the connection: what is in the output should still be sent.
    pub fn recv(&mut self, input: &[u8]) -> Result<(), H2Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut frames = std::mem::take(&mut self.frames);
        let result = self.recv_frames(&mut frames, input);
        self.frames = frames;
        result.inspect_err(|error| self.fail(*error))
    }

    /// What has happened, the oldest first.
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        event
    }

    /// To be called about once a minute: renews what the peer may cost, and drops requests that
    /// have stopped coming in.
    pub fn tick(&mut self) {
        self.budget = BUDGET;
        for stream in &mut self.streams {
            if let Some(incoming) = &mut stream.incoming {
                incoming.stalled += 1;
            }
        }
        let stalled = |s: &Stream| s.incoming.as_ref().is_some_and(|i| i.stalled >= STALL_TICKS);
        while let Some(index) = self.streams.iter().position(stalled) {
            self.abort(index, Code::Cancel);
        }
    }

    /// Asks the client for a sign of life, which comes as [`Event::Pong`].
    pub fn ping(&mut self) {
        self.pinging = true;
        frame::write(&mut self.control, kind::PING, 0, 0, &[0; 8]);
    }

    /// Ends the connection gracefully: streams that are open go on, new ones are refused.
    pub fn go_away(&mut self) {
        if !std::mem::replace(&mut self.closing, true) {
            self.write_goaway(Code::None);
        }
    }

    /// How many streams are open.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    fn fail(&mut self, error: H2Error) {
        self.failed = Some(error);
        self.closing = true;
        self.streams = Vec::new();
        self.events = VecDeque::new();
        self.block = None;
        self.frames = Frames::default();
        (self.queued, self.bodies) = (0, 0);
        self.write_goaway(error.code);
    }

    fn write_goaway(&mut self, code: Code) {
        frame::write_head(&mut self.control, 8, kind::GOAWAY, 0, 0);
        self.control.extend_from_slice(&self.last_stream.to_be_bytes());
        self.control.extend_from_slice(&[0, 0, 0, code as u8]);
    }

    /// Ends a stream from our side, and tells the caller if it knows of it.
    fn abort(&mut self, index: usize, code: Code) {
        if let Some(stream) = self.streams.get(index) {
            self.write_reset(stream.id, code);
            self.drop_stream(index);
        }
    }

    /// Forgets a stream, and tells the caller if it is about to answer on it.
    fn drop_stream(&mut self, index: usize) {
        let stream = self.remove(index);
        let id = stream.id;
        let waiting = |e: &Event| matches!(e, Event::Request(r) if r.stream == id);
        let known = stream.incoming.is_none() && !self.events.iter().any(waiting);
        self.events.retain(|e| !waiting(e) && *e != Event::Drained { stream: id });
        if known && stream.answer != Answer::Ended {
            self.events.push_back(Event::Cancelled { stream: id });
        }
    }

    /// Takes a stream off the list; `index` is one of it.
    fn remove(&mut self, index: usize) -> Stream {
        let stream = self.streams.swap_remove(index);
        self.queued -= stream.queue.len;
        self.bodies -= stream.body;
        stream
    }

    fn write_reset(&mut self, id: u32, code: Code) {
        frame::write(&mut self.control, kind::RST_STREAM, 0, id, &[0, 0, 0, code as u8]);
    }

    fn find(&self, id: u32) -> Option<usize> {
        self.streams.iter().position(|stream| stream.id == id)
    }

    fn charge(&mut self, cost: u16) -> Result<(), H2Error> {
        match self.budget.checked_sub(cost) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(H2Error::new(Code::Calm, "the peer causes work and asks for nothing")),
        }
    }

    /// Sending pays for the window updates that it brings about.
    fn earn(&mut self, bytes: usize) {
        self.earning += bytes;
        let units = self.earning / EARN_BYTES;
        self.earning %= EARN_BYTES;
        self.budget = self.budget.saturating_add(units as u16).min(BUDGET);
    }
}
