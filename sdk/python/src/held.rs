//! A lease as long as anything of Python's needs it.

use crate::errors::raise;
use pyo3::prelude::*;
use std::{
    collections::BTreeMap,
    mem::ManuallyDrop,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use strongroom::{
    Error, Keeper, Lease, Room,
    collect::Attester,
    memory::{Owner, Protection},
    protocol::admin::Integrity,
};

/// All that live: the interpreter may end before their holders go.
static ALL: Mutex<Vec<Weak<Held>>> = Mutex::new(Vec::new());

fn all() -> Vec<Arc<Held>> {
    // Not waited for: in a forked child the lock may belong to a thread that there is not.
    ALL.try_lock().map(|all| all.iter().filter_map(Weak::upgrade).collect()).unwrap_or_default()
}

/// Ids of the leases that live.
pub(crate) fn live() -> Vec<String> {
    all().iter().filter(|held| held.check().is_ok()).map(|held| held.lease.id().to_string()).collect()
}

/// Ends every lease of this process, for when the interpreter ends.
pub(crate) fn end_all() {
    for held in all() {
        // Plaintext is zeroed whatever becomes of telling the vault, and then it expires there.
        let _ = held.end();
    }
}

/// A lease and its keeper, shared by the lease that Python sees and by all that was opened under it:
/// an array whose lease object is long forgotten must not turn to zeros. When the last of them goes,
/// the lease ends.
pub(crate) struct Held {
    owner: Owner,
    pub(crate) room: Arc<Room>,
    pub(crate) attester: Arc<dyn Attester>,
    pub(crate) protection: Protection,
    /// What each asset of the lease demands of its files, as the vault said when it was granted:
    /// a vault that is away does not keep anybody from opening them.
    assets: BTreeMap<String, Integrity>,
    lease: ManuallyDrop<Lease>,
    keeper: ManuallyDrop<Mutex<Option<Keeper>>>,
}

impl Held {
    pub(crate) fn new(
        room: Arc<Room>,
        attester: Arc<dyn Attester>,
        protection: Protection,
        assets: BTreeMap<String, Integrity>,
        lease: Lease,
        keep: bool,
    ) -> Result<Arc<Self>, Error> {
        let owner = Owner::current()?;
        let keeper = keep.then(|| lease.keep(Arc::clone(&room), Arc::clone(&attester)));
        let held = Arc::new(Self {
            owner,
            room,
            attester,
            protection,
            assets,
            lease: ManuallyDrop::new(lease),
            keeper: ManuallyDrop::new(Mutex::new(keeper)),
        });
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&held));
        Ok(held)
    }

    /// The lease. An error in a forked child, before any lock is touched that another thread of the
    /// parent may have held.
    pub(crate) fn lease(&self) -> Result<&Lease, Error> {
        self.owner.check()?;
        Ok(&self.lease)
    }

    /// Whether it may be used.
    pub(crate) fn check(&self) -> Result<(), Error> {
        Ok(self.lease()?.check()?)
    }

    /// Whether files of this asset must have chunk hashes.
    pub(crate) fn hashed(&self, asset: &str) -> bool {
        self.assets.get(asset) == Some(&Integrity::Hashed)
    }

    /// Zeroes keys and plaintext, tells the vault, and lets go of the keeper.
    pub(crate) fn end(&self) -> Result<(), Error> {
        let ended = self.lease()?.end();
        drop(self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take());
        ended
    }

    /// Does something with the lease while other threads of Python run.
    pub(crate) fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Lease) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        py.detach(|| self.lease().and_then(work)).map_err(|error| raise(py, &error))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.owner.check().is_err() {
            // A forked child: lease and connection are the parent's, and its locks may be held by
            // threads that are not here. Nothing of the plaintext is here either.
            return;
        }
        // SAFETY: neither is used after this, the last moment of their owner.
        let (lease, keeper) = unsafe { (ManuallyDrop::take(&mut self.lease), ManuallyDrop::take(&mut self.keeper)) };
        let end = move || {
            drop(lease);
            drop(keeper);
        };
        // The vault is told, which takes a moment that other threads can use.
        let mut end = Some(end);
        let _ = Python::try_attach(|py| {
            if let Some(end) = end.take() {
                py.detach(end);
            }
        });
        if let Some(end) = end {
            end();
        }
    }
}
