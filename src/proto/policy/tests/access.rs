//! Who may reach whom: aliases, ports, capabilities.

use super::*;

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
    // The names that the members of a rule had at first.
    let old = acl("\"ann@\"", "\"web:1\"").replace("\"src\"", "\"users\"");
    let compiled = compile(&old.replace("\"dst\"", "\"ports\""), &nodes);
    assert_eq!(filter(&compiled, 4), "100.64.0.1 > 100.64.0.4:1-1");
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
fn the_hole_of_chromeos() {
    let mut inside = node(1, "ann").subject().v4;
    let mut compiled = compile(&acl(r#""*""#, r#""tag:a:80""#), &[node(4, "tag:a")]);
    for (address, sees) in [("100.115.92.1", false), ("100.115.94.1", true), ("192.0.2.1", false)] {
        inside = inside.and(address.parse().ok());
        compiled.put(&Subject { v4: inside, v6: None, ..node(1, "ann").subject() });
        assert_eq!(compiled.sees(1, 4), sees, "{address}");
    }
}
