//! Leases between attestations: possession, end, events, and the sweep of those that lapsed.

pub mod events;
pub mod possession;
mod reason;
pub mod sweep;
