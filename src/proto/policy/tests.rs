//! Policies as people write them, and what becomes of them.

use std::rc::Rc;

use super::*;
use crate::wire::prefix::Prefix;

const PEOPLE: [Person<'static>; 3] = [
    Person { id: 1, name: "ann", email: "ann@example.com", provider_id: "" },
    Person { id: 2, name: "bob", email: "bob@example.org", provider_id: "https://id/2" },
    Person { id: 3, name: "cat@example.com", email: "", provider_id: "" },
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

#[test]
fn without_a_policy_all_is_allowed() {
    let mut open = Compiled::open();
    for id in [1, 2] {
        open.put(&router(id, "ann", &["10.0.0.0/8"]).subject());
    }
    assert!(open.sees(1, 2) && open.sees(2, 1) && !open.sees(1, 1) && !open.sees(1, 9));
    assert_eq!(open.peers(1).collect::<Vec<_>>(), [2]);
    assert_eq!(filter(&open, 1), "* > *:0-65535");
    assert!(Rc::ptr_eq(&open.filter(1), &open.filter(2)));
    assert_eq!(open.route(1, 2, &"10.0.0.0/8".parse().unwrap()), RouteUse::Primary);
    assert!(!open.may_tag(1, "tag:a") && !open.defines_tag("tag:a"));
    assert!(!open.approves(&node(1, "ann").subject(), &"10.0.0.0/8".parse().unwrap()));

    let mut closed = Compiled::closed();
    closed.put(&node(1, "ann").subject());
    closed.put(&node(2, "ann").subject());
    assert!(!closed.sees(1, 2) && closed.filter(1).is_empty());
}

#[test]
fn a_document_without_rules_allows_the_tailnet() {
    let nodes = [router(1, "ann", &["10.0.0.0/8"]), node(2, "bob")];
    let tailnet = "100.64.0.0-100.115.91.255,100.115.94.0-100.127.255.255,10.0.0.0/8";
    for text in ["{}", "{\"acls\": null}", "// nothing\n{\"groups\": {},}"] {
        let compiled = compile(text, &nodes);
        assert!(compiled.sees(1, 2));
        assert_eq!(filter(&compiled, 1), format!("{tailnet} > *:0-65535"), "{text}");
        assert!(Rc::ptr_eq(&compiled.filter(1), &compiled.filter(2)));
    }
    for text in ["{\"acls\": []}", "{\"grants\": []}"] {
        let compiled = compile(text, &nodes);
        assert!(!compiled.sees(1, 2));
        assert_eq!(filter(&compiled, 1), "");
    }
}

#[test]
fn sources() {
    let nodes = [node(1, "ann"), node(2, "bob"), node(3, "cat@example.com"), node(4, "tag:a")];
    for (src, expect) in [
        (r#""ann@example.com""#, "100.64.0.1"),
        (r#""ann@""#, "100.64.0.1"),
        (r#""cat@example.com""#, "100.64.0.3"),
        (r#""https://id/2", "x@""#, ""),
        (r#""user:*@example.org""#, "100.64.0.2"),
        (r#""group:dev""#, "100.64.0.1,100.64.0.3"),
        (r#""tag:a""#, "100.64.0.4"),
        (r#""web""#, "100.64.0.4"),
        (r#""web", "tag:a", "100.64.0.4/32""#, "100.64.0.4"),
        (r#""net", "1.2.3.4""#, "1.2.3.4,10.0.0.0/8"),
        (r#""autogroup:member""#, "100.64.0.1,100.64.0.2,100.64.0.3"),
        (r#""autogroup:tagged""#, "100.64.0.4"),
        (r#""autogroup:danger-all", "ann@""#, "*"),
        (r#""*""#, "100.64.0.0-100.115.91.255,100.115.94.0-100.127.255.255"),
        (r#""*", "web""#, "100.64.0.0-100.115.91.255,100.115.94.0-100.127.255.255,100.64.0.4"),
        (r#""group:none""#, ""),
        ("", ""),
    ] {
        if src.contains("id/2") {
            // No alias: it has no @.
            assert!(Policy::parse(&acl(src, r#""*:*""#)).is_err());
            continue;
        }
        let compiled = compile(&acl(src, r#""*:22""#), &nodes);
        let expect = if expect.is_empty() { String::new() } else { format!("{expect} > *:22-22") };
        assert_eq!(filter(&compiled, 4), expect, "{src}");
    }
}

#[test]
fn destinations() {
    let nodes = [node(1, "ann"), node(2, "bob"), node(4, "tag:a tag:b"), node(5, "tag:b")];
    for (dst, expect) in [
        (r#""tag:a:22""#, "100.64.0.4:22-22"),
        (r#""tag:a:22,80-90", "tag:b:*""#, "100.64.0.4:22-22,100.64.0.4:80-90,100.64.0.4:0-65535"),
        (r#""web:1""#, "100.64.0.4:1-1"),
        (r#""100.64.0.0/24:1""#, "100.64.0.0/24:1-1"),
        (r#""*:1-65535""#, "*:1-65535"),
        (r#""autogroup:tagged:1""#, "100.64.0.4:1-1"),
        (r#""autogroup:member:1""#, ""),
        (r#""ann@:1""#, ""),
        (r#""net:1""#, ""),
        (r#""autogroup:internet:*""#, ""),
        (r#""autogroup:self:*""#, ""),
        ("", ""),
    ] {
        let source = if dst.contains("self") { "*" } else { "ann@" };
        let compiled = compile(&acl(&format!("\"{source}\""), dst), &nodes);
        let expect =
            if expect.is_empty() { String::new() } else { format!("100.64.0.1 > {expect}") };
        assert_eq!(filter(&compiled, 4), expect, "{dst}");
    }
    // IPv6 literals.
    for dst in [r#""[fd7a:115c:a1e0::4]:22""#, r#""fd7a:115c:a1e0::/64:22""#] {
        let compiled = compile(&acl("\"ann@\"", dst), &nodes);
        assert!(compiled.sees(1, 4) && !compiled.filter(4).is_empty(), "{dst}");
    }
}

#[test]
fn protocols() {
    let rule = |proto: &str, dst: &str| {
        format!(
            r#"{{"acls": [{{"action":"accept","proto":"{proto}","src":["ann@"],"dst":["{dst}"]}}]}}"#
        )
    };
    let nodes = [node(1, "ann"), node(2, "bob")];
    for (proto, dst, expect) in [
        ("tcp", "bob@:22", "[6] 100.64.0.1 > 100.64.0.2:22-22"),
        ("17", "bob@:22", "[17] 100.64.0.1 > 100.64.0.2:22-22"),
        ("icmp", "bob@:*", "[1] 100.64.0.1 > 100.64.0.2:0-65535"),
        ("", "bob@:*", "100.64.0.1 > 100.64.0.2:0-65535"),
    ] {
        assert_eq!(filter(&compile(&rule(proto, dst), &nodes), 2), expect);
    }
    let error = Policy::parse(&rule("icmp", "bob@:22")).unwrap_err();
    assert!(error.message.contains("does not support specific ports"), "{error}");
}

#[test]
fn grants() {
    let grant =
        |ip: &str| format!(r#"{{"grants": [{{"src": ["ann@"], "dst": ["bob@"], "ip": [{ip}]}}]}}"#);
    let nodes = [node(1, "ann"), node(2, "bob")];
    for (ip, expect) in [
        (r#""*""#, "100.64.0.1 > 100.64.0.2:0-65535"),
        (r#""22", "80-90""#, "100.64.0.1 > 100.64.0.2:22-22,100.64.0.2:80-90"),
        (
            r#""tcp:22", "udp:*", "tcp:80""#,
            "[6] 100.64.0.1 > 100.64.0.2:22-22,100.64.0.2:80-80\n[17] 100.64.0.1 > 100.64.0.2:0-65535",
        ),
    ] {
        assert_eq!(filter(&compile(&grant(ip), &nodes), 2), expect);
    }
}

#[test]
fn equal_sources_are_merged() {
    let text = r#"{
        "groups": {"group:a": ["ann@"]},
        "acls": [
            {"action": "accept", "src": ["ann@"], "dst": ["bob@:1"]},
            {"action": "accept", "src": ["cat@example.com"], "dst": ["bob@:2"]},
            {"action": "accept", "src": ["group:a"], "dst": ["bob@:3"]},
            {"action": "accept", "src": ["100.64.0.1", "fd7a:115c:a1e0::1"], "dst": ["bob@:4"]},
            {"action": "accept", "proto": "tcp", "src": ["ann@"], "dst": ["bob@:5"]},
        ],
    }"#;
    let nodes = [node(1, "ann"), node(2, "bob"), node(3, "cat@example.com")];
    assert_eq!(
        filter(&compile(text, &nodes), 2),
        "100.64.0.1 > 100.64.0.2:1-1,100.64.0.2:3-3,100.64.0.2:4-4\n\
         100.64.0.3 > 100.64.0.2:2-2\n\
         [6] 100.64.0.1 > 100.64.0.2:5-5"
    );
}

#[test]
fn own_nodes() {
    let text = acl(r#""*""#, r#""autogroup:self:22", "tag:a:80""#);
    let nodes =
        [node(1, "ann"), node(2, "ann"), node(3, "bob"), node(4, "tag:a"), node(5, "tag:b")];
    let mut compiled = compile(&text, &nodes);
    assert!(compiled.sees(1, 2) && !compiled.sees(1, 3) && compiled.sees(1, 4));
    assert!(!compiled.sees(5, 1) && compiled.sees(5, 4));
    assert_eq!(filter(&compiled, 1), "100.64.0.1,100.64.0.2 > 100.64.0.1:22-22");
    assert_eq!(filter(&compiled, 3), "100.64.0.3 > 100.64.0.3:22-22");
    assert_eq!(filter(&compiled, 5), "");
    // Only the people that the rule names.
    compiled = compile(&acl(r#""group:dev""#, r#""autogroup:self:22""#), &nodes);
    assert!(compiled.sees(1, 2));
    assert_eq!(filter(&compiled, 3), "");
}

#[test]
fn one_way_rules_show_both() {
    let nodes = [node(1, "ann"), node(2, "bob"), node(3, "tag:a"), node(4, "tag:b")];
    let compiled = compile(&acl(r#""ann@""#, r#""tag:a:22""#), &nodes);
    assert!(compiled.sees(1, 3) && compiled.sees(3, 1));
    assert!(!compiled.sees(1, 2) && !compiled.sees(1, 4) && !compiled.sees(3, 4));
    assert_eq!(compiled.peers(3).collect::<Vec<_>>(), [1]);
    assert!(compiled.filter(1).is_empty());
}

#[test]
fn routes() {
    let lan: Prefix = "10.1.0.0/16".parse().unwrap();
    let exit: Prefix = "0.0.0.0/0".parse().unwrap();
    let nodes = [
        node(1, "ann"),
        node(2, "bob"),
        router(3, "tag:a", &["10.1.0.0/16"]),
        router(4, "tag:b", &["10.1.0.0/16", "0.0.0.0/0", "::/0"]),
        router(5, "tag:b", &["192.168.0.0/24"]),
    ];
    let use_of = |compiled: &Compiled, viewer, peer, route: &Prefix| {
        compiled.route(viewer, peer, route) == RouteUse::Primary
    };
    // To what lies behind a router, as the policy writes it.
    let compiled = compile(&acl(r#""ann@""#, r#""net:80""#), &nodes);
    assert!(
        compiled.sees(1, 3) && compiled.sees(1, 4) && !compiled.sees(1, 5) && !compiled.sees(2, 3)
    );
    assert!(use_of(&compiled, 1, 3, &lan) && !use_of(&compiled, 2, 3, &lan));
    assert!(!use_of(&compiled, 1, 4, &exit));
    assert_eq!(filter(&compiled, 3), "100.64.0.1 > 10.0.0.0/8:80-80");
    // From behind a router.
    let compiled = compile(&acl(r#""net""#, r#""ann@:80""#), &nodes);
    assert!(use_of(&compiled, 1, 3, &lan) && !use_of(&compiled, 2, 3, &lan));
    assert_eq!(filter(&compiled, 1), "10.0.0.0/8 > 100.64.0.1:80-80");
    // The router itself is not what lies behind it.
    let compiled = compile(&acl(r#""ann@""#, r#""tag:a:80""#), &nodes);
    assert!(compiled.sees(1, 3) && !use_of(&compiled, 1, 3, &lan));
    // From one to another.
    let compiled = compile(&acl(r#""192.168.0.0/24""#, r#""10.1.2.3:80""#), &nodes);
    assert!(compiled.sees(5, 3) && use_of(&compiled, 5, 3, &lan) && !compiled.sees(1, 3));
    // Two routers for the same: each gets it, to stand back for the other.
    let compiled = compile(&acl(r#""tag:a""#, r#""tag:b:*""#), &nodes);
    assert!(use_of(&compiled, 3, 4, &lan) && use_of(&compiled, 4, 3, &lan));
    // Exit nodes.
    let compiled = compile(&acl(r#""ann@""#, r#""autogroup:internet:*""#), &nodes);
    assert!(
        compiled.sees(1, 4) && use_of(&compiled, 1, 4, &exit) && !use_of(&compiled, 1, 4, &lan)
    );
    assert!(filter(&compiled, 4).contains("0.0.0.0-9.255.255.255:0-65535"));
    assert_eq!(filter(&compiled, 3), "");
    let compiled = compile(&acl(r#""ann@""#, r#""8.8.8.8:53""#), &nodes);
    assert!(use_of(&compiled, 1, 4, &exit) && !use_of(&compiled, 2, 4, &exit));
    assert_eq!(filter(&compiled, 4), "100.64.0.1 > 8.8.8.8:53-53");
}

#[test]
fn the_hole_of_chromeos() {
    let mut inside = node(1, "ann").subject().v4;
    let mut compiled = compile(&acl(r#""*""#, r#""tag:a:80""#), &[node(4, "tag:a")]);
    for (address, sees) in [("100.115.92.1", false), ("100.115.94.1", true), ("192.0.2.1", false)] {
        inside = inside.and(address.parse().ok());
        compiled.put(&Subject { v4: inside, v6: None, ..node(1, "ann").subject() });
        assert_eq!(compiled.sees(1, 4), sees, "{address}");
    }
}

#[test]
fn changes() {
    let text = r#"{
        "tagOwners": {"tag:a": []},
        "acls": [
            {"action": "accept", "src": ["ann@"], "dst": ["tag:a:1"]},
            {"action": "accept", "src": ["*"], "dst": ["bob@:2"]},
        ],
    }"#;
    let mut compiled = compile(text, &[node(1, "ann"), node(2, "bob"), node(3, "tag:a")]);
    assert_eq!(compiled.touched(), [1, 2, 3]);
    assert!(compiled.touched().is_empty());
    let bob = compiled.filter(2);
    // A new node of ann's changes who may reach the tag, and nothing else.
    compiled.put(&node(4, "ann").subject());
    assert_eq!(compiled.touched(), [3, 4]);
    assert_eq!(filter(&compiled, 3), "100.64.0.1,100.64.0.4 > 100.64.0.3:1-1");
    assert!(Rc::ptr_eq(&bob, &compiled.filter(2)));
    // A new route changes what `*` is.
    compiled.put(&router(3, "tag:a", &["10.0.0.0/8"]).subject());
    assert_eq!(compiled.touched(), [2, 3]);
    assert!(filter(&compiled, 2).contains(",10.0.0.0/8 > "));
    compiled.remove(3);
    assert!(!filter(&compiled, 2).contains("10.0.0.0/8"));
    assert!(!compiled.sees(1, 3) && compiled.filter(3).is_empty());
    compiled.remove(1);
    compiled.put(&node(3, "tag:a").subject());
    assert_eq!(filter(&compiled, 3), "100.64.0.4 > 100.64.0.3:1-1");
    // A node changes hands.
    compiled.put(&node(4, "cat@example.com").subject());
    assert_eq!(filter(&compiled, 3), "");
    assert!(!compiled.sees(4, 3));
    // A user changes its name.
    compiled.touched();
    let renamed = Person { name: "eve", email: "", ..PEOPLE[1] };
    compiled.set_people(&[Person { name: "bob", ..PEOPLE[0] }, renamed]).unwrap();
    compiled.put(&node(5, "ann").subject());
    assert!(filter(&compiled, 5).ends_with("> 100.64.0.5:2-2"));
    assert_eq!(filter(&compiled, 2), "");
}

#[test]
fn tags() {
    let text = r#"{
        "groups": {"group:g": ["bob@example.org"]},
        "tagOwners": {
            "tag:a": ["ann@", "group:g"],
            "tag:b": ["tag:a"],
            "tag:c": ["tag:d"],
            "tag:d": ["tag:c", "autogroup:member"],
            "tag:e": [],
        },
    }"#;
    let compiled = compile(text, &[]);
    for (tag, ann, bob, cat) in [
        ("tag:a", true, true, false),
        ("tag:b", true, true, false),
        ("tag:c", true, true, true),
        ("tag:e", false, false, false),
        ("tag:x", false, false, false),
    ] {
        let may = [1, 2, 3].map(|user| compiled.may_tag(user, tag));
        assert_eq!(may, [ann, bob, cat], "{tag}");
    }
    assert!(compiled.defines_tag("tag:e") && !compiled.defines_tag("tag:x"));
    let own = ["tag:a".to_owned()];
    assert!(compiled.may_retag(&own, "tag:a") && compiled.may_retag(&own, "tag:b"));
    assert!(!compiled.may_retag(&own, "tag:e"));
}

#[test]
fn approvers() {
    let text = r#"{
        "tagOwners": {"tag:a": []},
        "autoApprovers": {
            "routes": {"10.0.0.0/8": ["tag:a", "ann@"], "0.0.0.0/0": ["bob@"]},
            "exitNode": ["tag:a"],
        },
    }"#;
    let compiled = compile(text, &[]);
    let approves = |owner: &str, route: &str| {
        compiled.approves(&node(9, owner).subject(), &route.parse().unwrap())
    };
    assert!(approves("tag:a", "10.0.0.0/8") && approves("ann", "10.1.0.0/16"));
    assert!(!approves("bob", "10.1.0.0/16") && !approves("ann", "0.0.0.0/0"));
    assert!(!approves("ann", "8.0.0.0/5") && !approves("ann", "fd00::/8"));
    assert!(approves("tag:a", "::/0") && !approves("bob", "0.0.0.0/0"));
}

#[test]
fn errors_name_the_place() {
    for (text, line, column, path, message) in [
        ("", 1, 1, "", "the text ends too early"),
        ("{\"acls\": [}", 1, 11, "", "a value is expected"),
        ("{\n \"acls\": [],\n \"acls\": []}", 3, 2, "", "duplicate name"),
        ("{\"acls\": [], \"ACLs\": []}", 1, 22, "ACLs", "duplicate name"),
        ("[]", 1, 1, "", "an object is expected, not an array"),
        ("null", 1, 1, "", "an object is expected, not null"),
        ("{\n  \"acl\": []}", 2, 10, "acl", "unknown field: \"acl\""),
        ("{\"acls\": {}}", 1, 10, "acls", "an array is expected, not an object"),
        ("{\"groups\": {\"x\": []}}", 1, 18, "groups.x", "must start with 'group:'"),
        ("{\"groups\": {\"group:x\": \"a\"}}", 1, 24, "groups[\"group:x\"]", "must be an array"),
        ("{\"groups\": {\"group:x\": [\"a\"]}}", 1, 25, "groups[\"group:x\"][0]", "must contain @"),
        (
            "{\"groups\": {\"group:x\": [\"group:x\"]}}",
            1,
            25,
            "groups[\"group:x\"][0]",
            "cannot be recursive",
        ),
        ("{\"hosts\": {\"a\": \"b\"}}", 1, 17, "hosts.a", "invalid IP address"),
        ("{\"hosts\": {\"a:b\": \"::1\"}}", 1, 19, "hosts[\"a:b\"]", "may have no ':'"),
        ("{\"tagOwners\": {\"a\": []}}", 1, 21, "tagOwners.a", "must start with 'tag:'"),
        ("{\"tagOwners\": {\"tag:1\": []}}", 1, 25, "", "start with a letter"),
        ("{\"tagOwners\": {\"tag:a\": [\"tag:b\"]}}", 1, 26, "", "references undefined tag"),
        ("{\"tagOwners\": {\"tag:a\": [\"x\"]}}", 1, 26, "", "host not defined"),
        ("{\"autoApprovers\": {\"routes\": {\"x\": []}}}", 1, 36, "", "is no prefix"),
        ("{\"autoApprovers\": {\"x\": {}}}", 1, 25, "autoApprovers.x", "unknown field"),
        ("{\"acls\": [{\"src\": []}]}", 1, 11, "acls[0]", "invalid ACL action"),
        ("{\"acls\": [{\"action\": \"deny\"}]}", 1, 22, "acls[0].action", "invalid ACL action"),
        ("{\"ssh\": []}", 1, 9, "ssh", "not supported yet"),
        ("{\"randomizeClientPort\": 1}", 1, 25, "randomizeClientPort", "true or false"),
        (
            "{\"acls\": [{\"action\": \"accept\", \"src\": [\"*\"],\n// x\n\"dst\": [\"tag:x:1\"]}]}",
            3,
            9,
            "acls[0].dst[0]",
            "tag not found",
        ),
        (
            "{\"grants\": [{\"src\": [\"*\"], \"dst\": [\"*\"]}]}",
            1,
            13,
            "grants[0]",
            "can not both be empty",
        ),
        (
            "{\"grants\": [{\"src\": [\"*\"], \"dst\": [\"::/0\"], \"ip\": [\"*\"]}]}",
            1,
            36,
            "grants[0].dst[0]",
            "to allow all IP addresses",
        ),
    ] {
        let error = Policy::parse(text).unwrap_err();
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
        assert!(path.is_empty() || error.path == path, "{text}: {error}");
    }
    let long = format!("{{}}{}", " ".repeat(MAX_TEXT));
    assert!(Policy::parse(&long).unwrap_err().message.contains("longer than"));
}

#[test]
fn wrong_destinations() {
    for (dst, message) in [
        (r#""tag:a""#, "unknown"),
        (r#""web""#, "must contain a colon"),
        (r#""autogroup:self""#, "invalid alias"),
        (r#""web:0""#, "first port must be >0"),
        (r#""web:99999""#, "out of range"),
        (r#""autogroup:danger-all:1""#, "as a dst"),
        (r#""[web]:1""#, "square brackets"),
        ("1", "a string is expected"),
    ] {
        let error = Policy::parse(&acl(r#""*""#, dst)).unwrap_err();
        assert_eq!(error.path, "acls[0].dst[0]");
        let expected = error.message.contains(message)
            // The last part of a tag or autogroup without ports reads as its ports.
            || (dst.starts_with("\"tag") || dst.contains("self"));
        assert!(expected, "{dst}: {error}");
    }
    for src in [r#""tag:a""#, r#""10.0.0.1""#, r#""autogroup:tagged""#] {
        let error = Policy::parse(&acl(src, r#""autogroup:self:*""#)).unwrap_err();
        assert!(error.message.contains("autogroup:self can only be used"), "{error}");
    }
}

#[test]
fn a_name_of_two_users_is_refused() {
    let policy = Rc::new(Policy::parse(&acl(r#""ann@example.com""#, r#""*:*""#)).unwrap());
    let twin = Person { id: 9, email: "ann@example.com", ..PEOPLE[1] };
    let error = Compiled::new(Rc::clone(&policy), &[PEOPLE[0], twin]).unwrap_err();
    assert!(error.message.contains("multiple users found"), "{error}");
    let mut compiled = Compiled::new(policy, &PEOPLE).unwrap();
    assert!(compiled.set_people(&[PEOPLE[0], twin]).is_err());
    assert_eq!(
        compiled.people.users(&alias::Alias::User("ann@".into()), &Default::default()),
        Ok(vec![1])
    );
}
