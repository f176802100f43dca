//! The relay with several clients over pipes in memory.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use gramscale_proto::wire::derp::Reader;
use gramscale_proto::wire::derp::login::{ClientLogin, ServerInfo};
use gramscale_rt::{Task, block_on, sleep, spawn, timeout};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// One direction of a pipe.
#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    capacity: usize,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One end of a pipe in memory that holds `capacity` bytes each way.
struct Pipe {
    from: Rc<RefCell<Way>>,
    to: Rc<RefCell<Way>>,
}

fn pipe(capacity: usize) -> (Pipe, Pipe) {
    let way = || Rc::new(RefCell::new(Way { capacity, ..Way::default() }));
    let (a, b) = (way(), way());
    (Pipe { from: a.clone(), to: b.clone() }, Pipe { from: b, to: a })
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut way = self.from.borrow_mut();
        if way.bytes.is_empty() && !way.closed {
            way.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let front = way.bytes.as_slices().0;
        let n = front.len().min(buf.len());
        buf[..n].copy_from_slice(&front[..n]);
        way.bytes.drain(..n);
        way.writer.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut way = self.to.borrow_mut();
        if way.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = (way.capacity - way.bytes.len()).min(buf.len());
        if n == 0 {
            way.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        way.bytes.extend(&buf[..n]);
        way.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl std::ops::Drop for Pipe {
    fn drop(&mut self) {
        for way in [&self.from, &self.to] {
            let mut way = way.borrow_mut();
            way.closed = true;
            way.reader.take().into_iter().for_each(Waker::wake);
            way.writer.take().into_iter().for_each(Waker::wake);
        }
    }
}

pub(in crate::serve) fn relay(options: Options) -> Rc<Relay> {
    Relay::new(PrivateKey::from_random([7; 32]), options, Rc::new(|_| true))
}

fn private(n: u8) -> PrivateKey {
    PrivateKey::from_random([n; 32])
}

fn key(n: u8) -> NodeKey {
    NodeKey(private(n).public())
}

/// A client that is logged in, and the task that serves it.
pub(in crate::serve) struct Peer {
    io: Pipe,
    reader: Reader,
    read: Vec<u8>,
    pub(in crate::serve) key: NodeKey,
    info: ServerInfo,
    served: Task<End>,
}

impl Peer {
    pub(in crate::serve) async fn login(relay: &Rc<Relay>, n: u8) -> Self {
        Self::arrive(relay, n, 1 << 20, Arrival::default()).await
    }

    async fn arrive(relay: &Rc<Relay>, n: u8, capacity: usize, arrival: Arrival) -> Self {
        let (io, theirs) = pipe(capacity);
        let served = spawn(relay.clone().serve(Box::new(theirs), arrival, Slot::uncounted()));
        let mut peer = Self {
            io,
            reader: Reader::default(),
            read: Vec::new(),
            key: key(n),
            info: ServerInfo::default(),
            served,
        };
        assert_eq!(peer.next().await, format!("{:?}", Frame::ServerKey(relay.public_key())));
        let login = ClientLogin::new(&private(n), &relay.public_key());
        let info = login.seal("{\"version\":2,\"CanAckPings\":true}", [n; 24]);
        peer.io.write_all(&info).await.unwrap();
        let welcome = peer.frame(|frame| match frame {
            Frame::ServerInfo { sealed } => sealed.to_vec(),
            frame => panic!("no welcome: {frame:?}"),
        });
        peer.info = login.open(&welcome.await).unwrap();
        peer
    }

    async fn frame<T>(&mut self, see: impl FnOnce(Frame<'_>) -> T) -> T {
        loop {
            let held = std::mem::take(&mut self.read);
            let mut input = &held[..];
            if let Some(frame) = self.reader.next(&mut input).unwrap() {
                let seen = see(frame);
                self.read = input.to_vec();
                return seen;
            }
            let mut buf = [0; 4096];
            let n = self.io.read(&mut buf).await.unwrap();
            assert!(n > 0, "closed by the relay");
            self.read = buf[..n].to_vec();
        }
    }

    /// The next frame as text.
    async fn next(&mut self) -> String {
        self.frame(|frame| format!("{frame:?}")).await
    }

    async fn quiet(&mut self) -> bool {
        timeout(Duration::from_millis(20), self.next()).await.is_none()
    }

    async fn send(&mut self, frame: Frame<'_>) {
        let mut bytes = Vec::new();
        frame.emit(&mut bytes);
        self.io.write_all(&bytes).await.unwrap();
    }

    pub(in crate::serve) async fn packet(&mut self, dst: NodeKey, data: &[u8]) {
        self.send(Frame::SendPacket { dst, data }).await;
    }

    pub(in crate::serve) async fn expect(&mut self, frame: Frame<'_>) {
        let next = timeout(5 * SECOND, self.next()).await.expect("no frame comes");
        let expected = format!("{frame:?}");
        let short = |text: &str| text.chars().take(200).collect::<String>();
        assert!(next == expected, "{} instead of {}", short(&next), short(&expected));
    }

    async fn end(self) -> End {
        timeout(5 * SECOND, self.served).await.expect("still served")
    }
}

fn gone(key: NodeKey, reason: GoneReason) -> Frame<'static> {
    Frame::PeerGone { key, reason }
}

#[test]
fn packets_find_their_way() {
    block_on(async {
        let relay = relay(Options::default());
        let mut a = Peer::login(&relay, 1).await;
        let mut b = Peer::login(&relay, 2).await;
        assert_eq!(a.info, ServerInfo::default());
        a.packet(b.key, b"to b").await;
        b.expect(Frame::RecvPacket { src: a.key, data: b"to b" }).await;
        b.packet(a.key, b"").await;
        a.expect(Frame::RecvPacket { src: b.key, data: b"" }).await;
        a.packet(a.key, b"to oneself").await;
        a.expect(Frame::RecvPacket { src: a.key, data: b"to oneself" }).await;
        a.send(Frame::Ping(*b"12345678")).await;
        a.expect(Frame::Pong(*b"12345678")).await;
        let large = vec![5; 65_536];
        a.packet(b.key, &large).await;
        b.expect(Frame::RecvPacket { src: a.key, data: &large }).await;
        a.io.write_all(&[0x7F, 0, 0, 0, 3, 1, 2, 3]).await.unwrap();
        a.packet(b.key, b"after an unknown frame").await;
        b.expect(Frame::RecvPacket { src: a.key, data: b"after an unknown frame" }).await;
        assert_eq!(relay.counters().packets_sent.get(), 5);
        assert_eq!(relay.counters().unknown_frames.get(), 1);
        assert_eq!(relay.gauges().queued_bytes, 0);
    });
}

#[test]
fn packets_come_with_the_login() {
    block_on(async {
        let relay = relay(Options::default());
        let mut b = Peer::login(&relay, 2).await;
        let (mut io, theirs) = pipe(1 << 20);
        let _served =
            spawn(relay.clone().serve(Box::new(theirs), Arrival::default(), Slot::uncounted()));
        let login = ClientLogin::new(&private(1), &relay.public_key());
        let mut bytes = login.seal("{\"version\":2}", [0; 24]);
        for n in 0..100_u8 {
            Frame::SendPacket { dst: b.key, data: &[n; 50] }.emit(&mut bytes);
        }
        // Does not wait for the server at all, as with fast start; in pieces that fit nothing.
        for piece in bytes.chunks(333) {
            io.write_all(piece).await.unwrap();
            gramscale_rt::yield_now().await;
        }
        for n in 0..100_u8 {
            b.expect(Frame::RecvPacket { src: key(1), data: &[n; 50] }).await;
        }
    });
}

#[test]
fn those_reached_are_told() {
    block_on(async {
        let relay = relay(Options::default());
        let mut a = Peer::login(&relay, 1).await;
        let mut b = Peer::login(&relay, 2).await;
        let mut c = Peer::login(&relay, 3).await;
        a.packet(b.key, b"x").await;
        b.expect(Frame::RecvPacket { src: a.key, data: b"x" }).await;
        let gone_key = a.key;
        drop(a.io);
        assert_eq!(a.served.await, End::Closed);
        b.expect(gone(gone_key, GoneReason::Disconnected)).await;
        assert!(c.quiet().await);
        assert_eq!(relay.counters().peer_gone_disconnected_frames.get(), 1);
        // One that is cancelled is unregistered as well.
        c.packet(b.key, b"y").await;
        b.expect(Frame::RecvPacket { src: c.key, data: b"y" }).await;
        let gone_key = c.key;
        c.served.cancel().await;
        b.expect(gone(gone_key, GoneReason::Disconnected)).await;
        assert_eq!(relay.gauges().connections, 1);
    });
}

#[test]
fn not_here_is_said_seldom_and_only_of_disco() {
    block_on(async {
        let relay = relay(Options::default());
        let mut a = Peer::login(&relay, 1).await;
        let nobody = NodeKey([0xEE; 32]);
        a.packet(nobody, b"an ordinary packet").await;
        assert!(a.quiet().await);
        let disco = [&b"TS\xF0\x9F\x92\xAC"[..], &[0; 56]].concat();
        for _ in 0..10 {
            a.packet(nobody, &disco).await;
        }
        for _ in 0..3 {
            a.expect(gone(nobody, GoneReason::NotHere)).await;
        }
        assert!(a.quiet().await);
        assert_eq!(relay.counters().drops(Loss::Unknown), 11);
    });
}

#[test]
fn duplicates() {
    block_on(async {
        let relay = relay(Options::default());
        let mut a = Peer::login(&relay, 1).await;
        let mut old = Peer::login(&relay, 2).await;
        let mut new = Peer::login(&relay, 2).await;
        let gauges = relay.gauges();
        assert_eq!((gauges.connections, gauges.keys), (3, 2));
        assert_eq!((gauges.dup_keys, gauges.dup_connections), (1, 2));
        let packet = |data| Frame::RecvPacket { src: key(1), data };
        a.packet(key(2), b"to the new").await;
        new.expect(packet(b"to the new")).await;
        old.send(Frame::NotePreferred(true)).await;
        old.send(Frame::Ping([0; 8])).await;
        old.expect(Frame::Pong([0; 8])).await;
        a.packet(key(2), b"to the one heard last").await;
        old.expect(packet(b"to the one heard last")).await;
        assert!(new.quiet().await);
        old.packet(a.key, b"hello").await;
        a.expect(Frame::RecvPacket { src: key(2), data: b"hello" }).await;
        drop(old.io);
        assert_eq!(old.served.await, End::Closed);
        assert!(a.quiet().await, "the key is still here");
        a.packet(key(2), b"to what remains").await;
        new.expect(packet(b"to what remains")).await;
        drop(new.io);
        new.served.await;
        a.expect(gone(key(2), GoneReason::Disconnected)).await;
        assert_eq!(relay.counters().total_dup_client_conns.get(), 1);
        let mut many = Vec::new();
        for _ in 0..=registry::MAX_PER_KEY {
            many.push(Peer::login(&relay, 3).await);
        }
        assert_eq!(many.remove(0).end().await, End::Superseded);
    });
}

#[test]
fn homes_are_counted() {
    block_on(async {
        let relay = relay(Options::default());
        let arrival = Arrival { not_ideal: true, ..Arrival::default() };
        let mut a = Peer::arrive(&relay, 1, 1 << 20, arrival).await;
        for home in [true, true, false, true] {
            a.send(Frame::NotePreferred(home)).await;
        }
        a.send(Frame::Ping([0; 8])).await;
        a.expect(Frame::Pong([0; 8])).await;
        assert_eq!((relay.gauges().home, relay.gauges().not_ideal), (1, 1));
        assert_eq!(relay.counters().home_moves_in.get(), 2);
        drop(a.io);
        a.served.await;
        assert_eq!(relay.gauges(), Gauges::default());
    });
}

#[test]
fn garbage_ends_only_its_own_connection() {
    block_on(async {
        let relay = relay(Options::default());
        let mut well = Peer::login(&relay, 9).await;
        let too_long = FrameError::TooLong { kind: 4, len: 65_569 };
        let mesh = |frame: Frame<'_>| {
            let mut bytes = Vec::new();
            frame.emit(&mut bytes);
            bytes
        };
        for (bytes, expected) in [
            (vec![4, 0, 1, 0, 0x21], End::Frame(too_long)),
            (vec![4, 0, 0, 0, 1, 1], End::Frame(FrameError::Malformed { kind: 4 })),
            (vec![0x12, 0, 0, 0, 1, 1], End::Frame(FrameError::Malformed { kind: 0x12 })),
            (vec![0xFF; 5], End::Frame(FrameError::TooLong { kind: 255, len: u32::MAX })),
            (mesh(Frame::WatchConns), End::Mesh),
            (mesh(Frame::ClosePeer(well.key)), End::Mesh),
            (mesh(Frame::ForwardPacket { src: key(1), dst: well.key, data: b"x" }), End::Mesh),
        ] {
            let mut a = Peer::login(&relay, 1).await;
            a.io.write_all(&bytes).await.unwrap();
            assert_eq!(a.end().await, expected, "{bytes:?}");
        }
        well.send(Frame::Ping([0; 8])).await;
        well.expect(Frame::Pong([0; 8])).await;
    });
}

/// What becomes of somebody who sends `bytes` instead of a login.
async fn failed_login(relay: &Rc<Relay>, bytes: &[u8]) -> End {
    let (mut io, theirs) = pipe(1 << 20);
    let served =
        spawn(relay.clone().serve(Box::new(theirs), Arrival::default(), Slot::uncounted()));
    io.write_all(bytes).await.unwrap();
    let end = timeout(5 * SECOND, served).await.expect("still served");
    let mut seen = Vec::new();
    let _ = timeout(SECOND, io.read_to_end(&mut seen)).await.expect("still open");
    assert_eq!(seen.len(), 45, "more than the server's key was sent");
    assert_eq!(relay.gauges(), Gauges::default());
    end
}

#[test]
fn bad_logins() {
    block_on(async {
        let only_two: Rc<dyn Fn(&NodeKey) -> bool> = Rc::new(|candidate| *candidate == key(2));
        let options = Options { login: Duration::from_millis(50), ..Options::default() };
        let relay = Relay::new(private(7), options, only_two);
        let seal = |n: u8, server: &NodeKey, info: &str| {
            ClientLogin::new(&private(n), server).seal(info, [0; 24])
        };
        let here = relay.public_key();
        let good = seal(2, &here, "{}");
        for (bytes, expected) in [
            (seal(1, &here, "{}"), End::Refused),
            (seal(2, &key(3), "{}"), End::Login(LoginError::Forged)),
            (seal(2, &here, "hello"), End::Login(LoginError::Json)),
            (vec![2, 0, 0, 0, 33, 0], End::LoginTimeout),
            (vec![2, 0, 0, 16, 1], End::Frame(FrameError::TooLong { kind: 2, len: 4097 })),
            (vec![6, 0, 0, 0, 0], End::NoLogin),
            (good[..good.len() - 1].to_vec(), End::LoginTimeout),
            (Vec::new(), End::LoginTimeout),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), {
                End::Frame(FrameError::TooLong { kind: b'G', len: 0x4554_202F })
            }),
        ] {
            assert_eq!(failed_login(&relay, &bytes).await, expected);
        }
        assert_eq!(relay.counters().logins_failed.get(), 9);
        // A slow one has no more time for being slow.
        let (mut io, theirs) = pipe(1 << 20);
        let served =
            spawn(relay.clone().serve(Box::new(theirs), Arrival::default(), Slot::uncounted()));
        let drip = spawn(async move {
            for byte in good {
                if io.write_all(&[byte]).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert_eq!(timeout(SECOND, served).await, Some(End::LoginTimeout));
        drip.cancel().await;
    });
}

#[test]
fn kicks_and_rechecks() {
    block_on(async {
        let open = Rc::new(Cell::new(true));
        let admit = {
            let open = open.clone();
            Rc::new(move |candidate: &NodeKey| open.get() || *candidate == key(2))
        };
        let relay = Relay::new(private(7), Options::default(), admit);
        let a = Peer::login(&relay, 1).await;
        let mut b = Peer::login(&relay, 2).await;
        let c = Peer::login(&relay, 3).await;
        relay.kick(&key(1));
        relay.kick(&key(99));
        assert_eq!(a.end().await, End::Kicked);
        open.set(false);
        relay.recheck();
        assert_eq!(c.end().await, End::Kicked);
        relay.restart(SECOND, 2 * SECOND);
        b.expect(Frame::Restarting { reconnect_in: SECOND, try_for: 2 * SECOND }).await;
        assert_eq!(b.end().await, End::Restart);
    });
}

#[test]
fn full() {
    block_on(async {
        let relay = relay(Options { max_connections: 1, ..Options::default() });
        let _a = Peer::login(&relay, 1).await;
        let (mut io, theirs) = pipe(1 << 20);
        let served =
            spawn(relay.clone().serve(Box::new(theirs), Arrival::default(), Slot::uncounted()));
        let login = ClientLogin::new(&private(2), &relay.public_key());
        io.write_all(&login.seal("{}", [0; 24])).await.unwrap();
        assert_eq!(timeout(SECOND, served).await, Some(End::Full));
    });
}

#[test]
fn keep_alives() {
    block_on(async {
        let keep_alive = Duration::from_millis(30);
        let relay = relay(Options { keep_alive, ..Options::default() });
        let start = Instant::now();
        let mut a = Peer::login(&relay, 1).await;
        for _ in 0..3 {
            a.expect(Frame::KeepAlive).await;
        }
        assert!(start.elapsed() >= 3 * keep_alive);
    });
}

#[test]
fn a_slow_reader_loses_the_oldest_and_nothing_grows() {
    block_on(async {
        let relay = relay(Options::default());
        let mut a = Peer::login(&relay, 1).await;
        let mut slow = Peer::arrive(&relay, 2, 4096, Arrival::default()).await;
        let mut fast = Peer::login(&relay, 3).await;
        let disco = [&b"TS\xF0\x9F\x92\xAC"[..], &[0; 56]].concat();
        for n in 0..1000_u32 {
            let data = [&n.to_be_bytes()[..], &[0; 1000]].concat();
            a.packet(slow.key, &data).await;
            a.packet(fast.key, &n.to_be_bytes()).await;
            fast.expect(Frame::RecvPacket { src: a.key, data: &n.to_be_bytes() }).await;
            let queued = relay.gauges().queued_bytes;
            assert!(queued <= queue::BULK_BYTES, "{queued} bytes wait");
        }
        // Now it reads: path discovery first, then the newest packets, whole and in order.
        a.packet(slow.key, &disco).await;
        fast.send(Frame::Ping([0; 8])).await;
        fast.expect(Frame::Pong([0; 8])).await;
        let mut seen = Vec::new();
        loop {
            let n = slow.frame(|frame| match frame {
                Frame::RecvPacket { data, .. } if data == disco => None,
                Frame::RecvPacket { data, .. } => {
                    Some(u32::from_be_bytes(data[..4].try_into().unwrap()))
                }
                other => panic!("{other:?}"),
            });
            match n.await {
                Some(999) => break,
                n => seen.push(n),
            }
        }
        let jump = seen.iter().position(|n| n.is_none()).expect("no path discovery");
        assert!(jump < 6, "{seen:?}");
        let packets: Vec<u32> = seen.into_iter().flatten().collect();
        assert!(packets.is_sorted(), "{packets:?}");
        assert_eq!(packets.last(), Some(&998));
        assert!((60..75).contains(&packets.len()), "{}", packets.len());
        let drops = relay.counters().drops(Loss::Head);
        assert_eq!(drops as usize + packets.len() + 1, 1000);
    });
}

#[test]
fn one_that_takes_nothing_is_dropped() {
    block_on(async {
        let write = Duration::from_millis(100);
        let relay = relay(Options { write, ..Options::default() });
        let mut a = Peer::login(&relay, 1).await;
        let mut slow = Peer::arrive(&relay, 2, 1000, Arrival::default()).await;
        let dead = Peer::arrive(&relay, 3, 1000, Arrival::default()).await;
        let start = Instant::now();
        for _ in 0..20 {
            a.packet(dead.key, &[0; 900]).await;
            a.packet(slow.key, &[0; 900]).await;
        }
        // The slow one takes a little now and then; that is enough.
        let slow = spawn(async move {
            for _ in 0..20 {
                sleep(Duration::from_millis(20)).await;
                slow.next().await;
            }
            slow
        });
        assert_eq!(dead.end().await, End::WriteTimeout);
        assert!(start.elapsed() >= write);
        let slow = timeout(5 * SECOND, slow).await.unwrap();
        assert!(!slow.served.is_finished());
        assert_eq!(relay.counters().sclient_write_timeouts.get(), 1);
        // The first packet was on its way.
        assert_eq!(relay.counters().drops(Loss::Gone), 19);
        assert_eq!(relay.gauges().queued_bytes, 0);
    });
}

#[test]
fn the_whole_is_bounded() {
    block_on(async {
        let max_queued = 100 << 10;
        let relay = relay(Options { max_queued, ..Options::default() });
        let mut a = Peer::login(&relay, 1).await;
        let mut dead = Vec::new();
        for n in 2..32 {
            dead.push(Peer::arrive(&relay, n, 1000, Arrival::default()).await);
        }
        for _ in 0..20 {
            for peer in &dead {
                a.packet(peer.key, &[0; 1200]).await;
            }
            a.send(Frame::Ping([0; 8])).await;
            while a.next().await != format!("{:?}", Frame::Pong([0; 8])) {}
            assert!(relay.gauges().queued_bytes <= max_queued);
        }
        assert!(relay.counters().drops(Loss::Tail) > 0);
        let lucky = dead.pop().unwrap();
        drop(dead);
        drop(lucky.io);
        lucky.served.await;
        while relay.gauges().connections > 1 {
            gramscale_rt::yield_now().await;
        }
        assert_eq!(relay.gauges().queued_bytes, 0);
    });
}

#[test]
fn rates_are_told_and_kept() {
    block_on(async {
        let rate = Rate { bytes_per_second: 500_000, burst: 1 };
        let relay = relay(Options { rate: Some(rate), ..Options::default() });
        let mut a = Peer::login(&relay, 1).await;
        let mut b = Peer::login(&relay, 2).await;
        let told = Rate { burst: MIN_BURST, ..rate };
        assert_eq!(a.info, ServerInfo { rate: Some(told) });
        let start = Instant::now();
        let sender = spawn(async move {
            for _ in 0..200 {
                a.packet(key(2), &[0; 963]).await;
            }
            a
        });
        // 200 kB, of which the burst comes at once and the rest takes 0.27 s.
        for _ in 0..200 {
            b.expect(Frame::RecvPacket { src: key(1), data: &[0; 963] }).await;
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(200), "{took:?}");
        assert!(relay.counters().rate_limit_waited.get() > 0);
        sender.await;
    });
}

#[test]
fn a_flood_does_not_starve_others() {
    block_on(async {
        let relay = relay(Options::default());
        let mut flood = Peer::login(&relay, 1).await;
        let mut quiet = Peer::login(&relay, 2).await;
        let mut frame = Vec::new();
        Frame::SendPacket { dst: NodeKey([0xEE; 32]), data: &[0; 1200] }.emit(&mut frame);
        let block = frame.repeat(1000);
        let flooding = spawn(async move {
            loop {
                flood.io.write_all(&block).await.unwrap();
            }
        });
        // A task like the others, as `block_on` looks after its own future less often.
        let pinging = spawn({
            let relay = relay.clone();
            async move {
                let mut worst = 0;
                for _ in 0..100 {
                    let before = relay.counters().bytes_received.get();
                    quiet.send(Frame::Ping([0; 8])).await;
                    quiet.expect(Frame::Pong([0; 8])).await;
                    worst = worst.max(relay.counters().bytes_received.get() - before);
                }
                worst
            }
        });
        let worst = pinging.await;
        assert!(relay.counters().bytes_received.get() > 1 << 20, "there was no flood");
        // A ping waits for a few turns of the flood at most.
        assert!(worst <= 8 * (64 << 10), "{worst} bytes were read meanwhile");
        flooding.cancel().await;
    });
}

#[test]
fn idle_connections_hold_no_buffers() {
    block_on(async {
        let relay = relay(Options::default());
        let mut a = Peer::login(&relay, 1).await;
        let mut b = Peer::login(&relay, 2).await;
        for n in 0..50 {
            a.packet(b.key, &[n; 12]).await;
            b.expect(Frame::RecvPacket { src: a.key, data: &[n; 12] }).await;
        }
        for client in relay.registry.borrow().iter() {
            assert_eq!(client.queue.borrow().held(), 0);
        }
        let serving =
            relay.clone().serve(Box::new(pipe(0).0), Arrival::default(), Slot::uncounted());
        let size = size_of_val(&serving) + size_of::<Client>();
        assert!(size < 768, "{size} bytes for a connection");
    });
}
