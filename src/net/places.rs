//! Who gets a place when there are fewer than connections.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};

use futures_lite::future::BoxedLocal;
use gramscale_rt::{Notify, Task, spawn};
use slab::Slab;

/// Descriptors that connections over the network never take: standard streams, epoll and its
/// wake-up, signals, listeners of two families, STUN, the database and its lock, a file being
/// reloaded, a name look-up and an outbound connection, and the unix socket with
/// [`LOCAL_CONNECTIONS`].
const RESERVED: usize = 28;

/// Places on a host whose descriptor limit leaves fewer: below this nothing works.
const FEWEST: usize = 8;

/// Places on the unix socket: people and scripts at this machine.
pub const LOCAL_CONNECTIONS: usize = 8;

/// The places for connections. Whoever has not shown who it is may lose its place to a newcomer
/// when all are taken: the oldest connection of the host that has the most of them, so that who
/// floods us crowds out itself.
pub struct Places {
    capacity: usize,
    taken: RefCell<Slab<Place>>,
    order: Cell<u64>,
    evicted: Cell<u32>,
    refused: Cell<u32>,
    /// Whenever a connection has ended.
    pub(super) left: Notify,
}

struct Place {
    /// Counts arrivals: the smallest is the oldest.
    order: u64,
    origin: Origin,
    trusted: bool,
    task: Option<Task<()>>,
}

/// What counts as one host: an IPv4 address, or the network of an IPv6 address that one
/// customer has at least; zero for the unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin(u64);

impl Origin {
    pub(super) fn of(addr: Option<SocketAddr>) -> Self {
        Self(match addr.map(|addr| addr.ip().to_canonical()) {
            Some(IpAddr::V4(v4)) => v4.to_bits().into(),
            Some(IpAddr::V6(v6)) => (v6.to_bits() >> 64) as u64,
            None => 0,
        })
    }
}

/// What has become of connections, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Open now.
    pub open: usize,
    /// Sent away for a newcomer.
    pub evicted: u32,
    /// Turned away because all others were trusted.
    pub refused: u32,
}

impl Places {
    /// Room for `capacity` connections.
    pub fn new(capacity: usize) -> Rc<Self> {
        Rc::new(Self {
            capacity,
            taken: RefCell::default(),
            order: Cell::default(),
            evicted: Cell::default(),
            refused: Cell::default(),
            left: Notify::new(),
        })
    }

    /// As many as a descriptor limit allows ([`gramscale_rt::sys::raise_descriptor_limit`]).
    pub fn within(descriptors: usize) -> Rc<Self> {
        Self::new(descriptors.saturating_sub(RESERVED).max(FEWEST))
    }

    /// What has become of connections.
    pub fn counts(&self) -> Counts {
        let open = self.taken.borrow().len();
        Counts { open, evicted: self.evicted.get(), refused: self.refused.get() }
    }

    /// Starts a task in a place, if need be that of another that is not trusted.
    pub(super) fn give(
        self: &Rc<Self>,
        origin: Origin,
        start: impl FnOnce(Slot) -> BoxedLocal<()>,
    ) {
        if self.taken.borrow().len() >= self.capacity && !self.evict() {
            self.refused.set(self.refused.get().wrapping_add(1));
            return;
        }
        let order = self.order.get();
        self.order.set(order + 1);
        let key =
            self.taken.borrow_mut().insert(Place { order, origin, trusted: false, task: None });
        let slot = Slot { places: Rc::downgrade(self), key, order };
        let task = spawn(start(slot));
        if let Some(place) = self.taken.borrow_mut().get_mut(key) {
            place.task = Some(task);
        }
    }

    /// Sends a connection away that is not trusted; false if there is none.
    pub(super) fn evict(&self) -> bool {
        let mut taken = self.taken.borrow_mut();
        let untrusted = taken.iter().filter(|(_, place)| !place.trusted);
        let mut untrusted: Vec<_> =
            untrusted.map(|(key, place)| (place.origin, place.order, key)).collect();
        untrusted.sort_unstable();
        // Within the largest group the first is the oldest; of groups of one size, the one with
        // the oldest connection has to give.
        let groups = untrusted.chunk_by(|a, b| a.0 == b.0);
        let oldest = |group: &[(Origin, u64, usize)]| group.first().map(|(_, order, _)| *order);
        let largest = groups.max_by_key(|group| (group.len(), Reverse(oldest(group))));
        let Some((_, _, key)) = largest.and_then(|group| group.first()) else { return false };
        let place = taken.remove(*key);
        drop(taken);
        self.evicted.set(self.evicted.get().wrapping_add(1));
        // Cancels the task.
        drop(place);
        true
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Places({} of {})", self.taken.borrow().len(), self.capacity)
    }
}

/// The place of one connection, free again when this is dropped.
#[derive(Debug)]
pub struct Slot {
    places: Weak<Places>,
    key: usize,
    order: u64,
}

impl Slot {
    /// A place that nobody counts, for tests and outbound connections.
    pub fn uncounted() -> Self {
        Self { places: Weak::new(), key: 0, order: 0 }
    }

    /// The peer has shown that it belongs here: it keeps its place.
    pub fn trust(&self) {
        self.change(|place| place.trusted = true);
    }

    /// The host that the place counts for, where that is another than the one it came from.
    pub(super) fn belongs_to(&self, addr: Option<SocketAddr>) {
        self.change(|place| place.origin = Origin::of(addr));
    }

    fn change(&self, change: impl FnOnce(&mut Place)) {
        let Some(places) = self.places.upgrade() else { return };
        if let Some(place) = places.taken.borrow_mut().get_mut(self.key)
            && place.order == self.order
        {
            change(place);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(places) = self.places.upgrade() else { return };
        let mut taken = places.taken.borrow_mut();
        // After an eviction the place may be another's.
        if taken.get(self.key).is_some_and(|place| place.order == self.order) {
            let place = taken.remove(self.key);
            drop(taken);
            // It may be the very task that runs this: let it come to its end.
            place.task.into_iter().for_each(Task::detach);
        }
        places.left.notify();
    }
}
