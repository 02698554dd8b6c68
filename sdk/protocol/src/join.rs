//! The join file: all the configuration that a client needs.

use crate::ids::VaultId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Written by `strongroomd init`, read by `strongroom join`. Contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinFile {
    /// Version: 1.
    pub v: u8,
    /// `https://host:port`.
    pub url: String,
    /// PEM of the CA that the vault's TLS certificate chains to.
    pub tls_ca: String,
    /// The vaults that are believed: a set, so that a successor can be pinned in advance.
    pub vault_ids: Vec<VaultId>,
    /// The ledger's verifier key (C2SP signed-note vkey).
    pub ledger_verifier_key: String,
}
