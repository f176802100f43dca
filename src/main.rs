//! The `gramscale` program.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    gramscale::cli::main()
}
