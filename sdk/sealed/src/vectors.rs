//! Known answers: files that the independent `vectors/check.py` wrote from the text of the format.

use crate::{
    ChunkSize, Engine, Expected, Header, Opening, WriteSpec,
    geometry::TAG,
    sealing::{Object, Sealing},
};
use serde::Deserialize;
use strongroom_envelope::{Secret, VersionKey};
use strongroom_protocol::{ObjectId, WriterId};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    key: String,
    asset: String,
    version: u32,
    writer: String,
    object: String,
    salt: String,
    chunk_size: u64,
    plaintext: String,
    file: String,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../vectors/v1.json")).unwrap()
}

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    assert_eq!(hex, hex.to_lowercase());
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn version_key(vector: &Vector) -> VersionKey {
    VersionKey::new(Secret::take(&mut bytes(&vector.key)))
}

fn sealing(vector: &Vector, engine: Engine) -> Sealing {
    let writer = WriterId::from(bytes(&vector.writer));
    let mut spec = WriteSpec::new(&vector.asset, vector.version, writer);
    spec.object = Some(ObjectId::from(bytes(&vector.object)));
    spec.engine = Some(engine);
    let key = version_key(vector).writer_key(&vector.asset, vector.version, writer);
    let chunk_size = ChunkSize::new(vector.chunk_size).unwrap();
    Object::new(&key, &spec).unwrap().begin_with(&spec, chunk_size, bytes(&vector.salt)).unwrap()
}

#[test]
fn the_list_has_what_it_must_have() {
    let lengths: Vec<_> = vectors().iter().map(|v| (v.plaintext.len() as u64 / 2, v.chunk_size)).collect();
    assert!(lengths.iter().any(|(n, _)| *n == 0));
    assert!(lengths.iter().any(|(n, _)| *n == 1));
    assert!(lengths.iter().any(|(n, c)| n == c));
    assert!(lengths.iter().any(|(n, c)| *c == 1 << 16 && *n > 3 * c && *n < 4 * c));
}

#[test]
fn sealing_gives_the_known_files() {
    for vector in vectors() {
        for engine in [Engine::AwsLc, Engine::Ring] {
            let sealing = sealing(&vector, engine);
            let mut data = hex::decode(&vector.plaintext).unwrap();
            let mut tags = Vec::new();
            for (number, chunk) in data.chunks_mut(usize::try_from(vector.chunk_size).unwrap()).enumerate() {
                tags.extend_from_slice(&sealing.seal_chunk(number as u64, chunk).unwrap());
            }
            assert_eq!(tags.len() as u64, TAG as u64 * (data.len() as u64).div_ceil(vector.chunk_size));
            let (end, written) = sealing.finish(data.len() as u64, &tags, None, &crate::Metadata::default()).unwrap();
            let file = [sealing.header_bytes.as_slice(), &data, &end].concat();
            assert!(hex::encode(&file) == vector.file, "{}: another file", vector.name);
            assert_eq!(written.file_len, file.len() as u64);
        }
    }
}

#[test]
fn the_known_files_open() {
    for vector in vectors() {
        let file = hex::decode(&vector.file).unwrap();
        let header = Header::peek(file.as_slice()).unwrap();
        assert_eq!(header.writer, WriterId::from(bytes(&vector.writer)));
        let key =
            version_key(&vector).writer_key(&header.asset, header.version, header.writer).object_key(header.object);
        let expected = Expected {
            asset: vector.asset.clone(),
            version: Some(vector.version),
            object: Some(ObjectId::from(bytes(&vector.object))),
        };
        for engine in [Engine::AwsLc, Engine::Ring] {
            let reader = Opening::start(file.as_slice(), &expected).unwrap().engine(engine).with_key(&key).unwrap();
            let mut plaintext = vec![1; usize::try_from(reader.len()).unwrap()];
            reader.read_into(&mut plaintext, 2, &()).unwrap();
            assert!(hex::encode(plaintext) == vector.plaintext, "{}: another plaintext", vector.name);
        }
    }
}
