//! Packet filters as clients get them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use crate::policy::document::ports::Ports;
use crate::policy::range;
use crate::wire::json::Json;
use crate::wire::prefix::Prefix;

/// What may come in at one node: `[]FilterRule` of the clients (tailcfg.go).
///
/// Cheap to keep and to compare: nodes share the lists of sources, and where nothing in it is
/// about a node's own addresses, the whole filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub(super) rules: Vec<FilterRule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilterRule {
    pub(super) sources: Rc<[u8]>,
    pub(super) protocols: Vec<u8>,
    pub(super) destinations: Vec<(Destination, Ports)>,
    /// The capabilities that it grants on the destinations, instead of letting packets in.
    pub(super) caps: Option<Rc<[u8]>>,
}

/// Where a rule lets packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    All,
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Prefix(Prefix),
    /// One of the ranges of the internet.
    Internet(u8),
}

impl Filter {
    /// Everything from everywhere: what holds without a policy.
    pub fn allow_all() -> Self {
        let destinations = vec![(Destination::All, Ports::ALL)];
        let sources = Rc::from(&b"[\"*\"]"[..]);
        let rule = FilterRule { sources, protocols: Vec::new(), destinations, caps: None };
        Self { rules: vec![rule] }
    }

    /// Whether it lets nothing in.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Writes it as JSON, an array of `FilterRule`, to the end of `out`. No string in it has an
    /// escape, unless one in a granted capability's values needs it.
    pub fn render(&self, out: &mut Vec<u8>) {
        let mut json = Json::new(out);
        json.open('[');
        for rule in &self.rules {
            json.open('{').key("SrcIPs").raw(&rule.sources);
            if !rule.protocols.is_empty() {
                json.key("IPProto").open('[');
                for protocol in &rule.protocols {
                    json.int(i64::from(*protocol));
                }
                json.close(']');
            }
            match &rule.caps {
                None => render_ports(&rule.destinations, &mut json),
                Some(caps) => render_caps(&rule.destinations, caps, &mut json),
            }
            json.close('}');
        }
        json.close(']');
    }
}

fn render_ports(destinations: &[(Destination, Ports)], json: &mut Json<'_>) {
    json.key("DstPorts").open('[');
    for (destination, ports) in destinations {
        json.open('{').key("IP");
        destination.render(json);
        json.key("Ports").open('{').key("First").int(i64::from(ports.first));
        json.key("Last").int(i64::from(ports.last)).close('}').close('}');
    }
    json.close(']');
}

fn render_caps(destinations: &[(Destination, Ports)], caps: &[u8], json: &mut Json<'_>) {
    json.key("CapGrant").open('[').open('{').key("Dsts").open('[');
    for (destination, _) in destinations {
        match destination {
            Destination::V4(address) => json.display(&Prefix::single((*address).into())),
            Destination::V6(address) => json.display(&Prefix::single((*address).into())),
            // Capabilities are granted on a node's own addresses only.
            _ => continue,
        };
    }
    json.close(']').key("CapMap").raw(caps).close('}').close(']');
}

impl Destination {
    fn render(self, json: &mut Json<'_>) {
        match self {
            Self::All => json.display(&"*"),
            Self::V4(address) => json.display(&address),
            Self::V6(address) => json.display(&address),
            Self::Prefix(prefix) => render_prefix(&prefix, json),
            Self::Internet(place) => {
                json.display(range::INTERNET.get(usize::from(place)).unwrap_or(&"*"))
            }
        };
    }
}

/// A prefix as a filter has it: one address stands without a length.
pub(super) fn render_prefix<'a, 'b>(prefix: &Prefix, json: &'a mut Json<'b>) -> &'a mut Json<'b> {
    if prefix.is_single() { json.display(&prefix.addr()) } else { json.display(prefix) }
}
