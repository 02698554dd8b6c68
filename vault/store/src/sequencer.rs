//! The one writer: it turns a batch of decisions into entries of the ledger, all at once.
//!
//! ```text
//! lock head ─> head extends outside checkpoint? ─> admit each item ─> entries, tiles, signed
//! checkpoint, head ─> COMMIT ─> outside checkpoint ─> receipts ─> answer
//! ```
//!
//! The order is the promise. A checkpoint is signed only over a tree that extends the last one that
//! was answered, and leaves the process only after its transaction is known to be durable and the
//! checkpoint outside the database is written. What a crash leaves at each step stands in
//! [`CrashPoint`].

use crate::{
    admission::{Admission, Admitted},
    backend::{Backend, RollbackMark, StoredHead, Transaction},
    batch::{Committed, Item, Outcome},
    faults::{CrashPoint, Faults, NoFaults},
    outside::{Outside, describe},
    store::StoreError,
};
use std::{
    path::PathBuf,
    sync::{Arc, OnceLock, PoisonError},
};
use strongroom_ledger::{
    Checkpoint, Frontier, LedgerError, Prover, Receipt, SignedCheckpoint, Signer, TileSet, VerifierKey, append,
    consistency_tiles, edge_tiles, leaf_hash,
};
use strongroom_protocol::limits;
use tokio::sync::Mutex;

/// Items that one commit takes at the most.
pub const MAX_BATCH: usize = 256;
/// Expired nonces are forgotten when this many were burnt since the last time, or after so many seconds.
const FORGET_EVERY: (u32, i64) = (128, 30);

/// Commits batches. Cheap to clone; all clones commit one after the other.
#[derive(Clone)]
pub struct Sequencer(pub(crate) Arc<Writer>);

/// What the clones share.
pub(crate) struct Writer {
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) verifier: VerifierKey,
    /// Held while a batch commits.
    pub(crate) outside: Mutex<Outside>,
    /// Nonces burnt since expired ones were forgotten, and when that was.
    burnt: std::sync::Mutex<(u32, i64)>,
    signer: Arc<dyn Signer + Send + Sync>,
    replica: String,
    marks: Marks,
    faults: Arc<dyn Faults>,
    /// Why nothing is signed any more.
    lock: OnceLock<Lock>,
}

/// What becomes of a log that is found, or marked, as gone back in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// A finding is marked in a database that others write to, and a mark locks.
    Set,
    /// A mark locks, and nothing is written.
    Heeded,
    /// A person has decided: the next commit takes the mark away.
    Cleared,
}

/// What locks the sequencer until a person decides.
enum Lock {
    Rollback { database: String, outside: String },
    Corrupt(String),
}

impl Sequencer {
    /// Opens the log that `store` holds, for the replica of this name.
    ///
    /// `signer` signs with the vault's identity key, whose public half and log origin are
    /// `verifier`. `outside` is the file of the last committed checkpoint, on another file system
    /// than the database where there is one. It is made when the log is empty; a log that has
    /// entries and no such file may have been restored, and is refused ([`StoreError::Rollback`]), as
    /// is a log that does not extend what the file says. In a database that other replicas write to, the
    /// latter is marked, and all of them refuse from then on.
    pub async fn new(
        store: Arc<dyn Backend>,
        signer: Arc<dyn Signer + Send + Sync>,
        verifier: VerifierKey,
        outside: impl Into<PathBuf>,
        replica: impl Into<String>,
    ) -> Result<Self, StoreError> {
        Self::open(store, signer, verifier, outside.into(), replica.into(), Marks::Set).await
    }

    /// Like [`Sequencer::new`], for who only looks: a finding is told, and not marked in the database.
    pub async fn look(
        store: Arc<dyn Backend>,
        signer: Arc<dyn Signer + Send + Sync>,
        verifier: VerifierKey,
        outside: impl Into<PathBuf>,
        replica: impl Into<String>,
    ) -> Result<Self, StoreError> {
        Self::open(store, signer, verifier, outside.into(), replica.into(), Marks::Heeded).await
    }

    async fn open(
        store: Arc<dyn Backend>,
        signer: Arc<dyn Signer + Send + Sync>,
        verifier: VerifierKey,
        path: PathBuf,
        replica: String,
        marks: Marks,
    ) -> Result<Self, StoreError> {
        let outside = match Outside::read(&path, &verifier)? {
            Some(outside) => outside,
            None => match store.head().await? {
                None => Outside::create(&path, &sign(&Frontier::new(), &verifier, &*signer)?)?,
                Some(head) => {
                    return Err(StoreError::Rollback {
                        database: format!("{} entries", head.size),
                        outside: "no checkpoint file".to_owned(),
                    });
                }
            },
        };
        let known = outside.known().clone();
        let sequencer = Self::over(store, signer, verifier, outside, replica, marks);
        sequencer.0.check_extends(&known).await?;
        Ok(sequencer)
    }

    /// Puts it together, with nothing compared yet.
    pub(crate) fn over(
        store: Arc<dyn Backend>,
        signer: Arc<dyn Signer + Send + Sync>,
        verifier: VerifierKey,
        outside: Outside,
        replica: String,
        marks: Marks,
    ) -> Self {
        Self(Arc::new(Writer {
            store,
            verifier,
            outside: Mutex::new(outside),
            burnt: std::sync::Mutex::new((0, 0)),
            signer,
            replica,
            marks,
            faults: Arc::new(NoFaults),
            lock: OnceLock::new(),
        }))
    }

    /// The same sequencer with faults, for tests. No binary calls this.
    #[doc(hidden)]
    #[must_use]
    pub fn with_faults(self, faults: Arc<dyn Faults>) -> Self {
        match Arc::try_unwrap(self.0) {
            Ok(writer) => Self(Arc::new(Writer { faults, ..writer })),
            Err(shared) => Self(shared),
        }
    }

    /// The public half of the key that signs checkpoints, under the log's origin.
    pub fn verifier(&self) -> &VerifierKey {
        &self.0.verifier
    }

    /// Why nothing is committed any more, once the log was found to have gone back in time or to be damaged.
    pub fn locked(&self) -> Option<StoreError> {
        self.0.lock.get().map(Lock::error)
    }

    /// Moves the checkpoint kept outside the database up to what other replicas have committed, so that a
    /// database that went back in time is found out by those, too, that commit little. Only the process
    /// that the file belongs to may do this.
    pub async fn follow(&self) -> Result<(), StoreError> {
        self.0.follow().await.map_err(|error| self.0.lock_on(error))
    }

    /// Commits a batch of at most [`MAX_BATCH`] items, and answers for each, in their order.
    ///
    /// When this returns, every [`Outcome::Committed`] is durable, in the tree and under a signed
    /// checkpoint, and the checkpoint outside the database says so. A refused item has changed
    /// nothing. After an error nothing was answered; what the batch held is in the log as a whole or
    /// not at all, and [`crate::Store::entry_by_id`] tells which. A caller that stops waiting does
    /// not stop the commit.
    pub async fn commit(&self, batch: Vec<Item>) -> Result<Vec<Outcome>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if batch.len() > MAX_BATCH {
            return Err(StoreError::Unavailable(format!(
                "a batch has at most {MAX_BATCH} items, not {}: split it",
                batch.len()
            )));
        }
        let writer = Arc::clone(&self.0);
        tokio::spawn(async move { writer.commit(batch).await })
            .await
            .unwrap_or_else(|e| Err(StoreError::Unavailable(format!("the commit ended early: {e}"))))
    }
}

/// A batch with everything written but not committed.
struct Prepared {
    outcomes: Vec<Result<Admitted, crate::Refusal>>,
    head: StoredHead,
    signed: SignedCheckpoint,
    tiles: TileSet,
}

impl Writer {
    async fn commit(&self, batch: Vec<Item>) -> Result<Vec<Outcome>, StoreError> {
        let mut outside = self.outside.lock().await;
        for _ in 1..self.store.attempts() {
            match self.attempt(&mut outside, batch.clone()).await {
                Err(StoreError::Conflicted(why)) => tracing::info!(%why, "a batch is tried again"),
                done => return done,
            }
        }
        self.attempt(&mut outside, batch).await
    }

    async fn attempt(&self, outside: &mut Outside, batch: Vec<Item>) -> Result<Vec<Outcome>, StoreError> {
        if let Some(lock) = self.lock.get() {
            return Err(lock.error());
        }
        let mut tx = self.store.begin().await?;
        let prepared = match self.prepare(&mut *tx, outside.known(), batch).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(refusals)) => {
                tx.roll_back().await;
                return Ok(refusals.into_iter().map(Outcome::Refused).collect());
            }
            Err(error) => {
                tx.roll_back().await;
                return Err(self.found(error, outside.known()).await);
            }
        };
        if let Err(error) = tx.commit().await {
            self.settle(&prepared, error).await?;
        }
        self.faults.at(CrashPoint::AfterCommitBeforeOutside)?;
        outside.advance(&prepared.signed).await?;
        self.faults.at(CrashPoint::AfterOutsideBeforeAnswer)?;
        answer(prepared)
    }

    /// Writes everything, the head last. When no item is admitted there is nothing to sign: the
    /// refusals come back alone.
    async fn prepare(
        &self,
        tx: &mut dyn Transaction,
        known: &Checkpoint,
        batch: Vec<Item>,
    ) -> Result<Result<Prepared, Vec<crate::Refusal>>, StoreError> {
        let (now_ms, head) = tx.head().await?;
        let (frontier, time_ms, checkpoint) = (Frontier::new(), 0, String::new());
        let head = head.unwrap_or(StoredHead { frontier, time_ms, checkpoint, mark: None });
        let size = head.frontier.size();
        let mut wanted = edge_tiles(size);
        wanted.extend(consistency_tiles(known.size, size).unwrap_or_default());
        let mut tiles = tx.tiles(&wanted).await?;
        check_extends(&head.frontier, known, &tiles)?;
        self.check_mark(&head)?;
        self.faults.at(CrashPoint::AfterRead)?;

        let mut admission = Admission::begin(&self.replica, now_ms, &head, batch.len())?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for item in batch {
            outcomes.push(admission.admit(item, tx).await?);
        }
        self.faults.at(CrashPoint::AfterInsert)?;
        let entries: Vec<_> = outcomes.iter().flatten().map(|admitted| admitted.entry).collect();
        if entries.is_empty() {
            return Ok(Err(outcomes.into_iter().filter_map(Result::err).collect()));
        }

        let appended = append(&head.frontier, &entries, &tiles).map_err(corrupt)?;
        let signed = sign(&appended.frontier, &self.verifier, &*self.signer)?;
        self.faults.at(CrashPoint::AfterSign)?;
        self.forget_nonces(&admission, tx).await?;
        let (frontier, time_ms) = (appended.frontier, admission.time_ms());
        let head = StoredHead { frontier, time_ms, checkpoint: signed.to_string(), mark: None };
        tx.put_head(&admission.take_terms(), &appended.tiles, &head).await?;
        if self.marks == Marks::Cleared {
            tx.mark(None).await?;
        }
        self.faults.at(CrashPoint::BeforeCommit)?;
        tiles.extend(appended.tiles);
        Ok(Ok(Prepared { outcomes, head, signed, tiles }))
    }

    /// Deletes burnt nonces that nobody could use any more: at least as many as are burnt, in the long run.
    async fn forget_nonces(&self, admission: &Admission<'_>, tx: &mut dyn Transaction) -> Result<(), StoreError> {
        let (now, limit) = (admission.now(), {
            let mut burnt = self.burnt.lock().unwrap_or_else(PoisonError::into_inner);
            burnt.0 = burnt.0.saturating_add(admission.burnt());
            if burnt.0 < FORGET_EVERY.0 && (burnt.1..burnt.1 + FORGET_EVERY.1).contains(&admission.now()) {
                return Ok(());
            }
            let limit = burnt.0.saturating_mul(2).saturating_add(FORGET_EVERY.0);
            *burnt = (0, admission.now());
            limit
        });
        tx.forget_nonces(now.saturating_sub(limits::NONCE_KEPT.cast_signed()), limit).await
    }

    /// After an unclear COMMIT: asks the database what became of it. Nothing is signed before that is
    /// known, since this holds the sequencer, and the head's lock is free only when the unclear
    /// transaction has ended.
    async fn settle(&self, prepared: &Prepared, error: StoreError) -> Result<(), StoreError> {
        tracing::warn!(%error, "a commit ended unclearly; the head is read again");
        let mut tx = self.store.begin().await?;
        let head = tx.head().await;
        tx.roll_back().await;
        match head?.1 {
            Some(head) if head.checkpoint == prepared.head.checkpoint => Ok(()),
            // Another replica went on already: are these entries below what it wrote?
            Some(head) if head.frontier.size() > prepared.head.frontier.size() => {
                let Some(first) = prepared.outcomes.iter().flatten().next() else { return Err(error) };
                let found = self.store.entry(first.index).await?;
                if found.is_some_and(|found| found.entry == first.entry) { Ok(()) } else { Err(error) }
            }
            _ => Err(error),
        }
    }

    /// The committed head, which extends `known` and is not marked; locks the sequencer if it is not so.
    pub(crate) async fn check_extends(&self, known: &Checkpoint) -> Result<Option<StoredHead>, StoreError> {
        let size = known.size;
        let wanted = move |head: u64| consistency_tiles(size, head).unwrap_or_default();
        let (head, checked) = match self.store.snapshot(&wanted).await? {
            None => (None, check_extends(&Frontier::new(), known, &TileSet::new())),
            Some((head, tiles)) => {
                let checked = check_extends(&head.frontier, known, &tiles).and_then(|()| self.check_mark(&head));
                (Some(head), checked)
            }
        };
        match checked {
            Ok(()) => Ok(head),
            Err(error) => Err(self.found(error, known).await),
        }
    }

    fn check_mark(&self, head: &StoredHead) -> Result<(), StoreError> {
        match &head.mark {
            Some(mark) if self.marks != Marks::Cleared => Err(mark.error()),
            _ => Ok(()),
        }
    }

    /// Locks the sequencer where the log cannot be trusted, and tells the other replicas if it went back in time.
    async fn found(&self, error: StoreError, known: &Checkpoint) -> StoreError {
        let error = self.lock_on(error);
        if !matches!(error, StoreError::Rollback { .. }) || self.marks != Marks::Set || !self.store.is_shared() {
            return error;
        }
        for _ in 0..self.store.attempts() {
            match self.mark_rollback(known).await {
                Ok(()) => break,
                Err(failure) => tracing::error!(%failure, "the other replicas are not told of the rollback"),
            }
        }
        error
    }

    /// Marks the log as gone back in time, if its head, locked, does not extend `known` and has no mark yet.
    async fn mark_rollback(&self, known: &Checkpoint) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        match self.put_mark(&mut *tx, known).await {
            Ok(true) => tx.commit().await,
            done => {
                tx.roll_back().await;
                done.map(drop)
            }
        }
    }

    async fn put_mark(&self, tx: &mut dyn Transaction, known: &Checkpoint) -> Result<bool, StoreError> {
        let (frontier, marked) = match tx.head().await?.1 {
            Some(head) => (head.frontier, head.mark.is_some()),
            None => (Frontier::new(), false),
        };
        if marked {
            return Ok(false);
        }
        let tiles = tx.tiles(&consistency_tiles(known.size, frontier.size()).unwrap_or_default()).await?;
        match check_extends(&frontier, known, &tiles) {
            Err(StoreError::Rollback { database, outside }) => {
                tx.mark(Some(&RollbackMark { replica: self.replica.clone(), database, outside })).await?;
                Ok(true)
            }
            done => done.map(|()| false),
        }
    }

    /// Moves the checkpoint outside up to the committed head.
    async fn follow(&self) -> Result<(), StoreError> {
        // While this is held nothing of this process commits, and the head extends what is known.
        let mut outside = self.outside.lock().await;
        outside.check_file(&self.verifier)?;
        let Some(head) = self.check_extends(outside.known()).await? else { return Ok(()) };
        if head.frontier.size() <= outside.known().size {
            return Ok(());
        }
        let signed = SignedCheckpoint::parse(&head.checkpoint).map_err(corrupt)?;
        let checkpoint = signed.verify(std::slice::from_ref(&self.verifier)).map_err(corrupt)?;
        if *checkpoint != Checkpoint::of(self.verifier.name(), &head.frontier) {
            return Err(StoreError::Corrupt("the head's checkpoint is not of its tree".to_owned()));
        }
        outside.advance(&signed).await
    }

    /// Keeps in mind, for good, that the log is not what it was.
    pub(crate) fn lock_on(&self, error: StoreError) -> StoreError {
        let lock = match &error {
            StoreError::Rollback { database, outside } => {
                Lock::Rollback { database: database.clone(), outside: outside.clone() }
            }
            StoreError::Corrupt(what) => Lock::Corrupt(what.clone()),
            _ => return error,
        };
        tracing::error!(%error, "the ledger is locked");
        // The first reason stands.
        let _ = self.lock.set(lock);
        error
    }
}

impl Lock {
    fn error(&self) -> StoreError {
        match self {
            Self::Rollback { database, outside } => {
                StoreError::Rollback { database: database.clone(), outside: outside.clone() }
            }
            Self::Corrupt(what) => StoreError::Corrupt(what.clone()),
        }
    }
}

fn sign(
    frontier: &Frontier,
    verifier: &VerifierKey,
    signer: &(dyn Signer + Send + Sync),
) -> Result<SignedCheckpoint, StoreError> {
    Checkpoint::of(verifier.name(), frontier)
        .sign(verifier, signer)
        .map_err(|e| StoreError::Unavailable(format!("the checkpoint cannot be signed: {e}")))
}

/// Whether the tree of `frontier` extends `known`. `tiles` are those of
/// [`consistency_tiles`]`(known.size, frontier.size())`.
pub(crate) fn check_extends(frontier: &Frontier, known: &Checkpoint, tiles: &TileSet) -> Result<(), StoreError> {
    let head = Checkpoint::of(known.origin.as_str(), frontier);
    if head == *known {
        return Ok(());
    }
    let rollback = || StoreError::Rollback { database: describe(&head), outside: describe(known) };
    match Prover::new(tiles, head.size).consistency(known.size) {
        Ok(proof) => head.check_extends(known, &proof).map_err(|_| rollback()),
        Err(LedgerError::Shrunk { .. }) => Err(rollback()),
        Err(error) => Err(corrupt(error)),
    }
}

/// Puts the receipts together, all from tiles in memory.
fn answer(prepared: Prepared) -> Result<Vec<Outcome>, StoreError> {
    let Prepared { outcomes, head, signed, tiles } = prepared;
    let mut prover = Prover::new(&tiles, head.frontier.size());
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Err(refusal) => Ok(Outcome::Refused(refusal)),
            Ok(admitted) => {
                let proof = prover.inclusion(admitted.index).map_err(corrupt)?;
                Ok(Outcome::Committed(Committed {
                    index: admitted.index,
                    leaf: leaf_hash(&admitted.entry),
                    receipt: Receipt::new(admitted.index, proof, signed.clone()).to_string(),
                    record: admitted.record,
                    salt: admitted.salt,
                }))
            }
        })
        .collect()
}

/// The tree in the database is not a tree.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` takes")]
pub(crate) fn corrupt(error: LedgerError) -> StoreError {
    StoreError::Corrupt(error.to_string())
}
