//! `reach`: whether the login URL leads to this server, dialled as clients do.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::time::Duration;

use argh::FromArgs;
use gramscale_proto::wire::json;
use serde_json::Value;

use super::Error;
use super::dialect::object;
use super::session::{Session, text};
use crate::config::Settings;
use crate::net::fetch::{Call, Limits};
use crate::serve;

/// Dial the login URL as clients will, and say whether this server answers
#[derive(FromArgs)]
#[argh(subcommand, name = "reach")]
pub(super) struct Reach {}

/// What clients fetch before they log in.
const KEY: &str = "/key?v=115";

/// How long clients try one way (client `control/ts2021`, dial budget).
const PATIENCE: Duration = Duration::from_secs(10);

#[inline(never)]
pub(super) fn run(session: &Session, settings: &Settings) -> Result<(), Error> {
    let (value, human) = look(session, settings)?;
    session.print(&value, &human)
}

/// What was found, and the same in a sentence.
pub(super) fn look(session: &Session, settings: &Settings) -> Result<(Value, String), Error> {
    let own = session.get(KEY)?;
    let (mut problems, mut untried) = (Vec::new(), Vec::new());
    for url in dialled(settings) {
        if url != settings.server_url && is_redirected(settings, serve::is_own) {
            untried.push(format!(
                "{url}: the firewall leads clients from there to this server, but nothing that \
                 the router itself sends; to try it, open it on another machine"
            ));
        } else if let Some(problem) = wrong(&url, text(&own, "publicKey")) {
            problems.push(format!("{url}: {problem}"));
        }
    }
    let address = serve::lan_address();
    if settings.router.reach > 0
        && let Some(address) = address.filter(|address| !serve::is_public(*address))
    {
        problems.push(format!(
            "the address of the default route, {address}, is not on the Internet: another NAT \
             lies before it, which must forward the ports here; else only IPv6 leads here"
        ));
    }
    let mut human = match &problems[..] {
        [] => format!("{} leads here", settings.server_url),
        some => some.join("\n"),
    };
    untried.iter().for_each(|one: &String| human.push_str(&format!("\n{one}")));
    let value = object([
        ("url", settings.server_url.as_str().into()),
        ("good", problems.is_empty().into()),
        ("problems", problems.into()),
        ("untried", untried.into()),
        ("address", address.map(|address| address.to_string()).into()),
    ]);
    Ok((value, human))
}

/// The URLs that must all lead to the server: a client that knows it by http and anything but a
/// private address comes back by port 443 only (client `control/ts2021`, `control/controlhttp`).
fn dialled(settings: &Settings) -> Vec<String> {
    let url = settings.server_url.clone();
    let host = settings.host();
    let private = match host.parse() {
        Ok(IpAddr::V4(v4)) => v4.is_private() || v4.is_loopback(),
        Ok(IpAddr::V6(v6)) => v6.is_unique_local() || v6.is_loopback(),
        Err(_) => host == "localhost",
    };
    if settings.is_https() || private {
        return vec![url];
    }
    // There our port takes TLS and plain HTTP alike, and the key tells that it is ours.
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    vec![url, format!("http://{host}:443")]
}

/// Whether port 443 is one that the init script's firewall redirects: what a router sends to an
/// address of its own passes no firewall zone, and would meet the router's web server.
fn is_redirected(settings: &Settings, is_own: impl Fn(IpAddr) -> bool) -> bool {
    let mut found = match (settings.router.reach, (settings.host(), 443).to_socket_addrs()) {
        (2, Ok(found)) => found,
        _ => return false,
    };
    found.next().is_some_and(|first| is_own(first.ip())) && found.all(|other| is_own(other.ip()))
}

/// Why a URL does not lead to the server that has this key.
fn wrong(url: &str, key: &str) -> Option<String> {
    let call = Call { method: "GET", target: KEY, key: "", body: "" };
    let (status, body) = match call.to(url, &Limits { time: PATIENCE, ..Limits::default() }) {
        Ok(answer) => answer,
        Err(error) => return Some(error.to_string()),
    };
    let answer = json::read(&body).unwrap_or_default();
    let same = status == 200 && text(&answer, "publicKey") == key;
    (!same).then(|| "another server answers there".into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_the_firewall_redirects() {
        let mut settings = Settings::new(Path::new(""));
        settings.server_url = "http://192.0.2.1:8080".into();
        let own: IpAddr = "192.0.2.1".parse().unwrap();
        for (reach, redirected) in [(0, false), (1, false), (2, true)] {
            settings.router.reach = reach;
            assert_eq!(is_redirected(&settings, |addr| addr == own), redirected);
            assert!(!is_redirected(&settings, |_| false), "another machine's can be tried");
        }
        // Such an address is nobody's, and loopback is no router's for its clients.
        assert!(!serve::is_own(own) && !serve::is_own("127.0.0.1".parse().unwrap()));
        assert!(serve::lan_address().is_none_or(serve::is_own));
    }

    #[test]
    fn what_clients_dial() {
        for (url, second) in [
            ("https://vpn.example.org:8443", None),
            ("http://192.168.1.1:8080", None),
            ("http://[fd00::1]:8080", None),
            ("http://vpn.example.org:8080", Some("http://vpn.example.org:443")),
            ("http://203.0.113.1", Some("http://203.0.113.1:443")),
            ("http://[2001:db8::1]:8080", Some("http://[2001:db8::1]:443")),
        ] {
            let mut settings = Settings::new(Path::new(""));
            settings.server_url = url.into();
            let expected: Vec<_> = [Some(url), second].into_iter().flatten().collect();
            assert_eq!(dialled(&settings), expected);
        }
    }
}
