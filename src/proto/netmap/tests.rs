//! The invariant of the product: a map that a client rebuilds from what it was sent equals a
//! fresh full one, whatever happened in between.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::tailnet::change::Patch;
use crate::tailnet::record::Expiry;
use crate::tailnet::write::Snapshot;
use crate::tailnet::{NewAuthKey, NewUser, Registered, Rules};
use crate::wire::key::MachineKey;
use crate::wire::prefix::Prefix;
use crate::wire::tailcfg::{MapRequest, RegisterRequest};
use crate::wire::time::Timestamp;

/// Steps of a run; `GRAMSCALE_STEPS` asks for more.
const STEPS: u32 = 1200;

/// Policies that are put in force one after the other.
const POLICIES: [&str; 6] = [
    r#"{"tagOwners":{"tag:web":[]},"acls":[{"action":"accept","src":["*"],"dst":["*:*"]}]}"#,
    r#"{"tagOwners":{"tag:web":[]},"groups":{"group:a":["user1@","user2@"]},
        "acls":[{"action":"accept","src":["group:a"],"dst":["tag:web:80","10.0.0.0/8:*"]},
                {"action":"accept","src":["tag:web"],"dst":["user3@:22"]}]}"#,
    r#"{"tagOwners":{"tag:web":[],"tag:server":[]},
        "autoApprovers":{"routes":{"10.0.0.0/8":["tag:web"]},"exitNode":["tag:server"]},
        "acls":[{"action":"accept","src":["autogroup:member"],"dst":["autogroup:self:*"]},
                {"action":"accept","src":["autogroup:member"],"dst":["autogroup:internet:*"]}]}"#,
    r#"{"acls":[]}"#,
    r#"{"tagOwners":{"tag:web":[]},
        "nodeAttrs":[{"target":["tag:web"],"attr":["magicdns-aaaa","disable-ipv4"]},
                     {"target":["user2@"],"attr":["disable-ipv4","nextdns:of-user2"]}],
        "grants":[{"src":["autogroup:member"],"dst":["10.0.0.0/8"],"ip":["*"],"via":["tag:web"]},
                  {"src":["*"],"dst":["tag:web"],"ip":["tcp:80"],"app":{"example.com/x":[{"a":1}]}}],
        "ssh":[{"action":"accept","src":["autogroup:member"],"dst":["tag:web"],"users":["root"]}]}"#,
    r#"{"tagOwners":{"tag:web":[]},
        "autoApprovers":{"routes":{"10.0.0.0/8":["autogroup:owner"]}},
        "nodeAttrs":[{"target":["autogroup:auditor"],"attr":["disable-ipv4"]},
                     {"target":["autogroup:owner"],"attr":["nextdns:of-owner"]}],
        "grants":[{"src":["autogroup:admin"],"dst":["tag:web","10.0.0.0/8"],"ip":["*"]},
                  {"src":["autogroup:auditor"],"dst":["autogroup:self","autogroup:owner"],"ip":["tcp:22"]}],
        "ssh":[{"action":"accept","src":["autogroup:admin"],"dst":["tag:web"],"users":["root"]}]}"#,
];

/// What a client knows.
#[derive(Debug, Default, PartialEq)]
struct Client {
    node: Value,
    peers: BTreeMap<u64, Value>,
    users: BTreeMap<u64, Value>,
    rest: BTreeMap<String, Value>,
}

impl Client {
    /// Does what the client's `controlclient` `map.go` does with a response.
    fn read(&mut self, message: &Message) {
        let bytes = message.concat();
        let (len, payload) = bytes.split_at(4);
        assert_eq!(u32::from_le_bytes(len.try_into().unwrap()) as usize, payload.len());
        let Value::Object(fields) = serde_json::from_slice(&decode(payload)).unwrap() else {
            panic!("no object")
        };
        let list = |value: &Value| value.as_array().unwrap().clone();
        let id = |value: &Value| value["ID"].as_u64().unwrap();
        for (name, value) in &fields {
            match name.as_str() {
                "Node" => self.node = value.clone(),
                "Peers" => self.peers = list(value).into_iter().map(|p| (id(&p), p)).collect(),
                "PeersChanged" => self.peers.extend(list(value).into_iter().map(|p| (id(&p), p))),
                "PeersRemoved" => list(value).iter().for_each(|id| {
                    let known = self.peers.remove(&id.as_u64().unwrap());
                    assert!(known.is_some(), "{id} removed, but not known");
                }),
                "UserProfiles" => self.users.extend(list(value).into_iter().map(|u| (id(&u), u))),
                "PeersChangedPatch" | "ControlTime" | "PingRequest" => {}
                "PacketFilters" => {
                    self.rest.insert(name.clone(), value["base"].clone());
                }
                _ => _ = self.rest.insert(name.clone(), value.clone()),
            }
        }
        for patch in fields.get("PeersChangedPatch").map(list).unwrap_or_default() {
            self.patch(&patch);
        }
    }

    fn patch(&mut self, patch: &Value) {
        let id = patch["NodeID"].as_u64().unwrap();
        let peer = self.peers.get_mut(&id).expect("a patch of a known node").as_object_mut();
        let peer = peer.unwrap();
        for (name, value) in patch.as_object().unwrap() {
            match name.as_str() {
                "NodeID" => {}
                "DERPRegion" => _ = peer.insert("HomeDERP".into(), value.clone()),
                _ => _ = peer.insert(name.clone(), value.clone()),
            }
        }
        if peer["Online"] == true {
            peer.remove("LastSeen");
        }
    }

    /// Fails with what differs first: whole maps are too long to read.
    fn assert_is(&self, fresh: &Self, viewer: NodeId) {
        assert_eq!(self.node, fresh.node, "self node of {viewer}");
        let ids = |client: &Self| client.peers.keys().copied().collect::<Vec<_>>();
        assert_eq!(ids(self), ids(fresh), "peers of {viewer}");
        for (id, peer) in &self.peers {
            assert_eq!(Some(peer), fresh.peers.get(id), "peer {id} of {viewer}");
        }
        assert_eq!(self.users, fresh.users, "users of {viewer}");
        assert_eq!(self.rest, fresh.rest, "viewer {viewer}");
    }

    /// Keeps the profiles only of users that a fresh map would name.
    fn forget_strangers(&mut self) {
        let used: Vec<_> =
            self.peers.values().chain([&self.node]).map(|n| n["User"].as_u64()).collect();
        self.users.retain(|id, _| used.contains(&Some(*id)));
    }
}

fn decode(payload: &[u8]) -> Vec<u8> {
    if !payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return payload.to_vec();
    }
    let mut out = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let mut frame = ruzstd::decoding::StreamingDecoder::new(&mut rest).unwrap();
        std::io::Read::read_to_end(&mut frame, &mut out).unwrap();
    }
    out
}

/// A tailnet, its streams, and what their clients rebuilt.
struct World {
    tailnet: Tailnet,
    netmap: Netmap,
    now: Now,
    streams: Vec<(View, Client)>,
    nodes: Vec<NodeId>,
    auth: Vec<String>,
    next: u8,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self::with(seed, Rules::default())
    }

    fn with(seed: u64, rules: Rules) -> Self {
        let now = Now {
            wall: Timestamp::from_secs(1_800_000_000),
            trusted: true,
            uptime: Duration::ZERO,
        };
        let dns = Dns { magic: true, base_domain: "ts.lan".into(), ..Dns::default() };
        let mut world = Self {
            tailnet: Tailnet::new(rules, Snapshot::default()),
            netmap: Netmap::new(Settings { dns, taildrop: true, ..Settings::default() }),
            now,
            streams: Vec::new(),
            nodes: Vec::new(),
            auth: Vec::new(),
            next: 0,
            seed,
        };
        for name in ["ann", "bob"] {
            let new = NewUser { name: name.into(), ..NewUser::default() };
            let user = world.tailnet.create_user(new, now).unwrap();
            let key = NewAuthKey { user: Some(user), reusable: true, ..NewAuthKey::default() };
            world.auth_key(NewAuthKey { preapproved: name == "ann", ..key });
        }
        let tags = vec!["tag:server".to_owned()];
        world.auth_key(NewAuthKey {
            tags,
            reusable: true,
            ephemeral: true,
            ..NewAuthKey::default()
        });
        world.commit(true);
        world
    }

    fn auth_key(&mut self, new: NewAuthKey) {
        let mut seed = self.seed;
        let made = self.tailnet.create_auth_key(new, self.now, &mut |bytes| {
            bytes.fill_with(|| random(&mut seed) as u8);
        });
        self.seed = seed;
        self.auth.push(made.unwrap().1);
    }

    fn pick(&mut self, below: usize) -> usize {
        (random(&mut self.seed) as usize) % below.max(1)
    }

    fn some_node(&mut self) -> Option<NodeId> {
        let at = self.pick(self.nodes.len());
        self.nodes.get(at).copied()
    }

    /// Ends what the last command began: stored, or not.
    fn commit(&mut self, works: bool) {
        let batch = self.tailnet.take_batch();
        // Streams may be rendered while a commit is under way.
        if self.pick(4) == 0 {
            self.render_some();
        }
        let changes = if works {
            self.tailnet.settle(batch.number);
            batch.changes
        } else {
            self.tailnet.undo(batch.number, batch.changes)
        };
        for change in changes {
            self.netmap.forget(&self.tailnet, &change);
            for (view, _) in &mut self.streams {
                view.note(&self.tailnet, &change);
            }
            if let Change::NodeGone { id, .. } = change {
                self.nodes.retain(|node| *node != id);
            }
        }
        let exists = |id: &NodeId| self.tailnet.node(*id).is_some();
        self.nodes.retain(exists);
    }

    fn join(&mut self) {
        self.next = self.next.wrapping_add(1);
        let machine = MachineKey([self.next; 32]);
        let auth = self.pick(3);
        let host = ["laptop", "phone", "Bob's \\\"PC\""][self.pick(3)];
        let body = format!(
            r#"{{"Version":113,"NodeKey":"{}","Auth":{{"AuthKey":"{}"}},"Hostinfo":{{"OS":"linux","Hostname":{}}}}}"#,
            NodeKey([self.next; 32]),
            self.auth[auth],
            Value::from(host),
        );
        let request = RegisterRequest::parse(&mut body.into_bytes()).unwrap();
        let joined = self.tailnet.register(machine, &request, self.now, &mut |_| ());
        if let Ok(Registered::Accepted(id)) = joined
            && !self.nodes.contains(&id)
        {
            self.nodes.push(id);
        }
    }

    fn update(&mut self) {
        let Some(id) = self.some_node() else { return };
        let (a, b, c) = (self.pick(3), self.pick(3), self.pick(4));
        let routes = ["", r#""10.0.0.0/8""#, r#""10.0.0.0/8","0.0.0.0/0","::/0""#][self.pick(3)];
        let body = format!(
            r#"{{"Version":{},"OmitPeers":true,"DiscoKey":"discokey:{:064}","Endpoints":["192.0.2.{a}:1"],
            "Hostinfo":{{"OS":"linux","Hostname":"n{c}","RoutableIPs":[{routes}],
            "Services":[{{"Proto":"peerapi4","Port":{b}}}],"NetInfo":{{"PreferredDERP":{b}}}}}}}"#,
            113 + a,
            1 + c,
        );
        let request = MapRequest::parse(&mut body.into_bytes()).unwrap();
        self.tailnet.update(id, &request).unwrap();
    }

    fn open(&mut self) {
        let Some(id) = self.some_node() else { return };
        let key = self.tailnet.node(id).unwrap().node.key;
        let version = [88, 111, 113, 130][self.pick(4)];
        let view = View::new(id, key, version, self.pick(2) == 0);
        self.tailnet.connect(id);
        self.streams.push((view, Client::default()));
    }

    fn close(&mut self) {
        if self.streams.is_empty() {
            return;
        }
        let at = self.pick(self.streams.len());
        let (view, _) = self.streams.swap_remove(at);
        self.tailnet.disconnect(view.viewer, self.now);
    }

    fn render(&mut self, at: usize) {
        let (view, client) = &mut self.streams[at];
        if let Some(message) = self.netmap.render(view, &self.tailnet, self.now) {
            client.read(&message);
        }
    }

    fn render_some(&mut self) {
        for at in 0..self.streams.len() {
            if self.pick(3) == 0 {
                self.render(at);
            }
        }
    }

    fn step(&mut self) {
        let works = self.pick(12) != 0;
        match self.pick(16) {
            0..3 if self.nodes.len() < 150 => self.join(),
            0..5 => self.update(),
            5 => self.open(),
            6 => self.close(),
            7 => {
                let secs = self.pick(20) as u64;
                self.now.uptime += Duration::from_secs(secs);
                self.now.wall = self.now.wall.after(Duration::from_secs(secs));
                self.tailnet.tick(self.now);
            }
            8 if self.pick(3) == 0 => {
                self.some_node().map(|id| self.tailnet.approve_node(id));
            }
            8 => {
                let name = format!("name{}", self.pick(9));
                self.some_node().map(|id| self.tailnet.rename_node(id, &name).ok());
            }
            9 if self.nodes.len() > 100 || self.pick(4) == 0 => {
                self.some_node().map(|id| self.tailnet.delete_node(id));
            }
            10 => {
                let routes: Vec<Prefix> =
                    ["10.0.0.0/8", "::/0"].iter().map(|p| p.parse().unwrap()).collect();
                let end = self.pick(3);
                self.some_node().map(|id| self.tailnet.approve_routes(id, &routes[..end]));
            }
            11 => {
                let tags = ["tag:web".to_owned()];
                self.some_node().map(|id| self.tailnet.set_tags(id, &tags));
            }
            12 => {
                let users: Vec<_> = self.tailnet.users().map(|user| user.id).collect();
                let (user, name) = (users[self.pick(2)], format!("user{}", self.pick(5)));
                let role = Role::ALL[self.pick(Role::ALL.len())];
                if self.pick(2) == 0 {
                    self.tailnet.set_role(user, role, true).unwrap();
                } else {
                    // The name may be taken.
                    let _ = self.tailnet.rename_user(user, &name);
                }
            }
            13 => {
                let by = Duration::from_secs(self.pick(60) as u64);
                let expiry = Expiry::At(self.now.wall.after(by));
                self.some_node().map(|id| self.tailnet.set_expiry(id, Some(expiry), self.now));
            }
            14 if self.pick(6) == 0 => {
                let policy = POLICIES[self.pick(POLICIES.len())];
                // A name that it needs may be two users' at the moment.
                let _ = self.tailnet.set_policy(policy, self.now);
            }
            _ => self.render_some(),
        }
        self.commit(works);
    }

    /// Brings every client up to date and holds it against a fresh map.
    fn check(&mut self) {
        for at in 0..self.streams.len() {
            self.render(at);
            let (view, client) = &mut self.streams[at];
            if view.is_ended() {
                assert_eq!(client.node["Expired"], true);
                continue;
            }
            let mut fresh = View::new(view.viewer, view.key, view.version, view.zstd());
            let message = self.netmap.render(&mut fresh, &self.tailnet, self.now).unwrap();
            let mut expect = Client::default();
            expect.read(&message);
            // Until its own change is told, a patch of itself is not.
            for name in ["Endpoints", "DiscoKey", "HomeDERP", "DERP", "Cap", "Online", "LastSeen"] {
                client.node.as_object_mut().unwrap().remove(name);
                expect.node.as_object_mut().unwrap().remove(name);
            }
            if view.version < 111 {
                client.peers.values_mut().chain(expect.peers.values_mut()).for_each(forget_derp);
            }
            client.forget_strangers();
            client.assert_is(&expect, view.viewer);
        }
        self.streams.retain(|(view, _)| !view.is_ended());
    }
}

/// The oldest clients read a whole node's region in a form of its own, a patch's as a number.
fn forget_derp(peer: &mut Value) {
    let peer = peer.as_object_mut().unwrap();
    peer.remove("DERP");
    peer.remove("HomeDERP");
}

fn random(seed: &mut u64) -> u32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as u32
}

#[test]
fn deltas_equal_a_fresh_map() {
    let steps = std::env::var("GRAMSCALE_STEPS").ok().and_then(|text| text.parse().ok());
    let steps = steps.unwrap_or(STEPS);
    let rules = Rules { approval: true, ..Rules::default() };
    let mut world = World::with(u64::from(steps), rules);
    while world.nodes.len() < 2 * CHUNK as usize {
        world.join();
        world.commit(true);
    }
    for step in 0..steps {
        world.step();
        if step % 16 == 0 {
            world.check();
        }
    }
    world.check();
}

#[test]
fn patches_are_shared_and_silence_is_kept() {
    let mut world = World::new(1);
    for _ in 0..3 {
        world.join();
    }
    world.commit(true);
    let ids = world.nodes.clone();
    for id in &ids {
        let key = world.tailnet.node(*id).unwrap().node.key;
        world.tailnet.connect(*id);
        world.commit(true);
        world.streams.push((View::new(*id, key, 113, true), Client::default()));
    }
    world.check();
    let change = Change::Patch(ids[0], Patch::ONLINE);
    world.netmap.forget(&world.tailnet, &change);
    let World { tailnet, netmap, streams, now, .. } = &mut world;
    let mut messages = streams.iter_mut().map(|(view, _)| {
        view.note(tailnet, &change);
        netmap.render(view, tailnet, *now)
    });
    assert_eq!(messages.next().unwrap(), None, "a node is not told its own patch");
    let (one, two) = (messages.next().unwrap().unwrap(), messages.next().unwrap().unwrap());
    assert!(one.len() == 1 && Rc::ptr_eq(&one[0], &two[0]));
    let text = String::from_utf8(decode(&one[0][4..])).unwrap();
    assert_eq!(text, r#"{"PeersChangedPatch":[{"NodeID":1,"Online":true}]}"#);
}

#[test]
fn a_question_is_put_once() {
    let mut world = World::new(4);
    world.join();
    world.commit(true);
    let id = world.nodes[0];
    let probe = Change::Probe(id, Probe(7));
    let mut view = View::new(id, NodeKey::default(), 113, false);
    // Also when it comes before the first map is out, which is a message of its own.
    view.note(&world.tailnet, &probe);
    let mut render = |view: &mut View| {
        let message = world.netmap.render(view, &world.tailnet, world.now)?;
        Some(String::from_utf8(message[1..].concat()).unwrap())
    };
    assert!(!render(&mut view).unwrap().contains("PingRequest"));
    let asked = r#"{"PingRequest":{"URL":"https://unused/machine/probe/1/7","URLIsNoise":true,"Types":""}}"#;
    assert_eq!(render(&mut view).as_deref(), Some(asked));
    assert_eq!(render(&mut view), None);
}

#[test]
fn chunks_are_shared() {
    let mut world = World::new(2);
    for _ in 0..34 {
        world.join();
        world.commit(true);
    }
    let mut parts = Vec::new();
    for at in [0, 1] {
        let id = world.nodes[at];
        let mut view = View::new(id, NodeKey::default(), 113, true);
        parts.push(world.netmap.render(&mut view, &world.tailnet, world.now).unwrap());
    }
    // Length, head, chunk, comma, chunk, comma, chunk, tail; the first chunk holds the viewer.
    let same: Vec<_> = parts[0].iter().zip(&parts[1]).map(|(a, b)| Rc::ptr_eq(a, b)).collect();
    assert_eq!(same, [false, false, false, false, true, false, true, false]);
}

#[test]
fn deltas_are_shared() {
    let mut world = World::new(4);
    for _ in 0..12 {
        world.join();
        world.commit(true);
    }
    let viewers: Vec<_> = world.nodes[..3].to_vec();
    for (id, version) in viewers.iter().zip([113, 113, 100]) {
        world.streams.push((View::new(*id, NodeKey::default(), version, true), Client::default()));
    }
    let told = |world: &mut World| -> Vec<Message> {
        let World { streams, netmap, tailnet, now, .. } = world;
        streams.iter_mut().filter_map(|(view, _)| netmap.render(view, tailnet, *now)).collect()
    };
    assert_eq!(told(&mut world).len(), 3);
    let policy = |world: &mut World, text: &str| {
        world.tailnet.set_policy(text, world.now).unwrap();
        world.commit(true);
        told(world);
    };
    let rename = |world: &mut World, node: NodeId, name: &str| {
        world.tailnet.rename_node(node, name).unwrap();
        world.commit(true);
        let messages = told(world);
        assert_eq!(messages.len(), 3);
        [Rc::ptr_eq(&messages[0][0], &messages[1][0]), Rc::ptr_eq(&messages[0][0], &messages[2][0])]
    };
    let node = *world.nodes.last().unwrap();
    // The third client is older and reads nodes in another form.
    assert_eq!(rename(&mut world, node, "one"), [true, false]);
    policy(&mut world, POLICIES[0]);
    assert_eq!(rename(&mut world, node, "two"), [true, false]);
    // What a viewer may use of a router's routes depends on the viewer.
    let routes: Vec<Prefix> = vec!["10.0.0.0/8".parse().unwrap()];
    let body = br#"{"Version":113,"OmitPeers":true,"Hostinfo":{"RoutableIPs":["10.0.0.0/8"]}}"#;
    let request = MapRequest::parse(&mut body.to_vec()).unwrap();
    world.tailnet.update(node, &request).unwrap();
    world.commit(true);
    world.tailnet.approve_routes(node, &routes).unwrap();
    world.commit(true);
    told(&mut world);
    assert_eq!(rename(&mut world, node, "three"), [false, false]);
}

#[test]
fn the_text_has_no_escapes() {
    let mut world = World::new(3);
    for _ in 0..12 {
        world.join();
        world.commit(true);
    }
    let mut view = View::new(world.nodes[0], NodeKey::default(), 130, false);
    let message = world.netmap.render(&mut view, &world.tailnet, world.now).unwrap();
    let text = String::from_utf8(message[1..].concat()).unwrap();
    assert!(text.contains("Bob's /'PC'"), "{text}");
    assert!(!text.contains('\\'));
}

#[test]
fn keep_alive_has_a_byte_more() {
    let message = Netmap::keep_alive(false).concat();
    assert_eq!(message, b"\x13\0\0\0{\"KeepAlive\":true }");
}

#[test]
fn each_client_gets_the_map_of_relays_in_its_form() {
    let mut netmap = Netmap::new(Settings::default());
    assert_eq!(netmap.derp_map(200), b"{\"Regions\":{}}");
    let form = |from, text: &str| (from, text.as_bytes().to_vec());
    assert!(netmap.set_derp_map(vec![form(0, "old"), form(100, "new"), form(200, "new")]));
    let map = |netmap: &Netmap, version| netmap.derp_map(version).to_vec();
    assert_eq!([0, 99, 100, 250].map(|v| map(&netmap, v)), [b"old", b"old", b"new", b"new"]);
    assert_eq!(netmap.derp_maps.len(), 2, "equal forms are kept once");
    assert!(!netmap.set_derp_map(vec![form(0, "old"), form(100, "new"), form(200, "new")]));
    assert!(netmap.set_derp_map(vec![form(0, "old")]));
    assert_eq!(map(&netmap, 250), b"old");
}
