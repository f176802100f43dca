//! A simulated client, and what all of them share.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use gramscale_proto::wire::key::{DiscoKey, MachineKey, NodeKey, PrivateKey};
use gramscale_rt::{Notify, sleep, timeout};
use ruzstd::decoding::FrameDecoder;

use super::link::{Link, VERSION, server_key};
use super::told::Told;

/// How long a client that failed waits before it tries again.
const RETRY: Duration = Duration::from_millis(200);

/// All clients, and what they have counted together.
pub(super) struct World {
    pub(super) addr: SocketAddr,
    auth_key: String,
    /// How many nodes there are to be.
    size: Cell<usize>,
    /// How many nodes see all others online.
    complete: Cell<usize>,
    decoder: RefCell<FrameDecoder>,
    /// The endpoint whose news is awaited, and how many have been told.
    awaited: Cell<(u64, u16)>,
    told: Cell<usize>,
    last_told: Cell<Option<Instant>>,
    changed: Notify,
    /// Bytes of map streams.
    pub(super) map_bytes: Cell<u64>,
    /// Messages of map streams.
    pub(super) messages: Cell<u64>,
    /// Bytes received on control connections, all included.
    pub(super) received: Rc<Cell<u64>>,
    /// Attempts that failed.
    pub(super) failures: Cell<u64>,
    last_failure: RefCell<String>,
}

impl World {
    pub(super) fn new(addr: SocketAddr, auth_key: String) -> Rc<Self> {
        Rc::new(Self {
            addr,
            auth_key,
            size: Cell::new(0),
            complete: Cell::new(0),
            decoder: RefCell::new(FrameDecoder::new()),
            awaited: Cell::default(),
            told: Cell::default(),
            last_told: Cell::default(),
            changed: Notify::new(),
            map_bytes: Cell::default(),
            messages: Cell::default(),
            received: Rc::default(),
            failures: Cell::default(),
            last_failure: RefCell::default(),
        })
    }

    /// From now on the tailnet is complete with so many nodes; `nodes` are there already.
    pub(super) fn expect(&self, nodes: &[Rc<Node>], size: usize) {
        self.size.set(size);
        nodes.iter().for_each(|node| node.look());
    }

    /// How many nodes there are to be.
    pub(super) fn size(&self) -> usize {
        self.size.get()
    }

    /// Waits until each of the nodes sees all others online; how many do in the end.
    pub(super) async fn all_see_all(&self, limit: Duration) -> usize {
        let all = async {
            while self.complete.get() < self.size.get() {
                self.changed.notified().await;
            }
        };
        timeout(limit, all).await;
        self.complete.get()
    }

    /// Waits until all but one have been told of the endpoint `port` of `node`; when the last
    /// was.
    pub(super) async fn all_told(&self, limit: Duration) -> Option<Instant> {
        let all = async {
            while self.told.get() + 1 < self.size.get() {
                self.changed.notified().await;
            }
        };
        timeout(limit, all).await?;
        self.last_told.get()
    }

    /// Why the last attempt failed that did.
    pub(super) fn last_failure(&self) -> String {
        self.last_failure.borrow().clone()
    }

    /// From now on it counts who is told of this endpoint.
    fn await_news(&self, node: u64, port: u16) {
        self.awaited.set((node, port));
        self.told.set(0);
        self.last_told.set(None);
    }
}

/// A simulated client.
pub(super) struct Node {
    world: Rc<World>,
    name: String,
    machine: PrivateKey,
    key: NodeKey,
    disco: DiscoKey,
    /// The port of its endpoints.
    port: Cell<u16>,
    told: RefCell<Told>,
    complete: Cell<bool>,
    first_map: Notify,
    link: RefCell<Option<Rc<Link>>>,
}

/// How long the parts of a join took.
pub(super) struct Joined {
    /// From the request to the answer.
    pub(super) registration: Duration,
    /// From the first connection to the first map.
    pub(super) all: Duration,
}

impl Node {
    /// The client of that number; always the same keys.
    pub(super) fn new(world: &Rc<World>, index: usize) -> Rc<Self> {
        let key = |kind: u8| {
            let mut bytes = [kind; 32];
            bytes[..8]
                .copy_from_slice(&(index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            PrivateKey::from_random(bytes)
        };
        Rc::new(Self {
            world: world.clone(),
            name: format!("laptop-{index:04}"),
            machine: key(1),
            key: NodeKey(key(2).public()),
            disco: DiscoKey(key(3).public()),
            port: Cell::new(41641),
            told: RefCell::default(),
            complete: Cell::new(false),
            first_map: Notify::new(),
            link: RefCell::default(),
        })
    }

    /// Joins, again and again until it has the first map, and says what it knows of itself.
    pub(super) async fn join(self: Rc<Self>) -> Joined {
        loop {
            match self.try_join().await {
                Ok(joined) => return joined,
                Err(error) => self.failed(&error).await,
            }
        }
    }

    async fn try_join(self: &Rc<Self>) -> io::Result<Joined> {
        let begun = Instant::now();
        let server = server_key(self.world.addr).await?;
        let link = self.connect(server).await?;
        let asked = Instant::now();
        let answer = link.ask("/machine/register", self.register_request()).await?;
        let registration = asked.elapsed();
        let answer = String::from_utf8_lossy(&answer);
        if !answer.contains("\"MachineAuthorized\":true") {
            return Err(io::Error::other(answer.into_owned()));
        }
        self.follow(&link);
        self.has_map(&link).await?;
        let all = begun.elapsed();
        // The official client also says it this way, though its stream request said it all.
        self.update_once(&link).await?;
        Ok(Joined { registration, all })
    }

    /// Comes back: connects and opens its stream, until it has a map.
    pub(super) async fn come_back(self: Rc<Self>, server: MachineKey) {
        loop {
            let back = async {
                let link = self.connect(server).await?;
                self.follow(&link);
                self.has_map(&link).await
            };
            match back.await {
                Ok(()) => return,
                Err(error) => self.failed(&error).await,
            }
        }
    }

    async fn has_map(&self, link: &Link) -> io::Result<()> {
        let told = timeout(Duration::from_secs(60), self.first_map.notified()).await;
        if told.is_none() || link.is_over() {
            return Err(io::Error::other("no map"));
        }
        Ok(())
    }

    /// Closes the connection.
    pub(super) fn leave(&self) {
        self.link.borrow_mut().take();
        self.told.borrow_mut().restart();
        self.look();
    }

    async fn failed(&self, error: &io::Error) {
        self.world.failures.set(self.world.failures.get() + 1);
        *self.world.last_failure.borrow_mut() = error.to_string();
        self.leave();
        sleep(RETRY).await;
    }

    async fn connect(&self, server: MachineKey) -> io::Result<Rc<Link>> {
        let machine = self.machine.clone();
        let received = self.world.received.clone();
        let link = Link::open(self.world.addr, server, machine, received).await?;
        let link = Rc::new(link);
        *self.link.borrow_mut() = Some(link.clone());
        Ok(link)
    }

    fn follow(self: &Rc<Self>, link: &Link) {
        self.told.borrow_mut().restart();
        let node: Weak<Self> = Rc::downgrade(self);
        let sink = Rc::new(move |bytes: &[u8]| {
            if let Some(node) = node.upgrade() {
                node.recv(bytes);
            }
        });
        link.follow("/machine/map", self.map_request(true, false), sink);
    }

    fn recv(&self, bytes: &[u8]) {
        let world = &self.world;
        world.map_bytes.set(world.map_bytes.get() + bytes.len() as u64);
        let news = self.told.borrow_mut().recv(bytes, &mut world.decoder.borrow_mut());
        if news.messages == 0 {
            return;
        }
        world.messages.set(world.messages.get() + news.messages);
        self.first_map.notify();
        if news.moved.contains(&world.awaited.get()) {
            world.told.set(world.told.get() + 1);
            world.last_told.set(Some(Instant::now()));
            if world.told.get() + 1 >= world.size.get() {
                world.changed.notify();
            }
        }
        self.look();
    }

    /// Notes whether it sees everybody.
    fn look(&self) {
        let world = &self.world;
        let complete = self.told.borrow().online() + 1 >= world.size.get();
        if self.complete.replace(complete) == complete {
            return;
        }
        let count = if complete { world.complete.get() + 1 } else { world.complete.get() - 1 };
        world.complete.set(count);
        if count >= world.size.get() {
            world.changed.notify();
        }
    }

    /// Says that its endpoints are at another port now; `world.all_told` tells when all know.
    pub(super) async fn move_to(&self, port: u16) -> io::Result<()> {
        self.port.set(port);
        let own = self.told.borrow().own.unwrap_or_default();
        self.world.await_news(own, port);
        self.update().await
    }

    /// Says what it knows of itself.
    pub(super) async fn update(&self) -> io::Result<()> {
        let link = self.link()?;
        self.update_once(&link).await
    }

    async fn update_once(&self, link: &Link) -> io::Result<()> {
        link.ask("/machine/map", self.map_request(false, true)).await.map(|_| ())
    }

    /// Asks for one whole map; its bytes.
    pub(super) async fn full_map(&self) -> io::Result<Vec<u8>> {
        self.link()?.ask("/machine/map", self.map_request(false, false)).await
    }

    fn link(&self) -> io::Result<Rc<Link>> {
        let link = self.link.borrow().clone().filter(|link| !link.is_over());
        link.ok_or_else(|| io::Error::other(format!("{} lost its connection", self.name)))
    }

    /// Whether the server has closed its connection.
    pub(super) fn is_cut(&self) -> bool {
        self.link().is_err()
    }

    fn register_request(&self) -> Vec<u8> {
        format!(
            r#"{{"Version":{VERSION},"NodeKey":"{key}","OldNodeKey":"nodekey:{zero}","NLKey":"nlpub:{zero}","Auth":{{"AuthKey":"{auth}"}},"Expiry":"0001-01-01T00:00:00Z","Followup":"","Hostinfo":{host}}}"#,
            key = self.key,
            zero = "0".repeat(64),
            auth = self.world.auth_key,
            host = self.host(),
        )
        .into_bytes()
    }

    /// A stream, an update (`omit_peers`), or one map.
    fn map_request(&self, stream: bool, omit_peers: bool) -> Vec<u8> {
        let port = self.port.get();
        let last = self.machine.bytes()[7];
        format!(
            r#"{{"Version":{VERSION},"Compress":"zstd","KeepAlive":true,"NodeKey":"{key}","DiscoKey":"{disco}","Stream":{stream},"OmitPeers":{omit_peers},"ReadOnly":{read_only},"Hostinfo":{host},"Endpoints":["203.0.113.{last}:{port}","192.168.1.{last}:{port}","[2001:db8:1::{last:x}]:{port}"],"EndpointTypes":[2,1,1]}}"#,
            key = self.key,
            disco = self.disco,
            read_only = !stream && !omit_peers,
            host = self.host(),
        )
        .into_bytes()
    }

    fn host(&self) -> String {
        format!(
            r#"{{"IPNVersion":"1.80.3-t0123456789-g0123456789","BackendLogID":"{log}","OS":"linux","OSVersion":"6.12.10-amd64","Package":"apt","DeviceModel":"","Hostname":"{name}","GoArch":"amd64","GoArchVar":"v1","GoVersion":"go1.23.6","Services":[{{"Proto":"peerapi4","Port":38211}},{{"Proto":"peerapi6","Port":38211}},{{"Proto":"peerapi-dns-proxy","Port":1}}],"NetInfo":{{"MappingVariesByDestIP":false,"WorkingIPv6":true,"OSHasIPv6":true,"WorkingUDP":true,"UPnP":false,"PMP":false,"PCP":false,"PreferredDERP":999,"DERPLatency":{{"999-v4":0.012}}}},"Userspace":false,"UserspaceRouter":false,"AppConnector":false}}"#,
            log = "0".repeat(64),
            name = self.name,
        )
    }
}
