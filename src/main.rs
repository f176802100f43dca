//! The `gramscale` program.
fn main() {}
