//! Header compression (RFC 7541).
//!
//! The decoder understands everything, with a dynamic table of up to [`TABLE_SIZE`]. The encoder
//! refers to the static table and otherwise writes literals: what we send is small, and a table of
//! our own would cost memory for every connection.

use std::collections::VecDeque;

use super::huffman;

/// The size of the dynamic table that a peer may use before it has read our settings (RFC 9113,
/// section 6.5.2), as RFC 7541, section 4.1 counts it.
pub(super) const TABLE_SIZE: usize = 4096;
/// What an entry counts for beside its text (RFC 7541, section 4.1).
const ENTRY_OVERHEAD: usize = 32;
/// Integers beyond this are refused; no index or length comes near.
const MAX_INTEGER: u32 = 1 << 24;

/// Header blocks to fields, for one connection.
#[derive(Debug)]
pub(super) struct Decoder {
    table: Table,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { table: Table { limit: TABLE_SIZE, ..Table::default() } }
    }

    /// Reads a whole block and passes each name and value on.
    ///
    /// An error is fatal to the connection, as the table is then unknown.
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        field: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), Damaged> {
        let mut block = Block(block);
        let (mut name, mut value) = (Vec::new(), Vec::new());
        let mut begun = false;
        while let Some(&first) = block.0.first() {
            name.clear();
            value.clear();
            let indexed = first & 0x80 != 0;
            if !indexed && first & 0xe0 == 0x20 {
                // Table sizes change between blocks only (section 4.2).
                let size = block.integer(5)? as usize;
                if begun || size > TABLE_SIZE {
                    return Err(Damaged);
                }
                self.table.resize(size);
                continue;
            }
            begun = true;
            let add = first & 0xc0 == 0x40;
            let index = block.integer(if indexed {
                7
            } else if add {
                6
            } else {
                4
            })? as usize;
            if index != 0 {
                let (known_name, known_value) = self.table.get(index).ok_or(Damaged)?;
                name.extend_from_slice(known_name);
                if indexed {
                    value.extend_from_slice(known_value);
                }
            } else if indexed {
                return Err(Damaged);
            } else {
                block.string(&mut name)?;
            }
            if !indexed {
                block.string(&mut value)?;
            }
            if add {
                self.table.add(&name, &value);
            }
            field(&name, &value);
        }
        Ok(())
    }
}

/// A header block breaks the rules of its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// Appends `name: value`; `name` is in lower case.
pub(super) fn encode(name: &str, value: &str, out: &mut Vec<u8>) {
    let mut named = 0;
    for (index, (known_name, known_value)) in (1..).zip(STATIC) {
        if *known_name == name {
            if *known_value == value {
                return integer(0x80, 7, index, out);
            }
            if named == 0 {
                named = index;
            }
        }
    }
    integer(0, 4, named, out);
    if named == 0 {
        string(name, out);
    }
    string(value, out);
}

fn string(text: &str, out: &mut Vec<u8>) {
    integer(0, 7, text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// An integer behind the bits of `first` (RFC 7541, section 5.1).
fn integer(first: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if value < most {
        return out.push(first | value as u8);
    }
    out.push(first | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// What is left of a header block.
struct Block<'a>(&'a [u8]);

impl Block<'_> {
    fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    /// An integer in the low `bits` of a byte and as many more as it takes.
    fn integer(&mut self, bits: u32) -> Result<u32, Damaged> {
        let most = (1 << bits) - 1;
        let mut value = u32::from(self.byte()?) & most;
        if value < most {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if value <= MAX_INTEGER { Ok(value) } else { Err(Damaged) };
            }
        }
        Err(Damaged)
    }

    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Damaged> {
        let coded = self.0.first().ok_or(Damaged)? & 0x80 != 0;
        let len = self.integer(7)? as usize;
        let (text, rest) = self.0.split_at_checked(len).ok_or(Damaged)?;
        self.0 = rest;
        if coded {
            huffman::decode(text, out).ok_or(Damaged)
        } else {
            out.extend_from_slice(text);
            Ok(())
        }
    }
}

/// The dynamic table. It owns no memory while it is empty.
#[derive(Debug, Default)]
struct Table {
    limit: usize,
    /// Names and values, the oldest first.
    text: Vec<u8>,
    /// Lengths of name and value, the oldest first.
    lens: VecDeque<(u16, u16)>,
}

impl Table {
    /// The entry of an index that counts from 1 through the static table and then this one.
    fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let index = index.checked_sub(1)?;
        if let Some((name, value)) = STATIC.get(index) {
            return Some((name.as_bytes(), value.as_bytes()));
        }
        let newer = index - STATIC.len();
        let (name, value) = *self.lens.iter().rev().nth(newer)?;
        let behind: usize = self.lens.iter().rev().take(newer).map(text_len).sum();
        let start = self.text.len().checked_sub(behind + text_len(&(name, value)))?;
        let (name, rest) = self.text.get(start..)?.split_at_checked(name.into())?;
        Some((name, rest.get(..value.into())?))
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        let len = name.len() + value.len();
        let Some(room) = self.limit.checked_sub(len + ENTRY_OVERHEAD) else {
            return self.shrink(0);
        };
        self.shrink(room);
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        // Both are shorter than the table.
        self.lens.push_back((name.len() as u16, value.len() as u16));
    }

    fn resize(&mut self, limit: usize) {
        self.limit = limit;
        self.shrink(limit);
    }

    /// Drops the oldest entries until at most `size` is used.
    fn shrink(&mut self, size: usize) {
        let mut dropped = 0;
        while self.text.len() - dropped + self.lens.len() * ENTRY_OVERHEAD > size
            && let Some(entry) = self.lens.pop_front()
        {
            dropped += text_len(&entry);
        }
        if self.lens.is_empty() {
            self.text = Vec::new();
            self.lens = VecDeque::new();
        } else {
            self.text.drain(..dropped);
        }
    }
}

fn text_len((name, value): &(u16, u16)) -> usize {
    usize::from(*name) + usize::from(*value)
}

/// RFC 7541, appendix A.
#[rustfmt::skip]
const STATIC: &[(&str, &str); 61] = &[
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
    ("via", ""), ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Damaged> {
        let mut fields = Vec::new();
        decoder.decode(block, &mut |name, value| {
            let text = [name, b": ", value].concat();
            fields.push(String::from_utf8(text).unwrap());
        })?;
        Ok(fields)
    }

    fn hex(text: &str) -> Vec<u8> {
        let digit = |c: u8| char::from(c).to_digit(16).unwrap() as u8;
        let digits: Vec<u8> = text.bytes().filter(|c| *c != b' ').map(digit).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// The newest first, as RFC 7541 prints tables.
    fn table(decoder: &Decoder) -> Vec<String> {
        let entry = |(n, v): (&[u8], &[u8])| String::from_utf8([n, b": ", v].concat()).unwrap();
        (62..).map_while(|i| decoder.table.get(i)).map(entry).collect()
    }

    #[test]
    fn appendix_c_2() {
        let one = |text: &str| {
            let mut decoder = Decoder::new();
            (decoded(&mut decoder, &hex(text)).unwrap().concat(), table(&decoder).concat())
        };
        let added = "custom-key: custom-header".to_string();
        assert_eq!(
            one("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"),
            (added.clone(), added)
        );
        assert_eq!(
            one("040c 2f73 616d 706c 652f 7061 7468"),
            (":path: /sample/path".to_string(), String::new())
        );
        assert_eq!(
            one("1008 7061 7373 776f 7264 0673 6563 7265 74"),
            ("password: secret".to_string(), String::new())
        );
        assert_eq!(one("82"), (":method: GET".to_string(), String::new()));
    }

    #[test]
    fn appendix_c_3_and_4() {
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let coded = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        for [first, second, third] in [plain, coded] {
            let mut decoder = Decoder::new();
            let mut next = |text: &str| decoded(&mut decoder, &hex(text)).unwrap();
            let begin = [":method: GET", ":scheme: http", ":path: /"];
            let authority = ":authority: www.example.com";
            assert_eq!(next(first), [&begin[..], &[authority]].concat());
            assert_eq!(
                next(second),
                [&begin[..], &[authority, "cache-control: no-cache"]].concat()
            );
            assert_eq!(
                next(third),
                [
                    ":method: GET",
                    ":scheme: https",
                    ":path: /index.html",
                    authority,
                    "custom-key: custom-value"
                ]
            );
            assert_eq!(
                table(&decoder),
                ["custom-key: custom-value", "cache-control: no-cache", authority]
            );
        }
    }

    /// Appendix C.6: a table of 256 bytes, so that entries are dropped.
    #[test]
    fn appendix_c_6() {
        let mut decoder = Decoder::new();
        decoder.table.resize(256);
        let first =
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
            2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
        let fields = decoded(&mut decoder, &hex(&first.replace('\n', ""))).unwrap();
        let date = |second| format!("date: Mon, 21 Oct 2013 20:13:{second} GMT");
        let location = "location: https://www.example.com";
        assert_eq!(fields, [":status: 302", "cache-control: private", &date(21), location]);
        decoded(&mut decoder, &hex("4883 640e ffc1 c0bf")).unwrap();
        assert_eq!(
            table(&decoder),
            [":status: 307", location, &date(21), "cache-control: private"]
        );
        let third =
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
            77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587
            3160 65c0 03ed 4ee5 b106 3d50 07";
        decoded(&mut decoder, &hex(&third.replace('\n', ""))).unwrap();
        let cookie = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
        assert_eq!(table(&decoder), [cookie, "content-encoding: gzip", &date(22)]);
    }

    #[test]
    fn integers() {
        let read = |bytes: &[u8], bits| Block(bytes).integer(bits);
        assert_eq!(read(&[0b1110_1010], 5), Ok(10));
        assert_eq!(read(&[0x1f, 0x9a, 0x0a], 5), Ok(1337));
        assert_eq!(read(&[0x1f], 5), Err(Damaged));
        assert_eq!(read(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0], 5), Err(Damaged));
        assert_eq!(read(&[0x7f, 0xff, 0xff, 0xff, 0x7f], 7), Err(Damaged));
        let mut out = Vec::new();
        integer(0xe0, 5, 1337, &mut out);
        assert_eq!(out, [0xff, 0x9a, 0x0a]);
        for value in [0, 14, 15, 16, 142, 143, 70_000] {
            out.clear();
            integer(0, 4, value, &mut out);
            assert_eq!(read(&out, 4), Ok(value as u32));
        }
    }

    #[test]
    fn encoding() {
        let encoded = |name: &str, value: &str| {
            let mut out = Vec::new();
            encode(name, value, &mut out);
            assert_eq!(decoded(&mut Decoder::new(), &out).unwrap(), [format!("{name}: {value}")]);
            out
        };
        assert_eq!(encoded(":status", "200"), [0x88]);
        assert_eq!(encoded(":status", "401"), b"\x08\x03401");
        assert_eq!(encoded("content-type", "a/b"), b"\x0f\x10\x03a/b");
        assert_eq!(encoded("x", &"y".repeat(200))[..5], *b"\x00\x01x\x7f\x49");
    }

    #[test]
    fn damaged_blocks() {
        let fails = |block: &[u8]| {
            assert_eq!(decoded(&mut Decoder::new(), block), Err(Damaged), "{block:x?}");
        };
        fails(&[0x80]);
        fails(&[0xbe]);
        fails(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x80]);
        fails(&[0x40]);
        fails(&[0x40, 0x02, b'x']);
        fails(&[0x40, 0x01, b'x']);
        fails(&[0x00, 0x01, b'x', 0x81, 0xff]);
        fails(&[0x7f, 0x00, 0x00]);
        // A size beyond what the settings allow, and one that comes late.
        fails(&[0x3f, 0xe2, 0x1f]);
        fails(&[0x82, 0x20]);
        let mut decoder = Decoder::new();
        assert_eq!(decoded(&mut decoder, &[0x3f, 0xe1, 0x1f, 0x20, 0x82]).unwrap().len(), 1);
        assert_eq!(decoder.table.limit, 0);
    }

    #[test]
    fn memory_of_the_table() {
        let mut decoder = Decoder::new();
        assert_eq!((decoder.table.text.capacity(), decoder.table.lens.capacity()), (0, 0));
        let mut block = Vec::new();
        for n in 0..400 {
            block.extend_from_slice(&[0x40, 3]);
            block.extend_from_slice(format!("{n:03}").as_bytes());
            block.extend_from_slice(&[1, b'v']);
        }
        decoded(&mut decoder, &block).unwrap();
        assert_eq!(decoder.table.lens.len(), TABLE_SIZE / (4 + ENTRY_OVERHEAD));
        assert_eq!(table(&decoder)[0], "399: v");
        assert!(decoder.table.text.capacity() <= 2 * TABLE_SIZE);
        // An entry that is larger than the table empties it (section 4.4).
        let mut block = vec![0x40, 1, b'x', 0x7f, 0xe1, 0x1e];
        block.extend_from_slice(&[b'y'; 4064]);
        assert_eq!(decoded(&mut decoder, &block).unwrap().len(), 1);
        assert!(table(&decoder).is_empty());
        decoded(&mut decoder, &[0x40, 1, b'x', 0]).unwrap();
        decoded(&mut decoder, &[0x20]).unwrap();
        assert_eq!((decoder.table.text.capacity(), decoder.table.lens.capacity()), (0, 0));
    }
}
