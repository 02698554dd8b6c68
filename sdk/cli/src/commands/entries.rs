//! What an auditor is shown is checked first: a vault, or whoever stands before it, may say anything.

use crate::output::Failure;
use serde_json::{Value, json};
use strongroom::protocol::audit::{AuditPage, EntryView, ProofView};
use strongroom_ledger::{Receipt, SignedCheckpoint, VerifierKey, entry_hash};

/// A record that is in the ledger.
pub(super) struct Proved {
    /// Its index.
    pub(super) index: u64,
    /// Entries of the ledger under the checkpoint that was verified.
    pub(super) size: u64,
    /// The record.
    pub(super) record: Value,
}

/// The records of a page, with their indices. The checkpoint is signed by the pinned key and covers
/// every index; indices ascend from `after`; each record hashes to its entry; the cursor is the last
/// index. That the entries are in the tree is shown by a proof or by an export only.
pub(super) fn page(page: &AuditPage, after: Option<u64>, key: &VerifierKey) -> Result<Vec<Value>, Failure> {
    let signed = SignedCheckpoint::parse(&page.checkpoint)
        .and_then(|signed| signed.verify(std::slice::from_ref(key)).map(|checkpoint| checkpoint.size));
    let size = signed.map_err(|e| disbelieved(&format!("the page's checkpoint does not verify: {e}")))?;
    let mut last = after;
    let mut records = Vec::new();
    for entry in &page.entries {
        if last.is_some_and(|last| entry.index <= last) || entry.index >= size {
            let place = format!("entry {} is out of place in a page of a ledger of {size} entries", entry.index);
            return Err(disbelieved(&place));
        }
        last = Some(entry.index);
        records.push(json!({ "index": entry.index, "record": body(entry)? }));
    }
    if page.next.is_some() && (page.next != last || page.entries.is_empty()) {
        return Err(disbelieved("the page goes on at another place than it ends"));
    }
    Ok(records)
}

/// The record of this id, once it has hashed to its entry; null where the body was pruned.
pub(super) fn named(entry: &EntryView, id: &str) -> Result<Value, Failure> {
    let record = body(entry)?;
    if !record.is_null() && record.get("id").and_then(Value::as_str) != Some(id) {
        return Err(disbelieved(&format!("entry {} is not the record {id}", entry.index)));
    }
    Ok(record)
}

/// A record that a receipt proves under the pinned key.
pub(super) fn proved(proof: &ProofView, id: &str, key: &VerifierKey) -> Result<Proved, Failure> {
    let record = named(&proof.entry, id)?;
    if record.is_null() {
        return Err(disbelieved(&format!("the answer proves an entry without a body, not the record {id}")));
    }
    let entry: [u8; 32] = proof.entry.entry.0.as_slice().try_into().map_err(|_| not_its_entry(proof.entry.index))?;
    let verified = Receipt::parse(&proof.receipt)
        .and_then(|receipt| receipt.verify(&entry, std::slice::from_ref(key)))
        .map_err(|e| disbelieved(&format!("the proof does not verify: {e}")))?;
    Ok(Proved { index: verified.index, size: verified.checkpoint.size, record })
}

/// The record of an entry, once it has hashed to the entry; null where the body was pruned. Half a
/// body cannot be checked, and so is not shown.
fn body(entry: &EntryView) -> Result<Value, Failure> {
    let (record, salt) = match (&entry.record, &entry.salt) {
        (Some(record), Some(salt)) => (record, salt),
        (None, None) => return Ok(Value::Null),
        _ => return Err(not_its_entry(entry.index)),
    };
    let salt: [u8; 16] = salt.0.as_slice().try_into().map_err(|_| not_its_entry(entry.index))?;
    if entry_hash(&salt, &record.0).as_slice() != entry.entry.0.as_slice() {
        return Err(not_its_entry(entry.index));
    }
    serde_json::from_slice(&record.0).map_err(|_| not_its_entry(entry.index))
}

fn not_its_entry(index: u64) -> Failure {
    disbelieved(&format!("entry {index}: the record does not hash to its entry"))
}

fn disbelieved(what: &str) -> Failure {
    Failure::refused(format!("{what}; do not believe this answer"))
}
