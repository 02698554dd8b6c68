//! Reads runs of ciphertext and decrypts them at their final place, by several threads.

use crate::{
    ReadAt, SealedError,
    aead::BulkKey,
    geometry::{Geometry, TAG},
    header::HEADER,
    progress::{Progress, thread_count},
    reader::Reader,
    runs::{Run, Runs},
    source::ALIGNMENT,
};
use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use zeroize::Zeroizing;

/// Reads all `runs`. After an error the destinations hold anything: the caller zeroes them.
pub(crate) fn read<S: ReadAt>(
    reader: &Reader<S>,
    runs: Runs<'_>,
    threads: usize,
    progress: &dyn Progress,
) -> Result<(), SealedError> {
    let threads = thread_count(threads, runs.estimate());
    let work = Work {
        reader,
        bulk: reader.keys.data(reader.engine)?,
        runs: Mutex::new(runs),
        stop: AtomicBool::new(false),
        progress,
    };
    if threads == 1 {
        return work.run();
    }
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(|| work.run())).collect();
        let mut result = work.run();
        for helper in helpers {
            // A panic cannot happen here; were there one, the scope would pass it on.
            if let (Ok(()), Ok(Err(error))) = (&result, helper.join()) {
                result = Err(error);
            }
        }
        result
    })
}

/// Fills `buffer` from the file. The file's size was checked when it was opened, so an end that
/// comes too early means that it was cut since.
pub(crate) fn read_ciphertext(
    source: &impl ReadAt,
    buffer: &mut [u8],
    at: u64,
    geometry: &Geometry,
) -> Result<(), SealedError> {
    source.read_exact_at(buffer, at).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            let actual = source.len().unwrap_or(at);
            SealedError::Truncated { expected: Some(geometry.file_len()), actual }
        } else {
            SealedError::from_io("read ciphertext", error)
        }
    })
}

struct Work<'w, 'd, S> {
    reader: &'w Reader<S>,
    bulk: BulkKey,
    runs: Mutex<Runs<'d>>,
    stop: AtomicBool,
    progress: &'w dyn Progress,
}

impl<S: ReadAt> Work<'_, '_, S> {
    /// Takes runs until there are no more, or until a thread has failed.
    fn run(&self) -> Result<(), SealedError> {
        let mut buffers = Buffers::default();
        while !self.stop.load(Ordering::Relaxed) {
            let run = self.runs.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(run) = run else { break };
            let done =
                if self.progress.cancelled() { Err(SealedError::Cancelled) } else { self.open_run(run, &mut buffers) };
            match done {
                Ok(bytes) => self.progress.advanced(bytes),
                Err(error) => {
                    self.stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Reads and decrypts one run; the number of bytes that were wanted of it.
    fn open_run(&self, mut run: Run<'_>, buffers: &mut Buffers) -> Result<u64, SealedError> {
        let geometry = &self.reader.geometry;
        let start = run.first * geometry.chunk_size.bytes();
        let end = geometry.chunk_end(run.end - 1);
        let length = usize::try_from(end - start).unwrap_or(usize::MAX);
        if let [piece] = run.pieces.as_mut_slice()
            && piece.offset == start
            && piece.dest.len() == length
        {
            if run.end - run.first == 1 && self.bulk.opens_out_of_place() {
                self.open_staged(run.first, piece.dest, buffers.staging(geometry.chunk_size.len(), length))?;
            } else {
                self.open_chunks(run.first, piece.dest)?;
            }
            return Ok(end - start);
        }
        let opened = buffers.bounce(length);
        self.open_chunks(run.first, opened)?;
        let mut wanted = 0;
        for piece in run.pieces {
            let from = usize::try_from(piece.offset - start).unwrap_or(usize::MAX);
            let part = opened.get(from..).and_then(|rest| rest.get(..piece.dest.len()));
            // INVARIANT: a run's pieces lie within its chunks.
            let Some(part) = part else { continue };
            piece.dest.copy_from_slice(part);
            wanted += part.len() as u64;
        }
        Ok(wanted)
    }

    /// Reads the ciphertext of one chunk into `staging`, which stays in the core's cache from chunk
    /// to chunk, and decrypts from there to `place`. Decrypting in place would fetch from memory
    /// what the read has just pushed out to it.
    fn open_staged(&self, chunk: u64, place: &mut [u8], staging: &mut [u8]) -> Result<(), SealedError> {
        let Reader { source, keys, geometry, .. } = self.reader;
        read_ciphertext(source, staging, HEADER as u64 + chunk * geometry.chunk_size.bytes(), geometry)?;
        let tag = self.check_hash(chunk, staging)?;
        let opened = self.bulk.open_out_of_place(keys.chunk_nonce(chunk), tag, staging, place);
        if opened { Ok(()) } else { Err(self.tampered(chunk)) }
    }

    /// Fills `place` with the ciphertext of whole chunks from `first` on, and decrypts it there.
    fn open_chunks(&self, first: u64, place: &mut [u8]) -> Result<(), SealedError> {
        let Reader { source, keys, geometry, .. } = self.reader;
        let offset = first * geometry.chunk_size.bytes();
        read_ciphertext(source, place, HEADER as u64 + offset, geometry)?;
        for (chunk, place) in (first..).zip(place.chunks_mut(geometry.chunk_size.len())) {
            let tag = self.check_hash(chunk, place)?;
            if !self.bulk.open_in_place(keys.chunk_nonce(chunk), b"", tag, place) {
                return Err(self.tampered(chunk));
            }
        }
        Ok(())
    }

    /// The chunk's tag, once its ciphertext is known to have the hash that the index gives, if any.
    fn check_hash(&self, chunk: u64, ciphertext: &[u8]) -> Result<&[u8; TAG], SealedError> {
        let index = &self.reader.index;
        if index.has_hashes() && index.hash(chunk) != Some(blake3::hash(ciphertext).as_bytes()) {
            return Err(SealedError::HashMismatch { chunk });
        }
        index.tag(chunk).ok_or_else(|| self.tampered(chunk))
    }

    fn tampered(&self, chunk: u64) -> SealedError {
        SealedError::ChunkTampered { chunk, offset: chunk * self.reader.geometry.chunk_size.bytes() }
    }
}

/// What one thread needs besides the destination; empty until it does.
#[derive(Default)]
struct Buffers {
    /// Ciphertext of one chunk.
    staging: Vec<u8>,
    /// Plaintext of chunks of which only parts are wanted.
    bounce: Zeroizing<Vec<u8>>,
}

impl Buffers {
    /// `length` bytes at a page boundary, for sources that read past the page cache.
    fn staging(&mut self, chunk_size: usize, length: usize) -> &mut [u8] {
        if self.staging.is_empty() {
            self.staging = vec![0; chunk_size + ALIGNMENT];
        }
        let at = self.staging.as_ptr().align_offset(ALIGNMENT);
        self.staging.get_mut(at..).and_then(|rest| rest.get_mut(..length)).unwrap_or_default()
    }

    fn bounce(&mut self, length: usize) -> &mut [u8] {
        if self.bounce.len() < length {
            // A fresh buffer: growing the old one would leave its plaintext behind.
            self.bounce = Zeroizing::new(vec![0; length]);
        }
        self.bounce.get_mut(..length).unwrap_or_default()
    }
}
