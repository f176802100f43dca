//! Which certificates of other servers are believed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
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
    let failed = |error: &dyn std::fmt::Display| FetchError::Tls(error.to_string());
    let mut roots = RootCertStore::empty();
    // The one or other certificate that cannot be read does not hinder.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&read(bundle)?).flatten());
    if roots.is_empty() {
        return Err(FetchError::Authorities);
    }
    let provider = Arc::new(tls::provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
        .build()
        .map_err(|error| failed(&error))?;
    let builder = ClientConfig::builder_with_details(provider, Arc::new(tls::Clock))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    let builder = match clock {
        true => builder.with_webpki_verifier(verifier),
        false => builder.dangerous().with_custom_certificate_verifier(Arc::new(Ageless(verifier))),
    };
    Ok(Arc::new(builder.with_no_client_auth()))
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

/// Refuses no certificate for its age, and else believes as the verifier inside: while our clock
/// is wrong, "not yet valid" and "expired" tell nothing.
#[derive(Debug)]
struct Ageless(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Ageless {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut now = now;
        for _ in 0..MAX_CHAIN {
            let verified = self.0.verify_server_cert(certificate, chain, name, ocsp, now);
            let within = |secs: u64| UnixTime::since_unix_epoch(Duration::from_secs(secs));
            // A moment at which this certificate is valid; the next may ask for another, which
            // this one is valid at as well if the chain ever was.
            now = match verified {
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) => within(not_before.as_secs().saturating_add(1)),
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                    not_after,
                    ..
                })) => within(not_after.as_secs().saturating_sub(1)),
                other => return other,
            };
        }
        Err(Error::InvalidCertificate(CertificateError::Expired))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
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
        let provider = Arc::new(tls::provider());
        let strict =
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        let verify = |verifier: &dyn ServerCertVerifier, name: &'static str, year: u64| {
            let name = ServerName::try_from(name).unwrap();
            let now = UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952));
            verifier.verify_server_cert(&certificate, &[], &name, &[], now).is_ok()
        };
        let ageless = Ageless(strict.clone());
        for (year, valid) in [(1970, false), (2030, true), (2999, false)] {
            assert_eq!(verify(&*strict, "localhost", year), valid, "{year}");
            assert!(verify(&ageless, "localhost", year), "{year}");
            assert!(!verify(&ageless, "other.example", year), "{year}");
        }
    }
}
