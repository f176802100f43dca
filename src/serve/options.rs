//! What the server is told about itself.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use gramscale_proto::netmap;
use gramscale_proto::tailnet::Rules;
use gramscale_proto::wire::derp::login::Rate;
use gramscale_proto::wire::prefix::Prefix;
use log::LevelFilter;

use super::derpmap::Sources;
use super::state::ClockTrust;
use crate::config::{self, Settings};

/// Everything that [`super::run()`] needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The database file; its folder is made if it is not there.
    pub store: PathBuf,
    /// Bytes that the database may use as a cache.
    pub cache: usize,
    /// Where clients connect.
    pub listen: Vec<SocketAddr>,
    /// Where metrics are served, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// How clients reach it.
    pub server_url: ServerUrl,
    /// Certificate chain and key as PEM files; the listener then speaks TLS only.
    pub tls: Option<TlsFiles>,
    /// The admin socket.
    pub socket: PathBuf,
    /// Its permissions.
    pub socket_mode: u32,
    /// The key file of the control protocol, made if it is not there; without one the key is in
    /// the database.
    pub noise_key: Option<PathBuf>,
    /// Who may use the admin interface over TCP; everybody with a key, if empty.
    pub admin_allow: Vec<Prefix>,
    /// Whose word about the address of a client is believed.
    pub proxies: Vec<Prefix>,
    /// The rules of the tailnet.
    pub rules: Rules,
    /// What shows in maps.
    pub maps: netmap::Settings,
    /// A JSON file of DNS records, watched.
    pub records: Option<PathBuf>,
    /// Where the policy comes from.
    pub policy: PolicySource,
    /// When the clock is believed.
    pub clock: ClockTrust,
    /// The relay of this server, if it has one.
    pub relay: Option<RelayOptions>,
    /// Other relays; the own region is added to them.
    pub derp: Sources,
    /// A database of headscale that may be there: beside it, our own does not begin empty.
    pub foreign: Option<Foreign>,
    /// What peers are told of nodes behind this machine.
    pub nat: config::Nat,
    /// Users that are made if they are not there.
    pub users: Vec<String>,
    /// What is logged.
    pub log_level: LevelFilter,
}

/// A database of headscale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// On a host.
    Postgres(String),
    /// A file, if it is there.
    Sqlite(PathBuf),
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(host) => write!(f, "headscale's PostgreSQL database on {host}"),
            Self::Sqlite(path) => write!(f, "headscale's database {}", path.display()),
        }
    }
}

impl Options {
    /// What the settings mean for the server.
    ///
    /// # Errors
    ///
    /// The server's URL is none, which the settings' own check reports as well.
    pub fn new(settings: &Settings) -> Result<Self, UrlError> {
        let s = settings.clone();
        let tls = s.tls_cert.zip(s.tls_key).map(|(chain, key)| TlsFiles { chain, key });
        let foreign = settings.foreign().map(|foreign| match foreign {
            config::Foreign::Postgres { host, .. } => Foreign::Postgres(host.to_owned()),
            config::Foreign::Sqlite(path) => Foreign::Sqlite(path.to_owned()),
        });
        Ok(Self {
            store: settings.database_file(),
            cache: crate::store::CACHE,
            listen: s.listen,
            metrics: s.metrics_listen,
            server_url: s.server_url.parse()?,
            tls,
            socket: s.socket,
            socket_mode: s.socket_mode,
            noise_key: s.noise_key,
            admin_allow: s.admin_allow,
            proxies: s.trusted_proxies,
            rules: s.rules,
            maps: netmap::Settings {
                dns: s.dns,
                log_tail: s.log_tail,
                taildrop: s.taildrop,
                auto_update: s.auto_update,
            },
            records: s.dns_records,
            policy: match s.policy.in_database {
                true => PolicySource::Database,
                false => PolicySource::File(s.policy.path),
            },
            clock: match s.trust_clock {
                true => ClockTrust::Always,
                false => ClockTrust::Synchronised,
            },
            relay: RelayOptions::new(&settings.derp),
            derp: Sources {
                urls: s.derp.urls,
                paths: s.derp.paths,
                own: None,
                regions: s.derp.regions,
                update_every: s.derp.update.then_some(s.derp.update_every),
            },
            foreign,
            nat: s.nat,
            users: s.users,
            log_level: s.log_level,
        })
    }

    /// Whether going on as `new` says takes a new start, because it is about what is made once:
    /// listeners, keys, the database. All else is put in force at once.
    ///
    /// Every field is named here, so that the compiler asks of a new one which it is.
    pub(super) fn needs_start(&self, new: &Self) -> bool {
        let Self {
            store,
            cache,
            listen,
            metrics,
            server_url,
            tls,
            socket,
            socket_mode,
            noise_key,
            proxies,
            records,
            policy,
            clock,
            relay,
            admin_allow: _,
            rules: _,
            maps: _,
            derp: _,
            foreign: _,
            nat: _,
            users: _,
            log_level: _,
        } = self;
        *store != new.store
            || *cache != new.cache
            || *listen != new.listen
            || *metrics != new.metrics
            || *server_url != new.server_url
            || tls.is_some() != new.tls.is_some()
            || *socket != new.socket
            || *socket_mode != new.socket_mode
            || *noise_key != new.noise_key
            || *proxies != new.proxies
            || *records != new.records
            || policy.needs_start(&new.policy)
            || *clock != new.clock
            || match (relay, &new.relay) {
                (Some(old), Some(new)) => old.needs_start(new),
                (old, new) => old.is_some() != new.is_some(),
            }
    }
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub chain: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

/// Where the policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// From the database; set by command.
    Database,
    /// From a file, read at start and at SIGHUP; without one everything is allowed.
    File(Option<PathBuf>),
}

impl PolicySource {
    /// Another file is read at once, nothing else.
    fn needs_start(&self, new: &Self) -> bool {
        match (self, new) {
            (Self::File(Some(_)), Self::File(Some(_))) => false,
            _ => self != new,
        }
    }
}

/// The relay of this server, which shares its listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayOptions {
    /// The number of its region.
    pub region: u16,
    /// A short name of the region.
    pub code: String,
    /// A name of the region for people.
    pub name: String,
    /// Whether only nodes of this tailnet may use it.
    pub verify_clients: bool,
    /// Whether its region is added to the map.
    pub in_map: bool,
    /// Where STUN is answered, if it is.
    pub stun: Option<SocketAddr>,
    /// The key file, made if it is not there; without one the key is in the database.
    pub key: Option<PathBuf>,
    /// The address that clients are told, if it is not to be found through the URL's host.
    pub ipv4: Option<IpAddr>,
    /// The same for IPv6.
    pub ipv6: Option<IpAddr>,
    /// Whether the two are found, and followed.
    pub follow_wan: bool,
    /// How much each client may send.
    pub rate: Option<Rate>,
    /// Connections at most.
    pub max_connections: usize,
    /// Bytes at most that wait for all clients together.
    pub max_queued: usize,
}

impl RelayOptions {
    fn new(settings: &config::Derp) -> Option<Self> {
        let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        settings.enabled.then(|| Self {
            // The settings' check knows no larger one.
            region: u16::try_from(settings.region).unwrap_or(u16::MAX),
            code: settings.code.clone(),
            name: settings.name.clone(),
            verify_clients: settings.verify,
            in_map: settings.add_region,
            stun: settings.stun,
            key: settings.key.clone(),
            ipv4: settings.v4.map(IpAddr::V4),
            ipv6: settings.v6.map(IpAddr::V6),
            follow_wan: settings.follow_wan,
            // What was not sent in a second can be made up for in the next.
            rate: (settings.rate > 0)
                .then_some(Rate { bytes_per_second: settings.rate, burst: settings.rate }),
            max_connections: size(settings.max_connections),
            max_queued: size(settings.max_queued),
        })
    }

    /// As [`Options::needs_start`]; what is not compared only shows in the map.
    fn needs_start(&self, new: &Self) -> bool {
        let Self {
            verify_clients,
            stun,
            key,
            rate,
            max_connections,
            max_queued,
            region: _,
            code: _,
            name: _,
            in_map: _,
            ipv4: _,
            ipv6: _,
            follow_wan: _,
        } = self;
        *verify_clients != new.verify_clients
            || *stun != new.stun
            || *key != new.key
            || *rate != new.rate
            || *max_connections != new.max_connections
            || *max_queued != new.max_queued
    }
}

/// The URL of the server: scheme, host and port, nothing behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// `https`, or else `http`.
    pub tls: bool,
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The port, also where the URL leaves it out.
    pub port: u16,
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (tls, host, port) = config::url_parts(text).ok_or(UrlError)?;
        Ok(Self { tls, host: host.to_owned(), port })
    }
}

/// Without a slash at its end, and without a port that needs no mention.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = if self.tls { ("https", 443) } else { ("http", 80) };
        let v6 = self.host.contains(':');
        let (open, close) = if v6 { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}", self.host)?;
        if self.port == default { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// A text is no URL of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlError;

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL such as https://ts.example.org or http://192.168.1.1:8080 is expected")
    }
}

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_new_start() {
        use std::path::Path;

        let new = |change: &dyn Fn(&mut Settings)| {
            let mut settings = Settings::new(Path::new("/data"));
            settings.server_url = "http://192.168.1.1:8080".into();
            settings.policy = config::Policy { in_database: false, path: Some("/a".into()) };
            change(&mut settings);
            Options::new(&settings).unwrap()
        };
        let before = new(&|_| {});
        let live: [&dyn Fn(&mut Settings); 9] = [
            &|_| {},
            &|s| s.admin_allow.clear(),
            &|s| s.rules.random_addresses = true,
            &|s| s.dns.base_domain = "other.internal".into(),
            &|s| s.derp.name = "Home".into(),
            &|s| s.derp.urls.push("https://example.org".into()),
            &|s| s.policy.path = Some("/b".into()),
            &|s| s.log_level = LevelFilter::Debug,
            &|s| s.users.push("ann".into()),
        ];
        for (at, change) in live.iter().enumerate() {
            assert!(!before.needs_start(&new(change)), "{at}");
        }
        let start: [&dyn Fn(&mut Settings); 7] = [
            &|s| s.listen.clear(),
            &|s| s.server_url = "http://192.168.1.1:81".into(),
            &|s| s.data_dir = "/other".into(),
            &|s| s.derp.enabled = false,
            &|s| s.derp.stun = None,
            &|s| s.policy.in_database = true,
            &|s| (s.tls_cert, s.tls_key) = (Some("/c".into()), Some("/k".into())),
        ];
        for (at, change) in start.iter().enumerate() {
            assert!(before.needs_start(&new(change)), "{at}");
        }
    }

    #[test]
    fn urls() {
        for (text, tls, host, port, shown) in [
            ("http://127.0.0.1:8080", false, "127.0.0.1", 8080, "http://127.0.0.1:8080"),
            ("https://ts.example.org/", true, "ts.example.org", 443, "https://ts.example.org"),
            ("http://h:80", false, "h", 80, "http://h"),
            ("https://[fd00::1]:8443", true, "fd00::1", 8443, "https://[fd00::1]:8443"),
            ("http://[::1]", false, "::1", 80, "http://[::1]"),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!((url.tls, url.host.as_str(), url.port), (tls, host, port));
            assert_eq!(url.to_string(), shown);
        }
        for bad in [
            "",
            "h",
            "ftp://h",
            "http://",
            "http://h:x",
            "http://h/p",
            "http://[::1",
            "http://[::1]x",
            "http://[h]",
        ] {
            assert_eq!(bad.parse::<ServerUrl>(), Err(UrlError), "{bad}");
        }
    }
}
