//! What policy sees: the verified facts of one request. Nothing here is taken from the requester's
//! word alone; the vault fills it from claims, from approved records and from the statement.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use strongroom_protocol::{
    NodeId,
    admin::{Integrity, KeyState},
    caller::Caller,
    claims::{AzureClaims, BootClaims, GpuClaims, ImaClaims, SnpClaims, TdxClaims, WorkloadClaims},
    enrol::NodeState,
    evidence::PcrBank,
    identity::Identity,
    statement::{Access, Act, Scope},
};

/// Version of [`PolicyInput`] that this crate writes.
pub const INPUT_VERSION: u8 = 1;

/// The document that Rego reads as `input`.
///
/// It is stored with the decision, so that a replay gives the same answer: there is no other input,
/// and no clock but `time`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyInput {
    /// Always 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u8,
    /// When the decision is made, by the database's clock: RFC 3339, UTC.
    pub time: String,
    /// What the statement asks for.
    pub act: Act,
    /// The scheduler's job, once its token was checked; null in this version: no scheduler can vouch for one.
    pub job: Option<JobFacts>,
    /// The enrolled node whose signatures verified.
    pub node: NodeFacts,
    /// The caller that the agent identified; null when evidence was collected in process. Believe it
    /// only on a node whose devices belong to the agent alone (`node.single_job` is false).
    #[schemars(with = "Option<Caller>")]
    pub caller: Option<BTreeMap<String, Value>>,
    /// The verified claims of the evidence.
    pub claims: ClaimFacts,
    /// The keys asked for, in the statement's order.
    pub keys: Vec<KeyFacts>,
    /// The version in force of every reference set that an asked asset names. A name without a
    /// set is left out, and matches nothing.
    pub references: BTreeMap<String, ReferenceFacts>,
    /// Live leases at this moment; a lease that is being renewed does not count itself.
    pub leases: LeaseFacts,
    /// True when a development configuration waives four eyes.
    pub four_eyes_waived: bool,
}

/// The job on whose behalf keys are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobFacts {
    /// The job's id.
    pub id: String,
}

/// The node's approved record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeFacts {
    /// SHA-256 of its EK's public area; of a node without a TPM, of the identity that names it.
    pub id: NodeId,
    /// Where its enrolment is.
    pub state: NodeState,
    /// The site that an operator placed it into.
    pub site: Option<String>,
    /// The site's jurisdiction, ISO 3166-1 alpha-2.
    pub jurisdiction: Option<String>,
    /// Approved labels; those that the node merely asked for are not here.
    pub labels: BTreeMap<String, String>,
    /// True when it was approved to run one job only.
    pub single_job: bool,
    /// TPM manufacturer, model and version as the EK certificate names them; empty of a node without a TPM.
    pub tpm: String,
    /// Every identity of the machine that its record lists, ascending by kind and value. Nothing else attested, and
    /// every GPU that stands here did (row E7); of the others, those did that the claims are of.
    #[serde(default)]
    pub identities: Vec<Identity>,
}

/// Verified claims, by kind of evidence.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimFacts {
    /// Claims of the TPM quote; null where no TPM speaks for the machine that asks: it has none, or is a confidential
    /// guest, of which a host's TPM says nothing.
    pub tpm: Option<TpmFacts>,
    /// Claims of the boot log, which leads to the quoted values; null where there was none, or where it was refused.
    #[serde(default)]
    pub boot: Option<BootClaims>,
    /// Claims of the IMA log, as far as the quote covers it; null where PCR 10 was not quoted, where there was none,
    /// or where it was refused.
    #[serde(default)]
    pub ima: Option<ImaClaims>,
    /// What runs on the node, from measured sources only.
    #[serde(default)]
    pub workload: WorkloadClaims,
    /// Claims of a report of AMD SEV-SNP.
    #[serde(default)]
    pub snp: Option<SnpClaims>,
    /// Claims of a quote of Intel TDX.
    #[serde(default)]
    pub tdx: Option<TdxClaims>,
    /// Claims of a confidential machine of Azure: its virtual TPM's quote, and the report of SEV-SNP below it.
    #[serde(default)]
    pub azure: Option<AzureClaims>,
    /// Claims of each GPU that attested, ascending by device.
    #[serde(default)]
    pub gpus: Vec<GpuClaims>,
}

/// What a verified TPM quote says. A verifier may add facts; those named here are always there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TpmFacts {
    /// The bank that was quoted.
    pub bank: PcrBank,
    /// Quoted values by index, lower-case hex.
    pub pcrs: BTreeMap<String, String>,
    /// Resets of the TPM since it was cleared; changes with each boot.
    pub reset_count: u32,
    /// Restarts and resumes since the last reset.
    pub restart_count: u32,
    /// Whether the TPM's clock was never set back and its counters are exact.
    pub safe: bool,
    /// The TPM's firmware version, as its vendor counts.
    pub firmware_version: u64,
    /// Further facts that the verifier gives.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// One key that is asked for, with its asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyFacts {
    /// The asset's name.
    pub asset: String,
    /// The key version.
    pub version: u32,
    /// What the key may be used for.
    pub access: Access,
    /// How much it opens or makes.
    pub scope: Scope,
    /// How many objects are named; 0 unless the scope is `object`.
    pub objects: u32,
    /// The asset's labels.
    pub labels: BTreeMap<String, String>,
    /// Jurisdictions in which the asset may be opened. Empty: nowhere.
    pub jurisdictions: Vec<String>,
    /// Reference sets, one of which the node must match. Empty: none matches.
    pub reference_sets: Vec<String>,
    /// Whether files carry chunk hashes.
    pub integrity: Integrity,
    /// Most live leases of the asset; null: the policy's own number holds.
    pub max_leases: Option<u32>,
    /// State of the key version.
    pub key_state: KeyState,
}

/// Accepted measurements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceFacts {
    /// Version of the set.
    pub version: u32,
    /// The bank of its values of PCRs.
    pub bank: PcrBank,
    /// Accepted values by index, lower-case hex. Empty in a set of launch measurements only, which no TPM matches.
    pub pcrs: BTreeMap<String, String>,
    /// Accepted launch measurements of SEV-SNP guests, lower-case hex, ascending. Empty: no guest matches.
    #[serde(default)]
    pub snp: Vec<String>,
    /// Accepted MRTDs of TDX guests, lower-case hex, ascending. Empty: no guest matches.
    #[serde(default)]
    pub tdx: Vec<String>,
    /// True if the set lists files: accepted, forbidden or required ones. How the node's files stand to them is in
    /// `claims.ima.listed`.
    #[serde(default)]
    pub files: bool,
}

/// Live leases, counted inside the same transaction that will grant the new one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseFacts {
    /// Live leases of this node.
    pub node_live: u32,
    /// Live leases of each asked asset; an asset without any may be left out.
    pub asset_live: BTreeMap<String, u32>,
}

/// JSON schema (2020-12) of [`PolicyInput`], as `policies/input.schema.json` holds it.
pub fn input_schema() -> Value {
    crate::sorted(schemars::schema_for!(PolicyInput).to_value())
}
