//! What survives a restart: a redb database of postcard records (`docs/store.md`).
//!
//! [`Store`] takes the [`Write`]s of commands and says when they are safe. Commits run on a thread
//! that lives only for one of them, since a router's flash takes up to seconds; callers that come
//! meanwhile share the next. Nothing is written unless somebody asks: idle means zero writes.

mod disk;
mod error;
mod header;
mod medium;
#[cfg(test)]
mod power_loss;
mod record;
mod schema;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gramscale_proto::tailnet::write::{Snapshot, Write};
use gramscale_rt::fault::{self, Expected};

use disk::Disk;
pub use error::{Kind, StoreError};
pub use medium::{Medium, Memory};

/// How much of the database is kept in memory, in bytes; an empty one takes nothing of it. redb
/// uses a tenth as the buffer of a commit: with half of this, pages are pushed out of it and
/// written twice (36 instead of 28 KB for a registration among 100 nodes).
pub const CACHE: usize = 256 * 1024;

/// How many callers may wait for a commit; more than all nodes of a firm together.
const QUEUE_MAX: usize = 4096;

/// After a commit that failed it is tried this often whether others would succeed: soon enough for
/// who watches `/health`, and seldom enough for flash that is full.
const PROBE_EVERY: Duration = Duration::from_secs(20);

/// A handle to the open database. Clones are the same store.
#[derive(Clone)]
pub struct Store(Rc<Inner>);

struct Inner {
    file: Arc<Path>,
    queue: RefCell<Queue>,
    figures: Cell<Figures>,
    failing: Cell<bool>,
}

struct Queue {
    /// `None` while a job has it, and after closing.
    disk: Option<Disk>,
    jobs: VecDeque<(Job, Rc<Ticket>)>,
    running: bool,
    closed: bool,
    /// The failure that some callers were not yet told of: until they were, nothing is stored,
    /// because it may have been planned on what they are about to take back.
    failure: Option<StoreError>,
    untold: usize,
}

enum Job {
    Commit(Vec<Write>),
    Backup(PathBuf),
    Probe,
    Close,
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Commits that wrote something.
    pub commits: u64,
    /// Commits that failed.
    pub failed: u64,
    /// Bytes handed to the file system.
    pub written: u64,
    /// Those of `day`.
    day_written: u64,
    /// The day of the last write, counted from 1970 (UTC).
    day: i64,
}

impl Figures {
    /// Bytes handed to the file system on this day, counted from 1970 (UTC).
    pub fn written_on(&self, day: i64) -> u64 {
        if day == self.day { self.day_written } else { 0 }
    }

    fn add(&mut self, written: u32, day: i64) {
        self.day_written = self.written_on(day).saturating_add(written.into());
        self.day = day;
        self.written += u64::from(written);
    }
}

/// The day that it is, counted from 1970 (UTC).
pub fn today() -> i64 {
    gramscale_rt::clock::unix_nanos() / (24 * 60 * 60 * 1_000_000_000)
}

impl Store {
    /// Opens the database in `path`, or makes it with its folder. `cache` is in bytes.
    ///
    /// # Errors
    ///
    /// Another process has it; it is damaged, of a newer schema or no database of ours (it is
    /// then left as it is); or the system refuses.
    pub fn open(path: &Path, cache: usize) -> Result<(Self, Snapshot), StoreError> {
        let last_words = last_words(path);
        let (disk, snapshot) = Disk::open(path, cache)?;
        drop(last_words);
        Ok((Self::new(path.into(), disk), snapshot))
    }

    /// Opens a database that lies in memory, or makes one there.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_memory(memory: &Memory) -> Result<(Self, Snapshot), StoreError> {
        let file: Arc<Path> = Path::new("memory").into();
        let (disk, snapshot) = Disk::open_on(Arc::new(memory.clone()), Arc::clone(&file), CACHE)?;
        Ok((Self::new(file, disk), snapshot))
    }

    fn new(file: Arc<Path>, disk: Disk) -> Self {
        let mut figures = Figures::default();
        figures.add(disk.take_written(), today());
        let queue = Queue {
            disk: Some(disk),
            jobs: VecDeque::new(),
            running: false,
            closed: false,
            failure: None,
            untold: 0,
        };
        let (queue, figures) = (queue.into(), figures.into());
        Self(Rc::new(Inner { file, queue, figures, failing: Cell::new(false) }))
    }

    /// Stores all of `writes` or nothing; ready when they would survive a loss of power.
    ///
    /// They are queued by this call, not by the first poll: commits happen in the order of the
    /// calls. When one fails, all that wait fail with it, and so does any that comes before each
    /// of those was told; so a caller may take back what it planned, whatever it was planned on.
    /// The future must therefore be polled to its end.
    ///
    /// # Errors
    ///
    /// No space, a failing disk, too many callers, or a closed store. The database is usable
    /// afterwards.
    pub fn commit(&self, writes: Vec<Write>) -> Commit {
        self.enqueue(Job::Commit(writes))
    }

    /// Stores what may be lost: nobody waits, and a failure is only logged.
    pub fn commit_soft(&self, writes: Vec<Write>) {
        let commit = self.commit(writes);
        gramscale_rt::spawn(async move {
            if let Err(error) = commit.await {
                log::warn!("what nodes last told was not stored: {error}");
            }
        })
        .detach();
    }

    /// Writes a consistent copy to `path`, replacing a file that is there.
    ///
    /// # Errors
    ///
    /// No space, no permission, or `path` is the database itself.
    pub fn backup(&self, path: PathBuf) -> Commit {
        self.enqueue(Job::Backup(path))
    }

    /// Finishes what was asked before and closes the file, so that the next start need not check
    /// it. Everything asked later fails.
    ///
    /// # Errors
    ///
    /// Closed already.
    pub fn close(&self) -> Commit {
        let commit = self.enqueue(Job::Close);
        self.0.queue.borrow_mut().closed = true;
        commit
    }

    /// How large the database's file is, where it is a file.
    pub fn size(&self) -> Option<u64> {
        Some(std::fs::metadata(&*self.0.file).ok()?.len())
    }

    /// What was done since the start.
    pub fn figures(&self) -> Figures {
        self.0.figures.get()
    }

    /// Whether the last commit succeeded. After one that did not it is tried from time to time
    /// whether others would.
    pub fn is_well(&self) -> bool {
        !self.0.failing.get()
    }

    /// Whether every caller was told what became of what it wanted stored.
    pub fn is_settled(&self) -> bool {
        let queue = self.0.queue.borrow();
        !queue.running && queue.failure.is_none()
    }

    fn enqueue(&self, job: Job) -> Commit {
        let mut queue = self.0.queue.borrow_mut();
        let ticket = Rc::new(Ticket::default());
        let refusal = if queue.closed {
            Some(StoreError::new(&self.0.file, Kind::Closed))
        } else if queue.jobs.len() >= QUEUE_MAX {
            Some(StoreError::new(&self.0.file, Kind::Busy))
        } else {
            matches!(job, Job::Commit(_)).then(|| queue.failure.clone()).flatten()
        };
        match refusal {
            Some(error) => {
                if matches!(job, Job::Commit(_)) {
                    queue.untold += 1;
                    queue.failure = Some(error.clone());
                    ticket.of_failure.set(true);
                }
                ticket.settle(Err(error));
            }
            None => {
                queue.jobs.push_back((job, Rc::clone(&ticket)));
                if !queue.running {
                    queue.running = true;
                    gramscale_rt::spawn(Rc::clone(&self.0).work()).detach();
                }
            }
        }
        Commit { store: Rc::clone(&self.0), ticket }
    }
}

impl Inner {
    /// Does jobs until there are none.
    async fn work(self: Rc<Self>) {
        while let Some((job, tickets)) = self.next() {
            let disk = self.queue.borrow_mut().disk.take();
            let Some(mut disk) = disk else {
                // Closed: nothing is queued behind that.
                let error = StoreError::new(&self.file, Kind::Closed);
                tickets.iter().for_each(|ticket| ticket.settle(Err(error.clone())));
                continue;
            };
            let commit = matches!(job, Job::Commit(_));
            let tells = commit || matches!(job, Job::Probe);
            let (disk, written, result) = gramscale_rt::unblock(move || {
                let result = match job {
                    Job::Commit(writes) => disk.commit(&writes),
                    Job::Backup(path) => disk.backup(&path),
                    Job::Probe => disk.probe(),
                    Job::Close => {
                        let (written, result) = disk.close();
                        return (None, written, result);
                    }
                };
                let written = disk.take_written();
                (Some(disk), written, result)
            })
            .await;
            self.count(commit, written, &result);
            self.queue.borrow_mut().disk = disk;
            self.settle(tickets, commit, &result);
            if tells && self.failing.replace(result.is_err()) != result.is_err() {
                self.clone().turned(result.is_err());
            }
        }
    }

    /// Commits begin to fail, or to succeed again.
    fn turned(self: Rc<Self>, failing: bool) {
        if !failing {
            log::info!("what changes can be stored again");
            return;
        }
        let store = Store(self);
        gramscale_rt::spawn(async move {
            while !store.is_well() {
                gramscale_rt::sleep(PROBE_EVERY).await;
                let closed = store.0.queue.borrow().closed;
                if closed || store.is_well() {
                    return;
                }
                // Its outcome is noted like that of a commit.
                let _ = store.enqueue(Job::Probe).await;
            }
        })
        .detach();
    }

    /// The next job with those who wait for it; commits in a row are one.
    fn next(&self) -> Option<(Job, Vec<Rc<Ticket>>)> {
        let mut queue = self.queue.borrow_mut();
        let Some((mut job, ticket)) = queue.jobs.pop_front() else {
            queue.running = false;
            return None;
        };
        let mut tickets = vec![ticket];
        if let Job::Commit(writes) = &mut job {
            while let Some((Job::Commit(more), _)) = queue.jobs.front_mut() {
                writes.append(more);
                tickets.extend(queue.jobs.pop_front().map(|(_, ticket)| ticket));
            }
        }
        Some((job, tickets))
    }

    fn settle(&self, mut tickets: Vec<Rc<Ticket>>, commit: bool, result: &Result<(), StoreError>) {
        let mut queue = self.queue.borrow_mut();
        if let (true, Err(error)) = (commit, result) {
            let jobs = std::mem::take(&mut queue.jobs);
            for (job, ticket) in jobs {
                match job {
                    Job::Commit(_) => tickets.push(ticket),
                    _ => queue.jobs.push_back((job, ticket)),
                }
            }
            // Nobody may be left to be told.
            tickets.retain(|ticket| Rc::strong_count(ticket) > 1);
            queue.untold = tickets.len();
            queue.failure = (queue.untold > 0).then(|| error.clone());
            tickets.iter().for_each(|ticket| ticket.of_failure.set(true));
        }
        drop(queue);
        for ticket in tickets {
            ticket.settle(result.clone());
        }
    }

    fn told(&self) {
        let mut queue = self.queue.borrow_mut();
        queue.untold = queue.untold.saturating_sub(1);
        if queue.untold == 0 {
            queue.failure = None;
        }
    }

    fn count(&self, commit: bool, written: u32, result: &Result<(), StoreError>) {
        let mut figures = self.figures.get();
        figures.add(written, today());
        match result {
            Ok(()) => figures.commits += u64::from(commit && written > 0),
            Err(_) => figures.failed += u64::from(commit),
        }
        self.figures.set(figures);
    }
}

/// What is told if redb meets what it takes for impossible and stops the program, as it does on
/// some damaged files; whoever reads the log then learns which file it is about.
fn last_words(path: &Path) -> Expected {
    let why = Kind::Damaged("its pages contradict each other".into());
    fault::expect(format!("gramscale: {}\n", StoreError::new(&path.into(), why)))
}

/// Waits for a job of a [`Store`].
#[must_use = "nothing is known to be stored before it is ready"]
pub struct Commit {
    store: Rc<Inner>,
    ticket: Rc<Ticket>,
}

#[derive(Default)]
struct Ticket {
    result: RefCell<Option<Result<(), StoreError>>>,
    waker: RefCell<Option<Waker>>,
    /// Counted in [`Queue::untold`].
    of_failure: Cell<bool>,
}

impl Ticket {
    fn settle(&self, result: Result<(), StoreError>) {
        *self.result.borrow_mut() = Some(result);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Future for Commit {
    type Output = Result<(), StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.ticket.result.take() {
            Some(result) => {
                if self.ticket.of_failure.take() {
                    self.store.told();
                }
                Poll::Ready(result)
            }
            None => {
                *self.ticket.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        if self.ticket.of_failure.take() {
            self.store.told();
        }
    }
}
