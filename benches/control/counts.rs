//! What does not depend on how fast the machine is: system calls and instructions of a process,
//! and the most that is allowed of them.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How the server is started so that its instructions are counted. Its output goes to
/// [`Instructions`].
pub(super) const CALLGRIND: [&str; 2] = ["valgrind", "--tool=callgrind"];

/// Counts the system calls of a process during `scene` with `strace`; also returns what it
/// returns. `None` where there is no `strace`.
pub(super) async fn count_calls<T>(pid: u32, scene: impl Future<Output = T>) -> Option<(u64, T)> {
    let out = std::env::temp_dir().join(format!("gramscale-bench-{pid}.strace"));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-q", "-c", "-U", "calls,name", "-o"]).arg(&out);
    let mut strace = strace.arg("-p").arg(pid.to_string()).stderr(Stdio::null()).spawn().ok()?;
    let status = || fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    while status().contains("TracerPid:\t0\n") {
        if strace.try_wait().ok()?.is_some() {
            return None;
        }
        gramscale_rt::sleep(Duration::from_millis(10)).await;
    }
    // It may have other threads to attach to.
    gramscale_rt::sleep(Duration::from_millis(300)).await;
    let done = scene.await;
    Command::new("kill").args(["-INT", &strace.id().to_string()]).status().ok()?;
    strace.wait().ok()?;
    let table = fs::read_to_string(&out).ok()?;
    let _ = fs::remove_file(out);
    let total = table.lines().find(|line| line.trim_end().ends_with("total"))?;
    Some((total.split_whitespace().next()?.parse().ok()?, done))
}

/// The instructions of a process that was started with [`CALLGRIND`].
pub(super) struct Instructions {
    pid: u32,
    out: PathBuf,
    dumps: u32,
}

impl Instructions {
    /// The argument that tells callgrind where to write.
    pub(super) fn argument(folder: &Path) -> String {
        format!("--callgrind-out-file={}", folder.join("callgrind.out").display())
    }

    /// Counts from now on.
    pub(super) fn start(pid: u32, folder: &Path) -> Self {
        let mut counter = Self { pid, out: folder.join("callgrind.out"), dumps: 0 };
        counter.take();
        counter
    }

    /// How many there were since the last call.
    pub(super) fn take(&mut self) -> u64 {
        let dumped =
            Command::new("callgrind_control").arg("--dump").arg(self.pid.to_string()).output();
        let dumped = dumped.expect("callgrind_control, which comes with valgrind");
        // Each dump is a file of the next number, and begins to count anew.
        let numbered = |n: &u32| fs::read_to_string(format!("{}.{n}", self.out.display())).ok();
        let text =
            (self.dumps + 1..).map_while(|n| numbered(&n).inspect(|_| self.dumps = n)).last();
        let text = text.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&dumped.stdout)));
        let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
        total.and_then(|total| total.trim().parse().ok()).expect("callgrind's totals")
    }
}

/// Figures of one run that are above the file's `section`, each as a sentence. What the file does
/// not name is not limited; what it names and nobody measured is an excess.
pub(super) fn excesses(file: &Path, section: &str, figures: &[(&str, u64)]) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let section = format!("[{section}]");
    let mut lines = text.lines().skip_while(|line| line.trim() != section).skip(1);
    let limits = lines.by_ref().take_while(|line| !line.starts_with('['));
    let limits: Vec<_> = limits.filter_map(limit).collect();
    assert!(!limits.is_empty(), "{} has no {section}", file.display());
    limits
        .into_iter()
        .filter_map(|(name, most)| match figures.iter().find(|(known, _)| *known == name) {
            Some((_, value)) if *value <= most => None,
            Some((_, value)) => Some(format!("{name} is {value}, and {most} is allowed")),
            None => Some(format!("{name} was not measured")),
        })
        .collect()
}

/// `name = number`, and nothing of a comment or an empty line.
fn limit(line: &str) -> Option<(&str, u64)> {
    let line = line.split('#').next()?;
    let (name, value) = line.split_once('=')?;
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    Some((name.trim(), digits.parse().ok()?))
}
