//! The DERP relay: carries packets between clients that cannot reach each other directly.
//!
//! A connection costs a task, a place in the registry and no buffers: all read into one shared
//! buffer, of which whole frames are copied once, into the queue of the client they go to; what is
//! cut by the end of a read waits with the connection it came from. A queue's buffer is borrowed
//! from a small stock and goes back when the queue is empty. After each read, the queues it filled
//! are written by the reader's own task, many frames in one write; only when a socket takes no more
//! does its own task wait for it.
//!
//! What is decided (who gets a packet, what is dropped, who is told) is in `registry`, `queue`
//! and `pace`, which do no I/O.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use gramscale_proto::wire::derp::login::{LoginError, Rate};
use gramscale_proto::wire::derp::{Frame, FrameError, GoneReason};
use gramscale_proto::wire::key::{NodeKey, PrivateKey};

use crate::net::places::Slot;

mod client;
mod counters;
pub mod http;
mod login;
mod pace;
mod queue;
mod registry;
#[cfg(test)]
pub(super) mod tests;

use client::{Client, Session};
pub use counters::{Count, Counters, Gauges, Kind, Loss};
use queue::Depot;
use registry::{Left, Registry};

/// Bytes read at once, from all connections into the same buffer: some fifty packets.
const READ_BYTES: usize = 64 << 10;

/// A stream that a client is at the other end of.
pub trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// How a relay is to work.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How much each client may send; it is told, and read no faster. At least one frame of full
    /// size can be sent at once.
    pub rate: Option<Rate>,
    /// Connections at most.
    pub max_connections: usize,
    /// Bytes that may wait to be written to all clients together. As buffers grow by doubling, up
    /// to twice as much memory.
    pub max_queued: usize,
    /// How long a login may take.
    pub login: Duration,
    /// How long the socket of a client may take nothing before the client is dropped.
    pub write: Duration,
    /// How often a client hears from us at least; up to a twelfth more, drawn for each connection,
    /// so that they do not all wake us at once. Clients wait 120 s.
    pub keep_alive: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rate: None,
            max_connections: 10_000,
            max_queued: 8 << 20,
            login: Duration::from_secs(10),
            // The reference has 2 s; but a kernel with a large send buffer reports room only when
            // a third of it is free, which takes longer over a slow link.
            write: Duration::from_secs(5),
            keep_alive: Duration::from_secs(60),
        }
    }
}

/// What is known of a connection from the request that opened it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrival {
    /// Where it comes from.
    pub addr: Option<SocketAddr>,
    /// The client would rather be on another node of the region (`Ideal-Node`).
    pub not_ideal: bool,
    /// It speaks WebSocket.
    pub websocket: bool,
}

/// A relay. One thread serves it.
pub struct Relay {
    key: PrivateKey,
    options: Options,
    admit: Rc<dyn Fn(&NodeKey) -> bool>,
    counters: Counters,
    home: Cell<usize>,
    not_ideal: Cell<usize>,
    registry: RefCell<Registry<Rc<Client>>>,
    depot: RefCell<Depot>,
    /// Where all connections read; empty before the first.
    scratch: RefCell<Vec<u8>>,
    /// Clients to which the task that runs now has given frames.
    touched: RefCell<Vec<Rc<Client>>>,
}

impl Relay {
    /// A relay with a key of its own, which admits clients as `admit` says. It is asked once a
    /// connection; see [`Self::kick`].
    pub fn new(
        key: PrivateKey,
        mut options: Options,
        admit: Rc<dyn Fn(&NodeKey) -> bool>,
    ) -> Rc<Self> {
        if let Some(rate) = &mut options.rate {
            rate.burst = rate.burst.max(MIN_BURST);
        }
        Rc::new(Self {
            key,
            options,
            admit,
            counters: Counters::default(),
            home: Cell::new(0),
            not_ideal: Cell::new(0),
            registry: RefCell::new(Registry::new()),
            depot: RefCell::new(Depot::new(options.max_queued)),
            scratch: RefCell::default(),
            touched: RefCell::default(),
        })
    }

    /// Its public key, for the `Derp-Public-Key` header.
    pub fn public_key(&self) -> NodeKey {
        NodeKey(self.key.public())
    }

    /// Serves one client until either side has enough; says why it ended. Dropping the future ends
    /// it as well. A client that has logged in keeps the place `slot`.
    pub async fn serve(self: Rc<Self>, io: Box<dyn Io>, arrival: Arrival, slot: Slot) -> End {
        // In a box of its own, given back before the long part begins.
        let mut opened = Box::pin(self.open(io, arrival)).await;
        let (end, who) = match &mut opened {
            Ok(session) => {
                slot.trust();
                let end = std::future::poll_fn(|context| session.poll(context)).await;
                (end, session.key().short())
            }
            Err(end) => {
                self.counters.logins_failed.one();
                (*end, String::from("somebody"))
            }
        };
        match arrival.addr {
            Some(addr) => log::debug!("relay: {who} from {}: {end}", addr.ip()),
            None => log::debug!("relay: {who}: {end}"),
        }
        end
    }

    async fn open(self: &Rc<Self>, mut io: Box<dyn Io>, arrival: Arrival) -> Result<Session, End> {
        self.counters.accepts.one();
        if arrival.websocket {
            self.counters.websocket_accepts.one();
        }
        let login = gramscale_rt::timeout(self.options.login, login::login(self, &mut io)).await;
        let admitted = login.unwrap_or(Err(End::LoginTimeout))?;
        Session::join(self, io, arrival, admitted).ok_or(End::Full)
    }

    /// Closes the connections of a key, for one that is no longer admitted.
    pub fn kick(&self, key: &NodeKey) {
        self.registry.borrow().of_key(key).for_each(|client| client.end(End::Kicked));
    }

    /// Asks all clients again whether they are admitted, and closes the connections of those that
    /// are not.
    pub fn recheck(&self) {
        let clients: Vec<_> = self.registry.borrow().iter().cloned().collect();
        for client in clients.iter().filter(|client| !(self.admit)(&client.key)) {
            client.end(End::Kicked);
        }
    }

    /// Tells all clients that the relay restarts, then closes their connections: they connect again
    /// after `reconnect_in` and try for `try_for`.
    pub fn restart(&self, reconnect_in: Duration, try_for: Duration) {
        for client in self.registry.borrow().iter() {
            self.tell(client, &Frame::Restarting { reconnect_in, try_for });
            self.flush(client);
            client.end(End::Restart);
        }
    }

    /// Events since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How things stand now.
    pub fn gauges(&self) -> Gauges {
        let registry = self.registry.borrow();
        let (keys, dup_keys, dup_connections) = registry.keys();
        Gauges {
            connections: registry.len(),
            home: self.home.get(),
            not_ideal: self.not_ideal.get(),
            keys,
            dup_keys,
            dup_connections,
            queued_bytes: self.depot.borrow().queued(),
        }
    }

    /// Unregisters a client and tells those who have packets of it that it is gone.
    fn leave(&self, client: &Client) {
        let mut registry = self.registry.borrow_mut();
        if let Some(Left::Gone(receivers)) = registry.leave(client.id) {
            let reason = GoneReason::Disconnected;
            for receiver in receivers.iter().filter_map(|id| registry.get(*id)) {
                self.tell(receiver, &Frame::PeerGone { key: client.key, reason });
                self.counters.peer_gone_disconnected_frames.one();
                // They may be many: each writes when it is its turn.
                receiver.wake();
            }
        }
    }
}

/// The smallest burst of a rate limit: a frame of full size.
const MIN_BURST: u32 = 65_568;

/// Why the service of a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client closed the connection.
    Closed,
    /// Its bytes are no frames.
    Frame(FrameError),
    /// The relay has all the connections it may have.
    Full,
    /// The connection broke.
    Io(io::ErrorKind),
    /// The client may no longer use the relay.
    Kicked,
    /// The login is wrong.
    Login(LoginError),
    /// The login took too long.
    LoginTimeout,
    /// The client does as if it were a relay of the same mesh.
    Mesh,
    /// Something else came before the login.
    NoLogin,
    /// The client may not use the relay.
    Refused,
    /// The relay restarts.
    Restart,
    /// The key has too many newer connections.
    Superseded,
    /// The client took nothing for too long.
    WriteTimeout,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed by the client",
            Self::Frame(error) => return error.fmt(f),
            Self::Full => "the relay is full",
            Self::Io(kind) => return write!(f, "connection broke: {kind}"),
            Self::Kicked => "no longer a node of the tailnet",
            Self::Login(error) => return error.fmt(f),
            Self::LoginTimeout => "the login took too long",
            Self::Mesh => "mesh frames are not accepted",
            Self::NoLogin => "the first frame is no login",
            Self::Refused => "not a node of the tailnet",
            Self::Restart => "the relay restarts",
            Self::Superseded => "the key has too many newer connections",
            Self::WriteTimeout => "the client takes no more data",
        })
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<LoginError> for End {
    fn from(error: LoginError) -> Self {
        Self::Login(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}
