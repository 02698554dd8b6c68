//! Opening sealed files into the arena, and showing them while the lease lives.

use crate::{
    Error, Lease,
    held::WhileHeld,
    input::open_input,
    lease::{Inner, LeaseOver},
    open_stream::FileCell,
};
use std::{
    fs::File,
    ops::Deref,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use strongroom_memory::{Protection, SharedArena, SharedBytes, WeakArena};
use strongroom_sealed::{Expected, Opening, Progress, Reader, SealedError};

/// What one lease has opened: zeroed together when the lease is over.
#[derive(Default)]
pub(crate) struct Shelf {
    opened: Mutex<Vec<Opened>>,
}

/// Keeps nothing by itself: what nobody holds any more has been zeroed already.
pub(crate) enum Opened {
    Whole(WeakArena),
    InParts(Weak<FileCell>),
}

impl Opened {
    fn is_gone(&self) -> bool {
        match self {
            Self::Whole(arena) => arena.is_gone(),
            Self::InParts(file) => file.strong_count() == 0,
        }
    }
}

impl Shelf {
    pub(crate) fn put(&self, new: Opened) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|other| !other.is_gone());
        opened.push(new);
    }

    /// Zeroes everything: after those who read in Rust have let go of their guards, and under the
    /// hands of those who hold an address.
    pub(crate) fn clear(&self) {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        for one in opened {
            match one {
                Opened::Whole(arena) => {
                    if let Some(arena) = arena.upgrade() {
                        arena.zero_now();
                    }
                }
                Opened::InParts(file) => {
                    if let Some(file) = file.upgrade() {
                        file.close();
                    }
                }
            }
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
        let reader = self.reader(path, expected, require_hashes)?;
        let length = reader.len();
        let bytes = usize::try_from(length).map_err(|_| {
            Error::Sealed(SealedError::LimitExceeded { what: "plaintext", value: length, limit: usize::MAX as u64 })
        })?;
        let mut arena = self.arena(bytes, protection)?;
        let held = WhileHeld::new(&self.inner, progress);
        reader.read_into(arena.as_mut_slice(), threads, &held).map_err(|e| held.explain(e))?;
        let arena = arena.share();
        self.shelve(Opened::Whole(arena.downgrade()))?;
        Ok(OpenObject { arena, lease: Arc::clone(&self.inner), length })
    }

    /// A reader of a sealed file, by a key that this lease holds.
    pub(crate) fn reader(&self, path: &Path, expected: &Expected, require_hashes: bool) -> Result<Reader<File>, Error> {
        let file = open_input(path)?;
        let opening = Opening::start(file, expected)?.require_hashes(require_hashes);
        let header = opening.header();
        let key = self.inner.object_key(&header.asset, header.version, header.writer, header.object)?;
        Ok(opening.with_key(&key)?)
    }

    /// Puts something on the shelf, from where it goes with the lease.
    pub(crate) fn shelve(&self, new: Opened) -> Result<(), Error> {
        self.inner.shelf().put(new);
        // After it stands there: a lease that ended meanwhile may have cleared the shelf before.
        if let Err(over) = self.inner.check() {
            self.inner.shelf().clear();
            return Err(over.into());
        }
        Ok(())
    }
}

/// An object opened in protected memory.
pub struct OpenObject {
    arena: SharedArena,
    lease: Arc<Inner>,
    length: u64,
}

/// The plaintext, for as long as the guard is held. Let go of it soon: a revocation waits for it.
pub struct Plaintext<'a>(SharedBytes<'a>);

impl OpenObject {
    /// Length of the plaintext, bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// True for an empty object.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The plaintext; an error once the lease is over, and in a forked child.
    pub fn plaintext(&self) -> Result<Plaintext<'_>, Error> {
        self.lease.check()?;
        let bytes = self.arena.read()?;
        if bytes.were_zeroed() {
            // Between the two lines above.
            self.lease.check()?;
            return Err(LeaseOver::Ended.into());
        }
        Ok(Plaintext(bytes))
    }

    /// The memory itself, for bindings whose readers know no guards: they hold it for as long as they
    /// may read, and see zeros from the moment that the lease is over.
    pub fn memory(&self) -> Result<SharedArena, Error> {
        self.arena.check_owner()?;
        self.lease.check()?;
        Ok(self.arena.clone())
    }
}

impl Deref for Plaintext<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        boottime::Moment,
        lease::{Schedule, tests::held},
        pinned::tests::Vault,
    };
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
        opened.arena.read().unwrap().iter().all(|byte| *byte == 0)
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

    /// What numpy does: it holds the memory, and nothing else of ours.
    #[test]
    fn plaintext_goes_under_the_hands_of_those_who_hold_its_memory() {
        let dir = tempfile::tempdir().unwrap();
        let lease = held(&Vault::new(1), 60);
        let opened = open(&lease, &sealed(&lease, dir.path()), &()).unwrap();
        let memory = opened.memory().unwrap();
        drop(opened);
        assert_eq!(&*memory.read().unwrap(), b"a secret");
        lease.inner.finish(LeaseOver::Revoked(None));
        assert!(memory.is_zeroed().unwrap() && memory.read().unwrap().iter().all(|byte| *byte == 0));
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
