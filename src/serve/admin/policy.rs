//! `/api/v1/policy`.

use gramscale_proto::tailnet::write::PolicyText;
use gramscale_proto::wire::json::Json;

use super::input::Body;
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
            (PolicySource::File { text, .. }, _) => Ok(shown(text, None)),
            (PolicySource::Store, Some(PolicyText { text, at })) => {
                Ok(shown(text, Some(&at.to_string())))
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
        self.tailnet.set_policy(&text, self.now)?;
        Ok(shown(&text, Some(&self.now.wall.to_string())))
    }

    pub(super) fn check_policy(&self, body: &Body) -> Done {
        self.tailnet.check_policy(&body.text("policy")?)?;
        Ok(b"{}".to_vec())
    }
}

/// The policy and when it was set; a file's time is Go's zero time, as headscale has it.
fn shown(text: &str, at: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut json = Json::new(&mut out);
    json.open('{').key("policy").string(text).key("updatedAt");
    json.string(at.unwrap_or("0001-01-01T00:00:00Z")).close('}');
    out
}
