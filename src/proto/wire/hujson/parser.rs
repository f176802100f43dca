//! JSON read value by value.

use std::borrow::Cow;

use super::{Kind, MAX_DEPTH, Member, SyntaxError, Value, error, string_end};

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

    pub(super) fn value(&mut self) -> Result<Value<'a>, SyntaxError> {
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
