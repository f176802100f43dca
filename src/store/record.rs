//! One record: its key, and its value as a version byte with a postcard encoding behind it.
//!
//! A key is one letter for the kind and the number as eight bytes, big-endian so that records lie
//! in the order of their numbers. postcard is little-endian varints, the same on every machine.

use gramscale_proto::tailnet::record::NodeId;
use gramscale_proto::tailnet::write::{DerpMapText, Meta, NextIds, PolicyText, Snapshot, Write};
use gramscale_proto::wire::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of every kind of record; a new one needs a migration (`super::schema`).
const VERSION: u8 = 1;

/// Kinds of records. A letter is never used again for something else.
mod kind {
    pub(super) const USER: u8 = b'u';
    pub(super) const NODE: u8 = b'n';
    pub(super) const SOFT: u8 = b's';
    pub(super) const AUTH_KEY: u8 = b'k';
    pub(super) const API_KEY: u8 = b'a';
    pub(super) const POLICY: u8 = b'p';
    pub(super) const NEXT: u8 = b'i';
    pub(super) const NOISE_KEY: u8 = b'N';
    pub(super) const RELAY_KEY: u8 = b'R';
    pub(super) const PINNED: u8 = b'T';
    pub(super) const DERP_MAP: u8 = b'd';
    pub(super) const PRIMARIES: u8 = b'r';
    /// Owned by `super::schema`.
    pub(super) const SCHEMA: u8 = 0;
}

/// The key of the record that holds the schema's version.
pub(super) const SCHEMA_KEY: &[u8] = &[kind::SCHEMA];

/// What happens to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) key: Vec<u8>,
    /// `None` removes.
    pub(super) value: Option<Vec<u8>>,
}

/// Why a record can't be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Appends what `write` does. No type that is stored here can fail to encode; the store refuses
/// the commit if one does.
pub(super) fn encode(write: &Write, ops: &mut Vec<Op>) -> postcard::Result<()> {
    let op = match write {
        Write::PutUser(user) => put(numbered(kind::USER, user.id.0), user)?,
        Write::PutNode(node) => put(numbered(kind::NODE, node.id.0), node)?,
        Write::PutSoft(id, soft) => put(numbered(kind::SOFT, id.0), soft)?,
        Write::PutAuthKey(key) => put(numbered(kind::AUTH_KEY, key.id.0), key)?,
        Write::PutApiKey(key) => put(numbered(kind::API_KEY, key.id.0), key)?,
        Write::PutPolicy(policy) => put(vec![kind::POLICY], &(policy.at, &policy.text))?,
        Write::PutMeta(meta) => encode_meta(meta)?,
        Write::DeleteUser(id) => remove(numbered(kind::USER, id.0)),
        Write::DeleteNode(id) => {
            ops.push(remove(numbered(kind::SOFT, id.0)));
            remove(numbered(kind::NODE, id.0))
        }
        Write::DeleteSoft(id) => remove(numbered(kind::SOFT, id.0)),
        Write::DeleteAuthKey(id) => remove(numbered(kind::AUTH_KEY, id.0)),
        Write::DeleteApiKey(id) => remove(numbered(kind::API_KEY, id.0)),
    };
    ops.push(op);
    Ok(())
}

fn encode_meta(meta: &Meta) -> postcard::Result<Op> {
    match meta {
        Meta::Next(NextIds { user, node, auth_key, api_key }) => {
            put(vec![kind::NEXT], &(user, node, auth_key, api_key))
        }
        Meta::NoiseKey(key) => put(vec![kind::NOISE_KEY], key.bytes()),
        Meta::RelayKey(key) => put(vec![kind::RELAY_KEY], key.bytes()),
        Meta::Pinned(pinned) => put(vec![kind::PINNED], pinned),
        Meta::DerpMap(url, map) => put(map_key(url), &(map.at, &map.text)),
        Meta::NoDerpMap(url) => Ok(remove(map_key(url))),
        Meta::Primaries(primaries) => put(vec![kind::PRIMARIES], primaries),
    }
}

/// Reads one record into `snapshot`.
pub(super) fn decode(key: &[u8], value: &[u8], snapshot: &mut Snapshot) -> Result<(), Unreadable> {
    let (kind, rest) = key.split_first().ok_or(Unreadable)?;
    if *kind == kind::SCHEMA {
        return Ok(());
    }
    let Some((&VERSION, bytes)) = value.split_first() else { return Err(Unreadable) };
    let write = match *kind {
        kind::USER => Write::PutUser(read(bytes)?),
        kind::NODE => Write::PutNode(read(bytes)?),
        kind::SOFT => Write::PutSoft(NodeId(number(rest)?), read(bytes)?),
        kind::AUTH_KEY => Write::PutAuthKey(read(bytes)?),
        kind::API_KEY => Write::PutApiKey(read(bytes)?),
        kind::POLICY => {
            let (at, text) = read(bytes)?;
            Write::PutPolicy(PolicyText { text, at })
        }
        kind::NEXT => {
            let (user, node, auth_key, api_key) = read(bytes)?;
            Write::PutMeta(Meta::Next(NextIds { user, node, auth_key, api_key }))
        }
        kind::NOISE_KEY => Write::PutMeta(Meta::NoiseKey(read::<[u8; 32]>(bytes)?.into())),
        kind::RELAY_KEY => Write::PutMeta(Meta::RelayKey(read::<[u8; 32]>(bytes)?.into())),
        kind::PINNED => Write::PutMeta(Meta::Pinned(read(bytes)?)),
        kind::PRIMARIES => Write::PutMeta(Meta::Primaries(read(bytes)?)),
        kind::DERP_MAP => {
            let url = String::from_utf8(rest.to_vec()).map_err(|_| Unreadable)?;
            let (at, text): (Timestamp, String) = read(bytes)?;
            Write::PutMeta(Meta::DerpMap(url, DerpMapText { text, at }))
        }
        _ => return Err(Unreadable),
    };
    snapshot.apply(write);
    Ok(())
}

/// Whether it is the key of a user.
pub(super) fn is_user(key: &[u8]) -> bool {
    key.first() == Some(&kind::USER)
}

/// A key in words, for people: `node 7`.
pub(super) fn describe(key: &[u8]) -> String {
    let Some((kind, rest)) = key.split_first() else { return "a record without a key".into() };
    let name = match *kind {
        kind::USER => "user",
        kind::NODE => "node",
        kind::SOFT => "status of node",
        kind::AUTH_KEY => "preauth key",
        kind::API_KEY => "API key",
        kind::POLICY => "the policy",
        kind::NEXT => "the next numbers",
        kind::NOISE_KEY => "the server's key",
        kind::RELAY_KEY => "the relay's key",
        kind::PINNED => "the pinned certificate",
        kind::DERP_MAP => "a DERP map",
        kind::PRIMARIES => "the routers of shared routes",
        _ => "a record of unknown kind",
    };
    match number(rest) {
        Ok(number) => format!("{name} {number}"),
        Err(Unreadable) => name.into(),
    }
}

fn numbered(kind: u8, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(kind);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn map_key(url: &str) -> Vec<u8> {
    let mut key = vec![kind::DERP_MAP];
    key.extend_from_slice(url.as_bytes());
    key
}

fn remove(key: Vec<u8>) -> Op {
    Op { key, value: None }
}

fn put<T: Serialize + ?Sized>(key: Vec<u8>, record: &T) -> postcard::Result<Op> {
    Ok(Op { key, value: Some(postcard::to_extend(record, vec![VERSION])?) })
}

/// Bytes that are left over mean another layout than the one that is known.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    match postcard::take_from_bytes(bytes) {
        Ok((record, [])) => Ok(record),
        _ => Err(Unreadable),
    }
}

fn number(bytes: &[u8]) -> Result<u64, Unreadable> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use gramscale_proto::policy::Role;
    use gramscale_proto::tailnet::record::{
        ApiKey, ApiKeyId, AuthKeyId, Secret, Soft, User, UserId,
    };
    use gramscale_proto::wire::key::{DiscoKey, PrivateKey};

    use gramscale_proto::tailnet::write::Pinned;

    use super::*;

    fn one(write: Write) -> (Vec<u8>, Vec<u8>) {
        let mut ops = Vec::new();
        encode(&write, &mut ops).unwrap();
        let [Op { key, value: Some(value) }] = <[Op; 1]>::try_from(ops).unwrap() else { panic!() };
        let mut snapshot = Snapshot::default();
        decode(&key, &value, &mut snapshot).unwrap();
        let mut expected = Snapshot::default();
        expected.apply(write);
        assert_eq!(snapshot, expected);
        (key, value)
    }

    fn user() -> User {
        User {
            id: UserId(258),
            name: "ann".into(),
            display_name: String::new(),
            email: "a@b".into(),
            provider_id: String::new(),
            provider: String::new(),
            picture_url: String::new(),
            created: Timestamp(-2),
            role: Role::Auditor,
        }
    }

    // These bytes lie on people's disks, whatever their processor's byte order. Where a test
    // must change, the schema needs a migration.

    #[test]
    fn user_bytes() {
        let (key, value) = one(Write::PutUser(user()));
        assert_eq!(key, b"u\0\0\0\0\0\0\x01\x02");
        assert_eq!(value, b"\x01\x82\x02\x03ann\0\x03a@b\0\0\0\x03\x01");
    }

    #[test]
    fn soft_bytes() {
        let soft = Soft {
            disco: DiscoKey([9; 32]),
            endpoints: vec!["1.2.3.4:41641".parse().unwrap(), "[::1]:80".parse().unwrap()],
            home_derp: 999,
            version: 130,
            last_seen: Some(Timestamp(1)),
            ..Soft::default()
        };
        let (key, value) = one(Write::PutSoft(NodeId(u64::MAX), soft));
        assert_eq!(key, b"s\xff\xff\xff\xff\xff\xff\xff\xff");
        let mut expected = vec![1];
        expected.extend([9; 32]);
        expected.extend(b"\x02\0\x01\x02\x03\x04\xa9\xc5\x02");
        expected.extend(b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x50");
        expected.extend(b"\xe7\x07\x82\x01");
        expected.extend([0; 10]);
        expected.extend(b"\x01\x02");
        assert_eq!(value, expected);
    }

    #[test]
    fn meta_bytes() {
        let key = PrivateKey::from([0xab; 32]);
        assert_eq!(one(Write::PutMeta(Meta::NoiseKey(key.clone()))).0, b"N");
        let (name, value) = one(Write::PutMeta(Meta::RelayKey(key)));
        assert_eq!((name.as_slice(), value.len(), value[0], value[32]), (&b"R"[..], 33, 1, 0xab));
        let next = NextIds {
            user: UserId(1),
            node: NodeId(300),
            auth_key: AuthKeyId(127),
            api_key: ApiKeyId(128),
        };
        let (name, value) = one(Write::PutMeta(Meta::Next(next)));
        assert_eq!((&name[..], &value[..]), (&b"i"[..], &b"\x01\x01\xac\x02\x7f\x80\x01"[..]));
        let map = DerpMapText { text: "{}".into(), at: Timestamp(64) };
        let (name, value) = one(Write::PutMeta(Meta::DerpMap("https://d/".into(), map)));
        assert_eq!((&name[..], &value[..]), (&b"dhttps://d/"[..], &b"\x01\x80\x01\x02{}"[..]));
        let pinned = Pinned { host: "h".into(), key: vec![0x30], certificate: vec![0x31, 0x32] };
        let (name, value) = one(Write::PutMeta(Meta::Pinned(pinned)));
        assert_eq!((&name[..], &value[..]), (&b"T"[..], &b"\x01\x01h\x010\x0212"[..]));
    }

    #[test]
    fn unreadable() {
        let (key, value) = one(Write::PutApiKey(ApiKey {
            id: ApiKeyId(7),
            prefix: "0123456789ab".into(),
            secret: Secret::Sha256([3; 32]),
            expiry: None,
            created: Timestamp(5),
            last_seen: None,
        }));
        let mut snapshot = Snapshot::default();
        for cut in 0..value.len() {
            assert_eq!(decode(&key, &value[..cut], &mut snapshot), Err(Unreadable), "{cut}");
        }
        let mut longer = value.clone();
        longer.push(0);
        assert_eq!(decode(&key, &longer, &mut snapshot), Err(Unreadable));
        let mut newer = value;
        newer[0] = 2;
        assert_eq!(decode(&key, &newer, &mut snapshot), Err(Unreadable));
        assert_eq!(decode(b"z", b"\x01", &mut snapshot), Err(Unreadable));
        assert_eq!(decode(b"", b"\x01", &mut snapshot), Err(Unreadable));
        assert_eq!(decode(b"s123", b"\x01", &mut snapshot), Err(Unreadable));
        assert_eq!(snapshot, Snapshot::default());
        assert_eq!(describe(&key), "API key 7");
        assert_eq!(describe(b"p"), "the policy");
        assert_eq!(describe(b"z"), "a record of unknown kind");
    }
}
