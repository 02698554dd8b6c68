//! Identifications: what a node shows beside what an operator approved comes into its record.
//!
//! One commit: the nonce is burnt, the record's identities and the ledger's entry are written together. There is no
//! lease and no key. What another node's record lists is denied, and whose it is stays untold.

use super::{
    answer,
    commit::{ATTEMPTS, denied, keeps_changing, record},
    evidence::Attested,
    facts::Facts,
    judgement::Judgement,
    kept::Kept,
};
use crate::{
    problem::{Answer, Refused},
    queue::QueueError,
    vault::Vault,
};
use std::collections::BTreeSet;
use strongroom_protocol::{
    Code, Problem,
    identity::Identity,
    release::{IdentifiedPayload, ReleaseResponse},
};
use strongroom_store::{Blob, Change, Item, Quota, Refusal, model::NodeRow};
use tokio::time::Instant;

/// Judges, commits, and answers.
pub(super) async fn decide(vault: &Vault, mut attested: Attested) -> Answer<ReleaseResponse> {
    for _ in 0..ATTEMPTS {
        let facts = Facts::gather(vault, &attested, false).await?;
        if facts.enforced.generation != attested.policy_generation {
            // Another policy asks for other evidence.
            attested.read_again(vault).await?;
            continue;
        }
        let added = attested.new_identities();
        let taken = taken(vault, &added).await?;
        let count = attested.node.row.identities.len() + added.len();
        let judgement = Judgement::of_identification(&attested, facts, taken, count);
        let identified = judgement.denials.is_empty();
        let (kept, taken) = Kept::of_request(vault, &attested).await?;
        let item = propose(vault, &attested, &judgement, identified.then_some(&added), kept)?;
        let decision = item.record.id;
        let submitted = vault.queue.submit(item).await;
        if matches!(submitted, Err(QueueError::Refused(_))) {
            vault.room.give_back(taken, Instant::now());
        }
        let committed = match submitted {
            Ok(committed) => committed,
            Err(QueueError::Refused(Refusal::QuotaExceeded(_))) => {
                let detail = "this node's denials of the hour are used up";
                return Err(Problem::new(Code::TooMany).detail(detail).retry_after(60).into());
            }
            // Another node's record lists one of them since, or this one's changed.
            Err(QueueError::Refused(Refusal::Stale(_) | Refusal::Conflict(_))) => {
                attested.read_again(vault).await?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        metrics::counter!("strongroom_decisions_total",
            "act" => "identify", "verdict" => if identified { "released" } else { "denied" })
        .increment(1);
        if !identified {
            return Err(denied(decision, &judgement));
        }
        let payload =
            IdentifiedPayload { decision_id: decision, node: attested.node.row.id, added: added.into_iter().collect() };
        let plaintext = serde_json::to_vec(&payload).map_err(Refused::internal)?;
        return answer::sealed(vault, &attested, decision, committed.into(), &plaintext);
    }
    Err(keeps_changing())
}

/// The first that another node's record lists. This node's does not, so whoever lists it is another.
async fn taken<'a>(vault: &Vault, added: &'a BTreeSet<Identity>) -> Answer<Option<&'a Identity>> {
    for identity in added {
        if vault.store.node_by_identity(identity).await?.is_some() {
            return Ok(Some(identity));
        }
    }
    Ok(None)
}

/// The item, with what is kept of the evidence. `added` is what comes into the record; none of a denial.
fn propose(
    vault: &Vault,
    attested: &Attested,
    judgement: &Judgement,
    added: Option<&BTreeSet<Identity>>,
    Kept { evidence, logs, .. }: Kept,
) -> Answer<Item> {
    let node = &attested.node.row;
    let explanation = Blob::of(judgement.explanation(attested)?);
    let mut record = record(vault, attested, judgement, (None, added.is_some()), (&evidence, &explanation))?;
    let (mut quotas, mut changes) = (Vec::new(), Vec::new());
    if let Some(added) = added {
        let written: Vec<_> = added.iter().map(ToString::to_string).collect();
        record.details.insert("added".to_owned(), written.into());
        let identities = node.identities.union(added).cloned().collect();
        let activated_at = if attested.activates() { Some(judgement.facts.now) } else { node.activated_at };
        let (state, cloud) = (attested.state(), attested.cloud());
        let row = NodeRow { identities, state, cloud, activated_at, ..node.clone() };
        changes.extend((row != *node).then_some(Change::PutNode(row)));
    } else {
        record.details.remove("activated");
        quotas.push(Quota::NodeDenials(node.id, vault.config.limits.denials_per_node_per_hour));
    }
    let blobs = logs.into_iter().chain([evidence, explanation]).collect();
    let nonce = Some(attested.asked.statement.nonce);
    let guards = judgement.facts.guards.clone();
    Ok(Item { record, guards, nonce, quotas, changes, blobs })
}
