//! A compressed block (RFC 8878 section 3.1.1.3): literals, and what to repeat between them.

use super::bits::Bits;
use super::fse::{SYMBOLS, Table};
use super::huffman::Code;
use super::matches::Sequence;

/// Fewer literals than this are not worth the description of a code.
const CODE_FROM: usize = 128;

/// Fewer sequences than this are not worth the description of tables.
const TABLES_FROM: usize = 48;

/// Where the ranges of literal lengths begin (table 15).
const LITERALS: [u32; 37] =
    ranges(16, 16, [1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

/// Where the ranges of match lengths begin (table 16).
const MATCHES: [u32; 54] =
    ranges(32, 35, [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

/// The shares of the codes where a block does not bring its own (section 3.1.1.3.2.2).
const LITERAL_SHARES: [i8; 36] = [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
    -1, -1, -1, -1,
];
const MATCH_SHARES: [i8; 53] = [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
];
const OFFSET_SHARES: [i8; 29] =
    [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1];

/// Appends the content of a block.
pub(super) fn write(literals: &[u8], sequences: &[Sequence], out: &mut Vec<u8>) {
    write_literals(literals, out);
    write_sequences(sequences, out);
}

fn write_literals(literals: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    if let Some(code) = Code::of(literals).filter(|_| literals.len() >= CODE_FROM) {
        // One stream, or four with lengths of 10, 14 or 18 bits.
        let (format, digits) = match literals.len() {
            ..256 => (0, 10),
            256..1024 => (1, 10),
            1024..16384 => (2, 14),
            _ => (3, 18),
        };
        let head = (4 + 2 * digits) / 8;
        out.resize(from + head, 0);
        code.describe(out);
        if format == 0 {
            code.write(literals, out);
        } else {
            let jumps = out.len();
            out.resize(jumps + 6, 0);
            for (i, quarter) in literals.chunks(literals.len().div_ceil(4)).enumerate() {
                let begun = out.len();
                code.write(quarter, out);
                let len = (out.len() - begun) as u16;
                if i < 3 {
                    out[jumps + 2 * i..][..2].copy_from_slice(&len.to_le_bytes());
                }
            }
        }
        let len = (out.len() - from - head) as u64;
        if len < literals.len() as u64 {
            let header = 2 | (format << 2) | ((literals.len() as u64) << 4) | (len << (4 + digits));
            out[from..from + head].copy_from_slice(&header.to_le_bytes()[..head]);
            return;
        }
        out.truncate(from);
    }
    // As they are, with a length of 20 bits.
    out.extend_from_slice(&(((literals.len() as u32) << 4) | 0b1100).to_le_bytes()[..3]);
    out.extend_from_slice(literals);
}

fn write_sequences(sequences: &[Sequence], out: &mut Vec<u8>) {
    let count = sequences.len();
    if count >= 128 {
        out.push((count >> 8) as u8 | 0x80);
    }
    out.push(count as u8);
    let Some((last, before)) = sequences.split_last() else { return };
    let modes_at = out.len();
    out.push(0);
    let codes = sequences.iter().map(Codes::of);
    let mut modes = 0;
    let mut table = |symbol: fn(&Codes) -> u8, log, shares| {
        let mut counts = [0; SYMBOLS];
        codes.clone().for_each(|codes| counts[usize::from(symbol(&codes))] += 1);
        modes <<= 2;
        if count < TABLES_FROM || counts.iter().filter(|count| **count > 0).count() < 2 {
            return Table::of_shares(log, shares);
        }
        modes |= 2;
        let table = Table::of_counts(&counts);
        table.describe(out);
        table
    };
    let literals = table(|codes| codes.literals.0, 6, &LITERAL_SHARES[..]);
    let offsets = table(|codes| codes.offset.0, 5, &OFFSET_SHARES[..]);
    let matches = table(|codes| codes.length.0, 6, &MATCH_SHARES[..]);
    out[modes_at] = modes << 2;
    let mut bits = Bits::new(out);
    let codes = Codes::of(last);
    let mut literal = literals.start(codes.literals.0);
    let mut offset = offsets.start(codes.offset.0);
    let mut length = matches.start(codes.length.0);
    codes.write_rest(&mut bits);
    for sequence in before.iter().rev() {
        let codes = Codes::of(sequence);
        offset = offsets.step(offset, codes.offset.0, &mut bits);
        length = matches.step(length, codes.length.0, &mut bits);
        literal = literals.step(literal, codes.literals.0, &mut bits);
        codes.write_rest(&mut bits);
    }
    matches.finish(length, &mut bits);
    offsets.finish(offset, &mut bits);
    literals.finish(literal, &mut bits);
    bits.finish();
}

/// A sequence as codes, each with the bits that tell the place in its range, and how many.
struct Codes {
    literals: (u8, u32, u32),
    length: (u8, u32, u32),
    offset: (u8, u32, u32),
}

impl Codes {
    fn of(sequence: &Sequence) -> Self {
        let log = sequence.offset.ilog2();
        Self {
            literals: range(&LITERALS, sequence.literals.into()),
            length: range(&MATCHES, sequence.length.into()),
            offset: (log as u8, sequence.offset - (1 << log), log),
        }
    }

    fn write_rest(&self, bits: &mut Bits<'_>) {
        for (_, rest, count) in [self.literals, self.length, self.offset] {
            bits.push(rest, count);
        }
    }
}

/// Which of the ranges a value lies in, and where in it.
fn range(ranges: &[u32], value: u32) -> (u8, u32, u32) {
    let next = ranges.partition_point(|begin| *begin <= value);
    let begin = ranges[next - 1];
    (next as u8 - 1, value - begin, (ranges[next] - begin).ilog2())
}

/// Ranges of one value each up to `first`, where the wider ones begin, with so many bits each; the
/// last is where they end.
const fn ranges<const N: usize, const M: usize>(
    singles: u32,
    first: u32,
    bits: [u32; M],
) -> [u32; N] {
    let mut all = [0; N];
    let mut at = 0;
    let mut begin = first - singles;
    while at < N {
        all[at] = begin;
        begin += if at < singles as usize {
            1
        } else if at + 1 < N {
            1 << bits[at - singles as usize]
        } else {
            0
        };
        at += 1;
    }
    all
}
