//! Where the policy comes from, on a running server: a file that is read again, and a stored one
//! that can no longer be read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gramscale::store::{CACHE, Store};
use gramscale_proto::tailnet::write::{PolicyText, Write};
use gramscale_proto::wire::time::Timestamp;

const OPEN: &str = r#"{"acls":[{"action":"accept","src":["100.64.0.1"],"dst":["100.64.0.2:22"]}]}"#;
/// What it expects of itself does not come about.
const FAILING: &str = r#"{"acls":[],
    "tests":[{"src":"100.64.0.1","accept":["100.64.0.2:22"]}]}"#;

/// A server with a folder of its own, ended when the test is done with it.
struct Server {
    folder: PathBuf,
    child: Option<Child>,
}

impl Server {
    fn new(name: &str, policy: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("gramscale-policy-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let at = folder.display();
        let config = format!(
            "server_url: http://127.0.0.1:8080\nlisten_addr: 127.0.0.1:0\ndata_dir: {at}\n\
             unix_socket: {at}/s\nderp:\n  server:\n    stun_listen_addr: none\npolicy:\n{policy}"
        );
        fs::write(folder.join("config.yaml"), config).unwrap();
        Self { folder, child: None }
    }

    fn start(&mut self) {
        let log = fs::File::create(self.folder.join("log")).unwrap();
        self.child = Some(self.command("serve").stderr(log).spawn().unwrap());
        self.until("the socket", |server| server.folder.join("s").exists());
        self.until("an answer", |server| server.run("health").0);
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gramscale"));
        command.arg("-c").arg(self.folder.join("config.yaml")).args(line.split(' '));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs a command: whether it did well, and all that it printed.
    fn run(&self, line: &str) -> (bool, String) {
        let output = self.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    fn policy(&self, text: &str) -> PathBuf {
        let path = self.folder.join("policy.hujson");
        fs::write(&path, text).unwrap();
        path
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn hang_up(&self) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !done(self) {
            assert!(Instant::now() < end, "waited in vain for {what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn store(folder: &Path, text: &str) {
    let (store, _) = Store::open(&folder.join("gramscale.redb"), CACHE).unwrap();
    let policy = PolicyText { text: text.into(), at: Timestamp::from_secs(1_800_000_000) };
    gramscale_rt::block_on(async {
        store.commit(vec![Write::PutPolicy(policy)]).await.unwrap();
        store.close().await.unwrap();
    });
}

const QUESTION: &str = "policy explain 100.64.0.1 100.64.0.2:22";

#[test]
fn a_stored_policy_that_cannot_be_read_denies_everything_until_it_is_healed() {
    let mut server = Server::new("stored", "  mode: database\n");
    store(&server.folder, "{\n  \"frob\": 1}");
    server.start();
    let errors: Vec<_> =
        server.log().lines().filter(|l| l.contains("policy")).map(str::to_owned).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("nothing is allowed") && errors[0].contains("line 2"), "{errors:?}");
    let (good, text) = server.run(QUESTION);
    assert!(good && text.starts_with("refused: "), "{text}");
    assert!(server.run("policy get").1.contains("frob"), "it can be read and mended");
    let path = server.policy(OPEN);
    let (good, text) = server.run(&format!("policy set -f {}", path.display()));
    assert!(good, "{text}");
    let (good, text) = server.run(QUESTION);
    assert!(good && text.starts_with("allowed by acls[0] (line 1)"), "{text}");
}

#[test]
fn a_file_is_read_again_unless_it_is_bad() {
    let mut server = Server::new("file", "  mode: file\n  path: POLICY\n");
    let path = server.policy(OPEN);
    let config = server.folder.join("config.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("POLICY", &path.display().to_string())).unwrap();
    server.start();
    assert!(server.run(QUESTION).1.starts_with("allowed"));
    for (bad, why) in [(FAILING, "expected ALLOWED, got DENIED"), ("{", "line 1, column 2")] {
        server.policy(bad);
        server.hang_up();
        server.until(why, |server| server.log().contains(why));
        assert!(server.log().contains("the policy stays as it was"), "{}", server.log());
        assert_eq!(server.run("policy get").1, format!("{OPEN}\n"));
        assert!(server.run(QUESTION).1.starts_with("allowed"));
    }
    let services = "{\"autoApprovers\":{\"services\":{\"svc:web\":[]}},";
    server.policy(&OPEN.replace(":22", ":23").replacen('{', services, 1));
    server.hang_up();
    server.until("the new policy", |server| server.run(QUESTION).1.starts_with("refused"));
    assert!(server.log().contains("autoApprovers.services has no effect"), "{}", server.log());
    let (good, text) = server.run("policy test");
    assert!(good && text == "The policy has no tests\n", "{text}");
    server.policy("# as it was written once\nacls:\n  - action: accept\n    src: [100.64.0.1]\n    dst: ['100.64.0.2:22']\n");
    server.hang_up();
    let by = "allowed by acls[0] (line 3)";
    server.until("the policy in YAML", |server| server.run(QUESTION).1.starts_with(by));
}

#[test]
fn at_start_a_bad_file_is_an_error_and_failing_tests_a_warning() {
    let mut server = Server::new("start", "  mode: file\n  path: POLICY\n");
    let path = server.policy("{\"acls\":\n[}");
    let config = server.folder.join("config.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("POLICY", &path.display().to_string())).unwrap();
    let (good, text) = server.run("serve");
    assert!(!good && text.contains("policy.hujson: line 2, column 2: "), "{text}");
    server.policy(FAILING);
    server.start();
    let log = server.log();
    assert!(log.contains("expected ALLOWED, got DENIED"), "{log}");
    let (good, text) = server.run("policy test");
    assert!(
        !good && text.contains("line 2: 100.64.0.1 -> 100.64.0.2:22: expected ALLOWED"),
        "{text}"
    );
    assert!(server.run(QUESTION).1.starts_with("refused"));
}
