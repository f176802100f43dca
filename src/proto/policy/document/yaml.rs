//! The YAML in which headscale's policies were written before release 0.23.

use std::borrow::Cow;

use crate::policy::error::Error;
use crate::wire::hujson::{Kind, Member, Value};
use crate::wire::yaml;

use super::Policy;

impl Policy {
    /// [`Self::parse`] for what begins as HuJSON does, else the same document in YAML, in which
    /// numbers are texts.
    pub fn parse_any(text: &str) -> Result<Self, Error> {
        let start = text.trim_start_matches('\u{feff}').trim_start();
        if start.is_empty() || start.starts_with(['{', '/', '[']) {
            return Self::parse(text);
        }
        let error = |e: yaml::YamlError| Error {
            line: e.line,
            column: 1,
            path: String::new(),
            message: e.to_string(),
        };
        let tree = yaml::parse(text).map_err(error)?;
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
        Self::from_value(&value(&tree, &starts), text)
    }
}

/// The tree as one of HuJSON; what stands in a line stands where that begins.
fn value<'a>(node: &'a yaml::Node, starts: &[usize]) -> Value<'a> {
    let start =
        |line: u32| starts.get((line as usize).wrapping_sub(1)).copied().unwrap_or_default();
    let kind = match &node.value {
        yaml::Value::Null => Kind::Null,
        yaml::Value::Text(text) => Kind::String(Cow::Borrowed(text)),
        yaml::Value::Plain(text) => match text.as_str() {
            "true" | "True" | "TRUE" => Kind::Bool(true),
            "false" | "False" | "FALSE" => Kind::Bool(false),
            text => Kind::String(Cow::Borrowed(text)),
        },
        yaml::Value::List(items) => {
            Kind::Array(items.iter().map(|item| value(item, starts)).collect())
        }
        yaml::Value::Map(entries) => {
            let member = |entry: &'a yaml::Entry| Member {
                start: start(entry.line),
                name: Cow::Borrowed(&entry.key),
                value: value(&entry.value, starts),
            };
            Kind::Object(entries.iter().map(member).collect())
        }
    };
    Value { start: start(node.line), end: start(node.line), kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "\
# who may what
groups:
  group:dev: [ann@]
tagOwners:
  tag:web:
    - group:dev
hosts:
  nas: 10.0.0.1
randomizeClientPort: true
acls:
  - action: accept
    proto: 6
    src: ['group:dev', \"*\"]
    dst:
      - tag:web:80,443
      - nas:*
";

    #[test]
    fn means_what_its_json_means() {
        let json = r#"{"groups":{"group:dev":["ann@"]},"tagOwners":{"tag:web":["group:dev"]},
            "hosts":{"nas":"10.0.0.1"},"randomizeClientPort":true,
            "acls":[{"action":"accept","proto":"6","src":["group:dev","*"],
                     "dst":["tag:web:80,443","nas:*"]}]}"#;
        let (yaml, json) = (Policy::parse_any(YAML).unwrap(), Policy::parse_any(json).unwrap());
        let shown = |policy: &Policy| {
            let rules =
                policy.rules.iter().map(|rule| (rule.source, &rule.targets, &rule.protocols));
            format!("{:?} {:?} {:?}", policy.names, policy.table.aliases, rules.collect::<Vec<_>>())
        };
        assert_eq!(shown(&yaml), shown(&json));
        assert_eq!(yaml.rules.first().map(|rule| rule.origin.line), Some(11));
    }

    #[test]
    fn faults_name_their_line() {
        for (text, line, why) in [
            (
                "acls:\n  - action: accept\n    src: ['group:x']\n    dst: []\n",
                3,
                "group not defined",
            ),
            ("groups: {}\nfrob: 1\n", 2, "unknown field"),
            ("groups: {}\nGroups: {}\n", 2, "duplicate"),
            ("groups: {}\ngroups: {}\n", 2, ""),
            ("acls: [\n", 1, ""),
        ] {
            let error = Policy::parse_any(text).unwrap_err();
            assert!(error.line == line && error.message.contains(why), "{text}: {error}");
        }
        assert!(Policy::parse_any("").is_err() && Policy::parse_any(" // x\n{}").is_ok());
    }
}
