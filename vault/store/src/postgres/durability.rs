//! Does the database keep what it has confirmed? Asked at the start, and in part in every commit.

use super::{PostgresStore, unavailable};
use crate::store::StoreError;
use sqlx::{PgConnection, Row as _, postgres::PgRow, raw_sql};

/// Columns that tell whether a commit is on the disk when it is confirmed.
pub(super) const DURABLE: &str = "current_setting('fsync') AS fsync, \
     current_setting('full_page_writes') AS full_page_writes, \
     current_setting('synchronous_commit') AS synchronous_commit";

/// Replicas of the database: streams of its log other than of logical slots and base backups, and
/// physical slots, whose streams may be away just now. Who may not see what a stream is for counts it.
const STANDBYS: &str = "SELECT pg_is_in_recovery() AS standby,
    current_setting('synchronous_standby_names') AS synchronous_standby_names,
    (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT temporary)
        + (SELECT count(*) FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup' AND pid NOT IN
            (SELECT active_pid FROM pg_replication_slots WHERE active_pid IS NOT NULL)) AS standbys";

impl PostgresStore {
    /// Refuses a database that may lose what it has confirmed: without `fsync` or `full_page_writes`,
    /// with a weak `synchronous_commit`, with standbys that nobody waits for; and a standby.
    pub(super) async fn check_durability(&self) -> Result<(), StoreError> {
        let mut db = self.connect().await?;
        check_settings(
            &raw_sql(sqlx::AssertSqlSafe(format!("SELECT {DURABLE}"))).fetch_one(&mut db).await.map_err(unavailable)?,
        )?;
        check_standbys(&mut db).await
    }
}

/// Checks the columns of [`DURABLE`].
pub(super) fn check_settings(row: &PgRow) -> Result<(), StoreError> {
    for (setting, strong) in
        [("fsync", ["on", "on"]), ("full_page_writes", ["on", "on"]), ("synchronous_commit", ["on", "remote_apply"])]
    {
        let found: &str = row.try_get(setting).map_err(unavailable)?;
        if !strong.contains(&found) {
            return Err(StoreError::Volatile(format!("{setting} is {found}: set it to on")));
        }
    }
    Ok(())
}

async fn check_standbys(db: &mut PgConnection) -> Result<(), StoreError> {
    let found = raw_sql(STANDBYS).fetch_one(db).await.map_err(unavailable)?;
    if found.try_get("standby").map_err(unavailable)? {
        return Err(StoreError::Unavailable("it is a standby: connect to the primary".to_owned()));
    }
    let standbys: i64 = found.try_get("standbys").map_err(unavailable)?;
    let names: &str = found.try_get("synchronous_standby_names").map_err(unavailable)?;
    if standbys > 0 && names.trim().is_empty() {
        return Err(StoreError::Volatile(format!(
            "it has {standbys} standbys and synchronous_standby_names is empty, so a failover would lose what was \
             confirmed: name them there (or grant pg_monitor, if they are base backups)"
        )));
    }
    Ok(())
}
