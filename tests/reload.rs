//! SIGHUP to the program itself, as the service of a router is told of new settings.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than a busy machine takes.
const DEADLINE: Duration = Duration::from_secs(60);

struct Router {
    folder: PathBuf,
    child: Child,
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Ports that nobody has now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Router {
    /// Starts a copy of the program with a UCI file.
    fn start(name: &str, port: u16, more: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gramscale-reload-{name}-{port}"));
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join("gramscale");
        std::fs::copy(env!("CARGO_BIN_EXE_gramscale"), &program).unwrap();
        let uci = folder.join("uci");
        std::fs::write(&uci, settings(&folder, port, more)).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut serve = Command::new(program);
        serve.args(["serve", "--uci"]).arg(&uci).env_clear();
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // A child that another test is about to start may still hold the copy open for writing.
        let child = until("the copy stays busy", || match serve.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => None,
            done => Some(done.unwrap()),
        });
        let router = Self { folder, child };
        until("no answer", || health(port));
        router
    }

    fn set(&self, port: u16, more: &str) {
        std::fs::write(self.folder.join("uci"), settings(&self.folder, port, more)).unwrap();
        self.hup();
    }

    fn hup(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    fn told(&self, text: &str) {
        until(&format!("the log has no {text}: {}", self.log()), || {
            self.log().contains(text).then_some(())
        });
    }

    fn cli(&self, words: &[&str]) -> String {
        let done = Command::new(env!("CARGO_BIN_EXE_gramscale"))
            .arg("--uci")
            .arg(self.folder.join("uci"))
            .args(words)
            .env_clear()
            .output()
            .unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}

fn settings(folder: &Path, port: u16, more: &str) -> String {
    format!(
        "config server\n\tlist listen '127.0.0.1:{port}'\n\toption data_dir '{}'\n\
         config derp\n\toption stun_listen 'none'\nconfig log\n\toption format 'text'\n{more}",
        folder.display()
    )
}

fn ask(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").ok()?;
    let mut answer = [0; 1024];
    let n = stream.read(&mut answer).ok()?;
    let text = String::from_utf8_lossy(answer.get(..n)?).into_owned();
    text.starts_with("HTTP/1.1 200").then_some(text)
}

fn health(port: u16) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    ask(&mut stream)?;
    Some(stream)
}

#[test]
fn settings_change_under_open_connections() {
    let port = free_port();
    let router = Router::start("live", port, "config user\n\toption name 'ann'\n");
    let mut open = health(port).unwrap();
    assert!(router.cli(&["users", "list"]).contains("ann"));
    // The kernel is told to spare what the router itself needs.
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", router.child.id()));
    assert_eq!(score.unwrap().trim(), "300");
    router.set(port, "config user\n\toption name 'bob'\n");
    router.told("the settings were read again");
    let users = router.cli(&["users", "list"]);
    assert!(users.contains("bob") && users.contains("ann"), "{users}");
    // A wrong value: said with option, value's kind and line, and nothing has changed.
    router.set(port, "config user\n\toption name 'eve'\nconfig derp\n\toption region_id 'x'\n");
    router.told("line 11: derp.region_id: a number from 1 to 65535 is expected, not \"x\"");
    router.told("all settings stay as they were");
    assert!(!router.cli(&["users", "list"]).contains("eve"));
    // Two at once and a broken file as well.
    router.set(port, "config\n");
    router.hup();
    router.told("line 8: config is followed by a type");
    assert!(ask(&mut open).is_some(), "the connection was cut");
}

#[test]
fn another_port_is_a_new_start() {
    let (first, second) = (free_port(), free_port());
    let mut router = Router::start("again", first, "");
    router.set(second, "config user\n\toption name 'ann'\n");
    until("nothing at the new port", || health(second));
    assert!(health(first).is_none());
    // The same process, for whoever watches it.
    assert!(router.child.try_wait().unwrap().is_none());
    assert!(router.cli(&["users", "list"]).contains("ann"));
    router.set(first, "");
    until("nothing at the old port", || health(first));
    assert!(Command::new("kill").arg(router.child.id().to_string()).status().unwrap().success());
    assert!(router.child.wait().unwrap().success());
}

#[test]
fn a_certificate_that_is_not_there_yet_is_waited_for() {
    let (first, second) = (free_port(), free_port());
    let router = Router::start("awaited", first, "");
    let mut open = health(first).unwrap();
    let (chain, key) = (router.folder.join("tls.crt"), router.folder.join("tls.key"));
    let tls = format!(
        "config tls\n\toption cert '{}'\n\toption key '{}'\n",
        chain.display(),
        key.display()
    );
    router.set(second, &tls);
    router.told("tls.crt");
    router.told("all settings stay as they were");
    assert!(ask(&mut open).is_some(), "the connection was cut");
}

#[test]
fn the_url_is_dialled() {
    let (first, second) = (free_port(), free_port());
    let router = Router::start("dialled", first, "");
    assert!(router.cli(&["reach"]).contains("leads here"));
    // Of two servers only one can be where the URL leads.
    let url = format!("config server\n\toption server_url 'http://127.0.0.1:{first}'\n");
    let other = Router::start("other", second, &url);
    let told = other.cli(&["reach"]);
    assert!(told.contains("another server answers there"), "{told}");
    drop(router);
    let told = other.cli(&["reach"]);
    assert!(told.contains("cannot connect"), "{told}");
}

#[test]
fn a_new_program_gets_its_turn() {
    let port = free_port();
    let mut router = Router::start("new", port, "");
    let (program, new) = (router.folder.join("gramscale"), router.folder.join("new"));
    std::fs::copy(&program, &new).unwrap();
    std::fs::rename(&new, &program).unwrap();
    router.hup();
    // Whoever supervises it starts the new one.
    assert!(router.child.wait().unwrap().success());
    assert!(router.log().contains("starting anew"));
}
