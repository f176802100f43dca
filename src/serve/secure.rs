//! The listener's TLS: a certificate from files, or our own that clients of the relay pin.

use std::fmt;
#[cfg(feature = "tls")]
use std::rc::Rc;

use gramscale_proto::tailnet::write::Pinned;

use super::options::Options;
use crate::net::Connection;
#[cfg(feature = "tls")]
use crate::net::tls::{Identity, IdentityError, Tls, TlsError};
use crate::store::{Store, StoreError};

/// How the listener speaks.
#[derive(Clone, Default)]
pub(super) struct Secure {
    #[cfg(feature = "tls")]
    tls: Option<Rc<Tls>>,
    pin: Option<[u8; 32]>,
}

impl Secure {
    /// The SHA-256 by which clients know the relay's certificate, if it is our own.
    pub(super) fn pin(&self) -> Option<[u8; 32]> {
        self.pin
    }
}

#[cfg(feature = "tls")]
impl Secure {
    /// As the options say. Without a certificate of its own, and without a proxy before it that
    /// has one (`https` in the server's URL), the relay has one that clients pin.
    pub(super) async fn new(
        options: &Options,
        store: &Store,
        stored: Option<Pinned>,
    ) -> Result<Self, SecureError> {
        use gramscale_proto::tailnet::write::{Meta, Write};
        use gramscale_proto::wire::key::from_hex;

        if let Some(files) = &options.tls {
            let tls = Tls::from_files(&files.chain, &files.key).map_err(SecureError::Files)?;
            return Ok(Self { tls: Some(tls), pin: None });
        }
        if options.relay.is_none() || options.server_url.tls {
            return Ok(Self::default());
        }
        let host = &options.server_url.host;
        let identity = match stored {
            Some(Pinned { host: of, key, certificate }) if of == *host => {
                Identity { key, certificate }
            }
            stored => {
                let key = stored.as_ref().map(|old| old.key.as_slice());
                let identity = Identity::new(host, key).map_err(SecureError::Pinned)?;
                let Identity { key, certificate } = identity.clone();
                let pinned = Pinned { host: host.clone(), key, certificate };
                let write = Write::PutMeta(Meta::Pinned(pinned));
                store.commit(vec![write]).await.map_err(SecureError::Store)?;
                identity
            }
        };
        let tls = Tls::pinned(&identity).map_err(SecureError::Files)?;
        Ok(Self { tls: Some(tls), pin: from_hex(&identity.pin()) })
    }

    /// Whether a start with these options would find its certificate.
    pub(super) fn look(options: &Options) -> Result<(), SecureError> {
        let Some(files) = &options.tls else { return Ok(()) };
        Tls::from_files(&files.chain, &files.key).map(drop).map_err(SecureError::Files)
    }

    /// Makes the handshake where there is one to make; `None` when there is nothing to serve.
    pub(super) async fn open(&self, connection: Connection) -> Option<Connection> {
        match &self.tls {
            Some(tls) => tls.open(connection).await,
            None => Some(connection),
        }
    }

    /// Reads the files again. After an error the old certificate stays in use.
    pub(super) fn reload(&self, options: &Options) -> Result<(), SecureError> {
        match (&self.tls, &options.tls) {
            (Some(tls), Some(files)) => {
                tls.reload(&files.chain, &files.key).map_err(SecureError::Files)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(not(feature = "tls"))]
impl Secure {
    /// This build serves plain HTTP, behind a proxy that has a certificate.
    pub(super) async fn new(
        options: &Options,
        _store: &Store,
        _stored: Option<Pinned>,
    ) -> Result<Self, SecureError> {
        if options.tls.is_some() { Err(SecureError::NotBuilt) } else { Ok(Self::default()) }
    }

    /// A start says what is wrong.
    pub(super) fn look(_options: &Options) -> Result<(), SecureError> {
        Ok(())
    }

    /// The connection as it is.
    pub(super) async fn open(&self, connection: Connection) -> Option<Connection> {
        Some(connection)
    }

    /// There is nothing to read.
    pub(super) fn reload(&self, _options: &Options) -> Result<(), SecureError> {
        Ok(())
    }
}

/// Why the listener can't speak TLS.
#[derive(Debug)]
pub enum SecureError {
    /// The files of the certificate.
    #[cfg(feature = "tls")]
    Files(TlsError),
    /// A certificate is configured, and TLS is not part of this build.
    #[cfg(not(feature = "tls"))]
    NotBuilt,
    /// Our own certificate can't be made.
    #[cfg(feature = "tls")]
    Pinned(IdentityError),
    /// Our own certificate can't be stored.
    Store(StoreError),
}

impl fmt::Display for SecureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "tls")]
            Self::Files(error) => error.fmt(f),
            #[cfg(not(feature = "tls"))]
            Self::NotBuilt => f.write_str(
                "tls_cert_path is set, but this build has no TLS: leave it out and put a proxy \
                 before the server",
            ),
            #[cfg(feature = "tls")]
            Self::Pinned(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SecureError {}
