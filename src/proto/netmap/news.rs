//! What has to be told of peers, before anything is written.

use super::view::{Pending, View};
use crate::tailnet::change::{Patch, Slot};
use crate::tailnet::record::NodeId;
use crate::tailnet::{Member, Tailnet};

/// What a viewer is to be told of its peers.
#[derive(PartialEq, Eq)]
pub(super) struct News {
    /// Nodes to be told whole, new or changed.
    pub upserts: Vec<Slot>,
    /// Nodes that it knows and may not see any longer.
    pub removed: Vec<NodeId>,
    /// Nodes of which only this changed.
    pub patches: Vec<(Slot, Patch)>,
}

impl News {
    /// What became of the peers that a view has to be told of, taken out of `pending`. Notes them as
    /// known, or as not.
    pub(super) fn of(view: &mut View, tailnet: &Tailnet, pending: &mut Pending) -> Self {
        let mut removed = std::mem::take(&mut pending.removed);
        let mut changed = std::mem::take(&mut pending.nodes);
        let viewer = view.viewer;
        let sees = |member: &Member| {
            let id = member.node.id;
            id != viewer && tailnet.shown(id).is_some() && tailnet.sees(viewer, id)
        };
        if pending.policy {
            for member in tailnet.nodes() {
                // What a viewer may see of a router depends on the policy as well.
                let routes = !tailnet.is_open() && member.routes().next().is_some();
                let without_v4 = tailnet.hides_v4(viewer, member.node.id);
                if routes
                    || !view.known.has(member.slot)
                    || without_v4 != view.without_v4.has(member.slot)
                {
                    changed.add(member.slot);
                }
            }
            let lost = view.known.iter().filter(|s| tailnet.at_slot(*s).is_none_or(|m| !sees(m)));
            lost.for_each(|slot| changed.add(slot));
        }
        let mut upserts = Vec::new();
        for slot in changed.iter() {
            let Some(member) = tailnet.at_slot(slot) else { continue };
            if sees(member) {
                view.know(tailnet, member);
                upserts.push(slot);
            } else if view.known.take(slot) {
                removed.push(member.node.id);
            }
        }
        let mut patches = std::mem::take(&mut pending.patches);
        patches.retain(|(slot, _)| view.known.has(*slot) && !upserts.contains(slot));
        Self { upserts, removed, patches }
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removed.is_empty() && self.patches.is_empty()
    }

    /// Whether it says anything of a node.
    pub(super) fn speaks_of(&self, slot: Slot) -> bool {
        self.upserts.contains(&slot) || self.patches.iter().any(|(patched, _)| *patched == slot)
    }
}
