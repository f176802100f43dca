//! Address prefixes (CIDR).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An address and how many of its leading bits count; the other bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

impl Prefix {
    /// `0.0.0.0/0`, with [`Self::ALL_V6`] the routes of an exit node.
    pub const ALL_V4: Self = Self { addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED), len: 0 };
    /// `::/0`.
    pub const ALL_V6: Self = Self { addr: IpAddr::V6(Ipv6Addr::UNSPECIFIED), len: 0 };

    /// The prefix of `len` bits that holds `addr`; `None` if the family has fewer bits.
    pub fn new(addr: IpAddr, len: u8) -> Option<Self> {
        (len <= bits(addr)).then(|| Self { addr: mask(addr, len), len })
    }

    /// The prefix that holds `addr` alone.
    pub fn single(addr: IpAddr) -> Self {
        Self { addr, len: bits(addr) }
    }

    /// The first address.
    pub fn addr(&self) -> IpAddr {
        self.addr
    }

    /// How many leading bits count.
    pub fn bits(&self) -> u8 {
        self.len
    }

    /// The last address.
    pub fn last(&self) -> IpAddr {
        match self.addr {
            IpAddr::V4(a) => {
                let host = u32::MAX.checked_shr(u32::from(self.len)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() | host))
            }
            IpAddr::V6(a) => {
                let host = u128::MAX.checked_shr(u32::from(self.len)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() | host))
            }
        }
    }

    /// Whether it holds one address only.
    pub fn is_single(&self) -> bool {
        self.len == bits(self.addr)
    }

    /// Whether it is `0.0.0.0/0` or `::/0`.
    pub fn is_exit(&self) -> bool {
        self.len == 0
    }

    /// Whether `addr` lies inside.
    pub fn contains(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.addr.is_ipv4() && mask(addr, self.len) == self.addr
    }

    /// Whether all of `other` lies inside.
    pub fn covers(&self, other: &Self) -> bool {
        self.len <= other.len && self.contains(other.addr)
    }

    /// Whether any address lies in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

fn bits(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn mask(addr: IpAddr, len: u8) -> IpAddr {
    match addr {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `10.0.0.0/8`; bits behind the prefix length are an error, an address without a length
/// stands for itself alone.
impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let Some((addr, len)) = text.split_once('/') else {
            return text.parse().map(Self::single).map_err(|_| PrefixError::Syntax);
        };
        let addr = addr.parse().map_err(|_| PrefixError::Syntax)?;
        let plain = !len.is_empty() && len.bytes().all(|b| b.is_ascii_digit());
        let len = plain.then(|| len.parse().ok()).flatten().ok_or(PrefixError::Syntax)?;
        let prefix = Self::new(addr, len).ok_or(PrefixError::Length)?;
        if prefix.addr == addr { Ok(prefix) } else { Err(PrefixError::HostBits(prefix)) }
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { (self.addr, self.len).serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        if d.is_human_readable() {
            <std::borrow::Cow<'de, str>>::deserialize(d)?.parse().map_err(D::Error::custom)
        } else {
            let (addr, len) = <(IpAddr, u8)>::deserialize(d)?;
            Self::new(addr, len).ok_or_else(|| D::Error::custom(PrefixError::Length))
        }
    }
}

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// Bits behind the length are set; the prefix that was probably meant.
    HostBits(Prefix),
    /// The length is more than the family has bits.
    Length,
    /// It does not have the form ADDRESS/LENGTH.
    Syntax,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostBits(meant) => {
                write!(f, "the prefix has bits set behind its length; write {meant}")
            }
            Self::Length => f.write_str("a prefix has at most 32 (IPv4) or 128 (IPv6) bits"),
            Self::Syntax => f.write_str("a prefix such as 10.0.0.0/8 or fd00::/64 is expected"),
        }
    }
}

impl std::error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn texts() {
        for text in ["0.0.0.0/0", "10.0.0.0/8", "100.64.0.1/32", "::/0", "fd7a:115c:a1e0::/48"] {
            assert_eq!(p(text).to_string(), text);
        }
        assert_eq!(p("10.0.0.1"), p("10.0.0.1/32"));
        assert_eq!("10.0.0.1/8".parse::<Prefix>(), Err(PrefixError::HostBits(p("10.0.0.0/8"))));
        assert_eq!("10.0.0.0/33".parse::<Prefix>(), Err(PrefixError::Length));
        for bad in ["", "/", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "::/999", "a/8"] {
            assert_eq!(bad.parse::<Prefix>(), Err(PrefixError::Syntax), "{bad}");
        }
    }

    #[test]
    fn sets() {
        assert!(p("0.0.0.0/0").covers(&p("10.0.0.0/8")) && !p("::/0").covers(&p("10.0.0.0/8")));
        assert!(p("10.0.0.0/8").overlaps(&p("10.1.0.0/16")));
        assert!(!p("10.0.0.0/9").overlaps(&p("10.128.0.0/9")));
        assert_eq!(p("10.0.0.0/8").last(), "10.255.255.255".parse::<IpAddr>().unwrap());
        assert_eq!(p("::/0").last(), IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)));
        assert_eq!(p("10.0.0.1/32").last(), p("10.0.0.1/32").addr());
        assert!(p("0.0.0.0/0").is_exit() && p("10.0.0.1").is_single());
    }
}
