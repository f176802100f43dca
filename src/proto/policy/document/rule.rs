//! Access rules: `acls` and `grants`.

use std::fmt;
use std::rc::Rc;

use crate::policy::ablation::Part;
use crate::wire::json::Json;

use super::alias::{Alias, Names, Position};
use super::app::App;
use super::fault::Fault;
use super::ports::{self, Ports};
use super::table::Table;
use super::walk::At;

/// One rule in the form that is compiled: sources, destinations, one list of protocols.
///
/// An ACL or grant makes several where its parts compile differently.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// Who may, as a place in the table's sources.
    pub(crate) source: usize,
    /// What may be reached. Empty if `own`.
    pub(crate) targets: Vec<Target>,
    /// The ports of `autogroup:self`, if this is a rule about a user's own nodes.
    pub(crate) own: Option<Vec<Ports>>,
    /// Protocol numbers; empty is the clients' default: TCP, UDP and ICMP.
    pub(crate) protocols: Vec<u8>,
    /// The capabilities that it grants, as a JSON object, if it is not about packets.
    pub(crate) caps: Option<Rc<[u8]>>,
    /// The tags of the routers that lead there, as places in the table's aliases. If there are
    /// any, only what lies behind these routers is meant.
    pub(crate) via: Vec<usize>,
}

/// Nodes or addresses that may be reached, and on which ports.
#[derive(Debug)]
pub(crate) struct Target {
    /// A place in the table's aliases.
    pub(crate) alias: usize,
    /// The ports; none where a capability is granted.
    pub(crate) ports: Vec<Ports>,
}

/// Which rule of the document it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `acls`, `grants` or `ssh`; empty for the rule that stands for the absence of both.
    pub section: &'static str,
    /// From 0.
    pub index: usize,
    /// The line that it starts in, from 1.
    pub line: u32,
    pub(super) offset: usize,
}

impl Origin {
    pub(super) fn new(section: &'static str, index: usize, at: &At<'_>) -> Self {
        Self { section, index, line: 0, offset: at.offset() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.section.is_empty() {
            return f.write_str("the lack of both acls and grants");
        }
        write!(f, "{}[{}] (line {})", self.section, self.index, self.line)
    }
}

/// What rules are read with and into.
pub(super) struct Reader<'a> {
    pub(super) names: &'a Names,
    pub(super) table: &'a mut Table,
    pub(super) rules: &'a mut Vec<Rule>,
}

/// Protocol numbers and the ports that go with them.
type Access = (Vec<u8>, Vec<Ports>);

impl Reader<'_> {
    /// The rule of a document without `acls` and `grants`: everybody may reach everything.
    pub(super) fn default(&mut self) {
        let wild = self.table.alias(Alias::Wild, 0);
        let all = self.table.alias(Alias::All, 0);
        let source = self.table.source(vec![wild]);
        let target = Target { alias: all, ports: vec![Ports::ALL] };
        self.rules.push(Rule::new(Origin::default(), source, vec![target]));
    }

    /// Reads a member of `acls`.
    pub(super) fn acl(&mut self, at: &At<'_>, index: usize) -> Result<(), Fault> {
        at.only(&["action", "proto", "src", "dst", "users", "ports", "srcPosture"])?;
        no_posture(at)?;
        let origin = Origin::new("acls", index, at);
        accept(at)?;
        let protocols = match at.member("proto")? {
            Some(proto) => ports::protocols(proto.text()?).map_err(|m| proto.fault(m))?,
            None => Vec::new(),
        };
        let (source, aliases) =
            self.table.read_source(renamed(at, "src", "users")?, self.names, Position::Source)?;
        let mut targets = Vec::new();
        let mut own = None;
        if let Some(list) = renamed(at, "dst", "ports")? {
            list.each_text(&mut |at, text| {
                let (host, port) = ports::split(text).map_err(|m| at.fault(m))?;
                let alias = self.names.alias(at, host, Position::Destination);
                let alias = alias.map_err(|fault| match host {
                    "tag" | "group" | "autogroup" => at.fault(no_ports(text)),
                    _ => fault,
                })?;
                let ports = ports::ports(port);
                let ports = ports.map_err(|m| at.fault(format!("dst=\"{text}\": {m}")))?;
                ports::fit(&protocols, &ports).map_err(|m| at.fault(m))?;
                if alias == Alias::Own {
                    own_sources(at, &aliases, true)?;
                    own.get_or_insert_with(Vec::new).extend(ports);
                } else {
                    targets.push(Target { alias: self.table.alias(alias, at.offset()), ports });
                }
                Ok(())
            })?;
        }
        if !targets.is_empty() {
            let protocols = protocols.clone();
            self.rules.push(Rule { protocols, ..Rule::new(origin, source, targets) });
        }
        if own.is_some() {
            self.rules.push(Rule { own, protocols, ..Rule::new(origin, source, Vec::new()) });
        }
        Ok(())
    }

    /// Reads a member of `grants`.
    pub(super) fn grant(&mut self, at: &At<'_>, index: usize) -> Result<(), Fault> {
        at.only(&["src", "dst", "ip", "app", "via", "srcPosture"])?;
        no_posture(at)?;
        let origin = Origin::new("grants", index, at);
        let (source, aliases) =
            self.table.read_source(at.member("src")?, self.names, Position::Source)?;
        let accesses = accesses(at)?;
        let app = at.member("app")?;
        let app = app.as_ref().map(App::read).transpose()?.unwrap_or_default();
        if accesses.is_empty() && app.caps.is_none() {
            return Err(at.fault("ip and app can not both be empty"));
        }
        let via = self.via(at)?;
        let (targets, own) = self.grant_targets(at, &aliases, app.caps.is_some())?;
        let base = Rule { via, ..Rule::new(origin, source, Vec::new()) };
        for (protocols, ports) in accesses {
            let rule = Rule { protocols, ..base.copy() };
            self.push(rule, &targets, own, &ports);
        }
        if let Some(caps) = app.caps {
            self.push(Rule { caps: Some(caps), ..base.copy() }, &targets, own, &[]);
        }
        for cap in app.companions.into_iter().filter(|_| !Part::Companions.is_off()) {
            self.companion(&base, cap, &targets, own);
        }
        Ok(())
    }

    /// Adds a rule for the destinations, and one for a user's own nodes if `own`.
    fn push(&mut self, rule: Rule, targets: &[usize], own: bool, ports: &[Ports]) {
        if !targets.is_empty() {
            let target = |alias: &usize| Target { alias: *alias, ports: ports.to_vec() };
            let targets = targets.iter().map(target).collect();
            self.rules.push(Rule { targets, ..rule.copy() });
        }
        if own {
            self.rules.push(Rule { own: Some(ports.to_vec()), ..rule });
        }
    }

    /// Adds the rule for the way back: what some capabilities need on the side of the source.
    fn companion(&mut self, base: &Rule, cap: &str, targets: &[usize], own: bool) {
        let mut caps = Vec::new();
        Json::new(&mut caps).open('{').key(cap).null().close('}');
        let mut rule = Rule { caps: Some(caps.into()), ..base.copy() };
        if own {
            self.rules.push(Rule { own: Some(Vec::new()), ..rule.copy() });
        }
        if targets.is_empty() {
            return;
        }
        let turned = |table: &mut Table, alias: usize, from: &[Alias], to: Alias| match table
            .aliases
            .get(alias)
        {
            Some(found) if from.contains(found) => table.alias(to, 0),
            _ => alias,
        };
        let table = &mut *self.table;
        let back = table.sources.get(base.source).cloned().unwrap_or_default();
        let back =
            back.into_iter().map(|at| turned(table, at, &[Alias::Wild, Alias::Danger], Alias::All));
        rule.targets = back.map(|alias| Target { alias, ports: Vec::new() }).collect();
        let sources =
            targets.iter().map(|at| turned(table, *at, &[Alias::All], Alias::Wild)).collect();
        rule.source = table.source(sources);
        self.rules.push(rule);
    }

    fn grant_targets(
        &mut self,
        at: &At<'_>,
        sources: &[Alias],
        app: bool,
    ) -> Result<(Vec<usize>, bool), Fault> {
        let mut targets = Vec::new();
        let mut own = false;
        at.texts("dst", &mut |at, text| {
            let alias = self.names.alias(at, text, Position::Destination)?;
            match alias {
                Alias::Own => {
                    own_sources(at, sources, false)?;
                    own = true;
                }
                Alias::Internet if app => {
                    return Err(at.fault("cannot use app grants with autogroup:internet"));
                }
                Alias::Prefix(prefix) if prefix.is_exit() => {
                    return Err(at.fault(format!(
                        "dst \"{text}\": to allow all IP addresses, use \"*\" or \
                         \"autogroup:internet\""
                    )));
                }
                _ => targets.push(self.table.alias(alias, at.offset())),
            }
            Ok(())
        })?;
        Ok((targets, own))
    }

    fn via(&mut self, at: &At<'_>) -> Result<Vec<usize>, Fault> {
        let mut via = Vec::new();
        at.texts("via", &mut |at, text| {
            if !text.starts_with("tag:") {
                return Err(at.fault(format!("via can only be a tag, not \"{text}\"")));
            }
            let alias = self.names.alias(at, text, Position::Destination)?;
            via.push(self.table.alias(alias, at.offset()));
            Ok(())
        })?;
        Ok(via)
    }
}

impl Rule {
    fn new(origin: Origin, source: usize, targets: Vec<Target>) -> Self {
        let (own, protocols, caps, via) = (None, Vec::new(), None, Vec::new());
        Self { origin, source, targets, own, protocols, caps, via }
    }

    /// The same without destinations.
    fn copy(&self) -> Self {
        Self {
            protocols: self.protocols.clone(),
            caps: self.caps.clone(),
            via: self.via.clone(),
            ..Self::new(self.origin, self.source, Vec::new())
        }
    }
}

fn accept(at: &At<'_>) -> Result<(), Fault> {
    match at.member("action")? {
        Some(action) if action.text()? == "accept" => Ok(()),
        Some(action) => {
            let text = action.text()?;
            let message = format!("invalid ACL action \"{text}\"; only accept is possible");
            Err(action.fault(message))
        }
        None => Err(at.fault("invalid ACL action: action must be \"accept\"")),
    }
}

/// A member by the name it has now, or the one that it had in the first policies.
fn renamed<'a>(at: &'a At<'_>, name: &str, old: &str) -> Result<Option<At<'a>>, Fault> {
    match (at.member(name)?, at.member(old)?) {
        (Some(_), Some(at)) => {
            Err(at.fault(format!("\"{old}\" is the old name of \"{name}\": one of them is enough")))
        }
        (new, old) => Ok(new.or(old)),
    }
}

/// Postures need what clients tell about their devices, which this server does not keep.
fn no_posture(at: &At<'_>) -> Result<(), Fault> {
    match at.member("srcPosture")? {
        Some(at) => Err(at.fault("\"srcPosture\" is not supported: device postures are not kept")),
        None => Ok(()),
    }
}

/// The `ip` of a grant: its ports by protocol, in order of appearance.
fn accesses(at: &At<'_>) -> Result<Vec<Access>, Fault> {
    let mut accesses: Vec<Access> = Vec::new();
    at.texts("ip", &mut |at, text| {
        let (protocol, port) = match text.split_once(':') {
            Some(("", _)) => {
                let message = format!("\"{text}\": a protocol is expected before the colon");
                return Err(at.fault(message));
            }
            Some(both) => both,
            None if text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                return Err(at.fault(no_ports(text)));
            }
            None => ("", text),
        };
        let protocols = ports::protocols(protocol).map_err(|m| at.fault(m))?;
        let ports = ports::ports(port).map_err(|m| at.fault(m))?;
        ports::fit(&protocols, &ports).map_err(|m| at.fault(m))?;
        match accesses.iter_mut().find(|(same, _)| *same == protocols) {
            Some((_, list)) => list.extend(ports),
            None => accesses.push((protocols, ports)),
        }
        Ok(())
    })?;
    Ok(accesses)
}

fn no_ports(text: &str) -> String {
    format!("ports are missing, such as \"{text}:*\"")
}

/// Refuses sources that are nobody's own nodes. ACLs may say `*`.
fn own_sources(at: &At<'_>, sources: &[Alias], wild: bool) -> Result<(), Fault> {
    let good = |alias: &Alias| match alias {
        Alias::User(_) | Alias::Domain(_) | Alias::Group(_) | Alias::Member => true,
        Alias::Role(_) => true,
        Alias::Wild => wild,
        _ => false,
    };
    if sources.iter().all(good) {
        return Ok(());
    }
    Err(at.fault("autogroup:self can only be used with users, groups, or supported autogroups"))
}
