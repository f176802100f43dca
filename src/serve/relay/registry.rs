//! Who is connected, which connection of a key gets its packets, and who must be told when a key
//! goes. Decisions only: no I/O, no clock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use gramscale_proto::wire::key::NodeKey;

/// Connections that one key may have at once. A client that roams leaves an old one behind until
/// the kernel finds it dead; more than a few mean that a key is used by several machines.
pub(super) const MAX_PER_KEY: usize = 8;

/// A connection's place; another connection gets it after this one has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u32);

impl Id {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// The connections, each with a `T`.
pub(super) struct Registry<T> {
    slots: Vec<Option<Slot<T>>>,
    free: Vec<Id>,
    by_key: HashMap<NodeKey, Connections>,
    /// Connections that are not active.
    passive: usize,
}

struct Slot<T> {
    key: NodeKey,
    value: T,
    /// To whom this connection has sent packets.
    reached: Set,
}

/// Those of one key.
struct Connections {
    /// The one that gets the packets: that which was heard last.
    active: Id,
    /// The others, the one heard last at the end.
    others: Vec<Id>,
}

/// What follows from a leave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nobody has the key any more; these have received packets from it.
    Gone(Vec<Id>),
    /// Other connections have the key.
    Remains,
}

impl<T> Registry<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), by_key: HashMap::new(), passive: 0 }
    }

    /// Takes a connection in, as the active one of its key. `value` is made once its id is known.
    /// Also returns a connection to close, if the key has too many now: that which was silent for
    /// longest.
    pub(super) fn join(&mut self, key: NodeKey, value: impl FnOnce(Id) -> T) -> (Id, Option<Id>) {
        let id = self.free.pop().unwrap_or(Id(self.slots.len() as u32));
        let slot = Slot { key, value: value(id), reached: Set::default() };
        match self.slots.get_mut(id.index()) {
            Some(place) => *place = Some(slot),
            None => self.slots.push(Some(slot)),
        }
        let mut surplus = None;
        match self.by_key.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Connections { active: id, others: Vec::new() });
            }
            Entry::Occupied(entry) => {
                let Connections { active, others } = entry.into_mut();
                others.push(std::mem::replace(active, id));
                self.passive += 1;
                surplus = (others.len() >= MAX_PER_KEY).then(|| others.first().copied()).flatten();
            }
        }
        (id, surplus)
    }

    /// Takes a connection out. The next in line becomes active if this one was.
    pub(super) fn leave(&mut self, id: Id) -> Option<Left> {
        let slot = self.slots.get_mut(id.index())?.take()?;
        self.free.push(id);
        for other in self.slots.iter_mut().flatten() {
            other.reached.remove(id);
        }
        let mut reached = slot.reached;
        reached.remove(id);
        let Entry::Occupied(mut entry) = self.by_key.entry(slot.key) else { return None };
        let Connections { active, others } = entry.get_mut();
        if *active == id {
            match others.pop() {
                Some(next) => *active = next,
                None => {
                    entry.remove();
                    return Some(Left::Gone(reached.iter().collect()));
                }
            }
        } else {
            others.retain(|other| *other != id);
        }
        self.passive -= 1;
        // Those reached will be told when the last connection of the key goes.
        let heir = *active;
        if let Some(Some(heir)) = self.slots.get_mut(heir.index()) {
            heir.reached.add_all(&reached);
        }
        Some(Left::Remains)
    }

    /// Notes that a connection has sent something, which makes it the active one of its key.
    pub(super) fn heard(&mut self, id: Id) {
        if self.passive == 0 {
            return;
        }
        let Some(Some(slot)) = self.slots.get(id.index()) else { return };
        let Some(Connections { active, others }) = self.by_key.get_mut(&slot.key) else { return };
        if *active != id {
            others.retain(|other| *other != id);
            others.push(std::mem::replace(active, id));
        }
    }

    /// The connection that gets a packet from `from` for `to`; notes that it was reached.
    pub(super) fn route(&mut self, from: Id, to: &NodeKey) -> Option<&T> {
        let id = self.by_key.get(to)?.active;
        if let Some(Some(slot)) = self.slots.get_mut(from.index()) {
            slot.reached.add(id);
        }
        self.get(id)
    }

    pub(super) fn get(&self, id: Id) -> Option<&T> {
        self.slots.get(id.index())?.as_ref().map(|slot| &slot.value)
    }

    /// All connections of a key.
    pub(super) fn of_key(&self, key: &NodeKey) -> impl Iterator<Item = &T> {
        self.by_key
            .get(key)
            .into_iter()
            .flat_map(|c| c.others.iter().chain([&c.active]))
            .filter_map(|id| self.get(*id))
    }

    /// All connections.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|slot| &slot.value)
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many keys there are, how many of them with several connections, and how many
    /// connections those have.
    pub(super) fn keys(&self) -> (usize, usize, usize) {
        let several = self.by_key.values().filter(|c| !c.others.is_empty());
        let (keys, connections) =
            several.fold((0, 0), |(keys, sum), c| (keys + 1, sum + 1 + c.others.len()));
        (self.by_key.len(), keys, connections)
    }
}

/// A set of ids, one bit each: a thousand clients that all have sent to all are 125 KB.
#[derive(Default)]
struct Set(Vec<u32>);

impl Set {
    fn place(id: Id) -> (usize, u32) {
        (id.index() / 32, 1 << (id.0 % 32))
    }

    fn add(&mut self, id: Id) {
        let (word, bit) = Self::place(id);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    fn add_all(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn remove(&mut self, id: Id) {
        let (word, bit) = Self::place(id);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    fn iter(&self) -> impl Iterator<Item = Id> {
        (0_u32..).zip(&self.0).flat_map(|(i, word)| {
            (0..32).filter(move |bit| word & (1 << bit) != 0).map(move |bit| Id(i * 32 + bit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeKey = NodeKey([1; 32]);
    const B: NodeKey = NodeKey([2; 32]);

    fn key(n: u32) -> NodeKey {
        let mut bytes = [9; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        NodeKey(bytes)
    }

    #[test]
    fn receivers_are_told_once_the_key_is_gone() {
        let mut registry = Registry::new();
        let (a, _) = registry.join(A, |id| id);
        let (b, _) = registry.join(B, |id| id);
        assert_eq!(registry.route(a, &key(7)), None);
        assert_eq!(registry.route(a, &B), Some(&b));
        assert_eq!(registry.route(a, &A), Some(&a));
        // A has sent to B, not B to A; oneself is not told.
        assert_eq!(registry.leave(b), Some(Left::Gone(vec![])));
        assert_eq!(registry.leave(b), None);
        let (b2, _) = registry.join(B, |id| id);
        assert_eq!(b2, b, "the place is used again");
        // What was sent to the one that was here before does not count.
        assert_eq!(registry.leave(a), Some(Left::Gone(vec![])));
        let (a, _) = registry.join(A, |id| id);
        registry.route(a, &B);
        assert_eq!(registry.leave(a), Some(Left::Gone(vec![b2])));
        assert_eq!(registry.len(), 1);
    }

    #[test]
    fn the_last_heard_is_active() {
        let mut registry = Registry::new();
        let (a, _) = registry.join(A, |id| id);
        let first = registry.join(B, |id| id).0;
        let second = registry.join(B, |id| id).0;
        let third = registry.join(B, |id| id).0;
        assert_eq!(registry.keys(), (2, 1, 3));
        assert_eq!(registry.route(a, &B), Some(&third));
        registry.heard(first);
        assert_eq!(registry.route(a, &B), Some(&first));
        assert_eq!(registry.of_key(&B).count(), 3);
        // Now in order of last words: second, third, first.
        assert_eq!(registry.leave(first), Some(Left::Remains));
        assert_eq!(registry.route(a, &B), Some(&third));
        assert_eq!(registry.leave(second), Some(Left::Remains));
        assert_eq!(registry.keys(), (2, 0, 0));
        assert_eq!(registry.leave(third), Some(Left::Gone(vec![])));
        assert_eq!(registry.route(a, &B), None);
    }

    #[test]
    fn what_one_connection_reached_the_next_tells() {
        let mut registry = Registry::new();
        let receivers: Vec<Id> = (0..70).map(|n| registry.join(key(n), |id| id).0).collect();
        let first = registry.join(A, |id| id).0;
        registry.route(first, &key(0));
        registry.route(first, &key(69));
        let second = registry.join(A, |id| id).0;
        registry.route(second, &key(33));
        assert_eq!(registry.leave(first), Some(Left::Remains));
        let told = [0, 33, 69].map(|n: usize| receivers[n]).to_vec();
        assert_eq!(registry.leave(second), Some(Left::Gone(told)));
    }

    #[test]
    fn a_key_has_few_connections() {
        let mut registry = Registry::new();
        let ids: Vec<_> = (0..MAX_PER_KEY).map(|_| registry.join(A, |id| id)).collect();
        assert!(ids.iter().all(|(_, surplus)| surplus.is_none()));
        registry.heard(ids[0].0);
        assert_eq!(registry.join(A, |id| id).1, Some(ids[1].0));
    }
}
