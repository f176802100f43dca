//! Roles: who has which, and whom a change reaches.

use super::*;

#[test]
fn one_owner() {
    let mut w = World::new();
    let (ann, bob) = (w.user("ann"), w.user("bob"));
    w.tailnet.set_role(ann, Role::Owner, false).unwrap();
    let refused = w.tailnet.set_role(bob, Role::Owner, false);
    assert_eq!(refused, Err(Refusal::OwnerExists("ann".into())));
    let third = NewUser { name: "cat".into(), role: Role::Owner, ..NewUser::default() };
    assert!(w.tailnet.create_user(third, w.now).is_err());
    assert_eq!(w.tailnet.users().count(), 2);
    w.tailnet.set_role(ann, Role::Owner, false).unwrap();
    w.tailnet.set_role(bob, Role::Owner, true).unwrap();
    let roles = |w: &World| [ann, bob].map(|id| w.tailnet.user(id).unwrap().role);
    assert_eq!(roles(&w), [Role::Admin, Role::Owner]);
    // To transfer any other role takes it from nobody.
    w.tailnet.set_role(ann, Role::Auditor, true).unwrap();
    assert_eq!(roles(&w), [Role::Auditor, Role::Owner]);
    let missing = w.tailnet.set_role(UserId(9), Role::Owner, true);
    assert_eq!(missing, Err(Refusal::NoUser(UserId(9))));
    assert_eq!(roles(&w), [Role::Auditor, Role::Owner]);
    w.commit();
    // What is not stored is taken back, with both users of a transfer.
    w.tailnet.set_role(ann, Role::Owner, true).unwrap();
    assert_eq!(roles(&w), [Role::Owner, Role::Admin]);
    let batch = w.tailnet.take_batch();
    assert_eq!(batch.writes.len(), 2);
    w.tailnet.undo(batch.number, batch.changes);
    assert_eq!(roles(&w), [Role::Auditor, Role::Owner]);
}

#[test]
fn a_change_reaches_whom_it_concerns() {
    let mut w = World::new();
    let users = ["ann", "bob", "cat"].map(|name| w.user(name));
    let keys = users.map(|user| w.key(reusable(user)));
    let [ann, bob, cat] = [0, 1, 2].map(|n| w.join(n as u8 + 1, &keys[n]));
    w.commit();
    // Without a policy its own node is told of the role.
    w.tailnet.set_role(users[0], Role::Admin, false).unwrap();
    assert_eq!(w.commit(), [Change::Filter(ann)]);
    assert_eq!((w.tailnet.role(ann), w.tailnet.role(bob)), (Role::Admin, Role::Member));
    w.tailnet.set_role(users[0], Role::Admin, false).unwrap();
    assert!(w.tailnet.take_batch().writes.is_empty());
    w.set_policy(
        r#"{"acls":[{"action":"accept","src":["autogroup:it-admin"],"dst":["bob@:22"]}],
            "autoApprovers":{"routes":{"10.0.0.0/8":["autogroup:it-admin"]}}}"#,
    );
    w.update(ann, r#"{"Version":113,"Hostinfo":{"RoutableIPs":["10.0.0.0/8"]}}"#);
    w.tailnet.set_role(users[0], Role::ItAdmin, false).unwrap();
    assert!(w.tailnet.sees(ann, bob) && !w.tailnet.sees(ann, cat));
    let told = w.commit();
    assert!(told.contains(&Change::Access(ann)) && told.contains(&Change::Access(bob)));
    assert!(told.contains(&Change::Filter(bob)));
    let of_cat = [Change::Access(cat), Change::Filter(cat), Change::Policy];
    assert!(!told.iter().any(|change| of_cat.contains(change)), "{told:?}");
    let routes = &w.tailnet.node(ann).unwrap().node.approved_routes;
    assert_eq!(*routes, ["10.0.0.0/8".parse().unwrap()]);
    // A role that no rule knows.
    w.tailnet.set_role(users[0], Role::Member, false).unwrap();
    w.commit();
    assert!(!w.tailnet.sees(ann, bob));
    w.tailnet.set_role(users[0], Role::BillingAdmin, false).unwrap();
    assert_eq!(w.commit(), [Change::Filter(ann)]);
}
