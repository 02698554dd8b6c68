//! Connections that are lost: at COMMIT, before it and after it, and because the database crashed.

use super::options;
use crate::{World, rows::*, world::*};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use strongroom_postgres::{Cluster, Database};
use strongroom_store::{Outcome, PostgresOptions, PostgresStore, Sequencer, Store as _, StoreError};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

/// What becomes of the next COMMIT that passes. The answer is never passed on.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// The database carries it out.
    Durable,
    /// The database never hears of it.
    Lost,
}

/// Stands between a store and its database.
struct Wire {
    directory: tempfile::TempDir,
    next: Arc<Mutex<Option<Fate>>>,
}

impl Wire {
    fn to(database: &Database) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let name = format!(".s.PGSQL.{}", database.port);
        let listener = UnixListener::bind(directory.path().join(&name)).unwrap();
        let (target, next) = (database.socket.join(name), Arc::default());
        tokio::spawn(serve(listener, target, Arc::clone(&next)));
        Self { directory, next }
    }

    fn options(&self, database: &Database) -> PostgresOptions {
        PostgresOptions { host: self.directory.path().display().to_string(), ..options(database) }
    }
}

async fn serve(listener: UnixListener, target: PathBuf, next: Arc<Mutex<Option<Fate>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, next) = (UnixStream::connect(&target).await.unwrap(), Arc::clone(&next));
        tokio::spawn(pass(client, server, next));
    }
}

async fn pass(mut client: UnixStream, mut server: UnixStream, next: Arc<Mutex<Option<Fate>>>) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let said = &asked[..length];
                let fate = if said.windows(7).any(|w| w == b"COMMIT\0") { next.lock().unwrap().take() } else { None };
                match fate {
                    Some(Fate::Lost) => return,
                    Some(Fate::Durable) => {
                        server.write_all(said).await.unwrap();
                        let _ = server.read(&mut answered).await;
                        return;
                    }
                    None => if server.write_all(said).await.is_err() { return },
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answered[..length]).await.is_err() { return }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_answer_to_commit_the_database_is_asked() {
    let database = Cluster::shared().database().unwrap();
    let wire = Wire::to(&database);
    let store = Arc::new(PostgresStore::open(&wire.options(&database)).await.unwrap());
    let w = World::over(store, tempfile::tempdir().unwrap()).await;
    w.accepted(item()).await;

    *wire.next.lock().unwrap() = Some(Fate::Durable);
    let outcomes = w.commit(vec![item(), item()]).await;
    assert!(wire.next.lock().unwrap().is_none(), "no COMMIT passed by");
    for outcome in outcomes {
        assert!(matches!(&outcome, Outcome::Committed(_)));
        check_receipt(&accepted(outcome));
    }
    assert_eq!(w.store.head().await.unwrap().unwrap().size, 3);

    *wire.next.lock().unwrap() = Some(Fate::Lost);
    let error = w.sequencer.commit(vec![item(), item()]).await.unwrap_err();
    assert!(wire.next.lock().unwrap().is_none(), "no COMMIT passed by");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert_eq!(w.store.head().await.unwrap().unwrap().size, 3);
    assert_eq!(w.accepted(item()).await.index, 3);
    assert_eq!(w.check_log().await.len(), 4);
    w.sequencer.verify_tail(100).await.unwrap();
}

/// Another replica goes on before the first one learns what became of its commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_cleared_up_behind_another_replica() {
    let database = Cluster::shared().database().unwrap();
    let wire = Wire::to(&database);
    let store = Arc::new(PostgresStore::open(&wire.options(&database)).await.unwrap());
    let w = World::over(store, tempfile::tempdir().unwrap()).await;
    w.accepted(item()).await;
    let other = Arc::new(PostgresStore::open(&options(&database)).await.unwrap());
    let outside = w.directory.path().join("other");
    std::fs::copy(w.outside(), &outside).unwrap();
    let other = sequencer(other, outside).await.unwrap();
    for (fate, lost) in [(Fate::Durable, false), (Fate::Lost, true)] {
        *wire.next.lock().unwrap() = Some(fate);
        let before = w.store.head().await.unwrap().unwrap().size;
        let others = tokio::spawn({
            let other = other.clone();
            async move {
                for _ in 0..20 {
                    accepted(other.commit(vec![item()]).await.unwrap().remove(0));
                }
            }
        });
        let ours = w.sequencer.commit(vec![item(), item()]).await;
        others.await.unwrap();
        assert_eq!(ours.is_err(), lost, "{ours:?}");
        let size = w.store.head().await.unwrap().unwrap().size;
        assert_eq!(size - before, if lost { 20 } else { 22 });
        for outcome in ours.unwrap_or_default() {
            check_receipt(&accepted(outcome));
        }
    }
    w.check_log().await;
    w.sequencer.verify_tail(100).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashed_goes_on() {
    let mut cluster = Cluster::start(&[]).unwrap();
    let database = cluster.database().unwrap();
    let hasty = PostgresOptions { patience: Duration::from_secs(10), ..options(&database) };
    let store = Arc::new(PostgresStore::open(&hasty).await.unwrap());
    let w = World::over(store, tempfile::tempdir().unwrap()).await;
    for round in 0..3 {
        assert_eq!(w.accepted(item()).await.index, round);
        // Without a checkpoint of its own: what was confirmed comes out of its write-ahead log.
        cluster.restart(&[]).unwrap();
    }
    // Readers that were idle learn of it one by one.
    while w.store.head().await.is_err() {}
    assert_eq!(w.check_log().await.len(), 3);
    w.sequencer.verify_tail(100).await.unwrap();
}

/// Two replicas of a log, and a copy of its database from before the later one of two checkpoints.
struct Restored {
    database: Database,
    directory: tempfile::TempDir,
}

impl Restored {
    /// `busy` knows what is lost, `followed` too, and `asleep` does not.
    async fn new() -> Self {
        let (database, directory) = (Cluster::shared().database().unwrap(), tempfile::tempdir().unwrap());
        let store = Arc::new(PostgresStore::open(&options(&database)).await.unwrap());
        let busy = sequencer(store.clone(), directory.path().join("busy")).await.unwrap();
        accepted(busy.commit(vec![item()]).await.unwrap().remove(0));
        for quiet in ["followed", "asleep"] {
            std::fs::copy(directory.path().join("busy"), directory.path().join(quiet)).unwrap();
        }
        drop((busy, store));
        let restored = Database { name: format!("{}_restored", database.name), ..database.clone() };
        let owner = strongroom_postgres::USER;
        let copy = format!("CREATE DATABASE {} OWNER {owner} TEMPLATE {}", restored.name, database.name);
        // A connection that was just dropped may still be there.
        while Cluster::shared().sql("postgres", &copy).is_err() {}

        let store = Arc::new(PostgresStore::open(&options(&database)).await.unwrap());
        let busy = sequencer(store.clone(), directory.path().join("busy")).await.unwrap();
        let followed = sequencer(store.clone(), directory.path().join("followed")).await.unwrap();
        accepted(busy.commit(vec![item(), item()]).await.unwrap().remove(0));
        for replica in [&followed, &busy, &followed] {
            replica.follow().await.unwrap();
        }
        Self { database: restored, directory }
    }

    async fn store(&self) -> Arc<PostgresStore> {
        Arc::new(PostgresStore::open(&options(&self.database)).await.unwrap())
    }

    async fn open(&self, outside: &str) -> Result<Sequencer, StoreError> {
        sequencer(self.store().await, self.directory.path().join(outside)).await
    }
}

fn gone_back(error: &StoreError) -> bool {
    matches!(error, StoreError::Rollback { .. })
}

/// A replica that commits nothing itself still knows what the others committed, and finds it gone; who only
/// looks tells nobody; and a replica that lost nothing of its own cannot know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_is_found_by_a_replica_that_only_followed() {
    let restored = Restored::new().await;
    for (outside, found) in [("busy", true), ("followed", true), ("asleep", false)] {
        let outside_path = restored.directory.path().join(outside);
        let opened = Sequencer::look(restored.store().await, signer(), verifier(), outside_path, "r").await;
        assert_eq!(matches!(opened, Err(StoreError::Rollback { .. })), found, "{outside}");
    }
    accepted(restored.open("asleep").await.unwrap().commit(vec![item()]).await.unwrap().remove(0));
}

/// Whoever comes after the one that found it, is refused by the mark in the database, until a person decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_one_replica_found_locks_those_that_come_later() {
    let restored = Restored::new().await;
    assert!(restored.open("followed").await.is_err_and(|error| gone_back(&error)));
    let error = restored.open("asleep").await.map(drop).unwrap_err();
    assert!(gone_back(&error) && error.to_string().contains("found by the replica replica-1"), "{error}");
    // The first finding stands, whoever finds it again.
    let busy = restored.directory.path().join("busy");
    let again = Sequencer::new(restored.store().await, signer(), verifier(), busy, "replica-2").await;
    assert!(again.is_err_and(|error| gone_back(&error)));
    let store = restored.store().await;
    assert!(store.check_writable().await.is_err_and(|error| gone_back(&error)), "readiness is said");
    assert_eq!(store.head().await.unwrap().unwrap().size, 1, "nothing was committed");

    // The decision names the size; it is recorded, and takes the mark away.
    let outside = restored.directory.path().join("asleep");
    let accepting = |size| Sequencer::accepting(store.clone(), signer(), verifier(), &outside, "r", size);
    let error = accepting(3).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("the database has 1 entries"), "{error}");
    let (sequencer, abandoned) = accepting(1).await.unwrap();
    assert!(abandoned.marked.is_some_and(|(replica, known)| replica == "replica-1" && known.starts_with("3 entries")));
    assert!(restored.open("asleep").await.is_err(), "before it is recorded nothing is decided");
    accepted(sequencer.commit(vec![item()]).await.unwrap().remove(0));
    store.check_writable().await.unwrap();
    accepted(restored.open("asleep").await.unwrap().commit(vec![item()]).await.unwrap().remove(0));
    let error = accepting(3).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("nothing to accept"), "{error}");
    // One that knows what was lost finds it again, until it is given the checkpoint that was decided on.
    assert!(restored.open("busy").await.is_err_and(|error| gone_back(&error)));
    assert!(restored.open("asleep").await.is_err_and(|error| gone_back(&error)));
}

/// One that serves already is stopped at its next commit, and by its look each minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_one_replica_found_stops_those_that_commit() {
    let restored = Restored::new().await;
    let [committing, looking] = [restored.open("asleep").await.unwrap(), restored.open("asleep").await.unwrap()];
    accepted(committing.commit(vec![item()]).await.unwrap().remove(0));
    assert!(restored.open("busy").await.is_err_and(|error| gone_back(&error)));
    let error = committing.commit(vec![item()]).await.unwrap_err();
    assert!(gone_back(&error) && error.to_string().contains("found by"), "{error}");
    assert!(committing.locked().is_some());
    assert!(looking.verify_tail(10).await.is_err_and(|error| gone_back(&error)));
    assert_eq!(restored.store().await.head().await.unwrap().unwrap().size, 2);
    // A mark that no replica wrote is no reason to go on.
    restored.database.sql("UPDATE head SET rollback = 'x'").unwrap();
    assert!(matches!(restored.open("asleep").await, Err(StoreError::Corrupt(_))));
}
