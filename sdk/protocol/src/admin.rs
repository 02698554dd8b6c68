//! What administrators send and get. Every act is a ledger entry; no role can read a key.

mod nodes;

use crate::{
    bytes::{Bytes, Fixed},
    evidence::{PcrBank, PcrMap, PcrSelection},
    ids::{DecisionId, NodeId, VaultId},
    objects,
    requirements::Register,
};
pub use nodes::{ApproveNode, ChangeIdentities, ImportNode, NodeView, RevokeNode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Roles of people and machines that administer (`protocol.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Roles and tokens.
    Admin,
    /// Reads everything but keys.
    Auditor,
    /// Assets, keys, leases.
    Custodian,
    /// Reference values, vendor roots, CRLs, TCB minima.
    Endorser,
    /// Nodes, sites, jobs.
    Operator,
    /// Enforces policies that somebody else wrote.
    PolicyApprover,
    /// Writes policies.
    PolicyAuthor,
}

impl Role {
    /// Every role, in the order of the authorisation matrix.
    pub const ALL: [Self; 7] = [
        Self::Admin,
        Self::Auditor,
        Self::Custodian,
        Self::Endorser,
        Self::Operator,
        Self::PolicyApprover,
        Self::PolicyAuthor,
    ];

    /// The role's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Auditor => "auditor",
            Self::Custodian => "custodian",
            Self::Endorser => "endorser",
            Self::Operator => "operator",
            Self::PolicyApprover => "policy-approver",
            Self::PolicyAuthor => "policy-author",
        }
    }
}

/// `GET /v1/vault`: what a client may know before it trusts anything. Unauthenticated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VaultInfo {
    /// SHA-256 of `identity_key`.
    pub vault_id: VaultId,
    /// The vault's Ed25519 identity key.
    pub identity_key: Fixed<32>,
    /// The ledger's verifier key (C2SP signed-note vkey).
    pub ledger_verifier_key: String,
    /// The PCRs that a quote must select, exactly.
    pub pcr_selection: PcrSelection,
    /// True when a development configuration waives four eyes; shown on every page.
    pub four_eyes_waived: bool,
    /// Software version.
    pub version: String,
}

/// `POST /v1/sites`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Name, as asset names are made.
    pub name: String,
    /// ISO 3166-1 alpha-2, upper case, such as `DE`.
    pub jurisdiction: String,
}

/// `POST /v1/references`: proposes a new version of a named set, from a node or from values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordReference {
    /// The set's name.
    pub name: String,
    /// Take what this node showed when it enrolled or last attested: PCR values, the events of its boot log, and
    /// the files that IMA measured.
    #[serde(default)]
    pub from_node: Option<NodeId>,
    /// Or take these.
    #[serde(default)]
    pub values: Option<ReferenceValues>,
}

/// Accepted values: of PCRs in one bank, of launch measurements, or of several of these. Each part speaks for its own
/// kind of evidence only, and a part that is left out is matched by nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceValues {
    /// The bank.
    pub bank: PcrBank,
    /// The accepted value of each PCR; empty where the set is of launch measurements only.
    pub pcrs: PcrMap,
    /// Launch measurements of SEV-SNP guests.
    #[serde(default, skip_serializing_if = "SnpValues::is_empty")]
    pub snp: SnpValues,
    /// Build measurements of TDX guests.
    #[serde(default, skip_serializing_if = "TdxValues::is_empty")]
    pub tdx: TdxValues,
    /// Lists that the files which IMA measured are held against.
    #[serde(default, skip_serializing_if = "FileLists::is_empty")]
    pub files: FileLists,
    /// The events of the boot that the values are of, for people: what two sets, or a set and a node, differ in.
    /// Nothing is decided by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<ReferenceEvent>,
}

impl ReferenceValues {
    /// Values of PCRs, without lists of files.
    pub fn of(bank: PcrBank, pcrs: PcrMap) -> Self {
        Self {
            bank,
            pcrs,
            snp: SnpValues::default(),
            tdx: TdxValues::default(),
            files: FileLists::default(),
            events: Vec::new(),
        }
    }

    /// True when nothing is accepted.
    pub fn accept_nothing(&self) -> bool {
        self.pcrs.0.is_empty() && self.snp.is_empty() && self.tdx.is_empty()
    }
}

/// Launch measurements, one of which a report of SEV-SNP must show, Azure's with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnpValues {
    /// `MEASUREMENT`, 48 bytes each as 96 lower-case hexadecimal digits.
    pub measurements: BTreeSet<Register>,
}

impl SnpValues {
    /// True when none is listed: then no report matches.
    pub fn is_empty(&self) -> bool {
        self.measurements.is_empty()
    }
}

/// Build measurements, one of which a quote of TDX must show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TdxValues {
    /// MRTD, 48 bytes each as 96 lower-case hexadecimal digits.
    pub mrtds: BTreeSet<Register>,
}

impl TdxValues {
    /// True when none is listed: then no quote matches.
    pub fn is_empty(&self) -> bool {
        self.mrtds.is_empty()
    }
}

/// Lists of files by digest: the algorithm as the kernel calls it, a colon, lower-case hexadecimal
/// (`sha256:…`); each with a path or another note for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileLists {
    /// All files that may be measured; null: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<BTreeMap<String, String>>,
    /// Files that must not be measured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forbidden: BTreeMap<String, String>,
    /// Files that must be measured, such as the agent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub required: BTreeMap<String, String>,
}

impl FileLists {
    /// True when nothing is listed, so that any file may be measured.
    pub fn is_empty(&self) -> bool {
        self.accepted.is_none() && self.forbidden.is_empty() && self.required.is_empty()
    }
}

/// One event of a boot log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceEvent {
    /// The PCR that it extended.
    pub pcr: u8,
    /// What it was extended with.
    pub digest: Bytes,
    /// What it is, as the log says. A hint: nothing authenticates it.
    pub hint: String,
}

/// State of a version of a reference set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceState {
    /// Waits for somebody else's approval; nothing is decided by it.
    #[default]
    Proposed,
    /// Decides.
    InForce,
    /// Decided once, or was overtaken by a later version while it waited.
    Superseded,
}

/// A version of a reference set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceView {
    /// Name.
    pub name: String,
    /// Version, from 1.
    pub version: u32,
    /// State: of each set one version at the most is in force.
    pub state: ReferenceState,
    /// Who proposed it; empty for a version that is older than this field.
    pub proposed_by: String,
    /// Who put it in force.
    pub approved_by: Option<String>,
    /// The values.
    pub values: ReferenceValues,
    /// Where they came from: a node id, or `import`.
    pub source: String,
    /// RFC 3339.
    pub recorded_at: String,
}

/// Whether chunk hashes are required of an asset's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Integrity {
    /// AEAD tags protect against everyone but the asset's other readers.
    #[default]
    Plain,
    /// Ciphertext hashes are required and checked before use.
    Hashed,
}

/// `POST /v1/assets`. Creates the asset with key version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAsset {
    /// Name.
    pub name: String,
    /// Labels that policy may read.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Jurisdictions in which it may be opened, such as `["DE", "FR"]`. Empty: nowhere.
    pub jurisdictions: Vec<String>,
    /// Names of reference sets, one of which a node must match. Empty: none matches.
    pub reference_sets: Vec<String>,
    /// Whether files carry chunk hashes.
    #[serde(default)]
    pub integrity: Integrity,
    /// Most live leases at one time; null: policy's own number holds.
    #[serde(default)]
    pub max_leases: Option<u32>,
}

/// `POST /v1/assets/{name}`: what changes of an asset. What is left out stays as it is; what is given
/// takes the place of all that was there. Name and integrity are for ever: files rest on them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateAsset {
    /// All its labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// All jurisdictions in which it may be opened. Empty: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jurisdictions: Option<Vec<String>>,
    /// All reference sets, one of which a node must match. Empty: none matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_sets: Option<Vec<String>>,
    /// Most live leases at one time; null: policy's own number holds again.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "objects::given")]
    pub max_leases: Option<Option<u32>>,
}

/// State of a key version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Seals and opens.
    Active,
    /// Opens only.
    DecryptOnly,
    /// Gone.
    Destroyed,
}

/// A key version as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyVersionView {
    /// From 1.
    pub version: u32,
    /// State.
    pub state: KeyState,
    /// RFC 3339.
    pub created_at: String,
}

/// An asset as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssetView {
    /// What it was created with.
    pub asset: CreateAsset,
    /// Its key versions, ascending.
    pub versions: Vec<KeyVersionView>,
    /// RFC 3339.
    pub created_at: String,
}

/// `GET /v1/assets/{name}/current`: what a client needs to seal, or to ask. Unauthenticated
/// clients learn nothing from it that a sealed file's header does not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssetCurrent {
    /// Name.
    pub name: String,
    /// The newest version that was not destroyed.
    pub version: u32,
    /// Its state: new objects are sealed under it only while it is active.
    pub state: KeyState,
    /// Whether files carry chunk hashes.
    pub integrity: Integrity,
}

/// A policy bundle as it is proposed: its files by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFiles {
    /// Path to text: `*.rego` and `data.json`.
    pub files: BTreeMap<String, String>,
}

/// State of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyState {
    /// Waits for somebody else's approval.
    Proposed,
    /// Decides.
    Enforced,
    /// Decided once.
    Superseded,
}

/// A policy as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyView {
    /// SHA-256 over the bundle's files.
    pub digest: Fixed<32>,
    /// State.
    pub state: PolicyState,
    /// Who proposed it.
    pub author: String,
    /// Who enforced it.
    pub approver: Option<String>,
    /// RFC 3339.
    pub proposed_at: String,
}

/// `POST /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// The person (or machine) that it stands for: four eyes count persons, not tokens.
    pub person: String,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Seconds until it expires; at most a year.
    pub expires_in: u64,
}

/// The answer to [`CreateToken`]. The secret is shown once. No `Debug`, no `Clone`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatedToken {
    /// Names the token in the ledger.
    pub id: String,
    /// The bearer token, `srt_` and 43 characters.
    pub token: String,
}

/// `POST /v1/tokens/self/rotate`: another token in the place of the one that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateToken {
    /// Seconds that the old token stays good for, at most an hour; 0 ends it at once.
    pub grace: u64,
}

/// The answer to [`RotateToken`]. The secret is shown once. No `Debug`, no `Clone`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotatedToken {
    /// Names the new token in the ledger.
    pub id: String,
    /// The new bearer token.
    pub token: String,
    /// RFC 3339: when the new token expires, which is when the old one would have.
    pub expires_at: String,
    /// RFC 3339: when the old token ends.
    pub old_ends_at: String,
}

/// What a token is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// It is good.
    Active,
    /// Another token took its place; it is good until it expires, which is soon.
    Replaced,
    /// Its time is over.
    Expired,
    /// An administrator revoked it, or its holder ended it by rotating it.
    Revoked,
}

/// A token as people see it, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenView {
    /// Names the token in the ledger.
    pub id: String,
    /// Whose it is.
    pub person: String,
    /// Its roles.
    pub roles: Vec<Role>,
    /// RFC 3339.
    pub expires_at: String,
    /// True once revoked.
    pub revoked: bool,
    /// What it is good for now.
    pub state: TokenState,
    /// RFC 3339; null for a token that is older than this field.
    #[serde(default)]
    pub created_at: Option<String>,
    /// RFC 3339, noted once a minute at the most; null before its first use.
    #[serde(default)]
    pub last_used_at: Option<String>,
    /// The token that took its place.
    #[serde(default)]
    pub replaced_by: Option<String>,
}

/// The answer to an administrative act: the record that the ledger keeps of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The record's id.
    pub record: DecisionId,
    /// Its index in the ledger.
    pub index: u64,
    /// What was made or changed, where it has a number: a key version, a reference version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// What was made, where it has a digest: a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Bytes>,
    /// The node that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// What was done as asked and may not be meant, one sentence each: a reference set that nobody
    /// has recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
