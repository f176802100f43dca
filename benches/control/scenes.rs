//! What the clients do while the server is measured.

use std::rc::Rc;
use std::time::{Duration, Instant};

use gramscale_rt::{sleep, spawn, timeout};

use super::link::server_key;
use super::node::{Node, World};
use super::server::Server;

/// No news for so long: what a change caused is over. More than twice the 100 ms that the server
/// waits at most before it does what can wait.
const QUIET: Duration = Duration::from_millis(300);

/// The counters that are compared before and after.
#[derive(Clone, Copy)]
pub(super) struct Cost {
    /// Processor time of the whole server, exact to 10 ms.
    pub(super) processor: Duration,
    /// Processor time of the serving thread.
    pub(super) serving: Duration,
    /// Processor time of the clients, which compete with it.
    pub(super) clients: Duration,
    /// Bytes of map messages as they come out of HTTP/2: compressed, with their lengths.
    pub(super) map_bytes: u64,
    /// Bytes as they come out of TCP.
    pub(super) wire_bytes: u64,
    /// Map messages.
    pub(super) messages: u64,
}

impl Cost {
    /// So far.
    fn now(server: &Server, world: &World) -> Self {
        Self {
            processor: server.processor(),
            serving: server.serving(),
            clients: Server::clients(),
            map_bytes: world.map_bytes.get(),
            wire_bytes: world.received.get(),
            messages: world.messages.get(),
        }
    }

    fn since(self, server: &Server, world: &World) -> Self {
        let now = Self::now(server, world);
        Self {
            processor: now.processor.saturating_sub(self.processor),
            serving: now.serving.saturating_sub(self.serving),
            clients: now.clients.saturating_sub(self.clients),
            map_bytes: now.map_bytes - self.map_bytes,
            wire_bytes: now.wire_bytes - self.wire_bytes,
            messages: now.messages - self.messages,
        }
    }
}

/// Returns once no map message has come for a while.
async fn quiet(world: &World) {
    loop {
        let before = world.messages.get();
        sleep(QUIET).await;
        if world.messages.get() == before {
            return;
        }
    }
}

pub(super) struct Joins {
    /// Until all saw all; `None`: not within the limit.
    pub(super) time: Option<Duration>,
    /// How many saw all.
    pub(super) complete: usize,
    pub(super) cost: Cost,
}

/// Registrations one after the other: how long each took, and how long until its first map,
/// sorted.
pub(super) async fn alone(world: &World, nodes: &[Rc<Node>]) -> (Vec<Duration>, Vec<Duration>) {
    world.expect(&[], nodes.len());
    let mut times = (Vec::new(), Vec::new());
    for node in nodes {
        let joined = node.clone().join().await;
        times.0.push(joined.registration);
        times.1.push(joined.all);
        sleep(Duration::from_millis(20)).await;
    }
    times.0.sort_unstable();
    times.1.sort_unstable();
    times
}

/// All of `rest` join at once.
pub(super) async fn joins(
    server: &Server,
    world: &World,
    before: &[Rc<Node>],
    rest: &[Rc<Node>],
    limit: Duration,
) -> Joins {
    world.expect(before, before.len() + rest.len());
    let (begun, before) = (Instant::now(), Cost::now(server, world));
    let tasks: Vec<_> = rest.iter().map(|node| spawn(node.clone().join())).collect();
    let complete = world.all_see_all(limit).await;
    let time = (complete == world.size()).then(|| begun.elapsed());
    if time.is_some() {
        for task in tasks {
            task.await;
        }
        quiet(world).await;
    }
    Joins { time, complete, cost: before.since(server, world) }
}

/// Nodes that join one after the other, each once all see the one before it.
pub(super) async fn more(
    server: &Server,
    world: &World,
    before: &[Rc<Node>],
    more: &[Rc<Node>],
    limit: Duration,
) -> Changes {
    let (mut times, cost) = (Vec::new(), Cost::now(server, world));
    let mut all = before.to_vec();
    for node in more {
        let begun = Instant::now();
        world.expect(&all, all.len() + 1);
        all.push(node.clone());
        node.clone().join().await;
        if world.all_see_all(limit).await < all.len() {
            break;
        }
        times.push(begun.elapsed());
        quiet(world).await;
    }
    times.sort_unstable();
    Changes { times, cost: cost.since(server, world) }
}

pub(super) struct Changes {
    /// Until the last viewer knew, each, sorted.
    pub(super) times: Vec<Duration>,
    /// Of all.
    pub(super) cost: Cost,
}

/// One node after the other says that its endpoints have changed, to ports from `first` on that
/// none of them had before.
pub(super) async fn changes(
    server: &Server,
    world: &World,
    nodes: &[Rc<Node>],
    first: u16,
    count: usize,
    limit: Duration,
) -> Changes {
    let (mut times, before) = (Vec::new(), Cost::now(server, world));
    for (i, node) in nodes.iter().cycle().take(count).enumerate() {
        let begun = Instant::now();
        node.move_to(first + i as u16).await.expect("an update");
        let Some(told) = world.all_told(limit).await else { break };
        times.push(told - begun);
        sleep(Duration::from_millis(10)).await;
    }
    quiet(world).await;
    times.sort_unstable();
    Changes { times, cost: before.since(server, world) }
}

/// Nodes say that their endpoints have changed until `joining` is registered: how long that took,
/// and until the last viewer knew, each, sorted.
pub(super) async fn while_joining(
    world: &World,
    nodes: &[Rc<Node>],
    joining: &Rc<Node>,
    limit: Duration,
) -> (Duration, Vec<Duration>) {
    let (mut times, mut port) = (Vec::new(), 25_000);
    let join = spawn(joining.clone().join());
    for node in nodes.iter().cycle() {
        if join.is_finished() {
            break;
        }
        let begun = Instant::now();
        port += 1;
        node.move_to(port).await.expect("an update");
        let Some(told) = world.all_told(limit).await else { break };
        times.push(told - begun);
        sleep(Duration::from_millis(10)).await;
    }
    times.sort_unstable();
    (join.await.registration, times)
}

/// One node says what it has said before, again and again.
pub(super) async fn same(server: &Server, world: &World, node: &Rc<Node>, count: usize) -> Cost {
    let before = Cost::now(server, world);
    for _ in 0..count {
        node.update().await.expect("an update");
    }
    quiet(world).await;
    before.since(server, world)
}

/// An administrator sets a policy that allows all nodes 200 ports, so that all get a new filter.
pub(super) async fn policy(
    server: &Server,
    world: &World,
    nodes: usize,
    limit: Duration,
) -> Changes {
    let rule =
        |port: u32| format!("{{\"action\":\"accept\",\"src\":[\"*\"],\"dst\":[\"*:{port}\"]}}");
    let rules: Vec<_> = (1000..1200).map(rule).collect();
    let file = server.folder().join("policy");
    std::fs::write(&file, format!("{{\"acls\":[{}]}}", rules.join(","))).expect("a file");
    let (begun, before) = (Instant::now(), Cost::now(server, world));
    server.command(&["policy", "set", "--file", &file.display().to_string()]);
    let told = async {
        while world.messages.get() < before.messages + nodes as u64 {
            sleep(Duration::from_millis(1)).await;
        }
        begun.elapsed()
    };
    let times = timeout(limit, told).await.into_iter().collect();
    quiet(world).await;
    Changes { times, cost: before.since(server, world) }
}

pub(super) struct FullMaps {
    /// From request to end, each, sorted.
    pub(super) times: Vec<Duration>,
    /// Of one.
    pub(super) bytes: usize,
    /// Processor time of one.
    pub(super) serving: Duration,
}

/// One node asks for whole maps, each after a change of another, as they do in life.
pub(super) async fn full_maps(
    server: &Server,
    world: &World,
    nodes: &[Rc<Node>],
    count: usize,
) -> FullMaps {
    let [viewer, others @ ..] = nodes else { panic!("no nodes") };
    let mut maps = FullMaps { times: Vec::new(), bytes: 0, serving: Duration::ZERO };
    for (i, node) in others.iter().cycle().take(count).enumerate() {
        node.move_to(30_000 + i as u16).await.expect("an update");
        quiet(world).await;
        let (begun, before) = (Instant::now(), server.serving());
        maps.bytes = viewer.full_map().await.expect("a map").len();
        maps.times.push(begun.elapsed());
        maps.serving += server.serving().saturating_sub(before) / count as u32;
    }
    maps.times.sort_unstable();
    maps
}

/// The server is stopped and started again: all come back at once.
pub(super) async fn restart(
    server: &mut Server,
    world: &World,
    nodes: &[Rc<Node>],
    limit: Duration,
) -> Joins {
    let key = server_key(world.addr).await.expect("the server's key");
    nodes.iter().for_each(|node| node.leave());
    quiet(world).await;
    let begun = Instant::now();
    server.restart();
    let before = Cost::now(server, world);
    let nothing = Cost { processor: Duration::ZERO, serving: Duration::ZERO, ..before };
    let tasks: Vec<_> = nodes.iter().map(|node| spawn(node.clone().come_back(key))).collect();
    let complete = world.all_see_all(limit).await;
    let time = (complete == world.size()).then(|| begun.elapsed());
    if time.is_some() {
        for task in tasks {
            task.await;
        }
        quiet(world).await;
    }
    Joins { time, complete, cost: nothing.since(server, world) }
}
