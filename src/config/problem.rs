//! What is wrong with a configuration: where, and what to do.

use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line, by this flag.
    Flag(&'static str),
    /// By this environment variable.
    Variable(String),
    /// In a file, at a line from 1; 0 is the file as a whole.
    Line(Rc<PathBuf>, u32),
    /// Nowhere: what a default leads to.
    Nowhere,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It works, but not as one might think.
    Warning,
    /// Nothing knows this key: it has no effect. `configtest` takes it for an error.
    Unknown,
    /// The server does not start.
    Error,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// The key as it is written there; empty for the file as a whole.
    pub key: String,
    /// What, and what is accepted.
    pub text: String,
    /// How bad.
    pub weight: Weight,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::Line(file, 0) => file.display().fmt(f),
            Self::Line(file, line) => write!(f, "{} line {line}", file.display()),
            Self::Nowhere => f.write_str("configuration"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)?;
        f.write_str(": ")?;
        // A flag or variable names the key already.
        let named = matches!(self.origin, Origin::Flag(_) | Origin::Variable(_));
        if !self.key.is_empty() && !named {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

/// Problems, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Whether the server can start.
    pub fn is_fatal(&self) -> bool {
        self.0.iter().any(|problem| problem.weight == Weight::Error)
    }

    pub(super) fn add(&mut self, weight: Weight, origin: &Origin, key: &str, text: String) {
        let problem = Problem { origin: origin.clone(), key: key.into(), text, weight };
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }
}

/// One a line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
