//! What settings mean together: defaults that follow from others, and what contradicts.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use gramscale_proto::wire::prefix::Prefix;

use super::layer::Layers;
use super::problem::{Origin, Weight};
use super::settings::{ACME_CERT, ACME_KEY, SOCKET, url_parts};

/// Ephemeral nodes are not deleted while they may only be changing networks.
const EPHEMERAL_MIN: Duration = Duration::from_secs(65);
const HA_INTERVAL_MIN: Duration = Duration::from_secs(2);
const HA_TIMEOUT_MIN: Duration = Duration::from_secs(1);
const UPDATE_MIN: Duration = Duration::from_secs(60);
/// What clients treat as addresses of a tailnet (client `net/tsaddr`).
const TAILNET_RANGES: [&str; 2] = ["100.64.0.0/10", "fd7a:115c:a1e0::/48"];

/// Completes and checks.
pub(super) fn check(layers: &mut Layers) {
    complete(layers);
    server(layers);
    addresses(layers);
    dns(layers);
    relays(layers);
    nodes(layers);
    reach(layers);
}

fn complete(layers: &mut Layers) {
    let set = |name: &str| layers.is_given(name);
    let (data_dir, mode, path) = (set("data_dir"), set("policy.mode"), set("policy.path"));
    let (url, local) = (set("server_url"), set("dns.override_local_dns"));
    let s = &mut layers.settings;
    let beside = s.database.sqlite.as_deref().and_then(Path::parent).map(Path::to_owned);
    if let Some(beside) = beside.filter(|_| !data_dir) {
        s.data_dir = beside;
    }
    if s.socket.as_os_str().is_empty() {
        s.socket = s.data_dir.join(SOCKET);
    }
    if !s.router.acme.is_empty() && s.tls_cert.is_none() && s.tls_key.is_none() {
        (s.tls_cert, s.tls_key) = (Some(ACME_CERT.into()), Some(ACME_KEY.into()));
    }
    if !mode {
        s.policy.in_database = !path;
    }
    if !local {
        s.dns.override_local = !s.dns.nameservers.is_empty();
    }
    let first = s.listen.first().copied();
    if let Some(addr) = first.filter(|_| !url) {
        let scheme = if s.tls_cert.is_some() { "https" } else { "http" };
        s.server_url = format!("{scheme}://{addr}");
        if addr.ip().is_unspecified() {
            let text = "which address clients dial can't be told from listen_addr; set server_url";
            error(layers, "server_url", text.into());
        }
    }
}

fn server(layers: &mut Layers) {
    let s = &layers.settings;
    if s.tls_cert.is_some() != s.tls_key.is_some() {
        let (set, missing) = match s.tls_cert {
            Some(_) => ("tls_cert_path", "tls_key_path"),
            None => ("tls_key_path", "tls_cert_path"),
        };
        error(layers, set, format!("{missing} is needed with it"));
    }
    if layers.settings.trusted_proxies.iter().any(Prefix::is_exit) {
        let text = "everybody would be believed; name the addresses of the proxies";
        error(layers, "trusted_proxies", text.into());
    }
    let s = &layers.settings;
    if s.noise_key.is_some() && s.noise_key == s.derp.key {
        let text = "this is the server's key already; the relay needs a file of its own";
        error(layers, "derp.server.private_key_path", text.into());
    }
    if layers.settings.policy.in_database && layers.settings.policy.path.is_some() {
        let text = "it has no effect while policy.mode is database";
        warn(layers, "policy.path", text.into());
    }
    if layers.settings.database.kind == "postgres" && layers.settings.database.host.is_empty() {
        error(layers, "database.type", "database.postgres.host is needed with it".into());
    }
}

fn addresses(layers: &mut Layers) {
    let rules = &layers.settings.rules;
    let pools = [("prefixes.v4", rules.v4), ("prefixes.v6", rules.v6)];
    if rules.v4.is_none() && rules.v6.is_none() {
        error(layers, "prefixes.v4", "nodes need addresses; set prefixes.v4 or prefixes.v6".into());
    }
    for ((name, pool), range) in pools.into_iter().zip(TAILNET_RANGES) {
        let inside = |pool: Prefix| range.parse().is_ok_and(|range: Prefix| range.covers(&pool));
        if let Some(pool) = pool.filter(|pool| !inside(*pool)) {
            let text = format!(
                "{pool} is not in {range}, which clients take for a tailnet; parts of them will \
                 not work"
            );
            warn(layers, name, text);
        }
    }
}

fn dns(layers: &mut Layers) {
    let s = &layers.settings;
    let base = s.dns.base_domain.clone();
    let host = s.host().to_ascii_lowercase();
    let below = host.strip_suffix(&base).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if s.dns.magic && base.is_empty() {
        error(layers, "dns.base_domain", "it is needed while dns.magic_dns is true".into());
    } else if !base.is_empty() && below && host.parse::<IpAddr>().is_err() {
        let text = format!(
            "the server's own name {host} lies in it, so that clients would look for it in the \
             tailnet; choose another domain"
        );
        error(layers, "dns.base_domain", text);
    }
    if layers.settings.dns.override_local && layers.settings.dns.nameservers.is_empty() {
        let text = "dns.nameservers.global is needed with it, or clients would resolve nothing; \
                    set it, or this to false";
        error(layers, "dns.override_local_dns", text.into());
    }
    if layers.settings.dns_records.is_some() && !layers.settings.dns.records.is_empty() {
        let text = "dns.extra_records is set as well; use one of them";
        error(layers, "dns.extra_records_path", text.into());
    }
}

fn relays(layers: &mut Layers) {
    let derp = layers.settings.derp.clone();
    let own = derp.enabled && derp.add_region;
    if derp.enabled && !derp.add_region && derp.paths.is_empty() {
        let text = "its region must then be in a file; set derp.paths";
        error(layers, "derp.server.automatically_add_embedded_derp_region", text.into());
    } else if !own && derp.urls.is_empty() && derp.paths.is_empty() {
        let text = "clients need a relay; leave this one on, or set derp.urls or derp.paths";
        error(layers, "derp.server.enabled", text.into());
    }
    if derp.enabled && derp.code.is_empty() {
        error(layers, "derp.server.region_code", "a short name is expected".into());
    }
    if derp.update && !derp.urls.is_empty() && derp.update_every < UPDATE_MIN {
        let text = "at least 1m is expected; or set derp.auto_update_enabled to false";
        error(layers, "derp.update_frequency", text.into());
    }
}

fn nodes(layers: &mut Layers) {
    if layers.settings.rules.ephemeral_timeout <= EPHEMERAL_MIN {
        let text = "more than 65s is expected";
        error(layers, "node.ephemeral.inactivity_timeout", text.into());
    }
    let rules = &layers.settings.rules;
    let (interval, timeout) = (rules.probe_interval, rules.probe_timeout);
    if interval.is_zero() {
        return;
    }
    if interval < HA_INTERVAL_MIN {
        let text = "at least 2s is expected, or 0 for never";
        error(layers, "node.routes.ha.probe_interval", text.into());
    } else if timeout < HA_TIMEOUT_MIN || timeout >= interval {
        let text = "at least 1s and less than node.routes.ha.probe_interval is expected";
        error(layers, "node.routes.ha.probe_timeout", text.into());
    }
}

/// Ways to be reached that would fail in the clients, as protocol and ports are chosen there.
fn reach(layers: &mut Layers) {
    let s = &layers.settings;
    let named =
        url_parts(&s.server_url).is_some_and(|(_, host, _)| host.parse::<IpAddr>().is_err());
    let wrong = match s.router.reach {
        1 if !s.is_https() || !named || s.tls_cert.is_none() => {
            "server_url must then be https:// and a name, and there must be a certificate: set \
             tls.acme, or tls.cert and tls.key"
        }
        2 if s.is_https() || !named => "server_url must then be http:// and a name",
        2 if s.router.alias.is_none() => {
            "router.alias must then be a free address of the LAN: clients that reconnect try only \
             port 443, which the router's own web server has"
        }
        _ => return,
    };
    error(layers, "router.reach", wrong.into());
}

fn error(layers: &mut Layers, name: &str, text: String) {
    add(layers, Weight::Error, name, text);
}

fn warn(layers: &mut Layers, name: &str, text: String) {
    add(layers, Weight::Warning, name, text);
}

/// A problem of a key, named as it was written where it was set.
fn add(layers: &mut Layers, weight: Weight, name: &str, text: String) {
    let (origin, shown) = match layers.origin(name) {
        Some((origin, shown)) => (origin.clone(), shown.clone()),
        None => (Origin::Nowhere, name.to_owned()),
    };
    layers.problems.add(weight, &origin, &shown, text);
}
