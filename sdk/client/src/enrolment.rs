//! Enrolment of this node: EK and AK, a credential only this TPM can open, and a quote.

use crate::{Error, Room};
use std::collections::BTreeMap;
use strongroom_collect::Enroller;
use strongroom_protocol::{
    Bytes, EnrolmentId, NodeId,
    challenge::{Challenge, ChallengeRequest, Purpose},
    enrol::{ActivateRequest, EnrolChallenge, EnrolRequest, EnrolmentState},
};

/// A node that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The node's id.
    pub node: NodeId,
    /// The enrolment, to ask for its state.
    pub enrolment: EnrolmentId,
    /// What the vault says of it.
    pub state: EnrolmentState,
}

impl Room {
    /// Enrols this node. Labels are a wish: an operator approves them or not.
    pub fn enrol(
        &self,
        device: &dyn Enroller,
        requested_labels: BTreeMap<String, String>,
        hostname: Option<String>,
    ) -> Result<Enrolled, Error> {
        let identity = device.identity()?;
        let challenge: EnrolChallenge = self.transport().post(
            "/v1/nodes",
            &EnrolRequest {
                ek_certificate_chain: identity.ek_certificate_chain.into_iter().map(Bytes).collect(),
                ek_public: Bytes(identity.ek_public),
                ak_public: Bytes(identity.ak_public),
                requested_labels,
                hostname,
            },
        )?;
        let secret = device.activate_credential(&challenge.credential_blob.0, &challenge.encrypted_secret.0)?;
        let nonce: Challenge =
            self.transport().post("/v1/challenges", &ChallengeRequest { purpose: Purpose::Enrol })?;
        let quote = device.enrolment_quote(self.vault_id(), nonce.nonce, challenge.enrolment, self.pcr_selection())?;
        let state: EnrolmentState = self.transport().post(
            &format!("/v1/enrolments/{}/activate", challenge.enrolment),
            &ActivateRequest { secret: Bytes(secret.to_vec()), statement: Bytes(quote.statement), quote: quote.quote },
        )?;
        let node = state.node.ok_or_else(|| Error::Malformed("the activation names no node".to_owned()))?;
        Ok(Enrolled { node, enrolment: challenge.enrolment, state })
    }

    /// The state of an enrolment.
    pub fn enrolment(&self, enrolment: EnrolmentId) -> Result<EnrolmentState, Error> {
        self.transport().get(&format!("/v1/enrolments/{enrolment}"), None)
    }
}
