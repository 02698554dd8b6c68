//! Sealing a stream while the lease lives.

use crate::{Error, Lease, lease::Inner};
use std::{
    io::{self, Write},
    sync::Arc,
};
use strongroom_protocol::ObjectId;
use strongroom_sealed::{WriteSpec, Writer, Written};

/// Seals what is written to it, for pipes and uploads, where the length is not known beforehand. The sink
/// gets header, chunks and index in order; until [`SealStream::finish`] what it got cannot be opened.
///
/// Once the lease is over no further chunk is sealed: a write ends in an [`io::Error`] that holds the
/// [`Error`] (`error.get_ref()`), plaintext that did not fill a chunk yet is zeroed, and the keys are gone.
/// What the sink got then has no end, which readers call `Truncated`. Any other error poisons the stream too.
pub struct SealStream<W> {
    /// None once the lease was found to be over.
    writer: Option<Writer<W>>,
    lease: Arc<Inner>,
    object: ObjectId,
    /// No more is taken at once, so that the lease is looked at for each chunk.
    chunk: usize,
}

impl Lease {
    /// A stream that seals what is written to it, and stops at the next chunk once the lease is over.
    pub fn seal_stream<W: Write>(&self, sink: W, spec: WriteSpec) -> Result<SealStream<W>, Error> {
        let (key, _) = self.inner.writer_key(&spec.asset)?;
        let chunk = usize::try_from(spec.chunk_size.bytes()).unwrap_or(usize::MAX);
        let writer = Writer::create(sink, &key, spec)?;
        Ok(SealStream { object: writer.object(), writer: Some(writer), lease: Arc::clone(&self.inner), chunk })
    }
}

impl<W: Write> SealStream<W> {
    /// The object that is being written.
    pub fn object(&self) -> ObjectId {
        self.object
    }

    /// Seals what is left, writes index and trailer, flushes, and gives the sink back.
    pub fn finish(mut self) -> Result<(Written, W), Error> {
        self.held()?;
        let writer = self.writer.take().ok_or_else(over)?;
        Ok(writer.finish()?)
    }

    /// The stream below, while the lease lives.
    fn held(&mut self) -> Result<&mut Writer<W>, Error> {
        if let Err(over) = self.lease.check() {
            // Its keys and its plaintext are zeroed.
            self.writer = None;
            return Err(over.into());
        }
        self.writer.as_mut().ok_or_else(over)
    }
}

impl<W: Write> Write for SealStream<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        let taken = plaintext.get(..self.chunk).unwrap_or(plaintext);
        self.held().map_err(io::Error::other)?.write(taken)
    }

    /// Flushes the sink; plaintext that does not fill a chunk stays here.
    fn flush(&mut self) -> io::Result<()> {
        self.held().map_err(io::Error::other)?.flush()
    }
}

fn over() -> Error {
    Error::NoKey("a stream that was ended with its lease".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LeaseOver, lease::tests::held, pinned::tests::Vault};
    use std::sync::{Arc, Mutex};
    use strongroom_memory::{Protection, Weakening};
    use strongroom_sealed::{ChunkSize, Expected, SealedError};

    const CHUNK: usize = 1 << 16;
    /// Bytes of a header.
    const HEADER: usize = 4096;

    /// Keeps what it gets, and may revoke the lease when it has got so many bytes.
    #[derive(Clone)]
    struct Sink {
        got: Arc<Mutex<Vec<u8>>>,
        revokes: Option<(usize, Arc<Inner>)>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut got = self.got.lock().unwrap();
            got.extend_from_slice(bytes);
            if let Some((_, lease)) = self.revokes.as_ref().filter(|(at, _)| got.len() >= *at) {
                lease.finish(LeaseOver::Revoked(Some("incident 17".into())));
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stream(lease: &Lease, revokes: Option<usize>) -> (SealStream<Sink>, Sink) {
        let sink = Sink { got: Arc::default(), revokes: revokes.map(|at| (at, Arc::clone(&lease.inner))) };
        let mut spec = lease.write_spec("a").unwrap();
        spec.chunk_size = ChunkSize::MIN;
        (lease.seal_stream(sink.clone(), spec).unwrap(), sink)
    }

    fn revoked(error: &io::Error) -> bool {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        matches!(inner, Some(Error::LeaseOver(LeaseOver::Revoked(Some(why)))) if why == "incident 17")
    }

    #[test]
    fn what_is_streamed_opens() {
        let dir = tempfile::tempdir().unwrap();
        let lease = held(&Vault::new(1), 60);
        let (mut stream, sink) = stream(&lease, None);
        let plain: Vec<u8> = (0..3 * CHUNK + 100).map(|i| u8::try_from(i % 251).unwrap()).collect();
        stream.write_all(&plain).unwrap();
        let object = stream.object();
        let (written, _) = stream.finish().unwrap();
        assert_eq!((written.object, written.len), (object, plain.len() as u64));
        let path = dir.path().join("sealed");
        std::fs::write(&path, &*sink.got.lock().unwrap()).unwrap();
        let protection = Protection::default().accepting(Weakening::UnlockedMemory);
        let opened = lease.open_file(&path, &Expected::asset("a"), false, 1, &protection, &()).unwrap();
        assert_eq!(&*opened.plaintext().unwrap(), plain.as_slice());
    }

    /// One write of many chunks: what is left of it is not sealed.
    #[test]
    fn a_stream_stops_at_the_next_chunk_once_its_lease_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let lease = held(&Vault::new(1), 60);
        let (mut stream, sink) = stream(&lease, Some(HEADER + 2 * CHUNK));
        let error = stream.write_all(&vec![7; 8 * CHUNK]).unwrap_err();
        assert!(revoked(&error), "{error:?}");
        assert_eq!(
            sink.got.lock().unwrap().len(),
            HEADER + 2 * CHUNK,
            "chunks were sealed under a lease that was over"
        );
        assert!(stream.writer.is_none(), "keys and plaintext are kept");
        assert!(revoked(&stream.write(b"more").unwrap_err()) && revoked(&stream.flush().unwrap_err()));
        assert!(matches!(stream.finish(), Err(Error::LeaseOver(_))));
        let path = dir.path().join("cut");
        std::fs::write(&path, &*sink.got.lock().unwrap()).unwrap();
        let lease = held(&Vault::new(1), 60);
        let protection = Protection::default().accepting(Weakening::UnlockedMemory);
        let opened = lease.open_file(&path, &Expected::asset("a"), false, 1, &protection, &());
        assert!(matches!(opened, Err(Error::Sealed(SealedError::Truncated { .. }))), "what was cut off opens");
    }

    /// Plaintext that waits for the rest of its chunk gets no end either.
    #[test]
    fn a_stream_is_not_finished_under_a_lease_that_is_over() {
        let lease = held(&Vault::new(1), 60);
        let (mut stream, sink) = stream(&lease, None);
        stream.write_all(b"less than a chunk").unwrap();
        lease.inner.finish(LeaseOver::Expired);
        assert!(matches!(stream.finish(), Err(Error::LeaseOver(LeaseOver::Expired))));
        assert!(sink.got.lock().unwrap().is_empty());
    }
}
