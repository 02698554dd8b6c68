//! Migrations, made in one transaction under a row's lock: of replicas that start at one time one
//! makes them and the others wait. No advisory lock, which poolers and compatible clusters lack.

use super::{PostgresStore, unavailable};
use crate::store::StoreError;
use sqlx::{PgConnection, Row as _, raw_sql};
use strongroom_protocol::{Fixed, sha256};

/// The migrations, in order; the first is number 1. What was once released is never changed.
const MIGRATIONS: [&str; 6] = [
    include_str!("../../migrations/postgres/0001_vault.sql"),
    include_str!("../../migrations/postgres/0002_rollback.sql"),
    include_str!("../../migrations/postgres/0003_references_by_two.sql"),
    include_str!("../../migrations/postgres/0004_measured.sql"),
    include_str!("../../migrations/postgres/0005_identities.sql"),
    include_str!("../../migrations/postgres/0006_endorsements.sql"),
];

const TABLES: &str = "CREATE TABLE IF NOT EXISTS migrations (
        number     bigint PRIMARY KEY,
        sha256     text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE TABLE IF NOT EXISTS migrations_lock (only_row smallint PRIMARY KEY CHECK (only_row = 1));
    INSERT INTO migrations_lock (only_row) VALUES (1) ON CONFLICT DO NOTHING";
/// Two that make the same table at one time can meet in the catalogue: the second finds it made.
const TRIES: u32 = 8;

impl PostgresStore {
    /// Brings the tables up to date.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        let mut db = self.connect().await?;
        if !is_kept(&mut db).await? {
            let mut made = raw_sql(TABLES).execute(&mut db).await;
            for _ in 1..TRIES {
                let Err(sqlx::Error::Database(error)) = &made else { break };
                // unique_violation, duplicate_table, duplicate_object (a table's row type), and "tuple
                // concurrently updated".
                if !matches!(error.code().as_deref(), Some("23505" | "42P07" | "42710" | "XX000")) {
                    break;
                }
                made = raw_sql(TABLES).execute(&mut db).await;
            }
            made.map_err(unavailable)?;
        }
        // Anything that fails takes all of it back: the connection ends with this function.
        raw_sql("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT 1 FROM migrations_lock FOR UPDATE")
            .execute(&mut db)
            .await
            .map_err(unavailable)?;
        let found = applied(&mut db).await?;
        for (number, sql) in (1..).zip(MIGRATIONS).skip(found) {
            let outdated = |e| {
                let why = unavailable(e);
                StoreError::Unavailable(format!("its tables cannot be brought up to date with this software: {why}"))
            };
            raw_sql(sql).execute(&mut db).await.map_err(outdated)?;
            // The digest is base64url and the number a number: nothing to be quoted.
            let noted: i64 = number;
            let told = format!("INSERT INTO migrations (number, sha256) VALUES ({noted}, '{}')", digest(sql));
            raw_sql(sqlx::AssertSqlSafe(told)).execute(&mut db).await.map_err(outdated)?;
        }
        raw_sql("COMMIT").execute(&mut db).await.map_err(unavailable)?;
        Ok(())
    }

    /// Refuses a database whose migrations are not this program's.
    pub(super) async fn check_schema(&self) -> Result<(), StoreError> {
        let mut db = self.connect().await?;
        let found = if is_kept(&mut db).await? { applied(&mut db).await? } else { 0 };
        if found == MIGRATIONS.len() { Ok(()) } else { Err(schema(found)) }
    }
}

/// Whether it is kept which migrations were made. The tables for that come together.
async fn is_kept(db: &mut PgConnection) -> Result<bool, StoreError> {
    let kept = raw_sql("SELECT to_regclass('migrations_lock') IS NOT NULL AS kept").fetch_one(db).await;
    kept.and_then(|row| row.try_get("kept")).map_err(unavailable)
}

/// How many of this program's migrations the database has had: the first so many, unchanged.
async fn applied(db: &mut PgConnection) -> Result<usize, StoreError> {
    let found = raw_sql("SELECT sha256 FROM migrations ORDER BY number").fetch_all(db).await.map_err(unavailable)?;
    if found.len() > MIGRATIONS.len() {
        return Err(schema(found.len()));
    }
    for (row, sql) in found.iter().zip(MIGRATIONS) {
        let kept: &str = row.try_get("sha256").map_err(unavailable)?;
        if kept != digest(sql) {
            return Err(StoreError::Unavailable(
                "its tables were made by another version of this software, whose migrations differ: use that"
                    .to_owned(),
            ));
        }
    }
    Ok(found.len())
}

fn schema(found: usize) -> StoreError {
    let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
    StoreError::Schema { found: number(found), wanted: number(MIGRATIONS.len()) }
}

fn digest(sql: &str) -> String {
    Fixed(sha256(sql.as_bytes())).to_string()
}
