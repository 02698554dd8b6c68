//! What a client checks before it opens the envelope of a release.

use crate::{Hash, LedgerError, Receipt, Record, VerifiedReceipt, VerifierKey, entry_hash};

/// A record that is in the log: its bytes hash to an entry that a verified receipt shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRecord {
    /// The record, parsed from the bytes that were hashed.
    pub record: Record,
    /// `SHA-256(salt || record)`.
    pub entry: Hash,
    /// Where it is, and under which checkpoint. Its `leaf` is what the vault's signature over the
    /// response covers.
    pub receipt: VerifiedReceipt,
}

/// Verifies that `record` with `salt` is in the log of one of `keys` (pinned copies of the client's
/// own), as `receipt` (a C2SP tlog-proof) says.
///
/// The caller then compares the record's id, statement digest, recipient digest and verdict with its
/// own request: a true receipt of somebody else's decision passes here.
pub fn check_release_record(
    record: &[u8],
    salt: &[u8; 16],
    receipt: &str,
    keys: &[VerifierKey],
) -> Result<CheckedRecord, LedgerError> {
    let entry = entry_hash(salt, record);
    let receipt = Receipt::parse(receipt)?.verify(&entry, keys)?;
    Ok(CheckedRecord { record: Record::parse(record)?, entry, receipt })
}
