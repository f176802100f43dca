//! What waits to be written to one client: bounded, and its oldest packets give way.

use std::collections::VecDeque;

/// Bytes of ordinary packets that wait for one client at most: some fifty of full size, which is
/// more than the reference's 32. A client that takes no more has the kernel's buffer full already,
/// and a longer queue would only make what it gets older.
pub(super) const BULK_BYTES: usize = 64 << 10;
/// Ordinary packets that wait for one client at most.
pub(super) const BULK_PACKETS: u32 = 256;
/// Bytes of path discovery packets and frames of our own that wait for one client at most.
pub(super) const URGENT_BYTES: usize = 8 << 10;
/// Path discovery packets and frames of our own that wait for one client at most. As with the
/// reference's 32, it is the most recent that help to find a path.
pub(super) const URGENT_PACKETS: u32 = 64;
/// A client's share of [`BULK_BYTES`] while the whole relay holds more than half its limit.
const SCARCE_BYTES: usize = 8 << 10;

/// Buffers kept for the next queue that needs one. Each is back as soon as its queue is empty, so
/// that idle clients hold none and busy ones allocate nothing.
const SPARES: usize = 8;
/// Bytes that a spare buffer may have.
const SPARE_BYTES: usize = 2 * BULK_BYTES;

const HEADER_LEN: usize = gramscale_proto::wire::derp::HEADER_LEN;

/// The two lanes of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Ordinary packets.
    Bulk,
    /// Path discovery packets and frames of our own, which are written first.
    Urgent,
}

/// What became of a packet that was offered to a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    /// It waits now.
    pub(super) taken: bool,
    /// Older packets that were dropped for it.
    pub(super) dropped: u32,
    /// Their bytes, with their frames' headers.
    pub(super) dropped_bytes: usize,
}

/// Buffers of a relay's queues, and how much they hold together.
pub(super) struct Depot {
    spares: Vec<VecDeque<u8>>,
    queued: usize,
    /// Bytes that all queues may hold together.
    limit: usize,
}

impl Depot {
    pub(super) fn new(limit: usize) -> Self {
        Self { spares: Vec::new(), queued: 0, limit }
    }

    /// Bytes in all queues.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    fn take(&mut self) -> VecDeque<u8> {
        self.spares.pop().unwrap_or_default()
    }

    fn give(&mut self, mut buffer: VecDeque<u8>) {
        if self.spares.len() < SPARES && (1..=SPARE_BYTES).contains(&buffer.capacity()) {
            buffer.clear();
            self.spares.push(buffer);
        }
    }
}

/// Frames that wait for one client.
#[derive(Default)]
pub(super) struct Queue {
    bulk: Buffer,
    urgent: Buffer,
    /// The lane of a frame of which a part is written, and the bytes left of it.
    begun: Option<(Lane, usize)>,
}

#[derive(Default)]
struct Buffer {
    bytes: VecDeque<u8>,
    frames: u32,
}

impl Queue {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bulk.bytes.len() + self.urgent.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.bulk.bytes.capacity() + self.urgent.bytes.capacity()
    }

    /// Adds a frame if there is room; if there is not, the oldest frames of the lane are dropped for
    /// it, except one that is half written.
    pub(super) fn offer(
        &mut self,
        depot: &mut Depot,
        lane: Lane,
        head: &[u8],
        body: &[u8],
    ) -> Offered {
        let len = head.len() + body.len();
        let scarce = depot.queued > depot.limit / 2;
        let (max_bytes, max_frames) = match lane {
            Lane::Bulk if scarce => (SCARCE_BYTES, BULK_PACKETS),
            Lane::Bulk => (BULK_BYTES, BULK_PACKETS),
            Lane::Urgent => (URGENT_BYTES, URGENT_PACKETS),
        };
        let mut offered = Offered::default();
        loop {
            let buffer = self.lane(lane);
            let fits = buffer.frames < max_frames && buffer.bytes.len() + len <= max_bytes;
            if fits || buffer.frames == 0 {
                break;
            }
            let Some(bytes) = self.drop_oldest(lane) else { return offered };
            depot.queued -= bytes;
            offered.dropped += 1;
            offered.dropped_bytes += bytes;
        }
        if depot.queued + len > depot.limit {
            return offered;
        }
        let buffer = self.lane(lane);
        if buffer.bytes.capacity() == 0 {
            buffer.bytes = depot.take();
        }
        buffer.bytes.extend(head);
        buffer.bytes.extend(body);
        buffer.frames += 1;
        depot.queued += len;
        Offered { taken: true, ..offered }
    }

    /// The bytes to write next; none if nothing waits.
    pub(super) fn next(&self) -> &[u8] {
        match self.begun {
            Some((Lane::Bulk, left)) if self.urgent.frames > 0 => {
                let front = self.bulk.bytes.as_slices().0;
                front.get(..left).unwrap_or(front)
            }
            Some((Lane::Bulk, _)) => self.bulk.bytes.as_slices().0,
            _ if self.urgent.frames > 0 => self.urgent.bytes.as_slices().0,
            _ => self.bulk.bytes.as_slices().0,
        }
    }

    /// Takes away `n` bytes of [`Self::next`] that were written.
    pub(super) fn wrote(&mut self, depot: &mut Depot, n: usize) {
        let lane = match self.begun {
            Some((lane, _)) => lane,
            None if self.urgent.frames > 0 => Lane::Urgent,
            None => Lane::Bulk,
        };
        let mut left = self.begun.take().map(|(_, left)| left);
        let buffer = self.lane(lane);
        let n = n.min(buffer.bytes.len());
        depot.queued -= n;
        if n == buffer.bytes.len() {
            depot.give(std::mem::take(buffer).bytes);
            return;
        }
        let mut at = 0;
        while at < n {
            let end = at + left.take().unwrap_or_else(|| buffer.frame_len(at));
            if end <= n {
                buffer.frames -= 1;
            } else {
                left = Some(end - n);
            }
            at = end;
        }
        buffer.bytes.drain(..n);
        self.begun = left.map(|left| (lane, left));
    }

    /// Drops all, when the client is gone; returns how many frames and bytes.
    pub(super) fn clear(&mut self, depot: &mut Depot) -> (usize, usize) {
        let len = self.len();
        depot.queued -= len;
        let Self { bulk, urgent, .. } = std::mem::take(self);
        depot.give(bulk.bytes);
        depot.give(urgent.bytes);
        ((bulk.frames + urgent.frames) as usize, len)
    }

    fn lane(&mut self, lane: Lane) -> &mut Buffer {
        match lane {
            Lane::Bulk => &mut self.bulk,
            Lane::Urgent => &mut self.urgent,
        }
    }

    /// Removes the oldest frame of a lane that is not begun; returns its bytes.
    fn drop_oldest(&mut self, lane: Lane) -> Option<usize> {
        let from = match self.begun {
            Some((begun, left)) if begun == lane => left,
            _ => 0,
        };
        let buffer = self.lane(lane);
        if from >= buffer.bytes.len() {
            return None;
        }
        let len = buffer.frame_len(from);
        // Moves the shorter side: what is left of the frame that is begun.
        buffer.bytes.drain(from..from + len);
        buffer.frames -= 1;
        Some(len)
    }
}

impl Buffer {
    /// Bytes of the frame that begins at `at`, header and all.
    fn frame_len(&self, at: usize) -> usize {
        let mut len = [0; 4];
        for (i, byte) in len.iter_mut().enumerate() {
            *byte = self.bytes.get(at + 1 + i).copied().unwrap_or(0);
        }
        let rest = self.bytes.len().saturating_sub(at);
        (HEADER_LEN + u32::from_be_bytes(len) as usize).min(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Lane::{Bulk, Urgent};

    /// A frame of `len` payload bytes, all `mark`.
    fn frame(mark: u8, len: usize) -> Vec<u8> {
        let mut out = vec![5];
        out.extend_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
        out.resize(HEADER_LEN + len, mark);
        out
    }

    struct Bench {
        queue: Queue,
        depot: Depot,
        /// All that was written.
        out: Vec<u8>,
    }

    impl Bench {
        fn new() -> Self {
            Self { queue: Queue::default(), depot: Depot::new(1 << 20), out: Vec::new() }
        }

        fn offer(&mut self, lane: Lane, mark: u8, len: usize) -> Offered {
            let frame = frame(mark, len);
            let (head, body) = frame.split_at(HEADER_LEN.min(frame.len()));
            let offered = self.queue.offer(&mut self.depot, lane, head, body);
            assert_eq!(self.depot.queued(), self.queue.len());
            offered
        }

        fn write(&mut self, most: usize) -> usize {
            let next = self.queue.next();
            let n = next.len().min(most);
            self.out.extend_from_slice(&next[..n]);
            self.queue.wrote(&mut self.depot, n);
            assert_eq!(self.depot.queued(), self.queue.len());
            n
        }

        /// Writes the rest and returns the marks of all frames, checking that each is whole.
        fn marks(&mut self, piece: usize) -> Vec<u8> {
            while self.write(piece) > 0 {}
            let mut rest = &self.out[..];
            let mut marks = Vec::new();
            while !rest.is_empty() {
                let len = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
                let body = &rest[5..5 + len];
                assert!(body.iter().all(|b| *b == body[0]), "frames are mixed");
                marks.push(body[0]);
                rest = &rest[5 + len..];
            }
            marks
        }
    }

    const TAKEN: Offered = Offered { taken: true, dropped: 0, dropped_bytes: 0 };

    #[test]
    fn urgent_first_but_never_inside_a_frame() {
        for cut in 0..35 {
            let mut bench = Bench::new();
            assert_eq!(bench.offer(Bulk, 1, 10), TAKEN);
            assert_eq!(bench.offer(Bulk, 2, 10), TAKEN);
            assert!(bench.write(cut) <= cut);
            assert_eq!(bench.offer(Urgent, 3, 10), TAKEN);
            let expected: &[u8] = match cut {
                0 => &[3, 1, 2],
                1..=15 => &[1, 3, 2],
                _ => &[1, 2, 3],
            };
            assert_eq!(bench.marks(7), expected, "{cut}");
            assert!(bench.queue.is_empty() && bench.depot.queued() == 0);
        }
    }

    #[test]
    fn the_oldest_give_way() {
        let mut bench = Bench::new();
        for mark in 0..64 {
            assert_eq!(bench.offer(Bulk, mark, 1024 - HEADER_LEN), TAKEN);
        }
        let expected = Offered { taken: true, dropped: 1, dropped_bytes: 1024 };
        assert_eq!(bench.offer(Bulk, 64, 1024 - HEADER_LEN), expected);
        // Now 1 is first and begun: it stays, 2 and 3 go.
        assert_eq!(bench.write(100), 100);
        let expected = Offered { taken: true, dropped: 2, dropped_bytes: 2048 };
        assert_eq!(bench.offer(Bulk, 65, 1500), expected);
        let marks: Vec<u8> = [1].into_iter().chain(4..=65).collect();
        assert_eq!(bench.marks(usize::MAX), marks);
    }

    #[test]
    fn few_and_large() {
        let mut bench = Bench::new();
        for mark in 0..=255 {
            assert_eq!(bench.offer(Bulk, mark, 1), TAKEN);
        }
        assert_eq!(bench.offer(Bulk, 0, 1).dropped, 1);
        // A packet of any size finds room in an empty queue, and nothing beside it.
        let mut bench = Bench::new();
        assert_eq!(bench.offer(Bulk, 1, BULK_BYTES + 32), TAKEN);
        assert!(bench.write(1) == 1);
        assert_eq!(bench.offer(Bulk, 2, 1), Offered::default());
        assert_eq!(bench.offer(Urgent, 3, 1), TAKEN);
        assert_eq!(bench.marks(1000), [1, 3]);
    }

    #[test]
    fn scarcity() {
        let mut bench = Bench::new();
        bench.depot = Depot::new(40 << 10);
        for _ in 0..20 {
            assert_eq!(bench.offer(Bulk, 1, 1024), TAKEN);
        }
        // More than half of the whole: this client falls back to its share.
        let offered = bench.offer(Bulk, 2, 1024);
        assert!(offered.taken && offered.dropped == 14, "{offered:?}");
        bench.depot.queued = 40 << 10;
        let mut other = Queue::default();
        let frame = frame(1, 10);
        assert_eq!(other.offer(&mut bench.depot, Bulk, &frame, &[]), Offered::default());
    }

    #[test]
    fn buffers_go_round() {
        let mut bench = Bench::new();
        bench.offer(Bulk, 1, 1000);
        assert!(bench.queue.bulk.bytes.capacity() > 0);
        bench.write(usize::MAX);
        assert_eq!(bench.queue.bulk.bytes.capacity(), 0);
        assert_eq!(bench.depot.spares.len(), 1);
        bench.offer(Urgent, 1, 10);
        assert!(bench.depot.spares.is_empty());
        bench.queue.clear(&mut bench.depot);
        assert_eq!((bench.depot.spares.len(), bench.depot.queued()), (1, 0));
    }

    /// Any sequence of offers and short writes gives whole frames, in order within a lane.
    #[test]
    fn random_walk() {
        let mut random = 1_u32;
        let mut draw = |n: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % n
        };
        let mut bench = Bench::new();
        let mut last = [0_u8; 2];
        for step in 0..20_000_u32 {
            if draw(3) < 2 {
                let lane = if draw(4) == 0 { Urgent } else { Bulk };
                // The mark counts up within its lane: odd in one, even in the other.
                let mark = &mut last[usize::from(lane == Bulk)];
                *mark = mark.wrapping_add(1);
                let (mark, len) = (*mark, draw(3000) as usize + 1);
                bench.offer(lane, mark, len);
            } else {
                bench.write(draw(8000) as usize);
            }
            assert!(bench.queue.len() <= BULK_BYTES + URGENT_BYTES, "step {step}");
        }
        bench.marks(usize::MAX);
    }
}
