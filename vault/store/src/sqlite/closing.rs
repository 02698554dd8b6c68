//! Closing leases, one or many at a time: their secrets go, what they held is free, and what a revoked
//! one held whole opens only from now on.

use super::{rows, rows::lease_state_name, unavailable};
use crate::{
    batch::Closed,
    closing::Which,
    store::StoreError,
    unmade::{Applied, refused},
};
use sqlx::{Row as _, SqliteConnection, query, query_scalar};
use strongroom_protocol::{LeaseId, lease::LeaseState};

/// The statement that closes them: `?1` is their new state, what follows is what they are chosen by.
fn sql(which: &Which<'_>) -> &'static str {
    macro_rules! closing {
        ($which:literal) => {
            concat!(
                "UPDATE leases SET state = ?1, version = version + 1, row = json_set(row, '$.wrapped_secret', '')
                     WHERE state = 'live' AND ",
                $which,
                " RETURNING id"
            )
        };
    }
    match which {
        Which::One(_) => closing!("id = ?2"),
        Which::OfNode(_) => closing!("node = ?2"),
        Which::OfKey(..) => closing!("id IN (SELECT lease FROM held_keys WHERE asset = ?2 AND key_version = ?3)"),
        Which::OfAsset(_) => closing!("id IN (SELECT lease FROM held_keys WHERE asset = ?2)"),
        Which::OfSite(_) => closing!("node IN (SELECT id FROM nodes WHERE site = ?2)"),
        Which::Every => closing!("true"),
    }
}

/// Closes them. A lease that is named has to be live; of many there may be none.
pub(super) async fn close(db: &mut SqliteConnection, which: &Which<'_>, state: LeaseState) -> Applied<Closed> {
    if state == LeaseState::Live {
        return refused("a lease does not close into a live one");
    }
    let closing = query_scalar(sql(which)).bind(lease_state_name(state));
    let closing = match which {
        Which::One(id) => closing.bind(id.as_array().to_vec()),
        Which::OfNode(node) => closing.bind(node.as_array().to_vec()),
        Which::OfKey(asset, version) => closing.bind((*asset).to_owned()).bind(i64::from(*version)),
        Which::OfAsset(name) | Which::OfSite(name) => closing.bind((*name).to_owned()),
        Which::Every => closing,
    };
    let ids: Vec<Vec<u8>> = closing.fetch_all(&mut *db).await?;
    if let (Which::One(id), true) = (which, ids.is_empty()) {
        return refused(format!("the lease {id} is closed, or unknown"));
    }
    let leases = ids.iter().map(|id| rows::array(id).map(LeaseId::from)).collect::<Result<Vec<_>, StoreError>>()?;
    if leases.is_empty() {
        return Ok(Closed::default());
    }
    let ids = rows::to_json(&ids.iter().map(hex::encode).collect::<Vec<_>>())?;
    let retired = if state == LeaseState::Revoked { retire(db, &ids).await? } else { Vec::new() };
    query("DELETE FROM held_keys WHERE lease IN (SELECT unhex(value) FROM json_each(?))").bind(ids).execute(db).await?;
    Ok(Closed { leases, retired })
}

/// Makes the active versions that these leases hold whole decrypt-only: who held such a key may have
/// kept it, so nothing new is to be sealed under it.
async fn retire(db: &mut SqliteConnection, ids: &str) -> Result<Vec<(String, u32)>, StoreError> {
    let retired = query(
        "UPDATE keys SET state = 'decrypt-only', version = version + 1, row = json_set(row, '$.state', 'decrypt-only')
             WHERE state = 'active' AND (asset, key_version) IN (
                 SELECT held.value ->> 'asset', held.value ->> 'version'
                     FROM leases, json_each(leases.row, '$.keys') AS held
                     WHERE leases.id IN (SELECT unhex(value) FROM json_each(?))
                         AND held.value ->> 'scope' = 'version')
             RETURNING asset, key_version",
    )
    .bind(ids)
    .fetch_all(db)
    .await
    .map_err(unavailable)?;
    retired
        .iter()
        .map(|row| {
            let version: i64 = row.try_get("key_version").map_err(unavailable)?;
            let version =
                u32::try_from(version).map_err(|_| StoreError::Corrupt("the version of a key is no u32".to_owned()))?;
            Ok((row.try_get("asset").map_err(unavailable)?, version))
        })
        .collect()
}
