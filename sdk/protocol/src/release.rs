//! `POST /v1/releases`, and the plaintext of its envelope.
//!
//! The envelope's plaintext carries keys, so its type lives with the secret types in
//! `strongroom-envelope`; here is what anybody may see.

use crate::{
    bytes::{Bytes, Fixed},
    evidence::Evidence,
    identity::Identity,
    ids::{DecisionId, NodeId},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Asks for a release, an attested renewal or an identification.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The statement's exact bytes.
    pub statement: Bytes,
    /// The caller bytes that the agent bound; null when evidence was collected in process.
    #[serde(default)]
    pub caller: Option<Bytes>,
    /// The scheduler's token; never stored, never sufficient by itself.
    #[serde(default)]
    pub job_token: Option<String>,
    /// At most 32 items, all of one node.
    pub evidence: Vec<Evidence>,
}

/// HPKE ciphertext: encapsulated key and sealed payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The encapsulated key, 1,120 bytes for X-Wing.
    pub enc: Bytes,
    /// The sealed payload, its tag included.
    pub ciphertext: Bytes,
}

/// A release: sealed keys, with the proof that the decision is in the ledger.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseResponse {
    /// The decision.
    pub decision_id: DecisionId,
    /// Lease, obligations and keys, for the recipient only.
    pub envelope: Envelope,
    /// The ledger's record of this decision: RFC 8785 JSON, its exact bytes.
    pub record: Bytes,
    /// The record's salt: the entry is `SHA-256(salt || record)`.
    pub salt: Fixed<16>,
    /// A C2SP tlog-proof that the entry is in the tree of a signed checkpoint.
    pub receipt: String,
    /// Ed25519 by the vault's identity key over [`crate::binding::response_message`].
    pub signature: Fixed<64>,
}

/// The plaintext of the envelope that answers an identification (`"act": "identify"`), as JSON. The answer around it
/// is a [`ReleaseResponse`], checked in the same way; there is no lease, and nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentifiedPayload {
    /// The decision.
    pub decision_id: DecisionId,
    /// The node that asked.
    pub node: NodeId,
    /// What came into its record by this request; empty where it listed everything before.
    pub added: Vec<Identity>,
}
