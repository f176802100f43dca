//! One control connection, as the official client makes it: HTTP upgrade, Noise, HTTP/2.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use gramscale_proto::wire::h2::client::{Client, Event, GO_WINDOW};
use gramscale_proto::wire::key::{MachineKey, PrivateKey};
use gramscale_proto::wire::noise::{Initiator, RESPONSE_LEN, Session};
use gramscale_rt::{Async, Notify, Task, random, spawn, timeout};

/// The capability version of the clients: release 1.80.
pub(super) const VERSION: u16 = 113;

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// How long an answer to anything but a map stream may take.
const ANSWER: Duration = Duration::from_secs(120);

/// What takes the bytes of a map stream.
pub(super) type Sink = Rc<dyn Fn(&[u8])>;

/// A connection; dropping it closes it.
pub(super) struct Link {
    shared: Rc<Shared>,
    _task: Task<()>,
}

struct Shared {
    h2: RefCell<Client>,
    answers: RefCell<BTreeMap<u32, Answer>>,
    wake: Notify,
    over: Cell<bool>,
    received: Rc<Cell<u64>>,
}

/// An answer, as far as it has come.
struct Answer {
    status: u16,
    body: Vec<u8>,
    sink: Option<Sink>,
    done: bool,
    told: Rc<Notify>,
}

/// Asks for the server's key, on a connection of its own.
pub(super) async fn server_key(addr: SocketAddr) -> io::Result<MachineKey> {
    let mut io = Async::<TcpStream>::connect(addr).await?;
    let request =
        format!("GET /key?v={VERSION} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let key = answer.rsplit_once("\"publicKey\":\"").and_then(|(_, rest)| rest.split('"').next());
    key.and_then(|key| key.parse().ok()).ok_or_else(|| invalid("no key"))
}

impl Link {
    /// Connects; `received` counts every byte that comes.
    pub(super) async fn open(
        addr: SocketAddr,
        server: MachineKey,
        machine: PrivateKey,
        received: Rc<Cell<u64>>,
    ) -> io::Result<Self> {
        let mut io = Async::<TcpStream>::connect(addr).await?;
        gramscale_rt::sys::set_nodelay(&io)?;
        let mut ephemeral = [0; 32];
        random(&mut ephemeral);
        let (initiator, initiation) =
            Initiator::start(machine, server, ephemeral, VERSION).map_err(io::Error::other)?;
        let request = format!(
            "POST /ts2021 HTTP/1.1\r\nHost: {addr}\r\nUpgrade: tailscale-control-protocol\r\n\
             Connection: upgrade\r\nX-Tailscale-Handshake: {}\r\nContent-Length: 0\r\n\r\n",
            STANDARD.encode(initiation)
        );
        io.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            fill(&mut io, &mut head).await?;
        };
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let line = String::from_utf8_lossy(&head);
            return Err(invalid(line.lines().next().unwrap_or_default()));
        }
        while head.len() < end + RESPONSE_LEN {
            fill(&mut io, &mut head).await?;
        }
        received.set(received.get() + head.len() as u64);
        let rest = head.split_off(end + RESPONSE_LEN);
        let noise = initiator.finish(&head[end..]).map_err(io::Error::other)?;
        let shared = Rc::new(Shared {
            h2: RefCell::new(Client::new(GO_WINDOW)),
            answers: RefCell::default(),
            wake: Notify::new(),
            over: Cell::new(false),
            received,
        });
        let task = spawn({
            let shared = shared.clone();
            async move {
                // The reason shows in what is not answered.
                let _ = shared.pump(io, noise, rest).await;
                shared.over.set(true);
                shared.answers.borrow().values().for_each(|answer| answer.told.notify());
            }
        });
        Ok(Self { shared, _task: task })
    }

    /// Whether the server has closed it.
    pub(super) fn is_over(&self) -> bool {
        self.shared.over.get()
    }

    /// Asks for something that ends.
    pub(super) async fn ask(&self, path: &str, body: Vec<u8>) -> io::Result<Vec<u8>> {
        let (stream, told) = self.shared.begin(path, body, None);
        let done = async {
            while !self.is_over() && !self.shared.answers.borrow()[&stream].done {
                told.notified().await;
            }
        };
        timeout(ANSWER, done).await;
        let answer = self.shared.answers.borrow_mut().remove(&stream);
        match answer {
            Some(Answer { status: 200, done: true, body, .. }) => Ok(body),
            Some(Answer { done: true, status, body, .. }) => {
                Err(invalid(&format!("{path}: {status} {}", String::from_utf8_lossy(&body))))
            }
            _ => Err(invalid(&format!("{path}: no answer"))),
        }
    }

    /// Asks for what goes on until the connection ends.
    pub(super) fn follow(&self, path: &str, body: Vec<u8>, sink: Sink) {
        self.shared.begin(path, body, Some(sink));
    }
}

impl Shared {
    fn begin(&self, path: &str, body: Vec<u8>, sink: Option<Sink>) -> (u32, Rc<Notify>) {
        let headers = [("content-type", "application/json"), ("accept-encoding", "gzip")];
        let stream = self.h2.borrow_mut().request("POST", path, &headers, body);
        let told = Rc::new(Notify::new());
        let answer = Answer { status: 0, body: Vec::new(), sink, done: false, told: told.clone() };
        self.answers.borrow_mut().insert(stream, answer);
        self.wake.notify();
        (stream, told)
    }

    async fn pump(
        &self,
        mut io: Async<TcpStream>,
        mut noise: Session,
        mut input: Vec<u8>,
    ) -> io::Result<()> {
        let mut early = Some(Vec::new());
        loop {
            self.recv(&mut noise, &mut early, &mut input)?;
            let mut plain = Vec::new();
            self.h2.borrow_mut().take_output(&mut plain);
            let mut sealed = Vec::new();
            noise.seal.seal(&plain, &mut sealed).map_err(io::Error::other)?;
            io.write_all(&sealed).await?;
            let read = async {
                io.readable().await;
                true
            };
            let asked = async {
                self.wake.notified().await;
                false
            };
            input.clear();
            if pin!(read.or(asked)).await {
                let len = fill(&mut io, &mut input).await?;
                self.received.set(self.received.get() + len as u64);
            }
        }
    }

    /// Takes what has come. Before HTTP/2 stands what the official client calls early payload.
    fn recv(
        &self,
        noise: &mut Session,
        early: &mut Option<Vec<u8>>,
        input: &mut [u8],
    ) -> io::Result<()> {
        let mut h2 = self.h2.borrow_mut();
        let mut at = 0;
        while let Some(plain) = noise.open.next(input, &mut at).map_err(io::Error::other)? {
            let Some(held) = early else {
                h2.recv(plain).map_err(io::Error::other)?;
                continue;
            };
            held.extend_from_slice(plain);
            let Some(len) = held.get(5..9).and_then(|len| len.try_into().ok()) else { continue };
            let end = 9 + u32::from_be_bytes(len) as usize;
            if let Some(rest) = held.get(end..) {
                h2.recv(rest).map_err(io::Error::other)?;
                *early = None;
            }
        }
        while let Some(event) = h2.next_event() {
            self.event(event)?;
        }
        Ok(())
    }

    fn event(&self, event: Event) -> io::Result<()> {
        let mut answers = self.answers.borrow_mut();
        let mut with = |stream: u32, f: &mut dyn FnMut(&mut Answer)| {
            if let Some(answer) = answers.get_mut(&stream) {
                f(answer);
            }
        };
        match event {
            Event::Answer { stream, status, .. } => with(stream, &mut |a| a.status = status),
            Event::Data { stream, bytes } => with(stream, &mut |answer| match &answer.sink {
                Some(sink) if answer.status == 200 => sink(&bytes),
                _ => answer.body.extend_from_slice(&bytes),
            }),
            Event::End { stream } | Event::Reset { stream, .. } => with(stream, &mut |answer| {
                answer.done = true;
                answer.told.notify();
            }),
            Event::GoAway { .. } => return Err(invalid("the server ends the connection")),
        }
        Ok(())
    }
}

async fn fill(io: &mut Async<TcpStream>, into: &mut Vec<u8>) -> io::Result<usize> {
    let old = into.len();
    into.resize(old + READ, 0);
    let len = io.read(&mut into[old..]).await?;
    into.truncate(old + len);
    if len == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(len) }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
