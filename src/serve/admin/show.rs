//! The objects of the interface as JSON: camelCase, ids as texts, RFC 3339, empty values present.

use gramscale_proto::policy::Role;
use gramscale_proto::tailnet::login::{Login, LoginId};
use gramscale_proto::tailnet::record::{
    ApiKey, AuthKey, Expiry, RegisterMethod, Secret, User, UserId,
};
use gramscale_proto::tailnet::{Member, Now, Tailnet};
use gramscale_proto::wire::json::Json;
use gramscale_proto::wire::prefix::Prefix;
use gramscale_proto::wire::time::Timestamp;

pub(super) fn user(json: &mut Json<'_>, user: &User) {
    let names = [&user.name, &user.email, &user.provider_id];
    let id = user.id.to_string();
    let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or(&id);
    json.open('{').key("id").display(&user.id).key("name").string(name);
    json.key("createdAt").display(&user.created);
    json.key("displayName").string(&user.display_name).key("email").string(&user.email);
    json.key("providerId").string(&user.provider_id).key("provider").string(&user.provider);
    json.key("profilePicUrl").string(&user.picture_url);
    json.key("role").string(user.role.name()).close('}');
}

/// Whom tagged nodes are shown to belong to.
fn tagged(json: &mut Json<'_>) {
    let stand_in = User {
        id: UserId::TAGGED,
        name: "tagged-devices".into(),
        display_name: "Tagged Devices".into(),
        email: String::new(),
        provider_id: String::new(),
        provider: String::new(),
        picture_url: String::new(),
        created: Timestamp::default(),
        role: Role::Member,
    };
    user(json, &stand_in);
}

/// A node; `host` adds what headscale's interface does not show: its system and its client.
pub(super) fn node(json: &mut Json<'_>, tailnet: &Tailnet, member: &Member, now: Now, host: bool) {
    let (node, soft) = (&member.node, &member.soft);
    json.open('{').key("id").display(&node.id);
    json.key("machineKey").display(&node.machine).key("nodeKey").display(&node.key);
    json.key("discoKey").display(&soft.disco);
    json.key("ipAddresses").open('[');
    node.addresses().for_each(|addr| _ = json.display(&addr));
    json.close(']').key("name").string(&node.hostname).key("user");
    match node.user.and_then(|id| tailnet.user(id)) {
        Some(owner) => user(json, owner),
        None => tagged(json),
    }
    json.key("lastSeen");
    moment(json, if member.online { Some(now.wall) } else { soft.last_seen });
    json.key("expiry");
    ends(json, node.expiry, now);
    json.key("preAuthKey");
    match node.auth_key.and_then(|id| tailnet.auth_key(id)) {
        Some(key) => auth_key(json, tailnet, key, None, now),
        None => _ = json.null(),
    }
    json.key("createdAt").display(&node.created).key("registerMethod").string(match node.method {
        RegisterMethod::AuthKey => "REGISTER_METHOD_AUTH_KEY",
        RegisterMethod::Cli => "REGISTER_METHOD_CLI",
        RegisterMethod::Oidc => "REGISTER_METHOD_OIDC",
    });
    json.key("givenName").string(&node.name).key("online").bool(member.online);
    prefixes(json, "approvedRoutes", &mut node.approved_routes.iter().copied());
    prefixes(json, "availableRoutes", &mut soft.host.routes.iter().copied());
    // What the node serves now: the prefixes it is the primary router of, and exit routes.
    let exits = member.routes().filter(Prefix::is_exit);
    prefixes(json, "subnetRoutes", &mut tailnet.primary_routes(node.id).chain(exits));
    texts(json, "tags", &node.tags);
    json.key("approved").bool(!tailnet.is_waiting(node.id));
    if host {
        json.key("os").string(&soft.host.os).key("clientVersion").string(&soft.host.client);
    }
    json.close('}');
}

/// A machine that waits to be let in.
pub(super) fn login(json: &mut Json<'_>, id: LoginId, login: &Login) {
    json.open('{').key("authId").display(&id).key("hostname").string(&login.hostname);
    json.key("os").string(&login.host.os).key("clientVersion").string(&login.host.client);
    texts(json, "requestTags", &login.host.request_tags);
    json.close('}');
}

/// A preauth key; `secret` is the whole key, which only the answer to its making may hold.
pub(super) fn auth_key(
    json: &mut Json<'_>,
    tailnet: &Tailnet,
    key: &AuthKey,
    secret: Option<&str>,
    now: Now,
) {
    json.open('{').key("user");
    match key.user.and_then(|id| tailnet.user(id)) {
        Some(owner) => user(json, owner),
        None => _ = json.null(),
    }
    json.key("id").display(&key.id).key("key");
    match (secret, &key.secret) {
        (Some(whole), _) => json.string(whole),
        (None, Secret::Plain(whole)) => json.string(whole),
        (None, _) => json.string(&format!("hskey-auth-{}-***", key.prefix)),
    };
    json.key("reusable").bool(key.reusable).key("ephemeral").bool(key.ephemeral);
    json.key("preapproved").bool(key.preapproved);
    json.key("used").bool(key.used).key("expiration");
    ends(json, key.expiry, now);
    json.key("createdAt").display(&key.created);
    texts(json, "aclTags", &key.tags);
    json.close('}');
}

pub(super) fn api_key(json: &mut Json<'_>, key: &ApiKey, now: Now) {
    // Keys of before headscale 0.28 have no fixed part before the public one.
    let shown = match key.secret {
        Secret::Sha256(_) => format!("hskey-api-{}-***", key.prefix),
        _ => format!("{}***", key.prefix),
    };
    json.open('{').key("id").display(&key.id).key("prefix").string(&shown).key("expiration");
    ends(json, key.expiry, now);
    json.key("createdAt").display(&key.created).key("lastSeen");
    moment(json, key.last_seen);
    json.close('}');
}

fn ends(json: &mut Json<'_>, expiry: Option<Expiry>, now: Now) {
    moment(
        json,
        expiry.map(|expiry| match expiry {
            Expiry::At(at) => at,
            Expiry::In(by) => now.wall.after(by),
        }),
    );
}

fn moment(json: &mut Json<'_>, at: Option<Timestamp>) {
    match at {
        Some(at) => json.display(&at),
        None => json.null(),
    };
}

fn prefixes(json: &mut Json<'_>, key: &str, list: &mut dyn Iterator<Item = Prefix>) {
    json.key(key).open('[');
    list.for_each(|prefix| _ = json.display(&prefix));
    json.close(']');
}

pub(super) fn texts(json: &mut Json<'_>, key: &str, list: &[String]) {
    json.key(key).open('[');
    list.iter().for_each(|text| _ = json.string(text));
    json.close(']');
}
