//! Reading the ledger, and what is counted.

use super::{SqliteStore, integer, rows, unavailable};
use crate::{
    backend::{StoredHead, Tail},
    encoding::{PAGE, TILE_WIDTH},
    model::EntryRow,
    store::StoreError,
    terms,
};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, query, query_scalar, sqlite::SqliteRow};
use strongroom_ledger::{Frontier, TileId, TilePath, TileSet, edge_tiles, encode_bundle};
use strongroom_protocol::{NodeId, audit::AuditQuery};

pub(super) async fn head(db: &mut SqliteConnection) -> Result<Option<StoredHead>, StoreError> {
    let row = query("SELECT frontier, time_ms, checkpoint FROM head").fetch_optional(db).await.map_err(unavailable)?;
    row.as_ref().map_or(Ok(None), stored_head)
}

/// The columns of the head; none where they are null.
pub(super) fn stored_head(row: &SqliteRow) -> Result<Option<StoredHead>, StoreError> {
    let frontier: Option<&[u8]> = row.try_get("frontier").map_err(unavailable)?;
    let Some(frontier) = frontier else { return Ok(None) };
    let time_ms: i64 = row.try_get("time_ms").map_err(unavailable)?;
    Ok(Some(StoredHead {
        frontier: Frontier::from_bytes(frontier).map_err(|e| StoreError::Corrupt(e.to_string()))?,
        time_ms: time_ms.max(0).cast_unsigned(),
        checkpoint: row.try_get("checkpoint").map_err(unavailable)?,
        mark: None,
    }))
}

/// The widest version of each tile, in one statement.
pub(super) async fn tiles(db: &mut SqliteConnection, ids: &[TileId]) -> Result<TileSet, StoreError> {
    let mut set = TileSet::new();
    if ids.is_empty() {
        return Ok(set);
    }
    let mut places: Vec<_> = ids.iter().map(|id| (id.level(), id.index())).collect();
    places.sort_unstable();
    places.dedup();
    // CROSS JOIN fixes the order: a look-up for each place.
    let found = query(
        "SELECT tiles.level, tiles.idx, tiles.data FROM json_each(?) AS place CROSS JOIN tiles
             ON tiles.level = place.value ->> 0 AND tiles.idx = place.value ->> 1",
    )
    .bind(rows::to_json(&places)?)
    .fetch_all(db)
    .await
    .map_err(unavailable)?;
    for row in found {
        let level: i64 = row.try_get("level").map_err(unavailable)?;
        let index: i64 = row.try_get("idx").map_err(unavailable)?;
        let level = u8::try_from(level).map_err(|_| StoreError::Corrupt("a tile of an unknown level".to_owned()))?;
        set.insert(level, index.cast_unsigned(), row.try_get("data").map_err(unavailable)?);
    }
    Ok(set)
}

pub(super) async fn entries(db: &mut SqliteConnection, first: u64, limit: i64) -> Result<Vec<EntryRow>, StoreError> {
    query("SELECT idx, entry, salt, record FROM entries WHERE idx >= ? ORDER BY idx LIMIT ?")
        .bind(integer(first))
        .bind(limit)
        .fetch_all(db)
        .await
        .map_err(unavailable)?
        .iter()
        .map(rows::entry)
        .collect()
}

pub(super) async fn live_leases_of_node(db: &mut SqliteConnection, node: NodeId, now: i64) -> Result<u64, StoreError> {
    let count: i64 = query_scalar("SELECT count(*) FROM leases WHERE node = ? AND state = 'live' AND expires_at > ?")
        .bind(node.as_array().to_vec())
        .bind(now)
        .fetch_one(db)
        .await
        .map_err(unavailable)?;
    Ok(count.cast_unsigned())
}

pub(super) async fn live_leases_of_asset(db: &mut SqliteConnection, asset: &str, now: i64) -> Result<u64, StoreError> {
    let count: i64 = query_scalar(
        "SELECT coalesce((SELECT held FROM asset_leases WHERE asset = ?1), 0)
                 - (SELECT count(DISTINCT lease) FROM held_keys WHERE asset = ?1 AND expires_at <= ?2)",
    )
    .bind(asset)
    .bind(now)
    .fetch_one(db)
    .await
    .map_err(unavailable)?;
    Ok(count.cast_unsigned())
}

impl SqliteStore {
    pub(super) async fn read_snapshot(
        &self,
        wanted: &(dyn Fn(u64) -> Vec<TileId> + Send + Sync),
    ) -> Result<Option<(StoredHead, TileSet)>, StoreError> {
        let mut tx = self.readers.begin().await.map_err(unavailable)?;
        let Some(head) = head(&mut tx).await? else { return Ok(None) };
        let tiles = tiles(&mut tx, &wanted(head.frontier.size())).await?;
        Ok(Some((head, tiles)))
    }

    pub(super) async fn read_tail(&self, wanted: u64) -> Result<Option<Tail>, StoreError> {
        let mut tx = self.readers.begin().await.map_err(unavailable)?;
        let Some(head) = head(&mut tx).await? else { return Ok(None) };
        let size = head.frontier.size();
        let first = size.saturating_sub(wanted) / TILE_WIDTH * TILE_WIDTH;
        let mut ids = edge_tiles(size);
        ids.extend(edge_tiles(first));
        ids.extend((first / TILE_WIDTH..size.div_ceil(TILE_WIDTH)).filter_map(|index| TileId::new(0, index, 1)));
        let tiles = tiles(&mut tx, &ids).await?;
        // All that is there: an entry beyond the head would be as wrong as a missing one.
        let entries = entries(&mut tx, first, -1).await?;
        Ok(Some(Tail { head, first, entries, tiles }))
    }

    pub(super) async fn read_query(&self, asked: &AuditQuery, from: i64, to: i64) -> Result<Vec<EntryRow>, StoreError> {
        let mut tx = self.readers.begin().await.map_err(unavailable)?;
        let Some(mut first) = first_not_before(&mut tx, from).await? else { return Ok(Vec::new()) };
        if let Some(after) = asked.after {
            first = first.max(integer(after.saturating_add(1)));
        }
        let end = first_not_before(&mut tx, to).await?.unwrap_or(i64::MAX);
        let terms = terms::of_query(asked);
        // The text has a shape for each number of terms; what is asked for is always bound.
        let sql = if terms.is_empty() {
            "SELECT idx, entry, salt, record FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx LIMIT ?".to_owned()
        } else {
            let more = " AND EXISTS (SELECT 1 FROM terms AS other WHERE other.idx = terms.idx AND other.term = ?)";
            format!(
                "SELECT entries.idx, entry, salt, record FROM terms CROSS JOIN entries ON entries.idx = terms.idx
                     WHERE terms.idx >= ? AND terms.idx < ? AND terms.term = ?{} ORDER BY terms.idx LIMIT ?",
                more.repeat(terms.len() - 1)
            )
        };
        let mut found = query(AssertSqlSafe(sql)).bind(first).bind(end);
        for term in terms {
            found = found.bind(term);
        }
        let limit = asked.limit.unwrap_or(PAGE.0).min(PAGE.1);
        let found = found.bind(i64::from(limit)).fetch_all(&mut *tx).await.map_err(unavailable)?;
        found.iter().map(rows::entry).collect()
    }

    /// A tile or an entry bundle by its path. A narrower tile is the start of what is stored.
    pub(super) async fn read_tile(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Ok(path) = path.parse::<TilePath>() else { return Ok(None) };
        let mut db = self.readers.acquire().await.map_err(unavailable)?;
        match path {
            TilePath::Hashes(id) => {
                let data: Option<Vec<u8>> = query_scalar("SELECT data FROM tiles WHERE level = ? AND idx = ?")
                    .bind(i64::from(id.level()))
                    .bind(integer(id.index()))
                    .fetch_optional(&mut *db)
                    .await
                    .map_err(unavailable)?;
                Ok(data.and_then(|data| data.get(..usize::from(id.width()) * 32).map(<[u8]>::to_vec)))
            }
            TilePath::Entries { index, width } => {
                let first = index.saturating_mul(TILE_WIDTH);
                let stored: Vec<Vec<u8>> =
                    query_scalar("SELECT entry FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx")
                        .bind(integer(first))
                        .bind(integer(first.saturating_add(u64::from(width))))
                        .fetch_all(&mut *db)
                        .await
                        .map_err(unavailable)?;
                if stored.len() < usize::from(width) {
                    return Ok(None);
                }
                let entries = stored.iter().map(|entry| rows::array(entry)).collect::<Result<Vec<_>, _>>()?;
                Ok(Some(encode_bundle(&entries)))
            }
        }
    }
}

/// Index of the first entry that is not before a time in Unix seconds.
async fn first_not_before(db: &mut SqliteConnection, seconds: i64) -> Result<Option<i64>, StoreError> {
    query_scalar("SELECT idx FROM entries WHERE time_ms >= ? ORDER BY time_ms, idx LIMIT 1")
        .bind(seconds.saturating_mul(1000))
        .fetch_optional(db)
        .await
        .map_err(unavailable)
}
