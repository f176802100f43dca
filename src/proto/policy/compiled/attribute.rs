//! Which attributes the nodes of a tailnet have.

use crate::policy::ablation::Part;
use crate::policy::document::attribute::{DISABLE_IPV4, Grant};
use crate::wire::prefix::Prefix;
use crate::wire::sorted::Map;

use super::Compiled;
use super::subject::Subject;

/// What the service adds to `funnel`: which ports it may use, and a warning that certificates are
/// not to be had.
const FUNNEL: [&str; 2] = [
    "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000",
    "https://tailscale.com/cap/warn-funnel-no-https",
];

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
