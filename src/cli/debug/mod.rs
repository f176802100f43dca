//! `debug`: what tests and the curious ask the program itself. None of it needs a server, and none
//! of it is in the build for routers.

mod case;

use argh::FromArgs;
use serde_json::{Value, json};

use super::Error;
use super::output;

pub use self::case::answer;

/// Look into the program itself; no server is needed
#[derive(FromArgs)]
#[argh(subcommand, name = "debug")]
pub(super) struct Debug {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    PolicyCase(PolicyCase),
}

/// Say what policies make of recorded tailnets: one JSON line for each line of the file
#[derive(FromArgs)]
#[argh(subcommand, name = "policy-case")]
struct PolicyCase {
    /// the cases, one JSON object a line
    #[argh(positional, arg_name = "file")]
    file: String,
}

impl Debug {
    pub(super) fn run(self) -> Result<(), Error> {
        let Verb::PolicyCase(PolicyCase { file }) = self.verb;
        let text = std::fs::read_to_string(&file)
            .map_err(|e| Error::Local(format!("cannot read the cases from {file}: {e}")))?;
        let mut wrong = 0;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let case = serde_json::from_str::<Value>(line).map_err(|e| e.to_string());
            let id = case.as_ref().map_or(Value::Null, |case| case["id"].clone());
            let answer = case.and_then(|case| answer(&case)).unwrap_or_else(|error| {
                wrong += 1;
                let error = json!({ "message": format!("this is no case: {error}") });
                json!({ "id": id, "accepted": false, "error": error, "expect": null })
            });
            output::print(&format!("{answer}\n"))?;
        }
        if wrong > 0 {
            return Err(Error::Local(format!("{wrong} of the lines in {file} are no cases")));
        }
        Ok(())
    }
}
