//! SSH rules.

use super::*;

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
