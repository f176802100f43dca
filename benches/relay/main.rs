//! What the relay costs: memory, processor, system calls and allocations, and how long a packet
//! takes. Run it as `tests/bench relay`; `--help` lists the options.
//!
//! The relay is the product in a process of its own, or the official relay; all clients run on one
//! thread of this process. Only allocations are counted in a relay without the product around it.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, reason = "a failed measurement may stop the program")]

use std::alloc::System;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

mod client;
#[path = "../control/counts.rs"]
mod counts;
mod process;
mod scenes;
mod server;

use process::Process;
use scenes::Load;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is measured.
struct Plan {
    /// The product's program.
    server: PathBuf,
    /// A relay that runs already.
    addr: Option<SocketAddr>,
    pid: Option<u32>,
    /// The official relay's program.
    derper: Option<PathBuf>,
    tls: bool,
    idle: usize,
    busy: usize,
    load: Load,
    /// Count instructions too.
    thorough: bool,
    /// Fail over these limits.
    budget: Option<PathBuf>,
}

const HELP: &str = "options:
  --server PATH    the server's program (the one that is built with this)
  --tls            clients speak TLS
  --idle N         idle connections (1000)
  --busy N         busy connections (1000)
  --pairs N        pairs that send as fast as they can (50)
  --batch N        packets that these write at once (1)
  --seconds N      for how long (5)
  --thorough       count instructions too (valgrind)
  --budget FILE    fail when something is above the limits in FILE
  --official       the official relay as well, built as a Go module, once
  --addr A --pid P the relay that listens at A in process P instead";

fn main() {
    let mut plan = Plan {
        server: env!("CARGO_BIN_EXE_gramscale").into(),
        addr: None,
        pid: None,
        derper: None,
        tls: false,
        idle: 1000,
        busy: 1000,
        load: Load { pairs: 50, batch: 1, time: Duration::from_secs(5) },
        thorough: false,
        budget: None,
    };
    let mut official = false;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| stop(&format!("{word} needs a value")));
        match word.as_str() {
            // How this program starts itself, to count allocations.
            "serve" => return server::serve(plan.tls),
            "--server" => plan.server = value().into(),
            "--tls" => plan.tls = true,
            "--idle" => plan.idle = number(&value()),
            "--busy" => plan.busy = number(&value()),
            "--pairs" => plan.load.pairs = number(&value()),
            "--batch" => plan.load.batch = number(&value()) as u64,
            "--seconds" => plan.load.time = Duration::from_secs(number(&value()) as u64),
            "--thorough" => plan.thorough = true,
            "--budget" => plan.budget = Some(value().into()),
            "--official" => official = true,
            "--addr" => plan.addr = value().parse().ok(),
            "--pid" => plan.pid = value().parse().ok(),
            // `cargo bench` adds it.
            "--bench" => {}
            _ => stop(HELP),
        }
    }
    gramscale_rt::sys::raise_descriptor_limit();
    let good = gramscale_rt::block_on(measure(&plan));
    if official {
        plan.derper = Some(process::build_official());
        (plan.tls, plan.thorough, plan.budget) = (false, false, None);
        gramscale_rt::block_on(measure(&plan));
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

/// Whether all is within the budget.
async fn measure(plan: &Plan) -> bool {
    let mut figures: Vec<(&str, u64)> = Vec::new();
    let relay = || Process::start(plan);
    println!("relay: {}, {}", relay().name, if plan.tls { "TLS" } else { "plain TCP" });
    row("resident, empty", &format!("{:.2} MiB", mib(relay().settled().resident())));

    let idle = scenes::idle(&relay(), plan.idle).await;
    row(
        &format!("memory per idle connection ({})", plan.idle),
        &format!("{:.2} KiB", idle.bytes_each / 1024.0),
    );
    figures.push(("idle_bytes", idle.bytes_each as u64));
    row("processor while they idle", &format!("{:.2} %", idle.idle_percent));

    let busy = scenes::busy(&relay(), plan.busy, plan.load.time).await;
    row(
        &format!("resident with {} busy connections", plan.busy),
        &format!("{:.2} MiB ({} packets/s)", mib(busy.resident), busy.packets_per_second),
    );

    figures.push(("busy_resident", busy.resident));

    let latency = scenes::latency(&relay(), 5000).await;
    row(
        "latency one way, unloaded, p50 / p99",
        &format!("{:.0} / {:.0} us", latency.p50, latency.p99),
    );

    let flood = scenes::flood(&relay(), plan.load).await;
    row(
        &format!("{} pairs, {} B packets, delivered", plan.load.pairs, scenes::PACKET),
        &format!("{:.0} MB/s, {:.1} % lost", flood.megabytes_per_second, flood.lost_percent),
    );
    row("processor per GB delivered", &format!("{:.2} s", flood.seconds_per_gigabyte));

    let mut calls = |name, figure, counted: Option<(u64, u64)>| match counted {
        Some((calls, packets)) => {
            row(name, &format!("{:.2}", calls as f64 / packets.max(1) as f64));
            figures.push((figure, calls * 100 / packets.max(1)));
        }
        None => row(name, "not counted (no strace)"),
    };
    let traced = relay();
    let scene = async { scenes::latency(&traced, 2000).await.packets };
    let counted = counts::count_calls(traced.pid, scene).await;
    calls("system calls per packet, one at a time", "calls_per_100_packets", counted);
    let traced = relay();
    let scene = async { scenes::flood(&traced, plan.load).await.packets };
    let counted = counts::count_calls(traced.pid, scene).await;
    calls("system calls per packet, flood", "calls_per_100_packets_of_a_flood", counted);

    if plan.derper.is_none() && plan.addr.is_none() {
        let heap = scenes::heap(&Process::counting(plan.tls), plan.idle, plan.load).await;
        row("allocated per idle connection", &format!("{:.2} KiB", heap.bytes_each / 1024.0));
        row("allocations per packet, one at a time", &format!("{:.4}", heap.alone));
        row("allocations per packet, flood", &format!("{:.4}", heap.flood));
        figures.push(("allocations_per_100_packets", (heap.alone * 100.0) as u64));
        figures.push(("allocations_per_100_packets_of_a_flood", (heap.flood * 100.0) as u64));
    }
    if plan.thorough {
        let counted = Process::counted(plan);
        // What logins cost is in both.
        let few = instructions(&counted, 200).await;
        let many = instructions(&counted, 2200).await;
        let each = many.saturating_sub(few) / 2000;
        row("instructions per packet, one at a time", &each.to_string());
        figures.push(("instructions_per_packet", each));
    }
    println!();
    let Some(file) = &plan.budget else { return true };
    let section = if plan.tls { "relay.tls" } else { "relay.plain" };
    let excesses = counts::excesses(file, section, &figures);
    excesses.iter().for_each(|excess| println!("over budget: {excess}"));
    excesses.is_empty()
}

/// Instructions for some packets, one at a time, and two logins.
async fn instructions(relay: &Process, packets: u64) -> u64 {
    let mut counter = relay.instructions();
    scenes::latency(relay, packets).await;
    counter.take()
}

fn row(name: &str, value: &str) {
    println!("| {name:<46} | {value:>34} |");
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
