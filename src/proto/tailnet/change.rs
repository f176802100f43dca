//! What happened, as far as anybody has to be told.

use super::Probe;
use super::login::LoginId;
use super::record::{NodeId, UserId};

/// Something that viewers or waiting requests are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Whom a node may reach, or who it, may have changed by what the node now is.
    Access(NodeId),
    /// What may come in at a node changed.
    Filter(NodeId),
    /// A login that a request may wait for was decided.
    Login(LoginId),
    /// A node is new, or anything of it changed that a patch can't say.
    Node(NodeId),
    /// A node is gone; `slot` was its place in viewers' sets.
    NodeGone {
        /// Its number.
        id: NodeId,
        /// Its place, free for others from now on.
        slot: Slot,
    },
    /// Fields of a node changed that fit a `PeerChange`.
    Patch(NodeId, Patch),
    /// A node is to answer that it is there.
    Probe(NodeId, Probe),
    /// Who may reach whom may have changed for anybody.
    Policy,
    /// A user's profile changed.
    User(UserId),
}

/// A small number that stands for a node while it exists, so that a set of nodes is a set of
/// bits; the lowest free one is given to the next node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// Which fields of a `PeerChange` (`tailcfg.PeerChange`) changed, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patch(pub u8);

impl Patch {
    /// `Endpoints`.
    pub const ENDPOINTS: Self = Self(1);
    /// `DERPRegion`.
    pub const HOME_DERP: Self = Self(2);
    /// `DiscoKey`.
    pub const DISCO: Self = Self(4);
    /// `Online`, and `LastSeen` when offline.
    pub const ONLINE: Self = Self(8);
    /// `Cap`.
    pub const VERSION: Self = Self(16);

    /// Whether nothing changed.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` is in this.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
