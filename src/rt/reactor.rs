//! The epoll instance, what is registered with it, and the wait for both it and the timers.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use std::{io, mem};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use slab::Slab;

use crate::notify::Wakers;
use crate::timer::Timers;

/// Events taken from the kernel at once: 1.5 KiB of buffer, and at 1,000 busy connections few
/// enough calls.
const BATCH: usize = 128;

/// Operations in a row that one direction of one descriptor may do before other tasks get their
/// turn, so that a peer that sends as fast as we read does not keep the thread.
const BURST: u8 = 32;

/// The token of the alarm; sources count from 0.
const ALARM: u64 = u64::MAX;

pub(crate) struct Reactor {
    epoll: OwnedFd,
    alarm: Arc<Alarm>,
    events: RefCell<Vec<epoll::Event>>,
    sources: RefCell<Slab<Rc<Source>>>,
    timers: RefCell<Timers>,
    /// Kept between turns only for its memory.
    woken: Cell<Vec<Waker>>,
}

impl Reactor {
    pub(crate) fn new() -> Self {
        let (epoll, alarm) = open().unwrap_or_else(|error| panic!("no epoll instance: {error}"));
        Self {
            epoll,
            alarm: Arc::new(alarm),
            events: RefCell::new(Vec::with_capacity(BATCH)),
            sources: RefCell::default(),
            timers: RefCell::default(),
            woken: Cell::default(),
        }
    }

    pub(crate) fn alarm(&self) -> Arc<Alarm> {
        self.alarm.clone()
    }

    pub(crate) fn timers(&self) -> &RefCell<Timers> {
        &self.timers
    }

    /// Registers `fd`, edge-triggered in both directions.
    pub(crate) fn add(self: Rc<Self>, fd: impl AsFd, writable: bool) -> io::Result<Rc<Source>> {
        let mut sources = self.sources.borrow_mut();
        let entry = sources.vacant_entry();
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, fd, EventData::new_u64(entry.key() as u64), flags)?;
        let source = Rc::new(Source {
            reactor: self.clone(),
            token: entry.key(),
            read: Side::new(false),
            write: Side::new(writable),
        });
        entry.insert(source.clone());
        Ok(source)
    }

    pub(crate) fn remove(&self, source: &Source, fd: impl AsFd) {
        // Closing would do, unless the descriptor was duplicated; a failure means it is gone.
        let _ = epoll::delete(&self.epoll, fd);
        let removed = self.sources.borrow_mut().try_remove(source.token);
        drop(removed);
    }

    /// Waits for events (up to the next timer if `idle`, else not at all) and wakes whom they
    /// concern.
    pub(crate) fn turn(&self, idle: bool) {
        let timeout = if idle {
            self.timers.borrow().next().map(|at| at.saturating_duration_since(Instant::now()))
        } else {
            Some(Duration::ZERO)
        };
        let mut woken = self.woken.take();
        self.wait(timeout, &mut woken);
        {
            let mut timers = self.timers.borrow_mut();
            if timers.next().is_some() {
                timers.fire(Instant::now(), &mut woken);
            }
        }
        // Only now: a waker may run code that comes back here.
        woken.drain(..).for_each(Waker::wake);
        self.woken.set(woken);
    }

    fn wait(&self, timeout: Option<Duration>, woken: &mut Vec<Waker>) {
        let timeout = timeout.map(whole_millis);
        let mut events = self.events.borrow_mut();
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return,
            Err(error) => panic!("epoll_wait failed: {error}"),
        }
        let sources = self.sources.borrow();
        for event in events.iter() {
            // A structure of the kernel's, packed: copy the fields before use.
            let (flags, token) = (event.flags, event.data.u64());
            if token == ALARM {
                continue;
            }
            if let Some(source) = usize::try_from(token).ok().and_then(|key| sources.get(key)) {
                source.report(flags, woken);
            }
        }
    }
}

/// Wakes [`crate::block_on`], from whichever thread.
pub(crate) struct Alarm {
    fd: OwnedFd,
    thread: ThreadId,
    /// Set from the first wake-up until the executor looks.
    pub(crate) raised: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The reactor's own thread cannot be asleep while it runs this.
        if !self.raised.swap(true, Ordering::AcqRel) && thread::current().id() != self.thread {
            // Edge-triggered, each write is an event of its own: nobody needs to read it.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }
}

fn open() -> io::Result<(OwnedFd, Alarm)> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    epoll::add(&epoll, &fd, EventData::new_u64(ALARM), EventFlags::IN | EventFlags::ET)?;
    Ok((epoll, Alarm { fd, thread: thread::current().id(), raised: AtomicBool::new(false) }))
}

/// Rounds up to milliseconds, which is what the call knows before Linux 5.11: rounded down, the
/// last part of one would be spent spinning.
fn whole_millis(timeout: Duration) -> Timespec {
    // A day: any wait may end early, and the call takes no more than 24 days.
    let millis = timeout.as_nanos().div_ceil(1_000_000).min(86_400_000) as i64;
    Timespec { tv_sec: millis / 1000, tv_nsec: ((millis % 1000) * 1_000_000) as _ }
}

/// A registered descriptor.
pub(crate) struct Source {
    pub(crate) reactor: Rc<Reactor>,
    token: usize,
    pub(crate) read: Side,
    pub(crate) write: Side,
}

impl Source {
    fn report(&self, flags: EventFlags, woken: &mut Vec<Waker>) {
        let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        if broken || flags.intersects(EventFlags::IN | EventFlags::RDHUP) {
            self.read.set_ready(broken || flags.contains(EventFlags::RDHUP), woken);
        }
        if broken || flags.contains(EventFlags::OUT) {
            self.write.set_ready(broken, woken);
        }
    }
}

/// One direction of a descriptor.
pub(crate) struct Side {
    /// Nothing tells that the kernel would refuse.
    ready: Cell<bool>,
    /// The end was reported: no further event will come, so a short read says nothing.
    ended: Cell<bool>,
    /// Operations done since the last wait.
    burst: Cell<u8>,
    wakers: RefCell<Wakers>,
}

impl Side {
    fn new(ready: bool) -> Self {
        Self {
            ready: Cell::new(ready),
            ended: Cell::new(false),
            burst: Cell::new(0),
            wakers: RefCell::default(),
        }
    }

    fn set_ready(&self, ended: bool, woken: &mut Vec<Waker>) {
        self.ready.set(true);
        if ended {
            self.ended.set(true);
        }
        woken.extend(mem::take(&mut *self.wakers.borrow_mut()));
    }

    /// Ready if an operation is worth trying; also counts it.
    pub(crate) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.ready.get() {
            self.burst.set(0);
            self.wakers.borrow_mut().insert(context.waker());
            return Poll::Pending;
        }
        if self.burst.get() >= BURST {
            self.burst.set(0);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.burst.set(self.burst.get() + 1);
        Poll::Ready(())
    }

    /// The kernel refused an operation.
    pub(crate) fn refused(&self) {
        self.ready.set(false);
    }

    /// A stream took or gave `done` of `asked` bytes; fewer tell that the kernel has no more.
    pub(crate) fn moved(&self, done: usize, asked: usize) {
        if done > 0 && done < asked && !self.ended.get() {
            self.ready.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_round_up() {
        for (nanos, millis) in
            [(0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2), (u64::MAX, 86_400_000)]
        {
            let spec = whole_millis(Duration::from_nanos(nanos));
            assert_eq!(spec.tv_sec * 1000 + i64::from(spec.tv_nsec as i32) / 1_000_000, millis);
        }
    }
}
