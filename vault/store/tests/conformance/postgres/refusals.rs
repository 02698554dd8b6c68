//! What the database itself refuses, or does not know.

use super::{options, world};
use crate::{rows::*, world::*};
use std::{sync::Arc, time::Duration};
use strongroom_postgres::Cluster;
use strongroom_protocol::audit::AuditQuery;
use strongroom_store::{Backend as _, Change, PostgresOptions, PostgresStore, Store as _, StoreError};

/// PostgreSQL's text has no NUL; what nobody could have written is not found, rather than an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_with_a_nul_are_not_found() {
    let w = world().await;
    w.accepted(with(vec![Change::CreateAsset(asset("minilm"))])).await;
    assert!(w.store.site("a\0").await.unwrap().is_none());
    assert!(w.store.asset("minilm\0").await.unwrap().is_none());
    assert!(w.store.key("minilm\0", 1).await.unwrap().is_none());
    assert!(w.store.keys("minilm\0").await.unwrap().is_empty());
    assert!(w.store.leases_of_key("minilm\0", 1).await.unwrap().is_empty());
    assert!(w.store.references(&["boot\0".into()]).await.unwrap().0.is_empty());
    assert_eq!(w.store.live_leases(node_id(1), &["a\0".into(), "b".into()]).await.unwrap(), (0, vec![0, 0]));
    let read = w.store.grounds(node_id(1), Some("\0"), &[("minilm\0".into(), 1), ("minilm".into(), 1)]).await.unwrap();
    assert_eq!((read.site, read.assets.len()), (None, 1));
    let asked = AuditQuery { asset: Some("minilm\0".into()), ..AuditQuery::default() };
    assert!(w.store.query(&asked, 0, i64::MAX).await.unwrap().is_empty());
}

/// Who holds the head's lock and says nothing any more does not hold up the others for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_went_silent_is_put_out() {
    let database = Cluster::shared().database().unwrap();
    let hasty = PostgresOptions { patience: Duration::from_millis(500), ..options(&database) };
    let silent = PostgresStore::open(&hasty).await.unwrap();
    let held = silent.begin().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let other = Arc::new(PostgresStore::open(&hasty).await.unwrap());
    let sequencer = sequencer(other.clone(), directory.path().join("checkpoint")).await.unwrap();
    // It waits for the lock as long as it may, and says so.
    let error = sequencer.commit(vec![item()]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    // After a second the database has ended the silent one, with nothing to be done for it.
    let committed = loop {
        match sequencer.commit(vec![item()]).await {
            Ok(mut outcomes) => break accepted(outcomes.remove(0)),
            Err(StoreError::Unavailable(_)) => {}
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(committed.index, 0);
    assert!(held.commit().await.is_err(), "it was put out, and must learn of it");
    check_log(&*other).await;
}

/// A batch that another transaction stood in the way of is tried again, and is in the log once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_tried_again() {
    let database = Cluster::shared().database().unwrap();
    let store = Arc::new(PostgresStore::open(&options(&database)).await.unwrap());
    let directory = tempfile::tempdir().unwrap();
    let sequencer = sequencer(store.clone(), directory.path().join("checkpoint")).await.unwrap();
    // It holds what the commit will want, waits until the commit waits for it, and wants what that holds.
    // The commit's session is the one that looks for deadlocks.
    let intruder = std::thread::spawn({
        let database = database.clone();
        move || {
            database.sql(
                "BEGIN; SET LOCAL deadlock_timeout = '1h'; SELECT 1 FROM generations FOR UPDATE;
                 DO $$ BEGIN
                     WHILE NOT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted) LOOP PERFORM pg_sleep(0.01); END LOOP;
                 END $$;
                 SELECT 1 FROM head FOR UPDATE; COMMIT",
            )
        }
    });
    let holds = "SELECT count(*) FROM pg_locks WHERE relation = 'generations'::regclass AND mode = 'RowShareLock'";
    while database.sql(holds).unwrap() == "0" {}
    let committed = sequencer.commit(vec![with(vec![propose("boot", 1), approve("boot", 1)])]).await.unwrap();
    assert_eq!(accepted(committed[0].clone()).index, 0);
    intruder.join().unwrap().unwrap();
    // The statistics come a moment later.
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    while database.sql(deadlocks).unwrap() == "0" {}
    assert_eq!(store.references(&["boot".into()]).await.unwrap(), (vec![in_force("boot", 1)], 1));
    assert_eq!(check_log(&*store).await.len(), 1);
}

/// Of two processes that were given one name, the later one commits; a restart is such a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replicas_name_belongs_to_who_took_it_last() {
    let database = Cluster::shared().database().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut replicas = Vec::new();
    for name in ["one", "other", "one"] {
        let store = Arc::new(PostgresStore::open(&options(&database)).await.unwrap());
        let outside = directory.path().join(replicas.len().to_string());
        if !replicas.is_empty() {
            std::fs::copy(directory.path().join("0"), &outside).unwrap();
        }
        let sequencer = sequencer(store.clone(), outside).await.unwrap();
        store.occupy(name).await.unwrap();
        accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0));
        replicas.push((sequencer, store));
    }
    let displaced = |error: &StoreError| matches!(error, StoreError::Displaced { replica } if replica == "one");
    let error = replicas[0].0.commit(vec![item()]).await.unwrap_err();
    assert!(displaced(&error) && error.to_string().contains("a name of its own"), "{error}");
    assert!(!error.to_string().contains("does not answer"), "it did: {error}");
    // Before anybody commits, too.
    let error = replicas[0].1.check_writable().await.unwrap_err();
    assert!(displaced(&error), "{error}");
    for (replica, store) in &replicas[1..] {
        store.check_writable().await.unwrap();
        accepted(replica.commit(vec![item()]).await.unwrap().remove(0));
    }
}
