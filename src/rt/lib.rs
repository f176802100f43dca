//! The reactor: one thread, one epoll instance, one executor, and the system calls around them.
//!
//! [`block_on`] drives everything: it runs the tasks of the calling thread ([`spawn`]) and waits
//! in `epoll_wait` when none is ready. Each thread has a reactor of its own, so nothing here is
//! `Send`; the one way to another thread is [`unblock()`].
//!
//! # Why not async-io
//!
//! The executor and the traits are the smol family's ([`async_executor`], [`futures_io`]), so
//! that code written against them runs on `async-io` as well. Its reactor is replaced for what
//! cannot be mended from outside: it always starts a helper thread, which competes with
//! `block_on` for the reactor and costs a router a stack, and it re-arms one-shot interest for
//! every operation. For 100 small requests and answers 20 ms apart it made 1,537 system calls;
//! here it is 300, one wait, one read and one write each (`examples/echo.rs`).
//!
//! # How readiness works
//!
//! A descriptor is registered once, edge-triggered, for both directions. An operation is tried
//! first and waits only if the kernel refused it; a read or write of fewer bytes than asked for
//! tells that the kernel has no more, which saves the refused try.
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(clippy::undocumented_unsafe_blocks)]

mod addresses;
pub mod clock;
mod datagram;
pub mod fault;
mod io;
mod net;
mod notify;
mod reactor;
mod signal;
pub mod sys;
mod timer;
mod unblock;

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

pub use addresses::AddressChanges;
use async_executor::LocalExecutor;
pub use async_executor::Task;
pub use futures_lite::future::yield_now;
pub use io::Async;
pub use notify::Notify;
pub use signal::{Signal, Signals};
pub use timer::{Sleep, Timeout, sleep, sleep_until, timeout};
pub use unblock::unblock;

use crate::reactor::Reactor;

thread_local! {
    static RUNTIME: Rc<Runtime> = Rc::new(Runtime {
        executor: LocalExecutor::new(),
        reactor: Rc::new(Reactor::new()),
    });
}

struct Runtime {
    // Dropped first: its tasks hold what is registered with the reactor.
    executor: LocalExecutor<'static>,
    reactor: Rc<Reactor>,
}

/// Runs `future` and the tasks spawned on this thread until `future` is done.
///
/// Tasks that are not done by then stay and run in the next call.
///
/// # Panics
///
/// When the kernel gives no epoll instance or eventfd to the thread's first call, which only
/// happens when the process has no descriptors left.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = RUNTIME.with(Rc::clone);
    let alarm = runtime.reactor.alarm();
    let waker = Waker::from(alarm.clone());
    let mut context = Context::from_waker(&waker);
    let mut main = pin!(runtime.executor.run(future));
    alarm.raised.store(true, Ordering::Relaxed);
    loop {
        if alarm.raised.swap(false, Ordering::Acquire)
            && let Poll::Ready(value) = main.as_mut().poll(&mut context)
        {
            return value;
        }
        let idle = !alarm.raised.load(Ordering::Acquire);
        runtime.reactor.turn(idle);
    }
}

/// Starts a task on this thread. Dropping the [`Task`] cancels it; `detach` lets it run alone.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    RUNTIME.with(|runtime| runtime.executor.spawn(future))
}

/// Fills `buf` with random bytes fit for keys (`getrandom(2)`), waiting for the kernel's pool to
/// be seeded, which early in a router's boot can take seconds.
///
/// # Panics
///
/// When the kernel has no `getrandom` (before Linux 3.17): no key can be made then.
pub fn random(buf: &mut [u8]) {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel gives no random bytes: {error}"),
        }
    }
}

pub(crate) fn reactor() -> Rc<Reactor> {
    RUNTIME.with(|runtime| runtime.reactor.clone())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn tasks_run_and_cancel() {
        let seen = Rc::new(Cell::new(0));
        block_on(async {
            let task = spawn({
                let seen = seen.clone();
                async move {
                    seen.set(seen.get() + 1);
                    7
                }
            });
            assert_eq!(task.await, 7);
            let never = spawn({
                let seen = seen.clone();
                async move {
                    sleep(Duration::from_secs(3600)).await;
                    seen.set(100);
                }
            });
            yield_now().await;
            drop(never);
            yield_now().await;
        });
        assert_eq!(seen.get(), 1);
        assert_eq!(Rc::strong_count(&seen), 1, "the cancelled task is gone");
    }

    #[test]
    fn one_busy_task_does_not_starve_timers() {
        let start = Instant::now();
        block_on(async {
            let busy = spawn(async {
                loop {
                    yield_now().await;
                }
            });
            sleep(Duration::from_millis(20)).await;
            busy.cancel().await;
        });
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn random_bytes_differ() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        random(&mut a);
        random(&mut b);
        assert_ne!(a, b);
        random(&mut []);
    }
}
