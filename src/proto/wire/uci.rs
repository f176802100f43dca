//! The configuration files of OpenWrt (`/etc/config/NAME`), as libuci reads them.
//!
//! ```text
//! config server 'main'            # a section: its type and, if it has one, its name
//!     option log_level 'info'     # the last one counts
//!     list listen '192.168.1.1:8080'
//! ```
//!
//! Words are bare, in `'...'` (as they are) or in `"..."` (with backslashes), also glued together
//! (`'it'\''s'`); quoted ones may go on over lines. `;` ends a command as a line's end does, `#`
//! begins a comment wherever it stands bare.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// A section, in the order of the file. Sections with the same name are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its type.
    pub kind: String,
    /// Its name; sections without one each stand for themselves.
    pub name: Option<String>,
    /// The line where it begins (first).
    pub line: u32,
    /// What it sets, each name once.
    pub options: Vec<Setting>,
}

/// An option or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// One value for an option, any number for a list.
    pub values: Vec<Word>,
    /// Whether it came from `list`.
    pub list: bool,
}

/// A word of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Without its quotes.
    pub text: String,
    /// The line where it begins, from 1.
    pub line: u32,
}

/// Reads a file.
///
/// # Errors
///
/// Where libuci refuses the file, this does.
pub fn parse(text: &str) -> Result<Vec<Section>, UciError> {
    let mut sections: Vec<Section> = Vec::new();
    let mut current = None;
    let mut words = Words { rest: text.chars().peekable(), line: 1 };
    while let Some(command) = words.command()? {
        let line = command.first().map_or(0, |word| word.line);
        let texts: Vec<_> = command.iter().map(|word| word.text.as_str()).collect();
        match texts[..] {
            ["package" | "p", _] => {}
            ["config" | "c", kind] => {
                current = Some(section(&mut sections, kind, None, line)?);
            }
            ["config" | "c", kind, name] => {
                // libuci takes an empty name for none.
                let name = Some(name).filter(|name| !name.is_empty());
                current = Some(section(&mut sections, kind, name, line)?);
            }
            [word @ ("option" | "o" | "list" | "l"), name, _] => {
                check_name(name, line)?;
                let section = current.and_then(|at: usize| sections.get_mut(at));
                let section = section.ok_or(UciError { line, kind: Kind::NoSection })?;
                let Some(value) = command.last() else { continue };
                set(section, name, value, word.starts_with('l'));
            }
            ["package" | "p" | "config" | "c" | "option" | "o" | "list" | "l", ..] => {
                return Err(UciError { line, kind: Kind::Words });
            }
            [word, ..] => return Err(UciError { line, kind: Kind::Command(word.into()) }),
            [] => {}
        }
    }
    Ok(sections)
}

/// The place of the section, which is made where there is none.
fn section(
    sections: &mut Vec<Section>,
    kind: &str,
    name: Option<&str>,
    line: u32,
) -> Result<usize, UciError> {
    if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(UciError { line, kind: Kind::Name(kind.into()) });
    }
    if let Some(name) = name {
        check_name(name, line)?;
        let same = |section: &Section| section.name.as_deref() == Some(name);
        if let Some(at) = sections.iter().position(same) {
            return match sections.get(at) {
                Some(there) if there.kind == kind => Ok(at),
                _ => Err(UciError { line, kind: Kind::TwoTypes(name.into()) }),
            };
        }
    }
    let (kind, name) = (kind.into(), name.map(Into::into));
    sections.push(Section { kind, name, line, options: Vec::new() });
    Ok(sections.len() - 1)
}

fn check_name(name: &str, line: u32) -> Result<(), UciError> {
    let fine = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fine { Ok(()) } else { Err(UciError { line, kind: Kind::Name(name.into()) }) }
}

fn set(section: &mut Section, name: &str, value: &Word, list: bool) {
    let value = value.clone();
    match section.options.iter_mut().find(|there| there.name == name) {
        Some(there) if list => {
            there.values.push(value);
            there.list = true;
        }
        Some(there) => *there = Setting { name: name.into(), values: vec![value], list },
        None => section.options.push(Setting { name: name.into(), values: vec![value], list }),
    }
}

struct Words<'t> {
    rest: Peekable<Chars<'t>>,
    line: u32,
}

impl Words<'_> {
    /// The words up to the next line's end or `;`; `None` at the end of the file.
    fn command(&mut self) -> Result<Option<Vec<Word>>, UciError> {
        let mut words = Vec::new();
        loop {
            match self.rest.peek() {
                None if words.is_empty() => return Ok(None),
                None => return Ok(Some(words)),
                Some('\n' | ';') => {
                    self.next();
                    return Ok(Some(words));
                }
                Some(' ' | '\t' | '\r' | '\x0b' | '\x0c') => _ = self.next(),
                Some('#') => while self.rest.next_if(|c| *c != '\n').is_some() {},
                Some(_) => words.push(self.word()?),
            }
        }
    }

    fn word(&mut self) -> Result<Word, UciError> {
        let line = self.line;
        let mut text = String::new();
        while let Some(c) = self.rest.peek() {
            match c {
                '\'' | '"' => {
                    let quote = *c;
                    self.next();
                    self.quoted(quote, line, &mut text)?;
                }
                '\\' => {
                    self.next();
                    self.escaped(&mut text);
                }
                ';' | '#' => break,
                c if c.is_ascii_whitespace() || *c == '\x0b' => break,
                _ => text.extend(self.next()),
            }
        }
        Ok(Word { text, line })
    }

    fn quoted(&mut self, quote: char, line: u32, text: &mut String) -> Result<(), UciError> {
        loop {
            match self.next() {
                None => return Err(UciError { line, kind: Kind::Quote }),
                Some(c) if c == quote => return Ok(()),
                Some('\\') if quote == '"' => self.escaped(text),
                Some(c) => text.push(c),
            }
        }
    }

    /// What follows a backslash: itself, or nothing where that ends the line.
    fn escaped(&mut self, text: &mut String) {
        text.extend(self.next().filter(|c| *c != '\n'));
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(c)
    }
}

/// Why a text is no UCI file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UciError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong there.
    pub kind: Kind,
}

/// What is wrong with a UCI file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A line begins with some other word.
    Command(String),
    /// A name or type has characters that it must not have.
    Name(String),
    /// An option stands before the first section.
    NoSection,
    /// A quote is not closed.
    Quote,
    /// A section's name is used with two types.
    TwoTypes(String),
    /// Too few or too many words follow.
    Words,
}

impl fmt::Display for UciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Command(word) => write!(
                f,
                "a line begins with config, option or list, and not with \"{}\"",
                word.escape_debug()
            ),
            Kind::Name(name) => {
                write!(f, "\"{}\" can't be a name; use letters, digits and _", name.escape_debug())
            }
            Kind::NoSection => f.write_str("a config line must stand before the first option"),
            Kind::Quote => f.write_str("a quote that begins here is not closed"),
            Kind::TwoTypes(name) => {
                write!(f, "the section '{name}' exists already with another type")
            }
            Kind::Words => f.write_str(
                "config is followed by a type and perhaps a name, option and list by a name and \
                 one value; quote a value with spaces",
            ),
        }
    }
}

impl std::error::Error for UciError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kind.name.option=value|value`, one a string.
    fn flat(text: &str) -> Vec<String> {
        let sections = parse(text).unwrap();
        let mut all = Vec::new();
        for section in sections {
            let name = section.name.unwrap_or_else(|| "@".into());
            all.push(format!("{}.{name}", section.kind));
            for option in section.options {
                let values: Vec<_> = option.values.into_iter().map(|word| word.text).collect();
                let mark = if option.list { "[]" } else { "" };
                all.push(format!("{}{mark}={}", option.name, values.join("|")));
            }
        }
        all
    }

    #[test]
    fn ordinary() {
        let text = "package gramscale\n\nconfig server 'main'\n\toption enabled '1'\n\
                    \tlist listen '0.0.0.0:8080'\n\tlist listen \"[::]:8080\"\n\n\
                    config user\n\toption name ann # trailing\nconfig user\n\toption name 'bo b'\n";
        let expected = [
            "server.main",
            "enabled=1",
            "listen[]=0.0.0.0:8080|[::]:8080",
            "user.@",
            "name=ann",
            "user.@",
            "name=bo b",
        ];
        assert_eq!(flat(text), expected);
    }

    #[test]
    fn quoting() {
        for (word, value) in [
            (r"'it'\''s'", "it's"),
            (r#""a \"b\" \\ \n c""#, r#"a "b" \ n c"#),
            (r"'a\b'", r"a\b"),
            (r"a\ b\#c", "a b#c"),
            ("a#b", "a"),
            ("'a'# b", "a"),
            ("a'b c'd", "ab cd"),
            (r#""\'""#, "'"),
            (r#""q\tq""#, "qtq"),
            (r"x\;y", "x;y"),
            ("''", ""),
            ("'two\nlines'", "two\nlines"),
            ("\"joined \\\nline\"", "joined line"),
            ("bare\\\nline", "bareline"),
            ("'x'\"y\"z", "xyz"),
            ("'a;b'", "a;b"),
            ("é", "é"),
        ] {
            let text = format!("config a b\noption x {word}\n");
            assert_eq!(flat(&text), ["a.b".to_owned(), format!("x={value}")], "{word}");
        }
    }

    #[test]
    fn repeated() {
        assert_eq!(flat("config a b\noption x 1\noption x 2"), ["a.b", "x=2"]);
        assert_eq!(flat("config a b\noption x 1\nlist x 2"), ["a.b", "x[]=1|2"]);
        assert_eq!(flat("config a b\nlist x 1\noption x 2"), ["a.b", "x=2"]);
        assert_eq!(
            flat("config a b\noption x 1\nconfig a c\nconfig a b\noption y 2"),
            ["a.b", "x=1", "y=2", "a.c"]
        );
        assert_eq!(flat("config a b; option x 1;;list y 2 # c;d\n"), ["a.b", "x=1", "y[]=2"]);
        assert_eq!(flat("c a b\r\no x 1\r\nl y 2\r\n"), ["a.b", "x=1", "y[]=2"]);
        assert_eq!(flat("config a ''\nconfig a ''"), ["a.@", "a.@"]);
        assert_eq!(flat(""), [""; 0]);
        assert_eq!(flat("# only\n   \n"), [""; 0]);
    }

    #[test]
    fn lines() {
        let sections = parse("\n# x\nconfig a b\n\toption x 'p\nq'\n\tlist y \\\nz\n").unwrap();
        let [section] = &sections[..] else { panic!() };
        assert_eq!(section.line, 3);
        let at: Vec<_> = section.options.iter().map(|option| option.values[0].line).collect();
        assert_eq!(at, [4, 6]);
    }

    #[test]
    fn refused() {
        for (text, line, kind) in [
            ("option x 1", 1, Kind::NoSection),
            ("config a b\n\noption x", 3, Kind::Words),
            ("config a b\noption x 1 2", 2, Kind::Words),
            ("config\n", 1, Kind::Words),
            ("config a b c", 1, Kind::Words),
            ("config a b\noptions x 1", 2, Kind::Command("options".into())),
            ("config a b\n'' x", 2, Kind::Command(String::new())),
            ("config a b-c", 1, Kind::Name("b-c".into())),
            ("config a b\noption x-y 1", 2, Kind::Name("x-y".into())),
            ("config 'a b'", 1, Kind::Name("a b".into())),
            ("config a b\nconfig c b", 2, Kind::TwoTypes("b".into())),
            ("config a b\noption x 'y\nz\n", 2, Kind::Quote),
            ("config a b\noption x \"y\\\"", 2, Kind::Quote),
        ] {
            assert_eq!(parse(text), Err(UciError { line, kind }), "{text}");
        }
        let error = parse("config a b\nwith x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a line begins with config, option or list, and not with \"with\""
        );
    }

    #[test]
    fn any_text_is_read_or_refused() {
        const BITS: [&str; 16] = [
            "config ", "option ", "list ", "a", "b ", "'", "\"", "\\", "\n", ";", "#", " ", "\t",
            "é", "1", "_",
        ];
        let mut random = 1_u32;
        let mut read = 0;
        for _ in 0..20_000 {
            let mut text = "config a\noption b ".to_owned();
            for _ in 0..8 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(BITS[(random >> 28) as usize]);
            }
            let Ok(sections) = parse(&text) else { continue };
            for word in sections.iter().flat_map(|s| &s.options).flat_map(|o| &o.values) {
                let quoted = word.text.replace('\'', r"'\''");
                let again = parse(&format!("config a\noption b '{quoted}'")).unwrap();
                assert_eq!(again[0].options[0].values[0].text, word.text, "{text:?}");
                read += 1;
            }
        }
        assert!(read > 1000, "{read}");
    }
}
