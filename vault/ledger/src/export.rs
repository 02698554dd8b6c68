//! What an auditor does with an export, on a laptop that need not be on any network.

use crate::{
    Action, Checkpoint, Frontier, Hash, LedgerError, RECORD_BYTES, Record, SignedCheckpoint, Subject, Timestamp,
    Verdict, VerifierKey, entry_hash,
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
};
use strongroom_protocol::{
    DecisionId,
    audit::{EntryView, ExportLine},
};

/// A record may be this much older than the newest before it, in milliseconds, and count as in order:
/// a decision is made before its batch commits, and replicas decide side by side.
pub const CLOCK_TOLERANCE_MILLIS: u64 = 5 * 60 * 1000;

/// A line of an export, bytes: the largest record in base64, with its frame.
const LINE_BYTES: usize = RECORD_BYTES / 3 * 4 + (4 << 10);

/// Why an export was refused. Each names the line or the entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// A line could not be read.
    #[error("line {line}: {problem}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// An entry has another index than its place.
    #[error("entry {expected}: entry {actual} stands in its place")]
    OutOfOrder {
        /// The index that comes next.
        expected: u64,
        /// The index that was found.
        actual: u64,
    },
    /// Entry, salt or record has a wrong length, or one of salt and record is missing.
    #[error("entry {index}: {problem}")]
    Malformed {
        /// The entry.
        index: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The record was changed, or the entry was.
    #[error("entry {index}: the record does not hash to its entry")]
    NotItsEntry {
        /// The entry.
        index: u64,
    },
    /// The record's bytes are not a record.
    #[error("entry {index}: {problem}")]
    Record {
        /// The entry.
        index: u64,
        /// Why.
        problem: LedgerError,
    },
    /// Two records have the same id.
    #[error("entry {index}: record {id} is already entry {first}")]
    DoubledId {
        /// The later entry.
        index: u64,
        /// The id.
        id: DecisionId,
        /// The earlier entry.
        first: u64,
    },
    /// A record does not name the latest earlier record of its subject.
    #[error("entry {index}: it follows {}, but the latest record of its subject is {}", shown(*.named), shown(*.latest))]
    ChainBroken {
        /// The entry.
        index: u64,
        /// What it names.
        named: Option<DecisionId>,
        /// What it should name.
        latest: Option<DecisionId>,
    },
    /// The footer is missing: lines are missing at the end.
    #[error("the export ends after {entries} entries without its checkpoint")]
    Truncated {
        /// Entries that were read.
        entries: u64,
    },
    /// The export has another number of entries than the checkpoint's tree.
    #[error("the export has {entries} entries, its checkpoint {size}")]
    WrongSize {
        /// Entries that were read.
        entries: u64,
        /// The checkpoint's size.
        size: u64,
    },
    /// Entries were changed, swapped or put in: the tree's root is another.
    #[error("the {size} entries do not make the root that was signed")]
    WrongRoot {
        /// The tree's size.
        size: u64,
    },
    /// The checkpoint is malformed, or not signed by a key that the auditor trusts.
    #[error("the checkpoint: {0}")]
    Checkpoint(LedgerError),
    /// The export is shorter than the log was when the auditor last looked.
    #[error("the log had {known} entries before, the export has {entries}")]
    Shrunk {
        /// Size of the checkpoint that the auditor kept.
        known: u64,
        /// Entries in the export.
        entries: u64,
    },
    /// The log's past is another than when the auditor last looked.
    #[error("the first {size} entries do not make the root of the checkpoint that was kept")]
    Rewritten {
        /// Size of the checkpoint that the auditor kept.
        size: u64,
    },
}

fn shown(id: Option<DecisionId>) -> String {
    id.map_or_else(|| "nothing".to_owned(), |id| id.to_string())
}

/// A place where the recorded time goes back by more than [`CLOCK_TOLERANCE_MILLIS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// The entry.
    pub index: u64,
    /// How far it is behind the newest time before it, milliseconds.
    pub millis: u64,
}

/// What a verified export holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportReport {
    /// The checkpoint that the entries were verified against.
    pub checkpoint: Checkpoint,
    /// Entries whose body was pruned: their place is proven, their content is gone.
    pub pruned: u64,
    /// Records of each act.
    pub actions: BTreeMap<Action, u64>,
    /// Decisions that released.
    pub released: u64,
    /// Decisions that denied.
    pub denied: u64,
    /// The earliest recorded time.
    pub earliest: Option<Timestamp>,
    /// The latest recorded time.
    pub latest: Option<Timestamp>,
    /// Number of entries whose time went back further than is tolerated. Not an error, since a clock
    /// that was set right leaves such a place for ever; but somebody should know why it is there.
    pub clock_steps: u64,
    /// The first of them.
    pub first_clock_step: Option<ClockStep>,
}

/// Parses one line of an export (JSON, without its newline) under a cap of its length.
pub fn parse_export_line(line: &[u8]) -> Result<ExportLine, String> {
    if line.len() > LINE_BYTES {
        return Err(format!("over {LINE_BYTES} bytes"));
    }
    serde_json::from_slice(line).map_err(|e| e.to_string())
}

/// Verifies a whole export, line by line, holding no record but its id and its subject.
///
/// Every entry is computed again from salt and record (a pruned one is taken as it is), indices run
/// from 0 without a gap, the entries make the root of the footer's checkpoint, and one of `keys`
/// signed that: the auditor's own copies, one of which the header has to name. Ids are unique. A
/// record's `previous` is the latest earlier record of its subject; where bodies were pruned before
/// it, it may instead name a record that is not there. With `known`, a checkpoint that the auditor kept, the first entries must
/// make its root too: the log still has the past that it had.
pub fn verify_export<E: Display>(
    lines: impl IntoIterator<Item = Result<ExportLine, E>>,
    keys: &[VerifierKey],
    known: Option<&Checkpoint>,
) -> Result<ExportReport, ExportError> {
    let mut audit = Audit::new(known);
    let mut footer = None;
    let mut number = 0;
    for line in lines {
        number += 1;
        let refused = |problem: String| ExportError::Line { line: number, problem };
        match (number, line.map_err(|e| refused(e.to_string()))?) {
            (1, ExportLine::Header { v: 1, first: 0, ledger_verifier_key }) => {
                // It is for information, and must not inform wrongly.
                if !keys.iter().any(|key| key.to_string() == ledger_verifier_key) {
                    return Err(refused("the header names another ledger key than the one that is trusted".into()));
                }
            }
            (1, ExportLine::Header { .. }) => return Err(refused("not an export of version 1 from entry 0".into())),
            (1, _) => return Err(refused("an export starts with its header".into())),
            (_, ExportLine::Header { .. }) => return Err(refused("a second header".into())),
            _ if footer.is_some() => return Err(refused("a line after the checkpoint".into())),
            (_, ExportLine::Entry(entry)) => audit.entry(&entry)?,
            (_, ExportLine::Footer { checkpoint }) => footer = Some(checkpoint),
        }
    }
    let Some(footer) = footer else {
        return Err(ExportError::Truncated { entries: audit.frontier.size() });
    };
    audit.finish(&footer, keys)
}

struct Audit<'a> {
    known: Option<&'a Checkpoint>,
    /// The root that the entries made at the size of the known checkpoint.
    root_then: Option<Hash>,
    frontier: Frontier,
    ids: HashMap<DecisionId, u64>,
    /// Latest record of each subject.
    chains: HashMap<Subject, DecisionId>,
    report: ExportReport,
}

impl<'a> Audit<'a> {
    fn new(known: Option<&'a Checkpoint>) -> Self {
        let frontier = Frontier::new();
        let report = ExportReport {
            checkpoint: Checkpoint::of("", &frontier),
            pruned: 0,
            actions: BTreeMap::new(),
            released: 0,
            denied: 0,
            earliest: None,
            latest: None,
            clock_steps: 0,
            first_clock_step: None,
        };
        Self { known, root_then: None, frontier, ids: HashMap::new(), chains: HashMap::new(), report }
    }

    fn entry(&mut self, view: &EntryView) -> Result<(), ExportError> {
        let index = self.frontier.size();
        if view.index != index {
            return Err(ExportError::OutOfOrder { expected: index, actual: view.index });
        }
        self.note_known_size();
        let malformed = |problem| ExportError::Malformed { index, problem };
        let entry: Hash = view.entry.0.as_slice().try_into().map_err(|_| malformed("an entry has 32 bytes"))?;
        match (&view.salt, &view.record) {
            (None, None) => self.report.pruned += 1,
            (Some(salt), Some(record)) => {
                let salt = salt.0.as_slice().try_into().map_err(|_| malformed("a salt has 16 bytes"))?;
                if entry_hash(salt, &record.0) != entry {
                    return Err(ExportError::NotItsEntry { index });
                }
                let record = Record::parse(&record.0).map_err(|problem| ExportError::Record { index, problem })?;
                self.record(index, record)?;
            }
            _ => return Err(malformed("salt and record are pruned together or not at all")),
        }
        self.frontier.push(&entry).map_err(|problem| ExportError::Record { index, problem })
    }

    fn record(&mut self, index: u64, record: Record) -> Result<(), ExportError> {
        if let Some(first) = self.ids.insert(record.id, index) {
            return Err(ExportError::DoubledId { index, id: record.id, first });
        }
        let (named, latest) = (record.previous, self.chains.insert(record.subject, record.id));
        // A named record that is not in the export can only be a pruned one.
        let absent = named.is_some_and(|id| !self.ids.contains_key(&id) && self.report.pruned > 0);
        if named != latest && !absent {
            return Err(ExportError::ChainBroken { index, named, latest });
        }

        let newest = self.report.latest.map_or(record.time, |latest| latest.max(record.time));
        let millis = newest.unix_millis() - record.time.unix_millis();
        if millis > CLOCK_TOLERANCE_MILLIS {
            self.report.clock_steps += 1;
            self.report.first_clock_step.get_or_insert(ClockStep { index, millis });
        }
        self.report.latest = Some(newest);
        self.report.earliest = Some(self.report.earliest.map_or(record.time, |earliest| earliest.min(record.time)));
        *self.report.actions.entry(record.action).or_default() += 1;
        match record.verdict {
            Some(Verdict::Released) => self.report.released += 1,
            Some(Verdict::Denied) => self.report.denied += 1,
            None => {}
        }
        Ok(())
    }

    fn note_known_size(&mut self) {
        if self.known.is_some_and(|known| known.size == self.frontier.size()) {
            self.root_then = Some(self.frontier.root());
        }
    }

    fn finish(mut self, footer: &str, keys: &[VerifierKey]) -> Result<ExportReport, ExportError> {
        self.note_known_size();
        let entries = self.frontier.size();
        let signed = SignedCheckpoint::parse(footer).map_err(ExportError::Checkpoint)?;
        let checkpoint = signed.verify(keys).map_err(ExportError::Checkpoint)?;
        if checkpoint.size != entries {
            return Err(ExportError::WrongSize { entries, size: checkpoint.size });
        }
        if checkpoint.root != self.frontier.root() {
            return Err(ExportError::WrongRoot { size: entries });
        }
        if let Some(known) = self.known {
            if known.origin != checkpoint.origin {
                return Err(ExportError::Checkpoint(LedgerError::OtherLog {
                    known: known.origin.clone(),
                    actual: checkpoint.origin.clone(),
                }));
            }
            match self.root_then {
                None => return Err(ExportError::Shrunk { known: known.size, entries }),
                Some(root) if root != known.root => return Err(ExportError::Rewritten { size: known.size }),
                Some(_) => {}
            }
        }
        self.report.checkpoint = checkpoint.clone();
        Ok(self.report)
    }
}

#[cfg(test)]
mod tests;
