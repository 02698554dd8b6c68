//! What a release is decided from: two reads, each one statement, one snapshot, one way to a
//! reader's thread and back. Where a read gives several rows they come as JSON in one.

use super::{SqliteStore, rows, unavailable};
use crate::{
    grounds::{Grounds, Requester, Whose},
    model::{AssetRow, KeyRow, LeaseRow, ReferenceRow, SiteRow, Versioned},
    store::StoreError,
};
use serde::de::DeserializeOwned;
use sqlx::{Row as _, query, sqlite::SqliteRow};
use strongroom_protocol::{Fixed, LeaseId, NodeId, admin::ReferenceState};

/// A lease's columns: version, state, `expires_at`, `reattest_at`, delivered, row.
type LeaseColumns = (i64, String, i64, i64, i64, String);

/// Who asks, where this says which node.
macro_rules! requester {
    ($whose:literal) => {
        concat!(
            "SELECT unixepoch() AS now, generations.value AS policy, node.version AS node_version, node.row AS node_row,
                 (SELECT json_array(version, state, expires_at, reattest_at, delivered, row) FROM leases
                     WHERE statement_sha256 = ?) AS known,
                 (SELECT json_array(version, state, expires_at, reattest_at, delivered, row) FROM leases
                     WHERE id = ?) AS renewed
             FROM generations LEFT JOIN nodes AS node ON ",
            $whose,
            " WHERE generations.name = 'policy'"
        )
    };
}

const BY_AK: &str = requester!("node.ak_sha256 = ?");
const BY_IDENTITY: &str = requester!("node.id = (SELECT node FROM node_identities WHERE kind = ? AND identity = ?)");

impl SqliteStore {
    pub(super) async fn read_requester(
        &self,
        whose: &Whose,
        statement_sha256: Fixed<32>,
        lease: Option<LeaseId>,
    ) -> Result<Requester, StoreError> {
        let lease = lease.map(|lease| lease.as_array().to_vec());
        let asked = match whose {
            Whose::Ak(ak) => query(BY_AK).bind(statement_sha256.0.to_vec()).bind(lease).bind(ak.0.to_vec()),
            Whose::Identity(identity) => query(BY_IDENTITY)
                .bind(statement_sha256.0.to_vec())
                .bind(lease)
                .bind(identity.kind.as_str())
                .bind(identity.value.clone()),
        };
        let found = asked.fetch_one(&self.readers).await.map_err(unavailable)?;
        let now: i64 = found.try_get("now").map_err(unavailable)?;
        let version: Option<i64> = found.try_get("node_version").map_err(unavailable)?;
        Ok(Requester {
            node: match version {
                Some(version) => Some(Versioned { row: text(&found, "node_row")?, version }),
                None => None,
            },
            known: lease_of(&found, "known", now)?,
            renewed: lease_of(&found, "renewed", now)?,
            policy_generation: found.try_get("policy").map_err(unavailable)?,
        })
    }

    pub(super) async fn read_grounds(
        &self,
        node: NodeId,
        site: Option<&str>,
        keys: &[(String, u32)],
    ) -> Result<Grounds, StoreError> {
        let mut names: Vec<_> = keys.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        let mut keys: Vec<_> = keys.iter().collect();
        keys.sort_unstable();
        keys.dedup();
        let names = rows::to_json(&names)?;
        let found = query(
            "SELECT (SELECT value FROM generations WHERE name = 'policy') AS policy,
                 (SELECT value FROM generations WHERE name = 'references') AS reference,
                 (SELECT json_array(version, row) FROM sites WHERE name = ?) AS site,
                 (SELECT json_group_array(json_array(name, version, row)) FROM json_each(?) AS wanted
                     CROSS JOIN assets ON name = wanted.value) AS assets,
                 (SELECT json_group_array(json_array(asset, key_version, version, row)) FROM json_each(?) AS wanted
                     CROSS JOIN keys ON asset = wanted.value ->> 0 AND key_version = wanted.value ->> 1) AS keys,
                 (SELECT json_group_array(json_array(approver, row)) FROM (SELECT approver, row FROM reference_sets
                     WHERE name IN (SELECT named.value FROM json_each(?) AS wanted
                             CROSS JOIN assets ON assets.name = wanted.value
                             CROSS JOIN json_each(assets.row, '$.asset.reference_sets') AS named)
                         AND state = 'in_force'
                     ORDER BY name)) AS sets,
                 (SELECT count(*) FROM leases WHERE node = ? AND state = 'live' AND expires_at > unixepoch()) AS node_live,
                 (SELECT json_group_object(wanted.value,
                     coalesce((SELECT held FROM asset_leases WHERE asset = wanted.value), 0)
                         - (SELECT count(DISTINCT lease) FROM held_keys
                             WHERE asset = wanted.value AND expires_at <= unixepoch()))
                     FROM json_each(?) AS wanted) AS live",
        )
        .bind(site.map(ToOwned::to_owned))
        .bind(names.clone())
        .bind(rows::to_json(&keys)?)
        .bind(names.clone())
        .bind(node.as_array().to_vec())
        .bind(names)
        .fetch_one(&self.readers)
        .await
        .map_err(unavailable)?;
        let generation = |name| {
            let value: Option<i64> = found.try_get(name).map_err(unavailable)?;
            value.ok_or_else(|| StoreError::Corrupt(format!("the generation of {name} is missing")))
        };
        let site: Option<&str> = found.try_get("site").map_err(unavailable)?;
        let site: Option<(i64, String)> = site.map(parse).transpose()?;
        let assets: Vec<(String, i64, String)> = text(&found, "assets")?;
        let keys: Vec<(String, u32, i64, String)> = text(&found, "keys")?;
        let sets: Vec<(Option<String>, String)> = text(&found, "sets")?;
        let live: i64 = found.try_get("node_live").map_err(unavailable)?;
        Ok(Grounds {
            site: site.map(|(version, row)| Ok(Versioned { row: parse::<SiteRow>(&row)?, version })).transpose()?,
            assets: assets
                .into_iter()
                .map(|(name, version, row)| Ok((name, Versioned { row: parse::<AssetRow>(&row)?, version })))
                .collect::<Result<_, StoreError>>()?,
            keys: keys
                .into_iter()
                .map(|(name, key, version, row)| Ok(((name, key), Versioned { row: parse::<KeyRow>(&row)?, version })))
                .collect::<Result<_, StoreError>>()?,
            references: sets
                .into_iter()
                .map(|(approved_by, row)| {
                    let row: ReferenceRow = parse(&row)?;
                    Ok(ReferenceRow { state: ReferenceState::InForce, approved_by, ..row })
                })
                .collect::<Result<_, StoreError>>()?,
            reference_generation: generation("reference")?,
            policy_generation: generation("policy")?,
            node_live: live.cast_unsigned(),
            asset_live: text(&found, "live")?,
        })
    }
}

fn lease_of(found: &SqliteRow, column: &str, now: i64) -> Result<Option<Versioned<LeaseRow>>, StoreError> {
    let columns: Option<&str> = found.try_get(column).map_err(unavailable)?;
    let Some(columns) = columns else { return Ok(None) };
    let (version, state, expires_at, reattest_at, delivered, row): LeaseColumns = parse(columns)?;
    let mut row: LeaseRow = parse(&row)?;
    row.expires_at = expires_at;
    row.reattest_at = reattest_at;
    row.delivered = delivered != 0;
    row.state = rows::lease_state(&state, expires_at, Some(now))?;
    Ok(Some(Versioned { row, version }))
}

fn text<T: DeserializeOwned>(found: &SqliteRow, column: &str) -> Result<T, StoreError> {
    parse(found.try_get(column).map_err(unavailable)?)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt(format!("a row is not what was written: {e}")))
}
