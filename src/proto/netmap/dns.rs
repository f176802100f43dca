//! `tailcfg.DNSConfig` as JSON.

use std::collections::BTreeMap;

use crate::wire::json::Json;

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
    pub split: BTreeMap<String, Vec<String>>,
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

impl Dns {
    /// Writes the `DNSConfig` as JSON to the end of `out`.
    pub fn render(&self, out: &mut Vec<u8>) {
        self.write(&mut Json::new(out));
    }

    /// Writes the `DNSConfig`.
    pub(super) fn write(&self, json: &mut Json<'_>) {
        json.open('{');
        if !self.nameservers.is_empty() {
            json.key(if self.override_local { "Resolvers" } else { "FallbackResolvers" });
            resolvers(json, &self.nameservers);
        }
        if !self.split.is_empty() {
            json.key("Routes").open('{');
            for (suffix, servers) in &self.split {
                json.text(suffix);
                json.colon();
                resolvers(json, servers);
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

fn resolvers(json: &mut Json<'_>, servers: &[String]) {
    json.open('[');
    for server in servers {
        json.open('{').key("Addr").text(server).close('}');
    }
    json.close(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(dns: &Dns) -> String {
        let mut out = Vec::new();
        dns.write(&mut Json::new(&mut out));
        String::from_utf8(out).unwrap()
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
            "{\"Resolvers\":[{\"Addr\":\"1.1.1.1\"}],\"Routes\":{\"corp.example\":[{\"Addr\":\
             \"10.0.0.1\"}]},\"Domains\":[\"ts.lan\",\"example.org\"],\"Proxied\":true,\
             \"ExtraRecords\":[{\"Name\":\"nas.lan\",\"Type\":\"A\",\"Value\":\"192.0.2.1\"}]}"
        );
        dns.override_local = false;
        assert!(text(&dns).starts_with("{\"FallbackResolvers\""));
        assert_eq!(text(&Dns::default()), "{\"Domains\":[]}");
    }
}
