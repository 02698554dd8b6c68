//! Sealing a stream: chunk by chunk into anything that takes bytes in order, the index at the end.

use crate::{
    SealedError,
    geometry::raise_chunk_size,
    header::ChunkSize,
    sealing::{Object, Sealing, WriteSpec, Written, check_plaintext_len},
};
use std::{
    io::{self, Write},
    mem,
};
use strongroom_envelope::WriterKey;
use strongroom_protocol::ObjectId;
use zeroize::Zeroizing;

/// Seals what is written to it. The sink gets the header, the chunks and the index in order, so it
/// may be a pipe or a multipart upload; until [`Self::finish`] what it got cannot be opened.
///
/// After any error the writer is poisoned: nothing is encrypted twice under one salt. A writer that
/// is dropped instead of finished leaves a file without an end, which readers call `Truncated`.
/// Errors travel as [`io::Error`]; [`SealedError::from_io`] takes them out again.
pub struct Writer<W> {
    sink: W,
    spec: WriteSpec,
    chunk_size: ChunkSize,
    state: State,
    /// Plaintext that does not fill a chunk yet.
    chunk: Zeroizing<Vec<u8>>,
    object: ObjectId,
    n: u64,
    tags: Vec<u8>,
    hashes: Vec<u8>,
}

enum State {
    /// Nothing has been encrypted, and no salt drawn.
    Fresh(Object),
    Begun(Box<Sealing>),
    Poisoned(&'static str),
}

impl<W: Write> Writer<W> {
    /// Prepares a new object under the writer key. Nothing is written to `sink` before the first chunk.
    pub fn create(sink: W, key: &WriterKey, spec: WriteSpec) -> Result<Self, SealedError> {
        let chunk_size = match spec.expected_len {
            Some(n) => raise_chunk_size(n, spec.chunk_size)?,
            None => spec.chunk_size,
        };
        let object = Object::new(key, &spec)?;
        Ok(Self {
            sink,
            chunk_size,
            object: object.id,
            state: State::Fresh(object),
            // Of its final size from the start: a buffer that grows leaves plaintext behind.
            chunk: Zeroizing::new(Vec::with_capacity(chunk_size.len())),
            n: 0,
            tags: Vec::new(),
            hashes: Vec::new(),
            spec,
        })
    }

    /// The object that is being written.
    pub fn object(&self) -> ObjectId {
        self.object
    }

    /// How many bytes of plaintext have been taken.
    pub fn taken(&self) -> u64 {
        self.n
    }

    /// Seals what is left, writes index and trailer, flushes, and gives the sink back.
    pub fn finish(mut self) -> Result<(Written, W), SealedError> {
        let written = self.guarded(|writer| {
            if let Some(expected) = writer.spec.expected_len.filter(|expected| *expected != writer.n) {
                return Err(SealedError::LengthChanged { expected, actual: writer.n });
            }
            writer.seal_chunk_if(|chunk| !chunk.is_empty())?;
            writer.begin()?;
            let State::Begun(sealing) = &writer.state else { return Err(poisoned()) };
            let hashes = writer.spec.hashes.then_some(writer.hashes.as_slice());
            let (end, written) = sealing.finish(writer.n, &writer.tags, hashes, &writer.spec.metadata)?;
            write(&mut writer.sink, &end)?;
            writer.sink.flush().map_err(|e| SealedError::from_io("flush the sealed file", e))?;
            Ok(written)
        })?;
        Ok((written, self.sink))
    }

    /// Does a step; when it fails, no further step is possible.
    fn guarded<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, SealedError>) -> Result<T, SealedError> {
        if let State::Poisoned(why) = self.state {
            return Err(SealedError::Poisoned { why });
        }
        let result = step(self);
        if let Err(error) = &result {
            let why = match error {
                SealedError::Poisoned { why } => why,
                _ => "an earlier write failed",
            };
            self.state = State::Poisoned(why);
        }
        result
    }

    fn take(&mut self, mut plaintext: &[u8]) -> Result<(), SealedError> {
        self.check_owner()?;
        let n = self.n.saturating_add(plaintext.len() as u64);
        check_plaintext_len(n)?;
        if let Some(expected) = self.spec.expected_len.filter(|expected| *expected < n) {
            return Err(SealedError::LengthChanged { expected, actual: n });
        }
        self.n = n;
        let size = self.chunk_size.len();
        while !plaintext.is_empty() {
            let (now, later) = plaintext.split_at(plaintext.len().min(size - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            plaintext = later;
            self.seal_chunk_if(|chunk| chunk.len() == size)?;
        }
        Ok(())
    }

    fn seal_chunk_if(&mut self, ready: impl FnOnce(&[u8]) -> bool) -> Result<(), SealedError> {
        if !ready(&self.chunk) {
            return Ok(());
        }
        self.begin()?;
        let State::Begun(sealing) = &self.state else { return Err(poisoned()) };
        let number = (self.tags.len() / 16) as u64;
        let tag = sealing.seal_chunk(number, &mut self.chunk)?;
        self.tags.extend_from_slice(&tag);
        if self.spec.hashes {
            self.hashes.extend_from_slice(blake3::hash(&self.chunk).as_bytes());
        }
        write(&mut self.sink, &self.chunk)?;
        self.chunk.clear();
        Ok(())
    }

    /// Draws the salt and writes the header, unless that has been done.
    fn begin(&mut self) -> Result<(), SealedError> {
        if !matches!(self.state, State::Fresh(_)) {
            return Ok(());
        }
        let State::Fresh(object) = mem::replace(&mut self.state, State::Poisoned("an earlier write failed")) else {
            return Ok(());
        };
        let sealing = object.begin(&self.spec, self.chunk_size)?;
        write(&mut self.sink, sealing.header_bytes.as_slice())?;
        self.state = State::Begun(Box::new(sealing));
        Ok(())
    }

    fn check_owner(&self) -> Result<(), SealedError> {
        match &self.state {
            State::Fresh(object) => object.check_owner(),
            State::Begun(sealing) => sealing.check_owner(),
            State::Poisoned(why) => Err(SealedError::Poisoned { why }),
        }
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        self.guarded(|writer| writer.take(plaintext))?;
        Ok(plaintext.len())
    }

    /// Flushes the sink; plaintext that does not fill a chunk stays here.
    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

fn write(sink: &mut impl Write, bytes: &[u8]) -> Result<(), SealedError> {
    sink.write_all(bytes).map_err(|e| SealedError::from_io("write the sealed file", e))
}

fn poisoned() -> SealedError {
    SealedError::Poisoned { why: "an earlier write failed" }
}
