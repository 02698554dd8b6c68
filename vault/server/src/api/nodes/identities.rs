//! What an operator writes into a node's record by hand: a machine without a TPM, and identities beside those that
//! it was enrolled with. Each belongs to one node of the vault; the store sees to it.

use super::{
    super::{Act, labels},
    ATTEMPTS, find, overtaken,
};
use crate::{
    authority::Holder,
    enrol::{check_hostname, check_labels},
    events::{Notice, Whose},
    json::{Json, Path},
    problem::{Answer, Refused},
    vault::{Shared, Vault, subject},
};
use axum::extract::State;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{
    Code,
    admin::{ChangeIdentities, ImportNode, Recorded},
    enrol::NodeState,
    identity::{Identity, IdentityKind},
    lease::{EventKind, LeaseState},
    limits,
};
use strongroom_store::{Change, Guard, model::NodeRow};

/// `POST /v1/nodes/import`: a machine that has no TPM. Nothing is released to it before it has shown in evidence
/// what it was registered by.
pub async fn import(
    State(vault): State<Shared>,
    holder: Holder,
    Json(request): Json<ImportNode>,
) -> Answer<Json<Recorded>> {
    check_labels("labels", &request.labels)?;
    check_hostname(request.hostname.as_deref())?;
    let listed = read("identities", &request.identities)?;
    // In the order of the request: which of several names the node is the operator's choice.
    let Some((naming, id)) = listed.iter().find_map(|one| one.node_id().map(|id| (one, id))) else {
        return Err(Refused::malformed(
            "identities",
            "a node without a TPM has at least one of snp-chip, tdx-ppid and cloud-vm",
        ));
    };
    if vault.store.node(id).await?.is_some() {
        return Err(Refused::new(Code::Conflict, format!("the identity {naming} names the node {id} already")));
    }
    let site = vault.store.site(&request.site).await?.ok_or_else(|| Refused::not_found("site"))?;
    let act = Act::by(&vault, &holder, Action::NodeImported, subject(SubjectKind::Node, id)).await?;
    let now = act.now();
    let mut act = act
        .guarded(Guard::Node(id, 0))
        .guarded(Guard::Site(request.site.clone(), site.version))
        .saying("identities", written(&listed))
        .saying("labels", labels(&request.labels))
        .saying("single_job", request.single_job);
    act.record.node = Some(id);
    act.record.site = Some(request.site.clone());
    act.record.jurisdiction = Some(site.row.jurisdiction);
    let row = NodeRow {
        id,
        tpm: None,
        identities: listed.into_iter().collect(),
        state: NodeState::Pending,
        site: Some(request.site),
        labels: request.labels,
        requested_labels: BTreeMap::new(),
        single_job: request.single_job,
        hostname: request.hostname,
        last_pcrs: None,
        last_boot_log: None,
        last_boot: None,
        cloud: None,
        enrolled_at: now,
        activated_at: None,
    };
    let recorded = act.changing(Change::PutNode(row)).commit(&vault).await?;
    Ok(Json(Recorded { node: Some(id), ..recorded }))
}

/// `POST /v1/nodes/{id}/identities`: what is taken out of the record ends the node's leases, since they were granted
/// to a machine that had it. So does a `cloud-vm` that the record of a machine which showed itself lists already: its
/// vTPM's key, its boot and its TCB are taken anew from the next evidence.
pub async fn change(
    State(vault): State<Shared>,
    Path(id): Path<String>,
    holder: Holder,
    Json(request): Json<ChangeIdentities>,
) -> Answer<Json<Recorded>> {
    let (added, removed) = (read("add", &request.add)?, read("remove", &request.remove)?);
    if added.is_empty() && removed.is_empty() {
        return Err(Refused::malformed("add", "name an identity to add, or one to remove"));
    }
    for _ in 0..ATTEMPTS {
        if let Some(recorded) = change_once(&vault, &id, &holder, &added, &removed).await? {
            return Ok(Json(recorded));
        }
    }
    Err(overtaken())
}

async fn change_once(
    vault: &Vault,
    id: &str,
    holder: &Holder,
    added: &[Identity],
    removed: &[Identity],
) -> Answer<Option<Recorded>> {
    let node = find(vault, id).await?;
    let id = node.row.id;
    if node.row.state == NodeState::Revoked {
        return Err(Refused::new(Code::Conflict, "the node was revoked; its identities stay with its record"));
    }
    let mut identities = node.row.identities.clone();
    for one in removed {
        if one.node_id() == Some(id) && node.row.tpm.is_none() {
            return Err(Refused::new(Code::Conflict, format!("the identity {one} names the node: revoke the node")));
        }
        if !identities.remove(one) {
            return Err(Refused::new(Code::Conflict, format!("the node's record does not list {one}")));
        }
    }
    for one in added {
        // Of a cloud's machine this has the record take anew what evidence shows next: key, boot, TCB.
        let anew = one.kind == IdentityKind::CloudVm && node.row.cloud.is_some();
        if !identities.insert(one.clone()) && !anew {
            return Err(Refused::new(Code::Conflict, format!("the node's record lists {one} already")));
        }
    }
    check_number("add", identities.len())?;
    let of_cloud = |one: &Identity| one.kind == IdentityKind::CloudVm && node.row.identities.contains(one);
    let forgets = node.row.cloud.is_some() && added.iter().chain(removed).any(of_cloud);
    let cloud = node.row.cloud.clone().filter(|_| !forgets);
    let ends = forgets || !removed.is_empty();
    let action = if ends { Action::NodeChanged } else { Action::NodeIdentified };
    let act = Act::by(vault, holder, action, subject(SubjectKind::Node, id)).await?;
    let mut act = act
        .guarded(Guard::Node(id, node.version))
        .saying("added", written(added))
        .saying("removed", written(removed))
        .changing(Change::PutNode(NodeRow { identities, cloud, ..node.row.clone() }));
    act.record.node = Some(id);
    act.record.site = node.row.site;
    if forgets {
        act = act.saying("taken_anew", true);
    }
    if ends {
        act = act.changing(Change::CloseLeasesOfNode(id, LeaseState::Revoked));
    }
    let recorded = act.commit_unless_overtaken(vault).await?;
    if ends && recorded.is_some() {
        let reason = Some("an identity of the node's record was taken out, or is taken anew".to_owned());
        vault.events.tell(Notice { whose: Whose::Node(id), event: EventKind::Revoked, reason });
    }
    Ok(recorded)
}

/// Identities in the form in which they are kept, each once, and none of a TPM: enrolment alone shows one.
fn read(field: &str, given: &[Identity]) -> Answer<Vec<Identity>> {
    check_number(field, given.len())?;
    let mut seen = BTreeSet::new();
    let mut listed = Vec::with_capacity(given.len());
    for (place, one) in given.iter().enumerate() {
        let at = || format!("{field}[{place}]");
        if one.kind == IdentityKind::TpmEk {
            return Err(Refused::malformed(at(), "a TPM comes into a record by its enrolment only"));
        }
        let one = Identity::read(one.kind, &one.value).map_err(|e| Refused::malformed(at(), e.to_string()))?;
        if !seen.insert(one.clone()) {
            return Err(Refused::malformed(at(), format!("{one} is given twice")));
        }
        listed.push(one);
    }
    Ok(listed)
}

fn check_number(field: &str, number: usize) -> Answer<()> {
    if number <= limits::IDENTITIES {
        Ok(())
    } else {
        Err(Refused::malformed(field, format!("a record lists at most {} identities", limits::IDENTITIES)))
    }
}

/// Identities as a record tells of them.
fn written(identities: &[Identity]) -> Value {
    identities.iter().map(ToString::to_string).collect::<Vec<_>>().into()
}
