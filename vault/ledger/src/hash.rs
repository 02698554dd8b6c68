//! The three hashes of the tree (RFC 6962, section 2.1, with SHA-256).

use ring::digest::{Context, SHA256};

/// A SHA-256 digest: an entry, a leaf, an inner node or a root, as the context says.
pub type Hash = [u8; 32];

/// The root of the empty tree: SHA-256 of nothing (RFC 6962, section 2.1).
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The tree's entry for a record: `SHA-256(salt || record)`.
///
/// The salt keeps the public tiles from confirming a guess of a record, and lets a body be pruned
/// together with its salt while its leaf stays.
pub fn entry_hash(salt: &[u8; 16], record: &[u8]) -> Hash {
    sha256(&[salt, record])
}

/// The leaf of an entry: `SHA-256(0x00 || entry)`.
pub fn leaf_hash(entry: &Hash) -> Hash {
    sha256(&[&[0], entry])
}

/// An inner node: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefixes_are_those_of_rfc_6962() {
        assert_eq!(strongroom_protocol::sha256(b""), EMPTY_ROOT);
        let mut input = vec![0];
        input.extend_from_slice(&[7; 32]);
        assert_eq!(leaf_hash(&[7; 32]), strongroom_protocol::sha256(&input));
        input[0] = 1;
        input.extend_from_slice(&[8; 32]);
        assert_eq!(node_hash(&[7; 32], &[8; 32]), strongroom_protocol::sha256(&input));
    }

    #[test]
    fn salt_and_record_are_hashed_in_this_order() {
        let mut input = vec![9; 16];
        input.extend_from_slice(b"{}");
        assert_eq!(entry_hash(&[9; 16], b"{}"), strongroom_protocol::sha256(&input));
    }
}
