//! Where this machine stands between its LANs and the Internet, followed as it changes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use gramscale_proto::tailnet::Outside;
use gramscale_proto::wire::prefix::Prefix;
use gramscale_rt::{AddressChanges, sleep};

use super::options::Options;

/// The kernel's table of IPv4 routes (proc(5)).
const ROUTES: &str = "/proc/net/route";

/// A link that comes up brings several changes.
const SETTLE: Duration = Duration::from_secs(1);

/// Addresses on the Internet.
pub(super) type Public = (Option<Ipv4Addr>, Option<Ipv6Addr>);

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// What peers are told of nodes in the LANs.
    pub(super) outside: Outside,
    /// Our addresses on the Internet, where the relay's are to follow them.
    pub(super) public: Public,
}

/// Looks where this machine stands, as far as `options` ask for it.
pub(super) fn look(options: &Options) -> Place {
    let nat = &options.nat;
    let mut place = Place::default();
    if nat.enabled {
        let lans = match &nat.lan[..] {
            [] => lans(&std::fs::read_to_string(ROUTES).unwrap_or_default()),
            given => given.to_vec(),
        };
        place.outside = Outside { lans, wan: nat.wan.or_else(source_v4) };
    }
    if options.relay.as_ref().is_some_and(|relay| relay.follow_wan) {
        place.public = (
            source_v4().filter(|v4| is_public((*v4).into())),
            source_v6().filter(|v6| is_public((*v6).into())),
        );
    }
    place
}

/// Calls `changed` when it may have, for ever.
pub(super) async fn follow(changed: Rc<dyn Fn()>) {
    let changes = match AddressChanges::new() {
        Ok(changes) => changes,
        Err(error) => return log::warn!("changes of addresses are not noticed: {error}"),
    };
    while changes.next().await.is_ok() {
        sleep(SETTLE).await;
        changed();
    }
}

/// The networks at interfaces other than that of the default route, if they are private.
fn lans(table: &str) -> Vec<Prefix> {
    let row = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let [interface, to, gateway, _, _, _, _, mask, ..] = columns[..] else { return None };
        // Written as numbers of this machine, of bytes in the network's order.
        let address = |hex| Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes()));
        Some((interface.to_owned(), address(to)?, address(gateway)?, address(mask)?))
    };
    let rows: Vec<_> = table.lines().filter_map(row).collect();
    let way_out = |interface: &str| {
        rows.iter().any(|(name, to, _, mask)| {
            name == interface && to.is_unspecified() && mask.is_unspecified()
        })
    };
    let mut lans = Vec::new();
    for (interface, to, gateway, mask) in &rows {
        let bits = u8::try_from(mask.to_bits().leading_ones()).unwrap_or(32);
        if gateway.is_unspecified() && to.is_private() && !way_out(interface) {
            lans.extend(Prefix::new((*to).into(), bits));
        }
    }
    lans
}

/// The address from which datagrams to the Internet go out. Nothing is sent: connecting a UDP
/// socket only asks for a route.
fn source(to: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    let addr = socket.local_addr().ok().as_ref().map(SocketAddr::ip)?;
    (!addr.is_loopback() && !addr.is_unspecified()).then_some(addr)
}

/// Any address that is nobody's LAN (RFC 5737) leads to the default route.
pub(super) fn source_v4() -> Option<Ipv4Addr> {
    match source(Ipv4Addr::new(192, 0, 2, 1).into())? {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    }
}

/// A root server: routers refuse what is set apart for documentation in IPv6.
fn source_v6() -> Option<Ipv6Addr> {
    match source(Ipv6Addr::new(0x2001, 0x500, 0x2f, 0, 0, 0, 0, 0xf).into())? {
        IpAddr::V6(v6) => Some(v6),
        IpAddr::V4(_) => None,
    }
}

/// Whether an address is one of this machine's own, other than loopback.
pub fn is_own(addr: IpAddr) -> bool {
    source(addr) == Some(addr)
}

/// Whether an address is one on the Internet, and not of a LAN, link or provider's NAT.
pub fn is_public(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let carrier = a == 100 && b & 0xc0 == 64;
            !(v4.is_private() || v4.is_link_local() || carrier)
        }
        // All that is given out so far (RFC 4291, 2.4).
        IpAddr::V6(v6) => v6.to_bits() >> 125 == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the kernel's table.
    fn route(interface: &str, to: [u8; 4], gateway: [u8; 4], mask: [u8; 4]) -> String {
        let hex = |bytes| format!("{:08X}", u32::from_ne_bytes(bytes));
        format!(
            "{interface}\t{}\t{}\t0003\t0\t0\t0\t{}\t0\t0\t0\n",
            hex(to),
            hex(gateway),
            hex(mask)
        )
    }

    #[test]
    fn lans_are_what_is_behind() {
        let head =
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let table = [
            head,
            &route("wan", [0; 4], [192, 168, 0, 1], [0; 4]),
            &route("wan", [192, 168, 0, 0], [0; 4], [255, 255, 255, 0]),
            &route("br-lan", [192, 168, 1, 0], [0; 4], [255, 255, 255, 0]),
            &route("br-guest", [10, 7, 0, 0], [0; 4], [255, 255, 0, 0]),
            // Behind another router, and not private.
            &route("br-lan", [10, 9, 0, 0], [192, 168, 1, 2], [255, 255, 0, 0]),
            &route("dmz", [198, 51, 100, 0], [0; 4], [255, 255, 255, 0]),
            "broken\n",
        ]
        .concat();
        assert_eq!(
            lans(&table),
            ["192.168.1.0/24".parse().unwrap(), "10.7.0.0/16".parse().unwrap()]
        );
        assert_eq!(lans(""), []);
    }

    #[test]
    fn public_addresses() {
        for (text, expected) in [
            ("203.0.113.1", true),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("10.0.0.1", false),
            ("fd00::1", false),
            ("2001:db8::1", true),
        ] {
            assert_eq!(is_public(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn this_machine() {
        // Whatever its network is, this neither fails nor finds the loopback interface.
        assert!(source_v4().is_none_or(|v4| !v4.is_loopback()));
        assert!(source_v6().is_none_or(|v6| !v6.is_loopback()));
    }
}
