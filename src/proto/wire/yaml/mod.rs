//! YAML 1.2 as configuration files use it, with the line of everything.
//!
//! Read are mappings, sequences and scalars in all their styles, block and flow, and so JSON.
//! Refused, each with a sentence, are what such files do not need: anchors and aliases, tags,
//! complex keys, merge keys, directives, several documents. What is read means what any other
//! reader of YAML takes it for; the tests compare with one. Compliant crates were measured at 96
//! to 107 KB of code, with less to say about errors.

use std::fmt;

use super::json::Json;

mod flow;
mod scalar;
#[cfg(test)]
mod tests;

/// How deep collections may lie in each other.
const MAX_DEPTH: u32 = 32;

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The line, from 1.
    pub line: u32,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar without quotes: a text, number or truth value, as the reader wants it.
    Plain(String),
    /// A scalar that is a text whatever it looks like.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file. No two keys are the same.
    Map(Vec<Entry>),
}

/// A member of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The line of its key, from 1.
    pub line: u32,
    /// Its key, as text.
    pub key: String,
    /// Its value.
    pub value: Node,
}

/// Reads a document; an empty one is `Null`.
///
/// # Errors
///
/// The text is no YAML, or has what is not read here.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    check_characters(text)?;
    let mut parser = Parser { text, at: 0, line: 1, line_start: 0, depth: 0, indent: -1 };
    parser.eat("\u{feff}");
    parser.blank()?;
    if parser.peek() == b'%' {
        return Err(parser.error(Kind::Unsupported("a directive (%)")));
    }
    let marked = parser.at_marker("---");
    if marked {
        parser.skip(3);
    }
    let node = parser.value(-1, !marked)?;
    if parser.at_marker("...") {
        parser.skip(3);
        parser.blank()?;
    }
    if parser.at_marker("---") {
        return Err(parser.error(Kind::Unsupported("a second document (---)")));
    }
    if parser.rest().is_empty() { Ok(node) } else { Err(parser.error(Kind::Indent)) }
}

impl Node {
    /// The same as JSON text. Plain scalars become numbers and truth values where YAML's core
    /// schema has them so.
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut Json::new(&mut out));
        String::from_utf8(out).unwrap_or_default()
    }

    fn write(&self, json: &mut Json<'_>) {
        match &self.value {
            Value::Null => _ = json.null(),
            Value::Text(text) => _ = json.string(text),
            Value::Plain(text) => match text.as_str() {
                "true" | "True" | "TRUE" => _ = json.bool(true),
                "false" | "False" | "FALSE" => _ = json.bool(false),
                number if is_json_number(number) => _ = json.raw(number.as_bytes()),
                text => _ = json.string(text),
            },
            Value::List(items) => {
                json.open('[');
                items.iter().for_each(|item| item.write(json));
                json.close(']');
            }
            Value::Map(entries) => {
                json.open('{');
                for entry in entries {
                    json.string(&entry.key).colon();
                    entry.value.write(json);
                }
                json.close('}');
            }
        }
    }
}

/// Refuses control characters, and line ends of CR alone.
fn check_characters(text: &str) -> Result<()> {
    let mut line = 1_u32;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let fine = match c {
            '\n' => {
                line = line.saturating_add(1);
                true
            }
            '\r' => chars.peek() == Some(&'\n'),
            c => c == '\t' || c >= ' ',
        };
        if !fine {
            return Err(YamlError { line, kind: Kind::Control(c) });
        }
    }
    Ok(())
}

/// Whether a scalar is written as JSON writes numbers.
fn is_json_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (int, rest) = split_digits(digits);
    let (rest, fraction) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (fraction, rest) = split_digits(rest);
            (rest, !fraction.is_empty())
        }
        None => (rest, true),
    };
    let exponent = match rest.strip_prefix(['e', 'E']) {
        Some(rest) => {
            let (digits, rest) = split_digits(rest.strip_prefix(['+', '-']).unwrap_or(rest));
            !digits.is_empty() && rest.is_empty()
        }
        None => rest.is_empty(),
    };
    let leading = int.len() > 1 && int.starts_with('0');
    !int.is_empty() && !leading && fraction && exponent
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(end).unwrap_or((text, ""))
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    /// Where the current line begins.
    line_start: usize,
    depth: u32,
    /// The column that the lines of a quote or bracket must lie behind: a quote that was not
    /// closed is found at its first line.
    indent: isize,
}

type Result<T, E = YamlError> = std::result::Result<T, E>;

impl<'t> Parser<'t> {
    /// The value of an entry of a collection at column `parent`, beginning behind its indicator;
    /// ends at the next token that is not part of it. `compact`: another collection may begin on
    /// the same line, as behind `- `.
    fn value(&mut self, parent: isize, compact: bool) -> Result<Node> {
        let line = self.line;
        self.blank()?;
        if self.line == line {
            return self.block(parent, compact);
        }
        let column = self.column();
        let list = self.at_dash() && column == parent && !compact;
        if self.rest().is_empty() || self.at_end_marker() || (column <= parent && !list) {
            return Ok(Node { line, value: Value::Null });
        }
        if list { self.deeper(|p| p.list(column)) } else { self.block(parent, true) }
    }

    /// The value at the current token.
    fn block(&mut self, parent: isize, compact: bool) -> Result<Node> {
        if self.rest().is_empty() || self.at_end_marker() {
            return Ok(Node { line: self.line, value: Value::Null });
        }
        let column = self.column();
        let tab = self.byte_before() == b'\t';
        if self.at_dash() {
            if !compact {
                return Err(self.error(Kind::Nested));
            }
            if tab {
                return Err(self.error(Kind::Tab));
            }
            return self.deeper(|p| p.list(column));
        }
        if self.peek() == b'?' && is_blank(self.byte(1)) {
            return Err(self.error(Kind::Unsupported("a complex key (?)")));
        }
        let start = (self.at, self.line, self.line_start);
        let is_map = !matches!(self.peek(), b'|' | b'>') && self.key(false)?.is_some();
        (self.at, self.line, self.line_start) = start;
        if is_map {
            if !compact {
                return Err(self.error(Kind::Nested));
            }
            if tab {
                return Err(self.error(Kind::Tab));
            }
            return self.deeper(|p| p.map(column));
        }
        let node = self.scalar(parent)?;
        self.blank()?;
        if self.column_is_first() || self.rest().is_empty() {
            Ok(node)
        } else {
            Err(self.error(Kind::Trailing))
        }
    }

    fn list(&mut self, column: isize) -> Result<Node> {
        let line = self.line;
        let mut items = Vec::new();
        while self.at_dash() && self.column() == column {
            self.skip(1);
            items.push(self.value(column, true)?);
        }
        self.ended(column)?;
        Ok(Node { line, value: Value::List(items) })
    }

    fn map(&mut self, column: isize) -> Result<Node> {
        let line = self.line;
        let mut entries: Vec<Entry> = Vec::new();
        while !self.rest().is_empty() && self.column() == column && !self.at_end_marker() {
            if self.at_dash() {
                break;
            }
            let line = self.line;
            let Some(key) = self.key(true)? else { return Err(self.error(Kind::NoColon)) };
            if entries.iter().any(|entry| entry.key == key) {
                return Err(YamlError { line, kind: Kind::Twice(key) });
            }
            let value = self.value(column, false)?;
            entries.push(Entry { line, key, value });
        }
        self.ended(column)?;
        Ok(Node { line, value: Value::Map(entries) })
    }

    /// Behind a collection, what follows must belong to one that contains it.
    fn ended(&self, column: isize) -> Result<()> {
        let inner = !self.rest().is_empty() && !self.at_end_marker() && self.column() > column;
        if inner { Err(self.error(Kind::Indent)) } else { Ok(()) }
    }

    /// A key and its colon, if that is what stands here. `sure`: nothing else can.
    fn key(&mut self, sure: bool) -> Result<Option<String>> {
        let line = self.line;
        let key = match self.peek() {
            b'"' | b'\'' => self.quoted()?,
            b'[' | b'{' if !sure => return Ok(None),
            b'&' | b'*' | b'!' if !sure => return Ok(None),
            _ => {
                self.check_start()?;
                self.plain_line(false).to_owned()
            }
        };
        self.spaces();
        if self.line != line || self.peek() != b':' || !is_blank(self.byte(1)) {
            return Ok(None);
        }
        self.skip(1);
        if key == "<<" {
            return Err(self.error(Kind::Unsupported("a merge key (<<)")));
        }
        Ok(Some(key))
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Result<Node>) -> Result<Node> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error(Kind::Depth));
        }
        self.depth += 1;
        let node = read(self);
        self.depth -= 1;
        node
    }

    /// Goes to the next token, over blanks, comments and line ends. Indentation has no tabs.
    fn blank(&mut self) -> Result<()> {
        loop {
            self.spaces();
            let alone = self.at == self.line_start || is_blank(self.byte_before());
            match self.peek() {
                b'#' if alone => self.skip_line(),
                b'\r' if self.byte(1) == b'\n' => self.skip(1),
                b'\n' => self.newline(),
                0 if self.rest().is_empty() => return Ok(()),
                _ => break,
            }
        }
        let indent = self.text.get(self.line_start..self.at).unwrap_or_default();
        if indent.contains('\t') && indent.trim().is_empty() {
            return Err(self.error(Kind::Tab));
        }
        Ok(())
    }

    fn spaces(&mut self) {
        while matches!(self.peek(), b' ' | b'\t') {
            self.at += 1;
        }
    }

    /// To the end of the line.
    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    /// Over a line end.
    fn newline(&mut self) {
        self.at += 1;
        self.line = self.line.saturating_add(1);
        self.line_start = self.at;
    }

    fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    fn eat(&mut self, text: &str) {
        if self.rest().starts_with(text) {
            self.at += text.len();
            self.line_start = self.at;
        }
    }

    fn at_dash(&self) -> bool {
        self.peek() == b'-' && is_blank(self.byte(1))
    }

    fn at_marker(&self, marker: &str) -> bool {
        self.at == self.line_start && self.rest().starts_with(marker) && is_blank(self.byte(3))
    }

    fn at_end_marker(&self) -> bool {
        self.at_marker("---") || self.at_marker("...")
    }

    /// Whether nothing but spaces stands before the token on its line.
    fn column_is_first(&self) -> bool {
        let before = self.text.get(self.line_start..self.at).unwrap_or_default();
        before.trim_start_matches(' ').is_empty()
    }

    fn column(&self) -> isize {
        (self.at - self.line_start) as isize
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> u8 {
        self.byte(0)
    }

    /// The byte `ahead` of here; 0 at the end of the text.
    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn byte_before(&self) -> u8 {
        let before = self.at.checked_sub(1);
        before.and_then(|at| self.text.as_bytes().get(at)).copied().unwrap_or(0)
    }

    fn error(&self, kind: Kind) -> YamlError {
        YamlError { line: self.line, kind }
    }
}

/// Whether a byte separates tokens; the end of the text does.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0)
}

/// Why a text can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong there.
    pub kind: Kind,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bracket is not closed, or something is missing between two values in it.
    Bracket,
    /// A colon in brackets, which would be a mapping without braces, or was meant otherwise.
    Colon,
    /// A character that no text file has.
    Control(char),
    /// Collections lie too deep in each other.
    Depth,
    /// An escape in a quoted text is unknown.
    Escape,
    /// It stands at a column where nothing can.
    Indent,
    /// A collection begins behind a key on its line.
    Nested,
    /// A line among the entries of a mapping has no `key:`.
    NoColon,
    /// A quote is not closed.
    Quote,
    /// A text begins with a character that has a meaning of its own.
    Start(char),
    /// Tabs indent the line.
    Tab,
    /// Something follows a value on its line.
    Trailing,
    /// A key stands twice in a mapping.
    Twice(String),
    /// YAML that is not read here.
    Unsupported(&'static str),
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Bracket => f.write_str("[ ] or { } is not closed, or a comma is missing in it"),
            Kind::Colon => f.write_str(
                "a colon stands in [ ]; quote the text (\"[::]:8080\"), or put the mapping in { }",
            ),
            Kind::Control(c) => write!(f, "the character {} is not allowed", c.escape_default()),
            Kind::Depth => write!(f, "more than {MAX_DEPTH} collections lie in each other"),
            Kind::Escape => f.write_str(
                "unknown escape; put the text in '...', where a backslash stands for itself",
            ),
            Kind::Indent => f.write_str("the line's indentation fits nothing above it"),
            Kind::Nested => f.write_str(
                "a text with \": \" or \"- \" must be in quotes; a list or mapping begins on the \
                 next line",
            ),
            Kind::NoColon => f.write_str("\"key: value\" is expected, with a space"),
            Kind::Quote => f.write_str("a quote that begins here is not closed"),
            Kind::Start(c) => write!(f, "a text that begins with {c} must be in quotes"),
            Kind::Tab => f.write_str("a tab indents the line; use spaces"),
            Kind::Trailing => f.write_str("something follows the value; quote it as a whole"),
            Kind::Twice(key) => write!(f, "\"{}\" stands here twice", key.escape_debug()),
            Kind::Unsupported(what) => write!(f, "{what} is not supported here"),
        }
    }
}

impl std::error::Error for YamlError {}
