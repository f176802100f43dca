//! What lies behind routers.

use super::*;

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
    // Of several, the primary one if it is there, else the first that is.
    let mut both = compile(&text(""), &nodes);
    both.put(&router(6, "tag:a", &routes).subject());
    let carries = |peer, primary, gone| both.carries(1, peer, &lan, primary, |id| id != gone);
    assert!(carries(3, None, 0) && !carries(6, None, 0));
    assert!(carries(6, Some(6), 0) && !carries(3, Some(6), 0));
    assert!(carries(3, Some(6), 6) && carries(6, Some(4), 3));
    assert!(
        both.carries(1, 6, &exit, None, |_| true) && !both.carries(1, 4, &exit, None, |_| true)
    );
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
