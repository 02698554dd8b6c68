//! A fresh store with a sequencer on it.

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use std::{path::PathBuf, sync::Arc};
use strongroom_ledger::{Checkpoint, Receipt, Record, SignedCheckpoint, VerifierKey, entry_hash, leaf_hash};
use strongroom_protocol::sha256;
use strongroom_store::{Backend, Committed, Item, Outcome, Refusal, Sequencer, Store, StoreError};

/// Log origin and key name of every world.
pub(crate) const ORIGIN: &str = "strongroom/test";

pub(crate) struct World {
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) sequencer: Sequencer,
    pub(crate) directory: tempfile::TempDir,
}

pub(crate) fn signer() -> Arc<Ed25519KeyPair> {
    Arc::new(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
}

pub(crate) fn verifier() -> VerifierKey {
    VerifierKey::new(ORIGIN, signer().public_key().as_ref().try_into().unwrap()).unwrap()
}

impl World {
    /// A world over an empty store. `directory` holds the checkpoint file.
    pub(crate) async fn over(store: Arc<dyn Backend>, directory: tempfile::TempDir) -> Self {
        let outside = directory.path().join("checkpoint");
        let sequencer = sequencer(store.clone(), outside).await.unwrap();
        Self { store, sequencer, directory }
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.directory.path().join("checkpoint")
    }

    pub(crate) async fn now(&self) -> i64 {
        self.store.now().await.unwrap()
    }

    pub(crate) async fn commit(&self, items: Vec<Item>) -> Vec<Outcome> {
        self.sequencer.commit(items).await.unwrap()
    }

    pub(crate) async fn accepted(&self, item: Item) -> Committed {
        accepted(self.commit(vec![item]).await.remove(0))
    }

    pub(crate) async fn refused(&self, item: Item) -> Refusal {
        refused(self.commit(vec![item]).await.remove(0))
    }

    /// Reads the whole log and computes its tree again by the text of RFC 6962. Gives the records.
    pub(crate) async fn check_log(&self) -> Vec<Record> {
        check_log(&*self.store).await
    }
}

pub(crate) async fn sequencer(store: Arc<dyn Backend>, outside: PathBuf) -> Result<Sequencer, StoreError> {
    Sequencer::new(store, signer(), verifier(), outside, "replica-1").await
}

#[track_caller]
pub(crate) fn accepted(outcome: Outcome) -> Committed {
    match outcome {
        Outcome::Committed(committed) => committed,
        Outcome::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

#[track_caller]
pub(crate) fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Committed(committed) => panic!("committed at {}", committed.index),
        Outcome::Refused(refusal) => refusal,
    }
}

/// Whether a receipt proves this very record, as a client checks it.
pub(crate) fn check_receipt(committed: &Committed) -> Checkpoint {
    let entry = entry_hash(&committed.salt, &committed.record);
    assert_eq!(leaf_hash(&entry), committed.leaf);
    let shown = Receipt::parse(&committed.receipt).unwrap().verify(&entry, &[verifier()]).unwrap();
    assert_eq!((shown.index, shown.leaf), (committed.index, committed.leaf));
    shown.checkpoint
}

pub(crate) async fn check_log(store: &(impl Store + ?Sized)) -> Vec<Record> {
    let entries = store.entries(0, u32::MAX).await.unwrap();
    let mut leaves = Vec::new();
    let mut records: Vec<Record> = Vec::new();
    for (expected, entry) in (0..).zip(&entries) {
        assert_eq!(entry.index, expected);
        let (record, salt) = entry.body.as_ref().unwrap();
        assert_eq!(sha256(&[salt.as_slice(), record].concat()), entry.entry);
        leaves.push(sha256(&[&[0], entry.entry.as_slice()].concat()));
        let record = Record::parse(record).unwrap();
        let last = records.iter().rev().find(|earlier| earlier.subject == record.subject);
        assert_eq!(record.previous, last.map(|last| last.id));
        assert!(records.last().is_none_or(|before| before.time <= record.time));
        assert!(records.iter().all(|other| other.id != record.id));
        records.push(record);
    }
    match store.head().await.unwrap() {
        None => assert!(entries.is_empty()),
        Some(head) => {
            let signed = SignedCheckpoint::parse(&head.checkpoint).unwrap();
            let checkpoint = signed.verify(&[verifier()]).unwrap();
            assert_eq!((checkpoint.size, head.size), (entries.len() as u64, entries.len() as u64));
            assert_eq!(checkpoint.root, tree_hash(&leaves));
        }
    }
    records
}

/// MTH of RFC 6962, section 2.1, over leaf hashes.
pub(crate) fn tree_hash(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => sha256(b""),
        [leaf] => *leaf,
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            sha256(&[&[1], tree_hash(left).as_slice(), tree_hash(right).as_slice()].concat())
        }
    }
}
