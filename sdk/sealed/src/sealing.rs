//! One writing of one object: its salt, its keys, its tags. Used by every way of writing.

use crate::{
    SealedError,
    aead::{BulkKey, Engine},
    derivation::ObjectKeys,
    geometry::{CHUNKS_MAX, Geometry, PLAINTEXT_MAX, TAG},
    header::{ChunkSize, HEADER, Header},
    index::{Draft, Metadata, TEXT_MAX},
    owner::{Generation, Owner},
};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use strongroom_envelope::{ObjectKey, WriterKey};
use strongroom_protocol::{ObjectId, WriterId};

/// What to write. Start from [`WriteSpec::new`] and set what differs.
#[derive(Clone)]
#[non_exhaustive]
pub struct WriteSpec {
    /// Asset name, 1 to 255 bytes.
    pub asset: String,
    /// Key version that the writer key is of.
    pub version: u32,
    /// The writer: the id of the lease that gave the writer key.
    pub writer: WriterId,
    /// The object; random unless given.
    pub object: Option<ObjectId>,
    /// The wanted chunk size; raised where the plaintext's known length needs more than 2^26 chunks.
    pub chunk_size: ChunkSize,
    /// The plaintext's length, where it is known beforehand; anything else is then refused.
    pub expected_len: Option<u64>,
    /// Whether to store a BLAKE3 hash of each chunk's ciphertext: needed for assets declared
    /// `integrity: hashed`, where readers do not trust one another.
    pub hashes: bool,
    /// Name, media type, time of sealing.
    pub metadata: Metadata,
    /// The library that encrypts; the faster one unless given.
    pub engine: Option<Engine>,
    /// How to notice that the virtual machine was resumed.
    pub generation: Option<Arc<dyn Generation>>,
}

impl WriteSpec {
    /// A random object of `asset@version`, chunks of 1 MiB, no hashes, no metadata.
    pub fn new(asset: impl Into<String>, version: u32, writer: WriterId) -> Self {
        Self {
            asset: asset.into(),
            version,
            writer,
            object: None,
            chunk_size: ChunkSize::default(),
            expected_len: None,
            hashes: false,
            metadata: Metadata::default(),
            engine: None,
            generation: None,
        }
    }

    /// Refuses what cannot be written, before anything is.
    pub(crate) fn check(&self) -> Result<(), SealedError> {
        let not_writable = |what| Err(SealedError::NotWritable { what });
        if !(1..=255).contains(&self.asset.len()) {
            return not_writable("an asset name has 1 to 255 bytes");
        }
        let texts = [&self.metadata.name, &self.metadata.media_type];
        if texts.into_iter().flatten().any(|text| text.len() > TEXT_MAX) {
            return not_writable("name and media type have at most 4,096 bytes");
        }
        Ok(())
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The object.
    pub object: ObjectId,
    /// Who wrote it.
    pub writer: WriterId,
    /// The plaintext's length, bytes.
    pub len: u64,
    /// The file's length, bytes.
    pub file_len: u64,
    /// SHA-256 of header and encrypted index: names this very writing, as a manifest does.
    pub digest: [u8; 32],
}

/// An object whose salt has been drawn. Each chunk is sealed once.
pub(crate) struct Sealing {
    pub(crate) header: Header,
    pub(crate) header_bytes: Box<[u8; HEADER]>,
    keys: ObjectKeys,
    data: BulkKey,
    owner: Owner,
    engine: Engine,
}

/// The object's id and key: made before the salt is drawn.
pub(crate) struct Object {
    pub(crate) id: ObjectId,
    key: ObjectKey,
    owner: Owner,
}

impl Object {
    pub(crate) fn new(key: &WriterKey, spec: &WriteSpec) -> Result<Self, SealedError> {
        spec.check()?;
        let id = match spec.object {
            Some(id) => id,
            None => ObjectId::from(random()?),
        };
        Ok(Self { id, key: key.object_key(id), owner: Owner::new(spec.generation.clone())? })
    }

    /// Whether this process, in this life of the machine, may still write the object.
    pub(crate) fn check_owner(&self) -> Result<(), SealedError> {
        self.owner.check()
    }

    /// Draws the salt and derives the keys: immediately before the first encryption.
    pub(crate) fn begin(self, spec: &WriteSpec, chunk_size: ChunkSize) -> Result<Sealing, SealedError> {
        self.owner.check()?;
        let salt = random()?;
        self.begin_with(spec, chunk_size, salt)
    }

    /// For known answers. A salt is never given from outside this crate.
    pub(crate) fn begin_with(
        self,
        spec: &WriteSpec,
        chunk_size: ChunkSize,
        salt: [u8; 24],
    ) -> Result<Sealing, SealedError> {
        let mut header = Header {
            object: self.id,
            writer: spec.writer,
            salt,
            commitment: [0; 32],
            version: spec.version,
            asset: spec.asset.clone(),
            chunk_size,
        };
        let keys = ObjectKeys::derive(&self.key, &header, &*header.to_bytes()?)?;
        header.commitment = *keys.commitment.expose();
        let header_bytes = header.to_bytes()?;
        let engine = spec.engine.unwrap_or_else(Engine::fastest);
        let data = keys.data(engine)?;
        Ok(Sealing { header, header_bytes, keys, data, owner: self.owner, engine })
    }
}

impl Sealing {
    /// Whether this process, in this life of the machine, may go on.
    pub(crate) fn check_owner(&self) -> Result<(), SealedError> {
        self.owner.check()
    }

    /// Encrypts chunk `chunk` where it stands. The caller sees to it that no number comes twice.
    pub(crate) fn seal_chunk(&self, chunk: u64, data: &mut [u8]) -> Result<[u8; TAG], SealedError> {
        self.owner.check()?;
        if chunk >= CHUNKS_MAX {
            return Err(SealedError::LimitExceeded {
                what: "the number of chunks",
                value: chunk.saturating_add(1),
                limit: CHUNKS_MAX,
            });
        }
        self.data.seal_in_place(self.keys.chunk_nonce(chunk), b"", data)
    }

    /// The encrypted index with the trailer behind it, and what was written. Called once.
    pub(crate) fn finish(
        &self,
        n: u64,
        tags: &[u8],
        hashes: Option<&[u8]>,
        metadata: &Metadata,
    ) -> Result<(Vec<u8>, Written), SealedError> {
        self.owner.check()?;
        let mut end = Draft { n, tags, hashes, metadata }.seal(&self.keys, &self.keys.index(self.engine)?)?;
        let geometry = Geometry::new(n, self.header.chunk_size, end.len() as u64)?;
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        digest.update(self.header_bytes.as_slice());
        digest.update(&end);
        end.extend_from_slice(&geometry.trailer());
        let written = Written {
            object: self.header.object,
            writer: self.header.writer,
            len: n,
            file_len: geometry.file_len(),
            digest: digest.finish().as_ref().try_into().unwrap_or_default(),
        };
        Ok((end, written))
    }
}

/// Refuses a plaintext longer than the format allows.
pub(crate) fn check_plaintext_len(n: u64) -> Result<(), SealedError> {
    if n > PLAINTEXT_MAX {
        return Err(SealedError::LimitExceeded { what: "the plaintext's length", value: n, limit: PLAINTEXT_MAX });
    }
    Ok(())
}

fn random<const N: usize>() -> Result<[u8; N], SealedError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| SealedError::Cryptography { doing: "getting random bytes from the operating system" })?;
    Ok(bytes)
}
