//! The document as it is written, checked and in typed form.

pub(super) mod alias;
mod app;
pub(super) mod attribute;
mod fault;
pub(super) mod ports;
pub(super) mod rule;
pub(super) mod ssh;
pub(super) mod table;
pub(super) mod trial;
mod walk;
mod yaml;

use crate::policy::error::Error;
use crate::wire::hujson;
use crate::wire::prefix::Prefix;

use self::alias::{Alias, Group, Names, Position};
use self::attribute::Grant;
use self::fault::Fault;
use self::rule::{Reader, Rule};
use self::ssh::SshRule;
use self::table::{Place, Table};
use self::trial::{SshTrial, Trial};
use self::walk::At;

/// The longest text that is read as a policy. The hosted service stops at about half of it.
pub const MAX_TEXT: usize = 2 << 20;

/// The members that are understood.
const KNOWN: [&str; 17] = [
    "groups",
    "hosts",
    "tagOwners",
    "acls",
    "grants",
    "autoApprovers",
    "randomizeClientPort",
    "disableIPv4",
    "nodeAttrs",
    "ssh",
    "tests",
    "sshTests",
    "postures",
    "defaultSrcPosture",
    "ipsets",
    "derpMap",
    "OneCGNATRoute",
];

/// Members of the hosted service that do no harm where they are not acted on, and why they are not.
const IDLE: [(&str, &str); 2] = [
    ("derpMap", "derpMap has no effect: relays are settings of this server"),
    ("OneCGNATRoute", "OneCGNATRoute has no effect: clients decide for themselves"),
];

/// The members that are not acted on. A rule that is ignored is an open door, so a document that
/// has one of them is refused.
const UNSUPPORTED: [&str; 3] = ["postures", "defaultSrcPosture", "ipsets"];

/// A checked policy, which does not know yet which users and nodes there are.
#[derive(Debug, Default)]
pub struct Policy {
    pub(super) names: Names,
    /// Who may give each tag, sorted by tag.
    pub(super) owners: Vec<(String, Vec<Alias>)>,
    pub(super) approvers: Vec<(Prefix, Vec<Alias>)>,
    pub(super) exit_approvers: Vec<Alias>,
    /// What of it has no effect.
    idle: Vec<&'static str>,
    pub(super) rules: Vec<Rule>,
    pub(super) table: Table,
    pub(super) ssh: Vec<SshRule>,
    pub(super) attributes: Vec<Grant>,
    pub(super) trials: Vec<Trial>,
    pub(super) ssh_trials: Vec<SshTrial>,
}

impl Policy {
    /// Reads and checks a policy (HuJSON, at most [`MAX_TEXT`] bytes).
    ///
    /// An error names the place and what is expected there.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            let message = format!("the policy is longer than {MAX_TEXT} bytes");
            return Err(Error::at(Place::default(), message));
        }
        let mut bytes = text.as_bytes().to_vec();
        let fault = |error: hujson::SyntaxError| {
            Fault { offset: error.offset, path: String::new(), message: error.to_string() }
                .locate(text)
        };
        hujson::standardise(&mut bytes).map_err(fault)?;
        // Blanking replaces whole comments by spaces, so it can't split a character.
        let json = String::from_utf8_lossy(&bytes);
        let value = hujson::parse(&json).map_err(fault)?;
        Self::from_value(&value, text)
    }

    /// Reads and checks a policy that is a tree already, made of another form of `text`; the
    /// offsets in the tree are offsets of that.
    pub fn from_value(value: &hujson::Value<'_>, text: &str) -> Result<Self, Error> {
        let mut policy = read(&At::root(value)).map_err(|fault| fault.locate(text))?;
        policy.locate(&hujson::Lines::new(text));
        Ok(policy)
    }

    /// How many tests it has, those of SSH logins among them.
    pub fn test_count(&self) -> usize {
        self.trials.len() + self.ssh_trials.len()
    }

    /// What of it is good, but has no effect here, in words for its author.
    pub fn without_effect(&self) -> &[&'static str] {
        &self.idle
    }

    /// Whether it gives an address this name.
    pub fn defines_host(&self, name: &str) -> bool {
        self.names.hosts.iter().any(|(known, _)| known == name)
    }

    /// Whether the tag is one that nodes can have.
    pub fn defines_tag(&self, tag: &str) -> bool {
        self.names.tags.iter().any(|known| known == tag)
    }
}

impl Policy {
    /// The email domains that it names, and where.
    pub(super) fn domains(&self) -> impl Iterator<Item = (&str, Place)> {
        let aliases = self.table.aliases.iter().zip(&self.table.places);
        let aliases = aliases.filter_map(|(alias, place)| match alias {
            Alias::Domain(domain) => Some((domain.as_str(), *place)),
            _ => None,
        });
        let logins = self.ssh.iter().flat_map(|rule| {
            let place = (rule.origin.line, 1);
            rule.logins.domains.iter().map(move |domain| (domain.as_str(), place))
        });
        aliases.chain(logins)
    }

    /// Turns offsets into places.
    fn locate(&mut self, lines: &hujson::Lines<'_>) {
        self.table.locate(lines);
        let rules = self.rules.iter_mut().map(|rule| &mut rule.origin);
        for origin in rules.chain(self.ssh.iter_mut().map(|rule| &mut rule.origin)) {
            if !origin.section.is_empty() {
                origin.line = lines.position(origin.offset).0;
            }
        }
        let spots = self.trials.iter_mut().flat_map(Trial::spots);
        for spot in spots.chain(self.ssh_trials.iter_mut().flat_map(SshTrial::spots)) {
            spot.place = lines.position(spot.offset);
        }
    }
}

fn read(root: &At<'_>) -> Result<Policy, Fault> {
    if root.is_null() {
        return Err(root.expected("an object"));
    }
    root.only(&KNOWN)?;
    for name in UNSUPPORTED {
        if let Some(at) = root.member(name)? {
            return Err(at.fault(format!("\"{name}\" is not supported; remove it")));
        }
    }
    let mut policy = Policy::default();
    for (name, why) in IDLE {
        policy.idle.extend(root.member(name)?.map(|_| why));
    }
    policy.names.hosts = hosts(root)?;
    policy.names.groups = groups(root)?;
    policy.names.tags = tags(root)?;
    policy.owners = owners(root, &policy.names)?;
    if let Some(at) = root.member("autoApprovers")? {
        approvers(&at, &mut policy)?;
    }
    rules(root, &mut policy)?;
    if let Some(at) = root.member("ssh")? {
        for (index, at) in at.items()?.enumerate() {
            let rule = SshRule::read(&at, index, &policy.names, &mut policy.table)?;
            policy.ssh.push(rule);
        }
    }
    attributes(root, &mut policy)?;
    if let Some(at) = root.member("tests")? {
        let trial = |at: At<'_>| Trial::read(&at, &policy.names);
        policy.trials = at.items()?.map(trial).collect::<Result<_, _>>()?;
    }
    if let Some(at) = root.member("sshTests")? {
        let trial = |at: At<'_>| SshTrial::read(&at, &policy.names);
        policy.ssh_trials = at.items()?.map(trial).collect::<Result<_, _>>()?;
    }
    Ok(policy)
}

fn rules(root: &At<'_>, policy: &mut Policy) -> Result<(), Fault> {
    let Policy { names, table, rules, .. } = policy;
    let mut reader = Reader { names, table, rules };
    let (acls, grants) = (root.member("acls")?, root.member("grants")?);
    if let Some(at) = &acls {
        for (index, at) in at.items()?.enumerate() {
            reader.acl(&at, index)?;
        }
    }
    if let Some(at) = &grants {
        for (index, at) in at.items()?.enumerate() {
            reader.grant(&at, index)?;
        }
    }
    if acls.is_none() && grants.is_none() {
        reader.default();
    }
    Ok(())
}

fn attributes(root: &At<'_>, policy: &mut Policy) -> Result<(), Fault> {
    let everywhere = [
        ("randomizeClientPort", attribute::RANDOMIZE_CLIENT_PORT),
        ("disableIPv4", attribute::DISABLE_IPV4),
    ];
    for (name, attribute) in everywhere {
        if let Some(at) = root.member(name)?
            && at.boolean()?
        {
            policy.attributes.push(Grant::everywhere(attribute));
        }
    }
    if let Some(at) = root.member("nodeAttrs")? {
        for at in at.items()? {
            policy.attributes.push(Grant::read(&at, &policy.names, &mut policy.table)?);
        }
    }
    Ok(())
}

fn hosts(root: &At<'_>) -> Result<Vec<(String, Prefix)>, Fault> {
    let mut hosts = Vec::new();
    let Some(at) = root.member("hosts")? else { return Ok(hosts) };
    for (name, at) in at.members()? {
        if name.is_empty() || name.contains([':', '@', '*', '/']) || alias::prefix(name).is_some() {
            return Err(at.fault(format!(
                "a host's name may have no ':', '@', '*' or '/' and be no address: \"{name}\""
            )));
        }
        let text = at.text()?;
        let prefix = alias::prefix(text).ok_or_else(|| {
            at.fault(format!(
                "hostname contains invalid IP address: \"{text}\"; an address or a prefix is expected"
            ))
        })?;
        hosts.push((name.to_owned(), prefix));
    }
    Ok(hosts)
}

fn groups(root: &At<'_>) -> Result<Vec<Group>, Fault> {
    let Some(at) = root.member("groups")? else { return Ok(Vec::new()) };
    // All names first, so that a group among the members is told from a misspelt user.
    let mut names = Names::default();
    for (name, at) in at.members()? {
        if !name.starts_with("group:") || name == "group:" {
            return Err(at.fault(format!("group must start with 'group:', got: \"{name}\"")));
        }
        names.groups.push(Group { name: name.to_owned(), members: Vec::new() });
    }
    let mut groups = Vec::new();
    for (name, at) in at.members()? {
        let items = at.items().map_err(|_| at.expected("group value must be an array of users"))?;
        let mut members = Vec::new();
        for at in items {
            let text = at.text()?;
            if text.starts_with("group:") {
                return Err(at.fault(format!("\"{text}\": group members cannot be recursive")));
            }
            if !text.contains('@') {
                return Err(at.fault(format!("username must contain @, got: \"{text}\"")));
            }
            members.push(names.alias(&at, text, Position::Member)?);
        }
        groups.push(Group { name: name.to_owned(), members });
    }
    Ok(groups)
}

fn tags(root: &At<'_>) -> Result<Vec<String>, Fault> {
    let Some(at) = root.member("tagOwners")? else { return Ok(Vec::new()) };
    let mut tags = Vec::new();
    for (name, at) in at.members()? {
        alias::tag_name(name).map_err(|message| at.fault(message))?;
        tags.push(name.to_owned());
    }
    Ok(tags)
}

fn owners(root: &At<'_>, names: &Names) -> Result<Vec<(String, Vec<Alias>)>, Fault> {
    let Some(at) = root.member("tagOwners")? else { return Ok(Vec::new()) };
    let mut owners = Vec::new();
    for (name, at) in at.members()? {
        let list = list(&at, names).map_err(|mut fault| {
            if fault.message.starts_with("tag not found") {
                fault.message =
                    format!("tag \"{name}\" references undefined tag: {}", fault.message);
            }
            fault
        })?;
        owners.push((name.to_owned(), list));
    }
    owners.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(owners)
}

fn approvers(at: &At<'_>, policy: &mut Policy) -> Result<(), Fault> {
    at.only(&["routes", "exitNode", "services"])?;
    if let Some(at) = at.member("routes")? {
        for (name, at) in at.members()? {
            let prefix = alias::prefix(name).ok_or_else(|| {
                at.fault(format!("\"{name}\" is no prefix; such as 10.0.0.0/8 is expected"))
            })?;
            policy.approvers.push((prefix, list(&at, &policy.names)?));
        }
    }
    if let Some(at) = at.member("exitNode")? {
        policy.exit_approvers = list(&at, &policy.names)?;
    }
    if let Some(at) = at.member("services")? {
        for (name, at) in at.members()? {
            let service = name.strip_prefix("svc:").is_some_and(|name| !name.is_empty());
            if !service && !policy.names.tags.iter().any(|tag| tag == name) {
                return Err(at.fault(format!("\"{name}\" is no service (svc:) and no tag")));
            }
            list(&at, &policy.names)?;
        }
        policy.idle.push("autoApprovers.services has no effect: this server has no services");
    }
    Ok(())
}

fn list(at: &At<'_>, names: &Names) -> Result<Vec<Alias>, Fault> {
    at.items()?.map(|at| names.alias(&at, at.text()?, Position::Owner)).collect()
}
