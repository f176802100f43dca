//! What is stored: users, nodes, keys. Plain values; the rules live in the parent module.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::Role;
use crate::wire::key::{DiscoKey, MachineKey, NodeKey};
use crate::wire::prefix::Prefix;
use crate::wire::time::Timestamp;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A user's number: from 1, never reused.
    UserId
);
id!(
    /// A node's number: from 1, below 2^53, never reused. Clients know it as ID and StableID.
    NodeId
);
id!(
    /// A preauth key's number.
    AuthKeyId
);
id!(
    /// An API key's number.
    ApiKeyId
);

impl UserId {
    /// Whom tagged nodes belong to in maps and listings (headscale's number for it).
    pub const TAGGED: Self = Self(2_147_455_555);
}

/// Somebody who owns nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its number.
    pub id: UserId,
    /// The name that commands and policies use; unique among users without a provider.
    pub name: String,
    /// The name for people; may be empty.
    pub display_name: String,
    /// May be empty.
    pub email: String,
    /// `issuer/subject` of the identity provider; empty for local users.
    pub provider_id: String,
    /// `oidc`, or empty.
    pub provider: String,
    /// May be empty.
    pub picture_url: String,
    /// When it was made.
    pub created: Timestamp,
    /// What the user is in the tailnet; at most one is the owner.
    pub role: Role,
}

/// When something ends. While the clock can't be trusted, a length of time is kept as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiry {
    /// At that moment.
    At(Timestamp),
    /// That long after the clock is first trusted.
    In(Duration),
}

/// How a node came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegisterMethod {
    /// With a preauth key.
    AuthKey,
    /// Approved by a command.
    Cli,
    /// Through the identity provider.
    Oidc,
}

/// A machine of the tailnet: what must survive anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its Noise key; with `user` it identifies the node over key rotations.
    pub machine: MachineKey,
    /// Its WireGuard key; unique.
    pub key: NodeKey,
    /// The owner; `None` exactly when `tags` is not empty.
    pub user: Option<UserId>,
    /// Tags (`tag:x`), sorted; a tagged node belongs to nobody.
    pub tags: Vec<String>,
    /// The host name as the client says it.
    pub hostname: String,
    /// Its DNS label: unique, lower case.
    pub name: String,
    /// Whether an administrator chose `name`, so that it no longer follows `hostname`.
    pub renamed: bool,
    /// Its address in the IPv4 prefix.
    pub v4: Option<Ipv4Addr>,
    /// Its address in the IPv6 prefix.
    pub v6: Option<Ipv6Addr>,
    /// When it first registered.
    pub created: Timestamp,
    /// When its key expires; `None` is never.
    pub expiry: Option<Expiry>,
    /// Deleted at logout and after being offline for a while.
    pub ephemeral: bool,
    /// How it came in.
    pub method: RegisterMethod,
    /// The preauth key it came in with.
    pub auth_key: Option<AuthKeyId>,
    /// Routes an administrator or the policy approved, advertised now or not; sorted.
    pub approved_routes: Vec<Prefix>,
    /// An administrator let it in, or nobody had to.
    pub approved: bool,
}

impl Node {
    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// Whether it belongs to tags and not to a user.
    pub fn is_tagged(&self) -> bool {
        !self.tags.is_empty()
    }
}

/// What a node tells about itself: kept in memory, stored now and then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soft {
    /// The key of its path discovery; zero before its first map request.
    pub disco: DiscoKey,
    /// Where it can perhaps be reached.
    pub endpoints: Vec<SocketAddr>,
    /// The region of its home DERP; 0 is unknown.
    pub home_derp: u16,
    /// The capability version of its client.
    pub version: u16,
    /// What its peers are told of its host.
    pub host: Host,
    /// When it was last connected, if it is not now.
    pub last_seen: Option<Timestamp>,
}

/// The part of a client's Hostinfo that the server uses or tells peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// `linux`, `windows`, `macOS`, `iOS`, `android`, ...
    pub os: String,
    /// The operating system's version.
    pub os_version: String,
    /// The client's version, such as `1.80.3-t123`.
    pub client: String,
    /// Routes it offers, sorted.
    pub routes: Vec<Prefix>,
    /// Tags it asks for, sorted.
    pub request_tags: Vec<String>,
    /// Its own services (peerAPI ports and what it chose to show).
    pub services: Vec<Service>,
    /// Public keys of its Tailscale SSH server.
    pub ssh_host_keys: Vec<String>,
    /// Whether it refuses all incoming connections.
    pub shields_up: bool,
    /// Whether it offers to be an app connector.
    pub app_connector: bool,
    /// Whether it can relay for peers.
    pub peer_relay: bool,
}

/// A service of a host, as Hostinfo lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// `tcp`, `udp`, `peerapi4`, `peerapi6`, `peerapi-dns-proxy`.
    pub proto: String,
    /// Its port.
    pub port: u16,
    /// Free text.
    pub description: String,
}

/// How the secret of a key is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Secret {
    /// The whole key as text, of an imported key that was stored so.
    Plain(String),
    /// SHA-256 of the secret part (64 random hex digits, so one round is enough).
    Sha256([u8; 32]),
}

/// A preauth key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthKey {
    /// Its number.
    pub id: AuthKeyId,
    /// The public part: 12 digits between `hskey-auth-` and the secret.
    pub prefix: String,
    /// The rest.
    pub secret: Secret,
    /// Whose nodes it makes; `None` only with tags.
    pub user: Option<UserId>,
    /// Tags its nodes get; sorted.
    pub tags: Vec<String>,
    /// May be used more than once.
    pub reusable: bool,
    /// Makes ephemeral nodes.
    pub ephemeral: bool,
    /// Its nodes need no approval.
    pub preapproved: bool,
    /// Has been used.
    pub used: bool,
    /// When it ends; `None` is never.
    pub expiry: Option<Expiry>,
    /// When it was made.
    pub created: Timestamp,
}

/// A key for the REST API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its number.
    pub id: ApiKeyId,
    /// The public part: 12 digits between `hskey-api-` and the secret (7 in imported keys).
    pub prefix: String,
    /// The rest.
    pub secret: Secret,
    /// When it ends; `None` is never.
    pub expiry: Option<Expiry>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used.
    pub last_seen: Option<Timestamp>,
}
