//! The connection that writes, and its transactions.

use super::{PgQuery, PostgresStore, durability::check_standbys, limits, replica::Occupied, within};
use crate::store::StoreError;
use sqlx::{
    AssertSqlSafe, PgConnection,
    postgres::{PgQueryResult, PgRow},
    raw_sql,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::OwnedMutexGuard, time::Instant};

/// The connection that writes.
pub(super) struct Writer {
    db: PgConnection,
    /// When the database behind it was last asked for its standbys, and whether it is one.
    looked: Option<Instant>,
}

impl PostgresStore {
    /// Begins a writing transaction, and locks the head.
    pub(super) async fn begin_writing(&self) -> Result<WriteTransaction, StoreError> {
        let mut slot = Arc::clone(&self.writer).lock_owned().await;
        // One that the database closed meanwhile is found out here, where nothing is lost.
        if let Some(mut writer) = slot.take() {
            match self.lock_head(&mut writer).await {
                Ok(()) => return Ok(self.writing(slot, writer)),
                Err(error @ (StoreError::Conflicted(_) | StoreError::Volatile(_))) => return Err(error),
                Err(error) => tracing::info!(%error, "the writing connection is made anew"),
            }
        }
        let mut writer = Writer { db: self.connect().await?, looked: None };
        self.lock_head(&mut writer).await?;
        Ok(self.writing(slot, writer))
    }

    /// Begins, and makes sure that this is a database to commit to: after a failover the address may be that
    /// of another server, and a server can get standbys while the vault runs.
    async fn lock_head(&self, writer: &mut Writer) -> Result<(), StoreError> {
        // Without READ WRITE: a server that was told to take no writes for now is believed.
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; {}; SELECT 1 FROM head FOR UPDATE",
            limits("SET LOCAL", self.patience)
        );
        within(self.patience, raw_sql(AssertSqlSafe(begin)).execute(&mut writer.db)).await?;
        if writer.looked.is_none_or(|looked| looked.elapsed() >= self.look_again) {
            check_standbys(&mut writer.db, self.patience).await?;
            writer.looked = Some(Instant::now());
        }
        Ok(())
    }

    fn writing(&self, slot: OwnedMutexGuard<Option<Writer>>, writer: Writer) -> WriteTransaction {
        let occupied = self.occupied.get().cloned();
        WriteTransaction { slot, writer, broken: false, occupied, prepared: !self.pooler, patience: self.patience }
    }
}

/// A writing transaction. Dropped, its connection is closed, and the database takes it back.
pub(super) struct WriteTransaction {
    /// Where the connection goes back to when the transaction has ended in order.
    slot: OwnedMutexGuard<Option<Writer>>,
    writer: Writer,
    /// After an error the connection is not used again: what it was in the middle of, nobody knows.
    broken: bool,
    /// The replica's name, once this process has taken it.
    pub(super) occupied: Option<Occupied>,
    prepared: bool,
    patience: Duration,
}

impl WriteTransaction {
    pub(super) async fn rows(&mut self, asked: PgQuery<'_>) -> Result<Vec<PgRow>, StoreError> {
        let rows = within(self.patience, asked.persistent(self.prepared).fetch_all(&mut self.writer.db)).await;
        self.broken |= rows.is_err();
        rows
    }

    pub(super) async fn row(&mut self, asked: PgQuery<'_>) -> Result<Option<PgRow>, StoreError> {
        Ok(self.rows(asked).await?.into_iter().next())
    }

    pub(super) async fn one(&mut self, asked: PgQuery<'_>) -> Result<PgRow, StoreError> {
        self.row(asked).await?.ok_or_else(|| StoreError::Corrupt("a statement gave no row".to_owned()))
    }

    /// Rows that were written.
    pub(super) async fn execute(&mut self, asked: PgQuery<'_>) -> Result<u64, StoreError> {
        let done = within(self.patience, asked.persistent(self.prepared).execute(&mut self.writer.db)).await;
        self.broken |= done.is_err();
        done.map(|done: PgQueryResult| done.rows_affected())
    }

    /// A statement without values, in one way to the database.
    pub(super) async fn say(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let said = within(self.patience, raw_sql(sql).execute(&mut self.writer.db)).await;
        self.broken |= said.is_err();
        said.map(drop)
    }

    /// Commits. After an error it may have happened: the connection is closed, and another one asks.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        // After an error COMMIT would roll back, and say nothing of it.
        if self.broken {
            return Err(StoreError::Unavailable("a statement of the transaction failed".to_owned()));
        }
        self.say("COMMIT").await?;
        *self.slot = Some(self.writer);
        Ok(())
    }

    pub(super) async fn roll_back(mut self) {
        if !self.broken && self.say("ROLLBACK").await.is_ok() {
            *self.slot = Some(self.writer);
        }
    }
}
