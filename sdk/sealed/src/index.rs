//! The index: how long the plaintext is, the tag of each chunk, and what is known of the file.

use crate::{
    SealedError,
    aead::BulkKey,
    cbor::{self, CborError, Decoder},
    derivation::ObjectKeys,
    geometry::{Geometry, HASH, INDEX_UNIT, TAG, chunk_count},
    header::ChunkSize,
};
use std::ops::Range;
use zeroize::Zeroizing;

/// What a file says about itself inside its encrypted index. All of it was verified with the index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The file's name before it was sealed. Written by whoever sealed it: not a path to write to unseen.
    pub name: Option<String>,
    /// Media type (RFC 6838).
    pub media_type: Option<String>,
    /// When it was sealed: seconds since the Unix epoch, by the writer's clock.
    pub created: Option<u64>,
}

/// Bytes of a name or a media type at the most, as a writer may write them.
pub(crate) const TEXT_MAX: usize = 4096;

/// A verified index. Tags and hashes stay in the buffer that they were decrypted in.
pub(crate) struct Index {
    plain: Zeroizing<Vec<u8>>,
    tags: Range<usize>,
    hashes: Option<Range<usize>>,
    pub(crate) metadata: Metadata,
}

/// The index of a file that is being written.
pub(crate) struct Draft<'a> {
    pub(crate) n: u64,
    pub(crate) tags: &'a [u8],
    pub(crate) hashes: Option<&'a [u8]>,
    pub(crate) metadata: &'a Metadata,
}

impl Index {
    /// Decrypts and checks an index. `encrypted` has its tag at the end.
    pub(crate) fn open(
        keys: &ObjectKeys,
        bulk: &BulkKey,
        geometry: &Geometry,
        mut encrypted: Zeroizing<Vec<u8>>,
    ) -> Result<Self, SealedError> {
        let tampered = SealedError::IndexTampered { what: "it does not verify" };
        let Some((body, tag)) = encrypted.split_last_chunk_mut::<TAG>() else { return Err(tampered) };
        let tag = *tag;
        if !bulk.open_in_place(keys.index_nonce, &associated_data(geometry.n), &tag, body) {
            return Err(tampered);
        }
        let length = body.len();
        encrypted.truncate(length);
        Self::decode(encrypted, geometry.n, geometry.chunk_size)
    }

    /// Reads an index's plaintext, which must fit the plaintext's length and the chunk size.
    pub(crate) fn decode(plain: Zeroizing<Vec<u8>>, n: u64, chunk_size: ChunkSize) -> Result<Self, SealedError> {
        let chunks = chunk_count(n, chunk_size)?;
        let tampered = |what| SealedError::IndexTampered { what };
        let (length, rest) = plain.split_first_chunk::<4>().ok_or(tampered("too short"))?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (encoded, padding) = rest.split_at_checked(length).ok_or(tampered("its length is wrong"))?;
        if !(plain.len() as u64).is_multiple_of(INDEX_UNIT) || padding.iter().any(|&b| b != 0) {
            return Err(tampered("its padding is not zeros to a multiple of 4,096"));
        }
        let fields = Fields::read(encoded).map_err(|e| tampered(explain(e)))?;
        if fields.n != Some(n) {
            return Err(tampered("its length of the plaintext is not the trailer's"));
        }
        if fields.chunks != Some(chunks) {
            return Err(tampered("its number of chunks is wrong"));
        }
        let place = |part: &[u8]| {
            let start = part.as_ptr().addr().saturating_sub(plain.as_ptr().addr());
            start..start + part.len()
        };
        let fits = |part: &[u8], each: usize| part.len() as u64 == chunks * each as u64;
        let tags = fields.tags.filter(|t| fits(t, TAG)).map(place).ok_or(tampered("its tags are not one a chunk"))?;
        if fields.hashes.is_some_and(|h| !fits(h, HASH)) {
            return Err(tampered("its hashes are not one a chunk"));
        }
        let hashes = fields.hashes.map(place);
        let metadata = Metadata {
            name: fields.name.map(str::to_owned),
            media_type: fields.media_type.map(str::to_owned),
            created: fields.created,
        };
        Ok(Self { plain, tags, hashes, metadata })
    }

    /// The tag of chunk `chunk`.
    pub(crate) fn tag(&self, chunk: u64) -> Option<&[u8; TAG]> {
        entry(self.plain.get(self.tags.clone())?, chunk)
    }

    /// The hash of the ciphertext of chunk `chunk`, where the file has hashes.
    pub(crate) fn hash(&self, chunk: u64) -> Option<&[u8; HASH]> {
        entry(self.plain.get(self.hashes.clone()?)?, chunk)
    }

    /// Whether the file has hashes.
    pub(crate) fn has_hashes(&self) -> bool {
        self.hashes.is_some()
    }
}

impl Draft<'_> {
    /// The index's plaintext: length, deterministic CBOR, zeros to a multiple of 4,096.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, SealedError> {
        let Metadata { name, media_type, created } = self.metadata;
        for text in [name, media_type].into_iter().flatten() {
            if text.len() > TEXT_MAX {
                return Err(SealedError::NotWritable { what: "name and media type have at most 4,096 bytes" });
            }
        }
        let optional = [self.hashes.is_some(), name.is_some(), media_type.is_some(), created.is_some()];
        let count = 3 + optional.into_iter().filter(|present| *present).count();
        let mut out = vec![0; 4];
        // Keys in the order of RFC 8949 §4.2.1: of their encodings, so shorter ones first.
        cbor::push_map(&mut out, count as u64);
        cbor::push_text(&mut out, "n");
        cbor::push_unsigned(&mut out, self.n);
        if let Some(name) = name {
            cbor::push_text(&mut out, "name");
            cbor::push_text(&mut out, name);
        }
        cbor::push_text(&mut out, "tags");
        cbor::push_bytes(&mut out, self.tags);
        cbor::push_text(&mut out, "chunks");
        cbor::push_unsigned(&mut out, (self.tags.len() / TAG) as u64);
        if let Some(hashes) = self.hashes {
            cbor::push_text(&mut out, "hashes");
            cbor::push_bytes(&mut out, hashes);
        }
        if let Some(created) = created {
            cbor::push_text(&mut out, "created");
            cbor::push_unsigned(&mut out, *created);
        }
        if let Some(media_type) = media_type {
            cbor::push_text(&mut out, "media_type");
            cbor::push_text(&mut out, media_type);
        }
        let length = u32::try_from(out.len() - 4).map_err(|_| SealedError::LimitExceeded {
            what: "the index's length",
            value: u64::MAX,
            limit: u32::MAX.into(),
        })?;
        for (to, from) in out.iter_mut().zip(length.to_le_bytes()) {
            *to = from;
        }
        let unit = usize::try_from(INDEX_UNIT).unwrap_or(1);
        out.resize(out.len().next_multiple_of(unit), 0);
        Ok(out)
    }

    /// Encodes and encrypts the index; its tag stands at the end.
    pub(crate) fn seal(&self, keys: &ObjectKeys, bulk: &BulkKey) -> Result<Vec<u8>, SealedError> {
        let mut index = self.encode()?;
        let tag = bulk.seal_in_place(keys.index_nonce, &associated_data(self.n), &mut index)?;
        index.extend_from_slice(&tag);
        Ok(index)
    }
}

/// The known keys of the map.
#[derive(Default)]
struct Fields<'a> {
    n: Option<u64>,
    chunks: Option<u64>,
    tags: Option<&'a [u8]>,
    hashes: Option<&'a [u8]>,
    name: Option<&'a str>,
    media_type: Option<&'a str>,
    created: Option<u64>,
}

impl<'a> Fields<'a> {
    fn read(encoded: &'a [u8]) -> Result<Self, CborError> {
        let mut fields = Self::default();
        let mut decoder = Decoder::new(encoded);
        decoder.map(|key, value| {
            match key {
                "n" => fields.n = Some(value.unsigned()?),
                "chunks" => fields.chunks = Some(value.unsigned()?),
                "tags" => fields.tags = Some(value.bytes()?),
                "hashes" => fields.hashes = Some(value.bytes()?),
                "name" => fields.name = Some(value.text()?),
                "media_type" => fields.media_type = Some(value.text()?),
                "created" => fields.created = Some(value.unsigned()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if decoder.rest().is_empty() { Ok(fields) } else { Err(CborError::Type) }
    }
}

fn explain(error: CborError) -> &'static str {
    match error {
        CborError::Short => "its CBOR ends too early",
        CborError::NotDeterministic => "its CBOR is not deterministic",
        CborError::KeyOrder => "a key of its map stands there twice or out of order",
        CborError::NotUtf8 => "a text in it is not UTF-8",
        CborError::Depth => "its CBOR is nested too deep",
        CborError::Type => "a known key has a value of a wrong type, or it is not one map",
    }
}

/// `"strongroom/index/v1" || u64 n`.
fn associated_data(n: u64) -> Vec<u8> {
    [b"strongroom/index/v1".as_slice(), &n.to_le_bytes()].concat()
}

fn entry<const N: usize>(table: &[u8], chunk: u64) -> Option<&[u8; N]> {
    table.as_chunks::<N>().0.get(usize::try_from(chunk).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ciborium::Value;
    use proptest::prelude::*;

    const C: ChunkSize = ChunkSize::MIN;
    const N: u64 = 100_000;

    fn framed(encoded: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut plain = u32::try_from(encoded.len()).unwrap().to_le_bytes().to_vec();
        plain.extend_from_slice(encoded);
        plain.resize(plain.len().next_multiple_of(4096), 0);
        Zeroizing::new(plain)
    }

    /// A map with the keys in deterministic order, by another library.
    fn map(mut entries: Vec<(&str, Value)>) -> Zeroizing<Vec<u8>> {
        entries.sort_by_key(|(key, _)| (key.len(), *key));
        let map = Value::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect());
        let mut encoded = Vec::new();
        ciborium::into_writer(&map, &mut encoded).unwrap();
        framed(&encoded)
    }

    fn good() -> Vec<(&'static str, Value)> {
        vec![("n", N.into()), ("chunks", 2.into()), ("tags", vec![7_u8; 32].into())]
    }

    fn with(key: &'static str, value: impl Into<Value>) -> Zeroizing<Vec<u8>> {
        let mut entries = good();
        entries.retain(|(k, _)| *k != key);
        entries.push((key, value.into()));
        map(entries)
    }

    fn refused(plain: Zeroizing<Vec<u8>>) -> &'static str {
        match Index::decode(plain, N, C).err() {
            Some(SealedError::IndexTampered { what }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_draft_is_read_back() {
        let metadata = Metadata {
            name: Some("model.safetensors".into()),
            media_type: Some("a/b".into()),
            created: Some(1_700_000_000),
        };
        let tags: Vec<u8> = (0..32).collect();
        let hashes: Vec<u8> = (0..64).collect();
        let draft = Draft { n: N, tags: &tags, hashes: Some(&hashes), metadata: &metadata };
        let plain = draft.encode().unwrap();
        assert_eq!(plain.len(), 4096);
        let index = Index::decode(Zeroizing::new(plain), N, C).unwrap();
        assert_eq!(index.metadata, metadata);
        assert_eq!(index.tag(1).unwrap()[..], tags[16..]);
        assert_eq!(index.hash(0).unwrap()[..], hashes[..32]);
        assert!(index.tag(2).is_none() && index.hash(2).is_none());
    }

    #[test]
    fn a_draft_is_what_another_library_writes() {
        let metadata = Metadata { name: Some("x".into()), media_type: Some("y".into()), created: Some(24) };
        let draft = Draft { n: N, tags: &[7; 32], hashes: Some(&[8; 64]), metadata: &metadata };
        let mut entries = good();
        entries.extend([
            ("hashes", Value::from(vec![8_u8; 64])),
            ("name", "x".into()),
            ("media_type", "y".into()),
            ("created", 24.into()),
        ]);
        assert_eq!(draft.encode().unwrap(), *map(entries));
        let bare = Draft { n: N, tags: &[7; 32], hashes: None, metadata: &Metadata::default() };
        assert_eq!(bare.encode().unwrap(), *map(good()));
    }

    #[test]
    fn unknown_keys_are_ignored() {
        let index = Index::decode(with("later", Value::Array(vec![Value::Null, 1.5.into()])), N, C).unwrap();
        assert_eq!(index.tag(0), Some(&[7; 16]));
    }

    #[test]
    fn each_rule_refuses_what_it_alone_forbids() {
        assert!(Index::decode(map(good()), N, C).is_ok());
        assert_eq!(refused(with("n", N + 1)), "its length of the plaintext is not the trailer's");
        assert_eq!(refused(with("chunks", 3)), "its number of chunks is wrong");
        assert_eq!(refused(with("tags", vec![7_u8; 31])), "its tags are not one a chunk");
        assert_eq!(refused(with("tags", vec![7_u8; 48])), "its tags are not one a chunk");
        assert_eq!(refused(with("hashes", vec![7_u8; 32])), "its hashes are not one a chunk");
        for key in ["n", "chunks", "tags"] {
            let mut entries = good();
            entries.retain(|(k, _)| *k != key);
            refused(map(entries));
        }
        let wrong_type = "a known key has a value of a wrong type, or it is not one map";
        for key in ["n", "chunks", "tags", "hashes", "name", "media_type", "created"] {
            assert_eq!(refused(with(key, Value::Null)), wrong_type, "{key}");
            assert_eq!(refused(with(key, -1)), wrong_type, "{key}");
        }
        assert_eq!(refused(framed(&[0x80])), wrong_type);
    }

    #[test]
    fn keys_twice_or_out_of_order_are_refused() {
        let order = "a key of its map stands there twice or out of order";
        let two = |first: &str, second: &str| {
            let mut out = Vec::new();
            cbor::push_map(&mut out, 2);
            for key in [first, second] {
                cbor::push_text(&mut out, key);
                cbor::push_unsigned(&mut out, N);
            }
            framed(&out)
        };
        assert_eq!(refused(two("n", "n")), order);
        assert_eq!(refused(two("created", "n")), order);
        assert_eq!(refused(two("x", "x")), order);
    }

    #[test]
    fn frame_and_padding_are_checked() {
        let padding = "its padding is not zeros to a multiple of 4,096";
        let mut plain = map(good());
        plain[4095] = 1;
        assert_eq!(refused(plain), padding);
        let mut plain = map(good());
        plain.pop();
        assert_eq!(refused(plain), padding);
        let mut plain = map(good());
        plain[0] += 1;
        assert_eq!(refused(plain), "a known key has a value of a wrong type, or it is not one map");
        let mut plain = map(good());
        plain[0] -= 1;
        assert_eq!(refused(plain), padding);
        let mut plain = map(good());
        plain[3] = 1;
        assert_eq!(refused(plain), "its length is wrong");
        assert_eq!(refused(Zeroizing::new(vec![0; 3])), "too short");
    }

    #[test]
    fn long_texts_are_not_written() {
        for (length, fits) in [(4096, true), (4097, false)] {
            let metadata = Metadata { name: Some("n".repeat(length)), ..Metadata::default() };
            let draft = Draft { n: 0, tags: &[], hashes: None, metadata: &metadata };
            assert_eq!(draft.encode().is_ok(), fits);
        }
    }

    proptest! {
        #[test]
        fn no_plaintext_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), n: u64) {
            let _ = Index::decode(Zeroizing::new(bytes.clone()), n, C);
            let _ = Index::decode(framed(&bytes), n, C);
        }
    }
}
