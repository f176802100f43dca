//! What one or several commands leave to be done: stored, told, or taken back.

use super::access::NewPolicy;
use super::change::{Change, Slot};
use super::record::{ApiKey, ApiKeyId, AuthKey, AuthKeyId, Node, NodeId, User, UserId};
use super::write::Write;
use super::{Member, Tailnet};

/// What commands left to be done since the last [`Tailnet::take_batch`].
#[derive(Debug, Default)]
#[must_use = "its writes must be committed, and then settled or undone"]
pub struct Batch {
    /// Its place in the order of batches; commits must keep it.
    pub number: u64,
    /// To be stored, together or not at all. When empty, nothing has to be settled.
    pub writes: Vec<Write>,
    /// To be told once it is stored, in this order.
    pub changes: Vec<Change>,
    undo: Vec<Undo>,
    /// Slots of nodes that are gone once this is stored.
    freed: Vec<Slot>,
    /// To be put in force once it is stored.
    policy: Option<Box<NewPolicy>>,
}

impl Batch {
    pub(super) fn policy(&mut self, policy: NewPolicy) {
        self.policy = Some(Box::new(policy));
    }

    pub(super) fn write(&mut self, write: Write) {
        // The counters of numbers are written once a batch.
        if let Write::PutMeta(super::write::Meta::Next(_)) = write {
            self.writes.retain(|w| !matches!(w, Write::PutMeta(super::write::Meta::Next(_))));
        }
        self.writes.push(write);
    }

    pub(super) fn tell(&mut self, change: Change) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    pub(super) fn free(&mut self, slot: Slot) {
        self.freed.push(slot);
    }

    pub(super) fn undo_node(&mut self, id: NodeId, old: Option<&Member>) {
        self.undo.push(Undo::Node(id, old.cloned().map(Box::new)));
    }

    pub(super) fn undo_user(&mut self, id: UserId, old: Option<&User>) {
        self.undo.push(Undo::User(id, old.cloned()));
    }

    pub(super) fn undo_auth_key(&mut self, id: AuthKeyId, old: Option<&AuthKey>) {
        self.undo.push(Undo::AuthKey(id, old.cloned().map(Box::new)));
    }

    pub(super) fn undo_api_key(&mut self, id: ApiKeyId, old: Option<&ApiKey>) {
        self.undo.push(Undo::ApiKey(id, old.cloned().map(Box::new)));
    }
}

/// A record as it was before a command; `None` where there was none.
#[derive(Debug)]
enum Undo {
    ApiKey(ApiKeyId, Option<Box<ApiKey>>),
    AuthKey(AuthKeyId, Option<Box<AuthKey>>),
    Node(NodeId, Option<Box<Member>>),
    User(UserId, Option<User>),
}

/// A batch that is being stored.
#[derive(Debug)]
pub(super) struct InFlight {
    number: u64,
    undo: Vec<Undo>,
    freed: Vec<Slot>,
    policy: Option<Box<NewPolicy>>,
}

impl InFlight {
    /// The node as it was before this batch, if the batch has changed it.
    pub(super) fn old_node(&self, id: NodeId) -> Option<Option<&Node>> {
        self.undo.iter().find_map(|undo| match undo {
            Undo::Node(node, old) if *node == id => Some(old.as_ref().map(|m| &m.node)),
            _ => None,
        })
    }
}

impl Tailnet {
    /// Takes what the commands since the last call left to be done.
    pub fn take_batch(&mut self) -> Batch {
        self.note_filters();
        let mut batch = std::mem::take(&mut self.batch);
        self.batch.number = batch.number + 1;
        let policy = batch.policy.take();
        if batch.writes.is_empty() {
            policy.into_iter().for_each(|new| self.install(*new));
        } else {
            let undo = std::mem::take(&mut batch.undo);
            let freed = std::mem::take(&mut batch.freed);
            self.in_flight.push_back(InFlight { number: batch.number, undo, freed, policy });
        }
        batch
    }

    /// The writes of the batch are stored: its changes can be told.
    pub fn settle(&mut self, number: u64) {
        let Some(at) = self.in_flight.iter().position(|flight| flight.number == number) else {
            return;
        };
        let Some(flight) = self.in_flight.remove(at) else { return };
        flight.freed.into_iter().for_each(|slot| self.free_slot(slot));
        flight.policy.into_iter().for_each(|new| self.install(*new));
    }

    /// The writes of the batch could not be stored: the state becomes what it was before it.
    ///
    /// Batches behind it were planned on what is now taken back, so they are undone too, and
    /// their commits must fail. `changes` are the batch's own: those of what is not stored remain
    /// true. Returns what to tell viewers.
    pub fn undo(&mut self, number: u64, mut changes: Vec<Change>) -> Vec<Change> {
        while self.in_flight.back().is_some_and(|flight| flight.number >= number) {
            let Some(flight) = self.in_flight.pop_back() else { break };
            for undo in flight.undo.into_iter().rev() {
                changes.extend(self.revert(undo));
            }
        }
        for change in &changes {
            // The verdict is taken back with the node that it made.
            if let Change::Login(id) = change {
                self.reopen_login(*id);
            }
        }
        self.elect();
        let is_gone = |change: &Change| match change {
            Change::NodeGone { id, .. } => !self.nodes.contains_key(id),
            _ => true,
        };
        changes.retain(is_gone);
        changes
    }

    fn revert(&mut self, undo: Undo) -> Option<Change> {
        match undo {
            Undo::ApiKey(id, Some(old)) => _ = self.api_keys.insert(id, *old),
            Undo::ApiKey(id, None) => _ = self.api_keys.remove(&id),
            Undo::AuthKey(id, Some(old)) => _ = self.auth_keys.insert(id, *old),
            Undo::AuthKey(id, None) => _ = self.auth_keys.remove(&id),
            Undo::User(id, old) => {
                match old {
                    Some(old) => _ = self.users.insert(id, old),
                    None => _ = self.users.remove(&id),
                }
                // These users were all right before.
                let _ = self.recount_users();
            }
            Undo::Node(id, Some(old)) => {
                if let Some(member) = self.nodes.get_mut(&id) {
                    member.expired = old.expired;
                    self.replace(old.node);
                } else {
                    // Its slot is not free before the deletion is stored.
                    self.index(&old.node);
                    self.nodes.insert(id, *old);
                    self.reclassify(id);
                }
                return Some(Change::Node(id));
            }
            Undo::Node(id, None) => {
                let slot = self.remove(id)?.slot;
                self.free_slot(slot);
                return Some(Change::NodeGone { id, slot });
            }
        }
        None
    }
}
