//! Sealing something large that can be read at positions: several threads, bounded memory.

use crate::{
    ReadAt, SealedError,
    geometry::{HASH, TAG, raise_chunk_size},
    header::HEADER,
    partial::PartialFile,
    plain_file::{ENDS_EARLY, check_plain_file},
    progress::{Progress, thread_count},
    sealing::{Object, Sealing, WriteSpec, Written},
};
use std::{
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use strongroom_envelope::WriterKey;
use zeroize::Zeroizing;

/// Seals all of `source` into a file at `target`, which appears whole or not at all.
///
/// `threads` (0: as many as the machine offers) hold one chunk each. `replace`: whether a file at
/// `target` is replaced. A source that changes its length meanwhile is `LengthChanged`; one that is a file is
/// held to [`check_plain_file`].
pub fn seal_file(
    source: &(impl ReadAt + ?Sized),
    target: &Path,
    replace: bool,
    key: &WriterKey,
    spec: &WriteSpec,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Written, SealedError> {
    check_file(source, target)?;
    let n = source_len(source)?;
    if let Some(expected) = spec.expected_len.filter(|expected| *expected != n) {
        return Err(SealedError::LengthChanged { expected, actual: n });
    }
    let chunk_size = raise_chunk_size(n, spec.chunk_size)?;
    let object = Object::new(key, spec)?;
    let partial = PartialFile::create(target, replace)?;
    let sealing = object.begin(spec, chunk_size)?;

    let chunks = n.div_ceil(chunk_size.bytes());
    let work = Work {
        source,
        target: partial.file(),
        sealing: &sealing,
        n,
        chunks,
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        tags: Mutex::new(table(chunks, TAG)?),
        hashes: Mutex::new(table(if spec.hashes { chunks } else { 0 }, HASH)?),
        hashed: spec.hashes,
        progress,
    };
    work.run_with(thread_count(threads, chunks))?;
    let actual = source_len(source)?;
    if actual != n {
        return Err(SealedError::LengthChanged { expected: n, actual });
    }
    // Once more: links may have been made, and a file of the kernel's may have got something to say.
    check_file(source, target)?;

    let tags = work.tags.into_inner().unwrap_or_else(PoisonError::into_inner);
    let hashes = work.hashes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (end, written) = sealing.finish(n, &tags, spec.hashes.then_some(hashes.as_slice()), &spec.metadata)?;
    write(partial.file(), &end, HEADER as u64 + n)?;
    write(partial.file(), sealing.header_bytes.as_slice(), 0)?;
    // The disk may take long; whether the file may have its name is asked once more after that.
    partial.sync()?;
    if progress.cancelled() {
        return Err(SealedError::Cancelled);
    }
    partial.commit()?;
    Ok(written)
}

struct Work<'w, S: ?Sized> {
    source: &'w S,
    target: &'w std::fs::File,
    sealing: &'w Sealing,
    n: u64,
    chunks: u64,
    /// The next chunk to be taken: each number is given out once.
    next: AtomicU64,
    stop: AtomicBool,
    tags: Mutex<Vec<u8>>,
    hashes: Mutex<Vec<u8>>,
    hashed: bool,
    progress: &'w dyn Progress,
}

impl<S: ReadAt + ?Sized> Work<'_, S> {
    fn run_with(&self, threads: usize) -> Result<(), SealedError> {
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(|| self.run())).collect();
            let mut result = self.run();
            for helper in helpers {
                // A panic cannot happen here; were there one, the scope would pass it on.
                if let (Ok(()), Ok(Err(error))) = (&result, helper.join()) {
                    result = Err(error);
                }
            }
            result
        })
    }

    /// Takes chunks until there are no more, or until a thread has failed.
    fn run(&self) -> Result<(), SealedError> {
        let size = self.sealing.header.chunk_size.len();
        let most = usize::try_from(self.n).map_or(size, |n| n.min(size));
        let mut buffer = Zeroizing::new(vec![0; most]);
        while !self.stop.load(Ordering::Relaxed) {
            let chunk = self.next.fetch_add(1, Ordering::Relaxed);
            if chunk >= self.chunks {
                break;
            }
            let sealed = if self.progress.cancelled() {
                Err(SealedError::Cancelled)
            } else {
                self.seal_chunk(chunk, &mut buffer)
            };
            match sealed {
                Ok(bytes) => self.progress.advanced(bytes),
                Err(error) => {
                    self.stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn seal_chunk(&self, chunk: u64, buffer: &mut [u8]) -> Result<u64, SealedError> {
        let start = chunk * self.sealing.header.chunk_size.bytes();
        let length = (self.n - start).min(buffer.len() as u64);
        let data = buffer.get_mut(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or_default();
        self.source.read_exact_at(data, start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => match self.source.len() {
                Ok(actual) if actual == self.n && self.source.as_file().is_some() => {
                    SealedError::NotWritable { what: ENDS_EARLY }
                }
                actual => SealedError::LengthChanged { expected: self.n, actual: actual.unwrap_or(start) },
            },
            _ => SealedError::from_io("read the plaintext", error),
        })?;
        let tag = self.sealing.seal_chunk(chunk, data)?;
        put(&self.tags, chunk, &tag);
        if self.hashed {
            put(&self.hashes, chunk, blake3::hash(data).as_bytes());
        }
        write(self.target, data, HEADER as u64 + start)?;
        Ok(length)
    }
}

fn check_file(source: &(impl ReadAt + ?Sized), target: &Path) -> Result<(), SealedError> {
    source.as_file().map_or(Ok(()), |file| check_plain_file(file, target).map(drop))
}

fn source_len(source: &(impl ReadAt + ?Sized)) -> Result<u64, SealedError> {
    source.len().map_err(|e| SealedError::from_io("find the plaintext's length", e))
}

/// Zeros for `chunks` entries; the number of chunks has been checked.
fn table(chunks: u64, each: usize) -> Result<Vec<u8>, SealedError> {
    let length = usize::try_from(chunks).unwrap_or(usize::MAX).saturating_mul(each);
    let mut table = Vec::new();
    table.try_reserve_exact(length).map_err(|_| SealedError::Io {
        doing: "allocate memory for the index",
        source: io::ErrorKind::OutOfMemory.into(),
    })?;
    table.resize(length, 0);
    Ok(table)
}

fn put<const N: usize>(table: &Mutex<Vec<u8>>, chunk: u64, entry: &[u8; N]) {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let (entries, _) = table.as_chunks_mut::<N>();
    // INVARIANT: the table has an entry for each chunk number that is given out.
    if let Some(place) = usize::try_from(chunk).ok().and_then(|chunk| entries.get_mut(chunk)) {
        *place = *entry;
    }
}

fn write(file: &std::fs::File, bytes: &[u8], at: u64) -> Result<(), SealedError> {
    file.write_all_at(bytes, at).map_err(|e| SealedError::from_io("write the sealed file", e))
}
