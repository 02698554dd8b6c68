//! Opening a sealed file: first without a key, then with it, then its plaintext.

use crate::{
    ReadAt, SealedError,
    aead::Engine,
    derivation::ObjectKeys,
    fetch,
    geometry::{Geometry, HASH, TAG},
    header::{HEADER, Header, read_header},
    index::{Index, Metadata},
    progress::Progress,
    runs::{Piece, Runs},
};
use std::hint::black_box;
use strongroom_envelope::ObjectKey;
use strongroom_protocol::ObjectId;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What the caller expects to open. The header of a file is untrusted and may name anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Asset name.
    pub asset: String,
    /// Key version, where the caller knows it.
    pub version: Option<u32>,
    /// Object id, where the caller knows it: from a manifest, or from having written it.
    pub object: Option<ObjectId>,
}

impl Expected {
    /// Any version and object of `asset`. It does not catch an older object of the same asset.
    pub fn asset(name: impl Into<String>) -> Self {
        Self { asset: name.into(), version: None, object: None }
    }

    fn check(&self, header: &Header) -> Result<(), SealedError> {
        let replaced =
            |what, expected: String, found: String| Err(SealedError::ObjectReplaced { what, expected, found });
        if self.asset != header.asset {
            return replaced("asset", self.asset.clone(), header.asset.clone());
        }
        match self.version {
            Some(version) if version != header.version => {
                return replaced("version", version.to_string(), header.version.to_string());
            }
            _ => {}
        }
        match self.object {
            Some(object) if object != header.object => {
                replaced("object", object.to_string(), header.object.to_string())
            }
            _ => Ok(()),
        }
    }
}

/// What can be said of a file without its key; none of it is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The header.
    pub header: Header,
    /// The plaintext's length, bytes.
    pub len: u64,
    /// How many chunks there are.
    pub chunks: u64,
    /// The encrypted index's length, its tag included, bytes.
    pub index_len: u64,
    /// The whole file's length, bytes.
    pub file_len: u64,
}

/// Reads and checks header, trailer and sizes, for which no key is needed.
pub fn inspect(source: &(impl ReadAt + ?Sized)) -> Result<Inspection, SealedError> {
    let header = Header::peek(source)?;
    let geometry = Geometry::read(source, header.chunk_size)?;
    Ok(Inspection {
        header,
        len: geometry.n,
        chunks: geometry.chunks(),
        index_len: geometry.index_len,
        file_len: geometry.file_len(),
    })
}

/// A file that is what the caller expects as far as can be seen without its key.
pub struct Opening<S> {
    source: S,
    bytes: Box<[u8; HEADER]>,
    header: Header,
    geometry: Geometry,
    require_hashes: bool,
    engine: Option<Engine>,
}

impl<S: ReadAt> Opening<S> {
    /// Reads header and trailer, compares them with what is expected, and checks all sizes.
    ///
    /// Ask for the key only after this: [`Self::header`] names object and writer.
    pub fn start(source: S, expected: &Expected) -> Result<Self, SealedError> {
        let bytes = read_header(&source)?;
        let header = Header::parse(&bytes)?;
        expected.check(&header)?;
        let geometry = Geometry::read(&source, header.chunk_size)?;
        Ok(Self { source, bytes, header, geometry, require_hashes: false, engine: None })
    }

    /// Refuses files without chunk hashes: for assets declared `integrity: hashed`.
    #[must_use]
    pub fn require_hashes(mut self, require: bool) -> Self {
        self.require_hashes = require;
        self
    }

    /// Decrypts with this library instead of the faster one: for tests and measurements.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// The header, which names object, writer, version and asset. Not authenticated yet.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The plaintext's length, bytes: how much memory to prepare. Not authenticated yet.
    pub fn len(&self) -> u64 {
        self.geometry.n
    }

    /// Whether the plaintext is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Compares the key commitment, in constant time, then decrypts and checks the index.
    pub fn with_key(self, key: &ObjectKey) -> Result<Reader<S>, SealedError> {
        let Self { source, bytes, header, geometry, require_hashes, engine } = self;
        let keys = ObjectKeys::derive(key, &header, &bytes)?;
        if !bool::from(keys.commitment.expose().ct_eq(&header.commitment)) {
            return Err(SealedError::WrongKey);
        }
        let engine = engine.unwrap_or_else(Engine::fastest);
        let encrypted = read_index(&source, &geometry)?;
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        digest.update(bytes.as_slice());
        digest.update(&encrypted);
        let index = Index::open(&keys, &keys.index(engine)?, &geometry, encrypted)?;
        if require_hashes && !index.has_hashes() {
            return Err(SealedError::HashesMissing);
        }
        let digest = digest.finish().as_ref().try_into().unwrap_or_default();
        Ok(Reader { source, header, geometry, keys, index, engine, digest })
    }
}

/// Reads the encrypted index into memory of its size, which was checked against the file's.
fn read_index(source: &impl ReadAt, geometry: &Geometry) -> Result<Zeroizing<Vec<u8>>, SealedError> {
    let length = usize::try_from(geometry.index_len).unwrap_or(usize::MAX);
    let mut encrypted = Zeroizing::new(Vec::new());
    encrypted.try_reserve_exact(length).map_err(|_| SealedError::Io {
        doing: "allocate memory for the index",
        source: std::io::ErrorKind::OutOfMemory.into(),
    })?;
    encrypted.resize(length, 0);
    fetch::read_ciphertext(source, &mut encrypted, geometry.index_at(), geometry)?;
    Ok(encrypted)
}

/// An opened file: key and index have verified. No `Debug`, no `Clone`.
///
/// Every read either fills the caller's destination with verified plaintext, or zeroes all of it and fails.
pub struct Reader<S> {
    pub(crate) source: S,
    header: Header,
    pub(crate) geometry: Geometry,
    pub(crate) keys: ObjectKeys,
    pub(crate) index: Index,
    pub(crate) engine: Engine,
    digest: [u8; 32],
}

impl<S: ReadAt> Reader<S> {
    /// The header, now authenticated.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The plaintext's length, bytes.
    pub fn len(&self) -> u64 {
        self.geometry.n
    }

    /// Whether the plaintext is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of all chunks but the last, bytes.
    pub fn chunk_size(&self) -> u64 {
        self.geometry.chunk_size.bytes()
    }

    /// Whether the file has chunk hashes; if so they are checked, required or not.
    pub fn has_hashes(&self) -> bool {
        self.index.has_hashes()
    }

    /// Name, media type, time of sealing.
    pub fn metadata(&self) -> &Metadata {
        &self.index.metadata
    }

    /// SHA-256 of header and encrypted index: names this very writing, as a manifest does.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The library that decrypts.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Decrypts all of the plaintext into `dest`, which has exactly [`Self::len`] bytes, with
    /// `threads` threads (0: as many as the machine offers). On any error all of `dest` is zeroed.
    pub fn read_into(&self, dest: &mut [u8], threads: usize, progress: &dyn Progress) -> Result<(), SealedError> {
        if dest.len() as u64 != self.len() {
            dest.fill(0);
            return Err(SealedError::OutOfRange { offset: 0, length: dest.len() as u64, len: self.len() });
        }
        self.read_ranges(&mut [(0, dest)], threads, progress)
    }

    /// Decrypts the plaintext from byte `offset` on into `dest`, reading only the chunks that it
    /// touches, in the calling thread. On any error all of `dest` is zeroed.
    pub fn read_range(&self, offset: u64, dest: &mut [u8]) -> Result<(), SealedError> {
        self.read_ranges(&mut [(offset, dest)], 1, &())
    }

    /// Decrypts several parts of the plaintext, each given by its offset and destination, in any
    /// order. A chunk that several of them touch is read once, and neighbouring chunks together if
    /// the source likes that ([`ReadAt::request_size`]). On any error all destinations are zeroed.
    pub fn read_ranges(
        &self,
        ranges: &mut [(u64, &mut [u8])],
        threads: usize,
        progress: &dyn Progress,
    ) -> Result<(), SealedError> {
        let result = self.try_read_ranges(ranges, threads, progress);
        if result.is_err() {
            for (_, dest) in ranges {
                dest.fill(0);
                // So that the compiler keeps the zeros, whatever the caller does with them.
                black_box(&mut **dest);
            }
        }
        result
    }

    fn try_read_ranges(
        &self,
        ranges: &mut [(u64, &mut [u8])],
        threads: usize,
        progress: &dyn Progress,
    ) -> Result<(), SealedError> {
        let len = self.len();
        for (offset, dest) in &*ranges {
            let length = dest.len() as u64;
            if offset.checked_add(length).is_none_or(|end| end > len) {
                return Err(SealedError::OutOfRange { offset: *offset, length, len });
            }
        }
        let pieces = ranges.iter_mut().map(|(offset, dest)| Piece { offset: *offset, dest });
        fetch::read(self, Runs::new(pieces, self.chunk_size(), self.source.request_size()), threads, progress)
    }
}

// Tags and hashes are read from the index as arrays of these lengths.
const _: () = assert!(TAG == 16 && HASH == 32);
