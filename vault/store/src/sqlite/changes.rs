//! What each change does to the tables.
//!
//! A change whose rows are not as it needs them says so in words and writes nothing that is kept:
//! the sequencer takes the item back.

use super::{
    closing, endorsements,
    rows::{array, held_keys, key_state_name, to_json},
    unavailable,
};
use crate::{
    batch::{Change, Closed},
    closing::Which,
    encoding::taken_identity,
    model::{
        AssetRow, KeyRow, LeaseRow, MEASURED_BYTES, MeasuredRow, NodeRow, PolicyRow, ReferenceRow, SiteRow, TokenRow,
    },
    store::StoreError,
    unmade::{Applied, Unmade, refused},
};
use sqlx::{SqliteConnection, query, query_as, query_scalar};
use strongroom_protocol::{
    EnrolmentId, Fixed, LeaseId, NodeId,
    admin::{KeyState, PolicyState, ReferenceState},
    lease::LeaseState,
};

/// Makes a change, or says in words why the rows do not allow it.
pub(super) async fn apply(
    db: &mut SqliteConnection,
    change: &Change,
    now: i64,
) -> Result<Result<Closed, String>, StoreError> {
    let made = match Which::closed_by(change) {
        Some((which, state)) => closing::close(db, &which, state).await,
        None => make(db, change, now).await.map(|()| Closed::default()),
    };
    match made {
        Ok(closed) => Ok(Ok(closed)),
        Err(Unmade::Refused(why)) => Ok(Err(why)),
        Err(Unmade::Failed(error)) => Err(error),
    }
}

async fn make(db: &mut SqliteConnection, change: &Change, now: i64) -> Applied {
    match change {
        Change::CreateSite(row) => create_site(db, row).await,
        Change::PutNode(row) => put_node(db, row).await,
        Change::PutMeasured(row) => put_measured(db, row).await,
        Change::CreateAsset(row) => create_asset(db, row).await,
        Change::PutAsset(row) => put_asset(db, row).await,
        Change::PutKey(row) => put_key(db, row).await,
        Change::ProposeReference(row) => propose_reference(db, row).await,
        Change::ApproveReference(name, version, approver) => approve_reference(db, name, *version, approver).await,
        Change::ProposePolicy(row) => propose_policy(db, row).await,
        Change::EnforcePolicy(digest, approver) => enforce_policy(db, *digest, approver).await,
        Change::PutEndorsement(row, bytes) => endorsements::put(db, row, bytes).await,
        Change::ProposeRemoval(name, person) => endorsements::propose_removal(db, name, person).await,
        Change::RemoveEndorsement(name) => endorsements::remove(db, name).await,
        Change::ProposePin(row) => endorsements::propose_pin(db, row).await,
        Change::ApprovePin(kind, sha256, approver) => endorsements::approve_pin(db, kind, *sha256, approver).await,
        Change::WithdrawPin(kind, sha256) => endorsements::withdraw_pin(db, kind, *sha256).await,
        Change::CreateToken(row) => create_token(db, row).await,
        Change::RevokeToken(id) => revoke_token(db, id).await,
        Change::ReplaceToken(id, by, until) => replace_token(db, id, by, *until, now).await,
        Change::GrantLease(row) => grant_lease(db, row).await,
        Change::RenewLease(id, expires_at, reattest_at) => renew_lease(db, *id, *expires_at, *reattest_at, now).await,
        Change::DeliverLease(id) => deliver_lease(db, *id, now).await,
        Change::ActivateEnrolment(id, node) => activate_enrolment(db, *id, *node, now).await,
        Change::CloseLease(..)
        | Change::CloseLeasesOfNode(..)
        | Change::CloseLeasesOfKey(..)
        | Change::CloseLeasesOfAsset(..)
        | Change::CloseLeasesOfSite(..)
        | Change::CloseEveryLease(..) => refused("it closes leases, and is made where they are closed"),
    }
}

async fn create_site(db: &mut SqliteConnection, row: &SiteRow) -> Applied {
    let made = query("INSERT INTO sites (name, version, row) VALUES (?, 1, ?) ON CONFLICT DO NOTHING")
        .bind(row.name.as_str())
        .bind(to_json(row)?);
    one(made.execute(db).await, || format!("the site {} exists", row.name))
}

async fn put_node(db: &mut SqliteConnection, row: &NodeRow) -> Applied {
    if let Err(why) = row.check() {
        return refused(why);
    }
    let (id, ak) = (row.id.as_array().to_vec(), row.tpm.as_ref().map(|tpm| tpm.ak_sha256.0.to_vec()));
    let other: Option<i64> = query_scalar("SELECT 1 FROM nodes WHERE ak_sha256 = ? AND id <> ?")
        .bind(ak.clone())
        .bind(id.clone())
        .fetch_optional(&mut *db)
        .await?;
    if other.is_some() {
        return refused("this AK belongs to another node");
    }
    if let Some(site) = &row.site
        && !exists(
            query_scalar("SELECT 1 FROM sites WHERE name = ?").bind(site.as_str()).fetch_optional(&mut *db).await,
        )?
    {
        return refused(format!("there is no site {site}"));
    }
    query(
        "INSERT INTO nodes (id, version, ak_sha256, site, enrolled_at, row) VALUES (?, 1, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET version = version + 1, ak_sha256 = excluded.ak_sha256,
                 site = excluded.site, enrolled_at = excluded.enrolled_at, row = excluded.row",
    )
    .bind(id)
    .bind(ak)
    .bind(row.site.as_deref())
    .bind(row.enrolled_at)
    .bind(to_json(row)?)
    .execute(&mut *db)
    .await?;
    put_identities(db, row).await
}

/// Brings the index of identities to what the node's row lists.
async fn put_identities(db: &mut SqliteConnection, row: &NodeRow) -> Applied {
    let (id, listed) = (row.id.as_array().to_vec(), to_json(&row.identities)?);
    let taken: Option<(String, String, Vec<u8>)> = query_as(
        "SELECT kind, identity, node FROM node_identities WHERE node <> ?1 AND (kind, identity) IN
             (SELECT listed.value ->> 'kind', listed.value ->> 'value' FROM json_each(?2) AS listed)
             ORDER BY kind, identity LIMIT 1",
    )
    .bind(id.clone())
    .bind(listed.as_str())
    .fetch_optional(&mut *db)
    .await?;
    if let Some((kind, identity, node)) = taken {
        return refused(taken_identity(&kind, &identity, NodeId::from(array(&node)?)));
    }
    query(
        "DELETE FROM node_identities WHERE node = ?1 AND (kind, identity) NOT IN
             (SELECT listed.value ->> 'kind', listed.value ->> 'value' FROM json_each(?2) AS listed)",
    )
    .bind(id.clone())
    .bind(listed.as_str())
    .execute(&mut *db)
    .await?;
    query(
        "INSERT INTO node_identities (kind, identity, node)
             SELECT listed.value ->> 'kind', listed.value ->> 'value', ?1 FROM json_each(?2) AS listed WHERE true
             ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(listed)
    .execute(db)
    .await?;
    Ok(())
}

async fn put_measured(db: &mut SqliteConnection, row: &MeasuredRow) -> Applied {
    if row.state.len() > MEASURED_BYTES {
        return refused("more was measured than is kept of a boot");
    }
    query(
        "INSERT INTO measured (node, version, reset_count, restart_count, state) VALUES (?, 1, ?, ?, ?)
             ON CONFLICT (node) DO UPDATE SET version = version + 1, reset_count = excluded.reset_count,
                 restart_count = excluded.restart_count, state = excluded.state",
    )
    .bind(row.node.as_array().to_vec())
    .bind(i64::from(row.boot.0))
    .bind(i64::from(row.boot.1))
    .bind(row.state.as_slice())
    .execute(db)
    .await?;
    Ok(())
}

async fn create_asset(db: &mut SqliteConnection, row: &AssetRow) -> Applied {
    let made = query("INSERT INTO assets (name, version, row) VALUES (?, 1, ?) ON CONFLICT DO NOTHING")
        .bind(row.asset.name.as_str())
        .bind(to_json(row)?);
    one(made.execute(db).await, || format!("the asset {} exists", row.asset.name))
}

async fn put_asset(db: &mut SqliteConnection, row: &AssetRow) -> Applied {
    let put = query("UPDATE assets SET version = version + 1, row = ? WHERE name = ?")
        .bind(to_json(row)?)
        .bind(row.asset.name.as_str());
    one(put.execute(db).await, || format!("there is no asset {}", row.asset.name))
}

async fn put_key(db: &mut SqliteConnection, row: &KeyRow) -> Applied {
    let name = || format!("{}@{}", row.asset, row.version);
    if row.version == 0 {
        return refused("key versions start at 1");
    }
    if (row.state == KeyState::Destroyed) != row.wrapped.0.is_empty() {
        return refused(format!("{}: a destroyed key has no wrapped key, every other has one", name()));
    }
    if !exists(query_scalar("SELECT 1 FROM assets WHERE name = ?").bind(&row.asset).fetch_optional(&mut *db).await)? {
        return refused(format!("there is no asset {}", row.asset));
    }
    let current: Option<String> = query_scalar("SELECT state FROM keys WHERE asset = ? AND key_version = ?")
        .bind(row.asset.as_str())
        .bind(i64::from(row.version))
        .fetch_optional(&mut *db)
        .await?;
    match current.as_deref() {
        Some("destroyed") => return refused(format!("{} is destroyed, which is for ever", name())),
        Some(_) => {}
        None => {
            let last: i64 = query_scalar("SELECT coalesce(max(key_version), 0) FROM keys WHERE asset = ?")
                .bind(row.asset.as_str())
                .fetch_one(&mut *db)
                .await?;
            if i64::from(row.version) != last + 1 {
                return refused(format!("the next version of {} is {}", row.asset, last + 1));
            }
        }
    }
    query(
        "INSERT INTO keys (asset, key_version, version, state, row) VALUES (?, ?, 1, ?, ?)
             ON CONFLICT (asset, key_version) DO UPDATE SET
                 version = version + 1, state = excluded.state, row = excluded.row",
    )
    .bind(row.asset.as_str())
    .bind(i64::from(row.version))
    .bind(key_state_name(row.state))
    .bind(to_json(row)?)
    .execute(db)
    .await?;
    Ok(())
}

async fn propose_reference(db: &mut SqliteConnection, row: &ReferenceRow) -> Applied {
    if row.state != ReferenceState::Proposed || row.approved_by.is_some() {
        return refused("a version of a reference set begins as a proposal that nobody has approved");
    }
    let last: i64 = query_scalar("SELECT coalesce(max(set_version), 0) FROM reference_sets WHERE name = ?")
        .bind(row.name.as_str())
        .fetch_one(&mut *db)
        .await?;
    if i64::from(row.version) != last + 1 {
        return refused(format!("the next version of the reference set {} is {}", row.name, last + 1));
    }
    query("INSERT INTO reference_sets (name, set_version, state, row) VALUES (?, ?, 'proposed', ?)")
        .bind(row.name.as_str())
        .bind(i64::from(row.version))
        .bind(to_json(row)?)
        .execute(db)
        .await?;
    Ok(())
}

async fn approve_reference(db: &mut SqliteConnection, name: &str, version: u32, approver: &str) -> Applied {
    query("UPDATE reference_sets SET state = 'superseded' WHERE name = ? AND set_version < ?")
        .bind(name)
        .bind(i64::from(version))
        .execute(&mut *db)
        .await?;
    let put = query(
        "UPDATE reference_sets SET state = 'in_force', approver = ?
             WHERE name = ? AND set_version = ? AND state = 'proposed'",
    )
    .bind(approver)
    .bind(name)
    .bind(i64::from(version));
    one(put.execute(&mut *db).await, || format!("version {version} of the reference set {name} is not proposed"))?;
    move_generation(db, "references").await
}

/// A superseded policy may be proposed again, which needs two persons again.
async fn propose_policy(db: &mut SqliteConnection, row: &PolicyRow) -> Applied {
    if row.state != PolicyState::Proposed || row.approver.is_some() {
        return refused("a policy begins as a proposal that nobody has approved");
    }
    let made = query(
        "INSERT INTO policies (digest, version, state, approver, proposed_at, row) VALUES (?, 1, 'proposed', NULL, ?, ?)
             ON CONFLICT (digest) DO UPDATE SET version = version + 1, state = 'proposed', approver = NULL,
                 proposed_at = excluded.proposed_at, row = excluded.row
             WHERE state = 'superseded'",
    )
    .bind(row.digest.0.to_vec())
    .bind(row.proposed_at)
    .bind(to_json(row)?);
    one(made.execute(db).await, || format!("the policy {} is proposed or enforced already", row.digest))
}

async fn enforce_policy(db: &mut SqliteConnection, digest: Fixed<32>, approver: &str) -> Applied {
    query("UPDATE policies SET state = 'superseded', version = version + 1 WHERE state = 'enforced'")
        .execute(&mut *db)
        .await?;
    let enforced = query(
        "UPDATE policies SET state = 'enforced', version = version + 1, approver = ?
             WHERE digest = ? AND state = 'proposed'",
    )
    .bind(approver)
    .bind(digest.0.to_vec());
    one(enforced.execute(&mut *db).await, || format!("the policy {digest} is not proposed"))?;
    move_generation(db, "policy").await
}

pub(super) async fn move_generation(db: &mut SqliteConnection, name: &str) -> Applied {
    let moved = query("UPDATE generations SET value = value + 1 WHERE name = ?").bind(name).execute(db).await?;
    match moved.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::Corrupt(format!("the generation of {name} is missing")).into()),
    }
}

async fn create_token(db: &mut SqliteConnection, row: &TokenRow) -> Applied {
    let made = query(
        "INSERT INTO tokens (id, version, token_sha256, revoked, row) VALUES (?, 1, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(row.id.as_str())
    .bind(row.token_sha256.0.to_vec())
    .bind(row.revoked)
    .bind(to_json(row)?);
    one(made.execute(&mut *db).await, || format!("the token {} exists", row.id))?;
    move_generation(db, "tokens").await
}

async fn replace_token(db: &mut SqliteConnection, id: &str, by: &str, until: i64, now: i64) -> Applied {
    let replaced = query(
        "UPDATE tokens SET version = version + 1, revoked = ?3 <= ?4,
                 row = json_set(row, '$.replaced_by', ?2, '$.expires_at', min(row ->> 'expires_at', ?3))
             WHERE id = ?1 AND revoked = 0 AND row ->> 'replaced_by' IS NULL",
    )
    .bind(id)
    .bind(by)
    .bind(until)
    .bind(now);
    one(replaced.execute(db).await, || format!("there is no token {id} to replace"))
}

async fn revoke_token(db: &mut SqliteConnection, id: &str) -> Applied {
    let revoked =
        query("UPDATE tokens SET revoked = 1, version = version + 1 WHERE id = ? AND revoked = 0").bind(id).execute(db);
    one(revoked.await, || format!("there is no token {id} to revoke"))
}

async fn grant_lease(db: &mut SqliteConnection, row: &LeaseRow) -> Applied {
    if row.state != LeaseState::Live {
        return refused("a lease begins live");
    }
    // Without the lease's own row there are no others.
    let made = query(
        "INSERT INTO leases (id, version, node, statement_sha256, state, granted_at, expires_at, reattest_at, delivered,
             row) VALUES (?, 1, ?, ?, 'live', ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;
         INSERT INTO held_keys (asset, lease, key_version, expires_at)
             SELECT value ->> 0, ?, value ->> 1, ? FROM json_each(?) WHERE changes() = 1",
    )
    .bind(row.id.as_array().to_vec())
    .bind(row.node.as_array().to_vec())
    .bind(row.statement_sha256.0.to_vec())
    .bind(row.granted_at)
    .bind(row.expires_at)
    .bind(row.reattest_at)
    .bind(row.delivered)
    .bind(to_json(row)?)
    .bind(row.id.as_array().to_vec())
    .bind(row.expires_at)
    .bind(held_keys(row)?)
    .execute(db)
    .await?;
    match made.rows_affected() {
        0 => refused("a lease with this id or this statement exists"),
        _ => Ok(()),
    }
}

async fn renew_lease(db: &mut SqliteConnection, id: LeaseId, expires_at: i64, reattest_at: i64, now: i64) -> Applied {
    let renewed = query(
        "UPDATE leases SET expires_at = ?, reattest_at = ?, version = version + 1
             WHERE id = ? AND state = 'live' AND expires_at > ?",
    )
    .bind(expires_at)
    .bind(reattest_at)
    .bind(id.as_array().to_vec())
    .bind(now);
    one(renewed.execute(&mut *db).await, || format!("the lease {id} is not live"))?;
    query("UPDATE held_keys SET expires_at = ? WHERE lease = ?")
        .bind(expires_at)
        .bind(id.as_array().to_vec())
        .execute(db)
        .await?;
    Ok(())
}

async fn deliver_lease(db: &mut SqliteConnection, id: LeaseId, now: i64) -> Applied {
    let delivered = query(
        "UPDATE leases SET delivered = 1, version = version + 1
             WHERE id = ? AND state = 'live' AND expires_at > ? AND delivered = 0",
    )
    .bind(id.as_array().to_vec())
    .bind(now);
    one(delivered.execute(db).await, || format!("the lease {id} is not live, or delivered already"))
}

async fn activate_enrolment(db: &mut SqliteConnection, id: EnrolmentId, node: NodeId, now: i64) -> Applied {
    let activated = query("UPDATE enrolments SET node = ? WHERE id = ? AND node IS NULL AND expires_at > ?")
        .bind(node.as_array().to_vec())
        .bind(id.as_array().to_vec())
        .bind(now);
    one(activated.execute(db).await, || "the enrolment has expired, or was activated before".to_owned())
}

impl From<sqlx::Error> for Unmade {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(unavailable(error))
    }
}

/// Done if exactly one row was written.
pub(super) fn one(
    result: Result<sqlx::sqlite::SqliteQueryResult, sqlx::Error>,
    otherwise: impl FnOnce() -> String,
) -> Applied {
    match result?.rows_affected() {
        1 => Ok(()),
        _ => refused(otherwise()),
    }
}

fn exists(found: Result<Option<i64>, sqlx::Error>) -> Result<bool, Unmade> {
    Ok(found?.is_some())
}
