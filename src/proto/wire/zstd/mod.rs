//! zstd frames (RFC 8878). A map message may be several of them: decoders take "zero or more".
//!
//! Small texts are *stored*: a compressed frame of 128 bytes is longer than a stored one, and
//! takes twenty times as long to make.

mod bits;
mod block;
mod fse;
mod huffman;
mod matches;

use matches::Finder;

/// Texts shorter than this are stored.
pub const COMPRESS_FROM: usize = 192;

/// The most a stored block may hold (RFC 8878 section 3.1.1.2.4).
const BLOCK_MAX: usize = 128 * 1024;

/// Bytes of text in a compressed block: their lengths fit 16 bits.
const BLOCK: usize = 0xffff;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Appends `text` as one frame, compressed where that is worthwhile.
pub fn frame(text: &[u8], out: &mut Vec<u8>) {
    if text.len() < COMPRESS_FROM {
        return stored(text, out);
    }
    header(text.len(), out);
    let mut finder = Finder::new(text);
    let (mut literals, mut sequences) = (Vec::new(), Vec::new());
    for start in (0..text.len()).step_by(BLOCK) {
        let end = text.len().min(start + BLOCK);
        let last = end == text.len();
        let distances = finder.last;
        finder.split(start, end, &mut literals, &mut sequences);
        let from = out.len();
        out.extend_from_slice(&[0; 3]);
        block::write(&literals, &sequences, out);
        let len = out.len() - from - 3;
        if len < end - start {
            out[from..from + 3].copy_from_slice(&block_header(len, COMPRESSED, last));
        } else {
            // A decoder does not learn distances from it.
            finder.last = distances;
            out.truncate(from);
            out.extend_from_slice(&block_header(end - start, STORED, last));
            out.extend_from_slice(&text[start..end]);
        }
        literals.clear();
        sequences.clear();
    }
}

/// Appends `text` as one frame of stored blocks: 9 to 12 bytes longer, and 3 more for each
/// further 128 KiB.
pub fn stored(text: &[u8], out: &mut Vec<u8>) {
    header(text.len(), out);
    let mut rest = text;
    loop {
        let (block, tail) = rest.split_at(rest.len().min(BLOCK_MAX));
        out.extend_from_slice(&block_header(block.len(), STORED, tail.is_empty()));
        out.extend_from_slice(block);
        if tail.is_empty() {
            return;
        }
        rest = tail;
    }
}

/// The header of a frame in one segment: the window is the text.
fn header(len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    match len {
        0..256 => out.extend_from_slice(&[0x20, len as u8]),
        256..65_792 => {
            out.push(0x60);
            out.extend_from_slice(&((len - 256) as u16).to_le_bytes());
        }
        _ => {
            out.push(0xa0);
            out.extend_from_slice(&(len as u32).to_le_bytes());
        }
    }
}

const STORED: u32 = 0;
const COMPRESSED: u32 = 2;

fn block_header(len: usize, kind: u32, last: bool) -> [u8; 3] {
    let [a, b, c, _] = (((len as u32) << 3) | (kind << 1) | u32::from(last)).to_le_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn decoded(frame: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        ruzstd::decoding::StreamingDecoder::new(frame).unwrap().read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn stored_bytes() {
        let mut out = Vec::new();
        stored(b"{\"KeepAlive\":true}", &mut out);
        let mut expect = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x12, 0x91, 0, 0];
        expect.extend_from_slice(b"{\"KeepAlive\":true}");
        assert_eq!(out, expect);
    }

    #[test]
    fn compressed_bytes() {
        let mut out = Vec::new();
        frame(&b"0123456789".repeat(20), &mut out);
        #[rustfmt::skip]
        let expect = [
            0x28, 0xb5, 0x2f, 0xfd, 0x20, 200, // a frame of 200 bytes
            0x9d, 0, 0,                         // the last block, compressed to 19 bytes
            0xac, 0, 0, b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'8', b'9',
            1, 0, 0xbb, 0x52, 0x05, 0x09,       // one sequence with tables known to all
        ];
        assert_eq!(out, expect);
    }

    #[test]
    fn every_size_decodes() {
        for len in [
            0, 1, 191, 192, 255, 256, 511, 700, 65_534, 65_535, 65_536, 65_791, 65_792, 131_072,
            131_073, 400_000,
        ] {
            let text: Vec<u8> =
                (0..len).map(|i: u64| b"abcdefgh"[(i * i / 7 % 8) as usize]).collect();
            let mut frames = Vec::new();
            frame(&text, &mut frames);
            let mut plain = Vec::new();
            stored(&text, &mut plain);
            assert!(frames.len() <= plain.len(), "{len}");
            assert!(decoded(&frames) == text && decoded(&plain) == text, "{len}");
        }
    }

    /// Texts of all kinds: alphabets of 1 to 256 letters, with repetitions near and far.
    #[test]
    fn every_kind_decodes() {
        let mut seed = 1_u32;
        let mut random = move |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % below
        };
        for round in 0..400 {
            let letters = 1 + random([2, 4, 16, 64, 129, 256][round % 6]);
            let len = random([300, 3000, 30_000, 150_000][round / 3 % 4]) as usize;
            let mut text: Vec<u8> = Vec::new();
            while text.len() < len {
                if text.len() > 4 && random(3) > 0 {
                    let from = random(text.len() as u32 - 1) as usize;
                    let piece =
                        text.len().min(from + 3 + random([8, 90, 20_000][round % 3]) as usize);
                    text.extend_from_within(from..piece);
                } else {
                    // Some letters are much rarer than others.
                    for _ in 0..random(40) {
                        let most = 1 + random(letters);
                        text.push(random(most) as u8);
                    }
                }
            }
            let mut out = Vec::new();
            frame(&text, &mut out);
            assert!(decoded(&out) == text, "round {round}");
        }
    }
}
