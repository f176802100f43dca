//! A tailnet in memory for the tests of this part.

use std::time::Duration;

use gramscale_proto::tailnet::login::LoginId;
use gramscale_proto::tailnet::write::Snapshot;
use gramscale_proto::tailnet::{Now, Registered, Rules, Tailnet};
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::key::{MachineKey, NodeKey};
use gramscale_proto::wire::tailcfg::RegisterRequest;
use gramscale_proto::wire::time::Timestamp;
use serde_json::Value;

use super::{Admin, Call, PolicySource, Vitals};

/// A tailnet, a clock, and bytes that look random.
pub(in crate::serve) struct World {
    pub(in crate::serve) tailnet: Tailnet,
    pub(in crate::serve) now: Now,
    /// The text of the policy's file, if it comes from one.
    pub(in crate::serve) policy_file: Option<&'static str>,
    /// Whether the store takes writes.
    pub(in crate::serve) well: bool,
    seed: u8,
}

impl World {
    /// An empty tailnet in January 2027.
    pub(in crate::serve) fn new() -> Self {
        let wall = Timestamp::from_secs(1_800_000_000);
        let now = Now { wall, trusted: true, uptime: Duration::ZERO };
        Self {
            tailnet: Tailnet::new(Rules::default(), Snapshot::default()),
            now,
            policy_file: None,
            well: true,
            seed: 0,
        }
    }

    /// Sends a request over the socket. Returns the status and the JSON of the answer.
    pub(in crate::serve) fn call(&mut self, request: &str, body: &str) -> (u16, Value) {
        self.send(request, body, None, true)
    }

    /// Sends `METHOD PATH?QUERY` with a body. The answer must be JSON.
    pub(in crate::serve) fn send(
        &mut self,
        request: &str,
        body: &str,
        authorization: Option<&str>,
        local: bool,
    ) -> (u16, Value) {
        let (method, target) = request.split_once(' ').expect("a method and a path");
        let authorization = authorization.map(|value| format!("Authorization: {value}\r\n"));
        let head = format!(
            "{method} /api/v1/{target} HTTP/1.1\r\nHost: x\r\n{}\r\n",
            authorization.unwrap_or_default()
        );
        let (head, _) = Head::parse(head.as_bytes()).expect("valid").expect("whole");
        let call = Call { head: &head, local, body: body.as_bytes() };
        let seed = &mut self.seed;
        let mut random = |out: &mut [u8]| {
            *seed += 1;
            out.fill(*seed);
        };
        let policy = match self.policy_file {
            Some(text) => PolicySource::File { path: "/etc/policy.hujson", text },
            None => PolicySource::Store,
        };
        let (tailnet, now) = (&mut self.tailnet, self.now);
        let vitals = &|| Vitals { server_url: "http://x".into(), memory: 7, ..Vitals::default() };
        let well = self.well;
        let mut admin = Admin { tailnet, now, random: &mut random, policy, well, vitals };
        let answer = admin.answer(&call);
        // What the caller does once the writes are stored.
        let batch = self.tailnet.take_batch();
        self.tailnet.settle(batch.number);
        let value = serde_json::from_slice(&answer.body);
        (answer.status, value.expect("the answer is JSON"))
    }

    /// A machine asks to register with no key, and waits. Returns its auth id.
    pub(in crate::serve) fn knock(&mut self, machine: u8, hostname: &str) -> String {
        let hostname = Value::from(hostname);
        let key = NodeKey([machine; 32]);
        let body = format!(
            r#"{{"Version":113,"NodeKey":"{key}","Hostinfo":{{"OS":"linux","Hostname":{hostname}}}}}"#
        );
        let request = RegisterRequest::parse(&mut body.into_bytes()).expect("a request");
        let machine_key = MachineKey([machine; 32]);
        let registered = self.tailnet.register(machine_key, &request, self.now, &mut |out| {
            out.fill(machine);
        });
        match registered {
            Ok(Registered::Login(id)) => LoginId::to_string(&id),
            other => panic!("no login: {other:?}"),
        }
    }

    /// A machine with this byte in its keys, named `host` and the byte, becomes a node of `ann`.
    pub(in crate::serve) fn join(&mut self, machine: u8) -> Value {
        self.call("POST user", r#"{"name":"ann"}"#);
        let id = self.knock(machine, &format!("host{machine}"));
        let body = format!(r#"{{"user":"ann","authId":"{id}"}}"#);
        let (status, answer) = self.call("POST auth/register", &body);
        assert_eq!(status, 200, "{answer}");
        answer["node"].clone()
    }
}
