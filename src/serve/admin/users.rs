//! `/api/v1/user`.

use gramscale_proto::policy::Role;
use gramscale_proto::tailnet::NewUser;
use gramscale_proto::tailnet::record::{User, UserId};
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::json::Json;

use super::input::{Body, Page, number, query};
use super::problem::Problem;
use super::{Admin, Done, show};

impl Admin<'_> {
    pub(super) fn list_users(&self, head: &Head) -> Done {
        let filters = ["name", "email", "id"].map(|key| (key, query(head, key)));
        let filter = filters.into_iter().find_map(|(key, value)| Some((key, value?)));
        let id = match &filter {
            Some(("id", text)) => Some(number(text, "id")?),
            _ => None,
        };
        let wanted = |user: &&User| match &filter {
            None => true,
            Some(("name", text)) => user.name == *text,
            Some(("email", text)) => user.email == *text,
            Some(_) => Some(user.id.0) == id,
        };
        let page = Page::parse(head)?;
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{').key("users").open('[');
        let users = page.of(self.tailnet.users().filter(wanted), |user| user.id.0);
        users.for_each(|user| show::user(&mut json, user));
        json.close(']').close('}');
        Ok(out)
    }

    pub(super) fn create_user(&mut self, body: &Body) -> Done {
        let picture = body.text("pictureUrl")?;
        let new = NewUser {
            name: body.text("name")?,
            display_name: body.text("displayName")?,
            email: body.text("email")?,
            picture_url: if picture.is_empty() { body.text("profilePicUrl")? } else { picture },
            role: match body.text("role")?.as_str() {
                "" => Role::Member,
                name => role(name)?,
            },
        };
        let id = self.tailnet.create_user(new, self.now)?;
        self.one_user(id)
    }

    pub(super) fn rename_user(&mut self, user: &str, name: &str) -> Done {
        let id = self.user_id(user)?;
        self.tailnet.rename_user(id, name)?;
        self.one_user(id)
    }

    pub(super) fn set_role(&mut self, user: &str, name: &str, body: &Body) -> Done {
        let id = self.user_id(user)?;
        self.tailnet.set_role(id, role(name)?, body.flag("transfer")?)?;
        self.one_user(id)
    }

    pub(super) fn delete_user(&mut self, user: &str) -> Done {
        let id = self.user_id(user)?;
        self.tailnet.delete_user(id)?;
        Ok(b"{}".to_vec())
    }

    /// The user that a path or body names, by number or (as before headscale 0.24) by name.
    pub(super) fn user_id(&self, text: &str) -> Result<UserId, Problem> {
        if text.is_empty() {
            return Err(Problem::invalid("name a user"));
        }
        Ok(self.tailnet.find_user(text)?.id)
    }

    fn one_user(&self, id: UserId) -> Done {
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{').key("user");
        match self.tailnet.user(id) {
            Some(user) => show::user(&mut json, user),
            None => _ = json.null(),
        }
        json.close('}');
        Ok(out)
    }
}

fn role(name: &str) -> Result<Role, Problem> {
    Role::parse(name).ok_or_else(|| {
        let names = Role::ALL.map(Role::name).join(", ");
        Problem::invalid(format!("\"{name}\" is no role: it is one of {names}"))
    })
}
