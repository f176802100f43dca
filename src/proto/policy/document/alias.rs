//! Aliases: what a policy calls nodes, people and addresses.

use std::cell::OnceCell;
use std::net::IpAddr;

use crate::policy::ablation::Part;
use crate::policy::role::Role;
use crate::wire::prefix::Prefix;

use super::fault::Fault;
use super::walk::At;

/// What an alias stands for, names resolved as far as the document alone can.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alias {
    /// `*` where anything is meant: destinations and targets.
    All,
    /// `*` as a source: the tailnet's ranges and its approved subnet routes.
    Wild,
    /// `autogroup:danger-all`: any address, even from outside the tailnet.
    Danger,
    /// `autogroup:internet`.
    Internet,
    /// `autogroup:self`: the nodes of the source's own user.
    Own,
    /// `autogroup:member`: nodes that belong to users.
    Member,
    /// `autogroup:tagged`.
    Tagged,
    /// `autogroup:admin`, `autogroup:auditor`, ...: nodes of the users with a role.
    Role(Role),
    /// A user's name (with a trailing `@`), email or provider identifier.
    User(String),
    /// `user:*@domain`: the users whose email is in the domain; kept without the `@`.
    Domain(String),
    /// A group, by its place among the groups.
    Group(usize),
    /// `tag:x`, the prefix included.
    Tag(String),
    /// An address, a prefix, or a host by name.
    Prefix(Prefix),
}

impl Alias {
    /// Whether nodes are in it for what they are, and not for their addresses.
    pub(crate) fn is_identity(&self) -> bool {
        !matches!(
            self,
            Self::All | Self::Wild | Self::Danger | Self::Internet | Self::Own | Self::Prefix(_)
        )
    }
}

/// Where an alias stands: not every form is good everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// `src` of an ACL or a grant.
    Source,
    /// `dst` of an ACL or a grant.
    Destination,
    /// An owner of a tag, or an approver of routes.
    Owner,
    /// A member of a group.
    Member,
    /// `target` of node attributes.
    Target,
    /// `src` of an SSH rule.
    SshSource,
    /// `dst` of an SSH rule.
    SshDestination,
}

/// The names that a document defines.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) groups: Vec<Group>,
    pub(super) hosts: Vec<(String, Prefix)>,
    pub(super) tags: Vec<String>,
    /// The name that first stood for all users: the service refuses the old and the new name in one
    /// document.
    pub(super) members: OnceCell<String>,
}

/// A group of users.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) members: Vec<Alias>,
}

impl Names {
    /// Reads the alias `text`, which is all or the front of the string at `at`.
    pub(super) fn alias(
        &self,
        at: &At<'_>,
        text: &str,
        position: Position,
    ) -> Result<Alias, Fault> {
        if matches!(text, "autogroup:member" | "autogroup:members")
            && self.members.get_or_init(|| text.to_owned()) != text
        {
            return Err(at.fault(
                "autogroup:members is the old name of autogroup:member: use only one of them",
            ));
        }
        self.plain_alias(text, position).map_err(|message| at.fault(message))
    }

    /// Reads an alias that stands in no document.
    pub(crate) fn plain_alias(&self, text: &str, position: Position) -> Result<Alias, String> {
        self.read(text, position).and_then(|alias| allowed(alias, text, position))
    }

    fn read(&self, text: &str, position: Position) -> Result<Alias, String> {
        if text == "*" {
            return Ok(if position == Position::Source { Alias::Wild } else { Alias::All });
        }
        if text.starts_with("group:") {
            let group = self.groups.iter().position(|g| g.name == text);
            return group
                .map(Alias::Group)
                .ok_or_else(|| format!("group not defined in policy: \"{text}\""));
        }
        if text.starts_with("tag:") {
            tag_name(text)?;
            let known = self.tags.iter().any(|tag| tag == text) || Part::Definitions.is_off();
            return if known {
                Ok(Alias::Tag(text.to_owned()))
            } else {
                Err(format!("tag not found: \"{text}\"; tags are defined in tagOwners"))
            };
        }
        if let Some(name) = text.strip_prefix("autogroup:") {
            return autogroup(name);
        }
        if let Some(domain) = text.strip_prefix("user:*@") {
            return if domain.is_empty() {
                Err(format!("invalid alias format \"{text}\": a domain is expected after the @"))
            } else {
                Ok(Alias::Domain(domain.to_owned()))
            };
        }
        if let Some(prefix) = prefix(text) {
            return Ok(Alias::Prefix(prefix));
        }
        if text.contains('@') {
            return Ok(Alias::User(text.to_owned()));
        }
        if let Some((_, prefix)) = self.hosts.iter().find(|(name, _)| name == text) {
            return Ok(Alias::Prefix(*prefix));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !text.is_empty() && text.bytes().all(plain) {
            return Err(format!(
                "host not defined in policy: \"{text}\" (a user's name is written with @: \"{text}@\")"
            ));
        }
        Err(format!(
            "invalid alias format \"{text}\": a user (with @), group:, tag:, autogroup:, host, \
             address or prefix is expected"
        ))
    }
}

/// An address or a prefix; bits behind the length are cut off, as the hosted service does.
pub(super) fn prefix(text: &str) -> Option<Prefix> {
    match text.split_once('/') {
        None => text.parse::<IpAddr>().ok().map(Prefix::single),
        Some((addr, bits)) if bits.bytes().all(|b| b.is_ascii_digit()) => {
            Prefix::new(addr.parse().ok()?, bits.parse().ok()?)
        }
        Some(_) => None,
    }
}

/// Refuses what can't be a tag's name.
pub(super) fn tag_name(text: &str) -> Result<(), String> {
    let Some(name) = text.strip_prefix("tag:") else {
        return Err(format!("tag must start with 'tag:': \"{text}\""));
    };
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(format!("tag names must start with a letter, after 'tag:': \"{text}\""));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.bytes().all(plain) {
        Ok(())
    } else {
        Err(format!("tag names may have letters, digits and dashes only: \"{text}\""))
    }
}

fn autogroup(name: &str) -> Result<Alias, String> {
    match name {
        "internet" => Ok(Alias::Internet),
        "self" => Ok(Alias::Own),
        "member" | "members" => Ok(Alias::Member),
        "tagged" => Ok(Alias::Tagged),
        "danger-all" => Ok(Alias::Danger),
        "nonroot" => Err("autogroup:nonroot can only be used in the users of SSH rules".into()),
        "shared" => Err(format!("autogroup not supported: \"autogroup:{name}\"")),
        _ => match Role::parse(name) {
            Some(role) => Ok(Alias::Role(role)),
            None => Err(format!("unknown autogroup \"autogroup:{name}\"")),
        },
    }
}

/// Refuses an alias where it makes no sense.
fn allowed(alias: Alias, text: &str, position: Position) -> Result<Alias, String> {
    let refused = match (position, &alias) {
        (Position::Source, Alias::Own) => {
            Some("\"autogroup:self\" not valid on the src side of a rule".to_owned())
        }
        (Position::Source, Alias::Internet) => {
            Some("autogroup:internet can only be used in ACL destinations".to_owned())
        }
        (Position::Destination, Alias::Danger) => {
            Some("cannot use autogroup:danger-all as a dst".to_owned())
        }
        (Position::Owner, alias) if alias.is_identity() => None,
        (Position::Owner, _) => {
            Some(format!("invalid owner format \"{text}\": a user, group: or tag: is expected"))
        }
        (Position::Member, Alias::User(_) | Alias::Domain(_)) => None,
        (Position::Member, Alias::Group(_)) => {
            Some(format!("\"{text}\": group members cannot be recursive"))
        }
        (Position::Member, _) => Some(format!("username must contain @, got: \"{text}\"")),
        (Position::Target, Alias::Own | Alias::Internet | Alias::Danger) => {
            Some(format!("invalid target \"{text}\""))
        }
        (Position::SshSource, alias) if !alias.is_identity() => {
            Some(format!("invalid src \"{text}\": a user, group:, tag: or autogroup: is expected"))
        }
        (Position::SshDestination, Alias::All) => {
            Some("wildcard (*) is not supported as SSH destination".to_owned())
        }
        (Position::SshDestination, Alias::Group(_) | Alias::Domain(_)) => {
            Some(format!("invalid dst \"{text}\": groups are not possible"))
        }
        (Position::SshDestination, alias) if *alias != Alias::Own && !alias.is_identity() => {
            Some(format!("invalid dst \"{text}\": a user, tag: or autogroup: is expected"))
        }
        _ => None,
    };
    refused.map_or(Ok(alias), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            groups: vec![Group { name: "group:a".into(), members: vec![] }],
            hosts: vec![("web".into(), prefix("10.0.0.1").unwrap())],
            tags: vec!["tag:x".into()],
            ..Names::default()
        }
    }

    #[test]
    fn forms() {
        let p = |text: &str| Alias::Prefix(prefix(text).unwrap());
        for (text, position, alias) in [
            ("*", Position::Source, Alias::Wild),
            ("*", Position::Destination, Alias::All),
            ("group:a", Position::Source, Alias::Group(0)),
            ("tag:x", Position::Destination, Alias::Tag("tag:x".into())),
            ("autogroup:member", Position::Source, Alias::Member),
            ("autogroup:self", Position::Destination, Alias::Own),
            ("autogroup:auditor", Position::Destination, Alias::Role(Role::Auditor)),
            ("autogroup:tagged", Position::Owner, Alias::Tagged),
            ("autogroup:it-admin", Position::Owner, Alias::Role(Role::ItAdmin)),
            ("autogroup:danger-all", Position::Source, Alias::Danger),
            ("user:*@a.b", Position::Source, Alias::Domain("a.b".into())),
            ("a@b.c", Position::Member, Alias::User("a@b.c".into())),
            ("a@", Position::Owner, Alias::User("a@".into())),
            ("web", Position::Source, p("10.0.0.1")),
            ("10.0.0.7/8", Position::Source, p("10.0.0.0/8")),
            ("fd00::1", Position::Destination, p("fd00::1/128")),
        ] {
            assert_eq!(
                names().read(text, position).and_then(|a| allowed(a, text, position)),
                Ok(alias)
            );
        }
    }

    #[test]
    fn refused() {
        for (text, position, why) in [
            ("group:b", Position::Source, "group not defined in policy"),
            ("tag:y", Position::Source, "tag not found"),
            ("tag:1", Position::Source, "must start with a letter"),
            ("tag:a b", Position::Source, "letters, digits and dashes"),
            ("db", Position::Source, "host not defined in policy"),
            ("", Position::Source, "invalid alias format"),
            ("%x%", Position::Source, "invalid alias format"),
            ("user:*@", Position::Source, "a domain is expected"),
            ("autogroup:x", Position::Source, "unknown autogroup"),
            ("autogroup:shared", Position::Source, "autogroup not supported"),
            ("autogroup:nonroot", Position::Source, "users of SSH rules"),
            ("autogroup:self", Position::Source, "not valid on the src side"),
            ("autogroup:internet", Position::Source, "only be used in ACL destinations"),
            ("autogroup:danger-all", Position::Destination, "as a dst"),
            ("10.0.0.1", Position::Owner, "invalid owner format"),
            ("group:a", Position::Member, "cannot be recursive"),
            ("tag:x", Position::Member, "username must contain @"),
        ] {
            let result = names().read(text, position).and_then(|a| allowed(a, text, position));
            let error = result.unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
