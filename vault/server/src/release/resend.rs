//! A lost answer, asked for again: the same decision, lease and secret, checked and sealed anew.

use super::{
    answer::{Entry, Granted, Terms},
    evidence::Attested,
    facts::Facts,
    judgement::Judgement,
};
use crate::{
    problem::{Answer, Refused},
    receipts,
    vault::Vault,
};
use strongroom_ledger::leaf_hash;
use strongroom_protocol::{Code, Problem, lease::LeaseState, obligations::Obligations, release::ReleaseResponse};

/// Answers the very same statement again, while its lease lives. Nothing is written: the decision
/// is in the ledger already, and the nonce was burnt by it.
pub(super) async fn again(vault: &Vault, attested: Attested) -> Answer<ReleaseResponse> {
    let lease = match &attested.known {
        Some(lease) => lease.row.clone(),
        None => return Err(Refused::internal("a statement sent again without its lease")),
    };
    let asked = &attested.asked;
    let same = lease.node == attested.node.row.id
        && lease.ak_sha256 == attested.ak()
        && lease.guest == attested.guest()
        && lease.boot == attested.boot()
        && lease.caller_sha256 == asked.caller.as_ref().map(|c| c.sha256)
        && attested.claims.is_ok();
    let facts = Facts::gather(vault, &attested, true).await?;
    if !same || lease.state != LeaseState::Live || lease.expires_at <= facts.now {
        // Its lease is over, or somebody else's: for this request the nonce is simply used.
        return Err(Problem::new(Code::NonceReused).into());
    }
    let now = facts.now;
    let judgement = Judgement::of(vault, &attested, facts)?;
    if judgement.obligations.is_none() {
        return Err(Refused::decided(Code::Denied, lease.decision, judgement.reasons()));
    }
    let entry = vault.store.entry_by_id(lease.decision).await?;
    let entry = entry.ok_or_else(|| Refused::internal(format!("decision {} is not in the ledger", lease.decision)))?;
    let receipt = receipts::receipt(vault.store.as_ref(), entry.index).await?;
    let Some((record, salt)) = entry.body else {
        return Err(Refused::new(Code::Conflict, "the record was pruned: ask with a new statement"));
    };
    // The obligations of the decision, not those of today: the lease was granted under them.
    let obligations: Obligations = serde_json::from_str(&lease.obligations).map_err(Refused::internal)?;
    let secret = vault.keys.unwrap_lease_secret(lease.id, &lease.wrapped_secret.0)?;
    let left = |until: i64| u64::try_from(until.saturating_sub(now)).unwrap_or(0);
    let times = (left(lease.expires_at), obligations.renew_after, left(lease.reattest_at));
    metrics::counter!("strongroom_resent_total").increment(1);
    let granted = Granted {
        decision: lease.decision,
        entry: Entry { record, salt, leaf: leaf_hash(&entry.entry), receipt },
        terms: Terms { lease: lease.id, secret, obligations, with_keys: true },
        times,
        // Nothing is written here: what the first answer told is told again, if it is still so.
        ima_offset: attested.logs.kept.as_ref().filter(|kept| kept.next.row.is_none()).and_then(|kept| kept.next.told),
    };
    // No commit guards this answer: what came in while it was made is asked for last.
    let is_live = vault.store.lease(lease.id).await?.is_some_and(|now| now.row.state == LeaseState::Live);
    if !is_live {
        return Err(Problem::new(Code::NonceReused).into());
    }
    if let Some(verified) = attested.endorsement_generation
        && verified != vault.store.endorsement_generation().await?
    {
        let detail = "the endorsements changed while this was verified";
        return Err(Problem::new(Code::TooMany).detail(detail).retry_after(1).into());
    }
    granted.answer(vault, &attested, &judgement.facts)
}
