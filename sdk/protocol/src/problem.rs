//! Errors on the wire: RFC 9457 problem documents with a stable code.

use crate::ids::DecisionId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $status:literal;)+) => {
        /// A stable code of a refusal or failure, with its HTTP status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $name,)+
        }
        impl Code {
            /// All codes, for the reference page and for tests.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
            /// The code on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }
            /// One sentence for people: what happened.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

codes! {
    /// The request is malformed.
    Malformed = "malformed", 400;
    /// The request is larger than the vault reads.
    TooLarge = "too_large", 413;
    /// The nonce was not issued by this vault for this purpose.
    NonceInvalid = "nonce_invalid", 400;
    /// The nonce has expired; ask for a new challenge.
    NonceExpired = "nonce_expired", 400;
    /// The statement is for another vault.
    WrongVault = "wrong_vault", 400;
    /// The caller bytes are not those that the statement names.
    CallerMismatch = "caller_mismatch", 400;
    /// The evidence is not from an enrolled node.
    NotEnrolled = "not_enrolled", 401;
    /// The evidence does not verify.
    EvidenceRefused = "evidence_refused", 401;
    /// The bearer token is missing, unknown, expired or revoked.
    Unauthenticated = "unauthenticated", 401;
    /// The possession MAC does not verify, or the lease is not live.
    PossessionRefused = "possession_refused", 401;
    /// Policy denied the request.
    Denied = "denied", 403;
    /// The token's roles do not allow this.
    Forbidden = "forbidden", 403;
    /// It takes two persons: nobody may approve what is their own, or hold roles that are kept apart.
    FourEyes = "four_eyes", 403;
    /// There is no such thing, or it may not be seen.
    NotFound = "not_found", 404;
    /// It exists already, or changed meanwhile.
    Conflict = "conflict", 409;
    /// The nonce has been used; ask for a new challenge.
    NonceReused = "nonce_reused", 409;
    /// The key version was destroyed.
    KeyDestroyed = "key_destroyed", 410;
    /// The enrolment does not hold: certificate, key or credential was refused.
    EnrolmentRefused = "enrolment_refused", 422;
    /// The policy bundle does not load, or its tests fail.
    PolicyInvalid = "policy_invalid", 422;
    /// The vault is locked.
    Locked = "vault_locked", 423;
    /// Too many requests, or a quota is used up; retry after the time given.
    TooMany = "too_many_requests", 429;
    /// The vault failed inside; the request id finds it in the vault's log.
    Internal = "internal", 500;
    /// The ledger cannot be written, so nothing is released; retry later.
    LedgerUnavailable = "ledger_unavailable", 503;
    /// The store cannot be reached; retry later.
    StoreUnavailable = "store_unavailable", 503;
}

/// A problem document (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `urn:strongroom:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One sentence: what happened.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: Code,
    /// What was wrong in this case, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The field that was malformed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The row of `attestation.md` that refused the evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// The decision, where one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<DecisionId>,
    /// Reason codes of a denial; no expected values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Seconds to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Finds the request in the vault's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Problem {
    /// A problem with only its code; add what is known.
    pub fn new(code: Code) -> Self {
        Self {
            kind: format!("urn:strongroom:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: None,
            field: None,
            row: None,
            decision_id: None,
            reasons: Vec::new(),
            retry_after: None,
            request_id: None,
        }
    }

    /// Adds what was wrong in this case, and what to do.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Names the malformed field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Names the row that refused.
    #[must_use]
    pub fn row(mut self, row: impl Into<String>) -> Self {
        self.row = Some(row.into());
        self
    }

    /// Says how long to wait, seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_read_back() {
        let mut seen = std::collections::HashSet::new();
        for &code in Code::ALL {
            assert!(seen.insert(code.as_str()));
            let problem = Problem::new(code);
            let json = serde_json::to_string(&problem).unwrap();
            assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
            assert!(problem.title.ends_with('.'), "{}", problem.title);
        }
    }
}
