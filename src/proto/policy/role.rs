//! What users may do beside having nodes.

use serde::{Deserialize, Serialize};

/// A user's role (<https://tailscale.com/kb/1138/user-roles>): which autogroup it is in, beside
/// `autogroup:member`. Stored by its place here.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Role {
    /// None of the others.
    #[default]
    Member,
    /// May look at everything.
    Auditor,
    /// Pays the bills.
    BillingAdmin,
    /// Looks after users and nodes.
    ItAdmin,
    /// Looks after policy, routes and DNS.
    NetworkAdmin,
    /// May do anything.
    Admin,
    /// May do anything, and it is theirs: at most one user.
    Owner,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 7] = [
        Self::Owner,
        Self::Admin,
        Self::NetworkAdmin,
        Self::ItAdmin,
        Self::BillingAdmin,
        Self::Auditor,
        Self::Member,
    ];

    /// Its name in policies, behind `autogroup:`, and in interfaces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::NetworkAdmin => "network-admin",
            Self::ItAdmin => "it-admin",
            Self::BillingAdmin => "billing-admin",
            Self::Auditor => "auditor",
            Self::Member => "member",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it is an administrator's, as the hosted service counts: the owner's is.
    pub fn is_admin(self) -> bool {
        self >= Self::Admin
    }

    /// Whether somebody with this role is in the autogroup of `group`.
    pub(super) fn is_in(self, group: Self) -> bool {
        self == group || (group == Self::Admin && self.is_admin())
    }

    /// Whether it may give any tag that the policy defines, whoever owns that.
    pub(super) fn may_tag(self) -> bool {
        self >= Self::NetworkAdmin
    }
}
