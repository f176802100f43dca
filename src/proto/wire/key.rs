//! Curve25519 keys and their text forms (Tailscale `types/key`): a prefix and 64 hex digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of every key here.
pub const KEY_LEN: usize = 32;

macro_rules! public_key {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; KEY_LEN]);

        impl $name {
            /// What stands before the hex digits in the text form.
            pub const PREFIX: &'static str = $prefix;

            /// The key of 32 zeros, which the clients send for "none".
            pub fn is_zero(&self) -> bool {
                self.0 == [0; KEY_LEN]
            }

            /// `[AbCdE]`: the first five base64 digits, as people see keys.
            pub fn short(&self) -> String {
                short(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, KeyError> {
                let hex = text.strip_prefix($prefix).ok_or(KeyError::Prefix($prefix))?;
                from_hex(hex).map(Self).ok_or(KeyError::Digits)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; KEY_LEN]>::deserialize(d).map(Self)
                }
            }
        }
    };
}

public_key!(
    /// Identifies a machine: the static key of its Noise sessions.
    MachineKey,
    "mkey:"
);
public_key!(
    /// Identifies a node: the public key of its WireGuard device and of its relay connections.
    NodeKey,
    "nodekey:"
);
public_key!(
    /// The key of a node's path discovery messages.
    DiscoKey,
    "discokey:"
);

/// A private Curve25519 key, with `privkey:` as text. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey([u8; KEY_LEN]);

impl PrivateKey {
    /// What stands before the hex digits in the text form.
    pub const PREFIX: &'static str = "privkey:";

    /// Makes a key of 32 random bytes, clamped as Curve25519 expects of stored keys.
    pub fn from_random(mut bytes: [u8; KEY_LEN]) -> Self {
        bytes[0] &= 248;
        bytes[31] = (bytes[31] & 127) | 64;
        Self(bytes)
    }

    /// The secret bytes.
    pub fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// The public half.
    pub fn public(&self) -> [u8; KEY_LEN] {
        x25519_dalek::x25519(self.0, x25519_dalek::X25519_BASEPOINT_BYTES)
    }

    /// The text form, for the key file.
    pub fn to_text(&self) -> String {
        format!("{}{}", Self::PREFIX, Hex(&self.0))
    }
}

impl From<[u8; KEY_LEN]> for PrivateKey {
    fn from(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let hex = text.strip_prefix(Self::PREFIX).ok_or(KeyError::Prefix(Self::PREFIX))?;
        from_hex(hex).map(Self).ok_or(KeyError::Digits)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("privkey:hidden")
    }
}

/// Why a text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Something other than 64 hex digits follows the prefix.
    Digits,
    /// The prefix that was expected is missing.
    Prefix(&'static str),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits => f.write_str("a key has 64 hex digits after its prefix"),
            Self::Prefix(prefix) => write!(f, "a key that begins with \"{prefix}\" is expected"),
        }
    }
}

impl std::error::Error for KeyError {}

/// Shows bytes as lower-case hex digits.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, self.0)
    }
}

/// Reads exactly `N` bytes from hex digits of either case.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (nibble(*high)? << 4) | nibble(*low)?;
    }
    Some(out)
}

fn nibble(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|d| d as u8)
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

fn short(key: &[u8; KEY_LEN]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(&key[..6]);
    format!("[{}]", text.get(..5).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        let key = NodeKey(std::array::from_fn(|i| i as u8));
        let text = "nodekey:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        assert_eq!(key.to_string(), text);
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_uppercase().replace("NODEKEY", "nodekey").parse(), Ok(key));
        assert_eq!(text.parse::<MachineKey>(), Err(KeyError::Prefix("mkey:")));
        assert_eq!("nodekey:00".parse::<NodeKey>(), Err(KeyError::Digits));
        let wide = format!("nodekey:{}é", "0".repeat(62));
        assert_eq!(wide.parse::<NodeKey>(), Err(KeyError::Digits));
        assert_eq!(key.short(), "[AAECA]");
    }

    #[test]
    fn public_half() {
        let private = PrivateKey::from(std::array::from_fn(|i| 0x41 + i as u8));
        let public = "64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466";
        assert_eq!(Hex(&private.public()).to_string(), public);
        assert_eq!(private.to_text().parse::<PrivateKey>(), Ok(private.clone()));
        assert_eq!(format!("{private:?}"), "privkey:hidden");
    }
}
