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

mod counts;
mod link;
mod node;
mod scenes;
mod server;
mod told;

use counts::Instructions;
use node::{Node, World};
use scenes::Joins;
use server::{Server, Under};

/// Clients that join one after the other before the rest joins at once.
const ALONE: usize = 10;

/// Clients that join one after the other behind all the rest.
const MORE: usize = 10;

/// What is measured.
struct Plan {
    server: PathBuf,
    sizes: Vec<usize>,
    limit: Duration,
    changes: usize,
    /// Count instructions too, and look at what a slow disk holds up.
    thorough: bool,
    /// Wait before and after the joins, for somebody who looks at the server with tools.
    hold: bool,
    /// Fail over these limits.
    budget: Option<PathBuf>,
}

const HELP: &str = "options:
  --server PATH    the server's program (the one that is built with this)
  --nodes N,N,...  how many clients (100,500)
  --limit SECONDS  how long anything may take (120)
  --changes N      endpoint changes that are measured (50)
  --thorough       count instructions too (valgrind), and what a slow disk holds up (strace)
  --budget FILE    fail when something is above the limits in FILE
  --hold           wait for Enter before the joins and after them";

fn main() {
    let mut plan = Plan {
        server: env!("CARGO_BIN_EXE_gramscale").into(),
        sizes: vec![100, 500],
        limit: Duration::from_secs(120),
        changes: 50,
        thorough: false,
        hold: false,
        budget: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| stop(&format!("{word} needs a value")));
        match word.as_str() {
            "--server" => plan.server = value().into(),
            "--nodes" => plan.sizes = value().split(',').map(number).collect(),
            "--limit" => plan.limit = Duration::from_secs(number(&value()) as u64),
            "--changes" => plan.changes = number(&value()),
            "--thorough" => plan.thorough = true,
            "--budget" => plan.budget = Some(value().into()),
            "--hold" => plan.hold = true,
            // `cargo bench` adds it.
            "--bench" => {}
            _ => stop(HELP),
        }
    }
    gramscale_rt::sys::raise_descriptor_limit();
    server::kill_on_panic();
    let mut good = true;
    for size in &plan.sizes {
        good &= gramscale_rt::block_on(measure(&plan, (*size).max(ALONE + MORE + 1)));
    }
    std::process::exit(i32::from(!good));
}

fn stop(text: &str) -> ! {
    eprintln!("{text}");
    std::process::exit(2)
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| stop(HELP))
}

/// Whether all was done in time and within the budget.
async fn measure(plan: &Plan, size: usize) -> bool {
    println!("\ncontrol: {size} nodes");
    let mut run = Run::start(plan, Under::Nothing).await;
    run.alone().await;
    if !run.joins(size - MORE).await {
        return false;
    }
    run.more().await;
    run.memory();
    run.changes().await;
    run.same().await;
    run.full_maps().await;
    run.calls().await;
    let good = run.restart().await;
    run.policy().await;
    let mut run_figures = std::mem::take(&mut run.figures);
    drop(run);
    if plan.thorough {
        run_figures.extend(instructions(plan, size).await);
        slow_disk(plan, size).await;
    }
    let figures: String =
        run_figures.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    println!("figures nodes={size}{figures}");
    let Some(file) = &plan.budget else { return good };
    let excesses = counts::excesses(file, &format!("control.{size}"), &run_figures);
    excesses.iter().for_each(|excess| println!("over budget: {excess}"));
    good && excesses.is_empty()
}

/// Instructions, which are the same on every machine: a server of its own under callgrind.
async fn instructions(plan: &Plan, size: usize) -> Vec<(&'static str, u64)> {
    const CHANGES: usize = 20;
    let mut run = Run::start(plan, Under::Callgrind).await;
    let nodes: Vec<_> = (0..size).map(|i| Node::new(&run.world, i)).collect();
    let Run { server, world, .. } = &run;
    let limit = plan.limit;
    let mut counter = Instructions::start(server.pid(), server.folder());
    scenes::joins(server, world, &[], &nodes, limit).await;
    let joins = counter.take();
    scenes::changes(server, world, &nodes, 20_000, CHANGES, limit).await;
    let changes = counter.take();
    scenes::same(server, world, &nodes[1], CHANGES).await;
    let same = counter.take();
    scenes::full_maps(server, world, &nodes, CHANGES).await;
    let maps = counter.take();
    let each = |name, count: u64| (name, count / CHANGES as u64);
    // Each whole map follows a change.
    for (name, count) in [
        ("join_instructions", joins / size as u64),
        each("change_instructions", changes),
        each("same_instructions", same),
        each("full_map_instructions", maps.saturating_sub(changes)),
    ] {
        row(&format!("  {name}"), &format!("{:.0} thousand", count as f64 / 1e3));
        run.figures.push((name, count));
    }
    std::mem::take(&mut run.figures)
}

/// What goes on while each commit takes two seconds.
async fn slow_disk(plan: &Plan, size: usize) {
    let run = Run::start(plan, Under::SlowDisk).await;
    let nodes: Vec<_> = (0..=size).map(|i| Node::new(&run.world, i)).collect();
    let Some((joining, nodes)) = nodes.split_last() else { return };
    let limit = plan.limit;
    let joins = scenes::joins(&run.server, &run.world, &[], nodes, limit).await;
    run.all_there(&format!("{size} joins at once, each sync of the disk takes 2 s"), &joins);
    let (registration, changes) = scenes::while_joining(&run.world, nodes, joining, limit).await;
    row("  one more registration", &millis(registration));
    let last = changes.last().map_or_else(|| "never".into(), |time| millis(*time));
    let name = format!("  {} endpoint changes meanwhile, p50 / max", changes.len());
    row(&name, &format!("{} / {last}", middle(&changes)));
}

/// One server with its clients.
struct Run<'a> {
    plan: &'a Plan,
    server: Server,
    world: Rc<World>,
    nodes: Vec<Rc<Node>>,
    /// The same for machines: what does not depend on the time.
    figures: Vec<(&'static str, u64)>,
}

impl<'a> Run<'a> {
    async fn start(plan: &'a Plan, under: Under) -> Self {
        let server = Server::start(&plan.server, under);
        gramscale_rt::sleep(Duration::from_millis(500)).await;
        let empty = server.memory();
        if under == Under::Nothing {
            let text = format!("{} ({} private)", mib(empty.resident), mib(empty.private));
            row("resident, 0 nodes", &text);
        }
        server.command(&["users", "create", "bench"]);
        let key = server.command(&["preauthkeys", "create", "--user", "bench", "--reusable"]);
        let world = World::new(server.addr, key.trim().into());
        let mut figures = Vec::new();
        if under == Under::Nothing {
            figures.push(("resident_empty", empty.resident));
        }
        Self { plan, server, world, nodes: Vec::new(), figures }
    }

    async fn alone(&mut self) {
        self.nodes = (0..ALONE).map(|i| Node::new(&self.world, i)).collect();
        let (registrations, joins) = scenes::alone(&self.world, &self.nodes).await;
        row("one registration alone, p50", &middle(&registrations));
        row("one join alone until the first map, p50", &middle(&joins));
    }

    /// Whether all have joined in time.
    async fn joins(&mut self, size: usize) -> bool {
        let rest: Vec<_> = (ALONE..size).map(|i| Node::new(&self.world, i)).collect();
        self.hold("before the joins");
        let limit = self.plan.limit;
        let joins = scenes::joins(&self.server, &self.world, &self.nodes, &rest, limit).await;
        let name = format!("{} joins at once until all see all", rest.len());
        self.nodes.extend(rest);
        self.all_there(&name, &joins);
        self.figure("join_messages", joins.cost.messages);
        self.figure("join_map_bytes", joins.cost.map_bytes);
        self.hold("after the joins");
        joins.time.is_some()
    }

    async fn more(&mut self) {
        let old = self.nodes.len();
        let more: Vec<_> = (old..old + MORE).map(|i| Node::new(&self.world, i)).collect();
        let limit = self.plan.limit;
        let more_joins = scenes::more(&self.server, &self.world, &self.nodes, &more, limit).await;
        self.nodes.extend(more);
        row("one more join until all see it, p50", &middle(&more_joins.times));
        let (cpu, bytes) = (more_joins.cost.serving, more_joins.cost.map_bytes);
        row(
            "  CPU, map bytes",
            &format!("{}, {}", millis(cpu / MORE as u32), kib(bytes / MORE as u64)),
        );
        self.figure("one_more_map_bytes", bytes / MORE as u64);
    }

    fn memory(&mut self) {
        let memory = self.server.memory();
        let text = format!("{} ({} private)", mib(memory.resident), mib(memory.private));
        row(&format!("resident, {} nodes", self.nodes.len()), &text);
        row("  peak", &mib(memory.peak));
        self.figure("resident", memory.resident);
        self.figure("resident_peak", memory.peak);
        let threads = self.server.threads() as u64;
        row("threads serving", &threads.to_string());
        self.figure("threads", threads);
    }

    async fn changes(&mut self) {
        let Plan { changes: count, limit, .. } = *self.plan;
        let changes =
            scenes::changes(&self.server, &self.world, &self.nodes, 20_000, count, limit).await;
        let last = changes.times.last().map_or_else(|| "never".into(), |time| millis(*time));
        let name = "one endpoint change until the last is told, p50 / max";
        row(name, &format!("{} / {last}", middle(&changes.times)));
        let cost = changes.cost;
        row("  CPU", &millis(cost.serving / count as u32));
        let (map, wire) = (cost.map_bytes / count as u64, cost.wire_bytes / count as u64);
        row("  map bytes, bytes on the wire", &format!("{}, {}", kib(map), kib(wire)));
        self.figure("change_messages", cost.messages / count as u64);
        self.figure("change_map_bytes", map);
        self.figure("change_wire_bytes", wire);
    }

    async fn calls(&mut self) {
        const COUNT: usize = 20;
        let limit = self.plan.limit;
        let scene = scenes::changes(&self.server, &self.world, &self.nodes, 10_000, COUNT, limit);
        let Some((calls, _)) = counts::count_calls(self.server.pid(), scene).await else {
            return row("system calls for an endpoint change", "not counted (no strace)");
        };
        let each = calls / COUNT as u64;
        row("system calls for an endpoint change", &each.to_string());
        self.figure("change_calls", each);
    }

    async fn same(&mut self) {
        const COUNT: usize = 200;
        let same = scenes::same(&self.server, &self.world, &self.nodes[1], COUNT).await;
        row("an update that changes nothing: messages", &same.messages.to_string());
        row("  CPU", &format!("{:.0} us", same.serving.as_secs_f64() * 1e6 / COUNT as f64));
        self.figure("same_messages", same.messages);
    }

    async fn full_maps(&mut self) {
        let maps = scenes::full_maps(&self.server, &self.world, &self.nodes, 10).await;
        row("a full map, p50", &middle(&maps.times));
        row("  CPU, bytes", &format!("{}, {}", millis(maps.serving), kib(maps.bytes as u64)));
        self.figure("full_map_bytes", maps.bytes as u64);
    }

    /// Whether all were back in time.
    async fn restart(&mut self) -> bool {
        let limit = self.plan.limit;
        let back = scenes::restart(&mut self.server, &self.world, &self.nodes, limit).await;
        self.all_there("all back after a restart, presence right", &back);
        let memory = self.server.memory();
        row("  resident, peak", &format!("{}, {}", mib(memory.resident), mib(memory.peak)));
        self.figure("return_messages", back.cost.messages);
        self.figure("return_map_bytes", back.cost.map_bytes);
        back.time.is_some()
    }

    async fn policy(&mut self) {
        let limit = self.plan.limit;
        let set = scenes::policy(&self.server, &self.world, self.nodes.len(), limit).await;
        let last = set.times.first().map_or_else(|| "never".into(), |time| millis(*time));
        row("a policy of 200 rules set until the last is told", &last);
        let text = format!("{}, {}", millis(set.cost.serving), mib(set.cost.map_bytes));
        row("  CPU, map bytes", &text);
    }

    fn all_there(&self, name: &str, joins: &Joins) {
        let time = match joins.time {
            Some(time) => format!("{:.2} s", time.as_secs_f64()),
            None => format!("not in time: {} of {}", joins.complete, self.nodes.len()),
        };
        row(name, &time);
        let cost = &joins.cost;
        let [server, serving, clients] =
            [cost.processor, cost.serving, cost.clients].map(|time| time.as_secs_f64());
        let text = format!("{server:.2} s, {serving:.2} s, {clients:.2} s");
        row("  CPU: server, its serving thread, clients", &text);
        row("  map messages, bytes", &format!("{}, {}", cost.messages, mib(cost.map_bytes)));
        let cut = self.nodes.iter().filter(|node| node.is_cut()).count();
        let failures = self.world.failures.take();
        if failures + cut as u64 > 0 {
            let text = format!("{failures}, {cut} ({})", self.world.last_failure());
            row("  attempts that failed, connections lost", &text);
        }
    }

    fn figure(&mut self, name: &'static str, value: u64) {
        self.figures.push((name, value));
    }

    fn hold(&self, when: &str) {
        if self.plan.hold {
            println!("{when}: process {}; Enter goes on", self.server.pid());
            let _ = std::io::stdin().read_line(&mut String::new());
        }
    }
}

fn row(name: &str, value: &str) {
    println!("| {name:<54} | {value:>28} |");
}

fn middle(times: &[Duration]) -> String {
    times.get(times.len() / 2).map_or_else(|| "none in time".into(), |time| millis(*time))
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn kib(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
