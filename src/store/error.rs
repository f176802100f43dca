//! Why the store can't do what it was asked; each text says what to do about it.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A failure of the store. Every caller of a shared commit gets the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// The file, or what stands for it.
    pub file: Arc<Path>,
    /// What happened.
    pub kind: Kind,
}

/// What happened to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Too many callers wait already.
    Busy,
    /// The store is closed: the server is stopping.
    Closed,
    /// The file can't be read as what it is; the reason. It was not changed.
    Damaged(String),
    /// There is no room for the change; nothing was changed.
    Full,
    /// Another process has it open.
    InUse,
    /// The system refused something: what was tried, and its words.
    Io(&'static str, String),
    /// A newer gramscale wrote it: its schema, and the newest that is known here.
    Newer(u32, u32),
    /// It is some other kind of file.
    NotOurs,
    /// It is an SQLite database, such as headscale's.
    Sqlite,
}

impl StoreError {
    pub(super) fn new(file: &Arc<Path>, kind: Kind) -> Self {
        Self { file: Arc::clone(file), kind }
    }

    pub(super) fn io(file: &Arc<Path>, doing: &'static str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
            _ => Kind::Io(doing, error.to_string()),
        };
        Self::new(file, kind)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.kind {
            Kind::Busy => f.write_str("the disk does not keep up; try again in a while"),
            Kind::Closed => f.write_str("the server is stopping; try again when it is back"),
            Kind::Damaged(why) => write!(
                f,
                "the database {file} is damaged ({why}); it was left as it is: put a backup in its \
                 place, or move it away to start with an empty one"
            ),
            Kind::Full => write!(
                f,
                "no space is left for the database {file}; nothing was changed: free some space \
                 and try again"
            ),
            Kind::InUse => write!(
                f,
                "another gramscale already uses the database {file}; stop it first, or give this \
                 one a --data-dir of its own"
            ),
            Kind::Io(doing, why) => write!(f, "can't {doing} the database {file}: {why}"),
            Kind::Newer(found, known) => write!(
                f,
                "the database {file} was written by a newer gramscale (schema {found}, this one \
                 knows {known}); install that version again, or put an older backup in its place"
            ),
            Kind::NotOurs => write!(
                f,
                "{file} is not a gramscale database; it was left as it is: move it away, or choose \
                 another --data-dir"
            ),
            Kind::Sqlite => write!(
                f,
                "{file} is an SQLite database; gramscale keeps its own beside it: choose another \
                 --data-dir, and import this one"
            ),
        }
    }
}

impl std::error::Error for StoreError {}
