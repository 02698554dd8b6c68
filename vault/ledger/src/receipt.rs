//! Receipts: a proof that an entry is in the log, for somebody without access to it (C2SP tlog-proof).

use crate::{
    Checkpoint, Hash, LedgerError, SignedCheckpoint, VerifierKey,
    checkpoint::{read_decimal, read_hash},
    leaf_hash,
    note::NOTE_BYTES,
    verify_inclusion,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::fmt;

/// First line of every receipt.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Extra data, bytes of base64.
const EXTRA_CHARACTERS: usize = 16 << 10;
/// Hashes in a proof: the height of the largest tree.
const PROOF_HASHES: usize = 53;
/// A receipt, bytes.
const RECEIPT_BYTES: usize = NOTE_BYTES + EXTRA_CHARACTERS + PROOF_HASHES * 45 + 256;

/// Index, audit path and signed checkpoint of an entry; in text a C2SP tlog-proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    index: u64,
    proof: Vec<Hash>,
    checkpoint: SignedCheckpoint,
    extra: Option<Vec<u8>>,
}

/// What a receipt shows, once verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt {
    /// The entry's index in the log.
    pub index: u64,
    /// The entry's leaf hash.
    pub leaf: Hash,
    /// The checkpoint whose tree has it; its signature verified.
    pub checkpoint: Checkpoint,
}

impl Receipt {
    /// Puts a receipt together. `proof` is that of [`crate::Prover::inclusion`] in the tree of `checkpoint`.
    pub fn new(index: u64, proof: Vec<Hash>, checkpoint: SignedCheckpoint) -> Self {
        Self { index, proof, checkpoint, extra: None }
    }

    /// Reads a receipt, without trusting it.
    pub fn parse(text: &str) -> Result<Self, LedgerError> {
        let malformed = |problem| LedgerError::ReceiptMalformed { problem };
        if text.len() > RECEIPT_BYTES {
            return Err(malformed("too long"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or_else(|| malformed("no empty line"))?;
        let (index, proof, extra) = read_head(head).map_err(malformed)?;
        Ok(Self { index, proof, checkpoint: SignedCheckpoint::parse(checkpoint)?, extra })
    }

    /// The receipt's text. [`Receipt::parse`] reads it back.
    pub fn encode(&self) -> String {
        self.to_string()
    }

    /// Whether `entry` (`SHA-256(salt || record)`) is where the receipt says, in a tree that one of
    /// `keys`, the caller's own copies, signed.
    pub fn verify(&self, entry: &Hash, keys: &[VerifierKey]) -> Result<VerifiedReceipt, LedgerError> {
        let checkpoint = self.checkpoint.verify(keys)?;
        let leaf = leaf_hash(entry);
        verify_inclusion(&leaf, self.index, checkpoint.size, &checkpoint.root, &self.proof)?;
        Ok(VerifiedReceipt { index: self.index, leaf, checkpoint: checkpoint.clone() })
    }

    /// The index that it claims.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The audit path, from the leaf's sibling to the root's child.
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The signed checkpoint.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Opaque data that came with it. Nothing vouches for it; this log writes none.
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

type Head = (u64, Vec<Hash>, Option<Vec<u8>>);

fn read_head(head: &str) -> Result<Head, &'static str> {
    let mut lines = head.split('\n');
    if lines.next() != Some(HEADER) {
        return Err("its first line is not c2sp.org/tlog-proof@v1");
    }
    let mut line = lines.next().ok_or("no index")?;
    let mut extra = None;
    if let Some(data) = line.strip_prefix("extra ") {
        if data.len() > EXTRA_CHARACTERS {
            return Err("too much extra data");
        }
        extra = Some(STANDARD.decode(data).map_err(|_| "its extra data is not base64")?);
        line = lines.next().ok_or("no index")?;
    }
    let index = line.strip_prefix("index ").and_then(read_decimal).ok_or("its index is not a decimal below 2^53")?;
    let mut proof = Vec::new();
    for line in lines {
        if proof.len() == PROOF_HASHES {
            return Err("its proof is longer than any tree is high");
        }
        proof.push(read_hash(line).ok_or("a line of its proof is not a base64 SHA-256")?);
    }
    Ok((index, proof, extra))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_receipt_is_laid_out_as_in_the_standard() {
        let (log, key) = (sample::Log::of((0..3).map(sample::act)), sample::key(1));
        let text = log.receipt(2, &key).encode();
        let sibling = STANDARD.encode(crate::node_hash(&leaf_hash(&log.entries[0]), &leaf_hash(&log.entries[1])));
        let expected = format!("c2sp.org/tlog-proof@v1\nindex 2\n{sibling}\n\n{}", log.signed(&key));
        assert_eq!(text, expected);
        let with_extra = text.replacen("index", "extra AAEC\nindex", 1);
        let read = Receipt::parse(&with_extra).unwrap();
        assert_eq!(read.extra(), Some(&[0, 1, 2][..]));
        assert_eq!(read.encode(), with_extra);
        assert!(read.verify(&log.entries[2], &[key.verifier]).is_ok());
    }

    #[test]
    fn a_receipt_shows_its_entry_and_no_other() {
        let (log, key) = (sample::Log::of((0..300).map(sample::act)), sample::key(1));
        let keys = [key.verifier.clone()];
        for index in [0, 1, 255, 256, 299] {
            let entry = log.entries[usize::try_from(index).unwrap()];
            let receipt = Receipt::parse(&log.receipt(index, &key).encode()).unwrap();
            let verified = receipt.verify(&entry, &keys).unwrap();
            assert_eq!(verified, VerifiedReceipt { index, leaf: leaf_hash(&entry), checkpoint: log.checkpoint() });
            let other = log.entries[usize::try_from((index + 1) % 300).unwrap()];
            assert_eq!(receipt.verify(&other, &keys), Err(LedgerError::NotIncluded { index, size: 300 }));
        }
    }

    #[test]
    fn a_receipt_under_the_checkpoint_of_another_key_is_refused() {
        let (log, key, other) = (sample::Log::of([sample::act(0)]), sample::key(1), sample::key(2));
        let receipt = log.receipt(0, &other);
        assert!(receipt.verify(&log.entries[0], &[other.verifier]).is_ok());
        assert_eq!(receipt.verify(&log.entries[0], &[key.verifier]), Err(LedgerError::NotSigned));
    }

    #[test]
    fn each_changed_byte_is_refused() {
        let (log, key) = (sample::Log::of((0..5).map(sample::act)), sample::key(1));
        let (text, keys) = (log.receipt(2, &key).encode(), [key.verifier]);
        let verify = |text: &str| Receipt::parse(text)?.verify(&log.entries[2], &keys);
        assert!(verify(&text).is_ok());
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                if let Ok(changed) = String::from_utf8(bytes) {
                    assert!(verify(&changed).is_err(), "{changed}");
                }
            }
        }
        for end in 0..text.len() {
            if let Some(cut) = text.get(..end) {
                assert!(verify(cut).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn each_malformed_receipt_is_refused() {
        let (log, key) = (sample::Log::of((0..3).map(sample::act)), sample::key(1));
        let text = log.receipt(2, &key).encode();
        let line = format!("{}\n", text.lines().nth(2).unwrap());
        assert!(Receipt::parse(&text).is_ok());
        for wrong in [
            String::new(),
            text.replacen("@v1", "@v2", 1),
            text.replacen("index 2\n", "", 1),
            text.replacen("index 2", "index 02", 1),
            text.replacen("index 2", "index", 1),
            text.replacen("index 2", "Index 2", 1),
            text.replacen("index 2", "index -2", 1),
            text.replacen("index 2", "index 9007199254740992", 1),
            text.replacen("index 2", "index 2\nindex 2", 1),
            text.replacen("index 2", "extra AAE\nindex 2", 1),
            text.replacen("index 2", "extra AAEC\nextra AAEC\nindex 2", 1),
            text.replacen("index 2", &format!("extra {}\nindex 2", "AAAA".repeat(EXTRA_CHARACTERS)), 1),
            text.replacen(&line, &line.replace('=', ""), 1),
            text.replacen(&line, &line.repeat(PROOF_HASHES + 1), 1),
            text.replacen(&line, &format!("{line} \n"), 1),
            format!("{text}\n"),
            format!("{text}{}", "a".repeat(RECEIPT_BYTES)),
        ] {
            assert!(Receipt::parse(&wrong).is_err(), "{wrong}");
        }
        assert!(Receipt::parse(&text.replacen(&line, &line.repeat(PROOF_HASHES), 1)).is_ok());
    }
}
