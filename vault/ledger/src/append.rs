//! Appending a batch: the new frontier, and the tiles to write with it.

use crate::{
    Frontier, Hash, LedgerError, Tile, TileId, TileSource,
    frontier::perfect_root,
    leaf_hash,
    tile::{self, TILE_HEIGHT, TILE_WIDTH},
};

/// What a batch makes of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The frontier after the batch.
    pub frontier: Frontier,
    /// The tiles to write: new full ones, and the right edge as the batch leaves it. A store may
    /// overwrite a tile's narrower version, since that is the start of the wider one.
    pub tiles: Vec<Tile>,
}

/// Appends `entries` (each `SHA-256(salt || record)`) to the tree of `frontier`.
///
/// `source` has the right edge ([`edge_tiles`](crate::edge_tiles) of the old size). What is read
/// there must hash to the frontier, or nothing is appended: the frontier and the tiles are two
/// witnesses of the same past, and a database where they disagree must not be signed over.
pub fn append(
    frontier: &Frontier,
    entries: &[Hash],
    source: &(impl TileSource + ?Sized),
) -> Result<Append, LedgerError> {
    let mut after = frontier.clone();
    for entry in entries {
        after.push(entry)?;
    }
    let mut tiles = Vec::new();
    let mut fresh: Vec<Hash> = entries.iter().map(leaf_hash).collect();
    let mut present = frontier.size();
    for level in 0.. {
        if fresh.is_empty() {
            break;
        }
        let first = present >> TILE_HEIGHT;
        let mut hashes = match TileId::new(level, first, (present % 256) as u16) {
            Some(partial) => {
                let kept = tile::read(source, partial)?;
                frontier.check_tile(partial, &kept)?;
                kept
            }
            None => Vec::new(),
        };
        hashes.append(&mut fresh);
        for (index, chunk) in (first..).zip(hashes.chunks(TILE_WIDTH)) {
            if chunk.len() == TILE_WIDTH {
                fresh.extend(perfect_root(chunk));
            }
            let id = u16::try_from(chunk.len()).ok().and_then(|width| TileId::new(level, index, width));
            tiles.push(Tile { id: id.ok_or(LedgerError::TreeFull)?, data: chunk.concat() });
        }
        present = first;
    }
    Ok(Append { frontier: after, tiles })
}
