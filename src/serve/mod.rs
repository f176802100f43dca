//! The server's tasks: what they decide lies in the modules below, they carry it out.

pub mod admin;
pub mod pages;
pub mod relay;
