//! Leases as custodians see them, and revocation.

use super::{Act, check_reason};
use crate::{
    authority::Holder,
    clock::rfc3339,
    events::{Notice, Whose},
    json::{Json, Path},
    lease::retirement::Retired,
    problem::{Answer, Refused},
    vault::{Shared, Vault, subject},
};
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{
    Code,
    admin::Recorded,
    lease::{EventKind, LeaseState, LeaseView, RevokeLease},
    statement::KeyRequest,
};
use strongroom_store::{Change, Guard, model::LeaseRow};

/// Leases of one answer.
const MOST: u32 = 10_000;

/// Query of `GET /v1/leases`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseQuery {
    /// True: leases that are over, too; only live ones otherwise.
    #[serde(default)]
    pub all: bool,
    /// At most this many, newest first; 100 unless given, 10,000 at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `GET /v1/leases`.
pub async fn list(
    State(vault): State<Shared>,
    query: Result<Query<LeaseQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<Json<Vec<LeaseView>>> {
    let Query(query) = query.map_err(|e| Refused::malformed("query", e.body_text()))?;
    let now = vault.clock.now().await?;
    let leases = vault.store.leases(!query.all, query.limit.unwrap_or(100).min(MOST)).await?;
    Ok(Json(leases.iter().map(|lease| view(lease, now)).collect()))
}

/// `POST /v1/leases/{id}/revoke`: keys held under it are to be zeroed at once.
///
/// A key that was held for a whole version is burnt for new objects: the version opens only, until
/// the asset's key is rotated.
pub async fn revoke(
    State(vault): State<Shared>,
    Path(id): Path<String>,
    holder: Holder,
    Json(request): Json<RevokeLease>,
) -> Answer<Json<Recorded>> {
    check_reason(&request.reason)?;
    let id = id.parse().map_err(|_| Refused::malformed("lease", "not a lease's id"))?;
    let lease = vault.store.lease(id).await?.ok_or_else(|| Refused::not_found("lease"))?;
    if lease.row.state != LeaseState::Live {
        return Err(Refused::new(Code::Conflict, "the lease is not live"));
    }
    let act = Act::by(&vault, &holder, Action::LeaseRevoked, subject(SubjectKind::Lease, id)).await?;
    let mut act = act.guarded(Guard::Lease(id, lease.version)).saying("reason", request.reason.clone());
    act.record.lease = Some(id);
    act.record.node = Some(lease.row.node);
    act.record.job.clone_from(&lease.row.job);
    act.record.keys = lease.row.keys.iter().map(Into::into).collect();
    let act = retire_versions(&vault, act, [&lease.row]).await?;
    let recorded = act.changing(Change::CloseLease(id, LeaseState::Revoked)).commit(&vault).await?;
    vault.events.tell(Notice { whose: Whose::Lease(id), event: EventKind::Revoked, reason: Some(request.reason) });
    Ok(Json(recorded))
}

/// Makes the active versions that these leases hold whole decrypt-only.
pub(super) async fn retire_versions(
    vault: &Vault,
    act: Act,
    leases: impl IntoIterator<Item = &LeaseRow>,
) -> Answer<Act> {
    Ok(retiring(act, Retired::of(vault, leases).await?))
}

/// Takes along what revoking leases brings with it.
pub(super) fn retiring(mut act: Act, retired: Retired) -> Act {
    act.guards.extend(retired.guards);
    act.changes.extend(retired.changes);
    if retired.names.is_empty() { act } else { act.saying("decrypt_only", retired.names) }
}

fn view(lease: &LeaseRow, now: i64) -> LeaseView {
    let lapsed = lease.state == LeaseState::Live && lease.expires_at <= now;
    LeaseView {
        id: lease.id,
        decision: lease.decision,
        node: lease.node,
        keys: lease.keys.iter().map(name).collect(),
        state: if lapsed { LeaseState::Expired } else { lease.state },
        granted_at: rfc3339(lease.granted_at),
        expires_at: rfc3339(lease.expires_at),
        delivered: lease.delivered,
    }
}

fn name(key: &KeyRequest) -> String {
    let word = |value: Result<serde_json::Value, _>| {
        value.ok().and_then(|v: serde_json::Value| v.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let (access, scope) = (word(serde_json::to_value(key.access)), word(serde_json::to_value(key.scope)));
    format!("{}@{} {access}/{scope}", key.asset, key.version)
}
