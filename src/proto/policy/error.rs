//! What is wrong with a policy, and where.

use std::fmt;

/// Why a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The line it is about, from 1; 0 if it is about no place in the text.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The value it is about, such as `acls[0].src[1]`; may be empty.
    pub path: String,
    /// What is wrong and what is expected.
    pub message: String,
}

impl Error {
    /// An error at a line and column; 0 where there is none.
    pub(super) fn at((line, column): (u32, u32), message: String) -> Self {
        Self { line, column, path: String::new(), message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
