//! The sequencer's transaction in SQLite.

use super::{SqliteStore, WriteTransaction, changes, integer, log, rows, unavailable};
use crate::{
    backend::{Addition, Backend, Candidate, Examined, NewEntry, RollbackMark, StoredHead, Tail, Transaction},
    batch::{Blob, Change, Closed, Guard, Quota},
    encoding::{DENIAL_WINDOW_MS, GUARDS_AT_ONCE},
    store::StoreError,
    terms,
};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, query, query_scalar};
use strongroom_ledger::{Subject, Tile, TileId, TileSet};
use strongroom_protocol::{DecisionId, challenge::Nonce};

#[async_trait]
impl Backend for SqliteStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(self.begin_writing().await?))
    }

    async fn occupy(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn attempts(&self) -> u32 {
        1
    }

    async fn tail(&self, entries: u64) -> Result<Option<Tail>, StoreError> {
        self.read_tail(entries).await
    }

    async fn snapshot(
        &self,
        wanted: &(dyn Fn(u64) -> Vec<TileId> + Send + Sync),
    ) -> Result<Option<(StoredHead, TileSet)>, StoreError> {
        self.read_snapshot(wanted).await
    }
}

#[async_trait]
impl Transaction for WriteTransaction {
    async fn head(&mut self) -> Result<(u64, Option<StoredHead>), StoreError> {
        let mut asked = self.take_pending();
        asked.push(
            "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now_ms, frontier, time_ms, checkpoint
                 FROM (SELECT 1) LEFT JOIN head",
        );
        let row = asked.query().fetch_one(self.connection()?).await.map_err(unavailable)?;
        let now_ms: i64 = row.try_get("now_ms").map_err(unavailable)?;
        let now_ms =
            u64::try_from(now_ms).map_err(|_| StoreError::Corrupt("the database's clock is before 1970".to_owned()))?;
        Ok((now_ms, log::stored_head(&row)?))
    }

    async fn tiles(&mut self, ids: &[TileId]) -> Result<TileSet, StoreError> {
        log::tiles(self.written().await?, ids).await
    }

    async fn examine(&mut self, candidate: &Candidate<'_>, now: i64) -> Result<Examined, StoreError> {
        self.look_at(candidate, now).await
    }

    async fn add(&mut self, addition: &Addition<'_>) -> Result<(), StoreError> {
        self.write_next(addition)
    }

    async fn begin_item(&mut self) -> Result<(), StoreError> {
        query("SAVEPOINT item").execute(self.written().await?).await.map(drop).map_err(unavailable)
    }

    async fn keep_item(&mut self) -> Result<(), StoreError> {
        query("RELEASE item").execute(self.written().await?).await.map(drop).map_err(unavailable)
    }

    async fn undo_item(&mut self) -> Result<(), StoreError> {
        query("ROLLBACK TO item").execute(self.written().await?).await.map_err(unavailable)?;
        self.keep_item().await
    }

    async fn stale<'g>(&mut self, guards: &'g [Guard]) -> Result<Option<&'g Guard>, StoreError> {
        let connection = self.written().await?;
        for guards in guards.chunks(GUARDS_AT_ONCE) {
            if let Some(stale) = first_stale(connection, guards).await? {
                return Ok(Some(stale));
            }
        }
        Ok(None)
    }

    async fn burn(&mut self, nonce: &Nonce) -> Result<bool, StoreError> {
        let burnt = query("INSERT INTO burnt_nonces (nonce, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(nonce.as_bytes().to_vec())
            .bind(integer(nonce.expiry()))
            .execute(self.written().await?)
            .await
            .map_err(unavailable)?;
        Ok(burnt.rows_affected() == 1)
    }

    async fn apply(&mut self, change: &Change, now: i64) -> Result<Result<Closed, String>, StoreError> {
        changes::apply(self.written().await?, change, now).await
    }

    async fn count(&mut self, quota: &Quota, now: i64) -> Result<u64, StoreError> {
        let connection = self.written().await?;
        match quota {
            Quota::NodeLeases(node, _) => log::live_leases_of_node(connection, *node, now).await,
            Quota::AssetLeases(asset, _) => log::live_leases_of_asset(connection, asset, now).await,
            Quota::NodeDenials(node, _) => {
                let count: i64 = query_scalar(
                    "SELECT count(*) FROM terms WHERE term = ?1 AND idx >=
                         (SELECT idx FROM entries WHERE time_ms > ?2 ORDER BY time_ms, idx LIMIT 1)",
                )
                .bind(terms::denials_of(*node))
                .bind(now.saturating_mul(1000).saturating_sub(DENIAL_WINDOW_MS))
                .fetch_one(connection)
                .await
                .map_err(unavailable)?;
                Ok(count.cast_unsigned())
            }
        }
    }

    async fn last_of(&mut self, subject: &Subject) -> Result<Option<DecisionId>, StoreError> {
        let id: Option<String> =
            query_scalar("SELECT id FROM entries WHERE idx = (SELECT max(idx) FROM terms WHERE term = ?)")
                .bind(terms::of_subject(subject))
                .fetch_optional(self.written().await?)
                .await
                .map_err(unavailable)?;
        id.map(|id| id.parse().map_err(|_| StoreError::Corrupt("a record's id is not a ULID".to_owned()))).transpose()
    }

    async fn insert_entry(&mut self, new: &NewEntry) -> Result<bool, StoreError> {
        let inserted = query(
            "INSERT INTO entries (idx, entry, id, time_ms, salt, record) VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT (id) DO NOTHING",
        )
        .bind(integer(new.index))
        .bind(new.entry.to_vec())
        .bind(new.id.to_string())
        .bind(integer(new.time_ms))
        .bind(new.salt.to_vec())
        .bind(new.record.clone())
        .execute(self.written().await?)
        .await
        .map_err(unavailable)?;
        Ok(inserted.rows_affected() == 1)
    }

    async fn keep_blob(&mut self, blob: &Blob) -> Result<(), StoreError> {
        query("INSERT INTO blobs (sha256, bytes) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(blob.sha256.as_ref())
            .bind(blob.bytes.as_slice())
            .execute(self.written().await?)
            .await
            .map(drop)
            .map_err(unavailable)
    }

    async fn forget_nonces(&mut self, before: i64, limit: u32) -> Result<(), StoreError> {
        query(
            "DELETE FROM burnt_nonces WHERE nonce IN
                 (SELECT nonce FROM burnt_nonces WHERE expires_at < ? ORDER BY expires_at LIMIT ?)",
        )
        .bind(before)
        .bind(i64::from(limit))
        .execute(self.written().await?)
        .await
        .map(drop)
        .map_err(unavailable)
    }

    async fn put_head(&mut self, terms: &[(String, u64)], tiles: &[Tile], head: &StoredHead) -> Result<(), StoreError> {
        let mut put = self.take_pending();
        // An error ends the transaction anyway: FAIL spares SQLite the copies that undo one statement.
        put.push("INSERT OR FAIL INTO terms (term, idx) SELECT value ->> 0, value ->> 1 FROM json_each(?);");
        put.bind(rows::to_json(&terms)?)?;
        // Tiles are few: two or three for a batch, none of them JSON.
        for tile in tiles {
            put.push(
                "INSERT INTO tiles (level, idx, data) VALUES (?, ?, ?)
                     ON CONFLICT (level, idx) DO UPDATE SET data = excluded.data;",
            );
            put.bind(i64::from(tile.id.level()))?;
            put.bind(integer(tile.id.index()))?;
            put.bind(tile.data.clone())?;
        }
        put.push(
            "INSERT INTO head (only_row, frontier, time_ms, checkpoint) VALUES (1, ?, ?, ?) ON CONFLICT (only_row)
                 DO UPDATE SET frontier = excluded.frontier, time_ms = excluded.time_ms, checkpoint = excluded.checkpoint",
        );
        put.bind(head.frontier.to_bytes())?;
        put.bind(integer(head.time_ms))?;
        put.bind(head.checkpoint.clone())?;
        put.query().execute(self.connection()?).await.map(drop).map_err(unavailable)
    }

    async fn mark(&mut self, _: Option<&RollbackMark>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        if let Err(error) = self.written().await {
            Transaction::roll_back(self).await;
            return Err(error);
        }
        WriteTransaction::commit(*self).await
    }

    async fn roll_back(self: Box<Self>) {
        WriteTransaction::roll_back(*self).await;
    }
}

/// Compares guards in one statement: a column each with the version that is there, or 0.
async fn first_stale<'g>(
    connection: &mut SqliteConnection,
    guards: &'g [Guard],
) -> Result<Option<&'g Guard>, StoreError> {
    let columns: Vec<_> = guards.iter().map(|guard| format!("coalesce(({}), 0)", version_of(guard))).collect();
    let mut compared = query(AssertSqlSafe(format!("SELECT {}", columns.join(", "))));
    for guard in guards {
        compared = match guard {
            Guard::Node(id, _) | Guard::Measured(id, _) => compared.bind(id.as_array().to_vec()),
            Guard::Site(name, _) | Guard::Asset(name, _) | Guard::Token(name, _) => compared.bind(name.as_str()),
            Guard::Key(asset, version, _) => compared.bind(asset.as_str()).bind(i64::from(*version)),
            Guard::Lease(id, _) => compared.bind(id.as_array().to_vec()),
            Guard::Policy(sha256, _) | Guard::NewStatement(sha256) => compared.bind(sha256.0.to_vec()),
            Guard::PolicyGeneration(_)
            | Guard::ReferenceGeneration(_)
            | Guard::TokenGeneration(_)
            | Guard::EndorsementGeneration(_) => compared,
        };
    }
    let found = compared.fetch_one(connection).await.map_err(unavailable)?;
    for (column, guard) in guards.iter().enumerate() {
        if found.try_get::<i64, _>(column).map_err(unavailable)? != guard.version() {
            return Ok(Some(guard));
        }
    }
    Ok(None)
}

pub(super) fn version_of(guard: &Guard) -> &'static str {
    match guard {
        Guard::Node(..) => "SELECT version FROM nodes WHERE id = ?",
        Guard::Site(..) => "SELECT version FROM sites WHERE name = ?",
        Guard::Asset(..) => "SELECT version FROM assets WHERE name = ?",
        Guard::Key(..) => "SELECT version FROM keys WHERE asset = ? AND key_version = ?",
        Guard::Lease(..) => "SELECT version FROM leases WHERE id = ?",
        Guard::Policy(..) => "SELECT version FROM policies WHERE digest = ?",
        Guard::Measured(..) => "SELECT version FROM measured WHERE node = ?",
        Guard::Token(..) => "SELECT version FROM tokens WHERE id = ?",
        Guard::PolicyGeneration(_) => "SELECT value FROM generations WHERE name = 'policy'",
        Guard::ReferenceGeneration(_) => "SELECT value FROM generations WHERE name = 'references'",
        Guard::TokenGeneration(_) => "SELECT value FROM generations WHERE name = 'tokens'",
        Guard::EndorsementGeneration(_) => "SELECT value FROM generations WHERE name = 'endorsements'",
        Guard::NewStatement(_) => "SELECT 1 FROM leases WHERE statement_sha256 = ?",
    }
}
