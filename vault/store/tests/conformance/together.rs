use crate::{World, rows::*, world::*};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use std::collections::BTreeSet;
use strongroom_store::{Change, Guard, Item, Outcome};

pub(crate) async fn tasks_commit_side_by_side(w: World) {
    let tasks: Vec<_> = (0..8)
        .map(|task: u8| {
            let sequencer = w.sequencer.clone();
            tokio::spawn(async move {
                let mut committed = Vec::new();
                for round in 0..12 {
                    let items =
                        (0..=round % 5).map(|_| Item { record: record(&format!("site-{}", task % 3)), ..item() });
                    for outcome in sequencer.commit(items.collect()).await.unwrap() {
                        committed.push(accepted(outcome));
                    }
                }
                committed
            })
        })
        .collect();
    let mut indices = BTreeSet::new();
    for task in tasks {
        let committed = task.await.unwrap();
        assert!(committed.is_sorted_by_key(|committed| committed.index));
        for one in &committed {
            check_receipt(one);
            assert!(indices.insert(one.index), "{} was given twice", one.index);
        }
    }
    assert_eq!(w.check_log().await.len(), indices.len());
    assert_eq!(indices.last(), Some(&(indices.len() as u64 - 1)));
    w.sequencer.verify_tail(1000).await.unwrap();
}

/// As two replicas over one database do, each with its own checkpoint file.
pub(crate) async fn two_sequencers_share_a_log(w: World) {
    let other = sequencer(w.store.clone(), w.directory.path().join("other")).await.unwrap();
    for _ in 0..3 {
        w.commit((0..100).map(|_| item()).collect()).await;
        for outcome in other.commit((0..70).map(|_| item()).collect()).await.unwrap() {
            check_receipt(&accepted(outcome));
        }
    }
    other.verify_tail(1000).await.unwrap();
    w.sequencer.verify_tail(1000).await.unwrap();
    assert_eq!(w.check_log().await.len(), 510);
}

/// Whatever the batches, the log is what was answered and its tree is that of RFC 6962.
pub(crate) async fn any_batches_keep_the_tree(w: World) {
    // Each number is an item: what it does, and whether it can be admitted.
    let batches = prop::collection::vec(prop::collection::vec(0..6_u8, 0..80), 30);
    let mut runner = TestRunner::default();
    let batches = batches.new_tree(&mut runner).unwrap().current();
    println!("batches: {batches:?}");
    let now = w.now().await;
    let (mut made, mut expected, mut sites) = (None, Vec::new(), 0);
    for batch in batches {
        let items: Vec<_> = batch
            .iter()
            .map(|kind| match kind {
                0 => Item { guards: vec![Guard::PolicyGeneration(1)], ..item() },
                1 => Item { nonce: Some(*made.get_or_insert_with(|| nonce(now, 1000))), ..item() },
                2 => {
                    sites += 1;
                    with(vec![Change::CreateSite(site(&format!("site-{}", sites / 2)))])
                }
                3 => denial(3),
                _ => item(),
            })
            .collect();
        let ids: Vec<_> = items.iter().map(|item| item.record.id).collect();
        for (id, outcome) in ids.into_iter().zip(w.commit(items).await) {
            if let Outcome::Committed(committed) = outcome {
                assert_eq!(committed.index, expected.len() as u64);
                check_receipt(&committed);
                expected.push(id);
            }
        }
    }
    let written: Vec<_> = w.check_log().await.into_iter().map(|record| record.id).collect();
    assert_eq!(written, expected);
    w.sequencer.verify_tail(10_000).await.unwrap();
}
