//! How nodes and keys wait, end and go.

use super::routers::two_routers;
use super::*;

#[test]
fn nodes_wait_for_approval() {
    let approval = Rules { approval: true, ..Rules::default() };
    let mut w = World::with(approval.clone(), Snapshot::default());
    let ann = w.user("ann");
    let (key, free) = (w.key(reusable(ann)), NewAuthKey { preapproved: true, ..reusable(ann) });
    let free = w.key(free);
    let (one, two) = (w.join(1, &free), w.join(2, &key));
    assert!(!w.tailnet.is_waiting(one) && w.tailnet.is_waiting(two));
    assert!(!w.tailnet.sees(one, two) && !w.tailnet.sees(two, one));
    // It offers a route, but nothing goes through it.
    let net: Prefix = "10.0.0.0/8".parse().unwrap();
    w.update(two, r#"{"Version":113,"Hostinfo":{"RoutableIPs":["10.0.0.0/8"]}}"#);
    w.tailnet.approve_routes(two, &[net]).unwrap();
    assert_eq!(w.tailnet.primary(&net), None);
    // Another login of the same machine changes nothing.
    assert_eq!(w.join(2, &key), two);
    assert!(w.tailnet.is_waiting(two));
    w.commit();
    w.tailnet.approve_node(two).unwrap();
    let told = w.commit();
    assert!(told.contains(&Change::Node(two)) && told.contains(&Change::Access(two)));
    assert!(w.tailnet.sees(one, two) && w.tailnet.sees(two, one));
    assert_eq!(w.tailnet.primary(&net), Some(two));
    assert_eq!(w.tailnet.approve_node(NodeId(9)), Err(Refusal::NoNode(NodeId(9))));
    // Who approves a login lets the node in.
    let Ok(Registered::Login(login)) = w.register(3, 3, "") else { panic!() };
    let now = w.now;
    let three = w.tailnet.approve_login(login, ann, RegisterMethod::Cli, now, &mut |_| ());
    assert!(!w.tailnet.is_waiting(three.unwrap()));
    // With a policy a node that waits is no part of any rule.
    let four = w.join(4, &key);
    w.tailnet
        .load_policy(r#"{"acls":[{"action":"accept","src":["ann@"],"dst":["*:*"]}]}"#)
        .unwrap();
    w.commit();
    assert!(w.tailnet.sees(one, two) && !w.tailnet.sees(one, four));
    let shown = |w: &World| {
        let mut rules = Vec::new();
        w.tailnet.packet_filter(one).render(&mut rules);
        String::from_utf8(rules).unwrap().contains("100.64.0.4")
    };
    assert!(!shown(&w));
    w.tailnet.approve_node(four).unwrap();
    w.commit();
    assert!(shown(&w));
    // Without the rule nobody waits, and with it again who was never let in.
    let five = w.join(5, &key);
    w.commit();
    w.tailnet.set_rules(Rules::default());
    assert!(w.tailnet.sees(one, five) && w.commit().contains(&Change::Access(five)));
    w.tailnet.set_rules(approval.clone());
    assert!(!w.tailnet.sees(one, five) && w.tailnet.sees(one, four));
    // What was let in before approval was asked for stays in.
    let (open, ..) = two_routers(Rules::default());
    let nodes = open.tailnet.nodes().map(|m| (m.node.id, m.node.clone())).collect();
    let later = World::with(approval, Snapshot { nodes, ..Snapshot::default() });
    assert!(later.tailnet.nodes().all(|m| !later.tailnet.is_waiting(m.node.id)));
}

#[test]
fn keys_that_ended_long_ago_are_forgotten() {
    let mut w = World::new();
    let ann = w.user("ann");
    let expiry = Some(w.now.expiry_in(Duration::from_secs(60)));
    let key = w.key(NewAuthKey { expiry, ..reusable(ann) });
    w.key(reusable(ann));
    let id = w.join(1, &key);
    let kept = w.tailnet.rules.auth_key_retention;
    assert_eq!(w.tailnet.tick(w.now), Some(kept + Duration::from_secs(60)));
    w.pass(kept.as_secs() + 59);
    w.tailnet.tick(w.now);
    assert_eq!(w.tailnet.auth_keys().count(), 2);
    w.pass(1);
    w.tailnet.tick(w.now);
    assert_eq!(w.tailnet.auth_keys().count(), 1, "the other one never ends");
    // Its node starts again with it; nobody else does.
    assert_eq!(w.join(1, &key), id);
    let more = format!(r#","Auth":{{"AuthKey":"{key}"}}"#);
    assert_eq!(w.register(2, 2, &more), Err(Refusal::BadAuthKey));
    w.tailnet.expire_node(id, w.now).unwrap();
    assert_eq!(w.register(1, 1, &more), Err(Refusal::BadAuthKey));
}

/// `--force-reauth` with a key: the client may log in with the node key that it has, then again
/// with a new one.
#[test]
fn a_key_serves_the_login_that_it_began() {
    let rules = Rules { node_expiry: Some(Duration::from_secs(600)), ..Rules::default() };
    let mut w = World::with(rules, Snapshot::default());
    let (ann, bob) = (w.user("ann"), w.user("bob"));
    let key = w.key(reusable(ann));
    let first = w.join(1, &key);
    let once = w.key(NewAuthKey { reusable: false, ..reusable(bob) });
    let more = format!(r#","Auth":{{"AuthKey":"{once}"}}"#);
    let Ok(Registered::Accepted(second)) = w.register(1, 1, &more) else { panic!() };
    assert_ne!(second, first);
    let expiry = w.tailnet.node(second).unwrap().node.expiry;
    w.pass(300);
    assert_eq!(w.register(1, 2, &more), Ok(Registered::Accepted(second)));
    let node = &w.tailnet.node(second).unwrap().node;
    assert_eq!((node.key, node.expiry), (NodeKey([2; 32]), expiry), "it lasts no longer for that");
    assert_eq!(w.register(2, 3, &more), Err(Refusal::AuthKeyUsed), "another machine");
    w.pass(301);
    assert_eq!(w.register(1, 4, &more), Err(Refusal::AuthKeyUsed), "a login that has ended");
}

#[test]
fn who_logs_out_is_offline_at_once() {
    let mut w = World::new();
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    let id = w.join(1, &key);
    w.tailnet.connect(id);
    w.pass(60);
    w.commit();
    let logout = r#","Expiry":"1970-01-01T00:02:03Z""#;
    assert_eq!(w.register(1, 1, logout), Ok(Registered::LoggedOut));
    let member = w.tailnet.node(id).unwrap();
    assert!(!member.online && member.expired);
    assert_eq!(member.soft.last_seen, Some(w.now.wall));
    assert!(w.commit().contains(&Change::Patch(id, Patch::ONLINE)));
    // Its stream ends later; that is no news.
    w.tailnet.disconnect(id, w.now);
    w.pass(60);
    w.tailnet.tick(w.now);
    assert!(w.commit().is_empty());
}

#[test]
fn a_stop_is_when_nodes_were_last_seen() {
    let mut w = World::new();
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    let id = w.join(1, &key);
    w.tailnet.connect(id);
    w.tailnet.take_unsaved(w.now, true);
    w.pass(3600);
    assert!(w.tailnet.take_unsaved(w.now, false).is_empty(), "an idle server writes nothing");
    let [Write::PutSoft(_, soft)] = &w.tailnet.take_unsaved(w.now, true)[..] else { panic!() };
    assert_eq!(soft.last_seen, Some(w.now.wall));
}

#[test]
fn an_expiry_that_ends_or_is_not_stored_is_none() {
    let mut w = World::new();
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    let id = w.join(1, &key);
    w.commit();
    w.tailnet.expire_node(id, w.now).unwrap();
    let batch = w.tailnet.take_batch();
    w.tailnet.undo(batch.number, batch.changes);
    assert!(!w.tailnet.node(id).unwrap().expired);
    w.tailnet.load_policy(r#"{"tagOwners":{"tag:web":[]}}"#).unwrap();
    w.commit();
    w.tailnet.expire_node(id, w.now).unwrap();
    w.tailnet.set_tags(id, &["tag:web".into()]).unwrap();
    assert!(!w.tailnet.node(id).unwrap().expired, "tagged nodes don't expire");
}
