//! What is wrong with a document, and where.

use super::*;

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
        ("{\"autoApprovers\": {\"services\": {\"x\": []}}}", 1, 38, "", "is no service"),
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
        (
            r#"{"acls": [{"action": "accept", "src": ["*"], "users": ["*"], "dst": []}]}"#,
            1,
            55,
            "acls[0].users",
            "old name of \"src\"",
        ),
        (
            r#"{"grants": [{"src": ["autogroup:members"], "dst": ["autogroup:member"], "ip": ["*"]}]}"#,
            1,
            52,
            "grants[0].dst[0]",
            "use only one of them",
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
fn notes_for_the_author() {
    let policy = r#"{
        "groups": {"group:dev": ["ann@example.com", "dan@example.com"]}, "derpMap": {},
        "acls": [
            {"action": "accept", "src": ["eve@"], "dst": ["ann@:22", "bob@:22"]},
        ],
    }"#;
    let notes = compile(policy, &[]).notes();
    assert!(notes.first().unwrap().starts_with("derpMap has no effect"), "{notes:?}");
    let nobody =
        ["line 4: nobody is called \"eve@\"", "group:dev: nobody is called \"dan@example.com\""];
    assert_eq!(notes[1..], nobody);
    let many: Vec<String> = (0..30).map(|n| format!("\"u{n}@\"")).collect();
    let notes = compile(&acl(&many.join(","), r#""*:*""#), &[]).notes();
    assert_eq!((notes.len(), notes.last().unwrap().as_str()), (21, "and 10 more"));
}

#[test]
fn the_examples_of_the_guide_hold() {
    let guide = include_str!("../../../../docs/policy.md");
    let examples: Vec<&str> =
        guide.split("```hujson\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        let compiled = compile(example, &[node(1, "ann"), node(2, "bob")]);
        compiled.test().unwrap_or_else(|error| panic!("{error} in {example}"));
        assert_eq!(compiled.notes(), [""; 0]);
    }
}

#[test]
fn wrong_accesses() {
    for (ip, message) in [
        (r#""tcp""#, "ports are missing, such as \"tcp:*\""),
        (r#"":80""#, "a protocol is expected"),
        (r#""22/tcp""#, "invalid first integer"),
        (r#""icmp:80""#, "does not support specific ports"),
    ] {
        let text = format!(r#"{{"grants": [{{"src": ["*"], "dst": ["*"], "ip": [{ip}]}}]}}"#);
        let error = Policy::parse(&text).unwrap_err();
        assert_eq!(error.path, "grants[0].ip[0]");
        assert!(error.message.contains(message), "{ip}: {error}");
    }
}

#[test]
fn what_has_no_effect() {
    let policy = r#"{
        "derpMap": {"OmitDefaultRegions": true}, "oneCGNATRoute": "mac-always",
        "tagOwners": {"tag:a": []}, "autoApprovers": {"services": {"svc:web": ["tag:a"]}},
    }"#;
    let policy = Policy::parse(policy).unwrap();
    let said: Vec<&str> =
        policy.without_effect().iter().filter_map(|said| said.split(' ').next()).collect();
    assert_eq!(said, ["derpMap", "OneCGNATRoute", "autoApprovers.services"]);
    let policy = Policy::parse(r#"{"autoApprovers": {"routes": {}}, "derpMap": null}"#).unwrap();
    assert!(policy.without_effect().is_empty());
}

#[test]
fn wrong_destinations() {
    for (dst, message) in [
        (r#""tag:a""#, "ports are missing, such as \"tag:a:*\""),
        (r#""tag:none""#, "ports are missing"),
        (r#""group:dev""#, "ports are missing"),
        (r#""web""#, "must contain a colon"),
        (r#""autogroup:self""#, "ports are missing"),
        (r#""web:0""#, "first port must be >0"),
        (r#""web:99999""#, "out of range"),
        (r#""autogroup:danger-all:1""#, "as a dst"),
        (r#""[web]:1""#, "square brackets"),
        ("1", "a string is expected"),
    ] {
        let error = Policy::parse(&acl(r#""*""#, dst)).unwrap_err();
        assert_eq!(error.path, "acls[0].dst[0]");
        assert!(error.message.contains(message), "{dst}: {error}");
    }
    for src in [r#""tag:a""#, r#""10.0.0.1""#, r#""autogroup:tagged""#] {
        let error = Policy::parse(&acl(src, r#""autogroup:self:*""#)).unwrap_err();
        assert!(error.message.contains("autogroup:self can only be used"), "{error}");
    }
}
