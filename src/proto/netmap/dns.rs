//! `tailcfg.DNSConfig` as JSON.

use crate::wire::http1::encode;
use crate::wire::json::Json;
use crate::wire::sorted::Map;

/// The DNS settings of a tailnet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Clients answer for the names of nodes.
    pub magic: bool,
    /// What follows the names of nodes; neither begins nor ends with a dot.
    pub base_domain: String,
    /// Clients use `nameservers` for everything; otherwise only where they have none.
    pub override_local: bool,
    /// Addresses, or DNS-over-HTTPS URLs.
    pub nameservers: Vec<String>,
    /// Nameservers for names below a domain.
    pub split: Map<String, Vec<String>>,
    /// Domains to be searched, after the base domain.
    pub search: Vec<String>,
    /// Names that clients answer for beside the nodes'.
    pub records: Vec<Record>,
}

/// A name that clients answer for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The full name.
    pub name: String,
    /// `A` or `AAAA`; clients know no other.
    pub kind: String,
    /// The address.
    pub value: String,
}

/// Where NextDNS answers; behind it stands a profile.
const NEXTDNS: &str = "https://dns.nextdns.io/";

/// Attributes of nodes about it: a profile to use, and not to say which device asks.
const ATTRIBUTE: &str = "nextdns:";
const NO_DEVICE_INFO: &str = "no-device-info";

/// The longest name of a profile.
const PROFILE_MAX: usize = 64;

/// What NextDNS is told by one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NextDns<'a> {
    /// The profile in place of the configured one.
    profile: Option<&'a str>,
    /// Which device asks.
    device: Option<Device<'a>>,
}

/// A device as NextDNS lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device<'a> {
    /// Its address in the tailnet.
    pub address: Option<std::net::IpAddr>,
    /// Its operating system.
    pub os: &'a str,
    /// Its host name.
    pub name: &'a str,
}

impl<'a> NextDns<'a> {
    /// By the attributes of a node, in their order: the first profile holds.
    fn new(attributes: impl Iterator<Item = &'a str>, device: Device<'a>) -> Self {
        let mut own = Self { profile: None, device: Some(device) };
        for value in attributes.filter_map(|name| name.strip_prefix(ATTRIBUTE)) {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            if value == NO_DEVICE_INFO {
                own.device = None;
            } else if (1..=PROFILE_MAX).contains(&value.len()) && value.bytes().all(plain) {
                own.profile = own.profile.or(Some(value));
            }
        }
        own
    }

    /// The address of a resolver for this node.
    fn resolver(&self, server: &str) -> Option<String> {
        let configured = server.strip_prefix(NEXTDNS)?;
        let mut url = format!("{NEXTDNS}{}", self.profile.unwrap_or(configured));
        if let Some(device) = &self.device {
            url.push(if url.contains('?') { '&' } else { '?' });
            if let Some(address) = device.address {
                url.push_str("device_ip=");
                encode(&address.to_string(), &mut url);
                url.push('&');
            }
            url.push_str("device_model=");
            encode(device.os, &mut url);
            url.push_str("&device_name=");
            encode(device.name, &mut url);
        }
        Some(url)
    }
}

impl Dns {
    /// Writes the `DNSConfig` as JSON to the end of `out`, as it is for all nodes.
    pub fn render(&self, out: &mut Vec<u8>) {
        self.write(&mut Json::new(out), None);
    }

    /// The same as it is for one node, by the names of its attributes.
    pub fn render_for<'a>(
        &self,
        attributes: impl Iterator<Item = &'a str>,
        device: Device<'a>,
        out: &mut Vec<u8>,
    ) {
        self.write(&mut Json::new(out), Some(&NextDns::new(attributes, device)));
    }

    /// Whether what it says depends on the node.
    pub(super) fn is_personal(&self) -> bool {
        let mut servers = self.nameservers.iter().chain(self.split.values().flatten());
        servers.any(|server| server.starts_with(NEXTDNS))
    }

    fn write(&self, json: &mut Json<'_>, own: Option<&NextDns<'_>>) {
        json.open('{');
        if !self.nameservers.is_empty() {
            json.key(if self.override_local { "Resolvers" } else { "FallbackResolvers" });
            resolvers(json, &self.nameservers, own);
        }
        if !self.split.is_empty() {
            json.key("Routes").open('{');
            for (suffix, servers) in &self.split {
                // As the hosted service writes them; clients read them with a dot or without.
                json.text(&format!("{}.", suffix.trim_end_matches('.'))).colon();
                resolvers(json, servers, own);
            }
            json.close('}');
        }
        json.key("Domains").open('[');
        let base = Some(&self.base_domain).filter(|base| self.magic && !base.is_empty());
        base.into_iter().chain(&self.search).for_each(|domain| _ = json.text(domain));
        json.close(']');
        if self.magic {
            json.key("Proxied").bool(true);
        }
        if !self.records.is_empty() {
            json.key("ExtraRecords").open('[');
            for record in &self.records {
                json.open('{').key("Name").text(&record.name).key("Type").text(&record.kind);
                json.key("Value").text(&record.value).close('}');
            }
            json.close(']');
        }
        json.close('}');
    }
}

fn resolvers(json: &mut Json<'_>, servers: &[String], own: Option<&NextDns<'_>>) {
    json.open('[');
    for server in servers {
        let personal = own.and_then(|own| own.resolver(server));
        json.open('{').key("Addr").text(personal.as_deref().unwrap_or(server)).close('}');
    }
    json.close(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(dns: &Dns) -> String {
        let mut out = Vec::new();
        dns.render(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nextdns() {
        let address = "100.64.0.1".parse().ok();
        let device = Device { address, os: "linux", name: "a b" };
        let own = |names: &[&'static str], server| {
            NextDns::new(names.iter().copied(), device).resolver(server)
        };
        let info = "device_ip=100.64.0.1&device_model=linux&device_name=a%20b";
        for (names, server, url) in [
            (&[][..], "https://dns.nextdns.io/abc", format!("{NEXTDNS}abc?{info}")),
            (
                &["nextdns:x1", "nextdns:y2"],
                "https://dns.nextdns.io/abc",
                format!("{NEXTDNS}x1?{info}"),
            ),
            (
                &["nextdns:no-device-info", "nextdns:y2"],
                "https://dns.nextdns.io/abc",
                format!("{NEXTDNS}y2"),
            ),
            (&["nextdns:/../"], "https://dns.nextdns.io/abc", format!("{NEXTDNS}abc?{info}")),
        ] {
            assert_eq!(own(names, server), Some(url), "{names:?}");
        }
        assert_eq!(own(&["nextdns:x1"], "https://dns.google/dns-query"), None);
        let mut dns = Dns { nameservers: vec!["1.1.1.1".into()], ..Dns::default() };
        assert!(!dns.is_personal());
        dns.split.insert("x".into(), vec!["https://dns.nextdns.io/abc".into()]);
        assert!(dns.is_personal());
    }

    #[test]
    fn all_of_it() {
        let mut dns = Dns {
            magic: true,
            base_domain: "ts.lan".into(),
            override_local: true,
            nameservers: vec!["1.1.1.1".into()],
            split: [("corp.example".into(), vec!["10.0.0.1".into()])].into(),
            search: vec!["example.org".into()],
            records: vec![Record {
                name: "nas.lan".into(),
                kind: "A".into(),
                value: "192.0.2.1".into(),
            }],
        };
        assert_eq!(
            text(&dns),
            "{\"Resolvers\":[{\"Addr\":\"1.1.1.1\"}],\"Routes\":{\"corp.example.\":[{\"Addr\":\
             \"10.0.0.1\"}]},\"Domains\":[\"ts.lan\",\"example.org\"],\"Proxied\":true,\
             \"ExtraRecords\":[{\"Name\":\"nas.lan\",\"Type\":\"A\",\"Value\":\"192.0.2.1\"}]}"
        );
        dns.override_local = false;
        assert!(text(&dns).starts_with("{\"FallbackResolvers\""));
        assert_eq!(text(&Dns::default()), "{\"Domains\":[]}");
    }
}
