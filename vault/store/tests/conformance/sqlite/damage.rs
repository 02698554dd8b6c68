//! A database that went back in time, was forked, or was changed by hand, is found and locks the log.

use super::{open, world};
use crate::{World, rows::*, world::*};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::path::Path;
use strongroom_ledger::{Checkpoint, Frontier};
use strongroom_store::StoreError;

/// Runs SQL beside the vault, as somebody with the file in hands would.
pub(super) async fn meddle(directory: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(directory.join("vault.db"));
    let mut db = SqliteConnection::connect_with(&options).await.unwrap();
    let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut db).await.unwrap();
    assert!(done.rows_affected() > 0, "{sql}");
    db.close().await.unwrap();
}

async fn filled(sizes: &[usize]) -> World {
    let w = world().await;
    for size in sizes {
        let items: Vec<_> = (0..*size).map(|_| item()).collect();
        for batch in items.chunks(200) {
            w.commit(batch.to_vec()).await;
        }
    }
    w
}

/// The vault's directory with another database in it.
fn restored(w: &World, backup: &Path) -> std::path::PathBuf {
    let other = w.directory.path().join("restored");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(w.outside(), other.join("checkpoint")).unwrap();
    std::fs::copy(backup, other.join("vault.db")).unwrap();
    other
}

async fn rolls_back(directory: &Path) {
    let store = open(directory).await;
    let error = sequencer(store, directory.join("checkpoint")).await.err().unwrap();
    assert!(matches!(error, StoreError::Rollback { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_older_database_is_found() {
    let w = filled(&[300]).await;
    let backup = w.directory.path().join("backup.db");
    w.store.backup(&backup).await.unwrap();
    // Unchanged since the backup: nothing is lost, and it goes on.
    let same = restored(&w, &backup);
    let store = open(&same).await;
    let again = sequencer(store.clone(), same.join("checkpoint")).await.unwrap();
    assert_eq!(accepted(again.commit(vec![item()]).await.unwrap().remove(0)).index, 300);
    check_log(&*store).await;
    std::fs::remove_dir_all(&same).unwrap();

    w.accepted(item()).await;
    rolls_back(&restored(&w, &backup)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_is_found() {
    let w = filled(&[3]).await;
    let empty = w.directory.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    std::fs::copy(w.outside(), empty.join("checkpoint")).unwrap();
    rolls_back(&empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_its_checkpoint_file_waits_for_a_person() {
    let w = filled(&[3]).await;
    let kept = std::fs::read(w.outside()).unwrap();
    std::fs::remove_file(w.outside()).unwrap();
    rolls_back(w.directory.path()).await;
    // A person puts a witness's checkpoint there: an older one that the head extends will do.
    let mut frontier = Frontier::new();
    let first = w.store.entry(0).await.unwrap().unwrap();
    frontier.push(&first.entry).unwrap();
    let older = Checkpoint::of(ORIGIN, &frontier).sign(&verifier(), &*signer()).unwrap();
    for good in [older.to_string().into_bytes(), kept] {
        std::fs::write(w.outside(), good).unwrap();
        sequencer(w.store.clone(), w.outside()).await.unwrap();
    }
}

/// Two futures of one past: the file knows one, the database has the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_is_found_whatever_its_length() {
    for lost in [1, 4] {
        for fork in [1, 4, 300] {
            let w = filled(&[257]).await;
            let backup = w.directory.path().join("backup.db");
            w.store.backup(&backup).await.unwrap();
            // The other future happens with a checkpoint file of its own.
            let other = restored(&w, &backup);
            w.commit((0..lost).map(|_| item()).collect()).await;
            let forked = sequencer(open(&other).await, other.join("checkpoint")).await.unwrap();
            for _ in 0..=fork / 100 {
                forked.commit((0..fork.min(100)).map(|_| item()).collect()).await.unwrap();
            }
            drop(forked);
            std::fs::copy(w.outside(), other.join("checkpoint")).unwrap();
            rolls_back(&other).await;
        }
    }
}

/// The running process finds it too: before it signs, and then for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_under_a_running_process_locks_it() {
    let w = filled(&[10]).await;
    let set = |frontier: &Frontier| format!("UPDATE head SET frontier = x'{}'", hex::encode(frontier.to_bytes()));
    w.accepted(item()).await;
    let head = w.store.head().await.unwrap().unwrap();
    meddle(w.directory.path(), &set(&Frontier::new())).await;
    for _ in 0..2 {
        let error = w.sequencer.commit(vec![item()]).await.unwrap_err();
        assert!(matches!(error, StoreError::Rollback { .. }), "{error}");
    }
    // Putting it back does not help: a person decides.
    let mut frontier = Frontier::new();
    for entry in w.store.entries(0, 100).await.unwrap() {
        frontier.push(&entry.entry).unwrap();
    }
    meddle(w.directory.path(), &set(&frontier)).await;
    assert_eq!(w.store.head().await.unwrap().unwrap(), head);
    assert!(matches!(w.sequencer.commit(vec![item()]).await, Err(StoreError::Rollback { .. })));
    assert!(matches!(w.sequencer.locked(), Some(StoreError::Rollback { .. })));
    assert_eq!(w.store.head().await.unwrap().unwrap(), head);
    // Opened again by a person, it goes on.
    let again = sequencer(w.store.clone(), w.outside()).await.unwrap();
    assert_eq!(accepted(again.commit(vec![item()]).await.unwrap().remove(0)).index, 11);
}

/// Each change alone is found by the minute's check, and locks the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_at_the_end_of_the_log_is_found() {
    for change in [
        "UPDATE entries SET record = CAST(record || ' ' AS BLOB) WHERE idx = 280",
        "UPDATE entries SET salt = zeroblob(16) WHERE idx = 280",
        "UPDATE entries SET entry = zeroblob(32) WHERE idx = 280",
        "UPDATE entries SET entry = zeroblob(32), record = NULL, salt = NULL WHERE idx = 280",
        "UPDATE entries SET idx = 1000 WHERE idx = 299",
        "DELETE FROM entries WHERE idx = 299",
        "INSERT INTO entries (idx, entry, id, time_ms) VALUES (300, zeroblob(32), 'x', 0)",
        "UPDATE tiles SET data = zeroblob(8192) WHERE level = 0 AND idx = 0",
        "UPDATE tiles SET data = zeroblob(44 * 32) WHERE level = 0 AND idx = 1",
        "UPDATE tiles SET data = zeroblob(32) WHERE level = 1",
        "DELETE FROM tiles WHERE level = 1",
        "UPDATE head SET checkpoint = replace(checkpoint, char(10) || '300' || char(10), char(10) || '299' || char(10))",
        "UPDATE head SET checkpoint = ''",
        "UPDATE head SET frontier = x'00'",
        "DELETE FROM head",
    ] {
        let w = filled(&[256, 44]).await;
        w.sequencer.verify_tail(300).await.unwrap();
        meddle(w.directory.path(), change).await;
        let error = w.sequencer.verify_tail(300).await.expect_err(change);
        assert!(matches!(error, StoreError::Corrupt(_) | StoreError::Rollback { .. }), "{change}: {error}");
        assert!(w.sequencer.commit(vec![item()]).await.is_err());
        assert!(w.sequencer.locked().is_some(), "{change}");
    }
}

/// A pruned body is no damage: its entry stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pruned_body_is_no_damage() {
    let w = filled(&[20]).await;
    meddle(w.directory.path(), "UPDATE entries SET record = NULL, salt = NULL WHERE idx = 5").await;
    w.sequencer.verify_tail(100).await.unwrap();
    assert!(w.store.entry(5).await.unwrap().unwrap().body.is_none());
    w.accepted(item()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_checkpoint_file_is_found() {
    for damage in [None, Some(""), Some("older")] {
        let w = filled(&[5]).await;
        let older = std::fs::read(w.outside()).unwrap();
        w.accepted(item()).await;
        match damage {
            None => std::fs::remove_file(w.outside()).unwrap(),
            Some("older") => std::fs::write(w.outside(), older).unwrap(),
            Some(text) => std::fs::write(w.outside(), text).unwrap(),
        }
        assert!(w.sequencer.verify_tail(10).await.is_err());
        assert!(w.sequencer.locked().is_some());
        assert!(w.sequencer.commit(vec![item()]).await.is_err());
    }
}

/// The right edge that is appended to must hash to the frontier, or nothing is signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tile_that_disagrees_with_the_head_is_not_signed_over() {
    let w = filled(&[5]).await;
    let head = w.store.head().await.unwrap();
    meddle(w.directory.path(), "UPDATE tiles SET data = zeroblob(160)").await;
    assert!(matches!(w.sequencer.commit(vec![item()]).await, Err(StoreError::Corrupt(_))));
    assert_eq!(w.store.head().await.unwrap(), head);
    assert!(w.sequencer.locked().is_some());
}
