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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Prover, TileSet, edge_tiles, sample, verify_inclusion};
    use proptest::prelude::*;

    fn entries(count: u64) -> Vec<Hash> {
        (0..count).map(|i| strongroom_protocol::sha256(&i.to_be_bytes())).collect()
    }

    #[test]
    fn an_empty_batch_changes_nothing() {
        let log = sample::Log::of((0..3).map(sample::act));
        let same = append(&log.frontier, &[], &TileSet::new()).unwrap();
        assert_eq!(same, Append { frontier: log.frontier, tiles: vec![] });
    }

    #[test]
    fn a_changed_right_edge_is_not_built_upon() {
        let log = sample::Log::of((0..300).map(sample::act));
        let batch = entries(600);
        assert!(append(&log.frontier, &batch, &log.tiles).is_ok());
        for tile in edge_tiles(300) {
            for byte in [0, usize::from(tile.width()) * 32 - 1] {
                let source = |id: TileId| {
                    let mut data = log.tiles.tile(id)?;
                    if id == tile {
                        data[byte] ^= 1;
                    }
                    Ok(data)
                };
                assert_eq!(append(&log.frontier, &batch, &source), Err(LedgerError::TileDisagrees { tile }));
            }
        }
        // Nor is the edge of a tree that went back in time.
        let older = sample::Log::of((0..299).map(sample::act));
        assert!(matches!(append(&log.frontier, &batch, &older.tiles), Err(LedgerError::TileMalformed { .. })));
    }

    #[test]
    fn the_old_edge_and_the_new_tiles_prove_every_entry_of_a_batch() {
        for (old, new) in [(0, 1), (0, 600), (255, 257), (256, 300), (511, 513), (65_535, 65_600), (65_536, 65_537)] {
            let all = entries(new);
            let (before, batch) = all.split_at(usize::try_from(old).unwrap());
            let past = append(&Frontier::new(), before, &TileSet::new()).unwrap();
            let past_tiles: TileSet = past.tiles.into_iter().collect();
            let mut known = TileSet::new();
            for id in edge_tiles(old) {
                known.insert(id.level(), id.index(), past_tiles.tile(id).unwrap());
            }
            let appended = append(&past.frontier, batch, &known).unwrap();
            known.extend(appended.tiles);
            let (mut prover, root) = (Prover::new(&known, new), appended.frontier.root());
            for (index, entry) in (old..).zip(batch) {
                let proof = prover.inclusion(index).unwrap();
                assert_eq!(verify_inclusion(&leaf_hash(entry), index, new, &root, &proof), Ok(()));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn it_does_not_matter_how_entries_fall_into_batches(batches in prop::collection::vec(0_usize..400, 1..8)) {
            let all = entries(batches.iter().sum::<usize>() as u64);
            let at_once = append(&Frontier::new(), &all, &TileSet::new()).unwrap();
            let (mut frontier, mut tiles, mut rest) = (Frontier::new(), TileSet::new(), &all[..]);
            for count in batches {
                let (batch, later) = rest.split_at(count);
                let appended = append(&frontier, batch, &tiles).unwrap();
                frontier = appended.frontier;
                tiles.extend(appended.tiles);
                rest = later;
            }
            prop_assert_eq!(frontier, at_once.frontier);
            prop_assert_eq!(tiles, at_once.tiles.into_iter().collect::<TileSet>());
        }
    }
}
