//! Addresses for nodes out of the tailnet's prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Random;
use crate::wire::prefix::Prefix;
use crate::wire::sorted::Set;

/// Addresses of the tailnet that no node may have: ChromeOS uses this range for its own virtual
/// machines (`tsaddr.ChromeOSVMRange`).
const CHROME_OS: (u32, u32) = (0x6473_5c00, 0x6473_5dff);

/// The clients answer here themselves (`tsaddr.TailscaleServiceIP`).
const SERVICE_V4: u32 = 0x6464_6464;
const SERVICE_V6: u128 = 0xfd7a_115c_a1e0_0000_0000_0000_0000_0053;

/// How many random addresses are tried before the first free one is taken.
const RANDOM_TRIES: usize = 64;

/// The addresses in use of one family, as numbers.
#[derive(Debug, Default)]
pub(super) struct Pool {
    used: Set<u128>,
}

impl Pool {
    pub(super) fn take(&mut self, addr: IpAddr) {
        self.used.insert(number(addr));
    }

    pub(super) fn give_back(&mut self, addr: IpAddr) {
        self.used.remove(&number(addr));
    }

    /// A free address of `prefix`: the lowest, or a random one if `random` is given.
    pub(super) fn pick(&self, prefix: Prefix, random: Option<Random<'_>>) -> Option<IpAddr> {
        // The first address names the network, the last is its broadcast address.
        let first = number(prefix.addr()).checked_add(1)?;
        let last = number(prefix.last()).checked_sub(1)?;
        let v4 = prefix.addr().is_ipv4();
        if let Some(random) = random {
            let host = number(prefix.last()) - number(prefix.addr());
            for _ in 0..RANDOM_TRIES {
                let mut bytes = [0; 16];
                random(&mut bytes);
                let candidate = number(prefix.addr()) | (u128::from_be_bytes(bytes) & host);
                let inside = (first..=last).contains(&candidate);
                if inside && !reserved(candidate, v4) && !self.used.contains(&candidate) {
                    return address(candidate, v4);
                }
            }
        }
        let mut candidate = first;
        let mut used = self.used.range(first..).peekable();
        while candidate <= last {
            let is_used = used.next_if_eq(&&candidate).is_some();
            if !is_used && !reserved(candidate, v4) {
                return address(candidate, v4);
            }
            candidate += 1;
        }
        None
    }
}

fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn address(number: u128, v4: bool) -> Option<IpAddr> {
    if v4 {
        u32::try_from(number).ok().map(|n| IpAddr::V4(Ipv4Addr::from_bits(n)))
    } else {
        Some(IpAddr::V6(Ipv6Addr::from_bits(number)))
    }
}

fn reserved(candidate: u128, v4: bool) -> bool {
    if v4 {
        let (from, to) = CHROME_OS;
        (u128::from(from)..=u128::from(to)).contains(&candidate)
            || candidate == u128::from(SERVICE_V4)
    } else {
        candidate == SERVICE_V6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(pool: &mut Pool, prefix: &str) -> Option<String> {
        let addr = pool.pick(prefix.parse().unwrap(), None)?;
        pool.take(addr);
        Some(addr.to_string())
    }

    #[test]
    fn sequential() {
        let mut pool = Pool::default();
        assert_eq!(pick(&mut pool, "100.64.0.0/10").unwrap(), "100.64.0.1");
        assert_eq!(pick(&mut pool, "100.64.0.0/10").unwrap(), "100.64.0.2");
        pool.give_back("100.64.0.1".parse().unwrap());
        assert_eq!(pick(&mut pool, "100.64.0.0/10").unwrap(), "100.64.0.1");
        assert_eq!(pick(&mut pool, "100.64.0.0/10").unwrap(), "100.64.0.3");
        let mut pool = Pool::default();
        assert_eq!(pick(&mut pool, "fd7a:115c:a1e0::/48").unwrap(), "fd7a:115c:a1e0::1");
    }

    #[test]
    fn ends_and_holes() {
        let mut pool = Pool::default();
        assert_eq!(pick(&mut pool, "10.0.0.0/30").unwrap(), "10.0.0.1");
        assert_eq!(pick(&mut pool, "10.0.0.0/30").unwrap(), "10.0.0.2");
        assert_eq!(pick(&mut pool, "10.0.0.0/30"), None);
        assert_eq!(pick(&mut pool, "10.0.0.0/32"), None);
        assert_eq!(pick(&mut pool, "100.115.92.0/22").unwrap(), "100.115.94.0");
        assert_eq!(pick(&mut pool, "100.100.100.100/31"), None);
        assert_eq!(pick(&mut pool, "fd7a:115c:a1e0::50/124").unwrap(), "fd7a:115c:a1e0::51");
        assert_eq!(pick(&mut pool, "fd7a:115c:a1e0::50/124").unwrap(), "fd7a:115c:a1e0::52");
        assert_eq!(pick(&mut pool, "fd7a:115c:a1e0::50/124").unwrap(), "fd7a:115c:a1e0::54");
    }

    #[test]
    fn random_stays_inside() {
        let pool = Pool::default();
        let mut state = 1_u8;
        let mut random = |bytes: &mut [u8]| {
            for b in bytes {
                state = state.wrapping_mul(73).wrapping_add(41);
                *b = state;
            }
        };
        let prefix: Prefix = "100.64.0.0/10".parse().unwrap();
        let one = pool.pick(prefix, Some(&mut random)).unwrap();
        let two = pool.pick(prefix, Some(&mut random)).unwrap();
        assert!(prefix.contains(one) && prefix.contains(two) && one != two);
    }
}
