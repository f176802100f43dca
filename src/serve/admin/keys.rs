//! `/api/v1/preauthkey` and `/api/v1/apikey`.

use gramscale_proto::tailnet::NewAuthKey;
use gramscale_proto::tailnet::record::{ApiKeyId, AuthKey, AuthKeyId};
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::json::Json;

use super::input::{Body, Page, number, query};
use super::problem::Problem;
use super::{Admin, Done, show};

impl Admin<'_> {
    pub(super) fn list_auth_keys(&self, head: &Head) -> Done {
        let owner = match query(head, "user") {
            Some(user) => Some(self.user_id(&user)?),
            None => None,
        };
        let wanted = |key: &&AuthKey| owner.is_none() || key.user == owner;
        let page = Page::parse(head)?;
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{').key("preAuthKeys").open('[');
        for key in page.of(self.tailnet.auth_keys().filter(wanted), |key| key.id.0) {
            show::auth_key(&mut json, self.tailnet, key, None, self.now);
        }
        json.close(']').close('}');
        Ok(out)
    }

    pub(super) fn create_auth_key(&mut self, body: &Body) -> Done {
        let user = match body.text("user")?.as_str() {
            "" | "0" => None,
            user => Some(self.user_id(user)?),
        };
        let new = NewAuthKey {
            user,
            tags: body.list("aclTags")?,
            reusable: body.flag("reusable")?,
            ephemeral: body.flag("ephemeral")?,
            preapproved: body.flag("preapproved")?,
            expiry: body.expiry("expiration", self.now)?,
        };
        let (id, whole) = self.tailnet.create_auth_key(new, self.now, self.random)?;
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{').key("preAuthKey");
        match self.tailnet.auth_key(id) {
            Some(key) => show::auth_key(&mut json, self.tailnet, key, Some(&whole), self.now),
            None => _ = json.null(),
        }
        json.close('}');
        Ok(out)
    }

    pub(super) fn expire_auth_key(&mut self, body: &Body) -> Done {
        let id = body.id("id")?.ok_or_else(|| Problem::invalid("name the key by its id"))?;
        self.tailnet.expire_auth_key(AuthKeyId(id), self.now)?;
        Ok(b"{}".to_vec())
    }

    pub(super) fn delete_auth_key(&mut self, head: &Head) -> Done {
        let id = query(head, "id").ok_or_else(|| Problem::invalid("name the key with ?id="))?;
        self.tailnet.delete_auth_key(AuthKeyId(number(&id, "id")?))?;
        Ok(b"{}".to_vec())
    }

    pub(super) fn list_api_keys(&self) -> Done {
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open('{').key("apiKeys").open('[');
        self.tailnet.api_keys().for_each(|key| show::api_key(&mut json, key, self.now));
        json.close(']').close('}');
        Ok(out)
    }

    pub(super) fn create_api_key(&mut self, body: &Body) -> Done {
        let expiry = body.expiry("expiration", self.now)?;
        let (_, whole) = self.tailnet.create_api_key(expiry, self.now, self.random)?;
        let mut out = Vec::new();
        Json::new(&mut out).open('{').key("apiKey").string(&whole).close('}');
        Ok(out)
    }

    pub(super) fn expire_api_key(&mut self, body: &Body) -> Done {
        let id = self.api_key_id(body.id("id")?, &body.text("prefix")?)?;
        self.tailnet.expire_api_key(id, self.now)?;
        Ok(b"{}".to_vec())
    }

    /// The key is named by the path's prefix, or by the query's id, which then counts.
    pub(super) fn delete_api_key(&mut self, prefix: &str, head: &Head) -> Done {
        let id = match query(head, "id") {
            Some(text) => Some(number(&text, "id")?),
            None => None,
        };
        let id = self.api_key_id(id, prefix)?;
        self.tailnet.delete_api_key(id)?;
        Ok(b"{}".to_vec())
    }

    fn api_key_id(&self, id: Option<u64>, prefix: &str) -> Result<ApiKeyId, Problem> {
        match (id, prefix) {
            (Some(id), _) => Ok(ApiKeyId(id)),
            (None, "") => Err(Problem::invalid("name the key by its prefix or id")),
            (None, prefix) => Ok(self.tailnet.api_key_by_prefix(prefix)?),
        }
    }
}
