//! What the control server costs with N clients: memory, processor, bytes, and how long joins,
//! changes and a restart take. Run it as `tests/bench control`; `--help` lists the options.
//!
//! The server is the program itself in a process of its own. The clients are tasks of one thread
//! of this process, each with a connection of its own; they speak Noise and HTTP/2 with the
//! product's code and understand of maps what is counted here.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, reason = "a failed measurement may stop the program")]

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

mod link;
mod node;
mod scenes;
mod server;
mod told;

use node::{Node, World};
use scenes::{Cost, Joins};
use server::Server;

/// Clients that join one after the other before the rest joins at once.
const ALONE: usize = 10;

/// What is measured.
struct Plan {
    server: PathBuf,
    sizes: Vec<usize>,
    limit: Duration,
    changes: usize,
    /// Stop after the joins, for somebody who looks at the server with tools.
    hold: bool,
}

const HELP: &str = "options:
  --server PATH    the server's program (the one that is built with this)
  --nodes N,N,...  how many clients (100,500)
  --limit SECONDS  how long anything may take (120)
  --changes N      endpoint changes that are measured (50)
  --hold           wait for Enter before the joins and after them";

fn main() {
    let mut plan = Plan {
        server: env!("CARGO_BIN_EXE_gramscale").into(),
        sizes: vec![100, 500],
        limit: Duration::from_secs(120),
        changes: 50,
        hold: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| stop(&format!("{word} needs a value")));
        match word.as_str() {
            "--server" => plan.server = value().into(),
            "--nodes" => plan.sizes = value().split(',').map(number).collect(),
            "--limit" => plan.limit = Duration::from_secs(number(&value()) as u64),
            "--changes" => plan.changes = number(&value()),
            "--hold" => plan.hold = true,
            // `cargo bench` adds it.
            "--bench" => {}
            _ => stop(HELP),
        }
    }
    gramscale_rt::sys::raise_descriptor_limit();
    for size in &plan.sizes {
        gramscale_rt::block_on(measure(&plan, (*size).max(ALONE + 2)));
    }
}

fn stop(text: &str) -> ! {
    eprintln!("{text}");
    std::process::exit(2)
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| stop(HELP))
}

async fn measure(plan: &Plan, size: usize) {
    let mut server = Server::start(&plan.server);
    gramscale_rt::sleep(Duration::from_millis(500)).await;
    println!("\ncontrol: {size} nodes");
    let empty = server.memory();
    row("resident, 0 nodes", &format!("{} ({} private)", mib(empty.resident), mib(empty.private)));
    server.command(&["users", "create", "bench"]);
    let key = server.command(&["preauthkeys", "create", "--user", "bench", "--reusable"]);
    let world = World::new(server.addr, key.trim().into());
    let mut nodes: Vec<_> = (0..ALONE).map(|i| Node::new(&world, i)).collect();

    let (registrations, joins) = scenes::alone(&nodes).await;
    row("one registration alone, p50", &middle(&registrations));
    row("one join alone until the first map, p50", &middle(&joins));

    let rest: Vec<_> = (ALONE..size).map(|i| Node::new(&world, i)).collect();
    hold(plan, &server, "before the joins");
    let joins = scenes::joins(&server, &world, &rest, plan.limit).await;
    nodes.extend(rest);
    joined(&format!("{} joins at once until all see all", size - ALONE), &joins, size);
    row("  map messages, bytes", &sent(&joins.cost));
    hold(plan, &server, "after the joins");
    failures(&world, &nodes);
    if joins.time.is_none() {
        return;
    }
    let memory = server.memory();
    let text = format!("{} ({} private)", mib(memory.resident), mib(memory.private));
    row(&format!("resident, {size} nodes"), &text);
    row("  peak", &mib(memory.peak));
    let threads = server.threads();
    row("threads serving", &threads.to_string());

    let changes = scenes::changes(&server, &world, &nodes, plan.changes, plan.limit).await;
    let count = changes.times.len().max(1) as u64;
    let name = "one endpoint change until the last is told, p50 / max";
    row(
        name,
        &format!(
            "{} / {}",
            middle(&changes.times),
            millis(*changes.times.last().unwrap_or(&plan.limit))
        ),
    );
    row("  CPU each", &millis(changes.cost.serving / count as u32));
    row(
        "  map bytes, bytes on the wire each",
        &format!(
            "{}, {}",
            kib(changes.cost.map_bytes / count),
            kib(changes.cost.wire_bytes / count)
        ),
    );

    let same = scenes::same(&server, &world, &nodes[1], 200).await;
    row("an update that changes nothing: messages", &same.messages.to_string());
    row("  CPU each", &micros(same.serving / 200));

    let maps = scenes::full_maps(&server, &world, &nodes, 10).await;
    row("a full map, p50", &middle(&maps.times));
    row("  CPU, bytes", &format!("{}, {}", millis(maps.serving), kib(maps.bytes as u64)));

    let back = scenes::restart(&mut server, &world, &nodes, plan.limit).await;
    joined("all back after a restart, presence right", &back, size);
    row("  map messages, bytes", &sent(&back.cost));
    let memory = server.memory();
    row("  resident, peak", &format!("{}, {}", mib(memory.resident), mib(memory.peak)));
    failures(&world, &nodes);
    println!(
        "figures nodes={size} threads={threads} join_messages={} join_map_bytes={} \
         change_messages={} change_map_bytes={} change_wire_bytes={} same_messages={} \
         full_map_bytes={} return_messages={} return_map_bytes={}",
        joins.cost.messages,
        joins.cost.map_bytes,
        changes.cost.messages / count,
        changes.cost.map_bytes / count,
        changes.cost.wire_bytes / count,
        same.messages,
        maps.bytes,
        back.cost.messages,
        back.cost.map_bytes,
    );
}

fn joined(name: &str, joins: &Joins, size: usize) {
    let time = match joins.time {
        Some(time) => format!("{:.2} s", time.as_secs_f64()),
        None => format!("not in time: {} of {size}", joins.complete),
    };
    row(name, &time);
    let cost = &joins.cost;
    let text =
        format!("{:.2} s, {:.2} s", cost.processor.as_secs_f64(), cost.serving.as_secs_f64());
    row("  CPU of all threads, of the serving one", &text);
}

fn failures(world: &World, nodes: &[Rc<Node>]) {
    let cut = nodes.iter().filter(|node| node.is_cut()).count();
    if world.failures.get() > 0 || cut > 0 {
        let text = format!("{}, {cut} ({})", world.failures.take(), world.last_failure());
        row("attempts that failed, connections lost", &text);
    }
}

fn hold(plan: &Plan, server: &Server, when: &str) {
    if plan.hold {
        println!("{when}: process {}; Enter goes on", server.pid());
        let _ = std::io::stdin().read_line(&mut String::new());
    }
}

fn row(name: &str, value: &str) {
    println!("| {name:<54} | {value:>28} |");
}

fn sent(cost: &Cost) -> String {
    format!("{}, {}", cost.messages, mib(cost.map_bytes))
}

fn middle(times: &[Duration]) -> String {
    times.get(times.len() / 2).map_or_else(|| "none in time".into(), |time| millis(*time))
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn micros(time: Duration) -> String {
    format!("{:.0} us", time.as_secs_f64() * 1e6)
}

fn kib(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
