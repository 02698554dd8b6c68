//! Reading the ledger.

use super::{PgQuery, PostgresStore, Snapshot, reads::nameable, rows, rows::get};
use crate::{
    backend::{RollbackMark, StoredHead, Tail},
    encoding::{PAGE, TILE_WIDTH, array, integer},
    model::EntryRow,
    store::StoreError,
    terms,
};
use sqlx::{AssertSqlSafe, postgres::PgRow, query};
use strongroom_ledger::{Frontier, TileId, TilePath, TileSet, edge_tiles, encode_bundle};
use strongroom_protocol::audit::AuditQuery;

/// The columns of [`stored_head`].
pub(super) const HEAD: &str = "frontier, time_ms, checkpoint, rollback";

/// The columns of the head; none before the first commit.
pub(super) fn stored_head(row: &PgRow) -> Result<Option<StoredHead>, StoreError> {
    let frontier: Option<&[u8]> = get(row, "frontier")?;
    let mark = mark(row)?;
    let Some(frontier) = frontier else {
        // Marked before its first commit: there was another one.
        return mark.map_or(Ok(None), |mark| Err(mark.error()));
    };
    let time_ms: i64 = get(row, "time_ms")?;
    Ok(Some(StoredHead {
        frontier: Frontier::from_bytes(frontier).map_err(|e| StoreError::Corrupt(e.to_string()))?,
        time_ms: time_ms.max(0).cast_unsigned(),
        checkpoint: get(row, "checkpoint")?,
        mark,
    }))
}

/// The mark in the column `rollback`.
pub(super) fn mark(row: &PgRow) -> Result<Option<RollbackMark>, StoreError> {
    let mark: Option<&str> = get(row, "rollback")?;
    mark.map(serde_json::from_str).transpose().map_err(|_| {
        StoreError::Corrupt("the ledger is marked as gone back in time, in words that no replica wrote".to_owned())
    })
}

/// Asks for entries; all that follow, without a limit.
pub(super) fn entries(first: u64, limit: Option<i64>) -> PgQuery<'static> {
    query("SELECT idx, entry, salt, record FROM entries WHERE idx >= $1 ORDER BY idx LIMIT $2")
        .bind(integer(first))
        .bind(limit)
}

/// Asks for the widest version of each tile, in one statement.
pub(super) fn tiles(ids: &[TileId]) -> PgQuery<'static> {
    let mut places: Vec<_> = ids.iter().map(|id| (i64::from(id.level()), integer(id.index()))).collect();
    places.sort_unstable();
    places.dedup();
    let (levels, indices): (Vec<_>, Vec<_>) = places.into_iter().unzip();
    query(
        "SELECT tiles.level, tiles.idx, tiles.data FROM unnest($1::bigint[], $2::bigint[]) AS place (level, idx)
             JOIN tiles ON tiles.level = place.level AND tiles.idx = place.idx",
    )
    .bind(levels)
    .bind(indices)
}

/// What [`tiles`] gave.
pub(super) fn tile_set(found: &[PgRow]) -> Result<TileSet, StoreError> {
    let mut set = TileSet::new();
    for row in found {
        let level: i64 = get(row, "level")?;
        let index: i64 = get(row, "idx")?;
        let level = u8::try_from(level).map_err(|_| StoreError::Corrupt("a tile of an unknown level".to_owned()))?;
        set.insert(level, index.cast_unsigned(), get(row, "data")?);
    }
    Ok(set)
}

impl Snapshot {
    async fn head(&mut self) -> Result<Option<StoredHead>, StoreError> {
        let found = self.row(query(AssertSqlSafe(format!("SELECT {HEAD} FROM head")))).await?;
        found.as_ref().map_or(Ok(None), stored_head)
    }

    async fn tiles(&mut self, ids: &[TileId]) -> Result<TileSet, StoreError> {
        if ids.is_empty() {
            return Ok(TileSet::new());
        }
        tile_set(&self.rows(tiles(ids)).await?)
    }

    /// Index of the first entry that is not before a time in Unix seconds.
    async fn first_not_before(&mut self, seconds: i64) -> Result<Option<i64>, StoreError> {
        let asked = query("SELECT idx FROM entries WHERE time_ms >= $1 ORDER BY time_ms, idx LIMIT 1")
            .bind(seconds.saturating_mul(1000));
        self.row(asked).await?.as_ref().map(|row| get(row, "idx")).transpose()
    }
}

impl PostgresStore {
    pub(super) async fn read_snapshot(
        &self,
        wanted: &(dyn Fn(u64) -> Vec<TileId> + Send + Sync),
    ) -> Result<Option<(StoredHead, TileSet)>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let Some(head) = snapshot.head().await? else { return Ok(None) };
        let tiles = snapshot.tiles(&wanted(head.frontier.size())).await?;
        Ok(Some((head, tiles)))
    }

    pub(super) async fn read_tail(&self, wanted: u64) -> Result<Option<Tail>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let Some(head) = snapshot.head().await? else { return Ok(None) };
        let size = head.frontier.size();
        let first = size.saturating_sub(wanted) / TILE_WIDTH * TILE_WIDTH;
        let mut ids = edge_tiles(size);
        ids.extend(edge_tiles(first));
        ids.extend((first / TILE_WIDTH..size.div_ceil(TILE_WIDTH)).filter_map(|index| TileId::new(0, index, 1)));
        let tiles = snapshot.tiles(&ids).await?;
        // All that is there: an entry beyond the head would be as wrong as a missing one.
        let entries = snapshot.rows(entries(first, None)).await?.iter().map(rows::entry).collect::<Result<_, _>>()?;
        Ok(Some(Tail { head, first, entries, tiles }))
    }

    pub(super) async fn read_query(&self, asked: &AuditQuery, from: i64, to: i64) -> Result<Vec<EntryRow>, StoreError> {
        let terms = terms::of_query(asked);
        if !terms.iter().all(|term| nameable(term)) {
            return Ok(Vec::new());
        }
        let mut snapshot = self.snapshot().await?;
        let Some(mut first) = snapshot.first_not_before(from).await? else { return Ok(Vec::new()) };
        if let Some(after) = asked.after {
            first = first.max(integer(after.saturating_add(1)));
        }
        let end = snapshot.first_not_before(to).await?.unwrap_or(i64::MAX);
        let sql = if terms.is_empty() {
            "SELECT idx, entry, salt, record FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx LIMIT $3"
        } else {
            // An empty list is no restriction, as all of nothing is true.
            "SELECT entries.idx, entry, salt, record FROM terms JOIN entries ON entries.idx = terms.idx
                 WHERE terms.idx >= $1 AND terms.idx < $2 AND terms.term = $4
                     AND NOT EXISTS (SELECT 1 FROM unnest($5::text[]) AS other (term) WHERE NOT EXISTS
                         (SELECT 1 FROM terms AS named WHERE named.idx = terms.idx AND named.term = other.term))
                 ORDER BY terms.idx LIMIT $3"
        };
        let limit = asked.limit.unwrap_or(PAGE.0).min(PAGE.1);
        let mut found = query(sql).bind(first).bind(end).bind(i64::from(limit));
        if let Some((term, others)) = terms.split_first() {
            found = found.bind(term).bind(others);
        }
        snapshot.rows(found).await?.iter().map(rows::entry).collect()
    }

    /// A tile or an entry bundle by its path. A narrower tile is the start of what is stored.
    pub(super) async fn read_tile(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Ok(path) = path.parse::<TilePath>() else { return Ok(None) };
        match path {
            TilePath::Hashes(id) => {
                let asked = query("SELECT data FROM tiles WHERE level = $1 AND idx = $2")
                    .bind(i64::from(id.level()))
                    .bind(integer(id.index()));
                let Some(row) = self.row(asked).await? else { return Ok(None) };
                let data: &[u8] = get(&row, "data")?;
                Ok(data.get(..usize::from(id.width()) * 32).map(<[u8]>::to_vec))
            }
            TilePath::Entries { index, width } => {
                let first = index.saturating_mul(TILE_WIDTH);
                let asked = query("SELECT entry FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx")
                    .bind(integer(first))
                    .bind(integer(first.saturating_add(u64::from(width))));
                let stored = self.rows(asked).await?;
                if stored.len() < usize::from(width) {
                    return Ok(None);
                }
                let entries =
                    stored.iter().map(|row| array(get(row, "entry")?)).collect::<Result<Vec<_>, StoreError>>()?;
                Ok(Some(encode_bundle(&entries)))
            }
        }
    }
}
