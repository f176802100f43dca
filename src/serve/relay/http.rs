//! The relay's paths on the HTTP listener, as functions of what is asked (client
//! `derp/derpserver/handler.go`).

use std::rc::Rc;

use gramscale_proto::wire::derp::VERSION;
use gramscale_proto::wire::derpmap::{DerpMap, Family};
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::json::Json;
use gramscale_proto::wire::key::{Hex, NodeKey};

use super::{Arrival, Relay};
use crate::net::Connection;
use crate::net::http::{Reply, Request, Response};
use crate::net::websocket;

/// The WebSocket subprotocol of relay connections.
pub const SUBPROTOCOL: &str = "derp";

/// Characters of a captive portal challenge at most, as in the reference.
const MAX_CHALLENGE: usize = 64;

/// What a request for `/derp` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// DERP frames follow this head, which is empty for a client that knows the server's key.
    Derp {
        /// To be written first.
        head: Vec<u8>,
    },
    /// Nothing that can be served.
    Refused(Response),
    /// DERP frames in binary messages, with [`SUBPROTOCOL`].
    WebSocket,
}

/// Decides about a request for `/derp`, whatever its method: the Go client sends `GET`, the Rust
/// client `POST`.
pub fn entry(head: &Head, key: &NodeKey) -> Entry {
    if head.has_word("Upgrade", "websocket") && head.has_word("Sec-WebSocket-Protocol", SUBPROTOCOL)
    {
        return Entry::WebSocket;
    }
    // The oldest clients call DERP itself a WebSocket.
    if !head.has_word("Upgrade", "derp") && !head.has_word("Upgrade", "websocket") {
        let text = "DERP requires connection upgrade\n";
        return Entry::Refused(Response::text(426, text).with("Upgrade", "DERP"));
    }
    if head.header("Derp-Fast-Start") == Some("1") {
        return Entry::Derp { head: Vec::new() };
    }
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\
         Derp-Version: {VERSION}\r\nDerp-Public-Key: {}\r\n\r\n",
        Hex(&key.0)
    );
    Entry::Derp { head: head.into_bytes() }
}

/// Answers a request for `/derp`: takes the connection over for the relay, or refuses.
pub fn enter(relay: &Rc<Relay>, request: &Request) -> Reply {
    let head = &request.head;
    let (answer, websocket) = match entry(head, &relay.public_key()) {
        Entry::Derp { head } => (head, false),
        Entry::Refused(response) => return response.into(),
        Entry::WebSocket => match websocket::accept(head, SUBPROTOCOL) {
            Ok(answer) => (answer, true),
            Err(response) => return response.into(),
        },
    };
    let not_ideal = head.header("Ideal-Node").is_some_and(|name| !name.is_empty());
    let arrival = Arrival { addr: request.peer.addr, not_ideal, websocket };
    let relay = relay.clone();
    Reply::Upgrade {
        head: answer,
        then: Box::new(move |Connection { stream, slot, .. }| {
            Box::pin(async move {
                let stream = if websocket { websocket::unwrap(stream) } else { stream };
                relay.serve(Box::new(stream), arrival, slot).await;
            })
        }),
    }
}

/// `/derp/probe` and `/derp/latency-check`: nothing, quickly, also for scripts of other sites.
pub fn probe(head: &Head) -> Response {
    match head.method.as_str() {
        "GET" | "HEAD" => Response::empty(200).with("Access-Control-Allow-Origin", "*"),
        _ => Response::text(405, "only GET and HEAD\n").with("Allow", "GET, HEAD"),
    }
}

/// `/generate_204`: lets a client see that nobody stands between; it also wants its challenge back.
pub fn generate_204(head: &Head) -> Response {
    let response = Response::empty(204)
        .with("Cache-Control", "no-cache, no-store, must-revalidate, no-transform, max-age=0");
    let known = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    match head.header("X-Tailscale-Challenge") {
        Some(text) if (1..=MAX_CHALLENGE).contains(&text.len()) && text.chars().all(known) => {
            response.with("X-Tailscale-Response", format!("response {text}"))
        }
        _ => response,
    }
}

/// `/bootstrap-dns`: the addresses of the relays, for clients without DNS. Those that the map gives;
/// no name is looked up for strangers.
pub fn bootstrap_dns(head: &Head, map: &DerpMap) -> Response {
    let wanted = head.param("q").filter(|q| !q.is_empty());
    let mut out = Vec::new();
    let mut json = Json::new(&mut out);
    json.open('{');
    for node in map.regions.values().flat_map(|region| &region.nodes) {
        let named = wanted.as_ref().is_none_or(|q| q.eq_ignore_ascii_case(&node.host_name));
        let literal =
            node.host_name.parse::<std::net::IpAddr>().is_ok() || node.host_name.starts_with('[');
        let addrs = [node.ipv4, node.ipv6];
        if !named || literal || !addrs.iter().any(|family| matches!(family, Family::At(_))) {
            continue;
        }
        json.key(&node.host_name).open('[');
        for family in addrs {
            if let Family::At(addr) = family {
                json.display(&addr);
            }
        }
        json.close(']');
    }
    json.close('}');
    let text = String::from_utf8(out).unwrap_or_default();
    Response::json(200, text).with("Connection", "close")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use futures_lite::future::BoxedLocal;
    use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
    use gramscale_proto::wire::derp::Frame;
    use gramscale_proto::wire::derp::login::ClientLogin;
    use gramscale_proto::wire::key::PrivateKey;
    use gramscale_rt::{Async, block_on, spawn};

    use super::*;
    use crate::net::Peer;
    use crate::net::http::{self, Service};
    use crate::net::places::Slot;
    use crate::serve::relay::Options;

    fn head(text: &str) -> Head {
        Head::parse(text.replace('\n', "\r\n").as_bytes()).unwrap().unwrap().0
    }

    fn decide(text: &str) -> Entry {
        entry(&head(text), &NodeKey([0xAB; 32]))
    }

    #[test]
    fn entries() {
        let ab = "ab".repeat(32);
        let switching = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\
             Derp-Version: 2\r\nDerp-Public-Key: {ab}\r\n\r\n"
        );
        let switched = Entry::Derp { head: switching.into_bytes() };
        let go = "GET /derp HTTP/1.1\nHost: h\nUpgrade: DERP\nConnection: Upgrade\n\n";
        assert_eq!(decide(go), switched);
        let rust = "POST https://h/derp HTTP/1.1\nHost: h\nupgrade: derp\nconnection: upgrade\n\n";
        assert_eq!(decide(rust), switched);
        let ancient = "GET /derp HTTP/1.1\nHost: h\nUpgrade: WebSocket\n\n";
        assert_eq!(decide(ancient), switched);
        let fast = "GET /derp HTTP/1.1\nHost: h\nUpgrade: DERP\nDerp-Fast-Start: 1\n\n";
        assert_eq!(decide(fast), Entry::Derp { head: Vec::new() });
        let js =
            "GET /derp HTTP/1.1\nHost: h\nUpgrade: websocket\nSec-WebSocket-Protocol: x, derp\n\n";
        assert_eq!(decide(js), Entry::WebSocket);
        for none in
            ["GET /derp HTTP/1.1\nHost: h\n\n", "GET /derp HTTP/1.1\nHost: h\nUpgrade: h2c\n\n"]
        {
            let Entry::Refused(response) = decide(none) else { panic!("{none}") };
            assert_eq!(response.status, 426);
            assert_eq!(response.body, b"DERP requires connection upgrade\n");
        }
    }

    /// The paths of the relay on an HTTP server.
    struct Site(Rc<Relay>);

    impl Service for Site {
        fn body_limit(&self, _: &Head) -> usize {
            0
        }

        fn call(self: Rc<Self>, request: Request) -> BoxedLocal<Reply> {
            Box::pin(std::future::ready(enter(&self.0, &request)))
        }
    }

    /// Opens a connection with `opening` and logs in; the client's end, at the first byte that
    /// follows the head of the answer.
    async fn open(relay: &Rc<Relay>, opening: &str) -> Async<UnixStream> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, theirs) = (Async::new(ours).unwrap(), Async::new(theirs).unwrap());
        let peer = Peer { addr: None, tls: false };
        let connection = Connection { stream: theirs.into(), peer, slot: Slot::uncounted() };
        spawn(http::serve(connection, Rc::new(Site(relay.clone())))).detach();
        let request = opening.replace('\n', "\r\n");
        ours.write_all(request.as_bytes()).await.unwrap();
        if !request.contains("Fast-Start") {
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                ours.read_exact(&mut byte).await.unwrap();
                answer.push(byte[0]);
            }
            assert!(answer.starts_with(b"HTTP/1.1 101 "), "{answer:?}");
        }
        ours
    }

    #[test]
    fn opened_over_http() {
        block_on(async {
            let key = PrivateKey::from_random([7; 32]);
            let relay = Relay::new(key, Options::default(), Rc::new(|_| true));
            let client = PrivateKey::from_random([8; 32]);
            let login = ClientLogin::new(&client, &relay.public_key()).seal("{}", [0; 24]);
            let mut server_key = Vec::new();
            Frame::ServerKey(relay.public_key()).emit(&mut server_key);
            let mut seen = [0; 45];
            for more in ["", "Derp-Fast-Start: 1\nIdeal-Node: 1b\n"] {
                let opening = format!("GET /derp HTTP/1.1\nHost: h\nUpgrade: DERP\n{more}\n");
                let mut io = open(&relay, &opening).await;
                io.write_all(&login).await.unwrap();
                io.read_exact(&mut seen).await.unwrap();
                assert_eq!(seen[..], server_key);
                io.read_exact(&mut [0; 5 + 24 + 16 + 13]).await.unwrap();
                assert_eq!(relay.gauges().connections, 1);
                assert_eq!(relay.gauges().not_ideal, usize::from(!more.is_empty()));
                drop(io);
                while relay.gauges().connections > 0 {
                    gramscale_rt::yield_now().await;
                }
            }
            let web = "GET /derp HTTP/1.1\nHost: h\nConnection: Upgrade\nUpgrade: websocket\n\
                Sec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n\
                Sec-WebSocket-Protocol: derp\n\n";
            let mut io = open(&relay, web).await;
            // A masked binary message; the mask is zero.
            io.write_all(&[0x82, 0x80 | 126, 0, login.len() as u8, 0, 0, 0, 0]).await.unwrap();
            io.write_all(&login).await.unwrap();
            let mut header = [0; 2];
            io.read_exact(&mut header).await.unwrap();
            assert_eq!(header, [0x82, 45]);
            io.read_exact(&mut seen).await.unwrap();
            assert_eq!(seen[..], server_key);
            io.read_exact(&mut header).await.unwrap();
            assert_eq!(header, [0x82, 5 + 24 + 16 + 13]);
            assert_eq!(relay.counters().websocket_accepts.get(), 1);
        });
    }

    #[test]
    fn probes() {
        for (method, status) in [("GET", 200), ("HEAD", 200), ("POST", 405), ("OPTIONS", 405)] {
            let response = probe(&head(&format!("{method} /derp/probe HTTP/1.1\nHost: h\n\n")));
            assert_eq!(response.status, status);
            let origin = ("Access-Control-Allow-Origin", "*".to_owned());
            assert_eq!(response.headers.contains(&origin), status == 200);
        }
    }

    #[test]
    fn challenges() {
        let answer = |challenge: &str| {
            let head = head(&format!(
                "GET /generate_204 HTTP/1.1\nHost: h\nX-Tailscale-Challenge: {challenge}\n\n"
            ));
            let response = generate_204(&head);
            assert_eq!((response.status, response.body.len()), (204, 0));
            let name = "X-Tailscale-Response";
            response.headers.into_iter().find(|(n, _)| *n == name).map(|(_, value)| value)
        };
        let good = "ts_derp.example.com:1-2";
        assert_eq!(answer(good), Some(format!("response {good}")));
        let longest = "x".repeat(64);
        assert_eq!(answer(&longest), Some(format!("response {longest}")));
        for bad in ["", "a b", "<script>", &"x".repeat(65)] {
            assert_eq!(answer(bad), None, "{bad}");
        }
        let plain = generate_204(&head("GET /generate_204 HTTP/1.1\nHost: h\n\n"));
        assert_eq!(plain.headers.len(), 1);
    }

    #[test]
    fn addresses_without_dns() {
        let text = br#"{"regions":{"1":{"nodes":[
            {"name":"a","hostname":"a.example","ipv4":"192.0.2.1","ipv6":"2001:db8::1"},
            {"name":"b","hostname":"b.example","ipv4":"none"},
            {"name":"c","hostname":"192.0.2.3","ipv4":"192.0.2.3"},
            {"name":"d","hostname":"d.example","ipv6":"2001:db8::4"}]}}}"#;
        let mut map = DerpMap::default();
        map.merge(&gramscale_proto::wire::derpmap::Document::from_json(text).unwrap());
        let body = |query: &str| {
            let head = head(&format!("GET /bootstrap-dns{query} HTTP/1.1\nHost: h\n\n"));
            String::from_utf8(bootstrap_dns(&head, &map).body).unwrap()
        };
        let all = r#"{"a.example":["192.0.2.1","2001:db8::1"],"d.example":["2001:db8::4"]}"#;
        assert_eq!(body(""), all);
        assert_eq!(body("?q=D.example"), r#"{"d.example":["2001:db8::4"]}"#);
        assert_eq!(body("?q=b.example"), "{}");
    }
}
