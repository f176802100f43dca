//! `/api/v1/node` and `/api/v1/auth`.

use gramscale_proto::tailnet::login::LoginId;
use gramscale_proto::tailnet::record::{NodeId, RegisterMethod};
use gramscale_proto::tailnet::{Member, Refusal};
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::json::Json;
use gramscale_proto::wire::prefix::Prefix;

use super::input::{Body, Page, moment, number, query};
use super::problem::Problem;
use super::{Admin, Done, show};

impl Admin<'_> {
    pub(super) fn list_nodes(&self, head: &Head) -> Done {
        let owner = match query(head, "user") {
            Some(user) => Some(self.user_id(&user)?),
            None => None,
        };
        let wanted = |member: &&Member| owner.is_none() || member.node.user == owner;
        let page = Page::parse(head)?;
        let host = query(head, "host").as_deref() == Some("true");
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{').key("nodes").open('[');
        for member in page.of(self.tailnet.nodes().filter(wanted), |member| member.node.id.0) {
            show::node(&mut json, self.tailnet, member, self.now, host);
        }
        json.close(']').close('}');
        Ok(out)
    }

    pub(super) fn get_node(&self, node: &str) -> Done {
        self.one_node(node_id(node)?)
    }

    pub(super) fn delete_node(&mut self, node: &str) -> Done {
        self.tailnet.delete_node(node_id(node)?)?;
        Ok(b"{}".to_vec())
    }

    pub(super) fn expire_node(&mut self, node: &str, head: &Head, body: &Body) -> Done {
        let id = node_id(node)?;
        // Until headscale 0.29 both stood in the query.
        let expiry = match query(head, "expiry") {
            Some(text) => moment(&text, "expiry", self.now)?,
            None => body.expiry("expiry", self.now)?,
        };
        let asked = ["disableExpiry", "disable_expiry"].iter().find_map(|key| query(head, key));
        let disable = asked.as_deref() == Some("true") || body.flag("disableExpiry")?;
        match (expiry, disable) {
            (Some(_), true) => {
                return Err(Problem::invalid("give expiry or disableExpiry, not both"));
            }
            (None, false) => self.tailnet.expire_node(id, self.now)?,
            (expiry, _) => self.tailnet.set_expiry(id, expiry, self.now)?,
        }
        self.one_node(id)
    }

    pub(super) fn rename_node(&mut self, node: &str, name: &str) -> Done {
        let id = node_id(node)?;
        self.tailnet.rename_node(id, name)?;
        self.one_node(id)
    }

    pub(super) fn approve_node(&mut self, node: &str) -> Done {
        let id = node_id(node)?;
        self.tailnet.approve_node(id)?;
        self.one_node(id)
    }

    pub(super) fn tag_node(&mut self, node: &str, body: &Body) -> Done {
        let id = node_id(node)?;
        self.tailnet.set_tags(id, &body.list("tags")?)?;
        self.one_node(id)
    }

    pub(super) fn approve_routes(&mut self, node: &str, body: &Body) -> Done {
        let id = node_id(node)?;
        let mut routes = Vec::new();
        for text in body.list("routes")? {
            let wrong = |e| Problem::invalid(format!("\"{text}\" is no route: {e}"));
            routes.push(text.parse::<Prefix>().map_err(wrong)?);
        }
        self.tailnet.approve_routes(id, &routes)?;
        self.one_node(id)
    }

    pub(super) fn backfill(&mut self, head: &Head) -> Done {
        if query(head, "confirmed").as_deref() != Some("true") {
            return Err(Problem::invalid("this changes addresses: confirm it with confirmed=true"));
        }
        let changes = self.tailnet.backfill_addresses(self.random)?;
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{');
        show::texts(&mut json, "changes", &changes);
        json.close('}');
        Ok(out)
    }

    /// Lets a waiting machine in as a node of a user.
    pub(super) fn register(&mut self, user: &str, id: &str) -> Done {
        let user = self.user_id(user)?;
        let id = login_id(id)?;
        let method = RegisterMethod::Cli;
        let node = self.tailnet.approve_login(id, user, method, self.now, self.random)?;
        self.one_node(node)
    }

    /// The machines that wait to be let in.
    pub(super) fn list_logins(&self) -> Done {
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{').key("logins").open('[');
        self.tailnet.logins().for_each(|(id, login)| show::login(&mut json, id, login));
        json.close(']').close('}');
        Ok(out)
    }

    /// Lets somebody log in over SSH.
    pub(super) fn approve(&mut self, id: &str) -> Done {
        let id = login_id(id)?;
        if self.tailnet.login(id).is_some() {
            return Err(Problem::invalid(
                "this is a machine that wants to join: let it in with auth register and a user",
            ));
        }
        self.tailnet.decide_check(id, true, self.now)?;
        Ok(b"{}".to_vec())
    }

    /// Refuses a machine that wants to join, or a login over SSH.
    pub(super) fn reject(&mut self, id: &str) -> Done {
        let id = login_id(id)?;
        match self.tailnet.check(id) {
            Some(_) => self.tailnet.decide_check(id, false, self.now)?,
            None => self.tailnet.reject_login(id)?,
        }
        Ok(b"{}".to_vec())
    }

    fn one_node(&self, id: NodeId) -> Done {
        let member = self.tailnet.node(id).ok_or(Refusal::NoNode(id))?;
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{').key("node");
        show::node(&mut json, self.tailnet, member, self.now, false);
        json.close('}');
        Ok(out)
    }
}

fn node_id(text: &str) -> Result<NodeId, Problem> {
    number(text, "node id").map(NodeId)
}

fn login_id(text: &str) -> Result<LoginId, Problem> {
    let wrong = || Problem::invalid(format!("\"{text}\" is no auth id; copy it from the client"));
    LoginId::parse(text).ok_or_else(wrong)
}
