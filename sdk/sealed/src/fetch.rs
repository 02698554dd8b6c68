//! Reads runs of ciphertext and decrypts them at their final place, by several threads.

use crate::{
    ReadAt, SealedError,
    aead::BulkKey,
    geometry::Geometry,
    header::HEADER,
    progress::{Progress, thread_count},
    reader::Reader,
    runs::{Run, Runs},
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
        let mut bounce = Zeroizing::new(Vec::new());
        while !self.stop.load(Ordering::Relaxed) {
            let run = self.runs.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(run) = run else { break };
            let done =
                if self.progress.cancelled() { Err(SealedError::Cancelled) } else { self.open_run(run, &mut bounce) };
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
    fn open_run(&self, mut run: Run<'_>, bounce: &mut Zeroizing<Vec<u8>>) -> Result<u64, SealedError> {
        let geometry = &self.reader.geometry;
        let start = run.first * geometry.chunk_size.bytes();
        let end = geometry.chunk_end(run.end - 1);
        let length = usize::try_from(end - start).unwrap_or(usize::MAX);
        if let [piece] = run.pieces.as_mut_slice()
            && piece.offset == start
            && piece.dest.len() == length
        {
            self.open_chunks(run.first, piece.dest)?;
            return Ok(end - start);
        }
        if bounce.len() < length {
            // A fresh buffer: growing the old one would leave its plaintext behind.
            *bounce = Zeroizing::new(vec![0; length]);
        }
        let opened = bounce.get_mut(..length).unwrap_or_default();
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

    /// Fills `place` with the ciphertext of whole chunks from `first` on, and decrypts it there.
    fn open_chunks(&self, first: u64, place: &mut [u8]) -> Result<(), SealedError> {
        let Reader { source, geometry, .. } = self.reader;
        let offset = first * geometry.chunk_size.bytes();
        read_ciphertext(source, place, HEADER as u64 + offset, geometry)?;
        for (chunk, place) in (first..).zip(place.chunks_mut(geometry.chunk_size.len())) {
            self.open_chunk(chunk, place)?;
        }
        Ok(())
    }

    fn open_chunk(&self, chunk: u64, place: &mut [u8]) -> Result<(), SealedError> {
        let Reader { index, keys, geometry, .. } = self.reader;
        let tampered = SealedError::ChunkTampered { chunk, offset: chunk * geometry.chunk_size.bytes() };
        if index.has_hashes() && index.hash(chunk) != Some(blake3::hash(place).as_bytes()) {
            return Err(SealedError::HashMismatch { chunk });
        }
        let Some(tag) = index.tag(chunk) else { return Err(tampered) };
        if self.bulk.open_in_place(keys.chunk_nonce(chunk), b"", tag, place) { Ok(()) } else { Err(tampered) }
    }
}
