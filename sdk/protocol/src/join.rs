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
    /// The same of the vault's other replicas: tried in this order when the one before cannot be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<String>,
    /// PEM of the CA that the vault's TLS certificate chains to.
    pub tls_ca: String,
    /// The vaults that are believed: a set, so that a successor can be pinned in advance.
    pub vault_ids: Vec<VaultId>,
    /// The ledger's verifier key (C2SP signed-note vkey).
    pub ledger_verifier_key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One replica is what most vaults have, and what the first join files say.
    #[test]
    fn a_file_names_other_replicas_where_there_are_some() {
        let plain = r#"{"v":1,"url":"https://a","tls_ca":"","vault_ids":[],"ledger_verifier_key":""}"#;
        let join: JoinFile = serde_json::from_str(plain).unwrap();
        assert!(join.replicas.is_empty());
        assert_eq!(serde_json::to_string(&join).unwrap(), plain);
        let several = plain.replace(r#""https://a","#, r#""https://a","replicas":["https://b"],"#);
        let join: JoinFile = serde_json::from_str(&several).unwrap();
        assert_eq!(join.replicas, ["https://b"]);
        assert_eq!(serde_json::to_string(&join).unwrap(), several);
    }
}
