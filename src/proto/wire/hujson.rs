//! HuJSON: JSON with comments and trailing commas, as people write policies.
//!
//! [`standardise`] turns it into JSON without moving a byte, so that an offset into the result is
//! an offset into what the author wrote. [`parse`] reads JSON into a small tree whose values know
//! where they stand, for errors that name a line; [`Parser`] reads it without a tree.

use std::borrow::Cow;
use std::fmt;

use super::json::Json;

/// How deep arrays and objects may be nested: far more than a policy needs, little enough for the
/// stack of a router.
pub const MAX_DEPTH: usize = 64;

/// Blanks comments and trailing commas; every other byte keeps its value and place.
///
/// Comments are `// …` to the end of the line and `/* … */`. A byte order mark, which some editors
/// put in front, is blanked, too. What is left may still not be JSON:
/// [`parse`] tells.
pub fn standardise(text: &mut [u8]) -> Result<(), SyntaxError> {
    if let Some(mark @ [0xef, 0xbb, 0xbf]) = text.get_mut(..3) {
        mark.fill(b' ');
    }
    let mut at = 0;
    // The last comma that only white space and comments follow, if a value stands before it.
    let mut comma = None;
    let mut before = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            b'/' => {
                let end = comment_end(text, at)?;
                for byte in text.get_mut(at..end).unwrap_or_default() {
                    if !matches!(*byte, b'\n' | b'\r') {
                        *byte = b' ';
                    }
                }
                at = end;
            }
            b'"' => {
                at = string_end(text, at)?;
                (comma, before) = (None, byte);
            }
            b',' => {
                comma = (!matches!(before, 0 | b',' | b'[' | b'{' | b':')).then_some(at);
                before = byte;
                at += 1;
            }
            _ => {
                if let (b']' | b'}', Some(blank)) = (byte, comma)
                    && let Some(comma) = text.get_mut(blank)
                {
                    *comma = b' ';
                }
                (comma, before) = (None, byte);
                at += 1;
            }
        }
    }
    Ok(())
}

/// Reads one JSON value (RFC 8259) and nothing behind it.
///
/// Duplicate names in an object are refused, and nesting beyond [`MAX_DEPTH`].
pub fn parse(text: &str) -> Result<Value<'_>, SyntaxError> {
    let mut parser = Parser::new(text);
    let value = parser.value()?;
    parser.finish()?;
    Ok(value)
}

/// Where an offset lies: line and column, both from 1; columns count characters.
pub fn position(text: &str, offset: usize) -> (u32, u32) {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let line = before.iter().filter(|b| **b == b'\n').count();
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let column = before.iter().skip(start).filter(|b| **b & 0xc0 != 0x80).count();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
    (count(line), count(column))
}

/// The lines of a text, for the positions of many offsets.
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Finds the lines of `text`.
    pub fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// What [`position`] gives.
    pub fn position(&self, offset: usize) -> (u32, u32) {
        let line = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(0);
        let within = self.text.as_bytes().get(start..offset.min(self.text.len()));
        let column = within.unwrap_or_default().iter().filter(|b| **b & 0xc0 != 0x80).count();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
        (count(line), count(column))
    }
}

/// A JSON value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// The offset of its first byte.
    pub start: usize,
    /// The offset behind its last byte.
    pub end: usize,
    /// What it is.
    pub kind: Kind<'a>,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it is written.
    Number(&'a str),
    /// A string, escapes resolved.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object, in the order of the text.
    Object(Vec<Member<'a>>),
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The offset of the name's opening quote.
    pub start: usize,
    /// The name, escapes resolved.
    pub name: Cow<'a, str>,
    /// The value.
    pub value: Value<'a>,
}

impl Value<'_> {
    /// Writes it as JSON without white space. Strings have the escapes that they need.
    pub fn render(&self, json: &mut Json<'_>) {
        match &self.kind {
            Kind::Null => json.null(),
            Kind::Bool(value) => json.bool(*value),
            Kind::Number(number) => json.raw(number.as_bytes()),
            Kind::String(text) => json.string(text),
            Kind::Array(items) => {
                json.open('[');
                items.iter().for_each(|item| item.render(json));
                json.close(']')
            }
            Kind::Object(members) => {
                json.open('{');
                for member in members {
                    json.string(&member.name).colon();
                    member.value.render(json);
                }
                json.close('}')
            }
        };
    }

    /// What it is, in words, for errors.
    pub fn noun(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::String(_) => "a string",
            Kind::Array(_) => "an array",
            Kind::Object(_) => "an object",
        }
    }
}

/// Why a text is not HuJSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The offset of the byte that is wrong.
    pub offset: usize,
    /// What is expected.
    pub message: Cow<'static, str>,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SyntaxError {}

fn error(offset: usize, message: &'static str) -> SyntaxError {
    SyntaxError { offset, message: Cow::Borrowed(message) }
}

/// The offset behind the comment that starts at `at`.
fn comment_end(text: &[u8], at: usize) -> Result<usize, SyntaxError> {
    let rest = text.get(at + 1..).unwrap_or_default();
    match rest.first() {
        Some(b'/') => Ok(rest.iter().position(|b| *b == b'\n').map_or(text.len(), |i| at + 1 + i)),
        Some(b'*') => rest
            .get(1..)
            .unwrap_or_default()
            .windows(2)
            .position(|pair| pair == b"*/")
            .map(|i| at + 2 + i + 2)
            .ok_or_else(|| error(at, "the comment is not closed with */")),
        _ => Err(error(at, "a comment starts with // or /*")),
    }
}

/// The offset behind the string that starts at `at`.
fn string_end(text: &[u8], at: usize) -> Result<usize, SyntaxError> {
    let mut end = at + 1;
    loop {
        match text.get(end) {
            None | Some(b'\n') => return Err(error(at, "the string is not closed with \"")),
            Some(b'"') => return Ok(end + 1),
            Some(b'\\') => end += 2,
            Some(_) => end += 1,
        }
    }
}

/// What reads the value of a member, given where its name starts and the name.
type Members<'a, 'm> =
    dyn FnMut(&mut Parser<'a>, usize, Cow<'a, str>) -> Result<(), SyntaxError> + 'm;

/// Reads JSON value by value, in the order of the text, and keeps nothing of what is skipped.
pub struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Begins before the value in `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Whether all is read.
    pub fn finish(&mut self) -> Result<(), SyntaxError> {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("nothing may follow the value")),
        }
    }

    /// Reads an object; `member` has to read the value of each name.
    pub fn object(
        &mut self,
        member: &mut dyn FnMut(&mut Self, &str) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        self.space();
        match self.peek() {
            Some(b'{') => self.members(&mut |parser, _, name| member(parser, &name)),
            _ => Err(self.error("an object is expected")),
        }
    }

    /// Reads an array, or `null` as an empty one; `item` has to read each value.
    pub fn array(
        &mut self,
        item: &mut dyn FnMut(&mut Self) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        if self.null() {
            return Ok(());
        }
        match self.peek() {
            Some(b'[') => self.items(item),
            _ => Err(self.error("an array is expected")),
        }
    }

    /// Reads a string, or `null` as `None`.
    pub fn text(&mut self) -> Result<Option<Cow<'a, str>>, SyntaxError> {
        if self.null() {
            return Ok(None);
        }
        match self.peek() {
            Some(b'"') => self.string().map(Some),
            _ => Err(self.error("a string is expected")),
        }
    }

    /// Reads a number without a fraction, or `null` as `None`.
    pub fn integer(&mut self) -> Result<Option<i64>, SyntaxError> {
        if self.null() {
            return Ok(None);
        }
        let start = self.at;
        match self.number().map(str::parse) {
            Ok(Ok(number)) => Ok(Some(number)),
            _ => Err(error(start, "a number without a fraction is expected")),
        }
    }

    /// Reads `true` or `false`, or `null` as `None`.
    pub fn bool(&mut self) -> Result<Option<bool>, SyntaxError> {
        self.space();
        match self.word()? {
            Kind::Bool(value) => Ok(Some(value)),
            _ => Ok(None),
        }
    }

    /// Reads `null` if that is next.
    pub fn null(&mut self) -> bool {
        self.space();
        let there = self.text.get(self.at..).is_some_and(|rest| rest.starts_with("null"));
        self.at += if there { 4 } else { 0 };
        there
    }

    /// Reads any value.
    pub fn skip(&mut self) -> Result<(), SyntaxError> {
        self.space();
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'[') => self.items(&mut Self::skip),
            Some(b'{') => self.members(&mut |parser, _, _| parser.skip()),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ => self.word().map(drop),
        }
    }

    fn value(&mut self) -> Result<Value<'a>, SyntaxError> {
        self.space();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => Kind::String(self.string()?),
            Some(b'[') => {
                let mut items = Vec::new();
                self.items(&mut |parser| {
                    items.push(parser.value()?);
                    Ok(())
                })?;
                items.shrink_to_fit();
                Kind::Array(items)
            }
            Some(b'{') => {
                let mut members = Vec::new();
                self.members(&mut |parser, start, name| {
                    members.push(Member { start, name, value: parser.value()? });
                    Ok(())
                })?;
                members.shrink_to_fit();
                distinct(&members)?;
                Kind::Object(members)
            }
            Some(b'-' | b'0'..=b'9') => Kind::Number(self.number()?),
            _ => self.word()?,
        };
        Ok(Value { start, end: self.at, kind })
    }

    /// Steps over a bracket; `true` if the one that closes it is next.
    fn open(&mut self, close: u8) -> Result<bool, SyntaxError> {
        self.at += 1;
        self.space();
        if self.eat(close) {
            return Ok(true);
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("arrays and objects are nested too deeply"));
        }
        Ok(false)
    }

    /// Reads an array whose bracket is next.
    fn items(
        &mut self,
        item: &mut dyn FnMut(&mut Self) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        if self.open(b']')? {
            return Ok(());
        }
        loop {
            item(self)?;
            self.space();
            if self.eat(b']') {
                self.depth -= 1;
                return Ok(());
            }
            if !self.eat(b',') {
                return Err(self.error("a comma or ] is expected"));
            }
        }
    }

    /// Reads an object whose brace is next; `member` is given where each name starts.
    fn members(&mut self, member: &mut Members<'a, '_>) -> Result<(), SyntaxError> {
        if self.open(b'}')? {
            return Ok(());
        }
        loop {
            self.space();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.error("a name in double quotes is expected"));
            }
            let name = self.string()?;
            self.space();
            if !self.eat(b':') {
                return Err(self.error("a colon is expected after the name"));
            }
            member(self, start, name)?;
            self.space();
            if self.eat(b'}') {
                self.depth -= 1;
                return Ok(());
            }
            if !self.eat(b',') {
                return Err(self.error("a comma or } is expected"));
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        let start = self.at;
        let end = string_end(self.text.as_bytes(), start)?;
        let inner = self.text.get(start + 1..end - 1).unwrap_or_default();
        self.at = end;
        if let Some(control) = inner.bytes().position(|b| b < 0x20) {
            return Err(error(start + 1 + control, "a control character needs an escape"));
        }
        if inner.contains('\\') { unescape(inner, start + 1) } else { Ok(Cow::Borrowed(inner)) }
    }

    fn number(&mut self) -> Result<&'a str, SyntaxError> {
        let start = self.at;
        self.eat(b'-');
        let whole = self.digits();
        let zero = self.text.as_bytes().get(self.at - whole) == Some(&b'0');
        let mut good = whole > 0 && !(zero && whole > 1);
        if self.eat(b'.') {
            good &= self.digits() > 0;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            good &= self.digits() > 0;
        }
        match self.text.get(start..self.at) {
            Some(number) if good => Ok(number),
            _ => Err(error(start, "this is not a number")),
        }
    }

    fn digits(&mut self) -> usize {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn word(&mut self) -> Result<Kind<'a>, SyntaxError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let words = [
            (&b"null"[..], Kind::Null),
            (&b"true"[..], Kind::Bool(true)),
            (&b"false"[..], Kind::Bool(false)),
        ];
        for (word, kind) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(kind);
            }
        }
        Err(self.error("a value is expected"))
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.peek() == Some(byte);
        self.at += usize::from(eaten);
        eaten
    }

    /// What is wrong here.
    pub fn error(&self, message: &'static str) -> SyntaxError {
        if self.at >= self.text.len() {
            return error(self.at, "the text ends too early");
        }
        error(self.at, message)
    }
}

/// Refuses two members of one name.
fn distinct(members: &[Member<'_>]) -> Result<(), SyntaxError> {
    let mut order: Vec<&Member<'_>> = members.iter().collect();
    order.sort_by(|a, b| a.name.cmp(&b.name).then(a.start.cmp(&b.start)));
    let pairs = order.iter().zip(order.iter().skip(1));
    match pairs.filter(|(a, b)| a.name == b.name).map(|(_, b)| b).min_by_key(|b| b.start) {
        None => Ok(()),
        Some(second) => Err(SyntaxError {
            offset: second.start,
            message: format!("duplicate name \"{}\"", second.name).into(),
        }),
    }
}

/// Resolves the escapes of a string's inside, which stands at `start`.
fn unescape(inner: &str, start: usize) -> Result<Cow<'_, str>, SyntaxError> {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(slash) = rest.find('\\') {
        let (plain, tail) = rest.split_at(slash);
        out.push_str(plain);
        let at = start + inner.len() - tail.len();
        let escape = tail.as_bytes().get(1).copied();
        let mut used = 2;
        out.push(match escape {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let (c, length) = unicode(tail).ok_or_else(|| {
                    error(at, "\\u needs four hexadecimal digits (and a pair for surrogates)")
                })?;
                used = length;
                c
            }
            _ => return Err(error(at, "this escape is not known")),
        });
        rest = tail.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// The character of the `\u` escapes at the start of `tail`, and how many bytes they take.
fn unicode(tail: &str) -> Option<(char, usize)> {
    let unit = |at: usize| -> Option<u32> {
        let digits = tail.get(at..at + 4)?;
        let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
        plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    };
    let first = unit(2)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, 6));
    }
    let second = tail.get(6..8).filter(|next| *next == "\\u").and_then(|_| unit(8))?;
    let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    Some((char::from_u32(0x10000 + ((first - 0xd800) << 10) + low)?, 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standard(text: &str) -> Result<String, SyntaxError> {
        let mut bytes = text.as_bytes().to_vec();
        standardise(&mut bytes)?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn blanks_in_place() {
        for (text, expect) in [
            ("{\"a\":1,}", "{\"a\":1 }"),
            ("[1,2, // two\n]", "[1,2        \n]"),
            ("[1 /* é\n */, /**/ ]", "[1      \n          ]"),
            ("{\"a//b\":\"/*\\\"\",}", "{\"a//b\":\"/*\\\"\" }"),
            ("// all", "      "),
            ("\u{feff}[]", "   []"),
            ("[[1,],]", "[[1 ] ]"),
            // No value stands before these commas: they stay, and the parser refuses them.
            ("[,]", "[,]"),
            ("{,}", "{,}"),
            ("[1,,]", "[1,,]"),
        ] {
            let result = standard(text).unwrap();
            assert_eq!(result, expect);
            assert_eq!(result.len(), text.len());
        }
        for (text, offset) in [("[1] /", 4), ("/* x", 0), ("/x", 0), ("[\"a", 1), ("\"\\", 0)] {
            assert_eq!(standard(text).unwrap_err().offset, offset, "{text}");
        }
    }

    #[test]
    fn reads() {
        let text = r#" {"a": [1, -2.5e+3, "x\n\u00e9\ud83d\ude00"], "b": {"c": null, "d": true}} "#;
        let value = parse(text).unwrap();
        assert_eq!((value.start, value.end), (1, text.len() - 1));
        let Kind::Object(members) = &value.kind else { panic!() };
        assert_eq!((members[0].name.as_ref(), members[0].start), ("a", 2));
        let Kind::Array(items) = &members[0].value.kind else { panic!() };
        assert_eq!(items[1].kind, Kind::Number("-2.5e+3"));
        assert_eq!(&text[items[1].start..items[1].end], "-2.5e+3");
        assert_eq!(items[2].kind, Kind::String("x\né😀".into()));
        let Kind::Object(inner) = &members[1].value.kind else { panic!() };
        assert_eq!(inner[1].value.kind, Kind::Bool(true));
    }

    #[test]
    fn refuses() {
        for (text, offset, message) in [
            ("", 0, "the text ends too early"),
            ("{", 1, "the text ends too early"),
            ("[1 2]", 3, "a comma or ] is expected"),
            ("[1,]", 3, "a value is expected"),
            ("{\"a\" 1}", 5, "a colon is expected after the name"),
            ("{a:1}", 1, "a name in double quotes is expected"),
            ("{\"a\":1,\"b\":2,\"a\":3}", 13, "duplicate name \"a\""),
            ("{\"a\":1,\"\\u0061\":3}", 7, "duplicate name \"a\""),
            ("01", 0, "this is not a number"),
            ("-", 0, "this is not a number"),
            ("1.", 0, "this is not a number"),
            ("1e", 0, "this is not a number"),
            ("nul", 0, "a value is expected"),
            ("1 1", 2, "nothing may follow the value"),
            ("\"\\x\"", 1, "this escape is not known"),
            ("\"\t\"", 1, "a control character needs an escape"),
            ("\"a", 0, "the string is not closed with \""),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.offset, error.message.as_ref()), (offset, message), "{text}");
        }
        for bad in ["\"\\u12\"", "\"\\u+123\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\""]
        {
            assert_eq!(parse(bad).unwrap_err().offset, 1, "{bad}");
        }
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(&deep(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&deep(100_000)).unwrap_err().offset, MAX_DEPTH + 1);
    }

    #[test]
    fn positions() {
        let text = "{\n  \"é\": x\n}";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, text.find('x').unwrap()), (2, 8));
        assert_eq!(position(text, text.len()), (3, 2));
        assert_eq!(position(text, 999), (3, 2));
        let lines = Lines::new(text);
        for offset in (0..text.len()).filter(|at| text.is_char_boundary(*at)).chain([999]) {
            assert_eq!(lines.position(offset), position(text, offset), "{offset}");
        }
    }

    #[test]
    fn renders() {
        let text = r#" {"a b": [1, -2.5e+3, "x\"é", {}], "b": {"c": null, "d": true}, "e": []} "#;
        let mut out = Vec::new();
        parse(text).unwrap().render(&mut Json::new(&mut out));
        let expect = r#"{"a b":[1,-2.5e+3,"x\"é",{}],"b":{"c":null,"d":true},"e":[]}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn reads_without_a_tree() {
        let text = r#" {"n":-7,"t":"a\u00e9","skip":{"x":[1.5e3,"\n",{},[]],"y":null},
            "l":[true,null,false],"none":null,"o":{}} "#;
        let mut json = Parser::new(text);
        let mut seen = String::new();
        json.object(&mut |json, name| {
            match name {
                "n" => assert_eq!(json.integer()?, Some(-7)),
                "t" => assert_eq!(json.text()?.as_deref(), Some("aé")),
                "l" => json.array(&mut |json| {
                    seen.push(json.bool()?.map_or('0', |yes| if yes { 'y' } else { 'n' }));
                    Ok(())
                })?,
                "none" => {
                    // Each takes it for nothing; the last steps over it.
                    assert_eq!(Parser::new("null").text(), Ok(None));
                    assert_eq!(Parser::new("null").integer(), Ok(None));
                    json.array(&mut |_| unreachable!())?;
                }
                "o" => json.object(&mut |_, _| unreachable!())?,
                _ => json.skip()?,
            }
            seen.push_str(name);
            Ok(())
        })
        .unwrap();
        assert_eq!((json.finish(), seen.as_str()), (Ok(()), "ntskipy0nlnoneo"));

        for bad in ["1.5", "1e3", "\"1\"", "9223372036854775808", "-", ""] {
            assert!(Parser::new(bad).integer().is_err(), "{bad}");
        }
        for bad in ["[1,]", "{\"a\" 1}", "{1:1}", "[1", "nul", "\"a", "01", "{\"a\":1,}"] {
            assert!(Parser::new(bad).skip().is_err(), "{bad}");
        }
        for bad in ["1", "true", "nul", ""] {
            assert!(Parser::new(bad).text().is_err(), "{bad}");
            assert!(Parser::new(bad).array(&mut Parser::skip).is_err(), "{bad}");
        }
        assert!(Parser::new("null").object(&mut |_, _| Ok(())).is_err());
        assert!(Parser::new("1").bool().is_err());
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(Parser::new(&deep(MAX_DEPTH)).skip().is_ok());
        assert_eq!(Parser::new(&deep(100_000)).skip().unwrap_err().offset, MAX_DEPTH + 1);
        // Beside each other is not inside each other.
        assert!(Parser::new(&format!("[{}1]", "[[]],".repeat(200))).skip().is_ok());
    }
}
