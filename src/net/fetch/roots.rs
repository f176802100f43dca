//! Which certificates of other servers are believed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::FetchError;
use crate::net::tls;

/// Where systems keep the authorities they trust, in one file: OpenWrt, Debian, Alpine, Arch;
/// Fedora; openSUSE; Alpine and OpenWrt again; RHEL.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// Bytes of the largest bundle read; Mozilla's is 220 KiB.
const MAX_BUNDLE: u64 = 4 * 1024 * 1024;

/// Certificates of a chain whose age is forgiven, each: no chain is longer.
const MAX_CHAIN: usize = 8;

/// How to speak to other servers, trusting the authorities in `bundle` or the system's.
pub(super) fn config(bundle: Option<&Path>, clock: bool) -> Result<Arc<ClientConfig>, FetchError> {
    let mut roots = RootCertStore::empty();
    // The one or other certificate that cannot be read does not hinder.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&read(bundle)?).flatten());
    if roots.is_empty() {
        return Err(FetchError::Authorities);
    }
    let provider = Arc::new(tls::provider());
    let verifier = Arc::new(Verifier::new(roots, &provider, clock));
    let config = ClientConfig::builder_with_details(provider, Arc::new(tls::Clock))
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn read(bundle: Option<&Path>) -> Result<Vec<u8>, FetchError> {
    let named =
        bundle.map(Path::to_owned).or_else(|| std::env::var_os("SSL_CERT_FILE").map(PathBuf::from));
    let small = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|file| file.len() <= MAX_BUNDLE);
    let mut candidates = match named {
        Some(path) => vec![path],
        None => BUNDLES.map(PathBuf::from).to_vec(),
    };
    candidates.retain(small);
    candidates.iter().find_map(|path| std::fs::read(path).ok()).ok_or(FetchError::Authorities)
}

/// Believes a server with a certificate for its name that an authority signed. Whether one was
/// revoked is not asked: the library's own verifier brings the reading of such lists along.
#[derive(Debug)]
struct Verifier {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
    /// Whether our clock is right. While it is not, "not yet valid" and "expired" tell nothing, and
    /// no certificate is refused for its age.
    clock: bool,
}

impl Verifier {
    fn new(roots: RootCertStore, provider: &CryptoProvider, clock: bool) -> Self {
        Self { roots, algorithms: provider.signature_verification_algorithms, clock }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(certificate)?;
        let mut now = now;
        let mut left = if self.clock { 0 } else { MAX_CHAIN };
        loop {
            let signed = verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                chain,
                now,
                self.algorithms.all,
            );
            let within = |secs: u64| UnixTime::since_unix_epoch(Duration::from_secs(secs));
            // A moment at which this certificate is valid; the next may ask for another, which
            // this one is valid at as well if the chain ever was.
            now = match signed {
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) if left > 0 => within(not_before.as_secs().saturating_add(1)),
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                    not_after,
                    ..
                })) if left > 0 => within(not_after.as_secs().saturating_sub(1)),
                signed => {
                    signed?;
                    verify_server_name(&certificate, name)?;
                    return Ok(ServerCertVerified::assertion());
                }
            };
            left -= 1;
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_forgiven_and_nothing_else() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/net/testdata/rsa.pem");
        let certificate = CertificateDer::from_pem_file(path).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let verifier = |clock| Verifier::new(roots.clone(), &tls::provider(), clock);
        let (strict, ageless) = (verifier(true), verifier(false));
        let verify = |verifier: &dyn ServerCertVerifier, name: &'static str, year: u64| {
            let name = ServerName::try_from(name).unwrap();
            let now = UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952));
            verifier.verify_server_cert(&certificate, &[], &name, &[], now).is_ok()
        };
        for (year, valid) in [(1970, false), (2030, true), (2999, false)] {
            assert_eq!(verify(&strict, "localhost", year), valid, "{year}");
            assert!(verify(&ageless, "localhost", year), "{year}");
            assert!(!verify(&ageless, "other.example", year), "{year}");
        }
    }
}
