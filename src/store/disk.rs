//! The database itself, synchronous: opening, committing, copying.

use std::cell::Cell;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use gramscale_proto::tailnet::write::{Meta, NextIds, Snapshot, Write};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable};

use super::error::{Kind, StoreError};
use super::header;
use super::medium::{Backend, Medium};
use super::record::{self, Op, SCHEMA_KEY};
use super::schema::{self, MIGRATIONS, Plan, TABLE};

/// A file is written anew at start when it is larger than this ...
const WASTE_MIN: u64 = 2 << 20;
/// ... and than this many times what lies in it.
const WASTE_FACTOR: u64 = 4;

/// An open database.
pub(super) struct Disk {
    file: Arc<Path>,
    backend: Backend,
    cache: usize,
    /// `None` after a failure, until it could be opened again.
    database: Option<Database>,
    /// What a failed commit would have replaced. It may have gone in before the error came (a
    /// sync that fails), but those who asked for it were told that it did not: the next commit
    /// puts these back first.
    revert: Vec<Op>,
    /// The numbers that the next records get. They follow from the records that are there, so
    /// they are written only when one goes.
    next: NextIds,
}

impl Disk {
    /// Opens or makes the database in `path`. `cache` is in bytes.
    pub(super) fn open(path: &Path, cache: usize) -> Result<(Self, Snapshot), StoreError> {
        let name: Arc<Path> = path.into();
        let (medium, new) = match existing(&name)? {
            Some(medium) => (medium, None),
            None => match make(&name)? {
                Made::Here(medium, draft) => (medium, Some(draft)),
                Made::Meanwhile => {
                    (existing(&name)?.ok_or_else(|| StoreError::new(&name, Kind::InUse))?, None)
                }
            },
        };
        let (mut disk, snapshot) = Self::open_on(medium, Arc::clone(&name), cache)?;
        if let Some(draft) = new {
            settle(&draft, &name).map_err(|e| StoreError::io(&name, "create", &e))?;
        } else if wasteful(disk.backend.medium().size().unwrap_or(0), used(&snapshot))
            && let Err(error) = disk.rewrite()
        {
            log::warn!("the database was not made smaller: {error}");
        }
        Ok((disk, snapshot))
    }

    /// Opens the database on `medium`, or makes one there if it is empty; `file` is what errors
    /// call it.
    pub(super) fn open_on(
        medium: Arc<dyn Medium>,
        file: Arc<Path>,
        cache: usize,
    ) -> Result<(Self, Snapshot), StoreError> {
        let mut disk = Self {
            file,
            backend: Backend::new(medium),
            cache,
            database: None,
            revert: Vec::new(),
            next: NextIds::default(),
        };
        disk.reopen()?;
        let snapshot = disk.load()?;
        Ok((disk, snapshot))
    }

    /// Does all of `writes` or nothing, and returns when they are safe. What already is as it
    /// should be costs nothing.
    pub(super) fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let mut ops = self.revert.clone();
        self.encode(writes, &mut ops)
            .map_err(|e| self.error(Kind::Io("encode a record for", e.to_string())))?;
        last_of_each_key(&mut ops);
        let before = changed(self.open_database()?, &mut ops).map_err(|e| self.failed(e))?;
        if ops.is_empty() {
            self.revert.clear();
            return Ok(());
        }
        match store(self.open_database()?, &ops) {
            Ok(()) => {
                self.revert.clear();
                Ok(())
            }
            Err(error) => {
                // The oldest value of a key is the one to go back to.
                let mut revert = before;
                revert.append(&mut self.revert);
                last_of_each_key(&mut revert);
                self.revert = revert;
                Err(self.failed(error))
            }
        }
    }

    /// Does a commit that changes nothing.
    pub(super) fn probe(&mut self) -> Result<(), StoreError> {
        self.commit(&[])?;
        self.open_database()?;
        self.migrate(&[]).map_err(|e| self.failed(e))
    }

    /// Closes the database, so that the next start need not check it. Returns the bytes that
    /// this took.
    pub(super) fn close(mut self) -> (u32, Result<(), StoreError>) {
        let result = if self.revert.is_empty() { Ok(()) } else { self.commit(&[]) };
        self.database = None;
        (self.take_written(), result)
    }

    fn encode(&mut self, writes: &[Write], ops: &mut Vec<Op>) -> postcard::Result<()> {
        let mut goes = false;
        for write in writes {
            match write {
                Write::PutMeta(Meta::Next(next)) => self.next = *next,
                write => record::encode(write, ops)?,
            }
            goes |= matches!(
                write,
                Write::DeleteUser(_)
                    | Write::DeleteNode(_)
                    | Write::DeleteAuthKey(_)
                    | Write::DeleteApiKey(_)
            );
        }
        if goes {
            record::encode(&Write::PutMeta(Meta::Next(self.next)), ops)?;
        }
        Ok(())
    }

    /// Writes a copy of the database to `path`, replacing what is there.
    pub(super) fn backup(&mut self, path: &Path) -> Result<(), StoreError> {
        let target: Arc<Path> = path.into();
        let fail = |e: io::Error| StoreError::io(&target, "write the backup", &e);
        if same_file(path, &self.file) {
            let why = "it is the database itself; name another file".into();
            return Err(StoreError::new(&target, Kind::Io("write a backup over", why)));
        }
        self.open_database()?;
        let draft = draft(path);
        let file = private(&draft, true).map_err(fail)?;
        let copied = self.copy_to(Backend::new(Arc::new(file)));
        copied
            .and_then(|_| settle(&draft, path).map_err(fail))
            .inspect_err(|_| _ = fs::remove_file(&draft))
    }

    /// Bytes handed to the medium since this was last asked.
    pub(super) fn take_written(&self) -> u32 {
        self.backend.take_written()
    }

    /// Replaces the file by one with nothing but the records.
    fn rewrite(&mut self) -> Result<(), StoreError> {
        let draft = draft(&self.file);
        let fail = |e: io::Error| StoreError::io(&self.file, "rewrite", &e);
        let file = private(&draft, true).map_err(fail)?;
        lock(&file, &self.file)?;
        let backend = Backend::new(Arc::new(file));
        self.copy_to(backend.clone())
            .and_then(|()| settle(&draft, &self.file).map_err(fail))
            .inspect_err(|_| _ = fs::remove_file(&draft))?;
        self.database = None;
        self.backend = backend;
        self.reopen()
    }

    fn copy_to(&self, backend: Backend) -> Result<(), StoreError> {
        let Some(from) = &self.database else { return Err(self.error(Kind::Closed)) };
        (|| -> Result<(), redb::Error> {
            let to =
                redb::Builder::new().set_cache_size(self.cache).create_with_backend(backend)?;
            let transaction = to.begin_write()?;
            {
                let mut table = transaction.open_table(TABLE)?;
                for entry in from.begin_read()?.open_table(TABLE)?.iter()? {
                    let (key, value) = entry?;
                    table.insert(key.value(), value.value())?;
                }
            }
            transaction.commit()?;
            Ok(())
        })()
        .map_err(|e| self.redb("copy", e))
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.database = None;
        let (head, size) =
            self.backend.head().map_err(|e| StoreError::io(&self.file, "read", &e))?;
        if size > 0 {
            header::check(&head, size).map_err(|kind| self.error(kind))?;
        }
        let clean = Rc::new(Cell::new(true));
        let repaired = Rc::clone(&clean);
        let mut database = redb::Builder::new()
            .set_cache_size(self.cache)
            .set_repair_callback(move |_| repaired.set(false))
            .create_with_backend(self.backend.clone())
            .map_err(|e| self.opening(e))?;
        // A repair has compared all checksums; after a clean close nobody has.
        if clean.get()
            && let Err(error) = database.check_integrity()
        {
            // Closing it would commit, which redb takes for impossible now, and panics.
            std::mem::forget(database);
            return Err(self.opening(error));
        }
        self.database = Some(database);
        Ok(())
    }

    fn load(&mut self) -> Result<Snapshot, StoreError> {
        let (schema, empty) = self.schema().map_err(|e| self.redb("read", e))?;
        let steps = match schema::plan(schema.as_deref(), empty, MIGRATIONS) {
            Plan::Ready => None,
            Plan::New => Some(&[][..]),
            Plan::Migrate(steps) => Some(steps),
            Plan::Newer(found) => {
                return Err(self.error(Kind::Newer(found, schema::version(MIGRATIONS))));
            }
            Plan::Unreadable => {
                return Err(self.error(Kind::Damaged("its version can't be read".into())));
            }
        };
        if let Some(steps) = steps {
            self.migrate(steps).map_err(|e| self.redb("bring up to date", e))?;
        }
        let mut snapshot = Snapshot::default();
        let unreadable = self.read_all(&mut snapshot).map_err(|e| self.redb("read", e))?;
        raise_next(&mut snapshot);
        self.next = snapshot.next;
        match unreadable {
            None => Ok(snapshot),
            Some(key) => {
                let why = format!("{} can't be read", record::describe(&key));
                Err(self.error(Kind::Damaged(why)))
            }
        }
    }

    /// The schema record, and whether there is no record at all.
    fn schema(&self) -> Result<(Option<Vec<u8>>, bool), redb::Error> {
        let Some(database) = &self.database else { return Ok((None, false)) };
        let table = match database.begin_read()?.open_table(TABLE) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok((None, true)),
            other => other?,
        };
        let schema = table.get(SCHEMA_KEY)?.map(|value| value.value().to_vec());
        let empty = table.iter()?.next().is_none();
        Ok((schema, empty))
    }

    fn migrate(&self, steps: &[schema::Migration]) -> Result<(), redb::Error> {
        let Some(database) = &self.database else { return Ok(()) };
        let transaction = database.begin_write()?;
        schema::migrate(&mut transaction.open_table(TABLE)?, steps, schema::version(MIGRATIONS))?;
        transaction.commit()?;
        Ok(())
    }

    /// Returns the key of the first record that can't be read.
    fn read_all(&self, snapshot: &mut Snapshot) -> Result<Option<Vec<u8>>, redb::Error> {
        let Some(database) = &self.database else { return Ok(None) };
        for entry in database.begin_read()?.open_table(TABLE)?.iter()? {
            let (key, value) = entry?;
            if record::decode(key.value(), value.value(), snapshot).is_err() {
                return Ok(Some(key.value().to_vec()));
            }
        }
        Ok(None)
    }

    fn open_database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            self.reopen()?;
        }
        self.database.as_ref().ok_or_else(|| self.error(Kind::Closed))
    }

    /// After an error redb refuses to go on with a database; the next use opens it again.
    fn failed(&mut self, error: redb::Error) -> StoreError {
        let database = self.database.take();
        if !matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo) {
            // Closing it would commit, which redb takes for impossible after such an error, and
            // panics. Its memory is lost; this is rare.
            std::mem::forget(database);
        }
        self.redb("write to", error)
    }

    fn opening(&self, error: DatabaseError) -> StoreError {
        match error {
            DatabaseError::Storage(redb::StorageError::Io(e))
                if matches!(
                    e.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                self.error(Kind::Damaged(e.to_string()))
            }
            other => self.redb("open", other.into()),
        }
    }

    fn redb(&self, doing: &'static str, error: redb::Error) -> StoreError {
        match error {
            redb::Error::Io(e) => StoreError::io(&self.file, doing, &e),
            redb::Error::Corrupted(why) => self.error(Kind::Damaged(why)),
            other => self.error(Kind::Io(doing, other.to_string())),
        }
    }

    fn error(&self, kind: Kind) -> StoreError {
        StoreError::new(&self.file, kind)
    }
}

/// Leaves the operations that change something, and returns those that would take them back.
fn changed(database: &Database, ops: &mut Vec<Op>) -> Result<Vec<Op>, redb::Error> {
    let table = database.begin_read()?.open_table(TABLE)?;
    let mut back = Vec::new();
    for Op { key, value } in std::mem::take(ops) {
        let stored = table.get(key.as_slice())?.map(|stored| stored.value().to_vec());
        if stored != value {
            back.push(Op { key: key.clone(), value: stored });
            ops.push(Op { key, value });
        }
    }
    Ok(back)
}

fn store(database: &Database, ops: &[Op]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(TABLE)?;
        for Op { key, value } in ops {
            match value {
                Some(value) => _ = table.insert(key.as_slice(), value.as_slice())?,
                None => _ = table.remove(key.as_slice())?,
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Raises the next numbers above those of the records that are there.
pub(super) fn raise_next(snapshot: &mut Snapshot) {
    let after = |last: Option<u64>| last.map_or(0, |last| last.saturating_add(1));
    let users = snapshot.users.keys().next_back().map(|id| id.0);
    let nodes = snapshot.nodes.keys().next_back().map(|id| id.0);
    let auth_keys = snapshot.auth_keys.keys().next_back().map(|id| id.0);
    let api_keys = snapshot.api_keys.keys().next_back().map(|id| id.0);
    let next = &mut snapshot.next;
    next.user.0 = next.user.0.max(after(users));
    next.node.0 = next.node.0.max(after(nodes));
    next.auth_key.0 = next.auth_key.0.max(after(auth_keys));
    next.api_key.0 = next.api_key.0.max(after(api_keys));
}

/// Leaves the last operation of each key, in the order of the keys.
fn last_of_each_key(ops: &mut Vec<Op>) {
    ops.reverse();
    ops.sort_by(|a, b| a.key.cmp(&b.key));
    ops.dedup_by(|later, first| later.key == first.key);
}

fn wasteful(size: u64, used: u64) -> bool {
    size > WASTE_MIN && size / WASTE_FACTOR > used
}

/// About how many bytes the records take in the file.
fn used(snapshot: &Snapshot) -> u64 {
    // What a record of each kind commonly takes, with its share of half-full pages.
    let records = snapshot.users.len() + snapshot.auth_keys.len() + snapshot.api_keys.len();
    let large = snapshot.nodes.len() + snapshot.soft.len();
    let texts = snapshot.derp_maps.values().map(|map| map.text.len()).sum::<usize>();
    let policy = snapshot.policy.as_ref().map_or(0, |policy| policy.text.len());
    (records * 400 + large * 1500 + texts + policy) as u64
}

/// The file, locked, if there is one that is not empty.
fn existing(path: &Arc<Path>) -> Result<Option<Arc<dyn Medium>>, StoreError> {
    let fail = |e: io::Error| StoreError::io(path, "open", &e);
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(fail)?,
    };
    if file.size().map_err(fail)? == 0 {
        return Ok(None);
    }
    lock(&file, path)?;
    Ok(Some(Arc::new(file)))
}

enum Made {
    /// An empty file beside the place where it is to come, so that a half-made one never lies
    /// there.
    Here(Arc<dyn Medium>, PathBuf),
    /// Somebody else was quicker.
    Meanwhile,
}

fn make(path: &Arc<Path>) -> Result<Made, StoreError> {
    let fail = |e: io::Error| StoreError::io(path, "create", &e);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
    }
    let draft = draft(path);
    let file = private(&draft, false).map_err(fail)?;
    lock(&file, path)?;
    if fs::metadata(path).is_ok_and(|there| there.len() > 0) {
        return Ok(Made::Meanwhile);
    }
    file.set_len(0).map_err(fail)?;
    Ok(Made::Here(Arc::new(file), draft))
}

fn private(path: &Path, empty: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(empty).mode(0o600).open(path)
}

/// A lock that ends with the process. Where the file system has none, there is none.
fn lock(file: &File, path: &Arc<Path>) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::new(path, Kind::InUse)),
        Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(e)) => Err(StoreError::io(path, "lock", &e)),
    }
}

/// Moves a finished file to its place, safely against a loss of power.
fn settle(draft: &Path, path: &Path) -> io::Result<()> {
    File::open(draft)?.sync_all()?;
    fs::rename(draft, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match File::open(folder.unwrap_or(Path::new(".")))?.sync_all() {
        // A file system without such a thing.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

fn draft(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.dev() == b.dev() && a.ino() == b.ino(),
        _ => false,
    }
}
