//! What nodes say of themselves, whether they are there, and what time brings.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::change::{Change, Patch};
use super::key::is_expired;
use super::record::{Expiry, NodeId};
use super::register::host;
use super::write::{Meta, Write};
use super::{Member, Now, Refusal, Tailnet};
use crate::wire::key::{MachineKey, NodeKey};
use crate::wire::prefix::Prefix;
use crate::wire::tailcfg::{MapRequest, cut};

/// A node whose last stream ended this long ago is offline; most that reconnect do so sooner.
pub const OFFLINE_GRACE: Duration = Duration::from_secs(10);

/// How long what nodes say of themselves may be newer than what is stored. It is flash that is
/// written, and all of it comes again from the clients but for the time they were last seen.
pub const SOFT_FLUSH: Duration = Duration::from_secs(10 * 60);

/// The type of an endpoint that STUN gave (client `tailcfg.EndpointSTUN`).
const STUN: i32 = 2;

/// The NAT of the machine that serves, whose own STUN tells clients behind it their address there
/// and not the one that others see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// The networks behind it.
    pub lans: Vec<Prefix>,
    /// Its address in front.
    pub wan: Option<Ipv4Addr>,
}

impl Outside {
    /// How a client that STUN sees at `seen` is probably reached from outside: a NAT keeps the
    /// port where it can.
    fn of(&self, seen: Option<SocketAddr>) -> Option<SocketAddr> {
        let seen = seen?;
        let inside = self.lans.iter().any(|lan| lan.contains(seen.ip()));
        Some((self.wan.filter(|_| inside)?, seen.port()).into())
    }
}

impl Tailnet {
    /// Another NAT, or another address of it: peers are told.
    pub fn set_outside(&mut self, outside: Outside) {
        if outside == self.outside {
            return;
        }
        self.outside = outside;
        for (id, member) in &mut self.nodes {
            let now = self.outside.of(member.live.seen);
            let before = std::mem::replace(&mut member.live.outside, now);
            if now != before {
                let endpoints = &mut member.soft.endpoints;
                endpoints.retain(|endpoint| Some(*endpoint) != before);
                endpoints.extend(now);
                self.batch.tell(Change::Patch(*id, Patch::ENDPOINTS));
            }
        }
    }

    /// The node that asks for a map: its key, from the machine that owns it.
    pub fn asking(&self, machine: &MachineKey, key: &NodeKey) -> Result<NodeId, Refusal> {
        let member = self.node_by_key(key).ok_or(Refusal::NoNode(NodeId(0)))?;
        if member.node.machine == *machine {
            Ok(member.node.id)
        } else {
            Err(Refusal::MachineMismatch)
        }
    }

    /// Takes in what a node says of itself in a map request.
    ///
    /// A stream request of a current client only repeats what was said before, so it counts only
    /// where nothing has been said since the server started.
    pub fn update(&mut self, id: NodeId, request: &MapRequest) -> Result<(), Refusal> {
        let member = self.nodes.get_mut(&id).ok_or(Refusal::NoNode(id))?;
        if request.stream && member.live.heard {
            return Ok(());
        }
        member.live.heard = true;
        let mut patch = Patch::default();
        let soft = &mut member.soft;
        if let Some(disco) = request.discokey.filter(|key| !key.is_zero() && *key != soft.disco) {
            soft.disco = disco;
            patch = patch.and(Patch::DISCO);
        }
        let mut endpoints: Vec<_> = request.endpoints().map(|(addr, _)| addr).collect();
        endpoints.dedup();
        member.live.seen = request.endpoints().find(|(_, kind)| *kind == STUN).map(|(at, _)| at);
        member.live.outside = self.outside.of(member.live.seen);
        endpoints.extend(member.live.outside.filter(|added| !endpoints.contains(added)));
        if endpoints != soft.endpoints {
            soft.endpoints = endpoints;
            patch = patch.and(Patch::ENDPOINTS);
        }
        if request.version != soft.version {
            soft.version = request.version;
            patch = patch.and(Patch::VERSION);
        }
        let mut hostname = None;
        let mut routes_changed = false;
        if let Some(info) = &request.hostinfo {
            if let Some(region) = info.home_derp().filter(|region| *region != soft.home_derp) {
                soft.home_derp = region;
                patch = patch.and(Patch::HOME_DERP);
            }
            let host = host(info);
            if host != soft.host {
                routes_changed = host.routes != soft.host.routes;
                soft.host = host;
                self.batch.tell(Change::Node(id));
                self.unsaved.insert(id);
            }
            let name = cut(info.hostname.as_deref().unwrap_or_default());
            hostname = Some(name).filter(|n| !n.is_empty() && *n != member.node.hostname);
        }
        if !patch.is_empty() {
            self.unsaved.insert(id);
            self.batch.tell(Change::Patch(id, patch));
        }
        if let Some(hostname) = hostname {
            self.follow_hostname(id, &hostname)?;
        }
        if routes_changed {
            self.reclassify(id);
            self.batch.tell(Change::Access(id));
            self.tell_routers();
            self.auto_approve(id)?;
            self.elect();
        }
        Ok(())
    }

    /// A map stream of the node begins.
    pub fn connect(&mut self, id: NodeId) {
        let Some(member) = self.nodes.get_mut(&id) else { return };
        member.live.streams += 1;
        member.live.back = true;
        member.live.asked = None;
        let recovered = std::mem::take(&mut member.live.silent);
        if !member.online {
            member.online = true;
            member.soft.last_seen = None;
            self.batch.tell(Change::Patch(id, Patch::ONLINE));
            let is_router = member.routes().next().is_some();
            self.elect();
            if is_router {
                self.tell_routers();
            }
        } else if recovered {
            self.elect();
        }
    }

    /// A map stream of the node ended. Peers are told after [`OFFLINE_GRACE`], by
    /// [`Self::tick`], unless a new one begins.
    pub fn disconnect(&mut self, id: NodeId, now: Now) {
        let Some(member) = self.nodes.get_mut(&id) else { return };
        member.live.streams = member.live.streams.saturating_sub(1);
        if member.live.streams == 0 {
            member.live.left = now.uptime;
            member.live.left_at = Some(now.wall);
        }
    }

    /// Does what is due: nodes go offline, ephemeral ones go for good, keys and logins expire.
    /// Returns the uptime at which to call again, unless something else happens first.
    pub fn tick(&mut self, now: Now) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        let mut at = |when: Duration| next = Some(next.map_or(when, |n| n.min(when)));
        let mut left = Vec::new();
        let mut dead = Vec::new();
        let mut expired = Vec::new();
        for member in self.nodes.values() {
            let id = member.node.id;
            match due(member, self.rules.ephemeral_timeout, now) {
                Due::Delete => dead.push(id),
                Due::Later(when) => at(when),
                Due::Never => {}
                Due::Offline => left.push(id),
            }
            if !member.expired {
                match member.node.expiry {
                    Some(Expiry::At(moment)) if now.trusted && moment > now.wall => {
                        at(now.uptime + moment.since(now.wall));
                    }
                    expiry if is_expired(expiry, now) => expired.push(id),
                    _ => {}
                }
            }
        }
        for id in &left {
            self.go_offline(*id);
            at(now.uptime);
        }
        for id in dead {
            // It exists: it was found in the state just now.
            let _ = self.delete_node(id);
        }
        for id in expired {
            if let Some(member) = self.nodes.get_mut(&id) {
                member.expired = true;
                self.batch.tell(Change::Node(id));
            }
        }
        if !left.is_empty() {
            self.elect();
        }
        self.probe(now).into_iter().for_each(&mut at);
        if let Some(left) = self.purge_auth_keys(now) {
            at(now.uptime + left);
        }
        for id in self.logins.expire(now) {
            self.batch.tell(Change::Login(id));
        }
        self.expire_checks(now);
        for when in [self.logins.next_timeout(), self.checks.next_timeout()].into_iter().flatten() {
            at(when);
        }
        if !self.unsaved.is_empty() {
            at(self.saved + SOFT_FLUSH);
        }
        next
    }

    /// The soft state to store, if it is time, or at once with `all`.
    pub fn take_unsaved(&mut self, now: Now, all: bool) -> Vec<Write> {
        let mut writes = Vec::new();
        // Rare, and no client says it again.
        if std::mem::take(&mut self.shared_unsaved) {
            writes.push(Write::PutMeta(Meta::Primaries(self.shared.clone())));
        }
        if !all && now.uptime < self.saved + SOFT_FLUSH {
            return writes;
        }
        self.saved = now.uptime;
        let mut ids = std::mem::take(&mut self.unsaved);
        if all {
            // They were last seen now, if they don't come back.
            ids.extend(self.nodes.values().filter(|m| m.online).map(|m| m.node.id));
        }
        let soft = ids.into_iter().filter_map(|id| {
            let mut soft = self.nodes.get(&id)?.soft.clone();
            // A node that is there now was last seen now, should the power fail.
            soft.last_seen = soft.last_seen.or(Some(now.wall));
            Some(Write::PutSoft(id, soft))
        });
        writes.extend(soft);
        writes
    }

    /// The clock is trusted from now on: what was to end after a length of time gets its moment.
    pub fn trust_clock(&mut self, now: Now) -> Result<(), Refusal> {
        let fixed = |expiry: Option<Expiry>| match expiry {
            Some(Expiry::In(by)) => Some(Expiry::At(now.wall.after(by))),
            other => other,
        };
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.edit(id, |node| node.expiry = fixed(node.expiry))?;
        }
        let keys = self.auth_keys.values().filter(|k| matches!(k.expiry, Some(Expiry::In(_))));
        for mut key in keys.cloned().collect::<Vec<_>>() {
            key.expiry = fixed(key.expiry);
            self.put_auth_key(key);
        }
        let keys = self.api_keys.values().filter(|k| matches!(k.expiry, Some(Expiry::In(_))));
        for mut key in keys.cloned().collect::<Vec<_>>() {
            key.expiry = fixed(key.expiry);
            self.put_api_key(key);
        }
        Ok(())
    }

    /// A node has said goodbye: peers need not wait to be told.
    pub(super) fn leave(&mut self, id: NodeId, now: Now) {
        let Some(member) = self.nodes.get_mut(&id).filter(|member| member.online) else { return };
        member.live.left_at = Some(now.wall);
        self.go_offline(id);
        self.elect();
    }

    fn go_offline(&mut self, id: NodeId) {
        let Some(member) = self.nodes.get_mut(&id) else { return };
        member.online = false;
        member.soft.last_seen = member.live.left_at;
        self.unsaved.insert(id);
        let is_router = member.routes().next().is_some();
        self.batch.tell(Change::Patch(id, Patch::ONLINE));
        if is_router {
            self.tell_routers();
        }
    }
}

/// What time asks of a node.
enum Due {
    Delete,
    Later(Duration),
    Never,
    Offline,
}

fn due(member: &Member, ephemeral_timeout: Duration, now: Now) -> Due {
    let live = &member.live;
    if live.streams > 0 {
        return Due::Never;
    }
    if member.online {
        let when = live.left + OFFLINE_GRACE;
        return if when <= now.uptime { Due::Offline } else { Due::Later(when) };
    }
    if member.node.ephemeral {
        let when = live.left + ephemeral_timeout;
        return if when <= now.uptime { Due::Delete } else { Due::Later(when) };
    }
    Due::Never
}
