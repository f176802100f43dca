//! The kinds of settings: how a text becomes one, what is accepted, and how it is shown.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gramscale_proto::netmap::Record;
use gramscale_proto::wire::derpmap::Document;
use gramscale_proto::wire::json::Json;
use gramscale_proto::wire::prefix::Prefix;
use gramscale_proto::wire::sorted::Map;
use gramscale_proto::wire::time::parse_duration;
use gramscale_proto::wire::yaml::{Node, Value};

use super::settings::{Settings, url_parts};

type Field<T> = fn(&mut Settings) -> &mut T;

/// Where a setting lies in [`Settings`], and of which kind it is.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    Address4(Field<Option<Ipv4Addr>>),
    Address6(Field<Option<Ipv6Addr>>),
    Domain(Field<String>),
    Domains(Field<Vec<String>>),
    Duration(Field<Duration>),
    /// Zero is `None`.
    DurationOrNever(Field<Option<Duration>>),
    Flag(Field<bool>),
    Folder(Field<PathBuf>),
    Listen(Field<Option<SocketAddr>>),
    Listens(Field<Vec<SocketAddr>>),
    /// Permission bits.
    Mode(Field<u32>),
    /// Names of things: texts in one list.
    Names(Field<Vec<String>>),
    Network4(Field<Option<Prefix>>),
    Network6(Field<Option<Prefix>>),
    Networks(Field<Vec<Prefix>>),
    Number(Field<u32>, u32, u32),
    Path(Field<Option<PathBuf>>),
    Paths(Field<Vec<PathBuf>>),
    Records(Field<Vec<Record>>),
    Secret(Field<String>),
    /// The regions of a DERP map as JSON.
    Regions(Field<String>),
    /// Addresses, or URLs of DNS over HTTPS.
    Servers(Field<Vec<String>>),
    Split(Field<Map<String, Vec<String>>>),
    Text(Field<String>),
    Url(Field<String>),
    Urls(Field<Vec<String>>),
    /// One of these words.
    Word(&'static [&'static str], fn(&mut Settings, usize), fn(&Settings) -> usize),
    /// It is accepted and has no effect. With a reason, whoever sets it is told.
    Unused(Option<&'static str>),
}

/// How a source writes values.
#[derive(Clone, Copy)]
pub(super) struct Style<'a> {
    /// Relative paths begin here.
    pub(super) base: &'a Path,
    /// A duration may be a number of seconds.
    pub(super) seconds: bool,
    /// Lists of paths are words.
    pub(super) words: bool,
}

/// What is wrong with a value, and what is accepted.
type Wrong = String;

impl Slot {
    /// Sets the value. `Null` is for those who wrote a key and nothing behind it.
    pub(super) fn set(self, s: &mut Settings, node: &Node, style: Style<'_>) -> Result<(), Wrong> {
        match self {
            Self::Address4(field) => *field(s) = optional(node, |text| address(text, "IPv4"))?,
            Self::Address6(field) => *field(s) = optional(node, |text| address(text, "IPv6"))?,
            Self::Domain(field) => {
                *field(s) = optional(node, domain)?.unwrap_or_default();
            }
            Self::Domains(field) => *field(s) = each(node, domain)?,
            Self::Duration(field) => *field(s) = duration(text(node)?, style)?,
            Self::DurationOrNever(field) => {
                let span = duration(text(node)?, style)?;
                *field(s) = Some(span).filter(|span| !span.is_zero());
            }
            Self::Flag(field) => *field(s) = flag(text(node)?)?,
            Self::Folder(field) => *field(s) = path(text(node)?, style)?,
            Self::Listen(field) => *field(s) = optional(node, listen)?,
            Self::Listens(field) => {
                let all = each(node, listen)?;
                if all.is_empty() {
                    return Err(LISTEN.into());
                }
                *field(s) = all;
            }
            Self::Mode(field) => *field(s) = mode(text(node)?)?,
            Self::Names(field) => *field(s) = each(node, |text| Ok(text.into()))?,
            Self::Network4(field) => *field(s) = optional(node, |text| network(text, true))?,
            Self::Network6(field) => *field(s) = optional(node, |text| network(text, false))?,
            Self::Networks(field) => {
                *field(s) = each(node, |text| text.parse::<Prefix>().map_err(|e| e.to_string()))?;
            }
            Self::Number(field, min, max) => *field(s) = number(text(node)?, min, max)?,
            Self::Path(field) => *field(s) = optional(node, |text| path(text, style))?,
            Self::Paths(field) => *field(s) = paths(node, style)?,
            Self::Records(field) => *field(s) = records(node)?,
            Self::Regions(field) => *field(s) = regions(node)?,
            Self::Secret(field) | Self::Text(field) => *field(s) = text(node)?.into(),
            Self::Servers(field) => *field(s) = each(node, server)?,
            Self::Split(field) => *field(s) = split(node)?,
            Self::Url(field) => *field(s) = server_url(text(node)?)?,
            Self::Urls(field) => *field(s) = each(node, url)?,
            Self::Word(words, set, _) => {
                let given = text(node)?;
                let at = words.iter().position(|word| word.eq_ignore_ascii_case(given));
                set(s, at.ok_or_else(|| format!("it is one of {}", words.join(", ")))?);
            }
            Self::Unused(_) => {}
        }
        Ok(())
    }

    /// The name of the kind, with its unit.
    pub(super) fn kind(self) -> String {
        let kind = match self {
            Self::Address4(_) => "IPv4 address",
            Self::Address6(_) => "IPv6 address",
            Self::Domain(_) => "domain",
            Self::Domains(_) => "domains",
            Self::Duration(_) => "duration",
            Self::DurationOrNever(_) => "duration, 0 is never",
            Self::Flag(_) => "true or false",
            Self::Folder(_) | Self::Path(_) => "path",
            Self::Listen(_) => "address:port",
            Self::Listens(_) => "address:port, or several",
            Self::Mode(_) => "octal permissions",
            Self::Names(_) => "names",
            Self::Network4(_) => "IPv4 prefix",
            Self::Network6(_) => "IPv6 prefix",
            Self::Networks(_) => "prefixes",
            Self::Number(_, min, max) => return format!("{min} to {max}"),
            Self::Paths(_) => "paths",
            Self::Records(_) => "list of {name, type, value}",
            Self::Regions(_) => "sections",
            Self::Secret(_) | Self::Text(_) => "text",
            Self::Servers(_) => "addresses or https URLs",
            Self::Split(_) => "domains, each with a list of addresses or https URLs",
            Self::Url(_) => "URL",
            Self::Urls(_) => "URLs",
            Self::Word(words, ..) => {
                let words = words.iter().filter(|word| !word.is_empty());
                return words.copied().collect::<Vec<_>>().join(", ");
            }
            Self::Unused(_) => "",
        };
        kind.into()
    }

    /// Writes the value as JSON.
    pub(super) fn show(self, s: &mut Settings, json: &mut Json<'_>) {
        match self {
            Self::Address4(field) => optional_display(json, field(s).as_ref()),
            Self::Address6(field) => optional_display(json, field(s).as_ref()),
            Self::Domain(field) | Self::Regions(field) | Self::Text(field) | Self::Url(field) => {
                json.string(field(s));
            }
            Self::Secret(field) => _ = json.string(if field(s).is_empty() { "" } else { "hidden" }),
            Self::Domains(field)
            | Self::Names(field)
            | Self::Servers(field)
            | Self::Urls(field) => strings(json, field(s)),
            Self::Duration(field) => _ = json.string(&span(*field(s))),
            Self::DurationOrNever(field) => _ = json.string(&span(field(s).unwrap_or_default())),
            Self::Flag(field) => _ = json.bool(*field(s)),
            Self::Folder(field) => _ = json.string(&field(s).to_string_lossy()),
            Self::Listen(field) => optional_display(json, field(s).as_ref()),
            Self::Listens(field) => {
                json.open('[');
                field(s).iter().for_each(|addr| _ = json.display(addr));
                json.close(']');
            }
            Self::Mode(field) => _ = json.string(&format!("0{:o}", field(s))),
            Self::Network4(field) | Self::Network6(field) => {
                optional_display(json, field(s).as_ref());
            }
            Self::Networks(field) => {
                json.open('[');
                field(s).iter().for_each(|prefix| _ = json.display(prefix));
                json.close(']');
            }
            Self::Number(field, ..) => _ = json.int(i64::from(*field(s))),
            Self::Path(field) => {
                let path = field(s).as_ref().map(|path| path.to_string_lossy());
                json.string(path.as_deref().unwrap_or_default());
            }
            Self::Paths(field) => {
                json.open('[');
                field(s).iter().for_each(|path| _ = json.string(&path.to_string_lossy()));
                json.close(']');
            }
            Self::Records(field) => {
                json.open('[');
                for record in field(s).iter() {
                    json.open('{').key("name").string(&record.name);
                    json.key("type").string(&record.kind).key("value").string(&record.value);
                    json.close('}');
                }
                json.close(']');
            }
            Self::Split(field) => {
                json.open('{');
                for (domain, servers) in field(s).iter() {
                    json.string(domain).colon();
                    strings(json, servers);
                }
                json.close('}');
            }
            Self::Word(words, _, get) => {
                json.string(words.get(get(s)).copied().unwrap_or_default());
            }
            Self::Unused(_) => _ = json.null(),
        }
    }
}

const LISTEN: &str = "an address and port such as 127.0.0.1:8080, [::1]:8080 or :8080 (all \
                      addresses) is expected";

/// A duration with its units: `90s` is `1m30s`.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let mut text = String::new();
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")] {
        let count = match unit {
            86_400 => seconds / unit,
            3600 => seconds % 86_400 / unit,
            60 => seconds % 3600 / unit,
            _ => seconds % 60,
        };
        if count > 0 {
            text.push_str(&format!("{count}{name}"));
        }
    }
    match span.subsec_millis() {
        0 if text.is_empty() => "0s".into(),
        0 => text,
        millis => text + &format!("{millis}ms"),
    }
}

fn optional_display<T: std::fmt::Display>(json: &mut Json<'_>, value: Option<&T>) {
    match value {
        Some(value) => json.display(value),
        None => json.string(""),
    };
}

fn strings(json: &mut Json<'_>, texts: &[String]) {
    json.open('[');
    texts.iter().for_each(|text| _ = json.string(text));
    json.close(']');
}

fn text(node: &Node) -> Result<&str, Wrong> {
    match &node.value {
        Value::Null => Ok(""),
        Value::Plain(text) | Value::Text(text) => Ok(text.trim()),
        Value::List(items) => match &items[..] {
            [Node { value: Value::Plain(text) | Value::Text(text), .. }] => Ok(text.trim()),
            _ => Err("one value is expected, not a list".into()),
        },
        Value::Map(_) => Err("one value is expected, not further keys".into()),
    }
}

/// Nothing written is nothing set; UCI, where an empty option is one that was cleared, says `none`.
fn optional<T>(node: &Node, read: impl Fn(&str) -> Result<T, Wrong>) -> Result<Option<T>, Wrong> {
    match text(node)? {
        "" | "none" => Ok(None),
        text => read(text).map(Some),
    }
}

/// A list, or words with commas or spaces between them.
fn each<T>(node: &Node, read: impl Fn(&str) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    match &node.value {
        Value::List(items) => {
            let mut all = Vec::with_capacity(items.len());
            for item in items {
                let text = text(item)?;
                all.push(read(text).map_err(|wrong| format!("\"{text}\": {wrong}"))?);
            }
            Ok(all)
        }
        _ => {
            let words = text(node)?.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
            words.map(|word| read(word).map_err(|wrong| format!("\"{word}\": {wrong}"))).collect()
        }
    }
}

fn address<T: std::str::FromStr>(text: &str, family: &str) -> Result<T, Wrong> {
    text.parse().map_err(|_| format!("an {family} address is expected"))
}

/// A domain as it is compared: lower case, without a dot at either end.
pub(super) fn domain(text: &str) -> Result<String, Wrong> {
    let name = text.trim_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        Ok(name)
    } else {
        Err("a domain such as tail.example.com is expected".into())
    }
}

fn duration(text: &str, style: Style<'_>) -> Result<Duration, Wrong> {
    let number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if number && style.seconds {
        return parse_duration(&format!("{text}s")).map_err(|e| e.to_string());
    }
    match parse_duration(text) {
        Ok(span) => Ok(span),
        Err(_) if number => Err(format!("a unit is missing; write {text}s for seconds")),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn flag(text: &str) -> Result<bool, Wrong> {
    let one_of = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if one_of(&["true", "1", "yes", "on", "enabled", "t", "y"]) {
        Ok(true)
    } else if one_of(&["false", "0", "no", "off", "disabled", "f", "n"]) {
        Ok(false)
    } else {
        Err("true or false is expected".into())
    }
}

fn path(text: &str, style: Style<'_>) -> Result<PathBuf, Wrong> {
    match text {
        "" => Err("a path is expected".into()),
        text => Ok(style.base.join(text)),
    }
}

fn paths(node: &Node, style: Style<'_>) -> Result<Vec<PathBuf>, Wrong> {
    match &node.value {
        Value::Plain(text) | Value::Text(text) if !style.words => {
            let text = Some(text.trim()).filter(|text| !text.is_empty());
            text.into_iter().map(|text| path(text, style)).collect()
        }
        _ => each(node, |text| path(text, style)),
    }
}

/// Go's `:8080` is all addresses.
fn listen(text: &str) -> Result<SocketAddr, Wrong> {
    let addr = match text.strip_prefix(':').or(text.strip_prefix("*:")) {
        Some(port) => port.parse().ok().map(|port: u16| (Ipv6Addr::UNSPECIFIED, port).into()),
        None => match text.strip_prefix("localhost:") {
            Some(port) => port.parse().ok().map(|port: u16| (Ipv4Addr::LOCALHOST, port).into()),
            None => text.parse().ok(),
        },
    };
    addr.ok_or_else(|| LISTEN.into())
}

/// `0770`, `770` or Go's `0o770`.
fn mode(text: &str) -> Result<u32, Wrong> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = !digits.is_empty() && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten();
    mode.filter(|mode| *mode <= 0o777).ok_or_else(|| "permissions such as 0770 are expected".into())
}

fn network(text: &str, v4: bool) -> Result<Prefix, Wrong> {
    let prefix: Prefix =
        text.parse().map_err(|e: gramscale_proto::wire::prefix::PrefixError| e.to_string())?;
    match (prefix.addr().is_ipv4(), v4) {
        (true, false) => Err("an IPv6 prefix is expected".into()),
        (false, true) => Err("an IPv4 prefix is expected".into()),
        _ => Ok(prefix),
    }
}

fn number(text: &str, min: u32, max: u32) -> Result<u32, Wrong> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("a number from {min} to {max} is expected"))
}

fn server_url(text: &str) -> Result<String, Wrong> {
    match url_parts(text) {
        Some(_) => Ok(text.strip_suffix('/').unwrap_or(text).into()),
        None => Err("a URL such as https://vpn.example.com or http://192.168.1.1:8080 is \
                     expected, without a path"
            .into()),
    }
}

fn url(text: &str) -> Result<String, Wrong> {
    let host = text.strip_prefix("https://").or(text.strip_prefix("http://"));
    let fine = host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'));
    if fine { Ok(text.into()) } else { Err("a URL that begins with https:// is expected".into()) }
}

fn server(text: &str) -> Result<String, Wrong> {
    let is_url = text.starts_with("https://") && url(text).is_ok();
    if is_url || text.parse::<std::net::IpAddr>().is_ok() {
        Ok(text.into())
    } else {
        Err("an address such as 9.9.9.9, or a URL that begins with https://, is expected".into())
    }
}

fn split(node: &Node) -> Result<Map<String, Vec<String>>, Wrong> {
    let entries = match &node.value {
        Value::Map(entries) => &entries[..],
        Value::Null => &[],
        _ => return Err("domains are expected, each with a list of nameservers".into()),
    };
    let mut split = Map::new();
    for entry in entries {
        let servers = each(&entry.value, server).map_err(|e| format!("{}: {e}", entry.key))?;
        split.insert(domain(&entry.key)?, servers);
    }
    Ok(split)
}

fn records(node: &Node) -> Result<Vec<Record>, Wrong> {
    let items = match &node.value {
        Value::List(items) => &items[..],
        Value::Null => &[],
        _ => return Err(RECORD.into()),
    };
    items.iter().map(record).collect()
}

/// Sections `derp_region`, as the `Regions` of a DERP map.
fn regions(node: &Node) -> Result<String, Wrong> {
    let Value::List(sections) = &node.value else { return Err("sections are expected".into()) };
    let mut out = Vec::new();
    let mut json = Json::new(&mut out);
    json.open('{').key("Regions").open('{');
    for section in sections {
        let Value::Map(options) = &section.value else { continue };
        let of = |name: &str| {
            let found = options.iter().find(|option| option.key == name);
            found.map_or(Ok(""), |option| text(&option.value))
        };
        let id = number(of("id")?, 1, 65_535).map_err(|wrong| format!("id: {wrong}"))?;
        let host = of("host")?;
        if host.is_empty() {
            return Err("host is needed: the name or address of the relay".into());
        }
        let or_id = |text: &str| if text.is_empty() { id.to_string() } else { text.into() };
        json.string(&id.to_string()).colon().open('{').key("RegionID").int(id.into());
        json.key("RegionCode").string(&or_id(of("code")?));
        json.key("RegionName").string(&or_id(of("name")?));
        json.key("Nodes").open('[').open('{').key("Name").string(&id.to_string());
        json.key("RegionID").int(id.into()).key("HostName").string(host);
        for (option, key) in [("port", "DERPPort"), ("stun_port", "STUNPort")] {
            let given = of(option)?;
            if !given.is_empty() {
                let port = number(given, 1, 65_535).map_err(|e| format!("{option}: {e}"))?;
                json.key(key).int(port.into());
            }
        }
        for (option, key) in [("ipv4", "IPv4"), ("ipv6", "IPv6")] {
            let given = of(option)?;
            if !given.is_empty() {
                json.key(key).string(given);
            }
        }
        json.close('}').close(']').close('}');
    }
    json.close('}').close('}');
    Document::from_json(&out).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap_or_default())
}

const RECORD: &str = "a list of {name, type, value} is expected, where the type is A with an IPv4 \
                      address or AAAA with an IPv6 address";

fn record(node: &Node) -> Result<Record, Wrong> {
    let Value::Map(entries) = &node.value else { return Err(RECORD.into()) };
    let (mut name, mut kind, mut value) = ("", "", "");
    for entry in entries {
        let text = text(&entry.value)?;
        match entry.key.as_str() {
            "name" => name = text,
            "type" => kind = text,
            "value" => value = text,
            _ => return Err(RECORD.into()),
        }
    }
    let name = domain(name)?;
    let family = match value.parse().map_err(|_| format!("{name}: {RECORD}"))? {
        std::net::IpAddr::V4(_) => "A",
        std::net::IpAddr::V6(_) => "AAAA",
    };
    if kind.is_empty() || kind.eq_ignore_ascii_case(family) {
        Ok(Record { name, kind: family.into(), value: value.into() })
    } else {
        Err(format!("{name}: {RECORD}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (seconds, text) in [(0, "0s"), (90, "1m30s"), (3600, "1h"), (604_800, "7d")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)));
        }
        assert_eq!(span(Duration::from_millis(800)), "800ms");
    }

    #[test]
    fn listeners() {
        for (text, addr) in [
            (":8080", "[::]:8080"),
            ("*:8080", "[::]:8080"),
            ("localhost:80", "127.0.0.1:80"),
            ("0.0.0.0:8080", "0.0.0.0:8080"),
            ("[fd00::1]:443", "[fd00::1]:443"),
        ] {
            assert_eq!(listen(text).unwrap().to_string(), addr);
        }
        for bad in ["", "8080", "127.0.0.1", "x:80", ":http", "::1:80", ":99999"] {
            assert_eq!(listen(bad), Err(LISTEN.to_owned()), "{bad}");
        }
    }

    #[test]
    fn modes_and_domains() {
        assert_eq!((mode("0770"), mode("770"), mode("0o700")), (Ok(0o770), Ok(0o770), Ok(0o700)));
        for bad in ["", "8", "0o", "7777", "rwx", "+7"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
        assert_eq!(domain("Tail.Example.com."), Ok("tail.example.com".into()));
        for bad in ["", ".", "a..b", "a b", "-a.b", "a/b", &"a".repeat(64)] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }
}
