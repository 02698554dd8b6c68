//! What a release is decided from: two reads, each one statement, one snapshot, one way to the
//! database and back. Where a read gives several rows they come as JSON in one.

use super::{PostgresStore, reads::nameable, rows::get};
use crate::{
    encoding::{from_json, key_state, lease_state},
    grounds::{Grounds, Requester, Whose},
    model::{AssetRow, KeyRow, LeaseRow, ReferenceRow, SiteRow, Versioned},
    store::StoreError,
};
use serde::de::DeserializeOwned;
use sqlx::{postgres::PgRow, query};
use std::collections::BTreeMap;
use strongroom_protocol::{Bytes, Fixed, LeaseId, NodeId, admin::ReferenceState};

/// A lease's columns: version, state, `expires_at`, `reattest_at`, delivered, secret (hexadecimal), content.
type LeaseColumns = (i64, String, i64, i64, bool, String, String);

/// Who asks, where this says which node.
macro_rules! requester {
    ($whose:literal) => {
        concat!(
            "SELECT unix_now() AS now, generations.value AS policy, node.version AS node_version,
                 node.content AS node_content,
                 (SELECT json_build_array(version, state, expires_at, reattest_at, delivered,
                         encode(wrapped_secret, 'hex'), content)::text
                     FROM leases WHERE statement_sha256 = $1) AS known,
                 (SELECT json_build_array(version, state, expires_at, reattest_at, delivered,
                         encode(wrapped_secret, 'hex'), content)::text
                     FROM leases WHERE id = $2) AS renewed
             FROM generations LEFT JOIN nodes AS node ON ",
            $whose,
            " WHERE generations.name = 'policy'"
        )
    };
}

const BY_AK: &str = requester!("node.ak_sha256 = $3");
const BY_IDENTITY: &str = requester!("node.id = (SELECT node FROM node_identities WHERE kind = $3 AND identity = $4)");

impl PostgresStore {
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
        let found = self.row(asked).await?;
        let found = found.ok_or_else(|| StoreError::Corrupt("the generation of the policy is missing".to_owned()))?;
        let now: i64 = get(&found, "now")?;
        let version: Option<i64> = get(&found, "node_version")?;
        Ok(Requester {
            node: match version {
                Some(version) => Some(Versioned { row: text(&found, "node_content")?, version }),
                None => None,
            },
            known: lease_of(&found, "known", now)?,
            renewed: lease_of(&found, "renewed", now)?,
            policy_generation: get(&found, "policy")?,
        })
    }

    pub(super) async fn read_grounds(
        &self,
        node: NodeId,
        site: Option<&str>,
        keys: &[(String, u32)],
    ) -> Result<Grounds, StoreError> {
        let mut keys: Vec<_> = keys.iter().filter(|(name, _)| nameable(name)).map(|(n, v)| (n.as_str(), *v)).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut names: Vec<_> = keys.iter().map(|(name, _)| *name).collect();
        names.dedup();
        let versions: Vec<_> = keys.iter().map(|(_, version)| i64::from(*version)).collect();
        let of_versions: Vec<_> = keys.iter().map(|(name, _)| *name).collect();
        let asked = query(
            "SELECT (SELECT value FROM generations WHERE name = 'policy') AS policy,
                 (SELECT value FROM generations WHERE name = 'references') AS reference,
                 (SELECT json_build_array(version, content)::text FROM sites WHERE name = $1) AS site,
                 (SELECT coalesce(json_agg(json_build_array(name, version, content)), '[]')::text
                     FROM assets WHERE name = ANY($2)) AS assets,
                 (SELECT coalesce(json_agg(json_build_array(asset, key_version, version, state, content)), '[]')::text
                     FROM unnest($3::text[], $4::bigint[]) AS wanted (name, number)
                     JOIN keys ON asset = wanted.name AND key_version = wanted.number) AS keys,
                 (SELECT coalesce(json_agg(json_build_array(approver, content) ORDER BY name), '[]')::text
                     FROM reference_sets
                     WHERE name IN (SELECT json_array_elements_text(assets.content::json -> 'asset' -> 'reference_sets')
                             FROM assets WHERE assets.name = ANY($2))
                         AND state = 'in_force') AS sets,
                 (SELECT count(*) FROM leases WHERE node = $5 AND state = 'live' AND expires_at > unix_now())
                     AS node_live,
                 (SELECT coalesce(json_object_agg(wanted.name,
                         coalesce((SELECT held FROM asset_leases WHERE asset = wanted.name), 0)
                             - (SELECT count(DISTINCT lease) FROM held_keys
                                 WHERE asset = wanted.name AND expires_at <= unix_now())), '{}')::text
                     FROM unnest($2::text[]) AS wanted (name)) AS live",
        )
        .bind(site.filter(|name| nameable(name)).map(ToOwned::to_owned))
        .bind(names)
        .bind(of_versions)
        .bind(versions)
        .bind(node.as_array().to_vec());
        let found = self.row(asked).await?.ok_or_else(|| StoreError::Corrupt("it gives no grounds".to_owned()))?;
        let generation = |name| {
            let value: Option<i64> = get(&found, name)?;
            value.ok_or_else(|| StoreError::Corrupt(format!("the generation of {name} is missing")))
        };
        let site: Option<&str> = get(&found, "site")?;
        let site: Option<(i64, String)> = site.map(from_json).transpose()?;
        let assets: Vec<(String, i64, String)> = text(&found, "assets")?;
        let keys: Vec<(String, u32, i64, String, String)> = text(&found, "keys")?;
        let sets: Vec<(Option<String>, String)> = text(&found, "sets")?;
        let live: BTreeMap<String, i64> = text(&found, "live")?;
        let node_live: i64 = get(&found, "node_live")?;
        Ok(Grounds {
            site: site.map(|(version, row)| Ok(Versioned { row: from_json::<SiteRow>(&row)?, version })).transpose()?,
            assets: assets
                .into_iter()
                .map(|(name, version, row)| Ok((name, Versioned { row: from_json::<AssetRow>(&row)?, version })))
                .collect::<Result<_, StoreError>>()?,
            keys: keys
                .into_iter()
                .map(|(name, number, version, state, row)| {
                    let mut row: KeyRow = from_json(&row)?;
                    row.state = key_state(&state)?;
                    Ok(((name, number), Versioned { row, version }))
                })
                .collect::<Result<_, StoreError>>()?,
            references: sets
                .into_iter()
                .map(|(approved_by, row)| {
                    let row: ReferenceRow = from_json(&row)?;
                    Ok(ReferenceRow { state: ReferenceState::InForce, approved_by, ..row })
                })
                .collect::<Result<_, StoreError>>()?,
            reference_generation: generation("reference")?,
            policy_generation: generation("policy")?,
            node_live: node_live.cast_unsigned(),
            asset_live: live.into_iter().map(|(name, live)| (name, live.cast_unsigned())).collect(),
        })
    }
}

fn lease_of(found: &PgRow, column: &str, now: i64) -> Result<Option<Versioned<LeaseRow>>, StoreError> {
    let columns: Option<&str> = get(found, column)?;
    let Some(columns) = columns else { return Ok(None) };
    let (version, state, expires_at, reattest_at, delivered, secret, row): LeaseColumns = from_json(columns)?;
    let secret = hex::decode(secret).map_err(|_| StoreError::Corrupt("a lease's secret is no bytes".to_owned()))?;
    let mut row: LeaseRow = from_json(&row)?;
    row.expires_at = expires_at;
    row.reattest_at = reattest_at;
    row.delivered = delivered;
    row.wrapped_secret = Bytes(secret);
    row.state = lease_state(&state, expires_at, Some(now))?;
    Ok(Some(Versioned { row, version }))
}

fn text<T: DeserializeOwned>(found: &PgRow, column: &str) -> Result<T, StoreError> {
    from_json(get(found, column)?)
}
