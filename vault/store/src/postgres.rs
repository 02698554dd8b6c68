//! PostgreSQL: one database that several replicas of the vault share.
//!
//! A commit is on the disk when it returns, which is checked in each one. One connection of a replica
//! writes, a pool reads beside it. Of all replicas one at a time is between the lock of the head's row
//! and its commit: a row's lock, not an advisory one, so that poolers and compatible clusters serve.
//!
//! ```text
//! PostgresStore ── readers: pool, read only ──> reads (Store), log (entries, tiles, queries)
//!       └───────── writer: one connection ────> transaction (Transaction) ──> changes
//!                    └── durability: settings in each commit, standbys now and then
//! ```
//!
//! The clock is the database's: `clock_timestamp()` once the head is locked, for what is decided and
//! recorded, since a transaction's own `now()` is older than the wait for the lock; and the statement's
//! for reads, which an index can be searched by.
//!
//! Behind a transaction pooler a connection is another one for each transaction: so each read is a
//! transaction of its own, statements are prepared without a name, and settings are local.

mod candidate;
mod changes;
mod closing;
mod durability;
mod endorsements;
mod enrolments;
mod grounds;
mod log;
mod options;
mod reads;
mod remedies;
mod replica;
mod rows;
mod schema;
mod shred;
mod transaction;
mod writer;

pub use options::{DatabaseTls, PostgresOptions};

use crate::store::StoreError;
use remedies::told;
use replica::Occupied;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
    raw_sql,
};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::Mutex;
use writer::{WriteTransaction, Writer};

/// A statement with its values.
type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

/// A connection that was idle for longer is asked whether it still is one.
const IDLE: Duration = Duration::from_secs(1);
/// A database that writes go to is asked for its standbys after so long, and on each new connection.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Pairs of connections that are compared to find a pooler.
const PAIRS: u32 = 8;

/// A vault in a PostgreSQL database. Cheap to clone.
#[derive(Clone)]
pub struct PostgresStore {
    readers: PgPool,
    writer: Arc<Mutex<Option<Writer>>>,
    connect: PgConnectOptions,
    occupied: Arc<OnceLock<Occupied>>,
    pooler: bool,
    patience: Duration,
    look_again: Duration,
}

impl PostgresStore {
    /// Opens the database, which has to be there, and brings its tables up to date. One that may lose
    /// what it has confirmed is refused ([`StoreError::Volatile`]).
    pub async fn open(options: &PostgresOptions) -> Result<Self, StoreError> {
        let store = Self::assemble(options)?;
        store.check_pooler().await?;
        store.check_durability().await?;
        store.migrate().await?;
        Ok(store)
    }

    /// Opens the database and leaves its tables as they are: if they are not those of this program it is
    /// refused ([`StoreError::Schema`]).
    pub async fn open_as_it_is(options: &PostgresOptions) -> Result<Self, StoreError> {
        let store = Self::assemble(options)?;
        store.check_pooler().await?;
        store.check_durability().await?;
        store.check_schema().await?;
        Ok(store)
    }

    /// The same store that asks for standbys after so long, for tests. No binary calls this.
    #[doc(hidden)]
    #[must_use]
    pub fn looking_again_after(self, look_again: Duration) -> Self {
        Self { look_again, ..self }
    }

    fn assemble(options: &PostgresOptions) -> Result<Self, StoreError> {
        let connect = options.connect()?;
        let bounded = format!("SET default_transaction_read_only = on; {}", limits("SET", options.patience));
        let pooler = options.pooler;
        let readers = PgPoolOptions::new()
            .max_connections(options.readers.max(1))
            .acquire_timeout(options.patience)
            .test_before_acquire(false)
            .before_acquire(|db, known| {
                Box::pin(async move { if known.idle_for > IDLE { db.ping().await.map(|()| true) } else { Ok(true) } })
            })
            .after_connect(move |db, _| {
                let bounded = bounded.clone();
                Box::pin(async move {
                    if !pooler {
                        raw_sql(AssertSqlSafe(bounded)).execute(db).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(connect.clone());
        let writer = Arc::new(Mutex::new(None));
        let (occupied, patience) = (Arc::default(), options.patience);
        Ok(Self { readers, writer, connect, occupied, pooler, patience, look_again: LOOK_AGAIN })
    }

    /// A connection of its own. Where there is none to be had, the error says what to do.
    async fn connect(&self) -> Result<PgConnection, StoreError> {
        let connected = async {
            // What became of it is told here; only silence is left to be told by the patience.
            Ok(PgConnection::connect_with(&self.connect).await)
        };
        within(self.patience, connected).await?.map_err(|error| told(&error))
    }

    /// Two connections never have one process of the database between them, unless a pooler lends it to
    /// both. Behind one that nobody told of, statements of different replicas would be mistaken for
    /// each other.
    async fn check_pooler(&self) -> Result<(), StoreError> {
        if self.pooler {
            return Ok(());
        }
        let (mut one, mut other) = (self.connect().await?, self.connect().await?);
        for _ in 0..PAIRS {
            let mut processes = [0_i32; 2];
            for (process, db) in processes.iter_mut().zip([&mut one, &mut other]) {
                let asked = sqlx::Row::try_get(
                    &within(self.patience, raw_sql("SELECT pg_backend_pid()").fetch_one(&mut *db)).await?,
                    0,
                );
                *process = asked.map_err(unavailable)?;
            }
            if processes[0] == processes[1] {
                return Err(StoreError::Unusable(
                    "a transaction pooler stands before the database: set pooler = true".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// Runs one statement that reads.
    async fn rows(&self, asked: PgQuery<'_>) -> Result<Vec<PgRow>, StoreError> {
        if !self.pooler {
            return within(self.patience, asked.fetch_all(&self.readers)).await;
        }
        within(self.patience, async {
            let mut tx = self.reading("READ COMMITTED").await?;
            let rows = asked.persistent(false).fetch_all(&mut *tx).await?;
            tx.rollback().await?;
            Ok(rows)
        })
        .await
    }

    async fn row(&self, asked: PgQuery<'_>) -> Result<Option<PgRow>, StoreError> {
        Ok(self.rows(asked).await?.into_iter().next())
    }

    /// A transaction that reads; REPEATABLE READ sees one snapshot.
    async fn reading(&self, isolation: &str) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let begin = format!("BEGIN ISOLATION LEVEL {isolation} READ ONLY; {}", limits("SET LOCAL", self.patience));
        self.readers.begin_with(AssertSqlSafe(begin)).await
    }

    /// Several reads of one snapshot.
    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let tx = within(self.patience, self.reading("REPEATABLE READ")).await?;
        Ok(Snapshot { tx, prepared: !self.pooler, patience: self.patience })
    }
}

/// Reads of one snapshot.
struct Snapshot {
    tx: Transaction<'static, Postgres>,
    prepared: bool,
    patience: Duration,
}

impl Snapshot {
    async fn rows(&mut self, asked: PgQuery<'_>) -> Result<Vec<PgRow>, StoreError> {
        within(self.patience, asked.persistent(self.prepared).fetch_all(&mut *self.tx)).await
    }

    async fn row(&mut self, asked: PgQuery<'_>) -> Result<Option<PgRow>, StoreError> {
        Ok(self.rows(asked).await?.into_iter().next())
    }
}

/// What the database itself bounds: a statement, a wait for a lock, and a transaction whose client
/// says nothing any more, which would hold up every replica.
fn limits(set: &str, patience: Duration) -> String {
    let millis = patience.as_millis().max(1);
    format!(
        "{set} statement_timeout = {millis}; {set} lock_timeout = {millis}; \
         {set} idle_in_transaction_session_timeout = {}",
        millis * 2
    )
}

/// Waits no longer than the patience.
async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    // The database's own limit comes first where it can be reached at all.
    match tokio::time::timeout(patience + Duration::from_secs(1), work).await {
        Ok(done) => done.map_err(unavailable),
        Err(_) => Err(StoreError::Unavailable(format!("nothing was heard of it for {} s", patience.as_secs() + 1))),
    }
}

/// What PostgreSQL says, without values that a statement had. A value of the wrong shape is not the
/// database's silence but its damage.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` takes")]
fn unavailable(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::Decode(_) => StoreError::Corrupt(error.to_string()),
        sqlx::Error::Database(found) => match found.code().as_deref() {
            // serialization_failure, deadlock_detected.
            Some("40001" | "40P01") => StoreError::Conflicted(found.message().to_owned()),
            // read_only_sql_transaction.
            Some("25006") => {
                let said = found.message();
                StoreError::ReadOnly(format!("{said}: connect to the primary, or let this server take writes again"))
            }
            _ => StoreError::Unavailable(found.message().to_owned()),
        },
        _ => StoreError::Unavailable(error.to_string()),
    }
}
