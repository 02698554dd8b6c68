//! What SQLite must do besides: survive a crash at each point, and find a changed database.

pub(crate) mod crash;
mod damage;
mod file;
mod full;

use crate::World;
use std::{path::Path, sync::Arc};
use strongroom_store::SqliteStore;

pub(crate) async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("vault.db")).await.unwrap();
    World::over(Arc::new(store), directory).await
}

pub(crate) async fn open(directory: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(&directory.join("vault.db")).await.unwrap())
}
