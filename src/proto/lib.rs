//! The pure part of gramscale: no I/O, no clock, no randomness.
//!
//! From the bottom up, each module uses only those above it in this list: [`wire`] (bytes to
//! values and back), [`policy`] (who may reach whom), [`tailnet`] (the state), [`netmap`] (what
//! one node is told about it).
#![forbid(unsafe_code)]

pub mod netmap;
pub mod policy;
pub mod tailnet;
pub mod wire;
