//! The `tests` and `sshTests` of a policy: what must be allowed and what must not.

use super::ablation::Part;
use super::alias::{Alias, Names, Position};
use super::compiled::Compiled;
use super::document::Place;
use super::error::{Error, Fault};
use super::ports;
use super::probe::{PINGS, TCP, UDP};
use super::rule;
use super::ssh::SshAction;
use super::walk::At;

/// How many failures one error lists.
const MAX_LISTED: usize = 20;

/// A member of `tests`.
#[derive(Debug)]
pub(super) struct Trial {
    source: Named,
    /// The protocols of which one must be let through.
    protocols: Vec<u8>,
    /// The protocol as it is written, for errors.
    suffix: String,
    accept: Vec<(Named, u16)>,
    deny: Vec<(Named, u16)>,
}

/// A member of `sshTests`.
#[derive(Debug)]
pub(super) struct SshTrial {
    source: Named,
    destinations: Vec<Named>,
    accept: Vec<Login>,
    deny: Vec<Login>,
    check: Vec<Login>,
}

/// An alias as it is written and where.
#[derive(Debug)]
struct Named {
    alias: Alias,
    text: String,
    spot: Spot,
}

#[derive(Debug)]
struct Login {
    name: String,
    spot: Spot,
}

/// Where something stands: the offset is for reading, the place for errors.
#[derive(Debug, Default)]
pub(super) struct Spot {
    pub(super) offset: usize,
    pub(super) place: Place,
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
    let Some(list) = at.member(member)? else { return Ok(out) };
    for at in list.items()? {
        let text = at.text()?;
        let (host, port) = rule::split(text).map_err(|m| at.fault(m))?;
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
        let named = Named::read(&at, host, text, names, Position::Destination)?;
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
    }
    Ok(out)
}

impl SshTrial {
    pub(super) fn read(at: &At<'_>, names: &Names) -> Result<Self, Fault> {
        at.only(&["src", "dst", "accept", "deny", "check"])?;
        let source = source(at, names)?;
        let mut destinations = Vec::new();
        if let Some(list) = at.member("dst")? {
            for at in list.items()? {
                let text = at.text()?;
                let named = Named::read(&at, text, text, names, Position::Destination)?;
                if matches!(named.alias, Alias::Internet | Alias::All | Alias::Group(_)) {
                    let message = format!("SSH tests dst contains disallowed element \"{text}\"");
                    return Err(at.fault(message));
                }
                destinations.push(named);
            }
        }
        if destinations.is_empty() {
            return Err(at.fault("SSH test dst must be specified"));
        }
        let list = |member: &str| -> Result<Vec<Login>, Fault> {
            let mut out = Vec::new();
            let Some(list) = at.member(member)? else { return Ok(out) };
            for at in list.items()? {
                out.push(Login { name: at.text()?.to_owned(), spot: Spot::new(&at) });
            }
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

/// What was expected and did not come about.
struct Failure {
    place: Place,
    text: String,
}

impl Compiled {
    /// Runs the policy's `tests` and `sshTests`, and looks whether its email domains are those of
    /// users: what is to be done before a policy is set, beside parsing it.
    ///
    /// The error lists the failures, and its place is that of the first.
    pub fn test(&self) -> Result<(), Error> {
        self.domains()?;
        let mut failures = Vec::new();
        for trial in &self.policy.trials {
            self.run(trial, &mut failures);
        }
        for trial in &self.policy.ssh_trials {
            self.run_ssh(trial, &mut failures);
        }
        let Some(first) = failures.first().filter(|_| !Part::Trials.is_off()) else {
            return Ok(());
        };
        let (line, column) = first.place;
        let mut message = "test(s) failed:".to_owned();
        for failure in failures.iter().take(MAX_LISTED) {
            message.push_str(&format!("\nline {}: {}", failure.place.0, failure.text));
        }
        if failures.len() > MAX_LISTED {
            message.push_str(&format!("\nand {} more", failures.len() - MAX_LISTED));
        }
        Err(Error { line, column, path: String::new(), message })
    }

    fn domains(&self) -> Result<(), Error> {
        for (domain, place) in self.policy.domains() {
            if !self.people.has_domain(domain) {
                let (line, column) = place;
                let message = format!(
                    "{domain} is not associated with this tailnet: no user's email is in it"
                );
                return Err(Error { line, column, path: String::new(), message });
            }
        }
        Ok(())
    }

    fn run(&self, trial: &Trial, failures: &mut Vec<Failure>) {
        let accept = trial.accept.iter().map(|to| (to, true));
        for ((to, port), wanted) in accept.chain(trial.deny.iter().map(|to| (to, false))) {
            let got = self.passes(trial, to, *port, wanted);
            if got == Ok(wanted) {
                continue;
            }
            let word = |allowed: bool| if allowed { "ALLOWED" } else { "DENIED" };
            let got = got.map_or_else(|error| error, |got| word(got).to_owned());
            let text = format!(
                "{} -> {}{}: expected {}, got {got}",
                trial.source.text,
                to.text,
                trial.suffix,
                word(wanted)
            );
            failures.push(Failure { place: to.spot.place, text });
        }
    }

    /// Whether the connections of a test are allowed: if that is wanted, whether all of them are,
    /// and else whether any is.
    fn passes(&self, trial: &Trial, to: &Named, port: u16, wanted: bool) -> Result<bool, String> {
        let sources = self.probes(&trial.source.alias)?;
        if sources.is_empty() {
            return Err("no node for src".to_owned());
        }
        for from in &sources {
            let targets = self.targets(from, &to.alias)?;
            if targets.is_empty() {
                return Err("no node for dst".to_owned());
            }
            for to in &targets {
                let passes =
                    |protocol: &u8| self.decide(from, to, Some(port), *protocol).is_allowed();
                let allowed = trial.protocols.iter().any(passes);
                if allowed != wanted {
                    return Ok(allowed);
                }
            }
        }
        Ok(wanted)
    }

    fn run_ssh(&self, trial: &SshTrial, failures: &mut Vec<Failure>) {
        let lists = [
            (&trial.accept, "ALLOWED", Wanted::Login),
            (&trial.deny, "DENIED", Wanted::Nothing),
            (&trial.check, "ALLOWED via check", Wanted::Check),
        ];
        for (logins, expected, wanted) in lists {
            for login in logins {
                for to in &trial.destinations {
                    let got = self.ssh_fails(trial, to, &login.name, wanted);
                    let Err(got) = got else { continue };
                    let text = format!(
                        "{}/{} -> {}: expected {expected}, got {got}",
                        trial.source.text, login.name, to.text
                    );
                    failures.push(Failure { place: login.spot.place, text });
                }
            }
        }
    }

    /// Looks at all pairs of a test's nodes; the error is what came about instead.
    fn ssh_fails(
        &self,
        trial: &SshTrial,
        to: &Named,
        login: &str,
        wanted: Wanted,
    ) -> Result<(), String> {
        for from in &self.probes(&trial.source.alias)? {
            for to in &self.targets(from, &to.alias)? {
                let got = self.ssh_between(from, to, login).map(|rule| rule.action);
                let (fits, word) = match got {
                    None => (wanted == Wanted::Nothing, "DENIED"),
                    Some(SshAction::Accept) => (wanted == Wanted::Login, "ALLOWED"),
                    Some(SshAction::Check(_)) => (wanted != Wanted::Nothing, "ALLOWED via check"),
                };
                if !fits {
                    return Err(word.to_owned());
                }
            }
        }
        Ok(())
    }
}

/// What a test of a login wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Login,
    Check,
    Nothing,
}
