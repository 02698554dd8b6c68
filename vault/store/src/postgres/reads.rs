//! The vault's state as the server reads it.

use super::{
    PgQuery, PostgresStore, rows,
    rows::{get, lease},
};
use crate::{
    encoding::{array, integer},
    grounds::{Grounds, Requester, Whose},
    model::{
        AssetRow, EndorsementList, EnforcedPolicy, EnrolmentRow, EntryRow, Head, KeyRow, LeaseRow, MeasuredRow,
        NodeRow, PolicyRow, ReferenceRow, SiteRow, TokenRow, VaultRow, Versioned,
    },
    store::{Store, StoreError},
};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, postgres::PgRow, query};
use std::path::Path;
use strongroom_protocol::{
    DecisionId, EnrolmentId, Fixed, LeaseId, NodeId, audit::AuditQuery, identity::Identity, sha256,
};

/// A lease's columns, and the time.
macro_rules! leases {
    ($rest:literal) => {
        concat!(
            "SELECT version, state, expires_at, reattest_at, delivered, wrapped_secret, content, unix_now() AS now \
             FROM leases ",
            $rest
        )
    };
}

impl PostgresStore {
    async fn first<T>(
        &self,
        asked: PgQuery<'_>,
        read: impl FnOnce(&PgRow) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.row(asked).await?.as_ref().map(read).transpose()
    }

    async fn all<T>(
        &self,
        asked: PgQuery<'_>,
        read: impl FnMut(&PgRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows(asked).await?.iter().map(read).collect()
    }

    async fn generation(&self, name: &'static str) -> Result<i64, StoreError> {
        let asked = query("SELECT value FROM generations WHERE name = $1").bind(name);
        let found = self.first(asked, |row| get(row, "value")).await?;
        found.ok_or_else(|| StoreError::Corrupt(format!("the generation of {name} is missing")))
    }
}

/// A name as the database takes it. It takes no NUL, and so has no row of such a name.
pub(super) fn nameable(name: &str) -> bool {
    !name.contains('\0')
}

#[async_trait]
impl Store for PostgresStore {
    async fn now(&self) -> Result<i64, StoreError> {
        let now = self.first(query("SELECT unix_now() AS now"), |row| get(row, "now")).await?;
        now.ok_or_else(|| StoreError::Corrupt("it tells no time".to_owned()))
    }

    async fn vault(&self) -> Result<Option<VaultRow>, StoreError> {
        self.first(query("SELECT content FROM vault"), rows::content).await
    }

    async fn initialise(&self, vault: &VaultRow) -> Result<(), StoreError> {
        let content = crate::encoding::to_json(vault)?;
        let mut tx = self.begin_writing().await?;
        let made = query("INSERT INTO vault (only_row, content) VALUES (1, $1) ON CONFLICT DO NOTHING").bind(content);
        if tx.execute(made).await? == 0 {
            tx.roll_back().await;
            return Err(StoreError::Initialised);
        }
        tx.commit().await
    }

    async fn site(&self, name: &str) -> Result<Option<Versioned<SiteRow>>, StoreError> {
        if !nameable(name) {
            return Ok(None);
        }
        self.first(query("SELECT version, content FROM sites WHERE name = $1").bind(name), rows::versioned).await
    }

    async fn sites(&self) -> Result<Vec<SiteRow>, StoreError> {
        self.all(query("SELECT content FROM sites ORDER BY name"), rows::content).await
    }

    async fn node(&self, id: NodeId) -> Result<Option<Versioned<NodeRow>>, StoreError> {
        let asked = query("SELECT version, content FROM nodes WHERE id = $1").bind(id.as_array().to_vec());
        self.first(asked, rows::versioned).await
    }

    async fn node_by_ak(&self, ak_sha256: Fixed<32>) -> Result<Option<Versioned<NodeRow>>, StoreError> {
        let asked = query("SELECT version, content FROM nodes WHERE ak_sha256 = $1").bind(ak_sha256.0.to_vec());
        self.first(asked, rows::versioned).await
    }

    async fn node_by_identity(&self, identity: &Identity) -> Result<Option<Versioned<NodeRow>>, StoreError> {
        let asked = query(
            "SELECT version, content FROM nodes
                 WHERE id = (SELECT node FROM node_identities WHERE kind = $1 AND identity = $2)",
        );
        self.first(asked.bind(identity.kind.as_str()).bind(identity.value.clone()), rows::versioned).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.all(query("SELECT content FROM nodes ORDER BY enrolled_at, id"), rows::content).await
    }

    async fn measured(&self, node: NodeId) -> Result<Option<Versioned<MeasuredRow>>, StoreError> {
        let asked = query("SELECT version, reset_count, restart_count, state FROM measured WHERE node = $1")
            .bind(node.as_array().to_vec());
        let Some(row) = self.row(asked).await? else { return Ok(None) };
        let count = |column| {
            let count: i64 = get(&row, column)?;
            u32::try_from(count).map_err(|_| StoreError::Corrupt("a boot has a count that no TPM has".to_owned()))
        };
        let boot = (count("reset_count")?, count("restart_count")?);
        let version = get(&row, "version")?;
        Ok(Some(Versioned { row: MeasuredRow { node, boot, state: get(&row, "state")? }, version }))
    }

    async fn put_enrolment(&self, enrolment: &EnrolmentRow) -> Result<(), StoreError> {
        self.keep_enrolment(enrolment).await
    }

    async fn enrolment(&self, id: EnrolmentId) -> Result<Option<EnrolmentRow>, StoreError> {
        let asked = query(
            "SELECT content, node FROM enrolments WHERE id = $1 AND (node IS NOT NULL OR expires_at > unix_now())",
        )
        .bind(id.as_array().to_vec());
        self.first(asked, |row| {
            let mut enrolment: EnrolmentRow = rows::content(row)?;
            let node: Option<&[u8]> = get(row, "node")?;
            enrolment.node = node.map(array).transpose()?.map(NodeId::from);
            Ok(enrolment)
        })
        .await
    }

    async fn asset(&self, name: &str) -> Result<Option<Versioned<AssetRow>>, StoreError> {
        if !nameable(name) {
            return Ok(None);
        }
        self.first(query("SELECT version, content FROM assets WHERE name = $1").bind(name), rows::versioned).await
    }

    async fn assets(&self) -> Result<Vec<AssetRow>, StoreError> {
        self.all(query("SELECT content FROM assets ORDER BY name"), rows::content).await
    }

    async fn key(&self, asset: &str, version: u32) -> Result<Option<Versioned<KeyRow>>, StoreError> {
        if !nameable(asset) {
            return Ok(None);
        }
        let asked = query("SELECT version, state, content FROM keys WHERE asset = $1 AND key_version = $2")
            .bind(asset)
            .bind(i64::from(version));
        self.first(asked, rows::key).await
    }

    async fn keys(&self, asset: &str) -> Result<Vec<Versioned<KeyRow>>, StoreError> {
        if !nameable(asset) {
            return Ok(Vec::new());
        }
        let asked = query("SELECT version, state, content FROM keys WHERE asset = $1 ORDER BY key_version").bind(asset);
        self.all(asked, rows::key).await
    }

    async fn references(&self, names: &[String]) -> Result<(Vec<ReferenceRow>, i64), StoreError> {
        let names: Vec<_> = names.iter().filter(|name| nameable(name)).cloned().collect();
        // One statement is one snapshot.
        let asked = query(
            "SELECT generations.value AS generation, found.content AS content, found.state AS state,
                     found.approver AS approver FROM generations
                 LEFT JOIN reference_sets AS found ON found.name = ANY($1) AND found.state = 'in_force'
                 WHERE generations.name = 'references' ORDER BY found.name",
        )
        .bind(names);
        let found = self.rows(asked).await?;
        let first =
            found.first().ok_or_else(|| StoreError::Corrupt("it has no generation of references".to_owned()))?;
        let generation = get(first, "generation")?;
        let mut references = Vec::with_capacity(found.len());
        for row in &found {
            // Without any set there is one row, with the generation alone.
            if get::<Option<&str>>(row, "content")?.is_some() {
                references.push(rows::reference(row)?);
            }
        }
        Ok((references, generation))
    }

    async fn all_references(&self) -> Result<Vec<ReferenceRow>, StoreError> {
        let asked = query("SELECT content, state, approver FROM reference_sets ORDER BY name, set_version");
        self.all(asked, rows::reference).await
    }

    async fn reference_versions(&self, name: &str) -> Result<(Vec<ReferenceRow>, i64), StoreError> {
        // The generation first: what is read after it is at least as new, and the commit compares it.
        let generation = query("SELECT value FROM generations WHERE name = 'references'");
        let generation = self.row(generation).await?;
        let generation = generation
            .ok_or_else(|| StoreError::Corrupt("it has no generation of references".to_owned()))
            .and_then(|row| get(&row, "value"))?;
        if !nameable(name) {
            return Ok((Vec::new(), generation));
        }
        let asked = query("SELECT content, state, approver FROM reference_sets WHERE name = $1 ORDER BY set_version");
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
            "SELECT generations.value AS generation, policies.version, state, approver, content FROM generations
                 LEFT JOIN policies ON state = 'enforced' WHERE generations.name = 'policy'",
        );
        let found = self
            .first(asked, |row| {
                let version: Option<i64> = get(row, "version")?;
                Ok(EnforcedPolicy {
                    policy: version.map(|_| rows::policy(row)).transpose()?.map(|policy| policy.row),
                    generation: get(row, "generation")?,
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
            query("SELECT version, state, approver, content FROM policies WHERE digest = $1").bind(digest.0.to_vec());
        self.first(asked, rows::policy).await
    }

    async fn policies(&self) -> Result<Vec<PolicyRow>, StoreError> {
        let asked =
            query("SELECT version, state, approver, content FROM policies ORDER BY proposed_at DESC, place DESC");
        self.all(asked, |row| Ok(rows::policy(row)?.row)).await
    }

    async fn token(&self, token_sha256: Fixed<32>) -> Result<Option<Versioned<TokenRow>>, StoreError> {
        let asked = query(
            "SELECT version, revoked, expires_at, replaced_by, last_used_at, content FROM tokens
                 WHERE token_sha256 = $1",
        )
        .bind(token_sha256.0.to_vec());
        self.first(asked, rows::token).await
    }

    async fn tokens(&self) -> Result<Vec<Versioned<TokenRow>>, StoreError> {
        let asked =
            query("SELECT version, revoked, expires_at, replaced_by, last_used_at, content FROM tokens ORDER BY id");
        self.all(asked, rows::token).await
    }

    async fn token_generation(&self) -> Result<i64, StoreError> {
        self.generation("tokens").await
    }

    async fn note_token_use(&self, used: &[(String, i64)]) -> Result<(), StoreError> {
        let (ids, times): (Vec<_>, Vec<_>) = used.iter().filter(|(id, _)| nameable(id)).cloned().unzip();
        let mut tx = self.begin_writing().await?;
        let noted = query(
            "UPDATE tokens SET last_used_at = used.at
                 FROM (SELECT id, max(at) AS at FROM unnest($1::text[], $2::bigint[]) AS each (id, at) GROUP BY id) AS used
                 WHERE tokens.id = used.id AND coalesce(last_used_at, 0) < used.at",
        )
        .bind(ids)
        .bind(times);
        tx.execute(noted).await?;
        tx.commit().await
    }

    async fn lease(&self, id: LeaseId) -> Result<Option<Versioned<LeaseRow>>, StoreError> {
        self.first(query(leases!("WHERE id = $1")).bind(id.as_array().to_vec()), lease_now).await
    }

    async fn lease_by_statement(&self, sha256: Fixed<32>) -> Result<Option<Versioned<LeaseRow>>, StoreError> {
        self.first(query(leases!("WHERE statement_sha256 = $1")).bind(sha256.0.to_vec()), lease_now).await
    }

    async fn leases(&self, live: bool, after: Option<LeaseId>, limit: u32) -> Result<Vec<LeaseRow>, StoreError> {
        let mut sql = leases!("WHERE true").to_owned();
        if live {
            sql.push_str(" AND state = 'live' AND expires_at > unix_now()");
        }
        if after.is_some() {
            sql.push_str(" AND (granted_at, id) < (SELECT granted_at, id FROM leases WHERE id = $2)");
        }
        sql.push_str(" ORDER BY granted_at DESC, id DESC LIMIT $1");
        let mut asked = query(AssertSqlSafe(sql)).bind(i64::from(limit));
        if let Some(after) = after {
            asked = asked.bind(after.as_array().to_vec());
        }
        self.all(asked, |row| Ok(lease_now(row)?.row)).await
    }

    async fn leases_of_node(&self, node: NodeId) -> Result<Vec<LeaseRow>, StoreError> {
        let asked = query(leases!("WHERE node = $1 AND state = 'live'")).bind(node.as_array().to_vec());
        self.all(asked, |row| Ok(lease(row, None)?.row)).await
    }

    async fn leases_of_key(&self, asset: &str, version: u32) -> Result<Vec<LeaseRow>, StoreError> {
        if !nameable(asset) {
            return Ok(Vec::new());
        }
        let asked = query(leases!("WHERE id IN (SELECT lease FROM held_keys WHERE asset = $1 AND key_version = $2)"))
            .bind(asset)
            .bind(i64::from(version));
        self.all(asked, |row| Ok(lease(row, None)?.row)).await
    }

    async fn live_leases(&self, node: NodeId, assets: &[String]) -> Result<(u64, Vec<u64>), StoreError> {
        // One statement is one snapshot, with one time.
        let asked = query(
            "SELECT (SELECT count(*) FROM leases WHERE node = $1 AND state = 'live' AND expires_at > unix_now())
                     AS of_node,
                 ARRAY(SELECT coalesce((SELECT held FROM asset_leases WHERE asset = wanted.name), 0)
                         - (SELECT count(DISTINCT lease) FROM held_keys
                             WHERE asset = wanted.name AND expires_at <= unix_now())
                     FROM unnest($2::text[]) WITH ORDINALITY AS wanted (name, place) ORDER BY place) AS of_assets",
        )
        .bind(node.as_array().to_vec())
        // An empty name is no asset's either.
        .bind(assets.iter().map(|name| if nameable(name) { name.as_str() } else { "" }).collect::<Vec<_>>());
        let counts = self.first(asked, |row| Ok((get::<i64>(row, "of_node")?, get::<Vec<i64>>(row, "of_assets")?)));
        let (of_node, of_assets) =
            counts.await?.ok_or_else(|| StoreError::Corrupt("it counts no leases".to_owned()))?;
        Ok((of_node.cast_unsigned(), of_assets.into_iter().map(i64::cast_unsigned).collect()))
    }

    async fn lapsed_leases(&self, undelivered_before: i64, limit: u32) -> Result<Vec<LeaseRow>, StoreError> {
        let asked = query(leases!(
            "WHERE state = 'live' AND (expires_at <= unix_now() OR (NOT delivered AND granted_at < $1)) \
             ORDER BY granted_at, id LIMIT $2"
        ))
        .bind(undelivered_before)
        .bind(i64::from(limit));
        // As they stand in the table, not yet closed: the caller sees from the expiry which ones expired.
        self.all(asked, |row| Ok(lease(row, None)?.row)).await
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
        let asked = query(AssertSqlSafe(format!("SELECT {} FROM head", super::log::HEAD)));
        Ok(self.first(asked, super::log::stored_head).await?.flatten().map(|head| head.head()))
    }

    async fn entry(&self, index: u64) -> Result<Option<EntryRow>, StoreError> {
        let asked = query("SELECT idx, entry, salt, record FROM entries WHERE idx = $1").bind(integer(index));
        self.first(asked, rows::entry).await
    }

    async fn entry_by_id(&self, id: DecisionId) -> Result<Option<EntryRow>, StoreError> {
        let asked = query("SELECT idx, entry, salt, record FROM entries WHERE id = $1").bind(id.to_string());
        self.first(asked, rows::entry).await
    }

    async fn entries(&self, first: u64, limit: u32) -> Result<Vec<EntryRow>, StoreError> {
        self.all(super::log::entries(first, Some(i64::from(limit))), rows::entry).await
    }

    async fn query(&self, query: &AuditQuery, from: i64, to: i64) -> Result<Vec<EntryRow>, StoreError> {
        self.read_query(query, from, to).await
    }

    async fn tile(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_tile(path).await
    }

    async fn has_blob(&self, wanted: Fixed<32>) -> Result<bool, StoreError> {
        let asked = query("SELECT length(sha256) AS length FROM blobs WHERE sha256 = $1").bind(wanted.0.to_vec());
        let found: Option<i32> = self.first(asked, |row| get(row, "length")).await?;
        Ok(found.is_some())
    }

    async fn blob(&self, wanted: Fixed<32>) -> Result<Option<Vec<u8>>, StoreError> {
        let asked = query("SELECT bytes FROM blobs WHERE sha256 = $1").bind(wanted.0.to_vec());
        let bytes: Option<Vec<u8>> = self.first(asked, |row| get(row, "bytes")).await?;
        match bytes {
            Some(bytes) if sha256(&bytes) != wanted.0 => {
                Err(StoreError::Corrupt(format!("the bytes kept as {wanted} are other ones")))
            }
            bytes => Ok(bytes),
        }
    }

    async fn backup(&self, _: &Path) -> Result<(), StoreError> {
        Err(StoreError::Unavailable(
            "a PostgreSQL database is copied by its own tools: pg_basebackup, or pg_dump --format=custom".to_owned(),
        ))
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.check_standing().await?;
        self.check_now().await
    }

    async fn shred(&self) -> Result<bool, StoreError> {
        self.rewrite_keys().await
    }
}

/// A lease with the column `now`.
fn lease_now(row: &PgRow) -> Result<Versioned<LeaseRow>, StoreError> {
    lease(row, Some(get(row, "now")?))
}
