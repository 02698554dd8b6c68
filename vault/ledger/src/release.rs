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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Verdict, sample};

    #[test]
    fn a_release_is_checked_down_to_the_pinned_key() {
        let (log, key) = (sample::Log::of((0..9).map(sample::decision)), sample::key(1));
        let (record, salt, receipt) = (&log.records[4], sample::salt(4), log.receipt(4, &key).encode());
        let keys = [key.verifier.clone()];

        let checked = check_release_record(record, &salt, &receipt, &keys).unwrap();
        assert_eq!(checked.record, sample::decision(4));
        assert_eq!(checked.record.verdict, Some(Verdict::Released));
        assert_eq!((checked.entry, checked.receipt.index), (log.entries[4], 4));
        assert_eq!(checked.receipt.leaf, crate::leaf_hash(&log.entries[4]));

        let elsewhere = Err(LedgerError::NotIncluded { index: 4, size: 9 });
        assert_eq!(check_release_record(&log.records[3], &salt, &receipt, &keys), elsewhere);
        assert_eq!(check_release_record(record, &sample::salt(3), &receipt, &keys), elsewhere);
        let other = log.receipt(3, &key).encode();
        assert!(check_release_record(record, &salt, &other, &keys).is_err());
        let stranger = [sample::key(2).verifier];
        assert_eq!(check_release_record(record, &salt, &receipt, &stranger), Err(LedgerError::NotSigned));
    }

    #[test]
    fn what_is_logged_but_no_record_is_refused() {
        let (mut log, key) = (sample::Log::of([sample::decision(0)]), sample::key(1));
        let mut spaced = b" ".to_vec();
        spaced.extend_from_slice(&sample::decision(1).to_canonical().unwrap());
        log.write(vec![spaced.clone()]);
        let receipt = log.receipt(1, &key).encode();
        let refused = check_release_record(&spaced, &sample::salt(1), &receipt, &[key.verifier]);
        assert_eq!(refused, Err(LedgerError::RecordNotCanonical));
    }
}
