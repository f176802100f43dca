//! The command line. It decides nothing: each command is a call or two of the REST interface over
//! the unix socket of the running server, and the answer printed.
//!
//! Names, aliases, flags and printed fields are headscale's, so that scripts written for it work.

mod apikeys;
mod argv;
mod auth;
mod client;
mod config;
#[cfg(feature = "debug")]
mod debug;
mod dialect;
mod generate;
mod health;
mod nodes;
mod output;
mod policy;
mod preauthkeys;
mod reach;
mod rpcd;
mod serve;
mod session;
mod table;
mod users;
mod version;

use std::fmt;
use std::process::ExitCode;

use argh::FromArgs;

#[cfg(feature = "debug")]
pub use self::debug::answer as policy_case;

use self::config::Source;
use self::output::Format;
use self::session::Session;

/// A control server, relay and STUN server for Tailscale clients, in one small program.
///
/// `serve` starts it; the other commands speak to the running server.
#[derive(FromArgs)]
struct Root {
    /// configuration file; also HEADSCALE_CONFIG or GRAMSCALE_CONFIG
    #[argh(option, short = 'c', arg_name = "file")]
    config: Option<String>,
    /// take the settings from this UCI file instead
    #[argh(option, arg_name = "file")]
    uci: Option<String>,
    /// print json, json-line or yaml in place of text
    #[argh(option, short = 'o', arg_name = "format", default = "String::new()")]
    output: String,
    /// do not ask before something is destroyed
    #[argh(switch)]
    force: bool,
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Serve(serve::Serve),
    Users(users::Users),
    Nodes(nodes::Nodes),
    PreAuthKeys(preauthkeys::PreAuthKeys),
    Auth(auth::Auth),
    Policy(policy::Policy),
    ApiKeys(apikeys::ApiKeys),
    Config(config::Config),
    ConfigTest(config::ConfigTest),
    #[cfg(feature = "debug")]
    Debug(debug::Debug),
    Generate(generate::Generate),
    Health(health::Health),
    Reach(reach::Reach),
    Version(version::Version),
}

/// Runs the command that the program's arguments name.
pub fn main() -> ExitCode {
    gramscale_rt::fault::report();
    let mut args = Vec::new();
    for arg in std::env::args_os() {
        // Bytes that are no UTF-8 are no name or flag of ours either, and are refused as such.
        args.push(arg.to_string_lossy().into_owned());
    }
    let program = if args.is_empty() { String::new() } else { args.remove(0) };
    let guess = Format::guess(&args);
    let program = program.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("gramscale");
    if program == rpcd::NAME {
        return finish(guess, rpcd::run(&args));
    }
    let (format, result) = match read(program, args) {
        Ok(Read::Run(root)) => match Format::parse(&root.output) {
            Ok(format) => (format, run(root, format)),
            Err(e) => (Format::Human, Err(e)),
        },
        Ok(Read::Help(text)) => (guess, output::print(&text)),
        Err(e) => (guess, Err(e)),
    };
    finish(format, result)
}

fn finish(format: Format, result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprint!("{}", format.render_error(&e));
            ExitCode::FAILURE
        }
    }
}

enum Read {
    Help(String),
    Run(Root),
}

fn read(program: &str, args: Vec<String>) -> Result<Read, Error> {
    let args = argv::normalise(args)?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match Root::from_args(&[program], &args) {
        Ok(root) => Ok(Read::Run(root)),
        Err(exit) if exit.status.is_ok() => Ok(Read::Help(exit.output)),
        Err(exit) => Err(Error::Usage(one_line(&exit.output))),
    }
}

/// The parser's message as one sentence that begins as ours do.
fn one_line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut chars = joined.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    let sentence: String = first.into_iter().chain(chars).collect();
    format!("{sentence}; --help tells more")
}

/// What has more than a few locals is not inlined: the server would have them all on its stack.
fn run(root: Root, format: Format) -> Result<(), Error> {
    let source = Source { file: root.config.as_deref(), uci: root.uci.as_deref() };
    let session = || Session::open(source, format, root.force);
    match root.command {
        Command::Serve(command) => command.run(source),
        Command::Config(command) => command.run(source, format),
        Command::ConfigTest(_) => config::test(source, format),
        #[cfg(feature = "debug")]
        Command::Debug(command) => command.run(),
        Command::Generate(command) => command.run(format),
        Command::Version(_) => version::run(format),
        Command::ApiKeys(command) => command.run(&session()?),
        Command::Auth(command) => command.run(&session()?),
        Command::Health(_) => health::run(&session()?),
        Command::Reach(_) => reach::run(&session()?, &source.load(&[]).settings),
        Command::Nodes(command) => command.run(&session()?),
        Command::Policy(command) => command.run(&session()?),
        Command::PreAuthKeys(command) => command.run(&session()?),
        Command::Users(command) => command.run(&session()?),
    }
}

/// Why a command did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Error {
    /// The server's answer can't be used.
    Broken(String),
    /// Something on this machine failed; the whole sentence.
    Local(String),
    /// The server said no.
    Refused { status: u16, text: String },
    /// The server can't be reached.
    Unreachable { place: String, reason: String, denied: bool },
    /// The arguments make no sense; the whole sentence.
    Usage(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(what) => write!(f, "the server's answer can't be used: {what}"),
            Self::Local(text) | Self::Usage(text) => f.write_str(text),
            Self::Refused { status, text } if text.is_empty() => {
                write!(f, "the server refused with status {status} and no reason")
            }
            Self::Refused { text, .. } => f.write_str(text),
            Self::Unreachable { place, reason, denied } => {
                write!(f, "cannot reach the server at {place} ({reason}): ")?;
                f.write_str(if *denied {
                    "run the command as the user of the server, or as root"
                } else {
                    "is it running? start it with `gramscale serve`, or name its configuration \
                     with -c or its folder in GRAMSCALE_DATA_DIR"
                })
            }
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Read, Error> {
        read("headscale", line.split(' ').map(String::from).collect())
    }

    #[test]
    fn every_command_is_known_to_both_parsers() {
        for line in [
            "serve --listen 127.0.0.1:1 --server-url http://x --data-dir /d",
            "configtest",
            "version",
            "health",
            "config show",
            "dumpConfig",
            "generate private-key",
            "users create ann -d Ann -e a@x -p http://x",
            "users list -i 1 -n a -e b",
            "users destroy -i 1",
            "users rename -n a -r b",
            "nodes list -u ann",
            "nodes list-routes -i 1",
            "nodes register -u ann -k key",
            "nodes expire -i 1 -e 2030-01-01T00:00:00Z",
            "nodes expire -i 1 -d",
            "nodes rename -i 1 new",
            "nodes delete -i 1",
            "nodes tag -i 1 -t tag:a -t tag:b",
            "nodes approve -i 1",
            "nodes approve-routes -i 1 -r 10.0.0.0/8,::/0",
            "nodes backfillips",
            "preauthkeys create -u 1 --reusable --ephemeral --preapproved -e 1h --tags tag:a",
            "preauthkeys list",
            "preauthkeys expire -i 1",
            "preauthkeys delete --id 1",
            "apikeys create -e 90d",
            "apikeys list",
            "apikeys expire -p abc",
            "apikeys delete -i 1",
            "auth register --auth-id x -u ann",
            "auth approve --auth-id x",
            "auth reject --auth-id x",
            "policy get",
            "policy set -f x",
            "policy check --file x",
            "policy explain ann@ tag:web:443 --proto udp",
            "policy test",
            #[cfg(feature = "debug")]
            "debug policy-case x",
        ] {
            match parsed(line) {
                Ok(Read::Run(_)) => (),
                Ok(Read::Help(_)) => panic!("{line}: help"),
                Err(e) => panic!("{line}: {e}"),
            }
        }
    }

    #[test]
    fn help() {
        let Ok(Read::Help(text)) = parsed("node exp -h") else { panic!("no help") };
        assert!(text.starts_with("Usage: headscale nodes expire "), "{text}");
        let Ok(Read::Help(text)) = parsed("users") else { panic!("no help") };
        assert!(text.contains("create") && text.contains("rename"), "{text}");
    }

    #[test]
    fn one_sentence() {
        for (line, text) in [
            ("nodes expire", "required options not provided: --identifier; --help tells more"),
            ("nodes list --frob 1", "unrecognized argument: --frob; --help tells more"),
            ("users create", "required positional arguments not provided: name; --help tells more"),
            ("users create a b", "unrecognized argument: b; --help tells more"),
        ] {
            assert_eq!(parsed(line).err().map(|e| e.to_string()).as_deref(), Some(text), "{line}");
        }
    }
}
