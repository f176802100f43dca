//! Logins over SSH that need somebody's word: which wait for it, and for whom it was given.
//!
//! All of it lives in memory: after a restart a login asks anew, which errs on the safe side.

use std::time::Duration;

use super::change::Change;
use super::login::LoginId;
use super::record::NodeId;
use super::{Now, Random, Refusal, Tailnet};
use crate::policy::SshAction;
use crate::wire::key::MachineKey;
use crate::wire::sorted::Map;

/// How many logins may wait; the oldest makes room for one more.
pub const CHECKS_MAX: usize = 256;

/// How long one waits. Clients give up after 30 minutes (tailssh.go, fetchSSHAction).
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How many given words are remembered; the oldest is forgotten for one more.
pub const PASSED_MAX: usize = 1024;

/// A login that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The node it comes from.
    pub from: NodeId,
    /// The node to log in on.
    pub to: NodeId,
    /// As whom.
    pub login: String,
    since: Duration,
    verdict: Option<bool>,
}

/// What the node to log in on is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SshAnswer {
    /// Let them in.
    Accept,
    /// Ask again with this id, and tell them where to get somebody's word.
    Ask(LoginId),
    /// Don't let them in: the policy does not, or an administrator said no.
    Reject,
    /// Nobody has said anything yet.
    Wait(LoginId),
}

/// The logins that wait, and the words given.
#[derive(Debug, Default)]
pub(super) struct Checks {
    waiting: Map<LoginId, Check>,
    /// When somebody's word was last given for logins from one node on another.
    passed: Map<(NodeId, NodeId), Duration>,
}

impl Checks {
    /// Forgets the words given for a node, which is somebody else's now.
    pub(super) fn forget(&mut self, id: NodeId) {
        self.passed.retain(|(from, to), _| *from != id && *to != id);
    }

    /// Forgets all words given.
    pub(super) fn forget_all(&mut self) {
        self.passed.clear();
    }

    /// Forgets those that waited too long, and returns them.
    pub(super) fn expire(&mut self, now: Now) -> Vec<LoginId> {
        let late = |check: &Check| check.since + CHECK_TIMEOUT <= now.uptime;
        let ids: Vec<_> = self.waiting.iter().filter(|(_, c)| late(c)).map(|(id, _)| *id).collect();
        ids.iter().for_each(|id| _ = self.waiting.remove(id));
        ids
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.waiting.values().map(|check| check.since + CHECK_TIMEOUT).min()
    }

    fn has_passed(&self, from: NodeId, to: NodeId, period: Duration, now: Now) -> bool {
        let at = self.passed.get(&(from, to));
        at.is_some_and(|at| now.uptime.saturating_sub(*at) < period)
    }

    /// The id of a new login, or of an equal one that waits already.
    fn add(&mut self, check: Check, random: Random<'_>) -> LoginId {
        let same = |other: &Check| {
            let of = |c: &Check| (c.from, c.to, c.verdict);
            of(other) == of(&check) && other.login == check.login
        };
        if let Some((id, _)) = self.waiting.iter().find(|(_, other)| same(other)) {
            return *id;
        }
        if self.waiting.len() >= CHECKS_MAX {
            let oldest = self.waiting.iter().min_by_key(|(_, check)| check.since);
            let oldest = oldest.map(|(id, _)| *id);
            oldest.and_then(|id| self.waiting.remove(&id));
        }
        let id = LoginId::new(random);
        self.waiting.insert(id, check);
        id
    }

    fn pass(&mut self, from: NodeId, to: NodeId, now: Now) {
        if self.passed.len() >= PASSED_MAX {
            let oldest = self.passed.iter().min_by_key(|(_, at)| **at).map(|(pair, _)| *pair);
            oldest.and_then(|pair| self.passed.remove(&pair));
        }
        self.passed.insert((from, to), now.uptime);
    }
}

impl Tailnet {
    /// A node asks whether somebody may log in on it: `from` is their node, `asked` the id that an
    /// earlier answer had.
    ///
    /// Refused if the machine that asks is not the node's, or if a node is unknown.
    #[allow(clippy::too_many_arguments, reason = "all of it is the question")]
    pub fn ask_ssh(
        &mut self,
        machine: &MachineKey,
        from: NodeId,
        to: NodeId,
        login: &str,
        asked: Option<LoginId>,
        now: Now,
        random: Random<'_>,
    ) -> Result<SshAnswer, Refusal> {
        self.nodes.get(&from).ok_or(Refusal::NoNode(from))?;
        let asker = self.nodes.get(&to).ok_or(Refusal::NoNode(to))?;
        if asker.node.machine != *machine {
            return Err(Refusal::MachineMismatch);
        }
        self.expire_checks(now);
        let period = match self.access.ssh(from.0, to.0, login) {
            None => return Ok(SshAnswer::Reject),
            Some(SshAction::Accept) => return Ok(SshAnswer::Accept),
            Some(SshAction::Check(period)) => period,
        };
        let waiting = asked.and_then(|id| Some((id, self.checks.waiting.get(&id)?)));
        let own = |check: &Check| check.from == from && check.to == to && check.login == login;
        match waiting.filter(|(_, check)| own(check)) {
            Some((_, Check { verdict: Some(true), .. })) => return Ok(SshAnswer::Accept),
            Some((_, Check { verdict: Some(false), .. })) => return Ok(SshAnswer::Reject),
            Some((id, _)) => return Ok(SshAnswer::Wait(id)),
            None if self.checks.has_passed(from, to, period, now) => return Ok(SshAnswer::Accept),
            None => {}
        }
        let login = login.to_owned();
        let check = Check { from, to, login, since: now.uptime, verdict: None };
        Ok(SshAnswer::Ask(self.checks.add(check, random)))
    }

    /// A login over SSH that waits.
    pub fn check(&self, id: LoginId) -> Option<&Check> {
        self.checks.waiting.get(&id).filter(|check| check.verdict.is_none())
    }

    /// Somebody's word on a login that waits: yes or no. Yes holds as long as the policy says.
    pub fn decide_check(&mut self, id: LoginId, yes: bool, now: Now) -> Result<(), Refusal> {
        let waiting = self.checks.waiting.get_mut(&id).filter(|check| check.verdict.is_none());
        let check = waiting.ok_or_else(|| Refusal::NoLogin(id.to_string()))?;
        check.verdict = Some(yes);
        let (from, to) = (check.from, check.to);
        if yes {
            self.checks.pass(from, to, now);
        }
        self.batch.tell(Change::Login(id));
        Ok(())
    }

    /// Ends the logins over SSH that waited too long.
    pub(super) fn expire_checks(&mut self, now: Now) {
        for id in self.checks.expire(now) {
            self.batch.tell(Change::Login(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{World, reusable};
    use super::*;

    const POLICY: &str = r#"{"tagOwners":{"tag:x":["ann@"]},"ssh":[{"action":"check","checkPeriod":"PERIOD","src":["ann@"],
        "dst":["ann@"],"users":["root","ann"]}]}"#;

    /// Two nodes of one user, numbers 1 and 2, whose machine keys have the same byte.
    fn world(period: &str) -> World {
        let mut w = World::new();
        let ann = w.user("ann");
        let key = w.key(reusable(ann));
        assert_eq!((w.join(1, &key), w.join(2, &key)), (NodeId(1), NodeId(2)));
        w.set_policy(&POLICY.replace("PERIOD", period));
        w
    }

    fn ask(w: &mut World, login: &str, asked: Option<LoginId>) -> SshAnswer {
        let mut byte = w.now.uptime.as_secs() as u8;
        let machine = MachineKey([2; 32]);
        let mut random = |out: &mut [u8]| {
            out.fill(byte);
            byte = byte.wrapping_add(1);
        };
        let (from, to) = (NodeId(1), NodeId(2));
        w.tailnet.ask_ssh(&machine, from, to, login, asked, w.now, &mut random).unwrap()
    }

    fn asks(w: &mut World, login: &str) -> LoginId {
        match ask(w, login, None) {
            SshAnswer::Ask(id) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn yes_holds_for_the_period() {
        let mut w = world("1h");
        let id = asks(&mut w, "root");
        assert_eq!(asks(&mut w, "root"), id, "an equal login is the same one");
        assert_eq!(ask(&mut w, "root", Some(id)), SshAnswer::Wait(id));
        assert_eq!(w.tailnet.check(id).map(|c| (c.from, c.to)), Some((NodeId(1), NodeId(2))));
        w.tailnet.decide_check(id, true, w.now).unwrap();
        assert_eq!(w.commit(), [Change::Login(id)]);
        assert_eq!(w.tailnet.check(id), None);
        let again = w.tailnet.decide_check(id, false, w.now);
        assert_eq!(again, Err(Refusal::NoLogin(id.to_string())));
        assert_eq!(ask(&mut w, "root", Some(id)), SshAnswer::Accept);
        w.pass(3599);
        assert_eq!(ask(&mut w, "ann", None), SshAnswer::Accept);
        w.pass(1);
        asks(&mut w, "ann");
    }

    #[test]
    fn always_is_each_time_anew() {
        let mut w = world("always");
        let id = asks(&mut w, "root");
        w.tailnet.decide_check(id, true, w.now).unwrap();
        assert_eq!(ask(&mut w, "root", Some(id)), SshAnswer::Accept);
        w.pass(1);
        assert_ne!(asks(&mut w, "root"), id);
    }

    #[test]
    fn no_is_no() {
        let mut w = world("1h");
        let id = asks(&mut w, "root");
        w.tailnet.decide_check(id, false, w.now).unwrap();
        assert_eq!(ask(&mut w, "root", Some(id)), SshAnswer::Reject);
        assert_eq!(ask(&mut w, "mallory", None), SshAnswer::Reject);
        w.pass(1);
        assert_ne!(asks(&mut w, "root"), id);
    }

    #[test]
    fn other_rules_and_other_owners_ask_anew() {
        let mut w = world("1h");
        let id = asks(&mut w, "root");
        w.tailnet.decide_check(id, true, w.now).unwrap();
        w.set_policy(&POLICY.replace("PERIOD", "2h"));
        w.pass(1);
        let id = asks(&mut w, "root");
        w.tailnet.decide_check(id, true, w.now).unwrap();
        assert_eq!(ask(&mut w, "root", None), SshAnswer::Accept);
        w.tailnet.set_tags(NodeId(1), &["tag:x".into()]).unwrap();
        assert!(w.tailnet.checks.passed.is_empty());
        assert_eq!(ask(&mut w, "root", None), SshAnswer::Reject);
    }

    #[test]
    fn only_the_node_itself_may_ask() {
        let mut w = world("1h");
        let mut random = |_: &mut [u8]| {};
        let (from, to) = (NodeId(1), NodeId(2));
        let mut ask = |machine: u8, from, to| {
            let machine = MachineKey([machine; 32]);
            w.tailnet.ask_ssh(&machine, from, to, "root", None, w.now, &mut random)
        };
        assert_eq!(ask(1, from, to), Err(Refusal::MachineMismatch));
        assert_eq!(ask(2, NodeId(9), to), Err(Refusal::NoNode(NodeId(9))));
        assert_eq!(ask(2, from, NodeId(9)), Err(Refusal::NoNode(NodeId(9))));
    }

    #[test]
    fn waiting_is_bounded() {
        let mut w = world("1h");
        let first = asks(&mut w, "root");
        assert_eq!(w.tailnet.tick(w.now), Some(CHECK_TIMEOUT));
        w.pass(15 * 60);
        w.tailnet.tick(w.now);
        assert_eq!(w.commit(), [Change::Login(first)]);
        assert!(matches!(ask(&mut w, "root", Some(first)), SshAnswer::Ask(_)));
        let mut checks = Checks::default();
        for n in 0..CHECKS_MAX as u64 + 9 {
            let since = Duration::from_secs(n);
            let login = n.to_string();
            let check = Check { from: NodeId(1), to: NodeId(2), login, since, verdict: None };
            checks.add(check, &mut |out| {
                out.iter_mut().zip(n.to_le_bytes()).for_each(|(to, byte)| *to = byte);
            });
        }
        assert_eq!(checks.waiting.len(), CHECKS_MAX);
        assert_eq!(checks.waiting.values().map(|c| c.since.as_secs()).min(), Some(9));
        for n in 0..PASSED_MAX as u64 + 9 {
            checks.pass(NodeId(n), NodeId(2), Now { uptime: Duration::from_secs(n), ..w.now });
        }
        assert_eq!(checks.passed.len(), PASSED_MAX);
        assert!(!checks.passed.contains_key(&(NodeId(8), NodeId(2))));
    }
}
