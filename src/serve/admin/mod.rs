//! The REST interface, version 1, as headscale has it: what the command line, scripts and web
//! interfaces call.
//!
//! Reading a request, the command on the tailnet and the answer are one function without I/O,
//! [`Admin::answer`]. Its caller commits what the command left to be stored, and only then sends
//! the answer.

mod input;
mod keys;
mod nodes;
mod policy;
mod problem;
mod show;
mod status;
mod users;

use std::net::IpAddr;

use gramscale_proto::tailnet::{Now, Random, Tailnet};
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::prefix::Prefix;

pub use self::policy::PolicySource;
pub use self::problem::Problem;
pub use self::status::Vitals;

use self::input::{Body, query};
use crate::net::http::Response;

/// Under which paths the interface lies.
pub const ROOT: &str = "/api/v1/";

/// The most bytes of a request's body. Only a policy is ever larger than some hundred bytes.
pub const BODY_LIMIT: usize = 1 << 20;

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Method, path, query and headers.
    pub head: &'a Head,
    /// It came over the unix socket: whoever may open that may command.
    pub local: bool,
    /// At most [`BODY_LIMIT`] bytes.
    pub body: &'a [u8],
}

/// What requests work on.
pub struct Admin<'a> {
    /// The state.
    pub tailnet: &'a mut Tailnet,
    /// The time.
    pub now: Now,
    /// For keys.
    pub random: Random<'a>,
    /// Where the policy comes from.
    pub policy: PolicySource<'a>,
    /// Whether the store takes writes.
    pub well: bool,
    /// Looks at the process, for `status`.
    pub vitals: &'a dyn Fn() -> Vitals,
}

/// The body of a good answer, which is JSON.
type Done = Result<Vec<u8>, Problem>;

/// Whether an address may use the interface: one inside `allow`, or any if that is empty.
pub fn is_allowed(allow: &[Prefix], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    allow.is_empty() || allow.iter().any(|prefix| prefix.contains(peer))
}

impl Admin<'_> {
    /// Does what is asked. A refusal leaves the state as it was, but for the time that a key was
    /// last used.
    pub fn answer(&mut self, call: &Call<'_>) -> Response {
        match self.done(call) {
            Ok(body) => {
                let headers = vec![("Content-Type", "application/json".to_owned())];
                Response { status: 200, headers, body }
            }
            Err(problem) => problem.response(),
        }
    }

    fn done(&mut self, call: &Call<'_>) -> Done {
        if !call.local {
            self.authenticate(call.head.header("authorization"))?;
        }
        let parts: Vec<_> = call.head.segments().skip(2).collect();
        let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
        match parts.as_slice() {
            ["user", ..] => self.route_user(call, parts.get(1..).unwrap_or_default()),
            ["node", ..] => self.route_node(call, parts.get(1..).unwrap_or_default()),
            _ => self.route(call, &parts),
        }
    }

    fn authenticate(&mut self, authorization: Option<&str>) -> Result<(), Problem> {
        let key = authorization.and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        let refused = |detail: &str| Err(Problem::new(401, detail));
        match key {
            None => refused("send an API key as Authorization: Bearer KEY"),
            Some(key) if self.tailnet.check_api_key(key, self.now) => Ok(()),
            Some(_) => {
                refused("the API key is unknown or has expired; make one with apikeys create")
            }
        }
    }

    fn route_user(&mut self, call: &Call<'_>, rest: &[&str]) -> Done {
        match (rest, call.head.method.as_str()) {
            ([], "GET") => self.list_users(call.head),
            ([], "POST") => self.create_user(&Body::parse(call.body)?),
            ([], _) => not_by(call, "GET or POST"),
            ([user], "DELETE") => self.delete_user(user),
            ([_], _) => not_by(call, "DELETE"),
            ([user, "rename", name], "POST") => self.rename_user(user, name),
            ([user, "role", role], "POST") => self.set_role(user, role, &Body::parse(call.body)?),
            ([_, "rename" | "role", _], _) => not_by(call, "POST"),
            _ => nothing_at(call),
        }
    }

    fn route_node(&mut self, call: &Call<'_>, rest: &[&str]) -> Done {
        let (head, body) = (call.head, call.body);
        match (rest, call.head.method.as_str()) {
            ([], "GET") => self.list_nodes(head),
            ([], _) => not_by(call, "GET"),
            (["register"], "POST") => {
                let (user, key) = (query(head, "user"), query(head, "key"));
                self.register(&user.unwrap_or_default(), &key.unwrap_or_default())
            }
            (["backfillips"], "POST") => self.backfill(head),
            ([node], "GET") => self.get_node(node),
            ([node], "DELETE") => self.delete_node(node),
            ([_], _) => not_by(call, "GET or DELETE"),
            ([node, "expire"], "POST") => self.expire_node(node, head, &Body::parse(body)?),
            ([node, "rename", name], "POST") => self.rename_node(node, name),
            ([node, "tags"], "POST") => self.tag_node(node, &Body::parse(body)?),
            ([node, "approve_routes"], "POST") => self.approve_routes(node, &Body::parse(body)?),
            ([node, "approve"], "POST") => self.approve_node(node),
            ([_, "approve" | "expire" | "tags" | "approve_routes"] | [_, "rename", _], _) => {
                not_by(call, "POST")
            }
            _ => nothing_at(call),
        }
    }

    fn route(&mut self, call: &Call<'_>, parts: &[&str]) -> Done {
        let body = || Body::parse(call.body);
        match (parts, call.head.method.as_str()) {
            (["preauthkey"], "GET") => self.list_auth_keys(call.head),
            (["preauthkey"], "POST") => self.create_auth_key(&body()?),
            (["preauthkey"], "DELETE") => self.delete_auth_key(call.head),
            (["preauthkey"], _) => not_by(call, "GET, POST or DELETE"),
            (["preauthkey", "expire"], "POST") => self.expire_auth_key(&body()?),
            (["apikey"], "GET") => self.list_api_keys(),
            (["apikey"], "POST") => self.create_api_key(&body()?),
            (["apikey"], _) => not_by(call, "GET or POST"),
            (["apikey", "expire"], "POST") => self.expire_api_key(&body()?),
            (["apikey", prefix], "DELETE") => self.delete_api_key(prefix, call.head),
            (["apikey", _], _) => not_by(call, "DELETE"),
            (["auth"], "GET") => self.list_logins(),
            (["auth", "register"], "POST") => {
                let body = body()?;
                self.register(&body.text("user")?, &body.text("authId")?)
            }
            (["auth", "approve"], "POST") => self.approve(&body()?.text("authId")?),
            (["auth", "reject"], "POST") => self.reject(&body()?.text("authId")?),
            (["policy"], "GET") => self.get_policy(),
            (["policy"], "PUT") => self.set_policy(&body()?),
            (["policy"], _) => not_by(call, "GET or PUT"),
            (["policy", "check"], "POST") => self.check_policy(&body()?),
            (["policy", "explain"], "GET") => self.explain_policy(call.head),
            (["policy", "explain"], _) => not_by(call, "GET"),
            (["policy", "test"], "POST") => self.test_policy(),
            (["status"], "GET") => Ok(self.status()),
            (["status"], _) => not_by(call, "GET"),
            (["health"], "GET") => Ok(format!("{{\"databaseConnectivity\":{}}}", self.well).into()),
            (["health"], _) => not_by(call, "GET"),
            (
                ["preauthkey", "expire"]
                | ["auth", "register" | "approve" | "reject"]
                | ["policy", "check" | "test"],
                _,
            ) => not_by(call, "POST"),
            _ => nothing_at(call),
        }
    }
}

fn not_by(call: &Call<'_>, methods: &str) -> Done {
    Err(Problem::new(405, format!("{} takes {methods}, not {}", call.head.path, call.head.method)))
}

fn nothing_at(call: &Call<'_>) -> Done {
    Err(Problem::new(404, format!("there is nothing at {}", call.head.path)))
}

#[cfg(test)]
pub(super) mod fixture;
#[cfg(test)]
mod tests;
