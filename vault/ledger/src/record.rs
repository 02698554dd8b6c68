//! The record of a decision or an administrative act: what the ledger keeps of it.

use crate::{Action, Actor, LedgerError, Subject, Timestamp, names::names};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strongroom_protocol::{
    DecisionId, Fixed, LeaseId, NodeId, limits, sha256,
    statement::{Access, KeyRequest, Scope, check_asset_name},
};

/// A record, bytes: 256 keys of assets with the longest names fit, and details beside them.
pub const RECORD_BYTES: usize = 256 << 10;
/// Reasons in a record.
const REASONS: usize = 256;
/// Levels of nesting in `details`.
const DETAILS_DEPTH: usize = 16;
/// The largest integer that every JSON reader reads exactly (RFC 8785, section 3.2.2.3; RFC 7493).
const LARGEST_INTEGER: u64 = (1 << 53) - 1;

/// A key that was asked for, without its objects' ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyGrant {
    /// Asset name.
    pub asset: String,
    /// Key version, from 1.
    pub version: u32,
    /// Read or write.
    pub access: Access,
    /// Object, version or writer.
    pub scope: Scope,
    /// Number of objects, for scope `object`; else 0 and absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub objects: u32,
    /// SHA-256 over writer id (16 bytes) and object id (16 bytes) of each object, in the statement's
    /// order, for scope `object`; else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects_sha256: Option<Fixed<32>>,
}

impl From<&KeyRequest> for KeyGrant {
    fn from(key: &KeyRequest) -> Self {
        let ids: Vec<u8> =
            key.objects.iter().flat_map(|o| [*o.writer.as_array(), *o.object.as_array()]).flatten().collect();
        Self {
            asset: key.asset.clone(),
            version: key.version,
            access: key.access,
            scope: key.scope,
            objects: u32::try_from(key.objects.len()).unwrap_or(u32::MAX),
            objects_sha256: (!key.objects.is_empty()).then(|| Fixed(sha256(&ids))),
        }
    }
}

names! {
    /// How the policy stood when it decided.
    PolicyMode {
        /// It was in force.
        Enforced => "enforced",
        /// It was evaluated beside the one in force.
        Shadow => "shadow",
    }
}

/// The policy that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRef {
    /// SHA-256 of the bundle.
    pub digest: Fixed<32>,
    /// How it stood.
    pub mode: PolicyMode,
}

names! {
    /// The outcome of a decision.
    Verdict {
        /// Keys were handed over, or the lease prolonged.
        Released => "released",
        /// Refused, for the record's reasons.
        Denied => "denied",
    }
}

/// A record, version 1. No secret, no raw evidence: digests only.
///
/// Its bytes are RFC 8785 JSON, and fields that are empty are absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of the record: 1.
    pub v: u8,
    /// The record's id; of a decision, the decision's.
    pub id: DecisionId,
    /// When, by the database's clock.
    pub time: Timestamp,
    /// The replica that wrote it.
    pub replica: String,
    /// Who acted.
    pub actor: Actor,
    /// What was done.
    pub action: Action,
    /// What it was done to.
    pub subject: Subject,
    /// The node concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The node's site at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The site's jurisdiction at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<String>,
    /// The job on whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The lease granted, or acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// The keys asked for, at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyGrant>,
    /// The policy that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
    /// SHA-256 of the statement's exact bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_sha256: Option<Fixed<32>>,
    /// SHA-256 of the recipient's public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient_sha256: Option<Fixed<32>>,
    /// Address of the evidence in the content-addressed table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_sha256: Option<Fixed<32>>,
    /// Address of the claims in the content-addressed table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims_sha256: Option<Fixed<32>>,
    /// The outcome. `release.decided` has one, `lease.renewed` and `node.identified` may have one, nothing else has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Reason codes, each 1 to 128 visible ASCII characters; a denial has at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What an administrative act changed. Its numbers are integers below 2^53.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
    /// The latest earlier record of the same subject; absent in its first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<DecisionId>,
}

impl Record {
    /// A record with what every record has; the rest is empty.
    pub fn new(
        id: DecisionId,
        time: Timestamp,
        replica: impl Into<String>,
        actor: Actor,
        action: Action,
        subject: Subject,
    ) -> Self {
        Self {
            v: 1,
            id,
            time,
            replica: replica.into(),
            actor,
            action,
            subject,
            node: None,
            site: None,
            jurisdiction: None,
            job: None,
            lease: None,
            keys: Vec::new(),
            policy: None,
            statement_sha256: None,
            recipient_sha256: None,
            evidence_sha256: None,
            claims_sha256: None,
            verdict: None,
            reasons: Vec::new(),
            details: Map::new(),
            previous: None,
        }
    }

    /// The record's one spelling: RFC 8785 JSON. Refuses what [`Record::parse`] would refuse.
    pub fn to_canonical(&self) -> Result<Vec<u8>, LedgerError> {
        self.check()?;
        let bytes = serde_json_canonicalizer::to_vec(self)
            .map_err(|e| LedgerError::RecordMalformed { problem: e.to_string() })?;
        if bytes.len() > RECORD_BYTES {
            return Err(LedgerError::RecordTooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Reads a record from its exact bytes, and refuses any other spelling of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, LedgerError> {
        if bytes.len() > RECORD_BYTES {
            return Err(LedgerError::RecordTooLarge { bytes: bytes.len() });
        }
        let record: Self =
            serde_json::from_slice(bytes).map_err(|e| LedgerError::RecordMalformed { problem: e.to_string() })?;
        if record.to_canonical()? == bytes { Ok(record) } else { Err(LedgerError::RecordNotCanonical) }
    }

    /// The rules that the types do not carry.
    fn check(&self) -> Result<(), LedgerError> {
        if self.v != 1 {
            return Err(field("v", "this software reads records of version 1"));
        }
        check_text("replica", &self.replica)?;
        check_text("actor.id", &self.actor.id)?;
        check_text("subject.id", &self.subject.id)?;
        for (name, value) in [("site", &self.site), ("jurisdiction", &self.jurisdiction), ("job", &self.job)] {
            if let Some(value) = value {
                check_text(name, value)?;
            }
        }
        self.check_keys()?;
        self.check_verdict()?;
        check_details(&self.details)?;
        if self.previous == Some(self.id) {
            return Err(field("previous", "a record does not follow itself"));
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), LedgerError> {
        if self.keys.len() > limits::KEYS {
            return Err(field("keys", format!("at most {} keys", limits::KEYS)));
        }
        for (i, key) in self.keys.iter().enumerate() {
            let refused = |name: &str, problem: &str| field(format!("keys[{i}].{name}"), problem);
            check_asset_name(&key.asset).map_err(|problem| refused("asset", problem))?;
            if key.version == 0 {
                return Err(refused("version", "key versions start at 1"));
            }
            let by_object = match (key.access, key.scope) {
                (Access::Read, Scope::Object) => true,
                (Access::Read, Scope::Version) | (Access::Write, Scope::Writer) => false,
                _ => return Err(refused("scope", "allowed are read/object, read/version and write/writer")),
            };
            let counts = if by_object { 1..=limits::OBJECTS } else { 0..=0 };
            if !counts.contains(&(key.objects as usize)) || key.objects_sha256.is_some() != by_object {
                return Err(refused("objects", "scope object counts and digests its objects, no other scope does"));
            }
        }
        Ok(())
    }

    fn check_verdict(&self) -> Result<(), LedgerError> {
        if self.reasons.len() > REASONS {
            return Err(field("reasons", format!("at most {REASONS} reasons")));
        }
        for (i, reason) in self.reasons.iter().enumerate() {
            if !(1..=128).contains(&reason.len()) || !reason.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(field(format!("reasons[{i}]"), "1 to 128 visible ASCII characters"));
            }
        }
        match (self.action, self.verdict) {
            (Action::ReleaseDecided, None) => return Err(field("verdict", "a decision has a verdict")),
            (Action::ReleaseDecided | Action::LeaseRenewed | Action::NodeIdentified, _) | (_, None) => {}
            (_, Some(_)) => return Err(field("verdict", "only decisions have a verdict")),
        }
        if self.verdict.is_some() && self.statement_sha256.is_none() {
            return Err(field("statement_sha256", "a decision names the statement that it answers"));
        }
        if self.verdict.is_some() && self.recipient_sha256.is_none() {
            return Err(field("recipient_sha256", "a decision names the recipient of the statement"));
        }
        if self.verdict == Some(Verdict::Denied) && self.reasons.is_empty() {
            return Err(field("reasons", "a denial has at least one reason"));
        }
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn field(name: impl Into<String>, problem: impl Into<String>) -> LedgerError {
    LedgerError::RecordField { field: name.into(), problem: problem.into() }
}

fn check_text(name: &str, value: &str) -> Result<(), LedgerError> {
    if (1..=255).contains(&value.len()) && !value.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(field(name, "1 to 255 bytes without control characters"))
    }
}

fn check_details(details: &Map<String, Value>) -> Result<(), LedgerError> {
    fn walk(value: &Value, depth: usize) -> Result<(), LedgerError> {
        if depth > DETAILS_DEPTH {
            return Err(field("details", format!("at most {DETAILS_DEPTH} levels")));
        }
        match value {
            Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
            Value::Number(n) => {
                let magnitude = n.as_u64().or_else(|| n.as_i64().map(i64::unsigned_abs));
                match magnitude {
                    Some(m) if m <= LARGEST_INTEGER => Ok(()),
                    _ => Err(field("details", "numbers are integers between -(2^53 - 1) and 2^53 - 1")),
                }
            }
            Value::Array(items) => items.iter().try_for_each(|item| walk(item, depth + 1)),
            Value::Object(items) => items.values().try_for_each(|item| walk(item, depth + 1)),
        }
    }
    details.values().try_for_each(|value| walk(value, 1))
}

#[cfg(test)]
mod tests;
