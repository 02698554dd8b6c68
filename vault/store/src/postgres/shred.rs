//! Taking what was destroyed out of the database's table of keys.
//!
//! An old version of a row lies in its page until the table is written anew, which `VACUUM FULL` does:
//! keys are few. The write-ahead log, its archive, standbys and backups keep what they have until their
//! own time is over; whoever can read them needs the vault's root key besides.

use super::{PostgresStore, limits, unavailable, within};
use crate::store::StoreError;
use sqlx::{AssertSqlSafe, raw_sql};

impl PostgresStore {
    /// Writes the table of wrapped keys anew; false if somebody who reads held it up.
    pub(super) async fn rewrite_keys(&self) -> Result<bool, StoreError> {
        let mut db = self.connect().await?;
        // VACUUM is no part of a transaction, so behind a pooler nobody but its client bounds it.
        if !self.pooler {
            let bounds = raw_sql(AssertSqlSafe(limits("SET", self.patience)));
            within(self.patience, bounds.execute(&mut db)).await?;
        }
        match tokio::time::timeout(self.patience, raw_sql("VACUUM (FULL) keys").execute(&mut db)).await {
            Ok(Ok(_)) => Ok(true),
            Err(_) => Ok(false),
            // lock_not_available, query_canceled.
            Ok(Err(sqlx::Error::Database(e))) if matches!(e.code().as_deref(), Some("55P03" | "57014")) => Ok(false),
            Ok(Err(error)) => Err(unavailable(error)),
        }
    }
}
