//! Enrolment of a node: EK certificate, AK, `MakeCredential`, and the quote that ends it.

use crate::{
    bytes::{Bytes, Fixed},
    challenge::Nonce,
    evidence::Tpm2Evidence,
    ids::{EnrolmentId, NodeId, VaultId},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `POST /v1/nodes`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// EK certificate first (DER), then intermediates; at most 8.
    pub ek_certificate_chain: Vec<Bytes>,
    /// The EK's `TPMT_PUBLIC` as the TPM marshalled it.
    pub ek_public: Bytes,
    /// The AK's `TPMT_PUBLIC` as the TPM marshalled it.
    pub ak_public: Bytes,
    /// Labels that the node asks for; invisible to policy until an operator approves them.
    #[serde(default)]
    pub requested_labels: BTreeMap<String, String>,
    /// A name for people, such as the host name.
    #[serde(default)]
    pub hostname: Option<String>,
}

/// The answer to [`EnrolRequest`]: only the TPM that has both EK and AK can recover the secret.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolChallenge {
    /// This enrolment; secret enough to look up its state.
    pub enrolment: EnrolmentId,
    /// `TPM2B_ID_OBJECT` contents for `TPM2_ActivateCredential`.
    pub credential_blob: Bytes,
    /// `TPM2B_ENCRYPTED_SECRET` contents for `TPM2_ActivateCredential`.
    pub encrypted_secret: Bytes,
}

/// What the enrolment quote binds, under the enrol tag and without a caller. The agent writes it
/// itself, with its own EK and AK.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolStatement {
    /// Version: 1.
    pub v: u8,
    /// Always `enrol`.
    pub act: EnrolAct,
    /// The vault.
    pub vault: VaultId,
    /// A nonce issued for enrolment.
    pub nonce: Nonce,
    /// The enrolment.
    pub enrolment: EnrolmentId,
    /// SHA-256 of the EK's `TPMT_PUBLIC`.
    pub ek_sha256: Fixed<32>,
    /// The AK's name (`nameAlg || H(TPMT_PUBLIC)`).
    pub ak_name: Bytes,
}

/// The one act of an [`EnrolStatement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnrolAct {
    /// Enrol.
    Enrol,
}

/// `POST /v1/enrolments/{id}/activate`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivateRequest {
    /// The secret that `TPM2_ActivateCredential` gave; single-use.
    pub secret: Bytes,
    /// [`EnrolStatement`] as JSON, its exact bytes.
    pub statement: Bytes,
    /// The quote that binds it.
    pub quote: Tpm2Evidence,
}

/// State of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Activated, waits for an operator.
    Pending,
    /// An operator placed it into a site.
    Approved,
    /// Nothing is released to it any more.
    Revoked,
}

/// The answer to an activation, and to `GET /v1/enrolments/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentState {
    /// The node that came of it; null before activation.
    pub node: Option<NodeId>,
    /// The node's state; null before activation.
    pub state: Option<NodeState>,
    /// The node's site, once approved.
    pub site: Option<String>,
}
