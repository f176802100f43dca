//! A client; many of them run on one thread.

use std::cell::RefCell;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use gramscale::serve::relay::Io;
use gramscale_proto::wire::derp::login::ClientLogin;
use gramscale_proto::wire::derp::{Frame, Reader};
use gramscale_proto::wire::key::{NodeKey, PrivateKey};
use gramscale_rt::Async;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

/// A connection that is logged in.
pub(super) struct Client {
    io: Box<dyn Io>,
    reader: Reader,
    buf: Vec<u8>,
    from: usize,
    to: usize,
    pub(super) key: NodeKey,
}

/// Opens a connection.
pub(super) async fn dial(addr: SocketAddr, tls: bool) -> io::Result<Box<dyn Io>> {
    let tcp = Async::<TcpStream>::connect(addr).await?;
    gramscale_rt::sys::set_nodelay(&tcp)?;
    if !tls {
        return Ok(Box::new(tcp));
    }
    let name = ServerName::IpAddress(addr.ip().into());
    let session = ClientConnection::new(config(), name).map_err(io::Error::other)?;
    let tls = TlsIo { tcp, session: RefCell::new(session) };
    // The first word is ours; from then on there is something to be read.
    tls.tcp.write_with(|mut tcp| tls.session.borrow_mut().write_tls(&mut tcp)).await?;
    tls.tcp
        .read_with(|mut tcp| {
            let mut session = tls.session.borrow_mut();
            while session.is_handshaking() {
                session.complete_io(&mut tcp)?;
            }
            Ok(())
        })
        .await?;
    Ok(Box::new(tls))
}

impl Client {
    /// Client number `n`.
    pub(super) async fn login(addr: SocketAddr, tls: bool, n: u32) -> io::Result<Self> {
        let mut io = dial(addr, tls).await?;
        let request =
            "GET /derp HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n";
        io.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            io.read_exact(&mut byte).await?;
            answer.push(byte[0]);
        }
        let private = private(n);
        let key = NodeKey(private.public());
        let (reader, buf) = (Reader::default(), Vec::new());
        let mut client = Self { io, reader, buf, from: 0, to: 0, key };
        let server = client.receive(|frame| match frame {
            Frame::ServerKey(key) => Some(key),
            _ => None,
        });
        let server = server.await?;
        let mut nonce = [0; 24];
        gramscale_rt::random(&mut nonce);
        let login = ClientLogin::new(&private, &server);
        let info = login.seal("{\"version\":2,\"CanAckPings\":true}", nonce);
        client.send_bytes(&info).await?;
        client.receive(|frame| matches!(frame, Frame::ServerInfo { .. }).then_some(())).await?;
        // Idle ones hold no buffer: they are many.
        client.buf = Vec::new();
        Ok(client)
    }

    /// Reads until `see` has found what it looks for.
    pub(super) async fn receive<T>(
        &mut self,
        mut see: impl FnMut(Frame<'_>) -> Option<T>,
    ) -> io::Result<T> {
        loop {
            let mut input = self.buf.get(self.from..self.to).unwrap_or_default();
            while let Some(frame) = self.reader.next(&mut input).map_err(io::Error::other)? {
                if let Some(found) = see(frame) {
                    self.from = self.to - input.len();
                    return Ok(found);
                }
            }
            self.buf.resize(64 << 10, 0);
            (self.from, self.to) = (0, self.io.read(&mut self.buf).await?);
            if self.to == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends frames that are bytes already.
    pub(super) async fn send_bytes(&mut self, frames: &[u8]) -> io::Result<()> {
        self.io.write_all(frames).await?;
        self.io.flush().await
    }
}

/// TLS over TCP, as far as a measurement needs it.
struct TlsIo {
    tcp: Async<TcpStream>,
    session: RefCell<ClientConnection>,
}

impl AsyncRead for TlsIo {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.tcp.poll_read_with(context, |mut tcp| {
            rustls::Stream::new(&mut *self.session.borrow_mut(), &mut tcp).read(buf)
        })
    }
}

impl AsyncWrite for TlsIo {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.tcp.poll_write_with(context, |mut tcp| {
            rustls::Stream::new(&mut *self.session.borrow_mut(), &mut tcp).write(buf)
        })
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_write_with(context, |mut tcp| {
            let mut session = self.session.borrow_mut();
            while session.wants_write() {
                session.write_tls(&mut tcp)?;
            }
            Ok(())
        })
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The key of client number `n`.
pub(super) fn private(n: u32) -> PrivateKey {
    let mut bytes = [0x42; 32];
    bytes[8..12].copy_from_slice(&n.to_be_bytes());
    PrivateKey::from_random(bytes)
}

fn config() -> Arc<ClientConfig> {
    static CONFIG: std::sync::OnceLock<Arc<ClientConfig>> = std::sync::OnceLock::new();
    let make = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("TLS 1.2 and 1.3");
        let verifier = Arc::new(Unchecked);
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        Arc::new(builder.with_no_client_auth())
    };
    CONFIG.get_or_init(make).clone()
}

/// Believes every certificate: what is measured is on this machine.
#[derive(Debug)]
struct Unchecked;

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}
