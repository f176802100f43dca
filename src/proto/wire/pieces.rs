//! Frames out of bytes that come in any pieces.

use std::ops::Range;

/// The least memory that is taken for a frame that has begun, if it is as long.
const STEP: usize = 1024;

/// Puts frames together.
///
/// It owns memory only between the first and the last byte of a frame that comes in pieces, and
/// for what has come, not for what a header announces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    held: Vec<u8>,
    /// Whether `held` was returned and is to be freed.
    spent: bool,
}

/// Where a whole frame lies, with its header.
pub(super) enum Whole {
    /// In the input.
    Input(Range<usize>),
    /// In what is held.
    Held,
}

impl Pieces {
    /// The next frame in `input` behind `at`, which moves on; `None` when all of `input` is used.
    /// To be called until it returns `None`.
    ///
    /// `len_of` tells how long the frame is that begins in some bytes, once the first `header` of
    /// them are there.
    pub(super) fn next<E>(
        &mut self,
        input: &[u8],
        at: &mut usize,
        header: usize,
        len_of: fn(&[u8]) -> Result<Option<usize>, E>,
    ) -> Result<Option<Whole>, E> {
        if self.spent {
            *self = Self::default();
        }
        let rest = input.get(*at..).unwrap_or_default();
        if self.held.is_empty()
            && let Some(len) = len_of(rest)?
            && len <= rest.len()
        {
            let whole = *at..*at + len;
            *at = whole.end;
            return Ok(Some(Whole::Input(whole)));
        }
        loop {
            let len = len_of(&self.held)?;
            let wanted = len.unwrap_or(header).saturating_sub(self.held.len());
            let rest = input.get(*at..).unwrap_or_default();
            let taken = rest.get(..wanted).unwrap_or(rest);
            if taken.is_empty() {
                self.spent = len == Some(self.held.len());
                return Ok(self.spent.then_some(Whole::Held));
            }
            self.held.reserve_exact(taken.len().max(wanted.min(STEP)));
            self.held.extend_from_slice(taken);
            *at += taken.len();
        }
    }

    /// What is held: the frame of which [`Whole::Held`] was said, or the beginning of one.
    pub(super) fn held(&mut self) -> &mut [u8] {
        &mut self.held
    }

    /// How many bytes are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Bytes of memory that are held.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.held.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of a digit and so many letters.
    fn len_of(frame: &[u8]) -> Result<Option<usize>, u8> {
        match frame.first() {
            None => Ok(None),
            Some(digit) if digit.is_ascii_digit() => Ok(Some(1 + usize::from(digit - b'0'))),
            Some(other) => Err(*other),
        }
    }

    fn all(pieces: &mut Pieces, input: &[u8]) -> Result<Vec<String>, u8> {
        let (mut at, mut found) = (0, Vec::new());
        while let Some(whole) = pieces.next(input, &mut at, 1, len_of)? {
            let frame = match whole {
                Whole::Input(range) => &input[range],
                Whole::Held => pieces.held(),
            };
            found.push(String::from_utf8(frame.to_vec()).unwrap());
        }
        assert_eq!(at, input.len(), "all of it is used");
        Ok(found)
    }

    #[test]
    fn frames_come_out_whole_however_they_come_in() {
        let bytes = b"3abc02de1f";
        for size in 1..=bytes.len() {
            let mut pieces = Pieces::default();
            let found: Vec<_> =
                bytes.chunks(size).flat_map(|piece| all(&mut pieces, piece).unwrap()).collect();
            assert_eq!(found, ["3abc", "0", "2de", "1f"], "in pieces of {size}");
            assert_eq!(all(&mut pieces, b""), Ok(vec![]));
            assert_eq!(pieces.capacity(), 0, "memory is held between frames");
        }
    }

    #[test]
    fn wrong_headers_and_memory() {
        assert_eq!(all(&mut Pieces::default(), b"1ax"), Err(b'x'));
        let long = |frame: &[u8]| Ok::<_, u8>((!frame.is_empty()).then_some(1 << 20));
        let (mut pieces, mut at) = (Pieces::default(), 0);
        assert!(pieces.next(b"abc", &mut at, 1, long).unwrap().is_none());
        assert!(at == 3 && pieces.capacity() <= STEP + 1, "memory for what has not come");
    }
}
