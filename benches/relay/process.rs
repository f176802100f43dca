//! The process that is measured, seen from outside.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};

use super::counts::{CALLGRIND, Instructions};
use super::{Plan, client};

/// How long a relay may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The release of the official relay.
const OFFICIAL: &str = "1.102.5";
const TOOL: &str = "tailscale.com/cmd/derper";

/// A relay.
pub(super) struct Process {
    pub(super) name: String,
    pub(super) addr: SocketAddr,
    pub(super) tls: bool,
    pub(super) pid: u32,
    /// `None`: somebody else's.
    child: Option<Child>,
    /// Removed at the end.
    folder: Option<PathBuf>,
}

impl Process {
    /// The relay that is to be measured.
    pub(super) fn start(plan: &Plan) -> Self {
        if let (Some(addr), Some(pid)) = (plan.addr, plan.pid) {
            let name = format!("process {pid} at {addr}");
            return Self { name, addr, tls: plan.tls, pid, child: None, folder: None };
        }
        match &plan.derper {
            Some(program) => Self::official(program),
            None => Self::product(Command::new(&plan.server), free_port(), plan.tls),
        }
    }

    /// The product under callgrind.
    pub(super) fn counted(plan: &Plan) -> Self {
        let [valgrind, tool] = CALLGRIND;
        let addr = free_port();
        let mut command = Command::new(valgrind);
        command.args([tool, &Instructions::argument(&folder(addr))]).arg(&plan.server);
        Self::product(command, addr, plan.tls)
    }

    /// Its instructions from now on, of [`Self::counted`] only.
    pub(super) fn instructions(&self) -> Instructions {
        Instructions::start(self.pid, self.folder.as_deref().expect("it has files"))
    }

    /// The product, with all that it does beside relaying.
    fn product(mut command: Command, addr: SocketAddr, tls: bool) -> Self {
        let folder = folder(addr);
        command.arg("serve").arg("--data-dir").arg(&folder);
        command.args(["--listen", &addr.to_string(), "--server-url", &format!("http://{addr}")]);
        // A free port, for another server may be running here.
        command.env("GRAMSCALE_DERP_SERVER_STUN_LISTEN_ADDR", "127.0.0.1:0");
        // The clients belong to no tailnet.
        command.env("GRAMSCALE_DERP_SERVER_VERIFY_CLIENTS", "false");
        Self::spawn("gramscale", command, addr, tls, folder)
    }

    /// The official relay, which speaks plain HTTP on ports other than 443.
    fn official(program: &Path) -> Self {
        let addr = free_port();
        let folder = folder(addr);
        let mut command = Command::new(program);
        command.arg("-a").arg(addr.to_string()).arg("-c").arg(folder.join("key"));
        command.args(["-http-port=-1", "-stun=false", "-verify-clients=false"]);
        Self::spawn("the official relay", command, addr, false, folder)
    }

    fn spawn(
        name: &str,
        mut command: Command,
        addr: SocketAddr,
        tls: bool,
        folder: PathBuf,
    ) -> Self {
        let log = || File::create(folder.join("log")).expect("a log");
        let command = command.stdin(Stdio::null()).stdout(log()).stderr(log());
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(addr).is_err() {
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{name} does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        let (name, pid) = (name.into(), child.id());
        Self { name, addr, tls, pid, child: Some(child), folder: Some(folder) }
    }

    /// Our relay alone, in a process that counts its allocations.
    pub(super) fn counting(tls: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a program"));
        if tls {
            command.arg("--tls");
        }
        let mut child = command.arg("serve").stdout(Stdio::piped()).spawn().expect("a child");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let addr = line.trim().parse().expect("an address");
        let (name, pid) = ("our relay alone".into(), child.id());
        Self { name, addr, tls, pid, child: Some(child), folder: None }
    }

    /// Waits until start-up work is done.
    pub(super) fn settled(self) -> Self {
        std::thread::sleep(Duration::from_millis(500));
        self
    }

    /// Bytes of resident memory.
    pub(super) fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it runs");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("it runs") * 1024
    }

    /// Processor time so far, of all threads.
    pub(super) fn processor(&self) -> Duration {
        let mut nanos = 0;
        for task in
            std::fs::read_dir(format!("/proc/{}/task", self.pid)).expect("it runs").flatten()
        {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanos += stat.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
        Duration::from_nanos(nanos)
    }

    /// Allocations so far, and the bytes that are allocated now; of [`Self::counting`] only.
    pub(super) async fn heap(&self) -> (u64, u64) {
        let mut io = client::dial(self.addr, self.tls).await.expect("a connection");
        let request = "GET /allocations HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        io.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = Vec::new();
        // TLS may end without farewell.
        let _ = io.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
        let mut numbers = body.split(' ').map(|n| n.parse().expect("a number"));
        (numbers.next().expect("a count"), numbers.next().expect("bytes"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn free_port() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("an address")
}

fn folder(addr: SocketAddr) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("gramscale-bench-{}", addr.port()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Builds the official relay of a release as a Go module, once; its program.
pub(super) fn build_official() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let folder = cache.unwrap_or_else(home).join("gramscale").join(format!("derper-{OFFICIAL}"));
    let program = folder.join("derper");
    if !program.exists() {
        eprintln!("building the official relay {OFFICIAL}");
        std::fs::create_dir_all(&folder).expect("a folder");
        let module = format!(
            "module bench\n\ngo 1.26\n\ntool {TOOL}\n\nrequire tailscale.com v{OFFICIAL}\n"
        );
        std::fs::write(folder.join("go.mod"), module).expect("go.mod");
        for args in [
            &["mod", "tidy"][..],
            &["build", "-trimpath", "-ldflags", "-s -w", "-o", "derper", TOOL],
        ] {
            let output = Command::new("go").args(args).current_dir(&folder).output().expect("go");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "go {args:?}: {error}");
        }
    }
    program
}
