//! The file itself: who may read it, room on its disk, its copies, and what time does to its rows.

use super::{damage::meddle, open, world};
use crate::{rows::*, world::*};
use std::{os::unix::fs::PermissionsExt as _, sync::Arc};
use strongroom_protocol::{identity::Identity, lease::LeaseState, statement::Access};
use strongroom_store::{
    Change, Item, Quota, Refusal, SqliteStore, Store, StoreError, model::NodeRow, sqlite::SqliteOptions,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_owner_reads_the_files() {
    let w = world().await;
    w.accepted(item()).await;
    w.store.backup(&w.directory.path().join("backup.db")).await.unwrap();
    let mut seen = 0;
    for file in std::fs::read_dir(w.directory.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        seen += 1;
    }
    // Database, WAL, shared memory, checkpoint, backup.
    assert_eq!(seen, 5);

    let path = w.directory.path().join("backup.db");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = SqliteStore::open(&path).await.err().unwrap();
    assert!(error.to_string().contains("chmod 600"), "{error}");
    assert!(SqliteStore::open(w.directory.path()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_durable_and_in_wal() {
    let w = world().await;
    let mut db = sqlx::SqlitePool::connect(w.directory.path().join("vault.db").to_str().unwrap()).await.unwrap();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&db).await.unwrap();
    assert_eq!(mode, "wal");
    db = sqlx::SqlitePool::connect(w.directory.path().join("vault.db").to_str().unwrap()).await.unwrap();
    let version: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(&db).await.unwrap();
    assert_eq!(version, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_granted_before_they_were_counted_count() {
    let w = world().await;
    let now = w.now().await;
    let mut several = lease(1, 1, "minilm", now + 1000);
    several.keys.extend([holds("minilm", 2, Access::Read), holds("corpus", 1, Access::Read)]);
    let granted = [several, lease(2, 1, "minilm", now - 1), lease(3, 1, "minilm", now + 1000)];
    w.accepted(with(granted.map(Change::GrantLease).to_vec())).await;
    let counted =
        async |store: &dyn Store| store.live_leases(node_id(1), &["minilm".into(), "corpus".into()]).await.unwrap().1;
    assert_eq!(counted(&*w.store).await, [2, 1]);
    // As the first migration left it.
    meddle(
        w.directory.path(),
        "DROP TRIGGER held_keys_added; DROP TRIGGER held_keys_removed; DROP TABLE asset_leases;
         DROP INDEX held_keys_by_expiry; DELETE FROM _sqlx_migrations WHERE version = 2",
    )
    .await;
    let store = open(w.directory.path()).await;
    assert_eq!(counted(&*store).await, [2, 1]);
    let sequencer = sequencer(store.clone(), w.outside()).await.unwrap();
    let closed = Change::CloseLeasesOfNode(node_id(1), LeaseState::Revoked);
    sequencer.commit(vec![with(vec![closed])]).await.unwrap();
    assert_eq!(counted(&*store).await, [0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_enrolled_before_records_listed_identities_list_their_tpm() {
    let w = world().await;
    w.accepted(with(vec![Change::CreateSite(site("fra-1"))])).await;
    let placed = NodeRow { site: Some("fra-1".into()), ..node(1) };
    w.accepted(with(vec![Change::PutNode(placed.clone())])).await;
    w.accepted(with(vec![Change::PutNode(placed.clone()), Change::PutNode(node(2))])).await;
    // As the migration before left it.
    meddle(
        w.directory.path(),
        "DROP TABLE node_identities;
         CREATE TABLE old (id BLOB PRIMARY KEY, version INTEGER NOT NULL, ak_sha256 BLOB NOT NULL UNIQUE,
             site TEXT REFERENCES sites (name), enrolled_at INTEGER NOT NULL, row TEXT NOT NULL) STRICT;
         INSERT INTO old SELECT id, version, ak_sha256, site, enrolled_at,
             json_remove(row, '$.identities', '$.activated_at') FROM nodes;
         DROP TABLE nodes; ALTER TABLE old RENAME TO nodes; CREATE INDEX nodes_by_time ON nodes (enrolled_at, id);
         DELETE FROM _sqlx_migrations WHERE version = 6",
    )
    .await;
    let store = open(w.directory.path()).await;
    let found = store.node(node_id(1)).await.unwrap().unwrap();
    assert_eq!((&found.row, found.version), (&placed, 2));
    assert_eq!(store.node_by_identity(&Identity::of_tpm(&node_id(1))).await.unwrap().unwrap(), found);
    assert_eq!(store.node_by_ak(bytes32(2)).await.unwrap().unwrap().row, node(2));
    let sequencer = sequencer(store.clone(), w.outside()).await.unwrap();
    let outcomes = sequencer.commit(vec![with(vec![Change::PutNode(imported(3))])]).await.unwrap();
    accepted(outcomes[0].clone());
    assert_eq!(store.nodes().await.unwrap(), [imported(3), node(2), placed]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_is_there_when_it_is_opened_again() {
    let w = world().await;
    w.store.initialise(&vault()).await.unwrap();
    let committed = w.accepted(item()).await;
    let again = open(w.directory.path()).await;
    assert_eq!(again.vault().await.unwrap(), Some(vault()));
    assert_eq!(again.entry(0).await.unwrap().unwrap().body.unwrap().0, committed.record);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_whole_and_never_overwrites() {
    let w = world().await;
    w.store.initialise(&vault()).await.unwrap();
    w.commit((0..300).map(|_| item()).take(256).collect()).await;
    let to = w.directory.path().join("backup.db");
    w.store.backup(&to).await.unwrap();
    w.accepted(item()).await;
    let copy = SqliteStore::open(&to).await.unwrap();
    assert_eq!(check_log(&copy).await.len(), 256);
    assert_eq!(copy.vault().await.unwrap(), Some(vault()));

    let kept = std::fs::read(&to).unwrap();
    assert!(matches!(w.store.backup(&to).await, Err(StoreError::Unavailable(_))));
    assert_eq!(std::fs::read(&to).unwrap(), kept);
    let nowhere = w.directory.path().join("none/backup.db");
    assert!(matches!(w.store.backup(&nowhere).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_refused_before_it_is_full() {
    let w = world().await;
    w.accepted(item()).await;
    let options = SqliteOptions { reserve_bytes: u64::MAX, ..SqliteOptions::default() };
    let full = SqliteStore::open_with(&w.directory.path().join("vault.db"), options).await.unwrap();
    let full = Arc::new(full);
    let sequencer = sequencer(full.clone(), w.outside()).await.unwrap();
    let refused = sequencer.commit(vec![item()]).await;
    assert!(matches!(refused, Err(StoreError::DiskFull { free, needed: u64::MAX }) if free > 0));
    assert!(matches!(full.initialise(&vault()).await, Err(StoreError::DiskFull { .. })));
    assert!(matches!(full.check_writable().await, Err(StoreError::DiskFull { .. })));
    w.store.check_writable().await.unwrap();
    let to = w.directory.path().join("backup.db");
    assert!(matches!(full.backup(&to).await, Err(StoreError::DiskFull { .. })));
    assert!(!to.exists());
    // It still reads, and is not locked for good: room was made.
    sequencer.verify_tail(10).await.unwrap();
    assert!(sequencer.locked().is_none());
    assert_eq!(w.accepted(item()).await.index, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_that_holds_the_lock_is_waited_for_and_then_reported() {
    let w = world().await;
    let options = SqliteOptions { busy_timeout: std::time::Duration::from_millis(50), ..SqliteOptions::default() };
    let impatient = Arc::new(SqliteStore::open_with(&w.directory.path().join("vault.db"), options).await.unwrap());
    let sequencer = sequencer(impatient, w.outside()).await.unwrap();
    let held = w.store.begin().await.unwrap();
    assert!(matches!(sequencer.commit(vec![item()]).await, Err(StoreError::Unavailable(_))));
    held.roll_back().await;
    accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burnt_nonces_are_kept_until_nobody_could_use_them() {
    let w = world().await;
    let now = w.now().await;
    let burning = |lifetime| Item { nonce: Some(nonce(now, lifetime)), ..item() };
    let nonces = [burning(60), burning(60), burning(60)];
    w.commit(nonces.to_vec()).await;
    let directory = w.directory.path();
    let count = async || {
        let db = sqlx::SqlitePool::connect(directory.join("vault.db").to_str().unwrap()).await.unwrap();
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM burnt_nonces").fetch_one(&db).await.unwrap()
    };
    // Time passes: one of them expired 299 seconds ago, one more than 300.
    let rank = "(SELECT count(*) FROM burnt_nonces AS b WHERE b.nonce < burnt_nonces.nonce)";
    meddle(directory, &format!("UPDATE burnt_nonces SET expires_at = unixepoch() - 290 WHERE {rank} = 0")).await;
    meddle(directory, &format!("UPDATE burnt_nonces SET expires_at = unixepoch() - 302 WHERE {rank} = 1")).await;
    // Not with every commit, but with the first of a process, and after every 128 nonces.
    w.accepted(item()).await;
    assert_eq!(count().await, 3);
    w.commit((0..128).map(|_| burning(60)).collect()).await;
    assert_eq!(count().await, 2 + 128);
    assert_eq!(w.refused(nonces[2].clone()).await, Refusal::NonceReused);
    meddle(directory, &format!("UPDATE burnt_nonces SET expires_at = unixepoch() - 302 WHERE {rank} = 0")).await;
    let again = sequencer(w.store.clone(), w.outside()).await.unwrap();
    again.commit(vec![item()]).await.unwrap();
    assert_eq!(count().await, 1 + 128);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denials_count_for_an_hour() {
    let w = world().await;
    w.commit(vec![denial(1), denial(1), denial(1)]).await;
    let limited = || Item { quotas: vec![Quota::NodeDenials(node_id(1), 2)], ..denial(1) };
    assert!(matches!(w.refused(limited()).await, Refusal::QuotaExceeded(_)));
    meddle(w.directory.path(), "UPDATE entries SET time_ms = time_ms - 3601000 WHERE idx < 2").await;
    w.accepted(limited()).await;
    assert!(matches!(w.refused(limited()).await, Refusal::QuotaExceeded(_)));
    meddle(w.directory.path(), "UPDATE entries SET time_ms = time_ms - 3601000").await;
    w.accepted(limited()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_do_not_go_back_in_time_with_the_clock() {
    let w = world().await;
    w.accepted(item()).await;
    meddle(w.directory.path(), "UPDATE head SET time_ms = time_ms + 60000").await;
    w.commit(vec![item(), item()]).await;
    let records = w.check_log().await;
    let gap = records[1].time.unix_millis() - records[0].time.unix_millis();
    assert_eq!(gap, 60_000);
    assert_eq!(records[1].time, records[2].time);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_not_what_was_written_is_said_to_be_corrupt() {
    let w = world().await;
    w.store.initialise(&vault()).await.unwrap();
    meddle(w.directory.path(), "UPDATE vault SET row = '{}'").await;
    assert!(matches!(w.store.vault().await, Err(StoreError::Corrupt(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_overwritten_is_in_no_file_once_it_is_shredded() {
    use strongroom_protocol::{Bytes, admin::KeyState};
    let w = world().await;
    let live = key("minilm", 1, KeyState::Active);
    let live =
        strongroom_store::model::KeyRow { wrapped: Bytes(b"a wrapped key, sixty bytes or so of it".to_vec()), ..live };
    let needle = live.wrapped.to_string();
    let found = || {
        let holds = |name: &str| {
            let bytes = std::fs::read(w.directory.path().join(name)).unwrap();
            bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
        };
        holds("vault.db") || holds("vault.db-wal")
    };
    w.accepted(with(vec![Change::CreateAsset(asset("minilm")), Change::PutKey(live.clone())])).await;
    assert!(w.store.shred().await.unwrap());
    assert!(found(), "a live key is not shredded");
    let gone = strongroom_store::model::KeyRow { state: KeyState::Destroyed, wrapped: Bytes::default(), ..live };
    w.accepted(with(vec![Change::PutKey(gone)])).await;
    assert!(found(), "before the checkpoint the page as it was is still there");
    assert!(w.store.shred().await.unwrap());
    assert!(!found());
    assert_eq!(std::fs::metadata(w.directory.path().join("vault.db-wal")).unwrap().len(), 0);

    // Somebody who reads an older state holds it up, and is waited for only so long.
    let mut reader = reader_of(&w).await;
    w.accepted(item()).await;
    assert!(!w.store.shred().await.unwrap());
    sqlx::query("COMMIT").execute(&mut reader).await.unwrap();
    assert!(w.store.shred().await.unwrap());
}

/// A reading transaction that has seen the database as it is now.
async fn reader_of(w: &crate::World) -> sqlx::SqliteConnection {
    use sqlx::Connection as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(w.directory.path().join("vault.db"));
    let mut reader = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("BEGIN").execute(&mut reader).await.unwrap();
    sqlx::query("SELECT * FROM head").execute(&mut reader).await.unwrap();
    reader
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_another_schema_is_left_as_it_is() {
    let w = world().await;
    w.accepted(item()).await;
    let path = w.directory.path().join("vault.db");
    let as_it_is = async || SqliteStore::open_as_it_is(&path, SqliteOptions::default()).await.map(drop);
    as_it_is().await.unwrap();
    meddle(w.directory.path(), "UPDATE _sqlx_migrations SET version = version + 100").await;
    let newer = as_it_is().await.unwrap_err();
    assert!(matches!(newer, StoreError::Schema { found, wanted } if found == wanted + 100));
    assert!(newer.to_string().contains("newer program"), "{newer}");
    meddle(w.directory.path(), "DELETE FROM _sqlx_migrations").await;
    let older = as_it_is().await.unwrap_err().to_string();
    assert!(older.contains("schema 0, this program wants 7: run serve"), "{older}");

    let empty = w.directory.path().join("empty.db");
    assert!(SqliteStore::open_as_it_is(&empty, SqliteOptions::default()).await.is_err());
    assert!(!empty.exists());
    std::fs::write(&empty, b"").unwrap();
    std::fs::set_permissions(&empty, std::fs::Permissions::from_mode(0o600)).unwrap();
    let error = SqliteStore::open_as_it_is(&empty, SqliteOptions::default()).await.err().unwrap();
    assert!(matches!(error, StoreError::Schema { found: 0, .. }));
    assert_eq!(std::fs::metadata(&empty).unwrap().len(), 0);
}
