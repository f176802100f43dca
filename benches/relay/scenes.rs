//! What the clients do while the relay is measured.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gramscale_proto::wire::derp::{Frame, HEADER_LEN};
use gramscale_proto::wire::key::{KEY_LEN, NodeKey};
use gramscale_rt::{Notify, Task, sleep, spawn, timeout};

use super::client::Client;
use super::process::Process;

/// Bytes of a packet: what WireGuard sends for a full packet of a tailnet is little more.
pub(super) const PACKET: usize = 1280;

/// Packets of a pair that may be on their way: less than what the relay queues for one client, so
/// that losses come from unfairness, not from want of room.
const WINDOW: u64 = 40;

/// Bytes of a frame before the packet in it.
const HEADER: usize = HEADER_LEN + KEY_LEN;

pub(super) struct Idle {
    pub(super) bytes_each: f64,
    pub(super) idle_percent: f64,
}

/// Connections that only are there.
pub(super) async fn idle(relay: &Process, connections: usize) -> Idle {
    // The first connections pay for what all share.
    let first: Vec<_> = login(relay, 0, 10).await;
    sleep(Duration::from_millis(300)).await;
    let before = relay.resident();
    let clients = login(relay, 10, connections).await;
    sleep(Duration::from_secs(1)).await;
    let bytes_each = relay.resident().saturating_sub(before) as f64 / connections as f64;
    let (start, processor) = (Instant::now(), relay.processor());
    sleep(Duration::from_secs(3)).await;
    let used = (relay.processor() - processor).as_secs_f64() / start.elapsed().as_secs_f64();
    drop((first, clients));
    Idle { bytes_each, idle_percent: used * 100.0 }
}

pub(super) struct Busy {
    pub(super) resident: u64,
    pub(super) packets_per_second: u64,
}

/// Connections that all send and receive, four packets at a time.
pub(super) async fn busy(relay: &Process, connections: usize, time: Duration) -> Busy {
    let mut clients = login(relay, 0, connections).await;
    let sent = Rc::new(Cell::new(0));
    let mut pairs = Vec::new();
    while let (Some(mut receiver), Some(mut sender)) = (clients.pop(), clients.pop()) {
        let sent = sent.clone();
        pairs.push(spawn(async move {
            loop {
                sender.send_bytes(&packets(receiver.key, 0, 4)).await?;
                let mut left = 4;
                let four = receiver.receive(|frame| {
                    left -= u32::from(matches!(frame, Frame::RecvPacket { .. }));
                    (left == 0).then_some(())
                });
                four.await?;
                sent.set(sent.get() + 4);
            }
        }));
    }
    let mut resident = 0;
    let end = Instant::now() + time;
    while Instant::now() < end {
        sleep(Duration::from_millis(100)).await;
        resident = resident.max(relay.resident());
    }
    all_well(&pairs);
    Busy { resident, packets_per_second: sent.get() / time.as_secs().max(1) }
}

pub(super) struct Latency {
    /// Microseconds.
    pub(super) p50: f64,
    /// Microseconds.
    pub(super) p99: f64,
    pub(super) packets: u64,
}

/// One packet at a time, with pauses.
pub(super) async fn latency(relay: &Process, packets: u64) -> Latency {
    let mut clients = login(relay, 0, 2).await;
    let (Some(mut receiver), Some(mut sender)) = (clients.pop(), clients.pop()) else {
        unreachable!("two were made")
    };
    let to = receiver.key;
    let base = Instant::now();
    let receiving = spawn(async move {
        let mut times = Vec::new();
        for _ in 0..packets {
            // Relays may lose packets.
            let next = timeout(Duration::from_secs(1), receiver.receive(stamp)).await;
            let Some(sent) = next else { break };
            let sent = sent.expect("the relay serves");
            times.push((base.elapsed().as_nanos() as u64).saturating_sub(sent));
        }
        times
    });
    for _ in 0..packets {
        sleep(Duration::from_millis(1)).await;
        let frame = packet(to, base.elapsed().as_nanos() as u64);
        sender.send_bytes(&frame).await.expect("the relay serves");
    }
    let mut times = receiving.await;
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times.get(index).copied().unwrap_or(0) as f64 / 1000.0
    };
    Latency { p50: at(0.5), p99: at(0.99), packets: times.len() as u64 }
}

pub(super) struct Heap {
    /// Bytes that an idle connection has allocated.
    pub(super) bytes_each: f64,
    /// Allocations for a packet, one at a time.
    pub(super) alone: f64,
    /// Allocations for a packet of a flood.
    pub(super) flood: f64,
}

/// What a relay that counts allocates.
pub(super) async fn heap(relay: &Process, connections: usize, load: Load) -> Heap {
    // Asking costs something as well.
    let (first, second) = (relay.heap().await.0, relay.heap().await.0);
    let asking = second - first;
    let clients = login(relay, 0, 10).await;
    let before = relay.heap().await.1;
    let idle = login(relay, 10, connections).await;
    let bytes = relay.heap().await.1.saturating_sub(before);
    drop((clients, idle));
    let mut per_packet = [0.0; 2];
    for (figure, alone) in per_packet.iter_mut().zip([true, false]) {
        let mut counts = [0; 2];
        let mut packets = 0;
        // The first time warms up.
        for count in &mut counts {
            let before = relay.heap().await.0;
            packets = match alone {
                true => latency(relay, 2000).await.packets,
                false => flood(relay, load).await.packets,
            };
            *count = (relay.heap().await.0 - before).saturating_sub(asking);
        }
        // What logins cost is taken off.
        let before = relay.heap().await.0;
        drop(login(relay, 0, if alone { 2 } else { 2 * load.pairs }).await);
        let logins = (relay.heap().await.0 - before).saturating_sub(asking);
        *figure = counts[1].saturating_sub(logins) as f64 / packets.max(1) as f64;
    }
    let [alone, flood] = per_packet;
    Heap { bytes_each: bytes as f64 / connections as f64, alone, flood }
}

/// What a flood is made of.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) pairs: usize,
    /// Packets that a sender writes at once.
    pub(super) batch: u64,
    pub(super) time: Duration,
}

pub(super) struct Flood {
    pub(super) megabytes_per_second: f64,
    pub(super) seconds_per_gigabyte: f64,
    pub(super) lost_percent: f64,
    pub(super) packets: u64,
}

/// Pairs of which one sends as fast as the other receives.
pub(super) async fn flood(relay: &Process, load: Load) -> Flood {
    let Load { pairs, batch, time } = load;
    let mut clients = login(relay, 0, 2 * pairs).await;
    let totals = Rc::new(Totals::default());
    let (start, processor) = (Instant::now(), relay.processor());
    let mut tasks = Vec::new();
    while let (Some(receiver), Some(sender)) = (clients.pop(), clients.pop()) {
        let window = Rc::new(Window::default());
        tasks.push(spawn(send(sender, receiver.key, batch, window.clone(), totals.clone())));
        tasks.push(spawn(receive(receiver, batch, window, totals.clone())));
    }
    sleep(time).await;
    all_well(&tasks);
    let (elapsed, used) = (start.elapsed().as_secs_f64(), relay.processor() - processor);
    let (received, lost) = (totals.received.get(), totals.lost.get());
    let bytes = received as f64 * PACKET as f64;
    Flood {
        megabytes_per_second: bytes / 1e6 / elapsed,
        seconds_per_gigabyte: used.as_secs_f64() / (bytes / 1e9),
        lost_percent: lost as f64 * 100.0 / (received + lost).max(1) as f64,
        packets: received,
    }
}

/// Packets of all pairs.
#[derive(Default)]
struct Totals {
    received: Cell<u64>,
    lost: Cell<u64>,
}

impl Totals {
    fn lose(&self, packets: u64) {
        self.lost.set(self.lost.get() + packets);
    }
}

/// What a pair has on its way.
#[derive(Default)]
struct Window {
    /// The number of the newest packet that has come, plus one.
    come: Cell<u64>,
    moved: Notify,
}

async fn send(
    mut client: Client,
    to: NodeKey,
    batch: u64,
    window: Rc<Window>,
    totals: Rc<Totals>,
) -> io::Result<()> {
    let mut sent = 0;
    let mut frames = packets(to, 0, batch);
    let frame = frames.len() / batch as usize;
    loop {
        while sent - window.come.get() + batch > WINDOW {
            // What was lost is not waited for.
            if timeout(Duration::from_millis(100), window.moved.notified()).await.is_none() {
                totals.lose(sent - window.come.replace(sent));
            }
        }
        for (n, frame) in (sent..).zip(frames.chunks_mut(frame)) {
            frame[HEADER..HEADER + 8].copy_from_slice(&n.to_be_bytes());
        }
        client.send_bytes(&frames).await?;
        sent += batch;
    }
}

async fn receive(
    mut client: Client,
    batch: u64,
    window: Rc<Window>,
    totals: Rc<Totals>,
) -> io::Result<()> {
    loop {
        let number = client.receive(stamp).await?;
        totals.received.set(totals.received.get() + 1);
        let come = window.come.get();
        if number >= come {
            totals.lose(number - come);
            window.come.set(number + 1);
        }
        if number % batch == batch - 1 {
            window.moved.notify();
        }
    }
}

fn all_well(tasks: &[Task<io::Result<()>>]) {
    assert!(tasks.iter().all(|task| !task.is_finished()), "a connection broke");
}

async fn login(relay: &Process, first: u32, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for n in (first..).take(count) {
        clients.push(Client::login(relay.addr, relay.tls, n).await.expect("the relay serves"));
    }
    clients
}

/// The number at the beginning of a packet.
fn stamp(frame: Frame<'_>) -> Option<u64> {
    match frame {
        Frame::RecvPacket { data, .. } => data.first_chunk().map(|n| u64::from_be_bytes(*n)),
        _ => None,
    }
}

fn packets(to: NodeKey, first: u64, count: u64) -> Vec<u8> {
    let frames: Vec<_> = (first..first + count).map(|n| packet(to, n)).collect();
    frames.concat()
}

fn packet(dst: NodeKey, number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut data = [0; PACKET];
    data[..8].copy_from_slice(&number.to_be_bytes());
    Frame::SendPacket { dst, data: &data }.emit(&mut bytes);
    bytes
}
