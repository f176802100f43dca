//! Last words: what the program says when it stops at a fault.
//!
//! The router build ends at a panic by an instruction that the processor refuses, without a
//! message: formatting them is a tenth of the program. The kernel turns that, and any other fault,
//! into a signal; the handler here says where it was, which a build's symbols turn into a line.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// What a broken promise ends in: `break` on MIPS is a trap, `ud2` and `udf` are illegal, and a
/// panic of the ordinary build aborts.
const SIGNALS: [i32; 5] = [libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS];

/// Said in place of the general words while something is done that may end so.
static WORDS: AtomicPtr<String> = AtomicPtr::new(ptr::null_mut());

/// From now on a fault ends the program with a line on stderr that names its place.
pub fn report() {
    // SAFETY: all fields of the structure may be zero, the handler is one for `SA_SIGINFO` and does
    // only what is allowed in one, and the numbers are those of signals.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handle as *const () as usize;
        // On the stack that std sets apart for this: the fault may be the end of the other one.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        for signal in SIGNALS {
            libc::sigaction(signal, &action, ptr::null_mut());
        }
    }
}

/// Until this is dropped, a fault is told by the words it was made with, and ends the program with
/// status 1.
#[derive(Debug)]
pub struct Expected(*mut String);

/// Expects a fault from what follows, on any thread, to be told by `words`. One at a time: a second
/// call replaces the words of the first.
#[must_use = "dropped, it expects nothing any more"]
pub fn expect(words: String) -> Expected {
    let words = Box::into_raw(Box::new(words));
    WORDS.store(words, Ordering::Release);
    Expected(words)
}

impl Drop for Expected {
    fn drop(&mut self) {
        let _ =
            WORDS.compare_exchange(self.0, ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed);
        // SAFETY: it came from a box, and the handler finds it no more.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

extern "C" fn handle(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: `Expected` holds what the pointer is of until it took the pointer back; a fault on
    // another thread in that moment is past saving. `_exit` and `raise` may be called here.
    unsafe {
        if let Some(words) = WORDS.load(Ordering::Acquire).as_ref() {
            say(words.as_bytes());
            libc::_exit(1);
        }
        let mut line = *b"gramscale: stopped by a fault: signal 00 at 0x0000000000000000\n";
        let number = line.len() - b"00 at 0x0000000000000000\n".len();
        digits(&mut line[number..number + 2], u64::from(signal.unsigned_abs()), 10);
        let end = line.len() - 1;
        digits(&mut line[end - 16..end], place(context), 16);
        say(&line);
        // It waits until this handler is left, whose action is the default one again by then.
        libc::raise(signal);
    }
}

/// The address of the instruction that was refused, as the kernel saved it.
///
/// # Safety
///
/// `context` is the third argument of a signal handler.
unsafe fn place(context: *mut libc::c_void) -> u64 {
    // Where `ucontext_t` of the kernel has it; the types that libc has of it differ between the C
    // libraries, and MIPS has none.
    let (at, wide) = match () {
        () if cfg!(target_arch = "x86_64") => (168, true),
        () if cfg!(target_arch = "aarch64") => (440, true),
        () if cfg!(target_arch = "arm") => (92, false),
        // Eight bytes also where registers are four.
        () if cfg!(target_arch = "mips") => (32, true),
        () => return 0,
    };
    let at = context.cast::<u8>().wrapping_add(at);
    // SAFETY: the structure is longer than that, and read as bytes that need no alignment.
    unsafe {
        match wide {
            true => ptr::read_unaligned(at.cast::<u64>()),
            false => u64::from(ptr::read_unaligned(at.cast::<u32>())),
        }
    }
}

/// Writes the last digits of `value`; no formatting machinery, which is not allowed in a handler.
fn digits(into: &mut [u8], mut value: u64, base: u64) {
    for digit in into.iter_mut().rev() {
        *digit = *b"0123456789abcdef".get((value % base) as usize).unwrap_or(&b'?');
        value /= base;
    }
}

fn say(words: &[u8]) {
    // SAFETY: the pointer and length are those of a slice. What fails here cannot be told.
    let _ = unsafe { libc::write(libc::STDERR_FILENO, words.as_ptr().cast(), words.len()) };
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    const CHILD: &str = "GRAMSCALE_TEST_FAULT";

    /// Runs the test below in a process of its own.
    fn end(how: &str) -> (Option<i32>, Option<i32>, String) {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "fault::tests::faults", "--nocapture"]).env(CHILD, how);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), output.status.signal(), text)
    }

    #[test]
    fn faults() {
        let Some(how) = std::env::var_os(CHILD) else { return };
        report();
        let expected = expect("these words\n".into());
        if how != "expected" {
            drop(expected);
        }
        match how == "abort" {
            true => std::process::abort(),
            // SAFETY: none; no page lies there, which is the point.
            false => _ = unsafe { ptr::read_volatile(ptr::without_provenance::<u8>(8)) },
        }
    }

    #[test]
    #[cfg_attr(target_arch = "mips", ignore = "an emulated program cannot start itself")]
    fn the_place_is_told() {
        let (code, signal, text) = end("unexpected");
        assert_eq!((code, signal), (None, Some(libc::SIGSEGV)), "{text}");
        let (_, place) = text.split_once("by a fault: signal 11 at 0x").expect(&text);
        let place = u64::from_str_radix(place.trim(), 16).unwrap();
        assert!(place > 0xffff, "{text}");
        let (_, signal, text) = end("abort");
        assert_eq!(signal, Some(libc::SIGABRT));
        assert!(text.contains("signal 06 at 0x"), "{text}");
    }

    #[test]
    #[cfg_attr(target_arch = "mips", ignore = "an emulated program cannot start itself")]
    fn expected_words_are_told() {
        assert_eq!(end("expected"), (Some(1), None, "these words\n".into()));
    }

    #[test]
    fn digits_of_numbers() {
        let mut text = *b"????";
        digits(&mut text, 0x1f0a, 16);
        assert_eq!(&text, b"1f0a");
        digits(&mut text, 11, 10);
        assert_eq!(&text, b"0011");
    }
}
