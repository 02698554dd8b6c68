//! Leases as custodians see them, and revocation: of one, of a node's, an asset's, a site's, of all.

use super::{Act, assets, check_reason, nodes};
use crate::{
    authority::Holder,
    clock::rfc3339,
    events::{Notice, Whose},
    json::{Json, Path},
    problem::{Answer, Refused},
    vault::{Shared, Vault, subject},
};
use axum::extract::{Query, State};
use strongroom_ledger::{Action, Record, Subject, SubjectKind};
use strongroom_protocol::{
    Code,
    admin::{Recorded, Role},
    lease::{EventKind, LeaseQuery, LeaseState, LeaseView, RevokeLease, RevokeLeases, RevokedLeases},
    statement::KeyRequest,
};
use strongroom_store::{Change, Guard, model::LeaseRow};

/// Leases of one page, unless the query says otherwise, and at the most.
const PAGE: (u32, u32) = (100, 1000);

/// `GET /v1/leases`.
pub async fn list(
    State(vault): State<Shared>,
    query: Result<Query<LeaseQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<Json<Vec<LeaseView>>> {
    let Query(query) = query.map_err(|e| Refused::malformed("query", e.body_text()))?;
    if let Some(after) = query.after
        && vault.store.lease(after).await?.is_none()
    {
        return Err(Refused::malformed("after", "there is no such lease"));
    }
    let now = vault.clock.now().await?;
    let limit = query.limit.unwrap_or(PAGE.0).min(PAGE.1);
    let leases = vault.store.leases(!query.all, query.after, limit).await?;
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
    let recorded = act.changing(Change::CloseLease(id, LeaseState::Revoked)).commit(&vault).await?;
    vault.events.tell(Notice { whose: Whose::Lease(id), event: EventKind::Revoked, reason: Some(request.reason) });
    Ok(Json(recorded))
}

/// `POST /v1/leases/revoke`: many at once, all or none, in one transaction with the record that says
/// which. What is granted after that is not touched.
pub async fn revoke_many(
    State(vault): State<Shared>,
    holder: Holder,
    Json(request): Json<RevokeLeases>,
) -> Answer<Json<RevokedLeases>> {
    check_reason(&request.reason)?;
    let Chosen { subject, whose, change } = Chosen::by(&vault, &holder, &request).await?;
    let mut act = Act::by(&vault, &holder, Action::LeaseRevoked, subject).await?;
    act.record.node = request.node;
    act.record.site.clone_from(&request.site);
    let act = act.saying("reason", request.reason.clone()).changing(change);
    let record = act.record.id;
    let committed = vault.commit(act.record, act.guards, act.changes).await?;
    vault.events.tell(Notice { whose, event: EventKind::Revoked, reason: Some(request.reason) });
    // What was closed is known since the commit, and stands in the record that came of it.
    let details = Record::parse(&committed.record)?.details;
    let names = details.get("decrypt_only").and_then(|names| names.as_array()).into_iter().flatten();
    Ok(Json(RevokedLeases {
        record,
        index: committed.index,
        leases: details.get("leases_closed").and_then(serde_json::Value::as_u64).unwrap_or_default(),
        decrypt_only: names.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
    }))
}

/// Which leases a request chooses: what its record is about, whom to tell, and what to do.
struct Chosen {
    subject: Subject,
    whose: Whose,
    change: Change,
}

impl Chosen {
    async fn by(vault: &Vault, holder: &Holder, request: &RevokeLeases) -> Answer<Self> {
        const STATE: LeaseState = LeaseState::Revoked;
        match (request.node, &request.asset, &request.site, request.everything) {
            (Some(node), None, None, false) => {
                nodes::find(vault, &node.to_string()).await?;
                Ok(Self {
                    subject: subject(SubjectKind::Node, node),
                    whose: Whose::Node(node),
                    change: Change::CloseLeasesOfNode(node, STATE),
                })
            }
            (None, Some(asset), None, false) => {
                if !holder.token.roles.contains(&Role::Custodian) {
                    let detail =
                        "an asset's leases are a custodian's to revoke; an operator revokes a node's, a site's, or all";
                    return Err(Refused::new(Code::Forbidden, detail));
                }
                assets::find(vault, asset).await?;
                Ok(Self {
                    subject: subject(SubjectKind::Asset, asset),
                    whose: Whose::Any,
                    change: Change::CloseLeasesOfAsset(asset.clone(), STATE),
                })
            }
            (None, None, Some(site), false) => {
                vault.store.site(site).await?.ok_or_else(|| Refused::not_found("site"))?;
                Ok(Self {
                    subject: subject(SubjectKind::Site, site),
                    whose: Whose::Any,
                    change: Change::CloseLeasesOfSite(site.clone(), STATE),
                })
            }
            (None, None, None, true) => Ok(Self {
                subject: subject(SubjectKind::Vault, vault.keys.vault_id()),
                whose: Whose::Any,
                change: Change::CloseEveryLease(STATE),
            }),
            _ => Err(Refused::malformed("node", "exactly one of node, asset, site, and everything: true")),
        }
    }
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
