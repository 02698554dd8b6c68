//! The process ends at each point of a commit: by an error, and by a real kill.

use super::open;
use crate::{World, rows::*, world::*};
use async_trait::async_trait;
use std::{
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use strongroom_ledger::{Checkpoint, SignedCheckpoint, Subject, Tile, TileId, TileSet};
use strongroom_protocol::{
    DecisionId, EnrolmentId, Fixed, LeaseId, NodeId, audit::AuditQuery, challenge::Nonce, identity::Identity,
};
use strongroom_store::{
    Backend, Blob, Change, Closed, CrashPoint, Faults, Grounds, Guard, Item, Outcome, Quota, Requester, SqliteStore,
    Store, StoreError, Whose,
    backend::{Addition, Candidate, Examined, NewEntry, RollbackMark, StoredHead, Tail, Transaction},
    model::*,
};

const CHILD_DIRECTORY: &str = "STRONGROOM_TEST_CRASH_DIRECTORY";
const CHILD_POINT: &str = "STRONGROOM_TEST_CRASH_POINT";

/// An item that changes rows as well: a lease, a nonce, a blob.
fn release(n: u8, now: i64) -> Item {
    Item {
        nonce: Some(nonce(now, 1000)),
        guards: vec![Guard::NewStatement(bytes32(n))],
        blobs: vec![Blob::of(vec![n])],
        ..with(vec![Change::GrantLease(lease(n, 1, "minilm", now + 1000))])
    }
}

fn outside_checkpoint(directory: &Path) -> Checkpoint {
    let text = std::fs::read_to_string(directory.join("checkpoint")).unwrap();
    SignedCheckpoint::parse(&text).unwrap().verify(&[verifier()]).unwrap().clone()
}

/// After the process is gone: everything fits together, and the next commit goes on from there.
pub(crate) async fn check_after(
    store: Arc<dyn Backend>,
    directory: &Path,
    before: u64,
    durable: bool,
    answered: &[DecisionId],
) {
    let outside = outside_checkpoint(directory);
    let size = if durable { before + 3 } else { before };
    let records = check_log(&*store).await;
    assert_eq!(records.len() as u64, size);
    for id in answered {
        assert!(records.iter().any(|record| record.id == *id), "an answered item has no record");
    }
    assert!(outside.size <= size, "the outside checkpoint is of a tree that was not committed");
    assert!(outside.size >= before, "an answered checkpoint was forgotten");
    for n in 101..104 {
        let lease = store.lease(lease_id(n)).await.unwrap();
        assert_eq!(lease.is_some(), durable, "a lease without its record, or a record without its lease");
        assert_eq!(store.blob(Blob::of(vec![n]).sha256).await.unwrap().is_some(), durable);
    }

    let sequencer = sequencer(store.clone(), directory.join("checkpoint")).await.unwrap();
    sequencer.verify_tail(1000).await.unwrap();
    let next = accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0));
    assert_eq!(next.index, size);
    check_receipt(&next);
    assert_eq!(outside_checkpoint(directory).size, size + 1);
    check_log(&*store).await;
    sequencer.verify_tail(1000).await.unwrap();
}

/// Ends the commit at one point, once it is armed.
struct EndAt {
    point: CrashPoint,
    armed: AtomicBool,
    kill: bool,
}

impl Faults for EndAt {
    fn at(&self, point: CrashPoint) -> Result<(), StoreError> {
        if point != self.point || !self.armed.load(Ordering::SeqCst) {
            return Ok(());
        }
        if self.kill {
            // SIGKILL: nothing is flushed, nothing is dropped.
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            std::thread::sleep(std::time::Duration::MAX);
        }
        Err(StoreError::Injected(point.as_str()))
    }
}

/// Commits two batches that are answered, and a third one that ends at the point. Says on standard
/// output what was answered.
pub(crate) async fn run_until(
    store: Arc<dyn Backend>,
    directory: &Path,
    point: CrashPoint,
    kill: bool,
) -> Vec<DecisionId> {
    let faults = Arc::new(EndAt { point, armed: AtomicBool::new(false), kill });
    let sequencer = sequencer(store.clone(), directory.join("checkpoint")).await.unwrap().with_faults(faults.clone());
    let now = store.now().await.unwrap();
    let mut answered = Vec::new();
    for batch in [vec![release(1, now)], vec![release(2, now), item(), release(3, now)]] {
        answered.extend(batch.iter().map(|item| item.record.id));
        for outcome in sequencer.commit(batch).await.unwrap() {
            accepted(outcome);
        }
    }
    for id in &answered {
        println!("answered {id}");
    }
    faults.armed.store(true, Ordering::SeqCst);
    let batch = (101..104).map(|n| release(n, now)).collect();
    let error = sequencer.commit(batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Injected(at) if at == point.as_str()), "{error}");
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_at_each_point_leaves_all_or_nothing() {
    for point in CrashPoint::ALL {
        let directory = tempfile::tempdir().unwrap();
        let answered = run_until(open(directory.path()).await, directory.path(), point, false).await;
        check_after(open(directory.path()).await, directory.path(), 4, point.is_durable(), &answered).await;
    }
}

/// The same process goes on after the error, without being opened again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sequencer_goes_on_after_an_error_at_each_point() {
    for point in CrashPoint::ALL {
        let directory = tempfile::tempdir().unwrap();
        goes_on(open(directory.path()).await, directory.path(), point).await;
    }
}

pub(crate) async fn goes_on(store: Arc<dyn Backend>, directory: &Path, point: CrashPoint) {
    let faults = Arc::new(EndAt { point, armed: AtomicBool::new(true), kill: false });
    let sequencer = sequencer(store.clone(), directory.join("checkpoint")).await.unwrap().with_faults(faults.clone());
    for round in 0..3 {
        faults.armed.store(true, Ordering::SeqCst);
        sequencer.commit(vec![item(), item()]).await.unwrap_err();
        faults.armed.store(false, Ordering::SeqCst);
        let committed = accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0));
        let lost = if point.is_durable() { 2 } else { 0 };
        assert_eq!(committed.index, round * (1 + lost) + lost);
        check_receipt(&committed);
    }
    check_log(&*store).await;
    sequencer.verify_tail(100).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_point_leaves_all_or_nothing() {
    for (place, point) in CrashPoint::ALL.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sqlite::crash::killed_child", "--ignored", "--nocapture"])
            .env(CHILD_DIRECTORY, directory.path())
            .env(CHILD_POINT, place.to_string())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert_eq!(child.status.signal(), Some(9), "{point:?}: the child was not killed");
        let answered: Vec<DecisionId> = String::from_utf8(child.stdout)
            .unwrap()
            .lines()
            .filter_map(|line| line.split_once("answered ").map(|(_, id)| id.parse().unwrap()))
            .collect();
        assert_eq!(answered.len(), 4, "{point:?}");
        check_after(open(directory.path()).await, directory.path(), 4, point.is_durable(), &answered).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of a_kill_at_each_point_leaves_all_or_nothing"]
#[expect(clippy::disallowed_methods, reason = "the parent tells its child where to die")]
async fn killed_child() {
    let (Ok(directory), Ok(place)) = (std::env::var(CHILD_DIRECTORY), std::env::var(CHILD_POINT)) else { return };
    let point = CrashPoint::ALL[place.parse::<usize>().unwrap()];
    let directory = Path::new(&directory);
    run_until(open(directory).await, directory, point, true).await;
}

/// A database whose COMMIT answers with an error, whatever became of it.
struct Unclear {
    store: Arc<SqliteStore>,
    next: Mutex<Option<Fate>>,
    /// What to do between the unclear COMMIT and the question what became of it.
    unreachable: AtomicBool,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Durable,
    Lost,
}

struct UnclearTransaction {
    inner: Box<dyn Transaction>,
    fate: Option<Fate>,
}

fn gone() -> StoreError {
    StoreError::Unavailable("the connection was lost".into())
}

async fn unclear_world() -> (World, Arc<Unclear>) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let unclear = Arc::new(Unclear { store, next: Mutex::new(None), unreachable: AtomicBool::new(false) });
    (World::over(unclear.clone(), directory).await, unclear)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_unclear_commit_the_database_is_asked() {
    let (w, unclear) = unclear_world().await;
    w.accepted(item()).await;
    *unclear.next.lock().unwrap() = Some(Fate::Durable);
    let outcomes = w.commit(vec![item(), item()]).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed(_))));
    assert_eq!(w.store.head().await.unwrap().unwrap().size, 3);

    *unclear.next.lock().unwrap() = Some(Fate::Lost);
    let error = w.sequencer.commit(vec![item(), item()]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)));
    assert_eq!(w.store.head().await.unwrap().unwrap().size, 3);
    assert_eq!(w.accepted(item()).await.index, 3);
    assert_eq!(w.check_log().await.len(), 4);
    w.sequencer.verify_tail(100).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unclear_commit_that_cannot_be_asked_about_is_not_answered() {
    for (fate, size) in [(Fate::Durable, 3), (Fate::Lost, 1)] {
        let (w, unclear) = unclear_world().await;
        w.accepted(item()).await;
        *unclear.next.lock().unwrap() = Some(fate);
        unclear.unreachable.store(true, Ordering::SeqCst);
        assert!(matches!(w.sequencer.commit(vec![item(), item()]).await, Err(StoreError::Unavailable(_))));
        assert_eq!(outside_checkpoint(w.directory.path()).size, 1);
        assert!(w.sequencer.commit(vec![item()]).await.is_err());
        unclear.unreachable.store(false, Ordering::SeqCst);
        assert_eq!(w.accepted(item()).await.index, size);
        assert_eq!(w.check_log().await.len() as u64, size + 1);
        w.sequencer.verify_tail(100).await.unwrap();
    }
}

#[async_trait]
impl Backend for Unclear {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let fate = self.next.lock().unwrap().take();
        if fate.is_none() && self.unreachable.load(Ordering::SeqCst) {
            return Err(gone());
        }
        Ok(Box::new(UnclearTransaction { inner: self.store.begin().await?, fate }))
    }
    async fn occupy(&self, replica: &str) -> Result<(), StoreError> {
        self.store.occupy(replica).await
    }
    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }
    fn attempts(&self) -> u32 {
        self.store.attempts()
    }
    async fn tail(&self, entries: u64) -> Result<Option<Tail>, StoreError> {
        self.store.tail(entries).await
    }
    async fn snapshot(
        &self,
        wanted: &(dyn Fn(u64) -> Vec<TileId> + Send + Sync),
    ) -> Result<Option<(StoredHead, TileSet)>, StoreError> {
        self.store.snapshot(wanted).await
    }
}

#[async_trait]
impl Transaction for UnclearTransaction {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        match self.fate {
            None => self.inner.commit().await,
            Some(Fate::Durable) => self.inner.commit().await.and(Err(gone())),
            Some(Fate::Lost) => {
                self.inner.roll_back().await;
                Err(gone())
            }
        }
    }
    async fn roll_back(self: Box<Self>) {
        self.inner.roll_back().await;
    }
    async fn mark(&mut self, mark: Option<&RollbackMark>) -> Result<(), StoreError> {
        self.inner.mark(mark).await
    }
    async fn head(&mut self) -> Result<(u64, Option<StoredHead>), StoreError> {
        self.inner.head().await
    }
    async fn tiles(&mut self, ids: &[TileId]) -> Result<TileSet, StoreError> {
        self.inner.tiles(ids).await
    }
    async fn examine(&mut self, candidate: &Candidate<'_>, now: i64) -> Result<Examined, StoreError> {
        self.inner.examine(candidate, now).await
    }
    async fn add(&mut self, addition: &Addition<'_>) -> Result<(), StoreError> {
        self.inner.add(addition).await
    }
    async fn begin_item(&mut self) -> Result<(), StoreError> {
        self.inner.begin_item().await
    }
    async fn keep_item(&mut self) -> Result<(), StoreError> {
        self.inner.keep_item().await
    }
    async fn undo_item(&mut self) -> Result<(), StoreError> {
        self.inner.undo_item().await
    }
    async fn stale<'g>(&mut self, guards: &'g [Guard]) -> Result<Option<&'g Guard>, StoreError> {
        self.inner.stale(guards).await
    }
    async fn burn(&mut self, nonce: &Nonce) -> Result<bool, StoreError> {
        self.inner.burn(nonce).await
    }
    async fn apply(&mut self, change: &Change, now: i64) -> Result<Result<Closed, String>, StoreError> {
        self.inner.apply(change, now).await
    }
    async fn count(&mut self, quota: &Quota, now: i64) -> Result<u64, StoreError> {
        self.inner.count(quota, now).await
    }
    async fn last_of(&mut self, subject: &Subject) -> Result<Option<DecisionId>, StoreError> {
        self.inner.last_of(subject).await
    }
    async fn insert_entry(&mut self, entry: &NewEntry) -> Result<bool, StoreError> {
        self.inner.insert_entry(entry).await
    }
    async fn keep_blob(&mut self, blob: &Blob) -> Result<(), StoreError> {
        self.inner.keep_blob(blob).await
    }
    async fn forget_nonces(&mut self, before: i64, limit: u32) -> Result<(), StoreError> {
        self.inner.forget_nonces(before, limit).await
    }
    async fn put_head(&mut self, terms: &[(String, u64)], tiles: &[Tile], head: &StoredHead) -> Result<(), StoreError> {
        self.inner.put_head(terms, tiles, head).await
    }
}

macro_rules! pass_on {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        #[async_trait]
        impl Store for Unclear {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$result, StoreError> {
                self.store.$name($($argument),*).await
            })*
        }
    };
}

pass_on! {
    fn now() -> i64;
    fn vault() -> Option<VaultRow>;
    fn initialise(vault: &VaultRow) -> ();
    fn site(name: &str) -> Option<Versioned<SiteRow>>;
    fn sites() -> Vec<SiteRow>;
    fn node(id: NodeId) -> Option<Versioned<NodeRow>>;
    fn node_by_ak(ak: Fixed<32>) -> Option<Versioned<NodeRow>>;
    fn node_by_identity(identity: &Identity) -> Option<Versioned<NodeRow>>;
    fn nodes() -> Vec<NodeRow>;
    fn measured(node: NodeId) -> Option<Versioned<MeasuredRow>>;
    fn put_enrolment(enrolment: &EnrolmentRow) -> ();
    fn enrolment(id: EnrolmentId) -> Option<EnrolmentRow>;
    fn asset(name: &str) -> Option<Versioned<AssetRow>>;
    fn assets() -> Vec<AssetRow>;
    fn key(asset: &str, version: u32) -> Option<Versioned<KeyRow>>;
    fn keys(asset: &str) -> Vec<Versioned<KeyRow>>;
    fn references(names: &[String]) -> (Vec<ReferenceRow>, i64);
    fn reference_versions(name: &str) -> (Vec<ReferenceRow>, i64);
    fn all_references() -> Vec<ReferenceRow>;
    fn endorsements() -> EndorsementList;
    fn endorsement_generation() -> i64;
    fn endorsement_bytes(names: &[String]) -> Vec<(String, Vec<u8>)>;
    fn enforced_policy() -> EnforcedPolicy;
    fn policy_generation() -> i64;
    fn policy(digest: Fixed<32>) -> Option<Versioned<PolicyRow>>;
    fn policies() -> Vec<PolicyRow>;
    fn token(sha256: Fixed<32>) -> Option<Versioned<TokenRow>>;
    fn tokens() -> Vec<Versioned<TokenRow>>;
    fn token_generation() -> i64;
    fn note_token_use(used: &[(String, i64)]) -> ();
    fn lease(id: LeaseId) -> Option<Versioned<LeaseRow>>;
    fn lease_by_statement(sha256: Fixed<32>) -> Option<Versioned<LeaseRow>>;
    fn leases(live: bool, after: Option<LeaseId>, limit: u32) -> Vec<LeaseRow>;
    fn leases_of_node(node: NodeId) -> Vec<LeaseRow>;
    fn leases_of_key(asset: &str, version: u32) -> Vec<LeaseRow>;
    fn live_leases(node: NodeId, assets: &[String]) -> (u64, Vec<u64>);
    fn lapsed_leases(undelivered_before: i64, limit: u32) -> Vec<LeaseRow>;
    fn requester(whose: &Whose, statement: Fixed<32>, lease: Option<LeaseId>) -> Requester;
    fn grounds(node: NodeId, site: Option<&str>, keys: &[(String, u32)]) -> Grounds;
    fn head() -> Option<Head>;
    fn entry(index: u64) -> Option<EntryRow>;
    fn entry_by_id(id: DecisionId) -> Option<EntryRow>;
    fn entries(first: u64, limit: u32) -> Vec<EntryRow>;
    fn query(query: &AuditQuery, from: i64, to: i64) -> Vec<EntryRow>;
    fn tile(path: &str) -> Option<Vec<u8>>;
    fn blob(sha256: Fixed<32>) -> Option<Vec<u8>>;
    fn has_blob(sha256: Fixed<32>) -> bool;
    fn backup(to: &Path) -> ();
    fn shred() -> bool;
}
