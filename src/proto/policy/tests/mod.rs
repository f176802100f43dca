//! Policies as people write them, and what becomes of them.

mod access;
mod attribute;
mod change;
mod document;
mod model;
mod role;
mod route;
mod ssh;
mod tag;
mod trial;

use std::rc::Rc;

use super::*;
use crate::wire::prefix::Prefix;

const PEOPLE: [Person<'static>; 3] = [
    Person { id: 1, name: "ann", email: "ann@example.com", provider_id: "", role: Role::Owner },
    Person {
        id: 2,
        name: "bob",
        email: "bob@example.org",
        provider_id: "https://id/2",
        role: Role::Member,
    },
    Person { id: 3, name: "cat@example.com", email: "", provider_id: "", role: Role::Admin },
];

/// A node of a test: 100.64.0.N and fd7a:115c:a1e0::N.
struct Node {
    id: u64,
    user: Option<u64>,
    tags: Vec<String>,
    routes: Vec<Prefix>,
}

fn node(id: u64, owner: &str) -> Node {
    let user = PEOPLE.iter().find(|p| p.name == owner).map(|p| p.id);
    let tags = if user.is_none() { owner.split(' ').map(str::to_owned).collect() } else { vec![] };
    Node { id, user, tags, routes: Vec::new() }
}

fn router(id: u64, owner: &str, routes: &[&str]) -> Node {
    Node { routes: routes.iter().map(|r| r.parse().unwrap()).collect(), ..node(id, owner) }
}

impl Node {
    fn subject(&self) -> Subject<'_> {
        let v6 = u128::from(self.id) | 0xfd7a_115c_a1e0_0000_0000_0000_0000_0000;
        Subject {
            id: self.id,
            user: self.user,
            tags: &self.tags,
            v4: Some((0x6440_0000 | self.id as u32).into()),
            v6: Some(v6.into()),
            routes: &self.routes,
        }
    }
}

fn compile(text: &str, nodes: &[Node]) -> Compiled {
    let policy = Policy::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let mut compiled = Compiled::new(Rc::new(policy), &PEOPLE).unwrap();
    nodes.iter().for_each(|node| compiled.put(&node.subject()));
    compiled
}

/// A policy with one ACL, and the names that the tests use.
fn acl(src: &str, dst: &str) -> String {
    format!(
        r#"{{
            "groups": {{"group:dev": ["ann@example.com", "cat@example.com"], "group:none": []}},
            "hosts": {{"web": "100.64.0.4", "net": "10.0.0.0/8"}},
            "tagOwners": {{"tag:a": [], "tag:b": []}},
            "acls": [{{"action": "accept", "src": [{src}], "dst": [{dst}]}}],
        }}"#
    )
}

/// A filter as `sources > destinations`, a line a rule; without what is IPv6.
fn filter(compiled: &Compiled, id: u64) -> String {
    let mut out = Vec::new();
    compiled.filter(id).render(&mut out);
    let rules: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let mut lines = Vec::new();
    for rule in rules.as_array().unwrap() {
        let v4 = |text: &&str| !text.contains(':');
        let sources = rule["SrcIPs"].as_array().unwrap().iter().map(|s| s.as_str().unwrap());
        let sources: Vec<&str> = sources.filter(v4).collect();
        let mut targets = Vec::new();
        for target in rule["DstPorts"].as_array().unwrap() {
            let (ip, ports) = (target["IP"].as_str().unwrap(), &target["Ports"]);
            if v4(&ip) {
                targets.push(format!("{ip}:{}-{}", ports["First"], ports["Last"]));
            }
        }
        let protocols = rule["IPProto"].as_array().map_or(String::new(), |p| format!("{p:?} "));
        let protocols = protocols.replace("Number(", "").replace(')', "");
        lines.push(format!("{protocols}{} > {}", sources.join(","), targets.join(",")));
    }
    lines.join("\n")
}

/// The whole filter as JSON.
fn filter_json(compiled: &Compiled, id: u64) -> serde_json::Value {
    let mut out = Vec::new();
    compiled.filter(id).render(&mut out);
    serde_json::from_slice(&out).unwrap()
}
