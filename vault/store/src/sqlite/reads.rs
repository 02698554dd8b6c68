//! The vault's state as the server reads it.

use super::{SqliteStore, log, rows, unavailable};
use crate::{
    grounds::{Grounds, Requester, Whose},
    model::{
        AssetRow, EndorsementList, EnforcedPolicy, EnrolmentRow, EntryRow, Head, KeyRow, LeaseRow, MeasuredRow,
        NodeRow, PolicyRow, ReferenceRow, SiteRow, TokenRow, VaultRow, Versioned,
    },
    store::{Store, StoreError},
};
use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, Row as _, query,
    query::Query,
    query_scalar,
    sqlite::{Sqlite, SqliteArguments, SqliteRow},
};
use std::path::Path;
use strongroom_protocol::{
    DecisionId, EnrolmentId, Fixed, LeaseId, NodeId, audit::AuditQuery, identity::Identity, sha256,
};

type SqliteQuery = Query<'static, Sqlite, SqliteArguments>;

impl SqliteStore {
    async fn first<T>(
        &self,
        asked: SqliteQuery,
        read: impl FnOnce(&SqliteRow) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        asked.fetch_optional(&self.readers).await.map_err(unavailable)?.as_ref().map(read).transpose()
    }

    async fn all<T>(
        &self,
        asked: SqliteQuery,
        read: impl FnMut(&SqliteRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        asked.fetch_all(&self.readers).await.map_err(unavailable)?.iter().map(read).collect()
    }

    async fn generation(&self, name: &'static str) -> Result<i64, StoreError> {
        query_scalar("SELECT value FROM generations WHERE name = ?")
            .bind(name)
            .fetch_one(&self.readers)
            .await
            .map_err(unavailable)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn now(&self) -> Result<i64, StoreError> {
        // What `unixepoch()` gives, without the way to a reader's thread and back.
        #[expect(clippy::disallowed_methods, reason = "this machine's clock is SQLite's")]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = now.ok().and_then(|now| i64::try_from(now.as_secs()).ok());
        seconds.ok_or_else(|| StoreError::Corrupt("the database's clock is before 1970".to_owned()))
    }

    async fn vault(&self) -> Result<Option<VaultRow>, StoreError> {
        self.first(query("SELECT row FROM vault"), rows::json).await
    }

    async fn initialise(&self, vault: &VaultRow) -> Result<(), StoreError> {
        let row = rows::to_json(vault)?;
        let mut tx = self.begin_writing().await?;
        let made = query("INSERT INTO vault (only_row, row) VALUES (1, ?) ON CONFLICT DO NOTHING")
            .bind(row)
            .execute(tx.connection()?)
            .await
            .map_err(unavailable)?;
        if made.rows_affected() == 0 {
            tx.roll_back().await;
            return Err(StoreError::Initialised);
        }
        tx.commit().await
    }

    async fn site(&self, name: &str) -> Result<Option<Versioned<SiteRow>>, StoreError> {
        let asked = query("SELECT version, row FROM sites WHERE name = ?").bind(name.to_owned());
        self.first(asked, rows::versioned).await
    }

    async fn sites(&self) -> Result<Vec<SiteRow>, StoreError> {
        self.all(query("SELECT row FROM sites ORDER BY name"), rows::json).await
    }

    async fn node(&self, id: NodeId) -> Result<Option<Versioned<NodeRow>>, StoreError> {
        let asked = query("SELECT version, row FROM nodes WHERE id = ?").bind(id.as_array().to_vec());
        self.first(asked, rows::versioned).await
    }

    async fn node_by_ak(&self, ak_sha256: Fixed<32>) -> Result<Option<Versioned<NodeRow>>, StoreError> {
        let asked = query("SELECT version, row FROM nodes WHERE ak_sha256 = ?").bind(ak_sha256.0.to_vec());
        self.first(asked, rows::versioned).await
    }

    async fn node_by_identity(&self, identity: &Identity) -> Result<Option<Versioned<NodeRow>>, StoreError> {
        let asked = query(
            "SELECT version, row FROM nodes WHERE id = (SELECT node FROM node_identities WHERE kind = ? AND identity = ?)",
        );
        self.first(asked.bind(identity.kind.as_str()).bind(identity.value.clone()), rows::versioned).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.all(query("SELECT row FROM nodes ORDER BY enrolled_at, id"), rows::json).await
    }

    async fn measured(&self, node: NodeId) -> Result<Option<Versioned<MeasuredRow>>, StoreError> {
        let asked = query("SELECT version, reset_count, restart_count, state FROM measured WHERE node = ?")
            .bind(node.as_array().to_vec());
        let count = |row: &SqliteRow, column| row.try_get::<u32, _>(column).map_err(unavailable);
        let read = |row: &SqliteRow| {
            let boot = (count(row, "reset_count")?, count(row, "restart_count")?);
            let state = row.try_get("state").map_err(unavailable)?;
            let version = row.try_get("version").map_err(unavailable)?;
            Ok(Versioned { row: MeasuredRow { node, boot, state }, version })
        };
        self.first(asked, read).await
    }

    async fn put_enrolment(&self, enrolment: &EnrolmentRow) -> Result<(), StoreError> {
        self.keep_enrolment(enrolment).await
    }

    async fn enrolment(&self, id: EnrolmentId) -> Result<Option<EnrolmentRow>, StoreError> {
        let asked =
            query("SELECT row, node FROM enrolments WHERE id = ? AND (node IS NOT NULL OR expires_at > unixepoch())")
                .bind(id.as_array().to_vec());
        self.first(asked, |row| {
            let mut enrolment: EnrolmentRow = rows::json(row)?;
            let node: Option<&[u8]> = row.try_get("node").map_err(unavailable)?;
            enrolment.node = node.map(rows::array).transpose()?.map(NodeId::from);
            Ok(enrolment)
        })
        .await
    }

    async fn asset(&self, name: &str) -> Result<Option<Versioned<AssetRow>>, StoreError> {
        let asked = query("SELECT version, row FROM assets WHERE name = ?").bind(name.to_owned());
        self.first(asked, rows::versioned).await
    }

    async fn assets(&self) -> Result<Vec<AssetRow>, StoreError> {
        self.all(query("SELECT row FROM assets ORDER BY name"), rows::json).await
    }

    async fn key(&self, asset: &str, version: u32) -> Result<Option<Versioned<KeyRow>>, StoreError> {
        let asked = query("SELECT version, row FROM keys WHERE asset = ? AND key_version = ?")
            .bind(asset.to_owned())
            .bind(i64::from(version));
        self.first(asked, rows::versioned).await
    }

    async fn keys(&self, asset: &str) -> Result<Vec<Versioned<KeyRow>>, StoreError> {
        let asked = query("SELECT version, row FROM keys WHERE asset = ? ORDER BY key_version").bind(asset.to_owned());
        self.all(asked, rows::versioned).await
    }

    async fn references(&self, names: &[String]) -> Result<(Vec<ReferenceRow>, i64), StoreError> {
        // One statement is one snapshot, and one way to a reader's thread.
        let found = query(
            "SELECT generations.value AS generation, found.row AS row, found.state AS state,
                     found.approver AS approver FROM generations
                 LEFT JOIN reference_sets AS found ON found.name IN (SELECT value FROM json_each(?))
                     AND found.state = 'in_force'
                 WHERE generations.name = 'references' ORDER BY found.name",
        )
        .bind(rows::to_json(&names)?)
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let first =
            found.first().ok_or_else(|| StoreError::Corrupt("it has no generation of references".to_owned()))?;
        let generation = first.try_get("generation").map_err(unavailable)?;
        let mut references = Vec::with_capacity(found.len());
        for row in &found {
            // Without any set there is one row, with the generation alone.
            if row.try_get::<Option<&str>, _>("row").map_err(unavailable)?.is_some() {
                references.push(rows::reference(row)?);
            }
        }
        Ok((references, generation))
    }

    async fn all_references(&self) -> Result<Vec<ReferenceRow>, StoreError> {
        let asked = query("SELECT row, state, approver FROM reference_sets ORDER BY name, set_version");
        self.all(asked, rows::reference).await
    }

    async fn reference_versions(&self, name: &str) -> Result<(Vec<ReferenceRow>, i64), StoreError> {
        // The generation first: what is read after it is at least as new, and the commit compares it.
        let generation = self.generation("references").await?;
        let asked = query("SELECT row, state, approver FROM reference_sets WHERE name = ? ORDER BY set_version");
        Ok((self.all(asked.bind(name.to_owned()), rows::reference).await?, generation))
    }

    async fn endorsements(&self) -> Result<EndorsementList, StoreError> {
        self.read_endorsements().await
    }

    async fn endorsement_generation(&self) -> Result<i64, StoreError> {
        self.generation("endorsements").await
    }

    async fn endorsement_bytes(&self, names: &[String]) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.read_endorsement_bytes(names).await
    }

    async fn enforced_policy(&self) -> Result<EnforcedPolicy, StoreError> {
        // One statement, one snapshot: generation and policy belong together.
        let asked = query(
            "SELECT generations.value AS generation, policies.version, state, approver, row FROM generations
                 LEFT JOIN policies ON state = 'enforced' WHERE generations.name = 'policy'",
        );
        let found = self
            .first(asked, |row| {
                let version: Option<i64> = row.try_get("version").map_err(unavailable)?;
                Ok(EnforcedPolicy {
                    policy: version.map(|_| rows::policy(row)).transpose()?.map(|policy| policy.row),
                    generation: row.try_get("generation").map_err(unavailable)?,
                })
            })
            .await?;
        found.ok_or_else(|| StoreError::Corrupt("the generation of the policy is missing".to_owned()))
    }

    async fn policy_generation(&self) -> Result<i64, StoreError> {
        self.generation("policy").await
    }

    async fn policy(&self, digest: Fixed<32>) -> Result<Option<Versioned<PolicyRow>>, StoreError> {
        let asked =
            query("SELECT version, state, approver, row FROM policies WHERE digest = ?").bind(digest.0.to_vec());
        self.first(asked, rows::policy).await
    }

    async fn policies(&self) -> Result<Vec<PolicyRow>, StoreError> {
        let asked = query("SELECT version, state, approver, row FROM policies ORDER BY proposed_at DESC, rowid DESC");
        self.all(asked, |row| Ok(rows::policy(row)?.row)).await
    }

    async fn token(&self, token_sha256: Fixed<32>) -> Result<Option<Versioned<TokenRow>>, StoreError> {
        let asked = query("SELECT version, revoked, last_used_at, row FROM tokens WHERE token_sha256 = ?")
            .bind(token_sha256.0.to_vec());
        self.first(asked, rows::token).await
    }

    async fn tokens(&self) -> Result<Vec<Versioned<TokenRow>>, StoreError> {
        self.all(query("SELECT version, revoked, last_used_at, row FROM tokens ORDER BY id"), rows::token).await
    }

    async fn token_generation(&self) -> Result<i64, StoreError> {
        self.generation("tokens").await
    }

    async fn note_token_use(&self, used: &[(String, i64)]) -> Result<(), StoreError> {
        let mut tx = self.begin_writing().await?;
        query(
            "UPDATE tokens SET last_used_at = used.value ->> 1 FROM json_each(?) AS used
                 WHERE tokens.id = used.value ->> 0 AND coalesce(last_used_at, 0) < used.value ->> 1",
        )
        .bind(rows::to_json(&used)?)
        .execute(tx.connection()?)
        .await
        .map_err(unavailable)?;
        tx.commit().await
    }

    async fn lease(&self, id: LeaseId) -> Result<Option<Versioned<LeaseRow>>, StoreError> {
        let asked = query("SELECT *, unixepoch() AS now FROM leases WHERE id = ?").bind(id.as_array().to_vec());
        self.first(asked, lease_now).await
    }

    async fn lease_by_statement(&self, sha256: Fixed<32>) -> Result<Option<Versioned<LeaseRow>>, StoreError> {
        let asked =
            query("SELECT *, unixepoch() AS now FROM leases WHERE statement_sha256 = ?").bind(sha256.0.to_vec());
        self.first(asked, lease_now).await
    }

    async fn leases(&self, live: bool, after: Option<LeaseId>, limit: u32) -> Result<Vec<LeaseRow>, StoreError> {
        let mut sql = "SELECT *, unixepoch() AS now FROM leases WHERE true".to_owned();
        if live {
            sql.push_str(" AND state = 'live' AND expires_at > unixepoch()");
        }
        if after.is_some() {
            sql.push_str(" AND (granted_at, id) < (SELECT granted_at, id FROM leases WHERE id = ?)");
        }
        sql.push_str(" ORDER BY granted_at DESC, id DESC LIMIT ?");
        let mut asked = query(AssertSqlSafe(sql));
        if let Some(after) = after {
            asked = asked.bind(after.as_array().to_vec());
        }
        self.all(asked.bind(i64::from(limit)), |row| Ok(lease_now(row)?.row)).await
    }

    async fn leases_of_node(&self, node: NodeId) -> Result<Vec<LeaseRow>, StoreError> {
        let asked = query("SELECT * FROM leases WHERE node = ? AND state = 'live'").bind(node.as_array().to_vec());
        self.all(asked, |row| Ok(rows::lease(row, None)?.row)).await
    }

    async fn leases_of_key(&self, asset: &str, version: u32) -> Result<Vec<LeaseRow>, StoreError> {
        let asked =
            query("SELECT * FROM leases WHERE id IN (SELECT lease FROM held_keys WHERE asset = ? AND key_version = ?)")
                .bind(asset.to_owned())
                .bind(i64::from(version));
        self.all(asked, |row| Ok(rows::lease(row, None)?.row)).await
    }

    async fn live_leases(&self, node: NodeId, assets: &[String]) -> Result<(u64, Vec<u64>), StoreError> {
        // One statement is one snapshot, with one time, and one way to a reader's thread.
        let counts: Vec<i64> = query_scalar(
            "SELECT live FROM (
                 SELECT -1 AS place, (SELECT count(*) FROM leases WHERE node = ? AND state = 'live'
                     AND expires_at > unixepoch()) AS live
                 UNION ALL
                 SELECT wanted.key, coalesce((SELECT held FROM asset_leases WHERE asset = wanted.value), 0)
                     - (SELECT count(DISTINCT lease) FROM held_keys
                         WHERE asset = wanted.value AND expires_at <= unixepoch()) FROM json_each(?) AS wanted
             ) ORDER BY place",
        )
        .bind(node.as_array().to_vec())
        .bind(rows::to_json(&assets)?)
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let mut counts = counts.into_iter().map(i64::cast_unsigned);
        let of_node = counts.next().ok_or_else(|| StoreError::Corrupt("it counts no leases".to_owned()))?;
        Ok((of_node, counts.collect()))
    }

    async fn lapsed_leases(&self, undelivered_before: i64, limit: u32) -> Result<Vec<LeaseRow>, StoreError> {
        let asked = query(
            "SELECT * FROM leases WHERE state = 'live' AND expires_at <= unixepoch() UNION
                 SELECT * FROM leases WHERE state = 'live' AND delivered = 0 AND granted_at < ?
                 ORDER BY granted_at, id LIMIT ?",
        )
        .bind(undelivered_before)
        .bind(i64::from(limit));
        // As they stand in the table, not yet closed: the caller sees from the expiry which ones expired.
        self.all(asked, |row| Ok(rows::lease(row, None)?.row)).await
    }

    async fn requester(
        &self,
        whose: &Whose,
        statement_sha256: Fixed<32>,
        lease: Option<LeaseId>,
    ) -> Result<Requester, StoreError> {
        self.read_requester(whose, statement_sha256, lease).await
    }

    async fn grounds(&self, node: NodeId, site: Option<&str>, keys: &[(String, u32)]) -> Result<Grounds, StoreError> {
        self.read_grounds(node, site, keys).await
    }

    async fn head(&self) -> Result<Option<Head>, StoreError> {
        let mut db = self.readers.acquire().await.map_err(unavailable)?;
        Ok(log::head(&mut db).await?.map(|head| head.head()))
    }

    async fn entry(&self, index: u64) -> Result<Option<EntryRow>, StoreError> {
        let asked = query("SELECT idx, entry, salt, record FROM entries WHERE idx = ?").bind(super::integer(index));
        self.first(asked, rows::entry).await
    }

    async fn entry_by_id(&self, id: DecisionId) -> Result<Option<EntryRow>, StoreError> {
        let asked = query("SELECT idx, entry, salt, record FROM entries WHERE id = ?").bind(id.to_string());
        self.first(asked, rows::entry).await
    }

    async fn entries(&self, first: u64, limit: u32) -> Result<Vec<EntryRow>, StoreError> {
        let mut db = self.readers.acquire().await.map_err(unavailable)?;
        log::entries(&mut db, first, i64::from(limit)).await
    }

    async fn query(&self, query: &AuditQuery, from: i64, to: i64) -> Result<Vec<EntryRow>, StoreError> {
        self.read_query(query, from, to).await
    }

    async fn tile(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_tile(path).await
    }

    async fn has_blob(&self, wanted: Fixed<32>) -> Result<bool, StoreError> {
        let found: Option<i64> = query_scalar("SELECT 1 FROM blobs WHERE sha256 = ?")
            .bind(wanted.0.to_vec())
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable)?;
        Ok(found.is_some())
    }

    async fn blob(&self, wanted: Fixed<32>) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes: Option<Vec<u8>> = query_scalar("SELECT bytes FROM blobs WHERE sha256 = ?")
            .bind(wanted.0.to_vec())
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable)?;
        match bytes {
            Some(bytes) if sha256(&bytes) != wanted.0 => {
                Err(StoreError::Corrupt(format!("the bytes kept as {wanted} are other ones")))
            }
            bytes => Ok(bytes),
        }
    }

    async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        self.copy_to(to).await
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.check_space()
    }

    async fn shred(&self) -> Result<bool, StoreError> {
        self.truncate_log().await
    }
}

/// A lease with the column `now`.
fn lease_now(row: &SqliteRow) -> Result<Versioned<LeaseRow>, StoreError> {
    rows::lease(row, Some(row.try_get("now").map_err(unavailable)?))
}
