//! `POST /v1/releases`: from evidence to sealed keys.
//!
//! ```text
//! ReleaseRequest ──Asked::read──> Asked ──attest──> Attested ──> known statement ──> resend
//!   caps, statement, vault,       node, items, E7,      │──> identification ──> identify
//!   nonce, caller, whose          logs                  └─ Facts::gather ──judge──> Judgement
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
mod cloud;
mod commit;
mod evidence;
mod facts;
mod identify;
pub(crate) mod ima_state;
mod items;
mod judgement;
mod kept;
pub(crate) mod known;
mod logs;
mod request;
mod resend;
pub(crate) mod room;
pub(crate) mod turns;
pub(crate) mod verify;

use crate::{json::Json, problem::Answer, vault::Shared};
use axum::extract::State;
use strongroom_protocol::{
    release::{ReleaseRequest, ReleaseResponse},
    statement::Act,
};

/// Handles a release, an attested renewal or an identification.
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
        (Act::Identify, _) => Box::pin(identify::decide(&vault, attested)).await,
    }
    .map(Json)
}

async fn attest(vault: &Shared, request: ReleaseRequest) -> Answer<evidence::Attested> {
    let asked = request::Asked::read(vault, request).await?;
    evidence::attest(vault, asked).await
}
