//! The server's end of a connection: what comes in.

use super::{Block, Connection, Event, MAX_STREAMS};
use crate::wire::h2::frame::{self, Frames, Head, flag, kind, setting};
use crate::wire::h2::request::{Fields, MAX_HEADER_LIST, Outcome, Request};
use crate::wire::h2::stream::{Answer, Incoming, Queue, Stream};
use crate::wire::h2::{Code, DEFAULT_WINDOW, H2Error, PREFACE, hpack};

/// Bytes of a header block in several frames. A block is never larger than the list it stands for.
const MAX_BLOCK: usize = MAX_HEADER_LIST;
/// Replies that wait because the peer does not read them.
const MAX_CONTROL: usize = 32 * 1024;
/// When this much of a window is used, it is given back.
const RELEASE_AT: usize = DEFAULT_WINDOW as usize / 2;
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

impl Connection {
    pub(super) fn recv_frames(&mut self, frames: &mut Frames, input: &[u8]) -> Result<(), H2Error> {
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
        // What is received is given back as soon as it is worth a frame, so a peer that ignores our
        // windows gains nothing; limits are those of bodies.
        self.unreleased = release(&mut self.control, 0, self.unreleased + payload.len());
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
        let len = stream.body + data.len();
        if incoming.length.is_some_and(|announced| announced < len as u64) {
            self.abort(index, Code::Protocol);
        } else if len > self.body_limit {
            self.write_declined(head.stream, "413", end);
            self.remove(index);
        } else if self.bodies + data.len() > self.body_limit.saturating_mul(2) {
            // Several large bodies at once: these can be sent again, one after the other.
            self.abort(index, Code::Refused);
        } else {
            incoming.request.body.extend_from_slice(data);
            stream.body = len;
            self.bodies += data.len();
            if end {
                self.complete(index);
            } else {
                let received = incoming.unreleased + payload.len();
                incoming.unreleased = release(&mut self.control, head.stream, received);
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
        let request = match fields.finish() {
            Outcome::Request(request) => request,
            Outcome::TooLarge => {
                self.write_declined(id, "431", end);
                return self.charge(COST_REFUSED);
            }
            Outcome::Malformed => {
                self.write_reset(id, Code::Protocol);
                return self.charge(COST_REFUSED);
            }
        };
        if length.is_some_and(|length| length > self.body_limit as u64) {
            self.write_declined(id, "413", end);
            return self.charge(COST_REFUSED);
        }
        let request = Request { stream: id, ..*request };
        self.streams.push(Stream {
            id,
            window: self.stream_window,
            answer: Answer::None,
            body: 0,
            incoming: Some(Box::new(Incoming { request, length, unreleased: 0, stalled: 0 })),
            queue: Queue::default(),
        });
        if end {
            self.complete(self.streams.len() - 1);
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

    /// The client has sent all of a request.
    fn complete(&mut self, index: usize) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        let Some(incoming) = &stream.incoming else { return };
        if incoming.length.is_some_and(|announced| announced != stream.body as u64) {
            return self.abort(index, Code::Protocol);
        }
        if let Some(incoming) = stream.incoming.take() {
            self.events.push_back(Event::Request(Box::new(incoming.request)));
        }
    }

    /// Answers a request with a status alone; if it is not whole, we want no more of it.
    fn write_declined(&mut self, id: u32, status: &str, whole: bool) {
        let mut block = Vec::new();
        hpack::encode(":status", status, &mut block);
        let flags = flag::END_HEADERS | flag::END_STREAM;
        frame::write(&mut self.control, kind::HEADERS, flags, id, &block);
        if !whole {
            self.write_reset(id, Code::None);
        }
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
