//! The access policy: document, checks, and what it compiles to.
//!
//! [`Policy::parse`] reads and checks a document, [`Compiled`] applies it to the users and nodes
//! there are. The language is that of the hosted service (its documentation: "Syntax reference for
//! the tailnet policy file") as far as a server of one's own can have it.

pub mod ablation;
mod alias;
mod attribute;
mod bits;
mod compiled;
mod document;
mod error;
mod filter;
mod ports;
mod probe;
mod range;
mod rule;
mod source;
mod ssh;
mod subject;
mod tag;
mod trial;
mod walk;
mod yaml;

pub use compiled::{Compiled, RouteUse};
pub use document::{MAX_TEXT, Policy};
pub use error::Error;
pub use filter::Filter;
pub use ports::Ports;
pub use probe::{Explanation, split_port};
pub use rule::Origin;
pub use ssh::{SSH_CHECK_URL, SshAction, write_ssh_accept};
pub use subject::{Person, Role, Subject};

#[cfg(test)]
mod tests;
