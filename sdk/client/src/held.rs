//! Work under a lease: it stops between two chunks once the lease is over.

use crate::{Error, lease::Inner};
use strongroom_sealed::{Progress, SealedError};

/// The caller's progress, which also asks to stop when the lease is over.
pub(crate) struct WhileHeld<'a> {
    lease: &'a Inner,
    progress: &'a dyn Progress,
}

impl<'a> WhileHeld<'a> {
    pub(crate) fn new(lease: &'a Inner, progress: &'a dyn Progress) -> Self {
        Self { lease, progress }
    }

    /// Why the work ended: where it was stopped for the lease, that the lease is over.
    pub(crate) fn explain(&self, error: SealedError) -> Error {
        match (&error, self.lease.check()) {
            (SealedError::Cancelled, Err(over)) => over.into(),
            _ => error.into(),
        }
    }
}

impl Progress for WhileHeld<'_> {
    fn advanced(&self, bytes: u64) {
        self.progress.advanced(bytes);
    }

    fn cancelled(&self) -> bool {
        self.progress.cancelled() || self.lease.check().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LeaseOver, lease::tests::held, pinned::tests::Vault};
    use std::{
        fs::File,
        sync::atomic::{AtomicBool, AtomicU64, Ordering},
    };
    use strongroom_memory::{Protection, Weakening};
    use strongroom_sealed::{ChunkSize, Expected};

    /// Chunks of the file that is sealed here.
    const CHUNKS: u64 = 8;
    const CHUNK: u64 = 64 << 10;

    /// Revokes the lease after the first chunk, and counts.
    struct Revokes<'a> {
        lease: &'a Inner,
        done: AtomicU64,
    }

    impl Progress for Revokes<'_> {
        fn advanced(&self, bytes: u64) {
            self.done.fetch_add(bytes, Ordering::SeqCst);
            self.lease.finish(LeaseOver::Revoked(Some("incident 17".into())));
        }
    }

    fn revoked<T>(result: Result<T, Error>) -> bool {
        matches!(result, Err(Error::LeaseOver(LeaseOver::Revoked(Some(why)))) if why == "incident 17")
    }

    #[test]
    fn sealing_and_opening_stop_at_the_chunk_at_which_the_lease_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, sealed, cut) = (dir.path().join("plain"), dir.path().join("sealed"), dir.path().join("cut"));
        std::fs::write(&plain, vec![7; usize::try_from(CHUNKS * CHUNK).unwrap()]).unwrap();
        let (vault, source) = (Vault::new(1), File::open(&plain).unwrap());
        let spec = |lease: &crate::Lease| {
            let mut spec = lease.write_spec("a").unwrap();
            spec.chunk_size = ChunkSize::new(CHUNK).unwrap();
            spec
        };

        let lease = held(&vault, 60);
        lease.seal_file(&source, &sealed, false, &spec(&lease), 1, &()).unwrap();
        let revokes = Revokes { lease: &lease.inner, done: AtomicU64::new(0) };
        assert!(revoked(lease.seal_file(&source, &cut, false, &spec(&lease), 1, &revokes)));
        assert_eq!(revokes.done.into_inner(), CHUNK, "chunks were sealed under a lease that was over");
        assert!(!cut.exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "something was left beside");

        let lease = held(&vault, 60);
        let revokes = Revokes { lease: &lease.inner, done: AtomicU64::new(0) };
        let protection = Protection::default().accepting(Weakening::UnlockedMemory);
        assert!(revoked(lease.open_file(&sealed, &Expected::asset("a"), false, 1, &protection, &revokes)));
        assert_eq!(revokes.done.into_inner(), CHUNK, "chunks were opened under a lease that was over");
    }

    /// The last chunk is done, and the file not yet under its name.
    #[test]
    fn a_lease_that_ends_before_the_file_has_its_name_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, sealed) = (dir.path().join("plain"), dir.path().join("sealed"));
        std::fs::write(&plain, b"one chunk").unwrap();
        let lease = held(&Vault::new(1), 60);
        let spec = lease.write_spec("a").unwrap();
        let revokes = Revokes { lease: &lease.inner, done: AtomicU64::new(0) };
        assert!(revoked(lease.seal_file(&File::open(&plain).unwrap(), &sealed, false, &spec, 1, &revokes)));
        assert_eq!(revokes.done.into_inner(), 9);
        assert!(!sealed.exists());
    }

    #[test]
    fn the_callers_own_wish_to_stop_is_not_the_leases() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        std::fs::write(&plain, b"one chunk").unwrap();
        let lease = held(&Vault::new(1), 60);
        let (spec, stop) = (lease.write_spec("a").unwrap(), AtomicBool::new(true));
        let sealed = dir.path().join("sealed");
        let result = lease.seal_file(&File::open(&plain).unwrap(), &sealed, false, &spec, 1, &stop);
        assert!(matches!(result, Err(Error::Sealed(SealedError::Cancelled))));
        lease.check().unwrap();
    }
}
