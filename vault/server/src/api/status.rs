//! What the vault says of itself: identity, health, readiness, its API.

use crate::{
    json::{Json, json_bytes},
    openapi,
    problem::{Answer, Refused},
    vault::Shared,
};
use axum::{extract::State, response::Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strongroom_protocol::{Code, Fixed, admin::VaultInfo};
use strongroom_store::StoreError;

/// The version of this software.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `GET /healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Always true: the process answers.
    pub alive: bool,
    /// Software version.
    pub version: String,
}

/// `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    /// True: requests are served.
    pub ready: bool,
    /// The ledger's size.
    pub ledger_size: u64,
}

/// `GET /v1/vault`.
pub async fn vault(State(vault): State<Shared>) -> Answer<Json<VaultInfo>> {
    Ok(Json(VaultInfo {
        vault_id: vault.keys.vault_id(),
        identity_key: Fixed(*vault.keys.identity().public_key()),
        ledger_verifier_key: vault.ledger_key.to_string(),
        pcr_selection: vault.pcr_selection().await?,
        four_eyes_waived: vault.config.four_eyes.waived,
        version: VERSION.to_owned(),
    }))
}

/// `GET /healthz`.
pub async fn health() -> Json<Health> {
    Json(Health { alive: true, version: VERSION.to_owned() })
}

/// `GET /readyz`: ready when the vault is not locked, the store answers, and this replica may commit to it: the
/// ledger has room, and neither is its name another process's nor the ledger marked as gone back in time.
pub async fn ready(State(vault): State<Shared>) -> Answer<Json<Readiness>> {
    if let Some(reason) = vault.lock.reason() {
        return Err(Refused::new(Code::Locked, reason));
    }
    let checked = match vault.store.check_writable().await {
        Ok(()) => vault.store.head().await,
        Err(error) => Err(error),
    };
    let head = checked.map_err(|error| match error {
        // Found by another replica: this one would learn of it with its next commit.
        StoreError::Rollback { .. } => {
            vault.lock.lock(error.to_string());
            Refused::new(Code::Locked, error.to_string())
        }
        error => error.into(),
    })?;
    // The first to need them would wait: thousands of certificates are vouched for anew.
    vault.endorsements.current(vault.store.as_ref()).await?;
    Ok(Json(Readiness { ready: true, ledger_size: head.map_or(0, |h| h.size) }))
}

/// `GET /v1/openapi.json`.
pub async fn openapi() -> Answer<Response> {
    Ok(json_bytes(openapi::document_text().map_err(Refused::internal)?.into_bytes()))
}
