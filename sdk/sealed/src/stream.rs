//! Reading the plaintext as a stream that can seek.

use crate::{ReadAt, SealedError, reader::Reader};
use std::{
    io::{self, BufRead, Read, Seek, SeekFrom},
    sync::Arc,
};
use zeroize::Zeroizing;

/// `Read`, `BufRead` and `Seek` over the plaintext of a [`Reader`]. It holds one chunk, overwritten by
/// the next one and zeroed on drop; reads of whole chunks go to the caller's buffer directly.
///
/// Errors travel as [`io::Error`]; [`SealedError::from_io`] takes them out again.
pub struct SealedRead<S> {
    reader: Arc<Reader<S>>,
    chunk: Zeroizing<Vec<u8>>,
    /// Where `chunk` begins in the plaintext.
    chunk_at: u64,
    position: u64,
}

impl<S: ReadAt> SealedRead<S> {
    /// Starts at byte 0. Several streams may share a reader.
    pub fn new(reader: impl Into<Arc<Reader<S>>>) -> Self {
        Self { reader: reader.into(), chunk: Zeroizing::new(Vec::new()), chunk_at: 0, position: 0 }
    }

    /// The reader below.
    pub fn reader(&self) -> &Arc<Reader<S>> {
        &self.reader
    }

    fn load(&mut self) -> Result<&[u8], SealedError> {
        let len = self.reader.len();
        let loaded = self.chunk_at..self.chunk_at + self.chunk.len() as u64;
        if self.position < len && !loaded.contains(&self.position) {
            let size = self.reader.chunk_size();
            let start = self.position / size * size;
            let length = usize::try_from(size.min(len - start)).unwrap_or(usize::MAX);
            if self.chunk.len() != length {
                self.chunk = Zeroizing::new(vec![0; length]);
            }
            // Should the read fail, the zeros in the buffer must not pass for a chunk.
            self.chunk_at = u64::MAX - size;
            self.reader.read_range(start, &mut self.chunk)?;
            self.chunk_at = start;
        }
        let from = self.position.checked_sub(self.chunk_at).and_then(|from| usize::try_from(from).ok());
        Ok(from.and_then(|from| self.chunk.get(from..)).unwrap_or_default())
    }
}

impl<S: ReadAt> Read for SealedRead<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.reader.chunk_size();
        let left = self.reader.len().saturating_sub(self.position);
        let fits = left.min(buffer.len() as u64);
        let whole = if fits == left { fits } else { fits / size * size };
        if whole >= size && self.position.is_multiple_of(size) {
            let length = usize::try_from(whole).unwrap_or(usize::MAX);
            let direct = buffer.get_mut(..length).unwrap_or_default();
            self.reader.read_range(self.position, direct)?;
            self.position += whole;
            return Ok(length);
        }
        let mut available = self.load()?;
        let length = available.read(buffer)?;
        self.position += length as u64;
        Ok(length)
    }
}

impl<S: ReadAt> BufRead for SealedRead<S> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.load()?)
    }

    fn consume(&mut self, amount: usize) {
        self.position = self.position.saturating_add(amount as u64).min(self.reader.len());
    }
}

impl<S: ReadAt> Seek for SealedRead<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.reader.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
