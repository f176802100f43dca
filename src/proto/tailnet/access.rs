//! The policy in force: set, asked, and kept up to date as users and nodes change.

use std::rc::Rc;

use super::change::Change;
use super::record::{NodeId, UserId};
use super::write::{PolicyText, Write};
use super::{Member, Now, Refusal, Tailnet};
use crate::policy::{Compiled, Explanation, Filter, Person, Policy, Subject, split_port};
use crate::wire::prefix::Prefix;
use crate::wire::sorted::{Map, Set};

/// A policy that is being stored.
#[derive(Debug)]
pub(super) struct NewPolicy {
    compiled: Compiled,
    text: Option<PolicyText>,
}

/// Reads a policy.
pub(super) type ReadPolicy = fn(&str) -> Result<Policy, crate::policy::Error>;

impl Tailnet {
    /// Policies may be written in the older YAML form, too.
    pub fn read_yaml_policies(&mut self) {
        self.read_policy = Policy::parse_any;
    }

    /// Puts a policy in force and stores it; what its author should know ([`Compiled::notes`]).
    pub fn set_policy(&mut self, text: &str, now: Now) -> Result<Vec<String>, Refusal> {
        let text = PolicyText { text: text.to_owned(), at: now.wall };
        let compiled = self.compile_tested(&text.text)?;
        let notes = compiled.notes();
        self.plan_policy(compiled, Some(text.clone()))?;
        self.batch.write(Write::PutPolicy(text));
        Ok(notes)
    }

    /// Puts a policy in force that is stored already.
    pub fn restore_policy(&mut self, policy: &PolicyText) -> Result<(), Refusal> {
        let compiled = self.compile(&policy.text)?;
        self.plan_policy(compiled, Some(policy.clone()))
    }

    /// Puts the policy of a file in force, though its own tests may fail; what is stored is its
    /// business.
    pub fn load_policy(&mut self, text: &str) -> Result<(), Refusal> {
        let compiled = self.compile(text)?;
        self.plan_policy(compiled, None)
    }

    /// The same, unless its tests fail.
    pub fn reload_policy(&mut self, text: &str) -> Result<(), Refusal> {
        let compiled = self.compile_tested(text)?;
        self.plan_policy(compiled, None)
    }

    /// Nothing is allowed from now on, as when a stored policy can no longer be read.
    pub fn close_policy(&mut self) {
        self.install(NewPolicy { compiled: Compiled::closed(), text: self.policy_text.clone() });
    }

    /// Whether a policy could be put in force, its own tests included; what its author should know.
    pub fn check_policy(&self, text: &str) -> Result<Vec<String>, Refusal> {
        Ok(self.compile_tested(text)?.notes())
    }

    /// Runs the tests of the policy in force on the users and nodes there are now; how many tests
    /// it has.
    pub fn test_policy(&self) -> Result<usize, Refusal> {
        self.access.test().map_err(Refusal::Policy)?;
        Ok(self.access.policy().test_count())
    }

    /// What the author of the policy in force should know ([`Compiled::notes`]).
    pub fn policy_notes(&self) -> Vec<String> {
        self.access.notes()
    }

    /// What the policy in force says about a connection from `source` to `destination`, which may
    /// end in `:PORT`. Both are written as in the policy, or are names of nodes.
    ///
    /// The error says what is wrong with the question.
    pub fn explain_policy(
        &self,
        source: &str,
        destination: &str,
        protocol: &str,
    ) -> Result<Explanation, String> {
        let (destination, port) = split_port(destination);
        self.access.explain(&self.named(source), &self.named(destination), port, protocol)
    }

    /// The address of the node of that name; any other text as it is.
    fn named(&self, text: &str) -> String {
        let node = self.nodes.values().map(|member| &member.node).find(|node| node.name == text);
        let address = node.and_then(|node| node.addresses().next());
        match address.filter(|_| !self.access.policy().defines_host(text)) {
            Some(address) => address.to_string(),
            None => text.to_owned(),
        }
    }

    /// The policy that is stored.
    pub fn policy(&self) -> Option<&PolicyText> {
        self.policy_text.as_ref()
    }

    /// Whether there is no policy: everything is allowed.
    pub fn is_open(&self) -> bool {
        self.access.is_open()
    }

    /// Whether a node is told of another.
    pub fn sees(&self, viewer: NodeId, peer: NodeId) -> bool {
        let waits = || self.waiting.contains(&viewer) || self.waiting.contains(&peer);
        self.access.sees(viewer.0, peer.0) && (self.waiting.is_empty() || !waits())
    }

    /// Whether a viewer is to send what goes to `route` through `peer`, which has the route in
    /// force.
    pub fn leads_through(&self, viewer: NodeId, peer: NodeId, route: &Prefix) -> bool {
        let primary = self.primary(route).map(|id| id.0);
        let online = |id| self.nodes.get(&NodeId(id)).is_some_and(|member| member.online);
        self.access.carries(viewer.0, peer.0, route, primary, online)
    }

    /// Writes what the policy lets SSH clients do on a node, as a `tailcfg.SSHPolicy`.
    pub fn write_ssh(&self, node: NodeId, out: &mut Vec<u8>) {
        self.access.render_ssh(node.0, out);
    }

    /// The attributes that the policy gives a node, with their values as JSON.
    pub fn attributes(&self, node: NodeId) -> Map<&str, Vec<&[u8]>> {
        self.access.attributes(node.0)
    }

    /// Whether a viewer, which may be the node itself, is not told of a node's IPv4 address.
    pub fn hides_v4(&self, viewer: NodeId, node: NodeId) -> bool {
        [viewer, node].iter().any(|id| self.access.disables_ipv4(id.0))
    }

    /// What may come in at a node.
    pub fn packet_filter(&self, node: NodeId) -> Rc<Filter> {
        self.access.filter(node.0)
    }

    /// The policy's address pool for a node of this owner.
    pub(super) fn pool_of(&self, user: Option<UserId>, tags: &[String]) -> &[Prefix] {
        let (user, v4, v6) = (user.map(|user| user.0), None, None);
        self.access.pool(&Subject { id: 0, user, tags, v4, v6, routes: &[] })
    }

    /// Whether a user may bring in nodes with this tag.
    pub(super) fn may_request_tag(&self, user: UserId, tag: &str) -> bool {
        self.access.may_tag(user.0, tag)
    }

    /// Whether the policy knows the tag.
    pub(super) fn is_tag_defined(&self, tag: &str) -> bool {
        self.access.defines_tag(tag)
    }

    /// Approves the routes that the policy approves for this node.
    pub(super) fn auto_approve(&mut self, id: NodeId) -> Result<(), Refusal> {
        let Some(member) = self.nodes.get(&id) else { return Ok(()) };
        let more = approved(&self.access, member);
        self.add_routes(id, more)
    }

    /// Tells the policy how a node is now, or that it is gone.
    pub(super) fn reclassify(&mut self, id: NodeId) {
        let admitted = |_: &&Member| !self.waiting.contains(&id);
        match self.nodes.get(&id).filter(admitted) {
            Some(member) => with_subject(member, |subject| self.access.put(subject)),
            None => self.access.remove(id.0),
        }
    }

    /// Tells the policy who the users are now.
    pub(super) fn recount_users(&mut self) -> Result<(), Refusal> {
        if self.set_people()? {
            self.batch.tell(Change::Policy);
        }
        Ok(())
    }

    /// The same after a user's role has changed, which concerns its nodes and those that saw them
    /// before or see them from now on.
    pub(super) fn recount_role(&mut self, user: UserId) -> Result<(), Refusal> {
        let own = self.nodes.values().map(|member| &member.node);
        let own = own.filter(|node| node.user == Some(user) && !node.is_tagged());
        let own: Vec<NodeId> = own.map(|node| node.id).collect();
        let pairs = |access: &Compiled| -> Set<(NodeId, u64)> {
            let of = |id: &NodeId| access.peers(id.0).map(|peer| (*id, peer)).collect::<Vec<_>>();
            own.iter().flat_map(of).collect()
        };
        let hidden = |access: &Compiled, id: &NodeId| access.disables_ipv4(id.0);
        let before = pairs(&self.access);
        let hidden_before: Vec<bool> = own.iter().map(|id| hidden(&self.access, id)).collect();
        let changed = self.set_people()?;
        let after = pairs(&self.access);
        let gone = before.iter().filter(|pair| !after.contains(pair));
        for (_, peer) in gone.chain(after.iter().filter(|pair| !before.contains(pair))) {
            self.batch.tell(Change::Access(NodeId(*peer)));
        }
        for (id, was_hidden) in own.iter().zip(hidden_before) {
            if hidden(&self.access, id) != was_hidden {
                self.batch.tell(Change::Node(*id));
            }
            // Whatever the policy says, the role is among the node's capabilities.
            self.batch.tell(if changed { Change::Access(*id) } else { Change::Filter(*id) });
        }
        own.into_iter().try_for_each(|id| self.auto_approve(id))
    }

    fn set_people(&mut self) -> Result<bool, Refusal> {
        self.access.set_people(&people(self.users.values())).map_err(Refusal::Policy)
    }

    /// Tells of all routers: through which of them a viewer goes may depend on which others there
    /// are and on whether they are online.
    pub(super) fn tell_routers(&mut self) {
        if self.access.is_open() {
            return;
        }
        let is_router = |member: &&Member| member.routes().any(|route| !route.is_exit());
        for router in self.nodes.values().filter(is_router) {
            self.batch.tell(Change::Node(router.node.id));
        }
    }

    /// Notes whose filters changed since the last call.
    pub(super) fn note_filters(&mut self) {
        let touched = self.access.touched();
        // Without a policy every filter is the same for ever.
        for id in touched.into_iter().filter(|_| !self.access.is_open()) {
            self.batch.tell(Change::Filter(NodeId(id)));
        }
    }

    /// Puts a policy in force that is stored by now.
    pub(super) fn install(&mut self, new: NewPolicy) {
        let mut compiled = new.compiled;
        // Nodes came and went while it was being stored. A user that came meanwhile and made a
        // name ambiguous keeps its nodes out until the name is mended.
        let _ = compiled.set_people(&people(self.users.values()));
        self.classify(&mut compiled);
        compiled.touched();
        self.access = compiled;
        self.policy_text = new.text;
        // Who was let in under other rules proves it anew.
        self.checks.forget_all();
    }

    fn plan_policy(
        &mut self,
        compiled: Compiled,
        stored: Option<PolicyText>,
    ) -> Result<(), Refusal> {
        let more: Vec<_> =
            self.nodes.values().map(|m| (m.node.id, approved(&compiled, m))).collect();
        for (id, routes) in more {
            self.add_routes(id, routes)?;
        }
        self.batch.policy(NewPolicy { compiled, text: stored });
        self.batch.tell(Change::Policy);
        Ok(())
    }

    /// A policy, applied to the users and nodes there are.
    fn compile(&self, text: &str) -> Result<Compiled, Refusal> {
        let policy = (self.read_policy)(text).map_err(Refusal::Policy)?;
        let people = people(self.users.values());
        let mut compiled = Compiled::new(Rc::new(policy), &people).map_err(Refusal::Policy)?;
        self.classify(&mut compiled);
        Ok(compiled)
    }

    /// The same, refused where one of its own tests fails.
    fn compile_tested(&self, text: &str) -> Result<Compiled, Refusal> {
        let compiled = self.compile(text)?;
        compiled.test().map_err(Refusal::Policy)?;
        Ok(compiled)
    }

    /// Tells a policy how all nodes are now.
    fn classify(&self, compiled: &mut Compiled) {
        for member in self.nodes.values().filter(|m| !self.waiting.contains(&m.node.id)) {
            with_subject(member, |subject| compiled.put(subject));
        }
    }

    fn add_routes(&mut self, id: NodeId, more: Vec<Prefix>) -> Result<(), Refusal> {
        if more.is_empty() {
            return Ok(());
        }
        self.edit(id, |node| {
            node.approved_routes.extend(more);
            node.approved_routes.sort_unstable();
            node.approved_routes.dedup();
        })?;
        Ok(())
    }
}

/// The routes that a node offers and the policy approves, without those that are approved.
fn approved(access: &Compiled, member: &Member) -> Vec<Prefix> {
    let offered = member.soft.host.routes.iter();
    let new = offered.filter(|route| !member.node.approved_routes.contains(route));
    let mut routes: Vec<Prefix> = with_subject(member, |subject| {
        new.filter(|route| access.approves(subject, route)).copied().collect()
    });
    if routes.iter().any(Prefix::is_exit) {
        routes.extend([Prefix::ALL_V4, Prefix::ALL_V6]);
    }
    routes
}

fn with_subject<T>(member: &Member, f: impl FnOnce(&Subject<'_>) -> T) -> T {
    let routes: Vec<Prefix> = member.routes().collect();
    f(&Subject {
        id: member.node.id.0,
        user: member.node.user.map(|user| user.0),
        tags: &member.node.tags,
        v4: member.node.v4,
        v6: member.node.v6,
        routes: &routes,
    })
}

fn people<'a>(users: impl Iterator<Item = &'a super::record::User>) -> Vec<Person<'a>> {
    let person = |user: &'a super::record::User| Person {
        id: user.id.0,
        name: &user.name,
        email: &user.email,
        provider_id: &user.provider_id,
        role: user.role,
    };
    users.map(person).collect()
}
