//! What auditors ask and get.

use crate::{bytes::Bytes, ids::DecisionId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Query of `GET /v1/audit/records`. Without times: the last 15 minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// RFC 3339, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// RFC 3339, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Asset name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset: Option<String>,
    /// Node id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Site name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Job id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// `kind:id` of the actor, such as `person:alice`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Action, such as `release.decided`; a trailing `.*` takes all of a kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// `released` or `denied`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// A reason code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only records after this index (keyset paging).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most this many records; 100 unless given, 1,000 at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// One entry of the ledger with its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntryView {
    /// Index in the ledger, from 0.
    pub index: u64,
    /// The record: RFC 8785 JSON, its exact bytes; null once pruned.
    pub record: Option<Bytes>,
    /// The record's salt, 16 bytes; null once pruned.
    pub salt: Option<Bytes>,
    /// `SHA-256(salt || record)`.
    pub entry: Bytes,
}

/// A page of records, as of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditPage {
    /// The signed checkpoint that it was read at.
    pub checkpoint: String,
    /// The entries, ascending by index.
    pub entries: Vec<EntryView>,
    /// Give this as `after` to get the next page; null on the last.
    pub next: Option<u64>,
}

/// `GET /v1/audit/records/{id}/proof`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProofView {
    /// The entry.
    pub entry: EntryView,
    /// A C2SP tlog-proof under the newest checkpoint.
    pub receipt: String,
}

/// `GET /v1/decisions/{id}`: what `explain` shows to an authorised person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionView {
    /// The decision.
    pub decision_id: DecisionId,
    /// Its index in the ledger.
    pub index: u64,
    /// The record.
    pub record: serde_json::Value,
    /// The input that policy evaluated: claims, node, assets, references.
    pub input: serde_json::Value,
    /// Every denial with its message, the claim, what was expected and what was got.
    pub denials: Vec<Denial>,
    /// Obligations that came with a release.
    pub obligations: serde_json::Value,
}

/// One reason of a denial, for the authorised person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Denial {
    /// Stable code, the only part that the node learns.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// The claim that it rests on, such as `tpm.pcrs.9`.
    #[serde(default)]
    pub claim: Option<String>,
    /// What policy wanted.
    #[serde(default)]
    pub expected: Option<serde_json::Value>,
    /// What the evidence showed.
    #[serde(default)]
    pub got: Option<serde_json::Value>,
}

/// A line of an export: the header first, then one entry a line, then the footer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "line", rename_all = "lowercase", deny_unknown_fields)]
pub enum ExportLine {
    /// First line.
    Header {
        /// Version: 1.
        v: u8,
        /// The ledger's verifier key, for information: verify with your own copy.
        ledger_verifier_key: String,
        /// First index, always 0.
        first: u64,
    },
    /// One entry.
    Entry(EntryView),
    /// Last line: the signed checkpoint whose tree the entries make.
    Footer {
        /// Signed note.
        checkpoint: String,
    },
}
