//! zstd frames (RFC 8878). A map message may be several of them: decoders take "zero or more".
//!
//! Small texts are *stored*: a compressed frame of 128 bytes is longer than a stored one, and
//! takes twenty times as long to make.

/// Texts shorter than this are stored.
pub const COMPRESS_FROM: usize = 512;

/// The most a block may hold (RFC 8878 section 3.1.1.2.4).
const BLOCK_MAX: usize = 128 * 1024;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Appends `text` as one frame, compressed where that is worthwhile.
pub fn frame(text: &[u8], out: &mut Vec<u8>) {
    #[cfg(feature = "zstd")]
    if text.len() >= COMPRESS_FROM {
        let from = out.len();
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        ruzstd::encoding::compress(text, &mut *out, level);
        if out.len() - from < text.len() {
            return;
        }
        out.truncate(from);
    }
    stored(text, out);
}

/// Appends `text` as one frame of stored blocks: 9 to 12 bytes longer, and 3 more for each
/// further 128 KiB.
pub fn stored(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    let len = text.len();
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
    let mut rest = text;
    loop {
        let (block, tail) = rest.split_at(rest.len().min(BLOCK_MAX));
        let header = ((block.len() as u32) << 3) | u32::from(tail.is_empty());
        out.extend_from_slice(&header.to_le_bytes()[..3]);
        out.extend_from_slice(block);
        if tail.is_empty() {
            return;
        }
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_bytes() {
        let mut out = Vec::new();
        stored(b"{\"KeepAlive\":true}", &mut out);
        let mut expect = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x12, 0x91, 0, 0];
        expect.extend_from_slice(b"{\"KeepAlive\":true}");
        assert_eq!(out, expect);
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn every_size_decodes() {
        use std::io::Read as _;
        for len in [0, 1, 255, 256, 511, 512, 700, 65_791, 65_792, 131_072, 131_073, 400_000] {
            let text: Vec<u8> =
                (0..len).map(|i: u64| b"abcdefgh"[(i * i / 7 % 8) as usize]).collect();
            let mut frames = Vec::new();
            frame(&text, &mut frames);
            let mut plain = Vec::new();
            stored(&text, &mut plain);
            assert!(frames.len() <= plain.len(), "{len}");
            for bytes in [frames, plain] {
                let mut decoded = Vec::new();
                ruzstd::decoding::StreamingDecoder::new(&bytes[..])
                    .unwrap()
                    .read_to_end(&mut decoded)
                    .unwrap();
                assert!(decoded == text, "{len}");
            }
        }
    }
}
