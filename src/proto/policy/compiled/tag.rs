//! Who may give which tag, and whose routes need no approval.

use crate::policy::ablation::Part;
use crate::policy::document::alias::Alias;
use crate::wire::prefix::Prefix;

use super::subject::Subject;
use super::{Compiled, Mode};

impl Compiled {
    /// Whether nodes can have the tag at all: it is in `tagOwners`.
    pub fn defines_tag(&self, tag: &str) -> bool {
        self.policy.defines_tag(tag)
    }

    /// Whether a user may give the tag to nodes of its own: it is among the owners, may give a tag
    /// that is, or has a role that may give any.
    pub fn may_tag(&self, user: u64, tag: &str) -> bool {
        (self.people.may_tag(user) && self.defines_tag(tag))
            || self.owned(tag, &mut Vec::new(), &|alias| self.has_user(alias, user))
    }

    /// Whether a tagged node may take on the tag: it has it, or one of its tags is an owner.
    pub fn may_retag(&self, tags: &[String], tag: &str) -> bool {
        let has = |name: &String| tags.contains(name);
        tags.iter().any(|own| own == tag)
            || self.owned(tag, &mut Vec::new(), &|alias| match alias {
                Alias::Tag(owner) => has(owner),
                Alias::Tagged => !tags.is_empty(),
                _ => false,
            })
    }

    /// Whether a route of the node needs nobody's approval: the policy's `autoApprovers` list it
    /// or a prefix that covers it, with an approver that the node is of. Default routes only by
    /// `exitNode`.
    pub fn approves(&self, subject: &Subject<'_>, route: &Prefix) -> bool {
        if self.mode == Mode::Open || Part::Approval.is_off() {
            return false;
        }
        let by = |alias: &Alias| self.is_of(subject, alias);
        if route.is_exit() {
            return self.policy.exit_approvers.iter().any(by);
        }
        let covering =
            self.policy.approvers.iter().filter(|(p, _)| !p.is_exit() && p.covers(route));
        covering.flat_map(|(_, approvers)| approvers).any(by)
    }

    fn is_of(&self, subject: &Subject<'_>, alias: &Alias) -> bool {
        match alias {
            Alias::Tag(tag) => subject.tags.contains(tag),
            Alias::Tagged => !subject.tags.is_empty(),
            _ => subject.tags.is_empty() && subject.user.is_some_and(|u| self.has_user(alias, u)),
        }
    }

    fn has_user(&self, alias: &Alias, user: u64) -> bool {
        match alias {
            Alias::Member => true,
            Alias::Tag(_) => false,
            _ => self.people.users(alias, &self.policy.names).is_ok_and(|u| u.contains(&user)),
        }
    }

    /// Whether an owner of the tag, or of a tag that owns it, is one of those that `by` knows.
    fn owned<'a>(
        &'a self,
        tag: &'a str,
        seen: &mut Vec<&'a str>,
        by: &dyn Fn(&Alias) -> bool,
    ) -> bool {
        if seen.contains(&tag) {
            return false;
        }
        seen.push(tag);
        let place = self.policy.owners.binary_search_by(|(name, _)| name.as_str().cmp(tag));
        let owners = place.ok().and_then(|place| self.policy.owners.get(place));
        owners.is_some_and(|(_, owners)| {
            owners.iter().any(|owner| {
                by(owner) || matches!(owner, Alias::Tag(tag) if self.owned(tag, seen, by))
            })
        })
    }
}
