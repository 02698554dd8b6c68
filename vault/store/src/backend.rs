//! What a database has to do so that the sequencer can run on it.
//!
//! What a batch *means* is written once, in the sequencer; a backend brings SQL only. Each method
//! of [`Transaction`] is one small act, and the conformance suite holds every backend to it.

use crate::{
    batch::{Blob, Change, Closed, Guard, Quota},
    model::{EntryRow, Head, LeaseRow},
    store::{Store, StoreError},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use strongroom_ledger::{Frontier, Subject, Tile, TileId, TileSet};
use strongroom_protocol::{DecisionId, challenge::Nonce};

/// A store that the sequencer can write to.
#[async_trait]
pub trait Backend: Store {
    /// Begins a writing transaction and takes the head's lock, which it holds until it ends: of all
    /// replicas one at a time is between here and [`Transaction::commit`].
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError>;

    /// Takes a replica's name for this process. Of two processes that took one name, the later one commits
    /// and the earlier one does not any more. Nothing to do where only one process can write.
    async fn occupy(&self, replica: &str) -> Result<(), StoreError>;

    /// Whether other processes may commit to the same log.
    fn is_shared(&self) -> bool;

    /// How often a batch is tried where other transactions may stand in its way
    /// ([`StoreError::Conflicted`]); 1 where none can.
    fn attempts(&self) -> u32;

    /// The log's end as one snapshot: the head, its frontier, and whole level-0 tiles of entries that
    /// hold at least the last `entries` of them.
    async fn tail(&self, entries: u64) -> Result<Option<Tail>, StoreError>;

    /// The head as one snapshot, with the tiles that `wanted` asks for once it knows the size.
    async fn snapshot(
        &self,
        wanted: &(dyn Fn(u64) -> Vec<TileId> + Send + Sync),
    ) -> Result<Option<(StoredHead, TileSet)>, StoreError>;
}

/// The head row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHead {
    /// The right edge of the tree.
    pub frontier: Frontier,
    /// Time of the last record, Unix milliseconds.
    pub time_ms: u64,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// Set while the log is known to have gone back in time.
    pub mark: Option<RollbackMark>,
}

/// What a replica leaves in the database that it found gone back in time, so that no replica commits to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackMark {
    /// The replica that found it.
    pub replica: String,
    /// Size and root in the database, when it was found.
    pub database: String,
    /// Size and root of that replica's checkpoint outside the database.
    pub outside: String,
}

impl RollbackMark {
    /// As every replica says it.
    pub fn error(&self) -> StoreError {
        StoreError::Rollback {
            database: self.database.clone(),
            outside: format!("{} (found by the replica {})", self.outside, self.replica),
        }
    }
}

impl StoredHead {
    /// Size and checkpoint, as callers see it.
    pub fn head(&self) -> Head {
        Head { size: self.frontier.size(), checkpoint: self.checkpoint.clone() }
    }
}

/// The log's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The head.
    pub head: StoredHead,
    /// Index of the first entry below; a multiple of 256.
    pub first: u64,
    /// Entries from there to the end, as they are stored.
    pub entries: Vec<EntryRow>,
    /// The right-edge tiles of the trees of `first` and of the head's size, and those over `entries`.
    pub tiles: TileSet,
}

/// An entry to insert, as the sequencer made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// Index in the log.
    pub index: u64,
    /// `SHA-256(salt || record)`.
    pub entry: [u8; 32],
    /// The record's id: unique in the log.
    pub id: DecisionId,
    /// The record's time, Unix milliseconds; never before the previous entry's.
    pub time_ms: u64,
    /// The salt.
    pub salt: [u8; 16],
    /// The record's bytes.
    pub record: Vec<u8>,
}

/// An item whose only change, if any, is a lease that it grants, and what has to be known of it before
/// anything is written.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The id of its record.
    pub id: DecisionId,
    /// What it was decided from.
    pub guards: &'a [Guard],
    /// The nonce that it burns.
    pub nonce: Option<&'a Nonce>,
    /// The lease that it grants.
    pub lease: Option<&'a LeaseRow>,
    /// What is to be counted, without the lease.
    pub quotas: &'a [&'a Quota],
    /// The subject whose last record is asked for.
    pub subject: Option<&'a Subject>,
}

/// What is known of a candidate. Nothing of it changes until this transaction writes: it holds the
/// head's lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The place of the first guard that does not hold any more.
    pub stale: Option<usize>,
    /// Whether the nonce was burnt before.
    pub burnt: bool,
    /// Whether a lease with the candidate's id or statement exists.
    pub granted: bool,
    /// Whether a record has its id.
    pub recorded: bool,
    /// The counts of its quotas, in their order; see [`Transaction::count`].
    pub counts: Vec<u64>,
    /// The id of the last record of the subject.
    pub last: Option<DecisionId>,
}

/// What an admitted candidate writes.
#[derive(Debug, Clone, Copy)]
pub struct Addition<'a> {
    /// The nonce to burn.
    pub nonce: Option<&'a Nonce>,
    /// The lease to grant.
    pub lease: Option<&'a LeaseRow>,
    /// The entry to insert.
    pub entry: &'a NewEntry,
    /// Bytes to keep by their content.
    pub blobs: &'a [Blob],
}

/// One writing transaction. Dropped without a commit, it leaves nothing.
#[async_trait]
pub trait Transaction: Send {
    /// The database's clock in Unix milliseconds, and the head, which this transaction has locked.
    async fn head(&mut self) -> Result<(u64, Option<StoredHead>), StoreError>;
    /// The widest stored version of these tiles; one that is missing is missing in the set.
    async fn tiles(&mut self, ids: &[TileId]) -> Result<TileSet, StoreError>;

    /// Looks at a candidate in one way to the database.
    async fn examine(&mut self, candidate: &Candidate<'_>, now: i64) -> Result<Examined, StoreError>;
    /// Writes a candidate of which [`Transaction::examine`] found nothing against it. It may be written
    /// with what comes next; an error then comes from there, and the transaction is not to be committed.
    async fn add(&mut self, addition: &Addition<'_>) -> Result<(), StoreError>;

    /// Begins an item: what follows can be taken back alone.
    async fn begin_item(&mut self) -> Result<(), StoreError>;
    /// Keeps what the item did.
    async fn keep_item(&mut self) -> Result<(), StoreError>;
    /// Takes back what the item did.
    async fn undo_item(&mut self) -> Result<(), StoreError>;

    /// The first guard that does not hold any more.
    async fn stale<'g>(&mut self, guards: &'g [Guard]) -> Result<Option<&'g Guard>, StoreError>;
    /// Burns a nonce; false if it was burnt before.
    async fn burn(&mut self, nonce: &Nonce) -> Result<bool, StoreError>;
    /// Makes a change at `now` (Unix seconds), and says what it closed; the reason, if the rows are not
    /// as it needs them.
    async fn apply(&mut self, change: &Change, now: i64) -> Result<Result<Closed, String>, StoreError>;
    /// What a quota counts at `now` (Unix seconds). Leases as this transaction leaves them; denials
    /// only as earlier transactions committed them.
    async fn count(&mut self, quota: &Quota, now: i64) -> Result<u64, StoreError>;
    /// The id of the last record of a subject.
    async fn last_of(&mut self, subject: &Subject) -> Result<Option<DecisionId>, StoreError>;
    /// Inserts an entry; false if a record has this id already.
    async fn insert_entry(&mut self, entry: &NewEntry) -> Result<bool, StoreError>;

    /// Keeps bytes by their content; nothing happens where they are kept already.
    async fn keep_blob(&mut self, blob: &Blob) -> Result<(), StoreError>;
    /// Deletes at most `limit` burnt nonces that expired before `before`, Unix seconds.
    async fn forget_nonces(&mut self, before: i64, limit: u32) -> Result<(), StoreError>;
    /// Inserts terms of the inverted index, each with the index of an entry; writes tiles over their
    /// narrower versions; writes the head.
    async fn put_head(&mut self, terms: &[(String, u64)], tiles: &[Tile], head: &StoredHead) -> Result<(), StoreError>;
    /// Marks the log as gone back in time, or takes the mark away. Nothing to do where only one process can write.
    async fn mark(&mut self, mark: Option<&RollbackMark>) -> Result<(), StoreError>;
    /// Makes it durable. After an error it may or may not have been: read the head again.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
    /// Takes everything back, and frees the head's lock now rather than at the next beginning.
    async fn roll_back(self: Box<Self>);
}
