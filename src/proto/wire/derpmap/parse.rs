//! Reads documents that contribute to a map.

use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

use super::{Cert, Family, MAX_NODES, MAX_REGIONS, Node, Number, PIN, Region};
use crate::wire::json;
use crate::wire::key::from_hex;
use crate::wire::sorted::Map;

/// Characters of a name at most: what DNS allows.
const MAX_TEXT: usize = 253;

/// Characters of a number at most: more than the digits that a float tells apart.
const MAX_DIGITS: usize = 40;
/// Characters of an exponent at most, with its sign: no float is too small for the number.
const MAX_EXPONENT: usize = 3;

/// What a file or URL says about the map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// Its regions; `None` takes away what an earlier document has.
    pub regions: Map<u16, Option<Region>>,
    /// Its scores.
    pub scores: Map<u16, Number>,
    /// Whether the default regions are left out.
    pub omit_default_regions: bool,
    /// Members that are not known here and were ignored, with where they stand.
    pub unknown: Vec<String>,
}

impl Document {
    /// Reads JSON.
    pub fn from_json(text: &[u8]) -> Result<Self, DocumentError> {
        let value = json::read(text).map_err(|error| DocumentError {
            path: format!("line {}", error.line),
            expected: "JSON",
        })?;
        Self::from_value(&value)
    }

    /// Reads a value that was JSON or YAML; the case of names does not matter.
    pub fn from_value(value: &Value) -> Result<Self, DocumentError> {
        let mut document = Self::default();
        let mut unknown = Vec::new();
        for member in members(value, "")? {
            match member.name.as_str() {
                "regions" => document.regions = regions(&member, &mut unknown)?,
                "homeparams" => {
                    for member in member.members()? {
                        match member.name.as_str() {
                            "regionscore" => document.scores = scores(&member)?,
                            _ => unknown.push(member.path),
                        }
                    }
                }
                "omitdefaultregions" => document.omit_default_regions = member.bool()?,
                _ => unknown.push(member.path),
            }
        }
        document.unknown = unknown;
        Ok(document)
    }
}

fn regions(
    all: &Member<'_>,
    unknown: &mut Vec<String>,
) -> Result<Map<u16, Option<Region>>, DocumentError> {
    let members = all.members()?;
    if members.len() > MAX_REGIONS {
        return Err(all.error("at most 256 regions"));
    }
    let mut regions = Map::new();
    for member in members {
        let id = member.id()?;
        let region =
            if member.value.is_null() { None } else { Some(region(&member, id, unknown)?) };
        regions.insert(id, region);
    }
    Ok(regions)
}

fn region(
    region: &Member<'_>,
    id: u16,
    unknown: &mut Vec<String>,
) -> Result<Region, DocumentError> {
    let mut out = Region::default();
    for member in region.members()? {
        match member.name.as_str() {
            "regionid" => member.same_id(id)?,
            "regioncode" => out.code = member.text()?,
            "regionname" => out.name = member.text()?,
            "latitude" => out.latitude = Some(member.number()?),
            "longitude" => out.longitude = Some(member.number()?),
            "avoid" => out.avoid = member.bool()?,
            "nomeasurenohome" => out.no_measure_no_home = member.bool()?,
            "nodes" => {
                for node in member.items()? {
                    out.nodes.push(self::node(&node, id, unknown)?);
                }
            }
            _ => unknown.push(member.path),
        }
    }
    Ok(out)
}

fn node(node: &Member<'_>, region: u16, unknown: &mut Vec<String>) -> Result<Node, DocumentError> {
    let mut out = Node { stun_port: Some(0), ..Node::default() };
    for member in node.members()? {
        match member.name.as_str() {
            "name" => out.name = member.text()?,
            "regionid" => member.same_id(region)?,
            "hostname" => out.host_name = member.host()?,
            "certname" => out.cert = member.cert()?,
            "ipv4" => out.ipv4 = member.family(true)?,
            "ipv6" => out.ipv6 = member.family(false)?,
            "stunport" if member.value.as_i64() == Some(-1) => out.stun_port = None,
            "stunport" => out.stun_port = Some(member.port("a port, 0 (3478) or -1 (no STUN)")?),
            "stunonly" => out.stun_only = member.bool()?,
            "derpport" => out.derp_port = member.port("a port, or 0 (443)")?,
            "insecurefortests" => out.insecure_for_tests = member.bool()?,
            "stuntestip" => out.stun_test_ip = member.addr()?,
            "canport80" => out.can_port80 = member.bool()?,
            _ => unknown.push(member.path),
        }
    }
    if out.name.is_empty() {
        return Err(node.missing("name", "a name, which every node has"));
    }
    if out.host_name.is_empty() {
        return Err(node.missing("hostname", "a host name, which every node has"));
    }
    Ok(out)
}

fn scores(all: &Member<'_>) -> Result<Map<u16, Number>, DocumentError> {
    let mut scores = Map::new();
    for member in all.members()? {
        let score = member.number()?;
        if score.0.starts_with('-') {
            return Err(member.error("a number from 0"));
        }
        scores.insert(member.id()?, score);
    }
    Ok(scores)
}

/// A member of an object, or an item of a list.
struct Member<'a> {
    /// In lower case.
    name: String,
    /// Names down to here, for errors.
    path: String,
    value: &'a Value,
}

fn members<'a>(value: &'a Value, path: &str) -> Result<Vec<Member<'a>>, DocumentError> {
    let object = match value {
        Value::Object(object) => object,
        // An empty section of a YAML file.
        Value::Null => return Ok(Vec::new()),
        _ => return Err(DocumentError { path: path.to_owned(), expected: "a map" }),
    };
    let member = |(name, value): (&String, _)| Member::new(name, value, path);
    Ok(object.iter().map(member).collect())
}

impl<'a> Member<'a> {
    fn new(name: &str, value: &'a Value, path: &str) -> Self {
        let dot = if path.is_empty() { "" } else { "." };
        Self { name: name.to_ascii_lowercase(), path: format!("{path}{dot}{name}"), value }
    }

    fn members(&self) -> Result<Vec<Member<'a>>, DocumentError> {
        members(self.value, &self.path)
    }

    fn items(&self) -> Result<Vec<Member<'a>>, DocumentError> {
        let items = match self.value {
            Value::Array(items) if items.len() <= MAX_NODES => items.as_slice(),
            Value::Null => &[],
            _ => return Err(self.error("a list of at most 16 nodes")),
        };
        let item =
            |(i, value)| Member { name: String::new(), path: format!("{}[{i}]", self.path), value };
        Ok(items.iter().enumerate().map(item).collect())
    }

    fn error(&self, expected: &'static str) -> DocumentError {
        DocumentError { path: self.path.clone(), expected }
    }

    fn missing(&self, name: &str, expected: &'static str) -> DocumentError {
        DocumentError { path: format!("{}.{name}", self.path), expected }
    }

    fn id(&self) -> Result<u16, DocumentError> {
        let id = self.name.parse().ok().filter(|id| *id > 0);
        id.ok_or_else(|| self.error("a region number from 1 to 65535 as name"))
    }

    /// Checks the number that is repeated inside a region; 0 stands for none.
    fn same_id(&self, id: u16) -> Result<(), DocumentError> {
        match self.value.as_u64() {
            Some(0) => Ok(()),
            Some(same) if same == u64::from(id) => Ok(()),
            _ => Err(self.error("the number of the region in which it stands")),
        }
    }

    fn bool(&self) -> Result<bool, DocumentError> {
        self.value.as_bool().ok_or_else(|| self.error("true or false"))
    }

    fn number(&self) -> Result<Number, DocumentError> {
        let text = match self.value {
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let exponent = text.split_once(['e', 'E']).map_or("", |(_, exponent)| exponent);
        let fits = (1..=MAX_DIGITS).contains(&text.len()) && exponent.len() <= MAX_EXPONENT;
        if fits { Ok(Number(text.into())) } else { Err(self.error("a number")) }
    }

    fn port(&self, expected: &'static str) -> Result<u16, DocumentError> {
        let port = self.value.as_u64().and_then(|port| u16::try_from(port).ok());
        port.ok_or_else(|| self.error(expected))
    }

    fn str(&self) -> Result<&'a str, DocumentError> {
        let text = match self.value {
            Value::Null => Some(""),
            value => value.as_str(),
        };
        let text = text.filter(|text| text.len() <= MAX_TEXT);
        text.ok_or_else(|| self.error("a text of at most 253 bytes"))
    }

    /// A text; a number, as YAML reads `name: 1`, counts as one.
    fn text(&self) -> Result<String, DocumentError> {
        match self.value {
            Value::Number(number) => Ok(number.to_string()),
            _ => self.str().map(str::to_owned),
        }
    }

    fn host(&self) -> Result<String, DocumentError> {
        let text = self.str()?;
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
        if text.chars().all(known) { Ok(text.to_owned()) } else { Err(self.error("a host name")) }
    }

    fn cert(&self) -> Result<Cert, DocumentError> {
        match self.str()? {
            "" => Ok(Cert::Host),
            text => match text.strip_prefix(PIN) {
                Some(hex) => from_hex(hex)
                    .map(Cert::Pin)
                    .ok_or_else(|| self.error("64 hex digits after sha256-raw:")),
                None => self.host().map(Cert::Name),
            },
        }
    }

    fn family(&self, v4: bool) -> Result<Family, DocumentError> {
        match self.str()? {
            "" => Ok(Family::Dns),
            "none" => Ok(Family::Off),
            text => match text.parse::<IpAddr>() {
                Ok(addr) if addr.is_ipv4() == v4 => Ok(Family::At(addr)),
                _ if v4 => Err(self.error("an IPv4 address, \"none\", or nothing (DNS)")),
                _ => Err(self.error("an IPv6 address, \"none\", or nothing (DNS)")),
            },
        }
    }

    fn addr(&self) -> Result<Option<IpAddr>, DocumentError> {
        match self.str()? {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| self.error("an IP address")),
        }
    }
}

/// Why a document is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    path: String,
    expected: &'static str,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "expected {}", self.expected),
            path => write!(f, "{path}: expected {}", self.expected),
        }
    }
}

impl std::error::Error for DocumentError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Document, String> {
        Document::from_json(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn headscale_names() {
        let text = r#"{"regions":{"900":{"regionid":900,"regioncode":"custom","regionname":"My region","nodes":[{"name":"900a","regionid":900,"hostname":"derp.example.com","ipv4":"198.51.100.1","ipv6":"","stunport":0,"stunonly":false,"derpport":0,"canport80":true}]}}}"#;
        let document = read(text).unwrap();
        let region = document.regions[&900].as_ref().unwrap();
        assert_eq!((region.code.as_str(), region.name.as_str()), ("custom", "My region"));
        let node = &region.nodes[0];
        assert_eq!(node.ipv4, Family::At("198.51.100.1".parse().unwrap()));
        assert_eq!((node.ipv6, node.stun_port, node.derp_port), (Family::Dns, Some(0), 0));
        assert!(node.can_port80 && !node.stun_only);
    }

    #[test]
    fn numbers_stay_as_they_are_written() {
        let region = |degrees: &str| {
            let text = format!(r#"{{"regions":{{"1":{{"latitude":{degrees}}}}}}}"#);
            read(&text).map(|document| document.regions[&1].clone().unwrap().latitude)
        };
        for good in ["52.50", "-13", "0", "1.25e-2", "4e+1"] {
            assert_eq!(region(good), Ok(Some(Number(good.into()))), "{good}");
        }
        for bad in ["1e400", "\"1\"", "true", &"9".repeat(41)] {
            assert!(region(bad).unwrap_err().contains("expected a number"), "{bad}");
        }
    }

    #[test]
    fn lenient_where_nothing_is_lost() {
        assert_eq!(read("{}"), Ok(Document::default()));
        assert_eq!(read("null"), Ok(Document::default()));
        let document = read(
            r#"{"Regions":{"1":{"RegionID":0,"Nodes":[{"Name":7,"HostName":"a","New":1}]},"2":null},
                "Later":{}}"#,
        )
        .unwrap();
        assert_eq!(document.regions[&1].as_ref().unwrap().nodes[0].name, "7");
        assert_eq!(document.regions[&2], None);
        assert_eq!(document.unknown, ["Later", "Regions.1.Nodes[0].New"]);
    }

    #[test]
    fn errors_tell_where_and_what() {
        let node = |members: &str| {
            format!(
                r#"{{"regions":{{"1":{{"nodes":[{{"name":"a","hostname":"b",{members}}}]}}}}}}"#
            )
        };
        for (text, expected) in [
            ("{\n", "line 2: expected JSON"),
            ("[]", "expected a map"),
            (r#"{"regions":[]}"#, "regions: expected a map"),
            (
                r#"{"regions":{"0":{}}}"#,
                "regions.0: expected a region number from 1 to 65535 as name",
            ),
            (
                r#"{"regions":{"1":{"regionid":2}}}"#,
                "regions.1.regionid: expected the number of the region in which it stands",
            ),
            (
                r#"{"regions":{"1":{"nodes":[{"name":"a"}]}}}"#,
                "regions.1.nodes[0].hostname: expected a host name, which every node has",
            ),
            (
                &node(r#""derpport":65536"#),
                "regions.1.nodes[0].derpport: expected a port, or 0 (443)",
            ),
            (
                &node(r#""stunport":-2"#),
                "regions.1.nodes[0].stunport: expected a port, 0 (3478) or -1 (no STUN)",
            ),
            (
                &node(r#""ipv4":"::1""#),
                "regions.1.nodes[0].ipv4: expected an IPv4 address, \"none\", or nothing (DNS)",
            ),
            (
                &node(r#""certname":"sha256-raw:12""#),
                "regions.1.nodes[0].certname: expected 64 hex digits after sha256-raw:",
            ),
            (&node(r#""certname":"a\"b""#), "regions.1.nodes[0].certname: expected a host name"),
            (&node(r#""stunonly":1"#), "regions.1.nodes[0].stunonly: expected true or false"),
            (
                r#"{"homeparams":{"regionscore":{"1":-1}}}"#,
                "homeparams.regionscore.1: expected a number from 0",
            ),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text}");
        }
        let long = "x".repeat(254);
        assert!(read(&node(&format!(r#""certname":"{long}""#))).is_err());
        let many = vec![r#"{"name":"a","hostname":"b"}"#; 17].join(",");
        assert!(read(&format!(r#"{{"regions":{{"1":{{"nodes":[{many}]}}}}}}"#)).is_err());
    }
}
