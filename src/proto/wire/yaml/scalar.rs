//! Scalars: plain, quoted, and blocks of lines.

use super::{Kind, Node, Parser, Result, Value, YamlError, is_blank};

impl<'t> Parser<'t> {
    /// A scalar, or a collection in brackets, as the value of an entry at column `parent`.
    pub(super) fn scalar(&mut self, parent: isize) -> Result<Node> {
        let line = self.line;
        self.indent = parent;
        let value = match self.peek() {
            b'|' | b'>' => Value::Text(self.lines(parent)?),
            b'"' | b'\'' => Value::Text(self.quoted()?),
            b'[' | b'{' => return self.flow(),
            _ => {
                self.check_start()?;
                plain(self.plain_block(parent)?)
            }
        };
        Ok(Node { line, value })
    }

    /// A scalar without quotes inside brackets, where it may go on over lines.
    pub(super) fn flow_plain(&mut self) -> Result<Node> {
        let line = self.line;
        self.check_start()?;
        let mut text = self.plain_line(true).to_owned();
        if text.is_empty() {
            return Err(self.error(Kind::Bracket));
        }
        loop {
            let end = (self.at, self.line, self.line_start);
            let breaks = self.breaks();
            let done = breaks == 0
                || self.column() <= self.indent
                || (self.peek() == b'-' && matches!(self.byte(1), b',' | b']' | b'}'))
                || matches!(self.peek(), b'#' | b',' | b'[' | b']' | b'{' | b'}' | b':' | 0);
            let more = if done { "" } else { self.plain_line(true) };
            if more.is_empty() {
                (self.at, self.line, self.line_start) = end;
                return Ok(Node { line, value: plain(text) });
            }
            fold(&mut text, breaks);
            text.push_str(more);
        }
    }

    /// A scalar without quotes, which goes on over lines that are indented more than `parent`.
    fn plain_block(&mut self, parent: isize) -> Result<String> {
        let mut text = self.plain_line(false).to_owned();
        loop {
            let end = (self.at, self.line, self.line_start);
            let breaks = self.breaks();
            let over = breaks == 0
                || self.rest().is_empty()
                || self.column() <= parent
                || self.at_end_marker()
                || self.peek() == b'#';
            if over {
                (self.at, self.line, self.line_start) = end;
                return Ok(text);
            }
            if self.text.get(self.line_start..self.at).is_some_and(|indent| indent.contains('\t')) {
                return Err(self.error(Kind::Tab));
            }
            fold(&mut text, breaks);
            text.push_str(self.plain_line(false));
            if self.peek() == b':' {
                return Err(self.error(Kind::Nested));
            }
        }
    }

    /// The part of a plain scalar on this line, without blanks behind it.
    pub(super) fn plain_line(&mut self, flow: bool) -> &'t str {
        let rest = self.rest().as_bytes();
        let mut end = 0;
        let mut before = 0;
        for (at, &byte) in rest.iter().enumerate() {
            let after = rest.get(at + 1).copied().unwrap_or(0);
            let bracket = |byte| matches!(byte, b',' | b'[' | b']' | b'{' | b'}');
            match byte {
                b'\n' => break,
                b'\r' if after == b'\n' => break,
                b'#' if is_blank(before) && at > 0 => break,
                b':' if is_blank(after) || (flow && bracket(after)) => break,
                _ if flow && bracket(byte) => break,
                b' ' | b'\t' => {}
                _ => end = at + 1,
            }
            before = byte;
        }
        let text = self.rest().get(..end).unwrap_or_default();
        self.skip(end);
        text
    }

    /// Refuses what a plain scalar can't begin with.
    pub(super) fn check_start(&self) -> Result<()> {
        let kind = match self.peek() {
            b'&' => Kind::Unsupported("an anchor (&)"),
            b'*' => Kind::Unsupported("an alias (*)"),
            b'!' => Kind::Unsupported("a tag (!)"),
            c @ (b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'|' | b'>' | b'%' | b'@' | b'`') => {
                Kind::Start(c.into())
            }
            c @ (b'-' | b'?' | b':') if is_blank(self.byte(1)) => Kind::Start(c.into()),
            _ => return Ok(()),
        };
        Err(self.error(kind))
    }

    /// Over the blanks and line ends that follow; how many line ends there were.
    fn breaks(&mut self) -> usize {
        let mut breaks = 0;
        loop {
            self.spaces();
            match self.peek() {
                b'\n' => {
                    breaks += 1;
                    self.newline();
                }
                b'\r' if self.byte(1) == b'\n' => self.skip(1),
                _ => return breaks,
            }
        }
    }

    /// `"..."` or `'...'`.
    pub(super) fn quoted(&mut self) -> Result<String> {
        let start = self.line;
        let quote = self.peek();
        self.skip(1);
        let mut text = String::new();
        // Blanks in front of a line end do not count; those that were escaped do.
        let mut kept = 0;
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else {
                return Err(YamlError { line: start, kind: Kind::Quote });
            };
            match c {
                '\'' if quote == b'\'' && self.byte(1) == b'\'' => {
                    text.push('\'');
                    self.skip(2);
                }
                '"' | '\'' if c as u8 == quote => {
                    self.skip(1);
                    return Ok(text);
                }
                '\\' if quote == b'"' => {
                    self.escape(&mut text)?;
                    kept = text.len();
                }
                '\n' | '\r' if c == '\n' || self.byte(1) == b'\n' => {
                    let end = text.trim_end_matches([' ', '\t']).len().max(kept);
                    text.truncate(end);
                    let breaks = self.breaks();
                    if self.at_end_marker() || self.column() <= self.indent {
                        return Err(YamlError { line: start, kind: Kind::Quote });
                    }
                    fold(&mut text, breaks);
                    kept = text.len();
                }
                c => {
                    text.push(c);
                    self.skip(c.len_utf8());
                }
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<()> {
        let c = self.byte(1);
        self.skip(2);
        text.push(match c {
            b'0' => '\0',
            b'a' => '\x07',
            b'b' => '\x08',
            b't' | b'\t' => '\t',
            b'n' => '\n',
            b'v' => '\x0b',
            b'f' => '\x0c',
            b'r' => '\r',
            b'e' => '\x1b',
            b' ' | b'"' | b'/' | b'\\' => c.into(),
            b'N' => '\u{85}',
            b'_' => '\u{a0}',
            b'L' => '\u{2028}',
            b'P' => '\u{2029}',
            b'x' => self.code(2)?,
            b'u' => self.code(4)?,
            b'U' => self.code(8)?,
            b'\n' | b'\r' => {
                self.at -= 1;
                for _ in 1..self.breaks() {
                    text.push('\n');
                }
                if self.column() <= self.indent {
                    return Err(self.error(Kind::Quote));
                }
                return Ok(());
            }
            _ => {
                // Back before a character that may have several bytes.
                self.at -= 1;
                return Err(self.error(Kind::Escape));
            }
        });
        Ok(())
    }

    /// A character by its number; JSON's pairs of surrogates are one.
    fn code(&mut self, digits: usize) -> Result<char> {
        let high = self.hex(digits)?;
        let paired = digits == 4 && (0xd800..0xdc00).contains(&high);
        if !paired {
            return char::from_u32(high).ok_or(self.error(Kind::Escape));
        }
        if !self.rest().starts_with("\\u") {
            return Err(self.error(Kind::Escape));
        }
        self.skip(2);
        let low = self.hex(4)?;
        let code = 0x10000 + ((high - 0xd800) << 10);
        let whole = (0xdc00..0xe000).contains(&low).then(|| code + (low - 0xdc00));
        whole.and_then(char::from_u32).ok_or(self.error(Kind::Escape))
    }

    fn hex(&mut self, digits: usize) -> Result<u32> {
        let text = self.rest().get(..digits).filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = text.and_then(|text| u32::from_str_radix(text, 16).ok());
        self.skip(digits.min(self.rest().len()));
        code.ok_or(self.error(Kind::Escape))
    }

    /// `|` and `>`: the lines below that are indented more than `parent`.
    fn lines(&mut self, parent: isize) -> Result<String> {
        let folded = self.peek() == b'>';
        self.skip(1);
        let (mut keep, mut strip, mut indent) = (false, false, None);
        loop {
            match self.peek() {
                b'+' if !keep && !strip => keep = true,
                b'-' if !keep && !strip => strip = true,
                digit @ b'1'..=b'9' if indent.is_none() => {
                    indent = Some(isize::from(digit - b'0') + parent.max(0))
                }
                _ => break,
            }
            self.skip(1);
        }
        self.spaces();
        if self.peek() == b'#' && is_blank(self.byte_before()) {
            self.skip_line();
        }
        if self.peek() == b'\r' {
            self.skip(1);
        }
        match self.peek() {
            b'\n' => self.newline(),
            0 if self.rest().is_empty() => return Ok(String::new()),
            _ => return Err(self.error(Kind::Trailing)),
        }
        let lines = self.block_lines(parent, indent)?;
        Ok(join(&lines, folded, keep, strip))
    }

    /// The lines of a block, without their indentation.
    fn block_lines(&mut self, parent: isize, indent: Option<isize>) -> Result<Vec<&'t str>> {
        let mut lines = Vec::new();
        let mut indent = indent;
        let mut blanks = 0;
        while !self.rest().is_empty() {
            let line = self.rest().lines().next().unwrap_or_default();
            let spaces = line.bytes().take_while(|byte| *byte == b' ').count();
            let (deep, empty) = (spaces as isize, line.len() == spaces);
            let over = deep <= parent || indent.is_some_and(|first| deep < first);
            if !empty && (over || self.at_end_marker()) {
                break;
            }
            if empty {
                blanks = blanks.max(deep);
            } else if indent.is_none() {
                // The first line with a text says how deep the block is.
                if blanks > deep {
                    return Err(self.error(Kind::Indent));
                }
                indent = Some(deep);
            }
            let first = indent.map_or(line.len(), |first| first.max(0) as usize);
            lines.push(line.get(first..).unwrap_or_default());
            self.skip_line();
            if !self.rest().is_empty() {
                self.newline();
            }
        }
        Ok(lines)
    }
}

/// `~`, `null` and nothing are null.
fn plain(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => Value::Plain(text),
    }
}

/// What line ends inside a scalar become: one a space, more than one a line end less each.
fn fold(text: &mut String, breaks: usize) {
    if breaks == 1 {
        text.push(' ');
    }
    (1..breaks).for_each(|_| text.push('\n'));
}

fn join(lines: &[&str], folded: bool, keep: bool, strip: bool) -> String {
    let filled = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    let (body, tail) = lines.split_at_checked(filled).unwrap_or((lines, &[]));
    let mut text = String::new();
    let more = |line: &str| line.starts_with([' ', '\t']);
    let mut pending = 0;
    let mut before: Option<&str> = None;
    for line in body {
        if line.is_empty() && folded {
            pending += 1;
            continue;
        }
        if let Some(before) = before {
            match (folded && !more(before) && !more(line), pending) {
                (true, 0) => text.push(' '),
                (true, _) => {}
                (false, _) => text.push('\n'),
            }
        }
        (0..pending).for_each(|_| text.push('\n'));
        pending = 0;
        text.push_str(line);
        before = Some(line);
    }
    if !strip && !body.is_empty() {
        text.push('\n');
    }
    if keep {
        tail.iter().for_each(|_| text.push('\n'));
    }
    text
}
