//! The server, in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::counts::{CALLGRIND, Instructions};

/// How long it may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The kernel's unit of processor times in `/proc` (`USER_HZ`, the same everywhere).
const TICK: Duration = Duration::from_millis(10);

/// The server that runs, by its process id.
static RUNNING: AtomicU32 = AtomicU32::new(0);

/// Ends the server when this program panics: nothing is dropped then.
pub(super) fn kill_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let pid = RUNNING.load(Ordering::Relaxed);
        if pid != 0 {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }));
}

/// What the server runs under.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Under {
    Nothing,
    /// It counts instructions.
    Callgrind,
    /// Each sync of the disk takes two seconds.
    SlowDisk,
}

/// A running server. Dropping it kills it and removes its folder.
pub(super) struct Server {
    program: PathBuf,
    under: Under,
    folder: PathBuf,
    pub(super) addr: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts it in a new folder, on a free port of this machine alone.
    pub(super) fn start(program: &Path, under: Under) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = free.local_addr().expect("an address");
        drop(free);
        let folder = std::env::temp_dir().join(format!("gramscale-bench-{}", addr.port()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let child = spawn(program, under, &folder, addr);
        Self { program: program.into(), under, folder, addr, child }
    }

    /// Ends it as an administrator does, and starts it again.
    pub(super) fn restart(&mut self) {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().expect("a child").is_none() {
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
        self.child = spawn(&self.program, self.under, &self.folder, self.addr);
    }

    /// Runs a command of its command line; what it prints.
    pub(super) fn command(&self, args: &[&str]) -> String {
        let output = Command::new(&self.program)
            .args(args)
            .env("GRAMSCALE_UNIX_SOCKET", self.folder.join("gramscale.sock"))
            .stdin(Stdio::null())
            .output()
            .expect("the command line");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Bytes of memory that are resident, of these the ones that no file holds, and the most
    /// that were resident since it started.
    pub(super) fn memory(&self) -> Memory {
        let status = self.proc("status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            value.unwrap_or(0_u64) * 1024
        };
        Memory { resident: field("VmRSS:"), private: field("RssAnon:"), peak: field("VmHWM:") }
    }

    /// Its threads.
    pub(super) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).map_or(0, Iterator::count)
    }

    /// Processor time of all its threads, also of those that have ended; exact to 10 ms.
    pub(super) fn processor(&self) -> Duration {
        ticks(&self.proc("stat"))
    }

    /// Processor time of the thread that serves, in nanoseconds.
    pub(super) fn serving(&self) -> Duration {
        let pid = self.child.id();
        let stat = self.proc(&format!("task/{pid}/schedstat"));
        let nanos = stat.split(' ').next().and_then(|n| n.parse().ok());
        Duration::from_nanos(nanos.unwrap_or(0))
    }

    /// Processor time of this process, which is all clients together; exact to 10 ms.
    pub(super) fn clients() -> Duration {
        ticks(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default())
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it keeps its files.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
    }
}

/// User and system time in a `stat` of `/proc`.
fn ticks(stat: &str) -> Duration {
    // The name in parentheses may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u32 = fields.skip(11).take(2).filter_map(|n| n.parse::<u32>().ok()).sum();
    TICK * ticks
}

/// How much memory a process has.
pub(super) struct Memory {
    pub(super) resident: u64,
    pub(super) private: u64,
    pub(super) peak: u64,
}

/// Starts the program and waits until it says that it listens.
fn spawn(program: &Path, under: Under, folder: &Path, addr: SocketAddr) -> Child {
    let mut command = match under {
        Under::Nothing => Command::new(program),
        Under::Callgrind => {
            let [valgrind, tool] = CALLGRIND;
            let mut command = Command::new(valgrind);
            command.args([tool, &Instructions::argument(folder)]).arg(program);
            command
        }
        Under::SlowDisk => {
            let mut command = Command::new("strace");
            command.args(["-f", "--seccomp-bpf", "-o", "/dev/null"]);
            command.args(["-e", "trace=fsync,fdatasync"]);
            command.args(["-e", "inject=fsync,fdatasync:delay_enter=2000000"]).arg(program);
            command
        }
    };
    let mut child = command
        .arg("serve")
        .arg("--data-dir")
        .arg(folder)
        .args(["--listen", &addr.to_string(), "--server-url", &format!("http://{addr}")])
        // A free port, for another server may be running here.
        .env("GRAMSCALE_DERP_SERVER_STUN_LISTEN_ADDR", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(folder.join("log")).expect("a log"))
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    RUNNING.store(child.id(), Ordering::Relaxed);
    // The first line comes when everything listens; the rest is read so that it can be written.
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    if out.read_line(&mut line).unwrap_or(0) == 0 {
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        panic!("the server does not start: {log}");
    }
    std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
    child
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.under == Under::SlowDisk {
            // A tracer that is killed lets go of what it traces, which then goes on.
            let pid = self.child.id();
            let server = self.proc(&format!("task/{pid}/children"));
            let _ = Command::new("kill").arg("-KILL").args(server.split_whitespace()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        RUNNING.store(0, Ordering::Relaxed);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
