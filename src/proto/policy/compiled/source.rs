//! The sources of rules as lists of addresses, and the filters made of them.

use std::rc::{Rc, Weak};

use crate::policy::ablation::Part;
use crate::policy::document::alias::Alias;
use crate::policy::document::ports::Ports;
use crate::policy::document::rule::Rule;
use crate::policy::range;
use crate::wire::json::Json;
use crate::wire::prefix::Prefix;
use crate::wire::sorted::Map;

use super::bits::Bits;
use super::filter::{Destination, Filter, FilterRule, render_prefix};
use super::subject::Node;
use super::{Compiled, Mode};

/// What was made before and still holds.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    /// By place in the table's sources.
    sources: Vec<Option<Sources>>,
    /// The filters that somebody has, by digest.
    filters: Map<u32, Vec<Weak<Filter>>>,
    /// How many entries of `filters` call for dropping those that nobody has any more.
    swept: usize,
}

/// Who may, by one list of aliases.
#[derive(Clone, Debug)]
struct Sources {
    set: Set,
    /// The JSON array; none if the list is empty. Equal sets share it.
    json: Option<Rc<[u8]>>,
}

/// The addresses of a list: two lists of the same addresses are equal, however they are written.
#[derive(Clone, Debug, Default, PartialEq)]
struct Set {
    anybody: bool,
    tailnet: bool,
    /// Sorted; without the addresses of `members`.
    prefixes: Vec<Prefix>,
    /// Places of nodes.
    members: Bits,
}

impl Cache {
    pub(super) fn new(sources: usize) -> Self {
        Self { sources: vec![None; sources], ..Self::default() }
    }

    /// Drops what was made of a list.
    pub(super) fn forget(&mut self, source: usize) {
        if let Some(slot) = self.sources.get_mut(source) {
            *slot = None;
        }
    }

    /// The filter of the node at a place.
    pub(super) fn filter(&mut self, compiled: &Compiled, place: Option<usize>) -> Rc<Filter> {
        let node = place.and_then(|p| compiled.nodes.get(p)).and_then(Option::as_ref);
        let filter = match node {
            None => Filter::default(),
            Some(_) if compiled.mode == Mode::Open => Filter::allow_all(),
            Some(node) => self.build(compiled, node),
        };
        self.intern(filter)
    }

    /// The equal filter that somebody still has, if there is one.
    fn intern(&mut self, filter: Filter) -> Rc<Filter> {
        if self.filters.len() > self.swept {
            self.filters.retain(|_, bucket| {
                bucket.retain(|weak| weak.strong_count() > 0);
                !bucket.is_empty()
            });
            self.swept = 64 + 2 * self.filters.len();
        }
        let bucket = self.filters.entry(filter.digest()).or_default();
        bucket.retain(|weak| weak.strong_count() > 0);
        if let Some(same) = bucket.iter().filter_map(Weak::upgrade).find(|f| **f == filter) {
            return same;
        }
        let filter = Rc::new(filter);
        bucket.push(Rc::downgrade(&filter));
        filter
    }

    fn build(&mut self, compiled: &Compiled, node: &Node) -> Filter {
        let mut filter = Filter::default();
        for (place, rule) in compiled.policy.rules.iter().enumerate() {
            if let Some(ports) = &rule.own {
                if let Some(sources) = own_sources(compiled, node, place)
                    && !Part::SelfRules.is_off()
                {
                    filter.add(rule, sources, addresses(node, granted(rule, ports)));
                }
            } else if node.all.to.has(place)
                && let Some(sources) = self.sources(compiled, rule.source)
            {
                filter.add(rule, sources, destinations(compiled, node, rule));
            }
        }
        filter
    }

    /// The list at a place in the table's sources.
    fn sources(&mut self, compiled: &Compiled, source: usize) -> Option<Rc<[u8]>> {
        if let Some(Some(known)) = self.sources.get(source) {
            return known.json.clone();
        }
        let set = Set::new(compiled, source);
        let same = self.sources.iter().flatten().find(|other| other.set == set);
        let json = match same {
            Some(same) => same.json.clone(),
            None => set.render(compiled),
        };
        if let Some(slot) = self.sources.get_mut(source) {
            *slot = Some(Sources { set, json: json.clone() });
        }
        json
    }
}

impl Set {
    fn new(compiled: &Compiled, source: usize) -> Self {
        let mut set = Self::default();
        let table = &compiled.policy.table;
        let mut identities = Bits::default();
        for at in table.sources.get(source).into_iter().flatten() {
            match table.aliases.get(*at) {
                Some(Alias::Danger | Alias::All) => set.anybody = true,
                Some(Alias::Wild) => {
                    set.tailnet = true;
                    if !Part::Subnets.is_off() {
                        set.prefixes.extend(compiled.subnets.keys());
                    }
                }
                Some(Alias::Prefix(prefix)) => set.prefixes.push(*prefix),
                Some(alias) if alias.is_identity() => identities.set(*at, true),
                _ => {}
            }
        }
        if set.anybody {
            return Self { anybody: true, ..Self::default() };
        }
        let nodes = || compiled.nodes.iter().enumerate();
        let members = nodes()
            .filter(|(_, node)| node.as_ref().is_some_and(|node| node.aliases.meets(&identities)));
        set.members = members.map(|(place, _)| place).collect();
        set.prefixes.sort_unstable();
        set.prefixes.dedup();
        let members = &set.members;
        let is_member = |prefix: &Prefix| {
            prefix.is_single()
                && nodes().any(|(place, node)| {
                    let own =
                        node.as_ref().is_some_and(|n| n.addresses().any(|a| a == prefix.addr()));
                    own && members.has(place)
                })
        };
        set.prefixes.retain(|prefix| !is_member(prefix));
        set
    }

    /// The JSON array; sorted, so that equal addresses make equal bytes.
    fn render(&self, compiled: &Compiled) -> Option<Rc<[u8]>> {
        let nodes = self.members.iter().filter_map(|place| compiled.nodes.get(place)?.as_ref());
        let mut prefixes = self.prefixes.clone();
        prefixes.extend(nodes.flat_map(Node::addresses).map(Prefix::single));
        prefixes.sort_unstable();
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('[');
        if self.anybody {
            json.display(&"*");
        }
        if self.tailnet {
            range::TAILNET.iter().for_each(|range| {
                json.display(range);
            });
        }
        prefixes.iter().for_each(|prefix| {
            render_prefix(prefix, &mut json);
        });
        json.close(']');
        (out.len() > 2).then(|| out.into())
    }
}

/// The nodes of the node's own user that the rule lets in.
fn own_sources(compiled: &Compiled, node: &Node, rule: usize) -> Option<Rc<[u8]>> {
    let own = compiled.by_user.get(&node.user?)?;
    let in_rule = |place: &usize| {
        let other = compiled.nodes.get(*place).and_then(Option::as_ref);
        other.is_some_and(|other| other.own.from.has(rule))
    };
    let members = own.iter().filter(in_rule).collect();
    Set { members, ..Set::default() }.render(compiled)
}

/// One entry for each address where a capability is granted, which has no ports.
fn granted<'a>(rule: &Rule, ports: &'a [Ports]) -> &'a [Ports] {
    if rule.caps.is_some() { &[Ports::ALL] } else { ports }
}

/// What of a rule's destinations concerns the node: its own addresses, and what overlaps with
/// its routes as the policy writes it.
fn destinations(compiled: &Compiled, node: &Node, rule: &Rule) -> Vec<(Destination, Ports)> {
    if rule.caps.is_some() {
        let own = rule.via.is_empty() && rule.targets.iter().any(|t| node.aliases.has(t.alias));
        return if own { addresses(node, &[Ports::ALL]) } else { Vec::new() };
    }
    let mut out = Vec::new();
    for target in &rule.targets {
        let found: Vec<Destination> = match compiled.policy.table.aliases.get(target.alias) {
            Some(Alias::All) => vec![Destination::All],
            Some(Alias::Internet) if node.is_exit() => {
                (0..range::INTERNET.len()).map(|i| Destination::Internet(i as u8)).collect()
            }
            Some(Alias::Prefix(prefix)) => {
                let own = rule.via.is_empty() && node.aliases.has(target.alias);
                let behind = node.subnets().any(|route| route.overlaps(prefix));
                let outside = node.routes.iter().any(|r| r.is_exit() && r.covers(prefix))
                    && range::in_internet(prefix);
                let concerns = own || behind || outside || Part::Reduction.is_off();
                concerns.then_some(Destination::Prefix(*prefix)).into_iter().collect()
            }
            Some(alias) if alias.is_identity() && rule.via.is_empty() => {
                if !node.aliases.has(target.alias) {
                    continue;
                }
                out.extend(addresses(node, &target.ports));
                continue;
            }
            _ => continue,
        };
        for destination in found {
            out.extend(target.ports.iter().map(|ports| (destination, *ports)));
        }
    }
    out
}

fn addresses(node: &Node, ports: &[Ports]) -> Vec<(Destination, Ports)> {
    let v4 = node.v4.map(Destination::V4);
    let v6 = node.v6.map(Destination::V6);
    let own = v4.into_iter().chain(v6);
    own.flat_map(|destination| ports.iter().map(move |ports| (destination, *ports))).collect()
}

impl Filter {
    /// Adds a rule, or its destinations to the rule of the same sources and protocols.
    fn add(&mut self, rule: &Rule, sources: Rc<[u8]>, destinations: Vec<(Destination, Ports)>) {
        if destinations.is_empty() {
            return;
        }
        let same = |other: &&mut FilterRule| {
            let packets = rule.caps.is_none() && other.caps.is_none();
            packets
                && other.protocols == rule.protocols
                && other.sources == sources
                && !Part::Merging.is_off()
        };
        match self.rules.iter_mut().find(same) {
            Some(other) => other.destinations.extend(destinations),
            None => {
                let (protocols, caps) = (rule.protocols.clone(), rule.caps.clone());
                self.rules.push(FilterRule { sources, protocols, destinations, caps });
            }
        }
    }

    /// A short digest for the search of equal filters.
    fn digest(&self) -> u32 {
        self.rules.iter().fold(self.rules.len() as u32, |digest, rule| {
            let first = rule.destinations.first();
            let own = match first.map(|(destination, _)| destination) {
                Some(Destination::V4(a)) => a.to_bits(),
                Some(Destination::V6(a)) => a.to_bits() as u32,
                _ => 1,
            };
            let ports = first.map_or(0, |(_, p)| u32::from(p.first) << 16 | u32::from(p.last));
            digest.rotate_left(5) ^ own ^ ports ^ rule.sources.len() as u32
        })
    }
}
