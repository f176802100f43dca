//! One map stream: what it was told, and what it has still to be told.

use std::rc::Rc;

use super::Encoding;
use super::bits::Slots;
use super::node::Form;
use crate::policy::Filter;
use crate::tailnet::change::{Change, Patch, Slot};
use crate::tailnet::record::{NodeId, UserId};
use crate::tailnet::{Member, Probe, Tailnet};
use crate::wire::key::NodeKey;

/// One map stream of one node.
#[derive(Debug)]
pub struct View {
    /// Whose stream it is.
    pub viewer: NodeId,
    pub(super) key: NodeKey,
    pub(super) version: u16,
    pub(super) encoding: Encoding,
    pub(super) sent: bool,
    pub(super) gone: bool,
    pub(super) ended: bool,
    pub(super) known: Slots,
    /// Those of them whose IPv4 address was kept from it.
    pub(super) without_v4: Slots,
    pub(super) pending: Pending,
    /// Digests of the SSH policy and of the capabilities that it was told.
    pub(super) rights: (u64, u64),
    /// Digest of the DNS settings that it was told.
    pub(super) dns: u64,
    /// The packet filter that it was told.
    pub(super) filter: Option<Rc<Filter>>,
}

/// What a view has still to be told.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) own: bool,
    pub(super) derp: bool,
    pub(super) dns: bool,
    pub(super) policy: bool,
    pub(super) filter: bool,
    pub(super) nodes: Slots,
    pub(super) patches: Vec<(Slot, Patch)>,
    pub(super) removed: Vec<NodeId>,
    pub(super) users: Vec<UserId>,
    pub(super) probe: Option<Probe>,
}

impl View {
    /// A stream that has been told nothing yet.
    pub fn new(viewer: NodeId, key: NodeKey, version: u16, zstd: bool) -> Self {
        Self {
            viewer,
            key,
            version,
            encoding: if zstd { Encoding::Zstd } else { Encoding::Plain },
            sent: false,
            gone: false,
            ended: false,
            known: Slots::default(),
            without_v4: Slots::default(),
            pending: Pending::default(),
            rights: (0, 0),
            dns: 0,
            filter: None,
        }
    }

    /// Whether its messages are zstd frames.
    pub fn zstd(&self) -> bool {
        self.encoding == Encoding::Zstd
    }

    /// Whether the last message was the last: the node is gone.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Marks what a change means to this view; whether there is anything to tell.
    pub fn note(&mut self, tailnet: &Tailnet, change: &Change) -> bool {
        if !self.sent {
            // Its first message will say it all, but for this.
            if let Change::Probe(id, probe) = change
                && *id == self.viewer
            {
                self.pending.probe = Some(*probe);
            }
            if let Change::NodeGone { id, .. } = change {
                self.gone |= *id == self.viewer;
            }
            return self.gone;
        }
        match change {
            Change::Login(_) => return false,
            Change::Node(id) if *id == self.viewer => self.pending.own = true,
            Change::Node(id) => {
                let Some(member) = tailnet.node(*id) else { return false };
                if !self.known.has(member.slot) && !tailnet.sees(self.viewer, *id) {
                    return false;
                }
                self.pending.nodes.add(member.slot);
            }
            Change::NodeGone { id, .. } if *id == self.viewer => self.gone = true,
            Change::NodeGone { id, slot } => {
                self.pending.nodes.take(*slot);
                self.pending.patches.retain(|(patched, _)| patched != slot);
                if !self.known.take(*slot) {
                    return false;
                }
                self.pending.removed.push(*id);
            }
            Change::Patch(id, _) if *id == self.viewer => return false,
            Change::Patch(id, what) => {
                let Some(member) = tailnet.node(*id) else { return false };
                if !self.known.has(member.slot) {
                    return false;
                }
                self.pending.patch(member.slot, *what);
            }
            Change::Access(id) => {
                if *id != self.viewer {
                    return false;
                }
                self.pending.policy = true;
            }
            Change::Filter(id) => {
                if *id != self.viewer {
                    return false;
                }
                self.pending.filter = true;
            }
            Change::Policy => self.pending.policy = true,
            Change::Probe(id, probe) => {
                if *id != self.viewer {
                    return false;
                }
                self.pending.probe = Some(*probe);
            }
            Change::User(id) => {
                let owns = |slot| tailnet.at_slot(slot).is_some_and(|m| m.node.user == Some(*id));
                let own = tailnet.node(self.viewer).is_some_and(|m| m.node.user == Some(*id));
                if !own && !self.known.iter().any(owns) {
                    return false;
                }
                self.pending.users.push(*id);
                // Clients keep a profile that comes alone, but show the one before: what makes
                // them build their map anew is anything else, such as their own node.
                self.pending.own = true;
            }
        }
        true
    }

    /// The DNS settings changed.
    pub fn note_dns(&mut self) {
        self.pending.dns = self.sent;
    }

    /// The DERP map changed.
    pub fn note_derp(&mut self) {
        self.pending.derp = self.sent;
    }

    /// Whether there is anything to tell.
    pub fn has_news(&self) -> bool {
        !self.ended && (self.gone || !self.sent || !self.pending.is_empty())
    }

    /// Notes that it is told of a peer.
    pub(super) fn know(&mut self, tailnet: &Tailnet, peer: &Member) {
        self.known.add(peer.slot);
        if tailnet.hides_v4(self.viewer, peer.node.id) {
            self.without_v4.add(peer.slot);
        } else {
            self.without_v4.take(peer.slot);
        }
    }

    pub(super) fn form(&self) -> Form {
        Form::of(self.version)
    }

    pub(super) fn finish(&mut self) {
        self.ended = true;
        self.gone = false;
        self.pending.clear();
    }
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.is_of_peers()
            && self.nodes.is_empty()
            && self.patches.is_empty()
            && self.removed.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether it is of peers only.
    pub(super) fn is_of_peers(&self) -> bool {
        let own = self.own || self.derp || self.dns || self.policy || self.filter;
        !own && self.users.is_empty() && self.probe.is_none()
    }

    fn patch(&mut self, slot: Slot, what: Patch) {
        match self.patches.iter_mut().find(|(patched, _)| *patched == slot) {
            Some((_, before)) => *before = before.and(what),
            None => self.patches.push((slot, what)),
        }
    }
}
