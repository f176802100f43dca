//! Recorded answers of the hosted service, compared with ours.
//!
//! The recordings are no part of the project: `GRAMSCALE_POLICY_CORPUS` names their folder, which
//! is `../shared/policy-corpus` beside the repository otherwise. Each line of a `*.jsonl` file is a
//! case: a policy, users and nodes, and what the service made of them. The error messages of
//! refused policies are not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gramscale_proto::policy::{Compiled, Person, Policy, Standing, Subject};
use gramscale_proto::wire::prefix::Prefix;
use serde_json::{Map, Value, json};

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
    let Some(folder) = folder() else { return };
    let only = std::env::var("GRAMSCALE_POLICY_CASE").unwrap_or_default();
    let mut worse = Vec::new();
    for (category, expected) in EXPECTED {
        let (mut passed, mut total) = (0, 0);
        for case in cases(&folder, category) {
            let id = case["id"].as_str().unwrap();
            if !id.contains(&only) {
                continue;
            }
            total += 1;
            let known = DEVIATIONS.iter().find(|(known, _)| *known == id);
            match (check(&case, |_| {}), known) {
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

#[test]
fn wrong_answers_are_seen() {
    let Some(folder) = folder() else { return };
    let mut seen = vec![(0, 0); SPOILERS.len()];
    for case in EXPECTED.iter().flat_map(|(category, _)| cases(&folder, category)) {
        if DEVIATIONS.iter().any(|(known, _)| *known == case["id"]) {
            continue;
        }
        for ((_, spoiler), (spoilt, failed)) in SPOILERS.iter().zip(&mut seen) {
            let mut case = case.clone();
            // Some policies stand in their cases as texts.
            if let Some(text) = case["policy"].as_str()
                && let Ok(policy) = serde_json::from_str(text)
            {
                case["policy"] = policy;
            }
            let mut blank = json!({"packet_filter": [], "peers": {}, "ssh": [], "cap_map": {}});
            let mut any = spoiler(&mut case, &mut blank) && blank["peers"] == json!({});
            let mut untouched = Value::Null;
            let result = check(&case, |answer| any |= spoiler(&mut untouched, answer));
            *spoilt += usize::from(any);
            *failed += usize::from(any && result.is_err());
        }
    }
    for ((what, _), (spoilt, failed)) in SPOILERS.iter().zip(seen) {
        println!("{what}: seen in {failed} of {spoilt}");
        assert!(spoilt > 0, "no case tries this: {what}");
        // What is kept from us does not change every answer; what is spoilt does.
        let enough = if what.contains("not read") || what.contains("empty") { 1 } else { spoilt };
        assert!(failed >= enough, "not seen: {what}");
    }
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("GRAMSCALE_POLICY_CORPUS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/policy-corpus"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        println!("SKIPPED: no recordings in {} (GRAMSCALE_POLICY_CORPUS)", folder.display());
        return None;
    }
    Some(folder)
}

fn cases(folder: &Path, category: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(format!("{category}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first difference between a case and what we make of it; `spoil` sees each of our answers.
fn check(case: &Value, mut spoil: impl FnMut(&mut Value)) -> Result<(), String> {
    let accepted = case["accepted"].as_bool().unwrap();
    let tailnet = match Tailnet::new(case) {
        Err(_) if !accepted => return Ok(()),
        Err(error) => return Err(format!("refused: {error}")),
        Ok(_) if !accepted => return Err(format!("not refused: {}", case["error"]["message"])),
        Ok(tailnet) => tailnet,
    };
    for (name, expect) in case["expect"].as_object().unwrap() {
        let mut answer = tailnet.answer(name);
        spoil(&mut answer);
        compare(expect, &answer).map_err(|difference| format!("{name}: {difference}"))?;
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

    /// What we tell a node, in the shape of a case's answer.
    fn answer(&self, name: &str) -> Value {
        let node = &self.nodes[name];
        let mut own = self.addresses(node, node);
        own.extend(node.routes.iter().map(Prefix::to_string));
        let mut filter = Vec::new();
        self.compiled.filter(node.id).render(&mut filter);
        let mut ssh = Vec::new();
        self.compiled.render_ssh(node.id, &mut ssh);
        let mut ssh: Value = serde_json::from_slice(&ssh).unwrap();
        let peers = self.nodes.iter().filter(|(_, peer)| self.compiled.sees(node.id, peer.id));
        let peers: Map<String, Value> =
            peers.map(|(name, peer)| (name.clone(), self.peer(node, peer))).collect();
        let cap = |(name, values): (&str, Vec<&[u8]>)| {
            let values: Vec<Value> =
                values.iter().map(|value| serde_json::from_slice(value).unwrap()).collect();
            (name.to_owned(), if values.is_empty() { Value::Null } else { values.into() })
        };
        let caps: Map<String, Value> =
            self.compiled.attributes(node.id).into_iter().map(cap).collect();
        json!({
            "packet_filter": serde_json::from_slice::<Value>(&filter).unwrap(),
            "ssh": ssh["rules"].take(),
            "peers": peers,
            "self_allowed_ips": own,
            "caps": caps.keys().collect::<Vec<_>>(),
            "cap_map": caps,
        })
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
        let mut out = json!({ "allowed_ips": allowed });
        if !primary.is_empty() {
            out["primary_routes"] = json!(primary);
        }
        if exit {
            out["cap_map"] = json!({ "suggest-exit-node": null });
        }
        out
    }

    /// Whether `viewer` reaches `route` through `peer`.
    fn carries(&self, viewer: &Node, peer: &Node, route: &Prefix) -> bool {
        let primary = self.primaries.get(route).map(|name| self.nodes[name].id);
        self.compiled.carries(viewer.id, peer.id, route, primary, |_| true)
    }
}

/// Compares an answer with ours.
fn compare(expect: &Value, got: &Value) -> Result<(), String> {
    for part in ["self_allowed_ips", "packet_filter", "peers"] {
        same(part, &expect[part], &got[part])?;
    }
    // The first SSH rule that fits holds, so their order counts.
    let rules = |answer: &Value| answer["ssh"].as_array().unwrap().clone();
    let (expect_rules, got_rules) = (rules(expect), rules(got));
    same("ssh", &expect_rules.len().into(), &got_rules.len().into())?;
    for (index, (expect, got)) in expect_rules.iter().zip(&got_rules).enumerate() {
        same(&format!("ssh[{index}]"), expect, got)?;
    }
    let of_the_policy = |name: &str| !OF_THE_ACCOUNT.contains(&name);
    let names = |answer: &Value| -> Value {
        let names = answer["caps"].as_array().unwrap().iter();
        names.filter(|name| of_the_policy(name.as_str().unwrap())).cloned().collect()
    };
    same("caps", &names(expect), &names(got))?;
    let caps = |answer: &Value| {
        let mut caps = answer["cap_map"].as_object().unwrap().clone();
        caps.retain(|name, _| of_the_policy(name));
        Value::Object(caps)
    };
    same("cap_map", &caps(expect), &caps(got))
}

/// Compares two values. Arrays are compared without their order, since clients read all of those
/// that come here as sets, but for the values of capabilities.
fn same(path: &str, expect: &Value, got: &Value) -> Result<(), String> {
    if canonical(expect) == canonical(got) {
        return Ok(());
    }
    if let (Value::Object(a), Value::Object(b)) = (expect, got) {
        for key in a.keys().chain(b.keys()) {
            if a.contains_key(key) && b.contains_key(key) {
                same(&format!("{path}.{key}"), &expect[key], &got[key])?;
            } else {
                let whose = if a.contains_key(key) { "missing" } else { "not expected" };
                return Err(format!("{path}.{key}: {whose}"));
            }
        }
    }
    Err(format!("{path}: expected {expect}, got {got}"))
}

fn canonical(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(canonical).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                let ordered = name == "CapMap" || name == "cap_map";
                (name.clone(), if ordered { value.clone() } else { canonical(value) })
            };
            Value::Object(members.iter().map(member).collect())
        }
        other => other.clone(),
    }
}

/// A comparison that finds no fault with a wrong answer is worth nothing: each of these spoils
/// our answers in one way, or keeps one thing of the policy from us, and must be seen.
const SPOILERS: [(&str, Spoiler); 21] = [
    ("a source is lost", |_, answer| drop_first(answer.pointer_mut("/packet_filter/0/SrcIPs"))),
    ("a source is added", |_, answer| {
        push(answer.pointer_mut("/packet_filter/0/SrcIPs"), json!("192.0.2.1"))
    }),
    ("a destination is lost", |_, answer| {
        drop_first(answer.pointer_mut("/packet_filter/0/DstPorts"))
    }),
    ("a destination comes twice", |_, answer| {
        let first = answer.pointer("/packet_filter/0/DstPorts/0").cloned();
        first.is_some_and(|f| push(answer.pointer_mut("/packet_filter/0/DstPorts"), f))
    }),
    ("a port is wrong", |_, answer| {
        put(answer.pointer_mut("/packet_filter/0/DstPorts/0/Ports/Last"), json!(7))
    }),
    ("the protocol is lost", |_, answer| remove(answer.pointer_mut("/packet_filter/0"), "IPProto")),
    ("rules are not merged", |_, answer| {
        let Some(second) = answer.pointer("/packet_filter/0/DstPorts/1").cloned() else {
            return false;
        };
        let mut rule = answer["packet_filter"][0].clone();
        rule["DstPorts"] = json!([second]);
        let first = answer.pointer_mut("/packet_filter/0/DstPorts").unwrap();
        first.as_array_mut().unwrap().remove(1);
        push(answer.pointer_mut("/packet_filter"), rule)
    }),
    ("a capability is lost", |_, answer| {
        put(answer.pointer_mut("/packet_filter/0/CapGrant/0/CapMap"), json!({}))
    }),
    ("a capability has no value", |_, answer| {
        let caps = answer.pointer_mut("/packet_filter/0/CapGrant/0/CapMap");
        let value = caps.and_then(|caps| caps.as_object_mut()?.values_mut().next());
        value.is_some_and(|value| !value.is_null() && put(Some(value), Value::Null))
    }),
    ("a peer is hidden", |_, answer| {
        let peers = answer["peers"].as_object_mut().unwrap();
        let first = peers.keys().next().cloned();
        first.is_some_and(|first| peers.remove(&first).is_some())
    }),
    ("a stranger is shown", |_, answer| {
        answer["peers"].as_object_mut().unwrap().insert("x".into(), json!({"allowed_ips": []}));
        true
    }),
    ("a route is lost", |_, answer| {
        let peers = answer["peers"].as_object_mut().unwrap().values_mut();
        peers.into_iter().any(|peer| {
            let allowed = peer["allowed_ips"].as_array_mut().unwrap();
            let before = allowed.len();
            allowed.truncate(2);
            before > 2
        })
    }),
    ("primary routes are lost", |_, answer| {
        let peers = answer["peers"].as_object_mut().unwrap().values_mut();
        peers.into_iter().any(|peer| remove(Some(peer), "primary_routes"))
    }),
    ("an SSH rule is lost", |_, answer| drop_first(answer.pointer_mut("/ssh"))),
    ("SSH rules change places", |_, answer| {
        let rules = answer["ssh"].as_array_mut().unwrap();
        let differ = rules.len() > 1 && rules[0] != rules[1];
        differ && {
            rules.swap(0, 1);
            true
        }
    }),
    ("root is not refused", |_, answer| remove(answer.pointer_mut("/ssh/0/sshUsers"), "root")),
    ("a check is no check", |_, answer| {
        let action = answer.pointer_mut("/ssh/0/action");
        action.is_some_and(|a| a.get("accept").is_none() && put(Some(a), json!({"accept": true})))
    }),
    ("attributes are lost", |_, answer| {
        let caps = answer["cap_map"].as_object().unwrap();
        let any = caps.keys().any(|name| !OF_THE_ACCOUNT.contains(&name.as_str()));
        answer["cap_map"] = json!({});
        any
    }),
    ("via is not read", |case, _| strip(&mut case["policy"], "grants", "via")),
    ("tests are not read", |case, _| {
        let policy = case["policy"].as_object_mut();
        policy.is_some_and(|p| p.remove("tests").is_some() | p.remove("sshTests").is_some())
    }),
    ("groups are empty", |case, _| {
        let groups = case["policy"]["groups"].as_object_mut();
        groups.is_some_and(|groups| {
            groups.values_mut().for_each(|group| *group = json!([]));
            true
        })
    }),
];

/// Spoils a case before we answer it (called first, with no answer) or an answer (called for each
/// node). Says whether there was anything to spoil.
type Spoiler = fn(case: &mut Value, answer: &mut Value) -> bool;

fn drop_first(list: Option<&mut Value>) -> bool {
    let list = list.and_then(Value::as_array_mut).filter(|list| !list.is_empty());
    list.is_some_and(|list| !list.remove(0).is_null())
}

fn push(list: Option<&mut Value>, value: Value) -> bool {
    list.and_then(Value::as_array_mut).is_some_and(|list| {
        list.push(value);
        true
    })
}

fn put(place: Option<&mut Value>, value: Value) -> bool {
    place.is_some_and(|place| {
        *place = value;
        true
    })
}

fn remove(object: Option<&mut Value>, name: &str) -> bool {
    object.and_then(Value::as_object_mut).is_some_and(|object| object.remove(name).is_some())
}

fn strip(policy: &mut Value, section: &str, name: &str) -> bool {
    let rules = policy[section].as_array_mut().into_iter().flatten();
    rules.map(|rule| remove(Some(rule), name)).filter(|removed| *removed).count() > 0
}
