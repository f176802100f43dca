//! SSH rules: who may log in where, as whom.

use std::time::Duration;

use crate::wire::json::Json;
use crate::wire::time::parse_duration;

use super::ablation::Part;
use super::alias::{Alias, Names, Position};
use super::compiled::Compiled;
use super::document::Table;
use super::error::Fault;
use super::rule::Origin;
use super::subject::Node;
use super::walk::At;

/// How long a check holds where the policy says nothing.
const DEFAULT_PERIOD: Duration = Duration::from_secs(12 * 3600);

/// The longest that a check may hold.
const MAX_PERIOD: Duration = Duration::from_secs(168 * 3600);

/// Where clients are sent for a check; they replace what begins with `$` (tailssh.go,
/// expandDelegateURLLocked) and use the path only, over the control connection.
pub const SSH_CHECK_URL: &str = "https://unused/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID\
                         ?local_user=$LOCAL_USER";

/// What a rule says about a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SshAction {
    /// It is let in.
    Accept,
    /// Its user must have proved who they are within that time; zero is each time anew.
    Check(Duration),
}

/// A member of `ssh`.
#[derive(Debug)]
pub(super) struct SshRule {
    pub(super) origin: Origin,
    pub(super) action: SshAction,
    /// A place in the table's sources.
    pub(super) source: usize,
    /// Places in the table's aliases.
    pub(super) targets: Vec<usize>,
    /// Whether a user's own nodes are a destination.
    pub(super) own: bool,
    pub(super) logins: Logins,
    pub(super) env: Vec<String>,
}

/// Whom a rule lets log in as.
#[derive(Debug, Default)]
pub(super) struct Logins {
    root: bool,
    nonroot: bool,
    names: Vec<String>,
    /// Domains whose users may log in with the part of their email before the `@`.
    pub(super) domains: Vec<String>,
}

impl SshRule {
    pub(super) fn read(
        at: &At<'_>,
        index: usize,
        names: &Names,
        table: &mut Table,
    ) -> Result<Self, Fault> {
        at.only(&["action", "src", "dst", "users", "checkPeriod", "acceptEnv"])?;
        let origin = Origin::new("ssh", index, at);
        let action = action(at)?;
        let mut sources = Vec::new();
        let mut source_places = Vec::new();
        if let Some(list) = at.member("src")? {
            for at in list.items()? {
                let alias = names.alias(&at, at.text()?, Position::SshSource)?;
                source_places.push(table.alias(alias.clone(), at.offset()));
                sources.push(alias);
            }
        }
        let mut targets = Vec::new();
        let mut own = false;
        if let Some(list) = at.member("dst")? {
            for at in list.items()? {
                let alias = names.alias(&at, at.text()?, Position::SshDestination)?;
                safe(&sources, &alias).map_err(|m| at.fault(m))?;
                if alias == Alias::Own {
                    own = true;
                } else {
                    targets.push(table.alias(alias, at.offset()));
                }
            }
        }
        let logins = Logins::read(at)?;
        let env = env(at)?;
        let source = table.source(source_places);
        Ok(Self { origin, action, source, targets, own, logins, env })
    }
}

fn action(at: &At<'_>) -> Result<SshAction, Fault> {
    let text = match at.member("action")? {
        Some(action) => action.text()?,
        None => "",
    };
    let period = at.member("checkPeriod")?;
    match (text, period) {
        ("", _) => Err(at.fault("action must be specified: accept or check")),
        ("accept", None) => Ok(SshAction::Accept),
        ("accept", Some(at)) => Err(at.fault("checkPeriod is only valid with action \"check\"")),
        ("check", None) => Ok(SshAction::Check(DEFAULT_PERIOD)),
        ("check", Some(at)) => {
            self::period(at.text()?).map(SshAction::Check).map_err(|m| at.fault(m))
        }
        _ => {
            Err(at.fault(format!("\"{text}\" is not a valid action; accept or check is expected")))
        }
    }
}

fn period(text: &str) -> Result<Duration, String> {
    if text == "always" {
        return Ok(Duration::ZERO);
    }
    if text.starts_with('-') {
        return Err(format!("checkPeriod {text} must be a positive duration"));
    }
    // Days and longer are no units of the hosted service.
    let known = !text.contains(['d', 'w', 'y']);
    let period = parse_duration(text).ok().filter(|_| known).ok_or_else(|| {
        format!("invalid duration \"{text}\"; such as 30m, 12h or \"always\" is expected")
    })?;
    if period.is_zero() {
        return Err(format!("checkPeriod {text} must be a positive duration, or \"always\""));
    }
    if period > MAX_PERIOD {
        return Err(format!("checkPeriod {text} is above the max (168h)"));
    }
    Ok(period)
}

/// Refuses rules by which something that is nobody could take over somebody's device.
fn safe(sources: &[Alias], destination: &Alias) -> Result<(), String> {
    let tagged = sources.iter().any(|alias| matches!(alias, Alias::Tag(_) | Alias::Tagged));
    let refused = match destination {
        Alias::Own if tagged => {
            "autogroup:self destination requires source to contain only users or groups, not tags \
             or autogroup:tagged"
        }
        Alias::User(_) | Alias::Member | Alias::Role(_) if tagged => {
            "tags in SSH source cannot access user-owned devices"
        }
        Alias::User(_) if sources.iter().any(|source| source != destination) => {
            "user destination requires source to contain only that same user"
        }
        _ => return Ok(()),
    };
    Err(refused.to_owned())
}

fn env(at: &At<'_>) -> Result<Vec<String>, Fault> {
    let Some(list) = at.member("acceptEnv")? else { return Ok(Vec::new()) };
    let mut env = Vec::new();
    for at in list.items()? {
        let text = at.text()?;
        if text.is_empty() {
            return Err(at.fault("acceptEnv values cannot be empty"));
        }
        env.push(plain(&at, text)?);
    }
    Ok(env)
}

/// Refuses what would need an escape in JSON, which not all clients can read.
fn plain(at: &At<'_>, text: &str) -> Result<String, Fault> {
    if text.contains(|c: char| c.is_control() || c == '"' || c == '\\') {
        return Err(at.fault("quotes, backslashes and control characters are not possible here"));
    }
    Ok(text.to_owned())
}

impl Logins {
    fn read(at: &At<'_>) -> Result<Self, Fault> {
        let mut logins = Self::default();
        let list =
            at.member("users")?.filter(|at| at.items().is_ok_and(|mut i| i.next().is_some()));
        let Some(list) = list else { return Err(at.fault("users must be specified")) };
        for at in list.items()? {
            let text = at.text()?.trim();
            match text {
                "" | "*" => {
                    return Err(at.fault(format!(
                        "user \"{text}\" is not valid; a name, or autogroup:nonroot for all but \
                         root, is expected"
                    )));
                }
                "root" => logins.root = true,
                "autogroup:nonroot" => logins.nonroot = true,
                _ => match text.strip_prefix("localpart:*@").filter(|domain| !domain.is_empty()) {
                    Some(domain) => logins.domains.push(plain(&at, domain)?),
                    None => logins.names.push(plain(&at, text)?),
                },
            }
        }
        Ok(logins)
    }

    /// Whether the rule lets somebody log in as `login`, by its common part.
    fn allow(&self, login: &str) -> bool {
        match login {
            "root" => self.root,
            _ => self.nonroot || self.names.iter().any(|name| name == login),
        }
    }

    /// The login that an email stands for.
    fn local<'a>(&self, email: &'a str) -> Option<&'a str> {
        let (local, domain) = email.split_once('@')?;
        (!local.is_empty() && self.domains.iter().any(|d| d == domain)).then_some(local)
    }

    /// The map of logins that clients look in: `=` is the same name, empty is none.
    fn render(&self, json: &mut Json<'_>) {
        json.open('{');
        if self.nonroot {
            json.key("*").display(&"=");
        }
        let root = self.root || Part::Root.is_off();
        json.key("root").display(if root { &"root" } else { &"" });
        for name in &self.names {
            json.text(name).colon().text(name);
        }
        json.close('}');
    }
}

/// Those of a rule's sources that share one set of logins: one user's nodes, or all tagged ones.
struct Party<'a> {
    user: Option<u64>,
    email: &'a str,
    nodes: Vec<&'a Node>,
}

impl Compiled {
    /// Writes the SSH policy of a node as JSON, a `SSHPolicy` of the clients (tailcfg.go). No
    /// string in it has an escape.
    pub fn render_ssh(&self, id: u64, out: &mut Vec<u8>) {
        let mut json = Json::new(out);
        json.open('{').key("rules").open('[');
        if let Some(node) = self.node(id) {
            for rule in self.ssh_rules() {
                self.render_rule(rule, node, &mut json);
            }
        }
        json.close(']').close('}');
    }

    /// What the policy says about a login as `login` on node `to` from node `from`; `None` is a
    /// refusal.
    pub fn ssh(&self, from: u64, to: u64, login: &str) -> Option<SshAction> {
        let (from, to) = (self.node(from)?, self.node(to)?);
        self.ssh_between(from, to, login).map(|rule| rule.action)
    }

    /// The rules in the order in which clients get them: checks first.
    fn ssh_rules(&self) -> impl Iterator<Item = &SshRule> {
        let rules = || self.policy.ssh.iter();
        let accepts = |rule: &&SshRule| rule.action == SshAction::Accept || Part::Checks.is_off();
        rules().filter(move |rule| !accepts(rule)).chain(rules().filter(accepts))
    }

    /// The first rule that lets `from` log in.
    pub(super) fn ssh_between(&self, from: &Node, to: &Node, login: &str) -> Option<&SshRule> {
        self.ssh_rules().find(|rule| {
            let source = self.in_source(rule.source, from);
            let target = self.is_target(rule, to) || (rule.own && from.shares_user(to));
            if !source || !target {
                return false;
            }
            let email = from.user.map_or("", |user| self.people.email(user));
            rule.logins.allow(login) || rule.logins.local(email) == Some(login)
        })
    }

    /// Whether the rule can be in the SSH policy of a node.
    pub(super) fn concerns(&self, rule: &SshRule, node: &Node) -> bool {
        let by_email = !rule.logins.domains.is_empty() && self.in_source(rule.source, node);
        self.is_target(rule, node) || (rule.own && node.user.is_some()) || by_email
    }

    fn is_target(&self, rule: &SshRule, node: &Node) -> bool {
        rule.targets.iter().any(|alias| node.aliases.has(*alias))
    }

    fn render_rule(&self, rule: &SshRule, node: &Node, json: &mut Json<'_>) {
        let is_target = self.is_target(rule, node);
        if rule.logins.domains.is_empty() {
            let own = |other: &&Node| rule.own && other.shares_user(node);
            let sources = self.ssh_sources(rule);
            let principals: Vec<&Node> =
                sources.into_iter().filter(|other| is_target || own(other)).collect();
            render_logins(rule, &principals, json, |json| rule.logins.render(json));
            return;
        }
        let nodes = self.nodes.iter().flatten();
        let sources = nodes.filter(|other| self.in_source(rule.source, other));
        // Logins that depend on who it is: the service makes two rules for each user, and gives
        // them to the user's own nodes, too.
        let mut parties: Vec<Party<'_>> = Vec::new();
        for other in sources {
            let party = match parties.iter().position(|party| party.user == other.user) {
                Some(at) => parties.get_mut(at),
                None => {
                    let email = other.user.map_or("", |user| self.people.email(user));
                    parties.push(Party { user: other.user, email, nodes: Vec::new() });
                    parties.last_mut()
                }
            };
            if let Some(party) = party {
                party.nodes.push(other);
            }
        }
        parties.sort_by_key(|party| (party.user.is_none(), party.user));
        for party in parties {
            let own = (node.user.is_some() && party.user == node.user)
                || party.nodes.iter().any(|other| other.id == node.id);
            if !is_target && !own {
                continue;
            }
            render_logins(rule, &party.nodes, json, |json| rule.logins.render(json));
            if let Some(local) = rule.logins.local(party.email)
                && !Part::LocalParts.is_off()
            {
                render_logins(rule, &party.nodes, json, |json| {
                    json.open('{').text(local).colon().text(local).close('}');
                });
            }
        }
    }

    /// The nodes that a rule lets in. As at the service, aliases that have a node in common bring
    /// it twice, and `autogroup:tagged` brings it once for each of its tags.
    fn ssh_sources(&self, rule: &SshRule) -> Vec<&Node> {
        let mut out = Vec::new();
        for alias in self.policy.table.sources.get(rule.source).into_iter().flatten() {
            let tagged = self.policy.table.aliases.get(*alias) == Some(&Alias::Tagged);
            for node in self.nodes.iter().flatten().filter(|node| node.aliases.has(*alias)) {
                let times = if tagged && !Part::Principals.is_off() { node.tags.len() } else { 1 };
                out.extend(std::iter::repeat_n(node, times));
            }
        }
        out
    }
}

fn render_logins(
    rule: &SshRule,
    principals: &[&Node],
    json: &mut Json<'_>,
    logins: impl Fn(&mut Json<'_>),
) {
    let mut addresses = principals.iter().flat_map(|node| node.addresses()).peekable();
    if addresses.peek().is_none() {
        return;
    }
    json.open('{').key("principals").open('[');
    for address in addresses {
        json.open('{').key("nodeIP").display(&address).close('}');
    }
    json.close(']').key("sshUsers");
    logins(json);
    json.key("action").open('{');
    match rule.action {
        SshAction::Accept => write_ssh_accept(json),
        SshAction::Check(_) => {
            json.key("holdAndDelegate").display(&SSH_CHECK_URL);
        }
    }
    json.close('}');
    if !rule.env.is_empty() {
        json.key("acceptEnv").open('[');
        rule.env.iter().for_each(|name| {
            json.text(name);
        });
        json.close(']');
    }
    json.close('}');
}

/// Writes the members of a `tailcfg.SSHAction` that lets somebody in.
pub fn write_ssh_accept(json: &mut Json<'_>) {
    for name in
        ["accept", "allowAgentForwarding", "allowLocalPortForwarding", "allowRemotePortForwarding"]
    {
        json.key(name).bool(true);
    }
}
