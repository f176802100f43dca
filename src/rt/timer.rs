//! Timers: one heap, whose earliest entry bounds the wait for events.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use slab::Slab;

use crate::reactor::Reactor;

/// Waits for `after`, or up to a millisecond longer.
pub fn sleep(after: Duration) -> Sleep {
    let now = Instant::now();
    // Thirty years, for what cannot be added: the same as never.
    let far = || now + Duration::from_secs(30 * 365 * 86_400);
    sleep_until(now.checked_add(after).unwrap_or_else(far))
}

/// Waits until `deadline`, or up to a millisecond longer.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, state: State::New }
}

/// Waits for `future`, but not longer than `after`: `None` if it was not done by then.
pub fn timeout<F: Future>(after: Duration, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep(after) }
}

/// The future of [`sleep`] and [`sleep_until`].
pub struct Sleep {
    deadline: Instant,
    state: State,
}

enum State {
    New,
    Waiting(Rc<Reactor>, usize),
    Done,
}

impl Sleep {
    /// Moves the deadline; also wakes up a sleep that is over.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        let moved = match &self.state {
            State::Waiting(reactor, key) => reactor.timers().borrow_mut().reset(*key, deadline),
            State::New => true,
            State::Done => false,
        };
        if !moved {
            self.forget();
        }
    }

    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    fn forget(&mut self) {
        if let State::Waiting(reactor, key) = std::mem::replace(&mut self.state, State::New) {
            let waker = reactor.timers().borrow_mut().remove(key);
            drop(waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &self.state {
            State::New => {
                let reactor = crate::reactor();
                let waker = context.waker().clone();
                let key = reactor.timers().borrow_mut().insert(self.deadline, waker);
                self.state = State::Waiting(reactor, key);
                Poll::Pending
            }
            State::Waiting(reactor, key) => {
                if reactor.timers().borrow_mut().poll(*key, context.waker()) {
                    self.forget();
                    self.state = State::Done;
                    return Poll::Ready(());
                }
                Poll::Pending
            }
            State::Done => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sleep({:?})", self.deadline)
    }
}

pin_project! {
    /// The future of [`timeout`].
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(value) = this.future.poll(context) {
            return Poll::Ready(Some(value));
        }
        Pin::new(this.sleep).poll(context).map(|()| None)
    }
}

/// A binary heap whose entries know their place, so that a timer is removed when it is dropped
/// and not when it would have fired: most timers guard something that ends sooner.
#[derive(Default)]
pub(crate) struct Timers {
    heap: Vec<Entry>,
    slots: Slab<Slot>,
}

#[derive(Clone, Copy)]
struct Entry {
    at: Instant,
    key: usize,
}

struct Slot {
    /// Index in the heap.
    place: usize,
    /// `None` once the timer has fired.
    waker: Option<Waker>,
}

impl Timers {
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|entry| entry.at)
    }

    fn insert(&mut self, at: Instant, waker: Waker) -> usize {
        let place = self.heap.len();
        let key = self.slots.insert(Slot { place, waker: Some(waker) });
        self.heap.push(Entry { at, key });
        self.rise(place);
        key
    }

    /// Whether the timer has fired; if not, `waker` is the one to wake.
    fn poll(&mut self, key: usize, waker: &Waker) -> bool {
        match &mut self.slots[key].waker {
            None => true,
            Some(current) => {
                current.clone_from(waker);
                false
            }
        }
    }

    /// False if the timer has fired.
    fn reset(&mut self, key: usize, at: Instant) -> bool {
        let slot = &self.slots[key];
        if slot.waker.is_none() {
            return false;
        }
        let place = slot.place;
        self.heap[place].at = at;
        self.settle(place);
        true
    }

    fn remove(&mut self, key: usize) -> Option<Waker> {
        let slot = self.slots.remove(key);
        if slot.waker.is_some() {
            self.unheap(slot.place);
        }
        slot.waker
    }

    /// Takes the wakers of what is due at `now`.
    pub(crate) fn fire(&mut self, now: Instant, woken: &mut Vec<Waker>) {
        while let Some(&Entry { at, key }) = self.heap.first()
            && at <= now
        {
            self.unheap(0);
            woken.extend(self.slots[key].waker.take());
        }
    }

    fn unheap(&mut self, place: usize) {
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.note(place);
            self.settle(place);
        }
    }

    fn settle(&mut self, place: usize) {
        let place = self.rise(place);
        self.sink(place);
    }

    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let above = (place - 1) / 2;
            if self.heap[above].at <= self.heap[place].at {
                break;
            }
            self.swap(above, place);
            place = above;
        }
        place
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let earlier = |a: &usize, b: &usize| self.heap[*a].at.cmp(&self.heap[*b].at);
            let below = (left..(left + 2).min(self.heap.len())).min_by(earlier);
            match below {
                Some(below) if self.heap[below].at < self.heap[place].at => {
                    self.swap(below, place);
                    place = below;
                }
                _ => return,
            }
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.note(a);
        self.note(b);
    }

    fn note(&mut self, place: usize) {
        self.slots[self.heap[place].key].place = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_on;

    fn check(timers: &Timers) {
        for (place, entry) in timers.heap.iter().enumerate() {
            assert_eq!(timers.slots[entry.key].place, place);
            assert!(place == 0 || timers.heap[(place - 1) / 2].at <= entry.at);
        }
    }

    #[test]
    fn heap_keeps_order() {
        let start = Instant::now();
        let at = |n: u64| start + Duration::from_millis(n);
        let mut timers = Timers::default();
        let mut keys: Vec<usize> = Vec::new();
        // A fixed walk through inserts, moves and removals.
        let mut random = 12_345_u32;
        for step in 0..2_000_u64 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let pick = (random >> 8) as usize;
            match random % 3 {
                0 if !keys.is_empty() => {
                    let key = keys.swap_remove(pick % keys.len());
                    assert!(timers.remove(key).is_some());
                }
                1 if !keys.is_empty() => {
                    assert!(timers.reset(keys[pick % keys.len()], at(u64::from(random >> 20))));
                }
                _ => keys.push(timers.insert(at((step * 7919) % 1000), Waker::noop().clone())),
            }
            check(&timers);
        }
        let mut woken = Vec::new();
        timers.fire(at(500), &mut woken);
        check(&timers);
        assert!(timers.next().is_none_or(|next| next > at(500)));
        timers.fire(at(10_000), &mut woken);
        assert_eq!(woken.len(), keys.len());
        for key in keys {
            assert!(timers.poll(key, Waker::noop()));
            assert!(timers.remove(key).is_none());
        }
        assert!(timers.slots.is_empty() && timers.heap.is_empty());
    }

    #[test]
    fn sleeps_in_order() {
        let start = Instant::now();
        let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        // Tasks, which run in the order in which they were woken even if all are late.
        block_on(async {
            let tasks = [30, 10, 20].map(|millis| {
                let order = order.clone();
                crate::spawn(async move {
                    let mut nap = sleep(Duration::ZERO);
                    nap.reset(start + Duration::from_millis(millis));
                    nap.await;
                    order.borrow_mut().push(millis);
                })
            });
            for task in tasks {
                task.await;
            }
        });
        assert_eq!(*order.borrow(), [10, 20, 30]);
        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn timeout_ends_the_wait() {
        block_on(async {
            let never = std::future::pending::<()>();
            assert_eq!(timeout(Duration::from_millis(5), never).await, None);
            assert_eq!(timeout(Duration::from_secs(60), async { 3 }).await, Some(3));
            assert_eq!(timeout(Duration::MAX, async { 4 }).await, Some(4));
        });
        assert!(crate::reactor().timers().borrow().next().is_none());
    }

    #[test]
    fn reset_moves_the_deadline() {
        block_on(async {
            let start = Instant::now();
            let mut nap = sleep(Duration::from_secs(60));
            assert!(futures_lite::future::poll_once(&mut nap).await.is_none());
            nap.reset(start + Duration::from_millis(5));
            (&mut nap).await;
            assert!(start.elapsed() < Duration::from_secs(30));
            nap.reset(start + Duration::from_millis(25));
            (&mut nap).await;
            assert!(start.elapsed() >= Duration::from_millis(25));
        });
    }
}
