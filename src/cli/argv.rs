//! The command line as people and scripts type it, turned into the one form that the parser
//! takes: global flags first, then the full names of the command, then its flags and arguments,
//! each value a word of its own.
//!
//! Scripts written for headscale use its aliases (`headscale node ls`), give flags before, between
//! and after the words, and write `--flag=value`, `-fvalue` and `--switch=true`.

use super::Error;

/// A word of the command line that names something to do.
struct Command {
    name: &'static str,
    aliases: &'static [&'static str],
    /// Flags that take no value, long and short.
    switches: &'static [&'static str],
    /// What may follow; empty for a command that is complete.
    verbs: &'static [Command],
}

const fn noun(
    name: &'static str,
    aliases: &'static [&'static str],
    verbs: &'static [Command],
) -> Command {
    Command { name, aliases, switches: &[], verbs }
}

const fn verb(name: &'static str, aliases: &'static [&'static str]) -> Command {
    Command { name, aliases, switches: &[], verbs: &[] }
}

const fn switched(
    name: &'static str,
    aliases: &'static [&'static str],
    switches: &'static [&'static str],
) -> Command {
    Command { name, aliases, switches, verbs: &[] }
}

const LIST: &[&str] = &["ls", "show"];
const CREATE: &[&str] = &["c", "new"];
const EXPIRE: &[&str] = &["revoke", "exp", "e"];
const COMMANDS: &[Command] = &[
    noun(
        "apikeys",
        &["apikey", "api"],
        &[
            verb("create", CREATE),
            verb("list", LIST),
            verb("expire", EXPIRE),
            verb("delete", &["remove", "del"]),
        ],
    ),
    noun("auth", &[], &[verb("register", &[]), verb("approve", &[]), verb("reject", &[])]),
    noun("config", &[], &[verb("show", &["dump"])]),
    verb("config show", &["dumpConfig"]),
    verb("configtest", &[]),
    #[cfg(feature = "debug")]
    noun("debug", &[], &[verb("policy-case", &[])]),
    noun("generate", &["gen"], &[verb("private-key", &[])]),
    verb("health", &[]),
    noun(
        "nodes",
        &["node"],
        &[
            verb("list", LIST),
            verb("list-routes", &["lsr", "routes"]),
            verb("register", &[]),
            switched("expire", &["logout", "exp", "e"], &["disable", "d"]),
            verb("rename", &[]),
            verb("delete", &["del"]),
            verb("tag", &["tags", "t"]),
            verb("approve", &[]),
            verb("approve-routes", &[]),
            verb("backfillips", &[]),
        ],
    ),
    noun(
        "policy",
        &[],
        &[
            verb("get", &["show", "view", "fetch"]),
            verb("set", &["put", "update"]),
            verb("check", &[]),
            verb("explain", &["why"]),
            verb("test", &[]),
        ],
    ),
    noun(
        "preauthkeys",
        &["preauthkey", "authkey", "pre"],
        &[
            switched("create", CREATE, &["reusable", "ephemeral", "preapproved"]),
            verb("list", LIST),
            verb("expire", EXPIRE),
            verb("delete", &["del", "rm", "d"]),
        ],
    ),
    verb("reach", &[]),
    switched("serve", &["server"], &["start-empty"]),
    noun(
        "users",
        &["user"],
        &[
            verb("create", CREATE),
            verb("list", LIST),
            verb("destroy", &["delete"]),
            verb("rename", &["mv"]),
            switched("set-role", &[], &["transfer"]),
        ],
    ),
    verb("version", &[]),
];

/// Turns `args` (without the name of the program) into what the parser takes.
///
/// A noun without a verb becomes a request for help, as does `help NOUN VERB`. The last of several
/// equal global flags counts.
pub(super) fn normalise(args: Vec<String>) -> Result<Vec<String>, Error> {
    let mut line = Line { level: COMMANDS, ..Line::default() };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            line.rest.push(arg);
            line.rest.extend(args);
            break;
        }
        match Flag::read(&arg) {
            Some(flag) => line.flag(flag, &mut args)?,
            None => line.word(arg)?,
        }
    }
    Ok(line.finish())
}

/// What was read so far.
#[derive(Default)]
struct Line {
    config: Option<String>,
    uci: Option<String>,
    output: Option<String>,
    force: bool,
    help: bool,
    words: Vec<String>,
    rest: Vec<String>,
    level: &'static [Command],
    switches: &'static [&'static str],
}

impl Line {
    fn word(&mut self, arg: String) -> Result<(), Error> {
        if self.level.is_empty() {
            self.rest.push(arg);
        } else if arg == "help" {
            self.help = true;
        } else {
            let named = |c: &&Command| c.name == arg || c.aliases.contains(&arg.as_str());
            let Some(command) = self.level.iter().find(named) else {
                return Err(self.unknown(&arg));
            };
            self.words.extend(command.name.split(' ').map(String::from));
            self.level = command.verbs;
            self.switches = command.switches;
        }
        Ok(())
    }

    fn flag(&mut self, flag: Flag<'_>, args: &mut std::vec::IntoIter<String>) -> Result<(), Error> {
        let given = || flag.value.map(String::from);
        let mut value = || {
            let missing = || Error::Usage(format!("give {} a value", flag.typed()));
            given().or_else(|| args.next()).ok_or_else(missing)
        };
        match flag.name {
            "c" | "config" => self.config = Some(value()?),
            "uci" => self.uci = Some(value()?),
            "o" | "output" => self.output = Some(value()?),
            "h" | "help" => self.help = true,
            "version" | "V" if self.words.is_empty() => self.word("version".into())?,
            "force" => self.force = flag.switch()?,
            name if name.starts_with("bypass-") => return Err(bypass(name)),
            name if self.switches.contains(&name) => {
                if flag.switch()? {
                    self.rest.push(flag.typed());
                }
            }
            _ => {
                self.rest.push(flag.typed());
                self.rest.extend(given().or_else(|| args.next()));
            }
        }
        Ok(())
    }

    fn unknown(&self, arg: &str) -> Error {
        let names: Vec<&str> =
            self.level.iter().map(|c| c.name).filter(|name| !name.contains(' ')).collect();
        let place = self.words.first().map_or(String::new(), |noun| format!(" of \"{noun}\""));
        Error::Usage(format!("\"{arg}\" is no command{place}; use one of {}", names.join(", ")))
    }

    fn finish(self) -> Vec<String> {
        let mut out = Vec::new();
        for (name, value) in
            [("--config", self.config), ("--uci", self.uci), ("--output", self.output)]
        {
            if let Some(value) = value {
                out.extend([name.to_owned(), value]);
            }
        }
        if self.force {
            out.push("--force".into());
        }
        out.extend(self.words);
        if self.help || !self.level.is_empty() {
            out.push("--help".into());
        } else {
            out.extend(self.rest);
        }
        out
    }
}

/// headscale's `policy` commands can open the database of a server that is down; ours can't.
fn bypass(name: &str) -> Error {
    Error::Usage(format!("only the server opens its database; start it, and leave --{name} out"))
}

/// A flag as it was typed.
struct Flag<'a> {
    long: bool,
    name: &'a str,
    value: Option<&'a str>,
}

impl<'a> Flag<'a> {
    /// `None` if `arg` is no flag; a single `-` is none (it means standard input).
    fn read(arg: &'a str) -> Option<Self> {
        if let Some(text) = arg.strip_prefix("--") {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (text, None),
            };
            return Some(Self { long: true, name, value });
        }
        let text = arg.strip_prefix('-')?;
        let first = text.chars().next()?;
        let (name, value) = text.split_at(first.len_utf8());
        let value = (!value.is_empty()).then(|| value.strip_prefix('=').unwrap_or(value));
        Some(Self { long: false, name, value })
    }

    fn typed(&self) -> String {
        format!("{}{}", if self.long { "--" } else { "-" }, self.name)
    }

    fn switch(&self) -> Result<bool, Error> {
        match self.value {
            None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(Error::Usage(format!(
                "{} is on or off: give it no value, true or false, not \"{other}\"",
                self.typed()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(line: &str) -> Result<String, String> {
        let args = line.split(' ').filter(|a| !a.is_empty());
        let args = args.map(|a| if a == "''" { String::new() } else { a.to_owned() });
        let join = |args: Vec<String>| {
            let quoted = args.iter().map(|a| if a.is_empty() { "''" } else { a });
            quoted.collect::<Vec<_>>().join(" ")
        };
        normalise(args.collect()).map(join).map_err(|e| e.to_string())
    }

    #[test]
    fn one_form() {
        for (typed, canonical) in [
            ("users list", "users list"),
            ("user ls", "users list"),
            ("user show -n bob", "users list -n bob"),
            ("users c bob -d Bob", "users create bob -d Bob"),
            ("users create bob --display-name=Bob", "users create bob --display-name Bob"),
            ("users create bob -dBob -e=b@x.org", "users create bob -d Bob -e b@x.org"),
            ("users create -- -odd", "users create -- -odd"),
            ("users destroy -n bob --force", "--force users destroy -n bob"),
            ("--force users delete -n bob", "--force users destroy -n bob"),
            ("users delete --force=false -n bob", "users destroy -n bob"),
            ("users create --force=true bob", "--force users create bob"),
            ("user mv -n a -r b", "users rename -n a -r b"),
            ("nodes list -o json", "--output json nodes list"),
            ("nodes -o json ls", "--output json nodes list"),
            ("-ojson node ls", "--output json nodes list"),
            ("-o=json node ls --output yaml", "--output yaml nodes list"),
            ("node ls --output=json-line", "--output json-line nodes list"),
            ("-c /a/b.yaml nodes lsr", "--config /a/b.yaml nodes list-routes"),
            ("serve --config=x --start-empty", "--config x serve --start-empty"),
            ("configtest --uci /etc/config/x", "--uci /etc/config/x configtest"),
            ("nodes -i 1 expire", "nodes expire -i 1"),
            ("node e -i=1 -d", "nodes expire -i 1 -d"),
            ("node logout -i1 --disable=true", "nodes expire -i 1 --disable"),
            ("node exp -i 1 --disable=0", "nodes expire -i 1"),
            ("node t -i 1 -t tag:a,tag:b -t tag:c", "nodes tag -i 1 -t tag:a,tag:b -t tag:c"),
            ("nodes approve-routes -i 1 -r ''", "nodes approve-routes -i 1 -r ''"),
            ("nodes approve-routes -i 1 --routes=", "nodes approve-routes -i 1 --routes ''"),
            ("nodes rename -i 1 new", "nodes rename -i 1 new"),
            ("nodes rename new -i 1", "nodes rename new -i 1"),
            ("nodes rename list -i 1", "nodes rename list -i 1"),
            (
                "pre new -u 1 --reusable --tags=tag:x",
                "preauthkeys create -u 1 --reusable --tags tag:x",
            ),
            ("authkey c --reusable=false --ephemeral -u 1", "preauthkeys create --ephemeral -u 1"),
            ("preauthkey d -i 3", "preauthkeys delete -i 3"),
            ("api del -p abc", "apikeys delete -p abc"),
            ("apikey revoke --id 3", "apikeys expire --id 3"),
            ("policy put -f -", "policy set -f -"),
            ("gen private-key", "generate private-key"),
            ("dumpConfig", "config show"),
            ("--version", "version"),
            ("users", "users --help"),
            ("", "--help"),
            ("help", "--help"),
            ("-h", "--help"),
            ("help user new", "users create --help"),
            ("nodes expire -i 1 -h", "nodes expire --help"),
            // A value that looks like a flag stays a value.
            ("users create x -d -o", "users create x -d -o"),
            ("users create x --display-name --force", "users create x --display-name --force"),
        ] {
            assert_eq!(turned(typed).as_deref(), Ok(canonical), "{typed}");
        }
    }

    #[test]
    fn canonical_stays() {
        let line = "--config a --output json --force nodes expire -i 1 --disable";
        assert_eq!(turned(line).as_deref(), Ok(line));
    }

    #[test]
    fn faults() {
        for (typed, message) in [
            ("frob", "\"frob\" is no command; use one of apikeys, auth, config, configtest, "),
            ("nodes frob", "\"frob\" is no command of \"nodes\"; use one of list, list-routes, "),
            ("nodes list -o", "give -o a value"),
            ("nodes list --config", "give --config a value"),
            ("users destroy --force=maybe", "--force is on or off: give it no value, true or "),
            ("pre create --reusable=2", "--reusable is on or off"),
            ("policy get --bypass-server-and-access-database-directly", "only the server opens "),
            // Names of before 0.29 are gone there as well.
            ("namespaces list", "\"namespaces\" is no command"),
        ] {
            let error = turned(typed).expect_err(typed);
            assert!(error.starts_with(message), "{typed}: {error}");
        }
    }
}
