//! Making inclusion and consistency proofs from tiles.

use crate::{
    EMPTY_ROOT, Hash, LedgerError, MAX_SIZE, TileId, TileSource,
    frontier::{fold, pairs},
    tile::{self, TILE_HEIGHT},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// Makes proofs in the tree of one size. It hashes each tile once, so that the proofs of a whole
/// batch cost little more than that of one entry.
pub struct Prover<'a, S: TileSource + ?Sized> {
    source: &'a S,
    size: u64,
    tiles: BTreeMap<TileId, Vec<Vec<Hash>>>,
}

impl<'a, S: TileSource + ?Sized> Prover<'a, S> {
    /// Proves in the tree of `size` entries. For the entries of a batch just appended, the old right
    /// edge together with the tiles that [`crate::append()`] returned is source enough.
    pub fn new(source: &'a S, size: u64) -> Self {
        Self { source, size, tiles: BTreeMap::new() }
    }

    /// The audit path of the entry at `index`, from the leaf's sibling to the root's child
    /// (RFC 6962, section 2.1.1).
    pub fn inclusion(&mut self, index: u64) -> Result<Vec<Hash>, LedgerError> {
        inclusion_ranges(index, self.size)?.into_iter().map(|range| self.root_of(range)).collect()
    }

    /// The proof that this tree extends the tree of `old` entries (RFC 6962, section 2.1.2); empty
    /// where `old` is 0 or this size.
    pub fn consistency(&mut self, old: u64) -> Result<Vec<Hash>, LedgerError> {
        consistency_ranges(old, self.size)?.into_iter().map(|range| self.root_of(range)).collect()
    }

    fn root_of(&mut self, range: Range<u64>) -> Result<Hash, LedgerError> {
        let subtrees =
            nodes(range).into_iter().map(|(height, index)| self.node(height, index)).collect::<Result<Vec<_>, _>>()?;
        // A range is never empty, so there is a root.
        Ok(fold(&subtrees).unwrap_or(EMPTY_ROOT))
    }

    fn node(&mut self, height: u32, index: u64) -> Result<Hash, LedgerError> {
        let id = TileId::of_node(height, index, self.size);
        let rows = match self.tiles.entry(id) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(unknown) => unknown.insert(rows(tile::read(self.source, id)?)),
        };
        let row = height % TILE_HEIGHT;
        let column = index - (id.index() << (TILE_HEIGHT - row));
        rows.get(row as usize)
            .and_then(|hashes| hashes.get(usize::try_from(column).ok()?))
            .copied()
            .ok_or(LedgerError::TileMissing { tile: id })
    }
}

/// The tiles that the inclusion proof of `index` in a tree of `size` is made from.
pub fn inclusion_tiles(index: u64, size: u64) -> Result<Vec<TileId>, LedgerError> {
    Ok(tiles_of(inclusion_ranges(index, size)?, size))
}

/// The tiles that the consistency proof from `old` to `new` entries is made from; all of the tree of `new`.
pub fn consistency_tiles(old: u64, new: u64) -> Result<Vec<TileId>, LedgerError> {
    Ok(tiles_of(consistency_ranges(old, new)?, new))
}

/// The sibling ranges on the way from the leaf to the root: PATH of RFC 6962, section 2.1.1.
fn inclusion_ranges(index: u64, size: u64) -> Result<Vec<Range<u64>>, LedgerError> {
    if index >= size || size > MAX_SIZE {
        return Err(LedgerError::OutsideTree { index, size });
    }
    let (mut from, mut to) = (0, size);
    let mut ranges = Vec::new();
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            ranges.push(middle..to);
            to = middle;
        } else {
            ranges.push(from..middle);
            from = middle;
        }
    }
    ranges.reverse();
    Ok(ranges)
}

/// PROOF of RFC 6962, section 2.1.2.
fn consistency_ranges(old: u64, new: u64) -> Result<Vec<Range<u64>>, LedgerError> {
    if new < old || new > MAX_SIZE {
        return Err(LedgerError::Shrunk { old, new });
    }
    let (mut from, mut to) = (0, new);
    let mut ranges = Vec::new();
    if old == 0 {
        return Ok(ranges);
    }
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            ranges.push(middle..to);
            to = middle;
        } else {
            ranges.push(from..middle);
            from = middle;
        }
    }
    // The old tree's root is known to the verifier; any other node that the old tree ends with is not.
    if from > 0 {
        ranges.push(from..to);
    }
    ranges.reverse();
    Ok(ranges)
}

/// The largest power of two below `length`, which is at least 2.
fn split(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}

/// The perfect subtrees of a range, left to right, as height and index in that height's row.
fn nodes(range: Range<u64>) -> Vec<(u32, u64)> {
    let mut nodes = Vec::new();
    let mut at = range.start;
    while let Some(height) = range.end.saturating_sub(at).checked_ilog2() {
        nodes.push((height, at >> height));
        at += 1 << height;
    }
    nodes
}

fn tiles_of(ranges: Vec<Range<u64>>, size: u64) -> Vec<TileId> {
    let tiles: BTreeSet<_> =
        ranges.into_iter().flat_map(nodes).map(|(height, index)| TileId::of_node(height, index, size)).collect();
    tiles.into_iter().collect()
}

/// A tile's hashes and the seven rows above them.
fn rows(hashes: Vec<Hash>) -> Vec<Vec<Hash>> {
    let mut rows = vec![hashes];
    while rows.len() < TILE_HEIGHT as usize {
        let above = rows.last().map(|row| pairs(row)).unwrap_or_default();
        rows.push(above);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn what_is_outside_the_tree_has_no_proof() {
        assert_eq!(inclusion_tiles(3, 3).unwrap_err(), LedgerError::OutsideTree { index: 3, size: 3 });
        assert_eq!(consistency_tiles(4, 3).unwrap_err(), LedgerError::Shrunk { old: 4, new: 3 });
        assert!(consistency_tiles(4, u64::MAX).is_err());
    }

    #[test]
    fn a_prover_reads_the_tiles_that_were_named_and_no_others() {
        let log = sample::Log::of((0..700).map(sample::act));
        let named = inclusion_tiles(300, 700).unwrap();
        let text: Vec<_> = named.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"]);
        let source = |id: TileId| {
            if named.contains(&id) { log.tiles.tile(id) } else { Err(LedgerError::TileMissing { tile: id }) }
        };
        assert!(Prover::new(&source, 700).inclusion(300).is_ok());
        let named = consistency_tiles(513, 700).unwrap();
        let source = |id: TileId| {
            if named.contains(&id) { log.tiles.tile(id) } else { Err(LedgerError::TileMissing { tile: id }) }
        };
        assert!(Prover::new(&source, 700).consistency(513).is_ok());
        let nothing = |id: TileId| -> Result<Vec<u8>, LedgerError> { Err(LedgerError::TileMissing { tile: id }) };
        assert!(matches!(Prover::new(&nothing, 700).inclusion(300), Err(LedgerError::TileMissing { .. })));
    }
}
