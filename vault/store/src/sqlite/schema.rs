//! Which migrations a database has had, asked without making any.

use super::unavailable;
use crate::store::StoreError;
use sqlx::{SqliteConnection, migrate::Migrator, query_scalar};

/// Refuses a database whose newest migration is not this program's newest.
pub(super) async fn check(db: &mut SqliteConnection, migrations: &Migrator) -> Result<(), StoreError> {
    let wanted = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    let kept: Option<i64> =
        query_scalar("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'")
            .fetch_optional(&mut *db)
            .await
            .map_err(unavailable)?;
    let found = match kept {
        None => 0,
        Some(_) => query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success = 1")
            .fetch_one(db)
            .await
            .map_err(unavailable)?,
    };
    if found == wanted { Ok(()) } else { Err(StoreError::Schema { found, wanted }) }
}
