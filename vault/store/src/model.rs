//! The rows of the vault's state. Times are Unix seconds by the database's clock.

mod endorsement;
mod node;

pub use endorsement::{ENDORSEMENT_BYTES, ENDORSEMENTS, EndorsementList, EndorsementRow, PINS, PinRow};
pub use node::{CloudBoot, NodeRow, PAST_LAUNCHES, TpmRow};

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use strongroom_protocol::{
    Bytes, DecisionId, EnrolmentId, Fixed, LeaseId, NodeId,
    admin::{CreateAsset, KeyState, PolicyState, ReferenceState, ReferenceValues, Role},
    evidence::EvidenceKind,
    identity::Identity,
    lease::LeaseState,
    statement::KeyRequest,
};

/// A row with the number that grows at each change of it; guards compare that number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The row.
    pub row: T,
    /// Starts at 1.
    pub version: i64,
}

/// What the vault needs before it is unlocked: written once by `init`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRow {
    /// Commitment of the root key: an unlocked root must match it.
    pub root_commitment: Fixed<32>,
    /// The Ed25519 identity key pair's seed, wrapped by the root.
    pub wrapped_identity: Bytes,
    /// The identity's public key.
    pub identity_key: Fixed<32>,
    /// The tenant's key, wrapped by the root.
    pub wrapped_tenant_key: Bytes,
    /// Origin of the ledger: first line of its checkpoints.
    pub ledger_origin: String,
    /// Unix seconds.
    pub created_at: i64,
}

/// A site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRow {
    /// Name.
    pub name: String,
    /// ISO 3166-1 alpha-2.
    pub jurisdiction: String,
}

/// What a node's kernel has measured since its present boot, as far as quotes covered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasuredRow {
    /// The node.
    pub node: NodeId,
    /// TPM reset and restart counts of the boot. There is one row a node: another boot takes its place.
    pub boot: (u32, u32),
    /// What the server wrote, at most [`MEASURED_BYTES`].
    pub state: Vec<u8>,
}

/// Bytes that are kept of one boot.
pub const MEASURED_BYTES: usize = 4 << 20;

/// How many enrolments may wait for their activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Of one EK, begun from one source. EK certificates are public, so another source's do not count.
    pub of_ek: u32,
    /// Begun from one source.
    pub of_source: u32,
    /// In all.
    pub in_all: u32,
}

/// How many enrolments every backend lets wait.
pub const WAITING: Waiting = Waiting { of_ek: 4, of_source: 1024, in_all: 10_000 };

/// An enrolment that waits for its activation. Not in the ledger: nothing is reserved yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentRow {
    /// Id.
    pub id: EnrolmentId,
    /// The EK's `TPMT_PUBLIC`.
    pub ek_public: Bytes,
    /// The AK's `TPMT_PUBLIC`.
    pub ak_public: Bytes,
    /// SHA-256 of the credential's secret.
    pub secret_sha256: Fixed<32>,
    /// Labels that the node asks for.
    pub requested_labels: BTreeMap<String, String>,
    /// Name for people.
    pub hostname: Option<String>,
    /// Manufacturer, model and version of the TPM.
    pub tpm: String,
    /// Unix seconds.
    pub expires_at: i64,
    /// The node that came of it, once activated.
    pub node: Option<NodeId>,
    /// Who asked, as far as the network shows it: whoever begins many takes the place of its own.
    #[serde(default)]
    pub source: String,
}

/// An asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetRow {
    /// What it was created with.
    pub asset: CreateAsset,
    /// Unix seconds.
    pub created_at: i64,
}

/// A key version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// Asset name.
    pub asset: String,
    /// From 1.
    pub version: u32,
    /// State.
    pub state: KeyState,
    /// The version key, wrapped by the tenant's key with this row's identity as AAD; empty once destroyed.
    pub wrapped: Bytes,
    /// Unix seconds.
    pub created_at: i64,
}

/// A version of a reference set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceRow {
    /// Name.
    pub name: String,
    /// From 1.
    pub version: u32,
    /// The values.
    pub values: ReferenceValues,
    /// A node id, or `import`.
    pub source: String,
    /// Unix seconds.
    pub recorded_at: i64,
    /// Who proposed it; empty where the row is older than this field.
    #[serde(default)]
    pub proposed_by: String,
    /// State. In a column only, as is the approver.
    #[serde(skip)]
    pub state: ReferenceState,
    /// Who put it in force.
    #[serde(skip)]
    pub approved_by: Option<String>,
}

/// A policy bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRow {
    /// Digest of the bundle.
    pub digest: Fixed<32>,
    /// Its files.
    pub files: BTreeMap<String, String>,
    /// State.
    pub state: PolicyState,
    /// The person who proposed it.
    pub author: String,
    /// The person who enforced it.
    pub approver: Option<String>,
    /// Unix seconds.
    pub proposed_at: i64,
}

/// The policy in force, with its generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnforcedPolicy {
    /// The bundle; `None` before the first one is enforced.
    pub policy: Option<PolicyRow>,
    /// Grows each time another policy is enforced.
    pub generation: i64,
}

/// An administrator's token, by its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// Names the token in the ledger.
    pub id: String,
    /// SHA-256 of the token.
    pub token_sha256: Fixed<32>,
    /// Whose it is.
    pub person: String,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Unix seconds.
    pub expires_at: i64,
    /// True once revoked.
    pub revoked: bool,
    /// Unix seconds; 0 where the token is older than this field.
    #[serde(default)]
    pub created_at: i64,
    /// The token that took its place.
    #[serde(default)]
    pub replaced_by: Option<String>,
    /// Unix seconds of the last use that was noted, which happens once a minute at the most. In a column
    /// only: it is no part of what is written with the token.
    #[serde(skip)]
    pub last_used_at: Option<i64>,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    /// Id; the writer id of what it writes.
    pub id: LeaseId,
    /// The decision that granted it.
    pub decision: DecisionId,
    /// The node that holds it.
    pub node: NodeId,
    /// The AK of the TPM that signed for it; none where a guest's evidence alone did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ak_sha256: Option<Fixed<32>>,
    /// The guest that signed for it; none where a TPM alone did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<LeasedGuest>,
    /// SHA-256 of the statement that it was granted to, for re-sending.
    pub statement_sha256: Fixed<32>,
    /// SHA-256 of the caller bytes.
    pub caller_sha256: Option<Fixed<32>>,
    /// SHA-256 of the recipient's public key.
    pub recipient_sha256: Fixed<32>,
    /// What it holds, as it was asked for.
    pub keys: Vec<KeyRequest>,
    /// The scheduler's job.
    pub job: Option<String>,
    /// TPM reset and restart counts at the grant; none where no TPM signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<(u32, u32)>,
    /// The lease secret, wrapped by the tenant's key with the lease id as AAD; empty once it is closed.
    pub wrapped_secret: Bytes,
    /// What policy obliged the holder to do, as JSON.
    pub obligations: String,
    /// State. A live lease past its expiry counts as expired.
    pub state: LeaseState,
    /// Unix seconds.
    pub granted_at: i64,
    /// Unix seconds.
    pub expires_at: i64,
    /// Unix seconds after which only fresh evidence prolongs it.
    pub reattest_at: i64,
    /// True once its holder has proved possession.
    pub delivered: bool,
}

/// A guest whose memory a processor encrypts, as its evidence showed it when a lease was granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasedGuest {
    /// The kind of that evidence.
    pub by: EvidenceKind,
    /// What it showed of the machine.
    pub identities: BTreeSet<Identity>,
    /// SHA-256 of the key that quoted for it, where the kind has such a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_sha256: Option<Fixed<32>>,
    /// What is new at each launch of the guest: `REPORT_ID` of SEV-SNP, TD id of TDX; none where a quote shows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<Fixed<32>>,
}

/// One entry of the ledger with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// From 0.
    pub index: u64,
    /// `SHA-256(salt || record)`.
    pub entry: [u8; 32],
    /// The record and its salt; `None` once pruned.
    pub body: Option<(Vec<u8>, [u8; 16])>,
}

/// The ledger's head as committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Entries in the tree.
    pub size: u64,
    /// The signed checkpoint.
    pub checkpoint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_from_before_there_were_guests_is_read() {
        let lease = LeaseRow {
            id: LeaseId::from([1; 16]),
            decision: DecisionId(ulid::Ulid::from(2)),
            node: NodeId::from([3; 32]),
            ak_sha256: Some(Fixed([4; 32])),
            guest: None,
            statement_sha256: Fixed([5; 32]),
            caller_sha256: None,
            recipient_sha256: Fixed([6; 32]),
            keys: Vec::new(),
            job: None,
            boot: Some((7, 8)),
            wrapped_secret: Bytes(vec![9]),
            obligations: "{}".into(),
            state: LeaseState::Live,
            granted_at: 1,
            expires_at: 2,
            reattest_at: 2,
            delivered: true,
        };
        let mut json = serde_json::to_value(&lease).unwrap();
        assert_eq!((&json["boot"], json.get("guest")), (&serde_json::json!([7, 8]), None), "as it was written then");
        assert_eq!(json["ak_sha256"], Fixed([4; 32]).to_string());
        assert_eq!(serde_json::from_value::<LeaseRow>(json.clone()).unwrap(), lease);
        let guest = LeasedGuest {
            by: EvidenceKind::SevSnp,
            identities: ["snp-chip:0102030405060708".parse().unwrap()].into(),
            key_sha256: None,
            launch: Some(Fixed([1; 32])),
        };
        let other = LeaseRow { ak_sha256: None, boot: None, guest: Some(guest), ..lease };
        json = serde_json::to_value(&other).unwrap();
        assert_eq!(serde_json::from_value::<LeaseRow>(json).unwrap(), other);
    }
}
