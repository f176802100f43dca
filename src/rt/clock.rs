//! The time of day, and whether to believe it.

use std::mem::MaybeUninit;
use std::time::{SystemTime, UNIX_EPOCH};

/// The number of the system call `clock_gettime64` of 32-bit machines: one for all, but that MIPS
/// begins to count at 4000.
#[cfg(target_pointer_width = "32")]
const CLOCK_GETTIME64: libc::c_long = if cfg!(target_arch = "mips") { 4403 } else { 403 };

/// Nanoseconds since 1970-01-01T00:00:00Z by the system's clock; it may jump.
pub fn unix_nanos() -> i64 {
    // With musl on 32-bit machines `std` asks for 32-bit seconds, which end in 2038, and panics
    // then; also where a clock that nobody ever set just says that it is later.
    #[cfg(target_pointer_width = "32")]
    {
        let mut time = [0_i64; 2];
        // SAFETY: the kernel's structure is two 64-bit numbers on every 32-bit machine.
        let result =
            unsafe { libc::syscall(CLOCK_GETTIME64, libc::CLOCK_REALTIME, time.as_mut_ptr()) };
        // Before Linux 5.1 there is only the other call, and no such time.
        if let (0, [seconds, nanos]) = (result, time) {
            return seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        }
    }
    let nanos = |d: std::time::Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => nanos(after),
        Err(before) => -nanos(before.duration()),
    }
}

/// Whether the kernel holds the clock for synchronised (`adjtimex(2)`): a router without a
/// battery boots in 1970 and tells so until its time service has set the clock.
///
/// Where the kernel refuses to answer (a container's filter), the host keeps the clock and it is
/// believed.
pub fn synchronised() -> bool {
    // Twice the size: on 32-bit systems C libraries disagree about the width of the times in it,
    // and only the result matters here.
    let mut timex = MaybeUninit::<[libc::timex; 2]>::zeroed();
    // SAFETY: all zero is a valid request that changes nothing (`modes` is 0), and the memory is
    // at least as large as any C library's structure.
    let state = unsafe { libc::adjtimex(timex.as_mut_ptr().cast()) };
    state != libc::TIME_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs() {
        let then = unix_nanos();
        assert!(then > 1_600_000_000_000_000_000);
        assert!(unix_nanos() >= then);
        synchronised();
    }
}
