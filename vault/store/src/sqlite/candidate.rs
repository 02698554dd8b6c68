//! An item that only adds: one statement looks at it, a few write it, and those go to the writer's
//! thread together with whatever comes next.

use super::{WriteTransaction, integer, rows, transaction::version_of, unavailable};
use crate::{
    backend::{Addition, Candidate, Examined},
    batch::{Guard, Quota},
    encoding::DENIAL_WINDOW_MS,
    model::LeaseRow,
    store::StoreError,
    terms,
};
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Row as _, Sqlite, Type, query_with, sqlite::SqliteArguments};

/// Statements with their arguments, to be sent together.
#[derive(Default)]
pub(super) struct Statements {
    sql: String,
    arguments: SqliteArguments,
}

impl Statements {
    pub(super) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    pub(super) fn bind<'t>(&mut self, value: impl Encode<'t, Sqlite> + Type<Sqlite>) -> Result<(), StoreError> {
        self.arguments.add(value).map_err(|e| StoreError::Unavailable(format!("a value cannot be bound: {e}")))
    }

    /// As sqlx takes them. The text is of this module's own making, every value is bound.
    pub(super) fn query(self) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
        query_with(AssertSqlSafe(self.sql), self.arguments)
    }
}

impl WriteTransaction {
    pub(super) async fn look_at(&mut self, candidate: &Candidate<'_>, now: i64) -> Result<Examined, StoreError> {
        let mut statements = self.take_pending();
        statements.push("SELECT ");
        for guard in candidate.guards {
            statements.push("coalesce((");
            statements.push(version_of(guard));
            statements.push("), 0), ");
            bind_guard(&mut statements, guard)?;
        }
        for quota in candidate.quotas {
            count(&mut statements, quota, now)?;
        }
        statements.push("EXISTS (SELECT 1 FROM burnt_nonces WHERE nonce = ?), ");
        statements.bind(candidate.nonce.map(|nonce| nonce.as_bytes().to_vec()))?;
        statements.push(
            "EXISTS (SELECT 1 FROM leases WHERE id = ?) OR EXISTS (SELECT 1 FROM leases WHERE statement_sha256 = ?), ",
        );
        statements.bind(candidate.lease.map(|lease| lease.id.as_array().to_vec()))?;
        statements.bind(candidate.lease.map(|lease| lease.statement_sha256.0.to_vec()))?;
        statements.push("EXISTS (SELECT 1 FROM entries WHERE id = ?), ");
        statements.bind(candidate.id.to_string())?;
        statements.push("(SELECT id FROM entries WHERE idx = (SELECT max(idx) FROM terms WHERE term = ?))");
        statements.bind(candidate.subject.map(terms::of_subject))?;

        let found = statements.query().fetch_one(self.connection()?).await.map_err(unavailable)?;
        let number = |column: usize| found.try_get::<i64, _>(column).map_err(unavailable);
        let mut stale = None;
        for (column, guard) in candidate.guards.iter().enumerate() {
            if number(column)? != guard.version() {
                stale = Some(column);
                break;
            }
        }
        let counted = candidate.guards.len();
        let next = counted + candidate.quotas.len();
        let counts = (counted..next).map(|column| number(column).map(i64::cast_unsigned)).collect::<Result<_, _>>()?;
        let last: Option<String> = found.try_get(next + 3).map_err(unavailable)?;
        Ok(Examined {
            stale,
            counts,
            burnt: number(next)? != 0,
            granted: number(next + 1)? != 0,
            recorded: number(next + 2)? != 0,
            last: last
                .map(|id| id.parse().map_err(|_| StoreError::Corrupt("a record's id is not a ULID".to_owned())))
                .transpose()?,
        })
    }

    /// Written with the next statement.
    pub(super) fn write_next(&mut self, addition: &Addition<'_>) -> Result<(), StoreError> {
        let mut statements = self.take_pending();
        if let Some(nonce) = addition.nonce {
            statements.push("INSERT INTO burnt_nonces (nonce, expires_at) VALUES (?, ?);");
            statements.bind(nonce.as_bytes().to_vec())?;
            statements.bind(integer(nonce.expiry()))?;
        }
        if let Some(lease) = addition.lease {
            grant(&mut statements, lease)?;
        }
        let entry = addition.entry;
        statements.push("INSERT INTO entries (idx, entry, id, time_ms, salt, record) VALUES (?, ?, ?, ?, ?, ?);");
        statements.bind(integer(entry.index))?;
        statements.bind(entry.entry.to_vec())?;
        statements.bind(entry.id.to_string())?;
        statements.bind(integer(entry.time_ms))?;
        statements.bind(entry.salt.to_vec())?;
        statements.bind(entry.record.clone())?;
        for blob in addition.blobs {
            statements.push("INSERT INTO blobs (sha256, bytes) VALUES (?, ?) ON CONFLICT DO NOTHING;");
            statements.bind(blob.sha256.0.to_vec())?;
            statements.bind(blob.bytes.clone())?;
        }
        self.pending = Some(statements);
        Ok(())
    }

    pub(super) fn take_pending(&mut self) -> Statements {
        self.pending.take().unwrap_or_default()
    }

    /// The connection, once what was to be written next is written.
    pub(super) async fn written(&mut self) -> Result<&mut sqlx::SqliteConnection, StoreError> {
        if let Some(statements) = self.pending.take() {
            statements.query().execute(self.connection()?).await.map_err(unavailable)?;
        }
        self.connection()
    }
}

fn bind_guard(statements: &mut Statements, guard: &Guard) -> Result<(), StoreError> {
    match guard {
        Guard::Node(id, _) | Guard::Measured(id, _) => statements.bind(id.as_array().to_vec()),
        Guard::Site(name, _) | Guard::Asset(name, _) | Guard::Token(name, _) => statements.bind(name.clone()),
        Guard::Key(asset, version, _) => {
            statements.bind(asset.clone())?;
            statements.bind(i64::from(*version))
        }
        Guard::Lease(id, _) => statements.bind(id.as_array().to_vec()),
        Guard::Policy(sha256, _) | Guard::NewStatement(sha256) => statements.bind(sha256.0.to_vec()),
        Guard::PolicyGeneration(_)
        | Guard::ReferenceGeneration(_)
        | Guard::TokenGeneration(_)
        | Guard::EndorsementGeneration(_) => Ok(()),
    }
}

fn count(statements: &mut Statements, quota: &Quota, now: i64) -> Result<(), StoreError> {
    match quota {
        Quota::NodeLeases(node, _) => {
            statements.push("(SELECT count(*) FROM leases WHERE node = ? AND state = 'live' AND expires_at > ?), ");
            statements.bind(node.as_array().to_vec())?;
            statements.bind(now)
        }
        Quota::AssetLeases(asset, _) => {
            statements.push(
                "coalesce((SELECT held FROM asset_leases WHERE asset = ?), 0)
                     - (SELECT count(DISTINCT lease) FROM held_keys WHERE asset = ? AND expires_at <= ?), ",
            );
            statements.bind(asset.clone())?;
            statements.bind(asset.clone())?;
            statements.bind(now)
        }
        Quota::NodeDenials(node, _) => {
            statements.push(
                "(SELECT count(*) FROM terms WHERE term = ? AND idx >=
                     (SELECT idx FROM entries WHERE time_ms > ? ORDER BY time_ms, idx LIMIT 1)), ",
            );
            statements.bind(terms::denials_of(*node))?;
            statements.bind(now.saturating_mul(1000).saturating_sub(DENIAL_WINDOW_MS))
        }
    }
}

fn grant(statements: &mut Statements, lease: &LeaseRow) -> Result<(), StoreError> {
    statements.push(
        "INSERT INTO leases (id, version, node, statement_sha256, state, granted_at, expires_at, reattest_at, delivered,
             row) VALUES (?, 1, ?, ?, 'live', ?, ?, ?, ?, ?);
         INSERT INTO held_keys (asset, lease, key_version, expires_at)
             SELECT value ->> 0, ?, value ->> 1, ? FROM json_each(?);",
    );
    statements.bind(lease.id.as_array().to_vec())?;
    statements.bind(lease.node.as_array().to_vec())?;
    statements.bind(lease.statement_sha256.0.to_vec())?;
    statements.bind(lease.granted_at)?;
    statements.bind(lease.expires_at)?;
    statements.bind(lease.reattest_at)?;
    statements.bind(lease.delivered)?;
    statements.bind(rows::to_json(lease)?)?;
    statements.bind(lease.id.as_array().to_vec())?;
    statements.bind(lease.expires_at)?;
    statements.bind(rows::held_keys(lease)?)
}
