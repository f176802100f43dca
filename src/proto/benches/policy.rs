//! What a policy costs: 1000 nodes and 200 rules, compiled from nothing and kept up to date.
//!
//! `cargo bench -p gramscale-proto --bench policy`; prints a table.

use std::alloc::System;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gramscale_proto::policy::{Compiled, Filter, Person, Policy, Role, Subject};
use gramscale_proto::wire::prefix::Prefix;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

const NODES: u64 = 1000;
const USERS: u64 = 300;
const TAGS: u64 = 40;
const RULES: u64 = 200;
const REPEATS: u32 = 20;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

struct Node {
    id: u64,
    user: Option<u64>,
    tags: Vec<String>,
    routes: Vec<Prefix>,
    moved: u32,
}

impl Node {
    /// Of ten nodes, six belong to users, and every hundredth is a router.
    fn new(id: u64) -> Self {
        let tagged = id % 10 >= 6;
        let routes = match id % 100 {
            99 => vec![Prefix::new([10, (id / 100) as u8, 0, 0].into(), 16).unwrap()],
            _ => Vec::new(),
        };
        let tag = (id / 10 * 4 + (id % 10).saturating_sub(6)) % TAGS;
        let tags = if tagged { vec![format!("tag:t{tag}")] } else { Vec::new() };
        Self { id, user: (!tagged).then_some(1 + id % USERS), tags, routes, moved: 0 }
    }

    fn subject(&self) -> Subject<'_> {
        let v6 = 0xfd7a_115c_a1e0_0000_0000_0000_0000_0000 | u128::from(self.id);
        Subject {
            id: self.id,
            user: self.user,
            tags: &self.tags,
            v4: Some((0x6440_0000 + self.moved + self.id as u32).into()),
            v6: Some(v6.into()),
            routes: &self.routes,
        }
    }
}

fn document() -> String {
    let groups: Vec<String> = (0..20)
        .map(|g| {
            let members: Vec<String> = (0..15).map(|m| format!("u{}@", 1 + g * 15 + m)).collect();
            format!("\"group:g{g}\": {members:?}")
        })
        .collect();
    let owners: Vec<String> = (0..TAGS).map(|t| format!("\"tag:t{t}\": [\"group:g0\"]")).collect();
    let rule = |i: u64| {
        let (src, dst) = match i % 10 {
            0 => ("\"autogroup:member\"".to_owned(), format!("\"tag:t{}:443\"", i % TAGS)),
            1 => (format!("\"tag:t{}\"", i % TAGS), format!("\"tag:t{}:*\"", (i / 10) % TAGS)),
            2 => (format!("\"group:g{}\"", i % 20), format!("\"10.{}.0.0/16:22\"", i % 10)),
            3 => (format!("\"u{}@\"", 1 + i), format!("\"u{}@:22,80,443\"", 2 + i)),
            4 => ("\"*\"".to_owned(), format!("\"tag:t{}:53\"", i % TAGS)),
            5 if i == 5 => ("\"autogroup:member\"".to_owned(), "\"autogroup:self:*\"".to_owned()),
            _ => (
                format!("\"group:g{}\", \"tag:t{}\"", i % 20, i % TAGS),
                format!("\"tag:t{}:{}\"", (i * 7) % TAGS, 1000 + i),
            ),
        };
        format!("{{\"action\": \"accept\", \"src\": [{src}], \"dst\": [{dst}]}},")
    };
    let rules: Vec<String> = (0..RULES).map(rule).collect();
    format!(
        "{{\"groups\": {{{}}}, \"tagOwners\": {{{}}}, \"acls\": [\n{}\n]}}",
        groups.join(","),
        owners.join(","),
        rules.join("\n")
    )
}

/// The mean of some runs.
fn time(mut run: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..REPEATS).for_each(|_| run());
    start.elapsed() / REPEATS
}

fn all_filters(compiled: &Compiled, nodes: &[Node]) -> Vec<Rc<Filter>> {
    nodes.iter().map(|node| compiled.filter(node.id)).collect()
}

fn all_peers(compiled: &Compiled, nodes: &[Node]) -> usize {
    nodes.iter().map(|node| compiled.peers(node.id).count()).sum()
}

/// A change: the node, whose filters it touches, and who sees it.
fn change(compiled: &mut Compiled, node: &Node) -> usize {
    compiled.put(&node.subject());
    let touched = compiled.touched();
    touched.iter().for_each(|id| drop(compiled.filter(*id)));
    touched.len() + compiled.peers(node.id).count()
}

fn main() {
    let names: Vec<String> = (0..=USERS).map(|u| format!("u{u}")).collect();
    let people: Vec<Person<'_>> = (1..=USERS)
        .map(|id| Person {
            id,
            name: &names[id as usize],
            email: "",
            provider_id: "",
            role: Role::Member,
        })
        .collect();
    let text = document();
    let nodes: Vec<Node> = (0..NODES).map(Node::new).collect();
    let compile = || {
        let policy = Rc::new(Policy::parse(&text).unwrap());
        let mut compiled = Compiled::new(policy, &people).unwrap();
        nodes.iter().for_each(|node| compiled.put(&node.subject()));
        compiled
    };
    println!("{NODES} nodes, {RULES} rules, {} bytes of policy", text.len());
    println!("{:<44}{:>12?}", "parse and check", time(|| drop(Policy::parse(&text).unwrap())));
    println!("{:<44}{:>12?}", "parse, resolve, classify all nodes", time(|| drop(compile())));
    let fresh = time(|| {
        let compiled = compile();
        all_filters(&compiled, &nodes);
    });
    println!("{:<44}{:>12?}", "the same and all filters", fresh);
    let region = Region::new(ALLOCATOR);
    let held = || {
        let change = region.change();
        (change.bytes_allocated - change.bytes_deallocated) / 1024
    };
    let mut compiled = compile();
    println!("{:<44}{:>9} KiB", "memory, rules and nodes", held());
    let filters = all_filters(&compiled, &nodes);
    println!("{:<44}{:>9} KiB", "memory, with all filters", held());
    let mut out = Vec::new();
    let rendered = time(|| {
        out.clear();
        filters.iter().for_each(|filter| filter.render(&mut out));
    });
    println!("{:<44}{:>12?} ({} KiB)", "render all filters", rendered, out.len() / 1024);
    let mut seen = 0;
    let all = time(|| seen = all_peers(&compiled, &nodes));
    println!("{:<44}{:>12?} ({seen} pairs)", "who sees whom, all pairs", all);
    compiled.touched();
    for (what, id) in [("a user's node", NODES), ("a tagged node", NODES + 6)] {
        let mut touched = 0;
        let node = Node::new(id);
        let added = time(|| {
            touched = change(&mut compiled, &node);
            compiled.remove(id);
            compiled.touched();
        });
        println!("{:<44}{:>12?} ({touched} told)", format!("{what} added and removed"), added);
    }
    let mut moving = Node::new(1);
    let mut touched = 0;
    let moved = time(|| {
        moving.moved += 4096;
        touched = change(&mut compiled, &moving);
    });
    println!("{:<44}{:>12?} ({touched} told)", "one address changed", moved);
}
