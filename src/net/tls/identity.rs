//! Our own certificate, which clients pin by its hash: no domain, no authority, no renewal.

use std::fmt;
use std::net::IpAddr;

use gramscale_proto::wire::key::Hex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use sha2::{Digest, Sha256};

/// Bytes of the longest host name (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;

/// A key and a self-signed certificate for one host.
///
/// Signatures are random, so the same key and host make another certificate and another pin
/// each time: both are to be stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The key (ECDSA over P-256), as PKCS#8.
    pub key: Vec<u8>,
    /// The certificate (X.509), as DER.
    pub certificate: Vec<u8>,
}

impl Identity {
    /// A certificate for a host name or IP address, with a new key unless one is given.
    pub fn new(host: &str, key: Option<&[u8]>) -> Result<Self, IdentityError> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let key = match key {
            Some(key) => key.to_vec(),
            None => {
                let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random);
                made.map_err(|_| IdentityError::Random)?.as_ref().to_vec()
            }
        };
        let pair =
            EcdsaKeyPair::from_pkcs8(algorithm, &key, &random).map_err(|_| IdentityError::Key)?;
        let body = to_be_signed(host, pair.public_key().as_ref())?;
        let signature = pair.sign(&random, &body).map_err(|_| IdentityError::Random)?;
        let certificate = der::sequence(&[
            &body,
            &der::sequence(&[der::ECDSA_WITH_SHA256]),
            &der::bits(signature.as_ref()),
        ]);
        Ok(Self { key, certificate })
    }

    /// The SHA-256 of the certificate in lower-case hex digits, which clients compare
    /// (`net/tlsdial`: `sha256-raw:` and this).
    pub fn pin(&self) -> String {
        Hex(&Sha256::digest(&self.certificate)).to_string()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.pin())
    }
}

/// Why there is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// Neither an address nor an ASCII host name.
    Host,
    /// Not a P-256 key in PKCS#8.
    Key,
    /// The system gives no random bytes.
    Random,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "a host name in ASCII or an IP address is expected",
            Self::Key => "the stored relay key is broken; delete it to have a new one made",
            Self::Random => "the system gives no random bytes",
        })
    }
}

impl std::error::Error for IdentityError {}

/// `TBSCertificate` (RFC 5280 section 4.1).
fn to_be_signed(host: &str, public: &[u8]) -> Result<Vec<u8>, IdentityError> {
    let host_id = match host.parse() {
        Ok(IpAddr::V4(v4)) => der::value(7 | der::CONTEXT, &[&v4.octets()]),
        Ok(IpAddr::V6(v6)) => der::value(7 | der::CONTEXT, &[&v6.octets()]),
        Err(_) if is_name(host) => der::value(2 | der::CONTEXT, &[host.as_bytes()]),
        Err(_) => return Err(IdentityError::Host),
    };
    // Positive, and of no consequence but to differ with host and key.
    let digest = Sha256::new().chain_update(host).chain_update(public).finalize();
    let mut serial = [1; 16];
    serial.iter_mut().skip(1).zip(digest).for_each(|(to, from)| *to = from);
    let name = der::sequence(&[&der::value(
        der::SET,
        &[&der::sequence(&[der::COMMON_NAME, &der::value(der::UTF8, &[b"gramscale"])])],
    )]);
    // Clients compare with their own clock, and a router without one lives in 1970.
    let validity = der::sequence(&[
        &der::value(der::UTC_TIME, &[b"700101000000Z"]),
        &der::value(der::GENERAL_TIME, &[b"99991231235959Z"]),
    ]);
    let public_key =
        der::sequence(&[&der::sequence(&[der::EC_PUBLIC_KEY, der::P256]), &der::bits(public)]);
    let extensions = der::sequence(&[
        &der::extension(der::ALT_NAME, &der::sequence(&[&host_id])),
        &der::extension(der::KEY_USAGE, der::DIGITAL_SIGNATURE),
        &der::extension(der::EXTENDED_KEY_USAGE, &der::sequence(&[der::SERVER_AUTH])),
    ]);
    Ok(der::sequence(&[
        der::VERSION_3,
        &der::value(der::INTEGER, &[&serial]),
        &der::sequence(&[der::ECDSA_WITH_SHA256]),
        &name,
        &validity,
        &name,
        &public_key,
        &der::value(3 | der::CONTEXT | der::CONSTRUCTED, &[&extensions]),
    ]))
}

fn is_name(host: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.len() <= MAX_NAME && host.bytes().all(valid)
}

/// Just enough of the Distinguished Encoding Rules (X.690) to write a certificate.
mod der {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const UTF8: u8 = 0x0c;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERAL_TIME: u8 = 0x18;
    pub(super) const SET: u8 = 0x31;
    pub(super) const CONSTRUCTED: u8 = 0x20;
    pub(super) const CONTEXT: u8 = 0x80;

    // Whole values: an object identifier is 06, its length and its digits.
    /// 1.2.840.10045.4.3.2
    pub(super) const ECDSA_WITH_SHA256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    /// 1.2.840.10045.2.1
    pub(super) const EC_PUBLIC_KEY: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
    /// 1.2.840.10045.3.1.7
    pub(super) const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    /// 2.5.4.3
    pub(super) const COMMON_NAME: &[u8] = b"\x06\x03\x55\x04\x03";
    /// 2.5.29.17
    pub(super) const ALT_NAME: &[u8] = b"\x06\x03\x55\x1d\x11";
    /// 2.5.29.15
    pub(super) const KEY_USAGE: &[u8] = b"\x06\x03\x55\x1d\x0f";
    /// 2.5.29.37
    pub(super) const EXTENDED_KEY_USAGE: &[u8] = b"\x06\x03\x55\x1d\x25";
    /// 1.3.6.1.5.5.7.3.1
    pub(super) const SERVER_AUTH: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";
    /// A bit string with the first bit set.
    pub(super) const DIGITAL_SIGNATURE: &[u8] = b"\x03\x02\x07\x80";
    pub(super) const VERSION_3: &[u8] = b"\xa0\x03\x02\x01\x02";

    const BIT_STRING: u8 = 0x03;
    const OCTET_STRING: u8 = 0x04;
    const SEQUENCE: u8 = 0x30;

    /// A value of up to 65,535 bytes.
    pub(super) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(length <= usize::from(u16::MAX));
        let [high, low] = (length as u16).to_be_bytes();
        let mut out = vec![tag];
        match length {
            ..128 => out.push(low),
            128..256 => out.extend_from_slice(&[0x81, low]),
            _ => out.extend_from_slice(&[0x82, high, low]),
        }
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out
    }

    pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
        value(SEQUENCE, parts)
    }

    /// Whole bytes as a bit string.
    pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
        value(BIT_STRING, &[&[0], bytes])
    }

    pub(super) fn extension(id: &[u8], content: &[u8]) -> Vec<u8> {
        sequence(&[id, &value(OCTET_STRING, &[content])])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (length, header) in [
            (0, &b"\x04\x00"[..]),
            (127, b"\x04\x7f"),
            (128, b"\x04\x81\x80"),
            (255, b"\x04\x81\xff"),
            (256, b"\x04\x82\x01\x00"),
            (65_535, b"\x04\x82\xff\xff"),
        ] {
            let value = der::value(4, &[&vec![0; length]]);
            assert_eq!(&value[..value.len() - length], header);
        }
    }

    #[test]
    fn the_signed_part() {
        let body = to_be_signed("10.0.0.1", &[4; 65]).unwrap();
        // Each line is one member; checked with `openssl asn1parse`.
        let expected = [
            "30820103",
            "a003020102",
            "021001d0ebc204758dbf0447ce635dbd797b",
            "300a06082a8648ce3d040302",
            "30143112301006035504030c096772616d7363616c65",
            "3020170d3730303130313030303030305a180f39393939313233313233353935395a",
            "30143112301006035504030c096772616d7363616c65",
            "3059301306072a8648ce3d020106082a8648ce3d030107034200",
            &"04".repeat(65),
            "a3353033",
            "300f0603551d110408300687040a000001",
            "300b0603551d0f040403020780",
            "30130603551d25040c300a06082b06010505070301",
        ];
        assert_eq!(Hex(&body).to_string(), expected.concat());
    }

    #[test]
    fn hosts() {
        let san = |host: &str| to_be_signed(host, &[4; 65]).map(|body| Hex(&body).to_string());
        assert!(san("fd7a::1").unwrap().contains("8710fd7a0000000000000000000000000001"));
        assert!(san("router.lan").unwrap().contains("820a726f757465722e6c616e"));
        let long = "a".repeat(254);
        for bad in ["", "a b", "h\u{f6}st", "a:80", "[::1]", &long] {
            assert_eq!(Identity::new(bad, None), Err(IdentityError::Host), "{bad}");
        }
    }

    #[test]
    fn the_key_can_be_kept() {
        let first = Identity::new("a.example", None).unwrap();
        let second = Identity::new("b.example", Some(&first.key)).unwrap();
        assert_eq!(first.key, second.key);
        assert_ne!(first.pin(), second.pin());
        assert_eq!(first.pin().len(), 64);
        assert_eq!(Identity::new("a", Some(b"broken")), Err(IdentityError::Key));
        assert_ne!(Identity::new("a.example", None).unwrap().key, first.key);
    }
}
