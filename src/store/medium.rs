//! Where the bytes of a database lie: a file, or memory that can be told to fail.
//!
//! redb brings a backend of its own; ours takes one `flock` and no byte-range locks (which fail on
//! some router file systems), counts what is written, and survives the database that is opened on
//! it, so that it can be opened again after a failed write.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::header;

/// Bytes that a database can be opened on.
pub trait Medium: fmt::Debug + Send + Sync {
    /// How many there are.
    fn size(&self) -> io::Result<u64>;
    /// Fills `into` from `at`; past the end is an error.
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
    /// Writes `bytes` at `at`.
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts, or extends with zeros.
    fn resize(&self, size: u64) -> io::Result<()>;
    /// Returns when all that was written will survive a loss of power.
    fn sync(&self) -> io::Result<()>;
}

impl Medium for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, at)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A database in memory, gone with the last of its clones. For tests: it can be slow,
/// full or failing.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Cells>>);

const BLOCK: usize = 4096;

#[derive(Debug, Default)]
struct Cells {
    bytes: Vec<u8>,
    /// Which blocks were ever written: the others are holes.
    blocks: BTreeSet<usize>,
    /// How many blocks can be written, if there is a limit.
    capacity: Option<usize>,
    /// How many more writes and syncs succeed, if not all do.
    fuse: Option<u32>,
    sync_time: Duration,
}

impl Memory {
    /// There is room for `blocks` more blocks of 4 KiB before the disk is full; `None` is no
    /// limit.
    pub fn set_room(&self, blocks: Option<usize>) {
        self.with(|cells| cells.capacity = blocks.map(|blocks| cells.blocks.len() + blocks));
    }

    /// After `calls` more writes or syncs each one fails; `None` mends it.
    pub fn set_fuse(&self, calls: Option<u32>) {
        self.with(|cells| cells.fuse = calls);
    }

    /// How long each sync takes, also the one that is under way.
    pub fn set_sync_time(&self, time: Duration) {
        self.with(|cells| cells.sync_time = time);
    }

    /// A medium of its own with the bytes as they are now, without limits.
    pub fn copy(&self) -> Self {
        let bytes = self.with(|cells| cells.bytes.clone());
        Self(Arc::new(Mutex::new(Cells { bytes, ..Cells::default() })))
    }

    /// The bytes as they are now.
    pub fn bytes(&self) -> Vec<u8> {
        self.with(|cells| cells.bytes.clone())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Cells) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<Vec<u8>> for Memory {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Cells { bytes, ..Cells::default() })))
    }
}

impl Cells {
    fn occupy(&mut self, blocks: Range<usize>) -> io::Result<()> {
        for block in blocks {
            if self.capacity.is_some_and(|capacity| self.blocks.len() >= capacity)
                && !self.blocks.contains(&block)
            {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.blocks.insert(block);
        }
        Ok(())
    }

    fn burn(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the medium was told to fail")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl Medium for Memory {
    fn size(&self) -> io::Result<u64> {
        Ok(self.with(|cells| cells.bytes.len()) as u64)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.with(|cells| {
            let from = usize::try_from(at).ok().and_then(|at| cells.bytes.get(at..));
            let part = from.and_then(|from| from.get(..into.len()));
            into.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|cells| {
            cells.burn()?;
            let at = usize::try_from(at).map_err(|_| io::ErrorKind::StorageFull)?;
            let end = at.checked_add(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            cells.occupy(at / BLOCK..end.div_ceil(BLOCK))?;
            let size = cells.bytes.len().max(end);
            cells.bytes.resize(size, 0);
            cells.bytes.get_mut(at..end).ok_or(io::ErrorKind::StorageFull)?.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).map_err(|_| io::ErrorKind::StorageFull)?;
        self.with(|cells| {
            cells.bytes.resize(size, 0);
            cells.blocks.split_off(&size.div_ceil(BLOCK));
        });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.with(Cells::burn)?;
        let begun = Instant::now();
        while begun.elapsed() < self.with(|cells| cells.sync_time) {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// What redb sees of a medium.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    medium: Arc<dyn Medium>,
    /// It was empty: the database on it is made by us.
    new: bool,
    /// Bytes written since the last [`Self::take_written`]; 32 bits because small processors have
    /// no wider atomics, and enough for one commit.
    written: Arc<AtomicU32>,
}

impl Backend {
    pub(super) fn new(medium: Arc<dyn Medium>) -> Self {
        let new = medium.size().is_ok_and(|size| size == 0);
        Self { medium, new, written: Arc::default() }
    }

    /// What [`header::check`] looks at: how the medium begins, and its size.
    pub(super) fn head(&self) -> io::Result<(Vec<u8>, u64)> {
        let size = self.medium.size()?;
        let mut head = vec![0; size.min(header::FIELDS as u64) as usize];
        self.medium.read(0, &mut head)?;
        Ok((head, size))
    }

    pub(super) fn medium(&self) -> &dyn Medium {
        &*self.medium
    }

    pub(super) fn take_written(&self) -> u32 {
        self.written.swap(0, Ordering::Relaxed)
    }
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.medium.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.medium.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.medium.size()?;
        self.medium.resize(len)?;
        if len > before {
            // The header that redb writes next states this length, and redb opens no file that is
            // shorter than its header says: the length may not be lost while that is not.
            self.medium.sync()?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.medium.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.written.fetch_add(u32::try_from(data.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
        if self.new && offset == 0 {
            return self.medium.write(offset, &header::with_small_regions(data));
        }
        self.medium.write(offset, data)
    }
}
