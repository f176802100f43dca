//! Finds frames in a stream of bytes, without I/O and mostly without copying.

use super::{Frame, FrameError, HEADER_LEN, MAX_FRAME, max_payload};

/// Bytes that the buffer for partial frames keeps between frames, so that a busy stream does not
/// allocate for each frame cut by the end of a read: a packet of ordinary size. More is given back.
const KEEP: usize = 2048;

/// The reading half of a stream of frames.
///
/// A frame that lies whole in the bytes fed is handed out in place; one that is cut is gathered in
/// a buffer, which grows with what has arrived, not with what was announced.
#[derive(Debug, Default)]
pub struct Reader {
    /// A frame not yet complete, from its header on; or the one handed out last (`done`).
    partial: Vec<u8>,
    done: bool,
    /// Bytes still to skip of a frame of unknown type.
    skip: usize,
}

impl Reader {
    /// Takes the next frame off `input`, or takes all of `input` and returns `None` until more has
    /// come. After an error the stream cannot be read on.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Frame<'a>>, FrameError> {
        if self.done {
            self.done = false;
            self.partial.clear();
            self.partial.shrink_to(KEEP);
        }
        self.skip -= advance(input, self.skip).len();
        if self.partial.is_empty() {
            let Some(header) = Header::read(input) else {
                self.partial.extend_from_slice(advance(input, HEADER_LEN));
                return Ok(None);
            };
            match header? {
                Header::Skip { kind, payload } => {
                    advance(input, HEADER_LEN);
                    self.skip = payload;
                    return Ok(Some(Frame::Unknown(kind)));
                }
                Header::Take { kind, total } if input.len() >= total => {
                    return parse(kind, advance(input, total));
                }
                Header::Take { total, .. } => {
                    self.partial.reserve_exact(total.min(KEEP));
                    self.partial.extend_from_slice(advance(input, total));
                    return Ok(None);
                }
            }
        }
        self.fill(input, HEADER_LEN);
        match Header::read(&self.partial) {
            None => Ok(None),
            Some(Err(error)) => Err(error),
            Some(Ok(Header::Skip { kind, payload })) => {
                self.done = true;
                self.skip = payload;
                Ok(Some(Frame::Unknown(kind)))
            }
            Some(Ok(Header::Take { kind, total })) => {
                self.fill(input, total);
                if self.partial.len() < total {
                    return Ok(None);
                }
                self.done = true;
                parse(kind, &self.partial)
            }
        }
    }

    /// Gives the buffer back if no frame is in it: for connections that fall idle.
    pub fn release(&mut self) {
        if self.done || self.partial.is_empty() {
            self.done = false;
            self.partial = Vec::new();
        }
    }

    /// Bytes of memory held.
    pub fn held(&self) -> usize {
        self.partial.capacity()
    }

    fn fill(&mut self, input: &mut &[u8], total: usize) {
        let missing = total.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(advance(input, missing));
    }
}

fn parse(kind: u8, frame: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    Frame::parse(kind, frame.get(HEADER_LEN..).unwrap_or_default()).map(Some)
}

/// Cuts up to `n` bytes off the front of `input`.
fn advance<'a>(input: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (head, tail) = input.split_at(n.min(input.len()));
    *input = tail;
    head
}

enum Header {
    Skip { kind: u8, payload: usize },
    Take { kind: u8, total: usize },
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Result<Self, FrameError>> {
        let [kind, len @ ..] = *bytes.first_chunk::<HEADER_LEN>()?;
        let len = u32::from_be_bytes(len);
        let payload = usize::try_from(len).unwrap_or(usize::MAX);
        let max = max_payload(kind);
        if payload > max.unwrap_or(MAX_FRAME) {
            return Some(Err(FrameError::TooLong { kind, len }));
        }
        Some(Ok(match max {
            Some(_) => Self::Take { kind, total: HEADER_LEN + payload },
            None => Self::Skip { kind, payload },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::derp::MAX_PACKET;
    use crate::wire::key::NodeKey;

    /// What a stream holds: the frames as text, or the error that ends it.
    fn read_in_pieces(stream: &[u8], piece: usize) -> Vec<String> {
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        for mut input in stream.chunks(piece) {
            loop {
                match reader.next(&mut input) {
                    Ok(Some(frame)) => seen.push(format!("{frame:?}")),
                    Ok(None) => break,
                    Err(error) => {
                        seen.push(error.to_string());
                        return seen;
                    }
                }
            }
            assert!(input.is_empty());
        }
        seen
    }

    #[test]
    fn any_cut_gives_the_same_frames() {
        let key = NodeKey([7; 32]);
        let mut stream = Vec::new();
        Frame::KeepAlive.emit(&mut stream);
        Frame::SendPacket { dst: key, data: &[1; 100] }.emit(&mut stream);
        stream.extend_from_slice(&[0x77, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        Frame::SendPacket { dst: key, data: &[] }.emit(&mut stream);
        Frame::SendPacket { dst: key, data: &[2; MAX_PACKET] }.emit(&mut stream);
        Frame::Ping([3; 8]).emit(&mut stream);
        let whole = read_in_pieces(&stream, stream.len());
        assert_eq!(whole.len(), 6);
        assert_eq!(whole[2], "Unknown(119)");
        for piece in [1, 2, 3, 4, 5, 6, 7, 41, 141, 1000, 65_536] {
            assert_eq!(read_in_pieces(&stream, piece), whole, "{piece}");
        }
    }

    #[test]
    fn too_long() {
        for (kind, max) in
            [(2, 4096), (4, 65_568), (0x0A, 65_600), (0x12, 1000), (0x14, 1000), (0x42, 1 << 20)]
        {
            for (len, fits) in [(max, true), (max + 1, false), (u32::MAX, false)] {
                let mut stream = vec![kind];
                stream.extend_from_slice(&len.to_be_bytes());
                for piece in [1, 5] {
                    let seen = read_in_pieces(&stream, piece);
                    let expected = FrameError::TooLong { kind, len }.to_string();
                    assert_eq!(seen.contains(&expected), !fits, "{kind} {len}");
                }
            }
        }
    }

    #[test]
    fn memory_follows_what_arrived() {
        let mut reader = Reader::default();
        let mut frame = Vec::new();
        Frame::SendPacket { dst: NodeKey([7; 32]), data: &[0; MAX_PACKET] }.emit(&mut frame);
        let (mut first, mut second) = frame.split_at(1000);
        assert_eq!(reader.next(&mut first), Ok(None));
        assert!(reader.held() <= KEEP);
        reader.release();
        assert!(reader.next(&mut second).unwrap().is_some());
        reader.release();
        assert_eq!(reader.held(), 0);
    }

    #[test]
    fn large_buffers_are_not_kept() {
        let mut reader = Reader::default();
        let mut stream = Vec::new();
        Frame::SendPacket { dst: NodeKey([7; 32]), data: &[0; MAX_PACKET] }.emit(&mut stream);
        stream.push(6);
        let (mut first, mut second) = stream.split_at(1000);
        assert_eq!(reader.next(&mut first), Ok(None));
        assert!(reader.next(&mut second).unwrap().is_some());
        assert_eq!(reader.next(&mut second), Ok(None));
        assert!(reader.held() <= KEEP);
    }
}
