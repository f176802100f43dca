//! Bytes to values and back: one protocol or text format a file.
//!
//! Nothing here does I/O, reads a clock or draws random numbers; what is random comes in as an
//! argument. Parsers take outside data: they never panic, and every length has a limit.

pub mod derp;
pub mod derpmap;
pub mod h2;
pub mod http1;
pub mod hujson;
pub mod json;
pub mod key;
pub mod noise;
mod pieces;
pub mod prefix;
pub mod sorted;
pub mod stun;
pub mod tailcfg;
pub mod time;
pub mod uci;
pub mod websocket;
pub mod yaml;
pub mod zstd;
