//! From judgement to ledger entry: the decision exists once it is committed.

use super::{
    answer::{Granted, Terms},
    evidence::Attested,
    facts::Facts,
    judgement::{Drift, Judgement, LEASE_MISMATCH},
    kept::Kept,
    resend,
};
use crate::{
    events::{Notice, Whose},
    lease::reason::LEASE_ENDED,
    measurements,
    problem::{Answer, Refused},
    queue::QueueError,
    vault::{Vault, node_actor, random, subject},
};
use serde_json::Value;
use strongroom_envelope::Secret;
use strongroom_keys::KeysError;
use strongroom_ledger::{Action, KeyGrant, PolicyMode, PolicyRef, Record, SubjectKind, Verdict};
use strongroom_protocol::{
    Bytes, Code, DecisionId, Fixed, LeaseId, Problem,
    lease::{EventKind, LeaseState},
    obligations::Obligations,
    release::ReleaseResponse,
    statement::Act,
};
use strongroom_store::{
    Blob, Change, Guard, Item, Quota, Refusal,
    model::{LeaseRow, NodeRow, Versioned},
};
use tokio::time::Instant;

/// How often rows may change under a decision before the requester is asked to come back.
pub(super) const ATTEMPTS: usize = 8;

/// Decides, commits, and answers.
pub(super) async fn decide(vault: &Vault, mut attested: Attested) -> Answer<ReleaseResponse> {
    let renewal = attested.asked.statement.act == Act::Renew;
    let mut quota_refused = 0;
    for _ in 0..ATTEMPTS {
        let held = attested.renewed.as_ref().is_some_and(|l| l.row.state == LeaseState::Live);
        let mut facts = Facts::gather(vault, &attested, held).await?;
        if facts.enforced.generation != attested.policy_generation {
            // Another policy asks for other evidence.
            attested.read_again(vault).await?;
            continue;
        }
        if quota_refused > 1 {
            // Policy reads the counts and should have denied by itself.
            facts.deny("lease_quota", "Too many leases are live.");
        }
        let judgement = Judgement::of(vault, &attested, facts)?;
        let (kept, taken) = Kept::of_request(vault, &attested).await?;
        let proposal = Proposal::of(vault, &attested, &judgement, kept)?;
        let submitted = vault.queue.submit(proposal.item).await;
        if matches!(submitted, Err(QueueError::Refused(_))) {
            vault.room.give_back(taken, Instant::now());
        }
        let committed = match submitted {
            Ok(committed) => committed,
            Err(QueueError::Refused(Refusal::QuotaExceeded(Quota::NodeDenials(..)))) => {
                let detail = "this node's denials of the hour are used up";
                return Err(Problem::new(Code::TooMany).detail(detail).retry_after(60).into());
            }
            Err(QueueError::Refused(Refusal::QuotaExceeded(_))) => {
                quota_refused += 1;
                continue;
            }
            Err(QueueError::Refused(Refusal::NonceReused | Refusal::Stale(Guard::NewStatement(_)))) if !renewal => {
                // The same statement may have been decided a moment ago on another connection.
                attested.known = vault.store.lease_by_statement(attested.asked.statement_sha256).await?;
                return match attested.known {
                    Some(_) => resend::again(vault, attested).await,
                    None => Err(Problem::new(Code::NonceReused).into()),
                };
            }
            Err(QueueError::Refused(Refusal::Stale(guard))) => {
                tracing::debug!(?guard, "a row changed under the decision: deciding again");
                attested.read_again(vault).await?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // It is written: the node's next request need not wait until this answer is sealed.
        drop(attested.turn.take());
        metrics::counter!("strongroom_decisions_total",
            "act" => if renewal { "renew" } else { "release" },
            "verdict" => if proposal.grant.is_some() { "released" } else { "denied" })
        .increment(1);
        if let Some(grant) = proposal.grant {
            let granted = Granted::after(committed, proposal.decision, grant, attested.logs.ima_offset());
            return granted.answer(vault, &attested, &judgement.facts);
        }
        if let Some((lease, drift)) = proposal.closed {
            tracing::warn!(%lease, node = %attested.node.row.id, drift = drift.as_str(), "a lease ended by its renewal");
            let reason = Some(drift.as_str().to_owned());
            vault.events.tell(Notice { whose: Whose::Lease(lease), event: EventKind::Revoked, reason });
        }
        return Err(denied(proposal.decision, &judgement));
    }
    Err(keeps_changing())
}

/// The ledger is well: others were quicker, each time.
pub(super) fn keeps_changing() -> Refused {
    let detail = "other requests and acts keep changing what the decision rests on";
    Problem::new(Code::TooMany).detail(detail).retry_after(1).into()
}

pub(super) fn denied(decision: DecisionId, judgement: &Judgement) -> Refused {
    let code = if judgement.facts.destroyed { Code::KeyDestroyed } else { Code::Denied };
    let mut refused = Refused::decided(code, decision, judgement.reasons());
    refused.0.row = judgement.row.map(str::to_owned);
    refused
}

/// An item to commit, and what to hand over if it is.
struct Proposal {
    decision: DecisionId,
    item: Item,
    grant: Option<Terms>,
    /// The lease that a denial closes, and what became of its node.
    closed: Option<(LeaseId, Drift)>,
}

impl Proposal {
    fn of(vault: &Vault, attested: &Attested, judgement: &Judgement, kept: Kept) -> Answer<Self> {
        let (asked, node, facts) = (&attested.asked, &attested.node.row, &judgement.facts);
        let explanation = Blob::of(judgement.explanation(attested)?);
        let boot_log = kept.boot_log(&asked.items);
        let Kept { evidence, logs, .. } = kept;
        let renewal = asked.statement.act == Act::Renew;

        let mut changes = Vec::new();
        let mut quotas = Vec::new();
        let mut guards = facts.guards.clone();
        let mut closed = None;
        let grant = match (&judgement.obligations, renewal) {
            (None, _) => {
                // A lease ends whatever number of denials its node has had, and ends once.
                if let Some((lease, drift)) = drifted_lease(attested, judgement) {
                    guards.push(Guard::Lease(lease.row.id, lease.version));
                    changes.push(Change::CloseLease(lease.row.id, LeaseState::Revoked));
                    closed = Some((lease.row.id, drift));
                } else {
                    quotas.push(Quota::NodeDenials(node.id, vault.config.limits.denials_per_node_per_hour));
                }
                None
            }
            (Some(obligations), false) => {
                let terms = Terms::fresh(obligations.clone())?;
                guards.push(Guard::NewStatement(asked.statement_sha256));
                quotas = lease_quotas(vault, attested, facts);
                Some(terms)
            }
            (Some(obligations), true) => {
                // INVARIANT: a renewal of an unknown lease was judged a denial.
                let lease =
                    attested.renewed.as_ref().ok_or_else(|| Refused::internal("a renewal without its lease"))?;
                guards.push(Guard::Lease(lease.row.id, lease.version));
                let secret = vault.keys.unwrap_lease_secret(lease.row.id, &lease.row.wrapped_secret.0)?;
                let terms = Terms::renewed(lease.row.id, secret, obligations.clone());
                let (expires_at, reattest_at) = terms.ends(facts.now);
                changes.push(Change::RenewLease(lease.row.id, expires_at, reattest_at));
                Some(terms)
            }
        };
        changes.extend(shown(attested, boot_log, facts.now));
        if let Some(kept) = &attested.logs.kept {
            // Whatever the verdict: the quote vouches for the log, and a node that is denied for want of a
            // reference set is one whose files an endorser may want to see.
            guards.push(Guard::Measured(node.id, kept.version));
            changes.extend(kept.next.row.clone().map(Change::PutMeasured));
        }

        let lease = grant.as_ref().map(|g| g.lease).or(asked.statement.lease);
        let released = judgement.obligations.is_some();
        let mut record = record(vault, attested, judgement, (lease, released), (&evidence, &explanation))?;
        if let Some((_, drift)) = closed {
            record.details.insert(LEASE_ENDED.to_owned(), drift.as_str().into());
        }
        if let Some(terms) = grant.as_ref().filter(|_| !renewal) {
            changes.push(Change::GrantLease(lease_row(vault, attested, facts, terms, record.id)?));
        }
        let item = Item {
            record,
            guards,
            nonce: Some(asked.statement.nonce),
            quotas,
            changes,
            blobs: logs.into_iter().chain([evidence, explanation]).collect(),
        };
        Ok(Self { decision: item.record.id, item, grant, closed })
    }
}

/// A machine that was rebooted cannot hold what it held, and one that is seen to run what it must not
/// run must not: the lease ends with the denial. Another boot is the whole machine's, whoever shows it. All else
/// may be of the asker's making (the quote covers neither its logs nor who it is), so only the lease's own holder
/// can end a lease by it.
fn drifted_lease<'a>(attested: &'a Attested, judgement: &Judgement) -> Option<(&'a Versioned<LeaseRow>, Drift)> {
    let lease = attested.renewed.as_ref()?;
    let own = lease.row.node == attested.node.row.id && lease.row.state == LeaseState::Live;
    let held = judgement.denials.iter().all(|denial| denial.code != LEASE_MISMATCH);
    Some((lease, judgement.drift.filter(|&drift| own && (held || drift == Drift::Rebooted))?))
}

/// Counted again inside the commit, where no other release can come between.
fn lease_quotas(vault: &Vault, attested: &Attested, facts: &Facts) -> Vec<Quota> {
    let settings = facts.enforced.policy.as_ref().map(|p| p.bundle().settings().clone());
    let of_node =
        settings.as_ref().map_or(u64::MAX, |s| s.max_leases_per_node.into()).min(vault.config.limits.leases_per_node);
    let mut quotas = vec![Quota::NodeLeases(attested.node.row.id, of_node)];
    for (asset, _) in &facts.keys {
        let limit = asset.asset.max_leases.or(settings.as_ref().map(|s| s.max_leases_per_asset));
        let quota = limit.map(|limit| Quota::AssetLeases(asset.asset.name.clone(), limit.into()));
        quotas.extend(quota.filter(|quota| !quotas.contains(quota)));
    }
    quotas
}

fn lease_row(
    vault: &Vault,
    attested: &Attested,
    facts: &Facts,
    terms: &Terms,
    decision: DecisionId,
) -> Answer<LeaseRow> {
    let asked = &attested.asked;
    let (expires_at, reattest_at) = terms.ends(facts.now);
    Ok(LeaseRow {
        id: terms.lease,
        decision,
        node: attested.node.row.id,
        ak_sha256: attested.ak(),
        guest: attested.guest(),
        statement_sha256: asked.statement_sha256,
        caller_sha256: asked.caller.as_ref().map(|c| c.sha256),
        recipient_sha256: Fixed(asked.statement.recipient_sha256()),
        keys: asked.statement.keys.clone(),
        job: asked.statement.job.as_ref().map(|j| j.id.clone()),
        boot: attested.boot(),
        wrapped_secret: Bytes(vault.keys.wrap_lease_secret(terms.lease, &terms.secret)?),
        obligations: serde_json::to_string(&terms.obligations).map_err(Refused::internal)?,
        state: LeaseState::Live,
        granted_at: facts.now,
        expires_at,
        reattest_at,
        delivered: false,
    })
}

/// What the node shows for the first time: itself, where an operator registered it and waits for that, and what it
/// booted, so that an endorser can propose it. `kept` is its boot log, if that is kept: one that is not is nothing to
/// propose from, nor is one that does not hold.
fn shown(attested: &Attested, kept: Option<Fixed<32>>, now: i64) -> Option<Change> {
    let claims = attested.claims.as_ref().ok()?;
    let row = &attested.node.row;
    let mut shown = NodeRow { cloud: attested.cloud(), ..row.clone() };
    if attested.activates() {
        (shown.state, shown.activated_at) = (attested.state(), Some(now));
    }
    if let Some(seen) = measurements::of_claims(claims) {
        shown.last_pcrs = Some(seen);
        shown.last_boot_log = kept.filter(|_| attested.logs.boot.held().is_some());
        shown.last_boot = claims.tpm().and(attested.boot());
    }
    (shown != *row).then_some(Change::PutNode(shown))
}

pub(super) fn record(
    vault: &Vault,
    attested: &Attested,
    judgement: &Judgement,
    (lease, released): (Option<LeaseId>, bool),
    (evidence, explanation): (&Blob, &Blob),
) -> Answer<Record> {
    let (asked, node, facts) = (&attested.asked, &attested.node.row, &judgement.facts);
    let action = match asked.statement.act {
        Act::Release => Action::ReleaseDecided,
        Act::Renew => Action::LeaseRenewed,
        Act::Identify => Action::NodeIdentified,
    };
    // Records of a lease are a chain from its grant on; a denial stands in the node's.
    let subject = match lease.filter(|_| released) {
        Some(lease) => subject(SubjectKind::Lease, lease),
        None => subject(SubjectKind::Node, node.id),
    };
    let mut record = vault.record(facts.now, node_actor(node.id), action, subject)?;
    record.node = Some(node.id);
    record.site.clone_from(&node.site);
    record.jurisdiction = facts.site.as_ref().map(|s| s.jurisdiction.clone());
    record.job = asked.statement.job.as_ref().map(|j| j.id.clone());
    record.lease = lease;
    record.keys = asked.statement.keys.iter().map(KeyGrant::from).collect();
    record.policy =
        facts.enforced.policy.as_ref().map(|p| PolicyRef { digest: Fixed(p.digest()), mode: PolicyMode::Enforced });
    record.statement_sha256 = Some(asked.statement_sha256);
    record.recipient_sha256 = Some(Fixed(asked.statement.recipient_sha256()));
    record.evidence_sha256 = Some(evidence.sha256);
    record.claims_sha256 = Some(explanation.sha256);
    record.verdict = Some(if released { Verdict::Released } else { Verdict::Denied });
    record.reasons = judgement.reasons();
    if attested.activates() {
        record.details.insert("activated".to_owned(), true.into());
    }
    if let Some(caller) = &asked.caller {
        record.details.insert("caller_sha256".to_owned(), Value::String(caller.sha256.to_string()));
    }
    if let Some(obligations) = &judgement.obligations {
        let obligations = serde_json::to_value(obligations).map_err(Refused::internal)?;
        record.details.insert("obligations".to_owned(), obligations);
    }
    Ok(record)
}

impl Terms {
    /// A new lease with a fresh secret.
    fn fresh(obligations: Obligations) -> Answer<Self> {
        let secret = Secret::random().map_err(|_| Refused::from(KeysError::NoRandomness))?;
        Ok(Self { lease: LeaseId::from(random()?), secret, obligations, with_keys: true })
    }

    /// The same lease, longer.
    fn renewed(lease: LeaseId, secret: Secret<32>, obligations: Obligations) -> Self {
        Self { lease, secret, obligations, with_keys: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_always_outrun_is_told_to_come_back_and_not_that_the_ledger_fails() {
        let refused = keeps_changing();
        assert_eq!((refused.code(), refused.0.status, refused.0.retry_after), (Code::TooMany, 429, Some(1)));
    }
}
