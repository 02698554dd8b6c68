//! From SQLite's rows to the vault's.

use super::unavailable;
use crate::{
    model::{EntryRow, LeaseRow, PolicyRow, TokenRow, Versioned},
    store::StoreError,
};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row as _, sqlite::SqliteRow};
use strongroom_protocol::{
    admin::{KeyState, PolicyState},
    lease::LeaseState,
};

/// A row as JSON.
pub(super) fn to_json(row: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(row).map_err(|e| StoreError::Corrupt(format!("a row cannot be written as JSON: {e}")))
}

/// The key versions that a lease holds, as JSON. It may hold one both for reading and for writing: one
/// row says so.
pub(super) fn held_keys(lease: &LeaseRow) -> Result<String, StoreError> {
    let mut held: Vec<_> = lease.keys.iter().map(|key| (key.asset.as_str(), key.version)).collect();
    held.sort_unstable();
    held.dedup();
    to_json(&held)
}

/// The column `row`.
pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow) -> Result<T, StoreError> {
    let text: &str = row.try_get("row").map_err(unavailable)?;
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt(format!("a row is not what was written: {e}")))
}

/// The columns `row` and `version`.
pub(super) fn versioned<T: DeserializeOwned>(row: &SqliteRow) -> Result<Versioned<T>, StoreError> {
    Ok(Versioned { row: json(row)?, version: row.try_get("version").map_err(unavailable)? })
}

/// A lease: what changes stands in columns. Past its expiry by `now` a live one reads as expired.
pub(super) fn lease(row: &SqliteRow, now: Option<i64>) -> Result<Versioned<LeaseRow>, StoreError> {
    let mut lease: Versioned<LeaseRow> = versioned(row)?;
    lease.row.expires_at = row.try_get("expires_at").map_err(unavailable)?;
    lease.row.reattest_at = row.try_get("reattest_at").map_err(unavailable)?;
    lease.row.delivered = row.try_get("delivered").map_err(unavailable)?;
    lease.row.state = lease_state(row.try_get("state").map_err(unavailable)?, lease.row.expires_at, now)?;
    Ok(lease)
}

/// A policy: state and approver stand in columns.
pub(super) fn policy(row: &SqliteRow) -> Result<Versioned<PolicyRow>, StoreError> {
    let mut policy: Versioned<PolicyRow> = versioned(row)?;
    policy.row.state = match row.try_get("state").map_err(unavailable)? {
        "proposed" => PolicyState::Proposed,
        "enforced" => PolicyState::Enforced,
        "superseded" => PolicyState::Superseded,
        _ => return Err(StoreError::Corrupt("a policy has an unknown state".to_owned())),
    };
    policy.row.approver = row.try_get("approver").map_err(unavailable)?;
    Ok(policy)
}

/// A token: whether it is revoked stands in a column.
pub(super) fn token(row: &SqliteRow) -> Result<Versioned<TokenRow>, StoreError> {
    let mut token: Versioned<TokenRow> = versioned(row)?;
    token.row.revoked = row.try_get("revoked").map_err(unavailable)?;
    Ok(token)
}

/// An entry: the columns `idx`, `entry`, `salt`, `record`.
pub(super) fn entry(row: &SqliteRow) -> Result<EntryRow, StoreError> {
    let index: i64 = row.try_get("idx").map_err(unavailable)?;
    let salt: Option<&[u8]> = row.try_get("salt").map_err(unavailable)?;
    let record: Option<&[u8]> = row.try_get("record").map_err(unavailable)?;
    Ok(EntryRow {
        index: index.cast_unsigned(),
        entry: array(row.try_get("entry").map_err(unavailable)?)?,
        body: match (record, salt) {
            (Some(record), Some(salt)) => Some((record.to_vec(), array(salt)?)),
            _ => None,
        },
    })
}

pub(super) fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt(format!("{} bytes where {N} were written", bytes.len())))
}

pub(super) fn key_state_name(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "active",
        KeyState::DecryptOnly => "decrypt-only",
        KeyState::Destroyed => "destroyed",
    }
}

pub(super) fn lease_state_name(state: LeaseState) -> &'static str {
    match state {
        LeaseState::Live => "live",
        LeaseState::Expired => "expired",
        LeaseState::Ended => "ended",
        LeaseState::Revoked => "revoked",
    }
}

/// What a lease's column says; a live one past its expiry by `now` has expired.
pub(super) fn lease_state(name: &str, expires_at: i64, now: Option<i64>) -> Result<LeaseState, StoreError> {
    match name {
        "live" if now.is_some_and(|now| expires_at <= now) => Ok(LeaseState::Expired),
        "live" => Ok(LeaseState::Live),
        "expired" => Ok(LeaseState::Expired),
        "ended" => Ok(LeaseState::Ended),
        "revoked" => Ok(LeaseState::Revoked),
        _ => Err(StoreError::Corrupt("a lease has an unknown state".to_owned())),
    }
}
