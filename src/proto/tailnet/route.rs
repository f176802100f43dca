//! Routes: which are in force, and which of several routers of one prefix serves it.

use std::collections::BTreeMap;

use super::change::Change;
use super::record::NodeId;
use super::{Member, Tailnet};
use crate::wire::prefix::Prefix;

impl Member {
    /// Routes that are advertised and approved, sorted.
    pub fn routes(&self) -> impl Iterator<Item = Prefix> + '_ {
        let approved = &self.node.approved_routes;
        self.soft.host.routes.iter().copied().filter(|route| approved.contains(route))
    }

    /// Whether it is an exit node: a default route is in force.
    pub fn is_exit_node(&self) -> bool {
        self.routes().any(|route| route.is_exit())
    }
}

impl Tailnet {
    /// The node that serves a subnet route now.
    pub(super) fn primary(&self, route: &Prefix) -> Option<NodeId> {
        self.primaries.get(route).copied()
    }

    /// The subnet routes that this node serves now; with several routers for a prefix only one
    /// does. Default routes are no part of this: every exit node offers them.
    pub fn primary_routes(&self, id: NodeId) -> impl Iterator<Item = Prefix> + '_ {
        self.primaries.iter().filter(move |(_, node)| **node == id).map(|(route, _)| *route)
    }

    /// Finds the primary router of each prefix: the one that is, as long as it is online; else
    /// the lowest number that is online; else whoever was before.
    pub(super) fn elect(&mut self) {
        let mut routers: BTreeMap<Prefix, Vec<(NodeId, bool)>> = BTreeMap::new();
        for member in self.nodes.values() {
            for route in member.routes().filter(|route| !route.is_exit()) {
                routers.entry(route).or_default().push((member.node.id, member.online));
            }
        }
        let mut elected = BTreeMap::new();
        for (route, candidates) in routers {
            let current = self.primaries.get(&route);
            let holds = |online: bool| {
                candidates.iter().find(|(id, on)| Some(id) == current && (*on || !online))
            };
            let winner = holds(true)
                .or_else(|| candidates.iter().find(|(_, on)| *on))
                .or_else(|| holds(false))
                .or_else(|| candidates.first());
            if let Some((id, _)) = winner {
                elected.insert(route, *id);
            }
        }
        let old = std::mem::replace(&mut self.primaries, elected);
        let moved = |a: &BTreeMap<Prefix, NodeId>, b: &BTreeMap<Prefix, NodeId>| {
            let differing = a.iter().filter(|(route, id)| b.get(route) != Some(id));
            differing.map(|(_, id)| *id).collect::<Vec<_>>()
        };
        for id in moved(&old, &self.primaries).into_iter().chain(moved(&self.primaries, &old)) {
            if self.nodes.contains_key(&id) {
                self.batch.tell(Change::Node(id));
            }
        }
    }
}
