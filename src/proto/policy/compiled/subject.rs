//! What a policy is applied to: people and nodes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::policy::ablation::Part;
use crate::policy::document::alias::{Alias, Names};
use crate::policy::role::Role;
use crate::wire::prefix::Prefix;

use super::bits::Bits;

/// A user, as far as a policy can name it.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: &'a str,
    /// Its email; may be empty.
    pub email: &'a str,
    /// Its identifier at the identity provider; may be empty.
    pub provider_id: &'a str,
    /// Its role.
    pub role: Role,
}

/// A node, as far as a policy looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its number.
    pub id: u64,
    /// Its owner; tagged nodes belong to nobody.
    pub user: Option<u64>,
    /// Its tags, `tag:` included.
    pub tags: &'a [String],
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// The routes that it advertises and that are approved. With `0.0.0.0/0` or `::/0` it is an
    /// exit node.
    pub routes: &'a [Prefix],
}

/// People, kept to resolve the names in a policy.
#[derive(Debug, Default)]
pub(crate) struct People(Vec<Known>);

#[derive(Debug)]
struct Known {
    id: u64,
    name: String,
    email: String,
    provider_id: String,
    role: Role,
}

impl Known {
    /// Users without an identity provider often have their email as name.
    fn email(&self) -> &str {
        if self.email.is_empty() { &self.name } else { &self.email }
    }

    fn domain(&self) -> Option<&str> {
        self.email().split_once('@').map(|(_, domain)| domain)
    }
}

impl People {
    pub(super) fn new(people: &[Person<'_>]) -> Self {
        let known = |person: &Person<'_>| Known {
            id: person.id,
            name: person.name.to_owned(),
            email: person.email.to_owned(),
            provider_id: person.provider_id.to_owned(),
            role: person.role,
        };
        Self(people.iter().map(known).collect())
    }

    /// The email of a user, or what stands for it; may be none.
    pub(super) fn email(&self, user: u64) -> &str {
        self.0.iter().find(|p| p.id == user).map_or("", Known::email)
    }

    /// Whether any user's email is in the domain.
    pub(super) fn has_domain(&self, domain: &str) -> bool {
        self.0.iter().any(|p| p.domain() == Some(domain))
    }

    /// The users that `text` means: by provider identifier, else by email or name.
    fn named(&self, text: &str) -> Vec<u64> {
        let by_provider = self.0.iter().filter(|p| p.provider_id == text).map(|p| p.id);
        let found: Vec<u64> = by_provider.collect();
        if !found.is_empty() {
            return found;
        }
        let name = text.strip_suffix('@').unwrap_or(text);
        self.0.iter().filter(|p| p.email == text || p.name == name).map(|p| p.id).collect()
    }

    /// Whether a user may give any tag, whoever owns that.
    pub(super) fn may_tag(&self, user: u64) -> bool {
        self.0.iter().any(|p| p.id == user && p.role.may_tag())
    }

    /// The users of an alias of users, sorted. The error is a name that means more than one.
    pub(crate) fn users(&self, alias: &Alias, names: &Names) -> Result<Vec<u64>, String> {
        let mut users = match alias {
            Alias::User(text) => {
                let found = self.named(text);
                if found.len() > 1 {
                    return Err(format!("multiple users found for \"{text}\""));
                }
                found
            }
            Alias::Domain(domain) => {
                let inside = |person: &&Known| person.domain() == Some(domain);
                self.0.iter().filter(inside).map(|person| person.id).collect()
            }
            Alias::Role(role) => {
                self.0.iter().filter(|p| p.role.is_in(*role)).map(|p| p.id).collect()
            }
            Alias::Group(place) => {
                let mut users = Vec::new();
                for member in names.groups.get(*place).map_or(&[][..], |g| &g.members) {
                    users.extend(self.users(member, names)?);
                }
                users
            }
            _ => Vec::new(),
        };
        users.sort_unstable();
        users.dedup();
        Ok(users)
    }
}

/// A node among the others, and what the rules say of it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(super) id: u64,
    pub(super) user: Option<u64>,
    pub(super) tags: Vec<String>,
    pub(super) v4: Option<Ipv4Addr>,
    pub(super) v6: Option<Ipv6Addr>,
    pub(super) routes: Vec<Prefix>,
    /// Whether it is no node of the tailnet, but an address somewhere else.
    pub(super) is_stranger: bool,
    /// The aliases that its own addresses are in.
    pub(super) aliases: Bits,
    /// The rules that concern its own addresses.
    pub(super) own: Reach,
    /// The rules that concern each of its routes.
    pub(super) through: Vec<Reach>,
    /// All of these together.
    pub(super) all: Reach,
}

/// Rules by their places.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reach {
    /// The rules whose source it is.
    pub(super) from: Bits,
    /// The rules whose destination it is.
    pub(super) to: Bits,
}

impl Reach {
    /// Whether any rule leads from one to the other or back.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.from.meets(&other.to) || (other.from.meets(&self.to) && !Part::OneWay.is_off())
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.from.join(&other.from);
        self.to.join(&other.to);
    }
}

impl Node {
    pub(super) fn new(subject: &Subject<'_>) -> Self {
        Self {
            id: subject.id,
            user: subject.user.filter(|_| subject.tags.is_empty()),
            tags: subject.tags.to_vec(),
            v4: subject.v4,
            v6: subject.v6,
            routes: subject.routes.to_vec(),
            ..Self::nobody()
        }
    }

    /// A node without anything.
    pub(super) fn nobody() -> Self {
        Self {
            id: 0,
            user: None,
            tags: Vec::new(),
            v4: None,
            v6: None,
            routes: Vec::new(),
            is_stranger: false,
            aliases: Bits::default(),
            own: Reach::default(),
            through: Vec::new(),
            all: Reach::default(),
        }
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// The routes behind it that are no exit routes.
    pub(super) fn subnets(&self) -> impl Iterator<Item = &Prefix> {
        self.routes.iter().filter(|route| !route.is_exit())
    }

    pub(super) fn is_exit(&self) -> bool {
        self.routes.iter().any(Prefix::is_exit)
    }

    /// Whether both belong to one user.
    pub(super) fn shares_user(&self, other: &Self) -> bool {
        self.user.is_some() && self.user == other.user
    }
}
