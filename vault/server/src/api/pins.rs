//! Pins: the roots that vouch for endorsements. Those of processors and GPUs come with a release; a TPM vendor's is
//! added by two persons.

use super::{Act, endorsements::listed};
use crate::{
    authority::Holder,
    clock::rfc3339,
    endorsements::{Current, with_pins},
    json::{Json, Path},
    problem::{Answer, Refused},
    vault::{Shared, subject},
};
use axum::extract::State;
use std::sync::Arc;
use strongroom_attest::pins::PinKind;
use strongroom_ledger::{Action, Subject, SubjectKind};
use strongroom_protocol::{
    Code, Fixed,
    admin::Recorded,
    endorsement::{PinState, PinView, ProposePin},
};
use strongroom_store::{Change, Guard, model::PinRow};

/// Bytes of a name or a source.
const TEXT: usize = 512;

/// `POST /v1/pins`.
pub async fn propose(
    State(vault): State<Shared>,
    holder: Holder,
    Json(request): Json<ProposePin>,
) -> Answer<Json<Recorded>> {
    check_kind(&request.kind)?;
    let sha256 = fingerprint(&request.sha256)?;
    for (field, text) in [("name", &request.name), ("source", &request.source)] {
        if text.trim().is_empty() || text.len() > TEXT || text.contains(char::is_control) {
            return Err(Refused::malformed(field, format!("1 to {TEXT} bytes without control characters")));
        }
    }
    if vault.endorsements.built_in().find(PinKind::TpmVendor, &sha256.0).is_some() {
        return Err(Refused::new(Code::Conflict, "this root came with the release: it is pinned already"));
    }
    let current = vault.endorsements.current(vault.store.as_ref()).await?;
    let act = Act::by(&vault, &holder, Action::PinProposed, about(&request.kind, sha256)).await?;
    let row = PinRow {
        kind: request.kind,
        name: request.name,
        sha256,
        source: request.source,
        proposed_by: holder.token.person.clone(),
        proposed_at: act.now(),
        state: PinState::Proposed,
        approved_by: None,
    };
    let act = telling(act, &row).guarded(Guard::EndorsementGeneration(current.generation));
    Ok(Json(act.changing(Change::ProposePin(row)).commit(&vault).await?))
}

/// `POST /v1/pins/{kind}/{sha256}/approve`: by another person than who proposed it.
pub async fn approve(
    State(vault): State<Shared>,
    Path((kind, sha256)): Path<(String, String)>,
    holder: Holder,
) -> Answer<Json<Recorded>> {
    check_kind(&kind)?;
    let sha256 = fingerprint(&sha256)?;
    let current = vault.endorsements.current(vault.store.as_ref()).await?;
    let row = find(&current, &kind, sha256)?;
    if row.state == PinState::InForce {
        return Err(Refused::new(Code::Conflict, "this pin is in force already"));
    }
    let person = &holder.token.person;
    if row.proposed_by == *person && !vault.config.four_eyes.waived {
        tracing::warn!(%person, pin = %hex::encode(sha256.0), "refused: who proposed a pin may not approve it");
        let detail = format!("{person} proposed this pin: somebody else has to approve it");
        return Err(Refused::new(Code::FourEyes, detail));
    }
    let act = Act::by(&vault, &holder, Action::PinApproved, about(&kind, sha256)).await?;
    let act = telling(act, row).saying("proposed_by", row.proposed_by.clone());
    let act = act.guarded(Guard::EndorsementGeneration(current.generation));
    Ok(Json(act.changing(Change::ApprovePin(kind, sha256, person.clone())).commit(&vault).await?))
}

/// `DELETE /v1/pins/{kind}/{sha256}`: a proposal, or a pin that nothing rests on.
pub async fn withdraw(
    State(vault): State<Shared>,
    Path((kind, sha256)): Path<(String, String)>,
    holder: Holder,
) -> Answer<Json<Recorded>> {
    check_kind(&kind)?;
    let sha256 = fingerprint(&sha256)?;
    let _alone = vault.endorsements.alone().await;
    let current = vault.endorsements.current(vault.store.as_ref()).await?;
    if vault.endorsements.built_in().find(PinKind::TpmVendor, &sha256.0).is_some() {
        return Err(Refused::new(Code::Conflict, "this root came with the release, and goes with another one"));
    }
    let row = find(&current, &kind, sha256)?;
    let left: Vec<PinRow> = current.pins.iter().filter(|pin| *pin != row).cloned().collect();
    let pins = with_pins(vault.endorsements.built_in(), &left)?;
    let looked = Arc::clone(&current);
    let fallen = tokio::task::spawn_blocking(move || looked.fallen(&pins, None)).await.map_err(Refused::internal)?;
    if let Some(named) = listed(&fallen) {
        let detail = format!("it vouches for {named}: remove what rests on it first, then withdraw it");
        return Err(Refused::new(Code::Conflict, detail));
    }
    let act = telling(Act::by(&vault, &holder, Action::PinWithdrawn, about(&kind, sha256)).await?, row);
    let act = act.guarded(Guard::EndorsementGeneration(current.generation));
    Ok(Json(act.changing(Change::WithdrawPin(kind, sha256)).commit(&vault).await?))
}

/// `GET /v1/pins`: those of the release first.
pub async fn list(State(vault): State<Shared>) -> Answer<Json<Vec<PinView>>> {
    let current = vault.endorsements.current(vault.store.as_ref()).await?;
    let built_in = vault.endorsements.built_in().all().iter().map(|pin| PinView {
        kind: pin.kind.to_string(),
        name: pin.name.clone(),
        product: pin.product.clone(),
        sha256: hex::encode(pin.sha256),
        source: pin.source.clone(),
        built_in: true,
        state: PinState::InForce,
        proposed_by: None,
        proposed_at: None,
        approved_by: None,
    });
    let added = current.pins.iter().map(|pin| PinView {
        kind: pin.kind.clone(),
        name: pin.name.clone(),
        product: None,
        sha256: hex::encode(pin.sha256.0),
        source: pin.source.clone(),
        built_in: false,
        state: pin.state,
        proposed_by: Some(pin.proposed_by.clone()),
        proposed_at: Some(rfc3339(pin.proposed_at)),
        approved_by: pin.approved_by.clone(),
    });
    Ok(Json(built_in.chain(added).collect()))
}

fn find<'a>(current: &'a Current, kind: &str, sha256: Fixed<32>) -> Answer<&'a PinRow> {
    let found = current.pins.iter().find(|pin| pin.kind == kind && pin.sha256 == sha256);
    found.ok_or_else(|| Refused::not_found("pin"))
}

/// A TPM vendor's root, and no other: whoever could add the root of a processor could make keys pass for hardware.
fn check_kind(kind: &str) -> Answer<()> {
    match PinKind::ALL.into_iter().find(|known| known.as_str() == kind) {
        Some(PinKind::TpmVendor) => Ok(()),
        Some(other) => {
            let detail = format!("roots of {other} come with a release, and are not changed in a vault");
            Err(Refused::malformed("kind", detail))
        }
        None => Err(Refused::malformed("kind", "`tpm-vendor`")),
    }
}

/// 64 lower-case hexadecimal digits.
fn fingerprint(text: &str) -> Answer<Fixed<32>> {
    let mut sha256 = [0; 32];
    let read = hex::decode_to_slice(text, &mut sha256).is_ok() && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if read { Ok(Fixed(sha256)) } else { Err(Refused::malformed("sha256", "64 lower-case hexadecimal digits")) }
}

fn about(kind: &str, sha256: Fixed<32>) -> Subject {
    subject(SubjectKind::Trust, format_args!("pin/{kind}/{}", hex::encode(sha256.0)))
}

fn telling(act: Act, row: &PinRow) -> Act {
    act.saying("kind", row.kind.clone())
        .saying("name", row.name.clone())
        .saying("sha256", hex::encode(row.sha256.0))
        .saying("source", row.source.clone())
}
