//! The policy's own tests, run.

use crate::policy::ablation::Part;
use crate::policy::document::ssh::SshAction;
use crate::policy::document::table::Place;
use crate::policy::document::trial::{Named, SshTrial, Trial};
use crate::policy::error::Error;

use super::Compiled;
use super::notes::shortened;

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
        let line = |failure: &Failure| format!("line {}: {}", failure.place.0, failure.text);
        let lines = shortened(failures.iter().map(line).collect());
        Err(Error::at(first.place, format!("test(s) failed:\n{}", lines.join("\n"))))
    }

    fn domains(&self) -> Result<(), Error> {
        for (domain, place) in self.policy.domains() {
            if !self.people.has_domain(domain) {
                let message = format!(
                    "{domain} is not associated with this tailnet: no user's email is in it"
                );
                return Err(Error::at(place, message));
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
