//! Leases between attestations: possession, end, events, and the sweep of those that lapsed.

pub mod events;
pub mod possession;
pub(crate) mod reason;
pub mod sweep;
