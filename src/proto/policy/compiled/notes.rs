//! What the author of a policy should know.

use std::fmt;

use crate::policy::document::alias::Alias;

use super::Compiled;

/// How many lines are listed at most, of notes or of failures.
const MAX_LISTED: usize = 20;

impl Compiled {
    /// What of it is good, but does not do what its author may expect, in words: members without
    /// effect here, and names of users that nobody has (yet).
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> =
            self.policy.without_effect().iter().map(|&note| note.to_owned()).collect();
        let mut nobody = |place: &dyn fmt::Display, alias: &Alias, users: &[u64]| {
            if let (Alias::User(name), []) = (alias, users) {
                notes.push(format!("{place}: nobody is called \"{name}\""));
            }
        };
        let table = &self.policy.table;
        for (at, alias) in table.aliases.iter().enumerate() {
            if let (Some((line, _)), Some(users)) = (table.places.get(at), self.users.get(at)) {
                nobody(&format_args!("line {line}"), alias, users);
            }
        }
        for group in &self.policy.names.groups {
            for member in &group.members {
                if let Ok(users) = self.people.users(member, &self.policy.names) {
                    nobody(&group.name, member, &users);
                }
            }
        }
        shortened(notes)
    }
}

/// The first lines of a list, and how many more there are.
pub(super) fn shortened(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(MAX_LISTED);
    lines.truncate(MAX_LISTED);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines
}
