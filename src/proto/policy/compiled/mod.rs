//! A policy applied to the users and nodes of a tailnet, kept up to date as these change.
//!
//! Each rule has a place. Of each node, and of each route behind it, two sets are kept: the rules
//! whose source it is and the rules whose destination it is. Whether two nodes see each other is
//! then an intersection of a few words, and a new node costs one look at each rule.

mod attribute;
mod bits;
mod filter;
mod notes;
mod probe;
mod route;
mod source;
mod ssh;
mod subject;
mod tag;
mod trial;

use std::cell::RefCell;
use std::rc::Rc;

use crate::policy::ablation::Part;
use crate::policy::document::Policy;
use crate::policy::document::alias::Alias;
use crate::policy::document::ssh::SshRule;
use crate::policy::error::Error;
use crate::policy::range;
use crate::wire::prefix::Prefix;
use crate::wire::sorted::{Map, Set};

use self::bits::Bits;
use self::source::Cache;
use self::subject::{Node, People, Reach};

pub use self::filter::Filter;
pub use self::probe::{Explanation, split_port};
pub use self::route::RouteUse;
pub use self::ssh::{SSH_CHECK_URL, write_ssh_accept};
pub use self::subject::{Person, Subject};

/// A policy and what it makes of the nodes.
#[derive(Debug)]
pub struct Compiled {
    pub(super) policy: Rc<Policy>,
    pub(super) mode: Mode,
    pub(super) people: People,
    /// The users of each alias of the table, sorted; empty where it is no alias of users.
    pub(super) users: Vec<Vec<u64>>,
    /// The aliases in each rule.
    plans: Vec<Plan>,
    /// The aliases that put addresses of nodes into lists of sources.
    identities: Bits,
    /// The rules about a user's own nodes.
    own_rules: Bits,
    /// The rules that lead through certain routers only.
    via_rules: Bits,
    pub(super) nodes: Vec<Option<Node>>,
    pub(super) places: Map<u64, usize>,
    /// The places of each user's nodes.
    pub(super) by_user: Map<u64, Bits>,
    /// How many nodes have each subnet route.
    pub(super) subnets: Map<Prefix, u32>,
    pub(super) cache: RefCell<Cache>,
    /// Nodes whose filter may differ from what was last asked for.
    touched: Bits,
    touched_rules: Bits,
    touched_ssh: Bits,
    /// Users whose nodes have changed, where rules are about a user's own nodes.
    touched_users: Set<u64>,
}

/// The aliases in a rule.
#[derive(Debug)]
struct Plan {
    from: Bits,
    to: Bits,
    via: Bits,
}

/// Whether there are rules at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// No policy: everything is allowed.
    Open,
    /// A policy.
    Rules,
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
        compiled.plans = (policy.rules.iter())
            .map(|rule| {
                let sources = policy.table.sources.get(rule.source);
                Plan {
                    from: sources.into_iter().flatten().copied().collect(),
                    to: rule.targets.iter().map(|target| target.alias).collect(),
                    via: rule.via.iter().copied().collect(),
                }
            })
            .collect();
        let via = policy.rules.iter().enumerate().filter(|(_, rule)| !rule.via.is_empty());
        compiled.via_rules = via.map(|(place, _)| place).collect();
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
            plans: Vec::new(),
            identities: Bits::default(),
            own_rules: Bits::default(),
            via_rules: Bits::default(),
            nodes: Vec::new(),
            places: Map::new(),
            by_user: Map::new(),
            subnets: Map::new(),
            cache: RefCell::default(),
            touched: Bits::default(),
            touched_rules: Bits::default(),
            touched_ssh: Bits::default(),
            touched_users: Set::new(),
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

    /// Takes note of the users there are, after any change of them; whether any name in the policy
    /// now means somebody else, which may change who sees whom.
    ///
    /// The error is a name that means more than one user; what held before still holds then.
    pub fn set_people(&mut self, people: &[Person<'_>]) -> Result<bool, Error> {
        let people = People::new(people);
        let mut users = Vec::with_capacity(self.policy.table.aliases.len());
        for alias in &self.policy.table.aliases {
            let place = self.policy.table.places.get(users.len()).copied().unwrap_or_default();
            let located = |message| Error::at(place, message);
            users.push(people.users(alias, &self.policy.names).map_err(located)?);
        }
        // Owners and approvers are asked for seldom and are resolved then, but a name that means
        // two users is refused now.
        let owners = self.policy.owners.iter().flat_map(|(_, owners)| owners);
        let approvers = self.policy.approvers.iter().flat_map(|(_, approvers)| approvers);
        for alias in owners.chain(approvers).chain(&self.policy.exit_approvers) {
            let unplaced = |message| Error::at(Default::default(), message);
            people.users(alias, &self.policy.names).map_err(unplaced)?;
        }
        self.people = people;
        if self.users == users {
            return Ok(false);
        }
        let before = std::mem::replace(&mut self.users, users);
        for place in 0..self.nodes.len() {
            let user = self.nodes.get(place).and_then(Option::as_ref).and_then(|node| node.user);
            let is_in = |list: &[u64]| user.is_some_and(|user| list.binary_search(&user).is_ok());
            if before.iter().zip(&self.users).any(|(old, new)| is_in(old) != is_in(new)) {
                self.classify(place);
            }
        }
        Ok(true)
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
        self.note_user(&node, place, true);
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

    /// The packet filter of a node; empty for one that is not known.
    pub fn filter(&self, id: u64) -> Rc<Filter> {
        self.cache.borrow_mut().filter(self, self.places.get(&id).copied())
    }

    /// The nodes whose filter, SSH policy or attributes may have changed since this was last asked.
    pub fn touched(&mut self) -> Vec<u64> {
        let rules = std::mem::take(&mut self.touched_rules);
        let places = std::mem::take(&mut self.touched);
        let logins = std::mem::take(&mut self.touched_ssh);
        let logins: Vec<&SshRule> =
            logins.iter().filter_map(|place| self.policy.ssh.get(place)).collect();
        let users = std::mem::take(&mut self.touched_users);
        let concerned = |(place, node): (usize, &Option<Node>)| {
            let node = node.as_ref()?;
            let by_rule =
                rules.meets(&node.all.to) || node.user.is_some_and(|user| users.contains(&user));
            let by_login = logins.iter().any(|rule| self.concerns(rule, node));
            (places.has(place) || by_rule || by_login).then_some(node.id)
        };
        self.nodes.iter().enumerate().filter_map(concerned).collect()
    }

    /// The aliases that a node is in, or would be.
    pub(super) fn aliases_of(&self, subject: &Subject<'_>) -> Bits {
        self.aliases(&Node::new(subject))
    }

    pub(super) fn aliases(&self, node: &Node) -> Bits {
        let aliases = self.policy.table.aliases.iter().enumerate();
        aliases.filter(|(at, alias)| self.holds(*at, alias, node)).map(|(at, _)| at).collect()
    }

    /// Whether a node is in a list of the table's sources.
    pub(super) fn in_source(&self, source: usize, node: &Node) -> bool {
        let aliases = self.policy.table.sources.get(source);
        aliases.into_iter().flatten().any(|alias| node.aliases.has(*alias))
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
        self.note_user(&node, place, false);
        self.stale(&node.aliases.and(&self.identities));
        self.touched.set(place, true);
    }

    /// Finds out which aliases the node at a place is in, and so which rules concern it.
    fn classify(&mut self, place: usize) {
        let Some(mut node) = self.nodes.get_mut(place).and_then(Option::take) else { return };
        let before = std::mem::take(&mut node.aliases);
        node.aliases = self.aliases(&node);
        node.own = self.reach(&node.aliases, &node.aliases, None);
        node.all = node.own.clone();
        let through = node.routes.iter().map(|route| self.route_reach(route, &node.aliases));
        node.through = through.collect();
        let Node { through, all, .. } = &mut node;
        through.iter().for_each(|reach| all.join(reach));
        self.touched_users.extend(node.user.filter(|_| !self.own_rules.is_empty()));
        let differs = |at: &usize| before.has(*at) != node.aliases.has(*at);
        self.stale(&self.identities.iter().filter(differs).collect());
        self.touched.set(place, true);
        if let Some(slot) = self.nodes.get_mut(place) {
            *slot = Some(node);
        }
    }

    /// Whether the node's own addresses are in the alias.
    fn holds(&self, at: usize, alias: &Alias, node: &Node) -> bool {
        match alias {
            Alias::All | Alias::Danger => true,
            Alias::Wild if node.is_stranger => {
                node.addresses().any(|address| probe::is_behind(address, &self.subnets))
            }
            Alias::Wild => node.addresses().any(range::in_tailnet),
            Alias::Internet => {
                node.is_stranger && node.addresses().any(|a| range::in_internet(&Prefix::single(a)))
            }
            Alias::Own => false,
            Alias::Member => node.tags.is_empty() && !node.is_stranger,
            Alias::Tagged => !node.tags.is_empty(),
            Alias::User(_) | Alias::Domain(_) | Alias::Group(_) | Alias::Role(_) => {
                let users = self.users.get(at);
                node.user.is_some_and(|user| users.is_some_and(|u| u.binary_search(&user).is_ok()))
            }
            Alias::Tag(tag) => node.tags.iter().any(|own| own == tag),
            Alias::Prefix(prefix) => node.addresses().any(|address| prefix.contains(address)),
        }
    }

    /// The rules with these aliases as source and as destination. Those that lead through certain
    /// routers have none but routes of such a router as destination.
    pub(super) fn reach(&self, from: &Bits, to: &Bits, router: Option<&Bits>) -> Reach {
        let plans = || self.plans.iter().enumerate();
        let leads = |place: usize, plan: &Plan| {
            !self.via_rules.has(place)
                || Part::Via.is_off()
                || router.is_some_and(|router| plan.via.meets(router))
        };
        let to = plans().filter(|(place, plan)| plan.to.meets(to) && leads(*place, plan));
        Reach {
            from: plans().filter(|(_, plan)| plan.from.meets(from)).map(|(at, _)| at).collect(),
            to: to.map(|(at, _)| at).collect(),
        }
    }

    /// Marks the rules with a source among these aliases: their lists of sources have changed.
    fn stale(&mut self, aliases: &Bits) {
        let cache = self.cache.get_mut();
        for (place, plan) in self.plans.iter().enumerate() {
            if plan.from.meets(aliases) {
                self.touched_rules.set(place, true);
                if let Some(rule) = self.policy.rules.get(place) {
                    cache.forget(rule.source);
                }
            }
        }
        for (place, rule) in self.policy.ssh.iter().enumerate() {
            let mut sources = self.policy.table.sources.get(rule.source).into_iter().flatten();
            if sources.any(|alias| aliases.has(*alias)) {
                self.touched_ssh.set(place, true);
            }
        }
    }

    fn note_user(&mut self, node: &Node, place: usize, add: bool) {
        let Some(user) = node.user else { return };
        self.by_user.entry(user).or_default().set(place, add);
        if self.by_user.get(&user).is_some_and(Bits::is_empty) {
            self.by_user.remove(&user);
        }
        self.touched_users.extend(Some(user).filter(|_| !self.own_rules.is_empty()));
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
