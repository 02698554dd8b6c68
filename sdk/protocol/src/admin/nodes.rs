//! Nodes, as operators see them and change them.

use crate::{enrol::NodeState, identity::Identity, ids::NodeId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `POST /v1/nodes/{id}/approve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveNode {
    /// The site that the node stands in.
    pub site: String,
    /// Labels that policy may read.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// True when the node runs one job only, so that evidence may be collected in process.
    #[serde(default)]
    pub single_job: bool,
}

/// `POST /v1/nodes/import`: registers a machine that has no TPM, by what its evidence will show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportNode {
    /// All its identities; the first that is an SNP chip id, a TDX PPID or a cloud VM id names the node.
    pub identities: Vec<Identity>,
    /// The site that it stands in.
    pub site: String,
    /// Labels that policy may read.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// True when the node runs one job only, so that evidence may be collected in process.
    #[serde(default)]
    pub single_job: bool,
    /// A name for people.
    #[serde(default)]
    pub hostname: Option<String>,
}

/// `POST /v1/nodes/{id}/identities`: what an operator adds to a node's record, and what is taken out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeIdentities {
    /// What is added.
    #[serde(default)]
    pub add: Vec<Identity>,
    /// What is taken out, which ends the node's leases.
    #[serde(default)]
    pub remove: Vec<Identity>,
}

/// `POST /v1/nodes/{id}/revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeNode {
    /// Why; kept in the ledger.
    pub reason: String,
}

/// A node as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeView {
    /// SHA-256 of the EK's public area; of a node without a TPM, made from the identity that it was registered by.
    pub id: NodeId,
    /// State.
    pub state: NodeState,
    /// Site, once approved.
    pub site: Option<String>,
    /// The site's jurisdiction.
    pub jurisdiction: Option<String>,
    /// Approved labels.
    pub labels: BTreeMap<String, String>,
    /// Labels that the node asked for.
    pub requested_labels: BTreeMap<String, String>,
    /// True when in-process collection is allowed.
    pub single_job: bool,
    /// Name for people.
    pub hostname: Option<String>,
    /// TPM manufacturer, model and version as the EK certificate names them; null for a node without a TPM.
    pub tpm: Option<String>,
    /// All that its approved record lists, in order: evidence of anything else is not of this node.
    pub identities: Vec<Identity>,
    /// RFC 3339: when it was enrolled, or registered.
    pub enrolled_at: String,
    /// RFC 3339: when it first proved who it is; null for a node without a TPM that has not yet.
    pub activated_at: Option<String>,
}
