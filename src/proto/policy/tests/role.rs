//! Roles of users and their autogroups.

use super::*;

/// A user of each role, numbered like [`Role::ALL`] from 1 on, and the same node of each.
fn everybody() -> (Vec<Person<'static>>, Vec<Node>) {
    let people: Vec<_> = (1..)
        .zip(Role::ALL)
        .map(|(id, role)| Person { id, name: role.name(), email: "", provider_id: "", role })
        .collect();
    let nodes = people.iter().map(|person| owned(person.id, person.id)).collect();
    (people, nodes)
}

fn owned(id: u64, user: u64) -> Node {
    Node { id, user: Some(user), tags: Vec::new(), routes: Vec::new() }
}

fn compile_for(text: &str) -> Compiled {
    let (people, nodes) = everybody();
    let policy = Policy::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut compiled = Compiled::new(Rc::new(policy), &people).unwrap();
    let tagged = Node { tags: vec!["tag:a".into()], user: None, ..owned(9, 0) };
    nodes.iter().chain([&tagged]).for_each(|node| compiled.put(&node.subject()));
    compiled
}

/// The autogroups, and the users in them.
const GROUPS: [(&str, &[u64]); 7] = [
    ("owner", &[1]),
    ("admin", &[1, 2]),
    ("network-admin", &[3]),
    ("it-admin", &[4]),
    ("billing-admin", &[5]),
    ("auditor", &[6]),
    ("member", &[1, 2, 3, 4, 5, 6, 7]),
];

#[test]
fn sources_and_destinations() {
    for (group, users) in GROUPS {
        let compiled = compile_for(&format!(
            r#"{{"tagOwners": {{"tag:a": []}}, "grants": [
                {{"src": ["autogroup:{group}"], "dst": ["tag:a"], "ip": ["tcp:1"]}},
                {{"src": ["tag:a"], "dst": ["autogroup:{group}"], "ip": ["tcp:2"]}},
            ]}}"#
        ));
        let sources = users.iter().map(|id| format!("100.64.0.{id}")).collect::<Vec<_>>().join(",");
        assert_eq!(filter(&compiled, 9), format!("[6] {sources} > 100.64.0.9:1-1"), "{group}");
        for id in 1..=7 {
            let open = format!("[6] 100.64.0.9 > 100.64.0.{id}:2-2");
            let expected = if users.contains(&id) { open } else { String::new() };
            assert_eq!(filter(&compiled, id), expected, "{group} {id}");
            assert_eq!(compiled.sees(id, 9), users.contains(&id));
        }
    }
}

#[test]
fn own_nodes() {
    let mut compiled = compile_for(
        r#"{"acls": [{"action": "accept", "src": ["autogroup:auditor"], "dst": ["autogroup:self:5"]}]}"#,
    );
    compiled.put(&owned(16, 6).subject());
    compiled.put(&owned(17, 7).subject());
    assert_eq!(filter(&compiled, 16), "100.64.0.6,100.64.0.16 > 100.64.0.16:5-5");
    assert!(compiled.sees(6, 16) && !compiled.sees(7, 17));
    assert_eq!(filter(&compiled, 17), "");
}

#[test]
fn owners_approvers_and_targets() {
    for (group, users) in GROUPS {
        let compiled = compile_for(&format!(
            r#"{{
                "tagOwners": {{"tag:a": ["autogroup:{group}"], "tag:b": []}},
                "autoApprovers": {{"routes": {{"10.0.0.0/8": ["autogroup:{group}"]}}}},
                "nodeAttrs": [{{"target": ["autogroup:{group}"], "attr": ["x"]}}],
            }}"#
        ));
        for id in 1..=7 {
            let is_in = users.contains(&id);
            // The owner, administrators and network administrators may give any tag there is.
            assert_eq!(compiled.may_tag(id, "tag:a"), is_in || id <= 3, "{group} {id}");
            assert_eq!(compiled.may_tag(id, "tag:b"), id <= 3, "{group} {id}");
            assert!(!compiled.may_tag(id, "tag:c"));
            let route = "10.1.0.0/16".parse().unwrap();
            assert_eq!(compiled.approves(&owned(id, id).subject(), &route), is_in, "{group} {id}");
            assert_eq!(compiled.has_attribute(id, "x"), is_in, "{group} {id}");
        }
        assert!(!compiled.has_attribute(9, "x"));
    }
}

#[test]
fn logins() {
    for (group, users) in GROUPS {
        let compiled = compile_for(&format!(
            r#"{{"tagOwners": {{"tag:a": []}}, "ssh": [
                {{"action": "accept", "src": ["autogroup:{group}"], "dst": ["tag:a"],
                  "users": ["root"]}},
            ]}}"#
        ));
        for id in 1..=7 {
            assert_eq!(compiled.ssh(id, 9, "root").is_some(), users.contains(&id), "{group} {id}");
        }
        let text = format!(
            r#"{{"tagOwners": {{"tag:a": []}}, "ssh": [
                {{"action": "accept", "src": ["tag:a"], "dst": ["autogroup:{group}"],
                  "users": ["root"]}},
            ]}}"#
        );
        let error = Policy::parse(&text).unwrap_err();
        assert!(error.message.contains("cannot access user-owned devices"), "{error}");
    }
}

#[test]
fn tests_of_a_policy() {
    let with = |dst: &str| {
        compile_for(&format!(
            r#"{{"tagOwners": {{"tag:a": []}},
                "acls": [{{"action": "accept", "src": ["autogroup:it-admin"], "dst": ["tag:a:22"]}}],
                "tests": [{{"src": "autogroup:it-admin", "accept": ["{dst}"]}}],
            }}"#
        ))
    };
    assert_eq!(with("tag:a:22").test(), Ok(()));
    assert!(with("tag:a:23").test().is_err());
    let compiled = with("tag:a:22");
    assert!(compiled.explain("autogroup:it-admin", "tag:a", Some(22), "").unwrap().is_allowed());
    assert!(!compiled.explain("auditor@", "tag:a", Some(22), "").unwrap().is_allowed());
    // Nobody has the role.
    let mut compiled = compiled;
    compiled.set_people(&[]).unwrap();
    let error = compiled.test().unwrap_err();
    assert!(error.message.contains("no node for src"), "{error}");
}

#[test]
fn a_role_that_changes_touches_only_what_it_opens() {
    let mut compiled = compile_for(
        r#"{"tagOwners": {"tag:a": []}, "acls": [
            {"action": "accept", "src": ["autogroup:admin"], "dst": ["tag:a:22"]},
            {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:member:80"]},
        ]}"#,
    );
    compiled.touched();
    let (mut people, _) = everybody();
    people[6].role = Role::Admin;
    assert_eq!(compiled.set_people(&people), Ok(true));
    assert!(compiled.sees(7, 9));
    assert_eq!(compiled.touched(), [7, 9]);
    people[5].role = Role::BillingAdmin;
    assert_eq!(compiled.set_people(&people), Ok(false));
    assert!(compiled.touched().is_empty());
}
