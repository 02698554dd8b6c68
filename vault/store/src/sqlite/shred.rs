//! Taking what was overwritten out of the files.
//!
//! `secure_delete` puts zeros over what a page held, but the page as it was before lies in the
//! write-ahead log, in the database file, or in both, until a checkpoint writes the newest pages into
//! the database and cuts the log to nothing. What a file system keeps of cut files is beyond this.

use super::{SqliteStore, unavailable};
use crate::store::StoreError;
use sqlx::{Connection as _, Row as _, SqliteConnection, query};
use std::time::Duration;

/// How long those who read are waited for; commits wait as long.
const PATIENCE: Duration = Duration::from_secs(1);

impl SqliteStore {
    /// Checkpoints the whole write-ahead log and truncates it; false if it was held up.
    pub(super) async fn truncate_log(&self) -> Result<bool, StoreError> {
        // A connection of its own: the one that writes is busy with releases.
        let connect = self.connect.clone().busy_timeout(PATIENCE);
        let mut connection = SqliteConnection::connect_with(&connect).await.map_err(unavailable)?;
        let done = query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await.map_err(unavailable)?;
        let held_up: i64 = done.try_get(0).map_err(unavailable)?;
        connection.close().await.map_err(unavailable)?;
        Ok(held_up == 0)
    }
}
