//! A writer that can let an import wait, and write it between a release's verification and its commit.

use async_trait::async_trait;
use std::sync::{Mutex, MutexGuard, PoisonError};
use strongroom_server::{queue::Commit, start::Committer};
use strongroom_store::{Change, Item, Outcome, StoreError};

/// The sequencer, and what is to be written ahead of the next batch.
pub(crate) struct Ahead {
    inner: Committer,
    waits: Mutex<Waits>,
}

enum Waits {
    Nothing,
    /// For the next endorsement; it is kept, and whoever imports it is told that the store is out of reach.
    ForAnImport,
    /// For the next batch: it was verified by now.
    ForABatch(Vec<Item>),
}

impl Ahead {
    pub(crate) fn of(inner: Committer) -> Self {
        Self { inner, waits: Mutex::new(Waits::Nothing) }
    }

    /// Keeps the next import back, and writes it right before what comes then.
    pub(crate) fn hold_import(&self) {
        *self.waits() = Waits::ForAnImport;
    }

    /// True once what was kept is written, or where nothing was.
    pub(crate) fn is_done(&self) -> bool {
        matches!(*self.waits(), Waits::Nothing)
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to write first, or none where this batch is what is kept.
    fn first(&self, items: &mut Vec<Item>) -> Option<Vec<Item>> {
        let imports = |item: &Item| item.changes.iter().any(|one| matches!(one, Change::PutEndorsement(..)));
        let mut waits = self.waits();
        match std::mem::replace(&mut *waits, Waits::Nothing) {
            Waits::ForAnImport if items.iter().any(imports) => {
                *waits = Waits::ForABatch(std::mem::take(items));
                None
            }
            Waits::ForAnImport => {
                *waits = Waits::ForAnImport;
                Some(Vec::new())
            }
            Waits::ForABatch(kept) => Some(kept),
            Waits::Nothing => Some(Vec::new()),
        }
    }
}

#[async_trait]
impl Commit for Ahead {
    async fn commit(&self, mut items: Vec<Item>) -> Result<Vec<Outcome>, StoreError> {
        let Some(first) = self.first(&mut items) else {
            return Err(StoreError::Unavailable("kept for later".into()));
        };
        if !first.is_empty() {
            for outcome in self.inner.commit(first).await? {
                assert!(matches!(outcome, Outcome::Committed(..)), "what was kept is written");
            }
        }
        self.inner.commit(items).await
    }
}
