use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Mutex;

use futures_lite::future::BoxedLocal;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use gramscale_rt::{Task, block_on, spawn, unblock};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    SignatureScheme, StreamOwned, SupportedProtocolVersion, version,
};
use sha2::{Digest, Sha256};

use super::*;
use crate::net::fetch::{self, FetchError, Limits};
use crate::net::listen::{Handler, accept_tcp, tcp};
use crate::net::places::Places;

/// Checks what a client that pins checks: the hash.
#[derive(Debug)]
struct Pin(String);

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let hash: String = Sha256::digest(certificate).iter().map(|b| format!("{b:02x}")).collect();
        let matches = chain.is_empty() && hash == self.0;
        let error = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        if matches { Ok(ServerCertVerified::assertion()) } else { Err(error) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

const VERSIONS: &[&SupportedProtocolVersion] = &[
    &version::TLS13,
    #[cfg(feature = "tls12")]
    &version::TLS12,
];

type Client = StreamOwned<ClientConnection, TcpStream>;

fn connect(addr: SocketAddr, pin: &str, version: &'static SupportedProtocolVersion) -> Client {
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pin(pin.to_owned())))
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(session, TcpStream::connect(addr).unwrap())
}

/// Sends back what comes, and at its end a word on the kind of connection.
fn echo(tls: Rc<Tls>) -> (SocketAddr, Task<()>) {
    let listener = tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap().remove(0);
    let addr = listener.get_ref().local_addr().unwrap();
    let handler: Handler = Rc::new(move |connection| -> BoxedLocal<()> {
        let tls = tls.clone();
        Box::pin(async move {
            let Some(connection) = tls.open(connection).await else { return };
            let stream = &connection.stream;
            let mut buf = Vec::new();
            while matches!(stream.read_into(&mut buf, 5000).await, Ok(1..)) {
                (&*stream).write_all(&buf).await.unwrap();
                (&*stream).flush().await.unwrap();
                buf.clear();
            }
            let word = if connection.peer.tls { "tls" } else { "plain" };
            let _ = (&*stream).write_all(word.as_bytes()).await;
            let _ = (&*stream).close().await;
        })
    });
    (addr, spawn(accept_tcp(listener, Places::new(100), handler)))
}

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/net/testdata")).join(name)
}

fn files(kind: &str) -> (PathBuf, PathBuf) {
    (testdata(&format!("{kind}.pem")), testdata(&format!("{kind}.key")))
}

fn pin_of(chain: &Path) -> String {
    let certificate = CertificateDer::from_pem_file(chain).unwrap();
    Identity { key: Vec::new(), certificate: certificate.to_vec() }.pin()
}

#[test]
fn a_pinned_certificate_on_a_shared_port() {
    let identity = Identity::new("127.0.0.1", None).unwrap();
    let tls = Tls::pinned(&identity).unwrap();
    block_on(async {
        let (addr, _task) = echo(tls);
        for version in VERSIONS.iter().copied() {
            let pin = identity.pin();
            let client = unblock(move || {
                let mut client = connect(addr, &pin, version);
                client.write_all(b"hello").unwrap();
                client.conn.send_close_notify();
                client.flush().unwrap();
                let mut got = String::new();
                client.read_to_string(&mut got).map(|_| got)
            });
            assert_eq!(client.await.unwrap(), "hellotls");
        }
        let plain = unblock(move || {
            let mut client = TcpStream::connect(addr).unwrap();
            client.write_all(b"hello").unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut got = String::new();
            client.read_to_string(&mut got).map(|_| got)
        });
        assert_eq!(plain.await.unwrap(), "helloplain");
        let refused = unblock(move || {
            let mut client = connect(addr, &"00".repeat(32), &version::TLS13);
            client.write_all(b"hello").unwrap_err()
        });
        assert_eq!(refused.await.kind(), io::ErrorKind::InvalidData);
    });
}

#[test]
fn much_goes_both_ways() {
    let identity = Identity::new("127.0.0.1", None).unwrap();
    let tls = Tls::pinned(&identity).unwrap();
    block_on(async {
        let (addr, _task) = echo(tls);
        for (version, size) in VERSIONS.iter().copied().zip([3_000_000_usize, 100_000]) {
            let pin = identity.pin();
            let client = unblock(move || {
                let mut client = connect(addr, &pin, version);
                let sent: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
                let mut got = vec![0; size];
                // In turns: neither side reads while it writes.
                for (sent, got) in sent.chunks(40_000).zip(got.chunks_mut(40_000)) {
                    client.write_all(sent).unwrap();
                    client.read_exact(got).unwrap();
                }
                got == sent
            });
            assert!(client.await);
        }
    });
}

#[test]
fn garbage_is_answered_with_an_alert() {
    let tls = Tls::pinned(&Identity::new("a", None).unwrap()).unwrap();
    block_on(async {
        let (addr, _task) = echo(tls);
        for (garbage, answer) in [
            // A record of an impossible length; decode_error or record_overflow.
            (&b"\x16\x03\x01\xff\xff\x01"[..], Some(0x15)),
            // A handshake message that is no ClientHello.
            (b"\x16\x03\x01\x00\x04\x0e\x00\x00\x00", Some(0x15)),
            // A handshake message longer than any, of which the record holds the beginning.
            (b"\x16\x03\x01\x00\x08\x01\xff\xff\xff\x03\x03\x00\x00", None),
            // The beginning of a record, and then the end.
            (b"\x16\x03\x01\x00\x40abc", None),
        ] {
            let first = unblock(move || {
                let mut client = TcpStream::connect(addr).unwrap();
                client.write_all(garbage).unwrap();
                client.shutdown(std::net::Shutdown::Write).unwrap();
                let mut got = Vec::new();
                let _ = client.read_to_end(&mut got);
                got.first().copied()
            });
            assert_eq!(first.await, answer, "{garbage:x?}");
        }
    });
}

#[test]
fn files_of_both_kinds_and_reload() {
    let (rsa, rsa_key) = files("rsa");
    let (ec, ec_key) = files("ec");
    let tls = Tls::from_files(&rsa, &rsa_key).unwrap();
    block_on(async {
        let (addr, _task) = echo(tls.clone());
        let works = async |pin: String| {
            unblock(move || {
                let versions = VERSIONS.iter();
                versions.filter(|v| connect(addr, &pin, v).write_all(b"x").is_ok()).count()
            })
            .await
        };
        assert_eq!(works(pin_of(&rsa)).await, VERSIONS.len());
        tls.reload(&ec, &ec_key).unwrap();
        assert_eq!(works(pin_of(&ec)).await, VERSIONS.len());
        assert_eq!(works(pin_of(&rsa)).await, 0);
        // What is broken changes nothing.
        assert!(matches!(tls.reload(&rsa, &ec_key), Err(TlsError::Mismatch(_))));
        assert!(matches!(tls.reload(&ec_key, &ec_key), Err(TlsError::NoCertificate(_))));
        assert!(matches!(tls.reload(&ec, &ec), Err(TlsError::NoKey(_))));
        assert!(matches!(tls.reload(&testdata("none"), &ec_key), Err(TlsError::Read(..))));
        assert_eq!(works(pin_of(&ec)).await, VERSIONS.len());
        let plain = unblock(move || {
            let mut client = TcpStream::connect(addr).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            let mut got = String::new();
            client.read_to_string(&mut got).map(|_| got)
        });
        let got = plain.await.unwrap();
        assert!(got.starts_with("HTTP/1.1 400 ") && got.ends_with("https only\n"), "{got}");
    });
}

/// Answers each request with `body` and closes.
fn web(tls: Rc<Tls>, body: &'static str) -> (SocketAddr, Task<()>) {
    let listener = tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap().remove(0);
    let addr = listener.get_ref().local_addr().unwrap();
    let handler: Handler = Rc::new(move |connection| -> BoxedLocal<()> {
        let tls = tls.clone();
        Box::pin(async move {
            let Some(connection) = tls.open(connection).await else { return };
            let mut stream = connection.stream;
            let mut head = Vec::new();
            stream.read_into(&mut head, 1000).await.unwrap();
            let text = format!("HTTP/1.1 200 OK\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.close().await.unwrap();
            let _ = stream.read(&mut [0; 100]).await;
        })
    });
    (addr, spawn(accept_tcp(listener, Places::new(100), handler)))
}

#[test]
fn https_is_fetched() {
    block_on(async {
        for kind in ["rsa", "ec"] {
            let (chain, key) = files(kind);
            let (addr, _task) = web(Tls::from_files(&chain, &key).unwrap(), "over tls");
            let limits = Limits { authorities: Some(chain), ..Limits::default() };
            let body = fetch::get(&format!("https://{addr}/"), limits.clone()).await;
            assert_eq!(body.unwrap(), b"over tls");
            let by_name = format!("https://localhost:{}/", addr.port());
            assert_eq!(fetch::get(&by_name, limits.clone()).await.unwrap(), b"over tls");
            let unaged = Limits { clock: false, ..limits };
            assert_eq!(fetch::get(&by_name, unaged).await.unwrap(), b"over tls");
        }
        let (chain, key) = files("rsa");
        let (addr, _task) = web(Tls::from_files(&chain, &key).unwrap(), "over tls");
        let other = Limits { authorities: Some(files("ec").0), ..Limits::default() };
        let error = fetch::get(&format!("https://{addr}/"), other).await;
        assert!(matches!(error, Err(FetchError::Tls(_))), "{error:?}");
        let none = Limits { authorities: Some(key), ..Limits::default() };
        let error = fetch::get(&format!("https://{addr}/"), none).await;
        assert!(matches!(error, Err(FetchError::Authorities)));
    });
}

#[test]
fn our_own_certificate_is_valid_for_its_host() {
    static BUNDLES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    block_on(async {
        for (host, url, valid) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("localhost", "localhost", true),
            ("localhost", "127.0.0.1", false),
        ] {
            let identity = Identity::new(host, None).unwrap();
            let name = format!("gramscale-pin-{host}-{valid}-{}", std::process::id());
            let bundle = std::env::temp_dir().join(name);
            std::fs::write(&bundle, pem(&identity.certificate)).unwrap();
            BUNDLES.lock().unwrap().push(bundle.clone());
            let (addr, _task) = web(Tls::pinned(&identity).unwrap(), "pinned");
            let limits = Limits { authorities: Some(bundle), ..Limits::default() };
            let body = fetch::get(&format!("https://{url}:{}/", addr.port()), limits).await;
            assert_eq!(body.is_ok(), valid, "{host} {url}: {body:?}");
        }
    });
    for bundle in BUNDLES.lock().unwrap().drain(..) {
        std::fs::remove_file(bundle).unwrap();
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
