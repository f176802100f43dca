//! Registrations that wait for somebody to say yes. They live in memory only, for 15 minutes.

use std::fmt;
use std::time::Duration;

use super::record::{Host, NodeId};
use super::{Now, Random};
use crate::wire::key::{Hex, MachineKey, NodeKey, from_hex};
use crate::wire::sorted::Map;
use crate::wire::time::Timestamp;

/// How many registrations may wait; the oldest makes room for one more.
pub const LOGINS_MAX: usize = 1024;

/// How long one waits.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Names a waiting registration or session: `hskey-authreq-` and 24 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoginId([u8; 12]);

impl LoginId {
    const PREFIX: &str = "hskey-authreq-";

    pub(super) fn new(random: Random<'_>) -> Self {
        let mut bytes = [0; 12];
        random(&mut bytes);
        Self(bytes)
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        from_hex(text.strip_prefix(Self::PREFIX)?).map(Self)
    }
}

impl fmt::Display for LoginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, Hex(&self.0))
    }
}

/// A registration that waits.
#[derive(Clone, Debug)]
pub struct Login {
    /// Who asks.
    pub machine: MachineKey,
    /// The key to register.
    pub key: NodeKey,
    /// The key it replaces.
    pub old_key: Option<NodeKey>,
    /// The host's name.
    pub hostname: String,
    /// What else it says of itself.
    pub host: Host,
    /// The client's capability version.
    pub version: u16,
    /// The expiry it asks for.
    pub expiry: Option<Timestamp>,
    /// It wants to be forgotten once it is offline.
    pub ephemeral: bool,
    since: Duration,
    verdict: Option<Verdict>,
}

/// How a registration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It made or changed this node.
    Registered(NodeId),
    /// An administrator refused it.
    Rejected,
}

/// The state of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginState {
    /// It ended.
    Decided(Verdict),
    /// It is not known: never was, timed out, or made room.
    Unknown,
    /// It waits.
    Waiting,
}

impl Login {
    pub(super) fn new(machine: MachineKey, key: NodeKey, now: Now) -> Self {
        Self {
            machine,
            key,
            old_key: None,
            hostname: String::new(),
            host: Host::default(),
            version: 0,
            expiry: None,
            ephemeral: false,
            since: now.uptime,
            verdict: None,
        }
    }
}

/// The registrations that wait, and the recent verdicts.
#[derive(Debug, Default)]
pub(super) struct Logins {
    map: Map<LoginId, Login>,
}

impl Logins {
    pub(super) fn add(&mut self, login: Login, random: Random<'_>) -> LoginId {
        // A client has one login at a time; asking again ends the one before.
        self.map.retain(|_, other| other.machine != login.machine || other.key != login.key);
        if self.map.len() >= LOGINS_MAX {
            let oldest = self.map.iter().min_by_key(|(_, login)| login.since).map(|(id, _)| *id);
            oldest.and_then(|id| self.map.remove(&id));
        }
        let id = LoginId::new(random);
        self.map.insert(id, login);
        id
    }

    /// The registration, if it still waits.
    pub(super) fn waiting(&self, id: LoginId) -> Option<&Login> {
        self.map.get(&id).filter(|login| login.verdict.is_none())
    }

    /// All that wait.
    pub(super) fn all(&self) -> impl Iterator<Item = (LoginId, &Login)> {
        let waiting = self.map.iter().filter(|(_, login)| login.verdict.is_none());
        waiting.map(|(id, login)| (*id, login))
    }

    pub(super) fn state(&self, id: LoginId, machine: &MachineKey) -> LoginState {
        match self.map.get(&id).filter(|login| login.machine == *machine) {
            None => LoginState::Unknown,
            Some(Login { verdict: Some(verdict), .. }) => LoginState::Decided(*verdict),
            Some(_) => LoginState::Waiting,
        }
    }

    pub(super) fn decide(&mut self, id: LoginId, verdict: Option<Verdict>) {
        if let Some(login) = self.map.get_mut(&id) {
            login.verdict = verdict;
        }
    }

    /// Forgets those that waited too long, and returns them.
    pub(super) fn expire(&mut self, now: Now) -> Vec<LoginId> {
        let late = |login: &Login| login.since + LOGIN_TIMEOUT <= now.uptime;
        let ids: Vec<_> = self.map.iter().filter(|(_, l)| late(l)).map(|(id, _)| *id).collect();
        ids.iter().for_each(|id| _ = self.map.remove(id));
        ids
    }

    #[cfg(test)]
    pub(super) fn waiting_count(&self) -> usize {
        self.map.len()
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.map.values().map(|login| login.since + LOGIN_TIMEOUT).min()
    }
}
