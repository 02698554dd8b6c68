//! Endorsements of hardware, and the roots that two persons pinned.

use serde::{Deserialize, Serialize};
use strongroom_protocol::{Fixed, endorsement::PinState};

/// Bytes of one endorsement.
pub const ENDORSEMENT_BYTES: usize = 1 << 20;
/// Endorsements that a vault keeps, and their bytes in all.
pub const ENDORSEMENTS: (u32, u64) = (10_000, 128 << 20);
/// Pins that a vault keeps beside those of its program, proposals included.
pub const PINS: u32 = 256;

/// What one endorsement is. Its bytes are read apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndorsementRow {
    /// By what it is found.
    pub name: String,
    /// The kind of root that vouched for it when it was imported.
    pub of: String,
    /// What it is.
    pub content: String,
    /// What or whom it is about.
    pub subject: String,
    /// SHA-256 of its bytes.
    pub sha256: Fixed<32>,
    /// Since when it is valid, Unix seconds.
    pub from: i64,
    /// Until when, Unix seconds.
    pub until: i64,
    /// A manifest's id.
    #[serde(default)]
    pub id: Option<String>,
    /// The person who imported it.
    pub imported_by: String,
    /// Unix seconds.
    pub imported_at: i64,
    /// Who wants it removed, where that needs a second person. In a column only.
    #[serde(skip)]
    pub removal_proposed_by: Option<String>,
}

/// A root that was pinned by persons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinRow {
    /// What it is trusted for.
    pub kind: String,
    /// Its subject, for people.
    pub name: String,
    /// SHA-256 of the certificate's DER.
    pub sha256: Fixed<32>,
    /// Where the certificate can be had and compared.
    pub source: String,
    /// Who proposed it.
    pub proposed_by: String,
    /// Unix seconds.
    pub proposed_at: i64,
    /// State. In a column only, as is the approver.
    #[serde(skip)]
    pub state: PinState,
    /// Who put it in force.
    #[serde(skip)]
    pub approved_by: Option<String>,
}

/// Everything of the store of endorsements but the bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndorsementList {
    /// Grows with each change of it.
    pub generation: i64,
    /// By name.
    pub endorsements: Vec<EndorsementRow>,
    /// By kind and fingerprint.
    pub pins: Vec<PinRow>,
}
