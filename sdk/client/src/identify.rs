//! What this node's own devices show: put into its record by the vault, or looked at here.

use crate::{
    Error, Room,
    boottime::Moment,
    pinned::PinnedVault,
    release::{Asked, random},
};
use strongroom_collect::{Attester, Wanted};
use strongroom_envelope::RecipientKey;
use strongroom_protocol::{
    Bytes, DecisionId, Fixed, NodeId, Statement, VaultId, binding,
    challenge::Nonce,
    evidence::{Evidence, PcrSelection},
    identity::Identity,
    objects,
    release::{IdentifiedPayload, ReleaseResponse},
    sha256,
    statement::{Act, CallerRef, Kem, Recipient},
};

/// What came of an identification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// The node, by its record.
    pub node: NodeId,
    /// What came into its record; empty where it listed everything before.
    pub added: Vec<Identity>,
    /// The entry of the ledger.
    pub decision: DecisionId,
}

impl Room {
    /// Has the vault put into this node's record what its devices show beside the identity that an operator approved.
    ///
    /// # Errors
    /// The vault's refusal: of evidence that does not hold, of a device that another node's record lists, of a node
    /// that nobody approved; or an answer that is not believed.
    pub fn identify(&self, attester: &dyn Attester) -> Result<Identified, Error> {
        match self.identify_once(attester) {
            // Eight GPUs and a busy TPM may take longer than a nonce lives.
            Err(error) if error.wants_fresh_nonce() => self.identify_once(attester),
            done => done,
        }
    }

    fn identify_once(&self, attester: &dyn Attester) -> Result<Identified, Error> {
        let recipient = RecipientKey::generate()?;
        let asked = self.ask(attester, Act::Identify, None, Vec::new(), &recipient, Moment::now())?;
        let response = self.send(&asked, attester, 0)?;
        identified(self.vault(), &asked, &response, &recipient)
    }
}

/// Believes the answer, then reads it.
fn identified(
    vault: &PinnedVault,
    asked: &Asked,
    response: &ReleaseResponse,
    recipient: &RecipientKey,
) -> Result<Identified, Error> {
    vault.check_response(&asked.bytes, &asked.statement, response)?;
    let info = binding::release_info(response.decision_id);
    let plaintext = strongroom_envelope::open(recipient, &info, &sha256(&asked.bytes), &response.envelope)?;
    let payload: IdentifiedPayload =
        objects::from_slice(&plaintext).map_err(|e| Error::Malformed(format!("an identification: {e}")))?;
    if payload.decision_id != response.decision_id {
        return Err(Error::NotBelieved("the envelope belongs to another decision".to_owned()));
    }
    Ok(Identified { node: payload.node, added: payload.added, decision: payload.decision_id })
}

/// Evidence of this node that is to be looked at here. No vault takes it: its nonce is none that a vault gave.
///
/// # Errors
/// What the devices, or the agent that owns them, say.
pub fn evidence_to_look_at(attester: &dyn Attester) -> Result<Vec<Evidence>, Error> {
    let caller = attester.caller()?;
    let recipient = RecipientKey::generate()?;
    let statement = Statement {
        v: 1,
        act: Act::Identify,
        lease: None,
        vault: VaultId::from([0; 32]),
        nonce: Nonce::new([0; 16], 0, [0; 16]),
        client_random: random()?,
        recipient: Recipient { kem: Kem::XWing, public_key: Bytes(recipient.public_key().to_vec()) },
        keys: Vec::new(),
        job: None,
        caller: caller.as_deref().map(|bytes| CallerRef { sha256: Fixed(sha256(bytes)) }),
    };
    let bytes = serde_json::to_vec(&statement).map_err(|e| Error::Malformed(e.to_string()))?;
    Ok(attester.collect(&bytes, caller.as_deref(), Wanted::whole(&PcrSelection::default_sha256()))?)
}

#[cfg(test)]
mod tests;
