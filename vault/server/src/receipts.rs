//! Receipts of entries that were committed earlier, under the newest checkpoint.

use crate::problem::{Answer, Refused};
use strongroom_ledger::{Prover, Receipt, SignedCheckpoint, TileSet, inclusion_tiles};
use strongroom_store::Store;

/// A C2SP tlog-proof of the entry at `index` under the newest checkpoint.
pub async fn receipt(store: &dyn Store, index: u64) -> Answer<String> {
    let head = store.head().await?.ok_or_else(|| Refused::internal("an entry without a head"))?;
    let checkpoint = SignedCheckpoint::parse(&head.checkpoint)?;
    let mut tiles = TileSet::new();
    for id in inclusion_tiles(index, head.size)? {
        let data = store.tile(&id.to_string()).await?;
        let data = data.ok_or_else(|| Refused::internal(format!("{id} is missing")))?;
        tiles.insert(id.level(), id.index(), data);
    }
    let proof = Prover::new(&tiles, head.size).inclusion(index)?;
    Ok(Receipt::new(index, proof, checkpoint).encode())
}
