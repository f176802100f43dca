//! The address ranges that policies mean without naming them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::prefix::Prefix;

/// What `*` is as a source, as the hosted service writes it: 100.64.0.0/10 without 100.115.92.0/23,
/// which ChromeOS uses inside its machines, and the prefix of Tailscale's IPv6 addresses.
pub(super) const TAILNET: [&str; 3] =
    ["100.64.0.0-100.115.91.255", "100.115.94.0-100.127.255.255", "fd7a:115c:a1e0::/48"];

/// Whether a prefix lies in 100.64.0.0/10, where the IPv4 addresses of nodes are.
pub(super) fn in_cgnat(prefix: &Prefix) -> bool {
    let all = Prefix::new(IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), 10);
    all.is_some_and(|all| all.covers(prefix))
}

/// Whether an address lies in [`TAILNET`].
pub(super) fn in_tailnet(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            let [x, y, z, _] = a.octets();
            x == 100 && y & 0xc0 == 64 && !(y == 115 && z & 0xfe == 92)
        }
        IpAddr::V6(a) => matches!(a.segments(), [0xfd7a, 0x115c, 0xa1e0, ..]),
    }
}

/// What `autogroup:internet` is: IPv4 without [`PRIVATE`], and 2000::/3.
pub(super) const INTERNET: [&str; 7] = [
    "0.0.0.0-9.255.255.255",
    "11.0.0.0-100.63.255.255",
    "100.128.0.0-169.253.255.255",
    "169.255.0.0-172.15.255.255",
    "172.32.0.0-192.167.255.255",
    "192.169.0.0-255.255.255.255",
    "2000::/3",
];

const PRIVATE: [(Ipv4Addr, u8); 5] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// Whether all of a prefix is public.
pub(super) fn in_internet(prefix: &Prefix) -> bool {
    let within = |net: IpAddr, bits| Prefix::new(net, bits).is_some_and(|net| net.covers(prefix));
    let meets = |net: IpAddr, bits| Prefix::new(net, bits).is_some_and(|net| net.overlaps(prefix));
    match prefix.addr() {
        IpAddr::V4(_) => !PRIVATE.iter().any(|(net, bits)| meets(IpAddr::V4(*net), *bits)),
        IpAddr::V6(_) => within(IpAddr::V6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0)), 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tailnet() {
        for (text, inside) in [
            ("100.64.0.0", true),
            ("100.63.255.255", false),
            ("100.115.91.255", true),
            ("100.115.92.0", false),
            ("100.115.93.255", false),
            ("100.115.94.0", true),
            ("100.127.255.255", true),
            ("100.128.0.0", false),
            ("fd7a:115c:a1e0:ffff::1", true),
            ("fd7a:115c:a1e1::1", false),
        ] {
            assert_eq!(in_tailnet(text.parse().unwrap()), inside, "{text}");
        }
    }

    #[test]
    fn internet() {
        for (text, inside) in [
            ("8.8.8.0/24", true),
            ("10.0.0.0/8", false),
            ("0.0.0.0/0", false),
            ("100.64.0.0/16", false),
            ("172.32.0.0/16", true),
            ("192.0.0.0/8", false),
            ("2001:db8::1", true),
            ("fd00::/8", false),
            ("::/0", false),
        ] {
            assert_eq!(in_internet(&text.parse().unwrap()), inside, "{text}");
        }
    }
}
