//! What blocks for long, on a thread that lives only for that.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

/// Stack of such a thread: enough for a commit and for the system's resolver. Only what is
/// touched costs memory.
const STACK: usize = 256 * 1024;

/// Runs `f` on a thread of its own and waits for its result without blocking this one.
///
/// If this future is dropped, `f` still runs to its end. If no thread can be had, `f` runs here:
/// late is better than never.
///
/// # Panics
///
/// When `f` panics.
pub async fn unblock<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let job = Arc::new(Mutex::new(Some(f)));
    let done = Arc::new(Mutex::new(Done { finished: false, waker: None }));
    let bell = Bell(done.clone());
    let started = thread::Builder::new().name("gramscale-job".into()).stack_size(STACK).spawn({
        let job = job.clone();
        move || {
            let _bell = bell;
            let f = lock(&job).take();
            f.map(|f| f())
        }
    });
    let Ok(thread) = started else {
        let f = lock(&job).take();
        return f.expect("no thread took it")();
    };
    poll_fn(|context| {
        let mut done = lock(&done);
        if done.finished {
            return Poll::Ready(());
        }
        done.waker = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
    // At its end: this takes microseconds, and the thread is gone when we go on.
    match thread.join() {
        Ok(value) => value.expect("the job was there"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

struct Done {
    finished: bool,
    waker: Option<Waker>,
}

/// Reports the end of the thread's work, also when it ends in a panic.
struct Bell(Arc<Mutex<Done>>);

impl Drop for Bell {
    fn drop(&mut self) {
        let mut done = lock(&self.0);
        done.finished = true;
        let waker = done.waker.take();
        drop(done);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{block_on, sleep, spawn};

    #[test]
    fn others_run_meanwhile() {
        let ticks = block_on(async {
            let slow = spawn(unblock(|| {
                thread::sleep(Duration::from_millis(100));
                thread::current().name().map(str::to_owned)
            }));
            let mut ticks = 0;
            while !slow.is_finished() {
                sleep(Duration::from_millis(5)).await;
                ticks += 1;
            }
            assert_eq!(slow.await.as_deref(), Some("gramscale-job"));
            ticks
        });
        assert!(ticks > 3, "{ticks}");
    }

    #[test]
    fn a_sleeping_loop_wakes() {
        let start = Instant::now();
        let value = block_on(unblock(|| {
            thread::sleep(Duration::from_millis(20));
            5
        }));
        assert_eq!(value, 5);
        assert!(start.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn many_at_once() {
        let sum: u32 = block_on(async {
            let jobs: Vec<_> = (0..20_u32).map(|n| spawn(unblock(move || n))).collect();
            let mut sum = 0;
            for job in jobs {
                sum += job.await;
            }
            sum
        });
        assert_eq!(sum, 190);
    }
}
