//! Migrations, by replicas that start at one time.

use super::{options, pooled};
use crate::{World, rows::*, world::*};
use std::sync::Arc;
use strongroom_postgres::Cluster;
use strongroom_protocol::identity::Identity;
use strongroom_store::{Change, PostgresOptions, PostgresStore, Store as _, StoreError};

/// Replicas that start together come to one schema, and to one log.
async fn start_together(options: PostgresOptions) {
    let starting: Vec<_> = (0..6)
        .map(|_| {
            let options = options.clone();
            tokio::spawn(async move { PostgresStore::open(&options).await })
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    for (place, starting) in (0_u64..).zip(starting) {
        let store = Arc::new(starting.await.unwrap().unwrap());
        let outside = directory.path().join(place.to_string());
        if place > 0 {
            std::fs::copy(directory.path().join("0"), &outside).unwrap();
        }
        let sequencer = sequencer(store.clone(), outside).await.unwrap();
        assert_eq!(accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0)).index, place);
        check_log(&*store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_make_one_schema() {
    let database = Cluster::shared().database().unwrap();
    start_together(options(&database)).await;
    assert_eq!(database.sql("SELECT count(*) FROM migrations").unwrap(), "6");
    assert_eq!(database.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_behind_a_pooler_make_one_schema() {
    let database = Cluster::shared().database().unwrap();
    start_together(pooled(&database)).await;
    assert_eq!(database.sql("SELECT count(*) FROM migrations").unwrap(), "6");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_program_are_left_alone() {
    let database = Cluster::shared().database().unwrap();
    let as_it_is = || async { PostgresStore::open_as_it_is(&options(&database)).await.map(drop) };
    assert!(matches!(as_it_is().await, Err(StoreError::Schema { found: 0, wanted: 6 })));
    assert_eq!(database.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").unwrap(), "0");
    PostgresStore::open(&options(&database)).await.unwrap();
    as_it_is().await.unwrap();

    database.sql("INSERT INTO migrations (number, sha256) VALUES (7, 'of the future')").unwrap();
    assert!(matches!(as_it_is().await, Err(StoreError::Schema { found: 7, wanted: 6 })));
    assert!(matches!(PostgresStore::open(&options(&database)).await, Err(StoreError::Schema { found: 7, .. })));
    database.sql("DELETE FROM migrations WHERE number = 7; UPDATE migrations SET sha256 = 'changed'").unwrap();
    for error in [as_it_is().await, PostgresStore::open(&options(&database)).await.map(drop)] {
        assert!(error.unwrap_err().to_string().contains("migrations differ"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_enrolled_before_records_listed_identities_list_their_tpm() {
    let database = Cluster::shared().database().unwrap();
    let store = Arc::new(PostgresStore::open(&options(&database)).await.unwrap());
    let directory = tempfile::tempdir().unwrap();
    let w = World::over(store, directory).await;
    w.accepted(with(vec![Change::PutNode(node(1)), Change::PutNode(node(2))])).await;
    // As the migration before left it.
    database
        .sql(
            "DROP TABLE node_identities; ALTER TABLE nodes ALTER COLUMN ak_sha256 SET NOT NULL;
             UPDATE nodes SET content = (content::jsonb - 'identities' - 'activated_at')::text;
             DROP TABLE endorsements; DROP TABLE pins; DELETE FROM generations WHERE name = 'endorsements';
             DELETE FROM migrations WHERE number >= 5",
        )
        .unwrap();
    let store = PostgresStore::open(&options(&database)).await.unwrap();
    let found = store.node_by_identity(&Identity::of_tpm(&node_id(1))).await.unwrap().unwrap();
    assert_eq!((&found.row, found.version), (&node(1), 1));
    assert_eq!(store.nodes().await.unwrap(), [node(2), node(1)]);
    w.accepted(with(vec![Change::PutNode(imported(3))])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_nobody_told_of_is_found() {
    let database = Cluster::shared().database().unwrap();
    let untold = PostgresOptions { pooler: false, ..pooled(&database) };
    let error = PostgresStore::open(&untold).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("set pooler = true"), "{error}");
    // Told of one that is not there, nothing is lost but time.
    let told = PostgresOptions { pooler: true, ..options(&database) };
    assert!(PostgresStore::open(&told).await.unwrap().now().await.unwrap() > 0);
}
