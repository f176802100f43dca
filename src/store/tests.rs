use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gramscale_proto::policy::Role;
use gramscale_proto::tailnet::record::{
    ApiKey, ApiKeyId, AuthKey, AuthKeyId, Expiry, Host, Node, NodeId, RegisterMethod, Secret, Soft,
    User, UserId,
};
use gramscale_proto::tailnet::write::{
    DerpMapText, Meta, NextIds, Pinned, PolicyText, Snapshot, Write,
};
use gramscale_proto::wire::key::{MachineKey, NodeKey};
use gramscale_proto::wire::sorted::Map;
use gramscale_proto::wire::time::Timestamp;
use gramscale_rt::{block_on, spawn};

use super::schema::{self, MIGRATIONS};
use super::*;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gramscale-{}-{name}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn db(&self) -> PathBuf {
        self.0.join("state.redb")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn user(id: u64) -> Write {
    Write::PutUser(User {
        id: UserId(id),
        name: format!("user-{id}"),
        display_name: String::new(),
        email: String::new(),
        provider_id: String::new(),
        provider: String::new(),
        picture_url: String::new(),
        created: Timestamp::from_secs(1_800_000_000),
        role: Role::Member,
    })
}

fn node(id: u64) -> Write {
    Write::PutNode(Node {
        id: NodeId(id),
        machine: MachineKey([id as u8; 32]),
        key: NodeKey([id as u8; 32]),
        user: Some(UserId(1)),
        tags: Vec::new(),
        hostname: format!("host-{id}"),
        name: format!("host-{id}"),
        renamed: false,
        v4: Some([100, 64, 0, id as u8].into()),
        v6: None,
        created: Timestamp::from_secs(1_800_000_000),
        expiry: None,
        ephemeral: false,
        method: RegisterMethod::AuthKey,
        auth_key: None,
        approved_routes: Vec::new(),
        approved: true,
    })
}

fn soft(id: u64, text: usize) -> Write {
    let host = Host { os_version: "x".repeat(text), ..Host::default() };
    Write::PutSoft(NodeId(id), Soft { host, ..Soft::default() })
}

fn expected(writes: impl IntoIterator<Item = Write>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    writes.into_iter().for_each(|write| snapshot.apply(write));
    disk::raise_next(&mut snapshot);
    snapshot
}

fn reopened(memory: &Memory) -> Snapshot {
    Store::open_memory(&memory.copy()).unwrap().1
}

#[test]
fn keeps_everything() {
    let folder = Folder::new("keeps");
    let writes = vec![
        user(1),
        user(2),
        node(1),
        soft(1, 9000),
        Write::DeleteUser(UserId(2)),
        Write::PutPolicy(PolicyText { text: "{}".into(), at: Timestamp(3) }),
        Write::PutMeta(Meta::Next(NextIds { user: UserId(3), ..NextIds::default() })),
    ];
    let (store, snapshot) = Store::open(&folder.db(), CACHE).unwrap();
    assert_eq!(snapshot, Snapshot::default());
    block_on(async {
        store.commit(writes.clone()).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(store.commit(vec![user(3)]).await.unwrap_err().kind, Kind::Closed);
    });
    let (store, snapshot) = Store::open(&folder.db(), CACHE).unwrap();
    assert_eq!(snapshot, expected(writes));
    block_on(store.commit(vec![Write::DeleteNode(NodeId(1))])).unwrap();
    drop(store);
    let (_, snapshot) = Store::open(&folder.db(), CACHE).unwrap();
    assert_eq!((snapshot.nodes, snapshot.soft), (Map::new(), Map::new()));
    assert_eq!(mode(&folder.db()), 0o600);
    assert_eq!(mode(&folder.0), 0o700);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn waiting_callers_share_a_commit() {
    let memory = Memory::default();
    let (store, _) = Store::open_memory(&memory).unwrap();
    memory.set_sync_time(Duration::from_millis(60));
    block_on(async {
        let start = Instant::now();
        let first = spawn(store.commit(vec![user(1)]));
        gramscale_rt::sleep(Duration::from_millis(10)).await;
        let rest: Vec<_> = (2..50).map(|id| spawn(store.commit(vec![user(id)]))).collect();
        first.await.unwrap();
        assert_eq!(store.figures().commits, 1);
        for task in rest {
            task.await.unwrap();
        }
        assert_eq!(store.figures().commits, 2);
        let elapsed = start.elapsed();
        assert!(elapsed >= Duration::from_millis(120), "{elapsed:?}");
    });
    assert_eq!(reopened(&memory), expected((1..50).map(user)));
}

#[test]
fn a_failure_reaches_all_who_wait_and_nothing_slips_between() {
    let memory = Memory::default();
    let (store, _) = Store::open_memory(&memory).unwrap();
    memory.set_sync_time(Duration::from_millis(30));
    block_on(async {
        store.commit(vec![user(1)]).await.unwrap();
        memory.set_fuse(Some(0));
        let (a, b) = (store.commit(vec![user(2)]), store.commit(vec![user(3)]));
        let a = spawn(a);
        gramscale_rt::sleep(Duration::from_millis(5)).await;
        let behind = store.commit(vec![user(4)]);
        assert!(matches!(a.await.unwrap_err().kind, Kind::Io("write to", _)));
        memory.set_fuse(None);
        // The other two may still act on what the first one has taken back.
        assert!(store.commit(vec![user(5)]).await.is_err());
        assert!(b.await.is_err());
        assert!(store.commit(vec![user(6)]).await.is_err());
        assert!(behind.await.is_err());
        store.commit(vec![user(7)]).await.unwrap();
        assert_eq!((store.figures().commits, store.figures().failed), (2, 1));
    });
    assert_eq!(reopened(&memory), expected([user(1), user(7)]));
}

#[test]
fn a_store_that_failed_is_well_again_when_a_commit_would_succeed() {
    let memory = Memory::default();
    let (store, _) = Store::open_memory(&memory).unwrap();
    block_on(async {
        assert!(store.is_well() && store.is_settled());
        memory.set_fuse(Some(0));
        let (a, b) = (store.commit(vec![user(1)]), store.commit(vec![user(2)]));
        assert!(!store.is_settled());
        assert!(a.await.is_err());
        // The other has yet to take back what it planned.
        assert!(!store.is_well() && !store.is_settled());
        assert!(b.await.is_err());
        assert!(store.is_settled());
        assert!(store.enqueue(Job::Probe).await.is_err());
        assert!(!store.is_well());
        memory.set_fuse(None);
        store.enqueue(Job::Probe).await.unwrap();
        assert!(store.is_well() && store.is_settled());
    });
    assert_eq!(reopened(&memory), Snapshot::default());
}

#[test]
fn a_dropped_caller_does_not_block_the_store() {
    let memory = Memory::default();
    let (store, _) = Store::open_memory(&memory).unwrap();
    block_on(async {
        memory.set_fuse(Some(0));
        let (a, b, c) =
            (store.commit(vec![user(1)]), store.commit(vec![user(2)]), store.commit(vec![]));
        drop(b);
        assert!(a.await.is_err());
        memory.set_fuse(None);
        drop(c);
        store.commit(vec![user(3)]).await.unwrap();
    });
    assert_eq!(reopened(&memory), expected([user(3)]));
}

#[test]
fn a_full_disk_is_survived() {
    let memory = Memory::default();
    let (store, _) = Store::open_memory(&memory).unwrap();
    block_on(async {
        store.commit(vec![user(1)]).await.unwrap();
        memory.set_room(Some(200));
        let mut stored = vec![user(1)];
        let mut refused = 0;
        for id in 1..80 {
            match store.commit(vec![soft(id, 40_000)]).await {
                Ok(()) => stored.push(soft(id, 40_000)),
                Err(error) => {
                    assert_eq!(error.kind, Kind::Full);
                    assert!(error.to_string().contains("free some space"), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 10 && stored.len() > 10, "{refused} {}", stored.len());
        assert_eq!(reopened(&memory), expected(stored.clone()));
        // Small changes still find room, and room makes large ones work again.
        store.commit(vec![user(2)]).await.unwrap();
        memory.set_room(None);
        store.commit(vec![soft(99, 40_000)]).await.unwrap();
        stored.extend([user(2), soft(99, 40_000)]);
        assert_eq!(reopened(&memory), expected(stored));
    });
}

#[test]
fn a_crash_at_any_write_loses_nothing_acknowledged() {
    // The medium stops at its n-th write, for each n; what was said to be stored must be there.
    let mut undecided = 0;
    for fuse in 0..120 {
        let memory = Memory::default();
        let (store, _) = Store::open_memory(&memory).unwrap();
        memory.set_fuse(Some(fuse));
        let (acknowledged, failed) = block_on(async {
            let mut acknowledged = Vec::new();
            for id in 1..12 {
                let writes = vec![node(id), soft(id, 300), soft(1, id as usize)];
                if store.commit(writes.clone()).await.is_err() {
                    return (acknowledged, writes);
                }
                acknowledged.extend(writes);
            }
            (acknowledged, Vec::new())
        });
        let there = reopened(&memory);
        let without = expected(acknowledged.clone());
        let with = expected(acknowledged.into_iter().chain(failed));
        assert!(there == without || there == with, "{fuse}");
        undecided += usize::from(there != without);
        // If we live on, what failed is not there, whether it had arrived or not.
        memory.set_fuse(None);
        block_on(store.commit(vec![user(1)])).unwrap();
        let mut now = without;
        now.apply(user(1));
        disk::raise_next(&mut now);
        assert_eq!(reopened(&memory), now, "{fuse}");
    }
    assert!(undecided > 0);
}

#[test]
fn what_is_stored_already_costs_nothing() {
    let memory = Memory::default();
    let (store, _) = Store::open_memory(&memory).unwrap();
    block_on(async {
        store.commit(vec![user(1), node(1), soft(1, 10)]).await.unwrap();
        let before = store.figures();
        store.commit(vec![soft(1, 11), node(1), soft(1, 10)]).await.unwrap();
        store.commit(vec![Write::DeleteSoft(NodeId(5))]).await.unwrap();
        store.commit(vec![]).await.unwrap();
        assert_eq!(store.figures(), before);
        store.commit(vec![soft(1, 10), soft(1, 11)]).await.unwrap();
        assert_eq!(store.figures().commits, before.commits + 1);
    });
    assert_eq!(reopened(&memory), expected([user(1), node(1), soft(1, 11)]));
}

#[test]
fn numbers_are_never_used_again() {
    let memory = Memory::default();
    let next =
        |user| Write::PutMeta(Meta::Next(NextIds { user: UserId(user), ..NextIds::default() }));
    let (store, _) = Store::open_memory(&memory).unwrap();
    block_on(async {
        store.commit(vec![next(2), user(1)]).await.unwrap();
        store.commit(vec![next(10), user(9)]).await.unwrap();
    });
    assert_eq!(reopened(&memory).next.user, UserId(10));
    block_on(store.commit(vec![Write::DeleteUser(UserId(9))])).unwrap();
    assert_eq!(reopened(&memory).next.user, UserId(10));
    // Also by a later process, which was never told.
    let memory = memory.copy();
    let (store, snapshot) = Store::open_memory(&memory).unwrap();
    assert_eq!(snapshot.users.len(), 1);
    block_on(store.commit(vec![user(20), user(30)])).unwrap();
    block_on(store.close()).unwrap();
    let (store, _) = Store::open_memory(&memory).unwrap();
    block_on(store.commit(vec![Write::DeleteUser(UserId(30))])).unwrap();
    assert_eq!(reopened(&memory).next.user, UserId(31));
}

#[test]
fn a_commit_writes_little() {
    let memory = Memory::default();
    let (store, _) = Store::open_memory(&memory).unwrap();
    block_on(async {
        let all: Vec<_> = (1..=100).flat_map(|id| [node(id), soft(id, 500)]).collect();
        store.commit(all).await.unwrap();
        let before = store.figures().written;
        for id in 1..=100 {
            store.commit(vec![soft(id, 501)]).await.unwrap();
        }
        let each = (store.figures().written - before) / 100;
        assert!(each < 22_000, "{each} bytes a commit");
        let before = store.figures().written;
        for id in 101..=200 {
            let next = NextIds { node: NodeId(id + 1), ..NextIds::default() };
            let writes = vec![Write::PutMeta(Meta::Next(next)), node(id)];
            store.commit(writes).await.unwrap();
        }
        let each = (store.figures().written - before) / 100;
        assert!(each < 26_000, "{each} bytes a registration");
    });
}

#[test]
fn a_second_instance_is_told_which_file() {
    let folder = Folder::new("second");
    let (_store, _) = Store::open(&folder.db(), CACHE).unwrap();
    let error = Store::open(&folder.db(), CACHE).err().unwrap();
    assert_eq!(error.kind, Kind::InUse);
    assert!(error.to_string().contains("state.redb; stop it first"), "{error}");
}

#[test]
fn other_files_are_left_alone() {
    let folder = Folder::new("others");
    fs::create_dir_all(&folder.0).unwrap();
    let mut sqlite = b"SQLite format 3\0".to_vec();
    sqlite.resize(8192, 0);
    for (bytes, kind) in [
        (sqlite, Kind::Sqlite),
        (vec![0; 8192], Kind::NotOurs),
        (b"key: value\n".to_vec(), Kind::NotOurs),
    ] {
        fs::write(folder.db(), &bytes).unwrap();
        assert_eq!(Store::open(&folder.db(), CACHE).err().unwrap().kind, kind);
        assert_eq!(fs::read(folder.db()).unwrap(), bytes);
    }
    fs::write(folder.db(), b"").unwrap();
    assert_eq!(Store::open(&folder.db(), CACHE).unwrap().1, Snapshot::default());
}

#[test]
fn damage_is_found_and_kept() {
    let memory = Memory::default();
    let (store, _) = Store::open_memory(&memory).unwrap();
    block_on(async {
        store.commit((1..60).map(|id| soft(id, 300)).collect()).await.unwrap();
        store.close().await.unwrap();
    });
    let bytes = memory.bytes();
    let whole = reopened(&memory);
    let needle = b"xxxxxxxxxxxxxxxx";
    let at = bytes.windows(16).position(|part| part == needle).unwrap();
    let mut flipped = bytes.clone();
    flipped[at] ^= 1;
    let error = Store::open_memory(&Memory::from(flipped)).err().unwrap();
    assert!(matches!(error.kind, Kind::Damaged(_)), "{error}");
    assert!(error.to_string().contains("put a backup in its place"), "{error}");
    let cut = Memory::from(bytes[..bytes.len() - 4096].to_vec());
    assert!(matches!(Store::open_memory(&cut).err().unwrap().kind, Kind::Damaged(_)));
    assert_eq!(cut.bytes(), bytes[..bytes.len() - 4096]);
    // Any other change is found, or without consequence. (A step that is no divisor of the page
    // size reaches each field of it sooner or later.)
    let pages = bytes.chunks(4096).enumerate().filter(|(_, page)| page.iter().any(|b| *b != 0));
    let used = pages.flat_map(|(at, _)| at * 4096..(at + 1) * 4096);
    let (mut found, mut stopped) = (0, 0);
    for at in used.step_by(499) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let memory = Memory::from(flipped);
        match std::panic::catch_unwind(|| Store::open_memory(&memory).map(|opened| opened.1)) {
            Ok(Ok(snapshot)) => assert_eq!(snapshot, whole, "{at}"),
            Ok(Err(_)) => found += 1,
            // The program would stop, with the sentence of `last_words`.
            Err(_) => stopped += 1,
        }
    }
    assert!(found > 10 && stopped < found, "{found} {stopped}");
}

#[test]
fn a_newer_schema_is_refused() {
    let memory = Memory::default();
    {
        let table: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("records");
        let backend = medium::Backend::new(Arc::new(memory.clone()));
        let database = redb::Builder::new().create_with_backend(backend).unwrap();
        let transaction = database.begin_write().unwrap();
        let newer = 7_u32.to_le_bytes();
        transaction.open_table(table).unwrap().insert(record::SCHEMA_KEY, &newer[..]).unwrap();
        transaction.commit().unwrap();
    }
    let error = Store::open_memory(&memory).err().unwrap();
    assert_eq!(error.kind, Kind::Newer(7, 2));
    assert!(error.to_string().contains("newer gramscale (schema 7, this one knows 2)"), "{error}");
}

/// Databases that a little-endian machine wrote with schema 1, 2, ..., as people have them on their
/// disks: lines of an offset and bytes, the rest is zeros.
const SCHEMAS: [&str; 2] =
    [include_str!("testdata/schema-1.txt"), include_str!("testdata/schema-2.txt")];

/// What is in each: one record of each kind.
fn one_of_each() -> Vec<Write> {
    let auth_key = AuthKey {
        id: AuthKeyId(3),
        prefix: "0123456789ab".into(),
        secret: Secret::Sha256([5; 32]),
        user: Some(UserId(1)),
        tags: vec!["tag:a".into()],
        reusable: true,
        ephemeral: false,
        preapproved: true,
        used: true,
        expiry: Some(Expiry::In(Duration::from_secs(3600))),
        created: Timestamp(-1),
    };
    let api_key = ApiKey {
        id: ApiKeyId(300),
        prefix: "ba9876543210".into(),
        secret: Secret::Sha256([8; 32]),
        expiry: Some(Expiry::At(Timestamp(1 << 60))),
        created: Timestamp(5),
        last_seen: Some(Timestamp(6)),
    };
    let pinned = Pinned { host: "h".into(), key: vec![1, 2], certificate: vec![0xff; 300] };
    let map = DerpMapText { text: "{}".into(), at: Timestamp(7) };
    vec![
        user(1),
        node(1),
        soft(1, 500),
        Write::PutAuthKey(auth_key),
        Write::PutApiKey(api_key),
        Write::PutPolicy(PolicyText { text: "// é\n{}".into(), at: Timestamp(3) }),
        Write::PutMeta(Meta::NoiseKey([6; 32].into())),
        Write::PutMeta(Meta::RelayKey([7; 32].into())),
        Write::PutMeta(Meta::Pinned(pinned)),
        Write::PutMeta(Meta::DerpMap("https://d/".into(), map)),
        Write::PutMeta(Meta::Primaries([("10.0.0.0/8".parse().unwrap(), NodeId(1))].into())),
    ]
}

#[test]
fn files_of_other_machines_and_times_are_read() {
    if std::env::var_os("UPDATE_TESTDATA").is_some() {
        let memory = Memory::default();
        let (store, _) = Store::open_memory(&memory).unwrap();
        block_on(store.commit(one_of_each())).unwrap();
        block_on(store.close()).unwrap();
        let newest = format!("src/store/testdata/schema-{}.txt", schema::version(MIGRATIONS));
        fs::write(newest, to_text(&memory.bytes())).unwrap();
        return;
    }
    assert_eq!(SCHEMAS.len() as u32, schema::version(MIGRATIONS));
    for text in SCHEMAS {
        let memory = Memory::from(from_text(text));
        let (store, snapshot) = Store::open_memory(&memory).unwrap();
        assert_eq!(snapshot, expected(one_of_each()));
        block_on(store.commit(vec![user(9)])).unwrap();
        assert_eq!(reopened(&memory), expected(one_of_each().into_iter().chain([user(9)])));
    }
}

/// `OFFSET HEX`, where a run of one byte is `BYTExCOUNT`; the first line is the size.
fn to_text(bytes: &[u8]) -> String {
    let mut text = format!("{}\n", bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let run = bytes[at..].iter().take_while(|byte| **byte == bytes[at]).count();
        let mixed = bytes[at..].chunk_by(|a, b| a == b).take_while(|run| run.len() < 8);
        let mixed = mixed.map(<[u8]>::len).sum::<usize>().min(40);
        match (bytes[at], run) {
            (0, 8..) => at += run,
            (byte, 8..) => {
                text += &format!("{at} {byte:02x}x{run}\n");
                at += run;
            }
            _ => {
                let hex: String =
                    bytes[at..at + mixed].iter().map(|byte| format!("{byte:02x}")).collect();
                text += &format!("{at} {hex}\n");
                at += mixed;
            }
        }
    }
    text
}

fn from_text(text: &str) -> Vec<u8> {
    let mut lines = text.lines();
    let mut bytes = vec![0; lines.next().unwrap().parse().unwrap()];
    for line in lines {
        let (at, part) = line.split_once(' ').unwrap();
        let at: usize = at.parse().unwrap();
        let byte = |hex: &str| u8::from_str_radix(hex, 16).unwrap();
        match part.split_once('x') {
            Some((hex, count)) => {
                bytes[at..at + count.parse::<usize>().unwrap()].fill(byte(hex));
            }
            None => {
                for (n, pair) in part.as_bytes().chunks(2).enumerate() {
                    bytes[at + n] = byte(std::str::from_utf8(pair).unwrap());
                }
            }
        }
    }
    bytes
}

#[test]
fn backups_are_stores() {
    let folder = Folder::new("backup");
    let (store, _) = Store::open(&folder.db(), CACHE).unwrap();
    let copy = folder.0.join("copy.redb");
    block_on(async {
        store.commit(vec![user(1), node(1)]).await.unwrap();
        fs::write(&copy, "an older one").unwrap();
        store.backup(copy.clone()).await.unwrap();
        store.commit(vec![user(2)]).await.unwrap();
        let error = store.backup(folder.db()).await.unwrap_err();
        assert!(error.to_string().contains("the database itself"), "{error}");
        assert!(store.backup(folder.0.join("no/such/folder")).await.is_err());
        store.commit(vec![user(3)]).await.unwrap();
    });
    let (_, snapshot) = Store::open(&copy, CACHE).unwrap();
    assert_eq!(snapshot, expected([user(1), node(1)]));
    assert_eq!(mode(&copy), 0o600);
    drop(store);
    let (_, snapshot) = Store::open(&folder.db(), CACHE).unwrap();
    assert_eq!(snapshot, expected([user(1), node(1), user(2), user(3)]));
}

#[test]
fn a_new_file_grows_over_its_small_regions() {
    let folder = Folder::new("regions");
    let (store, _) = Store::open(&folder.db(), CACHE).unwrap();
    let field = |at: u64| {
        let mut bytes = [0; 4];
        fs::File::open(folder.db()).unwrap().read_exact_at(&mut bytes, at).unwrap();
        u32::from_le_bytes(bytes)
    };
    assert_eq!((field(20), field(24)), (1 << 14, 0), "pages of a region; full regions");
    let writes: Vec<_> = (1..=10).map(|id| soft(id, 9 << 20)).collect();
    block_on(async {
        for write in &writes {
            store.commit(vec![write.clone()]).await.unwrap();
        }
        // What lies in both is freed, and room in both is used again.
        store.commit(vec![soft(1, 7), soft(9, 7)]).await.unwrap();
        store.commit(vec![soft(1, 9 << 20), soft(9, 9 << 20)]).await.unwrap();
        store.close().await.unwrap();
    });
    drop(store);
    assert!(field(24) > 0, "{} pages in one region", field(28));
    let (_, snapshot) = Store::open(&folder.db(), CACHE).unwrap();
    assert_eq!(snapshot, expected(writes));
}

#[test]
fn a_wasteful_file_is_written_anew() {
    let folder = Folder::new("waste");
    let (store, _) = Store::open(&folder.db(), CACHE).unwrap();
    block_on(async {
        store.commit((1..200).map(|id| soft(id, 20_000)).collect()).await.unwrap();
        store.commit((1..199).map(|id| Write::DeleteSoft(NodeId(id))).collect()).await.unwrap();
    });
    // As after a crash: without the trimming of a clean close.
    let crashed = folder.0.join("crashed.redb");
    fs::copy(folder.db(), &crashed).unwrap();
    let before = fs::metadata(&crashed).unwrap().len();
    assert!(before > 4 << 20, "{before}");
    let (store, snapshot) = Store::open(&crashed, CACHE).unwrap();
    assert_eq!(snapshot, expected([soft(199, 20_000)]));
    let after = fs::metadata(&crashed).unwrap().len();
    assert!(after < before / 3, "{after}");
    assert_eq!(Store::open(&crashed, CACHE).err().unwrap().kind, Kind::InUse);
    block_on(store.commit(vec![user(1)])).unwrap();
    drop(store);
    let (_, snapshot) = Store::open(&crashed, CACHE).unwrap();
    assert_eq!(snapshot, expected([soft(199, 20_000), user(1)]));
    assert!(!folder.0.join("crashed.redb.new").exists());
}

#[test]
fn bytes_of_a_day() {
    let mut figures = Figures::default();
    figures.add(5, 20_000);
    figures.add(7, 20_000);
    assert_eq!((figures.written_on(20_000), figures.written_on(20_001)), (12, 0));
    figures.add(3, 20_001);
    assert_eq!((figures.written_on(20_001), figures.written_on(20_000)), (3, 0));
    assert_eq!(figures.written, 15);
}
