//! Opening sealed files into the arena, and showing them while the lease lives.

use crate::{Error, Lease, held::WhileHeld, lease::Inner};
use std::{
    ops::Deref,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak},
};
use strongroom_memory::{Arena, Protection};
use strongroom_sealed::{Expected, Opening, Progress, SealedError, open_regular};

/// Plaintext of one lease's objects: cleared together when the lease is over.
#[derive(Default)]
pub(crate) struct Shelf {
    cells: Mutex<Vec<Weak<Cell>>>,
}

struct Cell {
    arena: RwLock<Option<Arena>>,
}

impl Shelf {
    fn put(&self, arena: Arena) -> Arc<Cell> {
        let cell = Arc::new(Cell { arena: RwLock::new(Some(arena)) });
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|cell| cell.strong_count() > 0);
        cells.push(Arc::downgrade(&cell));
        cell
    }

    /// Zeroes every arena, after those who read have let go of their guards.
    pub(crate) fn clear(&self) {
        let cells = std::mem::take(&mut *self.cells.lock().unwrap_or_else(PoisonError::into_inner));
        for cell in cells.iter().filter_map(Weak::upgrade) {
            // Dropping an arena zeroes it.
            cell.arena.write().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

impl Lease {
    /// Reads a sealed file into protected memory. `expected` is what the caller wants to open, not
    /// what the file says of itself; `threads` 0 takes what the machine offers. It stops at the next
    /// chunk once the lease is over.
    pub fn open_file(
        &self,
        path: &Path,
        expected: &Expected,
        require_hashes: bool,
        threads: usize,
        protection: &Protection,
        progress: &dyn Progress,
    ) -> Result<OpenObject, Error> {
        let file = open_regular(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let opening = Opening::start(file, expected)?.require_hashes(require_hashes);
        let header = opening.header();
        let key = self.inner.object_key(&header.asset, header.version, header.writer, header.object)?;
        let reader = opening.with_key(&key)?;
        let length = reader.len();
        let bytes = usize::try_from(length).map_err(|_| {
            Error::Sealed(SealedError::LimitExceeded { what: "plaintext", value: length, limit: usize::MAX as u64 })
        })?;
        let mut arena = self.arena(bytes, protection)?;
        let held = WhileHeld::new(&self.inner, progress);
        reader.read_into(arena.as_mut_slice(), threads, &held).map_err(|e| held.explain(e))?;
        let cell = self.inner.shelf().put(arena);
        // After it stands on the shelf: a lease that ended meanwhile may have cleared the shelf before.
        if let Err(over) = self.inner.check() {
            self.inner.shelf().clear();
            return Err(over.into());
        }
        Ok(OpenObject { cell, lease: Arc::clone(&self.inner), length })
    }
}

/// An object opened in protected memory.
pub struct OpenObject {
    cell: Arc<Cell>,
    lease: Arc<Inner>,
    length: u64,
}

/// The plaintext, for as long as the guard is held. Let go of it soon: a revocation waits for it.
pub struct Plaintext<'a>(RwLockReadGuard<'a, Option<Arena>>);

impl OpenObject {
    /// Length of the plaintext, bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// True for an empty object.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The plaintext; an error once the lease is over.
    pub fn plaintext(&self) -> Result<Plaintext<'_>, Error> {
        self.lease.check()?;
        let guard = self.cell.arena.read().unwrap_or_else(PoisonError::into_inner);
        if guard.is_none() {
            self.lease.check()?;
        }
        Ok(Plaintext(guard))
    }
}

impl Deref for Plaintext<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], Arena::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        boottime::Moment,
        lease::{LeaseOver, Schedule, tests::held},
        pinned::tests::Vault,
    };
    use std::fs::File;
    use strongroom_memory::Weakening;

    /// Sealed under the lease's own writer key.
    fn sealed(lease: &Lease, dir: &Path) -> std::path::PathBuf {
        let (source, target) = (dir.join("plain"), dir.join("sealed"));
        std::fs::write(&source, b"a secret").unwrap();
        let spec = lease.write_spec("a").unwrap();
        lease.seal_file(&File::open(source).unwrap(), &target, false, &spec, 1, &()).unwrap();
        target
    }

    fn open(lease: &Lease, file: &Path, progress: &dyn Progress) -> Result<OpenObject, Error> {
        // Whether memory can be locked here is not the question.
        let protection = Protection::default().accepting(Weakening::UnlockedMemory);
        lease.open_file(file, &Expected::asset("a"), false, 1, &protection, progress)
    }

    fn is_zeroed(opened: &OpenObject) -> bool {
        opened.cell.arena.read().unwrap().is_none()
    }

    #[test]
    fn plaintext_goes_with_the_lease() {
        let dir = tempfile::tempdir().unwrap();
        let lease = held(&Vault::new(1), 60);
        let file = sealed(&lease, dir.path());
        let opened = open(&lease, &file, &()).unwrap();
        assert_eq!(&*opened.plaintext().unwrap(), b"a secret");
        lease.inner.finish(LeaseOver::Revoked(None));
        assert!(is_zeroed(&opened));
        assert!(matches!(opened.plaintext(), Err(Error::LeaseOver(LeaseOver::Revoked(None)))));
    }

    #[test]
    fn plaintext_goes_when_the_time_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let lease = held(&Vault::new(1), 60);
        let opened = open(&lease, &sealed(&lease, dir.path()), &()).unwrap();
        *lease.inner.schedule() = Schedule::new(Moment::now(), 0, 0, 0);
        assert!(matches!(opened.plaintext(), Err(Error::LeaseOver(LeaseOver::Expired))));
        assert!(is_zeroed(&opened));
    }

    /// The lease ends while a file is being opened: after the shelf was cleared, before there was
    /// anything on it.
    #[test]
    fn what_is_opened_while_the_lease_ends_is_not_shown() {
        struct Ends<'a>(&'a Lease);
        impl Progress for Ends<'_> {
            fn advanced(&self, _: u64) {
                self.0.inner.finish(LeaseOver::Revoked(None));
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let lease = held(&Vault::new(1), 60);
        let file = sealed(&lease, dir.path());
        let opened = open(&lease, &file, &Ends(&lease));
        assert!(matches!(opened, Err(Error::LeaseOver(LeaseOver::Revoked(None)))));
    }
}
