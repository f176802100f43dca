//! The cryptography of *ring* that TLS needs here, and no more: what the default set of the TLS
//! library names besides is linked whether a peer ever asks for it or not. X25519 is the one that
//! Noise has anyway, and Ed25519, which no public authority signs with, is left out.

use std::fmt;
use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::{rsa, signature};
use rustls::crypto::ring::cipher_suite as suite;
use rustls::crypto::ring::{kx_group, sign};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, SharedSecret,
    SupportedKxGroup, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{
    Error, NamedGroup, PeerMisbehaved, SignatureAlgorithm, SignatureScheme, SupportedCipherSuite,
};
use webpki::ring as verify;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

/// Whether processors of this kind have instructions for AES. Where they have not, ChaCha20 is
/// several times faster.
pub(super) const HAS_AES: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// The best first where there is AES.
const SUITES: &[SupportedCipherSuite] = &[
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    #[cfg(feature = "tls12")]
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    #[cfg(feature = "tls12")]
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    #[cfg(feature = "tls12")]
    suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    #[cfg(feature = "tls12")]
    suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    #[cfg(feature = "tls12")]
    suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    #[cfg(feature = "tls12")]
    suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// How the certificates of other servers may be signed, and what their handshakes may be signed
/// with.
static VERIFY: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        verify::ECDSA_P256_SHA256,
        verify::ECDSA_P256_SHA384,
        verify::ECDSA_P384_SHA256,
        verify::ECDSA_P384_SHA384,
        verify::RSA_PKCS1_2048_8192_SHA256,
        verify::RSA_PKCS1_2048_8192_SHA384,
        verify::RSA_PKCS1_2048_8192_SHA512,
        verify::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        verify::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        verify::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    ],
    mapping: &[
        // In TLS 1.2 the name of a scheme does not tell the curve; in 1.3 it is that of the first.
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[verify::ECDSA_P384_SHA384, verify::ECDSA_P256_SHA384],
        ),
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[verify::ECDSA_P256_SHA256, verify::ECDSA_P384_SHA256],
        ),
        (SignatureScheme::RSA_PSS_SHA512, &[verify::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[verify::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA256, &[verify::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        // Of certificates, and of handshakes in TLS 1.2.
        (SignatureScheme::RSA_PKCS1_SHA512, &[verify::RSA_PKCS1_2048_8192_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[verify::RSA_PKCS1_2048_8192_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[verify::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

/// For listeners and for requests.
pub(in crate::net) fn provider() -> CryptoProvider {
    let mut cipher_suites = SUITES.to_vec();
    if !HAS_AES {
        let is_aes = |suite: &SupportedCipherSuite| {
            use rustls::CipherSuite as C;
            !matches!(
                suite.suite(),
                C::TLS13_CHACHA20_POLY1305_SHA256
                    | C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                    | C::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
            )
        };
        cipher_suites.sort_by_key(is_aes);
    }
    CryptoProvider {
        cipher_suites,
        kx_groups: vec![&X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        signature_verification_algorithms: VERIFY,
        secure_random: &System,
        key_provider: &System,
    }
}

#[derive(Debug)]
struct System;

impl SecureRandom for System {
    fn fill(&self, buf: &mut [u8]) -> Result<(), GetRandomFailed> {
        gramscale_rt::random(buf);
        Ok(())
    }
}

impl KeyProvider for System {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        let rsa = match &key {
            PrivateKeyDer::Pkcs1(key) => rsa::KeyPair::from_der(key.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(key) => rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            _ => return sign::any_ecdsa_type(&key),
        };
        match rsa {
            Ok(pair) => Ok(Arc::new(Rsa(Arc::new(pair)))),
            Err(_) => sign::any_ecdsa_type(&key),
        }
    }
}

/// X25519 (RFC 7748) as a way to agree on a key.
#[derive(Debug)]
struct X25519;

struct Exchange {
    private: [u8; 32],
    public: [u8; 32],
}

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut private = [0; 32];
        gramscale_rt::random(&mut private);
        let public = x25519(private, X25519_BASEPOINT_BYTES);
        Ok(Box::new(Exchange { private, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = peer.try_into().map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
        let secret = x25519(self.private, peer);
        // A point of low order, which would make the secret known to all (RFC 8446, 7.4.2).
        match secret.iter().all(|byte| *byte == 0) {
            true => Err(PeerMisbehaved::InvalidKeyShare.into()),
            false => Ok(secret.as_slice().into()),
        }
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// A listener's RSA key. The library's own would be found only together with Ed25519's.
struct Rsa(Arc<rsa::KeyPair>);

/// What it signs with, the best first.
const RSA: &[(SignatureScheme, &dyn signature::RsaEncoding)] = &[
    (SignatureScheme::RSA_PSS_SHA512, &signature::RSA_PSS_SHA512),
    (SignatureScheme::RSA_PSS_SHA384, &signature::RSA_PSS_SHA384),
    (SignatureScheme::RSA_PSS_SHA256, &signature::RSA_PSS_SHA256),
    #[cfg(feature = "tls12")]
    (SignatureScheme::RSA_PKCS1_SHA512, &signature::RSA_PKCS1_SHA512),
    #[cfg(feature = "tls12")]
    (SignatureScheme::RSA_PKCS1_SHA384, &signature::RSA_PKCS1_SHA384),
    #[cfg(feature = "tls12")]
    (SignatureScheme::RSA_PKCS1_SHA256, &signature::RSA_PKCS1_SHA256),
];

impl SigningKey for Rsa {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let (scheme, encoding) = RSA.iter().find(|(scheme, _)| offered.contains(scheme))?;
        Some(Box::new(RsaSigner { key: Arc::clone(&self.0), scheme: *scheme, encoding: *encoding }))
    }

    fn public_key(&self) -> Option<rustls::pki_types::SubjectPublicKeyInfoDer<'_>> {
        let algorithm = &rustls::pki_types::alg_id::RSA_ENCRYPTION;
        Some(rustls::sign::public_key_to_spki(algorithm, self.0.public()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl fmt::Debug for Rsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rsa")
    }
}

struct RsaSigner {
    key: Arc<rsa::KeyPair>,
    scheme: SignatureScheme,
    encoding: &'static dyn signature::RsaEncoding,
}

impl Signer for RsaSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signed = vec![0; self.key.public().modulus_len()];
        match self.key.sign(self.encoding, &SystemRandom::new(), message, &mut signed) {
            Ok(()) => Ok(signed),
            Err(_) => Err(GetRandomFailed.into()),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl fmt::Debug for RsaSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaSigner")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sides_agree_on_a_key() {
        let (a, b) = (X25519.start().unwrap(), kx_group::X25519.start().unwrap());
        let (public_a, public_b) = (a.pub_key().to_vec(), b.pub_key().to_vec());
        let a = a.complete(&public_b).unwrap();
        assert_eq!(a.secret_bytes(), b.complete(&public_a).unwrap().secret_bytes());
    }

    #[test]
    fn points_that_give_the_key_away_are_refused() {
        for peer in [&[0; 32][..], &[0; 31], &[0; 33], &[]] {
            let refused = X25519.start().unwrap().complete(peer).err();
            assert_eq!(refused, Some(PeerMisbehaved::InvalidKeyShare.into()), "{}", peer.len());
        }
    }
}
