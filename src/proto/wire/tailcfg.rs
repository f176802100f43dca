//! What clients ask (`tailcfg` of the client): registration and map requests.
//!
//! Only what the server uses is read; everything else is skipped without a copy. The answers are
//! written by the netmap room.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::hujson::{Parser, SyntaxError};
use super::json::fold_names;
use super::key::{DiscoKey, NodeKey};
use super::prefix::Prefix;
use super::time::Timestamp;

/// The oldest client that is served: capability version 88 is release 1.62.
pub const OLDEST_VERSION: u16 = 88;

/// From here `HomeDERP` is a number (release 1.80); before it is the address `127.3.3.40:N`.
pub const VERSION_HOME_DERP: u16 = 111;

/// From here absent `AllowedIPs` mean the addresses (release 1.80).
pub const VERSION_ALLOWED_IPS: u16 = 112;

/// Most entries that are read of any list in a request; a client that offers more routes or
/// endpoints than this has gone wrong, and every peer would have to hold them.
pub const LIST_MAX: usize = 512;

/// Longest text that is kept of any string in a request.
pub const TEXT_MAX: usize = 255;

/// `POST /machine/register` (`tailcfg.RegisterRequest`).
#[derive(Debug, Default)]
pub struct RegisterRequest {
    /// The client's capability version.
    pub version: u16,
    /// The key to register.
    pub nodekey: Option<NodeKey>,
    /// The key it replaces; zero for none.
    pub oldnodekey: Option<NodeKey>,
    /// A preauth key.
    authkey: Option<String>,
    expiry: Option<String>,
    /// The login URL whose outcome the client waits for.
    pub followup: Option<String>,
    /// The host.
    pub hostinfo: Option<Hostinfo>,
    /// The node may be deleted once it is offline.
    pub ephemeral: Option<bool>,
}

impl RegisterRequest {
    /// Reads a body. Its names are made lower case in place.
    pub fn parse(body: &mut [u8]) -> Result<Self, BadRequest> {
        let mut out = Self::default();
        parse(body, &mut |json, name| {
            match name {
                "version" => out.version = number(json)?.unwrap_or_default(),
                "nodekey" => out.nodekey = parsed(json)?,
                "oldnodekey" => out.oldnodekey = parsed(json)?,
                "auth" => object(json, &mut |json, name| match name {
                    "authkey" => text(json).map(|key| out.authkey = key),
                    _ => json.skip(),
                })?,
                "expiry" => out.expiry = text(json)?,
                "followup" => out.followup = text(json)?,
                "hostinfo" => out.hostinfo = Hostinfo::read(json)?,
                "ephemeral" => out.ephemeral = json.bool()?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// The preauth key, if one is given.
    pub fn auth_key(&self) -> Option<&str> {
        self.authkey.as_deref().filter(|key| !key.is_empty())
    }

    /// The expiry that the client asks for; `None` when it asks for none.
    pub fn expiry(&self) -> Result<Option<Timestamp>, BadRequest> {
        match self.expiry.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => Timestamp::parse(text).map_err(|_| BadRequest::Expiry),
        }
    }
}

/// `POST /machine/map` (`tailcfg.MapRequest`).
#[derive(Debug, Default)]
pub struct MapRequest {
    /// The client's capability version.
    pub version: u16,
    /// `zstd`, or absent for plain JSON.
    compress: Option<String>,
    /// Who asks.
    pub nodekey: Option<NodeKey>,
    /// The key of its path discovery.
    pub discokey: Option<DiscoKey>,
    /// A long poll; the rest is then only information (capability version 68).
    pub stream: bool,
    /// An old form of a one-shot poll.
    pub readonly: bool,
    /// With neither `stream` nor `readonly`: an update of what the node says of itself.
    pub omitpeers: bool,
    endpoints: Vec<String>,
    endpointtypes: Vec<i32>,
    /// The host.
    pub hostinfo: Option<Hostinfo>,
}

/// How a client found an endpoint (`tailcfg.EndpointType`).
pub const ENDPOINT_STUN: i32 = 2;

impl MapRequest {
    /// Reads a body. Its names are made lower case in place.
    pub fn parse(body: &mut [u8]) -> Result<Self, BadRequest> {
        let mut out = Self::default();
        parse(body, &mut |json, name| {
            match name {
                "version" => out.version = number(json)?.unwrap_or_default(),
                "compress" => out.compress = text(json)?,
                "nodekey" => out.nodekey = parsed(json)?,
                "discokey" => out.discokey = parsed(json)?,
                "stream" => out.stream = json.bool()?.unwrap_or_default(),
                "readonly" => out.readonly = json.bool()?.unwrap_or_default(),
                "omitpeers" => out.omitpeers = json.bool()?.unwrap_or_default(),
                "endpoints" => out.endpoints = texts(json)?,
                "endpointtypes" => json.array(&mut |json| {
                    out.endpointtypes.push(number(json)?.unwrap_or_default());
                    Ok(())
                })?,
                "hostinfo" => out.hostinfo = Hostinfo::read(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// Whether answers are to be zstd frames.
    pub fn wants_zstd(&self) -> bool {
        self.compress.as_deref() == Some("zstd")
    }

    /// The endpoints that peers can be told, each with its kind: link-local ones and those with
    /// a zone mean nothing elsewhere.
    pub fn endpoints(&self) -> impl Iterator<Item = (SocketAddr, i32)> {
        let texts = self.endpoints.iter().take(LIST_MAX);
        texts.enumerate().filter_map(|(i, text)| {
            let addr: SocketAddr = text.parse().ok()?;
            let link_local = match addr {
                SocketAddr::V4(v4) => v4.ip().is_link_local(),
                SocketAddr::V6(v6) => v6.ip().is_unicast_link_local() || v6.scope_id() != 0,
            };
            (!link_local).then(|| (addr, self.endpointtypes.get(i).copied().unwrap_or_default()))
        })
    }
}

/// What a client says of its host (`tailcfg.Hostinfo`), as far as it is used.
#[derive(Debug, Default)]
pub struct Hostinfo {
    /// The client's release.
    pub ipnversion: Option<String>,
    /// `linux`, `windows`, ...
    pub os: Option<String>,
    /// Its version.
    pub osversion: Option<String>,
    /// The host's name.
    pub hostname: Option<String>,
    /// Refuses incoming connections.
    pub shieldsup: Option<bool>,
    routableips: Vec<String>,
    requesttags: Vec<String>,
    services: Vec<Service>,
    sshhostkeys: Vec<String>,
    appconnector: Option<bool>,
    peerrelay: Option<bool>,
    preferredderp: Option<i32>,
}

/// A service of a host.
#[derive(Debug, Default)]
pub struct Service {
    /// `tcp`, `udp`, `peerapi4`, ...
    pub proto: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// Free text.
    pub description: Option<String>,
}

impl Service {
    fn read(json: &mut Parser<'_>) -> Result<Self, SyntaxError> {
        let mut out = Self::default();
        json.object(&mut |json, name| {
            match name {
                "proto" => out.proto = text(json)?,
                "port" => out.port = number(json)?,
                "description" => out.description = text(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(out)
    }
}

impl Hostinfo {
    fn read(json: &mut Parser<'_>) -> Result<Option<Self>, SyntaxError> {
        if json.null() {
            return Ok(None);
        }
        let mut out = Self::default();
        json.object(&mut |json, name| {
            match name {
                "ipnversion" => out.ipnversion = text(json)?,
                "os" => out.os = text(json)?,
                "osversion" => out.osversion = text(json)?,
                "hostname" => out.hostname = text(json)?,
                "shieldsup" => out.shieldsup = json.bool()?,
                "routableips" => out.routableips = texts(json)?,
                "requesttags" => out.requesttags = texts(json)?,
                "services" => json.array(&mut |json| {
                    out.services.push(Service::read(json)?);
                    Ok(())
                })?,
                "sshhostkeys" => out.sshhostkeys = texts(json)?,
                "appconnector" => out.appconnector = json.bool()?,
                "peerrelay" => out.peerrelay = json.bool()?,
                "netinfo" => object(json, &mut |json, name| match name {
                    "preferredderp" => number(json).map(|region| out.preferredderp = region),
                    _ => json.skip(),
                })?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(Some(out))
    }

    /// Offered routes, sorted, without repetition; texts that are no prefix are left out.
    pub fn routes(&self) -> Vec<Prefix> {
        sorted(self.routableips.iter().take(LIST_MAX).filter_map(|text| text.parse().ok()))
    }

    /// Tags it asks for, sorted.
    pub fn request_tags(&self) -> Vec<String> {
        sorted(self.requesttags.iter().take(LIST_MAX).map(cut))
    }

    /// Its services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().take(LIST_MAX)
    }

    /// Public keys of its SSH server.
    pub fn ssh_host_keys(&self) -> Vec<String> {
        // An RSA key of 4096 bits has 736 characters.
        self.sshhostkeys.iter().take(8).filter(|key| key.len() <= 1024).cloned().collect()
    }

    /// Whether it offers to be an app connector.
    pub fn is_app_connector(&self) -> bool {
        self.appconnector == Some(true)
    }

    /// Whether it can relay for peers.
    pub fn is_peer_relay(&self) -> bool {
        self.peerrelay == Some(true)
    }

    /// Its home DERP region, if it has chosen one.
    pub fn home_derp(&self) -> Option<u16> {
        let region = self.preferredderp?;
        u16::try_from(region).ok().filter(|region| *region != 0)
    }
}

/// The text, cut to [`TEXT_MAX`] bytes at the edge of a character.
pub fn cut(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.dedup();
    items
}

/// What reads the value of a member, given its name.
type Member<'m> = dyn FnMut(&mut Parser<'_>, &str) -> Result<(), SyntaxError> + 'm;

fn parse(body: &mut [u8], member: &mut Member<'_>) -> Result<(), BadRequest> {
    fold_names(body);
    let text = std::str::from_utf8(body).map_err(|_| BadRequest::Json)?;
    let mut json = Parser::new(text);
    json.object(&mut |json, name| member(json, name))
        .and_then(|()| json.finish())
        .map_err(|_| BadRequest::Json)
}

/// An object, or `null`.
fn object(json: &mut Parser<'_>, member: &mut Member<'_>) -> Result<(), SyntaxError> {
    if json.null() { Ok(()) } else { json.object(&mut |json, name| member(json, name)) }
}

fn text(json: &mut Parser<'_>) -> Result<Option<String>, SyntaxError> {
    Ok(json.text()?.map(Cow::into_owned))
}

fn texts(json: &mut Parser<'_>) -> Result<Vec<String>, SyntaxError> {
    let mut texts = Vec::new();
    json.array(&mut |json| {
        texts.push(text(json)?.unwrap_or_default());
        Ok(())
    })?;
    Ok(texts)
}

fn number<T: TryFrom<i64>>(json: &mut Parser<'_>) -> Result<Option<T>, SyntaxError> {
    let number = json.integer()?.map(T::try_from).transpose();
    number.map_err(|_| json.error("a smaller number is expected"))
}

/// A text that stands for a value, or `null`.
fn parsed<T: FromStr>(json: &mut Parser<'_>) -> Result<Option<T>, SyntaxError> {
    let value = json.text()?.map(|text| text.parse()).transpose();
    value.map_err(|_| json.error("another text is expected"))
}

/// Why a body can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// `Expiry` is no time.
    Expiry,
    /// It is not the JSON that is expected.
    Json,
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expiry => "Expiry is not an RFC 3339 time",
            Self::Json => "the request body is not valid JSON of the expected form",
        })
    }
}

impl std::error::Error for BadRequest {}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "nodekey:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn register_of_the_go_client() {
        let mut body = format!(
            r#"{{"Version":113,"NodeKey":"{KEY}","OldNodeKey":"nodekey:{zero}","NLKey":"nlpub:{zero}",
            "Auth":{{"AuthKey":"k"}},"Expiry":"0001-01-01T00:00:00Z","Followup":"","Hostinfo":{{
            "IPNVersion":"1.80.3","OS":"linux","Hostname":"box","RoutableIPs":["10.0.0.0/8","x","10.0.0.0/8"],
            "RequestTags":["tag:b","tag:a"],"Services":[{{"Proto":"peerapi4","Port":4242}}],
            "NetInfo":{{"PreferredDERP":999,"DERPLatency":{{"999-v4":0.1}}}},"sshHostKeys":null,
            "Unknown":{{"Deep":[1,2,{{}}]}}}},"NodeKeySignature":null}}"#,
            zero = "0".repeat(64)
        )
        .into_bytes();
        let request = RegisterRequest::parse(&mut body).unwrap();
        assert_eq!(request.version, 113);
        assert_eq!(request.nodekey, Some(KEY.parse().unwrap()));
        assert!(request.oldnodekey.unwrap().is_zero());
        assert_eq!(request.auth_key(), Some("k"));
        assert_eq!(request.expiry(), Ok(None));
        let host = request.hostinfo.unwrap();
        assert_eq!(host.routes(), ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(host.request_tags(), ["tag:a", "tag:b"]);
        assert_eq!(host.home_derp(), Some(999));
        assert_eq!(host.services().next().unwrap().port, Some(4242));
    }

    #[test]
    fn map_of_the_rust_client() {
        let mut body = format!(
            r#"{{"Version":130,"NodeKey":"{KEY}","Stream":true,"HostInfo":{{"IpnVersion":"0.6.1",
            "NetInfo":{{"PreferredDerp":0}}}},"Endpoints":["192.0.2.1:1","[fe80::1]:2","x","[2001:db8::1]:3"],
            "EndpointTypes":[2]}}"#
        )
        .into_bytes();
        let request = MapRequest::parse(&mut body).unwrap();
        assert!(request.stream && !request.wants_zstd() && !request.omitpeers);
        let endpoints: Vec<_> = request.endpoints().map(|(a, k)| (a.to_string(), k)).collect();
        assert_eq!(endpoints, [("192.0.2.1:1".into(), 2), ("[2001:db8::1]:3".to_string(), 0)]);
        let host = request.hostinfo.unwrap();
        assert_eq!(host.home_derp(), None);
        assert_eq!(host.ipnversion.as_deref(), Some("0.6.1"));
    }

    #[test]
    fn null_is_nothing() {
        let mut body =
            br#"{"Version":null,"NodeKey":null,"Auth":null,"Expiry":null,"Ephemeral":null,
            "Hostinfo":null}"#
                .to_vec();
        let request = RegisterRequest::parse(&mut body).unwrap();
        assert_eq!((request.version, request.nodekey, request.auth_key()), (0, None, None));
        assert!(request.hostinfo.is_none() && request.ephemeral.is_none());
        let mut body = br#"{"Stream":null,"Endpoints":null,"EndpointTypes":null,"Hostinfo":{"OS":null,
            "Services":null,"NetInfo":null,"RoutableIPs":null,"ShieldsUp":true,"AppConnector":true}}"#
            .to_vec();
        let request = MapRequest::parse(&mut body).unwrap();
        assert_eq!((request.stream, request.endpoints().count()), (false, 0));
        let host = request.hostinfo.unwrap();
        assert_eq!(
            (host.os.as_deref(), host.shieldsup, host.home_derp()),
            (None, Some(true), None)
        );
        assert!(host.is_app_connector() && !host.is_peer_relay() && host.services().count() == 0);
    }

    #[test]
    fn bad_bodies() {
        for body in [
            "",
            "[]x",
            "{",
            "{}x",
            "[]",
            "null",
            "{\"NodeKey\":\"\"}",
            "{\"Version\":-1}",
            "{\"Version\":70000}",
            "{\"Version\":1.5}",
            "{\"Hostinfo\":1}",
            "{\"Followup\":\"\u{1}\"}",
        ] {
            assert!(RegisterRequest::parse(&mut body.as_bytes().to_vec()).is_err(), "{body}");
        }
        let mut body = br#"{"Expiry":"soon"}"#.to_vec();
        assert_eq!(RegisterRequest::parse(&mut body).unwrap().expiry(), Err(BadRequest::Expiry));
        assert_eq!(cut("é".repeat(200)).len(), 254);
    }
}
