//! A consistent copy of the database while it is in use.

use super::{SqliteStore, create_private, free_bytes, unavailable};
use crate::{outside::sync_directory_of, store::StoreError};
use sqlx::{Connection as _, SqliteConnection, query};
use std::{fs, io, path::Path};

impl SqliteStore {
    /// Copies into a new file that only its owner may read; one that exists is never overwritten.
    pub(super) async fn copy_to(&self, to: &Path) -> Result<(), StoreError> {
        let name = to
            .to_str()
            .ok_or_else(|| StoreError::Unavailable("the backup's path is not UTF-8: choose another".to_owned()))?;
        create_private(to).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                StoreError::Unavailable("a file with the backup's name exists: choose another".to_owned())
            }
            _ => unwritable(&e),
        })?;
        let copied = self.fill(to, name).await;
        if copied.is_err() {
            // Half a copy must not be taken for a whole one. That it is left behind is the lesser evil.
            let _ = fs::remove_file(to);
        }
        copied
    }

    async fn fill(&self, to: &Path, name: &str) -> Result<(), StoreError> {
        let size = fs::metadata(&self.path).map_err(|e| unwritable(&e))?.len();
        let (free, needed) = (free_bytes(to)?, size.saturating_add(self.reserve_bytes));
        if free < needed {
            return Err(StoreError::DiskFull { free, needed });
        }
        let mut connection = SqliteConnection::connect_with(&self.connect).await.map_err(unavailable)?;
        query("VACUUM INTO ?").bind(name).execute(&mut connection).await.map_err(unavailable)?;
        connection.close().await.map_err(unavailable)?;
        fs::File::open(to).and_then(|file| file.sync_all()).map_err(|e| unwritable(&e))?;
        sync_directory_of(to).map_err(|e| unwritable(&e))
    }
}

fn unwritable(error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("the backup cannot be written: {error}"))
}
