//! From PostgreSQL's rows to the vault's.

use super::unavailable;
use crate::{
    encoding::{array, from_json, key_state, lease_state, policy_state, reference_state},
    model::{EntryRow, KeyRow, LeaseRow, PolicyRow, ReferenceRow, TokenRow, Versioned},
    store::StoreError,
};
use serde::de::DeserializeOwned;
use sqlx::{Decode, Postgres, Row as _, Type, postgres::PgRow};
use strongroom_protocol::Bytes;

/// A column's value.
pub(super) fn get<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, column: &str) -> Result<T, StoreError> {
    row.try_get(column).map_err(unavailable)
}

/// The column `content`.
pub(super) fn content<T: DeserializeOwned>(row: &PgRow) -> Result<T, StoreError> {
    from_json(get(row, "content")?)
}

/// The columns `content` and `version`.
pub(super) fn versioned<T: DeserializeOwned>(row: &PgRow) -> Result<Versioned<T>, StoreError> {
    Ok(Versioned { row: content(row)?, version: get(row, "version")? })
}

/// A key: its state stands in a column.
pub(super) fn key(row: &PgRow) -> Result<Versioned<KeyRow>, StoreError> {
    let mut key: Versioned<KeyRow> = versioned(row)?;
    key.row.state = key_state(get(row, "state")?)?;
    Ok(key)
}

/// A lease: what changes stands in columns. Past its expiry by `now` a live one reads as expired.
pub(super) fn lease(row: &PgRow, now: Option<i64>) -> Result<Versioned<LeaseRow>, StoreError> {
    let mut lease: Versioned<LeaseRow> = versioned(row)?;
    lease.row.expires_at = get(row, "expires_at")?;
    lease.row.reattest_at = get(row, "reattest_at")?;
    lease.row.delivered = get(row, "delivered")?;
    lease.row.wrapped_secret = Bytes(get(row, "wrapped_secret")?);
    lease.row.state = lease_state(get(row, "state")?, lease.row.expires_at, now)?;
    Ok(lease)
}

/// A policy: state and approver stand in columns.
pub(super) fn policy(row: &PgRow) -> Result<Versioned<PolicyRow>, StoreError> {
    let mut policy: Versioned<PolicyRow> = versioned(row)?;
    policy.row.state = policy_state(get(row, "state")?)?;
    policy.row.approver = get(row, "approver")?;
    Ok(policy)
}

/// A version of a reference set: state and approver stand in columns.
pub(super) fn reference(row: &PgRow) -> Result<ReferenceRow, StoreError> {
    let mut reference: ReferenceRow = content(row)?;
    reference.state = reference_state(get(row, "state")?)?;
    reference.approved_by = get(row, "approver")?;
    Ok(reference)
}

/// A token: its end, what took its place, and when it was last used stand in columns.
pub(super) fn token(row: &PgRow) -> Result<Versioned<TokenRow>, StoreError> {
    let mut token: Versioned<TokenRow> = versioned(row)?;
    token.row.revoked = get(row, "revoked")?;
    token.row.expires_at = get(row, "expires_at")?;
    token.row.replaced_by = get(row, "replaced_by")?;
    token.row.last_used_at = get(row, "last_used_at")?;
    Ok(token)
}

/// An entry: the columns `idx`, `entry`, `salt`, `record`.
pub(super) fn entry(row: &PgRow) -> Result<EntryRow, StoreError> {
    let index: i64 = get(row, "idx")?;
    let salt: Option<&[u8]> = get(row, "salt")?;
    let record: Option<&[u8]> = get(row, "record")?;
    Ok(EntryRow {
        index: index.cast_unsigned(),
        entry: array(get(row, "entry")?)?,
        body: match (record, salt) {
            (Some(record), Some(salt)) => Some((record.to_vec(), array(salt)?)),
            _ => None,
        },
    })
}
