//! Preauth keys and API keys.
//!
//! Our keys are `hskey-auth-` or `hskey-api-`, a public part of 12 hex digits, `-`, and a secret
//! of 64. The secret is random, so a single SHA-256 of it is all that has to be kept.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::record::{ApiKey, ApiKeyId, AuthKey, AuthKeyId, Expiry, Secret, UserId};
use super::write::Write;
use super::{Now, Random, Refusal, Tailnet, name};
use crate::wire::key::Hex;

const AUTH: &str = "hskey-auth-";
const API: &str = "hskey-api-";

/// How stale the time of an API key's last use may become: the key of a script that polls is
/// not written at each call.
const LAST_SEEN_STEP: Duration = Duration::from_secs(3600);

/// A preauth key to be made.
#[derive(Clone, Debug, Default)]
pub struct NewAuthKey {
    /// Whose nodes it makes; may be absent where there are tags.
    pub user: Option<UserId>,
    /// Tags its nodes get.
    pub tags: Vec<String>,
    /// May be used more than once.
    pub reusable: bool,
    /// Makes ephemeral nodes.
    pub ephemeral: bool,
    /// Its nodes need no approval.
    pub preapproved: bool,
    /// When it ends.
    pub expiry: Option<Expiry>,
}

/// Whether something with this expiry has ended. Nothing ends before the clock is trusted.
pub fn is_expired(expiry: Option<Expiry>, now: Now) -> bool {
    matches!(expiry, Some(Expiry::At(at)) if now.trusted && at <= now.wall)
}

impl Tailnet {
    /// Makes a preauth key. The second answer is the whole key, which is never told again.
    pub fn create_auth_key(
        &mut self,
        new: NewAuthKey,
        now: Now,
        random: Random<'_>,
    ) -> Result<(AuthKeyId, String), Refusal> {
        if let Some(user) = new.user {
            self.users.get(&user).ok_or(Refusal::NoUser(user))?;
        }
        if new.user.is_none() && new.tags.is_empty() {
            return Err(Refusal::AuthKeyWithoutOwner);
        }
        let mut tags = new.tags;
        if let Some(bad) = tags.iter().find(|tag| !name::is_tag(tag)) {
            return Err(Refusal::TagSyntax(bad.clone()));
        }
        tags.sort_unstable();
        tags.dedup();
        let (prefix, secret, text) = mint(AUTH, random);
        let id = AuthKeyId(self.next_id(|next| &mut next.auth_key.0));
        let key = AuthKey {
            id,
            prefix,
            secret,
            user: new.user,
            tags,
            reusable: new.reusable,
            ephemeral: new.ephemeral,
            preapproved: new.preapproved,
            used: false,
            expiry: new.expiry,
            created: now.wall,
        };
        self.put_auth_key(key);
        Ok((id, text))
    }

    /// Ends a preauth key now.
    pub fn expire_auth_key(&mut self, id: AuthKeyId, now: Now) -> Result<(), Refusal> {
        let mut key = self.auth_keys.get(&id).ok_or(Refusal::NoAuthKey(id))?.clone();
        if !is_expired(key.expiry, now) {
            key.expiry = Some(Expiry::At(now.wall));
            self.put_auth_key(key);
        }
        Ok(())
    }

    /// Forgets a preauth key. Nodes that came in with it stay.
    pub fn delete_auth_key(&mut self, id: AuthKeyId) -> Result<(), Refusal> {
        let key = self.auth_keys.get(&id).ok_or(Refusal::NoAuthKey(id))?;
        self.batch.undo_auth_key(id, Some(key));
        self.batch.write(Write::DeleteAuthKey(id));
        self.auth_keys.remove(&id);
        Ok(())
    }

    /// Forgets the preauth keys that ended long ago. Returns how long it is until the next is to
    /// go.
    pub(super) fn purge_auth_keys(&mut self, now: Now) -> Option<Duration> {
        let kept = self.rules.auth_key_retention;
        if kept.is_zero() || !now.trusted {
            return None;
        }
        let mut next: Option<Duration> = None;
        let mut old = Vec::new();
        for key in self.auth_keys.values() {
            let Some(Expiry::At(end)) = key.expiry else { continue };
            let gone = end.after(kept);
            if gone <= now.wall {
                old.push(key.id);
            } else {
                let left = gone.since(now.wall);
                next = Some(next.map_or(left, |n| n.min(left)));
            }
        }
        // They exist: they were found just now.
        old.into_iter().for_each(|id| _ = self.delete_auth_key(id));
        next
    }

    /// The preauth key that a client gave, whether it has ended or not.
    pub(super) fn auth_key_by_text(&self, text: &str) -> Option<&AuthKey> {
        self.auth_keys.values().find(|key| matches(AUTH, &key.prefix, &key.secret, text))
    }

    pub(super) fn put_auth_key(&mut self, key: AuthKey) {
        let id = key.id;
        self.batch.undo_auth_key(id, self.auth_keys.get(&id));
        self.batch.write(Write::PutAuthKey(key.clone()));
        self.auth_keys.insert(id, key);
    }

    /// Makes an API key. The second answer is the whole key, which is never told again.
    pub fn create_api_key(
        &mut self,
        expiry: Option<Expiry>,
        now: Now,
        random: Random<'_>,
    ) -> Result<(ApiKeyId, String), Refusal> {
        let (prefix, secret, text) = mint(API, random);
        let id = ApiKeyId(self.next_id(|next| &mut next.api_key.0));
        let key = ApiKey { id, prefix, secret, expiry, created: now.wall, last_seen: None };
        self.put_api_key(key);
        Ok((id, text))
    }

    /// The API key with this public part.
    pub fn api_key_by_prefix(&self, prefix: &str) -> Result<ApiKeyId, Refusal> {
        // Listings show the public part with the fixed one before it and stars behind.
        let bare = prefix.strip_prefix(API).unwrap_or(prefix).trim_end_matches(['*', '-']);
        let found = self.api_keys.values().find(|key| key.prefix == bare);
        found.map(|key| key.id).ok_or_else(|| Refusal::NoApiKeyPrefix(prefix.to_owned()))
    }

    /// Ends an API key now.
    pub fn expire_api_key(&mut self, id: ApiKeyId, now: Now) -> Result<(), Refusal> {
        let mut key = self.api_keys.get(&id).ok_or(Refusal::NoApiKey(id))?.clone();
        if !is_expired(key.expiry, now) {
            key.expiry = Some(Expiry::At(now.wall));
            self.put_api_key(key);
        }
        Ok(())
    }

    /// Forgets an API key.
    pub fn delete_api_key(&mut self, id: ApiKeyId) -> Result<(), Refusal> {
        let key = self.api_keys.get(&id).ok_or(Refusal::NoApiKey(id))?;
        self.batch.undo_api_key(id, Some(key));
        self.batch.write(Write::DeleteApiKey(id));
        self.api_keys.remove(&id);
        Ok(())
    }

    /// Whether `text` is an API key in force; notes its use, at most once an hour.
    pub fn check_api_key(&mut self, text: &str, now: Now) -> bool {
        let found = self.api_keys.values().find(|k| matches(API, &k.prefix, &k.secret, text));
        let Some(key) = found.filter(|key| !is_expired(key.expiry, now)) else { return false };
        if key.last_seen.is_none_or(|seen| now.wall.since(seen) >= LAST_SEEN_STEP) {
            let mut key = key.clone();
            key.last_seen = Some(now.wall);
            self.put_api_key(key);
        }
        true
    }

    pub(super) fn put_api_key(&mut self, key: ApiKey) {
        let id = key.id;
        self.batch.undo_api_key(id, self.api_keys.get(&id));
        self.batch.write(Write::PutApiKey(key.clone()));
        self.api_keys.insert(id, key);
    }
}

fn mint(kind: &str, random: Random<'_>) -> (String, Secret, String) {
    let (mut public, mut secret) = ([0; 6], [0; 32]);
    random(&mut public);
    random(&mut secret);
    let prefix = Hex(&public).to_string();
    let secret = Hex(&secret).to_string();
    let text = format!("{kind}{prefix}-{secret}");
    (prefix, Secret::Sha256(Sha256::digest(secret.as_bytes()).into()), text)
}

fn matches(kind: &str, prefix: &str, secret: &Secret, text: &str) -> bool {
    match secret {
        Secret::Plain(plain) => same(plain.as_bytes(), text.as_bytes()),
        Secret::Sha256(hash) => {
            let rest = text.strip_prefix(kind).and_then(|rest| rest.strip_prefix(prefix));
            rest.and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(|given| same(&Sha256::digest(given.as_bytes()), hash))
        }
    }
}

/// Compares without telling by its time where the texts differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}
