//! Several routers of one route.

use super::*;

/// A world with two routers of one prefix, both there.
pub(super) fn two_routers(rules: Rules) -> (World, NodeId, NodeId, Prefix) {
    let mut w = World::with(rules, Snapshot::default());
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    let (one, two) = (w.join(1, &key), w.join(2, &key));
    let net: Prefix = "10.0.0.0/8".parse().unwrap();
    for id in [one, two] {
        w.update(id, r#"{"Version":113,"Hostinfo":{"RoutableIPs":["10.0.0.0/8"]}}"#);
        w.tailnet.approve_routes(id, &[net]).unwrap();
        w.tailnet.connect(id);
    }
    w.commit();
    (w, one, two, net)
}

/// What nodes were asked in these changes.
fn probes(changes: &[Change]) -> Vec<(NodeId, Probe)> {
    let probe = |change: &Change| match change {
        Change::Probe(id, probe) => Some((*id, *probe)),
        _ => None,
    };
    changes.iter().filter_map(probe).collect()
}

#[test]
fn a_router_that_does_not_answer_is_replaced() {
    let (mut w, one, two, net) = two_routers(Rules::default());
    w.pass(10);
    assert_eq!(w.tailnet.tick(w.now), Some(Duration::from_secs(15)));
    let asked = probes(&w.commit());
    assert_eq!(asked.len(), 2);
    w.tailnet.answer_probe(two, asked[1].1);
    w.pass(5);
    w.tailnet.tick(w.now);
    assert_eq!(w.tailnet.primary(&net), Some(two), "the first was asked and is silent");
    let changes = w.commit();
    assert!(changes.contains(&Change::Node(one)) && changes.contains(&Change::Node(two)));
    // An answer to an old question is none.
    w.tailnet.answer_probe(one, asked[0].1);
    assert!(w.tailnet.node(one).unwrap().live.silent);
    w.pass(5);
    w.tailnet.tick(w.now);
    let again = probes(&w.commit());
    assert_ne!(again[0].1, asked[0].1, "clients don't answer a question twice");
    again.iter().for_each(|(id, probe)| w.tailnet.answer_probe(*id, *probe));
    assert_eq!(w.tailnet.primary(&net), Some(two), "no flapping back");
    // When both are silent all stays.
    w.pass(10);
    w.tailnet.tick(w.now);
    w.pass(5);
    w.tailnet.tick(w.now);
    assert_eq!(w.tailnet.primary(&net), Some(two));
    // A new stream is as good as an answer.
    w.tailnet.connect(one);
    assert_eq!(w.tailnet.primary(&net), Some(one));
}

#[test]
fn silence_is_forgotten_with_the_last_shared_route() {
    let (mut w, one, two, net) = two_routers(Rules::default());
    w.pass(10);
    w.tailnet.tick(w.now);
    let asked = probes(&w.commit());
    w.tailnet.answer_probe(two, asked[1].1);
    w.pass(5);
    w.tailnet.tick(w.now);
    assert_eq!(w.tailnet.primary(&net), Some(two), "the first is silent");
    w.tailnet.approve_routes(two, &[]).unwrap();
    w.tailnet.approve_routes(two, &[net]).unwrap();
    assert_eq!(w.tailnet.primary(&net), Some(one), "nobody asked it since");
    // A question that was open when they ceased to share is void.
    w.pass(5);
    w.tailnet.tick(w.now);
    assert_eq!(probes(&w.commit()).len(), 2);
    w.tailnet.approve_routes(two, &[]).unwrap();
    w.tailnet.approve_routes(two, &[net]).unwrap();
    w.pass(5);
    w.tailnet.tick(w.now);
    assert!(!w.tailnet.node(one).unwrap().live.silent);
}

#[test]
fn only_routers_that_share_are_asked() {
    let (mut w, one, _, net) = two_routers(Rules::default());
    w.tailnet.approve_routes(one, &[]).unwrap();
    w.pass(10);
    assert_eq!(w.tailnet.tick(w.now), Some(SOFT_FLUSH));
    assert!(probes(&w.commit()).is_empty());
    let never = Rules { probe_interval: Duration::ZERO, ..Rules::default() };
    let (mut w, one, ..) = two_routers(never);
    w.pass(10);
    assert_eq!(w.tailnet.tick(w.now), Some(SOFT_FLUSH));
    assert_eq!(w.tailnet.primary(&net), Some(one));
}

#[test]
fn primaries_outlive_the_server() {
    let (mut w, one, two, net) = two_routers(Rules::default());
    w.tailnet.disconnect(one, w.now);
    w.pass(10);
    w.tailnet.tick(w.now);
    w.tailnet.connect(one);
    assert_eq!(w.tailnet.primary(&net), Some(two));
    let mut snapshot = Snapshot {
        nodes: w.tailnet.nodes().map(|m| (m.node.id, m.node.clone())).collect(),
        soft: w.tailnet.nodes().map(|m| (m.node.id, m.soft.clone())).collect(),
        ..Snapshot::default()
    };
    let writes = w.tailnet.take_unsaved(w.now, false);
    assert_eq!(writes.len(), 1, "what no client says again is stored at once");
    writes.into_iter().for_each(|write| snapshot.apply(write));
    let start = || World::with(Rules::default(), snapshot.clone());

    let mut w = start();
    w.tailnet.connect(one);
    assert_eq!(w.tailnet.primary(&net), Some(two), "it may only be a little later");
    w.tailnet.connect(two);
    w.pass(30);
    w.tailnet.tick(w.now);
    assert_eq!(w.tailnet.primary(&net), Some(two));

    let mut w = start();
    w.tailnet.connect(one);
    assert_eq!(w.tailnet.tick(w.now), Some(Duration::from_secs(10)));
    w.pass(30);
    w.tailnet.tick(w.now);
    assert_eq!(w.tailnet.primary(&net), Some(one), "it did not come back");
    assert_eq!(w.tailnet.take_unsaved(w.now, false).len(), 1);
}
