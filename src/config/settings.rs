//! What can be set, typed.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gramscale_proto::netmap::Dns;
use gramscale_proto::tailnet::Rules;
use gramscale_proto::wire::prefix::Prefix;
use gramscale_proto::wire::sorted::Map;
use log::LevelFilter;

/// All settings, as the server uses them: what was not set has its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What clients were told to log in at: `http://` or `https://`, a host, perhaps a port.
    pub server_url: String,
    /// Where control, relay and API are served. The unspecified IPv6 address stands for both
    /// families.
    pub listen: Vec<SocketAddr>,
    /// Where metrics are served, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Whose word about the address of a client is believed.
    pub trusted_proxies: Vec<Prefix>,
    /// Who may use the API and the web page over TCP.
    pub admin_allow: Vec<Prefix>,
    /// Where the database lies.
    pub data_dir: PathBuf,
    /// The socket of the command line.
    pub socket: PathBuf,
    /// Its permission bits.
    pub socket_mode: u32,
    /// The certificate of the listener, with its chain: PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its key: PEM.
    pub tls_key: Option<PathBuf>,
    /// The file of the server's Noise key; without one the key lies in the database.
    pub noise_key: Option<PathBuf>,
    /// How nodes come in, get their addresses, and go.
    pub rules: Rules,
    /// Names and nameservers of clients.
    pub dns: Dns,
    /// A JSON file with more of [`Dns::records`], read again when it changes.
    pub dns_records: Option<PathBuf>,
    /// Relays.
    pub derp: Derp,
    /// Where the policy comes from.
    pub policy: Policy,
    /// What is logged.
    pub log_level: LevelFilter,
    /// How log lines look, and where they go.
    pub log_format: LogFormat,
    /// Users that are made at start.
    pub users: Vec<String>,
    /// What peers are told of nodes behind this router.
    pub nat: Nat,
    /// What the init script on a router reads; checked here, so that the log names what is wrong.
    pub router: Router,
    /// Whether the clock is believed before the kernel calls it synchronised.
    pub trust_clock: bool,
    /// Clients may send their logs to the client's maker.
    pub log_tail: bool,
    /// Clients may send each other files.
    pub taildrop: bool,
    /// Clients update themselves unless told otherwise.
    pub auto_update: bool,
    /// Where the command line finds the server, if not at the socket.
    pub client: Client,
    /// headscale's database, which this server does not use.
    pub database: Database,
}

/// How log lines look, and where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines with time and level on standard error.
    Text,
    /// JSON objects there.
    Json,
    /// To the system's log.
    Syslog,
}

/// What peers are told of nodes behind this router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// Whether this machine is a router with NAT.
    pub enabled: bool,
    /// Its LANs; if empty, they are found.
    pub lan: Vec<Prefix>,
    /// Its address outside; if none, it is found.
    pub wan: Option<Ipv4Addr>,
}

/// How the init script makes the server reachable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Router {
    /// 0: on the LAN only, 1: by https, 2: by http with port 443.
    pub reach: usize,
    /// Zones of the firewall that are opened.
    pub zones: Vec<String>,
    /// The address on the LAN whose port 443 is the server's.
    pub alias: Option<Ipv4Addr>,
    /// Whether dnsmasq knows the names of nodes.
    pub lan_names: bool,
    /// The first domain of a certificate that is copied to `ACME_CERT` and `ACME_KEY`.
    pub acme: String,
}

/// Relays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derp {
    /// Whether this server is one.
    pub enabled: bool,
    /// The number of its region: 1 to 65535.
    pub region: u32,
    /// The short name of its region.
    pub code: String,
    /// The long name of its region.
    pub name: String,
    /// Whether the region is put into the map without being listed in a file.
    pub add_region: bool,
    /// Whether only this tailnet's nodes may use it.
    pub verify: bool,
    /// Where STUN is answered, if anywhere.
    pub stun: Option<SocketAddr>,
    /// The address for clients that can't look up the server's name.
    pub v4: Option<Ipv4Addr>,
    /// The same in the other family.
    pub v6: Option<Ipv6Addr>,
    /// Whether the two are found, and followed.
    pub follow_wan: bool,
    /// Relays elsewhere: the regions of a DERP map, JSON; empty if there are none.
    pub regions: String,
    /// The file of the relay's key; without one the key lies in the database.
    pub key: Option<PathBuf>,
    /// Bytes a second that each client may send; 0 is no limit.
    pub rate: u32,
    /// Connections at most.
    pub max_connections: u32,
    /// Bytes at most that wait for all clients together.
    pub max_queued: u32,
    /// Where maps of other relays are fetched.
    pub urls: Vec<String>,
    /// Files with maps of other relays.
    pub paths: Vec<PathBuf>,
    /// Whether the URLs are fetched again.
    pub update: bool,
    /// How often they are.
    pub update_every: Duration,
}

/// Where the policy comes from. Without one all may reach all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// From the database, where commands set it, and not from `path`.
    pub in_database: bool,
    /// The file.
    pub path: Option<PathBuf>,
}

/// Where the command line finds a server elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its URL or address; empty for the socket.
    pub address: String,
    /// The API key.
    pub api_key: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Whether any certificate will do.
    pub insecure: bool,
}

/// headscale's database. Its clients would have to log in again where it is not imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    /// `sqlite`, `sqlite3`, `postgres`, or empty.
    pub kind: String,
    /// The SQLite file.
    pub sqlite: Option<PathBuf>,
    /// The PostgreSQL host.
    pub host: String,
    /// The PostgreSQL database.
    pub name: String,
}

/// A database of headscale that could be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign<'a> {
    /// A file, which may or may not exist.
    Sqlite(&'a Path),
    /// A database on a host.
    Postgres {
        /// The host.
        host: &'a str,
        /// The database.
        name: &'a str,
    },
}

/// The name of our own file in [`Settings::data_dir`].
pub const DATABASE: &str = "gramscale.redb";
/// The name of the socket there, unless it is set.
pub(super) const SOCKET: &str = "gramscale.sock";
/// Where the init script puts certificate and key of the package acme.
pub(super) const ACME_CERT: &str = "/var/run/gramscale/tls.crt";
pub(super) const ACME_KEY: &str = "/var/run/gramscale/tls.key";
/// What follows the names of nodes, unless it is set. `internal` is never a public domain.
const BASE_DOMAIN: &str = "tail.internal";

/// Networks that are nobody's on the Internet: loopback, private, link-local, carrier-grade NAT
/// (and so tailnets).
const PRIVATE: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

impl Settings {
    /// The defaults, with the state in `data_dir`.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            server_url: String::new(),
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))],
            metrics_listen: None,
            trusted_proxies: Vec::new(),
            admin_allow: PRIVATE.iter().filter_map(|text| text.parse().ok()).collect(),
            data_dir: data_dir.to_owned(),
            socket: PathBuf::new(),
            socket_mode: 0o770,
            tls_cert: None,
            tls_key: None,
            noise_key: None,
            rules: Rules { ephemeral_timeout: Duration::from_secs(120), ..Rules::default() },
            dns: Dns {
                magic: true,
                base_domain: BASE_DOMAIN.into(),
                override_local: true,
                nameservers: Vec::new(),
                split: Map::new(),
                search: Vec::new(),
                records: Vec::new(),
            },
            dns_records: None,
            derp: Derp::default(),
            policy: Policy::default(),
            log_level: LevelFilter::Info,
            log_format: LogFormat::Text,
            users: Vec::new(),
            nat: Nat::default(),
            router: Router::default(),
            trust_clock: true,
            log_tail: false,
            taildrop: true,
            auto_update: false,
            client: Client {
                address: String::new(),
                api_key: String::new(),
                timeout: Duration::from_secs(5),
                insecure: false,
            },
            database: Database::default(),
        }
    }

    /// Our own database.
    pub fn database_file(&self) -> PathBuf {
        self.data_dir.join(DATABASE)
    }

    /// The host of the server's URL: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        url_parts(&self.server_url).map_or("", |(_, host, _)| host)
    }

    /// The port that clients dial.
    pub fn port(&self) -> u16 {
        url_parts(&self.server_url).map_or(0, |(_, _, port)| port)
    }

    /// Whether clients dial TLS.
    pub fn is_https(&self) -> bool {
        self.server_url.starts_with("https://")
    }

    /// headscale's database, if one is configured.
    pub fn foreign(&self) -> Option<Foreign<'_>> {
        let Database { kind, sqlite, host, name } = &self.database;
        match kind.as_str() {
            "postgres" => Some(Foreign::Postgres { host, name }),
            _ => sqlite.as_deref().map(Foreign::Sqlite),
        }
    }
}

impl Default for Derp {
    fn default() -> Self {
        Self {
            enabled: true,
            region: 999,
            code: "gramscale".into(),
            name: "gramscale".into(),
            add_region: true,
            verify: true,
            stun: Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 3478))),
            v4: None,
            v6: None,
            follow_wan: false,
            regions: String::new(),
            key: None,
            rate: 0,
            max_connections: 10_000,
            max_queued: 8 << 20,
            urls: Vec::new(),
            paths: Vec::new(),
            update: true,
            update_every: Duration::from_secs(3 * 3600),
        }
    }
}

/// Whether it is https, the host without brackets and the port of a URL without a path.
pub(crate) fn url_parts(url: &str) -> Option<(bool, &str, u16)> {
    let (https, rest) = match url.split_once("://")? {
        ("https", rest) => (true, rest),
        ("http", rest) => (false, rest),
        _ => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let usual = if https { 443 } else { 80 };
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let port = match port {
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok()?,
        Some(_) => return None,
        None => usual,
    };
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':');
    let fine = !host.is_empty() && port > 0 && host.bytes().all(name);
    fine.then_some((https, host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks() {
        assert_eq!(Settings::new(Path::new("/d")).admin_allow.len(), PRIVATE.len());
    }

    #[test]
    fn urls() {
        for (url, parts) in [
            ("http://127.0.0.1:8080", (false, "127.0.0.1", 8080)),
            ("https://vpn.example.com", (true, "vpn.example.com", 443)),
            ("https://vpn.example.com:8443/", (true, "vpn.example.com", 8443)),
            ("http://[fd00::1]", (false, "fd00::1", 80)),
            ("http://[fd00::1]:81", (false, "fd00::1", 81)),
        ] {
            assert_eq!(url_parts(url), Some(parts), "{url}");
        }
        for bad in [
            "",
            "vpn",
            "ftp://x",
            "http://",
            "http://:80",
            "http://x:0",
            "http://x:99999",
            "http://x:8a",
            "http://x/y",
            "http://[fd00::1",
            "http://fd00::1",
            "http://a b",
            "http://u@x",
            "http://[x]",
            "http://[::1]80",
        ] {
            assert_eq!(url_parts(bad), None, "{bad}");
        }
    }
}
