//! A small log for tests.

use crate::{
    Action, Actor, ActorKind, Checkpoint, Frontier, Hash, Prover, Receipt, Record, SignedCheckpoint, Subject,
    SubjectKind, TileSet, Timestamp, Verdict, VerifierKey, append, entry_hash,
};
use ring::signature::{Ed25519KeyPair, KeyPair};
use strongroom_protocol::{
    DecisionId, Fixed,
    audit::{EntryView, ExportLine},
};

pub(crate) const ORIGIN: &str = "strongroom/test";

pub(crate) struct Key {
    pub(crate) pair: Ed25519KeyPair,
    pub(crate) verifier: VerifierKey,
}

pub(crate) fn key(seed: u8) -> Key {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let verifier = VerifierKey::new(ORIGIN, pair.public_key().as_ref().try_into().unwrap()).unwrap();
    Key { pair, verifier }
}

pub(crate) fn id(number: u64) -> DecisionId {
    DecisionId(ulid::Ulid::from_parts(1_700_000_000_000 + number, u128::from(number)))
}

pub(crate) fn time(number: u64) -> Timestamp {
    Timestamp::from_unix_millis(1_700_000_000_000 + number).unwrap()
}

/// An administrative act.
pub(crate) fn act(number: u64) -> Record {
    Record::new(
        id(number),
        time(number),
        "replica-1",
        Actor::new(ActorKind::Person, "alice"),
        Action::SiteCreated,
        Subject::new(SubjectKind::Site, format!("site-{number}")),
    )
}

/// A decision that released.
pub(crate) fn decision(number: u64) -> Record {
    let mut record = act(number);
    record.action = Action::ReleaseDecided;
    record.actor = Actor::new(ActorKind::Node, "node");
    record.subject = Subject::new(SubjectKind::Decision, id(number).to_string());
    record.verdict = Some(Verdict::Released);
    record.statement_sha256 = Some(Fixed([1; 32]));
    record.recipient_sha256 = Some(Fixed([2; 32]));
    record
}

pub(crate) fn salt(index: u64) -> [u8; 16] {
    let mut salt = [7; 16];
    salt[..8].copy_from_slice(&index.to_be_bytes());
    salt
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) entries: Vec<Hash>,
    pub(crate) frontier: Frontier,
    pub(crate) tiles: TileSet,
}

impl Log {
    pub(crate) fn of(records: impl IntoIterator<Item = Record>) -> Self {
        let mut log = Self::default();
        log.write(records.into_iter().map(|record| record.to_canonical().unwrap()).collect());
        log
    }

    pub(crate) fn write(&mut self, records: Vec<Vec<u8>>) {
        let first = self.frontier.size();
        let entries: Vec<_> = (first..).zip(&records).map(|(index, record)| entry_hash(&salt(index), record)).collect();
        let appended = append(&self.frontier, &entries, &self.tiles).unwrap();
        self.frontier = appended.frontier;
        self.tiles.extend(appended.tiles);
        self.entries.extend(entries);
        self.records.extend(records);
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint::of(ORIGIN, &self.frontier)
    }

    pub(crate) fn signed(&self, key: &Key) -> SignedCheckpoint {
        self.checkpoint().sign(&key.verifier, &key.pair).unwrap()
    }

    pub(crate) fn receipt(&self, index: u64, key: &Key) -> Receipt {
        let proof = Prover::new(&self.tiles, self.frontier.size()).inclusion(index).unwrap();
        Receipt::new(index, proof, self.signed(key))
    }

    pub(crate) fn export(&self, key: &Key) -> Vec<ExportLine> {
        let header = ExportLine::Header { v: 1, ledger_verifier_key: key.verifier.to_string(), first: 0 };
        let entries = (0..).zip(&self.records).zip(&self.entries).map(|((index, record), entry)| {
            ExportLine::Entry(EntryView {
                index,
                record: Some(record.clone().into()),
                salt: Some(salt(index).as_slice().into()),
                entry: entry.as_slice().into(),
            })
        });
        let footer = ExportLine::Footer { checkpoint: self.signed(key).to_string() };
        std::iter::once(header).chain(entries).chain([footer]).collect()
    }
}
