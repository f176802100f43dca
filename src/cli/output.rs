//! How results reach the terminal or a script: for people, as JSON or as YAML.

use std::io::Write as _;

use serde_json::Value;

use super::Error;
use super::dialect::object;

/// What `-o` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Sentences and tables.
    Human,
    /// JSON, indented with tabs.
    Json,
    /// JSON on one line.
    JsonLine,
    /// YAML.
    Yaml,
}

impl Format {
    /// Reads the value of `-o`; an empty one asks for nothing.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            "json-line" => Ok(Self::JsonLine),
            "yaml" => Ok(Self::Yaml),
            other => Err(Error::Usage(format!(
                "there is no output format \"{other}\"; use json, json-line or yaml"
            ))),
        }
    }

    /// What the arguments ask for, as well as it can be told: for the errors of arguments that
    /// can't be read.
    pub(super) fn guess(args: &[String]) -> Self {
        let mut found = Self::Human;
        let mut follows = false;
        for arg in args {
            let text = match arg.strip_prefix("--output").or_else(|| arg.strip_prefix("-o")) {
                Some(rest) => rest.strip_prefix('=').unwrap_or(rest),
                None if follows => arg,
                None => "",
            };
            follows = arg == "--output" || arg == "-o";
            found = Self::parse(text).ok().filter(|f| *f != Self::Human).unwrap_or(found);
        }
        found
    }

    /// The text of `value`, or `human` for people, with a line end.
    pub(super) fn render(self, value: &Value, human: &str) -> String {
        let mut out = String::new();
        match self {
            Self::Human => out.push_str(human),
            Self::Json => json(value, 0, &mut out),
            Self::JsonLine => out = value.to_string(),
            Self::Yaml => yaml(value, 0, &mut out),
        }
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out
    }

    /// The text of an error.
    pub(super) fn render_error(self, error: &Error) -> String {
        let text = error.to_string();
        self.render(&object([("error", text.as_str().into())]), &format!("Error: {text}"))
    }
}

/// Writes to standard output. A reader that has gone away (`| head`) is no error.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::Local(format!("cannot write the result: {e}")))
        }
        _ => Ok(()),
    }
}

fn json(value: &Value, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n('\t', depth));
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                line(depth + 1, out);
                json(item, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        Value::Object(members) if !members.is_empty() => {
            out.push('{');
            for (i, (key, item)) in members.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                line(depth + 1, out);
                out.push_str(&quoted(key));
                out.push_str(": ");
                json(item, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// Writes `value` at the place where its first line begins; further lines are indented by `depth`
/// steps.
fn yaml(value: &Value, depth: usize, out: &mut String) {
    let indent = |i: usize, out: &mut String| {
        if i > 0 {
            out.extend(std::iter::repeat_n("  ", depth));
        }
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                indent(i, out);
                out.push_str("- ");
                yaml(item, depth + 1, out);
            }
        }
        Value::Object(members) if !members.is_empty() => {
            for (i, (key, item)) in members.iter().enumerate() {
                indent(i, out);
                out.push_str(&plain(key));
                out.push(':');
                if is_nested(item) {
                    out.push('\n');
                    out.extend(std::iter::repeat_n("  ", depth + 1));
                } else {
                    out.push(' ');
                }
                yaml(item, depth + 1, out);
            }
        }
        Value::String(text) => {
            out.push_str(&plain(text));
            out.push('\n');
        }
        other => {
            out.push_str(&other.to_string());
            out.push('\n');
        }
    }
}

fn is_nested(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => false,
    }
}

/// A YAML text: bare where no reader can take it for something else, else as JSON writes it, which
/// YAML reads too.
fn plain(text: &str) -> String {
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/_.:@+-".contains(c))
        && !text.ends_with(':')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    if bare { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        serde_json::from_str(
            r#"[{"id":1,"name":"a b","tags":["tag:x","100.64.0.1"],"user":{"id":2},"none":{}},{}]"#,
        )
        .expect("valid")
    }

    #[test]
    fn formats() {
        let indented = "[\n\t{\n\t\t\"id\": 1,\n\t\t\"name\": \"a b\",\n\t\t\"none\": {},\n\
            \t\t\"tags\": [\n\t\t\t\"tag:x\",\n\t\t\t\"100.64.0.1\"\n\t\t],\n\
            \t\t\"user\": {\n\t\t\t\"id\": 2\n\t\t}\n\t},\n\t{}\n]\n";
        assert_eq!(Format::Json.render(&sample(), "x"), indented);
        let line = "[{\"id\":1,\"name\":\"a b\",\"none\":{},\"tags\":[\"tag:x\",\"100.64.0.1\"],\
            \"user\":{\"id\":2}},{}]\n";
        assert_eq!(Format::JsonLine.render(&sample(), "x"), line);
        let yaml = "- id: 1\n  name: \"a b\"\n  none: {}\n  tags:\n    - tag:x\n    \
            - \"100.64.0.1\"\n  user:\n    id: 2\n- {}\n";
        assert_eq!(Format::Yaml.render(&sample(), "x"), yaml);
        assert_eq!(Format::Human.render(&sample(), "done"), "done\n");
        assert_eq!(Format::Human.render(&sample(), ""), "");
        assert_eq!(Format::Json.render(&Value::Array(Vec::new()), ""), "[]\n");
        assert_eq!(Format::Yaml.render(&Value::Array(Vec::new()), ""), "[]\n");
        assert_eq!(Format::Yaml.render(&"hskey-api-x".into(), ""), "hskey-api-x\n");
    }

    #[test]
    fn yaml_texts() {
        for text in ["true", "No", "", "1", "0x1", "a: b", "a:", "- a", "é", "a\nb", "~", "::1"] {
            assert!(plain(text).starts_with('"'), "{text}");
        }
        for text in ["nodekey:00ff", "/etc/x.y", "tag:a", "ann@example.org", "nodes"] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn errors() {
        let error = Error::Usage("no \"x\"".into());
        assert_eq!(Format::Human.render_error(&error), "Error: no \"x\"\n");
        assert_eq!(Format::JsonLine.render_error(&error), "{\"error\":\"no \\\"x\\\"\"}\n");
        assert_eq!(Format::Yaml.render_error(&error), "error: \"no \\\"x\\\"\"\n");
    }

    #[test]
    fn guesses() {
        let guess =
            |line: &str| Format::guess(&line.split(' ').map(String::from).collect::<Vec<_>>());
        assert_eq!(guess("nodes list -o json"), Format::Json);
        assert_eq!(guess("nodes list -ojson-line"), Format::JsonLine);
        assert_eq!(guess("--output=yaml frob"), Format::Yaml);
        assert_eq!(guess("--output yaml frob"), Format::Yaml);
        assert_eq!(guess("users create json"), Format::Human);
        assert_eq!(guess("nodes list -o xml"), Format::Human);
        assert!(Format::parse("xml").is_err());
    }
}
