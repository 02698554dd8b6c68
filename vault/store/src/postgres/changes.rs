//! What each change does to the tables.
//!
//! A change whose rows are not as it needs them says so in words and writes nothing that is kept:
//! the sequencer takes the item back. An error of the database ends the whole transaction, so nothing
//! here relies on one: what may be there already is asked for, or does nothing on conflict.

use super::{PgQuery, WriteTransaction, candidate::held, closing, endorsements, rows::get};
use crate::{
    batch::{Change, Closed},
    closing::Which,
    encoding::{array, key_state_name, taken_identity, to_json},
    model::{
        AssetRow, KeyRow, LeaseRow, MEASURED_BYTES, MeasuredRow, NodeRow, PolicyRow, ReferenceRow, SiteRow, TokenRow,
    },
    store::StoreError,
    unmade::{Applied, Unmade, refused},
};
use sqlx::query;
use strongroom_protocol::{
    Bytes, EnrolmentId, Fixed, LeaseId, NodeId,
    admin::{KeyState, PolicyState, ReferenceState},
    lease::LeaseState,
};

/// Makes a change, or says in words why the rows do not allow it.
pub(super) async fn apply(
    tx: &mut WriteTransaction,
    change: &Change,
    now: i64,
) -> Result<Result<Closed, String>, StoreError> {
    let made = match Which::closed_by(change) {
        Some((which, state)) => closing::close(tx, &which, state).await,
        None => make(tx, change, now).await.map(|()| Closed::default()),
    };
    match made {
        Ok(closed) => Ok(Ok(closed)),
        Err(Unmade::Refused(why)) => Ok(Err(why)),
        Err(Unmade::Failed(error)) => Err(error),
    }
}

async fn make(tx: &mut WriteTransaction, change: &Change, now: i64) -> Applied {
    match change {
        Change::CreateSite(row) => create_site(tx, row).await,
        Change::PutNode(row) => put_node(tx, row).await,
        Change::PutMeasured(row) => put_measured(tx, row).await,
        Change::CreateAsset(row) => create_asset(tx, row).await,
        Change::PutAsset(row) => put_asset(tx, row).await,
        Change::PutKey(row) => put_key(tx, row).await,
        Change::ProposeReference(row) => propose_reference(tx, row).await,
        Change::ApproveReference(name, version, approver) => approve_reference(tx, name, *version, approver).await,
        Change::ProposePolicy(row) => propose_policy(tx, row).await,
        Change::EnforcePolicy(digest, approver) => enforce_policy(tx, *digest, approver).await,
        Change::PutEndorsement(row, bytes) => endorsements::put(tx, row, bytes).await,
        Change::ProposeRemoval(name, person) => endorsements::propose_removal(tx, name, person).await,
        Change::RemoveEndorsement(name) => endorsements::remove(tx, name).await,
        Change::ProposePin(row) => endorsements::propose_pin(tx, row).await,
        Change::ApprovePin(kind, sha256, approver) => endorsements::approve_pin(tx, kind, *sha256, approver).await,
        Change::WithdrawPin(kind, sha256) => endorsements::withdraw_pin(tx, kind, *sha256).await,
        Change::CreateToken(row) => create_token(tx, row).await,
        Change::RevokeToken(id) => revoke_token(tx, id).await,
        Change::ReplaceToken(id, by, until) => replace_token(tx, id, by, *until, now).await,
        Change::GrantLease(row) => grant_lease(tx, row).await,
        Change::RenewLease(id, expires_at, reattest_at) => renew_lease(tx, *id, *expires_at, *reattest_at, now).await,
        Change::DeliverLease(id) => deliver_lease(tx, *id, now).await,
        Change::ActivateEnrolment(id, node) => activate_enrolment(tx, *id, *node, now).await,
        Change::CloseLease(..)
        | Change::CloseLeasesOfNode(..)
        | Change::CloseLeasesOfKey(..)
        | Change::CloseLeasesOfAsset(..)
        | Change::CloseLeasesOfSite(..)
        | Change::CloseEveryLease(..) => refused("it closes leases, and is made where they are closed"),
    }
}

async fn create_site(tx: &mut WriteTransaction, row: &SiteRow) -> Applied {
    let made = query("INSERT INTO sites (name, version, content) VALUES ($1, 1, $2) ON CONFLICT DO NOTHING")
        .bind(row.name.as_str())
        .bind(to_json(row)?);
    one(tx, made, || format!("the site {} exists", row.name)).await
}

async fn put_node(tx: &mut WriteTransaction, row: &NodeRow) -> Applied {
    if let Err(why) = row.check() {
        return refused(why);
    }
    let (id, ak) = (row.id.as_array().to_vec(), row.tpm.as_ref().map(|tpm| tpm.ak_sha256.0.to_vec()));
    let other = query("SELECT 1 FROM nodes WHERE ak_sha256 = $1 AND id <> $2").bind(ak.clone()).bind(id.clone());
    if tx.row(other).await?.is_some() {
        return refused("this AK belongs to another node");
    }
    if let Some(site) = &row.site
        && tx.row(query("SELECT 1 FROM sites WHERE name = $1").bind(site.as_str())).await?.is_none()
    {
        return refused(format!("there is no site {site}"));
    }
    let put = query(
        "INSERT INTO nodes AS old (id, version, ak_sha256, site, enrolled_at, content) VALUES ($1, 1, $2, $3, $4, $5)
             ON CONFLICT (id) DO UPDATE SET version = old.version + 1, ak_sha256 = excluded.ak_sha256,
                 site = excluded.site, enrolled_at = excluded.enrolled_at, content = excluded.content",
    )
    .bind(id)
    .bind(ak)
    .bind(row.site.as_deref())
    .bind(row.enrolled_at)
    .bind(to_json(row)?);
    tx.execute(put).await?;
    put_identities(tx, row).await
}

/// Brings the index of identities to what the node's row lists.
async fn put_identities(tx: &mut WriteTransaction, row: &NodeRow) -> Applied {
    let id = row.id.as_array().to_vec();
    let kinds: Vec<String> = row.identities.iter().map(|one| one.kind.as_str().to_owned()).collect();
    let values: Vec<String> = row.identities.iter().map(|one| one.value.clone()).collect();
    let taken = query(
        "SELECT kind, identity, node FROM node_identities WHERE node <> $1 AND (kind, identity) IN
             (SELECT kind, identity FROM unnest($2::text[], $3::text[]) AS listed (kind, identity))
             ORDER BY kind, identity LIMIT 1",
    );
    let taken = taken.bind(id.clone()).bind(kinds.clone()).bind(values.clone());
    if let Some(taken) = tx.row(taken).await? {
        let node = NodeId::from(array(get(&taken, "node")?)?);
        return refused(taken_identity(get(&taken, "kind")?, get(&taken, "identity")?, node));
    }
    let put = query(
        "WITH listed AS (SELECT kind, identity FROM unnest($2::text[], $3::text[]) AS listed (kind, identity)),
         gone AS (DELETE FROM node_identities WHERE node = $1 AND (kind, identity) NOT IN (SELECT * FROM listed))
         INSERT INTO node_identities (kind, identity, node) SELECT kind, identity, $1 FROM listed
             ON CONFLICT DO NOTHING",
    );
    tx.execute(put.bind(id).bind(kinds).bind(values)).await?;
    Ok(())
}

async fn put_measured(tx: &mut WriteTransaction, row: &MeasuredRow) -> Applied {
    if row.state.len() > MEASURED_BYTES {
        return refused("more was measured than is kept of a boot");
    }
    let put = query(
        "INSERT INTO measured AS old (node, version, reset_count, restart_count, state) VALUES ($1, 1, $2, $3, $4)
             ON CONFLICT (node) DO UPDATE SET version = old.version + 1, reset_count = excluded.reset_count,
                 restart_count = excluded.restart_count, state = excluded.state",
    )
    .bind(row.node.as_array().to_vec())
    .bind(i64::from(row.boot.0))
    .bind(i64::from(row.boot.1))
    .bind(row.state.clone());
    tx.execute(put).await?;
    Ok(())
}

async fn create_asset(tx: &mut WriteTransaction, row: &AssetRow) -> Applied {
    let made = query("INSERT INTO assets (name, version, content) VALUES ($1, 1, $2) ON CONFLICT DO NOTHING")
        .bind(row.asset.name.as_str())
        .bind(to_json(row)?);
    one(tx, made, || format!("the asset {} exists", row.asset.name)).await
}

async fn put_asset(tx: &mut WriteTransaction, row: &AssetRow) -> Applied {
    let put = query("UPDATE assets SET version = version + 1, content = $1 WHERE name = $2")
        .bind(to_json(row)?)
        .bind(row.asset.name.as_str());
    one(tx, put, || format!("there is no asset {}", row.asset.name)).await
}

async fn put_key(tx: &mut WriteTransaction, row: &KeyRow) -> Applied {
    let name = || format!("{}@{}", row.asset, row.version);
    if row.version == 0 {
        return refused("key versions start at 1");
    }
    if (row.state == KeyState::Destroyed) != row.wrapped.0.is_empty() {
        return refused(format!("{}: a destroyed key has no wrapped key, every other has one", name()));
    }
    let found = query(
        "SELECT EXISTS (SELECT 1 FROM assets WHERE name = $1) AS asset,
             (SELECT state FROM keys WHERE asset = $1 AND key_version = $2) AS state,
             (SELECT coalesce(max(key_version), 0) FROM keys WHERE asset = $1) AS last",
    )
    .bind(row.asset.as_str())
    .bind(i64::from(row.version));
    let found = tx.one(found).await?;
    if !get::<bool>(&found, "asset")? {
        return refused(format!("there is no asset {}", row.asset));
    }
    let last: i64 = get(&found, "last")?;
    match get::<Option<&str>>(&found, "state")? {
        Some("destroyed") => return refused(format!("{} is destroyed, which is for ever", name())),
        None if i64::from(row.version) != last + 1 => {
            return refused(format!("the next version of {} is {}", row.asset, last + 1));
        }
        _ => {}
    }
    let put = query(
        "INSERT INTO keys AS old (asset, key_version, version, state, content) VALUES ($1, $2, 1, $3, $4)
             ON CONFLICT (asset, key_version) DO UPDATE SET
                 version = old.version + 1, state = excluded.state, content = excluded.content",
    )
    .bind(row.asset.as_str())
    .bind(i64::from(row.version))
    .bind(key_state_name(row.state))
    .bind(to_json(row)?);
    tx.execute(put).await?;
    Ok(())
}

async fn propose_reference(tx: &mut WriteTransaction, row: &ReferenceRow) -> Applied {
    if row.state != ReferenceState::Proposed || row.approved_by.is_some() {
        return refused("a version of a reference set begins as a proposal that nobody has approved");
    }
    let last = query("SELECT coalesce(max(set_version), 0) AS last FROM reference_sets WHERE name = $1");
    let last: i64 = get(&tx.one(last.bind(row.name.as_str())).await?, "last")?;
    if i64::from(row.version) != last + 1 {
        return refused(format!("the next version of the reference set {} is {}", row.name, last + 1));
    }
    let added = query("INSERT INTO reference_sets (name, set_version, state, content) VALUES ($1, $2, 'proposed', $3)")
        .bind(row.name.as_str())
        .bind(i64::from(row.version))
        .bind(to_json(row)?);
    tx.execute(added).await?;
    Ok(())
}

async fn approve_reference(tx: &mut WriteTransaction, name: &str, version: u32, approver: &str) -> Applied {
    let before = query("UPDATE reference_sets SET state = 'superseded' WHERE name = $1 AND set_version < $2");
    tx.execute(before.bind(name).bind(i64::from(version))).await?;
    let put = query(
        "UPDATE reference_sets SET state = 'in_force', approver = $1
             WHERE name = $2 AND set_version = $3 AND state = 'proposed'",
    )
    .bind(approver)
    .bind(name)
    .bind(i64::from(version));
    one(tx, put, || format!("version {version} of the reference set {name} is not proposed")).await?;
    move_generation(tx, "references").await
}

/// A superseded policy may be proposed again, which needs two persons again.
async fn propose_policy(tx: &mut WriteTransaction, row: &PolicyRow) -> Applied {
    if row.state != PolicyState::Proposed || row.approver.is_some() {
        return refused("a policy begins as a proposal that nobody has approved");
    }
    let made = query(
        "INSERT INTO policies AS old (digest, version, state, approver, proposed_at, content)
             VALUES ($1, 1, 'proposed', NULL, $2, $3)
             ON CONFLICT (digest) DO UPDATE SET version = old.version + 1, state = 'proposed', approver = NULL,
                 proposed_at = excluded.proposed_at, content = excluded.content
             WHERE old.state = 'superseded'",
    )
    .bind(row.digest.0.to_vec())
    .bind(row.proposed_at)
    .bind(to_json(row)?);
    one(tx, made, || format!("the policy {} is proposed or enforced already", row.digest)).await
}

async fn enforce_policy(tx: &mut WriteTransaction, digest: Fixed<32>, approver: &str) -> Applied {
    tx.execute(query("UPDATE policies SET state = 'superseded', version = version + 1 WHERE state = 'enforced'"))
        .await?;
    let enforced = query(
        "UPDATE policies SET state = 'enforced', version = version + 1, approver = $1
             WHERE digest = $2 AND state = 'proposed'",
    )
    .bind(approver)
    .bind(digest.0.to_vec());
    one(tx, enforced, || format!("the policy {digest} is not proposed")).await?;
    move_generation(tx, "policy").await
}

pub(super) async fn move_generation(tx: &mut WriteTransaction, name: &str) -> Applied {
    match tx.execute(query("UPDATE generations SET value = value + 1 WHERE name = $1").bind(name)).await? {
        1 => Ok(()),
        _ => Err(StoreError::Corrupt(format!("the generation of {name} is missing")).into()),
    }
}

async fn create_token(tx: &mut WriteTransaction, row: &TokenRow) -> Applied {
    let made = query(
        "INSERT INTO tokens (id, version, token_sha256, revoked, expires_at, replaced_by, content)
             VALUES ($1, 1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(row.id.as_str())
    .bind(row.token_sha256.0.to_vec())
    .bind(row.revoked)
    .bind(row.expires_at)
    .bind(row.replaced_by.as_deref())
    .bind(to_json(row)?);
    one(tx, made, || format!("the token {} exists", row.id)).await?;
    move_generation(tx, "tokens").await
}

async fn replace_token(tx: &mut WriteTransaction, id: &str, by: &str, until: i64, now: i64) -> Applied {
    let replaced = query(
        "UPDATE tokens SET version = version + 1, revoked = ($3 <= $4), replaced_by = $2,
                 expires_at = least(expires_at, $3)
             WHERE id = $1 AND NOT revoked AND replaced_by IS NULL",
    )
    .bind(id)
    .bind(by)
    .bind(until)
    .bind(now);
    one(tx, replaced, || format!("there is no token {id} to replace")).await
}

async fn revoke_token(tx: &mut WriteTransaction, id: &str) -> Applied {
    let revoked = query("UPDATE tokens SET revoked = true, version = version + 1 WHERE id = $1 AND NOT revoked");
    one(tx, revoked.bind(id), || format!("there is no token {id} to revoke")).await
}

async fn grant_lease(tx: &mut WriteTransaction, row: &LeaseRow) -> Applied {
    if row.state != LeaseState::Live {
        return refused("a lease begins live");
    }
    // Without the lease's own row there are no others.
    let (assets, versions, whole) = held(row);
    let granted = query(
        "WITH granted AS (INSERT INTO leases (id, version, node, statement_sha256, state, granted_at, expires_at,
                 reattest_at, delivered, wrapped_secret, content)
             VALUES ($1, 1, $2, $3, 'live', $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING id, expires_at),
         holding AS (INSERT INTO held_keys (asset, lease, key_version, expires_at, whole)
             SELECT held.asset, granted.id, held.version, granted.expires_at, held.whole
                 FROM granted, unnest($10::text[], $11::bigint[], $12::boolean[]) AS held (asset, version, whole))
         SELECT count(*) AS granted FROM granted",
    )
    .bind(row.id.as_array().to_vec())
    .bind(row.node.as_array().to_vec())
    .bind(row.statement_sha256.0.to_vec())
    .bind(row.granted_at)
    .bind(row.expires_at)
    .bind(row.reattest_at)
    .bind(row.delivered)
    .bind(row.wrapped_secret.0.clone())
    .bind(lease_content(row)?)
    .bind(assets)
    .bind(versions)
    .bind(whole);
    match get::<i64>(&tx.one(granted).await?, "granted")? {
        0 => refused("a lease with this id or this statement exists"),
        _ => Ok(()),
    }
}

/// A lease as JSON, without what goes when it is closed: that stands in a column alone.
pub(super) fn lease_content(row: &LeaseRow) -> Result<String, StoreError> {
    to_json(&LeaseRow { wrapped_secret: Bytes(Vec::new()), ..row.clone() })
}

async fn renew_lease(tx: &mut WriteTransaction, id: LeaseId, expires_at: i64, reattest_at: i64, now: i64) -> Applied {
    let renewed = query(
        "UPDATE leases SET expires_at = $1, reattest_at = $2, version = version + 1
             WHERE id = $3 AND state = 'live' AND expires_at > $4",
    )
    .bind(expires_at)
    .bind(reattest_at)
    .bind(id.as_array().to_vec())
    .bind(now);
    one(tx, renewed, || format!("the lease {id} is not live")).await?;
    let held = query("UPDATE held_keys SET expires_at = $1 WHERE lease = $2");
    tx.execute(held.bind(expires_at).bind(id.as_array().to_vec())).await?;
    Ok(())
}

async fn deliver_lease(tx: &mut WriteTransaction, id: LeaseId, now: i64) -> Applied {
    let delivered = query(
        "UPDATE leases SET delivered = true, version = version + 1
             WHERE id = $1 AND state = 'live' AND expires_at > $2 AND NOT delivered",
    )
    .bind(id.as_array().to_vec())
    .bind(now);
    one(tx, delivered, || format!("the lease {id} is not live, or delivered already")).await
}

async fn activate_enrolment(tx: &mut WriteTransaction, id: EnrolmentId, node: NodeId, now: i64) -> Applied {
    let activated = query("UPDATE enrolments SET node = $1 WHERE id = $2 AND node IS NULL AND expires_at > $3")
        .bind(node.as_array().to_vec())
        .bind(id.as_array().to_vec())
        .bind(now);
    one(tx, activated, || "the enrolment has expired, or was activated before".to_owned()).await
}

/// Done if exactly one row was written.
pub(super) async fn one(tx: &mut WriteTransaction, asked: PgQuery<'_>, otherwise: impl FnOnce() -> String) -> Applied {
    match tx.execute(asked).await? {
        1 => Ok(()),
        _ => refused(otherwise()),
    }
}
