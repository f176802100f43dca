//! The server's tasks: what they decide lies in the modules below, they carry it out.

pub mod admin;
pub mod control;
mod derp;
pub mod derpmap;
pub mod logger;
mod metrics;
pub mod options;
mod outside;
pub mod pages;
mod records;
pub mod relay;
mod router;
mod run;
mod secure;
#[cfg(test)]
mod slow_disk;
pub mod state;
pub mod stun;

pub use options::Options;
pub use outside::{is_own, is_public};
pub use run::{End, Reread, StartError, lan_address, run};
