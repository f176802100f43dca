//! Explanations, and the tests in a policy.

use super::*;

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
        ("bob@", "tag:a", None, "icmp", "allowed by acls[0] (line 6)"),
        ("tag:a", "10.1.2.3", None, "icmp", "allowed by grants[0] (line 12)"),
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
                "acls": [{{"action": "accept", "proto": "tcp", "src": ["ann@"], "dst": ["tag:a:22"]}},
                         {{"action": "accept", "proto": "udp", "src": ["ann@"], "dst": ["tag:b:53"]}}],
                "tests": [{tests}],
            }}"#
        )
    };
    let nodes = [node(1, "ann"), node(2, "bob"), node(4, "tag:a")];
    for (tests, failure) in [
        (r#"{"src": "ann@", "accept": ["tag:a:22"], "deny": ["tag:a:23"]}"#, ""),
        // ICMP passes wherever anything does, and has no ports.
        (r#"{"src": "ann@", "proto": "icmp", "accept": ["tag:a:0"]}"#, ""),
        (r#"{"src": "bob@", "proto": "icmp", "deny": ["tag:a:0"]}"#, ""),
        (r#"{"src": "ann@", "proto": "58", "deny": ["tag:a:0"]}"#, "(58): expected DENIED, got"),
        // Without a protocol it is about TCP and UDP.
        (r#"{"src": "ann@", "accept": ["tag:b:53"], "deny": ["tag:b:22"]}"#, ""),
        (r#"{"src": "ann@", "proto": "tcp", "deny": ["tag:b:53"]}"#, ""),
        (r#"{"src": "ann@", "deny": ["tag:b:53"]}"#, "tag:b:53: expected DENIED, got ALLOWED"),
        // Nobody has the tag yet, and this user no node.
        (r#"{"src": "cat@example.com", "deny": ["tag:b:22"]}"#, ""),
        (
            r#"{"src": "bob@", "accept": ["tag:a:22"]}"#,
            "line 6: bob@ -> tag:a:22: expected ALLOWED, got DENIED",
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
                assert_eq!(error.line, 6);
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
        (r#"{"src": "ann@", "accept": ["*:1"]}"#, "not *"),
        (r#"{"src": "*", "accept": ["tag:a:1"]}"#, "not \"*\""),
        (r#"{"src": "ann@", "proto": "gre", "accept": ["tag:a:1"]}"#, "must be tcp, udp, sctp"),
        (r#"{"src": "ann@", "proto": "icmp", "accept": ["tag:a:1"]}"#, "port must be 0"),
        (r#"{"src": "ann@", "proto": "icmp", "accept": ["tag:a:*"]}"#, "port must be 0"),
        (r#"{"src": "ann@", "accept": ["tag:a:0"]}"#, "first port must be >0"),
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
