//! Access rules: `acls` and `grants`.

use std::net::IpAddr;

use super::alias::{Alias, Names, Role};
use super::document::Table;
use super::error::Fault;
use super::ports::{self, Ports};
use super::walk::At;

/// One rule in the form that is compiled: sources, destinations, one list of protocols.
///
/// An ACL or grant makes several where its parts compile differently.
#[derive(Debug)]
pub(super) struct Rule {
    /// Where it comes from.
    #[expect(dead_code, reason = "what tells an administrator which rule it was reads it")]
    pub(super) origin: Origin,
    /// Who may, as a place in the table's sources.
    pub(super) source: usize,
    /// What may be reached. Empty if `own`.
    pub(super) targets: Vec<Target>,
    /// The ports of `autogroup:self`, if this is a rule about a user's own nodes.
    pub(super) own: Option<Vec<Ports>>,
    /// Protocol numbers; empty is the clients' default: TCP, UDP and ICMP.
    pub(super) protocols: Vec<u8>,
}

/// Nodes or addresses that may be reached, and on which ports.
#[derive(Debug)]
pub(super) struct Target {
    /// A place in the table's aliases.
    pub(super) alias: usize,
    /// The ports.
    pub(super) ports: Vec<Ports>,
}

/// Which rule of the document it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// `acls` or `grants`; empty for the rule that stands for the absence of both.
    pub(super) section: &'static str,
    /// From 0.
    pub(super) index: usize,
    /// Where it starts in the text.
    pub(super) offset: usize,
}

/// The rule of a document without `acls` and `grants`: everybody may reach everything.
pub(super) fn default(table: &mut Table) -> Rule {
    let wild = table.alias(Alias::Wild);
    let all = table.alias(Alias::All);
    Rule {
        origin: Origin { section: "", index: 0, offset: 0 },
        source: table.source(vec![wild]),
        targets: vec![Target { alias: all, ports: vec![Ports::ALL] }],
        own: None,
        protocols: Vec::new(),
    }
}

/// Reads a member of `acls`.
pub(super) fn acl(
    at: &At<'_>,
    index: usize,
    names: &Names,
    table: &mut Table,
    rules: &mut Vec<Rule>,
) -> Result<(), Fault> {
    at.only(&["action", "proto", "src", "dst", "users", "ports", "srcPosture"])?;
    for old in ["users", "ports", "srcPosture"] {
        if let Some(at) = at.member(old)? {
            return Err(at.fault(format!("\"{old}\" is not supported; use src and dst")));
        }
    }
    let origin = Origin { section: "acls", index, offset: at.offset() };
    match at.member("action")? {
        Some(action) if action.text()? == "accept" => {}
        Some(action) => {
            let text = action.text()?;
            return Err(
                action.fault(format!("invalid ACL action \"{text}\"; only accept is possible"))
            );
        }
        None => return Err(at.fault("invalid ACL action: action must be \"accept\"")),
    }
    let protocols = match at.member("proto")? {
        Some(proto) => ports::protocols(proto.text()?).map_err(|m| proto.fault(m))?,
        None => Vec::new(),
    };
    let (source, aliases) = sources(at, names, table)?;
    let mut targets = Vec::new();
    let mut own = None;
    if let Some(list) = at.member("dst")? {
        for at in list.items()? {
            let text = at.text()?;
            let (host, port) = split(text).map_err(|m| at.fault(m))?;
            let alias = names.alias(&at, host, Role::Destination)?;
            let ports = ports::ports(port).map_err(|m| at.fault(format!("dst=\"{text}\": {m}")))?;
            ports::fit(&protocols, &ports).map_err(|m| at.fault(m))?;
            if alias == Alias::Own {
                own_sources(&at, &aliases, true)?;
                own.get_or_insert_with(Vec::new).extend(ports);
            } else {
                targets.push(Target { alias: table.alias(alias), ports });
            }
        }
    }
    if !targets.is_empty() {
        rules.push(Rule { origin, source, targets, own: None, protocols: protocols.clone() });
    }
    if own.is_some() {
        rules.push(Rule { origin, source, targets: Vec::new(), own, protocols });
    }
    Ok(())
}

/// Reads a member of `grants`.
pub(super) fn grant(
    at: &At<'_>,
    index: usize,
    names: &Names,
    table: &mut Table,
    rules: &mut Vec<Rule>,
) -> Result<(), Fault> {
    at.only(&["src", "dst", "ip", "app", "via", "srcPosture"])?;
    for later in ["app", "via", "srcPosture"] {
        if let Some(at) = at.member(later)? {
            return Err(at.fault(format!("\"{later}\" is not supported yet; remove it")));
        }
    }
    let origin = Origin { section: "grants", index, offset: at.offset() };
    let (source, aliases) = sources(at, names, table)?;
    let accesses = accesses(at)?;
    if accesses.is_empty() {
        return Err(at.fault("ip and app can not both be empty"));
    }
    let mut targets = Vec::new();
    let mut own = false;
    if let Some(list) = at.member("dst")? {
        for at in list.items()? {
            let text = at.text()?;
            let alias = names.alias(&at, text, Role::Destination)?;
            match alias {
                Alias::Own => {
                    own_sources(&at, &aliases, false)?;
                    own = true;
                }
                Alias::Prefix(prefix) if prefix.is_exit() => {
                    return Err(at.fault(format!(
                        "dst \"{text}\": to allow all IP addresses, use \"*\" or \"autogroup:internet\""
                    )));
                }
                _ => targets.push(table.alias(alias)),
            }
        }
    }
    for (protocols, ports) in accesses {
        if !targets.is_empty() {
            let target = |alias: &usize| Target { alias: *alias, ports: ports.clone() };
            let targets = targets.iter().map(target).collect();
            let protocols = protocols.clone();
            rules.push(Rule { origin, source, targets, own: None, protocols });
        }
        if own {
            let own = Some(ports);
            rules.push(Rule { origin, source, targets: Vec::new(), own, protocols });
        }
    }
    Ok(())
}

/// Protocol numbers and the ports that go with them.
type Access = (Vec<u8>, Vec<Ports>);

/// The `ip` of a grant: its ports by protocol, in order of appearance.
fn accesses(at: &At<'_>) -> Result<Vec<Access>, Fault> {
    let mut accesses: Vec<Access> = Vec::new();
    let Some(list) = at.member("ip")? else { return Ok(accesses) };
    for at in list.items()? {
        let text = at.text()?;
        let (protocol, port) = text.split_once(':').unwrap_or(("", text));
        if text.contains(':') && protocol.is_empty() {
            return Err(at.fault(format!("\"{text}\": a protocol is expected before the colon")));
        }
        let protocols = ports::protocols(protocol).map_err(|m| at.fault(m))?;
        let ports = ports::ports(port).map_err(|m| at.fault(m))?;
        ports::fit(&protocols, &ports).map_err(|m| at.fault(m))?;
        match accesses.iter_mut().find(|(same, _)| *same == protocols) {
            Some((_, list)) => list.extend(ports),
            None => accesses.push((protocols, ports)),
        }
    }
    Ok(accesses)
}

fn sources(at: &At<'_>, names: &Names, table: &mut Table) -> Result<(usize, Vec<Alias>), Fault> {
    let mut aliases = Vec::new();
    if let Some(list) = at.member("src")? {
        for at in list.items()? {
            aliases.push(names.alias(&at, at.text()?, Role::Source)?);
        }
    }
    let places = aliases.iter().map(|alias| table.alias(alias.clone())).collect();
    Ok((table.source(places), aliases))
}

/// Refuses sources that are nobody's own nodes. ACLs may say `*`.
fn own_sources(at: &At<'_>, sources: &[Alias], wild: bool) -> Result<(), Fault> {
    let good = |alias: &Alias| match alias {
        Alias::User(_) | Alias::Domain(_) | Alias::Group(_) | Alias::Member => true,
        Alias::Wild => wild,
        _ => false,
    };
    if sources.iter().all(good) {
        return Ok(());
    }
    Err(at.fault("autogroup:self can only be used with users, groups, or supported autogroups"))
}

/// Splits `alias:ports`; brackets around an IPv6 address are taken off.
fn split(text: &str) -> Result<(&str, &str), String> {
    let Some((host, ports)) = text.rsplit_once(':') else {
        return Err(format!("hostport must contain a colon: \"{text}\"; such as \"tag:web:443\""));
    };
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.strip_suffix(']').filter(|a| {
            a.split('/').next().is_some_and(|a| matches!(a.parse(), Ok(IpAddr::V6(_))))
        });
        return match address {
            Some(address) => Ok((address, ports)),
            None => {
                Err(format!("square brackets are only valid around IPv6 addresses: \"{text}\""))
            }
        };
    }
    if host.contains(['[', ']']) {
        return Err(format!("square brackets are only valid around IPv6 addresses: \"{text}\""));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!(
            "\"{text}\" can be an address or an address and a port; write [address]:ports"
        ));
    }
    Ok((host, ports))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        for (text, host, ports) in [
            ("*:*", "*", "*"),
            ("tag:web:80,443", "tag:web", "80,443"),
            ("10.0.0.0/8:1-2", "10.0.0.0/8", "1-2"),
            ("[fd00::1]:22", "fd00::1", "22"),
            ("[fd00::]:*", "fd00::", "*"),
            ("fd00:1::/64:*", "fd00:1::/64", "*"),
            ("fd00::1:*", "fd00::1", "*"),
        ] {
            assert_eq!(split(text), Ok((host, ports)));
        }
        for (bad, why) in [
            ("web", "must contain a colon"),
            ("fd00::1:22", "write [address]:ports"),
            ("[10.0.0.1]:22", "square brackets"),
            ("[fd00::1:22", "square brackets"),
            ("fd00::1]:22", "square brackets"),
        ] {
            assert!(split(bad).unwrap_err().contains(why), "{bad}");
        }
    }
}
