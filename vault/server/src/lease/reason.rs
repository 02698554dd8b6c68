//! Why a lease was revoked, as the ledger has it: every replica reads the same.

use crate::{problem::Answer, vault::Vault};
use strongroom_ledger::{Action, Record, SubjectKind, Verdict};
use strongroom_protocol::audit::AuditQuery;
use strongroom_store::model::LeaseRow;

/// The detail of a denied renewal that ended its lease: what became of the node.
pub(crate) const LEASE_ENDED: &str = "lease_ended";
/// The code of such a denial in records that are older than this detail.
const REBOOTED: &str = "rebooted";
/// Seconds of the ledger that are looked through. Who listens looks each second.
const BACK: i64 = 900;

/// The reason of the newest record that revoked this lease; none if there is none that young.
pub(super) async fn of_revocation(vault: &Vault, lease: &LeaseRow) -> Answer<Option<String>> {
    let node = Some(lease.node.to_string());
    let of_lease = AuditQuery { node: node.clone(), action: Some(Action::LeaseRevoked.to_string()), ..all() };
    if let Some(record) = newest(vault, lease, of_lease, |record| record.lease == Some(lease.id)).await? {
        return Ok(Some(of_record(&record)));
    }
    // A renewal that shows a reboot, or what must not run, is denied and takes its lease along.
    let verdict = Some(Verdict::Denied.to_string());
    let of_renewal =
        AuditQuery { node: node.clone(), action: Some(Action::LeaseRenewed.to_string()), verdict, ..all() };
    let ended = |record: &Record| {
        let said = record.details.get(LEASE_ENDED).and_then(serde_json::Value::as_str).map(str::to_owned);
        said.or_else(|| record.reasons.iter().find(|reason| *reason == REBOOTED).cloned())
    };
    let of_this = |record: &Record| record.lease == Some(lease.id) && ended(record).is_some();
    if let Some(record) = newest(vault, lease, of_renewal, of_this).await? {
        return Ok(ended(&record));
    }
    let of_many = AuditQuery { action: Some(Action::LeaseRevoked.to_string()), ..all() };
    let site = vault.store.node(lease.node).await?.and_then(|node| node.row.site);
    if let Some(record) = newest(vault, lease, of_many, |record| covers(record, lease, site.as_deref())).await? {
        return Ok(Some(of_record(&record)));
    }
    let of_node = AuditQuery { node, action: Some("node.*".to_owned()), ..all() };
    if let Some(record) = newest(vault, lease, of_node, ends_leases).await? {
        return Ok(Some(of_record(&record)));
    }
    for key in &lease.keys {
        let destroyed = Some(Action::KeyDestroyed.to_string());
        let of_key = AuditQuery { asset: Some(key.asset.clone()), action: destroyed, ..all() };
        let name = format!("{}@{}", key.asset, key.version);
        if let Some(record) = newest(vault, lease, of_key, |record| record.subject.id == name).await? {
            return Ok(Some(of_record(&record)));
        }
    }
    Ok(None)
}

fn all() -> AuditQuery {
    AuditQuery { limit: Some(1000), ..AuditQuery::default() }
}

/// True of an act that ends what a node holds.
fn ends_leases(record: &Record) -> bool {
    match record.action {
        Action::NodeRevoked => true,
        Action::NodeChanged => record.details.contains_key("moved_from"),
        // At its first enrolment a node holds nothing.
        Action::NodeEnrolled => record.previous.is_some(),
        _ => false,
    }
}

/// True of the revocation of many leases that this one belonged to.
fn covers(record: &Record, lease: &LeaseRow, site: Option<&str>) -> bool {
    let id = record.subject.id.as_str();
    match record.subject.kind {
        SubjectKind::Vault => true,
        SubjectKind::Node => id == lease.node.to_string(),
        SubjectKind::Site => site == Some(id),
        SubjectKind::Asset => lease.keys.iter().any(|key| key.asset == id),
        _ => false,
    }
}

/// The newest wanted record since the lease was granted.
async fn newest(
    vault: &Vault,
    lease: &LeaseRow,
    query: AuditQuery,
    wanted: impl Fn(&Record) -> bool,
) -> Answer<Option<Record>> {
    let now = vault.clock.now().await?;
    let from = now.saturating_sub(BACK).max(lease.granted_at);
    let entries = vault.store.query(&query, from, now.saturating_add(BACK)).await?;
    let records = entries.into_iter().rev().filter_map(|entry| Record::parse(&entry.body?.0).ok());
    Ok(records.into_iter().find(wanted))
}

/// What the person said; where nobody was asked for words, what was done.
fn of_record(record: &Record) -> String {
    if let Some(reason) = record.details.get("reason").and_then(serde_json::Value::as_str) {
        return reason.to_owned();
    }
    match record.action {
        Action::NodeEnrolled => "the node was enrolled again",
        Action::NodeChanged => "the node was moved to another site",
        Action::KeyDestroyed => "the key version was destroyed",
        Action::NodeRevoked => "the node was revoked",
        _ => "obligations are not kept",
    }
    .to_owned()
}
