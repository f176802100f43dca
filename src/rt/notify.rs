//! Waiting without a descriptor: [`Notify`], and the list of those who wait.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// A wake-up between tasks of one thread.
///
/// [`Notify::notify`] leaves one permit, however often it is called before somebody takes it
/// with [`Notify::notified`]. Of several who wait, one gets it.
#[derive(Default)]
pub struct Notify {
    permit: Cell<bool>,
    wakers: RefCell<Wakers>,
}

impl Notify {
    /// A notification that nobody has sent yet.
    pub const fn new() -> Self {
        Self { permit: Cell::new(false), wakers: RefCell::new(Wakers::None) }
    }

    /// Leaves the permit and wakes whoever waits.
    pub fn notify(&self) {
        self.permit.set(true);
        let wakers = self.wakers.take();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits for the permit and takes it.
    pub async fn notified(&self) {
        poll_fn(|context| self.poll_notified(context)).await;
    }

    /// [`Self::notified`] for futures written by hand.
    pub fn poll_notified(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.permit.take() {
            return Poll::Ready(());
        }
        self.wakers.borrow_mut().insert(context.waker());
        Poll::Pending
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notify({})", self.permit.get())
    }
}

/// Who waits: nearly always one, which needs no allocation.
#[derive(Default)]
pub(crate) enum Wakers {
    #[default]
    None,
    One(Waker),
    Many(Vec<Waker>),
}

impl Wakers {
    /// Adds a waker unless one that wakes the same task is there.
    pub(crate) fn insert(&mut self, waker: &Waker) {
        match self {
            Self::None => *self = Self::One(waker.clone()),
            Self::One(one) if one.will_wake(waker) => {}
            Self::One(one) => *self = Self::Many(vec![one.clone(), waker.clone()]),
            Self::Many(many) if many.iter().any(|one| one.will_wake(waker)) => {}
            Self::Many(many) => many.push(waker.clone()),
        }
    }
}

impl IntoIterator for Wakers {
    type Item = Waker;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Waker>, std::vec::IntoIter<Waker>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self {
            Self::None => (None, Vec::new()),
            Self::One(one) => (Some(one), Vec::new()),
            Self::Many(many) => (None, many),
        };
        one.into_iter().chain(many)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::{block_on, spawn, timeout, yield_now};

    #[test]
    fn permits_coalesce() {
        block_on(async {
            let notify = Notify::new();
            notify.notify();
            notify.notify();
            notify.notified().await;
            assert_eq!(timeout(Duration::from_millis(5), notify.notified()).await, None);
        });
    }

    #[test]
    fn one_of_several_gets_it() {
        block_on(async {
            let notify = Rc::new(Notify::new());
            let done = Rc::new(Cell::new(0));
            let tasks: Vec<_> = (0..3)
                .map(|_| {
                    let (notify, done) = (notify.clone(), done.clone());
                    spawn(async move {
                        notify.notified().await;
                        done.set(done.get() + 1);
                    })
                })
                .collect();
            for expected in 1..=3 {
                for _ in 0..5 {
                    yield_now().await;
                }
                notify.notify();
                for _ in 0..5 {
                    yield_now().await;
                }
                assert_eq!(done.get(), expected);
            }
            for task in tasks {
                task.await;
            }
        });
    }
}
