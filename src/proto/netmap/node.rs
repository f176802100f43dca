//! `tailcfg.Node` and `tailcfg.PeerChange` as JSON.

use crate::tailnet::change::Patch;
use crate::tailnet::record::{Expiry, Node, NodeId, Soft, UserId};
use crate::tailnet::{Member, Tailnet};
use crate::wire::json::Json;
use crate::wire::key::NodeKey;
use crate::wire::prefix::Prefix;
use crate::wire::tailcfg::{VERSION_ALLOWED_IPS, VERSION_HOME_DERP};

/// Which form of a node a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// Before capability version 111: the home DERP as an address, AllowedIPs always.
    Oldest,
    /// 111: the home DERP as a number, AllowedIPs always.
    Old,
    /// From 112: absent AllowedIPs are the addresses.
    Current,
}

impl Form {
    pub(super) fn of(version: u16) -> Self {
        match version {
            ..VERSION_HOME_DERP => Self::Oldest,
            VERSION_HOME_DERP..VERSION_ALLOWED_IPS => Self::Old,
            _ => Self::Current,
        }
    }
}

/// Who is told of a node.
pub(super) enum Whom<'a> {
    /// The node itself, with its `CapMap` as JSON.
    Itself { caps: &'a [u8] },
    /// A peer of it.
    Peer(NodeId),
}

/// Writes a node as its peers see it, or as it sees itself.
pub(super) fn write(
    json: &mut Json<'_>,
    tailnet: &Tailnet,
    member: &Member,
    node: &Node,
    base_domain: &str,
    form: Form,
    whom: &Whom<'_>,
) {
    let soft = &member.soft;
    let user = if node.is_tagged() { UserId::TAGGED } else { node.user.unwrap_or(UserId::TAGGED) };
    json.open('{').key("ID").int(node.id.0 as i64).key("StableID").display(&node.id);
    json.key("Name").display(&Name { node, base_domain });
    json.key("User").int(user.0 as i64);
    json.key("Key").display(&node.key);
    if let Some(Expiry::At(at)) = node.expiry {
        json.key("KeyExpiry").display(&at);
    }
    json.key("Machine").display(&node.machine);
    if !soft.disco.is_zero() {
        json.key("DiscoKey").display(&soft.disco);
    }
    let without_v4 = match whom {
        Whom::Itself { .. } => tailnet.hides_v4(node.id, node.id),
        Whom::Peer(viewer) => tailnet.hides_v4(*viewer, node.id),
    };
    let addresses = || node.addresses().filter(|addr| addr.is_ipv6() || !without_v4);
    json.key("Addresses").open('[');
    addresses().for_each(|addr| _ = json.display(&Prefix::single(addr)));
    json.close(']');
    let mut routes: Vec<Prefix> = match whom {
        Whom::Itself { .. } => {
            let exit = member.routes().filter(Prefix::is_exit);
            tailnet.primary_routes(node.id).chain(exit).collect()
        }
        Whom::Peer(viewer) => {
            let through = |route: &Prefix| tailnet.leads_through(*viewer, node.id, route);
            member.routes().filter(through).collect()
        }
    };
    routes.sort_unstable();
    let primary: Vec<Prefix> = routes.iter().copied().filter(|route| !route.is_exit()).collect();
    if form < Form::Current || !routes.is_empty() {
        json.key("AllowedIPs").open('[');
        addresses().for_each(|addr| _ = json.display(&Prefix::single(addr)));
        routes.iter().for_each(|route| _ = json.display(route));
        json.close(']');
    }
    if !primary.is_empty() {
        json.key("PrimaryRoutes").open('[');
        primary.iter().for_each(|route| _ = json.display(route));
        json.close(']');
    }
    endpoints(json, soft);
    home_derp(json, soft, form);
    json.key("Hostinfo");
    host(json, node, soft);
    json.key("Created").display(&node.created);
    if soft.version != 0 {
        json.key("Cap").int(soft.version.into());
    }
    if !node.tags.is_empty() {
        json.key("Tags").open('[');
        node.tags.iter().for_each(|tag| _ = json.text(tag));
        json.close(']');
    }
    online(json, member);
    let authorized = match whom {
        Whom::Itself { .. } => !tailnet.is_waiting(node.id),
        Whom::Peer(_) => !member.expired,
    };
    json.key("MachineAuthorized").bool(authorized);
    match whom {
        Whom::Itself { caps } => {
            json.key("CapMap").raw(caps);
        }
        Whom::Peer(_) if routes.iter().any(Prefix::is_exit) => {
            json.key("CapMap").open('{').key("suggest-exit-node").raw(b"[]").close('}');
        }
        Whom::Peer(_) => {}
    }
    if member.expired {
        json.key("Expired").bool(true);
    }
    json.close('}');
}

/// Writes what changed of a node as a `PeerChange`.
pub(super) fn write_patch(json: &mut Json<'_>, member: &Member, what: Patch) {
    let soft = &member.soft;
    json.open('{').key("NodeID").int(member.node.id.0 as i64);
    if what.has(Patch::HOME_DERP) {
        json.key("DERPRegion").int(soft.home_derp.into());
    }
    if what.has(Patch::VERSION) {
        json.key("Cap").int(soft.version.into());
    }
    if what.has(Patch::ENDPOINTS) {
        endpoints(json, soft);
    }
    if what.has(Patch::DISCO) {
        json.key("DiscoKey").display(&soft.disco);
    }
    if what.has(Patch::ONLINE) {
        online(json, member);
    }
    json.close('}');
}

/// Writes a self node that makes a client ask for a login: a key that expired long ago.
pub(super) fn write_farewell(json: &mut Json<'_>, key: &NodeKey) {
    json.open('{').key("ID").int(1).key("StableID").text("gone").key("Name").text("gone.");
    json.key("User").int(UserId::TAGGED.0 as i64).key("Key").display(key);
    json.key("KeyExpiry").text("2000-01-01T00:00:00Z").key("Addresses").raw(b"[]");
    json.key("MachineAuthorized").bool(true).key("Expired").bool(true).close('}');
}

fn endpoints(json: &mut Json<'_>, soft: &Soft) {
    json.key("Endpoints").open('[');
    soft.endpoints.iter().for_each(|addr| _ = json.display(addr));
    json.close(']');
}

fn home_derp(json: &mut Json<'_>, soft: &Soft, form: Form) {
    if soft.home_derp == 0 {
        return;
    }
    match form {
        Form::Oldest => json.key("DERP").display(&format_args!("127.3.3.40:{}", soft.home_derp)),
        _ => json.key("HomeDERP").int(soft.home_derp.into()),
    };
}

fn online(json: &mut Json<'_>, member: &Member) {
    json.key("Online").bool(member.online);
    if let Some(seen) = member.soft.last_seen.filter(|_| !member.online) {
        json.key("LastSeen").display(&seen);
    }
}

/// The part of Hostinfo that peers use: names for people, peerAPI ports, SSH host keys.
fn host(json: &mut Json<'_>, node: &Node, soft: &Soft) {
    let host = &soft.host;
    json.open('{').key("OS").text(&host.os).key("Hostname").text(&node.hostname);
    if !host.routes.is_empty() {
        json.key("RoutableIPs").open('[');
        host.routes.iter().for_each(|route| _ = json.display(route));
        json.close(']');
    }
    if !host.services.is_empty() {
        json.key("Services").open('[');
        for service in &host.services {
            json.open('{').key("Proto").text(&service.proto);
            json.key("Port").int(service.port.into());
            if !service.description.is_empty() {
                json.key("Description").text(&service.description);
            }
            json.close('}');
        }
        json.close(']');
    }
    if !host.ssh_host_keys.is_empty() {
        json.key("sshHostKeys").open('[');
        host.ssh_host_keys.iter().for_each(|key| _ = json.text(key));
        json.close(']');
    }
    if host.shields_up {
        json.key("ShieldsUp").bool(true);
    }
    if host.app_connector {
        json.key("AppConnector").bool(true);
    }
    if host.peer_relay {
        json.key("PeerRelay").bool(true);
    }
    json.close('}');
}

/// A node's full name, with the dot at its end.
struct Name<'a> {
    node: &'a Node,
    base_domain: &'a str,
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.base_domain.is_empty() {
            write!(f, "{}.", self.node.name)
        } else {
            write!(f, "{}.{}.", self.node.name, self.base_domain)
        }
    }
}
