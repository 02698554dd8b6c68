//! A vault that is stopped, for the one act that a command records in its ledger.

use crate::{
    config::Config,
    occupancy::Occupancy,
    queue::Commit as _,
    start::{self, Committer, IdentitySigner, new_vault, unprotected},
};
use anyhow::{Context as _, Result, bail};
use std::sync::Arc;
use strongroom_keys::{Custody as _, KeyTree};
use strongroom_ledger::{Record, VerifierKey};
use strongroom_protocol::VaultId;
use strongroom_store::{Backend, Change, Committed, Item, Outcome, Sequencer};

/// A vault that no other process of this directory serves, with its root unlocked.
pub(super) struct Stopped {
    pub(super) store: Arc<dyn Backend>,
    pub(super) signer: Arc<IdentitySigner>,
    pub(super) ledger_key: VerifierKey,
    pub(super) vault_id: VaultId,
    _alone: Occupancy,
}

impl Stopped {
    /// Refused while the vault is served.
    pub(super) async fn open(config: &Config) -> Result<Self> {
        let alone = Occupancy::take(config)?;
        let store = start::open_store_as_it_is(config).await?;
        let row = start::vault_row(&*store, config).await?;
        let root = start::custody(config)?.unlock().context("custody does not yield the root key")?;
        let keys = Arc::new(KeyTree::unlock(unprotected(root), &new_vault(&row))?);
        let ledger_key = VerifierKey::new(row.ledger_origin, *keys.identity().public_key())?;
        let vault_id = keys.vault_id();
        Ok(Self { store, signer: Arc::new(IdentitySigner(keys)), ledger_key, vault_id, _alone: alone })
    }

    /// Commits the act: its record, and what it changes.
    pub(super) async fn commit(&self, sequencer: Sequencer, record: Record, changes: Vec<Change>) -> Result<Committed> {
        let item = Item { record, guards: vec![], nonce: None, quotas: vec![], changes, blobs: vec![] };
        match Committer(sequencer).commit(vec![item]).await.context("write the ledger")?.pop() {
            Some(Outcome::Committed(committed)) => Ok(committed),
            Some(Outcome::Refused(refusal)) => bail!("the ledger refused it: {refusal:?}"),
            None => bail!("the ledger did not answer"),
        }
    }
}
