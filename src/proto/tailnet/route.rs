//! Routes: which are in force, and which of several routers of one prefix serves it.

use std::time::Duration;

use super::change::Change;
use super::record::NodeId;
use super::{Member, Now, Tailnet};
use crate::wire::prefix::Prefix;
use crate::wire::sorted::{Map, Set};

/// How long routers have to come back after the server started before others take their routes.
/// A client that lost the server tries again within this.
const RETURN_GRACE: Duration = Duration::from_secs(30);

/// A question to a node whether it is there. Each is another: clients don't answer one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe(pub i64);

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

/// How good a choice a router is for its routes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fitness {
    Offline,
    Silent,
    Fit,
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

    /// Finds the primary router of each prefix: the one that is, as long as none is fitter; else
    /// the lowest number of the fittest.
    pub(super) fn elect(&mut self) {
        let mut routers: Map<Prefix, Vec<(NodeId, Fitness)>> = Map::new();
        for member in self.nodes.values().filter(|m| !self.waiting.contains(&m.node.id)) {
            for route in member.routes().filter(|route| !route.is_exit()) {
                let fitness = self.fitness(member, &route);
                routers.entry(route).or_default().push((member.node.id, fitness));
            }
        }
        let mut elected = Map::new();
        let mut shared = Map::new();
        for (route, candidates) in routers {
            let current = self.primaries.get(&route);
            let best = candidates.iter().map(|(_, fitness)| *fitness).max();
            let mut fittest = candidates.iter().filter(|(_, fitness)| Some(*fitness) == best);
            let first = fittest.clone().next();
            if let Some((id, _)) = fittest.find(|(id, _)| Some(id) == current).or(first) {
                elected.insert(route, *id);
                if candidates.len() > 1 {
                    shared.insert(route, *id);
                }
            }
        }
        let old = std::mem::replace(&mut self.primaries, elected);
        let moved = |a: &Map<Prefix, NodeId>, b: &Map<Prefix, NodeId>| {
            let differing = a.iter().filter(|(route, id)| b.get(route) != Some(id));
            differing.map(|(_, id)| *id).collect::<Vec<_>>()
        };
        for id in moved(&old, &self.primaries).into_iter().chain(moved(&self.primaries, &old)) {
            if self.nodes.contains_key(&id) {
                self.batch.tell(Change::Node(id));
            }
        }
        if shared != self.shared {
            self.shared = shared;
            self.shared_unsaved = true;
            // Who is not asked any more cannot answer either: it begins anew when it shares again.
            let sharing = self.sharing();
            for member in self.nodes.values_mut().filter(|m| !sharing.contains(&m.node.id)) {
                member.live.asked = None;
                member.live.silent = false;
            }
        }
    }

    fn fitness(&self, member: &Member, route: &Prefix) -> Fitness {
        // Who served a route before the server started does so until it is missed.
        let returns = self.returning
            && !member.live.back
            && self.primaries.get(route) == Some(&member.node.id);
        match member {
            _ if returns => Fitness::Fit,
            Member { online: false, .. } => Fitness::Offline,
            Member { live, .. } if live.silent => Fitness::Silent,
            _ => Fitness::Fit,
        }
    }

    /// Asks the routers that share a route whether they are there, and gives up on those that
    /// did not answer in time. Returns the uptimes at which to do so again.
    pub(super) fn probe(&mut self, now: Now) -> Vec<Duration> {
        let mut next = Vec::new();
        if self.returning {
            self.returning = now.uptime < RETURN_GRACE;
            if self.returning {
                next.push(RETURN_GRACE);
            } else {
                self.elect();
            }
        }
        let interval = self.rules.probe_interval;
        if interval.is_zero() || self.shared.is_empty() {
            return next;
        }
        let ask = self.probed + interval <= now.uptime;
        if ask {
            self.probed = now.uptime;
        }
        next.push(self.probed + interval);
        let mut lost = false;
        for id in self.sharing() {
            let Some(member) = self.nodes.get_mut(&id) else { continue };
            let live = &mut member.live;
            if let Some((_, since)) = live.asked {
                let end = since + self.rules.probe_timeout;
                if end > now.uptime {
                    next.push(end);
                } else {
                    live.asked = None;
                    lost |= !std::mem::replace(&mut live.silent, true);
                }
            }
            if ask && live.streams > 0 {
                let probe = Probe(now.wall.0);
                live.asked = Some((probe, now.uptime));
                next.push(now.uptime + self.rules.probe_timeout);
                self.batch.tell(Change::Probe(id, probe));
            }
        }
        if lost {
            self.elect();
        }
        next
    }

    /// A node answers that it is there.
    pub fn answer_probe(&mut self, id: NodeId, probe: Probe) {
        let Some(member) = self.nodes.get_mut(&id) else { return };
        if member.live.asked.is_some_and(|(asked, _)| asked == probe) {
            member.live.asked = None;
            if std::mem::take(&mut member.live.silent) {
                self.elect();
            }
        }
    }

    /// The routers that have a route in common with another.
    fn sharing(&self) -> Set<NodeId> {
        let shares = |m: &&Member| m.routes().any(|route| self.shared.contains_key(&route));
        self.nodes.values().filter(shares).map(|m| m.node.id).collect()
    }
}
