//! Leases between attestations: possession, end, events, and the sweep of those that lapsed.

pub mod events;
pub mod possession;
pub mod sweep;
