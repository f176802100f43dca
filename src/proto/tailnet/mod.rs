//! The state of one tailnet.

pub mod record;
pub mod write;
