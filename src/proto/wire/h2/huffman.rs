//! The Huffman code of header strings (RFC 7541, appendix B).
//!
//! The code is canonical: within a length the codes count upwards in the order of the symbols, and
//! each length goes on where the one before it ended. So the symbols in order and how many there
//! are of each length say everything, in 287 bytes.

/// Appends what `coded` stands for to `out`; `None` if it is no code.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut code = Code::default();
    for byte in coded {
        for bit in (0..8).rev() {
            if let Some(symbol) = code.push(byte >> bit & 1)? {
                out.push(symbol);
            }
        }
    }
    // The end is padded with up to seven ones, the beginning of the code for "end of string".
    (code.len < 8 && code.bits + 1 == 1 << code.len).then_some(())
}

/// The bits of the symbol that is being read.
#[derive(Default)]
struct Code {
    bits: u32,
    len: usize,
    /// The first code of this length.
    first: u32,
    /// Symbols of lesser length.
    shorter: usize,
}

impl Code {
    /// Takes one more bit; the symbol if that completes it, `None` if no code begins so.
    fn push(&mut self, bit: u8) -> Option<Option<u8>> {
        self.bits = self.bits << 1 | u32::from(bit);
        self.len += 1;
        let count = *COUNTS.get(self.len)?;
        let nth = self.bits - self.first;
        if nth < u32::from(count) {
            let symbol = SYMBOLS.get(self.shorter + nth as usize).copied();
            *self = Self::default();
            return symbol.map(Some);
        }
        self.first = (self.first + u32::from(count)) << 1;
        self.shorter += usize::from(count);
        Some(None)
    }
}

/// How many symbols have codes of 0, 1, 2, ... bits. The 257th, "end of string", is left out: it
/// must not occur.
const COUNTS: [u8; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 3,
];

/// All bytes in the order of their codes.
#[rustfmt::skip]
const SYMBOLS: &[u8; 256] = b"\
    012aceiost %-./3456789=A_bdfghlmnpru:BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz&*,;XZ!\"()?'+|#\
    >\x00$@[]~^}<`{\\\xc3\xd0\x80\x82\x83\xa2\xb8\xc2\xe0\xe2\x99\xa1\xa7\xac\xb0\xb1\
    \xb3\xd1\xd8\xd9\xe3\xe5\xe6\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\
    \xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\
    \x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef\x09\
    \x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed\xc7\xcf\xea\xeb\xc0\xc1\xc8\xc9\xca\xcd\
    \xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\
    \xf7\xf8\xfa\xfb\xfc\xfd\xfe\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\
    \x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9\x0a\x0d\x16";

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The counterpart, for tests of the decoders.
    pub(in super::super) fn encode(text: &[u8]) -> Vec<u8> {
        let (mut out, mut pending, mut bits) = (Vec::new(), 0_u64, 0);
        for &byte in text {
            let (code, len) = code_of(byte);
            pending = pending << len | u64::from(code);
            bits += len;
            while bits >= 8 {
                bits -= 8;
                out.push((pending >> bits) as u8);
            }
        }
        if bits > 0 {
            out.push((pending << (8 - bits) | (0xff >> bits)) as u8);
        }
        out
    }

    fn code_of(byte: u8) -> (u32, u32) {
        let mut nth = SYMBOLS.iter().position(|s| *s == byte).unwrap() as u32;
        let mut first = 0;
        for (len, count) in (0..).zip(COUNTS) {
            if nth < u32::from(count) {
                return (first + nth, len);
            }
            nth -= u32::from(count);
            first = (first + u32::from(count)) << 1;
        }
        unreachable!()
    }

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    #[test]
    fn appendix_b() {
        assert_eq!(code_of(b'0'), (0x0, 5));
        assert_eq!(code_of(b' '), (0x14, 6));
        assert_eq!(code_of(b':'), (0x5c, 7));
        assert_eq!(code_of(b'Z'), (0xfd, 8));
        assert_eq!(code_of(b'?'), (0x3fc, 10));
        assert_eq!(code_of(0), (0x1ff8, 13));
        assert_eq!(code_of(b'\\'), (0x7fff0, 19));
        assert_eq!(code_of(1), (0x7fffd8, 23));
        assert_eq!(code_of(249), (0xffffffe, 28));
        assert_eq!(code_of(22), (0x3ffffffe, 30));
    }

    #[test]
    fn appendix_c() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&coded).unwrap(), b"www.example.com");
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), b"no-cache");
    }

    #[test]
    fn every_byte() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encode(&all)).unwrap(), all);
        for byte in all {
            assert_eq!(decoded(&encode(&[byte])).unwrap(), [byte]);
            assert_eq!(decoded(&encode(&[byte, b'a'])).unwrap(), [byte, b'a']);
        }
        assert_eq!(decoded(b"").unwrap(), b"");
    }

    #[test]
    fn bad_padding_and_the_end_symbol() {
        // "0" and three zeros.
        assert_eq!(decoded(&[0x00]), None);
        assert_eq!(decoded(&[0x07]).unwrap(), b"0");
        // Eight ones and more are no padding; thirty are the end of the string.
        assert_eq!(decoded(&[0xff]), None);
        assert_eq!(decoded(&[0x07, 0xff]), None);
        assert_eq!(decoded(&[0xff; 3]), None);
        assert_eq!(decoded(&[0xff; 4]), None);
        assert_eq!(decoded(&[0xff; 40]), None);
    }
}
