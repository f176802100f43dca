//! Whom a proxy speaks for.

use std::net::{IpAddr, SocketAddr};

use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::prefix::Prefix;

/// The header that each proxy on the way adds to.
const CHAIN: &str = "x-forwarded-for";

/// Headers that hold one address.
///
/// They are asked after [`CHAIN`], because a proxy that sets that one hands these on as the client
/// sent them.
const SINGLE: [&str; 2] = ["x-real-ip", "true-client-ip"];

/// The address of the client of a request that came from `peer`: that of the nearest machine which
/// is none of the `proxies`. Their word is believed, nobody else's, and only as far back as it
/// makes sense. A port is not known, so it is zero.
pub(super) fn client(peer: SocketAddr, head: &Head, proxies: &[Prefix]) -> SocketAddr {
    let is_proxy = |addr: IpAddr| proxies.iter().any(|prefix| prefix.contains(addr));
    if !is_proxy(peer.ip().to_canonical()) {
        return peer;
    }
    let chain: Vec<&str> = head.values(CHAIN).flat_map(|line| line.split(',')).collect();
    let found = if chain.is_empty() {
        SINGLE.into_iter().find_map(|name| head.header(name)).and_then(address)
    } else {
        let nearest = chain.into_iter().rev().map(address);
        nearest.take_while(Option::is_some).flatten().find(|addr| !is_proxy(*addr))
    };
    found.map_or(peer, |addr| SocketAddr::new(addr, 0))
}

/// An address as proxies write it: some with a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let addr = bare.parse().or_else(|_| text.parse().map(|addr: SocketAddr| addr.ip())).ok()?;
    (!addr.is_unspecified()).then(|| addr.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(peer: &str, headers: &str) -> String {
        let proxies = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap());
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let (head, _) = Head::parse(head.as_bytes()).unwrap().unwrap();
        client(peer.parse().unwrap(), &head, &proxies).to_string()
    }

    #[test]
    fn only_proxies_are_believed() {
        let told = "X-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.2\r\n";
        assert_eq!(ask("192.0.2.9:5", told), "192.0.2.9:5");
        assert_eq!(ask("10.0.0.1:5", told), "192.0.2.1:0");
        assert_eq!(ask("[::ffff:10.0.0.1]:5", told), "192.0.2.1:0");
        assert_eq!(ask("[fd00::1]:5", told), "192.0.2.1:0");
        assert_eq!(ask("10.0.0.1:5", ""), "10.0.0.1:5");
    }

    #[test]
    fn the_nearest_that_is_no_proxy() {
        for (headers, client) in [
            // What the client itself claims stands on the left.
            ("X-Forwarded-For: 1.1.1.1, 192.0.2.1\r\n", "192.0.2.1:0"),
            ("X-Forwarded-For: 1.1.1.1,192.0.2.1, 10.0.0.2\r\n", "192.0.2.1:0"),
            ("X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 192.0.2.1 , fd00::2\r\n", "192.0.2.1:0"),
            // Behind what makes no sense nothing is believed.
            ("X-Forwarded-For: 192.0.2.1, unknown, 10.0.0.2\r\n", "10.0.0.1:5"),
            ("X-Forwarded-For: 192.0.2.1,\r\n", "10.0.0.1:5"),
            ("X-Forwarded-For: 0.0.0.0\r\nX-Real-IP: 192.0.2.1\r\n", "10.0.0.1:5"),
            ("X-Forwarded-For: 10.0.0.2\r\nX-Real-IP: 192.0.2.1\r\n", "10.0.0.1:5"),
        ] {
            assert_eq!(ask("10.0.0.1:5", headers), client, "{headers}");
        }
    }

    #[test]
    fn forms() {
        for (text, client) in [
            ("192.0.2.1:1234", "192.0.2.1:0"),
            ("[2001:db8::1]:1234", "[2001:db8::1]:0"),
            ("[2001:db8::1]", "[2001:db8::1]:0"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("::ffff:192.0.2.1", "192.0.2.1:0"),
        ] {
            assert_eq!(ask("10.0.0.1:5", &format!("X-Forwarded-For: {text}\r\n")), client);
            assert_eq!(ask("10.0.0.1:5", &format!("X-Real-IP: {text}\r\n")), client);
            assert_eq!(ask("10.0.0.1:5", &format!("True-Client-IP: {text}\r\n")), client);
        }
        let both = "True-Client-IP: 192.0.2.1\r\nX-Real-IP: 192.0.2.2\r\n";
        assert_eq!(ask("10.0.0.1:5", both), "192.0.2.2:0");
    }
}
