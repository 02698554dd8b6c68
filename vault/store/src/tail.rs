//! Is the end of the log still what was written? Asked at the start, and every minute.

use crate::{
    backend::Tail,
    model::Head,
    sequencer::{Sequencer, Writer, corrupt},
    store::StoreError,
};
use strongroom_ledger::{
    Checkpoint, Frontier, Hash, SignedCheckpoint, TileId, TileSource as _, VerifierKey, entry_hash, leaf_hash,
};

/// Entries that one check reads at the most.
pub(crate) const TAIL_ENTRIES: u64 = 1 << 16;

impl Sequencer {
    /// Hashes the last `entries` entries again (up to 65,536, rounded up to whole tiles) and compares
    /// them with the tiles, the tree's edge, the signed checkpoint, and the checkpoint kept outside the
    /// database. Gives the head that it checked; `None` while the log is empty.
    ///
    /// On a mismatch ([`StoreError::Rollback`], [`StoreError::Corrupt`]) nothing is committed any more
    /// by this process. An error of another kind says only that the check could not be made.
    pub async fn verify_tail(&self, entries: u64) -> Result<Option<Head>, StoreError> {
        self.0.verify_tail(entries.min(TAIL_ENTRIES)).await.map_err(|error| self.0.lock_on(error))
    }
}

impl Writer {
    async fn verify_tail(&self, entries: u64) -> Result<Option<Head>, StoreError> {
        let known = {
            // No commit is between its COMMIT and its outside checkpoint while this is held.
            let outside = self.outside.lock().await;
            outside.check_file(&self.verifier)?;
            outside.known().clone()
        };
        // What is read from here on is not older than `known`.
        self.check_extends(&known).await?;
        let Some(tail) = self.store.tail(entries).await? else { return Ok(None) };
        check_tail(&tail, &self.verifier)?;
        Ok(Some(tail.head.head()))
    }
}

pub(crate) fn check_tail(tail: &Tail, verifier: &VerifierKey) -> Result<(), StoreError> {
    let frontier = &tail.head.frontier;
    let signed = SignedCheckpoint::parse(&tail.head.checkpoint).map_err(corrupt)?;
    if *signed.verify(std::slice::from_ref(verifier)).map_err(corrupt)? != Checkpoint::of(verifier.name(), frontier) {
        return Err(StoreError::Corrupt("the head's checkpoint is not of its tree".to_owned()));
    }
    let mut tree = Frontier::from_tiles(tail.first, &tail.tiles).map_err(corrupt)?;
    for (expected, row) in (tail.first..).zip(&tail.entries) {
        if row.index != expected {
            return Err(StoreError::Corrupt(format!("entry {expected} is missing")));
        }
        if row.body.as_ref().is_some_and(|(record, salt)| entry_hash(salt, record) != row.entry) {
            return Err(StoreError::Corrupt(format!("the record of entry {expected} was changed")));
        }
        if leaf_in_tile(tail, expected)? != leaf_hash(&row.entry) {
            return Err(StoreError::Corrupt(format!("entry {expected} is not the one in its tile")));
        }
        tree.push(&row.entry).map_err(corrupt)?;
    }
    let edge = Frontier::from_tiles(frontier.size(), &tail.tiles).map_err(corrupt)?;
    if tree != *frontier || edge != *frontier {
        return Err(StoreError::Corrupt(format!(
            "the last entries do not make the tree of {} entries that the head has",
            frontier.size()
        )));
    }
    Ok(())
}

fn leaf_in_tile(tail: &Tail, index: u64) -> Result<Hash, StoreError> {
    let place = (index % 256) as u16;
    let id = TileId::new(0, index / 256, place + 1)
        .ok_or_else(|| StoreError::Corrupt(format!("entry {index} has no tile")))?;
    let tile = tail.tiles.tile(id).map_err(corrupt)?;
    tile.as_chunks()
        .0
        .get(usize::from(place))
        .copied()
        .ok_or_else(|| StoreError::Corrupt(format!("tile {id} ends before entry {index}")))
}
