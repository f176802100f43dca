//! `GET /machine/ssh/action/FROM/to/TO`: whether somebody may log in who needs somebody's word.

use std::rc::Rc;

use gramscale_proto::policy::{SSH_CHECK_URL, write_ssh_accept};
use gramscale_proto::tailnet::Refusal;
use gramscale_proto::tailnet::check::{CHECK_TIMEOUT, SshAnswer};
use gramscale_proto::tailnet::login::LoginId;
use gramscale_proto::tailnet::record::NodeId;
use gramscale_proto::wire::http1::form;
use gramscale_proto::wire::json::Json;
use gramscale_rt::{random, timeout};

use super::Control;
use super::desk::{Answer, Client};

/// Where the question lies.
pub(super) const PATH: &str = "/machine/ssh/action/";

/// Answers the node on which somebody wants to log in. While nobody has decided, the answer waits.
pub(super) async fn answer(
    control: &Rc<Control>,
    client: Client,
    stream: u32,
    target: &str,
) -> Answer {
    let Some(question) = Question::parse(target) else {
        return Answer::text(stream, 400, "two node ids and local_user are expected");
    };
    let Question { from, to, login, asked } = &question;
    loop {
        let answer = control.state.update(|tailnet, now| {
            tailnet.ask_ssh(&client.machine, *from, *to, login, *asked, now, &mut random)
        });
        match answer {
            // Nothing else may happen until it has waited too long, which asking again finds out.
            Ok(SshAnswer::Wait(id)) => {
                let _ = timeout(CHECK_TIMEOUT, control.state.login_decided(id)).await;
            }
            Ok(answer) => return Answer::json(stream, question.render(control, answer)),
            Err(Refusal::NoNode(_)) => return Answer::text(stream, 404, "there is no such node"),
            Err(refusal) => return Answer::text(stream, 401, &refusal.to_string()),
        }
    }
}

struct Question {
    from: NodeId,
    to: NodeId,
    login: String,
    /// The id of an earlier answer.
    asked: Option<LoginId>,
}

impl Question {
    /// Reads what clients make of [`SSH_CHECK_URL`].
    fn parse(target: &str) -> Option<Self> {
        let (path, query) = target.split_once('?')?;
        let (from, to) = path.strip_prefix(PATH)?.split_once("/to/")?;
        let mut question = Self {
            from: NodeId(from.parse().ok()?),
            to: NodeId(to.parse().ok()?),
            login: String::new(),
            asked: None,
        };
        for (name, value) in form(query.as_bytes()) {
            match &*name {
                "local_user" => question.login = value.into_owned(),
                "auth_id" => question.asked = LoginId::parse(&value),
                _ => {}
            }
        }
        Some(question).filter(|question| !question.login.is_empty())
    }

    /// A `tailcfg.SSHAction`.
    fn render(&self, control: &Control, answer: SshAnswer) -> Vec<u8> {
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{');
        match answer {
            SshAnswer::Accept => write_ssh_accept(&mut json),
            SshAnswer::Reject => {
                json.key("reject").bool(true).key("message").string("# This login is refused.\n");
            }
            SshAnswer::Ask(id) | SshAnswer::Wait(id) => {
                let url = format!("{}/auth/{id}", control.server_url);
                let Self { from, to, login, .. } = self;
                log::info!(
                    "an SSH login as {} on node {to} from node {from} waits: {url}",
                    login.escape_debug()
                );
                json.key("message").string(&format!(
                    "# This login needs somebody's word. To get it, open\n#\n#     {url}\n#\n"
                ));
                json.key("holdAndDelegate").display(&format_args!("{SSH_CHECK_URL}&auth_id={id}"));
            }
        }
        json.close('}');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        let q = Question::parse("/machine/ssh/action/7/to/9?local_user=a%20b").unwrap();
        assert_eq!((q.from, q.to, &*q.login, q.asked), (NodeId(7), NodeId(9), "a b", None));
        let id = "hskey-authreq-0102030405060708090a0b0c";
        let again = format!("/machine/ssh/action/7/to/9?local_user=root&auth_id={id}");
        assert_eq!(Question::parse(&again).unwrap().asked.unwrap().to_string(), id);
        for bad in [
            "/machine/ssh/action/7/to/9",
            "/machine/ssh/action/7/to/9?local_user=",
            "/machine/ssh/action/7?local_user=root",
            "/machine/ssh/action/x/to/9?local_user=root",
            "/machine/ssh/action/7/to/-9?local_user=root",
        ] {
            assert!(Question::parse(bad).is_none(), "{bad}");
        }
    }
}
