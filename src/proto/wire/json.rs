//! JSON: a writer that keeps no state, and readers for what is not read member by member.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Number, Value};

use super::hujson::{self, Kind};

/// Writes JSON to the end of a buffer.
///
/// Commas come by themselves: a value or key gets one unless it follows `{`, `[`, `:` or nothing.
pub struct Json<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Json<'a> {
    /// Writes behind what `out` holds now.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    /// `{` or `[`.
    pub fn open(&mut self, bracket: char) -> &mut Self {
        self.comma();
        self.out.push(bracket as u8);
        self
    }

    /// `}` or `]`.
    pub fn close(&mut self, bracket: char) -> &mut Self {
        self.out.push(bracket as u8);
        self
    }

    /// A member's name, which needs no escapes.
    pub fn key(&mut self, name: &str) -> &mut Self {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self
    }

    /// `:` behind a string that is a member's name.
    pub fn colon(&mut self) -> &mut Self {
        self.out.push(b':');
        self
    }

    /// A string, escaped as JSON wants it.
    pub fn string(&mut self, text: &str) -> &mut Self {
        self.comma();
        self.out.push(b'"');
        for &byte in text.as_bytes() {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                0..0x20 => {
                    const DIGITS: &[u8; 16] = b"0123456789abcdef";
                    let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                    self.out.extend_from_slice(b"\\u00");
                    self.out.extend_from_slice(&[DIGITS[high], DIGITS[low]]);
                }
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
        self
    }

    /// A string without any backslash: `"` becomes `'`, `\` becomes `/`, a control character a
    /// space. The Rust client borrows its strings from the message and fails on an escape.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.comma();
        self.out.push(b'"');
        self.out.extend(text.bytes().map(|byte| match byte {
            b'"' => b'\'',
            b'\\' => b'/',
            0..0x20 => b' ',
            _ => byte,
        }));
        self.out.push(b'"');
        self
    }

    /// A string that is a value's text form and needs no escapes: a key, an address, a time.
    pub fn display(&mut self, value: &dyn std::fmt::Display) -> &mut Self {
        use std::io::Write as _;
        self.comma();
        self.out.push(b'"');
        // Writing to a Vec does not fail.
        let _ = write!(self.out, "{value}");
        self.out.push(b'"');
        self
    }

    /// An integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        use std::io::Write as _;
        self.comma();
        let _ = write!(self.out, "{value}");
        self
    }

    /// `true` or `false`.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(if value { b"true" } else { b"false" })
    }

    /// `null`.
    pub fn null(&mut self) -> &mut Self {
        self.raw(b"null")
    }

    /// A value that is JSON already.
    pub fn raw(&mut self, json: &[u8]) -> &mut Self {
        self.comma();
        self.out.extend_from_slice(json);
        self
    }

    fn comma(&mut self) {
        let written = self.out.get(self.start..).unwrap_or_default();
        if !matches!(written.last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }
}

/// Reads one JSON value (RFC 8259) and nothing behind it.
///
/// Duplicate names in an object are refused, and nesting beyond [`hujson::MAX_DEPTH`]. `serde_json`
/// would compile a parser of its own for this: 20 KB.
pub fn read(text: &[u8]) -> Result<Value, NotJson> {
    let text = str::from_utf8(text).map_err(|error| {
        let valid = text.get(..error.valid_up_to()).unwrap_or_default();
        NotJson::at(&String::from_utf8_lossy(valid), valid.len(), "this is not UTF-8".into())
    })?;
    let value =
        hujson::parse(text).map_err(|error| NotJson::at(text, error.offset, error.message))?;
    Ok(owned(value))
}

fn owned(value: hujson::Value<'_>) -> Value {
    match value.kind {
        Kind::Null => Value::Null,
        Kind::Bool(value) => Value::Bool(value),
        Kind::Number(digits) => digits.parse::<Number>().map_or(Value::Null, Value::Number),
        Kind::String(text) => Value::String(text.into_owned()),
        Kind::Array(items) => Value::Array(items.into_iter().map(owned).collect()),
        Kind::Object(members) => {
            let member = |one: hujson::Member<'_>| (one.name.into_owned(), owned(one.value));
            Value::Object(members.into_iter().map(member).collect())
        }
    }
}

/// Why a text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotJson {
    /// The line, from 1.
    pub line: u32,
    /// The character of that line, from 1.
    pub column: u32,
    /// What is expected there.
    pub message: Cow<'static, str>,
}

impl NotJson {
    fn at(text: &str, offset: usize, message: Cow<'static, str>) -> Self {
        let (line, column) = hujson::position(text, offset);
        Self { line, column, message }
    }
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for NotJson {}

/// Makes the names of all members lower case, in place.
///
/// Go matches names whatever their case, so its clients and the Rust one spell them differently
/// (`Hostinfo`, `HostInfo`). Names with an escape are left alone, and so is all that is not JSON.
pub fn fold_names(json: &mut [u8]) {
    let mut at = 0;
    while let Some(from) = find(json, at, b'"') {
        let mut end = from + 1;
        let mut escaped = false;
        loop {
            match json.get(end) {
                None => return,
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += 2;
                }
                Some(_) => end += 1,
            }
        }
        let next = json.get(end + 1..).unwrap_or_default().iter();
        let is_name = next.copied().find(|b| !b.is_ascii_whitespace()) == Some(b':');
        if is_name
            && !escaped
            && let Some(name) = json.get_mut(from + 1..end)
        {
            name.make_ascii_lowercase();
        }
        at = end + 1;
    }
}

fn find(bytes: &[u8], from: usize, what: u8) -> Option<usize> {
    bytes.get(from..)?.iter().position(|b| *b == what).map(|i| from + i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes() {
        let mut out = b"kept".to_vec();
        let mut json = Json::new(&mut out);
        json.open('{').key("a").int(-1).key("b").open('[').bool(true).null().open('{').close('}');
        json.close(']').key("c").string("q\"\\\n\u{1}é").key("d").text("q\"\\\n\u{1}é");
        json.key("e").display(&7).key("f").raw(b"[]").close('}');
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "kept{\"a\":-1,\"b\":[true,null,{}],\"c\":\"q\\\"\\\\\\n\\u0001é\",\
             \"d\":\"q'/  é\",\"e\":\"7\",\"f\":[]}"
        );
    }

    #[test]
    fn reads_what_serde_reads() {
        let text = br#" {"b":[null,true,-0.50e+7,18446744073709551615,"\u00e9\n"],"a":{"":{}}} "#;
        assert_eq!(read(text).unwrap(), serde_json::from_slice::<Value>(text).unwrap());
        // Numbers keep every digit.
        assert_eq!(
            read(b"0.1000000000000000000001").unwrap().to_string(),
            "0.1000000000000000000001"
        );
    }

    #[test]
    fn says_where_it_is_no_json() {
        let says = |text: &[u8]| read(text).unwrap_err().to_string();
        assert_eq!(says(b""), "line 1, column 1: the text ends too early");
        assert_eq!(
            says(b"{\n \"a\": 1,}"),
            "line 2, column 9: a name in double quotes is expected"
        );
        assert_eq!(says("[\"é\",\"".as_bytes()).split(':').next(), Some("line 1, column 6"));
        assert_eq!(says(b"[1,\n\xff]"), "line 2, column 1: this is not UTF-8");
        assert_eq!(says(b"{} {}"), "line 1, column 4: nothing may follow the value");
        assert_eq!(says(br#"{"a":1,"a":2}"#), "line 1, column 8: duplicate name \"a\"");
        let deep = "[".repeat(hujson::MAX_DEPTH + 2);
        assert!(says(deep.as_bytes()).ends_with("nested too deeply"));
    }

    #[test]
    fn folds_names_only() {
        let mut json = br#"{"AbC" : "DeF", "X\"Y": {"NetInfo":["A","B"]}, "k":"a\":"}"#.to_vec();
        fold_names(&mut json);
        let expect = br#"{"abc" : "DeF", "X\"Y": {"netinfo":["A","B"]}, "k":"a\":"}"#;
        assert_eq!(json, expect);
        for broken in [&b"\"abc"[..], b"\"a\\", b"", b"\""] {
            fold_names(&mut broken.to_vec());
        }
    }
}
