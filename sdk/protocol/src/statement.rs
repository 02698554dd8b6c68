//! The statement: what a client asks for, in the exact bytes that evidence binds.
//!
//! The client builds JSON once and sends those bytes; the vault parses them but hashes what it
//! received. Nothing is re-serialised before hashing.

use crate::{
    bytes::{Bytes, Fixed},
    challenge::Nonce,
    ids::{LeaseId, ObjectId, VaultId, WriterId},
    limits, objects, sha256,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Bytes of an X-Wing public key.
pub const X_WING_PUBLIC_KEY: usize = 1216;

/// What the statement asks the vault to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// Hand over keys under a new lease.
    Release,
    /// Prolong a lease on fresh evidence.
    Renew,
    /// Add identities to the node's approved record.
    Identify,
}

/// The key encapsulation of the recipient key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Kem {
    /// X-Wing: ML-KEM-768 with X25519 (HPKE KEM 0x647a).
    #[serde(rename = "x-wing")]
    XWing,
}

/// The fresh HPKE key that released keys are wrapped to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// Key encapsulation mechanism.
    pub kem: Kem,
    /// Public key, 1,216 bytes for X-Wing.
    pub public_key: Bytes,
}

/// What the keys may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Open what is sealed.
    Read,
    /// Seal new objects.
    Write,
}

/// How much a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The key of each named object.
    Object,
    /// The key version: every object of it.
    Version,
    /// A writer key: makes new objects, opens nothing that others wrote.
    Writer,
}

/// One object of an asset, with the writer that its key derives from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectRef {
    /// The lease that wrote the object.
    pub writer: WriterId,
    /// The object.
    pub object: ObjectId,
}

/// One key, or one set of object keys, that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// Asset name.
    pub asset: String,
    /// Key version, from 1.
    pub version: u32,
    /// Read or write.
    pub access: Access,
    /// Object, version or writer.
    pub scope: Scope,
    /// The objects, for scope `object` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectRef>,
}

/// The scheduler's job on whose behalf keys are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobRef {
    /// The job's id.
    pub id: String,
    /// SHA-256 of the scheduler's token, which travels beside the statement.
    pub token_sha256: Fixed<32>,
}

/// The caller that the agent identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallerRef {
    /// SHA-256 of the caller bytes.
    pub sha256: Fixed<32>,
}

/// A statement, parsed. Build one with serde, keep the bytes, send the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Version of the statement: 1.
    pub v: u8,
    /// What is asked for.
    pub act: Act,
    /// The lease to renew; null for a release.
    pub lease: Option<LeaseId>,
    /// The vault that is asked.
    pub vault: VaultId,
    /// A nonce of that vault.
    pub nonce: Nonce,
    /// Fresh random bytes of the client in every statement.
    pub client_random: Fixed<16>,
    /// The key to wrap to.
    pub recipient: Recipient,
    /// The keys asked for.
    pub keys: Vec<KeyRequest>,
    /// The job, where there is one.
    pub job: Option<JobRef>,
    /// The caller; null exactly when no evidence has an `-agent` tag.
    pub caller: Option<CallerRef>,
}

/// Why a statement was not accepted, naming the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct StatementError {
    /// The field that was wrong.
    pub field: String,
    /// What was wrong with it.
    pub problem: String,
}

impl StatementError {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl Statement {
    /// Parses and checks the exact bytes of a statement: shape, caps, and the closed table of scope and access.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        if bytes.len() > limits::STATEMENT {
            return Err(StatementError::new("statement", format!("over {} bytes", limits::STATEMENT)));
        }
        let statement: Self =
            objects::from_slice(bytes).map_err(|e| StatementError::new("statement", e.to_string()))?;
        statement.check()?;
        Ok(statement)
    }

    /// The rules that the types do not carry.
    pub fn check(&self) -> Result<(), StatementError> {
        if self.v != 1 {
            return Err(StatementError::new("v", "this vault reads statements of version 1"));
        }
        match (self.act, self.lease) {
            (Act::Renew, None) => return Err(StatementError::new("lease", "a renewal names its lease")),
            (Act::Release | Act::Identify, Some(_)) => {
                return Err(StatementError::new("lease", "only a renewal names a lease"));
            }
            _ => {}
        }
        if self.recipient.public_key.0.len() != X_WING_PUBLIC_KEY {
            return Err(StatementError::new("recipient.public_key", "an X-Wing public key has 1,216 bytes"));
        }
        match (self.act, self.keys.len()) {
            (Act::Identify, 0) | (Act::Release | Act::Renew, 1..=limits::KEYS) => {}
            (Act::Identify, _) => return Err(StatementError::new("keys", "an identification asks for no keys")),
            (_, 0) => return Err(StatementError::new("keys", "at least one key")),
            _ => return Err(StatementError::new("keys", format!("at most {} keys", limits::KEYS))),
        }
        // The ledger's records name the job, and take no other text.
        let plain = |id: &str| (1..=255).contains(&id.len()) && !id.contains(char::is_control);
        if self.job.as_ref().is_some_and(|job| !plain(&job.id)) {
            return Err(StatementError::new("job.id", "1 to 255 bytes without control characters"));
        }
        let mut objects = 0;
        let mut seen = HashSet::new();
        for (i, key) in self.keys.iter().enumerate() {
            key.check().map_err(|e| StatementError::new(format!("keys[{i}].{}", e.field), e.problem))?;
            objects += key.objects.len();
            if !seen.insert((&key.asset, key.version, key.access, key.scope)) {
                return Err(StatementError::new(format!("keys[{i}]"), "asked for twice"));
            }
        }
        if objects > limits::OBJECTS {
            return Err(StatementError::new("keys", format!("at most {} objects a request", limits::OBJECTS)));
        }
        Ok(())
    }

    /// SHA-256 of the recipient's public key, as records name it.
    pub fn recipient_sha256(&self) -> [u8; 32] {
        sha256(&self.recipient.public_key.0)
    }
}

impl KeyRequest {
    fn check(&self) -> Result<(), StatementError> {
        check_asset_name(&self.asset).map_err(|problem| StatementError::new("asset", problem))?;
        if self.version == 0 {
            return Err(StatementError::new("version", "key versions start at 1"));
        }
        match (self.access, self.scope) {
            (Access::Read, Scope::Object) => {
                if self.objects.is_empty() {
                    return Err(StatementError::new("objects", "scope object names its objects"));
                }
                let distinct: HashSet<_> = self.objects.iter().collect();
                if distinct.len() != self.objects.len() {
                    return Err(StatementError::new("objects", "an object is named twice"));
                }
                Ok(())
            }
            (Access::Read, Scope::Version) | (Access::Write, Scope::Writer) => {
                if self.objects.is_empty() {
                    Ok(())
                } else {
                    Err(StatementError::new("objects", "only scope object names objects"))
                }
            }
            _ => Err(StatementError::new("scope", "allowed are read/object, read/version and write/writer")),
        }
    }
}

/// Asset names: 1 to 255 of `A-Z a-z 0-9 . _ -`, starting with a letter or a digit.
///
/// Narrower than the file format allows, so that a name is the same in a path, a URL and a log line.
pub fn check_asset_name(name: &str) -> Result<(), &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match name.as_bytes() {
        [] => Err("a name has at least one character"),
        bytes if bytes.len() > 255 => Err("a name has at most 255 characters"),
        [first, ..] if !first.is_ascii_alphanumeric() => Err("a name starts with a letter or a digit"),
        bytes if !bytes.iter().copied().all(plain) => {
            Err("a name has only letters, digits, dot, underscore and hyphen")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Statement {
        Statement {
            v: 1,
            act: Act::Release,
            lease: None,
            vault: VaultId::from([1; 32]),
            nonce: Nonce::new([2; 16], 3, [4; 16]),
            client_random: Fixed([5; 16]),
            recipient: Recipient { kem: Kem::XWing, public_key: Bytes(vec![6; X_WING_PUBLIC_KEY]) },
            keys: vec![KeyRequest {
                asset: "minilm".into(),
                version: 1,
                access: Access::Read,
                scope: Scope::Version,
                objects: vec![],
            }],
            job: None,
            caller: None,
        }
    }

    fn refused(change: impl FnOnce(&mut Statement)) -> String {
        let mut statement = good();
        change(&mut statement);
        Statement::parse(&serde_json::to_vec(&statement).unwrap()).unwrap_err().field
    }

    #[test]
    fn a_good_statement_is_read() {
        let bytes = serde_json::to_vec(&good()).unwrap();
        assert_eq!(Statement::parse(&bytes).unwrap(), good());
    }

    #[test]
    fn unknown_and_duplicate_fields_are_refused() {
        let json = serde_json::to_string(&good()).unwrap();
        for wrong in [json.replacen('{', "{\"more\":1,", 1), json.replacen('{', "{\"v\":1,", 1)] {
            assert!(Statement::parse(wrong.as_bytes()).is_err());
        }
    }

    #[test]
    fn a_statement_of_values_without_names_is_refused() {
        let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(good()) else { panic!("not an object") };
        let order = ["v", "act", "lease", "vault", "nonce", "client_random", "recipient", "keys", "job", "caller"];
        let values: Vec<_> = order.iter().map(|name| fields[*name].clone()).collect();
        let text = serde_json::to_vec(&values).unwrap();
        assert_eq!(serde_json::from_slice::<Statement>(&text).unwrap(), good(), "serde alone takes it");
        assert_eq!(Statement::parse(&text).unwrap_err().field, "statement");
    }

    #[test]
    fn each_rule_refuses_what_it_alone_forbids() {
        let object = ObjectRef { writer: WriterId::from([1; 16]), object: ObjectId::from([2; 16]) };
        assert_eq!(refused(|s| s.v = 2), "v");
        assert_eq!(refused(|s| s.act = Act::Renew), "lease");
        assert_eq!(refused(|s| s.lease = Some(LeaseId::from([0; 16]))), "lease");
        assert_eq!(refused(|s| s.recipient.public_key.0.truncate(32)), "recipient.public_key");
        assert_eq!(refused(|s| s.keys.clear()), "keys");
        assert_eq!(refused(|s| s.act = Act::Identify), "keys");
        assert_eq!(refused(|s| s.keys[0].asset = "../etc".into()), "keys[0].asset");
        assert_eq!(refused(|s| s.keys[0].version = 0), "keys[0].version");
        assert_eq!(refused(|s| s.keys[0].access = Access::Write), "keys[0].scope");
        assert_eq!(refused(|s| s.keys[0].scope = Scope::Writer), "keys[0].scope");
        assert_eq!(refused(|s| s.keys[0].scope = Scope::Object), "keys[0].objects");
        assert_eq!(refused(|s| s.keys[0].objects.push(object)), "keys[0].objects");
        assert_eq!(refused(|s| s.keys.push(s.keys[0].clone())), "keys[1]");
        let job = |id: &str| Some(JobRef { id: id.to_owned(), token_sha256: Fixed([7; 32]) });
        for wrong in ["", "train\n7", "train\u{85}7", "\u{1b}[31m", &"j".repeat(256)] {
            assert_eq!(refused(|s| s.job = job(wrong)), "job.id", "{wrong:?}");
        }
        let named = Statement { job: job("Träning 7"), ..good() };
        assert!(Statement::parse(&serde_json::to_vec(&named).unwrap()).is_ok());
        assert_eq!(
            refused(|s| {
                s.keys[0].scope = Scope::Object;
                s.keys[0].objects = vec![object, object];
            }),
            "keys[0].objects"
        );
    }
}
