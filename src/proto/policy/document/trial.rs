//! The `tests` and `sshTests` of a policy: what must be allowed and what must not.

use super::alias::{Alias, Names, Position};
use super::fault::Fault;
use super::ports::{self, PINGS, TCP, UDP};
use super::table::Place;
use super::walk::At;

/// A member of `tests`.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) source: Named,
    /// The protocols of which one must be let through.
    pub(crate) protocols: Vec<u8>,
    /// The protocol as it is written, for errors.
    pub(crate) suffix: String,
    pub(crate) accept: Vec<(Named, u16)>,
    pub(crate) deny: Vec<(Named, u16)>,
}

/// A member of `sshTests`.
#[derive(Debug)]
pub(crate) struct SshTrial {
    pub(crate) source: Named,
    pub(crate) destinations: Vec<Named>,
    pub(crate) accept: Vec<Login>,
    pub(crate) deny: Vec<Login>,
    pub(crate) check: Vec<Login>,
}

/// An alias as it is written and where.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) alias: Alias,
    pub(crate) text: String,
    pub(crate) spot: Spot,
}

#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) spot: Spot,
}

/// Where something stands: the offset is for reading, the place for errors.
#[derive(Debug, Default)]
pub(crate) struct Spot {
    pub(super) offset: usize,
    pub(crate) place: Place,
}

impl Named {
    fn read(
        at: &At<'_>,
        text: &str,
        whole: &str,
        names: &Names,
        position: Position,
    ) -> Result<Self, Fault> {
        let alias = names.alias(at, text, position)?;
        Ok(Self { alias, text: whole.to_owned(), spot: Spot::new(at) })
    }
}

impl Spot {
    fn new(at: &At<'_>) -> Self {
        Self { offset: at.offset(), place: Place::default() }
    }
}

impl Trial {
    pub(super) fn read(at: &At<'_>, names: &Names) -> Result<Self, Fault> {
        at.only(&["src", "proto", "accept", "deny", "srcPostureAttrs", "allow"])?;
        if let Some(at) = at.member("srcPostureAttrs")? {
            return Err(at.fault("\"srcPostureAttrs\" is not supported: postures are not kept"));
        }
        let source = source(at, names)?;
        let (mut protocols, mut suffix) = (Vec::new(), String::new());
        if let Some(proto) = at.member("proto")? {
            let text = proto.text()?;
            protocols = ports::protocols(text).map_err(|m| proto.fault(m))?;
            if protocols.iter().any(|p| !ports::WITH_PORTS.contains(p) && !PINGS.contains(p)) {
                return Err(proto.fault("test protocol must be tcp, udp, sctp, icmp, or empty"));
            }
            if !text.is_empty() {
                suffix = format!(" ({text})");
            }
        }
        if protocols.is_empty() {
            protocols = vec![TCP, UDP];
        }
        let ping = protocols.iter().any(|p| PINGS.contains(p));
        let mut accept = destinations(at, "accept", names, ping)?;
        accept.extend(destinations(at, "allow", names, ping)?);
        let deny = destinations(at, "deny", names, ping)?;
        if accept.is_empty() && deny.is_empty() {
            return Err(at.fault("test entry must have at least one of \"accept\" or \"deny\""));
        }
        Ok(Self { source, protocols, suffix, accept, deny })
    }

    pub(super) fn spots(&mut self) -> impl Iterator<Item = &mut Spot> {
        let lists = self.accept.iter_mut().chain(&mut self.deny);
        lists.map(|(named, _)| &mut named.spot).chain(std::iter::once(&mut self.source.spot))
    }
}

fn source(at: &At<'_>, names: &Names) -> Result<Named, Fault> {
    let Some(source) = at.member("src")? else {
        return Err(at.fault("test src must be specified"));
    };
    let text = source.text()?;
    if text == "*" {
        return Err(source.fault("test src must be somebody, not \"*\""));
    }
    Named::read(&source, text, text, names, Position::Source)
}

/// What pings go to is written with port 0.
fn destinations(
    at: &At<'_>,
    member: &str,
    names: &Names,
    ping: bool,
) -> Result<Vec<(Named, u16)>, Fault> {
    let mut out = Vec::new();
    at.texts(member, &mut |at, text| {
        let (host, port) = ports::split(text).map_err(|m| at.fault(m))?;
        if host.contains('/') {
            return Err(at.fault("test destination must be a single host, not a CIDR range"));
        }
        let port = if ping {
            if port != "0" {
                return Err(at.fault("ICMP has no ports: test destination port must be 0"));
            }
            0
        } else {
            match ports::ports(port).map_err(|m| at.fault(m))?.as_slice() {
                [ports] if ports.first == ports.last => ports.first,
                _ => return Err(at.fault("test destination port must be a single port")),
            }
        };
        let named = Named::read(at, host, text, names, Position::Destination)?;
        match &named.alias {
            Alias::Prefix(prefix) if !prefix.is_single() => {
                return Err(at.fault("test destination must be a single host, not a CIDR range"));
            }
            Alias::Internet | Alias::All => {
                let message = format!("test destination must be a host, not {host}");
                return Err(at.fault(message));
            }
            _ => out.push((named, port)),
        }
        Ok(())
    })?;
    Ok(out)
}

impl SshTrial {
    pub(super) fn read(at: &At<'_>, names: &Names) -> Result<Self, Fault> {
        at.only(&["src", "dst", "accept", "deny", "check"])?;
        let source = source(at, names)?;
        let mut destinations = Vec::new();
        at.texts("dst", &mut |at, text| {
            let named = Named::read(at, text, text, names, Position::Destination)?;
            if matches!(named.alias, Alias::Internet | Alias::All | Alias::Group(_)) {
                let message = format!("SSH tests dst contains disallowed element \"{text}\"");
                return Err(at.fault(message));
            }
            destinations.push(named);
            Ok(())
        })?;
        if destinations.is_empty() {
            return Err(at.fault("SSH test dst must be specified"));
        }
        let list = |member: &str| -> Result<Vec<Login>, Fault> {
            let mut out = Vec::new();
            at.texts(member, &mut |at, text| {
                out.push(Login { name: text.to_owned(), spot: Spot::new(at) });
                Ok(())
            })?;
            Ok(out)
        };
        let (accept, deny, check) = (list("accept")?, list("deny")?, list("check")?);
        if accept.is_empty() && deny.is_empty() && check.is_empty() {
            return Err(at.fault(
                "SSH test entry must have at least one of \"accept\", \"deny\" or \"check\"",
            ));
        }
        Ok(Self { source, destinations, accept, deny, check })
    }

    pub(super) fn spots(&mut self) -> impl Iterator<Item = &mut Spot> {
        let logins = self.accept.iter_mut().chain(&mut self.deny).chain(&mut self.check);
        logins.map(|login| &mut login.spot)
    }
}
