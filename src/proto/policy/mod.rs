//! The access policy: document, checks, and what it compiles to.
//!
//! [`Policy::parse`] reads and checks a document, [`Compiled`] applies it to the users and nodes
//! there are. The language is that of the hosted service (its documentation: "Syntax reference for
//! the tailnet policy file") as far as a server of one's own can have it.

pub mod ablation;
mod compiled;
mod document;
mod error;
mod range;
mod role;

pub use compiled::{
    Compiled, Explanation, Filter, Person, RouteUse, SSH_CHECK_URL, Subject, split_port,
    write_ssh_accept,
};
pub use document::ports::Ports;
pub use document::rule::Origin;
pub use document::ssh::SshAction;
pub use document::{MAX_TEXT, Policy};
pub use error::Error;
pub use role::Role;

#[cfg(test)]
mod tests;
