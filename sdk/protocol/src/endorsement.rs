//! Endorsements in the vault, as people administer them: what vendors publish about their hardware, and the roots that
//! vouch for it.

use crate::{Bytes, DecisionId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `POST /v1/endorsements`: takes in all of it, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportEndorsement {
    /// Certificates and revocation lists (DER, or PEM with up to 64 blocks), answers of NVIDIA's responder (OCSP, DER),
    /// Intel's collateral (JSON) or NVIDIA's manifest (XML); at most 1 MiB.
    pub bytes: Bytes,
    /// What the bytes do not say themselves: the id under which NVIDIA publishes a manifest; of AMD's revocation lists,
    /// by the path of AMD's service that they came from, `vcek` (which is also without it) or `vlek`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// What an import took in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedEndorsements {
    /// Its record in the ledger; absent where everything lay there already, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<DecisionId>,
    /// The record's index in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Everything that was given, once each, as it lies there now.
    pub endorsements: Vec<EndorsementView>,
    /// The names of those that lay there already, byte for byte.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<String>,
    /// What people should know of what was taken, as that its end is past.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How an endorsement stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndorsementState {
    /// Its end is past.
    Expired,
    /// Its end is within 14 days.
    Expiring,
    /// Its beginning is to come.
    NotYetValid,
    /// None of these.
    Valid,
}

impl EndorsementState {
    /// As it stands on the wire, and as people read it but for the underscores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Expiring => "expiring",
            Self::NotYetValid => "not_yet_valid",
            Self::Valid => "valid",
        }
    }
}

/// One endorsement, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndorsementView {
    /// By what it is found: a path such as `vcek/{chip}/{tcb}.der`.
    pub name: String,
    /// The kind of root that vouches for it: `amd-ark`, `intel-sgx-root`, `nvidia-rim-root`, ….
    pub of: String,
    /// `certificate`, `revocation list`, `answer` (of OCSP), `collateral` or `manifest`.
    pub content: String,
    /// What or whom it is about.
    pub subject: String,
    /// SHA-256 of its bytes, lower-case hexadecimal.
    pub sha256: String,
    /// Since when it is valid, RFC 3339.
    pub from: String,
    /// Until when, RFC 3339.
    pub until: String,
    /// How it stands in time.
    pub state: EndorsementState,
    /// False where no pinned root vouches for it any more: then it lies there and is not used.
    pub vouched: bool,
    /// A manifest's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Who imported it.
    pub imported_by: String,
    /// When, RFC 3339.
    pub imported_at: String,
    /// Who wants it removed, where that needs a second person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal_proposed_by: Option<String>,
}

/// `POST /v1/pins`: proposes that a root be trusted for one purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposePin {
    /// What for. Only `tpm-vendor` is taken: the roots of processors and GPUs come with a release.
    pub kind: String,
    /// The root's subject, for people.
    pub name: String,
    /// SHA-256 of the root certificate's DER, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Where the certificate can be had and compared.
    pub source: String,
}

/// How a pin stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PinState {
    /// One person proposed it; nothing rests on it.
    #[default]
    Proposed,
    /// Another person approved it, or it came with the release.
    InForce,
}

/// A pinned root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PinView {
    /// What it is trusted for, and for nothing else.
    pub kind: String,
    /// Its subject, for people: the fingerprint decides.
    pub name: String,
    /// The product that it is the root of, where a vendor has one for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// SHA-256 of the certificate's DER, lower-case hexadecimal.
    pub sha256: String,
    /// Where the certificate can be had and compared.
    pub source: String,
    /// True where it came with the release: it cannot be withdrawn.
    pub built_in: bool,
    /// How it stands.
    pub state: PinState,
    /// Who proposed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed_by: Option<String>,
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed_at: Option<String>,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}
