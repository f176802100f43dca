//! `[a, b]` and `{a: b}`.

use super::{Entry, Kind, Node, Parser, Result, Value, YamlError, is_blank};

impl Parser<'_> {
    /// A value inside brackets, or a whole bracket.
    pub(super) fn flow(&mut self) -> Result<Node> {
        match self.peek() {
            b'[' => self.deeper(Self::flow_list),
            b'{' => self.deeper(Self::flow_map),
            b'"' | b'\'' => {
                let line = self.line;
                Ok(Node { line, value: Value::Text(self.quoted()?) })
            }
            _ => self.flow_plain(),
        }
    }

    fn flow_list(&mut self) -> Result<Node> {
        let start = self.line;
        self.skip(1);
        let mut items = Vec::new();
        loop {
            self.flow_blank(start)?;
            if self.peek() == b']' {
                self.skip(1);
                return Ok(Node { line: start, value: Value::List(items) });
            }
            items.push(self.flow()?);
            self.flow_blank(start)?;
            match self.peek() {
                b',' => self.skip(1),
                b']' => {}
                b':' if self.line == start => return Err(self.error(Kind::Colon)),
                _ => return Err(YamlError { line: start, kind: Kind::Bracket }),
            }
        }
    }

    fn flow_map(&mut self) -> Result<Node> {
        let start = self.line;
        self.skip(1);
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            self.flow_blank(start)?;
            if self.peek() == b'}' {
                self.skip(1);
                return Ok(Node { line: start, value: Value::Map(entries) });
            }
            let line = self.line;
            let quoted = matches!(self.peek(), b'"' | b'\'');
            let key = match self.flow()?.value {
                Value::Plain(key) | Value::Text(key) => key,
                Value::Null => "null".into(),
                _ => return Err(self.error(Kind::Unsupported("a complex key"))),
            };
            if key == "<<" {
                return Err(self.error(Kind::Unsupported("a merge key (<<)")));
            }
            if entries.iter().any(|entry| entry.key == key) {
                return Err(YamlError { line, kind: Kind::Twice(key) });
            }
            self.flow_blank(start)?;
            let separated =
                |byte| is_blank(byte) || matches!(byte, b',' | b'[' | b']' | b'{' | b'}');
            let mut value = Node { line, value: Value::Null };
            if self.peek() == b':' && (quoted || separated(self.byte(1))) {
                self.skip(1);
                self.flow_blank(start)?;
                if !matches!(self.peek(), b',' | b'}') {
                    value = self.flow()?;
                    self.flow_blank(start)?;
                }
            }
            entries.push(Entry { line, key, value });
            match self.peek() {
                b',' => self.skip(1),
                b'}' => {}
                _ => return Err(YamlError { line: start, kind: Kind::Bracket }),
            }
        }
    }

    /// To the next token inside brackets that begin at the line `start`.
    fn flow_blank(&mut self, start: u32) -> Result<()> {
        match self.blank() {
            // Inside brackets, lines may begin with tabs.
            Err(YamlError { kind: Kind::Tab, .. }) => {}
            other => other?,
        }
        let outside = self.column() <= self.indent && !matches!(self.peek(), b']' | b'}');
        if self.rest().is_empty() || self.at_end_marker() || outside {
            return Err(YamlError { line: start, kind: Kind::Bracket });
        }
        Ok(())
    }
}
