//! The one owner of the tailnet: runs commands, stores what they leave, tells who has to know.

use std::cell::{Cell, Ref, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gramscale_proto::netmap::{Message, Netmap, View};
use gramscale_proto::tailnet::change::Change;
use gramscale_proto::tailnet::login::LoginId;
use gramscale_proto::tailnet::record::NodeId;
use gramscale_proto::tailnet::write::Write;
use gramscale_proto::tailnet::{Batch, Now, Refusal, Tailnet};
use gramscale_proto::wire::key::NodeKey;
use gramscale_proto::wire::sorted::Map;
use gramscale_proto::wire::time::Timestamp;
use gramscale_rt::{Notify, clock, sleep, spawn, timeout, yield_now};

use crate::store::{Store, StoreError};

/// How often a clock that is not trusted is looked at again.
const CLOCK_STEP: Duration = Duration::from_secs(10);

/// How long changes are gathered at most before viewers are told, however long it took the last
/// time: what is told later than this seems broken.
const GATHER_MAX: Duration = Duration::from_millis(500);

/// What is told sooner than this leaves time for all that may come.
const GATHER_FROM: Duration = Duration::from_millis(2);

/// How often a question is answered anew because what was read was lost: while nothing can be
/// stored, others may go on trying.
const CONSULTS: u32 = 8;

/// How the clock comes to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockTrust {
    /// From the start.
    Always,
    /// Once the kernel says that it is synchronised.
    Synchronised,
}

/// The tailnet with its store and its viewers.
pub struct State {
    tailnet: RefCell<Tailnet>,
    netmap: RefCell<Netmap>,
    store: Store,
    started: Instant,
    trust: ClockTrust,
    trusted: Cell<bool>,
    streams: RefCell<Map<NodeId, Rc<MapStream>>>,
    logins: RefCell<Map<LoginId, Rc<Notify>>>,
    /// There is something to tell viewers.
    news: Notify,
    /// Something changed that may be due sooner than the timer knows.
    due: Notify,
    /// Path and text of the file that the policy comes from, if it does.
    policy_file: RefCell<Option<(String, String)>>,
    /// Told when keys may have stopped being nodes'.
    revoked: RefCell<Option<Rc<dyn Fn()>>>,
    revoking: Cell<bool>,
}

/// A map stream: the view, and how to wake who writes it.
pub struct MapStream {
    view: RefCell<View>,
    wake: Rc<Notify>,
    /// There is something to tell that `wake` was not told of.
    noted: Cell<bool>,
    replaced: Cell<bool>,
}

/// Why a command failed.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The tailnet refuses it.
    Refused(Refusal),
    /// It could not be stored; nothing has changed.
    Store(StoreError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Store(error) => write!(f, "the server could not store this: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl State {
    /// A tailnet whose changes go into `store`.
    pub fn new(tailnet: Tailnet, netmap: Netmap, store: Store, trust: ClockTrust) -> Rc<Self> {
        Rc::new(Self {
            tailnet: RefCell::new(tailnet),
            netmap: RefCell::new(netmap),
            store,
            started: Instant::now(),
            trust,
            trusted: Cell::new(false),
            streams: RefCell::default(),
            logins: RefCell::default(),
            news: Notify::new(),
            due: Notify::new(),
            policy_file: RefCell::default(),
            revoked: RefCell::default(),
            revoking: Cell::new(false),
        })
    }

    /// The time.
    pub fn now(&self) -> Now {
        Now {
            wall: Timestamp(clock::unix_nanos()),
            trusted: self.trusted.get(),
            uptime: self.started.elapsed(),
        }
    }

    /// Reads the tailnet.
    pub fn read<T>(&self, f: impl FnOnce(&Tailnet) -> T) -> T {
        f(&self.tailnet.borrow())
    }

    /// Changes what maps are rendered from; viewers are told where the answer says so.
    pub fn with_netmap<T>(&self, f: impl FnOnce(&mut Netmap) -> T) -> T {
        f(&mut self.netmap.borrow_mut())
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The policy in force is that of a file; without a path there is none.
    pub fn set_policy_file(&self, path: &str, text: String) {
        *self.policy_file.borrow_mut() = Some((path.to_owned(), text));
    }

    /// Path and text of the file that the policy comes from, if it does.
    pub fn policy_file(&self) -> Ref<'_, Option<(String, String)>> {
        self.policy_file.borrow()
    }

    /// Has `f` called, soon after, when keys may have stopped being nodes'.
    pub fn on_revoked(&self, f: Rc<dyn Fn()>) {
        *self.revoked.borrow_mut() = Some(f);
    }

    /// Runs a command and returns once what it changed is stored and told.
    ///
    /// Whoever asked may go away meanwhile: the command is carried through all the same.
    pub async fn execute<T>(
        self: &Rc<Self>,
        command: impl FnOnce(&mut Tailnet, Now) -> Result<T, Refusal>,
    ) -> Result<T, Failure> {
        let answer = self.attempt(command).await.map_err(Failure::Store)?;
        answer.map_err(Failure::Refused)
    }

    /// [`Self::execute`] for commands that refuse in their own words; what they changed before
    /// they did is taken back.
    pub async fn attempt<T, E>(
        self: &Rc<Self>,
        command: impl FnOnce(&mut Tailnet, Now) -> Result<T, E>,
    ) -> Result<Result<T, E>, StoreError> {
        let (answer, batch) = self.plan(command);
        // What it only read, others may still be storing: it is told when that is on disk too.
        let reads = batch.writes.is_empty() && !self.store.is_settled();
        let stored = self.carry_through(batch);
        if reads {
            self.store.commit(Vec::new()).await?;
        }
        stored.await?;
        Ok(answer)
    }

    /// [`Self::attempt`] for commands that only read: when what they read is lost on its way to the
    /// disk, they read again, what is left.
    pub async fn consult<T, E>(
        self: &Rc<Self>,
        command: impl Fn(&mut Tailnet, Now) -> Result<T, E>,
    ) -> Result<Result<T, E>, StoreError> {
        for _ in 1..CONSULTS {
            if let Ok(answer) = self.attempt(&command).await {
                return Ok(answer);
            }
            // Those whose changes are lost take them back when they are run.
            yield_now().await;
        }
        self.attempt(&command).await
    }

    /// [`Self::execute`] for what nodes say of themselves: their answer tells nothing that others
    /// may still be storing, so while there is nothing to store it waits for nobody.
    pub async fn take_in(
        self: &Rc<Self>,
        command: impl FnOnce(&mut Tailnet, Now) -> Result<(), Refusal>,
    ) -> Result<(), Failure> {
        let (answer, batch) = self.plan(command);
        self.carry_through(batch).await.map_err(Failure::Store)?;
        answer.map_err(Failure::Refused)
    }

    /// Runs a command; what it left to be done. A refusal takes back what was changed before it.
    fn plan<T, E>(
        &self,
        command: impl FnOnce(&mut Tailnet, Now) -> Result<T, E>,
    ) -> (Result<T, E>, Batch) {
        let now = self.now();
        let mut tailnet = self.tailnet.borrow_mut();
        let answer = command(&mut tailnet, now);
        let mut batch = tailnet.take_batch();
        if answer.is_err() && !batch.writes.is_empty() {
            batch.changes = tailnet.undo(batch.number, std::mem::take(&mut batch.changes));
            batch.writes.clear();
        }
        (answer, batch)
    }

    /// Stores a batch and tells its changes. The work is done even if nobody waits for it.
    fn carry_through(
        self: &Rc<Self>,
        batch: Batch,
    ) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let Batch { number, writes, changes, .. } = batch;
        let waiting = if writes.is_empty() {
            self.publish(&changes);
            None
        } else {
            let outcome = Rc::new((Cell::new(None), Notify::new()));
            let commit = self.store.commit(writes);
            let (state, done) = (self.clone(), outcome.clone());
            spawn(async move {
                let stored = commit.await;
                let changes = match &stored {
                    Ok(()) => {
                        state.tailnet.borrow_mut().settle(number);
                        changes
                    }
                    Err(error) => {
                        log::error!("a change could not be stored and is taken back: {error}");
                        state.tailnet.borrow_mut().undo(number, changes)
                    }
                };
                state.publish(&changes);
                done.0.set(Some(stored));
                done.1.notify();
            })
            .detach();
            Some(outcome)
        };
        async move {
            let Some(outcome) = waiting else { return Ok(()) };
            outcome.1.notified().await;
            outcome.0.take().unwrap_or(Ok(()))
        }
    }

    /// Does what a command on the tailnet leaves that never waits: updates of soft state.
    pub fn update<T>(self: &Rc<Self>, command: impl FnOnce(&mut Tailnet, Now) -> T) -> T {
        let now = self.now();
        let (answer, batch) = {
            let mut tailnet = self.tailnet.borrow_mut();
            (command(&mut tailnet, now), tailnet.take_batch())
        };
        drop(self.carry_through(batch));
        answer
    }

    fn publish(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let tailnet = self.tailnet.borrow();
        let mut netmap = self.netmap.borrow_mut();
        for change in changes {
            netmap.forget(&tailnet, change);
            if let Change::Login(id) = change
                && let Some(waiting) = self.logins.borrow_mut().remove(id)
            {
                waiting.notify();
            }
            for stream in self.streams.borrow().values() {
                if stream.view.borrow_mut().note(&tailnet, change) {
                    stream.noted.set(true);
                }
            }
        }
        self.news.notify();
        drop((tailnet, netmap));
        let revokes = |change: &Change| matches!(change, Change::Node(_) | Change::NodeGone { .. });
        if changes.iter().any(revokes) {
            self.revoking.set(true);
        }
        self.due.notify();
    }

    /// Tells all viewers all nodes again, because settings changed how they look.
    pub fn refresh(&self) {
        let nodes = self.read(|tailnet| tailnet.nodes().map(|m| m.node.id).collect::<Vec<_>>());
        let changes: Vec<_> = nodes.into_iter().map(Change::Node).collect();
        self.publish(&changes);
    }

    /// Tells all viewers that the DNS settings or the DERP map changed.
    pub fn publish_settings(&self, dns: bool, derp: bool) {
        for stream in self.streams.borrow().values() {
            let mut view = stream.view.borrow_mut();
            if dns {
                view.note_dns();
            }
            if derp {
                view.note_derp();
            }
            stream.noted.set(true);
        }
        self.news.notify();
    }

    /// Tells viewers what there is to tell, for ever.
    ///
    /// After that has taken a while it pauses as long: what changes meanwhile is told together. So
    /// a slow machine with many viewers tells less often, and has half its time for other things.
    pub async fn tell_news(self: Rc<Self>) {
        loop {
            self.news.notified().await;
            let began = Instant::now();
            for stream in self.streams.borrow().values().filter(|stream| stream.noted.take()) {
                stream.wake.notify();
            }
            // Until all that were woken have had their turn: they are before us in the queue.
            yield_now().await;
            let took = began.elapsed().min(GATHER_MAX);
            if took >= GATHER_FROM {
                sleep(took).await;
            }
        }
    }

    /// Returns when the login has been decided, or is no more.
    pub async fn login_decided(&self, id: LoginId) {
        let waiting = self.logins.borrow_mut().entry(id).or_default().clone();
        waiting.notified().await;
        // Another request of the same client may wait as well.
        waiting.notify();
    }

    /// Begins a map stream; one that the node has open already is told to end.
    pub fn subscribe(
        self: &Rc<Self>,
        node: NodeId,
        key: NodeKey,
        version: u16,
        zstd: bool,
        wake: Rc<Notify>,
    ) -> Rc<MapStream> {
        let view = RefCell::new(View::new(node, key, version, zstd));
        let stream =
            Rc::new(MapStream { view, wake, noted: Cell::new(false), replaced: Cell::new(false) });
        let old = self.streams.borrow_mut().insert(node, stream.clone());
        if let Some(old) = old {
            old.replaced.set(true);
            old.wake.notify();
        }
        self.update(|tailnet, _| tailnet.connect(node));
        stream
    }

    /// Ends a map stream.
    pub fn unsubscribe(self: &Rc<Self>, stream: &Rc<MapStream>) {
        let node = stream.view.borrow().viewer;
        let mut streams = self.streams.borrow_mut();
        if streams.get(&node).is_some_and(|current| Rc::ptr_eq(current, stream)) {
            streams.remove(&node);
        }
        drop(streams);
        self.update(|tailnet, now| tailnet.disconnect(node, now));
        self.due.notify();
    }

    /// The next message of a map stream, if it has any.
    pub fn render(&self, stream: &MapStream) -> Option<Message> {
        let mut view = stream.view.borrow_mut();
        if !view.has_news() {
            return None;
        }
        self.netmap.borrow_mut().render(&mut view, &self.tailnet.borrow(), self.now())
    }

    /// A whole map, for somebody who wants just one.
    pub fn render_once(&self, mut view: View) -> Option<Message> {
        self.netmap.borrow_mut().render(&mut view, &self.tailnet.borrow(), self.now())
    }

    /// How many map streams are open.
    pub fn stream_count(&self) -> usize {
        self.streams.borrow().len()
    }

    /// Does what time brings, for ever.
    pub async fn keep_time(self: Rc<Self>) {
        loop {
            self.look_at_clock();
            let next = self.update(|tailnet, now| tailnet.tick(now));
            if self.revoking.take()
                && let Some(told) = self.revoked.borrow().clone()
            {
                told();
            }
            let writes = self.unsaved(false);
            if !writes.is_empty() {
                self.store.commit_soft(writes);
            }
            let uptime = self.started.elapsed();
            let mut wait = next.map_or(Duration::MAX, |at| at.saturating_sub(uptime));
            if !self.trusted.get() {
                wait = wait.min(CLOCK_STEP);
            }
            // Not at once again: a burst of changes is one look.
            let pause = Duration::from_millis(100);
            sleep(pause).await;
            if wait == Duration::MAX {
                self.due.notified().await;
            } else if wait > pause {
                timeout(wait - pause, self.due.notified()).await;
            }
        }
    }

    /// What nodes say of themselves and is not stored yet: what is due, or `all` of it.
    pub fn unsaved(&self, all: bool) -> Vec<Write> {
        self.tailnet.borrow_mut().take_unsaved(self.now(), all)
    }

    fn look_at_clock(self: &Rc<Self>) {
        let trusted = self.trust == ClockTrust::Always || clock::synchronised();
        if trusted && !self.trusted.replace(true) {
            log::info!("the clock is trusted from now on: {}", self.now().wall);
            if let Err(refusal) = self.update(|tailnet, now| tailnet.trust_clock(now)) {
                log::error!("expiries could not be fixed: {refusal}");
            }
        }
    }
}

impl MapStream {
    /// Whether it is to end: a newer one took its place, or the node is gone and was told so.
    pub fn is_over(&self) -> bool {
        self.replaced.get() || self.view.borrow().is_ended()
    }

    /// Whether its messages are zstd frames.
    pub fn zstd(&self) -> bool {
        self.view.borrow().zstd()
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::zip;
    use gramscale_proto::netmap;
    use gramscale_proto::tailnet::write::Snapshot;
    use gramscale_proto::tailnet::{NewUser, Rules};
    use gramscale_rt::block_on;

    use super::*;
    use crate::store::Memory;

    fn state(memory: &Memory) -> Rc<State> {
        let (store, _) = Store::open_memory(memory).unwrap();
        let tailnet = Tailnet::new(Rules::default(), Snapshot::default());
        let netmap = Netmap::new(netmap::Settings::default());
        State::new(tailnet, netmap, store, ClockTrust::Always)
    }

    #[test]
    fn nobody_reads_what_may_still_be_lost() {
        let memory = Memory::default();
        let state = state(&memory);
        block_on(async {
            let count = || state.execute(|tailnet, _| Ok(tailnet.users().count()));
            let join = |name: &str| {
                let new = NewUser { name: name.to_owned(), ..NewUser::default() };
                state.execute(|tailnet, now| tailnet.create_user(new, now))
            };
            // The first is asked first; who reads waits until it is stored.
            let stored = async {
                assert_eq!(count().await.unwrap(), 1);
                assert_eq!(state.store().figures().commits, 1);
            };
            zip(join("ann"), stored).await.0.unwrap();

            memory.set_fuse(Some(0));
            let (lost, seen) = zip(join("bob"), count()).await;
            assert!(lost.is_err() && seen.is_err());
            let again = state.consult(|tailnet, _| Ok::<_, ()>(tailnet.users().count()));
            let (lost, seen) = zip(join("bob"), again).await;
            assert!(lost.is_err() && seen.unwrap() == Ok(1));
            memory.set_fuse(None);
            assert_eq!(count().await.unwrap(), 1);
        });
    }
}
