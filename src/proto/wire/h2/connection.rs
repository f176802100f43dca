//! The server's end of a connection: what comes in. What goes out is in `send`.

use std::collections::VecDeque;

use super::frame::{self, Frames, Head, flag, kind, setting};
use super::hpack::Decoder;
use super::request::{Fields, MAX_HEADER_LIST, Outcome, Request};
use super::stream::{Answer, Incoming, Queue, Stream};
use super::{Code, DEFAULT_WINDOW, H2Error, PREFACE};

/// Streams at once. The clients hold one open and need a few beside it; with fewer than 16 their
/// calls would wait for each other.
const MAX_STREAMS: usize = 32;
/// Bytes of a header block in several frames. A block is never larger than the list it stands for.
const MAX_BLOCK: usize = MAX_HEADER_LIST;
/// Replies that wait because the peer does not read them.
const MAX_CONTROL: usize = 32 * 1024;
/// When this much of a window is used, it is given back.
const RELEASE_AT: usize = DEFAULT_WINDOW as usize / 2;
/// Ticks after which a request that does not go on is dropped.
const STALL_TICKS: u8 = 2;

/// Work that a peer may cause between two ticks without asking for anything useful.
const BUDGET: u16 = 1000;
/// A request that is cancelled before its answer: rapid resets get a hundred.
const COST_RESET: u16 = 10;
/// A request that is malformed or one too many.
const COST_REFUSED: u16 = 5;
/// Settings change every stream and are answered.
const COST_SETTINGS: u16 = 5;
/// A frame for a stream that is gone, which may just have crossed our reset.
const COST_CLOSED: u16 = 2;
/// Anything else that carries nothing.
const COST_EMPTY: u16 = 1;
/// Sent bytes that earn back one unit. The clients give windows back in steps of 4 KiB, once for
/// the stream and once for the connection.
pub(super) const EARN_BYTES: usize = 2048;

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
    /// Bytes of incomplete bodies.
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

    pub(super) streams: Vec<Stream>,
    pub(super) events: VecDeque<Event>,
    /// Frames that go out before any body.
    pub(super) control: Vec<u8>,
    /// How much we may send on all streams.
    pub(super) window: i32,
    /// The window of a new stream.
    stream_window: i32,
    /// Bytes queued on all streams.
    pub(super) queued: usize,
    /// Sent bytes that have not earned anything yet.
    earning: usize,
    /// Whose turn it is to send.
    pub(super) turn: usize,
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
    /// A connection whose requests have bodies of up to `body_limit` bytes. Our settings are in
    /// the output at once, before the client has said anything.
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

    #[cfg(test)]
    pub(super) fn bodies(&self) -> usize {
        self.bodies
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

    fn recv_frames(&mut self, frames: &mut Frames, input: &[u8]) -> Result<(), H2Error> {
        let mut at = 0;
        if let Some(rest) = PREFACE.get(self.preface..) {
            at = rest.len().min(input.len());
            if input.get(..at) != rest.get(..at) {
                return protocol("the connection does not begin with the HTTP/2 preface");
            }
            self.preface += at;
        }
        while let Some((head, payload)) = frames.next(input, &mut at)? {
            self.recv_frame(head, payload)?;
            if self.control.len() > MAX_CONTROL {
                return calm("the peer does not read the replies it causes");
            }
        }
        Ok(())
    }

    fn recv_frame(&mut self, head: Head, payload: &[u8]) -> Result<(), H2Error> {
        if let Some(block) = &self.block
            && (head.kind != kind::CONTINUATION || head.stream != block.stream)
        {
            return protocol("a frame between the parts of a header block");
        }
        if !self.settled && head.kind != kind::SETTINGS {
            return protocol("the first frame is not SETTINGS");
        }
        let of_stream = matches!(
            head.kind,
            kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION
        );
        let of_connection = matches!(head.kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
        if of_stream && head.stream == 0 || of_connection && head.stream != 0 {
            return protocol("a frame on a stream that its type does not belong to");
        }
        match head.kind {
            kind::DATA => self.recv_data(head, payload),
            kind::HEADERS => self.recv_headers(head, payload),
            kind::PRIORITY if payload.len() != 5 => size("a PRIORITY of a wrong length"),
            kind::RST_STREAM => self.recv_reset(head.stream, payload),
            kind::SETTINGS => self.recv_settings(head, payload),
            kind::PUSH_PROMISE => protocol("a client cannot push"),
            kind::PING => self.recv_ping(head, payload),
            kind::GOAWAY if payload.len() < 8 => size("a GOAWAY that is too short"),
            kind::WINDOW_UPDATE => self.recv_window_update(head.stream, payload),
            kind::CONTINUATION => self.recv_continuation(head, payload),
            _ => self.charge(COST_EMPTY),
        }
    }

    fn recv_data(&mut self, head: Head, payload: &[u8]) -> Result<(), H2Error> {
        self.unreleased += payload.len();
        if self.unreleased > DEFAULT_WINDOW as usize {
            return Err(H2Error::new(Code::FlowControl, "more than the connection's window"));
        }
        self.unreleased = release(&mut self.control, 0, self.unreleased);
        let data = frame::unpadded(&head, payload)?;
        let end = head.has(flag::END_STREAM);
        if data.is_empty() && !end {
            self.charge(COST_EMPTY)?;
        }
        let Some(index) = self.find(head.stream) else { return self.closed(head.stream) };
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        let Some(incoming) = &mut stream.incoming else {
            self.abort(index, Code::StreamClosed);
            return self.charge(COST_CLOSED);
        };
        incoming.stalled = 0;
        incoming.unreleased += payload.len();
        let len = incoming.request.body.len() + data.len();
        if incoming.unreleased > DEFAULT_WINDOW as usize {
            self.abort(index, Code::FlowControl);
        } else if incoming.length.is_some_and(|announced| announced < len as u64) {
            self.abort(index, Code::Protocol);
        } else if len > self.body_limit {
            self.decline(index, "413");
        } else if self.bodies + data.len() > self.body_limit.saturating_mul(2) {
            // Several large bodies at once: these can be sent again, one after the other.
            self.abort(index, Code::Refused);
        } else {
            incoming.request.body.extend_from_slice(data);
            self.bodies += data.len();
            if end {
                self.complete(index);
            } else {
                incoming.unreleased = release(&mut self.control, head.stream, incoming.unreleased);
            }
        }
        Ok(())
    }

    fn recv_headers(&mut self, head: Head, payload: &[u8]) -> Result<(), H2Error> {
        let bytes = frame::unpadded(&head, payload)?;
        let end = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.recv_block(head.stream, end, bytes);
        }
        self.block = Some(Box::new(Block { stream: head.stream, end, bytes: bytes.to_vec() }));
        Ok(())
    }

    fn recv_continuation(&mut self, head: Head, payload: &[u8]) -> Result<(), H2Error> {
        self.charge(COST_EMPTY)?;
        let Some(mut block) = self.block.take() else {
            return protocol("a CONTINUATION of nothing");
        };
        if block.bytes.len() + payload.len() > MAX_BLOCK {
            return calm("a header block that is too large");
        }
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.recv_block(block.stream, block.end, &block.bytes);
        }
        self.block = Some(block);
        Ok(())
    }

    fn recv_block(&mut self, id: u32, end: bool, block: &[u8]) -> Result<(), H2Error> {
        let mut fields = Fields::default();
        // Every block has to be decoded, as it may change the table.
        self.hpack
            .decode(block, &mut |name, value| fields.add(name, value))
            .map_err(|_| H2Error::new(Code::Compression, "a damaged header block"))?;
        if let Some(index) = self.find(id) {
            return self.recv_trailers(index, end, &fields);
        }
        if id <= self.last_stream || id.is_multiple_of(2) {
            return self.closed(id);
        }
        self.last_stream = id;
        if self.closing || self.streams.len() >= MAX_STREAMS {
            self.write_reset(id, Code::Refused);
            return self.charge(COST_REFUSED);
        }
        let length = fields.length;
        let outcome = fields.finish();
        self.streams.push(Stream {
            id,
            window: self.stream_window,
            answer: Answer::None,
            incoming: None,
            queue: Queue::default(),
        });
        let Some((index, stream)) = self.streams.iter_mut().enumerate().next_back() else {
            return Ok(());
        };
        let mut incoming =
            Incoming { request: Request::default(), length, unreleased: 0, stalled: 0 };
        match outcome {
            Outcome::Request(request) => incoming.request = *request,
            Outcome::TooLarge => {
                stream.incoming = Some(Box::new(incoming));
                self.decline(index, "431");
                return self.charge(COST_REFUSED);
            }
            Outcome::Malformed => {
                stream.incoming = Some(Box::new(incoming));
                self.abort(index, Code::Protocol);
                return self.charge(COST_REFUSED);
            }
        }
        incoming.request.stream = id;
        let too_long = length.is_some_and(|length| length > self.body_limit as u64);
        stream.incoming = Some(Box::new(incoming));
        if too_long {
            self.decline(index, "413");
        } else if end {
            self.complete(index);
        }
        Ok(())
    }

    fn recv_trailers(&mut self, index: usize, end: bool, fields: &Fields) -> Result<(), H2Error> {
        let Some(stream) = self.streams.get(index) else { return Ok(()) };
        if stream.incoming.is_none() {
            self.abort(index, Code::StreamClosed);
            return self.charge(COST_CLOSED);
        }
        if end && fields.is_trailers() {
            self.complete(index);
            Ok(())
        } else {
            self.abort(index, Code::Protocol);
            self.charge(COST_REFUSED)
        }
    }

    fn recv_reset(&mut self, id: u32, payload: &[u8]) -> Result<(), H2Error> {
        frame::word(payload)?;
        match self.find(id) {
            Some(index) => {
                self.drop_stream(index);
                self.charge(COST_RESET)
            }
            None => self.ended(id),
        }
    }

    fn recv_settings(&mut self, head: Head, payload: &[u8]) -> Result<(), H2Error> {
        self.charge(COST_SETTINGS)?;
        if head.has(flag::ACK) {
            if !self.settled {
                return protocol("the first frame acknowledges settings");
            }
            return if payload.is_empty() { Ok(()) } else { size("an ACK with settings") };
        }
        self.settled = true;
        for (id, value) in frame::settings(payload)? {
            match id {
                setting::ENABLE_PUSH if value > 1 => {
                    return protocol("a setting that is neither on nor off");
                }
                setting::INITIAL_WINDOW_SIZE => self.set_stream_window(value)?,
                // We send smaller frames than any setting allows, and ever so few header fields.
                setting::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                    return protocol("a maximum frame size that is not allowed");
                }
                _ => {}
            }
        }
        frame::write(&mut self.control, kind::SETTINGS, flag::ACK, 0, &[]);
        Ok(())
    }

    /// Changes the window of new streams, and that of open ones by as much.
    fn set_stream_window(&mut self, value: u32) -> Result<(), H2Error> {
        let error = H2Error::new(Code::FlowControl, "a setting makes a window too large");
        let window = i32::try_from(value).map_err(|_| error)?;
        // Neither is below zero.
        let change = window - self.stream_window;
        self.stream_window = window;
        for stream in &mut self.streams {
            stream.window = stream.window.checked_add(change).ok_or(error)?;
        }
        Ok(())
    }

    fn recv_ping(&mut self, head: Head, payload: &[u8]) -> Result<(), H2Error> {
        if payload.len() != 8 {
            return size("a PING of a wrong length");
        }
        if !head.has(flag::ACK) {
            frame::write(&mut self.control, kind::PING, flag::ACK, 0, payload);
        } else if std::mem::take(&mut self.pinging) {
            self.events.push_back(Event::Pong);
            return Ok(());
        }
        self.charge(COST_EMPTY)
    }

    fn recv_window_update(&mut self, id: u32, payload: &[u8]) -> Result<(), H2Error> {
        self.charge(COST_EMPTY)?;
        // The top bit is reserved and to be ignored.
        let more = (frame::word(payload)? & 0x7fff_ffff) as i32;
        if id == 0 {
            if more == 0 {
                return protocol("a window update of zero");
            }
            let error = H2Error::new(Code::FlowControl, "the connection's window is too large");
            self.window = self.window.checked_add(more).ok_or(error)?;
            return Ok(());
        }
        let Some(index) = self.find(id) else { return self.ended(id) };
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        match stream.window.checked_add(more) {
            _ if more == 0 => self.abort(index, Code::Protocol),
            None => self.abort(index, Code::FlowControl),
            Some(window) => stream.window = window,
        }
        Ok(())
    }

    /// A request is whole.
    fn complete(&mut self, index: usize) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        let Some(incoming) = stream.incoming.take() else { return };
        let len = incoming.request.body.len();
        self.bodies -= len;
        if incoming.length.is_some_and(|announced| announced != len as u64) {
            stream.incoming = Some(incoming);
            self.bodies += len;
            return self.abort(index, Code::Protocol);
        }
        self.events.push_back(Event::Request(Box::new(incoming.request)));
    }

    /// Answers a request that is not whole with a status alone, and wants no more of it.
    fn decline(&mut self, index: usize, status: &str) {
        let Some(stream) = self.streams.get(index) else { return };
        let mut block = Vec::new();
        super::hpack::encode(":status", status, &mut block);
        let flags = flag::END_HEADERS | flag::END_STREAM;
        frame::write(&mut self.control, kind::HEADERS, flags, stream.id, &block);
        self.abort(index, Code::None);
    }

    /// Ends a stream from our side, and tells the caller if it knows of it.
    pub(super) fn abort(&mut self, index: usize, code: Code) {
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
    pub(super) fn remove(&mut self, index: usize) -> Stream {
        let stream = self.streams.swap_remove(index);
        self.queued -= stream.queue.len;
        if let Some(incoming) = &stream.incoming {
            self.bodies -= incoming.request.body.len();
        }
        stream
    }

    pub(super) fn write_reset(&mut self, id: u32, code: Code) {
        frame::write(&mut self.control, kind::RST_STREAM, 0, id, &[0, 0, 0, code as u8]);
    }

    pub(super) fn find(&self, id: u32) -> Option<usize> {
        self.streams.iter().position(|stream| stream.id == id)
    }

    /// A frame that belongs to no open stream, and that only an open one may have.
    fn closed(&mut self, id: u32) -> Result<(), H2Error> {
        self.ended(id)?;
        // It may have crossed our reset; otherwise the peer learns it now.
        self.write_reset(id, Code::StreamClosed);
        self.charge(COST_CLOSED)
    }

    /// A frame that belongs to no open stream, and that one that has ended may still get.
    fn ended(&mut self, id: u32) -> Result<(), H2Error> {
        if id > self.last_stream || id.is_multiple_of(2) {
            return protocol("a frame for a stream that was never opened");
        }
        self.charge(COST_EMPTY)
    }

    fn charge(&mut self, cost: u16) -> Result<(), H2Error> {
        match self.budget.checked_sub(cost) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => calm("the peer causes work and asks for nothing"),
        }
    }

    /// Sending pays for the window updates that it brings about.
    pub(super) fn earn(&mut self, bytes: usize) {
        self.earning += bytes;
        let units = self.earning / EARN_BYTES;
        self.earning %= EARN_BYTES;
        self.budget = self.budget.saturating_add(units as u16).min(BUDGET);
    }
}

/// Gives a window back once it is worth a frame; what is still not given back.
fn release(control: &mut Vec<u8>, stream: u32, unreleased: usize) -> usize {
    if unreleased < RELEASE_AT {
        return unreleased;
    }
    frame::write(control, kind::WINDOW_UPDATE, 0, stream, &(unreleased as u32).to_be_bytes());
    0
}

fn protocol(reason: &'static str) -> Result<(), H2Error> {
    Err(H2Error::new(Code::Protocol, reason))
}

fn size(reason: &'static str) -> Result<(), H2Error> {
    Err(H2Error::new(Code::FrameSize, reason))
}

fn calm(reason: &'static str) -> Result<(), H2Error> {
    Err(H2Error::new(Code::Calm, reason))
}
