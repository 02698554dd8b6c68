//! A database that may lose what it has confirmed is refused, at the start and in each commit.

use super::options;
use crate::{rows::*, world::*};
use std::sync::Arc;
use strongroom_postgres::Cluster;
use strongroom_store::{PostgresStore, Store as _, StoreError};

/// What opening is refused for.
async fn volatile(cluster: &Cluster) -> String {
    let database = cluster.database().unwrap();
    match PostgresStore::open(&options(&database)).await {
        Err(StoreError::Volatile(why)) => {
            // Nothing was made in it.
            assert_eq!(database.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").unwrap(), "0");
            why
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_forgets_is_refused() {
    let mut cluster = Cluster::start(&["fsync=off"]).unwrap();
    assert!(volatile(&cluster).await.contains("fsync is off"));
    cluster.restart(&["full_page_writes=off"]).unwrap();
    assert!(volatile(&cluster).await.contains("full_page_writes is off"));
    for weak in ["off", "local", "remote_write"] {
        cluster.restart(&[&format!("synchronous_commit={weak}")]).unwrap();
        assert!(volatile(&cluster).await.contains(&format!("synchronous_commit is {weak}")));
    }
    for strong in ["on", "remote_apply"] {
        cluster.restart(&[&format!("synchronous_commit={strong}")]).unwrap();
        PostgresStore::open(&options(&cluster.database().unwrap())).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_nobody_waits_for_is_refused() {
    let mut cluster = Cluster::start(&[]).unwrap();
    let standby = cluster.standby().unwrap();
    // It follows as soon as it has connected.
    while cluster.sql("postgres", "SELECT count(*) FROM pg_stat_replication").unwrap() != "1" {
        std::thread::yield_now();
    }
    assert!(volatile(&cluster).await.contains("1 standbys"));
    // A standby itself takes no writes.
    let error = PostgresStore::open(&options(&standby.database(&cluster.database().unwrap()))).await;
    assert!(error.is_err_and(|e| matches!(e, StoreError::Unavailable(_))));
    drop(standby);

    // One that is away for the moment has kept its place.
    cluster.restart(&[]).unwrap();
    cluster.sql("postgres", "SELECT pg_create_physical_replication_slot('away')").unwrap();
    assert!(volatile(&cluster).await.contains("1 standbys"));
    cluster.sql("postgres", "SELECT pg_drop_replication_slot('away')").unwrap();
    PostgresStore::open(&options(&cluster.database().unwrap())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_commits_wait_for_is_accepted() {
    let mut cluster = Cluster::start(&[]).unwrap();
    let _standby = cluster.standby().unwrap();
    cluster.restart(&["synchronous_standby_names=*"]).unwrap();
    // The standby comes back by itself, and each commit waits for it.
    let store = PostgresStore::open(&options(&cluster.database().unwrap())).await.unwrap();
    assert!(store.head().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_that_becomes_weak_stops_the_next_commit() {
    let database = Cluster::shared().database().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(PostgresStore::open(&options(&database)).await.unwrap());
    let sequencer = sequencer(store.clone(), directory.path().join("checkpoint")).await.unwrap();
    accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0));
    let set = |value: &str| {
        let role = format!("ALTER ROLE {} IN DATABASE {}", strongroom_postgres::USER, database.name);
        database.sql(&format!("{role} SET synchronous_commit = {value}")).unwrap();
        // The setting counts for sessions that begin after it.
        let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        database.sql(others).unwrap();
    };
    set("off");
    let error = sequencer.commit(vec![item()]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Volatile(why) if why.contains("synchronous_commit is off")), "{error}");
    set("on");
    assert_eq!(accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0)).index, 1);
    assert!(sequencer.locked().is_none());
}
