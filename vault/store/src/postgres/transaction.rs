//! The sequencer's transaction in PostgreSQL.

use super::{
    PostgresStore, WriteTransaction,
    candidate::{count, version_of},
    changes,
    durability::{DURABLE, check_settings},
    log,
    log::HEAD,
    rows::get,
    unavailable,
};
use crate::{
    backend::{Addition, Backend, Candidate, Examined, NewEntry, RollbackMark, StoredHead, Tail, Transaction},
    batch::{Blob, Change, Closed, Guard, Quota},
    encoding::{GUARDS_AT_ONCE, integer},
    store::StoreError,
    terms,
};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Postgres, QueryBuilder, Row as _, query};
use strongroom_ledger::{Subject, Tile, TileId, TileSet};
use strongroom_protocol::{DecisionId, challenge::Nonce};

#[async_trait]
impl Backend for PostgresStore {
    async fn occupy(&self, replica: &str) -> Result<(), StoreError> {
        self.take_name(replica).await
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attempts(&self) -> u32 {
        4
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(self.begin_writing().await?))
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
        // The head is locked by now: what the clock says here is not older than the wait for it.
        let asked = format!(
            "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms, {DURABLE},
                 (SELECT process FROM replicas WHERE name = $1) AS process, {HEAD} FROM head"
        );
        let name = self.occupied.as_ref().map(|occupied| occupied.name.clone());
        let row = self.one(query(AssertSqlSafe(asked)).bind(name)).await?;
        // Settings can change while the vault runs, and for a role or a database alone.
        check_settings(&row)?;
        self.check_name(get(&row, "process")?)?;
        let now_ms: i64 = get(&row, "now_ms")?;
        let now_ms =
            u64::try_from(now_ms).map_err(|_| StoreError::Corrupt("the database's clock is before 1970".to_owned()))?;
        Ok((now_ms, log::stored_head(&row)?))
    }

    async fn tiles(&mut self, ids: &[TileId]) -> Result<TileSet, StoreError> {
        if ids.is_empty() {
            return Ok(TileSet::new());
        }
        log::tile_set(&self.rows(log::tiles(ids)).await?)
    }

    async fn examine(&mut self, candidate: &Candidate<'_>, now: i64) -> Result<Examined, StoreError> {
        self.look_at(candidate, now).await
    }

    async fn add(&mut self, addition: &Addition<'_>) -> Result<(), StoreError> {
        self.write(addition).await
    }

    async fn begin_item(&mut self) -> Result<(), StoreError> {
        self.say("SAVEPOINT item").await
    }

    async fn keep_item(&mut self) -> Result<(), StoreError> {
        self.say("RELEASE SAVEPOINT item").await
    }

    async fn undo_item(&mut self) -> Result<(), StoreError> {
        self.say("ROLLBACK TO SAVEPOINT item; RELEASE SAVEPOINT item").await
    }

    async fn stale<'g>(&mut self, guards: &'g [Guard]) -> Result<Option<&'g Guard>, StoreError> {
        for guards in guards.chunks(GUARDS_AT_ONCE) {
            let mut asked = QueryBuilder::<Postgres>::new("SELECT ");
            for (place, guard) in guards.iter().enumerate() {
                if place > 0 {
                    asked.push(", ");
                }
                version_of(&mut asked, guard);
            }
            let found = self.one(asked.build()).await?;
            for (column, guard) in guards.iter().enumerate() {
                if found.try_get::<i64, _>(column).map_err(unavailable)? != guard.version() {
                    return Ok(Some(guard));
                }
            }
        }
        Ok(None)
    }

    async fn burn(&mut self, nonce: &Nonce) -> Result<bool, StoreError> {
        let burnt = query("INSERT INTO burnt_nonces (nonce, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(nonce.as_bytes().to_vec())
            .bind(integer(nonce.expiry()));
        Ok(self.execute(burnt).await? == 1)
    }

    async fn apply(&mut self, change: &Change, now: i64) -> Result<Result<Closed, String>, StoreError> {
        changes::apply(self, change, now).await
    }

    async fn count(&mut self, quota: &Quota, now: i64) -> Result<u64, StoreError> {
        let mut asked = QueryBuilder::<Postgres>::new("SELECT ");
        count(&mut asked, quota, now);
        let counted: i64 = self.one(asked.build()).await?.try_get(0).map_err(unavailable)?;
        Ok(counted.cast_unsigned())
    }

    async fn last_of(&mut self, subject: &Subject) -> Result<Option<DecisionId>, StoreError> {
        let asked = query("SELECT id FROM entries WHERE idx = (SELECT max(idx) FROM terms WHERE term = $1)")
            .bind(terms::of_subject(subject));
        let Some(row) = self.row(asked).await? else { return Ok(None) };
        let id: &str = get(&row, "id")?;
        id.parse().map(Some).map_err(|_| StoreError::Corrupt("a record's id is not a ULID".to_owned()))
    }

    async fn insert_entry(&mut self, new: &NewEntry) -> Result<bool, StoreError> {
        let inserted = query(
            "INSERT INTO entries (idx, entry, id, time_ms, salt, record) VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (id) DO NOTHING",
        )
        .bind(integer(new.index))
        .bind(new.entry.to_vec())
        .bind(new.id.to_string())
        .bind(integer(new.time_ms))
        .bind(new.salt.to_vec())
        .bind(new.record.clone());
        Ok(self.execute(inserted).await? == 1)
    }

    async fn keep_blob(&mut self, blob: &Blob) -> Result<(), StoreError> {
        let kept = query("INSERT INTO blobs (sha256, bytes) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(blob.sha256.0.to_vec())
            .bind(blob.bytes.clone());
        self.execute(kept).await.map(drop)
    }

    async fn forget_nonces(&mut self, before: i64, limit: u32) -> Result<(), StoreError> {
        let forgotten = query(
            "DELETE FROM burnt_nonces WHERE nonce IN
                 (SELECT nonce FROM burnt_nonces WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
        )
        .bind(before)
        .bind(i64::from(limit));
        self.execute(forgotten).await.map(drop)
    }

    async fn put_head(&mut self, terms: &[(String, u64)], tiles: &[Tile], head: &StoredHead) -> Result<(), StoreError> {
        let (names, entries): (Vec<_>, Vec<_>) =
            terms.iter().map(|(term, index)| (term.clone(), integer(*index))).unzip();
        let levels: Vec<_> = tiles.iter().map(|tile| i64::from(tile.id.level())).collect();
        let indices: Vec<_> = tiles.iter().map(|tile| integer(tile.id.index())).collect();
        let hashes: Vec<_> = tiles.iter().map(|tile| tile.data.clone()).collect();
        let put = query(
            "WITH named AS (INSERT INTO terms (term, idx) SELECT * FROM unnest($1::text[], $2::bigint[])),
             tiled AS (INSERT INTO tiles (level, idx, data) SELECT * FROM unnest($3::bigint[], $4::bigint[], $5::bytea[])
                 ON CONFLICT (level, idx) DO UPDATE SET data = excluded.data)
             UPDATE head SET frontier = $6, time_ms = $7, checkpoint = $8",
        )
        .bind(names)
        .bind(entries)
        .bind(levels)
        .bind(indices)
        .bind(hashes)
        .bind(head.frontier.to_bytes())
        .bind(integer(head.time_ms))
        .bind(head.checkpoint.as_str());
        match self.execute(put).await? {
            1 => Ok(()),
            _ => Err(StoreError::Corrupt("the head's row is missing".to_owned())),
        }
    }

    async fn mark(&mut self, mark: Option<&RollbackMark>) -> Result<(), StoreError> {
        let mark = mark.map(serde_json::to_string).transpose();
        let mark = mark.map_err(|e| StoreError::Unusable(format!("the mark of a rollback cannot be written: {e}")))?;
        match self.execute(query("UPDATE head SET rollback = $1").bind(mark)).await? {
            1 => Ok(()),
            _ => Err(StoreError::Corrupt("the head's row is missing".to_owned())),
        }
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        WriteTransaction::commit(*self).await
    }

    async fn roll_back(self: Box<Self>) {
        WriteTransaction::roll_back(*self).await;
    }
}
