//! The process ends at each point of a commit, by an error and by a real kill; and replicas commit side
//! by side.

use super::{options, pooled};
use crate::{
    rows::*,
    sqlite::crash::{check_after, goes_on, run_until},
    world::*,
};
use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};
use strongroom_postgres::{Cluster, Database};
use strongroom_protocol::DecisionId;
use strongroom_store::{CrashPoint, Item, PostgresStore};

const CHILD_DIRECTORY: &str = "STRONGROOM_TEST_POSTGRES_DIRECTORY";
const CHILD_POINT: &str = "STRONGROOM_TEST_POSTGRES_POINT";
const CHILD_DATABASE: &str = "STRONGROOM_TEST_POSTGRES_DATABASE";

async fn open(database: &Database) -> Arc<PostgresStore> {
    Arc::new(PostgresStore::open(&options(database)).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_at_each_point_leaves_all_or_nothing() {
    for point in CrashPoint::ALL {
        let (directory, database) = (tempfile::tempdir().unwrap(), Cluster::shared().database().unwrap());
        let answered = run_until(open(&database).await, directory.path(), point, false).await;
        check_after(open(&database).await, directory.path(), 4, point.is_durable(), &answered).await;
        let (directory, database) = (tempfile::tempdir().unwrap(), Cluster::shared().database().unwrap());
        goes_on(open(&database).await, directory.path(), point).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_point_leaves_all_or_nothing() {
    for (place, point) in CrashPoint::ALL.into_iter().enumerate() {
        let (directory, database) = (tempfile::tempdir().unwrap(), Cluster::shared().database().unwrap());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "postgres::crash::killed_child", "--ignored", "--nocapture"])
            .env(CHILD_DIRECTORY, directory.path())
            .env(CHILD_POINT, place.to_string())
            .env(CHILD_DATABASE, format!("{} {} {}", database.socket.display(), database.port, database.name))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert_eq!(child.status.signal(), Some(9), "{point:?}: the child was not killed");
        let answered: Vec<DecisionId> = String::from_utf8(child.stdout)
            .unwrap()
            .lines()
            .filter_map(|line| line.split_once("answered ").map(|(_, id)| id.parse().unwrap()))
            .collect();
        assert_eq!(answered.len(), 4, "{point:?}");
        check_after(open(&database).await, directory.path(), 4, point.is_durable(), &answered).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of a_kill_at_each_point_leaves_all_or_nothing"]
#[expect(clippy::disallowed_methods, reason = "the parent tells its child where to die")]
async fn killed_child() {
    let (Ok(directory), Ok(place)) = (std::env::var(CHILD_DIRECTORY), std::env::var(CHILD_POINT)) else { return };
    let place = CrashPoint::ALL[place.parse::<usize>().unwrap()];
    let database = std::env::var(CHILD_DATABASE).unwrap();
    let words: Vec<&str> = database.split(' ').collect();
    let database = Database { socket: words[0].into(), port: words[1].parse().unwrap(), name: words[2].to_owned() };
    run_until(open(&database).await, Path::new(&directory), place, true).await;
}

/// Replicas with a store each, two of them behind the pooler: one log, each index once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_commit_side_by_side() {
    let (directory, database) = (tempfile::tempdir().unwrap(), Cluster::shared().database().unwrap());
    let mut replicas = Vec::new();
    for place in 0..4 {
        let reached = if place < 2 { options(&database) } else { pooled(&database) };
        let store = Arc::new(PostgresStore::open(&reached).await.unwrap());
        let outside = directory.path().join(place.to_string());
        if place > 0 {
            std::fs::copy(directory.path().join("0"), &outside).unwrap();
        }
        replicas.push(sequencer(store, outside).await.unwrap());
    }
    let now = u8::try_from(replicas.len()).unwrap();
    let tasks: Vec<_> = replicas
        .iter()
        .cloned()
        .zip(0..now)
        .map(|(replica, place)| {
            tokio::spawn(async move {
                let mut committed = Vec::new();
                for round in 0..15 {
                    let items = (0..=round % 4)
                        .map(|_| Item { record: record(&format!("site-{}", place % 2)), ..denial(place) });
                    for outcome in replica.commit(items.collect()).await.unwrap() {
                        committed.push(accepted(outcome));
                    }
                }
                committed
            })
        })
        .collect();
    let mut indices = BTreeSet::new();
    for task in tasks {
        for one in task.await.unwrap() {
            check_receipt(&one);
            assert!(indices.insert(one.index), "{} was given twice", one.index);
        }
    }
    let store = open(&database).await;
    assert_eq!(check_log(&*store).await.len(), indices.len());
    assert_eq!(indices.last(), Some(&(indices.len() as u64 - 1)));
    for replica in replicas {
        replica.verify_tail(1000).await.unwrap();
    }
}
