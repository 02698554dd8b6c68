use crate::{World, rows::*, world::*};
use std::sync::{
    Arc, Mutex,
    mpsc::{Receiver, Sender, channel},
};
use strongroom_ledger::{Checkpoint, Record, decode_bundle, leaf_hash, verify_consistency};
use strongroom_store::{Blob, CrashPoint, Faults, Item, MAX_BATCH, Outcome, Refusal, StoreError};

pub(crate) async fn a_receipt_proves_the_record(w: World) {
    let mut last: Option<Checkpoint> = None;
    for size in [1, 3, 256, 1, 7] {
        let outcomes = w.commit((0..size).map(|_| item()).collect()).await;
        for outcome in outcomes {
            let committed = accepted(outcome);
            let checkpoint = check_receipt(&committed);
            let stored = w.store.entry(committed.index).await.unwrap().unwrap();
            assert_eq!(stored.body, Some((committed.record.clone(), committed.salt)));
            let mut wrong = committed.clone();
            wrong.record = committed.record.iter().map(|byte| byte ^ 1).collect();
            wrong.leaf = leaf_hash(&strongroom_ledger::entry_hash(&wrong.salt, &wrong.record));
            assert!(std::panic::catch_unwind(|| check_receipt(&wrong)).is_err());
            last = Some(checkpoint);
        }
        let head = w.store.head().await.unwrap().unwrap();
        assert_eq!(Some(head.size), last.as_ref().map(|checkpoint| checkpoint.size));
    }
    assert_eq!(w.check_log().await.len(), 268);
}

pub(crate) async fn records_get_time_replica_and_their_predecessor(w: World) {
    let about = |subject: &str| Item { record: record(subject), ..item() };
    let before = w.now().await;
    let first = about("fra-1");
    let first_id = first.record.id;
    w.accepted(first).await;
    let batch = vec![about("par-1"), about("fra-1"), about("fra-1"), about("par-1")];
    let ids: Vec<_> = batch.iter().map(|item| item.record.id).collect();
    w.commit(batch).await;
    let after = w.now().await;
    let records = w.check_log().await;
    let previous: Vec<_> = records.iter().map(|record| record.previous).collect();
    assert_eq!(previous, [None, None, Some(first_id), Some(ids[1]), Some(ids[0])]);
    for record in records {
        assert_eq!(record.replica, "replica-1");
        let seconds = i64::try_from(record.time.unix_millis() / 1000).unwrap();
        assert!((before..=after).contains(&seconds));
    }
}

pub(crate) async fn tiles_and_bundles_are_those_of_the_tree(w: World) {
    for size in [200, 56, 256, 88] {
        w.commit((0..size).map(|_| item()).collect()).await;
    }
    let entries: Vec<_> = w.store.entries(0, 1000).await.unwrap().into_iter().map(|row| row.entry).collect();
    assert_eq!(entries.len(), 600);
    let leaves: Vec<_> = entries.iter().map(leaf_hash).collect();
    let tile = async |path: &str| w.store.tile(path).await.unwrap();
    assert_eq!(tile("tile/0/000").await.unwrap(), leaves[..256].concat());
    assert_eq!(tile("tile/0/001").await.unwrap(), leaves[256..512].concat());
    assert_eq!(tile("tile/0/002.p/88").await.unwrap(), leaves[512..].concat());
    assert_eq!(tile("tile/0/002.p/3").await.unwrap(), leaves[512..515].concat());
    assert_eq!(
        tile("tile/1/000.p/2").await.unwrap(),
        [tree_hash(&leaves[..256]), tree_hash(&leaves[256..512])].concat()
    );
    assert_eq!(decode_bundle(&tile("tile/entries/001").await.unwrap()).unwrap(), entries[256..512]);
    assert_eq!(decode_bundle(&tile("tile/entries/002.p/88").await.unwrap()).unwrap(), entries[512..]);
    for none in [
        "tile/0/002",
        "tile/0/002.p/89",
        "tile/0/003.p/1",
        "tile/2/000.p/1",
        "tile/entries/002",
        "tile/0/2",
        "",
        "../x",
    ] {
        assert_eq!(tile(none).await, None, "{none}");
    }
    assert!(verify_consistency(0, &tree_hash(&[]), 600, &tree_hash(&leaves), &[]).is_ok());
    assert_eq!(w.store.entries(598, 5).await.unwrap().len(), 2);
    assert_eq!(w.store.entries(5, 2).await.unwrap().iter().map(|row| row.index).collect::<Vec<_>>(), [5, 6]);
    assert!(w.store.entry(600).await.unwrap().is_none());
}

pub(crate) async fn a_record_that_the_ledger_refuses_fails_alone(w: World) {
    let mut malformed = item();
    malformed.record.subject.id.clear();
    let good = item();
    let mut doubled = item();
    doubled.record.id = good.record.id;
    let outcomes = w.commit(vec![malformed, good.clone(), doubled]).await;
    assert!(matches!(refused(outcomes[0].clone()), Refusal::Conflict(_)));
    assert_eq!(accepted(outcomes[1].clone()).index, 0);
    assert!(matches!(refused(outcomes[2].clone()), Refusal::Conflict(_)));
    assert!(matches!(w.refused(good.clone()).await, Refusal::Conflict(_)));
    let found = w.store.entry_by_id(good.record.id).await.unwrap().unwrap();
    assert_eq!(Record::parse(&found.body.unwrap().0).unwrap().id, good.record.id);
    assert_eq!(w.check_log().await.len(), 1);
}

pub(crate) async fn a_batch_without_an_entry_changes_nothing(w: World) {
    let stale = || Item { guards: vec![strongroom_store::Guard::PolicyGeneration(9)], ..item() };
    assert!(matches!(w.refused(stale()).await, Refusal::Stale(_)));
    assert!(w.store.head().await.unwrap().is_none());
    w.accepted(item()).await;
    let head = w.store.head().await.unwrap();
    w.commit(vec![stale(), stale()]).await;
    assert_eq!(w.store.head().await.unwrap(), head);
    assert_eq!(w.accepted(item()).await.index, 1);
}

pub(crate) async fn a_batch_has_its_bounds(w: World) {
    assert_eq!(w.commit(vec![]).await, vec![]);
    let over = w.sequencer.commit((0..=MAX_BATCH).map(|_| item()).collect()).await;
    assert!(matches!(over, Err(StoreError::Unavailable(_))));
    assert!(w.store.head().await.unwrap().is_none());
    assert_eq!(w.commit((0..MAX_BATCH).map(|_| item()).collect()).await.len(), MAX_BATCH);
}

pub(crate) async fn blobs_are_kept_by_content(w: World) {
    let (one, two) = (Blob::of(vec![1; 100_000]), Blob::of(vec![]));
    let keeping = |blobs: &[&Blob]| Item { blobs: blobs.iter().copied().cloned().collect(), ..item() };
    let outcomes = w.commit(vec![keeping(&[&one, &two]), keeping(&[&one])]).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed(_))));
    w.accepted(keeping(&[&two])).await;
    assert_eq!(w.store.blob(one.sha256).await.unwrap(), Some(one.bytes));
    assert_eq!(w.store.blob(two.sha256).await.unwrap(), Some(vec![]));
    assert_eq!(w.store.blob(bytes32(1)).await.unwrap(), None);
    // Bytes under another name are found when they are read.
    let false_name = Blob { sha256: bytes32(9), bytes: vec![9] };
    w.accepted(keeping(&[&false_name])).await;
    assert!(matches!(w.store.blob(bytes32(9)).await, Err(StoreError::Corrupt(_))));
}

pub(crate) async fn the_tail_is_what_was_written(w: World) {
    assert_eq!(w.sequencer.verify_tail(100).await.unwrap(), None);
    for size in [1, 255, 1, 256, 200] {
        w.commit((0..size).map(|_| item()).collect()).await;
        let head = w.store.head().await.unwrap();
        for wanted in [0, 1, 100, 256, 1000, u64::MAX] {
            assert_eq!(w.sequencer.verify_tail(wanted).await.unwrap(), head);
        }
    }
    assert!(w.sequencer.locked().is_none());
}

/// Holds one commit after it has read the head, until it is told to go on.
struct HeldOnce(Mutex<Option<(Sender<()>, Receiver<()>)>>);

impl Faults for HeldOnce {
    fn at(&self, point: CrashPoint) -> Result<(), StoreError> {
        if point == CrashPoint::AfterRead
            && let Some((entered, go_on)) = self.0.lock().unwrap().take()
        {
            entered.send(()).unwrap();
            go_on.recv().unwrap();
        }
        Ok(())
    }
}

pub(crate) async fn a_caller_that_goes_away_does_not_stop_a_commit(w: World) {
    let (entered, has_entered) = channel();
    let (go_on, may_go_on) = channel();
    let held = HeldOnce(Mutex::new(Some((entered, may_go_on))));
    let sequencer = sequencer(w.store.clone(), w.directory.path().join("held")).await.unwrap();
    let sequencer = sequencer.with_faults(Arc::new(held));
    let first = item();
    let id = first.record.id;
    let caller = tokio::spawn({
        let sequencer = sequencer.clone();
        async move { sequencer.commit(vec![first]).await }
    });
    tokio::task::spawn_blocking(move || has_entered.recv().unwrap()).await.unwrap();
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    go_on.send(()).unwrap();
    // The next one waits for it.
    let next = accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0));
    assert_eq!(next.index, 1);
    assert_eq!(w.store.entry_by_id(id).await.unwrap().unwrap().index, 0);
    w.check_log().await;
}
