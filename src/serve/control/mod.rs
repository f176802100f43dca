//! The control protocol: what clients speak with the server about.
//!
//! `POST /ts2021` becomes a Noise session with HTTP/2 inside (`control/controlhttp`,
//! `control/controlbase` of the client). A connection is one task that writes what there is, and
//! then waits for the socket, for answers that other tasks prepare, and for news of its map
//! streams; it has buffers only while it does something.

mod desk;
mod map;
mod register;
mod rpc;
mod session;
mod ssh;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_lite::AsyncWriteExt as _;
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::key::{Hex, MachineKey, PrivateKey};
use gramscale_proto::wire::noise::{self, INITIATION_LEN, Responder};
use gramscale_proto::wire::tailcfg::OLDEST_VERSION;
use gramscale_rt::random;

use super::state::State;
use crate::net::http::{Reply, Response};
use crate::net::websocket;
use session::{KEEP_ALIVE, KEEP_ALIVE_JITTER_MS, Session};

/// The value of `Upgrade` (`controlhttpcommon.UpgradeHeaderValue`).
const UPGRADE: &str = "tailscale-control-protocol";
/// The header, or query parameter of a WebSocket, with the first Noise message.
const HANDSHAKE: &str = "X-Tailscale-Handshake";
/// From this version `/key` answers with JSON.
const VERSION_JSON_KEY: u16 = 39;

/// The control protocol's end of the server.
pub struct Control {
    counters: Counters,
    state: Rc<State>,
    responder: Responder,
    server_url: String,
    /// For what must only differ, and needs no system call.
    dice: Cell<u32>,
    scratch: Cell<Vec<u8>>,
}

impl Control {
    /// Speaks with the clients of `state`'s tailnet; `server_url` has no slash at its end.
    pub fn new(state: Rc<State>, key: PrivateKey, server_url: String) -> Rc<Self> {
        Rc::new(Self {
            counters: Counters::default(),
            state,
            responder: Responder::new(key),
            server_url,
            dice: Cell::new(1),
            scratch: Cell::default(),
        })
    }

    /// When a map stream that was just written to is to say that it is alive.
    fn next_keep_alive(&self) -> Instant {
        self.dice.set(self.dice.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let jitter = (self.dice.get() >> 16) * KEEP_ALIVE_JITTER_MS / 65_536;
        Instant::now() + KEEP_ALIVE - Duration::from_millis(jitter.into())
    }

    /// Lends the buffer, empty, that all connections share for what they need no longer than the
    /// call: it grows to the most that one of them writes at once.
    fn scratch<T>(&self, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut buffer = self.scratch.take();
        let value = f(&mut buffer);
        buffer.clear();
        self.scratch.set(buffer);
        value
    }

    /// What has been seen since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The key by which clients know this server.
    pub fn public_key(&self) -> MachineKey {
        self.responder.public()
    }

    /// `GET /key?v=N`.
    pub fn key(&self, head: &Head) -> Response {
        let Some(version) = head.param("v") else {
            return Response::text(400, "capability version must be set");
        };
        match version.parse::<u16>() {
            Err(_) => Response::text(400, "invalid capability version"),
            Ok(..VERSION_JSON_KEY) => Response::empty(200),
            // The older key is not used, but while it is zero clients ask again at each login.
            Ok(_) => {
                let key = self.public_key();
                let keys = format!("{{\"legacyPublicKey\":\"{key}\",\"publicKey\":\"{key}\"}}");
                // A client in a browser runs in the page of another site.
                Response::json(200, keys).with("Access-Control-Allow-Origin", "*")
            }
        }
    }

    /// `POST /ts2021`: the answer to the first Noise message, and what follows it.
    pub fn upgrade(self: &Rc<Self>, head: &Head) -> Reply {
        if head.has_word("upgrade", "websocket") {
            return self.upgrade_websocket(head);
        }
        if !head.has_word("upgrade", UPGRADE) {
            return Response::text(400, "this is for Tailscale clients: missing upgrade").into();
        }
        let Some(initiation) = head.header(HANDSHAKE).and_then(initiation) else {
            return Response::text(400, "missing or malformed handshake header").into();
        };
        let mut out = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: {UPGRADE}\r\nConnection: upgrade\r\n\r\n"
        )
        .into_bytes();
        let session = self.answer(&initiation, true, &mut out);
        let then = session.map(|session| self.clone().session(session));
        Reply::Upgrade {
            head: out,
            then: Box::new(move |connection| {
                Box::pin(async move {
                    if let Some(session) = then {
                        session.serve(connection).await;
                    }
                })
            }),
        }
    }

    /// `GET /ts2021` of a client in a browser (`controlhttp` `client_js.go`): the same in binary
    /// messages, and without the early payload.
    fn upgrade_websocket(self: &Rc<Self>, head: &Head) -> Reply {
        let Some(initiation) = head.param(HANDSHAKE).as_deref().and_then(initiation) else {
            return Response::text(400, "missing or malformed handshake parameter").into();
        };
        let switching = match websocket::accept(head, UPGRADE) {
            Ok(switching) => switching,
            Err(refusal) => return refusal.into(),
        };
        let mut out = Vec::new();
        let session = self.answer(&initiation, false, &mut out);
        let then = session.map(|session| self.clone().session(session));
        Reply::Upgrade {
            head: switching,
            then: Box::new(move |mut connection| {
                Box::pin(async move {
                    connection.stream = websocket::unwrap(connection.stream);
                    let told = connection.stream.write_all(&out).await;
                    let told = told.and(connection.stream.flush().await);
                    if let (Some(session), Ok(())) = (then, told) {
                        session.serve(connection).await;
                    }
                })
            }),
        }
    }

    /// Answers the first Noise message. All that can be sent at once goes into `out`: the
    /// response, the early payload, and the settings of HTTP/2.
    pub fn answer(
        &self,
        initiation: &[u8],
        early: bool,
        out: &mut Vec<u8>,
    ) -> Option<(noise::Session, gramscale_proto::wire::h2::Connection)> {
        let mut ephemeral = [0; 32];
        random(&mut ephemeral);
        let version = initiation.first_chunk().map(|v| u16::from_be_bytes(*v)).unwrap_or(0);
        if version < OLDEST_VERSION {
            self.counters.handshakes_refused.one();
            log::info!("refused a client of capability version {version}: too old");
            noise::refuse(&too_old(version), out);
            return None;
        }
        match self.responder.accept(ephemeral, initiation) {
            Ok((response, mut session)) => {
                self.counters.sessions.one();
                out.extend_from_slice(&response);
                let mut plain = Vec::new();
                if early {
                    early_payload(&mut plain);
                }
                let mut h2 = gramscale_proto::wire::h2::Connection::new(rpc::BODY_LIMIT);
                h2.take_output(&mut plain, usize::MAX);
                session.seal.seal(&plain, out).ok()?;
                Some((session, h2))
            }
            Err(error) => {
                self.counters.handshakes_refused.one();
                log::debug!("handshake: {error}");
                noise::refuse("the handshake failed: the server's key may have changed", out);
                None
            }
        }
    }

    fn session(
        self: Rc<Self>,
        (noise, h2): (noise::Session, gramscale_proto::wire::h2::Connection),
    ) -> Session {
        Session::new(self, noise, h2)
    }
}

/// What has been seen since the start.
#[derive(Debug, Default)]
pub struct Counters {
    handshakes_refused: Count,
    map_messages: Count,
    registrations_refused: Count,
    requests: Count,
    sessions: Count,
    sessions_broken: Count,
}

impl Counters {
    /// All of them, as `(name, value)` in Prometheus' form, each a counter.
    pub fn each(&self, emit: &mut dyn FnMut(&str, u64)) {
        for (name, count) in [
            ("gramscale_control_handshakes_refused", &self.handshakes_refused),
            ("gramscale_control_map_messages", &self.map_messages),
            ("gramscale_control_registrations_refused", &self.registrations_refused),
            ("gramscale_control_requests", &self.requests),
            ("gramscale_control_sessions", &self.sessions),
            ("gramscale_control_sessions_broken", &self.sessions_broken),
        ] {
            emit(name, count.get());
        }
    }
}

/// A counter of one thread.
#[derive(Debug, Default)]
struct Count(Cell<u64>);

impl Count {
    fn one(&self) {
        self.0.set(self.0.get().wrapping_add(1));
    }

    fn get(&self) -> u64 {
        self.0.get()
    }
}

/// What a client too old for this server is told.
fn too_old(version: u16) -> String {
    format!(
        "unsupported client version (capability version {version}): this server needs Tailscale \
         1.62 or newer"
    )
}

fn initiation(text: &str) -> Option<Vec<u8>> {
    // 4 digits for each 3 bytes.
    if text.len() > INITIATION_LEN.div_ceil(3) * 4 {
        return None;
    }
    STANDARD.decode(text).ok().filter(|bytes| bytes.len() == INITIATION_LEN)
}

/// What clients look for before HTTP/2 begins (`controlhttp`, `earlyPayloadMagic`; from
/// capability version 49). None uses the challenge, but one without it is an error.
fn early_payload(out: &mut Vec<u8>) {
    let mut challenge = [0; 32];
    random(&mut challenge);
    let json = format!("{{\"nodeKeyChallenge\":\"chalpub:{}\"}}", Hex(&challenge));
    out.extend_from_slice(b"\xff\xff\xffTS");
    out.extend_from_slice(&(json.len() as u32).to_be_bytes());
    out.extend_from_slice(json.as_bytes());
}
