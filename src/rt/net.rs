//! Sockets: what [`Async`] adds to those of `std::net` and `std::os::unix::net`.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::Async;

/// Connections that wait for `accept`: the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

impl Async<TcpListener> {
    /// Listens at `addr`, with `SO_REUSEADDR`; on IPv6 not for mapped IPv4 addresses, so that
    /// both families can be bound side by side.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` (a port below 1024), and the like.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let fd = bound(addr, SocketType::STREAM)?;
        rustix::net::listen(&fd, BACKLOG)?;
        Self::from_nonblocking(fd.into())
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// Those of `accept(2)`: `ECONNABORTED` and its like are about one connection, `EMFILE` and
    /// `ENFILE` last until descriptors are closed.
    pub async fn accept(&self) -> io::Result<(Async<TcpStream>, SocketAddr)> {
        let (fd, addr) = self
            .read_with(|listener| Ok(rustix::net::acceptfrom_with(listener, nonblocking())?))
            .await?;
        let addr =
            addr.and_then(|addr| SocketAddr::try_from(addr).ok()).ok_or(Errno::AFNOSUPPORT)?;
        Ok((Async::from_nonblocking(fd.into())?, addr))
    }
}

impl Async<TcpStream> {
    /// Connects to `addr`.
    ///
    /// # Errors
    ///
    /// Those of `connect(2)`. The kernel's own time limit is minutes: use [`crate::timeout`].
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let fd = socket(family(addr), SocketType::STREAM)?;
        let started = rustix::net::connect(&fd, &addr);
        connected(fd.into(), started).await
    }
}

impl Async<UdpSocket> {
    /// A datagram socket at `addr`; on IPv6 not for mapped IPv4 addresses.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        Self::from_nonblocking(bound(addr, SocketType::DGRAM)?.into())
    }

    /// The next datagram: its length, cut at that of `buf`, and its sender.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.read_with(|socket| socket.recv_from(buf)).await
    }

    /// Sends a datagram.
    pub async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.write_with(|socket| socket.send_to(datagram, to)).await
    }
}

impl Async<UnixListener> {
    /// Listens at `path`, which must not exist.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let fd = socket(AddressFamily::UNIX, SocketType::STREAM)?;
        rustix::net::bind(&fd, &SocketAddrUnix::new(path)?)?;
        rustix::net::listen(&fd, BACKLOG)?;
        Self::from_nonblocking(fd.into())
    }

    /// The next connection. Errors as for TCP.
    pub async fn accept(&self) -> io::Result<Async<UnixStream>> {
        let fd = self
            .read_with(|listener| Ok(rustix::net::accept_with(listener, nonblocking())?))
            .await?;
        Async::from_nonblocking(fd.into())
    }
}

impl Async<UnixStream> {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    ///
    /// `NotFound`: there is none; `ConnectionRefused`: nobody listens.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        let fd = socket(AddressFamily::UNIX, SocketType::STREAM)?;
        let started = rustix::net::connect(&fd, &SocketAddrUnix::new(path)?);
        connected(fd.into(), started).await
    }
}

async fn connected<T: AsFd>(io: T, started: rustix::io::Result<()>) -> io::Result<Async<T>> {
    match started {
        Ok(()) => Async::from_nonblocking(io),
        Err(Errno::INPROGRESS) => {
            let stream = Async::register(io, false)?;
            stream.writable().await;
            sockopt::socket_error(&stream)??;
            Ok(stream)
        }
        Err(error) => Err(error.into()),
    }
}

fn bound(addr: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let fd = socket(family(addr), kind)?;
    if kind == SocketType::STREAM {
        sockopt::set_socket_reuseaddr(&fd, true)?;
    }
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    rustix::net::bind(&fd, &addr)?;
    Ok(fd)
}

fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(family, kind, nonblocking(), None)?)
}

fn family(addr: SocketAddr) -> AddressFamily {
    if addr.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET }
}

fn nonblocking() -> SocketFlags {
    SocketFlags::CLOEXEC | SocketFlags::NONBLOCK
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use futures_lite::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{block_on, sleep, spawn, timeout};

    async fn pair() -> (Async<TcpStream>, TcpStream) {
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.get_ref().local_addr().unwrap();
        let peer = TcpStream::connect(addr).unwrap();
        let (stream, from) = listener.accept().await.unwrap();
        assert_eq!(from, peer.local_addr().unwrap());
        (stream, peer)
    }

    #[test]
    fn echo() {
        block_on(async {
            let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0).into()).unwrap();
            let addr = listener.get_ref().local_addr().unwrap();
            let server = spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = Vec::new();
                let mut buf = [0; 1000];
                loop {
                    let n = stream.read(&mut buf).await.unwrap();
                    if n == 0 {
                        break;
                    }
                    bytes.extend_from_slice(&buf[..n]);
                }
                stream.write_all(&bytes).await.unwrap();
                stream.close().await.unwrap();
            });
            let mut client = Async::<TcpStream>::connect(addr).await.unwrap();
            let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
            client.write_all(&sent).await.unwrap();
            client.close().await.unwrap();
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            assert!(got == sent);
            server.await;
        });
    }

    #[test]
    fn the_end_is_seen_after_a_short_read() {
        block_on(async {
            // Data and end arrive as one event: the short read must not hide the end.
            let (mut stream, mut peer) = pair().await;
            peer.write_all(b"abc").unwrap();
            drop(peer);
            sleep(Duration::from_millis(20)).await;
            let mut buf = [0; 100];
            let read = async |stream: &mut Async<TcpStream>, buf: &mut [u8]| {
                timeout(Duration::from_secs(5), stream.read(buf))
                    .await
                    .expect("no wake-up")
                    .unwrap()
            };
            assert_eq!(read(&mut stream, &mut buf).await, 3);
            assert_eq!(read(&mut stream, &mut buf).await, 0);
            // And in two events, with the wait between them.
            let (mut stream, mut peer) = pair().await;
            peer.write_all(b"abc").unwrap();
            assert_eq!(read(&mut stream, &mut buf).await, 3);
            let end = spawn(async move { read(&mut stream, &mut [0; 10]).await });
            sleep(Duration::from_millis(10)).await;
            drop(peer);
            assert_eq!(end.await, 0);
        });
    }

    #[test]
    fn a_full_socket_waits_and_goes_on() {
        block_on(async {
            let (mut stream, mut peer) = pair().await;
            let writer = spawn(async move { stream.write_all(&vec![7; 20_000_000]).await });
            sleep(Duration::from_millis(20)).await;
            assert!(!writer.is_finished());
            let reader = crate::unblock(move || {
                let mut got = Vec::new();
                peer.read_to_end(&mut got).map(|_| got.len())
            });
            assert_eq!(reader.await.unwrap(), 20_000_000);
            writer.await.unwrap();
        });
    }

    #[test]
    fn a_flood_leaves_turns_to_others() {
        block_on(async {
            let (mut stream, mut peer) = pair().await;
            let flood = std::thread::spawn(move || while peer.write_all(&[0; 65_536]).is_ok() {});
            let reader = spawn(async move {
                let mut buf = [0; 16];
                while stream.read(&mut buf).await.unwrap() > 0 {}
            });
            // Each needs a turn of the loop, while reads of 16 bytes always succeed.
            for _ in 0..10 {
                timeout(Duration::from_secs(5), sleep(Duration::from_millis(1))).await.unwrap();
            }
            reader.cancel().await;
            flood.join().unwrap();
        });
    }

    #[test]
    fn two_tasks_on_one_socket() {
        block_on(async {
            let (stream, mut peer) = pair().await;
            let stream = std::rc::Rc::new(stream);
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let stream = stream.clone();
                    spawn(async move { (&*stream).read(&mut [0; 1]).await.unwrap() })
                })
                .collect();
            sleep(Duration::from_millis(5)).await;
            peer.write_all(b"ab").unwrap();
            for reader in readers {
                assert_eq!(timeout(Duration::from_secs(5), reader).await, Some(1));
            }
        });
    }

    #[test]
    fn nobody_listens() {
        block_on(async {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let error = Async::<TcpStream>::connect(free).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        });
    }

    #[test]
    fn a_port_in_use() {
        block_on(async {
            let first = Async::<TcpListener>::bind(([127, 0, 0, 1], 0).into()).unwrap();
            let addr = first.get_ref().local_addr().unwrap();
            let error = Async::<TcpListener>::bind(addr).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        });
    }

    #[test]
    fn datagrams() {
        block_on(async {
            let local = SocketAddr::from(([127, 0, 0, 1], 0));
            let (a, b) = (
                Async::<UdpSocket>::bind(local).unwrap(),
                Async::<UdpSocket>::bind(local).unwrap(),
            );
            let to = b.get_ref().local_addr().unwrap();
            for length in [0, 5, 1200] {
                assert_eq!(a.send_to(&vec![1; length], to).await.unwrap(), length);
            }
            let mut buf = [0; 2048];
            for length in [0, 5, 1200] {
                let got = timeout(Duration::from_secs(5), b.recv_from(&mut buf)).await.unwrap();
                assert_eq!(got.unwrap(), (length, a.get_ref().local_addr().unwrap()));
            }
        });
    }

    #[test]
    fn unix_sockets() {
        let path = std::env::temp_dir().join(format!("gramscale-rt-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        block_on(async {
            let listener = Async::<UnixListener>::bind(&path).unwrap();
            assert!(Async::<UnixListener>::bind(&path).is_err());
            let mut client = Async::<UnixStream>::connect(&path).await.unwrap();
            let mut server = listener.accept().await.unwrap();
            client.write_all(b"hi").await.unwrap();
            let mut buf = [0; 2];
            server.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"hi");
            drop(listener);
            let error = Async::<UnixStream>::connect(&path).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        });
        std::fs::remove_file(&path).unwrap();
    }
}
