//! The verdict: what the vault itself refuses, and the one evaluation of policy.

use super::{
    evidence::Attested,
    facts::Facts,
    logs::Shown,
    verify::{Claims, Refusal},
};
use crate::{
    measurements::IMA_PCR,
    problem::{Answer, Refused},
    vault::Vault,
};
use serde_json::{Value, json};
use strongroom_policy::{
    input::PolicyInput,
    settings::{LogSettings, Need, Violations},
};
use strongroom_protocol::{
    Fixed, audit::Denial, enrol::NodeState, identity::Identity, lease::LeaseState, limits, obligations::Obligations,
    statement::Act,
};
use strongroom_store::model::{LeaseRow, LeasedGuest};

/// The code of a renewal that is not by whoever the lease was granted to.
pub(super) const LEASE_MISMATCH: &str = "lease_mismatch";

/// The code of a renewal after another boot or launch than that of its lease.
pub(super) const REBOOTED: &str = "rebooted";

/// A verdict with its reasons. Obligations are there exactly if it releases.
pub(super) struct Judgement {
    pub(super) facts: Facts,
    pub(super) input: Option<PolicyInput>,
    pub(super) denials: Vec<Denial>,
    pub(super) obligations: Option<Obligations>,
    /// The row that refused a quote which the node did sign for this request, or a log beside it.
    pub(super) row: Option<&'static str>,
    /// What became of the node since it was given what it holds.
    pub(super) drift: Option<Drift>,
}

/// What a denial shows of a node, where it is the node that changed, or what is accepted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drift {
    /// Another boot than that of the lease, of the whole machine.
    Rebooted,
    /// Another launch of the guest than that of the lease. Other guests of the machine run on.
    Relaunched,
    /// Its evidence does not hold, or shows what policy does not accept.
    Drifted,
}

impl Drift {
    /// The word in the ledger and in events.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Rebooted | Self::Relaunched => REBOOTED,
            Self::Drifted => "drifted",
        }
    }
}

impl Judgement {
    /// Judges once. Everything that is wrong is found in this one pass, so that one denial names all of it.
    pub(super) fn of(vault: &Vault, attested: &Attested, mut facts: Facts) -> Answer<Self> {
        check_node(attested, &mut facts);
        let relaunched = check_renewal(attested, &mut facts);
        let claims = match &attested.claims {
            Ok(claims) => claims,
            Err(refusals) => {
                let (row, drift) = (deny_evidence(refusals, &mut facts), drift_of(refusals));
                return Ok(Self { drift, ..Self::denied(facts, None, Vec::new(), row) });
            }
        };
        let row = check_logs(attested, claims, &mut facts);
        let judged = Self::by_policy(vault, attested, claims, facts, row)?;
        let drifted = judged.shows_drift(attested, claims).then_some(Drift::Drifted);
        Ok(Self { drift: relaunched.or(drifted), ..judged })
    }

    /// Judges an identification. No policy is asked, since no key is: evidence that holds, of a node that an operator
    /// wanted, and devices that no other node has (`taken`).
    pub(super) fn of_identification(
        attested: &Attested,
        mut facts: Facts,
        taken: Option<&Identity>,
        count: usize,
    ) -> Self {
        check_node(attested, &mut facts);
        let row = match &attested.claims {
            Ok(_) => None,
            Err(refusals) => deny_evidence(refusals, &mut facts),
        };
        if let Some(taken) = taken {
            facts.deny("identity_taken", format!("The evidence shows {taken}, which another node's record lists."));
        }
        if count > limits::IDENTITIES {
            let message = format!("A record lists at most {} identities.", limits::IDENTITIES);
            facts.deny("identities_too_many", message);
        }
        Self::denied(facts, None, Vec::new(), row)
    }

    /// The one evaluation.
    fn by_policy(
        vault: &Vault,
        attested: &Attested,
        claims: &Claims,
        mut facts: Facts,
        row: Option<&'static str>,
    ) -> Answer<Self> {
        let Some(policy) = facts.enforced.policy.clone() else {
            facts.deny("no_policy", "No policy is enforced, so nothing is released.");
            return Ok(Self::denied(facts, None, Vec::new(), row));
        };
        if facts.keys.len() != attested.asked.statement.keys.len() {
            // Policy reads every key with its asset, and cannot judge what there is not.
            return Ok(Self::denied(facts, None, Vec::new(), row));
        }
        let input = facts.input(vault, attested, claims);
        let evaluation =
            policy.evaluate(&input).map_err(|e| Refused::internal(format!("the policy's input is refused: {e}")))?;
        match evaluation.obligations() {
            Some(obligations) if facts.denials.is_empty() => {
                let obligations = Some(obligations.clone());
                Ok(Self { facts, input: Some(input), denials: Vec::new(), obligations, row: None, drift: None })
            }
            _ => Ok(Self::denied(facts, Some(input), evaluation.denials().to_vec(), row)),
        }
    }

    fn denied(mut facts: Facts, input: Option<PolicyInput>, policy: Vec<Denial>, row: Option<&'static str>) -> Self {
        let mut denials = std::mem::take(&mut facts.denials);
        denials.extend(policy);
        // A key that is gone is the answer only where nothing else is: who may get nothing at all
        // learns that first.
        facts.destroyed &= denials.iter().all(|denial| ["key_destroyed", "key_state"].contains(&denial.code.as_str()));
        Self { facts, input, denials, obligations: None, row, drift: None }
    }

    /// True if the denial is for what the evidence shows of the node: a log that is one and does not hold, or a
    /// claim that policy does not accept. What was not sent, quotas, the place and the key say nothing of it.
    fn shows_drift(&self, attested: &Attested, claims: &Claims) -> bool {
        let logs = &attested.logs;
        let refused = |malformed: Option<bool>| malformed == Some(false);
        let (boot, ima) = (logs.boot.held().is_some(), logs.ima.held().is_some());
        let shown = |denial: &Denial| {
            let Some((of, what)) = denial.claim.as_deref().and_then(|claim| claim.split_once('.')) else {
                return false;
            };
            match (of, what) {
                // The selection as a whole is what a policy asks for.
                ("tpm" | "azure", "pcrs") => false,
                ("tpm", what) => claims.tpm().is_some_and(|tpm| match what.strip_prefix("pcrs.") {
                    Some(pcr) => pcr.parse().is_ok_and(|pcr: u8| tpm.pcrs().contains_key(&pcr)),
                    None => true,
                }),
                ("snp", _) => claims.snp().is_some(),
                ("tdx", _) => claims.tdx().is_some(),
                ("azure", _) => claims.azure().is_some(),
                ("gpus", _) => !claims.gpus().is_empty(),
                ("boot", _) => boot,
                ("ima", _) | ("workload", "caller_measured") => ima,
                ("workload", _) => boot || ima,
                _ => false,
            }
        };
        let violated = self.facts.ima.as_ref().is_some_and(|ima| ima.violations > 0) && self.row == Some("L8");
        refused(logs.boot.malformed()) || refused(logs.ima.malformed()) || violated || self.denials.iter().any(shown)
    }

    /// The reason codes, ascending, each once: all that the node learns.
    pub(super) fn reasons(&self) -> Vec<String> {
        let mut codes: Vec<_> = self.denials.iter().map(|d| d.code.clone()).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// What is kept of it for replay and explanation: the claims blob.
    pub(super) fn explanation(&self, attested: &Attested) -> Answer<Vec<u8>> {
        let claims = attested.claims.as_ref().ok();
        let tpm = match claims.and_then(Claims::tpm) {
            Some(claims) => serde_json::to_value(claims).map_err(Refused::internal)?,
            None => Value::Null,
        };
        let document = json!({
            "input": self.input,
            "claims": {
                "tpm": tpm,
                "boot": attested.logs.boot.held(),
                "ima": self.facts.ima,
                "workload": self.facts.workload,
                "snp": claims.and_then(Claims::snp),
                "tdx": claims.and_then(Claims::tdx),
                "azure": claims.and_then(Claims::azure),
                "gpus": claims.map(Claims::gpus).unwrap_or_default(),
            },
            "identities": shown(attested),
            "denials": self.denials,
            "obligations": self.obligations,
        });
        serde_json::to_vec(&document).map_err(Refused::internal)
    }
}

/// What the items named of their machines, for who is authorised to read it; none where one was refused.
fn shown(attested: &Attested) -> Vec<String> {
    let shown = attested.evident.iter().flat_map(|evident| evident.identities());
    shown.map(|(_, identity)| identity.to_string()).collect()
}

/// Every item that was refused, as a reason of its own. Gives the first row.
fn deny_evidence(refusals: &[Refusal], facts: &mut Facts) -> Option<&'static str> {
    for refusal in refusals {
        facts.deny(&refusal.code(), refusal.why.clone());
    }
    refusals.first().map(|refusal| refusal.row)
}

/// What refused evidence says of the node: nothing, where its device has not signed what was refused.
fn drift_of(refusals: &[Refusal]) -> Option<Drift> {
    if refusals.iter().any(|refusal| refusal.row == "Q5") {
        return Some(Drift::Rebooted);
    }
    // The selection is what a policy asks for, and another one may have come into force.
    refusals.iter().any(|refusal| refusal.is_signed && refusal.row != "Q6").then_some(Drift::Drifted)
}

/// The code of evidence that a row refused.
fn evidence_code(row: &str) -> String {
    format!("evidence_{}", row.to_lowercase())
}

/// Rows L1 to L8, judged by what the policy in force asks for: a log that was refused, and one that is
/// missing and has to be there. The first row that refused.
fn check_logs(attested: &Attested, claims: &Claims, facts: &mut Facts) -> Option<&'static str> {
    // Beside a guest the TPM is the host's, and a guest's own evidence has no such logs.
    claims.tpm()?;
    let policy = facts.enforced.policy.clone();
    let settings = policy.as_ref().map(|policy| policy.bundle().settings());
    let LogSettings { boot, ima, violations } = settings.map(|settings| settings.logs).unwrap_or_default();
    let wants_ima = settings.is_some_and(|settings| settings.pcr_selection.pcrs.contains(&IMA_PCR));
    let logs = &attested.logs;
    let mut row = None;
    let mut refused = |facts: &mut Facts, refused: &'static str, why: String| {
        facts.deny(&evidence_code(refused), why);
        row = row.or(Some(refused));
    };
    match &logs.boot {
        Shown::Held(_) => {}
        Shown::Refused(refusal) => refused(facts, refusal.row, refusal.why.clone()),
        _ if boot == Need::Optional => {}
        _ => facts.deny("boot_log_missing", "The node sent no boot log, so nothing explains what its PCRs hold."),
    }
    match &logs.ima {
        Shown::Held(measured) if measured.violations > 0 && violations == Violations::Refused => {
            let why = format!("L8: {} files were written while they were measured.", measured.violations);
            refused(facts, "L8", why);
        }
        Shown::Held(_) => {
            if logs.kept.as_ref().is_some_and(|kept| kept.next.too_long) {
                let message = "The node has measured more files since its boot than the vault keeps: reboot it.";
                facts.deny("ima_files_too_many", message);
            }
        }
        Shown::Refused(refusal) => refused(facts, refusal.row, refusal.why.clone()),
        Shown::Incomplete => {
            let message = "The IMA log does not go on from where the vault has it: send the whole log.";
            facts.deny("ima_log_incomplete", message);
        }
        _ if !wants_ima || ima == Need::Optional => {}
        _ => facts.deny("ima_log_missing", "The node sent no IMA log, so nothing explains what its PCR 10 holds."),
    }
    row
}

/// Whatever policy says: nothing for a node that no operator approved, or that was revoked.
fn check_node(attested: &Attested, facts: &mut Facts) {
    match attested.state() {
        NodeState::Approved => {}
        NodeState::Pending => facts.deny("node_not_approved", "The node waits for an operator's approval."),
        NodeState::Revoked => facts.deny("node_revoked", "The node was revoked."),
    }
}

/// A renewal is for the same node, AK, guest, caller, keys and recipient, and its lease is live. What is new at each
/// launch of a guest is what it was.
fn check_renewal(attested: &Attested, facts: &mut Facts) -> Option<Drift> {
    if attested.asked.statement.act != Act::Renew {
        return None;
    }
    let Some(lease) = attested.renewed.as_ref().map(|l| &l.row) else {
        facts.deny("lease_unknown", "There is no such lease.");
        return None;
    };
    let (asked, node) = (&attested.asked, &attested.node.row);
    if lease.state != LeaseState::Live || lease.expires_at <= facts.now {
        facts.deny("lease_not_live", "The lease has ended.");
    }
    let same = [
        ("node", lease.node == node.id),
        ("AK", lease.ak_sha256 == attested.ak()),
        ("guest", attested.evident.is_none() || is_guest_of(lease, attested.guest().as_ref())),
        ("caller", lease.caller_sha256 == asked.caller.as_ref().map(|c| c.sha256)),
        ("keys", lease.keys == asked.statement.keys),
        ("recipient", lease.recipient_sha256.0 == asked.statement.recipient_sha256()),
    ];
    for (what, _) in same.iter().filter(|(_, same)| !same) {
        facts.deny(LEASE_MISMATCH, format!("The lease was granted to another {what}."));
    }
    let (before, now) = (lease.guest.as_ref()?.launch, attested.guest()?.launch);
    if before == now {
        return None;
    }
    let named = |launch: Option<Fixed<32>>| launch.map(|launch| hex::encode(launch.0).into());
    facts.denials.push(Denial {
        code: REBOOTED.to_owned(),
        message: "The guest was launched anew since the lease was granted.".to_owned(),
        claim: None,
        expected: named(before),
        got: named(now),
    });
    Some(Drift::Relaunched)
}

/// Whether it is the guest that the lease was granted to, whenever it was launched.
fn is_guest_of(lease: &LeaseRow, now: Option<&LeasedGuest>) -> bool {
    let parts = |guest: &LeasedGuest| (guest.by, guest.identities.clone(), guest.key_sha256);
    lease.guest.as_ref().map(parts) == now.map(parts)
}
