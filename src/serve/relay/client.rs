//! One client's connection: what its own task does, and what the tasks of others do to it.

use std::cell::{Cell, RefCell};
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use gramscale_proto::wire::derp::{Frame, GoneReason, Reader, is_disco};
use gramscale_proto::wire::key::NodeKey;
use gramscale_rt::Sleep;

use super::login::Admitted;
use super::pace::{Bucket, time_of};
use super::queue::{Lane, Offered, Queue};
use super::registry::Id;
use super::{Arrival, End, Io, Kind, Loss, Relay};

/// Bytes that a connection reads before the others get their turn.
const TURN_BYTES: usize = 64 << 10;
/// Bytes in a queue above which it is written before the read that fills it is worked off: below
/// the limit of the queue, so that a client that takes all it gets loses nothing.
const FLUSH_BYTES: usize = 32 << 10;
/// Answers to packets for unknown keys: one a second, three at once, as in the reference.
const NOT_HERE_EVERY: Duration = Duration::from_secs(1);
const NOT_HERE_BURST: Duration = Duration::from_secs(3);

/// What others may do to a connection.
pub(super) struct Client {
    pub(super) id: Id,
    pub(super) key: NodeKey,
    not_ideal: bool,
    home: Cell<bool>,
    io: RefCell<Box<dyn Io>>,
    pub(super) queue: RefCell<Queue>,
    /// Wakes the connection's own task.
    waker: RefCell<Waker>,
    /// The stream takes no more; the own task waits for it.
    blocked: Cell<bool>,
    /// Something was written since the own task looked.
    moved: Cell<bool>,
    /// It is in the relay's list of touched clients.
    touched: Cell<bool>,
    ending: Cell<Option<End>>,
    not_here: Cell<Bucket>,
}

impl Client {
    /// Ends the service.
    pub(super) fn end(&self, end: End) {
        self.ending.set(Some(end));
        self.wake();
    }

    pub(super) fn wake(&self) {
        self.waker.borrow().wake_by_ref();
    }

    /// Writes what waits.
    fn poll_flush(&self, relay: &Relay, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.io.borrow_mut();
        let mut queue = self.queue.borrow_mut();
        while !queue.is_empty() {
            let n = ready!(Pin::new(&mut **io).poll_write(context, queue.next()))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            queue.wrote(&mut relay.depot.borrow_mut(), n);
            relay.counters.bytes_sent.add(n);
            self.moved.set(true);
        }
        Pin::new(&mut **io).poll_flush(context)
    }
}

impl Relay {
    /// Queues a frame of our own for a client.
    pub(super) fn tell(&self, client: &Client, frame: &Frame<'_>) {
        let (head, body) = frame.parts();
        let mut queue = client.queue.borrow_mut();
        let offered = queue.offer(&mut self.depot.borrow_mut(), Lane::Urgent, &head, body);
        self.note(offered, Kind::Disco);
    }

    /// Counts what was dropped for a newer frame.
    fn note(&self, offered: Offered, kind: Kind) {
        if offered.dropped > 0 {
            let (packets, bytes) = (offered.dropped as usize, offered.dropped_bytes);
            self.counters.dropped(Loss::Head, kind, packets, bytes);
        }
    }

    /// Writes to a client from the task of another. If the stream takes no more, the client's own
    /// task goes on.
    pub(super) fn flush(&self, client: &Client) {
        if client.blocked.get() {
            return;
        }
        let waker = client.waker.borrow();
        match client.poll_flush(self, &mut Context::from_waker(&waker)) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                client.ending.set(Some(error.into()));
                waker.wake_by_ref();
            }
            Poll::Pending => {
                client.blocked.set(true);
                waker.wake_by_ref();
            }
        }
    }

    /// Notes that a client has something to be written at the end of the turn.
    fn touch(&self, client: &Rc<Client>) {
        if !client.blocked.get() && !client.touched.replace(true) {
            self.touched.borrow_mut().push(client.clone());
        }
    }

    fn flush_touched(&self) {
        let mut touched = self.touched.borrow_mut();
        for client in touched.drain(..) {
            client.touched.set(false);
            self.flush(&client);
        }
    }

    /// A packet from `from` for `to`.
    fn forward(&self, from: &Rc<Client>, to: &NodeKey, packet: &[u8]) {
        let kind = if is_disco(packet) { Kind::Disco } else { Kind::Other };
        self.counters.received(kind);
        let mut registry = self.registry.borrow_mut();
        match registry.route(from.id, to) {
            Some(client) => self.deliver(client, &from.key, packet, kind),
            None => {
                self.counters.dropped(Loss::Unknown, kind, 1, packet.len());
                if kind == Kind::Disco {
                    self.not_here(from, to);
                }
            }
        }
    }

    fn deliver(&self, client: &Rc<Client>, src: &NodeKey, packet: &[u8], kind: Kind) {
        let lane = if kind == Kind::Disco { Lane::Urgent } else { Lane::Bulk };
        let (head, body) = Frame::RecvPacket { src: *src, data: packet }.parts();
        let mut queue = client.queue.borrow_mut();
        let offered = queue.offer(&mut self.depot.borrow_mut(), lane, &head, body);
        let full = queue.len() >= FLUSH_BYTES;
        drop(queue);
        self.note(offered, kind);
        if !offered.taken {
            self.counters.dropped(Loss::Tail, kind, 1, packet.len());
            return;
        }
        self.counters.packets_sent.one();
        if full { self.flush(client) } else { self.touch(client) }
    }

    /// Tells a client that nobody here has the key it looks for; not too often.
    fn not_here(&self, client: &Rc<Client>, key: &NodeKey) {
        let mut bucket = client.not_here.get();
        if bucket.take(Instant::now(), NOT_HERE_EVERY, NOT_HERE_BURST) {
            client.not_here.set(bucket);
            self.tell(client, &Frame::PeerGone { key: *key, reason: GoneReason::NotHere });
            self.counters.peer_gone_not_here_frames.one();
            self.touch(client);
        }
    }

    fn handle(&self, client: &Rc<Client>, frame: Frame<'_>) -> Result<(), End> {
        match frame {
            Frame::SendPacket { dst, data } => self.forward(client, &dst, data),
            Frame::Ping(bytes) => {
                self.counters.got_ping.one();
                self.tell(client, &Frame::Pong(bytes));
                self.counters.sent_pong.one();
                self.touch(client);
            }
            Frame::NotePreferred(home) => self.set_home(client, home),
            Frame::ClosePeer(_) | Frame::ForwardPacket { .. } | Frame::WatchConns => {
                return Err(End::Mesh);
            }
            Frame::Pong(_) | Frame::KeepAlive => {}
            _ => self.counters.unknown_frames.one(),
        }
        Ok(())
    }

    fn set_home(&self, client: &Client, home: bool) {
        if client.home.replace(home) == home {
            return;
        }
        if home {
            self.home.set(self.home.get() + 1);
            self.counters.home_moves_in.one();
        } else {
            self.home.set(self.home.get() - 1);
            self.counters.home_moves_out.one();
        }
    }
}

/// What only the connection's own task holds.
pub(super) struct Session {
    relay: Rc<Relay>,
    client: Rc<Client>,
    reader: Reader,
    /// Read together with the login.
    early: Vec<u8>,
    received: Bucket,
    /// The next of the times below.
    sleep: Sleep,
    keep_alive: Duration,
    keep_alive_at: Instant,
    /// When a client that takes nothing is dropped.
    give_up_at: Option<Instant>,
    /// The client has sent more than it may; it is read again then.
    read_at: Option<Instant>,
}

impl Session {
    /// Registers a client; `None` if the relay is full.
    pub(super) fn join(
        relay: &Rc<Relay>,
        io: Box<dyn Io>,
        arrival: Arrival,
        admitted: Admitted,
    ) -> Option<Self> {
        let Admitted { key, welcome, early } = admitted;
        let mut registry = relay.registry.borrow_mut();
        if registry.len() >= relay.options.max_connections {
            return None;
        }
        let again = registry.of_key(&key).next().is_some();
        let (id, surplus) = registry.join(key, |id| {
            Rc::new(Client {
                id,
                key,
                not_ideal: arrival.not_ideal,
                home: Cell::new(false),
                io: RefCell::new(io),
                queue: RefCell::default(),
                waker: RefCell::new(Waker::noop().clone()),
                blocked: Cell::new(false),
                moved: Cell::new(false),
                touched: Cell::new(false),
                ending: Cell::new(None),
                not_here: Cell::new(Bucket::FULL),
            })
        });
        if again {
            relay.counters.total_dup_client_conns.one();
        }
        if let Some(surplus) = surplus.and_then(|id| registry.get(id)) {
            surplus.end(End::Superseded);
        }
        let client = registry.get(id)?.clone();
        drop(registry);
        relay.not_ideal.set(relay.not_ideal.get() + usize::from(client.not_ideal));
        client.queue.borrow_mut().offer(&mut relay.depot.borrow_mut(), Lane::Urgent, &welcome, &[]);
        let mut random = [0];
        gramscale_rt::random(&mut random);
        let keep_alive = relay.options.keep_alive;
        let keep_alive = keep_alive + keep_alive * u32::from(random[0]) / (12 * 256);
        let keep_alive_at = Instant::now() + keep_alive;
        Some(Self {
            relay: relay.clone(),
            client,
            reader: Reader::default(),
            early,
            received: Bucket::FULL,
            sleep: gramscale_rt::sleep_until(keep_alive_at),
            keep_alive,
            keep_alive_at,
            give_up_at: None,
            read_at: None,
        })
    }

    pub(super) fn key(&self) -> &NodeKey {
        &self.client.key
    }

    /// Serves until there is a reason to end.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.client.waker.borrow_mut().clone_from(context.waker());
        let done = self.work(context);
        // What was read goes out even if it was the last.
        self.relay.flush_touched();
        match done {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn work(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        if let Some(end) = self.client.ending.take() {
            return Err(end);
        }
        let early = std::mem::take(&mut self.early);
        self.take_in(&early)?;
        self.write(context)?;
        self.read(context)?;
        // Last, as the above may have set a nearer time.
        self.arm();
        while Pin::new(&mut self.sleep).poll(context).is_ready() {
            self.tick(Instant::now())?;
            self.write(context)?;
            self.read(context)?;
            self.arm();
        }
        Ok(())
    }

    /// Does what is due.
    fn tick(&mut self, now: Instant) -> Result<(), End> {
        if now >= self.keep_alive_at {
            self.keep_alive_at = now + self.keep_alive;
            self.relay.tell(&self.client, &Frame::KeepAlive);
            self.reader.release();
        }
        if self.give_up_at.is_some_and(|at| now >= at) && !self.client.moved.get() {
            self.relay.counters.sclient_write_timeouts.one();
            return Err(End::WriteTimeout);
        }
        if self.read_at.is_some_and(|at| now >= at) {
            self.read_at = None;
        }
        Ok(())
    }

    fn arm(&mut self) {
        let times = [Some(self.keep_alive_at), self.give_up_at, self.read_at];
        let next = times.into_iter().flatten().min().unwrap_or(self.keep_alive_at);
        if next != self.sleep.deadline() {
            self.sleep.reset(next);
        }
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        let Client { blocked, queue, moved, .. } = &*self.client;
        if !blocked.get() && queue.borrow().is_empty() {
            return Ok(());
        }
        let poll = self.client.poll_flush(&self.relay, context);
        blocked.set(poll.is_pending());
        match poll {
            Poll::Ready(done) => {
                self.give_up_at = None;
                moved.set(false);
                Ok(done?)
            }
            Poll::Pending => {
                if moved.replace(false) || self.give_up_at.is_none() {
                    self.give_up_at = Some(Instant::now() + self.relay.options.write);
                }
                Ok(())
            }
        }
    }

    fn read(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        let relay = self.relay.clone();
        let mut left = TURN_BYTES;
        while self.read_at.is_none() {
            let mut scratch = relay.scratch.borrow_mut();
            let mut io = self.client.io.borrow_mut();
            let Poll::Ready(read) = Pin::new(&mut **io).poll_read(context, &mut scratch) else {
                break;
            };
            drop(io);
            let n = read?;
            if n == 0 {
                return Err(End::Closed);
            }
            relay.counters.bytes_received.add(n);
            self.take_in(scratch.get(..n).unwrap_or_default())?;
            self.charge(n);
            left = left.saturating_sub(n);
            if left == 0 {
                context.waker().wake_by_ref();
                break;
            }
        }
        Ok(())
    }

    /// Works off bytes that were read.
    fn take_in(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        if !bytes.is_empty() {
            self.relay.registry.borrow_mut().heard(self.client.id);
        }
        while let Some(frame) = self.reader.next(&mut bytes)? {
            self.relay.handle(&self.client, frame)?;
        }
        Ok(())
    }

    /// Holds a client to its rate.
    fn charge(&mut self, bytes: usize) {
        let Some(rate) = self.relay.options.rate else { return };
        let now = Instant::now();
        self.received.charge(now, time_of(bytes, rate));
        let wait = self.received.wait(now, time_of(rate.burst as usize, rate));
        if !wait.is_zero() {
            self.relay.counters.rate_limit_waited.one();
            self.read_at = Some(now + wait);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Self { relay, client, .. } = self;
        relay.leave(client);
        relay.home.set(relay.home.get() - usize::from(client.home.get()));
        relay.not_ideal.set(relay.not_ideal.get() - usize::from(client.not_ideal));
        let mut queue = client.queue.borrow_mut();
        let (packets, bytes) = queue.clear(&mut relay.depot.borrow_mut());
        relay.counters.dropped(Loss::Gone, Kind::Other, packets, bytes);
    }
}
