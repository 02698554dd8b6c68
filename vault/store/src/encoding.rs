//! How values stand in a database's columns: the same for every backend.

use crate::{model::LeaseRow, store::StoreError};
use serde::{Serialize, de::DeserializeOwned};
use strongroom_protocol::{
    NodeId,
    admin::{KeyState, PolicyState, ReferenceState},
    endorsement::PinState,
    lease::LeaseState,
};

/// Records in a page of a query, unless it says otherwise, and at the most.
pub(crate) const PAGE: (u32, u32) = (100, 1000);
/// Hashes in a full tile, entries in a full bundle.
pub(crate) const TILE_WIDTH: u64 = 256;
/// How long a node's denials count, milliseconds.
pub(crate) const DENIAL_WINDOW_MS: i64 = 3_600_000;
/// Guards that one statement compares. A statement has a text for each combination of guards, so a
/// bound keeps their number, and the cache of prepared statements, small.
pub(crate) const GUARDS_AT_ONCE: usize = 16;

/// A row as JSON.
pub(crate) fn to_json(row: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(row).map_err(|e| StoreError::Corrupt(format!("a row cannot be written as JSON: {e}")))
}

/// A row from its JSON.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt(format!("a row is not what was written: {e}")))
}

/// The key versions that a lease holds, each once: it may hold one both for reading and for writing.
pub(crate) fn held_keys(lease: &LeaseRow) -> Vec<(&str, u32)> {
    let mut held: Vec<_> = lease.keys.iter().map(|key| (key.asset.as_str(), key.version)).collect();
    held.sort_unstable();
    held.dedup();
    held
}

/// Why a node is not written: two nodes would list one identity.
pub(crate) fn taken_identity(kind: &str, identity: &str, node: NodeId) -> String {
    format!("the identity {kind}:{identity} belongs to the node {node}")
}

/// Bytes of a fixed length.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt(format!("{} bytes where {N} were written", bytes.len())))
}

/// Databases' integers are signed. Indices stay below 2^53; anything larger is larger than all.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The column of a key's state.
pub(crate) fn key_state_name(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "active",
        KeyState::DecryptOnly => "decrypt-only",
        KeyState::Destroyed => "destroyed",
    }
}

/// What a key's column says.
pub(crate) fn key_state(name: &str) -> Result<KeyState, StoreError> {
    match name {
        "active" => Ok(KeyState::Active),
        "decrypt-only" => Ok(KeyState::DecryptOnly),
        "destroyed" => Ok(KeyState::Destroyed),
        _ => Err(StoreError::Corrupt("a key has an unknown state".to_owned())),
    }
}

/// What a reference set's column says.
pub(crate) fn reference_state(name: &str) -> Result<ReferenceState, StoreError> {
    match name {
        "proposed" => Ok(ReferenceState::Proposed),
        "in_force" => Ok(ReferenceState::InForce),
        "superseded" => Ok(ReferenceState::Superseded),
        _ => Err(StoreError::Corrupt("a reference set has an unknown state".to_owned())),
    }
}

/// What a pin's column says.
pub(crate) fn pin_state(name: &str) -> Result<PinState, StoreError> {
    match name {
        "proposed" => Ok(PinState::Proposed),
        "in_force" => Ok(PinState::InForce),
        _ => Err(StoreError::Corrupt("a pin has an unknown state".to_owned())),
    }
}

/// What a policy's column says.
pub(crate) fn policy_state(name: &str) -> Result<PolicyState, StoreError> {
    match name {
        "proposed" => Ok(PolicyState::Proposed),
        "enforced" => Ok(PolicyState::Enforced),
        "superseded" => Ok(PolicyState::Superseded),
        _ => Err(StoreError::Corrupt("a policy has an unknown state".to_owned())),
    }
}

/// The column of a lease's state.
pub(crate) fn lease_state_name(state: LeaseState) -> &'static str {
    match state {
        LeaseState::Live => "live",
        LeaseState::Expired => "expired",
        LeaseState::Ended => "ended",
        LeaseState::Revoked => "revoked",
    }
}

/// What a lease's column says; a live one past its expiry by `now` has expired.
pub(crate) fn lease_state(name: &str, expires_at: i64, now: Option<i64>) -> Result<LeaseState, StoreError> {
    match name {
        "live" if now.is_some_and(|now| expires_at <= now) => Ok(LeaseState::Expired),
        "live" => Ok(LeaseState::Live),
        "expired" => Ok(LeaseState::Expired),
        "ended" => Ok(LeaseState::Ended),
        "revoked" => Ok(LeaseState::Revoked),
        _ => Err(StoreError::Corrupt("a lease has an unknown state".to_owned())),
    }
}
