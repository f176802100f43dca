//! The record layer (Tailscale `control/controlbase/conn.go`): a type, a length and a sealed text
//! of up to [`MAX_PLAIN`] bytes. Nonces are four zeros and a big-endian counter from 0, for each
//! direction; there is no associated data.

use gramscale_aead::TAG_LEN;

use crate::wire::pieces::{Pieces, Whole};

use super::{HEADER_LEN, MAX_FRAME, MAX_PLAIN, NoiseError, TYPE_RECORD};

/// The sending direction of a session.
#[derive(PartialEq, Eq)]
pub struct Sealer(Direction);

impl Sealer {
    /// Seals with `key`, from the first nonce on.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Direction::new(key))
    }

    /// Appends `plain` to `out` as records, each as full as can be; nothing if it is empty.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        let records = plain.len().div_ceil(MAX_PLAIN);
        out.reserve(plain.len() + records * (HEADER_LEN + TAG_LEN));
        for text in plain.chunks(MAX_PLAIN) {
            let nonce = self.0.nonce()?;
            out.extend_from_slice(&super::header(TYPE_RECORD, text.len() + TAG_LEN));
            let at = out.len();
            out.extend_from_slice(text);
            let tag = gramscale_aead::seal(&self.0.key, &nonce, &[], out.split_at_mut(at).1);
            out.extend_from_slice(&tag);
        }
        Ok(())
    }
}

/// The receiving direction of a session.
///
/// It opens records where they lie, and owns memory only between the first and the last byte of a
/// record that arrives in pieces.
#[derive(PartialEq, Eq)]
pub struct Opener {
    direction: Direction,
    pieces: Pieces,
}

impl Opener {
    /// Opens with `key`, from the first nonce on.
    pub fn new(key: [u8; 32]) -> Self {
        Self { direction: Direction::new(key), pieces: Pieces::default() }
    }

    /// The text of the next record in `input` behind `at`, which moves on; `None` when all of
    /// `input` is used. A text may be empty. To be called until it returns `None`:
    ///
    /// ```
    /// # use gramscale_proto::wire::noise::{NoiseError, Opener};
    /// # fn example(opener: &mut Opener, received: &mut [u8]) -> Result<(), NoiseError> {
    /// let mut at = 0;
    /// while let Some(text) = opener.next(received, &mut at)? {
    ///     // ...
    /// #   let _ = text;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// After an error the session is useless.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        at: &mut usize,
    ) -> Result<Option<&'a [u8]>, NoiseError> {
        let record = match self.pieces.next(input, at, HEADER_LEN, frame_len)? {
            None => return Ok(None),
            Some(Whole::Input(range)) => input.get_mut(range).unwrap_or_default(),
            Some(Whole::Held) => self.pieces.held(),
        };
        self.direction.open(record).map(Some)
    }
}

/// The length of the record that begins here, with its header, once that is complete.
fn frame_len(frame: &[u8]) -> Result<Option<usize>, NoiseError> {
    let Some([kind, high, low]) = frame.first_chunk::<HEADER_LEN>() else { return Ok(None) };
    if *kind != TYPE_RECORD {
        return Err(NoiseError::Type(*kind));
    }
    let len = u16::from_be_bytes([*high, *low]);
    let whole = HEADER_LEN + usize::from(len);
    if !(HEADER_LEN + TAG_LEN..=MAX_FRAME).contains(&whole) {
        return Err(NoiseError::Length(len));
    }
    Ok(Some(whole))
}

/// A key and the counter of its nonces.
#[derive(PartialEq, Eq)]
struct Direction {
    key: [u8; 32],
    next: u64,
}

impl Direction {
    fn new(key: [u8; 32]) -> Self {
        Self { key, next: 0 }
    }

    fn nonce(&mut self) -> Result<[u8; 12], NoiseError> {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.next.to_be_bytes());
        // The last value is never used, so the counter cannot wrap.
        self.next = self.next.checked_add(1).ok_or(NoiseError::Exhausted)?;
        Ok(nonce)
    }

    /// Opens a whole record in place.
    fn open<'a>(&mut self, frame: &'a mut [u8]) -> Result<&'a [u8], NoiseError> {
        let nonce = self.nonce()?;
        let body = frame.get_mut(HEADER_LEN..).unwrap_or_default();
        let Some((text, tag)) = body.split_last_chunk_mut::<TAG_LEN>() else {
            return Err(NoiseError::Record);
        };
        gramscale_aead::open(&self.key, &nonce, &[], text, tag).map_err(|_| NoiseError::Record)?;
        Ok(text)
    }
}

// Keys do not belong in a log.
impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer(next {})", self.0.next)
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener(next {}, held {})", self.direction.next, self.pieces.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_all(opener: &mut Opener, input: &mut [u8]) -> Result<Vec<Vec<u8>>, NoiseError> {
        let (mut at, mut texts) = (0, Vec::new());
        while let Some(text) = opener.next(input, &mut at)? {
            texts.push(text.to_vec());
        }
        assert_eq!(at, input.len());
        Ok(texts)
    }

    fn pair() -> (Sealer, Opener) {
        (Sealer::new([7; 32]), Opener::new([7; 32]))
    }

    #[test]
    fn long_texts_are_split() {
        let (mut sealer, mut opener) = pair();
        let plain: Vec<u8> = (0..2 * MAX_PLAIN + 5).map(|i| i as u8).collect();
        let mut out = b"before".to_vec();
        sealer.seal(&plain, &mut out).unwrap();
        assert_eq!(out[..9], *b"before\x04\x0f\xfd");
        assert_eq!(out.len(), 6 + 2 * MAX_FRAME + HEADER_LEN + 5 + TAG_LEN);
        let texts = open_all(&mut opener, &mut out[6..]).unwrap();
        assert_eq!(texts.iter().map(Vec::len).collect::<Vec<_>>(), [4077, 4077, 5]);
        assert_eq!(texts.concat(), plain);
        sealer.seal(&[], &mut out).unwrap();
        assert_eq!(out.len(), 6 + 2 * MAX_FRAME + HEADER_LEN + 5 + TAG_LEN);
    }

    #[test]
    fn records_in_pieces_of_every_size() {
        let (mut sealer, _) = pair();
        let mut frames = Vec::new();
        for text in [&b"one"[..], b"", b"three", &[9; 300]] {
            // An empty record is legal, though we never make one.
            let nonce = sealer.0.nonce().unwrap();
            frames.extend_from_slice(&super::super::header(TYPE_RECORD, text.len() + TAG_LEN));
            let at = frames.len();
            frames.extend_from_slice(text);
            let tag = gramscale_aead::seal(&[7; 32], &nonce, &[], &mut frames[at..]);
            frames.extend_from_slice(&tag);
        }
        for size in 1..frames.len() {
            let (_, mut opener) = pair();
            let mut texts = Vec::new();
            for piece in frames.clone().chunks_mut(size) {
                texts.extend(open_all(&mut opener, piece).unwrap());
            }
            assert_eq!(texts, [&b"one"[..], b"", b"three", &[9; 300]], "{size}");
            assert_eq!(opener.pieces.capacity(), 0, "memory is held between records");
        }
    }

    #[test]
    fn memory_while_partial_is_one_frame() {
        let (mut sealer, mut opener) = pair();
        let mut frame = Vec::new();
        sealer.seal(&[1; MAX_PLAIN], &mut frame).unwrap();
        let last = frame.len() - 1;
        assert_eq!(open_all(&mut opener, &mut frame[..last]), Ok(vec![]));
        assert!(opener.pieces.capacity() <= MAX_FRAME, "{}", opener.pieces.capacity());
    }

    #[test]
    fn frames_that_are_no_records() {
        let next = |frame: &mut [u8]| open_all(&mut pair().1, frame).unwrap_err();
        assert_eq!(next(&mut [4, 0, 15]), NoiseError::Length(15));
        assert_eq!(next(&mut [4, 0x0f, 0xfe]), NoiseError::Length(4094));
        assert_eq!(next(&mut [4, 0xff, 0xff]), NoiseError::Length(65535));
        assert_eq!(next(&mut [3, 0, 20]), NoiseError::Type(3));
        assert_eq!(next(&mut [0; 40]), NoiseError::Type(0));
    }

    #[test]
    fn altered_repeated_and_missing_records() {
        let (mut sealer, _) = pair();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        sealer.seal(b"first", &mut first).unwrap();
        sealer.seal(b"second", &mut second).unwrap();
        for at in HEADER_LEN..first.len() {
            let mut bad = first.clone();
            bad[at] ^= 1;
            assert_eq!(open_all(&mut pair().1, &mut bad), Err(NoiseError::Record), "{at}");
        }
        assert_eq!(open_all(&mut pair().1, &mut second.clone()), Err(NoiseError::Record));
        let mut twice = [first.clone(), first.clone()].concat();
        assert_eq!(open_all(&mut pair().1, &mut twice), Err(NoiseError::Record));
        let mut both = [first, second].concat();
        assert!(open_all(&mut pair().1, &mut both).is_ok());
    }

    #[test]
    fn nonces_end() {
        let (mut sealer, mut opener) = pair();
        sealer.0.next = u64::MAX - 1;
        opener.direction.next = u64::MAX - 1;
        let mut out = Vec::new();
        sealer.seal(b"last", &mut out).unwrap();
        assert_eq!(open_all(&mut opener, &mut out.clone()).unwrap(), [b"last"]);
        assert_eq!(sealer.seal(b"none", &mut Vec::new()), Err(NoiseError::Exhausted));
        assert_eq!(open_all(&mut opener, &mut out), Err(NoiseError::Exhausted));
    }
}
