//! What is wrong with a document, while only the offset is known.

use crate::policy::error::Error;
use crate::wire::hujson;

/// An error at an offset.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(super) offset: usize,
    pub(super) path: String,
    pub(super) message: String,
}

impl Fault {
    /// The error that it is in `text`.
    pub(super) fn locate(self, text: &str) -> Error {
        let (line, column) = hujson::position(text, self.offset);
        Error { line, column, path: self.path, message: self.message }
    }
}
