//! The server's end of a connection: what goes out.

use super::{Connection, Event};
use crate::wire::h2::frame::{self, MAX_PAYLOAD, flag, kind};
use crate::wire::h2::stream::{Answer, Part, SendError, Stream};
use crate::wire::h2::{Code, hpack};

/// Bytes of a body in one frame: with its header the frame fills one Noise record.
const MAX_DATA: usize = crate::wire::noise::MAX_PLAIN - frame::HEADER_LEN;
/// Bytes queued on all streams at most. A map of a thousand nodes is a twentieth of it; a caller
/// that waits for [`Event::Drained`] never comes near.
const MAX_QUEUED: usize = 16 << 20;

impl Connection {
    /// Begins the answer to a request; `end` if there is no body. Names are in lower case.
    pub fn respond(
        &mut self,
        stream: u32,
        status: u16,
        headers: &[(&str, &str)],
        end: bool,
    ) -> Result<(), SendError> {
        let index = self.answering(stream, Answer::None)?;
        let digits = [status / 100 % 10, status / 10 % 10, status % 10].map(|d| b'0' + d as u8);
        let mut block = Vec::new();
        hpack::encode(":status", std::str::from_utf8(&digits).unwrap_or("500"), &mut block);
        headers.iter().for_each(|(name, value)| hpack::encode(name, value, &mut block));
        if block.len() > MAX_PAYLOAD {
            return Err(SendError::TooLarge);
        }
        let flags = if end { flag::END_HEADERS | flag::END_STREAM } else { flag::END_HEADERS };
        frame::write(&mut self.control, kind::HEADERS, flags, stream, &block);
        if end {
            self.remove(index);
        } else if let Some(stream) = self.streams.get_mut(index) {
            stream.answer = Answer::Begun;
            // The caller is done with the request.
            self.bodies -= std::mem::take(&mut stream.body);
        }
        Ok(())
    }

    /// Queues a part of the body of an answer, which may be empty; `end` if it is the last.
    pub fn send(&mut self, stream: u32, part: Part, end: bool) -> Result<(), SendError> {
        let index = self.answering(stream, Answer::Begun)?;
        let len = part.bytes().len();
        if len > MAX_QUEUED - self.queued {
            return Err(SendError::Full);
        }
        if let Some(stream) = self.streams.get_mut(index) {
            stream.queue.push(part);
            self.queued += len;
            if end {
                stream.answer = Answer::Ended;
            }
        }
        Ok(())
    }

    /// Breaks an answer off; nothing if the stream is gone already.
    pub fn reset(&mut self, stream: u32, code: Code) {
        if let Some(index) = self.find(stream) {
            self.write_reset(stream, code);
            self.remove(index);
        }
    }

    /// Bytes that wait on a stream for windows and for [`Self::take_output`].
    pub fn queued(&self, stream: u32) -> usize {
        let found = self.streams.iter().find(|s| s.id == stream);
        found.map_or(0, |stream| stream.queue.len)
    }

    /// Whether [`Self::take_output`] would give anything.
    pub fn has_output(&self) -> bool {
        !self.control.is_empty() || self.streams.iter().any(|s| s.is_ready(self.window))
    }

    /// Appends what can be sent now to `out`: all small frames, and bodies until `max` bytes are
    /// reached, exceeded by no more than a frame. Streams take turns.
    pub fn take_output(&mut self, out: &mut Vec<u8>, max: usize) {
        let full = out.len().saturating_add(max);
        out.extend_from_slice(&std::mem::take(&mut self.control));
        while out.len() < full && self.write_data(out) {}
    }

    /// Writes one frame of the next stream that can send; whether there was one.
    fn write_data(&mut self, out: &mut Vec<u8>) -> bool {
        let ready = |s: &Stream| s.is_ready(self.window);
        let turn = self.turn.min(self.streams.len());
        let (before, from) = self.streams.split_at(turn);
        let index = match from.iter().position(ready) {
            Some(index) => turn + index,
            None => match before.iter().position(ready) {
                Some(index) => index,
                None => return false,
            },
        };
        let Some(stream) = self.streams.get_mut(index) else { return false };
        self.turn = index + 1;
        let window = stream.window.min(self.window).max(0);
        let len = stream.queue.len.min(MAX_DATA).min(window as usize);
        let drained = len == stream.queue.len;
        let end = drained && stream.answer == Answer::Ended;
        let id = stream.id;
        frame::write_head(out, len, kind::DATA, if end { flag::END_STREAM } else { 0 }, id);
        stream.queue.take(len, out);
        stream.window -= len as i32;
        self.window -= len as i32;
        self.queued -= len;
        self.earn(len);
        if end {
            self.remove(index);
        } else if drained && !self.events.contains(&Event::Drained { stream: id }) {
            self.events.push_back(Event::Drained { stream: id });
        }
        true
    }

    /// The stream of a request that the caller knows and whose answer is as far as `at`.
    fn answering(&self, stream: u32, at: Answer) -> Result<usize, SendError> {
        let index = self.find(stream).ok_or(SendError::Gone)?;
        match self.streams.get(index) {
            Some(stream) if stream.incoming.is_none() && stream.answer == at => Ok(index),
            Some(_) => Err(SendError::Order),
            None => Err(SendError::Gone),
        }
    }
}
