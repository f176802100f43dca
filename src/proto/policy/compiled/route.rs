//! Which routes of its peers a node may use, and through which of them.

use crate::policy::ablation::Part;
use crate::policy::document::alias::Alias;
use crate::policy::range;
use crate::wire::prefix::Prefix;

use super::bits::Bits;
use super::subject::Reach;
use super::{Compiled, Mode};

/// How a viewer may use a route of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteUse {
    /// Not at all.
    No,
    /// Through whichever router is the primary one for it.
    Primary,
    /// Through one of the peers of which this is said, whoever is the primary router: the primary
    /// one if it is among them, else the first that is there. An exit node is offered in any case.
    Steered,
}

impl Compiled {
    /// How `viewer` may use a route of `peer`.
    pub fn route(&self, viewer: u64, peer: u64, route: &Prefix) -> RouteUse {
        let (Some(viewer), Some(peer)) = (self.node(viewer), self.node(peer)) else {
            return RouteUse::No;
        };
        let Some(place) = peer.routes.iter().position(|own| own == route) else {
            return RouteUse::No;
        };
        // A router also gets the routes that it shares, so that it can stand back for the primary.
        let shared = !route.is_exit() && viewer.routes.contains(route) && !Part::Shared.is_off();
        if self.mode == Mode::Open || (shared && self.meet(viewer, peer)) {
            return RouteUse::Primary;
        }
        let Some(through) = peer.through.get(place) else { return RouteUse::No };
        let onward = viewer.all.from.and(&through.to);
        if onward.exceeds(&self.via_rules) || through.from.meets(&viewer.all.to) {
            RouteUse::Primary
        } else if onward.meets(&self.via_rules) && !Part::Steering.is_off() {
            RouteUse::Steered
        } else {
            RouteUse::No
        }
    }

    /// Whether `viewer` reaches a route through `peer`: what stands in the AllowedIPs that it is
    /// told of that peer, beside addresses.
    ///
    /// `primary` is the primary router for the route, `online` tells which nodes are there. Exit
    /// nodes are not elected: all that the viewer may use are offered.
    pub fn carries(
        &self,
        viewer: u64,
        peer: u64,
        route: &Prefix,
        primary: Option<u64>,
        online: impl Fn(u64) -> bool,
    ) -> bool {
        let steered = |id: &u64| self.route(viewer, *id, route) == RouteUse::Steered;
        match self.route(viewer, peer, route) {
            RouteUse::No => false,
            RouteUse::Primary | RouteUse::Steered if route.is_exit() => !Part::ExitNodes.is_off(),
            RouteUse::Primary => primary == Some(peer),
            RouteUse::Steered => {
                let candidates = || self.places.keys().copied().filter(steered);
                let elected = primary.filter(|id| steered(id) && online(*id));
                let elected = elected.or_else(|| candidates().find(|id| online(*id)));
                elected.or_else(|| candidates().next()) == Some(peer)
            }
        }
    }

    /// The rules that concern a route of a router that is in some aliases: from what lies behind
    /// it and to it.
    pub(super) fn route_reach(&self, route: &Prefix, router: &Bits) -> Reach {
        let aliases = self.policy.table.aliases.iter().enumerate();
        if route.is_exit() {
            let to = aliases.filter(|(_, alias)| match alias {
                Alias::All | Alias::Internet => true,
                Alias::Prefix(prefix) => route.covers(prefix) && range::in_internet(prefix),
                _ => false,
            });
            return self.reach(&Bits::default(), &to.map(|(at, _)| at).collect(), Some(router));
        }
        let both = aliases.filter(|(_, alias)| match alias {
            Alias::All | Alias::Wild | Alias::Danger => true,
            Alias::Prefix(prefix) => prefix.overlaps(route),
            _ => false,
        });
        let both = both.map(|(at, _)| at).collect();
        self.reach(&both, &both, Some(router))
    }
}
