//! Signals as something to wait for (`signalfd(2)`).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use crate::Async;

/// Bytes of one report, `struct signalfd_siginfo`; the first four are the signal's number.
const REPORT: usize = 128;

/// The signals a service is told things by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGHUP`: read the configuration again.
    Hup,
    /// `SIGINT`: stop, from a terminal.
    Int,
    /// `SIGQUIT`: stop.
    Quit,
    /// `SIGTERM`: stop.
    Term,
    /// `SIGUSR1`.
    Usr1,
}

impl Signal {
    const ALL: [Self; 5] = [Self::Hup, Self::Int, Self::Quit, Self::Term, Self::Usr1];

    fn number(self) -> i32 {
        match self {
            Self::Hup => libc::SIGHUP,
            Self::Int => libc::SIGINT,
            Self::Quit => libc::SIGQUIT,
            Self::Term => libc::SIGTERM,
            Self::Usr1 => libc::SIGUSR1,
        }
    }
}

/// A set of signals that no longer interrupt the process but are read from here.
///
/// Made before any other thread is started, since a thread inherits what is blocked. The
/// signals stay blocked when this is dropped, so that one that comes late cannot kill a process
/// which is shutting down.
#[derive(Debug)]
pub struct Signals(Async<OwnedFd>);

impl Signals {
    /// Blocks `signals` in this thread and starts to collect them.
    ///
    /// # Errors
    ///
    /// The kernel's, when there is no descriptor left.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` initialises the set it is given a valid pointer to.
        let mut set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            set.assume_init()
        };
        for signal in signals {
            // SAFETY: the set is initialised and the number is that of a signal.
            unsafe { libc::sigaddset(&mut set, signal.number()) };
        }
        // SAFETY: the set is initialised, and the old one is not asked for.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: -1 asks for a new descriptor; the set is initialised.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Async::from_nonblocking(fd).map(Self)
    }

    /// The next signal. Several of one kind that come at once count as one.
    ///
    /// # Errors
    ///
    /// None are known of; they would be the kernel's.
    pub async fn next(&self) -> io::Result<Signal> {
        loop {
            let mut report = [0; REPORT];
            self.0.read_with(|fd| Ok(rustix::io::read(fd, &mut report)?)).await?;
            let [a, b, c, d, ..] = report;
            let number = u32::from_ne_bytes([a, b, c, d]);
            let known = |signal: &Signal| u32::try_from(signal.number()) == Ok(number);
            if let Some(signal) = Signal::ALL.into_iter().find(known) {
                return Ok(signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{block_on, spawn, yield_now};

    #[test]
    fn a_signal_is_read() {
        block_on(async {
            let signals = Signals::new(&[Signal::Usr1, Signal::Hup]).unwrap();
            let next = spawn(async move { signals.next().await });
            yield_now().await;
            // To this thread: the others of the test process have it unblocked.
            // SAFETY: the thread exists, it is this one.
            unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGHUP) };
            assert_eq!(next.await.unwrap(), Signal::Hup);
        });
    }
}
