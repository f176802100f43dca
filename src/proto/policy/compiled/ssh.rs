//! SSH policies as clients get them.

use crate::policy::ablation::Part;
use crate::policy::document::alias::Alias;
use crate::policy::document::ssh::{Logins, SshAction, SshRule};
use crate::wire::json::Json;

use super::Compiled;
use super::subject::Node;

/// Where clients are sent for a check; they replace what begins with `$` (tailssh.go,
/// expandDelegateURLLocked) and use the path only, over the control connection.
pub const SSH_CHECK_URL: &str = "https://unused/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID\
                         ?local_user=$LOCAL_USER";

impl Logins {
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
