use std::net::Ipv4Addr;
use std::time::Duration;

use gramscale_proto::netmap::Record;
use log::LevelFilter;

use super::*;

/// Settings and problems of a file's text, as if it lay in `/etc/x`.
fn file(text: &str, is_uci: bool) -> (Settings, Vec<String>) {
    with(text, is_uci, &[], &[])
}

fn yaml(text: &str) -> (Settings, Vec<String>) {
    file(text, false)
}

fn with(
    text: &str,
    is_uci: bool,
    variables: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> (Settings, Vec<String>) {
    let mut layers = Layers::new(Settings::new(Path::new("/data")));
    let name = Rc::new(PathBuf::from("/etc/x/conf"));
    lay_file(&mut layers, text, is_uci, &name);
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    layers.environment(&variables, Path::new("/etc/x"));
    for (name, flag, value) in flags {
        layers.flag(name, flag, value, Path::new("/home"));
    }
    check::check(&mut layers);
    let problems = layers.problems.0.iter().map(|problem| {
        let mark = match problem.weight {
            Weight::Error => "E",
            Weight::Unknown => "U",
            Weight::Warning => "W",
        };
        format!("{mark} {problem}")
    });
    (layers.settings.clone(), problems.collect())
}

/// The only problem of a YAML text.
fn only(text: &str) -> String {
    let (_, problems) = yaml(text);
    assert_eq!(problems.len(), 1, "{text}: {problems:?}");
    problems.into_iter().next().unwrap_or_default()
}

#[test]
fn nothing_at_all_works() {
    let (settings, problems) = yaml("");
    assert_eq!(problems, [""; 0]);
    assert_eq!(settings.server_url, "http://127.0.0.1:8080");
    assert_eq!((settings.host(), settings.port()), ("127.0.0.1", 8080));
    assert_eq!(settings.socket, Path::new("/data/gramscale.sock"));
    assert_eq!(settings.database_file(), Path::new("/data/gramscale.redb"));
    assert!(settings.policy.in_database && settings.derp.enabled && settings.derp.verify);
    assert!(!settings.dns.override_local);
    assert_eq!(settings.foreign(), None);
}

/// What a file for headscale 0.29 looks like, with each kind of value.
const HEADSCALE: &str = r#"---
server_url: https://vpn.example.com:8443
listen_addr: 0.0.0.0:8443
metrics_listen_addr: 127.0.0.1:9090
trusted_proxies:
  - 127.0.0.1/32
noise:
  private_key_path: noise.key
prefixes:
  v4: 100.64.0.0/10
  v6: fd7a:115c:a1e0::/48
  allocation: random
derp:
  server:
    enabled: true
    region_id: 900
    region_code: "home"
    region_name: "Home"
    verify_clients: false
    stun_listen_addr: "0.0.0.0:3478"
    private_key_path: derp.key
    automatically_add_embedded_derp_region: true
    ipv4: 198.51.100.1
    ipv6: 2001:db8::1
  urls:
    - https://controlplane.tailscale.com/derpmap/default
  paths: [derp.yaml, /srv/derp.json]
  auto_update_enabled: true
  update_frequency: 24h
disable_check_updates: false
node:
  expiry: 180d
  ephemeral:
    inactivity_timeout: 30m
  routes:
    ha:
      probe_interval: 20s
      probe_timeout: 7s
database:
  type: sqlite
  debug: false
  gorm:
    prepare_stmt: true
  sqlite:
    path: /var/lib/headscale/db.sqlite
    write_ahead_log: true
acme_url: https://acme-v02.api.letsencrypt.org/directory
acme_email: ""
tls_letsencrypt_hostname: ""
tls_letsencrypt_cache_dir: /var/lib/headscale/cache
tls_letsencrypt_challenge_type: HTTP-01
tls_letsencrypt_listen: ":http"
tls_cert_path: cert.pem
tls_key_path: key.pem
log:
  level: debug
  format: json
policy:
  mode: file
  path: "acl.hujson"
dns:
  magic_dns: true
  base_domain: Tail.Example.net
  override_local_dns: true
  nameservers:
    global:
      - 9.9.9.9
      - 2620:fe::fe
      - https://dns.nextdns.io/abc123
    split:
      corp.example.com:
        - 10.0.0.53
      example.org: [10.1.0.53, 10.1.0.54]
  search_domains: [corp.example.com]
  extra_records:
    - name: grafana.tail.example.net
      type: A
      value: 100.64.0.3
    - {name: "v6.tail.example.net", type: "AAAA", value: "fd7a:115c:a1e0::3"}
unix_socket: /var/run/headscale/headscale.sock
unix_socket_permission: "0700"
logtail:
  enabled: true
taildrop:
  enabled: false
auto_update:
  enabled: true
"#;

#[test]
fn headscale_files_are_read() {
    let (s, problems) = yaml(HEADSCALE);
    assert_eq!(
        problems,
        ["W /etc/x/conf line 43: database.gorm.prepare_stmt: it has no effect; gramscale keeps a \
          database of its own"]
    );
    assert_eq!((s.host(), s.port(), s.is_https()), ("vpn.example.com", 8443, true));
    assert_eq!(s.listen, ["0.0.0.0:8443".parse().unwrap()]);
    assert_eq!(s.metrics_listen, Some("127.0.0.1:9090".parse().unwrap()));
    assert_eq!(s.trusted_proxies, ["127.0.0.1/32".parse().unwrap()]);
    assert_eq!(s.noise_key.as_deref(), Some(Path::new("/etc/x/noise.key")));
    assert!(s.rules.random_addresses);
    assert_eq!(s.rules.node_expiry, Some(Duration::from_secs(180 * 86_400)));
    assert_eq!(s.rules.ephemeral_timeout, Duration::from_secs(1800));
    assert_eq!((s.rules.probe_interval.as_secs(), s.rules.probe_timeout.as_secs()), (20, 7));
    assert_eq!((s.derp.region, s.derp.code.as_str(), s.derp.verify), (900, "home", false));
    assert_eq!(s.derp.v4, Some(Ipv4Addr::new(198, 51, 100, 1)));
    assert_eq!(s.derp.key.as_deref(), Some(Path::new("/etc/x/derp.key")));
    assert_eq!(s.derp.paths, [Path::new("/etc/x/derp.yaml"), Path::new("/srv/derp.json")]);
    assert_eq!(s.derp.update_every, Duration::from_secs(86_400));
    assert_eq!(s.tls_cert.as_deref(), Some(Path::new("/etc/x/cert.pem")));
    assert_eq!((s.log_level, s.log_format), (LevelFilter::Debug, LogFormat::Json));
    assert!(!s.policy.in_database);
    assert_eq!(s.policy.path.as_deref(), Some(Path::new("/etc/x/acl.hujson")));
    assert_eq!(s.dns.base_domain, "tail.example.net");
    assert_eq!(s.dns.nameservers[2], "https://dns.nextdns.io/abc123");
    assert_eq!(s.dns.split["example.org"], ["10.1.0.53", "10.1.0.54"]);
    assert_eq!(s.dns.search, ["corp.example.com"]);
    let v6 = Record {
        name: "v6.tail.example.net".into(),
        kind: "AAAA".into(),
        value: "fd7a:115c:a1e0::3".into(),
    };
    assert_eq!(s.dns.records[1], v6);
    assert_eq!((s.socket_mode, s.log_tail, s.taildrop, s.auto_update), (0o700, true, false, true));
    // Our own database lies beside the other, which is reported.
    assert_eq!(s.foreign(), Some(Foreign::Sqlite(Path::new("/var/lib/headscale/db.sqlite"))));
    assert_eq!(s.database_file(), Path::new("/var/lib/headscale/gramscale.redb"));
    assert_eq!(s.socket, Path::new("/var/run/headscale/headscale.sock"));
}

#[test]
fn uci_says_the_same() {
    let text = r"
config server 'main'
	option enabled '1'
	option server_url 'https://vpn.example.com:8443'
	list listen '0.0.0.0:8443'
	option metrics_listen '127.0.0.1:9090'
	list trusted_proxy '127.0.0.1/32'
	option noise_key 'noise.key'
	option prefix_v4 '100.64.0.0/10'
	option prefix_v6 'fd7a:115c:a1e0::/48'
	option allocation 'random'
	option socket '/var/run/headscale/headscale.sock'
	option socket_mode '0700'
	option clock_trusted '1'
	option metrics_unused ''

config tls 'tls'
	option cert 'cert.pem'
	option key 'key.pem'

config derp 'derp'
	option enabled '1'
	option region_id '900'
	option region_code 'home'
	option region_name 'Home'
	option verify_clients '0'
	option stun_listen '0.0.0.0:3478'
	option key 'derp.key'
	option ipv4 '198.51.100.1'
	option ipv6 '2001:db8::1'
	list url 'https://controlplane.tailscale.com/derpmap/default'
	list path 'derp.yaml'
	list path '/srv/derp.json'
	option update_interval '86400'

config nodes
	option expiry '180d'
	option ephemeral_timeout '1800'
	option ha_probe_interval '20'
	option ha_probe_timeout '7s'

config database
	option type 'sqlite'
	option path '/var/lib/headscale/db.sqlite'

config log
	option level 'debug'
	option format 'json'

config policy
	option mode 'file'
	option path 'acl.hujson'

config dns
	option magic_dns 'on'
	option base_domain 'tail.example.net.'
	option override_local '1'
	option nameserver '9.9.9.9 2620:fe::fe https://dns.nextdns.io/abc123'
	list search_domain 'corp.example.com'

config split_dns
	option domain 'corp.example.com'
	list server '10.0.0.53'

config split_dns 'second'
	option domain 'example.org'
	list server '10.1.0.53'
	list server '10.1.0.54'

config host_record
	option name 'grafana.tail.example.net'
	option ip '100.64.0.3'

config host_record
	option name 'v6.tail.example.net'
	list ip 'fd7a:115c:a1e0::3'

config router
	option nat '0'

config clients
	option logtail '1'
	option taildrop 'disabled'
	option auto_update 'yes'
";
    let (settings, problems) = file(text, true);
    assert_eq!(
        problems,
        ["U /etc/x/conf line 15: server.metrics_unused: no such setting; \
                           server.metrics_listen is meant?"]
    );
    assert_eq!(settings, yaml(HEADSCALE).0);
}

/// Each option of UCI: a value, and how it is shown.
const OPTIONS: &[(&str, &str, &str)] = &[
    ("server.server_url", "http://192.168.1.1:8080/", r#""http://192.168.1.1:8080""#),
    ("server.listen", ":81", r#"["[::]:81"]"#),
    ("server.metrics_listen", "127.0.0.1:9090", r#""127.0.0.1:9090""#),
    ("server.data_dir", "/mnt/usb", r#""/mnt/usb""#),
    ("server.socket", "/tmp/s", r#""/tmp/s""#),
    ("server.socket_mode", "0700", r#""0700""#),
    ("server.admin_allow", "192.168.1.0/24", r#"["192.168.1.0/24"]"#),
    ("server.trusted_proxy", "192.168.1.7", r#"["192.168.1.7/32"]"#),
    ("server.noise_key", "noise.key", r#""/etc/x/noise.key""#),
    ("server.clock_trusted", "on", "true"),
    ("tls.cert", "/etc/ssl/a", r#""/etc/ssl/a""#),
    ("tls.key", "/etc/ssl/b", r#""/etc/ssl/b""#),
    ("tls.acme", "vpn.example.org", r#""vpn.example.org""#),
    ("server.prefix_v4", "none", r#""""#),
    ("server.prefix_v6", "fd7a:115c:a1e0:1::/64", r#""fd7a:115c:a1e0:1::/64""#),
    ("server.allocation", "random", r#""random""#),
    ("nodes.expiry", "86400", r#""1d""#),
    ("nodes.ephemeral_timeout", "3600", r#""1h""#),
    ("nodes.approval", "1", "true"),
    ("nodes.ha_probe_interval", "20s", r#""20s""#),
    ("nodes.ha_probe_timeout", "2", r#""2s""#),
    ("nodes.auth_key_retention", "1d", r#""1d""#),
    ("dns.magic_dns", "0", "false"),
    ("dns.base_domain", "Net.Example.org", r#""net.example.org""#),
    ("dns.override_local", "disabled", "false"),
    ("dns.nameserver", "9.9.9.9", r#"["9.9.9.9"]"#),
    ("dns.search_domain", "example.org", r#"["example.org"]"#),
    ("dns.records_file", "/etc/r.json", r#""/etc/r.json""#),
    ("derp.enabled", "no", "false"),
    ("derp.region_id", "901", "901"),
    ("derp.region_code", "home", r#""home""#),
    ("derp.region_name", "At home", r#""At home""#),
    ("derp.verify_clients", "false", "false"),
    ("derp.stun_listen", "none", r#""""#),
    ("derp.key", "/etc/d", r#""/etc/d""#),
    ("derp.add_region", "0", "false"),
    ("derp.ipv4", "192.0.2.1", r#""192.0.2.1""#),
    ("derp.ipv6", "2001:db8::1", r#""2001:db8::1""#),
    ("derp.follow_wan", "1", "true"),
    ("derp.rate_limit", "1000", "1000"),
    ("derp.max_connections", "50", "50"),
    ("derp.max_queued_bytes", "65536", "65536"),
    ("derp.url", "https://example.org/map", r#"["https://example.org/map"]"#),
    ("derp.path", "/etc/map.json", r#"["/etc/map.json"]"#),
    ("derp.auto_update", "0", "false"),
    ("derp.update_interval", "7200", r#""2h""#),
    ("policy.mode", "database", r#""database""#),
    ("policy.path", "/etc/acl", r#""/etc/acl""#),
    ("log.level", "warn", r#""warn""#),
    ("log.format", "json", r#""json""#),
    ("router.nat", "0", "false"),
    ("router.lan", "192.168.1.0/24", r#"["192.168.1.0/24"]"#),
    ("router.wan_ipv4", "192.0.2.7", r#""192.0.2.7""#),
    ("router.reach", "https", r#""https""#),
    ("router.open_zone", "wan", r#"["wan"]"#),
    ("router.alias", "192.168.1.2", r#""192.168.1.2""#),
    ("router.lan_names", "1", "true"),
    ("clients.logtail", "1", "true"),
    ("clients.taildrop", "0", "false"),
    ("clients.auto_update", "1", "true"),
    ("database.type", "sqlite", r#""sqlite""#),
    ("database.path", "/var/db", r#""/var/db""#),
];

#[test]
fn each_option_of_uci_arrives() {
    let shown = |key: &key::Key, settings: &mut Settings| {
        let mut out = Vec::new();
        key.slot.show(settings, &mut Json::new(&mut out));
        String::from_utf8(out).unwrap()
    };
    for key in KEYS.iter().filter(|key| key.uci.contains('.')) {
        let (section, option) = key.uci.split_once('.').unwrap();
        let row = OPTIONS.iter().find(|(name, ..)| *name == key.uci);
        let Some((_, value, expected)) = row else {
            assert!(matches!(key.slot, Slot::Unused(_)), "{} has no row", key.uci);
            for word in ["option", "list"] {
                let text = format!("config {section}\n\t{word} {option} 'a=b'\n");
                let unknown = |problem: &String| problem.starts_with('U');
                assert!(!file(&text, true).1.iter().any(unknown), "{text}");
            }
            continue;
        };
        let text = format!("config {section}\n\toption {option} '{value}'\n");
        let (mut settings, problems) = file(&text, true);
        assert!(problems.iter().all(|problem| !problem.contains("no such")), "{problems:?}");
        assert_eq!(shown(key, &mut settings), *expected, "{}", key.uci);
        let (mut before, _) = file("", true);
        // What is computed from other settings may be the same as before.
        let same = ["policy.mode", "dns.override_local"].contains(&key.uci);
        assert!(same || shown(key, &mut before) != *expected, "{} shows nothing", key.uci);
        // Wrong is told with option, value's kind and line; texts are never wrong.
        let wrong = format!("config {section}\n\toption {option} '\u{1}/ :'\n");
        let (_, problems) = file(&wrong, true);
        let takes_all = matches!(
            key.slot,
            Slot::Names(_) | Slot::Text(_) | Slot::Path(_) | Slot::Paths(_) | Slot::Folder(_)
        );
        let told = format!("E /etc/x/conf line 2: {}: ", key.uci);
        assert!(takes_all || problems.iter().any(|p| p.starts_with(&told)), "{problems:?}");
    }
    assert!(OPTIONS.iter().all(|(name, ..)| KEYS.iter().any(|key| key.uci == *name)));
}

#[test]
fn ways_to_be_reached() {
    let reach = |way: &str, server: &str, more: &str| {
        let text = format!(
            "config server\noption server_url '{server}'\n{more}\nconfig router\noption reach '{way}'"
        );
        let (settings, problems) = file(&text, true);
        (settings, problems.into_iter().find(|problem| problem.contains("reach")))
    };
    let acme = "config tls\noption acme 'vpn.example.org'";
    let alias = "config router\noption alias '192.168.1.2'";
    let (name, secure) = ("http://vpn.example.org:8080", "https://vpn.example.org:8443");
    assert_eq!(reach("lan", "http://192.168.1.1:8080", "").1, None);
    let (settings, problem) = reach("https", secure, acme);
    assert_eq!(
        (settings.tls_cert.as_deref(), problem),
        (Some(Path::new("/var/run/gramscale/tls.crt")), None)
    );
    assert_eq!(reach("http", name, alias).1, None);
    for (way, server, more) in [
        ("https", secure, ""),
        ("https", name, acme),
        ("https", "https://192.0.2.1:8443", acme),
        ("http", name, ""),
        ("http", secure, alias),
        ("http", "http://192.0.2.1:8080", alias),
    ] {
        let problem = reach(way, server, more).1.unwrap();
        assert!(problem.starts_with("E /etc/x/conf line"), "{problem}");
    }
}

#[test]
fn the_shipped_file_is_good() {
    let text = include_str!("../../openwrt/gramscale/files/gramscale.config");
    let (settings, problems) = file(text, true);
    assert_eq!(problems, [""; 0]);
    assert_eq!(settings.users, ["home"]);
    assert_eq!(settings.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert!(settings.nat.enabled && settings.router.zones.is_empty());
    // What is commented out is right as well.
    let all = text.replace("\n#\t", "\n\t");
    assert!(all.matches("\n\tlist listen").count() == 1 && all.contains("\n\toption cert"));
    assert_eq!(file(&all, true).1, [""; 0]);
}

#[test]
fn sections_that_are_lists() {
    let text = "config user\n\toption name 'ann'\nconfig user 'second'\n\toption name 'bob'\n\
                config derp_region\n\toption id '901'\n\toption host 'relay.example.org'\n\
                \toption port '8443'\n\toption ipv4 '192.0.2.1'\n";
    let (settings, problems) = file(text, true);
    assert_eq!(problems, [""; 0]);
    assert_eq!(settings.users, ["ann", "bob"]);
    let region = r#"{"Regions":{"901":{"RegionID":901,"RegionCode":"901","RegionName":"901","#
        .to_owned()
        + r#""Nodes":[{"Name":"901","RegionID":901,"HostName":"relay.example.org","#
        + r#""DERPPort":8443,"IPv4":"192.0.2.1"}]}}}"#;
    assert_eq!(settings.derp.regions, region);
    for (text, told) in [
        ("config user", "user: its name is needed"),
        ("config user\noption mail 'x'\noption name 'a'", "user.mail: no such setting"),
        ("config derp_region\noption id 'x'", "derp_region: id: "),
        ("config derp_region\noption id '901'", "derp_region: host is needed"),
        ("config derp_region\noption id '1'\noption host 'h'\noption ipv4 'x'", "derp_region: "),
        ("config derp_region\noption hots 'x'", "derp_region.hots: no such setting"),
    ] {
        let (_, problems) = file(text, true);
        assert!(problems.iter().any(|problem| problem.contains(told)), "{text}: {problems:?}");
    }
}

#[test]
fn each_key_has_one_name_and_says_what_it_is() {
    for (at, key) in KEYS.iter().enumerate() {
        let twice = |other: &&key::Key| {
            (!key.name.is_empty() && other.name == key.name)
                || (!key.uci.is_empty() && other.uci == key.uci)
        };
        assert_eq!(KEYS.iter().filter(twice).count(), 1, "{} {}", key.name, key.uci);
        let used = !matches!(key.slot, Slot::Unused(_));
        assert!(!used || key.doc.ends_with('.'), "{}", key.name);
        // Those of the command line and of PostgreSQL have no place on a router.
        let router = !key.name.starts_with("cli.") && !key.name.starts_with("database.postgres.");
        let wanted = used || key.name.starts_with("oidc.");
        assert!(!wanted || !router || !key.uci.is_empty(), "{} {at}", key.name);
    }
    for (name, old) in key::OLD {
        assert!(KEYS.iter().all(|key| key.name != *name), "{name}");
        if let key::Old::Renamed(new) = old {
            assert!(KEYS.iter().any(|key| key.name == *new), "{new}");
        }
    }
}

#[test]
fn wrong_values() {
    for (text, told) in [
        ("server_url: vpn.example.com", "server_url: a URL such as https://vpn.example.com or"),
        ("listen_addr: 8080", "listen_addr: \"8080\": an address and port such as"),
        ("listen_addr: []", "listen_addr: an address and port such as"),
        ("metrics_listen_addr: [a, b]", "metrics_listen_addr: one value is expected, not a list"),
        ("trusted_proxies: [10.0.0.1/8]", "\"10.0.0.1/8\": the prefix has bits set behind"),
        ("unix_socket_permission: rwx", "permissions such as 0770 are expected"),
        ("prefixes: {v4: fd00::/64}", "prefixes.v4: an IPv4 prefix is expected"),
        ("prefixes: {v6: 10.0.0.0/8}", "prefixes.v6: an IPv6 prefix is expected"),
        ("prefixes: {allocation: any}", "it is one of sequential, random"),
        ("node: {expiry: 90}", "node.expiry: a unit is missing; write 90s for seconds"),
        ("node: {expiry: soon}", "a duration such as 30m, 24h or 90d is expected"),
        ("node: {expiry: {a: b}}", "one value is expected, not further keys"),
        ("derp: {server: {region_id: 0}}", "a number from 1 to 65535 is expected"),
        ("derp: {server: {enabled: maybe}}", "true or false is expected"),
        ("derp: {server: {ipv4: fd00::1}}", "an IPv4 address is expected"),
        ("derp: {server: {ipv6: 10.0.0.1}}", "an IPv6 address is expected"),
        ("derp: {urls: [ftp://x]}", "a URL that begins with https:// is expected"),
        ("dns: {base_domain: 'a b'}", "a domain such as tail.example.com is expected"),
        ("dns: {nameservers: {global: [dns.example.com]}}", "an address such as 9.9.9.9"),
        ("dns: {nameservers: {split: [1.1.1.1]}}", "domains are expected, each with a list"),
        ("dns: {nameservers: {split: {a.b: [x]}}}", "a.b: \"x\": an address such as 9.9.9.9"),
        ("dns: {extra_records: [{name: a.b, type: TXT, value: x}]}", "a.b: a list of {name,"),
        ("dns: {extra_records: [{name: a.b, type: A, value: '::1'}]}", "a.b: a list of {name,"),
        ("dns: {extra_records: {name: a.b}}", "a list of {name, type, value} is expected"),
        ("log: {level: loud}", "it is one of info, debug, trace"),
        ("unix_socket: ''", "unix_socket: a path is expected"),
        ("dns: true", "dns: further keys are expected below it"),
        ("- a", "\"key: value\" is expected"),
    ] {
        let problem = only(text);
        assert!(problem.starts_with("E /etc/x/conf line 1: "), "{text}: {problem}");
        assert!(problem.contains(told), "{text}: {problem}");
    }
}

#[test]
fn contradictions() {
    for (text, told) in [
        ("listen_addr: :8080", "configuration: server_url: which address clients dial can't"),
        ("tls_cert_path: a", "line 1: tls_cert_path: tls_key_path is needed with it"),
        ("tls_key_path: a", "line 1: tls_key_path: tls_cert_path is needed with it"),
        ("trusted_proxies: [0.0.0.0/0]", "everybody would be believed"),
        ("prefixes: {v4: '', v6: ''}", "nodes need addresses"),
        ("server_url: https://a.b.example\ndns: {base_domain: b.example}", "lies in it"),
        ("server_url: https://b.example\ndns: {base_domain: b.example}", "lies in it"),
        ("dns: {base_domain: ''}", "dns.base_domain: it is needed while dns.magic_dns is true"),
        ("dns: {override_local_dns: true}", "dns.nameservers.global is needed with it"),
        (
            "dns: {extra_records: [{name: a, value: 1.1.1.1}], extra_records_path: b}",
            "use one of them",
        ),
        ("derp: {server: {enabled: false}}", "clients need a relay"),
        (
            "derp: {server: {automatically_add_embedded_derp_region: false}}",
            "its region must then be in a file; set derp.paths",
        ),
        ("derp: {urls: [https://x/], update_frequency: 0s}", "at least 1m is expected"),
        ("noise: {private_key_path: k}\nderp: {server: {private_key_path: k}}", "of its own"),
        ("node: {ephemeral: {inactivity_timeout: 65s}}", "more than 65s is expected"),
        ("node: {routes: {ha: {probe_interval: 1s}}}", "at least 2s is expected, or 0 for never"),
        ("node: {routes: {ha: {probe_timeout: 10s}}}", "less than node.routes.ha.probe_interval"),
        ("database: {type: postgres}", "database.postgres.host is needed with it"),
    ] {
        let problem = only(text);
        assert!(problem.starts_with("E ") && problem.contains(told), "{text}: {problem}");
    }
    for (text, told) in [
        ("prefixes: {v4: 10.9.0.0/16}", "10.9.0.0/16 is not in 100.64.0.0/10"),
        ("policy: {mode: database, path: a}", "no effect while policy.mode is database"),
        ("tls_letsencrypt_hostname: a.b", "certificates are not fetched by this server"),
        ("oidc: {issuer: 'https://x', client_id: y}", "identity provider is not supported yet"),
        ("tuning: {batcher_workers: 3, node_store_batch_size: 9}", "nothing to tune"),
    ] {
        let problem = only(text);
        assert!(problem.starts_with("W ") && problem.contains(told), "{text}: {problem}");
    }
    for fine in [
        "listen_addr: :8080\nserver_url: http://192.168.1.1:8080",
        "node: {routes: {ha: {probe_interval: 0}}}",
        "server_url: https://ab.example\ndns: {base_domain: b.example}",
        "derp: {server: {enabled: false}, paths: [a]}",
        "tls_letsencrypt_hostname: ''\noidc:\ndatabase:\n",
        "prefixes: {v4: ''}",
    ] {
        assert_eq!(yaml(fine).1, [""; 0], "{fine}");
    }
}

#[test]
fn all_errors_at_once_with_their_lines() {
    let (_, problems) =
        yaml("listen_adr: x\nlog:\n  level: loud\n  colour: red\nnode:\n  expiry: soon\n");
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert_eq!(
        problems[0],
        "U /etc/x/conf line 1: listen_adr: no such setting; listen_addr is meant?"
    );
    assert!(problems[1].starts_with("E /etc/x/conf line 3: log.level: "), "{problems:?}");
    assert_eq!(problems[2], "U /etc/x/conf line 4: log.colour: no such setting");
    assert!(problems[3].starts_with("E /etc/x/conf line 6: node.expiry: "), "{problems:?}");
    assert_eq!(only("dns:\n\tx: y"), "E /etc/x/conf line 2: a tab indents the line; use spaces");
    let (_, problems) = file("config server main\noption listen x y\n", true);
    assert!(problems[0].starts_with("E /etc/x/conf line 2: config is followed by"), "{problems:?}");
    let (_, problems) = file("config sever main\n\nconfig split_dns\n\toption domain a.b\n", true);
    assert_eq!(
        problems,
        [
            "U /etc/x/conf line 1: sever: no such setting; server is meant?",
            "E /etc/x/conf line 3: split_dns: both domain and server are needed",
        ]
    );
    let (_, problems) = file("config log\n\toption level 'loud'\n", true);
    assert!(problems[0].starts_with("E /etc/x/conf line 2: log.level: it is one of"));
}

#[test]
fn old_names() {
    let (s, problems) = yaml(
        "ip_prefixes:\n  - fd7a:115c:a1e0::/48\n  - 100.64.0.0/10\ndb_type: sqlite3\n\
         db_path: /var/lib/headscale/db.sqlite\nacl_policy_path: acl.hujson\n\
         dns_config:\n  nameservers: [1.1.1.1]\n  domains: []\n  base_domain: example.net\n  \
         restricted_nameservers:\n    a.b: [10.0.0.1]\n  use_username_in_magic_dns: true\n\
         ephemeral_node_inactivity_timeout: 30m\nrandomize_client_port: false\n\
         grpc_listen_addr: 127.0.0.1:50443\noidc:\n  expiry: 30d\n",
    );
    assert_eq!(s.foreign(), Some(Foreign::Sqlite(Path::new("/var/lib/headscale/db.sqlite"))));
    assert_eq!(s.policy.path.as_deref(), Some(Path::new("/etc/x/acl.hujson")));
    assert_eq!((s.dns.base_domain.as_str(), s.dns.split.len()), ("example.net", 1));
    assert!(s.dns.override_local && s.rules.v4.is_some() && s.rules.v6.is_some());
    assert_eq!(s.rules.ephemeral_timeout, Duration::from_secs(1800));
    assert_eq!(s.rules.node_expiry, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(problems.len(), 13, "{problems:#?}");
    assert!(problems.iter().all(|problem| problem.starts_with("W ")), "{problems:#?}");
    assert!(problems.contains(
        &"W /etc/x/conf line 5: db_path: this is the old name of database.sqlite.path; rename it"
            .to_owned()
    ));
    // A family that the old list does not have is not wanted, and new names win.
    assert_eq!(yaml("ip_prefixes: [100.64.0.0/10]").0.rules.v6, None);
    let (s, problems) = yaml("db_path: /a/b\ndatabase: {sqlite: {path: /c/d}}");
    assert_eq!(s.database.sqlite.as_deref(), Some(Path::new("/c/d")));
    assert!(problems[0].contains("is set as well, and counts"), "{problems:?}");
    let (_, problems) = yaml("ip_prefixes: [x]");
    assert!(problems[1].starts_with("E /etc/x/conf line 1: ip_prefixes: a prefix such as"));
}

#[test]
fn environment_and_flags_win() {
    let text = "server_url: http://a:1\nlog: {level: warn}\nlisten_addr: 127.0.0.1:1\n";
    let (s, problems) = with(
        text,
        false,
        &[
            ("HEADSCALE_SERVER_URL", "http://b:2"),
            ("GRAMSCALE_SERVER_URL", "http://c:3"),
            ("HEADSCALE_LOG_LEVEL", "trace"),
            ("HEADSCALE_LISTEN_ADDR", "127.0.0.1:2"),
            ("HEADSCALE_DNS_NAMESERVERS_GLOBAL", "9.9.9.9,1.1.1.1 8.8.8.8"),
            ("HEADSCALE_DNS_NAMESERVERS_SPLIT", "{a.b: [10.0.0.1]}"),
            ("HEADSCALE_POLICY_PATH", "p"),
            ("HEADSCALE_NODE_EXPIRY", "0"),
            ("HEADSCALE_DEBUG_DUMP_CONFIG", "1"),
            ("GRAMSCALE_CONFIG", "/x"),
            ("HOME", "/h"),
        ],
        &[("listen_addr", "--listen", "127.0.0.1:3"), ("data_dir", "--data-dir", "d")],
    );
    assert_eq!(problems, [""; 0]);
    assert_eq!(s.server_url, "http://c:3");
    assert_eq!(s.log_level, LevelFilter::Trace);
    assert_eq!(s.listen[0].port(), 3);
    assert_eq!(s.dns.nameservers, ["9.9.9.9", "1.1.1.1", "8.8.8.8"]);
    assert_eq!(s.dns.split["a.b"], ["10.0.0.1"]);
    assert_eq!(s.policy.path.as_deref(), Some(Path::new("/etc/x/p")));
    assert_eq!(s.data_dir, Path::new("/home/d"));
    assert_eq!(s.rules.node_expiry, None);
    let (_, problems) = with(
        "",
        false,
        &[("GRAMSCALE_LOG_LEVEL", "loud"), ("GRAMSCALE_LOG_LEVL", "info")],
        &[("listen_addr", "--listen", "x")],
    );
    assert!(problems[0].starts_with("E GRAMSCALE_LOG_LEVEL: it is one of"), "{problems:?}");
    assert_eq!(problems[1], "U GRAMSCALE_LOG_LEVL: no such setting; GRAMSCALE_LOG_LEVEL is meant?");
    assert!(problems[2].starts_with("E --listen: \"x\": an address and port"), "{problems:?}");
}

#[test]
fn files_are_found() {
    let folder = std::env::temp_dir().join(format!("gramscale-{}-config", std::process::id()));
    std::fs::create_dir_all(folder.join(".headscale")).unwrap();
    let home = folder.to_string_lossy().into_owned();
    let mut around = Surroundings {
        variables: vec![("HOME".into(), home.clone())],
        root: false,
        folder: folder.clone(),
    };
    let none = Request::default();
    let loaded = load(&none, &around);
    assert_eq!((loaded.file, loaded.problems.0), (None, Vec::new()));
    assert_eq!(loaded.settings.data_dir, folder.join(".local/share/gramscale"));
    std::fs::write(folder.join("config.json"), "{\"log\": {\"level\": \"warn\"}}").unwrap();
    let loaded = load(&none, &around);
    assert_eq!(loaded.file, Some(folder.join("config.json")));
    assert_eq!(loaded.settings.log_level, LevelFilter::Warn);
    std::fs::write(folder.join(".headscale/config.yaml"), "policy: {path: p}").unwrap();
    let loaded = load(&none, &around);
    assert_eq!(loaded.settings.policy.path, Some(folder.join(".headscale/p")));
    std::fs::write(folder.join("uci"), "config log\n\toption level error\n").unwrap();
    let uci = Request { uci: Some(Path::new("uci")), ..none };
    assert_eq!(load(&uci, &around).settings.log_level, LevelFilter::Error);
    around.variables.push(("HEADSCALE_CONFIG".into(), format!("{home}/config.json")));
    assert_eq!(load(&none, &around).file, Some(folder.join("config.json")));
    around.variables.push(("GRAMSCALE_CONFIG".into(), "gone.yaml".into()));
    let loaded = load(&none, &around);
    assert!(loaded.problems.is_fatal());
    assert!(loaded.problems.to_string().contains("gone.yaml: can't read it: No such file"));
    around = Surroundings { root: true, ..Surroundings::default() };
    assert_eq!(around.data_dir(), Path::new("/var/lib/gramscale"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn settings_are_shown_and_read_again() {
    let (settings, _) = yaml(HEADSCALE);
    let shown = settings.to_json();
    let (again, problems) = yaml(&shown);
    assert_eq!(problems, [""; 0]);
    assert_eq!(again, settings);
    serde_json::from_str::<serde_json::Value>(&shown).unwrap();
    let (settings, _) = yaml("cli: {api_key: secret}");
    assert!(settings.to_json().contains(r#""api_key":"hidden""#));
}

#[test]
fn the_documentation_is_this_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let there = std::fs::read_to_string(&path).unwrap();
    let mark = "<!-- What follows is made by `UPDATE_DOCS=1 cargo test documentation`. -->\n\n";
    let head = there.split_once(mark).map_or(there.as_str(), |(head, _)| head);
    let fresh = format!("{head}{mark}{}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    } else {
        assert!(
            there == fresh,
            "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test documentation"
        );
    }
}

#[cfg(feature = "yaml")]
#[test]
fn relay_maps_become_json() {
    let text = "regions:\n  900:\n    regionid: 900\n    nodes:\n      - name: 900a\n        \
                stunport: 0\n        canport80: false\n  1: null\n";
    assert_eq!(
        yaml_to_json(text).unwrap(),
        r#"{"regions":{"900":{"regionid":900,"nodes":[{"name":"900a","stunport":0,"canport80":false}]},"1":null}}"#
    );
    assert_eq!(yaml_to_json("a: b\na: c"), Err("line 2: \"a\" stands here twice".into()));
}
