//! The commands, on a tailnet in memory.

mod lifecycle;
mod role;
mod routers;

use super::login::{LoginState, Verdict};
use super::record::RegisterMethod;
use super::*;
use crate::wire::key::MachineKey;
use crate::wire::tailcfg::{MapRequest, RegisterRequest};
use change::Patch;

/// A tailnet with a clock and numbers that look random.
pub(super) struct World {
    pub(super) tailnet: Tailnet,
    pub(super) now: Now,
    seed: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Rules::default(), Snapshot::default())
    }

    fn with(rules: Rules, snapshot: Snapshot) -> Self {
        let now = Now {
            wall: Timestamp::from_secs(1_800_000_000),
            trusted: true,
            uptime: Duration::ZERO,
        };
        Self { tailnet: Tailnet::new(rules, snapshot), now, seed: 1 }
    }

    pub(super) fn pass(&mut self, secs: u64) {
        self.now.uptime += Duration::from_secs(secs);
        self.now.wall = self.now.wall.after(Duration::from_secs(secs));
    }

    pub(super) fn user(&mut self, name: &str) -> UserId {
        let new = NewUser { name: name.into(), ..NewUser::default() };
        self.tailnet.create_user(new, self.now).unwrap()
    }

    pub(super) fn key(&mut self, new: NewAuthKey) -> String {
        let mut seed = self.seed;
        self.seed += 1;
        let key = self.tailnet.create_auth_key(new, self.now, &mut |b| fill(b, &mut seed));
        key.unwrap().1
    }

    fn register(&mut self, machine: u8, key: u8, more: &str) -> Result<Registered, Refusal> {
        let body = format!(
            r#"{{"Version":113,"NodeKey":"{}","Hostinfo":{{"Hostname":"host{machine}"}}{more}}}"#,
            node_key(key)
        );
        let request = RegisterRequest::parse(&mut body.into_bytes()).unwrap();
        self.seed += 1;
        let mut seed = self.seed;
        let machine = MachineKey([machine; 32]);
        self.tailnet.register(machine, &request, self.now, &mut |b| fill(b, &mut seed))
    }

    pub(super) fn join(&mut self, machine: u8, auth: &str) -> NodeId {
        let more = format!(r#","Auth":{{"AuthKey":"{auth}"}}"#);
        match self.register(machine, machine, &more) {
            Ok(Registered::Accepted(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn set_policy(&mut self, text: &str) {
        self.tailnet.set_policy(text, self.now).unwrap();
        self.commit();
    }

    /// Commits everything, as a store would.
    pub(super) fn commit(&mut self) -> Vec<Change> {
        let batch = self.tailnet.take_batch();
        self.tailnet.settle(batch.number);
        batch.changes
    }

    fn update(&mut self, id: NodeId, body: &str) -> Vec<Change> {
        let request = MapRequest::parse(&mut body.as_bytes().to_vec()).unwrap();
        self.tailnet.update(id, &request).unwrap();
        self.commit()
    }
}

fn fill(bytes: &mut [u8], seed: &mut u64) {
    for b in bytes {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *b = (*seed >> 33) as u8;
    }
}

fn node_key(n: u8) -> NodeKey {
    NodeKey([n; 32])
}

pub(super) fn reusable(user: UserId) -> NewAuthKey {
    NewAuthKey { user: Some(user), reusable: true, ..NewAuthKey::default() }
}

#[test]
fn joins_by_key() {
    let mut w = World::new();
    let ann = w.user("ann");
    let once = w.key(NewAuthKey { user: Some(ann), ..NewAuthKey::default() });
    assert!(once.starts_with("hskey-auth-") && once.len() == 11 + 12 + 1 + 64);
    w.commit();
    let id = w.join(1, &once);
    let node = &w.tailnet.node(id).unwrap().node;
    assert_eq!(node.user, Some(ann));
    assert_eq!(node.name, "host1");
    assert_eq!(node.v4.unwrap().to_string(), "100.64.0.1");
    assert_eq!(node.v6.unwrap().to_string(), "fd7a:115c:a1e0::1");
    assert_eq!(w.commit(), [Change::Node(id)]);
    // The same client starts again with its spent key; another may not use it.
    assert_eq!(w.join(1, &once), id);
    let more = format!(r#","Auth":{{"AuthKey":"{once}"}}"#);
    assert_eq!(w.register(2, 2, &more), Err(Refusal::AuthKeyUsed));
    let wrong = format!(r#","Auth":{{"AuthKey":"{once}0"}}"#);
    assert_eq!(w.register(2, 2, &wrong), Err(Refusal::BadAuthKey));
    assert!(w.commit().is_empty());
}

#[test]
fn keys_expire_when_the_clock_is_trusted() {
    let mut w = World::new();
    let ann = w.user("ann");
    let expiry = Some(w.now.expiry_in(Duration::from_secs(60)));
    let key = w.key(NewAuthKey { expiry, ..reusable(ann) });
    let more = format!(r#","Auth":{{"AuthKey":"{key}"}}"#);
    w.pass(60);
    assert_eq!(w.register(1, 1, &more), Err(Refusal::AuthKeyExpired));
    w.now.trusted = false;
    w.join(1, &key);
}

#[test]
fn tagged_keys() {
    let mut w = World::new();
    let tags = vec!["tag:web".to_owned(), "tag:db".to_owned()];
    let key = w.key(NewAuthKey { tags, reusable: true, ..NewAuthKey::default() });
    let id = w.join(1, &key);
    let node = &w.tailnet.node(id).unwrap().node;
    assert_eq!((node.user, node.tags.join(",")), (None, "tag:db,tag:web".to_owned()));
    let body = r#","Hostinfo":{"RequestTags":["tag:x"]},"Auth":{"AuthKey":"KEY"}"#;
    let request =
        format!(r#"{{"Version":113,"NodeKey":"{}"{}}}"#, node_key(2), body.replace("KEY", &key));
    let request = RegisterRequest::parse(&mut request.into_bytes()).unwrap();
    let refused = w.tailnet.register(MachineKey([2; 32]), &request, w.now, &mut |_| ());
    assert_eq!(refused, Err(Refusal::TagsRefused(vec!["tag:x".into()])));
    let bare = NewAuthKey::default();
    let refused = w.tailnet.create_auth_key(bare, w.now, &mut |_| ());
    assert_eq!(refused.unwrap_err(), Refusal::AuthKeyWithoutOwner);
}

#[test]
fn interactive_login() {
    let mut w = World::new();
    let ann = w.user("ann");
    let Ok(Registered::Login(login)) = w.register(1, 1, "") else { panic!() };
    let follow = format!(r#","Followup":"http://x/register/{login}""#);
    assert_eq!(w.register(1, 1, &follow), Ok(Registered::Wait(login)));
    assert_eq!(w.tailnet.login_state(login, &MachineKey([2; 32])), LoginState::Unknown);
    let now = w.now;
    let id = w.tailnet.approve_login(login, ann, RegisterMethod::Cli, now, &mut |_| ()).unwrap();
    assert_eq!(w.commit(), [Change::Node(id), Change::Login(login)]);
    let decided = LoginState::Decided(Verdict::Registered(id));
    assert_eq!(w.tailnet.login_state(login, &MachineKey([1; 32])), decided);
    assert_eq!(w.register(1, 1, &follow), Ok(Registered::Accepted(id)));
    let again = w.tailnet.approve_login(login, ann, RegisterMethod::Cli, now, &mut |_| ());
    assert_eq!(again, Err(Refusal::NoLogin(login.to_string())));
}

#[test]
fn an_approval_that_is_not_stored_can_be_given_again() {
    let mut w = World::new();
    let ann = w.user("ann");
    w.commit();
    let Ok(Registered::Login(login)) = w.register(1, 1, "") else { panic!() };
    let now = w.now;
    for _ in 0..2 {
        let approved = w.tailnet.approve_login(login, ann, RegisterMethod::Cli, now, &mut |_| ());
        approved.unwrap();
        let batch = w.tailnet.take_batch();
        w.tailnet.undo(batch.number, batch.changes);
        assert_eq!(w.tailnet.login_state(login, &MachineKey([1; 32])), LoginState::Waiting);
        assert_eq!(w.tailnet.nodes().count(), 0);
    }
}

#[test]
fn a_rejected_login_stays_rejected() {
    let mut w = World::new();
    let ann = w.user("ann");
    let Ok(Registered::Login(login)) = w.register(1, 1, "") else { panic!() };
    w.tailnet.reject_login(login).unwrap();
    let now = w.now;
    let late = w.tailnet.approve_login(login, ann, RegisterMethod::Cli, now, &mut |_| ());
    assert_eq!(late, Err(Refusal::NoLogin(login.to_string())));
}

#[test]
fn logins_time_out_and_are_bounded() {
    let mut w = World::new();
    let Ok(Registered::Login(first)) = w.register(1, 1, "") else { panic!() };
    assert_eq!(w.tailnet.tick(w.now), Some(login::LOGIN_TIMEOUT));
    w.pass(15 * 60);
    w.tailnet.tick(w.now);
    assert_eq!(w.commit(), [Change::Login(first)]);
    assert!(w.tailnet.login(first).is_none());
    for n in 0..login::LOGINS_MAX + 10 {
        let body = format!(
            r#"{{"NodeKey":"{}"}}"#,
            NodeKey(std::array::from_fn(|i| (n >> (8 * (i % 2))) as u8 | 1))
        );
        let request = RegisterRequest::parse(&mut body.into_bytes()).unwrap();
        let mut seed = n as u64;
        let machine = MachineKey(std::array::from_fn(|i| (n >> (8 * (i % 2))) as u8));
        w.tailnet.register(machine, &request, w.now, &mut |b| fill(b, &mut seed)).unwrap();
    }
    assert_eq!(w.tailnet.logins.waiting_count(), login::LOGINS_MAX);
}

#[test]
fn rotation_expiry_and_logout() {
    let mut w = World::new();
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    let id = w.join(1, &key);
    let address = w.tailnet.node(id).unwrap().node.v4;
    w.tailnet.expire_node(id, w.now).unwrap();
    assert_eq!(w.register(1, 1, ""), Ok(Registered::Expired));
    let more = format!(r#","OldNodeKey":"{}","Auth":{{"AuthKey":"{key}"}}"#, node_key(1));
    assert_eq!(w.register(1, 9, &more), Ok(Registered::Accepted(id)));
    assert_eq!(w.tailnet.node(id).unwrap().node.v4, address);
    assert!(w.tailnet.node_by_key(&node_key(1)).is_none());
    let logout = r#","Expiry":"1970-01-01T00:02:03Z""#;
    assert_eq!(w.register(2, 9, logout), Err(Refusal::MachineMismatch));
    assert_eq!(w.register(1, 9, logout), Ok(Registered::LoggedOut));
    assert_eq!(w.register(1, 9, ""), Ok(Registered::Expired));
    assert_eq!(w.register(1, 77, logout), Ok(Registered::LoggedOut));
}

#[test]
fn another_user_gets_another_node() {
    let mut w = World::new();
    let (ann, bob) = (w.user("ann"), w.user("bob"));
    let (a, b) = (w.key(reusable(ann)), w.key(reusable(bob)));
    let first = w.join(1, &a);
    let more = format!(r#","Auth":{{"AuthKey":"{b}"}}"#);
    let Ok(Registered::Accepted(second)) = w.register(1, 2, &more) else { panic!() };
    assert_ne!(first, second);
    assert_eq!(w.tailnet.node(second).unwrap().node.name, "host1-1");
    // The key of one machine is not another's.
    assert_eq!(w.register(5, 2, &more), Err(Refusal::KeyInUse));
}

#[test]
fn ephemeral_nodes_go() {
    let mut w = World::new();
    let ann = w.user("ann");
    let key = w.key(NewAuthKey { ephemeral: true, ..reusable(ann) });
    let (one, two) = (w.join(1, &key), w.join(2, &key));
    w.commit();
    let slot = w.tailnet.node(one).unwrap().slot;
    let logout = r#","Expiry":"1970-01-01T00:02:03Z""#;
    assert_eq!(w.register(1, 1, logout), Ok(Registered::LoggedOut));
    assert_eq!(w.commit(), [Change::NodeGone { id: one, slot }]);
    w.tailnet.connect(two);
    w.pass(3600);
    assert_eq!(w.tailnet.tick(w.now), None);
    w.tailnet.disconnect(two, w.now);
    w.commit();
    w.pass(10);
    w.tailnet.tick(w.now);
    assert_eq!(w.commit(), [Change::Patch(two, Patch::ONLINE)]);
    w.pass(30 * 60);
    w.tailnet.tick(w.now);
    assert!(w.tailnet.node(two).is_none());
}

#[test]
fn presence() {
    let mut w = World::new();
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    let id = w.join(1, &key);
    w.commit();
    w.tailnet.connect(id);
    assert_eq!(w.commit(), [Change::Patch(id, Patch::ONLINE)]);
    w.tailnet.disconnect(id, w.now);
    let left = w.now.wall;
    w.pass(5);
    assert_eq!(w.tailnet.tick(w.now), Some(OFFLINE_GRACE));
    w.tailnet.connect(id);
    w.pass(60);
    w.tailnet.tick(w.now);
    assert!(w.commit().is_empty(), "a quick return is no news");
    // Two streams: only the end of the last one counts.
    w.tailnet.connect(id);
    w.tailnet.disconnect(id, w.now);
    w.pass(60);
    w.tailnet.tick(w.now);
    assert!(w.tailnet.node(id).unwrap().online);
    w.tailnet.disconnect(id, w.now);
    let left_late = w.now.wall;
    assert!(left_late > left);
    w.pass(10);
    w.tailnet.tick(w.now);
    assert_eq!(w.tailnet.node(id).unwrap().soft.last_seen, Some(left_late));
}

#[test]
fn nodes_behind_our_nat_are_told_from_outside() {
    let mut w = World::new();
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    let (laptop, phone) = (w.join(1, &key), w.join(2, &key));
    w.commit();
    let outside = |wan: &str| Outside {
        lans: vec!["192.168.1.0/24".parse().unwrap()],
        wan: Some(wan.parse().unwrap()),
    };
    w.tailnet.set_outside(outside("203.0.113.1"));
    assert!(w.commit().is_empty());
    let at = |w: &World, id| {
        let node = w.tailnet.node(id).unwrap();
        node.soft.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let said = r#"{"OmitPeers":true,"Endpoints":["192.168.1.5:41641"],"EndpointTypes":[2]}"#;
    w.update(laptop, said);
    assert_eq!(at(&w, laptop), ["192.168.1.5:41641", "203.0.113.1:41641"]);
    assert!(w.update(laptop, said).is_empty(), "it said nothing new");
    // Elsewhere networks have the same numbers: what counts is where STUN sees a node.
    let away = r#"{"OmitPeers":true,"Endpoints":["198.51.100.7:9","192.168.1.5:9"],
        "EndpointTypes":[2,1]}"#;
    w.update(phone, away);
    assert_eq!(at(&w, phone), ["198.51.100.7:9", "192.168.1.5:9"]);
    // Another address outside: peers hear of it, and of none when there is none.
    w.tailnet.set_outside(outside("203.0.113.2"));
    assert_eq!(w.commit(), [Change::Patch(laptop, Patch::ENDPOINTS)]);
    assert_eq!(at(&w, laptop), ["192.168.1.5:41641", "203.0.113.2:41641"]);
    w.tailnet.set_outside(Outside::default());
    assert_eq!(at(&w, laptop), ["192.168.1.5:41641"]);
    w.tailnet.set_outside(outside("203.0.113.2"));
    // A port map of its own that says the same is told once.
    let mapped = r#"{"OmitPeers":true,"Endpoints":["203.0.113.2:41641","192.168.1.5:41641"],
        "EndpointTypes":[3,2]}"#;
    w.update(laptop, mapped);
    assert_eq!(at(&w, laptop), ["203.0.113.2:41641", "192.168.1.5:41641"]);
}

#[test]
fn updates_that_change_nothing_are_silent() {
    let mut w = World::new();
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    let id = w.join(1, &key);
    w.commit();
    let disco = "discokey:".to_owned() + &"07".repeat(32);
    let body = format!(
        r#"{{"Version":113,"DiscoKey":"{disco}","OmitPeers":true,"Endpoints":["192.0.2.1:5"],
        "Hostinfo":{{"Hostname":"host1","NetInfo":{{"PreferredDERP":9}}}}}}"#
    );
    let all = Patch::DISCO.and(Patch::ENDPOINTS).and(Patch::HOME_DERP);
    assert_eq!(w.update(id, &body), [Change::Patch(id, all)]);
    assert!(w.update(id, &body).is_empty());
    // A later stream repeats old news.
    let stream = body.replace("192.0.2.1", "192.0.2.9").replace("OmitPeers", "Stream");
    assert!(w.update(id, &stream).is_empty());
    let renamed = body.replace("host1", "desk");
    assert_eq!(w.update(id, &renamed), [Change::Node(id)]);
    assert_eq!(w.tailnet.node(id).unwrap().node.name, "desk");
    w.tailnet.rename_node(id, "Chosen").unwrap();
    w.update(id, &body);
    assert_eq!(w.tailnet.node(id).unwrap().node.name, "chosen");
}

#[test]
fn after_a_restart_the_first_stream_speaks() {
    let mut w = World::new();
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    let id = w.join(1, &key);
    let mut snapshot = Snapshot::default();
    let batch = w.tailnet.take_batch();
    batch.writes.into_iter().for_each(|write| snapshot.apply(write));
    let mut w = World::with(Rules::default(), snapshot);
    let stream = r#"{"Version":113,"Stream":true,"Endpoints":["192.0.2.1:5"]}"#;
    assert_eq!(w.update(id, stream), [Change::Patch(id, Patch::ENDPOINTS)]);
    assert_eq!(w.tailnet.take_unsaved(w.now, true).len(), 1);
    assert!(w.tailnet.take_unsaved(w.now, true).is_empty());
}

#[test]
fn nothing_is_shown_before_it_is_stored() {
    let mut w = World::new();
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    w.commit();
    let id = w.join(1, &key);
    let batch = w.tailnet.take_batch();
    assert!(w.tailnet.shown(id).is_none());
    w.tailnet.settle(batch.number);
    assert_eq!(w.tailnet.shown(id).unwrap().name, "host1");
    w.tailnet.rename_node(id, "one").unwrap();
    let one = w.tailnet.take_batch();
    w.tailnet.rename_node(id, "two").unwrap();
    let two = w.tailnet.take_batch();
    assert_eq!(w.tailnet.shown(id).unwrap().name, "host1");
    // The first commit fails, and takes the second with it.
    assert_eq!(w.tailnet.undo(one.number, Vec::new()), [Change::Node(id), Change::Node(id)]);
    assert!(w.tailnet.undo(two.number, Vec::new()).is_empty());
    assert_eq!(w.tailnet.node(id).unwrap().node.name, "host1");
    w.tailnet.rename_node(id, "one").unwrap();
    w.commit();
    w.tailnet.delete_node(id).unwrap();
    let gone = w.tailnet.take_batch();
    let told = w.tailnet.undo(gone.number, gone.changes);
    assert_eq!(told, [Change::Node(id)]);
    assert_eq!(w.tailnet.node_by_key(&node_key(1)).unwrap().node.name, "one");
    let failed = w.join(2, &key);
    let batch = w.tailnet.take_batch();
    w.tailnet.undo(batch.number, batch.changes);
    assert!(w.tailnet.node(failed).is_none());
    assert_eq!(w.join(3, &key).0, failed.0 + 1, "numbers are not used again");
    assert_eq!(w.tailnet.node_by_key(&node_key(3)).unwrap().node.v4.unwrap().octets()[3], 2);
}

#[test]
fn users() {
    let mut w = World::new();
    let ann = w.user("ann");
    let taken = NewUser { name: "ann".into(), ..NewUser::default() };
    let refused = w.tailnet.create_user(taken, w.now);
    assert_eq!(refused, Err(Refusal::UserNameTaken("ann".into())));
    let odd = NewUser { name: "a n".into(), ..NewUser::default() };
    assert_eq!(w.tailnet.create_user(odd, w.now), Err(Refusal::UserName("a n".into())));
    w.tailnet.rename_user(ann, "anna").unwrap();
    assert!(w.commit().contains(&Change::User(ann)));
    assert_eq!(w.tailnet.find_user("anna").unwrap().id, ann);
    assert_eq!(w.tailnet.find_user("1").unwrap().id, ann);
    let key = w.key(reusable(ann));
    let id = w.join(1, &key);
    assert_eq!(w.tailnet.delete_user(ann), Err(Refusal::UserHasNodes(1)));
    w.tailnet.delete_node(id).unwrap();
    w.tailnet.delete_user(ann).unwrap();
    assert_eq!(w.tailnet.auth_keys().count(), 0);
}

#[test]
fn api_keys() {
    let mut w = World::new();
    let mut seed = 5;
    let expiry = Some(w.now.expiry_in(Duration::from_secs(60)));
    let made = w.tailnet.create_api_key(expiry, w.now, &mut |b| fill(b, &mut seed));
    let (id, text) = made.unwrap();
    w.commit();
    assert!(w.tailnet.check_api_key(&text, w.now));
    assert!(!w.tailnet.take_batch().writes.is_empty());
    assert!(w.tailnet.check_api_key(&text, w.now));
    assert!(w.tailnet.take_batch().writes.is_empty(), "a poll is not a write");
    assert!(!w.tailnet.check_api_key(&text[..text.len() - 1], w.now));
    let prefix = w.tailnet.api_key(id).unwrap().prefix.clone();
    assert_eq!(w.tailnet.api_key_by_prefix(&format!("hskey-api-{prefix}-***")), Ok(id));
    w.pass(60);
    assert!(!w.tailnet.check_api_key(&text, w.now));
}

#[test]
fn routes_and_their_primaries() {
    let mut w = World::new();
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    let (one, two) = (w.join(1, &key), w.join(2, &key));
    let net: Prefix = "10.0.0.0/8".parse().unwrap();
    for id in [one, two] {
        w.update(
            id,
            r#"{"Version":113,"Hostinfo":{"RoutableIPs":["10.0.0.0/8","0.0.0.0/0","::/0"]}}"#,
        );
        w.tailnet.approve_routes(id, &[net, Prefix::ALL_V4]).unwrap();
        w.tailnet.connect(id);
    }
    w.commit();
    assert!(w.tailnet.node(two).unwrap().is_exit_node());
    let serves = |w: &World, id| w.tailnet.primary_routes(id).collect::<Vec<_>>();
    assert_eq!((serves(&w, one), serves(&w, two)), (vec![net], vec![]));
    w.tailnet.disconnect(one, w.now);
    w.pass(10);
    w.tailnet.tick(w.now);
    let changes = w.commit();
    assert!(changes.contains(&Change::Node(one)) && changes.contains(&Change::Node(two)));
    assert_eq!((serves(&w, one), serves(&w, two)), (vec![], vec![net]));
    w.tailnet.connect(one);
    assert_eq!(serves(&w, two), [net], "no flapping back");
    w.tailnet.approve_routes(two, &[]).unwrap();
    assert_eq!(serves(&w, one), [net]);
}

#[test]
fn backfill() {
    let mut w = World::with(Rules { v6: None, ..Rules::default() }, Snapshot::default());
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    let id = w.join(1, &key);
    w.tailnet.rules = Rules { v4: None, ..Rules::default() };
    let done = w.tailnet.backfill_addresses(&mut |_| ()).unwrap();
    assert_eq!(
        done,
        ["removed 100.64.0.1 from node 1 (host1)", "assigned fd7a:115c:a1e0::1 to node 1 (host1)"]
    );
    assert_eq!(w.tailnet.node(id).unwrap().node.v4, None);
}

#[test]
fn the_clock_is_trusted_late() {
    let mut w = World::with(
        Rules { node_expiry: Some(Duration::from_secs(100)), ..Rules::default() },
        Snapshot::default(),
    );
    w.now.wall = Timestamp::from_secs(50);
    w.now.trusted = false;
    let ann = w.user("ann");
    let key = w.key(reusable(ann));
    let id = w.join(1, &key);
    assert_eq!(w.tailnet.node(id).unwrap().node.expiry, Some(Expiry::In(Duration::from_secs(100))));
    w.now.wall = Timestamp::from_secs(1_800_000_000);
    w.now.trusted = true;
    w.tailnet.trust_clock(w.now).unwrap();
    let expiry = w.tailnet.node(id).unwrap().node.expiry;
    assert_eq!(expiry, Some(Expiry::At(Timestamp::from_secs(1_800_000_100))));
    w.commit();
    assert_eq!(w.tailnet.tick(w.now), Some(Duration::from_secs(100)));
    w.pass(100);
    w.tailnet.tick(w.now);
    assert_eq!(w.commit(), [Change::Node(id)]);
    assert!(w.tailnet.node(id).unwrap().expired);
    w.tailnet.tick(w.now);
    assert!(w.commit().is_empty());
}

#[test]
fn addresses_out_of_the_policy_s_pool() {
    let mut w = World::new();
    let (ann, bob) = (w.user("ann"), w.user("bob"));
    let (of_ann, of_bob) = (w.key(reusable(ann)), w.key(reusable(bob)));
    w.set_policy(
        r#"{"nodeAttrs":[{"target":["ann@"],"ipPool":["100.85.0.0/30","100.86.0.0/16"]}]}"#,
    );
    let mut address = |machine, key: &str| {
        let id = w.join(machine, key);
        w.commit();
        w.tailnet.node(id).unwrap().node.v4.unwrap().to_string()
    };
    assert_eq!(address(1, &of_bob), "100.64.0.1");
    let pooled = [address(2, &of_ann), address(3, &of_ann), address(4, &of_ann)];
    assert_eq!(pooled, ["100.85.0.1", "100.85.0.2", "100.86.0.1"]);
    let full = r#"{"nodeAttrs":[{"target":["*"],"ipPool":["100.85.0.0/30"]}]}"#;
    w.set_policy(full);
    let more = format!(r#","Auth":{{"AuthKey":"{of_bob}"}}"#);
    assert_eq!(w.register(9, 9, &more), Err(Refusal::NoAddress));
    let outside = full.replace("100.85.0.0/30", "10.0.0.0/8");
    assert!(w.tailnet.set_policy(&outside, w.now).is_err());
}
