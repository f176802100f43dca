//! A policy applied to the users and nodes of a tailnet, kept up to date as these change.
//!
//! Each rule has a place. Of each node, and of each route behind it, two sets are kept: the rules
//! whose source it is and the rules whose destination it is. Whether two nodes see each other is
//! then an intersection of a few words, and a new node costs one look at each rule.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::wire::prefix::Prefix;

use super::alias::Alias;
use super::bits::Bits;
use super::document::Policy;
use super::error::Error;
use super::filter::Filter;
use super::range;
use super::source::Cache;
use super::subject::{Node, People, Person, Reach, Subject};

/// A policy and what it makes of the nodes.
#[derive(Debug)]
pub struct Compiled {
    pub(super) policy: Rc<Policy>,
    pub(super) mode: Mode,
    pub(super) people: People,
    /// The users of each alias of the table, sorted; empty where it is no alias of users.
    pub(super) users: Vec<Vec<u64>>,
    /// The aliases of the sources and the destinations of each rule.
    masks: Vec<(Bits, Bits)>,
    /// The aliases that put addresses of nodes into lists of sources.
    identities: Bits,
    /// The rules about a user's own nodes.
    own_rules: Bits,
    pub(super) nodes: Vec<Option<Node>>,
    pub(super) places: BTreeMap<u64, usize>,
    /// How many nodes have each subnet route.
    pub(super) subnets: BTreeMap<Prefix, u32>,
    pub(super) cache: RefCell<Cache>,
    /// Nodes whose filter may differ from what was last asked for.
    touched: Bits,
    touched_rules: Bits,
}

/// Whether there are rules at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// No policy: everything is allowed.
    Open,
    /// A policy.
    Rules,
}

/// How a viewer may use a route of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteUse {
    /// Not at all.
    No,
    /// Through whichever router is the primary one for it.
    Primary,
    /// Through this peer, whoever is the primary router.
    Steered,
}

impl Compiled {
    /// No policy: everything is allowed.
    pub fn open() -> Self {
        Self::empty(Rc::default(), Mode::Open)
    }

    /// Nothing is allowed, as when a stored policy can no longer be read.
    pub fn closed() -> Self {
        Self::empty(Rc::default(), Mode::Rules)
    }

    /// A policy without nodes yet; these come with [`Self::put`].
    ///
    /// The error is a name that means more than one user.
    pub fn new(policy: Rc<Policy>, people: &[Person<'_>]) -> Result<Self, Error> {
        let mut compiled = Self::empty(policy, Mode::Rules);
        let policy = Rc::clone(&compiled.policy);
        compiled.masks = (policy.rules.iter())
            .map(|rule| {
                let sources = policy.table.sources.get(rule.source);
                let sources = sources.into_iter().flatten().copied().collect();
                (sources, rule.targets.iter().map(|target| target.alias).collect())
            })
            .collect();
        let identities = policy.table.aliases.iter().enumerate().filter(|(_, a)| a.is_identity());
        compiled.identities = identities.map(|(place, _)| place).collect();
        let own = policy.rules.iter().enumerate().filter(|(_, rule)| rule.own.is_some());
        compiled.own_rules = own.map(|(place, _)| place).collect();
        compiled.cache = RefCell::new(Cache::new(policy.table.sources.len()));
        compiled.set_people(people)?;
        Ok(compiled)
    }

    fn empty(policy: Rc<Policy>, mode: Mode) -> Self {
        Self {
            policy,
            mode,
            people: People::default(),
            users: Vec::new(),
            masks: Vec::new(),
            identities: Bits::default(),
            own_rules: Bits::default(),
            nodes: Vec::new(),
            places: BTreeMap::new(),
            subnets: BTreeMap::new(),
            cache: RefCell::default(),
            touched: Bits::default(),
            touched_rules: Bits::default(),
        }
    }

    /// Whether there is no policy.
    pub fn is_open(&self) -> bool {
        self.mode == Mode::Open
    }

    /// The policy that it is made of.
    pub fn policy(&self) -> &Rc<Policy> {
        &self.policy
    }

    /// Takes note of the users there are, after any change of them.
    ///
    /// The error is a name that means more than one user; what held before still holds then.
    pub fn set_people(&mut self, people: &[Person<'_>]) -> Result<(), Error> {
        let people = People::new(people);
        let mut users = Vec::with_capacity(self.policy.table.aliases.len());
        for alias in &self.policy.table.aliases {
            users.push(people.users(alias, &self.policy.names).map_err(unplaced)?);
        }
        // Owners and approvers are asked for seldom and are resolved then, but a name that means
        // two users is refused now.
        let owners = self.policy.owners.iter().flat_map(|(_, owners)| owners);
        let approvers = self.policy.approvers.iter().flat_map(|(_, approvers)| approvers);
        for alias in owners.chain(approvers).chain(&self.policy.exit_approvers) {
            people.users(alias, &self.policy.names).map_err(unplaced)?;
        }
        let changed = self.users != users;
        (self.people, self.users) = (people, users);
        if changed {
            for place in 0..self.nodes.len() {
                self.classify(place);
            }
        }
        Ok(())
    }

    /// Adds a node, or takes note of how it is now.
    pub fn put(&mut self, subject: &Subject<'_>) {
        let node = Node::new(subject);
        let place = match self.places.get(&subject.id) {
            Some(place) => *place,
            None => self.nodes.iter().position(Option::is_none).unwrap_or(self.nodes.len()),
        };
        self.take(place);
        self.count_subnets(&node, true);
        self.places.insert(subject.id, place);
        if place >= self.nodes.len() {
            self.nodes.resize_with(place + 1, || None);
        }
        if let Some(slot) = self.nodes.get_mut(place) {
            *slot = Some(node);
        }
        self.classify(place);
    }

    /// Forgets a node.
    pub fn remove(&mut self, id: u64) {
        if let Some(place) = self.places.remove(&id) {
            self.take(place);
        }
    }

    /// Whether either of two nodes may reach the other, so that they are each other's peers.
    pub fn sees(&self, a: u64, b: u64) -> bool {
        match (self.node(a), self.node(b)) {
            _ if a == b => false,
            (Some(a), Some(b)) => self.mode == Mode::Open || self.meet(a, b),
            _ => false,
        }
    }

    /// The peers of a node, in no order that means anything.
    pub fn peers(&self, id: u64) -> impl Iterator<Item = u64> + '_ {
        let viewer = self.node(id);
        self.nodes.iter().flatten().filter_map(move |peer| {
            let viewer = viewer.filter(|viewer| viewer.id != peer.id)?;
            (self.mode == Mode::Open || self.meet(viewer, peer)).then_some(peer.id)
        })
    }

    /// How `viewer` may use a route of `peer`.
    pub fn route(&self, viewer: u64, peer: u64, route: &Prefix) -> RouteUse {
        let (Some(viewer), Some(peer)) = (self.node(viewer), self.node(peer)) else {
            return RouteUse::No;
        };
        let Some(place) = peer.routes.iter().position(|own| own == route) else {
            return RouteUse::No;
        };
        // A router also gets the routes that it shares, so that it can stand back for the primary.
        let usable = self.mode == Mode::Open
            || peer.through.get(place).is_some_and(|through| viewer.all.meets(through))
            || (self.meet(viewer, peer) && !route.is_exit() && viewer.routes.contains(route));
        if usable { RouteUse::Primary } else { RouteUse::No }
    }

    /// The packet filter of a node; empty for one that is not known.
    pub fn filter(&self, id: u64) -> Rc<Filter> {
        self.cache.borrow_mut().filter(self, self.places.get(&id).copied())
    }

    /// The nodes whose filter may have changed since this was last asked.
    pub fn touched(&mut self) -> Vec<u64> {
        let rules = std::mem::take(&mut self.touched_rules);
        let places = std::mem::take(&mut self.touched);
        let own = rules.meets(&self.own_rules);
        let concerned = |(place, node): (usize, &Option<Node>)| {
            let node = node.as_ref()?;
            let by_rule = rules.meets(&node.all.to) || (own && node.user.is_some());
            (places.has(place) || by_rule).then_some(node.id)
        };
        self.nodes.iter().enumerate().filter_map(concerned).collect()
    }

    pub(super) fn node(&self, id: u64) -> Option<&Node> {
        self.places.get(&id).and_then(|place| self.nodes.get(*place)).and_then(Option::as_ref)
    }

    fn meet(&self, a: &Node, b: &Node) -> bool {
        if a.all.meets(&b.all) {
            return true;
        }
        let own = |node: &Node| node.own.from.meets(&self.own_rules);
        a.shares_user(b) && (own(a) || own(b))
    }

    /// Takes the node out of its place and out of the lists that it is in.
    fn take(&mut self, place: usize) {
        let Some(node) = self.nodes.get_mut(place).and_then(Option::take) else { return };
        self.count_subnets(&node, false);
        self.stale(&node.aliases.and(&self.identities));
        self.touched.set(place, true);
    }

    /// Finds out which aliases the node at a place is in, and so which rules concern it.
    fn classify(&mut self, place: usize) {
        let Some(mut node) = self.nodes.get_mut(place).and_then(Option::take) else { return };
        let before = std::mem::take(&mut node.aliases);
        let aliases = self.policy.table.aliases.iter().enumerate();
        node.aliases =
            aliases.filter(|(at, a)| self.holds(*at, a, &node)).map(|(at, _)| at).collect();
        node.own = self.reach(&node.aliases, &node.aliases);
        node.all = node.own.clone();
        node.through = node.routes.iter().map(|route| self.route_reach(route)).collect();
        let Node { through, all, .. } = &mut node;
        through.iter().for_each(|reach| all.join(reach));
        self.stale(&before.and(&self.identities));
        self.stale(&node.aliases.and(&self.identities));
        self.touched.set(place, true);
        if let Some(slot) = self.nodes.get_mut(place) {
            *slot = Some(node);
        }
    }

    /// Whether the node's own addresses are in the alias.
    fn holds(&self, at: usize, alias: &Alias, node: &Node) -> bool {
        match alias {
            Alias::All | Alias::Danger => true,
            Alias::Wild => node.addresses().any(range::in_tailnet),
            Alias::Internet | Alias::Own => false,
            Alias::Member => node.tags.is_empty(),
            Alias::Tagged => !node.tags.is_empty(),
            Alias::User(_) | Alias::Domain(_) | Alias::Group(_) => {
                let users = self.users.get(at);
                node.user.is_some_and(|user| users.is_some_and(|u| u.binary_search(&user).is_ok()))
            }
            Alias::Tag(tag) => node.tags.iter().any(|own| own == tag),
            Alias::Prefix(prefix) => node.addresses().any(|address| prefix.contains(address)),
        }
    }

    /// The rules that concern a route, from what lies behind it and to it.
    fn route_reach(&self, route: &Prefix) -> Reach {
        let aliases = self.policy.table.aliases.iter().enumerate();
        if route.is_exit() {
            let to = aliases.filter(|(_, alias)| match alias {
                Alias::All | Alias::Internet => true,
                Alias::Prefix(prefix) => route.covers(prefix) && range::in_internet(prefix),
                _ => false,
            });
            return self.reach(&Bits::default(), &to.map(|(at, _)| at).collect());
        }
        let both = aliases.filter(|(_, alias)| match alias {
            Alias::All | Alias::Wild | Alias::Danger => true,
            Alias::Prefix(prefix) => prefix.overlaps(route),
            _ => false,
        });
        let both = both.map(|(at, _)| at).collect();
        self.reach(&both, &both)
    }

    /// The rules with these aliases as source and as destination.
    fn reach(&self, from: &Bits, to: &Bits) -> Reach {
        let masks = || self.masks.iter().enumerate();
        Reach {
            from: masks().filter(|(_, (mask, _))| mask.meets(from)).map(|(at, _)| at).collect(),
            to: masks().filter(|(_, (_, mask))| mask.meets(to)).map(|(at, _)| at).collect(),
        }
    }

    /// Marks the rules with a source among these aliases: their lists of sources have changed.
    fn stale(&mut self, aliases: &Bits) {
        let cache = self.cache.get_mut();
        for (place, (mask, _)) in self.masks.iter().enumerate() {
            if mask.meets(aliases) {
                self.touched_rules.set(place, true);
                if let Some(rule) = self.policy.rules.get(place) {
                    cache.forget(rule.source);
                }
            }
        }
    }

    fn count_subnets(&mut self, node: &Node, add: bool) {
        let mut changed = false;
        for route in node.subnets() {
            let count = self.subnets.entry(*route).or_insert(0);
            *count = if add { count.saturating_add(1) } else { count.saturating_sub(1) };
            changed |= *count == u32::from(add);
            if *count == 0 {
                self.subnets.remove(route);
            }
        }
        if changed {
            let aliases = self.policy.table.aliases.iter().enumerate();
            let wild = aliases.filter(|(_, alias)| **alias == Alias::Wild).map(|(at, _)| at);
            self.stale(&wild.collect());
        }
    }
}

fn unplaced(message: String) -> Error {
    Error { line: 0, column: 0, path: String::new(), message }
}
