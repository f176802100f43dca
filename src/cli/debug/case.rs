//! A recorded case: users, nodes and a policy, and what each node is told by it.
//!
//! Cases come from the hosted service; this answers them in the form of their `expect`. Roles of
//! users, the primary router of a route and the like are no part of a case, so what they were when
//! it was recorded is written down here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::str::FromStr;

use gramscale_proto::netmap::{Device, Dns};
use gramscale_proto::policy::{Compiled, Person, Policy, Role, Subject};
use gramscale_proto::wire::prefix::Prefix;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

/// What we make of a case: `{id, accepted, error, expect}`. The error is that it is no case.
pub fn answer(case: &Value) -> Result<Value, String> {
    let case = Case::deserialize(case).map_err(|e| e.to_string())?;
    let (error, expect) = match Tailnet::new(&case)? {
        Ok(tailnet) => (Value::Null, tailnet.answers()?),
        Err(refusal) => (json!({ "message": refusal }), Value::Null),
    };
    Ok(json!({ "id": case.id, "accepted": error.is_null(), "error": error, "expect": expect }))
}

/// What of a case we read.
#[derive(Deserialize)]
struct Case {
    id: String,
    /// The document, as a tree or as text.
    policy: Value,
    #[serde(default, deserialize_with = "or_null")]
    users: Vec<User>,
    #[serde(default, deserialize_with = "or_null")]
    nodes: Vec<Machine>,
    #[serde(default, deserialize_with = "or_null")]
    tailnet_dns: TailnetDns,
    /// The recorded answer, if it is there: only for the routers that were primary ones.
    #[serde(default)]
    expect: Option<BTreeMap<String, Recorded>>,
}

#[derive(Deserialize)]
struct User {
    name: String,
    login: String,
    /// The recorded cases name none.
    role: Option<String>,
}

#[derive(Deserialize)]
struct Machine {
    hostname: String,
    ipv4: Ipv4Addr,
    ipv6: Ipv6Addr,
    user: Option<String>,
    tags: Option<Vec<String>>,
    routable_ips: Option<Vec<String>>,
    approved_routes: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TailnetDns {
    magic_dns: bool,
    #[serde(deserialize_with = "or_null")]
    nameservers: Vec<String>,
    #[serde(deserialize_with = "or_null")]
    search_paths: Vec<String>,
    #[serde(deserialize_with = "or_null")]
    split_dns: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Recorded {
    #[serde(default, deserialize_with = "or_null")]
    peers: BTreeMap<String, RecordedPeer>,
}

#[derive(Deserialize)]
struct RecordedPeer {
    primary_routes: Option<Vec<String>>,
}

/// What Go writes as `null` is empty.
fn or_null<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// The prefix of the tailnet's IPv6 addresses, and one of which no node has an address.
const TAILNET_V6: &str = "fd7a:115c:a1e0::";
const NOBODY_V6: &str = "fd7a:115c:a1e0:ffff::";

impl Case {
    /// Some recordings were given other addresses afterwards, from 100.64.0.1 on, and so were the
    /// IPv4 addresses in their policies, but not the IPv6 ones: those were no node's when it was
    /// recorded, though they are now.
    fn is_renumbered(&self) -> bool {
        !self.nodes.is_empty()
            && self.nodes.iter().all(|node| node.ipv4.octets()[..3] == [100, 64, 0])
    }

    fn policy_text(&self) -> String {
        let text = match &self.policy {
            Value::String(text) => text.clone(),
            tree => tree.to_string(),
        };
        if self.is_renumbered() { text.replace(TAILNET_V6, NOBODY_V6) } else { text }
    }

    /// Which router is the primary one for a route depends on who came first, which a case does
    /// not tell: the one that most viewers were told, else the first that has the route.
    fn primaries(&self, nodes: &[Node<'_>]) -> Result<BTreeMap<Prefix, u64>, String> {
        let mut primaries = BTreeMap::new();
        for node in nodes {
            for route in &node.routes {
                primaries.entry(*route).or_insert(node.id);
            }
        }
        let mut told: BTreeMap<(Prefix, &str), usize> = BTreeMap::new();
        for (name, peer) in self.expect.iter().flatten().flat_map(|(_, answer)| &answer.peers) {
            for route in peer.primary_routes.iter().flatten() {
                *told.entry((parse(route)?, name)).or_default() += 1;
            }
        }
        let mut told: Vec<_> = told.into_iter().collect();
        told.sort_by_key(|(_, count)| *count);
        for ((route, name), _) in told {
            let router = nodes.iter().find(|node| node.machine.hostname == name);
            primaries.extend(router.map(|node| (route, node.id)));
        }
        Ok(primaries)
    }
}

/// The tailnet of a case.
struct Tailnet<'a> {
    case: &'a Case,
    compiled: Compiled,
    nodes: Vec<Node<'a>>,
    primaries: BTreeMap<Prefix, u64>,
}

struct Node<'a> {
    id: u64,
    machine: &'a Machine,
    user: Option<u64>,
    routes: Vec<Prefix>,
}

impl<'a> Node<'a> {
    fn new(id: u64, case: &'a Case, machine: &'a Machine) -> Result<Self, String> {
        let of = |user: &String| {
            let place = case.users.iter().position(|u| u.name == *user || u.login == *user);
            place.map(|place| place as u64 + 1).ok_or_else(|| format!("there is no user {user}"))
        };
        let user = machine.user.as_ref().map(of).transpose()?;
        Ok(Self { id, machine, user, routes: Vec::new() })
    }

    /// The routes that are advertised and approved. Some cases leave out the approvals that the
    /// policy gives.
    fn active(&self, policy: &Compiled) -> Result<Vec<Prefix>, String> {
        let mut active = Vec::new();
        let approved = self.machine.approved_routes.as_deref().unwrap_or_default();
        for text in self.machine.routable_ips.iter().flatten() {
            let route = parse(text)?;
            if approved.contains(text) || policy.approves(&self.subject(), &route) {
                active.push(route);
            }
        }
        Ok(active)
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            id: self.id,
            user: self.user,
            tags: self.machine.tags.as_deref().unwrap_or_default(),
            v4: Some(self.machine.ipv4),
            v6: Some(self.machine.ipv6),
            routes: &self.routes,
        }
    }
}

impl<'a> Tailnet<'a> {
    /// The inner error is why the policy is refused.
    fn new(case: &'a Case) -> Result<Result<Self, String>, String> {
        let people: Vec<_> = (1..)
            .zip(&case.users)
            .map(|(id, User { name, login, role })| {
                let role = match role.as_deref() {
                    Some(name) => Role::parse(name).ok_or_else(|| format!("no role: {name}"))?,
                    // All users of the recorded accounts are administrators, the first is the
                    // owner.
                    None if id == 1 => Role::Owner,
                    None => Role::Admin,
                };
                Ok(Person { id, name, email: login, provider_id: "", role })
            })
            .collect::<Result<_, String>>()?;
        let policy = Policy::parse(&case.policy_text());
        let compiled = policy.and_then(|policy| Compiled::new(Rc::new(policy), &people));
        let mut compiled = match compiled {
            Ok(compiled) => compiled,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut nodes = Vec::new();
        for (id, machine) in (1..).zip(&case.nodes) {
            let mut node = Node::new(id, case, machine)?;
            node.routes = node.active(&compiled)?;
            compiled.put(&node.subject());
            nodes.push(node);
        }
        if let Err(error) = compiled.test() {
            return Ok(Err(error.to_string()));
        }
        let primaries = case.primaries(&nodes)?;
        Ok(Ok(Self { case, compiled, nodes, primaries }))
    }

    fn answers(&self) -> Result<Value, String> {
        let mut answers = Map::new();
        for node in &self.nodes {
            answers.insert(node.machine.hostname.clone(), self.answer(node)?);
        }
        let answers = Value::Object(answers).to_string();
        let answers = if self.case.is_renumbered() {
            answers.replace(NOBODY_V6, TAILNET_V6)
        } else {
            answers
        };
        read(answers.as_bytes())
    }

    /// What a node is told.
    fn answer(&self, node: &Node<'_>) -> Result<Value, String> {
        let mut filter = Vec::new();
        self.compiled.filter(node.id).render(&mut filter);
        let mut ssh = Vec::new();
        self.compiled.render_ssh(node.id, &mut ssh);
        let ssh = read(&ssh)?;
        let peers = self.nodes.iter().filter(|peer| self.compiled.sees(node.id, peer.id));
        let peers: Map<String, Value> =
            peers.map(|peer| (peer.machine.hostname.clone(), self.peer(node, peer))).collect();
        let mut caps = Map::new();
        for (name, values) in self.compiled.attributes(node.id) {
            let values: Vec<Value> =
                values.iter().map(|value| read(value)).collect::<Result<_, _>>()?;
            let values = if values.is_empty() { Value::Null } else { values.into() };
            caps.insert(name.to_owned(), values);
        }
        let mut own = self.addresses(node, node);
        own.extend(node.routes.iter().map(Prefix::to_string));
        Ok(json!({
            "packet_filter": read(&filter)?,
            "ssh": ssh.get("rules"),
            "peers": peers,
            "self_allowed_ips": own,
            "caps": caps.keys().collect::<Vec<_>>(),
            "cap_map": caps,
            "dns": self.dns(node, caps.keys().map(String::as_str))?,
        }))
    }

    /// The addresses of `node` that `viewer` is told.
    fn addresses(&self, viewer: &Node<'_>, node: &Node<'_>) -> BTreeSet<String> {
        let hidden = [viewer, node].iter().any(|node| self.compiled.disables_ipv4(node.id));
        let v4 = (!hidden).then(|| format!("{}/32", node.machine.ipv4));
        v4.into_iter().chain([format!("{}/128", node.machine.ipv6)]).collect()
    }

    fn peer(&self, viewer: &Node<'_>, peer: &Node<'_>) -> Value {
        let carried = |route: &&Prefix| {
            let primary = self.primaries.get(route).copied();
            self.compiled.carries(viewer.id, peer.id, route, primary, |_| true)
        };
        let routes = || peer.routes.iter().filter(carried);
        let mut allowed = self.addresses(viewer, peer);
        allowed.extend(routes().map(Prefix::to_string));
        let primary: BTreeSet<_> =
            routes().filter(|route| !route.is_exit()).map(Prefix::to_string).collect();
        let mut out = Map::new();
        out.insert("allowed_ips".into(), json!(allowed));
        if !primary.is_empty() {
            out.insert("primary_routes".into(), json!(primary));
        }
        if routes().any(Prefix::is_exit) {
            out.insert("cap_map".into(), json!({ "suggest-exit-node": null }));
        }
        out.into()
    }

    /// The name of the tailnet is not part of a case, so it is left out. Nameservers override those
    /// that a node has, which is what setting them over the service's API does.
    fn dns<'n>(
        &self,
        node: &'n Node<'_>,
        attributes: impl Iterator<Item = &'n str>,
    ) -> Result<Value, String> {
        let settings = &self.case.tailnet_dns;
        let dns = Dns {
            magic: settings.magic_dns,
            override_local: true,
            nameservers: settings.nameservers.clone(),
            split: settings.split_dns.clone().into_iter().collect(),
            search: settings.search_paths.clone(),
            ..Dns::default()
        };
        let machine = node.machine;
        let address = Some(machine.ipv4.into());
        let mut out = Vec::new();
        let device = Device { address, os: "linux", name: &machine.hostname };
        dns.render_for(attributes, device, &mut out);
        let mut dns = read(&out)?;
        if let Some(dns) = dns.as_object_mut() {
            dns.retain(|_, value| *value != json!([]));
        }
        Ok(dns)
    }
}

fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e| format!("{text}: {e}"))
}

/// Reads back what was rendered.
fn read(json: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(json).map_err(|e| e.to_string())
}
