//! SSH rules: who may log in where, as whom.

use std::time::Duration;

use crate::wire::time::parse_duration;

use super::alias::{Alias, Names, Position};
use super::fault::Fault;
use super::rule::Origin;
use super::table::Table;
use super::walk::At;

/// How long a check holds where the policy says nothing.
const DEFAULT_PERIOD: Duration = Duration::from_secs(12 * 3600);

/// The longest that a check may hold.
const MAX_PERIOD: Duration = Duration::from_secs(168 * 3600);

/// What a rule says about a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SshAction {
    /// It is let in.
    Accept,
    /// Its user must have proved who they are within that time; zero is each time anew.
    Check(Duration),
}

/// A member of `ssh`.
#[derive(Debug)]
pub(crate) struct SshRule {
    pub(super) origin: Origin,
    pub(crate) action: SshAction,
    /// A place in the table's sources.
    pub(crate) source: usize,
    /// Places in the table's aliases.
    pub(crate) targets: Vec<usize>,
    /// Whether a user's own nodes are a destination.
    pub(crate) own: bool,
    pub(crate) logins: Logins,
    pub(crate) env: Vec<String>,
}

/// Whom a rule lets log in as.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    pub(crate) root: bool,
    pub(crate) nonroot: bool,
    pub(crate) names: Vec<String>,
    /// Domains whose users may log in with the part of their email before the `@`.
    pub(crate) domains: Vec<String>,
}

impl SshRule {
    pub(super) fn read(
        at: &At<'_>,
        index: usize,
        names: &Names,
        table: &mut Table,
    ) -> Result<Self, Fault> {
        at.only(&["action", "src", "dst", "users", "checkPeriod", "acceptEnv"])?;
        let origin = Origin::new("ssh", index, at);
        let action = action(at)?;
        let (source, sources) = table.read_source(at.member("src")?, names, Position::SshSource)?;
        let mut targets = Vec::new();
        let mut own = false;
        at.texts("dst", &mut |at, text| {
            let alias = names.alias(at, text, Position::SshDestination)?;
            safe(&sources, &alias).map_err(|m| at.fault(m))?;
            if alias == Alias::Own {
                own = true;
            } else {
                targets.push(table.alias(alias, at.offset()));
            }
            Ok(())
        })?;
        let logins = Logins::read(at)?;
        let env = env(at)?;
        Ok(Self { origin, action, source, targets, own, logins, env })
    }
}

fn action(at: &At<'_>) -> Result<SshAction, Fault> {
    let text = match at.member("action")? {
        Some(action) => action.text()?,
        None => "",
    };
    let period = at.member("checkPeriod")?;
    match (text, period) {
        ("", _) => Err(at.fault("action must be specified: accept or check")),
        ("accept", None) => Ok(SshAction::Accept),
        ("accept", Some(at)) => Err(at.fault("checkPeriod is only valid with action \"check\"")),
        ("check", None) => Ok(SshAction::Check(DEFAULT_PERIOD)),
        ("check", Some(at)) => {
            self::period(at.text()?).map(SshAction::Check).map_err(|m| at.fault(m))
        }
        _ => {
            Err(at.fault(format!("\"{text}\" is not a valid action; accept or check is expected")))
        }
    }
}

fn period(text: &str) -> Result<Duration, String> {
    if text == "always" {
        return Ok(Duration::ZERO);
    }
    if text.starts_with('-') {
        return Err(format!("checkPeriod {text} must be a positive duration"));
    }
    // Days and longer are no units of the hosted service.
    let known = !text.contains(['d', 'w', 'y']);
    let period = parse_duration(text).ok().filter(|_| known).ok_or_else(|| {
        format!("invalid duration \"{text}\"; such as 30m, 12h or \"always\" is expected")
    })?;
    if period.is_zero() {
        return Err(format!("checkPeriod {text} must be a positive duration, or \"always\""));
    }
    if period > MAX_PERIOD {
        return Err(format!("checkPeriod {text} is above the max (168h)"));
    }
    Ok(period)
}

/// Refuses rules by which something that is nobody could take over somebody's device.
fn safe(sources: &[Alias], destination: &Alias) -> Result<(), String> {
    let tagged = sources.iter().any(|alias| matches!(alias, Alias::Tag(_) | Alias::Tagged));
    let refused = match destination {
        Alias::Own if tagged => {
            "autogroup:self destination requires source to contain only users or groups, not tags \
             or autogroup:tagged"
        }
        Alias::User(_) | Alias::Member | Alias::Role(_) if tagged => {
            "tags in SSH source cannot access user-owned devices"
        }
        Alias::User(_) if sources.iter().any(|source| source != destination) => {
            "user destination requires source to contain only that same user"
        }
        _ => return Ok(()),
    };
    Err(refused.to_owned())
}

fn env(at: &At<'_>) -> Result<Vec<String>, Fault> {
    let mut env = Vec::new();
    at.texts("acceptEnv", &mut |at, text| {
        if text.is_empty() {
            return Err(at.fault("acceptEnv values cannot be empty"));
        }
        env.push(plain(at, text)?);
        Ok(())
    })?;
    Ok(env)
}

/// Refuses what would need an escape in JSON, which not all clients can read.
fn plain(at: &At<'_>, text: &str) -> Result<String, Fault> {
    if text.contains(|c: char| c.is_control() || c == '"' || c == '\\') {
        return Err(at.fault("quotes, backslashes and control characters are not possible here"));
    }
    Ok(text.to_owned())
}

impl Logins {
    fn read(at: &At<'_>) -> Result<Self, Fault> {
        let mut logins = Self::default();
        let list =
            at.member("users")?.filter(|at| at.items().is_ok_and(|mut i| i.next().is_some()));
        let Some(list) = list else { return Err(at.fault("users must be specified")) };
        list.each_text(&mut |at, text| {
            let text = text.trim();
            match text {
                "" | "*" => {
                    return Err(at.fault(format!(
                        "user \"{text}\" is not valid; a name, or autogroup:nonroot for all but \
                         root, is expected"
                    )));
                }
                "root" => logins.root = true,
                "autogroup:nonroot" => logins.nonroot = true,
                _ => match text.strip_prefix("localpart:*@").filter(|domain| !domain.is_empty()) {
                    Some(domain) => logins.domains.push(plain(at, domain)?),
                    None => logins.names.push(plain(at, text)?),
                },
            }
            Ok(())
        })?;
        Ok(logins)
    }
}
