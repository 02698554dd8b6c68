//! What PostgreSQL must do besides: refuse a database that forgets, come to one schema with others, keep
//! its password to itself, survive a lost connection at each moment, and run behind a pooler.

mod crash;
mod durability;
mod lost;
mod refusals;
mod schema;
mod tls;

use crate::World;
use std::{sync::Arc, time::Duration};
use strongroom_postgres::{Cluster, Database, Pooler, USER};
use strongroom_store::{PostgresOptions, PostgresStore};

/// How to reach a database by the cluster's socket.
pub(crate) fn options(database: &Database) -> PostgresOptions {
    PostgresOptions {
        host: database.socket.display().to_string(),
        port: database.port,
        database: database.name.clone(),
        user: USER.to_owned(),
        readers: 4,
        // A loaded machine is slow; what is tested to give up says so itself.
        patience: Duration::from_secs(30),
        ..PostgresOptions::default()
    }
}

pub(crate) async fn world() -> World {
    let database = Cluster::shared().database().unwrap();
    let store = PostgresStore::open(&options(&database)).await.unwrap();
    World::over(Arc::new(store), tempfile::tempdir().unwrap()).await
}

/// Behind a pooler that lends its few connections for a transaction at a time.
pub(crate) async fn pooled_world() -> World {
    let database = Cluster::shared().database().unwrap();
    let store = PostgresStore::open(&pooled(&database)).await.unwrap();
    World::over(Arc::new(store), tempfile::tempdir().unwrap()).await
}

/// How to reach a database by the pooler that all tests of this process share.
pub(crate) fn pooled(database: &Database) -> PostgresOptions {
    static POOLER: std::sync::OnceLock<Pooler> = std::sync::OnceLock::new();
    let pooler = POOLER.get_or_init(|| Pooler::before(Cluster::shared()).unwrap());
    PostgresOptions {
        host: pooler.socket().display().to_string(),
        port: pooler.port(),
        pooler: true,
        ..options(database)
    }
}
