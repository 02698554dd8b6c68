//! The sequencer's queue: bounded, one writer, natural group commit.
//!
//! Whoever decides something submits an [`Item`] and waits. One task takes all that waits (at most
//! 256), commits it as one batch, and answers; the next batch forms meanwhile. There is no timer.

use crate::{config::LimitsConfig, lock::Lock};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use strongroom_store::{Committed, Item, Outcome, Refusal, StoreError};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

/// Items of one commit.
const BATCH: usize = 256;

/// Commits a batch: the store's sequencer, or a stand-in in tests.
#[async_trait]
pub trait Commit: Send + Sync + 'static {
    /// One transaction for all items; an outcome for each, in their order.
    async fn commit(&self, items: Vec<Item>) -> Result<Vec<Outcome>, StoreError>;
}

/// Why an item is not known to be in the ledger.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// Too many wait already.
    #[error("too many decisions wait for the ledger")]
    Full,
    /// It was not committed in time. It may be later: recording too much is allowed.
    #[error("the ledger did not commit in time")]
    Deadline,
    /// The batch failed; nothing of it was changed.
    #[error("the ledger cannot be written: {0}")]
    Failed(String),
    /// The database is none to commit to: a standby, or one that may lose what it confirms. Nothing was changed.
    #[error("nothing is committed to this database: {0}")]
    Unfit(String),
    /// Another process commits under this replica's name. Nothing was changed.
    #[error("{0}")]
    Displaced(String),
    /// The disk is nearly full; nothing of the batch was changed.
    #[error("the ledger cannot be written: {0}")]
    DiskFull(String),
    /// The vault has locked itself.
    #[error("the vault is locked: {0}")]
    Locked(String),
    /// The sequencer refused this item.
    #[error("the sequencer refused the item: {0:?}")]
    Refused(Refusal),
}

struct Waiting {
    item: Item,
    since: Instant,
    answer: oneshot::Sender<Result<Committed, QueueError>>,
}

/// The queue's front. Cheap to share.
pub struct Queue {
    sender: Mutex<Option<mpsc::Sender<Waiting>>>,
    fast: mpsc::WeakSender<Waiting>,
    deadline: Duration,
    lock: Arc<Lock>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Starts the writer task.
    pub fn start(sequencer: Arc<dyn Commit>, limits: &LimitsConfig, lock: Arc<Lock>) -> Self {
        let (sender, receiver) = mpsc::channel(limits.queue_length);
        let writer = tokio::spawn(write(sequencer, receiver, Arc::clone(&lock)));
        Self {
            fast: sender.downgrade(),
            sender: Mutex::new(Some(sender)),
            deadline: Duration::from_millis(limits.commit_deadline_ms),
            lock,
            writer: Mutex::new(Some(writer)),
        }
    }

    /// Commits one item, or says why it is not known to be committed. Never hangs.
    pub async fn submit(&self, item: Item) -> Result<Committed, QueueError> {
        if let Some(reason) = self.lock.reason() {
            return Err(QueueError::Locked(reason.to_owned()));
        }
        let (answer, waiter) = oneshot::channel();
        let stopped = || QueueError::Failed("the vault is stopping".to_owned());
        let sender = self.fast.upgrade().ok_or_else(stopped)?;
        sender.try_send(Waiting { item, since: Instant::now(), answer }).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => QueueError::Full,
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        drop(sender);
        match tokio::time::timeout(self.deadline, waiter).await {
            Err(_) => Err(QueueError::Deadline),
            Ok(Err(_)) => Err(stopped()),
            Ok(Ok(result)) => result,
        }
    }

    /// Takes no more items, and waits until those that wait are committed.
    pub async fn close(&self) {
        drop(self.sender.lock().await.take());
        if let Some(writer) = self.writer.lock().await.take()
            && writer.await.is_err()
        {
            tracing::error!("the writer of the ledger ended by a panic");
        }
    }
}

async fn write(sequencer: Arc<dyn Commit>, mut receiver: mpsc::Receiver<Waiting>, lock: Arc<Lock>) {
    let mut waiting = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut waiting, BATCH).await > 0 {
        metrics::gauge!("strongroom_queue_depth").set(exact(receiver.len()));
        // Who has given up is not served: nobody would learn of the decision.
        waiting.retain(|w: &Waiting| !w.answer.is_closed());
        if let Some(reason) = lock.reason() {
            for w in waiting.drain(..) {
                let _ = w.answer.send(Err(QueueError::Locked(reason.to_owned())));
            }
            continue;
        }
        if waiting.is_empty() {
            continue;
        }
        let (items, answers): (Vec<_>, Vec<_>) = waiting.drain(..).map(|w| (w.item, (w.since, w.answer))).unzip();
        metrics::histogram!("strongroom_commit_items").record(exact(items.len()));
        let started = Instant::now();
        let committed = sequencer.commit(items).await;
        metrics::histogram!("strongroom_commit_seconds").record(started.elapsed().as_secs_f64());
        answer(committed, answers, &lock);
    }
}

type Waiter = (Instant, oneshot::Sender<Result<Committed, QueueError>>);

fn answer(committed: Result<Vec<Outcome>, StoreError>, answers: Vec<Waiter>, lock: &Lock) {
    match committed {
        Ok(outcomes) => {
            // INVARIANT: there is an outcome for each item; a waiter without one would learn that
            // its sender is gone, and answer 503.
            for (outcome, (since, answer)) in outcomes.into_iter().zip(answers) {
                metrics::histogram!("strongroom_commit_wait_seconds").record(since.elapsed().as_secs_f64());
                let _ = answer.send(match outcome {
                    Outcome::Committed(committed) => Ok(committed),
                    Outcome::Refused(refusal) => Err(QueueError::Refused(refusal)),
                });
            }
        }
        Err(error) => {
            metrics::counter!("strongroom_commit_failures_total").increment(1);
            let failure = error.to_string();
            let error = match error {
                StoreError::Rollback { .. } | StoreError::Corrupt(_) => {
                    lock.lock(failure.clone());
                    QueueError::Locked
                }
                StoreError::DiskFull { .. } => QueueError::DiskFull,
                StoreError::Volatile(_) | StoreError::ReadOnly(_) => QueueError::Unfit,
                StoreError::Displaced { .. } => QueueError::Displaced,
                _ => QueueError::Failed,
            };
            if lock.reason().is_none() {
                tracing::error!(%failure, "a batch could not be committed; nothing of it was changed or released");
            }
            for (_, answer) in answers {
                let _ = answer.send(Err(error(failure.clone())));
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of at most some thousands")]
fn exact(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::item;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    /// Commits when it is let, and remembers the sizes of its batches.
    struct Gate {
        open: Semaphore,
        entered: Semaphore,
        batches: std::sync::Mutex<Vec<usize>>,
        fails: Option<fn() -> StoreError>,
        index: AtomicUsize,
    }

    impl Gate {
        fn new(open: usize, fails: Option<fn() -> StoreError>) -> Arc<Self> {
            Arc::new(Self {
                open: Semaphore::new(open),
                entered: Semaphore::new(0),
                batches: std::sync::Mutex::default(),
                fails,
                index: AtomicUsize::new(0),
            })
        }
    }

    #[async_trait]
    impl Commit for Gate {
        async fn commit(&self, items: Vec<Item>) -> Result<Vec<Outcome>, StoreError> {
            self.entered.add_permits(1);
            self.open.acquire().await.unwrap().forget();
            self.batches.lock().unwrap().push(items.len());
            if let Some(error) = self.fails {
                return Err(error());
            }
            Ok(items
                .iter()
                .map(|_| {
                    Outcome::Committed(Committed {
                        index: self.index.fetch_add(1, Ordering::SeqCst) as u64,
                        record: Vec::new(),
                        salt: [0; 16],
                        leaf: [0; 32],
                        receipt: String::new(),
                    })
                })
                .collect())
        }
    }

    fn queue(gate: &Arc<Gate>, length: usize, deadline: u64) -> (Arc<Queue>, Arc<Lock>) {
        let limits = LimitsConfig { queue_length: length, commit_deadline_ms: deadline, ..LimitsConfig::default() };
        let lock = Arc::new(Lock::default());
        let gate: Arc<dyn Commit> = Arc::clone(gate) as _;
        (Arc::new(Queue::start(gate, &limits, Arc::clone(&lock))), lock)
    }

    #[tokio::test]
    async fn what_waits_while_one_commits_is_one_batch() {
        let gate = Gate::new(0, None);
        let (queue, _) = queue(&gate, 1000, 60_000);
        let submit = || {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.submit(item()).await.unwrap().index })
        };
        let mut all = vec![submit()];
        gate.entered.acquire().await.unwrap().forget();
        all.extend((0..64).map(|_| submit()));
        // One thread runs this test: when the writer is next let in, all 64 have been sent.
        tokio::task::yield_now().await;
        gate.open.add_permits(2);
        let mut indices = Vec::new();
        for one in all {
            indices.push(one.await.unwrap());
        }
        indices.sort_unstable();
        assert_eq!(indices, (0..65).collect::<Vec<_>>());
        assert_eq!(*gate.batches.lock().unwrap(), [1, 64]);
    }

    #[tokio::test]
    async fn a_commit_that_hangs_is_a_deadline_and_a_full_queue_says_so() {
        let gate = Gate::new(0, None);
        let (queue, _) = queue(&gate, 1, 20);
        let first = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.submit(item()).await.unwrap_err() }
        });
        gate.entered.acquire().await.unwrap().forget();
        let second = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.submit(item()).await.unwrap_err() }
        });
        tokio::task::yield_now().await;
        assert!(matches!(queue.submit(item()).await, Err(QueueError::Full)));
        assert!(matches!(first.await.unwrap(), QueueError::Deadline));
        assert!(matches!(second.await.unwrap(), QueueError::Deadline));
    }

    #[tokio::test]
    async fn a_rollback_locks_for_good_and_an_outage_does_not() {
        let gate = Gate::new(10, Some(|| StoreError::Unavailable("gone".into())));
        let (failing, lock) = queue(&gate, 10, 60_000);
        assert!(matches!(failing.submit(item()).await, Err(QueueError::Failed(_))));
        assert_eq!(lock.reason(), None);

        let gate = Gate::new(10, Some(|| StoreError::DiskFull { free: 1, needed: 2 }));
        let (full, lock) = queue(&gate, 10, 60_000);
        assert!(matches!(full.submit(item()).await, Err(QueueError::DiskFull(_))));
        assert_eq!(lock.reason(), None);

        for unfit in [(|| StoreError::Volatile("fsync is off".into())) as fn() -> StoreError, || {
            StoreError::ReadOnly("it is a standby".into())
        }] {
            let (queue, lock) = queue(&Gate::new(10, Some(unfit)), 10, 60_000);
            assert!(matches!(queue.submit(item()).await, Err(QueueError::Unfit(_))));
            assert_eq!(lock.reason(), None, "a failover is mended without a person at the vault");
        }

        let displaced = || StoreError::Displaced { replica: "strongroomd-1".into() };
        let (other, lock) = queue(&Gate::new(10, Some(displaced)), 10, 60_000);
        assert!(matches!(other.submit(item()).await, Err(QueueError::Displaced(_))));
        assert_eq!(lock.reason(), None, "the ledger is in order: another replica took the name");

        let gate = Gate::new(10, Some(|| StoreError::Corrupt("a row".into())));
        let (queue, lock) = queue(&gate, 10, 60_000);
        assert!(matches!(queue.submit(item()).await, Err(QueueError::Locked(_))));
        assert!(lock.reason().is_some_and(|r| r.contains("a row")));
        assert!(matches!(queue.submit(item()).await, Err(QueueError::Locked(_))));
        assert_eq!(gate.batches.lock().unwrap().len(), 1, "a locked vault commits nothing");
    }

    #[tokio::test]
    async fn closing_commits_what_waits() {
        let gate = Gate::new(10, None);
        let (queue, _) = queue(&gate, 10, 60_000);
        let waiting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.submit(item()).await }
        });
        tokio::task::yield_now().await;
        queue.close().await;
        assert!(waiting.await.unwrap().is_ok());
        assert!(matches!(queue.submit(item()).await, Err(QueueError::Failed(_))));
    }
}
