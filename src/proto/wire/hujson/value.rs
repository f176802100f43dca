//! A small tree whose values know where they stand.

use std::borrow::Cow;

use super::super::json::Json;
use super::{Parser, SyntaxError};

/// Reads one JSON value (RFC 8259) and nothing behind it.
///
/// Duplicate names in an object are refused, and nesting beyond [`MAX_DEPTH`](super::MAX_DEPTH).
pub fn parse(text: &str) -> Result<Value<'_>, SyntaxError> {
    let mut parser = Parser::new(text);
    let value = parser.value()?;
    parser.finish()?;
    Ok(value)
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
