//! Asking a policy about one connection: may it be, by which rule, and if not, why not.

use std::fmt;
use std::net::IpAddr;

use crate::policy::document::alias::{Alias, Position};
use crate::policy::document::ports::{self, PINGS, Ports, TCP};
use crate::policy::document::rule::{Origin, Rule};
use crate::wire::prefix::Prefix;
use crate::wire::sorted::Map;

use super::subject::Node;
use super::{Compiled, Mode};

/// What clients take an empty list of protocols for: ICMP, TCP, UDP, ICMPv6 (wgengine/filter).
const DEFAULT_PROTOCOLS: [u8; 4] = [1, 6, 17, 58];

/// Why a connection may be or may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// There is no policy.
    NoPolicy,
    /// This rule allows it.
    Allowed(Origin),
    /// No rule has the source.
    NoSource,
    /// Rules have the source, but none of them has the destination.
    NoDestination,
    /// This rule has source and destination, but not the port or the protocol.
    NoPort(Origin),
}

impl Explanation {
    /// The rule that decides, if there is one.
    pub fn rule(&self) -> Option<Origin> {
        match self {
            Self::Allowed(origin) | Self::NoPort(origin) => Some(*origin),
            _ => None,
        }
    }

    /// Whether the connection may be.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::NoPolicy | Self::Allowed(_))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPolicy => f.write_str("allowed: there is no policy"),
            Self::Allowed(origin) => write!(f, "allowed by {origin}"),
            Self::NoSource => f.write_str("refused: no rule has this source"),
            Self::NoDestination => {
                f.write_str("refused: no rule with this source has this destination")
            }
            Self::NoPort(origin) => write!(
                f,
                "refused: {origin} has this source and destination, but not this port or protocol"
            ),
        }
    }
}

/// Takes the port off `DESTINATION:PORT`, if there is one, and the brackets off an address.
pub fn split_port(text: &str) -> (&str, Option<u16>) {
    let whole = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if whole.parse::<IpAddr>().is_ok() {
        return (whole, None);
    }
    let Some((host, port)) = text.rsplit_once(':') else { return (text, None) };
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits => (split_port(host).0, Some(port)),
        _ => (text, None),
    }
}

impl Compiled {
    /// What the policy says about a connection from `source` to `destination`, which are written
    /// as in a policy (a user, a tag, a host, an address, ...). Without a port it is about any.
    ///
    /// Where they stand for several nodes, it is what holds for the pair that is worst off. The
    /// error says what is wrong with the question.
    pub fn explain(
        &self,
        source: &str,
        destination: &str,
        port: Option<u16>,
        protocol: &str,
    ) -> Result<Explanation, String> {
        let names = &self.policy.names;
        let source = names.plain_alias(source, Position::Source)?;
        let destination = names.plain_alias(destination, Position::Destination)?;
        let protocol = ports::protocols(protocol)?.first().copied().unwrap_or(TCP);
        if self.mode == Mode::Open {
            return Ok(Explanation::NoPolicy);
        }
        let mut answer = None;
        for from in self.probes(&source)? {
            for to in self.targets(&from, &destination)? {
                let this = self.decide(&from, &to, port, protocol);
                if !this.is_allowed() {
                    return Ok(this);
                }
                answer.get_or_insert(this);
            }
        }
        answer.ok_or_else(|| "the source or the destination has no nodes".to_owned())
    }

    /// The nodes that an alias stands for, or somebody like them where there are none yet.
    pub(super) fn probes(&self, alias: &Alias) -> Result<Vec<Node>, String> {
        let nodes = || self.nodes.iter().flatten().cloned();
        match alias {
            Alias::All | Alias::Wild | Alias::Danger => Ok(nodes().collect()),
            Alias::Internet | Alias::Own => Err("this autogroup stands for no nodes".to_owned()),
            Alias::Prefix(prefix) if prefix.is_single() => Ok(vec![self.at_address(prefix.addr())]),
            Alias::Prefix(prefix) => {
                let inside = nodes().filter(|n| n.addresses().any(|a| prefix.contains(a)));
                let outside = std::iter::once(self.at_address(prefix.addr()));
                Ok(inside.chain(outside).collect())
            }
            Alias::Member => Ok(nodes().filter(|node| node.tags.is_empty()).collect()),
            Alias::Tagged => Ok(nodes().filter(|node| !node.tags.is_empty()).collect()),
            Alias::Tag(tag) => {
                let mut found: Vec<Node> = nodes().filter(|n| n.tags.contains(tag)).collect();
                if found.is_empty() {
                    found.push(self.imagined(Node { tags: vec![tag.clone()], ..Node::nobody() }));
                }
                Ok(found)
            }
            Alias::User(_) | Alias::Domain(_) | Alias::Group(_) | Alias::Role(_) => {
                let users = self.people.users(alias, &self.policy.names)?;
                if users.is_empty() && !matches!(alias, Alias::Group(_) | Alias::Role(_)) {
                    return Err("user not found".to_owned());
                }
                let of = |user: u64| {
                    let mut own: Vec<Node> = nodes().filter(|n| n.user == Some(user)).collect();
                    if own.is_empty() {
                        own.push(self.imagined(Node { user: Some(user), ..Node::nobody() }));
                    }
                    own
                };
                Ok(users.into_iter().flat_map(of).collect())
            }
        }
    }

    /// The same for a destination, as `from` sees it.
    pub(super) fn targets(&self, from: &Node, alias: &Alias) -> Result<Vec<Node>, String> {
        match alias {
            Alias::Own => {
                let nodes = self.nodes.iter().flatten();
                let own: Vec<Node> = nodes.filter(|node| node.shares_user(from)).cloned().collect();
                if own.is_empty() {
                    return Err("autogroup:self stands for no nodes of this source".to_owned());
                }
                Ok(own)
            }
            _ => self.probes(alias),
        }
    }

    /// What the rules say about one pair.
    pub(super) fn decide(
        &self,
        from: &Node,
        to: &Node,
        port: Option<u16>,
        protocol: u8,
    ) -> Explanation {
        if self.mode == Mode::Open {
            return Explanation::NoPolicy;
        }
        let ping = PINGS.contains(&protocol);
        let mut refusal = Explanation::NoSource;
        for rule in self.policy.rules.iter().filter(|rule| rule.caps.is_none()) {
            if !self.in_source(rule.source, from) {
                continue;
            }
            let Some(mut ports) = targeted(rule, from, to) else {
                if refusal == Explanation::NoSource {
                    refusal = Explanation::NoDestination;
                }
                continue;
            };
            let protocols =
                if rule.protocols.is_empty() { &DEFAULT_PROTOCOLS[..] } else { &rule.protocols };
            let port_fits = port.is_none_or(|port| ports.any(|ports| ports.contains(port)));
            if ping || (port_fits && protocols.contains(&protocol)) {
                return Explanation::Allowed(rule.origin);
            }
            refusal = Explanation::NoPort(rule.origin);
        }
        refusal
    }

    /// Who is at an address: the node with it, without its other address, or a stranger.
    fn at_address(&self, address: IpAddr) -> Node {
        let nodes = self.nodes.iter().flatten();
        let found = nodes.into_iter().find(|node| node.addresses().any(|own| own == address));
        let stranger = || Node { is_stranger: true, ..Node::nobody() };
        let mut node = found.cloned().unwrap_or_else(stranger);
        node.v4 = None;
        node.v6 = None;
        match address {
            IpAddr::V4(address) => node.v4 = Some(address),
            IpAddr::V6(address) => node.v6 = Some(address),
        }
        self.imagined(node)
    }

    fn imagined(&self, mut node: Node) -> Node {
        node.aliases = self.aliases(&node);
        node
    }
}

/// The ports that a rule opens at `to`, if it has it as a destination.
fn targeted<'a>(
    rule: &'a Rule,
    from: &Node,
    to: &'a Node,
) -> Option<Box<dyn Iterator<Item = &'a Ports> + 'a>> {
    if let Some(ports) = &rule.own {
        return from.shares_user(to).then(|| Box::new(ports.iter()) as _);
    }
    // What is reached through certain routers is no node of the tailnet.
    if !rule.via.is_empty() && !to.is_stranger {
        return None;
    }
    let mut targets = rule.targets.iter().filter(|target| to.aliases.has(target.alias)).peekable();
    targets.peek()?;
    Some(Box::new(targets.flat_map(|target| &target.ports)))
}

/// Whether an address is behind one of the tailnet's routers.
pub(super) fn is_behind(address: IpAddr, subnets: &Map<Prefix, u32>) -> bool {
    subnets.keys().any(|route| route.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_split() {
        for (text, host, port) in [
            ("tag:a", "tag:a", None),
            ("tag:a:22", "tag:a", Some(22)),
            ("ann@", "ann@", None),
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("fd00::1", "fd00::1", None),
            ("fd00::1:22", "fd00::1:22", None),
            ("[fd00::1]:22", "fd00::1", Some(22)),
            ("[fd00::1]", "fd00::1", None),
            ("fd00::/8:22", "fd00::/8", Some(22)),
            ("web:99999", "web:99999", None),
            ("web:", "web:", None),
            ("web:+1", "web:+1", None),
        ] {
            assert_eq!(split_port(text), (host, port), "{text}");
        }
    }
}
