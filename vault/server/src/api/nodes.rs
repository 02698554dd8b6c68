//! Nodes: approval into a site, revocation, views. What is registered by hand is in [`identities`].

pub mod identities;

use super::{Act, check_reason, labels};
use crate::{
    authority::Holder,
    clock::rfc3339,
    enrol::check_labels,
    events::{Notice, Whose},
    json::{Json, Path},
    measurements,
    problem::{Answer, Refused},
    vault::{Shared, Vault, subject},
};
use axum::extract::State;
use std::collections::BTreeMap;
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{
    Code, NodeId,
    admin::{ApproveNode, NodeView, Recorded, ReferenceValues, RevokeNode},
    enrol::NodeState,
    identity::{Identity, IdentityError},
    lease::{EventKind, LeaseState},
};
use strongroom_store::{
    Change, Guard,
    model::{NodeRow, Versioned},
};

/// How often a node may overtake an act on it before the person is asked to come back.
const ATTEMPTS: usize = 32;

/// `POST /v1/nodes/{id}/approve`.
pub async fn approve(
    State(vault): State<Shared>,
    Path(id): Path<String>,
    holder: Holder,
    Json(request): Json<ApproveNode>,
) -> Answer<Json<Recorded>> {
    check_labels("labels", &request.labels)?;
    for _ in 0..ATTEMPTS {
        if let Some(recorded) = approve_once(&vault, &id, &holder, request.clone()).await? {
            return Ok(Json(recorded));
        }
    }
    Err(overtaken())
}

async fn approve_once(vault: &Vault, id: &str, holder: &Holder, request: ApproveNode) -> Answer<Option<Recorded>> {
    let node = find(vault, id).await?;
    if node.row.state == NodeState::Revoked {
        return Err(Refused::new(Code::Conflict, "the node was revoked"));
    }
    let site = vault.store.site(&request.site).await?.ok_or_else(|| Refused::not_found("site"))?;
    // A node without a TPM was placed when it was registered, and waits for its first evidence: until then its
    // place may be corrected, and nothing is released to it.
    let waits = node.row.activated_at.is_none();
    // A move changes what policy decides: leases granted at the old place do not outlive it.
    let moved = node.row.state == NodeState::Approved && node.row.site.as_ref() != Some(&request.site);
    let changed = waits || node.row.state == NodeState::Approved;
    let action = if changed { Action::NodeChanged } else { Action::NodeApproved };
    let act = Act::by(vault, holder, action, subject(SubjectKind::Node, node.row.id)).await?;
    let mut act = act
        .guarded(Guard::Node(node.row.id, node.version))
        .guarded(Guard::Site(request.site.clone(), site.version))
        .saying("labels", labels(&request.labels))
        .saying("single_job", request.single_job);
    act.record.node = Some(node.row.id);
    act.record.site = Some(request.site.clone());
    act.record.jurisdiction = Some(site.row.jurisdiction);
    if moved {
        act = act
            .saying("moved_from", node.row.site.clone().unwrap_or_default())
            .changing(Change::CloseLeasesOfNode(node.row.id, LeaseState::Revoked));
    }
    let id = node.row.id;
    let row = NodeRow {
        state: if waits { NodeState::Pending } else { NodeState::Approved },
        site: Some(request.site),
        labels: request.labels,
        single_job: request.single_job,
        ..node.row
    };
    let recorded = act.changing(Change::PutNode(row)).commit_unless_overtaken(vault).await?;
    if moved && recorded.is_some() {
        let reason = Some("the node was moved to another site".to_owned());
        vault.events.tell(Notice { whose: Whose::Node(id), event: EventKind::Revoked, reason });
    }
    Ok(recorded)
}

/// `POST /v1/nodes/{id}/revoke`: nothing is released to it any more, and its leases end at once.
pub async fn revoke(
    State(vault): State<Shared>,
    Path(id): Path<String>,
    holder: Holder,
    Json(request): Json<RevokeNode>,
) -> Answer<Json<Recorded>> {
    check_reason(&request.reason)?;
    for _ in 0..ATTEMPTS {
        if let Some(recorded) = revoke_once(&vault, &id, &holder, &request).await? {
            return Ok(Json(recorded));
        }
    }
    Err(overtaken())
}

async fn revoke_once(vault: &Vault, id: &str, holder: &Holder, request: &RevokeNode) -> Answer<Option<Recorded>> {
    let node = find(vault, id).await?;
    if node.row.state == NodeState::Revoked {
        return Err(Refused::new(Code::Conflict, "the node was revoked already"));
    }
    let id = node.row.id;
    let act = Act::by(vault, holder, Action::NodeRevoked, subject(SubjectKind::Node, id)).await?;
    let mut act = act.guarded(Guard::Node(id, node.version)).saying("reason", request.reason.clone());
    act.record.node = Some(id);
    act.record.site.clone_from(&node.row.site);
    let row = NodeRow { state: NodeState::Revoked, ..node.row };
    let act = act.changing(Change::PutNode(row)).changing(Change::CloseLeasesOfNode(id, LeaseState::Revoked));
    let recorded = act.commit_unless_overtaken(vault).await?;
    if recorded.is_some() {
        let reason = Some(request.reason.clone());
        vault.events.tell(Notice { whose: Whose::Node(id), event: EventKind::Revoked, reason });
    }
    Ok(recorded)
}

/// The node asked for something each time that somebody acted on it.
fn overtaken() -> Refused {
    Refused::new(Code::Conflict, "the node keeps changing its own record: repeat the request")
}

/// `GET /v1/nodes`.
pub async fn list(State(vault): State<Shared>) -> Answer<Json<Vec<NodeView>>> {
    let jurisdictions: BTreeMap<_, _> =
        vault.store.sites().await?.into_iter().map(|s| (s.name, s.jurisdiction)).collect();
    let nodes = vault.store.nodes().await?;
    Ok(Json(nodes.into_iter().map(|node| view(node, &jurisdictions)).collect()))
}

/// `GET /v1/nodes/{id}`.
pub async fn show(State(vault): State<Shared>, Path(id): Path<String>) -> Answer<Json<NodeView>> {
    let node = find(&vault, &id).await?.row;
    let site = match &node.site {
        Some(site) => vault.store.site(site).await?,
        None => None,
    };
    let jurisdictions = site.into_iter().map(|s| (s.row.name, s.row.jurisdiction)).collect();
    Ok(Json(view(node, &jurisdictions)))
}

/// `GET /v1/nodes/{id}/measurements`: what it showed last, to be compared with a set or proposed as one.
pub async fn measured(State(vault): State<Shared>, Path(id): Path<String>) -> Answer<Json<ReferenceValues>> {
    let node = find(&vault, &id).await?.row;
    let values = measurements::of_node(&vault, &node).await?;
    values.map(Json).ok_or_else(|| Refused::not_found("measurements: the node has shown none"))
}

/// A node by its id, or by one of its identities as `KIND:VALUE`.
pub(super) async fn find(vault: &Vault, id: &str) -> Answer<Versioned<NodeRow>> {
    if id.contains(':') {
        let identity: Identity = id.parse().map_err(|e: IdentityError| Refused::malformed("node", e.to_string()))?;
        let node = vault.store.node_by_identity(&identity).await?;
        return node.ok_or_else(|| Refused::not_found("node: no record lists this identity"));
    }
    let id: NodeId = id.parse().map_err(|_| Refused::malformed("node", "not a node's id"))?;
    vault.store.node(id).await?.ok_or_else(|| Refused::not_found("node"))
}

fn view(node: NodeRow, jurisdictions: &BTreeMap<String, String>) -> NodeView {
    NodeView {
        id: node.id,
        state: node.state,
        jurisdiction: node.site.as_ref().and_then(|site| jurisdictions.get(site).cloned()),
        site: node.site,
        labels: node.labels,
        requested_labels: node.requested_labels,
        single_job: node.single_job,
        hostname: node.hostname,
        tpm: node.tpm.map(|tpm| tpm.model),
        identities: node.identities.into_iter().collect(),
        enrolled_at: rfc3339(node.enrolled_at),
        activated_at: node.activated_at.map(rfc3339),
    }
}
