//! The right edge of the tree: all that is needed to append to it and to know its root.

use crate::{
    EMPTY_ROOT, Hash, LedgerError, TileId, TileSource, leaf_hash, node_hash,
    tile::{self, TILE_WIDTH},
};

/// The largest tree: every index is an integer that every JSON reader reads exactly.
pub const MAX_SIZE: u64 = (1 << 53) - 1;

/// The roots of the perfect subtrees that a tree of `size` leaves falls into, largest first: one for
/// each bit of `size`. Appending costs O(1) hashes on average, the root O(log n).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of entries in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends the leaf of an entry (`SHA-256(salt || record)`).
    pub fn push(&mut self, entry: &Hash) -> Result<(), LedgerError> {
        self.push_leaf(leaf_hash(entry))
    }

    pub(crate) fn push_leaf(&mut self, leaf: Hash) -> Result<(), LedgerError> {
        if self.size >= MAX_SIZE {
            return Err(LedgerError::TreeFull);
        }
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
        Ok(())
    }

    /// The Merkle tree hash (RFC 6962, section 2.1).
    pub fn root(&self) -> Hash {
        fold(&self.subtrees).unwrap_or(EMPTY_ROOT)
    }

    /// For the head row: the size, u64 big-endian, then each subtree's root, largest first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + 32 * self.subtrees.len());
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend(self.subtrees.iter().flatten());
        out
    }

    /// Reads what [`Frontier::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LedgerError> {
        let malformed = |problem| LedgerError::FrontierMalformed { problem };
        let (size, rest) = bytes.split_first_chunk().ok_or(malformed("shorter than its size"))?;
        let size = u64::from_be_bytes(*size);
        if size > MAX_SIZE {
            return Err(malformed("larger than a tree can be"));
        }
        let (subtrees, remainder) = rest.as_chunks::<32>();
        if !remainder.is_empty() || subtrees.len() != size.count_ones() as usize {
            return Err(malformed("not one hash for each bit of its size"));
        }
        Ok(Self { size, subtrees: subtrees.to_vec() })
    }

    /// The frontier of a tree of `size` entries, from its right-edge tiles ([`crate::edge_tiles`]).
    ///
    /// With this a store compares its tiles with its head when it starts.
    pub fn from_tiles(size: u64, source: &(impl TileSource + ?Sized)) -> Result<Self, LedgerError> {
        if size > MAX_SIZE {
            return Err(LedgerError::TreeFull);
        }
        let mut subtrees = Vec::with_capacity(size.count_ones() as usize);
        for id in tile::edge_tiles(size) {
            subtrees.extend(perfect_subtrees(&tile::read(source, id)?));
        }
        Ok(Self { size, subtrees })
    }

    /// Whether a partial right-edge tile holds what this frontier was made of.
    pub(crate) fn check_tile(&self, id: TileId, hashes: &[Hash]) -> Result<(), LedgerError> {
        let above = self.size.checked_shr(8 * (u32::from(id.level()) + 1)).unwrap_or(0).count_ones() as usize;
        let expected = perfect_subtrees(hashes);
        if self.subtrees.iter().skip(above).take(expected.len()).eq(expected.iter()) {
            Ok(())
        } else {
            Err(LedgerError::TileDisagrees { tile: id })
        }
    }
}

/// The root over subtrees, largest first; none where there are none.
pub(crate) fn fold(subtrees: &[Hash]) -> Option<Hash> {
    subtrees.iter().rev().copied().reduce(|right, left| node_hash(&left, &right))
}

/// The root over 1, 2, 4 ... hashes.
pub(crate) fn perfect_root(hashes: &[Hash]) -> Option<Hash> {
    debug_assert!(hashes.len().is_power_of_two());
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = pairs(&row);
    }
    row.first().copied()
}

/// The row above a row of hashes; an odd one at the end has no parent yet.
pub(crate) fn pairs(row: &[Hash]) -> Vec<Hash> {
    row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect()
}

/// The roots of the perfect subtrees inside a partial tile, largest first.
fn perfect_subtrees(mut hashes: &[Hash]) -> Vec<Hash> {
    debug_assert!(hashes.len() < TILE_WIDTH);
    let mut roots = Vec::new();
    while let Some(height) = hashes.len().checked_ilog2() {
        let (perfect, rest) = hashes.split_at(1 << height);
        roots.extend(perfect_root(perfect));
        hashes = rest;
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TileSet, sample};
    use proptest::prelude::*;

    #[test]
    fn stored_bytes_of_another_shape_are_refused() {
        let mut frontier = Frontier::new();
        (0..5).for_each(|i| frontier.push(&[i; 32]).unwrap());
        let bytes = frontier.to_bytes();
        assert_eq!(bytes.len(), 8 + 2 * 32);
        assert_eq!(Frontier::from_bytes(&bytes), Ok(frontier));
        let mut other_size = bytes.clone();
        other_size[7] = 7;
        let mut too_large = u64::MAX.to_be_bytes().to_vec();
        too_large.extend_from_slice(&[0; 64 * 32]);
        for wrong in [&bytes[..7], &bytes[..8], &bytes[..71], &[&bytes[..], &[0]].concat(), &other_size, &too_large] {
            assert!(matches!(Frontier::from_bytes(wrong), Err(LedgerError::FrontierMalformed { .. })));
        }
    }

    #[test]
    fn a_full_tree_takes_no_more() {
        let mut frontier = Frontier { size: MAX_SIZE, subtrees: vec![[0; 32]; 53] };
        assert_eq!(frontier.push(&[0; 32]), Err(LedgerError::TreeFull));
        let mut last = Frontier { size: MAX_SIZE - 1, subtrees: vec![[0; 32]; 52] };
        assert_eq!(last.push(&[0; 32]), Ok(()));
    }

    #[test]
    fn tiles_and_frontier_tell_the_same() {
        let log = sample::Log::of((0..777).map(sample::act));
        assert_eq!(Frontier::from_tiles(777, &log.tiles).unwrap(), log.frontier);
        assert_eq!(Frontier::from_tiles(0, &TileSet::new()).unwrap(), Frontier::new());
        assert!(matches!(Frontier::from_tiles(777, &TileSet::new()), Err(LedgerError::TileMissing { .. })));
        assert!(Frontier::from_tiles(u64::MAX, &log.tiles).is_err());
    }

    proptest! {
        #[test]
        fn a_frontier_survives_its_bytes(size in 0_u8..200) {
            let mut frontier = Frontier::new();
            (0..size).for_each(|i| frontier.push(&[i; 32]).unwrap());
            prop_assert_eq!(Frontier::from_bytes(&frontier.to_bytes()), Ok(frontier));
        }
    }
}
