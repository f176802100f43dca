//! The table of keys: everything else is driven by it, also `docs/configuration.md`.

use log::LevelFilter;

use super::settings::LogFormat;
use super::slot::Slot::{self, *};

/// A setting by its names.
pub(super) struct Key {
    /// In YAML, with dots; empty where there is none. Also the name of the environment variables.
    pub(super) name: &'static str,
    /// In UCI: type of the section and option; empty where there is none.
    pub(super) uci: &'static str,
    pub(super) slot: Slot,
    /// What it does, for people.
    pub(super) doc: &'static str,
}

const fn key(name: &'static str, uci: &'static str, slot: Slot, doc: &'static str) -> Key {
    Key { name, uci, slot, doc }
}

const LEVELS: &[&str] =
    &["info", "debug", "trace", "warn", "warning", "error", "fatal", "panic", "disabled", "off"];

const FILTERS: [LevelFilter; 10] = [
    LevelFilter::Info,
    LevelFilter::Debug,
    LevelFilter::Trace,
    LevelFilter::Warn,
    LevelFilter::Warn,
    LevelFilter::Error,
    LevelFilter::Error,
    LevelFilter::Error,
    LevelFilter::Off,
    LevelFilter::Off,
];

const OWN_DATABASE: &str = "it has no effect; gramscale keeps a database of its own";
const ACME: &str = "certificates are not fetched by this server; name files with tls_cert_path and \
                    tls_key_path (on OpenWrt, those of the package acme)";
const OIDC: &str = "logging in through an identity provider is not supported yet; nodes join with \
                    preauth keys or by command";
const TUNING: &str = "it has no effect; there is nothing to tune";

/// All of them, in the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    key("", "server.enabled", Unused(None), "Whether the service starts (for the init script)."),
    key(
        "server_url",
        "server.server_url",
        Url(|s| &mut s.server_url),
        "What clients log in at. Without it, the first address of `listen_addr`.",
    ),
    key(
        "listen_addr",
        "server.listen",
        Listens(|s| &mut s.listen),
        "Where control, relay and API are served, on one port.",
    ),
    key(
        "metrics_listen_addr",
        "server.metrics_listen",
        Listen(|s| &mut s.metrics_listen),
        "Where metrics are served; `none`: nowhere.",
    ),
    key(
        "data_dir",
        "server.data_dir",
        Folder(|s| &mut s.data_dir),
        "Where the database `gramscale.redb` lies. Without it, the folder of \
         `database.sqlite.path`; without that, `/var/lib/gramscale` or the user's data folder.",
    ),
    key(
        "unix_socket",
        "server.socket",
        Folder(|s| &mut s.socket),
        "The socket of the command line. Without it, `gramscale.sock` in the data folder.",
    ),
    key(
        "unix_socket_permission",
        "server.socket_mode",
        Mode(|s| &mut s.socket_mode),
        "Who may open the socket may command.",
    ),
    key(
        "admin_allow",
        "server.admin_allow",
        Networks(|s| &mut s.admin_allow),
        "Who may use the API and the web page over TCP, with an API key.",
    ),
    key(
        "trusted_proxies",
        "server.trusted_proxy",
        Networks(|s| &mut s.trusted_proxies),
        "Proxies whose word about a client's address is believed.",
    ),
    key(
        "noise.private_key_path",
        "server.noise_key",
        Path(|s| &mut s.noise_key),
        "A file for the server's key, made if it is not there. Without it, the key lies in the \
         database.",
    ),
    key(
        "clock_trusted",
        "server.clock_trusted",
        Flag(|s| &mut s.trust_clock),
        "The clock is right before the kernel calls it synchronised; not by default where the \
         settings are in UCI. Until it is right, nothing expires.",
    ),
    key(
        "tls_cert_path",
        "tls.cert",
        Path(|s| &mut s.tls_cert),
        "The certificate of the listener with its chain, PEM; read again when it changes.",
    ),
    key("tls_key_path", "tls.key", Path(|s| &mut s.tls_key), "Its key, PEM."),
    key(
        "",
        "tls.acme",
        Domain(|s| &mut s.router.acme),
        "In place of the two: the first domain of a certificate of OpenWrt's package acme, which \
         the init script copies to where the server may read it, also when it is renewed.",
    ),
    key(
        "prefixes.v4",
        "server.prefix_v4",
        Network4(|s| &mut s.rules.v4),
        "Where nodes get their IPv4 addresses from; `none`: they get none.",
    ),
    key("prefixes.v6", "server.prefix_v6", Network6(|s| &mut s.rules.v6), "The same for IPv6."),
    key(
        "prefixes.allocation",
        "server.allocation",
        Word(
            &["sequential", "random"],
            |s, at| s.rules.random_addresses = at == 1,
            |s| usize::from(s.rules.random_addresses),
        ),
        "The lowest free address, or any.",
    ),
    key(
        "node.expiry",
        "nodes.expiry",
        DurationOrNever(|s| &mut s.rules.node_expiry),
        "After how long untagged nodes must log in again.",
    ),
    key(
        "node.approval",
        "nodes.approval",
        Flag(|s| &mut s.rules.approval),
        "New nodes wait until an administrator approves them (`nodes approve`), but for those \
         with a preauth key that was made with `--preapproved`.",
    ),
    key(
        "node.ephemeral.inactivity_timeout",
        "nodes.ephemeral_timeout",
        Duration(|s| &mut s.rules.ephemeral_timeout),
        "How long an ephemeral node is kept while offline; more than 65 s.",
    ),
    key(
        "node.routes.ha.probe_interval",
        "nodes.ha_probe_interval",
        Duration(|s| &mut s.rules.probe_interval),
        "How often subnet routers that share a route are tried; at least 2 s, or 0 for never.",
    ),
    key(
        "node.routes.ha.probe_timeout",
        "nodes.ha_probe_timeout",
        Duration(|s| &mut s.rules.probe_timeout),
        "How long each has to answer; at least 1 s, less than the interval.",
    ),
    key(
        "preauth_keys.revoked_retention",
        "nodes.auth_key_retention",
        Duration(|s| &mut s.rules.auth_key_retention),
        "How long a preauth key is kept after it ended; 0 is for ever.",
    ),
    key(
        "dns.magic_dns",
        "dns.magic_dns",
        Flag(|s| &mut s.dns.magic),
        "Clients answer for the names of nodes.",
    ),
    key(
        "dns.base_domain",
        "dns.base_domain",
        Domain(|s| &mut s.dns.base_domain),
        "What follows the names of nodes. The server's own host must not lie in it.",
    ),
    key(
        "dns.override_local_dns",
        "dns.override_local",
        Flag(|s| &mut s.dns.override_local),
        "Clients use the nameservers below for everything. Without it: if there are any.",
    ),
    key(
        "dns.nameservers.global",
        "dns.nameserver",
        Servers(|s| &mut s.dns.nameservers),
        "Nameservers of clients.",
    ),
    key(
        "dns.nameservers.split",
        "split_dns",
        Split(|s| &mut s.dns.split),
        "Nameservers for what lies below a domain. UCI: sections `split_dns` with `domain` and a \
         list `server`.",
    ),
    key(
        "dns.search_domains",
        "dns.search_domain",
        Domains(|s| &mut s.dns.search),
        "Domains that clients try behind a short name.",
    ),
    key(
        "dns.extra_records",
        "host_record",
        Records(|s| &mut s.dns.records),
        "More names that clients answer for, of type `A` or `AAAA`. UCI: sections `host_record` \
         with `name` and a list `ip`.",
    ),
    key(
        "dns.extra_records_path",
        "dns.records_file",
        Path(|s| &mut s.dns_records),
        "A JSON file with the same, read again when it changes.",
    ),
    key(
        "derp.server.enabled",
        "derp.enabled",
        Flag(|s| &mut s.derp.enabled),
        "This server relays.",
    ),
    key(
        "derp.server.region_id",
        "derp.region_id",
        Number(|s| &mut s.derp.region, 1, 65_535),
        "The number of its region.",
    ),
    key(
        "derp.server.region_code",
        "derp.region_code",
        Text(|s| &mut s.derp.code),
        "The short name of its region.",
    ),
    key(
        "derp.server.region_name",
        "derp.region_name",
        Text(|s| &mut s.derp.name),
        "The name of its region.",
    ),
    key(
        "derp.server.verify_clients",
        "derp.verify_clients",
        Flag(|s| &mut s.derp.verify),
        "Only nodes of this tailnet may use it.",
    ),
    key(
        "derp.server.stun_listen_addr",
        "derp.stun_listen",
        Listen(|s| &mut s.derp.stun),
        "Where STUN is answered, UDP; `none`: nowhere.",
    ),
    key(
        "derp.server.private_key_path",
        "derp.key",
        Path(|s| &mut s.derp.key),
        "A file for the relay's key, made if it is not there. Without it, the key lies in the \
         database.",
    ),
    key(
        "derp.server.automatically_add_embedded_derp_region",
        "derp.add_region",
        Flag(|s| &mut s.derp.add_region),
        "Its region is in the map without being in a file.",
    ),
    key(
        "derp.server.ipv4",
        "derp.ipv4",
        Address4(|s| &mut s.derp.v4),
        "Its address for clients that can't look up its name.",
    ),
    key("derp.server.ipv6", "derp.ipv6", Address6(|s| &mut s.derp.v6), "The same for IPv6."),
    key(
        "derp.server.follow_wan",
        "derp.follow_wan",
        Flag(|s| &mut s.derp.follow_wan),
        "The two are the public addresses of this machine, as they change.",
    ),
    key(
        "derp.server.rate_limit",
        "derp.rate_limit",
        Number(|s| &mut s.derp.rate, 0, u32::MAX),
        "Bytes a second that each client may send; 0 is no limit.",
    ),
    key(
        "derp.server.max_connections",
        "derp.max_connections",
        Number(|s| &mut s.derp.max_connections, 1, 1_000_000),
        "Connections to the relay at most.",
    ),
    key(
        "derp.server.max_queued_bytes",
        "derp.max_queued_bytes",
        Number(|s| &mut s.derp.max_queued, 65_536, 1 << 30),
        "Bytes at most that wait for all clients together.",
    ),
    key(
        "derp.urls",
        "derp.url",
        Urls(|s| &mut s.derp.urls),
        "Maps of other relays, JSON. They come in the background; the last good copy is kept.",
    ),
    key(
        "derp.paths",
        "derp.path",
        Paths(|s| &mut s.derp.paths),
        "Files with maps of other relays, YAML or JSON.",
    ),
    key(
        "",
        "derp_region",
        Regions(|s| &mut s.derp.regions),
        "Relays elsewhere: sections `derp_region` with `id`, `host` and, if need be, `code`, `name`, \
         `port`, `stun_port`, `ipv4` and `ipv6`.",
    ),
    key(
        "derp.auto_update_enabled",
        "derp.auto_update",
        Flag(|s| &mut s.derp.update),
        "The URLs are fetched again and again.",
    ),
    key(
        "derp.update_frequency",
        "derp.update_interval",
        Duration(|s| &mut s.derp.update_every),
        "How often; at least 1m.",
    ),
    key(
        "policy.mode",
        "policy.mode",
        Word(
            &["file", "database"],
            |s, at| s.policy.in_database = at == 1,
            |s| usize::from(s.policy.in_database),
        ),
        "Whether the policy is a file or set by command. Without it: `file` if `policy.path` is \
         set.",
    ),
    key(
        "policy.path",
        "policy.path",
        Path(|s| &mut s.policy.path),
        "The file: HuJSON. Without a policy all may reach all.",
    ),
    key(
        "log.level",
        "log.level",
        Word(
            LEVELS,
            |s, at| s.log_level = FILTERS.get(at).copied().unwrap_or(LevelFilter::Info),
            |s| FILTERS.iter().position(|level| *level == s.log_level).unwrap_or(0),
        ),
        "What is logged.",
    ),
    key(
        "log.format",
        "log.format",
        Word(
            &["text", "json", "syslog"],
            |s, at| {
                s.log_format = match at {
                    0 => LogFormat::Text,
                    1 => LogFormat::Json,
                    _ => LogFormat::Syslog,
                }
            },
            |s| s.log_format as usize,
        ),
        "How: lines or JSON to standard error, or to the system's log with its levels, which is the \
         default where the settings are in UCI.",
    ),
    key(
        "",
        "user",
        Names(|s| &mut s.users),
        "Users that are there from the start: sections `user` with `name`.",
    ),
    key(
        "nat.enabled",
        "router.nat",
        Flag(|s| &mut s.nat.enabled),
        "This machine is the router of its LANs: of nodes in them others are also told the address \
         that the router gives them outside. By default where the settings are in UCI.",
    ),
    key(
        "nat.lan_prefixes",
        "router.lan",
        Networks(|s| &mut s.nat.lan),
        "Those LANs. Without it: private networks of its interfaces but that of its default route.",
    ),
    key(
        "nat.wan_ipv4",
        "router.wan_ipv4",
        Address4(|s| &mut s.nat.wan),
        "The address outside. Without it: that of the default route, as it changes.",
    ),
    key(
        "",
        "router.reach",
        Word(&["lan", "https", "http"], |s, at| s.router.reach = at, |s| s.router.reach),
        "For the init script: how clients reach the server, see docs/openwrt.md.",
    ),
    key(
        "",
        "router.open_zone",
        Names(|s| &mut s.router.zones),
        "For the init script: firewall zones from which it may be reached; `lan` is open anyway.",
    ),
    key(
        "",
        "router.alias",
        Address4(|s| &mut s.router.alias),
        "For the init script: a free address of the LAN whose port 443 is the server's, where \
         `reach` is `http`.",
    ),
    key(
        "",
        "router.lan_names",
        Flag(|s| &mut s.router.lan_names),
        "For the init script: dnsmasq asks the Tailscale client of this router for names of nodes.",
    ),
    key(
        "logtail.enabled",
        "clients.logtail",
        Flag(|s| &mut s.log_tail),
        "Clients may send their logs to the client's maker.",
    ),
    key(
        "taildrop.enabled",
        "clients.taildrop",
        Flag(|s| &mut s.taildrop),
        "Clients may send each other files.",
    ),
    key(
        "auto_update.enabled",
        "clients.auto_update",
        Flag(|s| &mut s.auto_update),
        "Clients update themselves unless told otherwise.",
    ),
    key(
        "cli.address",
        "",
        Text(|s| &mut s.client.address),
        "Where the command line finds a server elsewhere.",
    ),
    key("cli.api_key", "", Secret(|s| &mut s.client.api_key), "The API key for that."),
    key("cli.timeout", "", Duration(|s| &mut s.client.timeout), "How long an answer may take."),
    key("cli.insecure", "", Flag(|s| &mut s.client.insecure), "Any certificate will do."),
    key(
        "database.type",
        "database.type",
        Word(
            &["", "sqlite", "sqlite3", "postgres"],
            |s, at| {
                let kind = ["", "sqlite", "sqlite3", "postgres"].get(at);
                s.database.kind = kind.copied().unwrap_or_default().into();
            },
            |s| match s.database.kind.as_str() {
                "sqlite" => 1,
                "sqlite3" => 2,
                "postgres" => 3,
                _ => 0,
            },
        ),
        "headscale's database, to be imported.",
    ),
    key(
        "database.sqlite.path",
        "database.path",
        Path(|s| &mut s.database.sqlite),
        "headscale's SQLite file; the own database lies beside it.",
    ),
    key(
        "database.postgres.host",
        "",
        Text(|s| &mut s.database.host),
        "The host of headscale's PostgreSQL.",
    ),
    key("database.postgres.name", "", Text(|s| &mut s.database.name), "Its database."),
    key("database.postgres.port", "", Unused(None), ""),
    key("database.postgres.user", "", Unused(None), ""),
    key("database.postgres.pass", "", Unused(None), ""),
    key("database.postgres.ssl", "", Unused(None), ""),
    key("database.postgres.max_open_conns", "", Unused(None), ""),
    key("database.postgres.max_idle_conns", "", Unused(None), ""),
    key("database.postgres.conn_max_idle_time_secs", "", Unused(None), ""),
    key("database.sqlite.write_ahead_log", "", Unused(Some(OWN_DATABASE)), ""),
    key("database.sqlite.wal_autocheckpoint", "", Unused(Some(OWN_DATABASE)), ""),
    key("database.debug", "", Unused(Some(OWN_DATABASE)), ""),
    key("database.gorm.prepare_stmt", "", Unused(Some(OWN_DATABASE)), ""),
    key("database.gorm.parameterized_queries", "", Unused(Some(OWN_DATABASE)), ""),
    key("database.gorm.skip_err_record_not_found", "", Unused(Some(OWN_DATABASE)), ""),
    key("database.gorm.slow_threshold", "", Unused(Some(OWN_DATABASE)), ""),
    key("disable_check_updates", "", Unused(None), "There is nothing to disable."),
    key("tls_letsencrypt_hostname", "", Unused(Some(ACME)), ""),
    key("tls_letsencrypt_cache_dir", "", Unused(None), ""),
    key("tls_letsencrypt_challenge_type", "", Unused(None), ""),
    key("tls_letsencrypt_listen", "", Unused(None), ""),
    key("acme_url", "", Unused(None), ""),
    key("acme_email", "", Unused(Some(ACME)), ""),
    key("oidc.issuer", "oidc.issuer", Unused(Some(OIDC)), ""),
    key("oidc.client_id", "oidc.client_id", Unused(Some(OIDC)), ""),
    key("oidc.client_secret", "oidc.client_secret", Unused(None), ""),
    key("oidc.client_secret_path", "oidc.client_secret_path", Unused(None), ""),
    key("oidc.only_start_if_oidc_is_available", "oidc.required", Unused(None), ""),
    key("oidc.use_expiry_from_token", "oidc.use_token_expiry", Unused(None), ""),
    key("oidc.scope", "oidc.scope", Unused(None), ""),
    key("oidc.email_verified_required", "oidc.email_verified_required", Unused(None), ""),
    key("oidc.extra_params", "oidc.extra_param", Unused(None), ""),
    key("oidc.allowed_domains", "oidc.allowed_domain", Unused(None), ""),
    key("oidc.allowed_users", "oidc.allowed_user", Unused(None), ""),
    key("oidc.allowed_groups", "oidc.allowed_group", Unused(None), ""),
    key("oidc.pkce.enabled", "oidc.pkce", Unused(None), ""),
    key("oidc.pkce.method", "oidc.pkce_method", Unused(None), ""),
    key("tuning.notifier_send_timeout", "", Unused(Some(TUNING)), ""),
    key("tuning.batch_change_delay", "", Unused(Some(TUNING)), ""),
    key("tuning.node_mapsession_buffered_chan_size", "", Unused(Some(TUNING)), ""),
    key("tuning.batcher_workers", "", Unused(Some(TUNING)), ""),
    key("tuning.register_cache_expiration", "", Unused(Some(TUNING)), ""),
    key("tuning.register_cache_cleanup", "", Unused(Some(TUNING)), ""),
    key("tuning.register_cache_max_entries", "", Unused(Some(TUNING)), ""),
    key("tuning.node_store_batch_size", "", Unused(Some(TUNING)), ""),
    key("tuning.node_store_batch_timeout", "", Unused(Some(TUNING)), ""),
];

/// What became of a key of an older release.
pub(super) enum Old {
    /// It has this name now.
    Renamed(&'static str),
    /// A list of prefixes, of which each family has a key now.
    Prefixes,
    /// It is gone; why.
    Gone(&'static str),
}

const TOLD_AT_ONCE: &str = "it is gone; clients are told at once";
const GRPC: &str = "it is gone; the command line and REST clients speak HTTP";

/// Keys of headscale 0.22 to 0.29.
pub(super) const OLD: &[(&str, Old)] = &[
    ("ip_prefixes", Old::Prefixes),
    ("private_key_path", Old::Gone("it is gone, and the clients that needed it")),
    ("db_type", Old::Renamed("database.type")),
    ("db_path", Old::Renamed("database.sqlite.path")),
    ("db_host", Old::Renamed("database.postgres.host")),
    ("db_port", Old::Renamed("database.postgres.port")),
    ("db_name", Old::Renamed("database.postgres.name")),
    ("db_user", Old::Renamed("database.postgres.user")),
    ("db_pass", Old::Renamed("database.postgres.pass")),
    ("db_ssl", Old::Renamed("database.postgres.ssl")),
    ("acl_policy_path", Old::Renamed("policy.path")),
    ("log_level", Old::Renamed("log.level")),
    ("dns_config.override_local_dns", Old::Renamed("dns.override_local_dns")),
    ("dns_config.nameservers", Old::Renamed("dns.nameservers.global")),
    ("dns_config.restricted_nameservers", Old::Renamed("dns.nameservers.split")),
    ("dns_config.domains", Old::Renamed("dns.search_domains")),
    ("dns_config.magic_dns", Old::Renamed("dns.magic_dns")),
    ("dns_config.base_domain", Old::Renamed("dns.base_domain")),
    ("dns_config.extra_records", Old::Renamed("dns.extra_records")),
    ("dns_config.use_username_in_magic_dns", Old::Gone(USERNAMES)),
    ("dns.use_username_in_magic_dns", Old::Gone(USERNAMES)),
    ("node_update_check_interval", Old::Gone(TOLD_AT_ONCE)),
    ("grpc_listen_addr", Old::Gone(GRPC)),
    ("grpc_allow_insecure", Old::Gone(GRPC)),
    ("ephemeral_node_inactivity_timeout", Old::Renamed("node.ephemeral.inactivity_timeout")),
    (
        "randomize_client_port",
        Old::Gone("it is part of the policy now: \"randomizeClientPort\": true"),
    ),
    ("oidc.expiry", Old::Renamed("node.expiry")),
    ("oidc.strip_email_domain", Old::Gone("it is gone; users keep their whole address")),
    ("oidc.map_legacy_users", Old::Gone("it is gone; import users once")),
];

const USERNAMES: &str = "it is gone; the names of nodes do not contain those of users";

/// Whether keys lie below `group`.
#[cfg(feature = "yaml")]
pub(super) fn is_group(group: &str) -> bool {
    let below = |name: &str| name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'));
    KEYS.iter().any(|key| below(key.name)) || OLD.iter().any(|(name, _)| below(name))
}
