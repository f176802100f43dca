//! Why a command is refused.

use std::fmt;

use super::record::{ApiKeyId, AuthKeyId, NodeId, UserId};

/// Why a command is refused. The state is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A preauth key that has ended.
    AuthKeyExpired,
    /// A single-use preauth key that has been used.
    AuthKeyUsed,
    /// A preauth key needs an owner: a user or tags.
    AuthKeyWithoutOwner,
    /// No preauth key has this text.
    BadAuthKey,
    /// The address prefixes hold no free address.
    NoAddress,
    /// No API key has this number.
    NoApiKey(ApiKeyId),
    /// No API key has this prefix.
    NoApiKeyPrefix(String),
    /// No preauth key has this number.
    NoAuthKey(AuthKeyId),
    /// No login waits under this id: unknown, ended, or done.
    NoLogin(String),
    /// No node has this number.
    NoNode(NodeId),
    /// No user has this number.
    NoUser(UserId),
    /// No user has this name.
    NoUserName(String),
    /// A client asks for a later expiry of a key it already has.
    KeyExtension,
    /// The node key belongs to another machine.
    KeyInUse,
    /// The machine key of the session is not the node's.
    MachineMismatch,
    /// The name is no DNS label.
    NodeName(String),
    /// Another node has the name.
    NodeNameTaken(String),
    /// A tag that no `tagOwners` entry of the policy defines.
    TagUndefined(String),
    /// Not of the form `tag:name`.
    TagSyntax(String),
    /// Somebody of that name is the owner already.
    OwnerExists(String),
    /// The policy can't be read, or names more than one user by one name.
    Policy(crate::policy::Error),
    /// The last tag can't be taken from a node: it would belong to nobody.
    TagsEmpty,
    /// Tags that a client may not ask for.
    TagsRefused(Vec<String>),
    /// Names of users from an identity provider follow the provider.
    UserFromProvider,
    /// A user can't go while it has nodes.
    UserHasNodes(usize),
    /// The name is not of the accepted form.
    UserName(String),
    /// Another user has the name.
    UserNameTaken(String),
}

/// What kind of refusal it is, for an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// What was asked contradicts the state (409).
    Conflict,
    /// What was asked makes no sense (400).
    Invalid,
    /// What was named does not exist (404).
    Missing,
}

impl Refusal {
    /// Its kind.
    pub fn kind(&self) -> RefusalKind {
        use Refusal as R;
        match self {
            R::NoApiKey(_)
            | R::NoApiKeyPrefix(_)
            | R::NoAuthKey(_)
            | R::NoLogin(_)
            | R::NoNode(_)
            | R::NoUser(_)
            | R::NoUserName(_) => RefusalKind::Missing,
            R::KeyInUse
            | R::NodeNameTaken(_)
            | R::OwnerExists(_)
            | R::UserNameTaken(_)
            | R::NoAddress => RefusalKind::Conflict,
            _ => RefusalKind::Invalid,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthKeyExpired => f.write_str("authkey expired"),
            Self::AuthKeyUsed => f.write_str("authkey already used"),
            Self::AuthKeyWithoutOwner => {
                f.write_str("a preauth key needs a user, or tags: give --user or --tags")
            }
            Self::BadAuthKey => f.write_str("invalid pre auth key"),
            Self::NoAddress => {
                f.write_str("no free address is left in the prefixes: widen prefixes.v4/v6")
            }
            Self::NoApiKey(id) => write!(f, "there is no API key {id}"),
            Self::NoApiKeyPrefix(prefix) => {
                write!(f, "there is no API key with the prefix {prefix}")
            }
            Self::NoAuthKey(id) => write!(f, "there is no preauth key {id}"),
            Self::NoLogin(id) => write!(
                f,
                "no login waits under {id}: it ended or is done; start again on the machine"
            ),
            Self::NoNode(id) => write!(f, "there is no node {id}"),
            Self::NoUser(id) => write!(f, "there is no user {id}"),
            Self::NoUserName(name) => write!(f, "user not found: {name}"),
            Self::KeyExtension => f.write_str("extending key is not allowed"),
            Self::KeyInUse => f.write_str("node key already in use by another machine"),
            Self::MachineMismatch => f.write_str("node exists with a different machine key"),
            Self::NodeName(name) => write!(
                f,
                "\"{name}\" is no DNS label: use 1 to 63 of a-z, 0-9 and -, not at an end"
            ),
            Self::NodeNameTaken(name) => write!(f, "another node is named {name}"),
            Self::OwnerExists(name) => write!(
                f,
                "{name} is the owner, and there can be only one: transfer it, which makes {name} \
                 an admin (users set-role --transfer)"
            ),
            Self::Policy(error) => error.fmt(f),
            Self::TagUndefined(tag) => {
                write!(f, "{tag} is not defined: add it to tagOwners in the policy")
            }
            Self::TagSyntax(tag) => write!(
                f,
                "\"{tag}\" is no tag: write tag: and a name of a-z, 0-9 and - that begins with \
                 a letter"
            ),
            Self::TagsEmpty => f.write_str("a tagged node needs at least one tag"),
            Self::TagsRefused(tags) => {
                write!(f, "requested tags [{}] are invalid or not permitted", tags.join(" "))
            }
            Self::UserFromProvider => {
                f.write_str("this user comes from the identity provider: change its name there")
            }
            Self::UserHasNodes(count) => {
                write!(f, "user not empty: delete or move its {count} node(s) first")
            }
            Self::UserName(name) => write!(
                f,
                "\"{name}\" is no user name: use 2 to 64 letters, digits, - . _ and at most one \
                 @, beginning with a letter"
            ),
            Self::UserNameTaken(name) => write!(f, "a user named {name} exists already"),
        }
    }
}

impl std::error::Error for Refusal {}
