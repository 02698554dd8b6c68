//! The keys of an asset: version, writer, object (`sealed-format.md`, "Keys").

use crate::secret::{Secret, hkdf_32};
use strongroom_protocol::{ObjectId, WriterId, length_prefixed};

/// Makes writer and object keys: opens every object of the version.
pub struct VersionKey(Secret<32>);

/// Makes new objects under its writer id, and opens those only.
pub struct WriterKey(Secret<32>);

/// Opens one object.
pub struct ObjectKey(Secret<32>);

macro_rules! key {
    ($name:ident) => {
        impl $name {
            /// Wraps 32 secret bytes.
            pub fn new(bytes: Secret<32>) -> Self {
                Self(bytes)
            }
            /// The bytes.
            pub fn expose(&self) -> &[u8; 32] {
                self.0.expose()
            }
        }
        impl From<Secret<32>> for $name {
            fn from(bytes: Secret<32>) -> Self {
                Self(bytes)
            }
        }
    };
}
key!(VersionKey);
key!(WriterKey);
key!(ObjectKey);

impl VersionKey {
    /// `HKDF-SHA-256(ikm = version key, salt = "", info = "strongroom/writer/v1" || LP(asset) || u32 version || writer id)`.
    pub fn writer_key(&self, asset: &str, version: u32, writer: WriterId) -> WriterKey {
        WriterKey(hkdf_32(
            self.expose(),
            b"",
            &[b"strongroom/writer/v1", &length_prefixed(asset.as_bytes()), &version.to_le_bytes(), writer.as_array()],
        ))
    }
}

impl WriterKey {
    /// `HKDF-SHA-256(ikm = writer key, salt = "", info = "strongroom/object/v1" || object id)`.
    pub fn object_key(&self, object: ObjectId) -> ObjectKey {
        ObjectKey(hkdf_32(self.expose(), b"", &[b"strongroom/object/v1", object.as_array()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_key() -> VersionKey {
        VersionKey::new(Secret::take(&mut [9; 32]))
    }

    #[test]
    fn each_part_of_the_derivation_counts() {
        let writer =
            |asset: &str, version, id: u8| *version_key().writer_key(asset, version, WriterId::from([id; 16])).expose();
        let base = writer("a", 1, 1);
        assert_ne!(base, writer("b", 1, 1));
        assert_ne!(base, writer("a", 2, 1));
        assert_ne!(base, writer("a", 1, 2));
        let key = version_key().writer_key("a", 1, WriterId::from([1; 16]));
        assert_ne!(key.object_key(ObjectId::from([1; 16])).expose(), key.object_key(ObjectId::from([2; 16])).expose());
    }

    /// Computed with Python's `hmac` and `hashlib` from the text of the format.
    #[test]
    fn derivation_gives_the_known_answers() {
        let writer = version_key().writer_key("minilm", 3, WriterId::from([1; 16]));
        assert_eq!(hex::encode(writer.expose()), "ba6061b098928ea4b9b21fbf09c7b8128046c22fdd3e5fbf5e94a8fb4fba613e");
        assert_eq!(
            hex::encode(writer.object_key(ObjectId::from([2; 16])).expose()),
            "2c844cfc46b4c9ce1443d2edf8886aa41ed26b728879269bdbe4837dfbaea224"
        );
    }
}
