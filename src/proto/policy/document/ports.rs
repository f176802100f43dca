//! Ports and protocols, as rules write them.

use std::net::IpAddr;

/// Ports from first to last; all of them are 0 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// The first port.
    pub first: u16,
    /// The last port, not below the first.
    pub last: u16,
}

impl Ports {
    /// Every port, which is also what a protocol without ports has.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// Whether `port` is among them.
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// TCP, which a question without a protocol is about.
pub(crate) const TCP: u8 = 6;

/// UDP.
pub(super) const UDP: u8 = 17;

/// ICMP and ICMPv6. Clients let them through between any two addresses between which they let
/// anything through (wgengine/filter filter.go, matchIPsOnly).
pub(crate) const PINGS: [u8; 2] = [1, 58];

/// TCP, UDP and SCTP: the protocols that have ports.
pub(super) const WITH_PORTS: [u8; 3] = [6, 17, 132];

/// Protocols by the names that policies use (numbers: IANA, Assigned Internet Protocol Numbers).
const NAMES: [(&str, u8); 15] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipv4", 4),
    ("ip-in-ip", 4),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("sctp", 132),
    ("fc", 133),
    ("icmpv6", 58),
];

/// Splits `alias:ports`; brackets around an IPv6 address are taken off.
pub(super) fn split(text: &str) -> Result<(&str, &str), String> {
    let Some((host, ports)) = text.rsplit_once(':') else {
        return Err(format!("hostport must contain a colon: \"{text}\"; such as \"tag:web:443\""));
    };
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.strip_suffix(']').filter(|a| {
            a.split('/').next().is_some_and(|a| matches!(a.parse(), Ok(IpAddr::V6(_))))
        });
        return match address {
            Some(address) => Ok((address, ports)),
            None => {
                Err(format!("square brackets are only valid around IPv6 addresses: \"{text}\""))
            }
        };
    }
    if host.contains(['[', ']']) {
        return Err(format!("square brackets are only valid around IPv6 addresses: \"{text}\""));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!(
            "\"{text}\" can be an address or an address and a port; write [address]:ports"
        ));
    }
    Ok((host, ports))
}

/// Reads `*` or a list such as `22,80-90`.
pub(crate) fn ports(text: &str) -> Result<Vec<Ports>, String> {
    if text == "*" {
        return Ok(vec![Ports::ALL]);
    }
    text.split(',').map(|part| range(part.trim())).collect()
}

fn range(text: &str) -> Result<Ports, String> {
    let wrong = |what: &str| format!("port range \"{text}\": {what}");
    if text == "*" {
        return Ok(Ports::ALL);
    }
    let number = |part: &str, which: &str| match part.parse::<u32>() {
        Ok(port) if part.starts_with(|c: char| c.is_ascii_digit()) => {
            u16::try_from(port).map_err(|_| wrong("port number out of range (1 to 65535)"))
        }
        _ => Err(wrong(&format!(
            "invalid {which} integer; a port, a range such as 80-90, or '*' is expected"
        ))),
    };
    let (first, last) = match text.split_once('-') {
        None => {
            let port = number(text, "first")?;
            (port, port)
        }
        Some((_, last)) if last.contains('-') => return Err(wrong("invalid port range format")),
        Some((first, last)) => (number(first, "first")?, number(last, "last")?),
    };
    if first == 0 {
        return Err(wrong("first port must be >0, or use '*' for wildcard"));
    }
    if first > last {
        return Err(wrong("first port is greater than last port"));
    }
    Ok(Ports { first, last })
}

/// Reads a protocol's name or number; an empty text is the default: TCP, UDP and ICMP.
pub(crate) fn protocols(text: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if let Some((_, number)) = NAMES.iter().find(|(name, _)| *name == text) {
        return Ok(vec![*number]);
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!(
            "unknown protocol \"{text}\"; a name such as tcp, udp, icmp or a number is expected"
        ));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("leading 0 not permitted in protocol number \"{text}\""));
    }
    match text.parse::<u8>() {
        Ok(number) => Ok(vec![number]),
        Err(_) => Err(format!("protocol number out of range (0-255): {text}")),
    }
}

/// Refuses ports with a protocol that has none.
pub(super) fn fit(protocols: &[u8], ports: &[Ports]) -> Result<(), String> {
    let portless = protocols.iter().find(|p| !WITH_PORTS.contains(p));
    match portless {
        Some(number) if ports.iter().any(|p| *p != Ports::ALL) => {
            Err(format!("protocol {number} does not support specific ports; only '*' is allowed"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        for (text, host, ports) in [
            ("*:*", "*", "*"),
            ("tag:web:80,443", "tag:web", "80,443"),
            ("10.0.0.0/8:1-2", "10.0.0.0/8", "1-2"),
            ("[fd00::1]:22", "fd00::1", "22"),
            ("[fd00::]:*", "fd00::", "*"),
            ("fd00:1::/64:*", "fd00:1::/64", "*"),
            ("fd00::1:*", "fd00::1", "*"),
        ] {
            assert_eq!(split(text), Ok((host, ports)));
        }
        for (bad, why) in [
            ("web", "must contain a colon"),
            ("fd00::1:22", "write [address]:ports"),
            ("[10.0.0.1]:22", "square brackets"),
            ("[fd00::1:22", "square brackets"),
            ("fd00::1]:22", "square brackets"),
        ] {
            assert!(split(bad).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn lists() {
        let p = |first, last| Ports { first, last };
        assert_eq!(ports("*"), Ok(vec![Ports::ALL]));
        assert_eq!(ports("22"), Ok(vec![p(22, 22)]));
        assert_eq!(ports("22, 80-90,*"), Ok(vec![p(22, 22), p(80, 90), Ports::ALL]));
        assert_eq!(ports("1-65535"), Ok(vec![p(1, 65535)]));
        for (bad, why) in [
            ("0", "first port must be >0"),
            ("0-5", "first port must be >0"),
            ("", "invalid first integer"),
            ("22,", "invalid first integer"),
            ("self", "invalid first integer"),
            ("-1", "invalid first integer"),
            ("+1", "invalid first integer"),
            ("1-", "invalid last integer"),
            ("1-2-3", "invalid port range format"),
            ("9-8", "first port is greater than last port"),
            ("65536", "port number out of range"),
        ] {
            let error = ports(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn protocol_names() {
        assert_eq!(protocols(""), Ok(vec![]));
        assert_eq!(protocols("icmp"), Ok(vec![1]));
        assert_eq!(protocols("ip-in-ip"), Ok(vec![4]));
        assert_eq!(protocols("255"), Ok(vec![255]));
        for (bad, why) in [
            ("*", "unknown protocol"),
            ("TCPX", "unknown protocol"),
            ("06", "leading 0"),
            ("256", "out of range"),
            ("99999999999", "out of range"),
        ] {
            let error = protocols(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        let ssh = Ports { first: 22, last: 22 };
        assert!(fit(&[6, 17, 132], &[ssh]).is_ok() && fit(&[], &[ssh]).is_ok());
        assert!(fit(&[1], &[Ports::ALL]).is_ok() && fit(&[6, 1], &[ssh]).is_err());
    }
}
