//! From an object's key to the keys of one writing of it.

use crate::{
    SealedError,
    aead::{BulkKey, Engine},
    header::{HEADER, Header, commitment_hash},
};
use ring::hkdf;
use strongroom_envelope::{ObjectKey, Secret};
use zeroize::Zeroizing;

/// data key, data nonce, index key, index nonce, commitment.
const OUTPUT: usize = 32 + 12 + 32 + 12 + 32;

/// The keys and nonces of one file. No `Debug`, no `Clone`.
pub(crate) struct ObjectKeys {
    pub(crate) data_key: Secret<32>,
    data_nonce: [u8; 12],
    pub(crate) index_key: Secret<32>,
    pub(crate) index_nonce: [u8; 12],
    /// What the header has to say: compared in constant time, and written by writers.
    pub(crate) commitment: Secret<32>,
}

impl ObjectKeys {
    /// `HKDF-SHA-256(ikm = object key, salt, info = "strongroom/sealed/v1" || SHA-256(header without commitment))`.
    pub(crate) fn derive(key: &ObjectKey, header: &Header, bytes: &[u8; HEADER]) -> Result<Self, SealedError> {
        let mut output = Zeroizing::new([0; OUTPUT]);
        let info = [b"strongroom/sealed/v1".as_slice(), &commitment_hash(bytes)];
        hkdf::Salt::new(hkdf::HKDF_SHA256, &header.salt)
            .extract(key.expose())
            .expand(&info, Length(OUTPUT))
            .and_then(|okm| okm.fill(output.as_mut_slice()))
            .map_err(|_| SealedError::Cryptography { doing: "deriving the file's keys" })?;
        let mut rest = output.as_slice();
        Ok(Self {
            data_key: take_secret(&mut rest),
            data_nonce: take(&mut rest),
            index_key: take_secret(&mut rest),
            index_nonce: take(&mut rest),
            commitment: take_secret(&mut rest),
        })
    }

    /// The nonce of a chunk: its number, big-endian, over the last 8 bytes of the data nonce.
    pub(crate) fn chunk_nonce(&self, chunk: u64) -> [u8; 12] {
        let mut nonce = self.data_nonce;
        for (to, from) in nonce.iter_mut().skip(4).zip(chunk.to_be_bytes()) {
            *to ^= from;
        }
        nonce
    }

    /// A context for the chunks; it lives for one read or one writing.
    pub(crate) fn data(&self, engine: Engine) -> Result<BulkKey, SealedError> {
        BulkKey::new(engine, &self.data_key)
    }

    /// A context for the index.
    pub(crate) fn index(&self, engine: Engine) -> Result<BulkKey, SealedError> {
        BulkKey::new(engine, &self.index_key)
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    // INVARIANT: the five parts add up to `OUTPUT`, so there is always enough.
    let Some((part, after)) = rest.split_first_chunk() else { return [0; N] };
    *rest = after;
    *part
}

fn take_secret(rest: &mut &[u8]) -> Secret<32> {
    Secret::take(&mut take(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::ChunkSize;
    use strongroom_protocol::{ObjectId, WriterId};

    fn keys(header: &Header) -> ObjectKeys {
        ObjectKeys::derive(&ObjectKey::new(Secret::take(&mut [1; 32])), header, &header.to_bytes().unwrap()).unwrap()
    }

    fn header() -> Header {
        Header {
            object: ObjectId::from([1; 16]),
            writer: WriterId::from([2; 16]),
            salt: [3; 24],
            commitment: [0; 32],
            version: 5,
            asset: "minilm".into(),
            chunk_size: ChunkSize::default(),
        }
    }

    #[test]
    fn the_chunks_number_is_in_the_nonce() {
        let keys = keys(&header());
        let base = keys.chunk_nonce(0);
        assert_eq!(base, keys.data_nonce);
        let mut other = keys.chunk_nonce(0x0102_0304_0506_0708);
        for (byte, flipped) in other[4..].iter_mut().zip(1..=8) {
            *byte ^= flipped;
        }
        assert_eq!(other, base);
        assert_ne!(keys.chunk_nonce(1), base);
    }

    #[test]
    fn salt_and_every_field_but_the_commitment_count() {
        let base = keys(&header());
        let mut same = header();
        same.commitment = [9; 32];
        assert_eq!(keys(&same).commitment.expose(), base.commitment.expose());
        for change in [
            |h: &mut Header| h.salt[0] ^= 1,
            |h: &mut Header| h.object = ObjectId::from([9; 16]),
            |h: &mut Header| h.writer = WriterId::from([9; 16]),
            |h: &mut Header| h.version += 1,
            |h: &mut Header| h.asset.push('x'),
            |h: &mut Header| h.chunk_size = ChunkSize::MIN,
        ] {
            let mut other = header();
            change(&mut other);
            let other = keys(&other);
            assert_ne!(other.commitment.expose(), base.commitment.expose());
            assert_ne!(other.data_key.expose(), base.data_key.expose());
            assert_ne!(other.index_key.expose(), base.index_key.expose());
            assert_ne!(other.data_nonce, base.data_nonce);
        }
        assert_ne!(base.data_key.expose(), base.index_key.expose());
    }
}
