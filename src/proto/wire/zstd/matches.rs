//! Finds what a text repeats.

/// The farthest that is looked back: what decoders with little memory allow, and more than any
/// part of a map is long.
const FARTHEST: usize = 1 << 20;

/// A shorter repetition costs more than it saves.
const SHORTEST: usize = 5;

/// Literals, and what is repeated after them.
pub(super) struct Sequence {
    pub(super) literals: u16,
    pub(super) length: u16,
    /// 1 to 3: one of the distances before; else the distance and 3 (RFC 8878 section 3.1.1.5).
    pub(super) offset: u32,
}

/// Remembers where what was.
pub(super) struct Finder<'a> {
    text: &'a [u8],
    /// By hash: a place, and 1.
    places: Vec<u32>,
    shift: u32,
    /// The last three distances.
    pub(super) last: [u32; 3],
}

impl<'a> Finder<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        let log = (text.len() / 2).max(1).ilog2().clamp(8, 13);
        Self { text, places: vec![0; 1 << log], shift: 32 - log, last: [1, 4, 8] }
    }

    /// Splits the text from `start` to `end`, of which all before was split already.
    pub(super) fn split(
        &mut self,
        start: usize,
        end: usize,
        literals: &mut Vec<u8>,
        sequences: &mut Vec<Sequence>,
    ) {
        let mut anchor = start;
        let mut at = start;
        while at + 8 <= end {
            let Some((mut from, mut to)) = self.find(at) else {
                // Where nothing is repeated, look less often.
                at += 1 + ((at - anchor) >> 7);
                continue;
            };
            while to > anchor && from > 0 && self.text[from - 1] == self.text[to - 1] {
                (from, to) = (from - 1, to - 1);
            }
            let length = alike(&self.text[from..], &self.text[to..end]);
            literals.extend_from_slice(&self.text[anchor..to]);
            sequences.push(Sequence {
                literals: (to - anchor) as u16,
                length: length as u16,
                offset: self.offset((to - from) as u32, to == anchor),
            });
            anchor = to + length;
            for place in [to + 2, anchor - 2] {
                self.remember(place);
            }
            at = anchor;
        }
        literals.extend_from_slice(&self.text[anchor..end]);
    }

    /// Where a repetition may begin, and of what: at `at`, or right after it.
    fn find(&mut self, at: usize) -> Option<(usize, usize)> {
        let near = (at + 1).checked_sub(self.last[0] as usize);
        let before = self.remember(at);
        if let Some(near) = near.filter(|near| self.word(*near) == self.word(at + 1)) {
            return Some((near, at + 1));
        }
        let before = before.filter(|before| at - before < FARTHEST)?;
        let long = alike(&self.text[before..before + SHORTEST], &self.text[at..]) == SHORTEST;
        long.then_some((before, at))
    }

    /// Notes a place; what was noted before for what seems the same.
    fn remember(&mut self, at: usize) -> Option<usize> {
        let key = self.word(at)?;
        let next = u32::from(*self.text.get(at + 4)?);
        let hash = (key ^ (next << 13)).wrapping_mul(0x9e37_79b1) ^ next.wrapping_mul(0x85eb_ca6b);
        let place = self.places.get_mut((hash >> self.shift) as usize)?;
        let before = std::mem::replace(place, at as u32 + 1);
        before.checked_sub(1).map(|before| before as usize)
    }

    fn word(&self, at: usize) -> Option<u32> {
        self.text.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// How a distance is written, which depends on those before (section 3.1.1.5).
    fn offset(&mut self, distance: u32, no_literals: bool) -> u32 {
        let [first, second, third] = self.last;
        let known = match distance {
            _ if distance == first && !no_literals => return 1,
            _ if distance == second => 2,
            _ if distance == third => 3,
            _ => distance + 3 + u32::from(no_literals),
        };
        self.last = [distance, first, if known == 2 { third } else { second }];
        known - u32::from(no_literals)
    }
}

/// How many bytes two texts begin with alike.
fn alike(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(4).zip(b.chunks_exact(4)).take_while(|(a, b)| a == b).count() * 4;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}
