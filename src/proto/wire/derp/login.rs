//! The two sealed messages that open a DERP connection (client `derp/derp_client.go`).
//!
//! Both are JSON in a NaCl box (X25519, XSalsa20, Poly1305) that follows its nonce. Opening the
//! client's box proves that it holds its node key.

use crypto_box::aead::Aead as _;
use crypto_box::{Nonce, PublicKey, SalsaBox, SecretKey};
use serde_json::Value;
use std::fmt;

use super::{Frame, MAX_LOGIN, VERSION};
use crate::wire::json;
use crate::wire::key::{NodeKey, PrivateKey, from_hex};

/// Bytes of the nonce before a box.
pub const NONCE_LEN: usize = 24;

/// What a client tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// The version that it speaks; 0 if it does not say.
    pub version: u32,
    /// It answers pings.
    pub can_ack_pings: bool,
    /// It only measures.
    pub is_prober: bool,
    /// The key of the mesh, from another relay.
    pub mesh_key: Option<[u8; 32]>,
}

/// What the server tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// The rate at which the client may send; it drops what is more.
    pub rate: Option<Rate>,
}

/// A token bucket, in bytes of frames with their headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes per second in the long run.
    pub bytes_per_second: u32,
    /// Bytes at once.
    pub burst: u32,
}

/// The server's side of a login. The expensive part, the key agreement, is done once.
pub struct Login {
    secret: SalsaBox,
}

impl Login {
    /// Between the server's key and the client that says it is `client`.
    pub fn new(server: &PrivateKey, client: &NodeKey) -> Self {
        let secret = SecretKey::from(*server.bytes());
        Self { secret: SalsaBox::new(&PublicKey::from(client.0), &secret) }
    }

    /// Opens the box of a [`Frame::ClientInfo`].
    pub fn open(&self, sealed: &[u8]) -> Result<ClientInfo, LoginError> {
        ClientInfo::parse(&open(&self.secret, sealed)?)
    }

    /// The [`Frame::ServerInfo`] as bytes. `nonce` must be random.
    pub fn seal(&self, info: &ServerInfo, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let mut text = format!("{{\"version\":{VERSION}");
        if let Some(rate) = info.rate {
            let Rate { bytes_per_second, burst } = rate;
            text.push_str(&format!(
                ",\"TokenBucketBytesPerSecond\":{bytes_per_second},\"TokenBucketBytesBurst\":{burst}"
            ));
        }
        text.push('}');
        let mut out = Vec::new();
        Frame::ServerInfo { sealed: &seal(&self.secret, text.as_bytes(), nonce) }.emit(&mut out);
        out
    }
}

/// The client's side of a login, for tests and for the load generator.
pub struct ClientLogin {
    key: NodeKey,
    secret: SalsaBox,
}

impl ClientLogin {
    /// Between the client's key and the server's.
    pub fn new(client: &PrivateKey, server: &NodeKey) -> Self {
        let secret = SecretKey::from(*client.bytes());
        Self {
            key: NodeKey(client.public()),
            secret: SalsaBox::new(&PublicKey::from(server.0), &secret),
        }
    }

    /// The [`Frame::ClientInfo`] as bytes, with the JSON text `info`. `nonce` must be random.
    pub fn seal(&self, info: &str, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let mut out = Vec::new();
        let sealed = seal(&self.secret, info.as_bytes(), nonce);
        Frame::ClientInfo { key: self.key, sealed: &sealed }.emit(&mut out);
        out
    }

    /// Opens the box of a [`Frame::ServerInfo`].
    pub fn open(&self, sealed: &[u8]) -> Result<ServerInfo, LoginError> {
        ServerInfo::parse(&open(&self.secret, sealed)?)
    }
}

impl ClientInfo {
    /// Reads the JSON of Go (`meshKey`, `CanAckPings`) and of Rust clients (`mesh_key`,
    /// `can_ack_pings`); a mesh key that is none (`"none"`) is none.
    fn parse(text: &[u8]) -> Result<Self, LoginError> {
        let mut info = Self::default();
        for (name, value) in object(text)? {
            match plain(&name).as_str() {
                "version" => info.version = value.as_u64().and_then(to_u32).unwrap_or(0),
                "canackpings" => info.can_ack_pings = value == Value::Bool(true),
                "isprober" => info.is_prober = value == Value::Bool(true),
                "meshkey" => info.mesh_key = value.as_str().and_then(from_hex),
                _ => {}
            }
        }
        Ok(info)
    }
}

impl ServerInfo {
    fn parse(text: &[u8]) -> Result<Self, LoginError> {
        let (mut bytes_per_second, mut burst) = (0, 0);
        for (name, value) in object(text)? {
            let number = value.as_u64().and_then(to_u32).unwrap_or(0);
            match plain(&name).as_str() {
                "tokenbucketbytespersecond" => bytes_per_second = number,
                "tokenbucketbytesburst" => burst = number,
                _ => {}
            }
        }
        Ok(Self { rate: (bytes_per_second > 0).then_some(Rate { bytes_per_second, burst }) })
    }
}

fn object(text: &[u8]) -> Result<serde_json::Map<String, Value>, LoginError> {
    match json::read(text) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(LoginError::Json),
    }
}

/// A member's name without case and underscores, in which the clients differ.
fn plain(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

fn to_u32(n: u64) -> Option<u32> {
    u32::try_from(n).ok()
}

fn open(secret: &SalsaBox, sealed: &[u8]) -> Result<Vec<u8>, LoginError> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(LoginError::Short)?;
    if sealed.len() > MAX_LOGIN {
        return Err(LoginError::Json);
    }
    secret.decrypt(Nonce::from_slice(nonce), sealed).map_err(|_| LoginError::Forged)
}

fn seal(secret: &SalsaBox, text: &[u8], nonce: [u8; NONCE_LEN]) -> Vec<u8> {
    // The cipher refuses only texts of 256 GiB and more.
    let sealed = secret.encrypt(Nonce::from_slice(&nonce), text).unwrap_or_default();
    [&nonce[..], &sealed].concat()
}

/// Why a login is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginError {
    /// The box was not made with the keys of this client and this server.
    Forged,
    /// The box does not hold a JSON object.
    Json,
    /// There is no room for a nonce.
    Short,
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forged => "the login was not sealed with the key it names",
            Self::Json => "the login is not a JSON object",
            Self::Short => "the login is too short",
        })
    }
}

impl std::error::Error for LoginError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::key::Hex;

    fn keys() -> (PrivateKey, PrivateKey) {
        (PrivateKey::from_random([1; 32]), PrivateKey::from_random([2; 32]))
    }

    fn info(text: &str) -> Result<ClientInfo, LoginError> {
        let (server, client) = keys();
        let login = ClientLogin::new(&client, &NodeKey(server.public()));
        let bytes = login.seal(text, [9; NONCE_LEN]);
        let Ok(Frame::ClientInfo { key, sealed }) = Frame::parse(bytes[0], &bytes[5..]) else {
            panic!("no client info: {bytes:?}");
        };
        assert_eq!(key, NodeKey(client.public()));
        Login::new(&server, &key).open(sealed)
    }

    #[test]
    fn client_forms() {
        let go = r#"{"version":2,"CanAckPings":true,"IsProber":true}"#;
        let full = ClientInfo { version: 2, can_ack_pings: true, is_prober: true, mesh_key: None };
        assert_eq!(info(go), Ok(full));
        let rust = r#"{"can_ack_pings":false,"is_prober":false,"mesh_key":"none","version":2}"#;
        assert_eq!(info(rust), Ok(ClientInfo { version: 2, ..Default::default() }));
        let mesh = format!(r#"{{"meshKey":"{}","version":2}}"#, Hex(&[0xAB; 32]));
        assert_eq!(info(&mesh).unwrap().mesh_key, Some([0xAB; 32]));
        let odd = r#"{"version":"two","meshKey":7,"canAckPings":"yes","later":{}}"#;
        assert_eq!(info(odd), Ok(ClientInfo::default()));
        for bad in ["", "[]", "{", "null", "{\"version\":2}x"] {
            assert_eq!(info(bad), Err(LoginError::Json), "{bad}");
        }
    }

    #[test]
    fn server_forms() {
        let (server, client) = keys();
        let login = Login::new(&server, &NodeKey(client.public()));
        let peer = ClientLogin::new(&client, &NodeKey(server.public()));
        for rate in [None, Some(Rate { bytes_per_second: 1000, burst: 65_568 })] {
            let bytes = login.seal(&ServerInfo { rate }, [3; NONCE_LEN]);
            let Ok(Frame::ServerInfo { sealed }) = Frame::parse(bytes[0], &bytes[5..]) else {
                panic!("no server info: {bytes:?}");
            };
            assert_eq!(peer.open(sealed), Ok(ServerInfo { rate }));
        }
    }

    /// Sealed by an independent implementation of NaCl's box (libsodium through PyNaCl).
    #[test]
    fn foreign_box() {
        let server = PrivateKey::from([0x11; 32]);
        let client = PrivateKey::from([0x22; 32]);
        let sealed = [
            &[0x33; 24][..],
            &from_hex::<29>("37c731e6b681077979c9ca7f8467e3564d3eb8fccc9a8433ce902111e4").unwrap(),
        ]
        .concat();
        let login = Login::new(&server, &NodeKey(client.public()));
        assert_eq!(login.open(&sealed), Ok(ClientInfo { version: 2, ..Default::default() }));
    }

    #[test]
    fn forgeries() {
        let (server, client) = keys();
        let login = Login::new(&server, &NodeKey(client.public()));
        let peer = ClientLogin::new(&client, &NodeKey(server.public()));
        let frame = peer.seal(r#"{"version":2}"#, [3; NONCE_LEN]);
        let mut sealed = frame[5 + 32..].to_vec();
        assert!(login.open(&sealed).is_ok());
        assert_eq!(login.open(&sealed[..23]), Err(LoginError::Short));
        assert_eq!(login.open(&sealed[..24]), Err(LoginError::Forged));
        let other = Login::new(&server, &NodeKey([5; 32]));
        assert_eq!(other.open(&sealed), Err(LoginError::Forged));
        sealed[30] ^= 1;
        assert_eq!(login.open(&sealed), Err(LoginError::Forged));
    }
}
