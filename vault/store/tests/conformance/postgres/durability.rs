//! A database that may lose what it has confirmed is refused, at the start and in each commit.

use super::options;
use crate::{rows::*, world::*};
use std::{sync::Arc, time::Duration};
use strongroom_postgres::{Address, Cluster, Database};
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
    // A standby itself takes no writes, once the database has come there.
    let copy = standby.database(&cluster.database().unwrap());
    while copy.sql("SELECT 1").is_err() {}
    let error = PostgresStore::open(&options(&copy)).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly(_)), "{error}");
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
    let set = |setting: &str| {
        let role = format!("ALTER ROLE {} IN DATABASE {}", strongroom_postgres::USER, database.name);
        database.sql(&format!("{role} SET {setting}")).unwrap();
        // The setting counts for sessions that begin after it.
        end_sessions(&database);
    };
    store.check_writable().await.unwrap();
    set("synchronous_commit = off");
    let error = sequencer.commit(vec![item()]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Volatile(why) if why.contains("synchronous_commit is off")), "{error}");
    assert!(matches!(room(&store).await, Err(StoreError::Volatile(_))), "it does not say so beforehand");
    set("synchronous_commit = on");
    assert_eq!(accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0)).index, 1);
    // A server that takes no writes for now: a disk that runs full, a move to another machine.
    set("default_transaction_read_only = on");
    let error = sequencer.commit(vec![item()]).await.unwrap_err();
    assert!(matches!(&error, StoreError::ReadOnly(why) if why.contains("take writes again")), "{error}");
    assert!(matches!(room(&store).await, Err(StoreError::ReadOnly(_))), "it does not say so beforehand");
    set("default_transaction_read_only = off");
    assert_eq!(accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0)).index, 2);
    room(&store).await.unwrap();
    assert!(sequencer.locked().is_none());
}

fn end_sessions(database: &Database) {
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.sql(others).unwrap();
}

/// What is said of writing, once connections that read have found out that they were ended.
async fn room(store: &PostgresStore) -> Result<(), StoreError> {
    for _ in 0..16 {
        if !matches!(store.now().await, Err(StoreError::Unavailable(_))) {
            break;
        }
    }
    store.check_writable().await
}

/// The address is a standby's before that is the primary, and the new primary gets a standby of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_noticed_at_each_step_and_survived() {
    let mut cluster = Cluster::start(&[]).unwrap();
    let standby = cluster.standby().unwrap();
    cluster.restart(&["synchronous_standby_names=*"]).unwrap();
    let database = cluster.database().unwrap();
    let copy = standby.database(&database);
    let address = Address::of(&database).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(PostgresStore::open(&options(&address.database())).await.unwrap());
    let sequencer = sequencer(store.clone(), directory.path().join("checkpoint")).await.unwrap();
    accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0));

    address.move_to(&copy).unwrap();
    end_sessions(&database);
    let error = sequencer.commit(vec![item()]).await.unwrap_err();
    assert!(matches!(&error, StoreError::ReadOnly(why) if why.contains("connect to the primary")), "{error}");
    assert!(matches!(room(&store).await, Err(StoreError::ReadOnly(_))), "a standby is said to take writes");

    // Promoted, it has all that was answered, and goes on from there.
    assert_eq!(copy.sql("SELECT pg_promote()").unwrap(), "t");
    assert_eq!(accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0)).index, 1);
    room(&store).await.unwrap();
    assert_eq!(check_log(&*store).await.len(), 2);

    // A standby of its own, that no commit waits for, is found on the next new connection.
    let slot = |act: &str| copy.sql(&format!("SELECT pg_{act}_replication_slot('next')")).unwrap();
    slot("create_physical");
    end_sessions(&copy);
    let error = sequencer.commit(vec![item()]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Volatile(why) if why.contains("1 standbys")), "{error}");
    assert!(matches!(room(&store).await, Err(StoreError::Volatile(_))), "it does not say so beforehand");
    slot("drop");
    assert_eq!(accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0)).index, 2);
    assert!(sequencer.locked().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_comes_later_is_found_on_an_old_connection_too() {
    let cluster = Cluster::start(&[]).unwrap();
    let database = cluster.database().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = PostgresStore::open(&options(&database)).await.unwrap().looking_again_after(Duration::ZERO);
    let sequencer = sequencer(Arc::new(store), directory.path().join("checkpoint")).await.unwrap();
    accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0));
    database.sql("SELECT pg_create_physical_replication_slot('later')").unwrap();
    let error = sequencer.commit(vec![item()]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Volatile(why) if why.contains("1 standbys")), "{error}");
    database.sql("SELECT pg_drop_replication_slot('later')").unwrap();
    assert_eq!(accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0)).index, 1);
}
