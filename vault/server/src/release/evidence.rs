//! Whose evidence it is, and what it shows.

use super::{
    logs::{self, Logs},
    request::Asked,
    turns::Turn,
};
use crate::{
    admission::Peer,
    enforced::Enforced,
    problem::{Answer, Refused},
    vault::Vault,
};
use std::sync::Arc;
use strongroom_attest::{BootCounters, QuoteEvidence, QuoteExpectation, TpmClaims, quote, tpm::Public};
use strongroom_policy::settings::LogSettings;
use strongroom_protocol::{
    Code, Problem,
    binding::{TAG_TPM, TAG_TPM_AGENT, tpm_extra_data},
    evidence::{PcrBank, PcrSelection},
    statement::Act,
};
use strongroom_store::model::{LeaseRow, NodeRow, Versioned};

/// A request that an enrolled node's AK has signed: from here on, every outcome is a decision.
pub(super) struct Attested {
    pub(super) asked: Asked,
    pub(super) node: Versioned<NodeRow>,
    /// The claims, or the row that refused a quote which the node did sign for this request.
    pub(super) claims: Result<Arc<TpmClaims>, strongroom_attest::Refused>,
    /// What the logs beside the quote showed.
    pub(super) logs: Logs,
    /// The lease that was granted to this very statement before.
    pub(super) known: Option<Versioned<LeaseRow>>,
    /// The lease that a renewal names, if there is one.
    pub(super) renewed: Option<Versioned<LeaseRow>>,
    /// The node's turn, where the decision rests on what it showed before; until the commit.
    pub(super) turn: Option<Turn>,
}

/// Looks the node up by its AK and verifies the quote. Failures before the node's signature over
/// this request are refused with 401, and leave nothing behind.
pub(super) async fn attest(vault: &Vault, mut asked: Asked) -> Answer<Attested> {
    let ak = asked.quote.ak;
    let requester = &mut asked.requester;
    let (known, renewed) = (requester.known.take(), requester.renewed.take());
    let node = requester.node.take().ok_or_else(|| Refused::from(Problem::new(Code::NotEnrolled)))?;
    vault.admission.admit(Peer::Ak(ak))?;
    let enforced = vault.policy.of(vault.store.as_ref(), requester.policy_generation).await?;
    let selection = match &enforced.policy {
        Some(policy) => policy.bundle().pcr_selection(),
        None => PcrSelection { bank: PcrBank::Sha256, pcrs: vault.config.attestation.pcrs.clone() },
    };
    let claims = match verify(&asked, &selection, &node.row, renewed.as_ref().map(|l| &l.row))? {
        Err(refused) if !refused.is_signed_for_this_request() => {
            tracing::info!(node = %node.row.id, row = refused.row(), "evidence refused");
            return Err(Problem::new(Code::EvidenceRefused).row(refused.row()).into());
        }
        other => other.map(Arc::new),
    };
    let known = known.filter(|_| asked.statement.act == Act::Release);
    let turn = match &claims {
        Ok(_) if known.is_some() => Some(vault.turns.again(asked.statement_sha256).await?),
        Ok(claims) if logs::judges_ima(&asked.quote, claims) => {
            Some(vault.turns.of(node.row.id, asked.statement_sha256).await?)
        }
        _ => None,
    };
    let logs = match &claims {
        Ok(claims) => {
            let (quote, claims) = (Arc::clone(&asked.quote), Arc::clone(claims));
            Logs::read(vault.store.as_ref(), node.row.id, quote, claims, log_settings(&enforced)).await?
        }
        Err(_) => Logs::unread(),
    };
    Ok(Attested { asked, node, claims, logs, known, renewed, turn })
}

/// What the policy in force asks of logs.
fn log_settings(enforced: &Enforced) -> LogSettings {
    enforced.policy.as_ref().map(|policy| policy.bundle().settings().logs).unwrap_or_default()
}

impl Attested {
    /// Reads the logs again: what is known of the node has grown since, or another policy is in force.
    pub(super) async fn read_logs_again(&mut self, vault: &Vault) -> Answer<()> {
        let Ok(claims) = &self.claims else { return Ok(()) };
        if self.logs.kept.is_none() {
            return Ok(());
        }
        let enforced = vault.policy.current(vault.store.as_ref()).await?;
        let (quote, claims) = (Arc::clone(&self.asked.quote), Arc::clone(claims));
        self.logs = Logs::read(vault.store.as_ref(), self.node.row.id, quote, claims, log_settings(&enforced)).await?;
        Ok(())
    }
}

fn verify(
    asked: &Asked,
    selection: &PcrSelection,
    node: &NodeRow,
    renewed: Option<&LeaseRow>,
) -> Answer<Result<TpmClaims, strongroom_attest::Refused>> {
    let damaged =
        |e: &dyn std::fmt::Display| Refused::internal(format!("the record of node {} is damaged: {e}", node.id));
    let tpm = node.tpm.as_ref().ok_or_else(|| damaged(&"it was found by an AK, and has no TPM"))?;
    let public = Public::parse(&tpm.ak_public.0).map_err(|e| damaged(&e))?;
    let ek = Public::parse(&tpm.ek_public.0).map_err(|e| damaged(&e))?;
    let caller = asked.caller.as_ref().map(|c| c.bytes.as_slice());
    let tag = if caller.is_some() { TAG_TPM_AGENT } else { TAG_TPM };
    let expectation = QuoteExpectation {
        ak: &public,
        ek_name: &ek.name(),
        extra_data: tpm_extra_data(tag, &asked.statement_bytes, caller),
        selection,
        boot: renewed
            .and_then(|lease| lease.boot)
            .map(|(reset_count, restart_count)| BootCounters { reset_count, restart_count }),
    };
    Ok(quote::verify(QuoteEvidence::from(asked.quote.as_ref()), &expectation))
}
