//! Listeners, and what is accepted from them.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::{BoxedLocal, poll_once};
use gramscale_rt::{Async, sys, timeout, yield_now};

use super::places::{Origin, Places};
use super::{Connection, Peer};

/// How long nothing is accepted when there are no descriptors and nobody could be sent away.
const PAUSE: Duration = Duration::from_millis(200);

/// A silent TCP peer is probed after this time; what we have to say comes more often.
const PROBE_AFTER: Duration = Duration::from_secs(60);

/// Between probes.
const PROBE_EVERY: Duration = Duration::from_secs(10);

/// Unanswered probes before a peer is given up.
const PROBES: u32 = 3;

/// A TCP peer that acknowledges nothing for this long is gone. With the probes, or a keep-alive
/// message each minute, it is found within 90 s.
pub const SILENCE: Duration = Duration::from_secs(30);

/// Listens at `addr`. For the unspecified IPv6 address there is a listener for each family the
/// machine has.
///
/// Connections inherit `TCP_NODELAY`, keep-alive probes and a `TCP_USER_TIMEOUT` of [`SILENCE`],
/// which saves the calls for each.
pub fn tcp(addr: SocketAddr) -> Result<Vec<Async<TcpListener>>, BindError> {
    let fail = |error| BindError::Tcp(addr, error);
    if addr.ip() != IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) {
        return Ok(vec![tcp_one(addr).map_err(fail)?]);
    }
    let v6 = tcp_one(addr);
    let port = v6.as_ref().ok().and_then(|v6| v6.get_ref().local_addr().ok());
    let v4 = tcp_one((Ipv4Addr::UNSPECIFIED, port.unwrap_or(addr).port()).into());
    match (v6, v4) {
        (Ok(v6), Ok(v4)) => Ok(vec![v6, v4]),
        (Err(error), Ok(v4)) if sys::no_such_family(&error) => Ok(vec![v4]),
        (Ok(v6), Err(error)) if sys::no_such_family(&error) => Ok(vec![v6]),
        (Err(error), _) | (_, Err(error)) => Err(fail(error)),
    }
}

fn tcp_one(addr: SocketAddr) -> io::Result<Async<TcpListener>> {
    let listener = Async::<TcpListener>::bind(addr)?;
    sys::set_nodelay(&listener)?;
    sys::set_keepalive(&listener, PROBE_AFTER, PROBE_EVERY, PROBES)?;
    sys::set_user_timeout(&listener, SILENCE)?;
    Ok(listener)
}

/// A listening unix socket; its file goes with it.
#[derive(Debug)]
pub struct LocalSocket {
    listener: Async<UnixListener>,
    path: PathBuf,
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // Gone already, or not ours to remove: nothing to be done about it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Listens at `path` with the permission bits `mode`, removing what a killed process left there
/// and making the folder.
pub fn unix(path: &Path, mode: u32) -> Result<LocalSocket, BindError> {
    let fail = |error| BindError::Unix(path.to_owned(), error);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(BindError::NoSocket(path.to_owned()));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(BindError::Running(path.to_owned()));
        }
        std::fs::remove_file(path).map_err(fail)?;
    }
    let bind = || Async::<UnixListener>::bind(path);
    let listener = sys::with_umask(!mode & 0o777, bind).map_err(fail)?;
    Ok(LocalSocket { listener, path: path.to_owned() })
}

/// Why nothing can be listened on.
#[derive(Debug)]
pub enum BindError {
    /// Another file is where the socket should be.
    NoSocket(PathBuf),
    /// Another process answers on the socket.
    Running(PathBuf),
    /// The kernel refused the address.
    Tcp(SocketAddr, io::Error),
    /// The kernel refused the path.
    Unix(PathBuf, io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSocket(path) => {
                write!(f, "{} is not a socket; move it away or choose another path", path.display())
            }
            Self::Running(path) => {
                write!(f, "another server is running on {}; stop it first", path.display())
            }
            Self::Tcp(addr, error) => match error.kind() {
                io::ErrorKind::AddrInUse => {
                    write!(f, "port {} of {} is in use by another program", addr.port(), addr.ip())
                }
                io::ErrorKind::AddrNotAvailable => {
                    write!(f, "{} is no address of this machine", addr.ip())
                }
                io::ErrorKind::PermissionDenied => write!(
                    f,
                    "no permission to listen on port {}; take one above 1023 or grant CAP_NET_BIND_SERVICE",
                    addr.port()
                ),
                _ => write!(f, "cannot listen on {addr}: {error}"),
            },
            Self::Unix(path, error) => {
                write!(f, "cannot make the socket {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for BindError {}

/// What is done with a connection.
pub type Handler = Rc<dyn Fn(Connection) -> BoxedLocal<()>>;

/// Accepts connections as long as there are places, for ever.
pub async fn accept_tcp(listener: Async<TcpListener>, places: Rc<Places>, handler: Handler) {
    loop {
        let accepted = listener.accept().await.map(|(stream, addr)| (stream.into(), Some(addr)));
        admit(accepted, &places, &handler).await;
    }
}

/// Accepts connections as long as there are places, for ever.
pub async fn accept_unix(socket: LocalSocket, places: Rc<Places>, handler: Handler) {
    loop {
        let accepted = socket.listener.accept().await.map(|stream| (stream.into(), None));
        admit(accepted, &places, &handler).await;
    }
}

async fn admit(
    accepted: io::Result<(super::Stream, Option<SocketAddr>)>,
    places: &Rc<Places>,
    handler: &Handler,
) {
    match accepted {
        Ok((stream, addr)) => {
            let peer = Peer { addr, tls: false };
            places.give(Origin::of(addr), |slot| handler(Connection { stream, peer, slot }));
            yield_now().await;
        }
        Err(error) if sys::out_of_descriptors(&error) => {
            log::debug!("accept: {error}");
            // Not for one that left earlier.
            let _ = poll_once(places.left.notified()).await;
            places.evict();
            // The evicted connection is closed when its task is run.
            timeout(PAUSE, places.left.notified()).await;
        }
        // The connection was gone before we took it.
        Err(error) => log::debug!("accept: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;
    use std::process::{Command, Stdio};

    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use gramscale_rt::{block_on, sleep, spawn, unblock};

    use super::super::places::Counts;
    use super::*;

    fn local() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("gramscale-{name}-{}", std::process::id()))
    }

    /// Trusts a peer that sends `t`, and ends when it sends anything else.
    fn handler() -> Handler {
        Rc::new(|mut connection: Connection| {
            Box::pin(async move {
                let mut byte = [0];
                while connection.stream.read(&mut byte).await.is_ok_and(|n| n == 1) {
                    if byte != *b"t" {
                        return;
                    }
                    connection.slot.trust();
                }
            })
        })
    }

    async fn settle() {
        sleep(Duration::from_millis(20)).await;
    }

    fn is_open(stream: &mut TcpStream) -> bool {
        stream.set_nonblocking(true).unwrap();
        let open = matches!(stream.read(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        stream.set_nonblocking(false).unwrap();
        open
    }

    #[test]
    fn the_oldest_stranger_makes_room() {
        block_on(async {
            let listener = tcp(local()).unwrap().remove(0);
            let addr = listener.get_ref().local_addr().unwrap();
            let places = Places::new(3);
            let _task = spawn(accept_tcp(listener, places.clone(), handler()));
            let mut peers: Vec<_> = (0..3).map(|_| TcpStream::connect(addr).unwrap()).collect();
            settle().await;
            assert_eq!(places.counts(), Counts { open: 3, evicted: 0, refused: 0 });
            peers[0].write_all(b"t").unwrap();
            settle().await;
            peers.push(TcpStream::connect(addr).unwrap());
            settle().await;
            let open: Vec<_> = peers.iter_mut().map(is_open).collect();
            assert_eq!(open, [true, false, true, true]);
            assert_eq!(places.counts(), Counts { open: 3, evicted: 1, refused: 0 });
            // With only trusted ones left, the newcomer is turned away.
            peers[2].write_all(b"t").unwrap();
            peers[3].write_all(b"t").unwrap();
            settle().await;
            let mut late = TcpStream::connect(addr).unwrap();
            settle().await;
            assert!(!is_open(&mut late));
            assert_eq!(places.counts(), Counts { open: 3, evicted: 1, refused: 1 });
            // One leaves.
            peers[2].write_all(b"x").unwrap();
            settle().await;
            assert_eq!(places.counts().open, 2);
            let mut next = TcpStream::connect(addr).unwrap();
            settle().await;
            assert!(is_open(&mut next) && is_open(&mut peers[0]));
        });
    }

    #[test]
    fn who_floods_crowds_out_itself() {
        let places = Places::new(5);
        let gone = Rc::new(RefCell::new(Vec::new()));
        let addr = |text: &str| Some(SocketAddr::new(text.parse().unwrap(), 1));
        block_on(async {
            let join = |name: &'static str, ip: &str| {
                let gone = gone.clone();
                places.give(Origin::of(addr(ip)), |slot| {
                    Box::pin(async move {
                        let _slot = slot;
                        let _told = Told(name, gone);
                        std::future::pending().await
                    })
                });
            };
            join("honest", "10.0.0.1");
            join("flood 1", "fd00::1");
            join("flood 2", "fd00::2");
            join("other", "fd00:0:0:1::1");
            join("flood 3", "fd00::3");
            settle().await;
            join("flood 4", "fd00::4");
            join("mapped", "::ffff:10.0.0.1");
            // Now two of the flood and two of another host: the older pair gives.
            join("late", "10.0.0.9");
            join("last", "10.0.0.10");
            settle().await;
        });
        assert_eq!(*gone.borrow(), ["flood 1", "flood 2", "honest", "flood 3"]);
    }

    #[test]
    fn clients_of_a_proxy_are_hosts_of_their_own() {
        let places = Places::new(3);
        let gone = Rc::new(RefCell::new(Vec::new()));
        let addr = |text: &str| Some(SocketAddr::new(text.parse().unwrap(), 1));
        block_on(async {
            let join = |name: &'static str, client: &str| {
                let (gone, client) = (gone.clone(), addr(client));
                places.give(Origin::of(addr("10.0.0.1")), |slot| {
                    Box::pin(async move {
                        slot.belongs_to(client);
                        let _told = Told(name, gone);
                        std::future::pending().await
                    })
                });
            };
            join("honest", "192.0.2.1");
            join("flood 1", "192.0.2.2");
            join("flood 2", "192.0.2.2");
            settle().await;
            join("late", "192.0.2.3");
            settle().await;
        });
        assert_eq!(gone.borrow().first(), Some(&"flood 1"));
    }

    struct Told(&'static str, Rc<RefCell<Vec<&'static str>>>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
        }
    }

    /// A server in a process with few descriptors, asked from this one.
    #[test]
    #[cfg_attr(target_arch = "mips", ignore = "an emulated program cannot start itself")]
    fn few_descriptors() {
        // With places for what there are descriptors for, and with far too many places.
        for places in ["12", "1000"] {
            let mut server = Command::new("sh")
                .args(["-c", "ulimit -n 32; exec \"$0\" --ignored --exact \"$1\" --nocapture"])
                .arg(std::env::current_exe().unwrap())
                .arg("net::listen::tests::serve_with_few_descriptors")
                .env("GRAMSCALE_TEST_PLACES", places)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
            let port = lines.find_map(|line| line.unwrap().strip_prefix("port ")?.parse().ok());
            let asked = port.map(ask_among_silent_ones);
            server.kill().unwrap();
            server.wait().unwrap();
            assert_eq!(asked, Some(true), "{places}");
        }
    }

    fn ask_among_silent_ones(port: u16) -> bool {
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let silent = || (0..100).map(|_| connect()).collect::<Vec<_>>();
        let _before = silent();
        let mut asking = connect();
        asking.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut ask = || {
            let mut answer = [0];
            asking.write_all(b"t").unwrap();
            asking.read_exact(&mut answer).is_ok_and(|()| answer == *b"y")
        };
        // Trusted from the first answer on, it stays while others come.
        let first = ask();
        let _after = silent();
        first && ask()
    }

    /// The other half of `few_descriptors`, which starts it.
    #[test]
    #[ignore = "not a test of its own"]
    fn serve_with_few_descriptors() {
        let Ok(places) = std::env::var("GRAMSCALE_TEST_PLACES") else { return };
        let handler: Handler = Rc::new(|connection| {
            Box::pin(async move {
                let mut stream = &connection.stream;
                let mut byte = Vec::new();
                while matches!(stream.read_into(&mut byte, 1).await, Ok(1)) {
                    connection.slot.trust();
                    stream.write_all(b"y").await.unwrap();
                }
            })
        });
        let serve = async {
            let listener = tcp(local()).unwrap().remove(0);
            println!("\nport {}", listener.get_ref().local_addr().unwrap().port());
            accept_tcp(listener, Places::new(places.parse().unwrap()), handler).await;
        };
        block_on(timeout(Duration::from_secs(60), serve));
    }

    #[test]
    fn connections_inherit_options() {
        block_on(async {
            let listener = tcp(local()).unwrap().remove(0);
            let addr = listener.get_ref().local_addr().unwrap();
            let _peer = TcpStream::connect(addr).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            assert!(stream.get_ref().nodelay().unwrap());
            assert_eq!(sys::user_timeout(&stream).unwrap(), 30_000);
            assert_eq!(sys::keepalive_idle(&stream).unwrap(), 60);
        });
    }

    #[test]
    fn both_families() {
        block_on(async {
            let listeners = tcp("[::]:0".parse().unwrap()).unwrap();
            let port = listeners[0].get_ref().local_addr().unwrap().port();
            assert!(listeners.iter().all(|l| l.get_ref().local_addr().unwrap().port() == port));
            unblock(move || TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await.unwrap();
            let error = tcp((Ipv4Addr::UNSPECIFIED, port).into()).unwrap_err();
            let text = format!("port {port} of 0.0.0.0 is in use by another program");
            assert_eq!(error.to_string(), text);
        });
    }

    #[test]
    fn unix_socket_files() {
        let path = scratch("listen").join("a.sock");
        block_on(async {
            let socket = unix(&path, 0o660).unwrap();
            let mode = std::fs::metadata(&path).unwrap();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o660);
            assert!(matches!(unix(&path, 0o660), Err(BindError::Running(_))));
            drop(socket);
            assert!(!path.exists());
            // What a killed process leaves.
            drop(UnixListener::bind(&path).unwrap());
            assert!(path.exists());
            drop(unix(&path, 0o600).unwrap());
            std::fs::write(&path, "precious").unwrap();
            assert!(matches!(unix(&path, 0o600), Err(BindError::NoSocket(_))));
        });
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
