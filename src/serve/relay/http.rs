//! The relay's paths on the HTTP listener, as functions of what is asked (client
//! `derp/derpserver/handler.go`).

use gramscale_proto::wire::derp::VERSION;
use gramscale_proto::wire::derpmap::{DerpMap, Family};
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::json::Json;
use gramscale_proto::wire::key::{Hex, NodeKey};

use super::Arrival;
use crate::net::http::Response;

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

/// What the request tells about the connection.
pub fn arrival(head: &Head, addr: Option<std::net::SocketAddr>, websocket: bool) -> Arrival {
    Arrival { addr, not_ideal: head.header("Ideal-Node").is_some_and(|n| !n.is_empty()), websocket }
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
    use super::*;

    fn head(text: &str) -> Head {
        Head::parse(text.replace('\n', "\r\n").as_bytes()).unwrap().unwrap().0
    }

    fn enter(text: &str) -> Entry {
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
        assert_eq!(enter(go), switched);
        let rust = "POST https://h/derp HTTP/1.1\nHost: h\nupgrade: derp\nconnection: upgrade\n\n";
        assert_eq!(enter(rust), switched);
        let ancient = "GET /derp HTTP/1.1\nHost: h\nUpgrade: WebSocket\n\n";
        assert_eq!(enter(ancient), switched);
        let fast = "GET /derp HTTP/1.1\nHost: h\nUpgrade: DERP\nDerp-Fast-Start: 1\n\n";
        assert_eq!(enter(fast), Entry::Derp { head: Vec::new() });
        let js =
            "GET /derp HTTP/1.1\nHost: h\nUpgrade: websocket\nSec-WebSocket-Protocol: x, derp\n\n";
        assert_eq!(enter(js), Entry::WebSocket);
        for none in
            ["GET /derp HTTP/1.1\nHost: h\n\n", "GET /derp HTTP/1.1\nHost: h\nUpgrade: h2c\n\n"]
        {
            let Entry::Refused(response) = enter(none) else { panic!("{none}") };
            assert_eq!(response.status, 426);
            assert_eq!(response.body, b"DERP requires connection upgrade\n");
        }
        let elsewhere = head("GET /derp HTTP/1.1\nHost: h\nIdeal-Node: 1b\n\n");
        assert!(arrival(&elsewhere, None, false).not_ideal);
        assert!(!arrival(&head(go), None, false).not_ideal);
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
