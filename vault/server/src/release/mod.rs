//! `POST /v1/releases`: from evidence to sealed keys.
//!
//! ```text
//! ReleaseRequest ──Asked::read──> Asked ──attest──> Attested ──> known statement ──> resend
//!   caps, statement, vault,       node, quote, logs     │
//!   nonce, caller                                       └─ Facts::gather ──judge──> Judgement
//!                                                             ^                        │ commit
//!                                                             └──── stale: again ──────┤
//!                                                                                      v
//!                                                                   Granted ──answer──> ReleaseResponse
//! ```
//!
//! Up to `attest` nothing is stored and nothing burnt: failures are counted. From there on every
//! outcome is a decision with a ledger entry, and only `Granted`, which exists after the commit,
//! can be answered with keys.

mod answer;
mod commit;
mod evidence;
mod facts;
pub(crate) mod ima_state;
mod judgement;
mod kept;
mod logs;
mod request;
mod resend;
pub(crate) mod room;
pub(crate) mod turns;

use crate::{
    json::Json,
    problem::{Answer, Refused},
    vault::Shared,
};
use axum::extract::State;
use strongroom_protocol::{
    release::{ReleaseRequest, ReleaseResponse},
    statement::Act,
};

/// Handles a release or an attested renewal.
pub async fn create(State(vault): State<Shared>, Json(request): Json<ReleaseRequest>) -> Answer<Json<ReleaseResponse>> {
    let attested = match attest(&vault, request).await {
        Ok(attested) => attested,
        Err(refused) => {
            vault.refusals.count(&refused);
            return Err(refused);
        }
    };
    match (attested.asked.statement.act, &attested.known) {
        (Act::Release, Some(_)) => resend::again(&vault, attested).await,
        (Act::Release | Act::Renew, _) => Box::pin(commit::decide(&vault, attested)).await,
        // Refused while it was read.
        (Act::Identify, _) => Err(Refused::malformed("act", "this vault takes no identifications")),
    }
    .map(Json)
}

async fn attest(vault: &Shared, request: ReleaseRequest) -> Answer<evidence::Attested> {
    let asked = request::Asked::read(vault, request).await?;
    evidence::attest(vault, asked).await
}
