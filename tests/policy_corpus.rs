//! Recorded answers of the hosted service, compared with ours.
//!
//! The recordings are no part of the project: `GRAMSCALE_POLICY_CORPUS` names their folder, which
//! is `../shared/policy-corpus` beside the repository otherwise. Each line of a `*.jsonl` file is a
//! case: a policy, users and nodes, and what the service made of them. The error messages of
//! refused policies are not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::rc::Rc;

use gramscale_proto::policy::{Compiled, Person, Policy, Standing, Subject};
use gramscale_proto::wire::prefix::Prefix;
use serde_json::Value;

/// Capabilities that come from the recorded accounts and not from their policies.
const OF_THE_ACCOUNT: [&str; 11] = [
    "default-auto-update",
    "https://tailscale.com/cap/file-sharing",
    "https://tailscale.com/cap/is-admin",
    "https://tailscale.com/cap/is-owner",
    "https://tailscale.com/cap/ssh",
    "https://tailscale.com/cap/tailnet-lock",
    "probe-udp-lifetime",
    "ssh-behavior-v1",
    "ssh-env-vars",
    "store-appc-routes",
    "tailnet-display-name",
];

/// How many cases of each category pass. These numbers may only rise.
const EXPECTED: [(&str, usize); 7] = [
    ("acl", 133),
    ("grant", 155),
    ("nodeattrs", 34),
    ("policytest", 38),
    ("routes", 66),
    ("ssh", 66),
    ("sshtest", 20),
];

/// Cases whose answer is not what the service would give again, and why we do otherwise.
const DEVIATIONS: [(&str, &str); 2] = [
    (
        "acl-k03",
        "three of eight equal viewers lack a route: they were recorded before its approval came",
    ),
    (
        "policytest-allpass-grants-only-tag-src-ipv6-literal-dst",
        "the policy's IPv6 literal was no node's when it was recorded, but is one in the case",
    ),
];

#[test]
fn recorded_answers() {
    let folder = std::env::var_os("GRAMSCALE_POLICY_CORPUS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/policy-corpus"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        println!("SKIPPED: no recordings in {} (GRAMSCALE_POLICY_CORPUS)", folder.display());
        return;
    }
    let only = std::env::var("GRAMSCALE_POLICY_CASE").unwrap_or_default();
    let mut worse = Vec::new();
    for (category, expected) in EXPECTED {
        let text = std::fs::read_to_string(folder.join(format!("{category}.jsonl"))).unwrap();
        let (mut passed, mut total) = (0, 0);
        for line in text.lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let id = case["id"].as_str().unwrap();
            if !id.contains(&only) {
                continue;
            }
            total += 1;
            match (check(&case), DEVIATIONS.iter().find(|(known, _)| *known == id)) {
                (Ok(()), _) => passed += 1,
                (Err(_), Some((_, reason))) => println!("  {id}: known deviation: {reason}"),
                (Err(difference), None) => println!("  {id}: {difference}"),
            }
        }
        println!("{category}: {passed}/{total}");
        if only.is_empty() && passed < expected {
            worse.push(category);
        }
    }
    assert!(worse.is_empty(), "fewer cases pass than before: {worse:?}");
}

/// The first difference between a case and what we make of it.
fn check(case: &Value) -> Result<(), String> {
    let accepted = case["accepted"].as_bool().unwrap();
    let tailnet = match Tailnet::new(case) {
        Err(_) if !accepted => return Ok(()),
        Err(error) => return Err(format!("refused: {error}")),
        Ok(_) if !accepted => return Err(format!("not refused: {}", case["error"]["message"])),
        Ok(tailnet) => tailnet,
    };
    for (name, expect) in case["expect"].as_object().unwrap() {
        tailnet.check(name, expect).map_err(|difference| format!("{name}: {difference}"))?;
    }
    Ok(())
}

/// The tailnet of a case.
struct Tailnet {
    compiled: Compiled,
    nodes: BTreeMap<String, Node>,
    /// Which router is the primary one for a route depends on who came first, which a case does
    /// not tell; so it is taken from the answer: the one that most viewers use.
    primaries: BTreeMap<Prefix, String>,
}

struct Node {
    id: u64,
    user: Option<u64>,
    tags: Vec<String>,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    routes: Vec<Prefix>,
}

impl Node {
    fn new(id: u64, case: &Value, users: &[(String, String)], policy: &Compiled) -> Self {
        let strings = |value: &Value| -> Vec<String> {
            let items = value.as_array().into_iter().flatten();
            items.map(|item| item.as_str().unwrap().to_owned()).collect()
        };
        let advertised = strings(&case["routable_ips"]);
        let approved = strings(&case["approved_routes"]);
        let user = case["user"].as_str().map(|user| {
            users.iter().position(|(name, login)| name == user || login == user).unwrap() as u64 + 1
        });
        let mut node = Self {
            id,
            user,
            tags: strings(&case["tags"]),
            v4: case["ipv4"].as_str().unwrap().parse().unwrap(),
            v6: case["ipv6"].as_str().unwrap().parse().unwrap(),
            routes: Vec::new(),
        };
        // Some cases leave out the approvals that the policy gives.
        let active = advertised.iter().filter(|text| {
            let route = text.parse().unwrap();
            approved.contains(text) || policy.approves(&node.subject(), &route)
        });
        node.routes = active.map(|route| route.parse().unwrap()).collect();
        node
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            id: self.id,
            user: self.user,
            tags: &self.tags,
            v4: Some(self.v4),
            v6: Some(self.v6),
            routes: &self.routes,
        }
    }

    fn addresses(&self) -> [String; 2] {
        [format!("{}/32", self.v4), format!("{}/128", self.v6)]
    }
}

impl Tailnet {
    fn new(case: &Value) -> Result<Self, String> {
        let text = match &case["policy"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let policy = Policy::parse(&text).map_err(|error| error.to_string())?;
        let string = |value: &Value| value.as_str().unwrap().to_owned();
        let users = case["users"].as_array().unwrap().iter();
        let users: Vec<_> = users.map(|u| (string(&u["name"]), string(&u["login"]))).collect();
        let people: Vec<_> = (1..)
            .zip(&users)
            .map(|(id, (name, email))| {
                // All users of the recorded accounts are administrators, the first is the owner.
                let role = if id == 1 { Standing::Owner } else { Standing::Admin };
                Person { id, name, email, provider_id: "", role }
            })
            .collect();
        let mut compiled =
            Compiled::new(Rc::new(policy), &people).map_err(|error| error.to_string())?;
        let nodes: BTreeMap<String, Node> = (1..)
            .zip(case["nodes"].as_array().unwrap())
            .map(|(id, node)| (string(&node["hostname"]), Node::new(id, node, &users, &compiled)))
            .collect();
        nodes.values().for_each(|node| compiled.put(&node.subject()));
        compiled.test().map_err(|error| error.to_string())?;
        let mut users: BTreeMap<Prefix, BTreeMap<String, usize>> = BTreeMap::new();
        for answer in case["expect"].as_object().into_iter().flat_map(|o| o.values()) {
            for (name, peer) in answer["peers"].as_object().unwrap() {
                for route in peer["primary_routes"].as_array().into_iter().flatten() {
                    let route = route.as_str().unwrap().parse().unwrap();
                    *users.entry(route).or_default().entry(name.clone()).or_default() += 1;
                }
            }
        }
        let most =
            |users: BTreeMap<String, usize>| users.into_iter().max_by_key(|u| u.1).unwrap().0;
        let primaries = users.into_iter().map(|(route, users)| (route, most(users))).collect();
        Ok(Self { compiled, nodes, primaries })
    }

    fn check(&self, name: &str, expect: &Value) -> Result<(), String> {
        let node = &self.nodes[name];
        let mut own = self.addresses(node, node);
        own.extend(node.routes.iter().map(Prefix::to_string));
        same("self_allowed_ips", &expect["self_allowed_ips"], &serde_json::json!(own))?;
        let mut filter = Vec::new();
        self.compiled.filter(node.id).render(&mut filter);
        let filter: Value = serde_json::from_slice(&filter).unwrap();
        same("packet_filter", &expect["packet_filter"], &filter)?;
        let mut peers = serde_json::Map::new();
        for (peer_name, peer) in &self.nodes {
            if self.compiled.sees(node.id, peer.id) {
                peers.insert(peer_name.clone(), self.peer(node, peer));
            }
        }
        same("peers", &expect["peers"], &Value::Object(peers))?;
        let mut ssh = Vec::new();
        self.compiled.render_ssh(node.id, &mut ssh);
        let ssh: Value = serde_json::from_slice(&ssh).unwrap();
        // The first rule that fits holds, so their order counts.
        let expect_ssh = expect["ssh"].as_array().unwrap();
        let ssh = ssh["rules"].as_array().unwrap();
        same("ssh", &expect_ssh.len().into(), &ssh.len().into())?;
        for (index, (expect, got)) in expect_ssh.iter().zip(ssh).enumerate() {
            same(&format!("ssh[{index}]"), expect, got)?;
        }
        let mut caps = serde_json::Map::new();
        for (name, values) in self.compiled.attributes(node.id) {
            let values: Vec<Value> =
                values.iter().map(|value| serde_json::from_slice(value).unwrap()).collect();
            let value = if values.is_empty() { Value::Null } else { values.into() };
            caps.insert(name.to_owned(), value);
        }
        caps.retain(|name, _| !OF_THE_ACCOUNT.contains(&name.as_str()));
        let names: Vec<&String> = caps.keys().collect();
        let expect_names: Vec<&Value> = (expect["caps"].as_array().unwrap().iter())
            .filter(|name| !OF_THE_ACCOUNT.contains(&name.as_str().unwrap()))
            .collect();
        same("caps", &serde_json::json!(expect_names), &serde_json::json!(names))?;
        let mut expect_caps = expect["cap_map"].as_object().unwrap().clone();
        expect_caps.retain(|name, _| !OF_THE_ACCOUNT.contains(&name.as_str()));
        same("cap_map", &Value::Object(expect_caps), &Value::Object(caps))
    }

    /// The addresses of `node` that `viewer` is told.
    fn addresses(&self, viewer: &Node, node: &Node) -> BTreeSet<String> {
        let hidden = [viewer, node].iter().any(|node| self.compiled.disables_ipv4(node.id));
        node.addresses().into_iter().filter(|a| !hidden || a.contains(':')).collect()
    }

    fn peer(&self, viewer: &Node, peer: &Node) -> Value {
        let mut allowed = self.addresses(viewer, peer);
        let mut primary = BTreeSet::new();
        let mut exit = false;
        for route in &peer.routes {
            if !self.carries(viewer, peer, route) {
                continue;
            }
            allowed.insert(route.to_string());
            if route.is_exit() {
                exit = true;
            } else {
                primary.insert(route.to_string());
            }
        }
        let mut out = serde_json::json!({ "allowed_ips": allowed });
        if !primary.is_empty() {
            out["primary_routes"] = serde_json::json!(primary);
        }
        if exit {
            out["cap_map"] = serde_json::json!({ "suggest-exit-node": null });
        }
        out
    }

    /// Whether `viewer` reaches `route` through `peer`.
    fn carries(&self, viewer: &Node, peer: &Node, route: &Prefix) -> bool {
        let primary = self.primaries.get(route).map(|name| self.nodes[name].id);
        self.compiled.carries(viewer.id, peer.id, route, primary, |_| true)
    }
}

/// Compares two values. Arrays are compared without their order, since clients read all of those
/// that come here as sets.
fn same(path: &str, expect: &Value, got: &Value) -> Result<(), String> {
    if canonical(expect) == canonical(got) {
        return Ok(());
    }
    match (expect, got) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys()) {
                same(&format!("{path}.{key}"), &expect[key], &got[key])?;
            }
            Ok(())
        }
        _ => Err(format!("{path}: expected {expect}, got {got}")),
    }
}

fn canonical(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(canonical).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(members) => {
            Value::Object(members.iter().map(|(k, v)| (k.clone(), canonical(v))).collect())
        }
        other => other.clone(),
    }
}
