//! Does the database keep what it has confirmed? Asked at the start; of its settings in every commit; and of
//! its standbys on every new connection that writes, and after some seconds on an old one.

use super::{PostgresStore, unavailable, within};
use crate::store::StoreError;
use sqlx::{AssertSqlSafe, PgConnection, Row as _, postgres::PgRow, query, raw_sql};
use std::time::Duration;

/// Columns that tell whether a commit is on the disk when it is confirmed.
pub(super) const DURABLE: &str = "current_setting('fsync') AS fsync, \
     current_setting('full_page_writes') AS full_page_writes, \
     current_setting('synchronous_commit') AS synchronous_commit";

/// Replicas of the database: streams of its log other than of logical slots and base backups, and
/// physical slots, whose streams may be away just now. Who may not see what a stream is for counts it.
///
/// And what transactions may do on a new connection: those that read have set it for themselves.
const STANDBYS: &str = "SELECT pg_is_in_recovery() AS standby,
    (SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only') = 'on' AS read_only,
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
            &raw_sql(AssertSqlSafe(format!("SELECT {DURABLE}"))).fetch_one(&mut db).await.map_err(unavailable)?,
        )?;
        check_standbys(&mut db, self.patience).await
    }

    /// The same by way of the connections that read: whether a commit would be refused now.
    pub(super) async fn check_now(&self) -> Result<(), StoreError> {
        let settings = self.rows(query(AssertSqlSafe(format!("SELECT {DURABLE}")))).await?;
        settings.iter().try_for_each(check_settings)?;
        self.rows(query(STANDBYS)).await?.iter().try_for_each(check_place)
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

/// Refuses a standby, and a database with standbys that nobody waits for.
pub(super) async fn check_standbys(db: &mut PgConnection, patience: Duration) -> Result<(), StoreError> {
    check_place(&within(patience, raw_sql(STANDBYS).fetch_one(db)).await?)
}

/// Checks the columns of [`STANDBYS`].
fn check_place(found: &PgRow) -> Result<(), StoreError> {
    if found.try_get("standby").map_err(unavailable)? {
        return Err(StoreError::ReadOnly("it is a standby: connect to the primary".to_owned()));
    }
    if found.try_get("read_only").map_err(unavailable)? {
        return Err(StoreError::ReadOnly(
            "default_transaction_read_only is on: connect to the primary, or let this server take writes again"
                .to_owned(),
        ));
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
