//! The map of relays that clients are given (client `tailcfg/derpmap.go`).
//!
//! A map is put together from documents ([`Document`]): JSON with Tailscale's names, or headscale's
//! YAML turned into JSON values, whose names are lower case; then it is written for a viewer in the
//! form that the client's version understands ([`Form`]).

use crate::wire::sorted::Map;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::json::Json;
use super::key::Hex;

mod parse;

pub use parse::{Document, DocumentError};

/// The first capability version whose clients know `CertName: "sha256-raw:..."` (client 1.82).
pub const VERSION_PIN: u16 = 115;
/// The first whose clients join host name and port themselves, with brackets (client 1.100, where
/// the version grew by three).
pub const VERSION_JOINED: u16 = 139;
/// Regions of a map at most. Tailscale's has about 30.
pub const MAX_REGIONS: usize = 256;
/// Nodes of a region at most.
pub const MAX_NODES: usize = 16;

/// What stands before the 64 hex digits of a pinned certificate.
const PIN: &str = "sha256-raw:";

/// Regions by their number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DerpMap {
    /// The regions.
    pub regions: Map<u16, Region>,
    /// Factors for a region's latency when a client chooses its home: below 1 is preferred.
    pub scores: Map<u16, Number>,
    /// Leave out the default regions; clients ignore it.
    pub omit_default_regions: bool,
}

/// A number as the document has it; the server does not count with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Number(Box<str>);

/// Relays that are near each other. Clients connect to the first node that answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Region {
    /// A short name, such as `nyc`.
    pub code: String,
    /// A name for people.
    pub name: String,
    /// Degrees north.
    pub latitude: Option<Number>,
    /// Degrees east.
    pub longitude: Option<Number>,
    /// Not to be chosen as home while there is another.
    pub avoid: bool,
    /// Neither measured nor chosen as home.
    pub no_measure_no_home: bool,
    /// The relays, in the order in which they are tried.
    pub nodes: Vec<Node>,
}

/// A relay, a STUN server, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// A name that no other node of the map has.
    pub name: String,
    /// Its host name; also for TLS.
    pub host_name: String,
    /// How its certificate is checked.
    pub cert: Cert,
    /// Its IPv4 address.
    pub ipv4: Family,
    /// Its IPv6 address.
    pub ipv6: Family,
    /// The UDP port of STUN: 0 stands for 3478, `None` for no STUN.
    pub stun_port: Option<u16>,
    /// It is no relay.
    pub stun_only: bool,
    /// The TCP port of the relay: 0 stands for 443.
    pub derp_port: u16,
    /// Clients do not check the certificate.
    pub insecure_for_tests: bool,
    /// The address that STUN uses instead, in tests.
    pub stun_test_ip: Option<IpAddr>,
    /// Clients may look for captive portals at port 80 of `ipv4`.
    pub can_port80: bool,
}

/// How a node is reached in a family of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// As DNS says for its host name.
    #[default]
    Dns,
    /// At this address.
    At(IpAddr),
    /// Not at all.
    Off,
}

/// How a node's certificate is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cert {
    /// For its host name.
    #[default]
    Host,
    /// For another name.
    Name(String),
    /// It is this very certificate: the SHA-256 of its DER form.
    Pin([u8; 32]),
}

/// The forms in which a map is written for clients of different age, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// A certificate that is pinned is told as one that is not checked: to these clients a pin is
    /// a DNS name, which no certificate has. What they relay is WireGuard's anyway.
    Unchecked,
    /// It is told as a pin.
    Pinned,
    /// Likewise, and IPv6 addresses as host names have brackets only where the client adds no port.
    Joined,
}

impl Form {
    /// All of them, with the capability version from which on clients take them.
    pub const ALL: [(Self, u16); 3] =
        [(Self::Unchecked, 0), (Self::Pinned, VERSION_PIN), (Self::Joined, VERSION_JOINED)];
}

/// The region of this server.
#[derive(Clone, Debug)]
pub struct Own {
    /// A short name.
    pub code: String,
    /// A name for people.
    pub name: String,
    /// Host of the server's URL: a name or an address, IPv6 without brackets.
    pub host: String,
    /// Port of the server's URL.
    pub port: u16,
    /// UDP port of STUN, if it is served.
    pub stun_port: Option<u16>,
    /// SHA-256 of the relay's own certificate, unless another one is checked.
    pub pin: Option<[u8; 32]>,
    /// The IPv4 address, if it is not to be taken from the host.
    pub ipv4: Option<IpAddr>,
    /// The IPv6 address, if it is not to be taken from the host.
    pub ipv6: Option<IpAddr>,
    /// Whether IPv4 and IPv6 are listened on.
    pub listens: (bool, bool),
}

impl Own {
    /// The region with number `id`, which has one node.
    pub fn region(&self, id: u16) -> Region {
        let literal: Option<IpAddr> = self.host.parse().ok();
        let family = |given: Option<IpAddr>, v4: bool, listens: bool| match (given, literal) {
            (Some(addr), _) => Family::At(addr),
            _ if !listens => Family::Off,
            (None, Some(addr)) if addr.is_ipv4() == v4 => Family::At(addr),
            (None, Some(_)) => Family::Off,
            (None, None) => Family::Dns,
        };
        let node = Node {
            name: id.to_string(),
            host_name: self.host.clone(),
            cert: self.pin.map_or(Cert::Host, Cert::Pin),
            ipv4: family(self.ipv4, true, self.listens.0),
            ipv6: family(self.ipv6, false, self.listens.1),
            stun_port: self.stun_port.map(|port| if port == super::stun::PORT { 0 } else { port }),
            derp_port: if self.port == 443 { 0 } else { self.port },
            ..Node::default()
        };
        Region {
            code: self.code.clone(),
            name: self.name.clone(),
            nodes: vec![node],
            ..Region::default()
        }
    }
}

impl DerpMap {
    /// Lays a document over the map: its regions replace those with the same number, a region that
    /// is null takes it away.
    pub fn merge(&mut self, document: &Document) {
        for (id, region) in &document.regions {
            match region {
                Some(region) => drop(self.regions.insert(*id, region.clone())),
                None => drop(self.regions.remove(id)),
            }
        }
        self.scores.extend(document.scores.iter().map(|(region, score)| (*region, score.clone())));
        self.omit_default_regions |= document.omit_default_regions;
    }

    /// Checks what holds for the map as a whole.
    pub fn check(&self) -> Result<(), MapError> {
        if self.regions.len() > MAX_REGIONS {
            return Err(MapError::TooMany);
        }
        let mut names: Map<&str, u16> = Map::new();
        for (id, region) in &self.regions {
            if region.nodes.is_empty() {
                return Err(MapError::Empty(*id));
            }
            for node in &region.nodes {
                if let Some(other) = names.insert(&node.name, *id) {
                    return Err(MapError::Twice { name: node.name.clone(), regions: [other, *id] });
                }
            }
        }
        Ok(())
    }

    /// The host names of all nodes.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.regions.values().flat_map(|r| &r.nodes).map(|n| n.host_name.as_str())
    }

    /// Writes the map as JSON for clients that take `form`, without any backslash.
    pub fn write(&self, json: &mut Json<'_>, form: Form) {
        json.open('{');
        if !self.scores.is_empty() {
            json.key("HomeParams").open('{').key("RegionScore").open('{');
            for (id, score) in &self.scores {
                json.key(&id.to_string()).raw(score.0.as_bytes());
            }
            json.close('}').close('}');
        }
        json.key("Regions").open('{');
        for (id, region) in &self.regions {
            region.write(json.key(&id.to_string()), *id, form);
        }
        json.close('}');
        flag(json, "omitDefaultRegions", self.omit_default_regions);
        json.close('}');
    }
}

impl Region {
    fn write(&self, json: &mut Json<'_>, id: u16, form: Form) {
        json.open('{').key("RegionID").int(id.into());
        json.key("RegionCode").text(&self.code).key("RegionName").text(&self.name);
        for (name, degrees) in [("Latitude", &self.latitude), ("Longitude", &self.longitude)] {
            if let Some(degrees) = degrees {
                json.key(name).raw(degrees.0.as_bytes());
            }
        }
        flag(json, "Avoid", self.avoid);
        flag(json, "NoMeasureNoHome", self.no_measure_no_home);
        json.key("Nodes").open('[');
        self.nodes.iter().for_each(|node| node.write(json, id, form));
        json.close(']').close('}');
    }
}

impl Node {
    fn write(&self, json: &mut Json<'_>, region: u16, form: Form) {
        json.open('{').key("Name").text(&self.name).key("RegionID").int(region.into());
        // Clients put it into a URL, either as it is or joined with the port.
        let joined = form >= Form::Joined && !matches!(self.derp_port, 0 | 443);
        match self.host_name.parse::<Ipv6Addr>() {
            Ok(addr) if !joined => drop(json.key("HostName").display(&format_args!("[{addr}]"))),
            _ => drop(json.key("HostName").text(&self.host_name)),
        }
        let mut unchecked = self.insecure_for_tests;
        match (&self.cert, form) {
            (Cert::Host, _) => {}
            (Cert::Name(name), _) => drop(json.key("CertName").text(name)),
            (Cert::Pin(hash), Form::Pinned | Form::Joined) => {
                json.key("CertName").display(&format_args!("{PIN}{}", Hex(hash)));
            }
            (Cert::Pin(_), Form::Unchecked) => unchecked = true,
        }
        for (name, family) in [("IPv4", self.ipv4), ("IPv6", self.ipv6)] {
            match family {
                Family::Dns => {}
                Family::At(addr) => drop(json.key(name).display(&addr)),
                Family::Off => drop(json.key(name).text("none")),
            }
        }
        number(json, "STUNPort", self.stun_port.map_or(-1, i64::from));
        flag(json, "STUNOnly", self.stun_only);
        number(json, "DERPPort", self.derp_port.into());
        flag(json, "InsecureForTests", unchecked);
        if let Some(addr) = self.stun_test_ip {
            json.key("STUNTestIP").display(&addr);
        }
        flag(json, "CanPort80", self.can_port80);
        json.close('}');
    }
}

/// Writes a member unless it is false, which is what clients take it for if it is missing.
fn flag(json: &mut Json<'_>, name: &str, value: bool) {
    if value {
        json.key(name).bool(true);
    }
}

/// Writes a member unless it is 0, likewise.
fn number(json: &mut Json<'_>, name: &str, value: i64) {
    if value != 0 {
        json.key(name).int(value);
    }
}

/// What is wrong with a map as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapError {
    /// A region has no nodes.
    Empty(u16),
    /// There are more than [`MAX_REGIONS`].
    TooMany,
    /// Two nodes have one name.
    Twice {
        /// The name.
        name: String,
        /// Where they are.
        regions: [u16; 2],
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty(id) => {
                write!(f, "DERP region {id} has no nodes; add one or set the region to null")
            }
            Self::TooMany => write!(f, "the DERP map has more than {MAX_REGIONS} regions"),
            Self::Twice { name, regions: [a, b] } => write!(
                f,
                "two DERP nodes are named {name:?} (in regions {a} and {b}); rename one, as \
                 clients tell them apart by name"
            ),
        }
    }
}

impl std::error::Error for MapError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(map: &DerpMap, form: Form) -> String {
        let mut out = Vec::new();
        map.write(&mut Json::new(&mut out), form);
        String::from_utf8(out).unwrap()
    }

    fn own(host: &str) -> Own {
        Own {
            code: "home".into(),
            name: "At \"home\"\\".into(),
            host: host.into(),
            port: 8080,
            stun_port: Some(3478),
            pin: Some([0xAB; 32]),
            ipv4: None,
            ipv6: None,
            listens: (true, true),
        }
    }

    #[test]
    fn own_region_by_version() {
        let regions = [(900, own("192.168.1.1").region(900))].into();
        let map = DerpMap { regions, ..DerpMap::default() };
        map.check().unwrap();
        let ab = "ab".repeat(32);
        assert_eq!(
            written(&map, Form::Pinned),
            format!(
                r#"{{"Regions":{{"900":{{"RegionID":900,"RegionCode":"home","RegionName":"At 'home'/","Nodes":[{{"Name":"900","RegionID":900,"HostName":"192.168.1.1","CertName":"sha256-raw:{ab}","IPv4":"192.168.1.1","IPv6":"none","DERPPort":8080}}]}}}}}}"#
            )
        );
        assert_eq!(
            written(&map, Form::Unchecked),
            r#"{"Regions":{"900":{"RegionID":900,"RegionCode":"home","RegionName":"At 'home'/","Nodes":[{"Name":"900","RegionID":900,"HostName":"192.168.1.1","IPv4":"192.168.1.1","IPv6":"none","DERPPort":8080,"InsecureForTests":true}]}}}"#
        );
    }

    #[test]
    fn ipv6_hosts_by_version() {
        let host = |own: Own, form| {
            let regions = [(1, own.region(1))].into();
            let text = written(&DerpMap { regions, ..DerpMap::default() }, form);
            let (_, rest) = text.split_once("\"HostName\":\"").unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        assert_eq!(host(own("fd00::1"), Form::Unchecked), "[fd00::1]");
        assert_eq!(host(own("fd00::1"), Form::Pinned), "[fd00::1]");
        assert_eq!(host(own("fd00::1"), Form::Joined), "fd00::1");
        // To the usual port nothing is added.
        assert_eq!(host(Own { port: 443, ..own("fd00::1") }, Form::Joined), "[fd00::1]");
        assert_eq!(host(own("192.168.1.1"), Form::Joined), "192.168.1.1");
    }

    #[test]
    fn own_addresses() {
        let node = |own: Own| own.region(1).nodes.remove(0);
        let named = node(Own { listens: (true, false), ..own("home.example.com") });
        assert_eq!((named.ipv4, named.ipv6), (Family::Dns, Family::Off));
        let six = node(own("fd00::1"));
        assert_eq!(six.host_name, "fd00::1");
        assert_eq!((six.ipv4, six.ipv6), (Family::Off, Family::At("fd00::1".parse().unwrap())));
        let ipv6 = "fd00::2".parse().ok();
        let given = node(Own { ipv6, listens: (true, false), ..own("192.168.1.1") });
        assert_eq!(given.ipv6, Family::At("fd00::2".parse().unwrap()));
        let usual = node(Own { port: 443, pin: None, stun_port: None, ..own("a.example") });
        assert_eq!((usual.derp_port, usual.stun_port, usual.cert), (0, None, Cert::Host));
        assert_eq!(node(Own { stun_port: Some(3479), ..own("a.example") }).stun_port, Some(3479));
    }

    #[test]
    fn all_members_are_written_and_read() {
        let text = r#"{"HomeParams":{"RegionScore":{"1":0.5}},"Regions":{"1":{"RegionID":1,"RegionCode":"one","RegionName":"One","Latitude":52.5,"Longitude":-13,"Avoid":true,"NoMeasureNoHome":true,"Nodes":[{"Name":"1a","RegionID":1,"HostName":"a.example.com","CertName":"b.example.com","IPv4":"192.0.2.1","IPv6":"2001:db8::1","STUNPort":-1,"STUNOnly":true,"DERPPort":8443,"InsecureForTests":true,"STUNTestIP":"127.0.0.1","CanPort80":true},{"Name":"1b","RegionID":1,"HostName":"b.example.com","IPv4":"none"}]}},"omitDefaultRegions":true}"#;
        let document = Document::from_json(text.as_bytes()).unwrap();
        assert_eq!(document.unknown, [""; 0]);
        let mut map = DerpMap::default();
        map.merge(&document);
        assert_eq!(written(&map, Form::Unchecked), text);
        assert_eq!(map.hosts().collect::<Vec<_>>(), ["a.example.com", "b.example.com"]);
    }

    #[test]
    fn merging() {
        let document = |text: &str| Document::from_json(text.as_bytes()).unwrap();
        let region = |name: &str| {
            format!(r#"{{"RegionCode":"x","Nodes":[{{"Name":"{name}","HostName":"h.example"}}]}}"#)
        };
        let (a, b, c) = (region("a"), region("b"), region("c"));
        let mut map = DerpMap::default();
        map.merge(&document(&format!(r#"{{"Regions":{{"1":{a},"2":{b}}}}}"#)));
        map.merge(&document(&format!(r#"{{"regions":{{"2":{c},"1":null,"7":null}}}}"#)));
        assert_eq!(map.regions.keys().collect::<Vec<_>>(), [&2]);
        assert_eq!(map.regions[&2].nodes[0].name, "c");
        assert_eq!(map.check(), Ok(()));
        map.merge(&document(&format!(r#"{{"regions":{{"3":{c}}}}}"#)));
        let error = map.check().unwrap_err();
        assert_eq!(error, MapError::Twice { name: "c".into(), regions: [2, 3] });
        assert!(error.to_string().contains("rename one"));
        map.merge(&document(r#"{"regions":{"3":{"regioncode":"x"}}}"#));
        assert_eq!(map.check(), Err(MapError::Empty(3)));
    }
}
