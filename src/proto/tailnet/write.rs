//! What a command asks the store to keep, and what the store gives back at start.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::record::{ApiKey, ApiKeyId, AuthKey, AuthKeyId, Node, NodeId, Soft, User, UserId};
use crate::wire::key::PrivateKey;
use crate::wire::prefix::Prefix;
use crate::wire::sorted::Map;
use crate::wire::time::Timestamp;

/// One change of what is stored. The writes of one command are stored together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Adds or replaces a user.
    PutUser(User),
    /// Forgets a user; its nodes and keys are deleted by writes of their own.
    DeleteUser(UserId),
    /// Adds or replaces a node.
    PutNode(Node),
    /// Forgets a node and, with it, its [`Soft`] part.
    DeleteNode(NodeId),
    /// Replaces what a node tells about itself.
    PutSoft(NodeId, Soft),
    /// Forgets what a node told about itself.
    DeleteSoft(NodeId),
    /// Adds or replaces a preauth key.
    PutAuthKey(AuthKey),
    /// Forgets a preauth key.
    DeleteAuthKey(AuthKeyId),
    /// Adds or replaces an API key.
    PutApiKey(ApiKey),
    /// Forgets an API key.
    DeleteApiKey(ApiKeyId),
    /// Replaces the policy document.
    PutPolicy(PolicyText),
    /// Replaces one of the server's own values.
    PutMeta(Meta),
}

/// One of the server's own values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meta {
    /// The numbers that the next records get.
    Next(NextIds),
    /// The server's static Noise key.
    NoiseKey(PrivateKey),
    /// The relay's key.
    RelayKey(PrivateKey),
    /// The certificate that clients pin.
    Pinned(Pinned),
    /// The last good DERP map of a URL, replacing an older one.
    DerpMap(String, DerpMapText),
    /// Forgets the DERP map of a URL.
    NoDerpMap(String),
    /// Which of several routers serves a route.
    Primaries(Map<Prefix, NodeId>),
}

/// The numbers that the next records get: a number is never used twice, also after its record is
/// gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextIds {
    /// Of the next user.
    pub user: UserId,
    /// Of the next node.
    pub node: NodeId,
    /// Of the next preauth key.
    pub auth_key: AuthKeyId,
    /// Of the next API key.
    pub api_key: ApiKeyId,
}

/// Numbers begin at 1.
impl Default for NextIds {
    fn default() -> Self {
        Self { user: UserId(1), node: NodeId(1), auth_key: AuthKeyId(1), api_key: ApiKeyId(1) }
    }
}

/// The certificate that clients pin, with its key. It is kept because a new one, even of the same
/// key, has another hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The host that it is for.
    pub host: String,
    /// The key: PKCS#8, DER.
    pub key: Vec<u8>,
    /// The certificate: DER.
    pub certificate: Vec<u8>,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinned({})", self.host)
    }
}

/// A policy document as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyText {
    /// HuJSON.
    pub text: String,
    /// When it was set.
    pub at: Timestamp,
}

/// A DERP map as it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerpMapText {
    /// JSON.
    pub text: String,
    /// When it was fetched.
    pub at: Timestamp,
}

/// All that a store holds, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The users.
    pub users: Map<UserId, User>,
    /// The nodes.
    pub nodes: Map<NodeId, Node>,
    /// What nodes told about themselves; not every node has one.
    pub soft: Map<NodeId, Soft>,
    /// The preauth keys.
    pub auth_keys: Map<AuthKeyId, AuthKey>,
    /// The API keys.
    pub api_keys: Map<ApiKeyId, ApiKey>,
    /// The policy document, if one was ever set through the API.
    pub policy: Option<PolicyText>,
    /// Which of several routers served a route.
    pub primaries: Map<Prefix, NodeId>,
    /// The numbers that the next records get.
    pub next: NextIds,
    /// The server's static Noise key; none before the first start.
    pub noise_key: Option<PrivateKey>,
    /// The relay's key; none before the first start.
    pub relay_key: Option<PrivateKey>,
    /// The certificate that clients pin; none before it was first needed.
    pub pinned: Option<Pinned>,
    /// The last good DERP maps, by URL.
    pub derp_maps: Map<String, DerpMapText>,
}

impl Snapshot {
    /// Whether it holds nobody and nothing that a client or a script could have been given.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
            && self.nodes.is_empty()
            && self.auth_keys.is_empty()
            && self.api_keys.is_empty()
            && self.policy.is_none()
    }

    /// Does to this what the store does with `write`.
    pub fn apply(&mut self, write: Write) {
        match write {
            Write::PutUser(user) => _ = self.users.insert(user.id, user),
            Write::DeleteUser(id) => _ = self.users.remove(&id),
            Write::PutNode(node) => _ = self.nodes.insert(node.id, node),
            Write::DeleteNode(id) => {
                self.nodes.remove(&id);
                self.soft.remove(&id);
            }
            Write::PutSoft(id, soft) => _ = self.soft.insert(id, soft),
            Write::DeleteSoft(id) => _ = self.soft.remove(&id),
            Write::PutAuthKey(key) => _ = self.auth_keys.insert(key.id, key),
            Write::DeleteAuthKey(id) => _ = self.auth_keys.remove(&id),
            Write::PutApiKey(key) => _ = self.api_keys.insert(key.id, key),
            Write::DeleteApiKey(id) => _ = self.api_keys.remove(&id),
            Write::PutPolicy(policy) => self.policy = Some(policy),
            Write::PutMeta(meta) => self.apply_meta(meta),
        }
    }

    fn apply_meta(&mut self, meta: Meta) {
        match meta {
            Meta::Next(next) => self.next = next,
            Meta::NoiseKey(key) => self.noise_key = Some(key),
            Meta::RelayKey(key) => self.relay_key = Some(key),
            Meta::Pinned(pinned) => self.pinned = Some(pinned),
            Meta::DerpMap(url, map) => _ = self.derp_maps.insert(url, map),
            Meta::NoDerpMap(url) => _ = self.derp_maps.remove(&url),
            Meta::Primaries(primaries) => self.primaries = primaries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleting_a_node_forgets_its_soft_part() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(Write::PutSoft(NodeId(1), Soft::default()));
        snapshot.apply(Write::PutSoft(NodeId(2), Soft::default()));
        snapshot.apply(Write::DeleteNode(NodeId(1)));
        assert_eq!(snapshot.soft.into_keys().collect::<Vec<_>>(), [NodeId(2)]);
    }

    #[test]
    fn keys_alone_leave_it_empty() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(Write::PutMeta(Meta::NoiseKey(PrivateKey::from_random([7; 32]))));
        snapshot
            .apply(Write::PutMeta(Meta::Next(NextIds { user: UserId(9), ..NextIds::default() })));
        assert!(snapshot.is_empty());
        assert_eq!(snapshot.next.user, UserId(9));
        snapshot.apply(Write::PutPolicy(PolicyText { text: "{}".into(), at: Timestamp(0) }));
        assert!(!snapshot.is_empty());
    }
}
