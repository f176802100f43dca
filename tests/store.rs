//! The store in a process of its own: killed at any moment, and on a damaged file.
//!
//! Each test starts this same program again as the process to watch; `GRAMSCALE_TEST_DB` tells
//! that one apart.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gramscale::store::{CACHE, Store};
use gramscale_proto::policy::Role;
use gramscale_proto::tailnet::record::{Host, NodeId, Soft, User, UserId};
use gramscale_proto::tailnet::write::Write;
use gramscale_proto::wire::time::Timestamp;
use gramscale_rt::block_on;

const DB: &str = "GRAMSCALE_TEST_DB";
const ROUNDS: u32 = 20;

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let folder = folder("kill");
    let db = folder.join("state.redb");
    let mut last = 0;
    for round in 0..ROUNDS {
        let mut child = child("commits_until_killed", &db).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            lines.map_while(Result::ok).filter_map(|line| line.parse::<u64>().ok()).last()
        });
        let mut byte = [0];
        gramscale_rt::random(&mut byte);
        std::thread::sleep(Duration::from_millis(60 + u64::from(byte[0])));
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = reader.join().unwrap().unwrap_or(last);
        let (store, snapshot) = Store::open(&db, CACHE).unwrap();
        let there = snapshot.users.len() as u64;
        assert!(there >= acknowledged, "round {round}: {there} of {acknowledged}");
        assert_eq!(snapshot.users.keys().last().map_or(0, |id| id.0), there, "round {round}");
        assert!(snapshot.soft.len() as u64 == there.min(7), "round {round}");
        last = there;
        // Half of the rounds begin after a clean close.
        if round % 2 == 0 {
            block_on(store.close()).unwrap();
        } else {
            std::mem::forget(store);
            fs::copy(&db, folder.join("copy")).unwrap();
            fs::rename(folder.join("copy"), &db).unwrap();
        }
    }
    assert!(last > 20, "only {last} commits in all rounds");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn commits_until_killed() {
    let Some(db) = std::env::var_os(DB) else { return };
    let (store, snapshot) = Store::open(Path::new(&db), CACHE).unwrap();
    let mut id = snapshot.users.len() as u64;
    block_on(async {
        loop {
            id += 1;
            let host = Host { os: "x".repeat(id as usize % 5000), ..Host::default() };
            let soft = Soft { host, ..Soft::default() };
            let writes = vec![Write::PutUser(user(id)), Write::PutSoft(NodeId(id % 7), soft)];
            store.commit(writes).await.unwrap();
            println!("\n{id}");
        }
    })
}

#[test]
fn damage_that_stops_redb_is_named() {
    let folder = folder("damage");
    let db = folder.join("gramscale.redb");
    let (store, _) = Store::open(&db, CACHE).unwrap();
    block_on(store.commit(vec![Write::PutUser(user(1))])).unwrap();
    block_on(store.close()).unwrap();
    // A length in redb's own bookkeeping, which it believes.
    let mut bytes = fs::read(&db).unwrap();
    let lengths = [56, 0, 0, 0, 188, 0, 0, 0];
    let at = bytes.windows(8).position(|part| part == lengths).unwrap();
    bytes[at + 7] = 0x10;
    fs::write(&db, &bytes).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gramscale"))
        .args(["serve", "--server-url", "http://localhost:1", "--data-dir"])
        .arg(&folder)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("gramscale.redb is damaged (its pages contradict each other)"), "{told}");
    assert!(told.contains("put a backup in its place"), "{told}");
    assert_eq!(fs::read(&db).unwrap(), bytes);
    fs::remove_dir_all(folder).unwrap();
}

fn child(test: &str, db: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(DB, db);
    command
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("gramscale-{}-{name}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

fn user(id: u64) -> User {
    User {
        id: UserId(id),
        name: format!("user-{id}"),
        display_name: String::new(),
        email: String::new(),
        provider_id: String::new(),
        provider: String::new(),
        picture_url: String::new(),
        created: Timestamp::from_secs(1_800_000_000),
        role: Role::Member,
    }
}
