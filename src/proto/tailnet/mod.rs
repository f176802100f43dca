//! The state of one tailnet.

pub mod record;
