//! Owners of tags and approvers of routes.

use super::*;

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
            "tag:f": ["autogroup:tagged"],
        },
    }"#;
    let mut compiled = compile(text, &[]);
    // Nobody has a role that may give any tag.
    let mut members = PEOPLE;
    members.iter_mut().for_each(|person| person.role = Role::Member);
    compiled.set_people(&members).unwrap();
    for (tag, ann, bob, cat) in [
        ("tag:a", true, true, false),
        ("tag:b", true, true, false),
        ("tag:c", true, true, true),
        ("tag:e", false, false, false),
        ("tag:f", false, false, false),
        ("tag:x", false, false, false),
    ] {
        let may = [1, 2, 3].map(|user| compiled.may_tag(user, tag));
        assert_eq!(may, [ann, bob, cat], "{tag}");
    }
    assert!(compiled.defines_tag("tag:e") && !compiled.defines_tag("tag:x"));
    let own = ["tag:a".to_owned()];
    assert!(compiled.may_retag(&own, "tag:a") && compiled.may_retag(&own, "tag:b"));
    assert!(!compiled.may_retag(&own, "tag:e"));
    assert!(compiled.may_retag(&own, "tag:f") && !compiled.may_retag(&[], "tag:f"));
}

#[test]
fn approvers() {
    let text = r#"{
        "tagOwners": {"tag:a": []},
        "autoApprovers": {
            "routes": {"10.0.0.0/8": ["tag:a", "ann@"], "0.0.0.0/0": ["bob@"]},
            "exitNode": ["autogroup:tagged"],
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
