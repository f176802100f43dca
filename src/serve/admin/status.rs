//! `/api/v1/status`, which is ours: what somebody who looks after the server wants to see first.

use gramscale_proto::wire::json::Json;

use super::{Admin, PolicySource, show};
use crate::version;

/// What the process knows of itself.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    /// The URL by which clients reach it.
    pub server_url: String,
    /// The addresses where it listens.
    pub listen: Vec<String>,
    /// Where it answers STUN; empty: nowhere.
    pub stun: String,
    /// Resident memory in bytes; 0 if that can't be told.
    pub memory: u64,
    /// The size of the database's file in bytes.
    pub database: u64,
    /// Bytes written to it since the start, and of those today (UTC).
    pub written: (u64, u64),
    /// Commits that failed.
    pub failed: u64,
}

impl Admin<'_> {
    pub(super) fn status(&self) -> Vec<u8> {
        let vitals = (self.vitals)();
        let (tailnet, now) = (&*self.tailnet, self.now);
        let online = tailnet.nodes().filter(|member| member.online).count();
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{').key("version").string(version::VERSION);
        json.key("commit").string(version::COMMIT);
        json.key("serverUrl").string(&vitals.server_url);
        show::texts(&mut json, "listen", &vitals.listen);
        json.key("stun").string(&vitals.stun);
        json.key("now").display(&now.wall).key("clockTrusted").bool(now.trusted);
        json.key("policy").string(match self.policy {
            PolicySource::File { path, .. } => path,
            PolicySource::Store => "database",
        });
        for (key, value) in [
            ("uptime", now.uptime.as_secs()),
            ("users", tailnet.users().count() as u64),
            ("nodes", tailnet.nodes().count() as u64),
            ("online", online as u64),
            ("waiting", tailnet.logins().count() as u64),
            ("memory", vitals.memory),
            ("databaseSize", vitals.database),
            ("written", vitals.written.0),
            ("writtenToday", vitals.written.1),
            ("commitsFailed", vitals.failed),
        ] {
            json.key(key).int(i64::try_from(value).unwrap_or(i64::MAX));
        }
        json.close('}');
        out
    }
}
