//! Random tailnets and policies: what is compiled agrees with the plainest reading of the
//! language, and what changes step by step ends where compiling from nothing does.

use std::net::IpAddr;

use super::super::document::ports;
use super::super::range;
use super::*;

/// How many random tailnets; `GRAMSCALE_POLICY_MODEL` says otherwise.
const ROUNDS: u64 = 60;

/// Steps of change in each.
const STEPS: usize = 8;

/// A generator of numbers: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn some<'a>(&mut self, most: usize, of: &[&'a str]) -> Vec<&'a str> {
        (0..=self.below(most)).map(|_| self.one(of)).collect()
    }
}

const OWNERS: [&str; 7] =
    ["ann", "bob", "cat@example.com", "tag:a", "tag:b", "tag:a tag:b", "tag:c"];

const ROUTES: [&str; 7] = [
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.2.0.0/16",
    "192.168.0.0/24",
    "fd00:1::/64",
    "0.0.0.0/0",
    "::/0",
];

const SOURCES: [&str; 14] = [
    "*",
    "ann@example.com",
    "bob@",
    "cat@example.com",
    "user:*@example.com",
    "group:dev",
    "tag:a",
    "tag:b",
    "autogroup:member",
    "autogroup:tagged",
    "autogroup:danger-all",
    "100.64.0.2",
    "fd7a:115c:a1e0::3",
    "net",
];

const TARGETS: [&str; 15] = [
    "*",
    "ann@",
    "group:dev",
    "tag:a",
    "tag:b",
    "tag:c",
    "autogroup:member",
    "autogroup:tagged",
    "autogroup:internet",
    "100.64.0.0/29",
    "100.64.0.2",
    "10.1.2.3",
    "8.8.8.8",
    "net",
    "192.168.0.0/16",
];

const PEOPLE_ONLY: [&str; 4] = ["ann@", "group:dev", "autogroup:member", "cat@example.com"];

/// A rule as the model reads it.
#[derive(Debug)]
struct Plain {
    sources: Vec<&'static str>,
    targets: Vec<(&'static str, &'static str)>,
    protocol: &'static str,
    via: Vec<&'static str>,
}

impl Plain {
    fn random(dice: &mut Dice) -> Self {
        let own = dice.below(6) == 0;
        let steered = !own && dice.below(5) == 0;
        let protocol = dice.one(&["", "", "tcp", "udp", "icmp"]);
        let ports = match protocol {
            "icmp" => &["*"][..],
            _ => &["*", "22", "80-90", "22,80"],
        };
        let targets = match (own, steered) {
            (true, _) => vec!["autogroup:self"],
            (_, true) => dice.some(2, &["net", "10.1.2.3", "autogroup:internet"]),
            _ => dice.some(3, &TARGETS),
        };
        Self {
            sources: if own { dice.some(2, &PEOPLE_ONLY) } else { dice.some(3, &SOURCES) },
            targets: targets.into_iter().map(|target| (target, dice.one(ports))).collect(),
            protocol,
            via: if steered { dice.some(2, &["tag:a", "tag:b"]) } else { Vec::new() },
        }
    }

    /// The rule as an ACL, or as grants where it must be one.
    fn write(&self, acls: &mut Vec<String>, grants: &mut Vec<String>) {
        let list = |items: &[&str]| format!("{items:?}");
        if self.via.is_empty() {
            let bracket = |target: &str| {
                if target.contains("::") { format!("[{target}]") } else { target.to_owned() }
            };
            let targets = self.targets.iter().map(|(target, p)| format!("{}:{p}", bracket(target)));
            acls.push(format!(
                r#"{{"action":"accept","proto":{:?},"src":{},"dst":{:?}}}"#,
                self.protocol,
                list(&self.sources),
                targets.collect::<Vec<_>>(),
            ));
            return;
        }
        for (target, ports) in &self.targets {
            let prefix = if self.protocol.is_empty() {
                String::new()
            } else {
                format!("{}:", self.protocol)
            };
            grants.push(format!(
                r#"{{"src":{},"dst":["{target}"],"ip":["{prefix}{ports}"],"via":{}}}"#,
                list(&self.sources),
                list(&self.via),
            ));
        }
    }
}

fn text(rules: &[Plain]) -> String {
    let (mut acls, mut grants) = (Vec::new(), Vec::new());
    rules.iter().for_each(|rule| rule.write(&mut acls, &mut grants));
    format!(
        r#"{{
            "groups": {{"group:dev": ["ann@", "cat@example.com"]}},
            "hosts": {{"net": "10.1.0.0/17"}},
            "tagOwners": {{"tag:a": [], "tag:b": [], "tag:c": []}},
            "acls": [{}], "grants": [{}],
            "ssh": [
                {{"action": "accept", "src": ["group:dev"], "dst": ["tag:a"], "users": ["root"]}},
                {{"action": "check", "src": ["autogroup:member"], "dst": ["autogroup:self"],
                  "users": ["localpart:*@example.com"]}},
            ],
            "nodeAttrs": [{{"target": ["tag:b", "ann@"], "attr": ["x"]}}],
        }}"#,
        acls.join(","),
        grants.join(","),
    )
}

/// A packet that arrives somewhere.
struct Packet {
    from: IpAddr,
    to: IpAddr,
    port: u16,
    protocol: u8,
}

/// The plainest reading: whether `at` takes the packet.
fn allowed(rules: &[Plain], nodes: &[Node], at: &Node, packet: &Packet) -> bool {
    rules.iter().any(|rule| {
        let protocols = ports::protocols(rule.protocol).unwrap();
        let protocol = protocols.contains(&packet.protocol)
            || (protocols.is_empty() && [1, 6, 17, 58].contains(&packet.protocol));
        let source = rule.sources.iter().any(|source| is_source(source, nodes, packet.from));
        let own = at.addresses().contains(&packet.to);
        let steered = rule.via.is_empty() || (!own && rule.via.iter().any(|tag| at.has_tag(tag)));
        let target = |(target, list): &(&str, &str)| {
            let to = match *target {
                "autogroup:self" => {
                    let sender = nodes.iter().find(|node| node.addresses().contains(&packet.from));
                    own && at.user.is_some() && sender.is_some_and(|s| s.user == at.user)
                }
                _ => is_target(target, at, packet.to),
            };
            to && ports::ports(list).unwrap().iter().any(|ports| ports.contains(packet.port))
        };
        protocol && source && steered && rule.targets.iter().any(target)
    })
}

impl Node {
    fn addresses(&self) -> Vec<IpAddr> {
        let subject = self.subject();
        vec![subject.v4.unwrap().into(), subject.v6.unwrap().into()]
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }
}

fn is_source(alias: &str, nodes: &[Node], address: IpAddr) -> bool {
    let behind = |node: &Node| node.routes.iter().any(|r| !r.is_exit() && r.contains(address));
    match alias {
        "*" => range::in_tailnet(address) || nodes.iter().any(behind),
        "autogroup:danger-all" => true,
        _ => {
            let sender = nodes.iter().find(|node| node.addresses().contains(&address));
            sender.is_some_and(|node| is_identity(alias, node)) || is_address(alias, address)
        }
    }
}

fn is_target(alias: &str, at: &Node, address: IpAddr) -> bool {
    match alias {
        "*" => true,
        "autogroup:internet" => {
            let exit = at.routes.iter().any(|r| r.is_exit());
            exit && range::in_internet(&Prefix::single(address))
        }
        _ => {
            let own = at.addresses().contains(&address);
            (own && is_identity(alias, at)) || is_address(alias, address)
        }
    }
}

fn is_identity(alias: &str, node: &Node) -> bool {
    match alias {
        "ann@" | "ann@example.com" => node.user == Some(1),
        "bob@" => node.user == Some(2),
        "cat@example.com" => node.user == Some(3),
        "user:*@example.com" | "group:dev" => matches!(node.user, Some(1 | 3)),
        "autogroup:member" => node.user.is_some(),
        "autogroup:tagged" => node.user.is_none(),
        _ => node.has_tag(alias),
    }
}

fn is_address(alias: &str, address: IpAddr) -> bool {
    let text = if alias == "net" { "10.1.0.0/17" } else { alias };
    text.parse::<Prefix>().is_ok_and(|prefix| prefix.contains(address))
}

/// What a client makes of a filter.
fn passes(filter: &serde_json::Value, packet: &Packet) -> bool {
    let contains = |text: &str, address: IpAddr| match text.split_once('-') {
        Some((first, last)) => {
            let (first, last): (IpAddr, IpAddr) = (first.parse().unwrap(), last.parse().unwrap());
            first.is_ipv4() == address.is_ipv4() && (first..=last).contains(&address)
        }
        None => text == "*" || text.parse::<Prefix>().unwrap().contains(address),
    };
    filter.as_array().unwrap().iter().any(|rule| {
        let protocols = match rule.get("IPProto") {
            None => vec![1, 6, 17, 58],
            Some(list) => list.as_array().unwrap().iter().map(|p| p.as_u64().unwrap()).collect(),
        };
        let mut sources = rule["SrcIPs"].as_array().unwrap().iter();
        let mut targets = rule["DstPorts"].as_array().unwrap().iter();
        protocols.contains(&packet.protocol.into())
            && sources.any(|source| contains(source.as_str().unwrap(), packet.from))
            && targets.any(|target| {
                let ports = &target["Ports"];
                let port = u64::from(packet.port);
                contains(target["IP"].as_str().unwrap(), packet.to)
                    && ports["First"].as_u64().unwrap() <= port
                    && port <= ports["Last"].as_u64().unwrap()
            })
    })
}

fn filter_of(compiled: &Compiled, id: u64) -> serde_json::Value {
    let mut out = Vec::new();
    compiled.filter(id).render(&mut out);
    serde_json::from_slice(&out).unwrap()
}

fn random_node(dice: &mut Dice, id: u64) -> Node {
    let owner = dice.one(&OWNERS);
    let routes = if dice.below(2) == 0 { dice.some(3, &ROUTES) } else { Vec::new() };
    let mut node = router(id, owner, &routes);
    node.routes.sort();
    node.routes.dedup();
    node
}

/// An address that the node is asked for: its own, or something behind it.
fn somewhere_at(dice: &mut Dice, node: &Node) -> IpAddr {
    if dice.below(2) == 0 || node.routes.is_empty() {
        return node.addresses()[dice.below(2)];
    }
    let route = node.routes[dice.below(node.routes.len())];
    let inside = ["10.1.2.3", "10.1.200.1", "10.2.0.1", "192.168.0.7", "fd00:1::9", "8.8.8.8"];
    let inside: Vec<IpAddr> = inside.iter().map(|text| text.parse().unwrap()).collect();
    let fits = |address: &&IpAddr| {
        let public = range::in_internet(&Prefix::single(**address));
        route.contains(**address) && (public || !route.is_exit())
    };
    let inside: Vec<&IpAddr> = inside.iter().filter(fits).collect();
    match inside.is_empty() {
        true => node.addresses()[0],
        false => *inside[dice.below(inside.len())],
    }
}

fn compare_with_the_language(
    dice: &mut Dice,
    rules: &[Plain],
    nodes: &[Node],
    compiled: &Compiled,
) {
    for at in nodes {
        let filter = filter_of(compiled, at.id);
        for _ in 0..20 {
            let sender = &nodes[dice.below(nodes.len())];
            let packet = Packet {
                from: somewhere_at(dice, sender),
                to: somewhere_at(dice, at),
                port: [22, 80, 85, 443][dice.below(4)],
                protocol: [1, 6, 17, 47][dice.below(4)],
            };
            let Packet { from, to, port, protocol } = packet;
            let expect = allowed(rules, nodes, at, &packet);
            assert_eq!(
                passes(&filter, &packet),
                expect,
                "{from} -> {to}:{port} ({protocol}) at {}\n{}\n{filter}",
                at.id,
                text(rules)
            );
            let own = sender.addresses().contains(&from) && at.addresses().contains(&to);
            if expect && own && sender.id != at.id {
                assert!(compiled.sees(sender.id, at.id) && compiled.sees(at.id, sender.id));
            }
        }
    }
}

fn compare_with_a_fresh_start(text: &str, nodes: &[Node], compiled: &Compiled) {
    let fresh = compile(text, nodes);
    for a in nodes {
        assert_eq!(compiled.filter(a.id), fresh.filter(a.id), "{text}");
        let ssh = |compiled: &Compiled| {
            let mut out = Vec::new();
            compiled.render_ssh(a.id, &mut out);
            let policy: serde_json::Value = serde_json::from_slice(&out).unwrap();
            // Places of nodes differ, so the order of principals may.
            let rules = policy["rules"].as_array().unwrap().clone();
            let sorted = |mut rule: serde_json::Value| {
                let principals = rule["principals"].as_array_mut().unwrap();
                principals.sort_by_key(|principal| principal.to_string());
                rule
            };
            rules.into_iter().map(sorted).collect::<Vec<_>>()
        };
        assert_eq!(ssh(compiled), ssh(&fresh));
        assert_eq!(compiled.attributes(a.id), fresh.attributes(a.id));
        for b in nodes {
            assert_eq!(compiled.sees(a.id, b.id), fresh.sees(a.id, b.id));
            assert_eq!(compiled.sees(a.id, b.id), compiled.sees(b.id, a.id));
            for route in &b.routes {
                let route_use = |compiled: &Compiled| compiled.route(a.id, b.id, route);
                assert_eq!(route_use(compiled), route_use(&fresh));
            }
        }
    }
}

#[test]
fn random_policies_mean_what_they_say() {
    let rounds = std::env::var("GRAMSCALE_POLICY_MODEL").ok();
    let rounds = rounds.map_or(ROUNDS, |text| text.parse().unwrap());
    for round in 0..rounds {
        let mut dice = Dice(round);
        let rules: Vec<Plain> = (0..=dice.below(5)).map(|_| Plain::random(&mut dice)).collect();
        let text = text(&rules);
        let mut nodes: Vec<Node> = (1..6).map(|id| random_node(&mut dice, id)).collect();
        let mut compiled = compile(&text, &nodes);
        let mut known: Vec<(u64, Rc<Filter>)> = Vec::new();
        for step in 0..STEPS {
            compare_with_the_language(&mut dice, &rules, &nodes, &compiled);
            compare_with_a_fresh_start(&text, &nodes, &compiled);
            // Whoever was not touched has the filter that it had.
            let touched = compiled.touched();
            for (id, before) in &known {
                if !touched.contains(id) {
                    assert_eq!(*before, compiled.filter(*id), "round {round}, step {step}");
                }
            }
            known = nodes.iter().map(|node| (node.id, compiled.filter(node.id))).collect();
            let id = 1 + dice.below(7) as u64;
            nodes.retain(|node| node.id != id);
            if dice.below(3) == 0 && !nodes.is_empty() {
                compiled.remove(id);
                known.retain(|(gone, _)| *gone != id);
            } else {
                let node = random_node(&mut dice, id);
                compiled.put(&node.subject());
                nodes.push(node);
                known.retain(|(changed, _)| *changed != id);
            }
        }
    }
}
