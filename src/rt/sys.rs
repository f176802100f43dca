//! What the process asks of the system: limits, socket options, locks.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More descriptors than this are not asked for: 1,000 nodes need some 2,000.
const DESCRIPTORS: u64 = 65_536;

/// Raises the limit of open descriptors as far as is allowed and useful, and returns it.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let goal = limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    let now = limit.current.unwrap_or(DESCRIPTORS);
    let raised = Rlimit { current: Some(goal), maximum: limit.maximum };
    let reached =
        if goal > now && setrlimit(Resource::Nofile, raised).is_ok() { goal } else { now };
    usize::try_from(reached.min(DESCRIPTORS)).unwrap_or(usize::MAX)
}

/// Whether an error says that the kernel knows no such address family: IPv6 can be left out.
pub fn no_such_family(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::PROTONOSUPPORT))
}

/// Whether an error of `accept` or `socket` says that there are no descriptors left.
pub fn out_of_descriptors(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// Whether the file of the running program was replaced or removed since it was started.
pub fn program_replaced() -> bool {
    // The kernel's way to say so (proc(5)), also where the old file is mounted in a jail.
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    program.as_os_str().as_encoded_bytes().ends_with(b" (deleted)")
}

/// Begins the running program again in this process, with the same words on its command line.
/// Descriptors of ours close; signals that are blocked stay so, and none is lost.
///
/// # Errors
///
/// The kernel's; it does not return otherwise.
pub fn begin_again() -> io::Error {
    let words: Vec<_> = std::env::args_os()
        .filter_map(|word| CString::new(word.into_encoded_bytes()).ok())
        .collect();
    let mut argv: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    argv.push(std::ptr::null());
    // SAFETY: path and arguments are strings that end in NUL and outlive the call, and the list
    // of arguments ends in a null pointer.
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), argv.as_ptr()) };
    io::Error::last_os_error()
}

/// Has the kernel end this process before others that have the same size when memory is short.
pub fn spare_others() {
    // Where there is no such file, the kernel has no such choice to make.
    let _ = std::fs::write("/proc/self/oom_score_adj", "300");
}

/// Sends small writes at once (`TCP_NODELAY`).
pub fn set_nodelay(socket: &impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_tcp_nodelay(socket, true)?)
}

/// Ends a TCP connection whose peer has acknowledged nothing for `limit` although something was
/// sent (`TCP_USER_TIMEOUT`, to the millisecond); zero is the system's default.
pub fn set_user_timeout(socket: &impl AsFd, limit: Duration) -> io::Result<()> {
    let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(socket, millis)?)
}

/// What [`set_user_timeout`] set, in milliseconds.
pub fn user_timeout(socket: &impl AsFd) -> io::Result<u32> {
    Ok(sockopt::tcp_user_timeout(socket)?)
}

/// Probes a silent TCP peer after `idle`, then every `interval`, and gives it up after `count`
/// unanswered probes. Whole seconds, at least one.
pub fn set_keepalive(
    socket: &impl AsFd,
    idle: Duration,
    interval: Duration,
    count: u32,
) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, idle)?;
    sockopt::set_tcp_keepintvl(socket, interval)?;
    Ok(sockopt::set_tcp_keepcnt(socket, count)?)
}

/// The idle time [`set_keepalive`] set, in seconds.
pub fn keepalive_idle(socket: &impl AsFd) -> io::Result<u32> {
    let idle = sockopt::tcp_keepidle(socket)?;
    Ok(u32::try_from(idle.as_secs()).unwrap_or(u32::MAX))
}

/// Holds small writes back until `false` is set or 200 ms pass (`TCP_CORK`).
pub fn set_cork(socket: &impl AsFd, corked: bool) -> io::Result<()> {
    Ok(sockopt::set_tcp_cork(socket, corked)?)
}

/// Sets the size of a socket's send buffer; the kernel doubles it for its bookkeeping.
pub fn set_send_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_send_buffer_size(socket, bytes)?)
}

/// Resident memory of this process in bytes, where `/proc` is mounted.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// A lock on a file that ends with the process, whatever ends it (`flock(2)`).
#[derive(Debug)]
pub struct LockFile(#[expect(dead_code, reason = "closing it ends the lock")] File);

impl LockFile {
    /// Creates `path` where it is missing and locks it. `None`: another process holds it.
    ///
    /// # Errors
    ///
    /// Those of opening the file.
    pub fn acquire(path: &Path) -> io::Result<Option<Self>> {
        let file =
            File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Runs `f` with the process's file mode mask set to `mask`; no other thread should be creating
/// files meanwhile.
pub fn with_umask<T>(mask: u32, f: impl FnOnce() -> T) -> T {
    let old = rustix::process::umask(Mode::from_raw_mode(mask));
    let value = f();
    rustix::process::umask(old);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors() {
        let limit = raise_descriptor_limit();
        assert!(limit >= 16);
        assert_eq!(raise_descriptor_limit(), limit);
        assert!(out_of_descriptors(&io::Error::from(Errno::MFILE)));
        assert!(!out_of_descriptors(&io::Error::from(Errno::CONNABORTED)));
    }

    #[test]
    fn memory_is_known() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }

    #[test]
    fn a_lock_is_held_once() {
        let path = std::env::temp_dir().join(format!("gramscale-lock-{}", std::process::id()));
        let first = LockFile::acquire(&path).unwrap();
        assert!(first.is_some());
        assert!(LockFile::acquire(&path).unwrap().is_none());
        drop(first);
        assert!(LockFile::acquire(&path).unwrap().is_some());
        std::fs::remove_file(&path).unwrap();
    }
}
