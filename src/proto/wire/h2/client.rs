//! The client's end of a connection, for tests and load generators: what Go's client does on the
//! wire, without its strictness about servers.

use std::collections::VecDeque;

use super::frame::{self, Frames, Head, flag, kind, setting};
use super::hpack::{self, Decoder};
use super::stream::{Part, Queue};
use super::{Code, DEFAULT_WINDOW, H2Error, PREFACE};

/// The window that Go's client gives each stream (x/net/http2 `transportDefaultStreamFlow`).
pub const GO_WINDOW: u32 = 4 << 20;
/// What Go's client adds to the window of the connection (`transportDefaultConnFlow`).
const CONNECTION_WINDOW: u32 = 1 << 30;
/// Bytes of a request's body in one frame.
const MAX_DATA: usize = 16384;
/// Received bytes after which Go's client gives windows back (`inflowMinRefresh`).
const RELEASE_AT: u32 = 4096;

/// Something that the server did.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// An answer begins.
    Answer {
        /// The stream, as [`Client::request`] returned it.
        stream: u32,
        /// The status code.
        status: u16,
        /// The header fields.
        headers: Vec<(String, String)>,
    },
    /// A part of a body.
    Data {
        /// The stream.
        stream: u32,
        /// The bytes, in pieces as the server made them.
        bytes: Vec<u8>,
    },
    /// An answer is complete.
    End {
        /// The stream.
        stream: u32,
    },
    /// The server broke a stream off.
    Reset {
        /// The stream.
        stream: u32,
        /// Why (RFC 9113, section 7).
        code: u32,
    },
    /// The server ends the connection.
    GoAway {
        /// The last request that it answers.
        last: u32,
        /// Why.
        code: u32,
    },
}

/// The client's end of a connection.
#[derive(Debug)]
pub struct Client {
    frames: Frames,
    hpack: Decoder,
    events: VecDeque<Event>,
    control: Vec<u8>,
    streams: Vec<Stream>,
    next: u32,
    window: i64,
    stream_window: i64,
    /// Received on all streams and not yet given back.
    unreleased: u32,
}

#[derive(Debug)]
struct Stream {
    id: u32,
    window: i64,
    queue: Queue,
    sent: bool,
    unreleased: u32,
}

impl Client {
    /// A connection that gives each stream a window of so many bytes, say [`GO_WINDOW`].
    pub fn new(window: u32) -> Self {
        let mut control = PREFACE.to_vec();
        let settings = [(setting::ENABLE_PUSH, 0), (setting::INITIAL_WINDOW_SIZE, window)];
        frame::write_settings(&mut control, &settings);
        frame::write(&mut control, kind::WINDOW_UPDATE, 0, 0, &CONNECTION_WINDOW.to_be_bytes());
        Self {
            frames: Frames::default(),
            hpack: Decoder::new(),
            events: VecDeque::new(),
            control,
            streams: Vec::new(),
            next: 1,
            window: DEFAULT_WINDOW.into(),
            stream_window: DEFAULT_WINDOW.into(),
            unreleased: 0,
        }
    }

    /// Sends a whole request, whose header fields fit a frame; the stream it is on.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> u32 {
        let id = self.next;
        self.next += 2;
        let mut block = Vec::new();
        let pseudo =
            [(":authority", "control"), (":method", method), (":path", path), (":scheme", "https")];
        for (name, value) in pseudo.iter().chain(headers) {
            hpack::encode(name, value, &mut block);
        }
        let mut flags = flag::END_HEADERS;
        let mut queue = Queue::default();
        if body.is_empty() {
            flags |= flag::END_STREAM;
        } else {
            hpack::encode("content-length", &body.len().to_string(), &mut block);
            queue.push(Part::Owned(body));
        }
        frame::write(&mut self.control, kind::HEADERS, flags, id, &block);
        let (window, sent) = (self.stream_window, queue.len == 0);
        self.streams.push(Stream { id, window, queue, sent, unreleased: 0 });
        id
    }

    /// Breaks a request off.
    pub fn cancel(&mut self, stream: u32) {
        let code = [0, 0, 0, Code::Cancel as u8];
        frame::write(&mut self.control, kind::RST_STREAM, 0, stream, &code);
        self.streams.retain(|s| s.id != stream);
    }

    /// Takes received bytes, in pieces of any size.
    pub fn recv(&mut self, input: &[u8]) -> Result<(), H2Error> {
        let mut frames = std::mem::take(&mut self.frames);
        let mut at = 0;
        while let Some((head, payload)) = frames.next(input, &mut at)? {
            self.recv_frame(head, payload)?;
        }
        self.frames = frames;
        Ok(())
    }

    /// What has happened, the oldest first.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Appends what can be sent now.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.control);
        for stream in &mut self.streams {
            while !stream.sent && stream.window.min(self.window) > 0 {
                let window = stream.window.min(self.window) as usize;
                let len = stream.queue.len.min(MAX_DATA).min(window);
                stream.sent = len == stream.queue.len;
                let flags = if stream.sent { flag::END_STREAM } else { 0 };
                frame::write_head(out, len, kind::DATA, flags, stream.id);
                stream.queue.take(len, out);
                stream.window -= len as i64;
                self.window -= len as i64;
            }
        }
    }

    fn recv_frame(&mut self, head: Head, payload: &[u8]) -> Result<(), H2Error> {
        let (stream, end) = (head.stream, head.has(flag::END_STREAM));
        match head.kind {
            kind::DATA => {
                self.release(stream, payload.len() as u32);
                let bytes = frame::unpadded(&head, payload)?.to_vec();
                if !bytes.is_empty() {
                    self.events.push_back(Event::Data { stream, bytes });
                }
                self.end(stream, end);
            }
            kind::HEADERS => {
                self.recv_answer(stream, frame::unpadded(&head, payload)?)?;
                self.end(stream, end);
            }
            kind::RST_STREAM => {
                let code = frame::word(payload)?;
                self.streams.retain(|s| s.id != stream);
                self.events.push_back(Event::Reset { stream, code });
            }
            kind::SETTINGS if !head.has(flag::ACK) => {
                for (id, value) in frame::settings(payload)? {
                    if id == setting::INITIAL_WINDOW_SIZE {
                        let change = i64::from(value) - self.stream_window;
                        self.stream_window = value.into();
                        self.streams.iter_mut().for_each(|s| s.window += change);
                    }
                }
                frame::write(&mut self.control, kind::SETTINGS, flag::ACK, 0, &[]);
            }
            kind::PING if !head.has(flag::ACK) => {
                frame::write(&mut self.control, kind::PING, flag::ACK, 0, payload);
            }
            kind::GOAWAY => {
                let (last, code) = payload.split_at_checked(4).unwrap_or_default();
                let code = frame::word(code.get(..4).unwrap_or_default())?;
                self.events.push_back(Event::GoAway { last: frame::word(last)?, code });
            }
            kind::WINDOW_UPDATE => {
                let more = i64::from(frame::word(payload)?);
                match self.streams.iter_mut().find(|s| s.id == stream) {
                    Some(stream) => stream.window += more,
                    None if stream == 0 => self.window += more,
                    None => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn recv_answer(&mut self, stream: u32, block: &[u8]) -> Result<(), H2Error> {
        let mut headers = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.hpack
            .decode(block, &mut |name, value| headers.push((text(name), text(value))))
            .map_err(|_| H2Error::new(Code::Compression, "a damaged header block"))?;
        let status = headers.iter().position(|(name, _)| name == ":status");
        let status = status.map(|at| headers.remove(at).1).and_then(|s| s.parse().ok());
        let status = status.ok_or(H2Error::new(Code::Protocol, "an answer without a status"))?;
        self.events.push_back(Event::Answer { stream, status, headers });
        Ok(())
    }

    fn end(&mut self, stream: u32, end: bool) {
        if end {
            self.streams.retain(|s| s.id != stream);
            self.events.push_back(Event::End { stream });
        }
    }

    fn release(&mut self, stream: u32, bytes: u32) {
        let mut give_back = |id: u32, unreleased: &mut u32| {
            *unreleased += bytes;
            if *unreleased >= RELEASE_AT {
                let bytes = std::mem::take(unreleased).to_be_bytes();
                frame::write(&mut self.control, kind::WINDOW_UPDATE, 0, id, &bytes);
            }
        };
        give_back(0, &mut self.unreleased);
        if let Some(stream) = self.streams.iter_mut().find(|s| s.id == stream) {
            give_back(stream.id, &mut stream.unreleased);
        }
    }
}
