//! Users, as clients are told of them.

use crate::tailnet::record::UserId;
use crate::tailnet::{Member, Tailnet};
use crate::wire::json::Json;

/// The user that a node shows as: its own, or that of all tagged nodes.
pub(super) fn owner(member: &Member) -> UserId {
    member.node.user.filter(|_| !member.node.is_tagged()).unwrap_or(UserId::TAGGED)
}

/// Writes the profiles of users, each once.
pub(super) fn profiles(json: &mut Json<'_>, tailnet: &Tailnet, users: &[UserId]) {
    json.key("UserProfiles").open('[');
    for id in users {
        write_profile(json, tailnet, *id);
    }
    json.close(']');
}

/// Writes a `tailcfg.UserProfile`.
fn write_profile(json: &mut Json<'_>, tailnet: &Tailnet, id: UserId) {
    json.open('{').key("ID").int(id.0 as i64);
    profile_fields(json, tailnet, id);
    json.close('}');
}

/// Writes a `tailcfg.Login`, of which the Rust client needs the provider to be there.
pub fn write_login(json: &mut Json<'_>, tailnet: &Tailnet, id: UserId) {
    json.open('{').key("ID").int(id.0 as i64);
    let provider = tailnet.user(id).map_or("", |user| user.provider.as_str());
    json.key("Provider").text(provider);
    profile_fields(json, tailnet, id);
    json.close('}');
}

fn profile_fields(json: &mut Json<'_>, tailnet: &Tailnet, id: UserId) {
    match tailnet.user(id) {
        Some(user) => {
            let shown = if user.display_name.is_empty() { &user.name } else { &user.display_name };
            json.key("LoginName").text(&user.name).key("DisplayName").text(shown);
            json.key("ProfilePicURL").text(&user.picture_url);
        }
        None => {
            json.key("LoginName").text("tagged-devices").key("DisplayName").text("Tagged Devices");
        }
    }
}
