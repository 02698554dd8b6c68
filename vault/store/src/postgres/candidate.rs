//! An item that only adds: one statement looks at it, and one writes it.

use super::{WriteTransaction, changes::lease_content, unavailable};
use crate::{
    backend::{Addition, Candidate, Examined},
    batch::{Guard, Quota},
    encoding::{DENIAL_WINDOW_MS, integer},
    model::LeaseRow,
    store::StoreError,
    terms,
};
use sqlx::{Postgres, QueryBuilder, Row as _};
use std::collections::BTreeMap;
use strongroom_protocol::statement::Scope;

impl WriteTransaction {
    pub(super) async fn look_at(&mut self, candidate: &Candidate<'_>, now: i64) -> Result<Examined, StoreError> {
        let mut asked = QueryBuilder::<Postgres>::new("SELECT ");
        for guard in candidate.guards {
            version_of(&mut asked, guard);
            asked.push(", ");
        }
        for quota in candidate.quotas {
            count(&mut asked, quota, now);
            asked.push(", ");
        }
        asked.push("EXISTS (SELECT 1 FROM burnt_nonces WHERE nonce = ");
        asked.push_bind(candidate.nonce.map(|nonce| nonce.as_bytes().to_vec()));
        asked.push("), EXISTS (SELECT 1 FROM leases WHERE id = ");
        asked.push_bind(candidate.lease.map(|lease| lease.id.as_array().to_vec()));
        asked.push(") OR EXISTS (SELECT 1 FROM leases WHERE statement_sha256 = ");
        asked.push_bind(candidate.lease.map(|lease| lease.statement_sha256.0.to_vec()));
        asked.push("), EXISTS (SELECT 1 FROM entries WHERE id = ");
        asked.push_bind(candidate.id.to_string());
        asked.push("), (SELECT id FROM entries WHERE idx = (SELECT max(idx) FROM terms WHERE term = ");
        asked.push_bind(candidate.subject.map(terms::of_subject));
        asked.push("))");
        let found = self.one(asked.build()).await?;

        let number = |column: usize| found.try_get::<i64, _>(column).map_err(unavailable);
        let mut stale = None;
        for (column, guard) in candidate.guards.iter().enumerate() {
            if number(column)? != guard.version() {
                stale = Some(column);
                break;
            }
        }
        let counted = candidate.guards.len();
        let next = counted + candidate.quotas.len();
        let flag = |column: usize| found.try_get::<bool, _>(column).map_err(unavailable);
        let last: Option<String> = found.try_get(next + 3).map_err(unavailable)?;
        Ok(Examined {
            stale,
            counts: (counted..next).map(|column| number(column).map(i64::cast_unsigned)).collect::<Result<_, _>>()?,
            burnt: flag(next)?,
            granted: flag(next + 1)?,
            recorded: flag(next + 2)?,
            last: last
                .map(|id| id.parse().map_err(|_| StoreError::Corrupt("a record's id is not a ULID".to_owned())))
                .transpose()?,
        })
    }

    /// Writes all of it in one statement.
    pub(super) async fn write(&mut self, addition: &Addition<'_>) -> Result<(), StoreError> {
        let mut writing = QueryBuilder::<Postgres>::new("WITH ");
        if let Some(nonce) = addition.nonce {
            writing.push("burnt AS (INSERT INTO burnt_nonces (nonce, expires_at) VALUES (");
            writing.push_bind(nonce.as_bytes().to_vec()).push(", ").push_bind(integer(nonce.expiry())).push(")), ");
        }
        if let Some(lease) = addition.lease {
            grant(&mut writing, lease)?;
        }
        let (names, kept): (Vec<_>, Vec<_>) =
            addition.blobs.iter().map(|blob| (blob.sha256.0.to_vec(), blob.bytes.clone())).unzip();
        writing.push("kept AS (INSERT INTO blobs (sha256, bytes) SELECT * FROM unnest(");
        writing.push_bind(names).push("::bytea[], ").push_bind(kept);
        writing.push(
            "::bytea[]) ON CONFLICT DO NOTHING) INSERT INTO entries (idx, entry, id, time_ms, salt, record) VALUES (",
        );
        let entry = addition.entry;
        writing.push_bind(integer(entry.index)).push(", ").push_bind(entry.entry.to_vec()).push(", ");
        writing.push_bind(entry.id.to_string()).push(", ").push_bind(integer(entry.time_ms)).push(", ");
        writing.push_bind(entry.salt.to_vec()).push(", ").push_bind(entry.record.clone()).push(")");
        self.execute(writing.build()).await.map(drop)
    }
}

/// The version of a guard's row that is there, or 0.
pub(super) fn version_of(asked: &mut QueryBuilder<Postgres>, guard: &Guard) {
    asked.push("coalesce((");
    match guard {
        Guard::Node(id, _) => {
            asked.push("SELECT version FROM nodes WHERE id = ").push_bind(id.as_array().to_vec());
        }
        Guard::Site(name, _) => {
            asked.push("SELECT version FROM sites WHERE name = ").push_bind(name.clone());
        }
        Guard::Asset(name, _) => {
            asked.push("SELECT version FROM assets WHERE name = ").push_bind(name.clone());
        }
        Guard::Key(asset, version, _) => {
            asked.push("SELECT version FROM keys WHERE asset = ").push_bind(asset.clone());
            asked.push(" AND key_version = ").push_bind(i64::from(*version));
        }
        Guard::Lease(id, _) => {
            asked.push("SELECT version FROM leases WHERE id = ").push_bind(id.as_array().to_vec());
        }
        Guard::Measured(id, _) => {
            asked.push("SELECT version FROM measured WHERE node = ").push_bind(id.as_array().to_vec());
        }
        Guard::Policy(digest, _) => {
            asked.push("SELECT version FROM policies WHERE digest = ").push_bind(digest.0.to_vec());
        }
        Guard::Token(id, _) => {
            asked.push("SELECT version FROM tokens WHERE id = ").push_bind(id.clone());
        }
        Guard::PolicyGeneration(_) => {
            asked.push("SELECT value FROM generations WHERE name = 'policy'");
        }
        Guard::ReferenceGeneration(_) => {
            asked.push("SELECT value FROM generations WHERE name = 'references'");
        }
        Guard::TokenGeneration(_) => {
            asked.push("SELECT value FROM generations WHERE name = 'tokens'");
        }
        Guard::EndorsementGeneration(_) => {
            asked.push("SELECT value FROM generations WHERE name = 'endorsements'");
        }
        Guard::NewStatement(sha256) => {
            asked.push("SELECT 1 FROM leases WHERE statement_sha256 = ").push_bind(sha256.0.to_vec());
        }
    }
    asked.push("), 0)::bigint");
}

/// What a quota counts.
pub(super) fn count(asked: &mut QueryBuilder<Postgres>, quota: &Quota, now: i64) {
    match quota {
        Quota::NodeLeases(node, _) => {
            asked.push("(SELECT count(*) FROM leases WHERE node = ").push_bind(node.as_array().to_vec());
            asked.push(" AND state = 'live' AND expires_at > ").push_bind(now).push(")");
        }
        Quota::AssetLeases(asset, _) => {
            asked.push("coalesce((SELECT held FROM asset_leases WHERE asset = ").push_bind(asset.clone());
            asked.push("), 0) - (SELECT count(DISTINCT lease) FROM held_keys WHERE asset = ").push_bind(asset.clone());
            asked.push(" AND expires_at <= ").push_bind(now).push(")");
        }
        Quota::NodeDenials(node, _) => {
            let since = now.saturating_mul(1000).saturating_sub(DENIAL_WINDOW_MS);
            asked.push("(SELECT count(*) FROM terms WHERE term = ").push_bind(terms::denials_of(*node));
            asked.push(" AND idx >= (SELECT idx FROM entries WHERE time_ms > ").push_bind(since);
            asked.push(" ORDER BY time_ms, idx LIMIT 1))");
        }
    }
}

fn grant(writing: &mut QueryBuilder<Postgres>, lease: &LeaseRow) -> Result<(), StoreError> {
    let (assets, versions, whole) = held(lease);
    writing.push(
        "granted AS (INSERT INTO leases (id, version, node, statement_sha256, state, granted_at, expires_at, reattest_at,
             delivered, wrapped_secret, content) VALUES (",
    );
    writing.push_bind(lease.id.as_array().to_vec()).push(", 1, ");
    writing.push_bind(lease.node.as_array().to_vec()).push(", ");
    writing.push_bind(lease.statement_sha256.0.to_vec()).push(", 'live', ");
    writing.push_bind(lease.granted_at).push(", ").push_bind(lease.expires_at).push(", ");
    writing.push_bind(lease.reattest_at).push(", ").push_bind(lease.delivered).push(", ");
    writing.push_bind(lease.wrapped_secret.0.clone()).push(", ").push_bind(lease_content(lease)?);
    writing.push(
        ") RETURNING id, expires_at),
         holding AS (INSERT INTO held_keys (asset, lease, key_version, expires_at, whole)
             SELECT held.asset, granted.id, held.version, granted.expires_at, held.whole FROM granted, unnest(",
    );
    writing.push_bind(assets).push("::text[], ").push_bind(versions).push("::bigint[], ").push_bind(whole);
    writing.push("::boolean[]) AS held (asset, version, whole)), ");
    Ok(())
}

/// The key versions that a lease holds, each once, as columns: asset, version, and whether it holds the
/// key of the whole version.
pub(super) fn held(lease: &LeaseRow) -> (Vec<String>, Vec<i64>, Vec<bool>) {
    let mut held = BTreeMap::new();
    for key in &lease.keys {
        *held.entry((key.asset.clone(), key.version)).or_insert(false) |= key.scope == Scope::Version;
    }
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for ((asset, version), whole) in held {
        columns.0.push(asset);
        columns.1.push(i64::from(version));
        columns.2.push(whole);
    }
    columns
}
