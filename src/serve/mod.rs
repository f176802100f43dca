//! The server's tasks: what they decide lies in the modules below, they carry it out.

pub mod admin;
pub mod control;
pub mod derpmap;
pub mod pages;
pub mod relay;
mod router;
mod run;
pub mod state;
pub mod stun;

pub use run::{Options, run};
