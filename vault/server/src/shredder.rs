//! Sees to it that what was destroyed leaves the database's files.

use std::sync::atomic::{AtomicBool, Ordering};
use strongroom_store::Store;

/// Remembers whether something that was destroyed may still lie in a file.
#[derive(Debug)]
pub struct Shredder(AtomicBool);

impl Default for Shredder {
    /// At the start nobody knows: the process before this one may have been killed in between.
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Shredder {
    /// Shreds now. What is held up, or fails, is tried again by [`Shredder::again`]: the key itself is
    /// destroyed already, and its custodian is not to be told otherwise.
    pub async fn shred(&self, store: &dyn Store) {
        self.0.store(true, Ordering::Release);
        self.again(store).await;
    }

    /// Shreds what waits for it.
    pub async fn again(&self, store: &dyn Store) {
        // Cleared first: what is destroyed meanwhile sets it again.
        if !self.0.swap(false, Ordering::AcqRel) {
            return;
        }
        match store.shred().await {
            Ok(true) => return,
            Ok(false) => tracing::info!("what was destroyed still lies in the write-ahead log; it is shredded later"),
            Err(error) => tracing::warn!(%error, "what was destroyed could not be shredded; it is tried again"),
        }
        self.0.store(true, Ordering::Release);
    }

    /// True if something waits for it.
    pub fn waits(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
