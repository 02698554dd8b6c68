//! Reading parts of a sealed file while the lease lives, without opening all of it.

use crate::{Error, Lease, held::WhileHeld, lease::Inner, open::Opened};
use std::{
    fs::File,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use strongroom_memory::{Arena, Owner, Protection};
use strongroom_sealed::{Expected, Reader};

/// What is gone once the lease is over.
struct Parts {
    /// Holds the keys of this one object, in ordinary memory that is zeroed.
    reader: Reader<File>,
    /// The chunk that was read last, for readers who want a few bytes at a time.
    chunk: Arena,
    /// Where that chunk lies in the plaintext; empty before the first.
    loaded: Range<u64>,
}

/// A file that is open; none once it was closed.
pub(crate) struct FileCell {
    parts: Mutex<Option<Parts>>,
}

impl FileCell {
    fn lock(&self) -> MutexGuard<'_, Option<Parts>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Zeroes its keys and the chunk that it keeps, after a read that is going on: one that stops by
    /// itself where the lease is over.
    pub(crate) fn close(&self) {
        self.lock().take();
    }
}

/// A sealed file, read in parts. Shared by threads, whose reads wait for one another.
pub struct SealedFile {
    cell: Arc<FileCell>,
    lease: Arc<Inner>,
    owner: Owner,
    length: u64,
}

impl Lease {
    /// Opens a sealed file for reading parts of it. Keeps one chunk, in protected memory.
    pub fn open_parts(
        &self,
        path: &Path,
        expected: &Expected,
        require_hashes: bool,
        protection: &Protection,
    ) -> Result<SealedFile, Error> {
        let owner = Owner::current()?;
        let reader = self.reader(path, expected, require_hashes)?;
        let length = reader.len();
        let chunk = usize::try_from(reader.chunk_size().min(length)).unwrap_or(usize::MAX);
        let parts = Parts { chunk: self.arena(chunk, protection)?, reader, loaded: 0..0 };
        let cell = Arc::new(FileCell { parts: Mutex::new(Some(parts)) });
        self.shelve(Opened::InParts(Arc::downgrade(&cell)))?;
        Ok(SealedFile { cell, lease: Arc::clone(&self.inner), owner, length })
    }
}

impl SealedFile {
    /// Length of the plaintext, bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// True for an empty object.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Decrypts from byte `offset` of the plaintext on into `dest`; how many bytes there were, fewer
    /// than `dest` has at the end of the file only. What `dest` is, is the caller's choice: memory that
    /// is not protected gets plaintext that does not end with the lease. After an error `dest` is zero.
    pub fn read_at(&self, offset: u64, dest: &mut [u8]) -> Result<usize, Error> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(dest.len());
        let result = self.fill(offset, dest.get_mut(..wanted).unwrap_or_default());
        if result.is_err() {
            strongroom_memory::zero(dest);
        }
        result.map(|()| wanted)
    }

    /// Whether it can be read.
    pub fn check(&self) -> Result<(), Error> {
        self.owner.check()?;
        Ok(self.lease.check()?)
    }

    /// Zeroes its keys and the chunk that it keeps.
    pub fn close(&self) {
        if self.owner.check().is_ok() {
            self.cell.close();
        }
    }

    fn fill(&self, mut offset: u64, mut dest: &mut [u8]) -> Result<(), Error> {
        while !dest.is_empty() {
            self.check()?;
            let mut parts = self.cell.lock();
            let Some(parts) = parts.as_mut() else {
                self.lease.check()?;
                return Err(Error::NoKey("a file that was closed".to_owned()));
            };
            let done = parts.read(offset, dest, &self.lease)?;
            offset += done as u64;
            dest = dest.get_mut(done..).unwrap_or_default();
        }
        // Nothing is handed out that was read while the lease ended.
        self.check()
    }
}

impl Parts {
    /// Fills the beginning of `dest`, which does not reach beyond the plaintext's end; how much.
    fn read(&mut self, offset: u64, dest: &mut [u8], lease: &Inner) -> Result<usize, Error> {
        let size = self.reader.chunk_size();
        let whole = usize::try_from(size).unwrap_or(usize::MAX);
        if offset.is_multiple_of(size) && dest.len() >= whole {
            let length = dest.len() / whole * whole;
            let direct = dest.get_mut(..length).unwrap_or_default();
            let held = WhileHeld::new(lease, &());
            self.reader.read_ranges(&mut [(offset, direct)], 0, &held).map_err(|e| held.explain(e))?;
            return Ok(length);
        }
        if !self.loaded.contains(&offset) {
            self.load(offset / size * size)?;
        }
        let from = usize::try_from(offset - self.loaded.start).unwrap_or(usize::MAX);
        let loaded = usize::try_from(self.loaded.end - self.loaded.start).unwrap_or(0);
        let available = self.chunk.as_slice().get(from..loaded).unwrap_or_default();
        let length = available.len().min(dest.len());
        for (to, byte) in dest.iter_mut().zip(available) {
            *to = *byte;
        }
        Ok(length)
    }

    /// Reads the chunk that begins at `start`.
    fn load(&mut self, start: u64) -> Result<(), Error> {
        let end = self.reader.len().min(start + self.reader.chunk_size());
        // Should the read fail, the zeros in the arena must not pass for a chunk.
        self.loaded = 0..0;
        let length = usize::try_from(end - start).unwrap_or(usize::MAX);
        let place = self.chunk.as_mut_slice().get_mut(..length).unwrap_or_default();
        self.reader.read_range(start, place)?;
        self.loaded = start..end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        lease::{LeaseOver, tests::held},
        pinned::tests::Vault,
    };
    use strongroom_memory::Weakening;
    use strongroom_sealed::ChunkSize;

    const CHUNK: usize = 1 << 16;

    fn plaintext() -> Vec<u8> {
        (0..3 * CHUNK + 100).map(|i| u8::try_from(i % 251).unwrap()).collect()
    }

    fn open(lease: &Lease, dir: &Path) -> SealedFile {
        let target = dir.join("sealed");
        let mut spec = lease.write_spec("a").unwrap();
        spec.chunk_size = ChunkSize::MIN;
        lease.seal_file(&plaintext(), &target, true, &spec, 1, &()).unwrap();
        // Whether memory can be locked here is not the question.
        let protection = Protection::default().accepting(Weakening::UnlockedMemory);
        lease.open_parts(&target, &Expected::asset("a"), false, &protection).unwrap()
    }

    #[test]
    fn every_part_is_the_plaintexts() {
        let dir = tempfile::tempdir().unwrap();
        let lease = held(&Vault::new(1), 60);
        let file = open(&lease, dir.path());
        let plain = plaintext();
        assert_eq!(file.len(), plain.len() as u64);
        let mut buffer = vec![0; plain.len() + 10];
        for (offset, length) in [
            (0, 1),
            (1, 10),
            (CHUNK - 1, 2),
            (0, CHUNK),
            (CHUNK, 2 * CHUNK),
            (CHUNK + 5, 2 * CHUNK),
            (0, plain.len() + 10),
            (3 * CHUNK + 99, 10),
            (plain.len(), 5),
            (plain.len() + 1, 5),
            (7, 0),
        ] {
            let read = file.read_at(offset as u64, &mut buffer[..length]).unwrap();
            let expected = plain.get(offset..).map_or(&[][..], |rest| &rest[..length.min(rest.len())]);
            assert_eq!(&buffer[..read], expected, "{offset}, {length}");
        }
        assert_eq!(file.read_at(u64::MAX, &mut buffer).unwrap(), 0);
    }

    #[test]
    fn nothing_is_read_once_the_lease_is_over_and_nothing_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let lease = held(&Vault::new(1), 60);
        let file = open(&lease, dir.path());
        let mut buffer = [0; 10];
        assert_eq!(file.read_at(3, &mut buffer).unwrap(), 10);
        lease.inner.finish(LeaseOver::Revoked(None));
        assert!(matches!(file.read_at(3, &mut buffer), Err(Error::LeaseOver(LeaseOver::Revoked(None)))));
        assert_eq!(buffer, [0; 10]);
        assert!(file.cell.lock().is_none());
    }

    #[test]
    fn a_closed_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let lease = held(&Vault::new(1), 60);
        let file = open(&lease, dir.path());
        file.close();
        assert!(matches!(file.read_at(0, &mut [0; 3]), Err(Error::NoKey(_))));
    }

    #[test]
    fn a_chunk_that_fails_is_not_taken_for_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let lease = held(&Vault::new(1), 60);
        let file = open(&lease, dir.path());
        let path = dir.path().join("sealed");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4096 + CHUNK + 3] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let mut buffer = [9; 10];
        for _ in 0..2 {
            assert!(matches!(file.read_at(CHUNK as u64 + 1, &mut buffer), Err(Error::Sealed(_))));
            assert_eq!(buffer, [0; 10]);
        }
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 10);
    }
}
