//! Huffman coding of literals (RFC 8878 section 4.2).

use super::bits::Bits;

/// The longest code (section 4.2.1).
const BITS_MAX: u32 = 11;

/// The most symbols whose weights can be written as they are; the last one's follows from theirs.
const SYMBOLS: usize = 129;

/// A code for each symbol.
pub(super) struct Code {
    /// The bits and how many; none for what does not occur.
    codes: [(u16, u8); SYMBOLS],
    longest: u8,
    last: usize,
}

impl Code {
    /// The best for this text; `None` where it has less than two symbols or one above 128.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let mut counts = [0_u32; 256];
        text.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        let last = counts.iter().rposition(|count| *count > 0)?;
        let counts = counts.first_chunk_mut::<SYMBOLS>().filter(|_| last < SYMBOLS)?;
        if counts.iter().filter(|count| **count > 0).count() < 2 {
            return None;
        }
        // Flatter counts give shorter codes.
        let mut lengths = lengths(counts);
        while u32::from(longest(&lengths)) > BITS_MAX {
            counts.iter_mut().for_each(|count| *count = count.div_ceil(2));
            lengths = self::lengths(counts);
        }
        let longest = longest(&lengths);
        let mut codes = [(0, 0); SYMBOLS];
        let mut next = 0;
        for length in (1..=longest).rev() {
            for (code, _) in codes.iter_mut().zip(&lengths).filter(|(_, len)| **len == length) {
                *code = (next, length);
                next += 1;
            }
            next >>= 1;
        }
        Some(Self { codes, longest, last })
    }

    /// Writes the lengths, as weights of four bits.
    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        out.push(127 + self.last as u8);
        let weight = |(_, length): &(u16, u8)| match length {
            0 => 0,
            length => self.longest + 1 - length,
        };
        for pair in self.codes[..self.last].chunks(2) {
            out.push((weight(&pair[0]) << 4) | pair.get(1).map_or(0, weight));
        }
    }

    /// Writes a text, its end first.
    pub(super) fn write(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut bits = Bits::new(out);
        for byte in text.iter().rev() {
            let (code, length) = self.codes[usize::from(*byte)];
            bits.push(code.into(), length.into());
        }
        bits.finish();
    }
}

fn longest(lengths: &[u8; SYMBOLS]) -> u8 {
    lengths.iter().copied().max().unwrap_or(0)
}

/// The length of each symbol's code: of two trees in turn, the two rarest become one.
fn lengths(counts: &[u32; SYMBOLS]) -> [u8; SYMBOLS] {
    let mut leaves: Vec<u8> = (0..SYMBOLS as u8).filter(|s| counts[usize::from(*s)] > 0).collect();
    leaves.sort_unstable_by_key(|symbol| counts[usize::from(*symbol)]);
    // Trees are made in the order of their counts, so both queues are sorted.
    let (mut leaf, mut tree) = (0, 0);
    let mut trees: Vec<u32> = Vec::with_capacity(leaves.len());
    // Which tree a leaf or a tree has become part of.
    let mut leaf_in = [0_u8; SYMBOLS];
    let mut tree_in = [0_u8; SYMBOLS];
    for made in 0..leaves.len() - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            let count = leaves.get(leaf).map(|symbol| counts[usize::from(*symbol)]);
            match (count, trees.get(tree)) {
                (Some(count), other) if other.is_none_or(|other| count <= *other) => {
                    leaf_in[leaf] = made as u8;
                    leaf += 1;
                    sum += count;
                }
                (_, other) => {
                    sum += other.copied().unwrap_or(0);
                    tree_in[tree] = made as u8;
                    tree += 1;
                }
            }
        }
        trees.push(sum);
    }
    // The last tree is the root; those before it are one deeper than what they are part of.
    let mut depths = [0_u8; SYMBOLS];
    for tree in (0..trees.len() - 1).rev() {
        depths[tree] = depths[usize::from(tree_in[tree])] + 1;
    }
    let mut lengths = [0; SYMBOLS];
    for (leaf, symbol) in leaves.iter().enumerate() {
        lengths[usize::from(*symbol)] = depths[usize::from(leaf_in[leaf])] + 1;
    }
    lengths
}
