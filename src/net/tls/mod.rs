//! TLS for the listener: 1.3 (and 1.2 with the feature `tls12`), with a certificate from files or
//! with our own pinned one.

mod identity;
mod provider;
mod stream;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::AsyncWriteExt;
use gramscale_rt::{clock, timeout};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;

pub use identity::{Identity, IdentityError};
use provider::HAS_AES;
pub(super) use provider::provider;
pub(super) use stream::TlsStream;

use super::{Connection, Stream};

/// From the connection to its first byte, and from there to the end of the handshake. Two round
/// trips; the worst links need some seconds.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// What the first read asks for: a client's first flight is shorter.
const FIRST_READ: usize = 2048;

/// The first byte of a TLS connection: a record that carries the handshake (RFC 8446 section
/// 5.1). No HTTP request begins with it.
const HANDSHAKE_RECORD: u8 = 0x16;

/// Bytes of the longest file read: a chain of certificates is some 10 KiB.
const MAX_FILE: u64 = 1024 * 1024;

/// How a listener speaks TLS.
pub struct Tls {
    config: RefCell<Arc<ServerConfig>>,
    /// Whether plain HTTP is refused.
    only: bool,
}

impl Tls {
    /// With a chain and its key from PEM files; plain HTTP is refused.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Rc<Self>, TlsError> {
        let config = RefCell::new(load(chain, key)?);
        Ok(Rc::new(Self { config, only: true }))
    }

    /// With our own certificate, beside plain HTTP on the same port.
    pub fn pinned(identity: &Identity) -> Result<Rc<Self>, TlsError> {
        let chain = vec![CertificateDer::from(identity.certificate.clone())];
        let key = PrivateKeyDer::try_from(identity.key.as_slice()).map_err(|_| TlsError::Key)?;
        let config = RefCell::new(configure(chain, &key)?);
        Ok(Rc::new(Self { config, only: false }))
    }

    /// Reads the files again, for the connections to come. After an error the old certificate
    /// stays in force.
    pub fn reload(&self, chain: &Path, key: &Path) -> Result<(), TlsError> {
        let config = load(chain, key)?;
        self.config.replace(config);
        Ok(())
    }

    /// Uses another certificate of our own for the connections to come.
    pub fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        let other = Self::pinned(identity)?;
        self.config.replace(other.config.borrow().clone());
        Ok(())
    }

    /// Finds out by the first byte whether a connection speaks TLS, and makes the handshake.
    /// `None` when there is nothing to serve.
    pub async fn open(&self, mut connection: Connection) -> Option<Connection> {
        let mut first = Vec::new();
        timeout(HANDSHAKE_TIME, connection.stream.readable()).await?;
        timeout(HANDSHAKE_TIME, connection.stream.read_into(&mut first, FIRST_READ)).await?.ok()?;
        let is_tls = *first.first()? == HANDSHAKE_RECORD;
        connection.stream.unread(&first);
        drop(first);
        if !is_tls && self.only {
            timeout(HANDSHAKE_TIME, refuse_plain(&connection.stream)).await;
            return None;
        }
        if !is_tls {
            return Some(connection);
        }
        let config = self.config.borrow().clone();
        let handshake = TlsStream::accept(connection.stream, config);
        match timeout(HANDSHAKE_TIME, handshake).await? {
            Ok(stream) => {
                connection.stream = stream.into();
                connection.peer.tls = true;
                Some(connection)
            }
            Err(error) => {
                log::debug!("tls: {error}");
                None
            }
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.only { "Tls(only)" } else { "Tls(beside HTTP)" })
    }
}

async fn refuse_plain(mut stream: &Stream) {
    let text = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 28\r\n\r\n\
        This port speaks https only\n";
    let _ = stream.write_all(text).await;
    let _ = stream.close().await;
    let mut rest = Vec::new();
    // Read what is there, or closing would take the answer back.
    let _ = stream.read_into(&mut rest, FIRST_READ).await;
}

fn load(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(&read(chain)?)
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| TlsError::NoCertificate(chain.to_owned()))?;
    let key =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| TlsError::NoKey(key.to_owned()))?;
    configure(certificates, &key)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let fail = |error| TlsError::Read(path.to_owned(), error);
    let size = std::fs::metadata(path).map_err(fail)?.len();
    if size > MAX_FILE {
        return Err(fail(io::Error::new(io::ErrorKind::InvalidData, "far too large")));
    }
    std::fs::read(path).map_err(fail)
}

fn configure(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'_>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(provider());
    let key = provider.key_provider.load_private_key(key.clone_key()).map_err(|_| TlsError::Key)?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(TlsError::Mismatch)?;
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(Clock))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Mismatch)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    // The clients make each connection afresh: tickets would only cost bytes and memory.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ignore_client_order = !HAS_AES;
    Ok(Arc::new(config))
}

/// The time of day for TLS; that of `std` panics on 32-bit machines from 2038 on.
#[derive(Debug)]
pub(super) struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let nanos = u64::try_from(clock::unix_nanos()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_nanos(nanos)))
    }
}

/// Why there is no TLS.
#[derive(Debug)]
pub enum TlsError {
    /// The key is of a kind that cannot be used.
    Key,
    /// The certificate and the key do not go together, or the former is broken.
    Mismatch(rustls::Error),
    /// The file has no certificate in it.
    NoCertificate(PathBuf),
    /// The file has no key in it.
    NoKey(PathBuf),
    /// The file cannot be read.
    Read(PathBuf, io::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("the TLS key cannot be used; an RSA or ECDSA key is expected"),
            Self::Mismatch(error) => {
                write!(f, "the TLS certificate and key do not go together: {error}")
            }
            Self::NoCertificate(path) => {
                write!(f, "{} has no certificate in PEM form in it", path.display())
            }
            Self::NoKey(path) => {
                write!(f, "{} has no unencrypted key in PEM form in it", path.display())
            }
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for TlsError {}

#[cfg(test)]
mod tests;
