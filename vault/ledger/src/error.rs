//! What can be wrong with a record, a tree, a note or a receipt.

use crate::tile::TileId;

/// Why the ledger refused something. Nothing here carries a secret: records hold none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A record longer than [`crate::RECORD_BYTES`].
    #[error("the record has {bytes} bytes; at most {} are allowed", crate::RECORD_BYTES)]
    RecordTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not the JSON of a record: a field missing, unknown, doubled or of another type.
    #[error("not a record: {problem}")]
    RecordMalformed {
        /// What the JSON reader said.
        problem: String,
    },
    /// A field's value breaks a rule.
    #[error("record field {field}: {problem}")]
    RecordField {
        /// The field.
        field: String,
        /// The rule.
        problem: String,
    },
    /// The JSON is a record, but not in its one spelling (RFC 8785).
    #[error("the record is not in canonical JSON (RFC 8785)")]
    RecordNotCanonical,
    /// Not a time in the ledger's one spelling.
    #[error("not a time of the form 2026-01-31T23:59:59.999Z")]
    TimeMalformed,
    /// The tree would have more than [`crate::MAX_SIZE`] entries.
    #[error("the tree is full")]
    TreeFull,
    /// Stored frontier bytes are not those of a frontier.
    #[error("the stored frontier is malformed: {problem}")]
    FrontierMalformed {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A proof was asked for, or offered, of an entry that the tree does not have.
    #[error("index {index} is not in a tree of {size} entries")]
    OutsideTree {
        /// The index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A consistency proof was asked for, or offered, from a larger tree to a smaller one.
    #[error("a tree of {new} entries cannot extend one of {old}")]
    Shrunk {
        /// Size of the older tree.
        old: u64,
        /// Size of the newer tree.
        new: u64,
    },
    /// The source has no such tile.
    #[error("tile {tile} is missing")]
    TileMissing {
        /// The tile.
        tile: TileId,
    },
    /// The source could not read a tile.
    #[error("tile {tile} could not be read: {reason}")]
    TileUnreadable {
        /// The tile.
        tile: TileId,
        /// What the source said.
        reason: String,
    },
    /// A tile's bytes are fewer than its width asks for, or no whole number of hashes.
    #[error("tile {tile} has {bytes} bytes")]
    TileMalformed {
        /// The tile.
        tile: TileId,
        /// Bytes that were given.
        bytes: usize,
    },
    /// A stored tile does not hash to the frontier: the database was changed or went back in time.
    #[error("tile {tile} does not agree with the tree's frontier")]
    TileDisagrees {
        /// The tile.
        tile: TileId,
    },
    /// Not a path of a tile or an entry bundle.
    #[error("not a tile path")]
    TilePathMalformed,
    /// Not an entry bundle of 32-byte entries.
    #[error("not an entry bundle of 32-byte entries")]
    BundleMalformed,
    /// The inclusion proof does not lead to the root.
    #[error("the proof does not show entry {index} in the tree of {size}")]
    NotIncluded {
        /// Index that was claimed.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The consistency proof does not lead to both roots.
    #[error("the tree of {new} entries is not shown to extend the tree of {old}")]
    NotConsistent {
        /// Size of the older tree.
        old: u64,
        /// Size of the newer tree.
        new: u64,
    },
    /// Not a signed note (C2SP signed-note).
    #[error("not a signed note: {problem}")]
    NoteMalformed {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Not a verifier key, `name+hash+base64`, for Ed25519.
    #[error("not an Ed25519 verifier key: {problem}")]
    VerifierKeyMalformed {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A signature that names a trusted key was not made by it.
    #[error("the signature in the name of {name} is not by its key")]
    SignatureWrong {
        /// The key's name.
        name: String,
    },
    /// No signature is by a key that the caller trusts.
    #[error("no signature by a trusted key")]
    NotSigned,
    /// A trusted key signed, but none whose name is the checkpoint's origin.
    #[error("the checkpoint of {origin} is not signed by a key of that name")]
    OriginNotSigner {
        /// The checkpoint's first line.
        origin: String,
    },
    /// Two checkpoints of different logs were compared.
    #[error("checkpoints of two logs: {known} and {actual}")]
    OtherLog {
        /// Origin of the known checkpoint.
        known: String,
        /// Origin of the other.
        actual: String,
    },
    /// Not a checkpoint (C2SP tlog-checkpoint).
    #[error("not a checkpoint: {problem}")]
    CheckpointMalformed {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Not a receipt (C2SP tlog-proof).
    #[error("not a receipt: {problem}")]
    ReceiptMalformed {
        /// What is wrong with it.
        problem: &'static str,
    },
}
