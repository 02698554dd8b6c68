//! From SQLite's rows to the vault's.

use super::unavailable;
use crate::{
    encoding::{self, from_json, policy_state, reference_state},
    model::{EntryRow, LeaseRow, PolicyRow, ReferenceRow, TokenRow, Versioned},
    store::StoreError,
};
use serde::de::DeserializeOwned;
use sqlx::{Row as _, sqlite::SqliteRow};

pub(super) use crate::encoding::{array, key_state_name, lease_state, lease_state_name, to_json};

/// The key versions that a lease holds, as JSON.
pub(super) fn held_keys(lease: &LeaseRow) -> Result<String, StoreError> {
    to_json(&encoding::held_keys(lease))
}

/// The column `row`.
pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow) -> Result<T, StoreError> {
    from_json(row.try_get("row").map_err(unavailable)?)
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
    policy.row.state = policy_state(row.try_get("state").map_err(unavailable)?)?;
    policy.row.approver = row.try_get("approver").map_err(unavailable)?;
    Ok(policy)
}

/// A version of a reference set: state and approver stand in columns.
pub(super) fn reference(row: &SqliteRow) -> Result<ReferenceRow, StoreError> {
    let mut reference: ReferenceRow = json(row)?;
    reference.state = reference_state(row.try_get("state").map_err(unavailable)?)?;
    reference.approved_by = row.try_get("approver").map_err(unavailable)?;
    Ok(reference)
}

/// A token: whether it is revoked, and when it was last used, stand in columns.
pub(super) fn token(row: &SqliteRow) -> Result<Versioned<TokenRow>, StoreError> {
    let mut token: Versioned<TokenRow> = versioned(row)?;
    token.row.revoked = row.try_get("revoked").map_err(unavailable)?;
    token.row.last_used_at = row.try_get("last_used_at").map_err(unavailable)?;
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
