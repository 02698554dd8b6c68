//! `POST /v1/challenges`: a nonce that any replica can check and nobody can prepare evidence for.

use crate::{
    clock::rfc3339,
    json::Json,
    problem::{Answer, Refused},
    vault::{Shared, Vault},
};
use axum::extract::State;
use strongroom_protocol::{
    Code, Problem,
    challenge::{Challenge, ChallengeRequest, Nonce, Purpose},
    limits::NONCE_LIFETIME,
};

/// Issues a nonce. Nothing is written.
pub async fn create(State(vault): State<Shared>, Json(request): Json<ChallengeRequest>) -> Answer<Json<Challenge>> {
    if request.purpose == Purpose::Manifest {
        return Err(Refused::malformed("purpose", "this vault registers no manifests"));
    }
    let expires_at = vault.clock.about().await?.saturating_add_unsigned(NONCE_LIFETIME);
    let expiry = u64::try_from(expires_at).map_err(Refused::internal)?;
    let nonce = vault.keys.issue_nonce(request.purpose, expiry)?;
    Ok(Json(Challenge { nonce, expires_at: rfc3339(expires_at), vault_id: vault.keys.vault_id() }))
}

/// Refuses a nonce that this vault did not issue for `purpose`, or that expired before `now`. The
/// commit that burns it judges its expiry again.
pub fn check(vault: &Vault, purpose: Purpose, nonce: &Nonce, now: i64) -> Answer<()> {
    if !vault.keys.issued_nonce(purpose, nonce) {
        return Err(Problem::new(Code::NonceInvalid).field("nonce").into());
    }
    if i64::try_from(nonce.expiry()).is_ok_and(|expiry| expiry <= now) {
        return Err(Problem::new(Code::NonceExpired).field("nonce").into());
    }
    Ok(())
}
