//! Which leases a change closes: the same for every backend, which each choose them in their own SQL.

use crate::batch::Change;
use strongroom_protocol::{LeaseId, NodeId, lease::LeaseState};

/// Which of the live leases.
pub(crate) enum Which<'a> {
    One(LeaseId),
    OfNode(NodeId),
    OfKey(&'a str, u32),
    OfAsset(&'a str),
    OfSite(&'a str),
    Every,
}

impl<'a> Which<'a> {
    /// The leases that a change closes, and into what; `None` for a change of another kind.
    pub(crate) fn closed_by(change: &'a Change) -> Option<(Self, LeaseState)> {
        match change {
            Change::CloseLease(id, state) => Some((Self::One(*id), *state)),
            Change::CloseLeasesOfNode(node, state) => Some((Self::OfNode(*node), *state)),
            Change::CloseLeasesOfKey(asset, version, state) => Some((Self::OfKey(asset, *version), *state)),
            Change::CloseLeasesOfAsset(asset, state) => Some((Self::OfAsset(asset), *state)),
            Change::CloseLeasesOfSite(site, state) => Some((Self::OfSite(site), *state)),
            Change::CloseEveryLease(state) => Some((Self::Every, *state)),
            _ => None,
        }
    }
}
