//! `/api/v1/policy`.

use gramscale_proto::tailnet::write::PolicyText;
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::json::Json;

use super::input::{Body, query};
use super::problem::Problem;
use super::{Admin, Done};

/// Where the policy in force comes from (`policy.mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicySource<'a> {
    /// A file, which an administrator edits: the interface only shows it.
    File {
        /// Where it lies; empty if none is named, which allows everything.
        path: &'a str,
        /// What it held when it was put in force.
        text: &'a str,
    },
    /// The store, through this interface.
    Store,
}

impl Admin<'_> {
    pub(super) fn get_policy(&self) -> Done {
        match (self.policy, self.tailnet.policy()) {
            (PolicySource::File { text, .. }, _) => Ok(shown(text, None, &[])),
            (PolicySource::Store, Some(PolicyText { text, at })) => {
                Ok(shown(text, Some(&at.to_string()), &[]))
            }
            (PolicySource::Store, None) => Err(Problem::new(
                404,
                "no policy is set, so every node may reach every other; set one with policy set",
            )),
        }
    }

    pub(super) fn set_policy(&mut self, body: &Body) -> Done {
        if let PolicySource::File { path: "", .. } = self.policy {
            return Err(Problem::invalid(
                "policy.mode is file, but policy.path names none: set that, or the mode to \
                 database",
            ));
        }
        if let PolicySource::File { path, .. } = self.policy {
            return Err(Problem::invalid(format!(
                "the policy is the file {path}: edit that and send the server SIGHUP, or set \
                 policy.mode to database"
            )));
        }
        let text = body.text("policy")?;
        let noted = self.tailnet.set_policy(&text, self.now)?;
        Ok(shown(&text, Some(&self.now.wall.to_string()), &noted))
    }

    pub(super) fn check_policy(&self, body: &Body) -> Done {
        let noted = self.tailnet.check_policy(&body.text("policy")?)?;
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        notes(&noted, json.open('{'));
        json.close('}');
        Ok(out)
    }

    /// Runs the tests of the policy in force.
    pub(super) fn test_policy(&self) -> Done {
        let count = self.tailnet.test_policy()?;
        Ok(format!("{{\"tests\":{count}}}").into_bytes())
    }

    /// Which rule allows a connection, or why none does.
    pub(super) fn explain_policy(&self, head: &Head) -> Done {
        let given = |name| query(head, name).unwrap_or_default();
        let (source, destination) = (given("src"), given("dst"));
        if source.is_empty() || destination.is_empty() {
            return Err(Problem::invalid("name both ends: explain?src=ann@&dst=tag:web:443"));
        }
        let answer = self.tailnet.explain_policy(&source, &destination, &given("proto"));
        let answer = answer.map_err(Problem::invalid)?;
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{').key("allowed").bool(answer.is_allowed());
        json.key("reason").string(&answer.to_string());
        if let Some(rule) = answer.rule().filter(|rule| rule.line > 0) {
            json.key("line").int(rule.line.into());
            json.key("text").string(self.policy_line(rule.line));
        }
        json.close('}');
        Ok(out)
    }

    /// A line of the policy in force, from 1.
    fn policy_line(&self, line: u32) -> &str {
        let text = match self.policy {
            PolicySource::File { text, .. } => text,
            PolicySource::Store => self.tailnet.policy().map_or("", |policy| &policy.text),
        };
        text.lines().nth(line as usize - 1).unwrap_or_default().trim()
    }
}

/// The policy and when it was set; a file's time is Go's zero time, as headscale has it.
fn shown(text: &str, at: Option<&str>, noted: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut json = Json::new(&mut out);
    json.open('{').key("policy").string(text).key("updatedAt");
    notes(noted, json.string(at.unwrap_or("0001-01-01T00:00:00Z")));
    json.close('}');
    out
}

/// What the author of a policy should know, if there is anything.
fn notes(noted: &[String], json: &mut Json<'_>) {
    if noted.is_empty() {
        return;
    }
    json.key("notes").open('[');
    noted.iter().for_each(|note| _ = json.string(note));
    json.close(']');
}
