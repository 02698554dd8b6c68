//! Closing leases, one or many at a time: their secrets go, what they held is free, and what a revoked
//! one held whole opens only from now on.

use super::{WriteTransaction, rows::get};
use crate::{
    batch::Closed,
    closing::Which,
    encoding::{array, lease_state_name},
    store::StoreError,
    unmade::{Applied, refused},
};
use sqlx::query;
use strongroom_protocol::{LeaseId, lease::LeaseState};

/// The statement that closes them, all in one: `$1` is their new state, `$2` whether what they held
/// whole is retired, what follows is what they are chosen by. All parts see the same held keys, those
/// before the statement.
fn sql(which: &Which<'_>) -> &'static str {
    macro_rules! closing {
        ($which:literal) => {
            concat!(
                "WITH closed AS (UPDATE leases SET state = $1, version = version + 1, wrapped_secret = ''
                     WHERE state = 'live' AND ",
                $which,
                " RETURNING id),
                 retired AS (UPDATE keys SET state = 'decrypt-only', version = version + 1
                     WHERE $2 AND state = 'active' AND (asset, key_version) IN
                         (SELECT asset, key_version FROM held_keys WHERE whole AND lease IN (SELECT id FROM closed))
                     RETURNING asset, key_version),
                 freed AS (DELETE FROM held_keys WHERE lease IN (SELECT id FROM closed))
                 SELECT id, NULL AS asset, NULL AS key_version FROM closed
                     UNION ALL SELECT NULL, asset, key_version FROM retired"
            )
        };
    }
    match which {
        Which::One(_) => closing!("id = $3"),
        Which::OfNode(_) => closing!("node = $3"),
        Which::OfKey(..) => closing!("id IN (SELECT lease FROM held_keys WHERE asset = $3 AND key_version = $4)"),
        Which::OfAsset(_) => closing!("id IN (SELECT lease FROM held_keys WHERE asset = $3)"),
        Which::OfSite(_) => closing!("node IN (SELECT id FROM nodes WHERE site = $3)"),
        Which::Every => closing!("true"),
    }
}

/// Closes them. A lease that is named has to be live; of many there may be none.
pub(super) async fn close(tx: &mut WriteTransaction, which: &Which<'_>, state: LeaseState) -> Applied<Closed> {
    if state == LeaseState::Live {
        return refused("a lease does not close into a live one");
    }
    let closing = query(sql(which)).bind(lease_state_name(state)).bind(state == LeaseState::Revoked);
    let closing = match which {
        Which::One(id) => closing.bind(id.as_array().to_vec()),
        Which::OfNode(node) => closing.bind(node.as_array().to_vec()),
        Which::OfKey(asset, version) => closing.bind(*asset).bind(i64::from(*version)),
        Which::OfAsset(name) | Which::OfSite(name) => closing.bind(*name),
        Which::Every => closing,
    };
    let mut closed = Closed::default();
    for row in tx.rows(closing).await? {
        match get::<Option<&[u8]>>(&row, "id")? {
            Some(id) => closed.leases.push(LeaseId::from(array(id)?)),
            None => closed.retired.push((get(&row, "asset")?, version(get(&row, "key_version")?)?)),
        }
    }
    match which {
        Which::One(id) if closed.leases.is_empty() => refused(format!("the lease {id} is closed, or unknown")),
        _ => Ok(closed),
    }
}

fn version(number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| StoreError::Corrupt("the version of a key is no u32".to_owned()))
}
