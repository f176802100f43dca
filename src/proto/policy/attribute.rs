//! Node attributes: what clients of some nodes are told to do or may do.

use crate::wire::hujson::Kind;
use crate::wire::json::Json;
use crate::wire::prefix::Prefix;
use crate::wire::sorted::Map;

use super::ablation::Part;
use super::alias::{self, Names, Position};
use super::compiled::Compiled;
use super::document::Table;
use super::error::Fault;
use super::range;
use super::subject::Subject;
use super::walk::At;

/// Every client chooses its port at random (nodecap.go).
pub(super) const RANDOMIZE_CLIENT_PORT: &str = "randomize-client-port";

/// The node gets no IPv4 address (nodecap.go).
pub(super) const DISABLE_IPV4: &str = "disable-ipv4";

/// What the service adds to `funnel`: which ports it may use, and a warning that certificates are
/// not to be had.
const FUNNEL: [&str; 2] = [
    "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000",
    "https://tailscale.com/cap/warn-funnel-no-https",
];

/// A member of `nodeAttrs`.
#[derive(Debug)]
pub(super) struct Grant {
    /// Places in the table's aliases; none is every node.
    pub(super) targets: Option<Vec<usize>>,
    /// Attributes without a value.
    pub(super) names: Vec<String>,
    /// Attributes with values: names and JSON values.
    pub(super) values: Vec<(String, Vec<Vec<u8>>)>,
    /// Where the addresses of these nodes come from.
    pub(super) pool: Vec<Prefix>,
}

impl Grant {
    pub(super) fn everywhere(name: &str) -> Self {
        let names = vec![name.to_owned()];
        Self { targets: None, names, values: Vec::new(), pool: Vec::new() }
    }

    pub(super) fn read(at: &At<'_>, names: &Names, table: &mut Table) -> Result<Self, Fault> {
        at.only(&["target", "attr", "app", "ipPool"])?;
        let mut targets = Vec::new();
        if let Some(list) = at.member("target")? {
            for at in list.items()? {
                let alias = names.alias(&at, at.text()?, Position::Target)?;
                targets.push(table.alias(alias, at.offset()));
            }
        }
        let mut grant = Self { targets: Some(targets), ..Self::everywhere("") };
        grant.names.clear();
        if let Some(list) = at.member("attr")? {
            for at in list.items()? {
                grant.names.push(attribute(&at, at.text()?)?);
            }
        }
        if let Some(at) = at.member("app")? {
            for (name, at) in at.members()? {
                let Kind::Array(items) = &at.value().kind else {
                    return Err(at.expected("an array of values"));
                };
                let render = |value: &crate::wire::hujson::Value<'_>| {
                    let mut out = Vec::new();
                    value.render(&mut Json::new(&mut out));
                    out
                };
                let values = items.iter().map(render).collect();
                grant.values.push((attribute(&at, name)?, values));
            }
        }
        if let Some(list) = at.member("ipPool")? {
            for at in list.items()? {
                let text = at.text()?;
                let prefix = alias::prefix(text).filter(range::in_cgnat).ok_or_else(|| {
                    at.fault(format!(
                        "\"{text}\" is no prefix of 100.64.0.0/10; such as 100.81.0.0/16 is expected"
                    ))
                })?;
                grant.pool.push(prefix);
            }
        }
        Ok(grant)
    }
}

fn attribute(at: &At<'_>, text: &str) -> Result<String, Fault> {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    if text.is_empty() || !text.bytes().all(plain) {
        return Err(at.fault(format!("\"{text}\" is no name of an attribute")));
    }
    Ok(text.to_owned())
}

impl Compiled {
    /// The attributes that the policy gives a node, sorted by name: what stands in its CapMap.
    /// Each comes with its values as JSON; most have none.
    pub fn attributes(&self, id: u64) -> Map<&str, Vec<&[u8]>> {
        let mut all: Map<&str, Vec<&[u8]>> = Map::new();
        for grant in self.grants(id) {
            for name in &grant.names {
                all.entry(name).or_default();
                if name == "funnel" && !Part::Funnel.is_off() {
                    for name in FUNNEL {
                        all.entry(name).or_default();
                    }
                }
            }
            for (name, values) in &grant.values {
                all.entry(name).or_default().extend(values.iter().map(Vec::as_slice));
            }
        }
        all
    }

    /// Whether the policy gives a node an attribute.
    pub fn has_attribute(&self, id: u64, name: &str) -> bool {
        self.grants(id).any(|grant| {
            grant.names.iter().any(|n| n == name) || grant.values.iter().any(|(n, _)| n == name)
        })
    }

    /// Whether a node is to do without IPv4: it is not told its own such address, nor those of its
    /// peers, nor are they told its.
    pub fn disables_ipv4(&self, id: u64) -> bool {
        self.has_attribute(id, DISABLE_IPV4) && !Part::Ipv4.is_off()
    }

    /// Where new IPv4 addresses of a node come from, if the policy has a pool for it.
    pub fn pool(&self, subject: &Subject<'_>) -> &[Prefix] {
        let aliases = self.aliases_of(subject);
        let pools = self.policy.attributes.iter().filter(|grant| !grant.pool.is_empty());
        let own = pools.filter(|grant| match &grant.targets {
            None => true,
            Some(targets) => targets.iter().any(|alias| aliases.has(*alias)),
        });
        own.map(|grant| grant.pool.as_slice()).next().unwrap_or_default()
    }

    fn grants(&self, id: u64) -> impl Iterator<Item = &Grant> {
        let node = self.node(id);
        self.policy.attributes.iter().filter(move |grant| match (&grant.targets, node) {
            (None, Some(_)) => true,
            (Some(targets), Some(node)) => targets.iter().any(|alias| node.aliases.has(*alias)),
            (_, None) => false,
        })
    }
}
