//! What one node is told of its tailnet, as the bytes of map responses.
//!
//! A [`View`] stands for one map stream. Changes of the tailnet only mark what the view still has
//! to be told; [`Netmap::render`] makes one message of it when the stream can take one, so a slow
//! reader costs a few bits for each node and never a queue of bytes.
//!
//! A message may be several zstd frames. What all viewers get alike is rendered and compressed
//! once: the nodes in chunks of [`CHUNK`], and a patch as a whole message. A message holds
//! references to these, not copies.

mod bits;
mod dns;
mod news;
mod node;
mod profile;
mod view;

use std::borrow::Cow;
use std::rc::Rc;

pub use dns::{Device, Dns, Record};
pub use profile::write_login;
pub use view::View;

use bits::Slots;
use news::News;
use node::{Form, Whom};
use profile::{owner, profiles};

use crate::policy::{Filter, Role};
use crate::tailnet::change::{Change, Slot};
use crate::tailnet::record::{NodeId, UserId};
use crate::tailnet::{Member, Now, Probe, Tailnet};
use crate::wire::json::Json;
use crate::wire::key::NodeKey;
use crate::wire::sorted::Map;
use crate::wire::zstd;

/// Nodes that are rendered and compressed together. A change makes one such part anew, and each map
/// one of its own, the viewer's: more nodes compress better (64 by an eighth), fewer are sooner done.
pub const CHUNK: u32 = 16;

/// Shared messages that are kept: what changed goes to viewers one after the other, and most have
/// the same to be told, so the last few are all that is asked for again.
const SHARED: usize = 16;

/// Where a node answers that it is there: its number, `/` and the number of the question follow.
pub const PROBE_PATH: &str = "/machine/probe/";

/// A message of a map stream, as parts that may be shared; the first is the length of the rest.
pub type Message = Vec<Rc<[u8]>>;

/// The settings that show in maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// DNS.
    pub dns: Dns,
    /// Clients may send their logs to the client's maker.
    pub log_tail: bool,
    /// Clients may send each other files.
    pub taildrop: bool,
    /// Clients update themselves unless told otherwise.
    pub auto_update: bool,
}

/// Renders map responses.
pub struct Netmap {
    settings: Settings,
    dns: Vec<u8>,
    derp_maps: Vec<(u16, Vec<u8>)>,
    chunks: Map<(u32, Form, Encoding), Chunk>,
    shared: Vec<Shared>,
}

/// How a stream is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Encoding {
    Plain,
    Zstd,
}

/// Nodes with neighbouring slots, rendered.
struct Chunk {
    members: Slots,
    bytes: Rc<[u8]>,
}

/// A message for all viewers that have the same to be told.
struct Shared {
    /// Of the nodes in it, if there are any.
    form: Option<Form>,
    encoding: Encoding,
    news: News,
    message: Rc<[u8]>,
}

impl Netmap {
    /// Renders with these settings. There is no relay until [`Self::set_derp_map`].
    pub fn new(settings: Settings) -> Self {
        let mut netmap = Self {
            settings: Settings::default(),
            dns: Vec::new(),
            derp_maps: Vec::new(),
            chunks: Map::new(),
            shared: Vec::new(),
        };
        netmap.set_settings(settings);
        netmap
    }

    /// Replaces the settings; whether the DNS part changed, which viewers must then be told.
    pub fn set_settings(&mut self, settings: Settings) -> bool {
        let mut dns = Vec::new();
        settings.dns.render(&mut dns);
        let changed = dns != self.dns;
        self.dns = dns;
        self.settings = settings;
        self.chunks.clear();
        self.shared.clear();
        changed
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Replaces the DERP map: its forms as JSON, the oldest first, with the capability version
    /// from which on clients take each. Whether it changed, which viewers must then be told.
    pub fn set_derp_map(&mut self, mut forms: Vec<(u16, Vec<u8>)>) -> bool {
        forms.dedup_by(|new, old| new.1 == old.1);
        let changed = forms != self.derp_maps;
        self.derp_maps = forms;
        changed
    }

    /// Forgets what is rendered of what changed. To be called before views are marked.
    pub fn forget(&mut self, tailnet: &Tailnet, change: &Change) {
        match change {
            Change::Node(id) | Change::Patch(id, _) => {
                if let Some(member) = tailnet.node(*id) {
                    self.forget_slot(member.slot);
                }
            }
            Change::NodeGone { slot, .. } => self.forget_slot(*slot),
            Change::Policy => {
                // What peers are told of a node may depend on its attributes.
                self.chunks.clear();
                self.shared.clear();
            }
            Change::User(_) => self.shared.clear(),
            Change::Access(_) | Change::Filter(_) | Change::Login(_) | Change::Probe(..) => {}
        }
    }

    fn forget_slot(&mut self, slot: Slot) {
        let at = slot.0 / CHUNK;
        self.chunks.retain(|(chunk, _, _), _| *chunk != at);
        self.shared.retain(|shared| !shared.news.speaks_of(slot));
    }

    /// What the view has still to be told, as one message; `None` when that is nothing.
    pub fn render(&mut self, view: &mut View, tailnet: &Tailnet, now: Now) -> Option<Message> {
        if view.gone {
            view.finish();
            return Some(self.farewell(&view.key, view.zstd()));
        }
        if !view.sent {
            let message = self.full(view, tailnet, now)?;
            view.pending = view::Pending { probe: view.pending.probe, ..Default::default() };
            view.sent = true;
            return Some(message);
        }
        if view.pending.is_empty() {
            return None;
        }
        self.delta(view, tailnet)
    }

    /// The message that makes a client without a node ask for a login.
    pub fn farewell(&self, key: &NodeKey, zstd: bool) -> Message {
        let mut text = Vec::new();
        let mut json = Json::new(&mut text);
        json.open('{').key("Node");
        node::write_farewell(&mut json, key);
        json.key("DERPMap").raw(self.derp_map(0)).close('}');
        message(vec![encode(&text, if zstd { Encoding::Zstd } else { Encoding::Plain })])
    }

    /// The message that says that the stream is alive.
    ///
    /// It must not be `{"KeepAlive":true}` to the letter: Go clients remember that message in a
    /// buffer they use again, and take the next one of its length for another
    /// (`controlclient` `direct.go`, `keepAliveZ`).
    pub fn keep_alive(zstd: bool) -> Message {
        let encoding = if zstd { Encoding::Zstd } else { Encoding::Plain };
        message(vec![encode(b"{\"KeepAlive\":true }", encoding)])
    }

    fn full(&mut self, view: &mut View, tailnet: &Tailnet, now: Now) -> Option<Message> {
        let member = tailnet.node(view.viewer)?;
        tailnet.shown(view.viewer)?;
        let mut text = Vec::new();
        let mut json = Json::new(&mut text);
        json.open('{').key("Node");
        let (ssh, caps) = self.rights(tailnet, view.viewer);
        self.own_node(&mut json, tailnet, member, view.form(), &caps);
        json.key("DERPMap").raw(self.derp_map(view.version));
        let dns = self.dns_of(tailnet, member);
        json.key("DNSConfig").raw(&dns);
        view.dns = digest(&dns);
        json.key("Domain").text(&self.settings.dns.base_domain);
        json.key("CollectServices").bool(false);
        let filter = tailnet.packet_filter(view.viewer);
        packet_filter(&mut json, &filter);
        if !tailnet.is_open() {
            json.key("SSHPolicy").raw(&ssh);
        }
        view.rights = (digest(&ssh), digest(&caps));
        json.key("ClientVersion").raw(b"{\"RunningLatest\":true}");
        if !self.settings.log_tail {
            json.key("Debug").raw(b"{\"DisableLogTail\":true}");
        }
        if now.trusted {
            json.key("ControlTime").display(&now.wall);
        }
        view.filter = Some(filter);
        view.known.clear();
        let mut users = vec![owner(member)];
        let mut peers: Vec<Rc<[u8]>> = Vec::new();
        for chunk in 0..tailnet.slots().div_ceil(CHUNK) {
            if let Some(bytes) = self.chunk_for(view, tailnet, chunk, &mut users) {
                peers.push(bytes);
            }
        }
        users.sort_unstable();
        users.dedup();
        profiles(&mut json, tailnet, &users);
        if peers.is_empty() {
            json.close('}');
            return Some(message(vec![encode(&text, view.encoding)]));
        }
        json.key("Peers").open('[');
        let comma = encode(b",", view.encoding);
        let mut parts = vec![encode(&text, view.encoding)];
        for (i, chunk) in peers.into_iter().enumerate() {
            if i > 0 {
                parts.push(comma.clone());
            }
            parts.push(chunk);
        }
        parts.push(encode(b"]}", view.encoding));
        Some(message(parts))
    }

    /// The peers of one chunk that the viewer may see: the shared bytes where it sees all of
    /// them, else made for it. Notes them as known, and their owners.
    fn chunk_for(
        &mut self,
        view: &mut View,
        tailnet: &Tailnet,
        chunk: u32,
        users: &mut Vec<UserId>,
    ) -> Option<Rc<[u8]>> {
        let key = (chunk, view.form(), view.encoding);
        let mut members = Slots::default();
        let mut count = 0_u32;
        let mut shared = !tailnet.hides_v4(view.viewer, view.viewer);
        for slot in (chunk * CHUNK..(chunk + 1) * CHUNK).map(Slot) {
            let Some(member) = tailnet.at_slot(slot) else { continue };
            let Some(shown) = tailnet.shown(member.node.id) else { continue };
            if shown.id == view.viewer || !tailnet.sees(view.viewer, shown.id) {
                shared = false;
                continue;
            }
            // What of a router's routes a viewer may use is for the policy to say.
            shared &= tailnet.is_open() || member.routes().next().is_none();
            members.add(slot);
            count += 1;
            view.know(tailnet, member);
            users.push(owner(member));
        }
        if count == 0 {
            return None;
        }
        if shared
            && let Some(cached) = self.chunks.get(&key).filter(|cached| cached.members == members)
        {
            return Some(cached.bytes.clone());
        }
        let mut text = Vec::new();
        let mut json = Json::new(&mut text);
        for slot in members.iter() {
            self.peer(&mut json, tailnet, slot, view);
        }
        let bytes = encode(&text, view.encoding);
        // The form of a node that is being stored is forgotten when that is done.
        if shared {
            self.chunks.insert(key, Chunk { members, bytes: bytes.clone() });
        }
        Some(bytes)
    }

    fn peer(&self, json: &mut Json<'_>, tailnet: &Tailnet, slot: Slot, view: &View) {
        let Some(member) = tailnet.at_slot(slot) else { return };
        let Some(shown) = tailnet.shown(member.node.id) else { return };
        let domain = &self.settings.dns.base_domain;
        let whom = Whom::Peer(view.viewer);
        node::write(json, tailnet, member, shown, domain, view.form(), &whom);
    }

    fn own_node(
        &self,
        json: &mut Json<'_>,
        tailnet: &Tailnet,
        member: &Member,
        form: Form,
        caps: &[u8],
    ) {
        let own = Whom::Itself { caps };
        let shown = tailnet.shown(member.node.id).unwrap_or(&member.node);
        let domain = &self.settings.dns.base_domain;
        node::write(json, tailnet, member, shown, domain, form, &own);
    }

    /// What the policy says of a node beside its filter: the SSH policy, and its `CapMap`.
    fn rights(&self, tailnet: &Tailnet, node: NodeId) -> (Vec<u8>, Vec<u8>) {
        let mut ssh = Vec::new();
        tailnet.write_ssh(node, &mut ssh);
        (ssh, self.caps(tailnet, node))
    }

    /// The `CapMap` of a node itself: what every node has, and what its user's role and the policy
    /// give it.
    fn caps(&self, tailnet: &Tailnet, node: NodeId) -> Vec<u8> {
        let update: &[u8] = if self.settings.auto_update { b"true" } else { b"false" };
        let mut all = Map::from([
            ("https://tailscale.com/cap/ssh", Vec::new()),
            ("default-auto-update", vec![update]),
            // Without it clients take no variable of an SSH login, whatever the policy accepts
            // (tailssh incubator.go).
            ("ssh-env-vars", Vec::new()),
            // App connectors remember the routes that they found.
            ("store-appc-routes", Vec::new()),
        ]);
        if self.settings.taildrop {
            all.insert("https://tailscale.com/cap/file-sharing", Vec::new());
        }
        let role = tailnet.role(node);
        if role.is_admin() {
            all.insert("https://tailscale.com/cap/is-admin", Vec::new());
        }
        if role == Role::Owner {
            all.insert("https://tailscale.com/cap/is-owner", Vec::new());
        }
        all.extend(tailnet.attributes(node));
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{');
        for (name, values) in all {
            json.key(name).open('[');
            values.into_iter().for_each(|value| _ = json.raw(value));
            json.close(']');
        }
        json.close('}');
        out
    }

    /// The `DNSConfig` of a node: the same for all, unless a nameserver wants to know who asks.
    fn dns_of(&self, tailnet: &Tailnet, member: &Member) -> Cow<'_, [u8]> {
        if !self.settings.dns.is_personal() {
            return Cow::Borrowed(&self.dns);
        }
        let (node, attributes) = (&member.node, tailnet.attributes(member.node.id));
        let os = member.soft.host.os.as_str();
        let device = Device { address: node.addresses().next(), os, name: &node.hostname };
        let mut out = Vec::new();
        self.settings.dns.render_for(attributes.keys().copied(), device, &mut out);
        Cow::Owned(out)
    }

    fn derp_map(&self, version: u16) -> &[u8] {
        let form = self.derp_maps.iter().rfind(|(from, _)| *from <= version);
        form.map_or(b"{\"Regions\":{}}", |(_, text)| text)
    }

    fn delta(&mut self, view: &mut View, tailnet: &Tailnet) -> Option<Message> {
        let mut pending = std::mem::take(&mut view.pending);
        let news = News::of(view, tailnet, &mut pending);
        if pending.is_of_peers() {
            if news.is_empty() {
                return None;
            }
            // What of a router's routes a viewer may use is for the policy to say, and whether
            // it is told of IPv4.
            let differs = |slot: &Slot| {
                let routes = tailnet.at_slot(*slot).is_some_and(|m| m.routes().next().is_some());
                routes || tailnet.hides_v4(view.viewer, view.viewer)
            };
            if tailnet.is_open() || !news.upserts.iter().any(differs) {
                return Some(vec![self.shared(news, view, tailnet)]);
            }
        }
        let mut text = Vec::new();
        let mut json = Json::new(&mut text);
        json.open('{');
        self.own_delta(&mut json, view, tailnet, &pending);
        let mut users = pending.users;
        if let Some(own) = tailnet.node(view.viewer).filter(|_| pending.own) {
            users.push(owner(own));
        }
        self.write_news(&mut json, view, tailnet, &news, users);
        json.close('}');
        if text == b"{}" {
            return None;
        }
        Some(message(vec![encode(&text, view.encoding)]))
    }

    /// A message for all viewers that have only these news to be told: length and text as one.
    fn shared(&mut self, news: News, view: &View, tailnet: &Tailnet) -> Rc<[u8]> {
        let encoding = view.encoding;
        let form = Some(view.form()).filter(|_| !news.upserts.is_empty());
        let same = |s: &&Shared| s.form == form && s.encoding == encoding && s.news == news;
        if let Some(shared) = self.shared.iter().find(same) {
            return shared.message.clone();
        }
        let mut text = Vec::new();
        let mut json = Json::new(&mut text);
        json.open('{');
        self.write_news(&mut json, view, tailnet, &news, Vec::new());
        json.close('}');
        let bytes: Rc<[u8]> = message(vec![encode(&text, encoding)]).concat().into();
        if self.shared.len() >= SHARED {
            self.shared.remove(0);
        }
        self.shared.push(Shared { form, encoding, news, message: bytes.clone() });
        bytes
    }

    /// What is not of peers.
    fn own_delta(
        &self,
        json: &mut Json<'_>,
        view: &mut View,
        tailnet: &Tailnet,
        pending: &view::Pending,
    ) {
        if pending.policy || pending.filter || pending.own {
            let (ssh, caps) = self.rights(tailnet, view.viewer);
            let before = std::mem::replace(&mut view.rights, (digest(&ssh), digest(&caps)));
            if (pending.own || before.1 != view.rights.1)
                && let Some(member) = tailnet.node(view.viewer)
            {
                json.key("Node");
                self.own_node(json, tailnet, member, view.form(), &caps);
            }
            if before.0 != view.rights.0 {
                json.key("SSHPolicy").raw(&ssh);
            }
            let filter = tailnet.packet_filter(view.viewer);
            if view.filter.as_ref() != Some(&filter) {
                packet_filter(json, &filter);
                view.filter = Some(filter);
            }
        }
        if pending.derp {
            json.key("DERPMap").raw(self.derp_map(view.version));
        }
        let personal = self.settings.dns.is_personal() && (pending.own || pending.policy);
        if (pending.dns || personal)
            && let Some(member) = tailnet.node(view.viewer)
        {
            let dns = self.dns_of(tailnet, member);
            if pending.dns || digest(&dns) != view.dns {
                json.key("DNSConfig").raw(&dns);
                view.dns = digest(&dns);
            }
        }
        if let Some(Probe(probe)) = pending.probe {
            // The connection is the one to us, whatever host the URL names.
            json.key("PingRequest").open('{').key("URL");
            json.display(&format_args!("https://unused{PROBE_PATH}{}/{probe}", view.viewer));
            json.key("URLIsNoise").bool(true).key("Types").text("").close('}');
        }
    }

    /// Writes the news, with the profiles of the nodes' owners and of `users`.
    fn write_news(
        &self,
        json: &mut Json<'_>,
        view: &View,
        tailnet: &Tailnet,
        news: &News,
        mut users: Vec<UserId>,
    ) {
        if !news.upserts.is_empty() {
            json.key("PeersChanged").open('[');
            for slot in &news.upserts {
                self.peer(json, tailnet, *slot, view);
                users.extend(tailnet.at_slot(*slot).map(owner));
            }
            json.close(']');
        }
        // A number that is removed and then used again does not exist: they are never reused.
        if !news.removed.is_empty() {
            json.key("PeersRemoved").open('[');
            news.removed.iter().for_each(|id| _ = json.int(id.0 as i64));
            json.close(']');
        }
        if !news.patches.is_empty() {
            json.key("PeersChangedPatch").open('[');
            for (slot, what) in &news.patches {
                if let Some(member) = tailnet.at_slot(*slot) {
                    node::write_patch(json, member, *what);
                }
            }
            json.close(']');
        }
        if !users.is_empty() {
            users.sort_unstable();
            users.dedup();
            profiles(json, tailnet, &users);
        }
    }
}

/// Tells one text from another (FNV-1a); both are ours, so nobody has an interest in a collision.
fn digest(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A filter by name, which clients tell from none even where it lets nothing in.
fn packet_filter(json: &mut Json<'_>, filter: &Filter) {
    let mut rules = Vec::new();
    filter.render(&mut rules);
    json.key("PacketFilters").open('{').key("base").raw(&rules).close('}');
}

fn encode(text: &[u8], encoding: Encoding) -> Rc<[u8]> {
    match encoding {
        Encoding::Plain => text.into(),
        Encoding::Zstd => {
            let mut out = Vec::new();
            zstd::frame(text, &mut out);
            out.into()
        }
    }
}

/// Puts the length (32 bits, little-endian) before the parts.
fn message(mut parts: Message) -> Message {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    parts.insert(0, Rc::from((len as u32).to_le_bytes()));
    parts
}

#[cfg(test)]
mod tests;
