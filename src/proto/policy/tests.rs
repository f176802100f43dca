//! Policies as people write them, and what becomes of them.

use std::rc::Rc;

use super::*;
use crate::wire::prefix::Prefix;

const PEOPLE: [Person<'static>; 3] = [
    Person { id: 1, name: "ann", email: "ann@example.com", provider_id: "", role: Standing::Owner },
    Person {
        id: 2,
        name: "bob",
        email: "bob@example.org",
        provider_id: "https://id/2",
        role: Standing::Member,
    },
    Person { id: 3, name: "cat@example.com", email: "", provider_id: "", role: Standing::Admin },
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

/// The whole filter as JSON.
fn filter_json(compiled: &Compiled, id: u64) -> serde_json::Value {
    let mut out = Vec::new();
    compiled.filter(id).render(&mut out);
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn capabilities() {
    let grant = |src: &str, dst: &str, app: &str| {
        format!(
            r#"{{"tagOwners": {{"tag:a": []}},
                 "grants": [{{"src": ["{src}"], "dst": ["{dst}"], "app": {{{app}}}}}]}}"#
        )
    };
    let nodes = [node(1, "ann"), node(2, "bob"), node(4, "tag:a"), node(5, "ann")];
    let own = |id: u64| [format!("100.64.0.{id}/32"), format!("fd7a:115c:a1e0::{id}/128")];
    let caps = r#""example.com/cap/x": [{"a": 1}, "two"]"#;
    let compiled = compile(&grant("ann@", "tag:a", caps), &nodes);
    let expect = serde_json::json!([{
        "SrcIPs": ["100.64.0.1", "100.64.0.5", "fd7a:115c:a1e0::1", "fd7a:115c:a1e0::5"],
        "CapGrant": [{"Dsts": own(4), "CapMap": {"example.com/cap/x": [{"a": 1}, "two"]}}],
    }]);
    assert_eq!(filter_json(&compiled, 4), expect);
    assert_eq!(filter_json(&compiled, 1), serde_json::json!([]));
    assert!(compiled.sees(1, 4) && !compiled.sees(2, 4));
    // Sharing drives needs a capability on the way back.
    let drive = r#""tailscale.com/cap/drive": []"#;
    let compiled = compile(&grant("ann@", "tag:a", drive), &nodes);
    let expect = serde_json::json!([{
        "SrcIPs": ["100.64.0.4", "fd7a:115c:a1e0::4"],
        "CapGrant": [{"Dsts": own(1), "CapMap": {"tailscale.com/cap/drive-sharer": null}}],
    }]);
    assert_eq!(filter_json(&compiled, 1), expect);
    let compiled = compile(&grant("*", "*", drive), &nodes);
    assert_eq!(filter_json(&compiled, 1)[1]["SrcIPs"][0], "100.64.0.0-100.115.91.255");
    assert_eq!(filter_json(&compiled, 1)[1]["CapGrant"][0]["Dsts"], serde_json::json!(own(1)));
    // Between a user's own nodes.
    let compiled = compile(&grant("autogroup:member", "autogroup:self", drive), &nodes);
    let rules = filter_json(&compiled, 1);
    assert_eq!(rules.as_array().unwrap().len(), 2);
    assert_eq!(rules[0]["SrcIPs"], rules[1]["SrcIPs"]);
    assert_eq!(rules[0]["SrcIPs"][1], "100.64.0.5");
    // What lies behind a router has no capabilities.
    let nodes = [node(1, "ann"), router(4, "tag:a", &["10.0.0.0/8"])];
    let compiled = compile(&grant("ann@", "10.0.0.0/8", caps), &nodes);
    assert_eq!(filter(&compiled, 4), "");
    for (app, message) in [
        (r#""x": []"#, "must have the form"),
        (r#""tailscale.com/cap/funnel": []"#, "must not be in the tailscale.com domain"),
        (r#""example.com/x": {}"#, "an array of values is expected"),
        ("", "can not both be empty"),
    ] {
        let error = Policy::parse(&grant("*", "*", app)).unwrap_err();
        assert!(error.message.contains(message), "{app}: {error}");
    }
    let error = Policy::parse(&grant("*", "autogroup:internet", caps)).unwrap_err();
    assert!(error.message.contains("cannot use app grants with autogroup:internet"), "{error}");
}

#[test]
fn steering() {
    let lan: Prefix = "10.1.0.0/16".parse().unwrap();
    let exit: Prefix = "::/0".parse().unwrap();
    let text = |more: &str| {
        format!(
            r#"{{"tagOwners": {{"tag:a": [], "tag:b": []}}, "grants": [
                {{"src": ["ann@"], "dst": ["10.1.2.0/24"], "ip": ["80"], "via": ["tag:a"]}},
                {{"src": ["ann@"], "dst": ["autogroup:internet"], "ip": ["*"], "via": ["tag:a"]}},
                {more}]}}"#
        )
    };
    let routes = ["10.1.0.0/16", "0.0.0.0/0", "::/0"];
    let nodes =
        [node(1, "ann"), node(2, "bob"), router(3, "tag:a", &routes), router(4, "tag:b", &routes)];
    let compiled = compile(&text(""), &nodes);
    assert_eq!(compiled.route(1, 3, &lan), RouteUse::Steered);
    assert_eq!(compiled.route(1, 3, &exit), RouteUse::Steered);
    assert_eq!(compiled.route(1, 4, &lan), RouteUse::No);
    assert_eq!(compiled.route(1, 4, &exit), RouteUse::No);
    assert_eq!(compiled.route(2, 3, &lan), RouteUse::No);
    assert!(compiled.sees(1, 3) && !compiled.sees(1, 4) && !compiled.sees(2, 3));
    assert!(filter(&compiled, 3).starts_with("100.64.0.1 > 10.1.2.0/24:80-80,"));
    assert_eq!(filter(&compiled, 4), "");
    // A rule without `via` leaves the choice to the primary router.
    let compiled = compile(&text(r#"{"src": ["ann@"], "dst": ["10.1.2.3"], "ip": ["*"]}"#), &nodes);
    assert_eq!(compiled.route(1, 3, &lan), RouteUse::Primary);
    assert_eq!(compiled.route(1, 4, &lan), RouteUse::Primary);
    assert_eq!(compiled.route(1, 4, &exit), RouteUse::No);
    for via in ["ann@", "*", "tag:x"] {
        let text = format!(
            r#"{{"grants": [{{"src": ["*"], "dst": ["*"], "ip": ["*"], "via": ["{via}"]}}]}}"#
        );
        assert_eq!(Policy::parse(&text).unwrap_err().path, "grants[0].via[0]");
    }
}

/// The SSH policy of a node: `action sources as logins`, a line a rule; only IPv4.
fn ssh(compiled: &Compiled, id: u64) -> String {
    let mut out = Vec::new();
    compiled.render_ssh(id, &mut out);
    let policy: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let mut lines = Vec::new();
    for rule in policy["rules"].as_array().unwrap() {
        let principals = rule["principals"].as_array().unwrap().iter();
        let principals = principals.map(|p| p["nodeIP"].as_str().unwrap());
        let principals: Vec<&str> = principals.filter(|p| !p.contains(':')).collect();
        let action = if rule["action"]["accept"] == true { "accept" } else { "check" };
        let env = rule.get("acceptEnv").map_or(String::new(), |env| format!(" {env}"));
        lines.push(format!("{action} {} as {}{env}", principals.join(","), rule["sshUsers"]));
    }
    lines.join("\n")
}

fn ssh_policy(rules: &str) -> String {
    format!(
        r#"{{"groups": {{"group:dev": ["ann@", "bob@"]}},
             "tagOwners": {{"tag:a": [], "tag:b": []}}, "acls": [], "ssh": [{rules}]}}"#
    )
}

#[test]
fn ssh_rules() {
    let nodes =
        [node(1, "ann"), node(2, "bob"), node(3, "ann"), node(4, "tag:a tag:b"), node(5, "tag:b")];
    let rule = |action: &str, src: &str, dst: &str, users: &str| {
        format!(
            r#"{{"action": "{action}", "src": ["{src}"], "dst": ["{dst}"], "users": [{users}]}},"#
        )
    };
    let to_4 = |text: &str| ssh(&compile(&ssh_policy(text), &nodes), 4);
    for (users, logins) in [
        (r#""root""#, r#"{"root":"root"}"#),
        (r#""u", " v ""#, r#"{"root":"","u":"u","v":"v"}"#),
        (r#""autogroup:nonroot""#, r#"{"*":"=","root":""}"#),
        (r#""autogroup:nonroot", "root""#, r#"{"*":"=","root":"root"}"#),
    ] {
        let got = to_4(&rule("accept", "ann@", "tag:a", users));
        assert_eq!(got, format!("accept 100.64.0.1,100.64.0.3 as {logins}"));
    }
    let root = r#""root""#;
    for (src, expect) in [
        ("group:dev", "100.64.0.1,100.64.0.3,100.64.0.2"),
        ("tag:b", "100.64.0.4,100.64.0.5"),
        ("autogroup:tagged", "100.64.0.4,100.64.0.4,100.64.0.5"),
        ("cat@example.com", ""),
    ] {
        let mut got: Vec<String> = to_4(&rule("accept", src, "tag:a", root))
            .split([' ', ','])
            .filter(|part| part.starts_with("100."))
            .map(str::to_owned)
            .collect();
        let mut expect: Vec<&str> = expect.split(',').filter(|part| !part.is_empty()).collect();
        got.sort();
        expect.sort_unstable();
        assert_eq!(got, expect, "{src}");
    }
    // Checks come first, whatever the order in the policy.
    let both = rule("accept", "ann@", "tag:a", root) + &rule("check", "bob@", "tag:a", root);
    let compiled = compile(&ssh_policy(&both), &nodes);
    assert_eq!(
        ssh(&compiled, 4),
        "check 100.64.0.2 as {\"root\":\"root\"}\n\
         accept 100.64.0.1,100.64.0.3 as {\"root\":\"root\"}"
    );
    assert_eq!(ssh(&compiled, 5), "");
    let mut compiled = compiled;
    compiled.touched();
    compiled.put(&node(6, "ann").subject());
    assert_eq!(compiled.touched(), [4, 6]);
    compiled.remove(6);
    assert_eq!(compiled.ssh(1, 4, "root"), Some(SshAction::Accept));
    assert_eq!(compiled.ssh(1, 4, "x"), None);
    assert_eq!(compiled.ssh(1, 5, "root"), None);
    let period = std::time::Duration::from_secs(12 * 3600);
    assert_eq!(compiled.ssh(2, 4, "root"), Some(SshAction::Check(period)));
    // One's own nodes.
    let compiled =
        compile(&ssh_policy(&rule("accept", "autogroup:member", "autogroup:self", root)), &nodes);
    assert_eq!(ssh(&compiled, 1), "accept 100.64.0.1,100.64.0.3 as {\"root\":\"root\"}");
    assert_eq!(ssh(&compiled, 2), "accept 100.64.0.2 as {\"root\":\"root\"}");
    assert_eq!(ssh(&compiled, 4), "");
    assert_eq!(compiled.ssh(1, 3, "root"), Some(SshAction::Accept));
    assert_eq!(compiled.ssh(2, 3, "root"), None);
}

#[test]
fn ssh_logins_by_email() {
    let text = ssh_policy(
        r#"{"action": "accept", "src": ["autogroup:member"], "dst": ["tag:a"],
            "users": ["localpart:*@example.com", "u"], "acceptEnv": ["GIT_*"]}"#,
    );
    let compiled = compile(&text, &[node(1, "ann"), node(2, "bob"), node(4, "tag:a")]);
    let common = r#"{"root":"","u":"u"} ["GIT_*"]"#;
    let ann = format!(
        "accept 100.64.0.1 as {common}\naccept 100.64.0.1 as {{\"ann\":\"ann\"}} [\"GIT_*\"]"
    );
    assert_eq!(ssh(&compiled, 4), format!("{ann}\naccept 100.64.0.2 as {common}"));
    assert_eq!(ssh(&compiled, 1), ann);
    assert_eq!(compiled.ssh(1, 4, "ann"), Some(SshAction::Accept));
    assert_eq!(compiled.ssh(2, 4, "ann"), None);
    assert!(compiled.test().is_ok());
    let elsewhere = text.replace("*@example.com", "*@example.net");
    let error = compile(&elsewhere, &[]).test().unwrap_err();
    assert!(error.message.contains("not associated"), "{error}");
}

#[test]
fn wrong_ssh_rules() {
    let base = [
        ("action", r#""accept""#),
        ("src", r#"["ann@"]"#),
        ("dst", r#"["tag:a"]"#),
        ("users", r#"["root"]"#),
    ];
    for (change, message) in [
        (("action", r#""""#), "action must be specified"),
        (("action", r#""Accept""#), "is not a valid action"),
        (("users", "[]"), "users must be specified"),
        (("users", "null"), "users must be specified"),
        (("users", r#"["root", "*"]"#), "user \"*\" is not valid"),
        (("users", r#"[" "]"#), "user \"\" is not valid"),
        (("users", r#"["a\"b"]"#), "quotes, backslashes"),
        (("dst", r#"["*"]"#), "wildcard (*) is not supported"),
        (("dst", r#"["group:dev"]"#), "invalid dst"),
        (("dst", r#"["100.64.0.1"]"#), "invalid dst"),
        (("dst", r#"["bob@"]"#), "only that same user"),
        (("src", r#"["*"]"#), "invalid src"),
        (("src", r#"["autogroup:self"]"#), "invalid src"),
        (("checkPeriod", r#""1h""#), "only valid with action \"check\""),
        (("acceptEnv", r#"[""]"#), "cannot be empty"),
        (("recorder", "[]"), "unknown field"),
    ] {
        let fields = base.iter().filter(|(name, _)| *name != change.0).chain([&change]);
        let rule: Vec<String> =
            fields.map(|(name, value)| format!("\"{name}\": {value}")).collect();
        let error = Policy::parse(&ssh_policy(&format!("{{{}}}", rule.join(", ")))).unwrap_err();
        assert!(error.message.contains(message), "{change:?}: {error}");
        assert!(error.path.starts_with("ssh[0]"), "{change:?}: {error}");
    }
    for (src, dst, message) in [
        ("tag:a", "ann@", "cannot access user-owned devices"),
        ("autogroup:tagged", "autogroup:member", "cannot access user-owned devices"),
        ("tag:a", "autogroup:self", "only users or groups"),
    ] {
        let text = format!(
            r#"{{"action": "accept", "src": ["{src}"], "dst": ["{dst}"], "users": ["root"]}}"#
        );
        let error = Policy::parse(&ssh_policy(&text)).unwrap_err();
        assert!(error.message.contains(message), "{src} {dst}: {error}");
    }
    for (period, message) in [
        ("always", ""),
        ("168h", ""),
        ("1h30m", ""),
        ("168h0m1s", "above the max"),
        ("-1m", "must be a positive duration"),
        ("0s", "must be a positive duration"),
        ("1d", "invalid duration"),
        ("abc", "invalid duration"),
        ("", "invalid duration"),
    ] {
        let text = format!(
            r#"{{"action": "check", "checkPeriod": "{period}", "src": ["ann@"],
                 "dst": ["tag:a"], "users": ["root"]}}"#
        );
        match Policy::parse(&ssh_policy(&text)) {
            Ok(_) => assert!(message.is_empty(), "{period}"),
            Err(error) => assert!(error.message.contains(message), "{period}: {error}"),
        }
    }
}

#[test]
fn node_attributes() {
    let text = r#"{
        "groups": {"group:g": ["bob@"]},
        "tagOwners": {"tag:a": []},
        "randomizeClientPort": true,
        "nodeAttrs": [
            {"target": ["tag:a"], "attr": ["drive:share", "nextdns:abc"]},
            {"target": ["ann@", "100.64.0.4"], "attr": ["funnel"]},
            {"target": ["*"], "app": {"example.com/x": [1]}},
            {"target": ["autogroup:admin"], "app": {"example.com/x": [{"b": 2}]}},
            {"target": ["autogroup:owner"], "attr": ["disable-ipv4"]},
            {"target": ["group:g"], "ipPool": ["100.81.0.0/16"]},
        ],
    }"#;
    let nodes = [node(1, "ann"), node(2, "bob"), node(3, "cat@example.com"), node(4, "tag:a")];
    let compiled = compile(text, &nodes);
    let of = |id: u64| -> Vec<String> {
        let attributes = compiled.attributes(id).into_iter();
        let text = |bytes: &&[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        attributes
            .map(|(name, values)| format!("{name}={}", values.iter().map(text).collect::<String>()))
            .collect()
    };
    let funnel = [
        "funnel=",
        "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000=",
        "https://tailscale.com/cap/warn-funnel-no-https=",
    ];
    let mut ann = vec!["disable-ipv4=", "example.com/x=1{\"b\":2}"];
    ann.extend(funnel);
    ann.push("randomize-client-port=");
    assert_eq!(of(1), ann);
    assert_eq!(of(2), ["example.com/x=1", "randomize-client-port="]);
    assert_eq!(of(3), ["example.com/x=1{\"b\":2}", "randomize-client-port="]);
    let mut tagged = vec!["drive:share=", "example.com/x=1"];
    tagged.extend(funnel);
    tagged.extend(["nextdns:abc=", "randomize-client-port="]);
    assert_eq!(of(4), tagged);
    assert!(compiled.disables_ipv4(1) && !compiled.disables_ipv4(2));
    assert_eq!(compiled.pool(&node(9, "bob").subject()), ["100.81.0.0/16".parse().unwrap()]);
    assert_eq!(compiled.pool(&node(9, "ann").subject()), []);
    for (grant, message) in [
        (r#"{"target": ["autogroup:self"], "attr": ["x"]}"#, "invalid target"),
        (r#"{"target": ["%x%"], "attr": ["x"]}"#, "invalid alias format"),
        (r#"{"target": ["tag:x"], "attr": ["x"]}"#, "tag not found"),
        (r#"{"target": ["*"], "attr": ["a b"]}"#, "no name of an attribute"),
        (r#"{"target": ["*"], "app": {"x": 1}}"#, "an array of values"),
        (r#"{"target": ["*"], "ipPool": ["x"]}"#, "is no prefix"),
        (r#"{"targets": ["*"]}"#, "unknown field"),
    ] {
        let error = Policy::parse(&format!("{{\"nodeAttrs\": [{grant}]}}")).unwrap_err();
        assert!(error.message.contains(message), "{grant}: {error}");
    }
}

#[test]
fn explanations() {
    let text = r#"{
        "groups": {"group:dev": ["ann@", "bob@"]},
        "hosts": {"web": "100.64.0.4"},
        "tagOwners": {"tag:a": [], "tag:b": []},
        "acls": [
            {"action": "accept", "src": ["group:dev"], "dst": ["tag:a:22"]},
            {"action": "accept", "proto": "udp", "src": ["ann@"], "dst": ["tag:a:53"]},

            {"action": "accept", "src": ["ann@"], "dst": ["10.0.0.0/8:80", "autogroup:self:*"]},
        ],
        "grants": [
            {"src": ["tag:a"], "dst": ["10.1.0.0/16"], "ip": ["tcp:443"], "via": ["tag:b"]},
        ],
    }"#;
    let nodes =
        [node(1, "ann"), node(2, "bob"), node(4, "tag:a"), router(5, "tag:b", &["10.0.0.0/8"])];
    let compiled = compile(text, &nodes);
    for (src, dst, port, protocol, expect) in [
        ("ann@", "tag:a", Some(22), "", "allowed by acls[0] (line 6)"),
        ("group:dev", "web", Some(22), "tcp", "allowed by acls[0] (line 6)"),
        ("ann@", "tag:a", Some(53), "udp", "allowed by acls[1] (line 7)"),
        ("ann@", "tag:a", None, "", "allowed by acls[0] (line 6)"),
        ("100.64.0.1", "10.1.2.3", Some(80), "", "allowed by acls[2] (line 9)"),
        ("ann@", "autogroup:self", Some(1), "", "allowed by acls[2] (line 9)"),
        ("tag:a", "10.1.2.3", Some(443), "", "allowed by grants[0] (line 12)"),
        ("tag:a", "tag:b", Some(443), "", "no rule with this source has this destination"),
        ("group:dev", "tag:a", Some(53), "udp", "acls[0] (line 6) has this source and destination"),
        ("cat@example.com", "tag:a", None, "", "no rule has this source"),
        ("1.2.3.4", "tag:a", None, "", "no rule has this source"),
    ] {
        let answer = compiled.explain(src, dst, port, protocol).unwrap();
        assert!(answer.to_string().contains(expect), "{src} {dst} {port:?}: {answer}");
    }
    for (src, dst) in [("x@", "tag:a"), ("tag:x", "tag:a"), ("ann@", "nobody"), ("ann@", "")] {
        assert!(compiled.explain(src, dst, None, "").is_err(), "{src} {dst}");
    }
    assert_eq!(Compiled::open().explain("*", "*", None, ""), Ok(Explanation::NoPolicy));
}

#[test]
fn policy_tests() {
    let policy = |tests: &str| {
        format!(
            r#"{{
                "tagOwners": {{"tag:a": [], "tag:b": []}},
                "hosts": {{"net": "10.0.0.0/8"}},
                "acls": [{{"action": "accept", "proto": "tcp", "src": ["ann@"], "dst": ["tag:a:22"]}}],
                "tests": [{tests}],
            }}"#
        )
    };
    let nodes = [node(1, "ann"), node(2, "bob"), node(4, "tag:a")];
    for (tests, failure) in [
        (r#"{"src": "ann@", "accept": ["tag:a:22"], "deny": ["tag:a:23"]}"#, ""),
        // Nobody has the tag yet, and this user no node.
        (r#"{"src": "cat@example.com", "deny": ["tag:b:22"]}"#, ""),
        (
            r#"{"src": "bob@", "accept": ["tag:a:22"]}"#,
            "line 5: bob@ -> tag:a:22: expected ALLOWED, got DENIED",
        ),
        (
            r#"{"src": "ann@", "proto": "udp", "accept": ["tag:a:22"]}"#,
            "ann@ -> tag:a:22 (udp): expected ALLOWED, got DENIED",
        ),
        (
            r#"{"src": "autogroup:member", "deny": ["tag:a:22"]}"#,
            "autogroup:member -> tag:a:22: expected DENIED, got ALLOWED",
        ),
        (r#"{"src": "x@", "accept": ["tag:a:22"]}"#, "got user not found"),
    ] {
        let result = compile(&policy(tests), &nodes).test();
        match result {
            Ok(()) => assert_eq!(failure, ""),
            Err(error) => {
                assert!(!failure.is_empty() && error.message.contains(failure), "{error}");
                assert_eq!(error.line, 5);
            }
        }
    }
    for (tests, message) in [
        (r#"{"src": "ann@"}"#, "at least one of"),
        (r#"{"accept": ["tag:a:22"]}"#, "src must be specified"),
        (r#"{"src": "", "accept": ["tag:a:22"]}"#, "invalid alias format"),
        (r#"{"src": "ann@", "accept": ["tag:a:*"]}"#, "must be a single port"),
        (r#"{"src": "ann@", "accept": ["tag:a:1-2"]}"#, "must be a single port"),
        (r#"{"src": "ann@", "accept": ["net:1"]}"#, "not a CIDR range"),
        (r#"{"src": "ann@", "accept": ["10.0.0.1/32:1"]}"#, "not a CIDR range"),
        (r#"{"src": "ann@", "accept": ["autogroup:internet:1"]}"#, "not autogroup:internet"),
        (r#"{"src": "ann@", "proto": "icmp", "accept": ["tag:a:1"]}"#, "must be tcp, udp, sctp"),
    ] {
        let error = Policy::parse(&policy(tests)).unwrap_err();
        assert!(error.message.contains(message), "{tests}: {error}");
    }
}

#[test]
fn ssh_tests() {
    let policy = |tests: &str| {
        format!(
            r#"{{
                "tagOwners": {{"tag:a": []}},
                "ssh": [
                    {{"action": "accept", "src": ["ann@"], "dst": ["tag:a"], "users": ["u"]}},
                    {{"action": "check", "src": ["ann@"], "dst": ["tag:a"], "users": ["root"]}},
                ],
                "sshTests": [{tests}],
            }}"#
        )
    };
    for (tests, failure) in [
        (r#"{"src": "ann@", "dst": ["tag:a"], "accept": ["u", "root"], "deny": ["x"]}"#, ""),
        (r#"{"src": "ann@", "dst": ["tag:a"], "check": ["root"]}"#, ""),
        (r#"{"src": "bob@", "dst": ["tag:a"], "deny": ["u"]}"#, ""),
        (
            r#"{"src": "ann@", "dst": ["tag:a"], "check": ["u"]}"#,
            "line 7: ann@/u -> tag:a: expected ALLOWED via check, got ALLOWED",
        ),
        (
            r#"{"src": "bob@", "dst": ["tag:a"], "accept": ["u"]}"#,
            "bob@/u -> tag:a: expected ALLOWED, got DENIED",
        ),
        (
            r#"{"src": "ann@", "dst": ["tag:a"], "deny": ["root"]}"#,
            "expected DENIED, got ALLOWED via check",
        ),
    ] {
        match compile(&policy(tests), &[]).test() {
            Ok(()) => assert_eq!(failure, ""),
            Err(error) => {
                assert!(!failure.is_empty() && error.message.contains(failure), "{error}")
            }
        }
    }
    for (tests, message) in [
        (r#"{"src": "ann@", "dst": ["tag:a"]}"#, "at least one of"),
        (r#"{"src": "ann@", "accept": ["u"]}"#, "dst must be specified"),
        (r#"{"src": "ann@", "dst": ["tag:a:22"], "accept": ["u"]}"#, "letters, digits"),
        (r#"{"src": "ann@", "dst": ["autogroup:internet"], "accept": ["u"]}"#, "disallowed"),
    ] {
        let error = Policy::parse(&policy(tests)).unwrap_err();
        assert!(error.message.contains(message), "{tests}: {error}");
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
        ("{\"postures\": {}}", 1, 14, "postures", "not supported"),
        ("{\"ipsets\": {}}", 1, 12, "ipsets", "not supported"),
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
