//! SQLite: the embedded default, one file on one machine.
//!
//! WAL with `synchronous=FULL`: a commit is on the disk when it returns. One connection writes, a
//! pool reads snapshots beside it, so a long audit query never holds up a release.
//!
//! ```text
//! SqliteStore ── readers: pool, query_only ──> reads (Store), log (entries, tiles, queries)
//!      └──────── writer: one connection ─────> transaction (Transaction) ──> changes
//! ```

mod backup;
mod candidate;
mod changes;
mod closing;
mod endorsements;
mod enrolments;
mod grounds;
mod log;
mod reads;
mod rows;
mod schema;
mod shred;
mod transaction;

use crate::{encoding::integer, outside::sync_directory_of, store::StoreError};
use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How to open a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Nothing is written when fewer bytes than this are free where the database lies.
    pub reserve_bytes: u64,
    /// How long another process's lock is waited for.
    pub busy_timeout: Duration,
    /// Connections that read, at least 1.
    pub readers: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { reserve_bytes: 256 << 20, busy_timeout: Duration::from_secs(5), readers: 4 }
    }
}

/// A vault in a SQLite file. Cheap to clone.
#[derive(Clone)]
pub struct SqliteStore {
    readers: SqlitePool,
    writer: Arc<Mutex<Writer>>,
    connect: SqliteConnectOptions,
    path: PathBuf,
    reserve_bytes: u64,
}

/// The one connection that writes.
struct Writer {
    /// None after a commit that ended unclearly: a new connection asks what became of it.
    connection: Option<SqliteConnection>,
    /// Whether a transaction was begun and not ended.
    begun: bool,
}

impl SqliteStore {
    /// Opens the database at `path`, or makes a new one there that only its owner may read.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, SqliteOptions::default()).await
    }

    /// Opens the database at `path` with other options than the default ones.
    pub async fn open_with(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        prepare_file(path)?;
        let connect = connect_options(path, &options);
        let writing = connect.clone().journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let mut connection = SqliteConnection::connect_with(&writing).await.map_err(unavailable)?;
        MIGRATIONS.run(&mut connection).await.map_err(|e| {
            StoreError::Unavailable(format!("its tables cannot be brought up to date with this software: {e}"))
        })?;
        Self::assemble(path, &options, connect, writing, connection).await
    }

    /// Opens the database at `path`, which has to be there, and leaves its tables as they are: if
    /// they are not those of this program it is refused ([`StoreError::Schema`]).
    pub async fn open_as_it_is(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        check_file(path)?;
        let connect = connect_options(path, &options);
        // No journal mode is asked for: to ask for another one than the file has would change it.
        let writing = connect.clone().create_if_missing(false).synchronous(SqliteSynchronous::Full);
        let mut connection = SqliteConnection::connect_with(&writing).await.map_err(unavailable)?;
        schema::check(&mut connection, &MIGRATIONS).await?;
        Self::assemble(path, &options, connect, writing, connection).await
    }

    async fn assemble(
        path: &Path,
        options: &SqliteOptions,
        connect: SqliteConnectOptions,
        writing: SqliteConnectOptions,
        connection: SqliteConnection,
    ) -> Result<Self, StoreError> {
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers.max(1))
            .test_before_acquire(false)
            .connect_with(connect.clone().pragma("query_only", "ON"))
            .await
            .map_err(unavailable)?;
        Ok(Self {
            readers,
            writer: Arc::new(Mutex::new(Writer { connection: Some(connection), begun: false })),
            connect: writing,
            path: path.to_owned(),
            reserve_bytes: options.reserve_bytes,
        })
    }

    /// Begins a writing transaction, if the disk has room for it.
    async fn begin_writing(&self) -> Result<WriteTransaction, StoreError> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        self.check_space()?;
        if writer.begun {
            // Whoever began it went away in between. If it cannot be taken back, closing does.
            let rolled_back = match &mut writer.connection {
                Some(connection) => sqlx::query("ROLLBACK").execute(connection).await.is_ok(),
                None => false,
            };
            if !rolled_back {
                writer.connection = None;
            }
            writer.begun = false;
        }
        let mut connection = match writer.connection.take() {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.connect).await.map_err(unavailable)?,
        };
        let begun = sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await;
        writer.connection = Some(connection);
        begun.map_err(unavailable)?;
        writer.begun = true;
        Ok(WriteTransaction { writer, pending: None })
    }

    fn check_space(&self) -> Result<(), StoreError> {
        let free = free_bytes(&self.path)?;
        if free < self.reserve_bytes {
            return Err(StoreError::DiskFull { free, needed: self.reserve_bytes });
        }
        Ok(())
    }
}

/// A writing transaction. Dropped, it is taken back before the next one begins.
struct WriteTransaction {
    writer: OwnedMutexGuard<Writer>,
    /// What is written with the next statement.
    pending: Option<candidate::Statements>,
}

impl WriteTransaction {
    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.writer.connection.as_mut().ok_or_else(|| StoreError::Unavailable("its connection is gone".to_owned()))
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        match sqlx::query("COMMIT").execute(self.connection()?).await {
            Ok(_) => {
                self.writer.begun = false;
                Ok(())
            }
            Err(error) => {
                // Closing takes back what is not durable; what is durable, a new connection will see.
                if let Some(connection) = self.writer.connection.take() {
                    let _ = connection.close().await;
                }
                Err(unavailable(error))
            }
        }
    }

    async fn roll_back(mut self) {
        if let Ok(connection) = self.connection()
            && sqlx::query("ROLLBACK").execute(connection).await.is_ok()
        {
            self.writer.begun = false;
        }
    }
}

fn connect_options(path: &Path, options: &SqliteOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(options.busy_timeout)
        .statement_cache_capacity(256)
        .pragma("cache_size", "-16384")
        // What is deleted or replaced, a destroyed key's wrapping above all, is overwritten with zeros.
        .pragma("secure_delete", "ON")
        .disable_statement_logging()
}

/// Makes a file that only its owner may read, or finds one; SQLite gives its WAL the same mode.
fn prepare_file(path: &Path) -> Result<(), StoreError> {
    match create_private(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => check_file(path),
        Err(e) => Err(unusable(&e)),
    }
}

/// A file that only its owner may use.
fn check_file(path: &Path) -> Result<(), StoreError> {
    let found = fs::metadata(path).map_err(|e| unusable(&e))?;
    if !found.is_file() {
        return Err(StoreError::Unavailable("its path is not a file".to_owned()));
    }
    if found.permissions().mode() & 0o077 != 0 {
        return Err(StoreError::Unavailable(
            "others than its owner may use its file: make sure of its content, then `chmod 600` it".to_owned(),
        ));
    }
    Ok(())
}

fn unusable(error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("its file cannot be used: {error}"))
}

fn create_private(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.sync_all()?;
    sync_directory_of(path)
}

/// Bytes that this process may still write where `path` lies.
fn free_bytes(path: &Path) -> Result<u64, StoreError> {
    let found = rustix::fs::statvfs(path)
        .map_err(|e| StoreError::Unavailable(format!("the free space of its disk cannot be read: {e}")))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// What SQLite says, without the path that sqlx may know. A value of the wrong shape is not the
/// database's silence but its damage.
fn unavailable(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::Decode(_) => StoreError::Corrupt(error.to_string()),
        sqlx::Error::Database(found) => StoreError::Unavailable(found.message().to_owned()),
        other => StoreError::Unavailable(other.to_string()),
    }
}
