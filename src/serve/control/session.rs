//! One connection of a client, from the handshake to its end.

use std::fmt;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::{AsyncWriteExt as _, FutureExt as _, future};
use gramscale_proto::netmap::Netmap;
use gramscale_proto::wire::h2::{self, Code, Event, Part};
use gramscale_proto::wire::noise::{self, NoiseError};
use gramscale_rt::{Sleep, Task, sleep_until, spawn, timeout};

use super::super::state::MapStream;
use super::desk::{Answer, Body, Client, Desk};
use super::{Control, rpc};
use crate::net::{Connection, Stream};

/// How often a quiet map stream says that it is alive. Clients give up after 120 s
/// (`controlclient` `watchdogTimeout`). With [`USER_TIMEOUT`] and the ten seconds before a node
/// is called offline, a silent peer is found within 90 s.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(42);

/// Up to this much is taken off [`KEEP_ALIVE`], drawn anew each time, so that streams that began
/// together do not stay together.
pub(super) const KEEP_ALIVE_JITTER_MS: u32 = 6000;

/// How long the peer's TCP may leave what we sent without an acknowledgement, or take nothing once
/// its buffer is full. What it misses is kept as marks, so a reader that was stopped for less goes on.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may be open without a map stream or an unanswered request. Clients use
/// one connection for everything, and open a stream at once.
const IDLE: Duration = Duration::from_secs(120);

/// How long the first request may take to come.
const FIRST: Duration = Duration::from_secs(30);

/// How often the budgets against floods are renewed.
const TICK: Duration = Duration::from_secs(10);

/// Bytes read from the socket at once: four full records.
const READ: usize = 16 * 1024;

/// Bytes of HTTP/2 that are sealed and written at once: three full records. A socket that takes only
/// a part of it leaves the rest to us, and of a thousand connections that all get a map many do.
const WRITE: usize = 3 * noise::MAX_PLAIN;

/// How long a piece of output may take to be written; the kernel's buffers are larger than it.
const WRITE_TIME: Duration = Duration::from_secs(60);

/// One connection.
pub(super) struct Session {
    control: Rc<Control>,
    noise: noise::Session,
    h2: h2::Connection,
    desk: Rc<Desk>,
    maps: Vec<OpenMap>,
    /// Requests that are being answered.
    tasks: Vec<(u32, Task<()>)>,
    /// When it was last of use.
    used: Instant,
    ticked: Instant,
    /// Rings at [`Self::deadline`] or before: each message moves that a little further, and moving
    /// this along every time costs more than one ring in vain.
    alarm: Sleep,
}

/// A map stream that is open here.
struct OpenMap {
    stream: u32,
    map: Rc<MapStream>,
    keep_alive: Instant,
}

/// Why a connection ends.
enum End {
    Http(h2::H2Error),
    Idle,
    Io(io::Error),
    Noise(NoiseError),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(error) => error.fmt(f),
            Self::Idle => f.write_str("it was of no use any more"),
            Self::Io(error) => error.fmt(f),
            Self::Noise(error) => error.fmt(f),
        }
    }
}

impl From<NoiseError> for End {
    fn from(error: NoiseError) -> Self {
        Self::Noise(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Session {
    pub(super) fn new(control: Rc<Control>, noise: noise::Session, h2: h2::Connection) -> Self {
        let now = Instant::now();
        Self {
            control,
            noise,
            h2,
            desk: Rc::default(),
            maps: Vec::new(),
            tasks: Vec::new(),
            used: now - IDLE + FIRST,
            ticked: now,
            alarm: sleep_until(now + FIRST),
        }
    }

    /// Serves it to its end.
    pub(super) async fn serve(mut self, connection: Connection) {
        connection.stream.set_user_timeout(USER_TIMEOUT);
        let end = loop {
            if let Err(end) = self.turn(&connection).await {
                break end;
            }
        };
        log::debug!("control connection of {} ended: {end}", self.noise.peer.short());
        if matches!(end, End::Http(_) | End::Noise(_)) {
            self.control.counters.sessions_broken.one();
        }
        if matches!(end, End::Http(_) | End::Idle) {
            // The last words of HTTP/2, if the socket takes them.
            let _ = timeout(Duration::from_secs(1), self.write(&connection.stream)).await;
        }
        for open in std::mem::take(&mut self.maps) {
            self.control.state.unsubscribe(&open.map);
        }
    }

    /// Writes what there is, then waits for something to do and does it.
    async fn turn(&mut self, connection: &Connection) -> Result<(), End> {
        self.collect_answers(connection);
        self.feed_maps();
        self.write(&connection.stream).await?;
        match self.wait(&connection.stream).await {
            Wake::Desk => {}
            Wake::Read => self.read(&connection.stream).await?,
            Wake::Time => self.on_time()?,
        }
        Ok(())
    }

    async fn wait(&mut self, stream: &Stream) -> Wake {
        let deadline = self.deadline();
        if deadline < self.alarm.deadline() {
            self.alarm.reset(deadline);
        }
        let read = async {
            stream.readable().await;
            Wake::Read
        };
        let desk = async {
            self.desk.wake.notified().await;
            Wake::Desk
        };
        let time = async {
            (&mut self.alarm).await;
            Wake::Time
        };
        pin!(read.or(desk).or(time)).await
    }

    fn is_busy(&self) -> bool {
        !self.maps.is_empty() || !self.tasks.is_empty()
    }

    fn deadline(&self) -> Instant {
        let keep_alive = self.maps.iter().map(|open| open.keep_alive).min();
        match keep_alive {
            Some(at) => at,
            None if self.is_busy() => Instant::now() + KEEP_ALIVE,
            None => self.used + IDLE,
        }
    }

    fn on_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if !self.is_busy() && self.used + IDLE <= now {
            self.h2.go_away();
            return Err(End::Idle);
        }
        for open in &mut self.maps {
            // A message that still waits says as much.
            if open.keep_alive <= now && self.h2.queued(open.stream) == 0 {
                for part in Netmap::keep_alive(open.map.zstd()) {
                    let _ = self.h2.send(open.stream, Part::Shared(part), false);
                }
            }
            if open.keep_alive <= now {
                open.keep_alive = self.control.next_keep_alive();
            }
        }
        self.alarm.reset(self.deadline());
        Ok(())
    }

    async fn read(&mut self, stream: &Stream) -> Result<(), End> {
        let mut buf = Vec::new();
        if stream.read_into(&mut buf, READ).await? == 0 {
            return Err(End::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        if self.ticked.elapsed() >= TICK {
            self.ticked = Instant::now();
            self.h2.tick();
        }
        let mut at = 0;
        while let Some(plain) = self.noise.open.next(&mut buf, &mut at)? {
            if let Err(error) = self.h2.recv(plain) {
                return Err(End::Http(error));
            }
        }
        while let Some(event) = self.h2.next_event() {
            match event {
                Event::Request(request) => self.begin(*request),
                Event::Cancelled { stream } => self.cancel(stream),
                Event::Drained { .. } | Event::Pong => {}
            }
        }
        Ok(())
    }

    /// Starts to answer a request.
    fn begin(&mut self, request: h2::Request) {
        self.used = Instant::now();
        self.control.counters.requests.one();
        let (control, desk) = (self.control.clone(), self.desk.clone());
        let client = Client { machine: self.noise.peer, version: self.noise.version };
        let stream = request.stream;
        let task = spawn(async move {
            let answer = rpc::answer(&control, &desk, client, request).await;
            desk.answer(answer);
        });
        self.tasks.push((stream, task));
    }

    fn cancel(&mut self, stream: u32) {
        self.tasks.retain(|(of, _)| *of != stream);
        let cancelled = |open: &OpenMap| open.stream == stream;
        if let Some(at) = self.maps.iter().position(cancelled) {
            let open = self.maps.swap_remove(at);
            self.control.state.unsubscribe(&open.map);
        }
    }

    fn collect_answers(&mut self, connection: &Connection) {
        let answers = self.desk.take();
        for Answer { stream, status, kind, body } in answers {
            self.tasks.retain(|(of, _)| *of != stream);
            self.used = Instant::now();
            let empty = matches!(&body, Body::Whole(bytes) if bytes.is_empty());
            let headers = [("content-type", kind)];
            let headers = if kind.is_empty() { &headers[..0] } else { &headers[..] };
            let begun = self.h2.respond(stream, status, headers, empty);
            match body {
                Body::Map(map) if begun.is_ok() => {
                    // A known node: it keeps its place when connections are scarce.
                    connection.slot.trust();
                    self.maps.push(OpenMap {
                        stream,
                        map,
                        keep_alive: self.control.next_keep_alive(),
                    });
                }
                Body::Map(map) => self.control.state.unsubscribe(&map),
                Body::Parts(parts) if begun.is_ok() => {
                    for part in parts {
                        let _ = self.h2.send(stream, Part::Shared(part), false);
                    }
                    let _ = self.h2.send(stream, Part::Owned(Vec::new()), true);
                }
                Body::Whole(bytes) if begun.is_ok() && !empty => {
                    // It can be too large only if a megabyte of answers waits already.
                    if self.h2.send(stream, Part::Owned(bytes), true).is_err() {
                        self.h2.reset(stream, Code::Internal);
                    }
                }
                // The client has cancelled the request.
                Body::Parts(_) | Body::Whole(_) => {}
            }
        }
    }

    /// Renders what the map streams have to be told, as far as they can take it.
    fn feed_maps(&mut self) {
        let mut at = 0;
        while let Some(open) = self.maps.get_mut(at) {
            if self.h2.queued(open.stream) > 0 {
                at += 1;
                continue;
            }
            if let Some(message) = self.control.state.render(&open.map) {
                self.control.counters.map_messages.one();
                for part in message {
                    let _ = self.h2.send(open.stream, Part::Shared(part), false);
                }
                open.keep_alive = self.control.next_keep_alive();
            }
            if open.map.is_over() {
                let _ = self.h2.send(open.stream, Part::Owned(Vec::new()), true);
                let open = self.maps.swap_remove(at);
                self.control.state.unsubscribe(&open.map);
            } else {
                at += 1;
            }
        }
    }

    /// Writes all that may be sent. A map stream that thereby runs dry is fed again at once.
    async fn write(&mut self, stream: &Stream) -> Result<(), End> {
        while self.h2.has_output() {
            let whole = async {
                // Not before: until then it stays in parts that others share.
                stream.writable().await;
                let sealed = self.control.scratch(|plain| {
                    self.h2.take_output(plain, WRITE);
                    let mut sealed = Vec::new();
                    self.noise.seal.seal(plain, &mut sealed).map(|()| sealed)
                })?;
                let mut stream = stream;
                stream.write_all(&sealed).await?;
                Ok(stream.flush().await?)
            };
            let written = timeout(WRITE_TIME, whole).await;
            written.unwrap_or_else(|| Err(End::Io(io::ErrorKind::TimedOut.into())))?;
            self.feed_maps();
            if self.h2.has_output() {
                future::yield_now().await;
            }
        }
        Ok(())
    }
}

enum Wake {
    Desk,
    Read,
    Time,
}
