//! A Tailscale-compatible control server, DERP relay and STUN server in one small program.
//!
//! `docs/architecture.md` draws the whole on one page.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod net;
pub mod serve;
pub mod store;
pub mod version;
