//! What is left of a database when the power goes: any part of what was not synced, at any moment,
//! and once more while the first loss is being mended.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use gramscale_proto::tailnet::record::{Host, NodeId, Soft};
use gramscale_proto::tailnet::write::Write;
use gramscale_proto::wire::sorted::Map;

use super::CACHE;
use super::disk::Disk;
use super::medium::Medium;

/// A medium that remembers what was done to it.
#[derive(Clone, Debug, Default)]
struct Tape(Arc<Mutex<Recording>>);

#[derive(Debug, Default)]
struct Recording {
    bytes: Vec<u8>,
    events: Vec<Event>,
}

#[derive(Clone, Debug)]
enum Event {
    Write(usize, Vec<u8>),
    Resize(usize),
    Sync,
    /// Somebody was told that what was asked for is stored.
    Told,
}

impl Tape {
    fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Recording { bytes, events: Vec::new() })))
    }

    fn recording(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap()
    }

    fn event(&self, event: Event) {
        let mut recording = self.recording();
        event.happen(&mut recording.bytes);
        recording.events.push(event);
    }
}

impl Event {
    fn happen(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, part) => {
                bytes.resize(bytes.len().max(at + part.len()), 0);
                bytes[*at..at + part.len()].copy_from_slice(part);
            }
            Self::Resize(size) => bytes.resize(*size, 0),
            Self::Sync | Self::Told => {}
        }
    }
}

impl Medium for Tape {
    fn size(&self) -> io::Result<u64> {
        Ok(self.recording().bytes.len() as u64)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let recording = self.recording();
        let part = recording.bytes.get(at as usize..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.event(Event::Write(at as usize, bytes.to_vec()));
        Ok(())
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        self.event(Event::Resize(size as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.event(Event::Sync);
        Ok(())
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    /// A commit: some records more, some less, of such sizes that the file grows and shrinks.
    fn writes(&mut self) -> Vec<Write> {
        let most = [300, 9_000, 120_000][self.below(3)];
        (0..=self.below(4))
            .map(|_| {
                let id = NodeId(1 + self.below(30) as u64);
                if self.below(3) == 0 {
                    return Write::DeleteSoft(id);
                }
                let host = Host { os_version: "x".repeat(self.below(most)), ..Host::default() };
                Write::PutSoft(id, Soft { host, ..Soft::default() })
            })
            .collect()
    }

    /// What a loss of power after `events` leaves of a medium that held `bytes`.
    fn lose(&mut self, mut bytes: Vec<u8>, events: &[Event]) -> Vec<u8> {
        let synced = events.iter().rposition(|event| matches!(event, Event::Sync)).unwrap_or(0);
        let (safe, rest) = events.split_at(synced);
        safe.iter().for_each(|event| event.happen(&mut bytes));
        // All of the rest, none of it, or some.
        let lost = self.below(3);
        for event in rest {
            if self.below(2) < lost {
                continue;
            }
            match event {
                // A sector is the least that goes in as a whole. The size is no part of it.
                Event::Write(at, part) if lost == 1 && self.below(4) == 0 => {
                    let size = bytes.len().max(at + part.len());
                    let end = self.below(part.len().div_ceil(512) + 1) * 512;
                    let part = part[..end.min(part.len())].to_vec();
                    Event::Write(*at, part).happen(&mut bytes);
                    bytes.resize(size, 0);
                }
                event => event.happen(&mut bytes),
            }
        }
        bytes
    }
}

type Records = Map<NodeId, Soft>;

fn applied(records: &Records, writes: &[Write]) -> Records {
    let mut records = records.clone();
    for write in writes {
        match write {
            Write::PutSoft(id, soft) => _ = records.insert(*id, soft.clone()),
            Write::DeleteSoft(id) => _ = records.remove(id),
            _ => unreachable!(),
        }
    }
    records
}

fn open(tape: &Tape) -> Result<(Disk, Records), String> {
    let opened = Disk::open_on(Arc::new(tape.clone()), Path::new("tape").into(), CACHE);
    opened.map(|(disk, there)| (disk, there.soft)).map_err(|error| error.to_string())
}

/// Loses the power after a random event, and once more while the database is opened or used again;
/// that `times` times.
fn lose_power(seed: u64, times: usize) {
    let mut dice = Dice(seed);
    let tape = Tape::default();
    let (mut disk, _) = open(&tape).unwrap();
    // A file comes to its place when it is whole.
    let begin = tape.recording().bytes.clone();
    tape.recording().events.clear();
    let mut states = vec![Records::new()];
    for _ in 0..40 {
        let writes = dice.writes();
        disk.commit(&writes).unwrap();
        states.push(applied(states.last().unwrap(), &writes));
        tape.event(Event::Told);
    }
    states.push(states.last().unwrap().clone());
    let events = tape.recording().events.clone();
    for time in 0..times {
        let what = format!("seed {seed}, time {time}");
        let at = dice.below(events.len() + 1);
        let told = events[..at].iter().filter(|event| matches!(event, Event::Told)).count();
        let possible = &states[told..told + 2];
        let left = dice.lose(begin.clone(), &events[..at]);

        let tape = Tape::of(left.clone());
        let (mut disk, found) = open(&tape).unwrap_or_else(|e| panic!("{what}, once: {e}"));
        assert!(possible.contains(&found), "{what}: after one loss");
        tape.event(Event::Told);
        let writes = dice.writes();
        disk.commit(&writes).unwrap();
        tape.event(Event::Told);
        drop(disk);

        let events = std::mem::take(&mut tape.recording().events);
        let at = dice.below(events.len() + 1);
        let told = events[..at].iter().filter(|event| matches!(event, Event::Told)).count();
        let now = applied(&found, &writes);
        let possible = match told {
            0 => possible.to_vec(),
            1 => vec![found, now],
            _ => vec![now],
        };
        let tape = Tape::of(dice.lose(left, &events[..at]));
        let (_, found) = open(&tape).unwrap_or_else(|e| panic!("{what}, twice, {told} told: {e}"));
        assert!(possible.contains(&found), "{what}: after two losses, {told} told");
    }
}

#[test]
fn what_was_told_survives_losses_of_power() {
    // These processors are emulated, which takes a hundred times as long.
    let seeds = if cfg!(target_arch = "mips") { 1 } else { 20 };
    for seed in 0..seeds {
        lose_power(seed, 60);
    }
}
