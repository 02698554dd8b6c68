//! Leases between attestations: possession, renewal, end, events.
//!
//! A possession request carries `Strongroom-Possession: <nonce>.<client_random>.<mac>` (base64url
//! each); its answer carries `Strongroom-Signature: <signature>` over the answer's exact bytes.

use crate::{
    bytes::{BytesError, Fixed},
    challenge::Nonce,
    ids::{DecisionId, LeaseId},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Request header with a possession MAC.
pub const POSSESSION_HEADER: &str = "strongroom-possession";
/// Response header with the vault's signature over the answer.
pub const SIGNATURE_HEADER: &str = "strongroom-signature";
/// Act of `POST /v1/leases/{id}/renew`.
pub const ACT_RENEW: &str = "renew";
/// Act of `DELETE /v1/leases/{id}`.
pub const ACT_END: &str = "end";
/// Act of `GET /v1/leases/{id}/events`.
pub const ACT_LISTEN: &str = "listen";
/// Reason of a refused possession: the lease is live, and only fresh evidence prolongs it now.
pub const EVIDENCE_DUE: &str = "evidence_due";
/// Reason of a refused possession: the lease's time ran out, and nobody took it back.
pub const LEASE_EXPIRED: &str = "lease_expired";

/// The value of [`POSSESSION_HEADER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Possession {
    /// A nonce issued for possession.
    pub nonce: Nonce,
    /// Fresh random bytes of the client.
    pub client_random: Fixed<16>,
    /// HMAC-SHA-256 under the lease secret over [`crate::binding::possession_message`].
    pub mac: Fixed<32>,
}

impl fmt::Display for Possession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.nonce.0, self.client_random, self.mac)
    }
}

impl FromStr for Possession {
    type Err = BytesError;
    fn from_str(text: &str) -> Result<Self, BytesError> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(BytesError::NotBase64Url);
        let possession =
            Self { nonce: Nonce(next()?.parse()?), client_random: next()?.parse()?, mac: next()?.parse()? };
        if parts.next().is_some() { Err(BytesError::NotBase64Url) } else { Ok(possession) }
    }
}

/// How the client holds what it was given. It says so before it uses the keys, and the ledger
/// keeps it in `release.delivered`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handling {
    /// Where the keys are: `memfd_secret` or `locked_anonymous`.
    pub key_pages: String,
    /// Each protection that was explicitly given up (`unlocked_memory`, ...); empty as a rule.
    #[serde(default)]
    pub weakened: Vec<String>,
    /// True when plaintext is written to a disk on an explicit wish.
    pub plaintext_to_disk: bool,
    /// Name and version of the software.
    pub client: String,
}

/// Body of a renewal by possession.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// In the first proof of possession, and whenever it changes.
    #[serde(default)]
    pub handling: Option<Handling>,
}

/// Answer to a renewal by possession, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewAnswer {
    /// The lease.
    pub lease: LeaseId,
    /// Seconds until it ends, counted from the start of the request.
    pub expires_in: u64,
    /// Seconds after which to prove possession again.
    pub renew_after: u64,
    /// Seconds after which only fresh evidence will do.
    pub reattest_after: u64,
}

/// Body of `DELETE /v1/leases/{id}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndRequest {}

/// Answer to the end of a lease, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndAnswer {
    /// The lease.
    pub lease: LeaseId,
    /// Always true: it has ended.
    pub ended: bool,
}

/// What happens to a lease while its holder listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The stream is open.
    Listening,
    /// The lease was revoked: zero keys and plaintext now.
    Revoked,
    /// The lease ended or expired.
    Ended,
}

/// One event, the `data` of a server-sent event; `signature` stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseEvent {
    /// The lease.
    pub lease: LeaseId,
    /// Counts from 0 in each stream; takes the nonce's place in the signature, as u64 big-endian.
    pub counter: u64,
    /// What happened.
    pub event: EventKind,
    /// Why, where a person said so.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a server-sent event carries: the event's exact bytes and the vault's signature over them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedEvent {
    /// [`LeaseEvent`] as JSON, its exact bytes.
    pub event: crate::bytes::Bytes,
    /// Ed25519 over [`crate::binding::lease_message`] with act `listen`.
    pub signature: Fixed<64>,
}

/// State of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// Keys may be held.
    Live,
    /// Its time ran out.
    Expired,
    /// Its holder ended it.
    Ended,
    /// A person, or a rule, took it back.
    Revoked,
}

/// A lease as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseView {
    /// The lease.
    pub id: LeaseId,
    /// The decision that granted it.
    pub decision: DecisionId,
    /// The node that holds it.
    pub node: crate::ids::NodeId,
    /// What it holds, as `asset@version access/scope`.
    pub keys: Vec<String>,
    /// Its state.
    pub state: LeaseState,
    /// RFC 3339.
    pub granted_at: String,
    /// RFC 3339.
    pub expires_at: String,
    /// True once the holder has proved possession.
    pub delivered: bool,
}

/// Query of `GET /v1/leases`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseQuery {
    /// True: leases that are over, too; only live ones otherwise.
    #[serde(default)]
    pub all: bool,
    /// Only leases behind this one in the list (keyset paging): the last of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<LeaseId>,
    /// At most this many, newest first; 100 unless given, 1,000 at the most. A page that is shorter is
    /// the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Body of `POST /v1/leases/revoke`: which live leases are taken back together, chosen by exactly one
/// of the first four, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeLeases {
    /// Those of this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<crate::ids::NodeId>,
    /// Those that hold a key of this asset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset: Option<String>,
    /// Those of the nodes of this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// All there are.
    #[serde(default)]
    pub everything: bool,
    /// Why; kept in the ledger, and told to the holders.
    pub reason: String,
}

/// The answer to [`RevokeLeases`]. It was done in one transaction, whose record says the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokedLeases {
    /// The record's id.
    pub record: DecisionId,
    /// Its index in the ledger.
    pub index: u64,
    /// How many leases were live, and are not any more.
    pub leases: u64,
    /// Key versions (`asset@version`) that one of them held whole: they open only, until rotated.
    pub decrypt_only: Vec<String>,
}

/// Body of `POST /v1/leases/{id}/revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeLease {
    /// Why; kept in the ledger.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_possession_header_is_three_parts() {
        let possession =
            Possession { nonce: Nonce::new([1; 16], 2, [3; 16]), client_random: Fixed([4; 16]), mac: Fixed([5; 32]) };
        let text = possession.to_string();
        assert_eq!(text.parse::<Possession>().unwrap(), possession);
        for wrong in [format!("{text}.AA"), text[1..].to_owned(), String::new()] {
            assert!(wrong.parse::<Possession>().is_err(), "{wrong}");
        }
    }
}
