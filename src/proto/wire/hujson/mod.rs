//! HuJSON: JSON with comments and trailing commas, as people write policies.
//!
//! [`standardise`] turns it into JSON without moving a byte, so that an offset into the result is
//! an offset into what the author wrote. [`parse`] reads JSON into a small tree whose values know
//! where they stand, for errors that name a line; [`Parser`] reads it without a tree.

mod parser;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;
use std::fmt;

pub use parser::Parser;
pub use value::{Kind, Member, Value, parse};

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
