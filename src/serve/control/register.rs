//! `POST /machine/register`.

use std::rc::Rc;

use gramscale_proto::netmap::write_login;
use gramscale_proto::tailnet::login::{LoginState, Verdict};
use gramscale_proto::tailnet::record::{NodeId, UserId};
use gramscale_proto::tailnet::{Registered, Tailnet};
use gramscale_proto::wire::json::Json;
use gramscale_proto::wire::tailcfg::{OLDEST_VERSION, RegisterRequest};
use gramscale_rt::random;

use super::desk::{Answer, Client};
use super::{Control, too_old};

pub(super) async fn answer(
    control: &Rc<Control>,
    client: Client,
    stream: u32,
    body: &mut [u8],
) -> Answer {
    let request = match RegisterRequest::parse(body).and_then(|r| r.expiry().map(|_| r)) {
        Ok(request) => request,
        Err(error) => return Answer::text(stream, 400, &error.to_string()),
    };
    if request.version < OLDEST_VERSION {
        return Answer::json(stream, Outcome::Error(&too_old(request.version)).to_json(control));
    }
    loop {
        let registered = control
            .state
            .execute(|tailnet, now| tailnet.register(client.machine, &request, now, &mut random));
        let outcome = match registered.await {
            Ok(Registered::Accepted(node)) => {
                if control.state.read(|tailnet| tailnet.is_waiting(node)) {
                    log::info!("node {node} waits for `gramscale nodes approve -i {node}`");
                }
                Outcome::Accepted(node)
            }
            Ok(Registered::Expired) => Outcome::Expired,
            Ok(Registered::LoggedOut) => Outcome::Expired,
            Ok(Registered::Login(id)) => {
                let url = format!("{}/register/{id}", control.server_url);
                log::info!("{} asks to be let in: {url}", client.machine.short());
                return Answer::json(stream, Outcome::Login(&url).to_json(control));
            }
            Ok(Registered::Wait(id)) => {
                control.state.login_decided(id).await;
                let state = control.state.read(|t| t.login_state(id, &client.machine));
                if state == LoginState::Decided(Verdict::Rejected) {
                    Outcome::Error("an administrator rejected this registration")
                } else {
                    // Approved, or timed out: ask as if for the first time.
                    continue;
                }
            }
            Err(failure) => {
                control.counters.registrations_refused.one();
                let text = failure.to_string();
                log::info!("registration of {} refused: {text}", client.machine.short());
                return Answer::json(stream, Outcome::Error(&text).to_json(control));
            }
        };
        return Answer::json(stream, outcome.to_json(control));
    }
}

/// What a client is told.
enum Outcome<'a> {
    Accepted(NodeId),
    Error(&'a str),
    Expired,
    Login(&'a str),
}

impl Outcome<'_> {
    /// A `tailcfg.RegisterResponse`. The Rust client needs every field to be there.
    fn to_json(&self, control: &Control) -> Vec<u8> {
        control.state.read(|tailnet| self.render(tailnet))
    }

    fn render(&self, tailnet: &Tailnet) -> Vec<u8> {
        let node = match self {
            Self::Accepted(id) => tailnet.node(*id),
            _ => None,
        };
        let user = node.map(|member| {
            member.node.user.filter(|_| !member.node.is_tagged()).unwrap_or(UserId::TAGGED)
        });
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{');
        let nobody = br#"{"ID":0,"Provider":"","LoginName":"","DisplayName":""}"#;
        for part in ["User", "Login"] {
            json.key(part);
            match user {
                Some(user) => write_login(&mut json, tailnet, user),
                None => _ = json.raw(nobody),
            }
        }
        json.key("NodeKeyExpired").bool(matches!(self, Self::Expired));
        let authorized = matches!(self, Self::Accepted(id) if !tailnet.is_waiting(*id));
        json.key("MachineAuthorized").bool(authorized);
        json.key("AuthURL").text(if let Self::Login(url) = self { url } else { "" });
        json.key("Error").text(if let Self::Error(text) = self { text } else { "" });
        json.close('}');
        out
    }
}
