//! The state of one tailnet, in memory, with one owner.
//!
//! A command checks, changes the state and returns its answer; what must be stored and whom to
//! tell collects in a [`Batch`]. The caller takes the batch, commits its writes, and then either
//! [settles](Tailnet::settle) it, whereupon it passes the changes on, or
//! [undoes](Tailnet::undo) it. Until then viewers are [shown](Tailnet::shown) the nodes as they
//! are stored: nothing is visible before it is durable.
//!
//! Clock and randomness come in as arguments, so the same commands give the same state.

mod access;
mod address;
mod batch;
pub mod change;
pub mod check;
mod key;
pub mod login;
pub mod name;
mod node;
mod presence;
pub mod record;
mod refusal;
mod register;
mod route;
mod user;
pub mod write;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use batch::Batch;
pub use key::{NewAuthKey, is_expired};
pub use presence::{OFFLINE_GRACE, Outside, SOFT_FLUSH};
pub use refusal::{Refusal, RefusalKind};
pub use register::Registered;
pub use route::Probe;
pub use user::NewUser;

use address::Pool;
use batch::InFlight;
use change::{Change, Slot};
use check::Checks;
use login::Logins;
use record::{ApiKey, ApiKeyId, AuthKey, AuthKeyId, Expiry, Node, NodeId, Soft, User, UserId};
use write::{Meta, NextIds, PolicyText, Snapshot, Write};

use crate::policy::{Compiled, Policy, Role};
use crate::wire::key::NodeKey;
use crate::wire::prefix::Prefix;
use crate::wire::sorted::{Map, Set};
use crate::wire::time::Timestamp;

/// A source of random bytes.
pub type Random<'a> = &'a mut dyn FnMut(&mut [u8]);

/// The time, as commands are told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// What the calendar says. Routers without a clock boot in 1970 or at the date of a file.
    pub wall: Timestamp,
    /// Whether `wall` can be believed. Until then nothing expires.
    pub trusted: bool,
    /// Time since the server started; for intervals.
    pub uptime: Duration,
}

impl Now {
    /// The expiry that lies `by` from now.
    pub fn expiry_in(&self, by: Duration) -> Expiry {
        if self.trusted { Expiry::At(self.wall.after(by)) } else { Expiry::In(by) }
    }
}

/// The settings that decide about the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Where IPv4 addresses come from, if nodes get any.
    pub v4: Option<Prefix>,
    /// Where IPv6 addresses come from, if nodes get any.
    pub v6: Option<Prefix>,
    /// Addresses are drawn at random, and not the lowest free ones.
    pub random_addresses: bool,
    /// After how long the keys of untagged nodes expire; `None` is never.
    pub node_expiry: Option<Duration>,
    /// How long an ephemeral node is kept while offline.
    pub ephemeral_timeout: Duration,
    /// New nodes wait until an administrator approves them.
    pub approval: bool,
    /// How long a preauth key is kept after it ended; zero is for ever.
    pub auth_key_retention: Duration,
    /// How often routers that share a route are asked whether they are there; zero is never.
    pub probe_interval: Duration,
    /// How long each has to answer.
    pub probe_timeout: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            v4: "100.64.0.0/10".parse().ok(),
            v6: "fd7a:115c:a1e0::/48".parse().ok(),
            random_addresses: false,
            node_expiry: None,
            ephemeral_timeout: Duration::from_secs(30 * 60),
            approval: false,
            auth_key_retention: Duration::from_secs(7 * 86_400),
            probe_interval: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(5),
        }
    }
}

/// A node with all that is known of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// What is stored of it.
    pub node: Node,
    /// What it says of itself.
    pub soft: Soft,
    /// Its place in sets of nodes.
    pub slot: Slot,
    /// Whether peers are told that it is online.
    pub online: bool,
    /// Its key has expired, as peers are told.
    pub expired: bool,
    live: Live,
}

/// What is known of a node's connections.
#[derive(Clone, Debug, Default)]
struct Live {
    /// Map streams that are open.
    streams: u32,
    /// The uptime when the last stream ended (or the server started), while there is none.
    left: Duration,
    /// The calendar's time of the same.
    left_at: Option<Timestamp>,
    /// It has said something of itself since the server started.
    heard: bool,
    /// Where STUN sees it, if it said so.
    seen: Option<SocketAddr>,
    /// The endpoint that was added to those it told.
    outside: Option<SocketAddr>,
    /// It has had a stream since the server started.
    back: bool,
    /// The question that it has still to answer, and the uptime when it was asked.
    asked: Option<(Probe, Duration)>,
    /// It did not answer the last one: another router of its routes is to be preferred.
    silent: bool,
}

/// One tailnet.
pub struct Tailnet {
    rules: Rules,
    outside: Outside,
    users: Map<UserId, User>,
    nodes: Map<NodeId, Member>,
    auth_keys: Map<AuthKeyId, AuthKey>,
    api_keys: Map<ApiKeyId, ApiKey>,
    next: NextIds,
    by_key: Map<NodeKey, NodeId>,
    names: Set<String>,
    pool: Pool,
    by_slot: Vec<Option<NodeId>>,
    logins: Logins,
    checks: Checks,
    primaries: Map<Prefix, NodeId>,
    /// Those of [`Self::primaries`] that have more than one router.
    shared: Map<Prefix, NodeId>,
    shared_unsaved: bool,
    /// Routers that were primary before the server started are given time to come back.
    returning: bool,
    /// The uptime when routers were last asked whether they are there.
    probed: Duration,
    /// Nodes that wait for an approval.
    waiting: Set<NodeId>,
    /// Nodes whose soft part is newer than what is stored.
    unsaved: Set<NodeId>,
    saved: Duration,
    access: Compiled,
    policy_text: Option<PolicyText>,
    read_policy: access::ReadPolicy,
    batch: Batch,
    in_flight: VecDeque<InFlight>,
}

impl Tailnet {
    /// The tailnet that was stored. All nodes are offline.
    pub fn new(rules: Rules, snapshot: Snapshot) -> Self {
        let mut tailnet = Self {
            rules,
            outside: Outside::default(),
            users: snapshot.users,
            nodes: Map::new(),
            auth_keys: snapshot.auth_keys,
            api_keys: snapshot.api_keys,
            next: snapshot.next,
            by_key: Map::new(),
            names: Set::new(),
            pool: Pool::default(),
            by_slot: Vec::new(),
            logins: Logins::default(),
            checks: Checks::default(),
            returning: !snapshot.primaries.is_empty(),
            shared: snapshot.primaries.clone(),
            shared_unsaved: false,
            primaries: snapshot.primaries,
            probed: Duration::ZERO,
            waiting: Set::new(),
            unsaved: Set::new(),
            saved: Duration::ZERO,
            access: Compiled::open(),
            policy_text: snapshot.policy,
            read_policy: Policy::parse,
            batch: Batch::default(),
            in_flight: VecDeque::new(),
        };
        let mut soft = snapshot.soft;
        for (id, node) in snapshot.nodes {
            let soft = soft.remove(&id).unwrap_or_default();
            tailnet.insert(node, soft);
        }
        tailnet.elect();
        tailnet.batch = Batch::default();
        tailnet
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Other rules, for what happens from now on: addresses and expiries that were given stay.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        let waits = self.rules.approval;
        let unapproved = self.nodes.values().filter(|m| !m.node.approved).map(|m| m.node.id);
        for id in unapproved.collect::<Vec<_>>() {
            if waits != self.waiting.contains(&id) {
                _ = if waits { self.waiting.insert(id) } else { self.waiting.remove(&id) };
                self.reclassify(id);
                self.batch.tell(Change::Node(id));
                self.batch.tell(Change::Access(id));
            }
        }
        self.elect();
    }

    /// All users, by number.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// A user.
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(&id)
    }

    /// The role of a node's user; tagged nodes are nobody's.
    pub fn role(&self, id: NodeId) -> Role {
        let node = self.nodes.get(&id).map(|member| &member.node);
        let user = node.filter(|node| !node.is_tagged()).and_then(|node| node.user);
        user.and_then(|user| self.users.get(&user)).map_or(Role::Member, |user| user.role)
    }

    /// All nodes, by number.
    pub fn nodes(&self) -> impl Iterator<Item = &Member> {
        self.nodes.values()
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Member> {
        self.nodes.get(&id)
    }

    /// The node with this key.
    pub fn node_by_key(&self, key: &NodeKey) -> Option<&Member> {
        self.nodes.get(self.by_key.get(key)?)
    }

    /// What viewers may know of a node: the stored form, while a newer one is being stored.
    /// `None` for a node that is not stored yet.
    pub fn shown(&self, id: NodeId) -> Option<&Node> {
        match self.in_flight.iter().find_map(|flight| flight.old_node(id)) {
            Some(old) => old,
            None => self.nodes.get(&id).map(|member| &member.node),
        }
    }

    /// All preauth keys, by number.
    pub fn auth_keys(&self) -> impl Iterator<Item = &AuthKey> {
        self.auth_keys.values()
    }

    /// A preauth key.
    pub fn auth_key(&self, id: AuthKeyId) -> Option<&AuthKey> {
        self.auth_keys.get(&id)
    }

    /// All API keys, by number.
    pub fn api_keys(&self) -> impl Iterator<Item = &ApiKey> {
        self.api_keys.values()
    }

    /// An API key.
    pub fn api_key(&self, id: ApiKeyId) -> Option<&ApiKey> {
        self.api_keys.get(&id)
    }

    /// How many slots have ever been in use at once: the bits a set of nodes needs.
    pub fn slots(&self) -> u32 {
        self.by_slot.len() as u32
    }

    /// The node in a slot.
    pub fn at_slot(&self, slot: Slot) -> Option<&Member> {
        self.nodes.get(self.by_slot.get(slot.0 as usize)?.as_ref()?)
    }

    /// Whether a node waits until an administrator approves it: it sees nobody, and nobody it.
    pub fn is_waiting(&self, id: NodeId) -> bool {
        self.waiting.contains(&id)
    }

    fn next_id(&mut self, of: impl FnOnce(&mut NextIds) -> &mut u64) -> u64 {
        let counter = of(&mut self.next);
        let id = *counter;
        *counter += 1;
        let next = self.next;
        self.batch.write(Write::PutMeta(Meta::Next(next)));
        id
    }

    /// Puts a node and all that points to it in place; the key, name and addresses are free.
    fn insert(&mut self, node: Node, soft: Soft) {
        let free = self.by_slot.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.by_slot.push(None);
            self.by_slot.len() - 1
        });
        if let Some(place) = self.by_slot.get_mut(at) {
            *place = Some(node.id);
        }
        let slot = Slot(at as u32);
        let id = node.id;
        let live = Live { left_at: soft.last_seen, ..Live::default() };
        self.index(&node);
        self.nodes.insert(id, Member { node, soft, slot, online: false, expired: false, live });
        self.reclassify(id);
    }

    /// Takes a node out of the state; its slot stays taken.
    fn remove(&mut self, id: NodeId) -> Option<Member> {
        let member = self.nodes.remove(&id)?;
        self.unindex(&member.node);
        self.unsaved.remove(&id);
        self.reclassify(id);
        if member.routes().next().is_some() {
            self.tell_routers();
        }
        Some(member)
    }

    /// Gives a slot to the next node; the changes that name it are told before that comes.
    fn free_slot(&mut self, slot: Slot) {
        if let Some(place) = self.by_slot.get_mut(slot.0 as usize) {
            *place = None;
        }
    }

    /// Replaces what is stored of a node.
    fn replace(&mut self, node: Node) {
        let id = node.id;
        let Some(member) = self.nodes.get_mut(&id) else { return };
        let was_router = member.routes().next().is_some();
        let old = std::mem::replace(&mut member.node, node.clone());
        self.unindex(&old);
        self.index(&node);
        if (old.user, old.key) != (node.user, node.key) || old.tags != node.tags {
            self.checks.forget(id);
        }
        let identity = |n: &Node| (n.user, n.v4, n.v6);
        let same = identity(&old) == identity(&node)
            && old.tags == node.tags
            && old.approved_routes == node.approved_routes
            && old.approved == node.approved;
        if !same {
            self.reclassify(id);
            self.batch.tell(Change::Access(id));
            if was_router || self.nodes.get(&id).is_some_and(|m| m.routes().next().is_some()) {
                self.tell_routers();
            }
        }
    }

    fn index(&mut self, node: &Node) {
        // A node that lost its key to another of the same machine has none.
        if !node.key.is_zero() {
            self.by_key.insert(node.key, node.id);
        }
        if self.rules.approval && !node.approved {
            self.waiting.insert(node.id);
        }
        self.names.insert(node.name.clone());
        node.addresses().for_each(|addr| self.pool.take(addr));
    }

    fn unindex(&mut self, node: &Node) {
        if self.by_key.get(&node.key) == Some(&node.id) {
            self.by_key.remove(&node.key);
        }
        self.waiting.remove(&node.id);
        self.names.remove(&node.name);
        node.addresses().for_each(|addr| self.pool.give_back(addr));
    }

    /// Changes what is stored of a node, and tells peers if that made a difference.
    fn edit(&mut self, id: NodeId, edit: impl FnOnce(&mut Node)) -> Result<bool, Refusal> {
        let member = self.nodes.get(&id).ok_or(Refusal::NoNode(id))?;
        let mut node = member.node.clone();
        edit(&mut node);
        if node == member.node {
            return Ok(false);
        }
        self.batch.undo_node(id, Some(member));
        self.batch.write(Write::PutNode(node.clone()));
        self.batch.tell(Change::Node(id));
        self.replace(node);
        Ok(true)
    }

    /// A free address of each family for a node of this owner; IPv4 out of the policy's pool, if
    /// it has one for it.
    fn free_addresses(
        &self,
        user: Option<UserId>,
        tags: &[String],
        random: Random<'_>,
    ) -> Result<(Option<IpAddr>, Option<IpAddr>), Refusal> {
        let mut pick = |prefixes: &[Prefix]| {
            for prefix in prefixes {
                let random = if self.rules.random_addresses { Some(&mut *random) } else { None };
                let free = self.pool.pick(*prefix, random.map(|r| r as Random<'_>));
                if free.is_some() {
                    return Ok(free);
                }
            }
            if prefixes.is_empty() { Ok(None) } else { Err(Refusal::NoAddress) }
        };
        let v4 = match self.pool_of(user, tags) {
            pool if pool.is_empty() || self.rules.v4.is_none() => self.rules.v4.as_slice(),
            pool => pool,
        };
        Ok((pick(v4)?, pick(self.rules.v6.as_slice())?))
    }
}

#[cfg(test)]
mod tests;
