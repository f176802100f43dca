//! Finite state entropy coding (RFC 8878 section 4.1).

use super::bits::Bits;

/// Symbols of the largest alphabet, that of match lengths, rounded up.
pub(super) const SYMBOLS: usize = 64;

/// Bits of the tables made here: enough for all symbols, and the longest of any use.
const LOG: std::ops::RangeInclusive<u32> = 6..=8;

/// The longest table, in entries.
const SIZE_MAX: usize = 1 << *LOG.end();

/// A machine whose states stand for symbols; one costs the fewer bits the more states it has.
pub(super) struct Table {
    log: u32,
    /// Of each symbol: how many of the states are its own. -1 is one, at the end of the table.
    shares: [i16; SYMBOLS],
    /// Of each symbol: where its states begin in `states`.
    starts: [u16; SYMBOLS],
    states: [u16; SIZE_MAX],
}

impl Table {
    /// For symbols that come as often as counted; at least two different ones.
    pub(super) fn of_counts(counts: &[u16; SYMBOLS]) -> Self {
        let total = counts.iter().map(|count| u32::from(*count)).sum::<u32>().max(2);
        let log = (total.ilog2() - 1).clamp(*LOG.start(), *LOG.end());
        let mut shares = counts.map(|count| {
            if count == 0 { 0 } else { ((u32::from(count) << log) / total).max(1) as i16 }
        });
        // The most frequent ones take what rounding left over, or give what it took too much of.
        let mut rest = (1 << log) - shares.iter().sum::<i16>();
        while rest != 0 {
            let Some(most) = shares.iter_mut().max() else { break };
            let change = rest.max(-*most / 2);
            *most += change;
            rest -= change;
        }
        Self::new(log, shares)
    }

    /// With shares of `1 << log` in all.
    pub(super) fn of_shares(log: u32, known: &[i8]) -> Self {
        let mut shares = [0; SYMBOLS];
        shares.iter_mut().zip(known).for_each(|(share, known)| *share = i16::from(*known));
        Self::new(log, shares)
    }

    fn new(log: u32, shares: [i16; SYMBOLS]) -> Self {
        let size = 1_usize << log;
        let mut symbols = [0_u8; SIZE_MAX];
        let mut end = size;
        for symbol in (0..SYMBOLS).filter(|symbol| shares[*symbol] < 0) {
            end -= 1;
            symbols[end] = symbol as u8;
        }
        let mut at = 0;
        let step = size / 2 + size / 8 + 3;
        for (symbol, share) in shares.iter().enumerate() {
            for _ in 0..*share {
                symbols[at] = symbol as u8;
                at = (at + step) % size;
                while at >= end {
                    at = (at + step) % size;
                }
            }
        }
        let mut starts = [0; SYMBOLS];
        let mut sum = 0;
        for (start, share) in starts.iter_mut().zip(&shares) {
            *start = sum;
            sum += share.unsigned_abs();
        }
        let (mut next, mut states) = (starts, [0; SIZE_MAX]);
        for (at, symbol) in symbols[..size].iter().enumerate() {
            let next = &mut next[usize::from(*symbol)];
            states[usize::from(*next)] = (size + at) as u16;
            *next += 1;
        }
        Self { log, shares, starts, states }
    }

    /// The state after the last symbol, which is the first to be written.
    pub(super) fn start(&self, symbol: u8) -> u32 {
        u32::from(self.states[usize::from(self.starts[usize::from(symbol)])])
    }

    /// Writes what leads a decoder from the state before `symbol`, which it returns, to `state`.
    pub(super) fn step(&self, state: u32, symbol: u8, bits: &mut Bits<'_>) -> u32 {
        let share = u32::from(self.shares[usize::from(symbol)].unsigned_abs());
        let mut count = self.log - share.ilog2();
        if state >> count < share {
            count -= 1;
        }
        bits.push(state & ((1 << count) - 1), count);
        let at = u32::from(self.starts[usize::from(symbol)]) + (state >> count) - share;
        u32::from(self.states[at as usize])
    }

    /// Writes the state before all symbols, where a decoder begins.
    pub(super) fn finish(&self, state: u32, bits: &mut Bits<'_>) {
        bits.push(state & ((1 << self.log) - 1), self.log);
    }

    /// Writes the shares (section 4.1.1).
    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        let mut bits = Bits::new(out);
        bits.push(self.log - 5, 4);
        let mut left = 1_u32 << self.log;
        let mut shares = self.shares.iter().copied().peekable();
        while left > 0
            && let Some(share) = shares.next()
        {
            // A value up to `most` in as few bits as it needs: the smallest have one less.
            let (value, most) = ((share + 1) as u32, left + 1);
            let count = most.ilog2() + 1;
            let short = (1 << count) - 1 - most;
            if value < short {
                bits.push(value, count - 1);
            } else {
                bits.push(if value >> (count - 1) == 0 { value } else { value + short }, count);
            }
            left -= u32::from(share.unsigned_abs());
            if share == 0 {
                let mut zeros = 0;
                while shares.next_if_eq(&0).is_some() {
                    zeros += 1;
                }
                while zeros >= 3 {
                    bits.push(3, 2);
                    zeros -= 3;
                }
                bits.push(zeros, 2);
            }
        }
        bits.pad();
    }
}
