//! Endorsements: what vendors publish about their hardware, taken in by one endorser. What lets more pass, the removal
//! of a revocation list, takes two.

use super::Act;
use crate::{
    authority::Holder,
    clock::rfc3339,
    endorsements::{Current, standing},
    json::{Json, Path},
    problem::{Answer, Refused},
    vault::{Shared, subject},
};
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::Arc;
use strongroom_attest::{
    endorsements::{Content, Endorsement, EndorsementError, MAX_BYTES},
    enrol::check_crl,
    pins::PinKind,
};
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{
    Code, Fixed,
    admin::Recorded,
    endorsement::{EndorsementView, ImportEndorsement, ImportedEndorsements},
    sha256,
};
use strongroom_store::{Change, Guard, model::EndorsementRow};

/// Bytes of a manifest's id.
const ID: usize = 128;
/// Names that a refusal lists.
const NAMED: usize = 3;

/// `POST /v1/endorsements`: takes in all that is given, or nothing. What lies there byte for byte is left as it is.
pub async fn import(
    State(vault): State<Shared>,
    holder: Holder,
    Json(request): Json<ImportEndorsement>,
) -> Answer<Json<ImportedEndorsements>> {
    check(&request)?;
    // Two that come at one time are taken one after the other, as far as they come here; the commit sees to the rest.
    let _alone = vault.endorsements.alone().await;
    let current = vault.endorsements.current(vault.store.as_ref()).await?;
    let now = vault.clock.now().await?;
    let given = sha256(&request.bytes.0);
    let placed = read(&current, request, now).await?;
    let warnings = warnings(&placed, now);
    let mut act =
        Act::by(&vault, &holder, Action::EndorsementImported, subject(SubjectKind::Trust, named(&placed, given)))
            .await?;
    let (mut told, mut rows, mut unchanged) = (Vec::<Value>::new(), Vec::new(), Vec::new());
    for (one, id) in placed {
        let there = current.rows.iter().find(|row| row.name == one.name && row.sha256.0 == one.sha256);
        if let Some(there) =
            there.filter(|there| there.removal_proposed_by.is_none() && !current.is_left_out(&there.name))
        {
            unchanged.push(there.name.clone());
            rows.push(there.clone());
            continue;
        }
        let Endorsement { name, of, content, subject, bytes, sha256, from, until } = one;
        told.push(json!({
            "name": name, "of": of.as_str(), "content": content.as_str(), "sha256": hex::encode(sha256),
            "until": rfc3339(seconds(until)),
        }));
        let row = EndorsementRow {
            name,
            of: of.to_string(),
            content: content.as_str().to_owned(),
            subject,
            sha256: Fixed(sha256),
            from: seconds(from),
            until: seconds(until),
            id,
            imported_by: holder.token.person.clone(),
            imported_at: act.now(),
            removal_proposed_by: None,
        };
        rows.push(row.clone());
        if let Some(before) = current.moved.get(&row.name) {
            act = act.changing(Change::RemoveEndorsement(before.clone()));
        }
        act = act.changing(Change::PutEndorsement(row, bytes));
    }
    let views = rows.into_iter().map(|row| view(row, true, now)).collect();
    if told.is_empty() {
        return Ok(Json(ImportedEndorsements { record: None, index: None, endorsements: views, unchanged, warnings }));
    }
    let act = act.saying("endorsements", told).guarded(Guard::EndorsementGeneration(current.generation));
    let Recorded { record, index, .. } = act.commit(&vault).await?;
    Ok(Json(ImportedEndorsements {
        record: Some(record),
        index: Some(index),
        endorsements: views,
        unchanged,
        warnings,
    }))
}

/// `GET /v1/endorsements`.
pub async fn list(State(vault): State<Shared>) -> Answer<Json<Vec<EndorsementView>>> {
    let current = vault.endorsements.current(vault.store.as_ref()).await?;
    let now = vault.clock.now().await?;
    let view = |row: &EndorsementRow| view(row.clone(), !current.is_left_out(&row.name), now);
    Ok(Json(current.rows.iter().map(view).collect()))
}

/// `DELETE /v1/endorsements/{name}`: at once, or, of what says that something is revoked or out of date, once a second
/// person asks for it: without it an older one could be imported.
pub async fn remove(State(vault): State<Shared>, Path(name): Path<String>, holder: Holder) -> Answer<Json<Recorded>> {
    let _alone = vault.endorsements.alone().await;
    let current = vault.endorsements.current(vault.store.as_ref()).await?;
    let row = current.rows.iter().find(|row| row.name == name).ok_or_else(|| Refused::not_found("endorsement"))?;
    let fallen = fallen(&current, &name).await?;
    if let Some(named) = listed(&fallen) {
        let detail = format!("it vouches for {named}: without it these would not count any more, so remove them first");
        return Err(Refused::new(Code::Conflict, detail));
    }
    let person = &holder.token.person;
    let first = match &row.removal_proposed_by {
        _ if !restrains(row) || vault.config.four_eyes.waived => None,
        None => return propose_removal(&vault, &holder, row, &current).await,
        Some(first) if first == person => {
            tracing::warn!(%person, %name, "refused: who proposed a removal may not carry it out");
            let detail = format!("{person} proposed that it be removed: somebody else has to do it");
            return Err(Refused::new(Code::FourEyes, detail));
        }
        Some(first) => Some(first.clone()),
    };
    let subject = subject(SubjectKind::Trust, &name);
    let mut act = telling(Act::by(&vault, &holder, Action::EndorsementRemoved, subject).await?, row);
    if let Some(first) = first {
        act = act.saying("proposed_by", first);
    }
    let act = act
        .guarded(Guard::EndorsementGeneration(current.generation))
        .changing(Change::RemoveEndorsement(current.stored_name(&name).to_owned()));
    Ok(Json(act.commit(&vault).await?))
}

/// Whether less is refused without it, or could be.
fn restrains(row: &EndorsementRow) -> bool {
    [Content::RevocationList, Content::Collateral, Content::Answer]
        .iter()
        .any(|content| row.content == content.as_str())
}

async fn propose_removal(
    vault: &Shared,
    holder: &Holder,
    row: &EndorsementRow,
    current: &Current,
) -> Answer<Json<Recorded>> {
    let subject = subject(SubjectKind::Trust, &row.name);
    let act = telling(Act::by(vault, holder, Action::EndorsementRemovalProposed, subject).await?, row);
    let act = act
        .guarded(Guard::EndorsementGeneration(current.generation))
        .changing(Change::ProposeRemoval(current.stored_name(&row.name).to_owned(), holder.token.person.clone()));
    let mut recorded = act.commit(vault).await?;
    recorded.warnings.push(
        "it is not removed yet: without it, or with an older one, what it refuses passes, so a second endorser has to remove it"
            .to_owned(),
    );
    Ok(Json(recorded))
}

fn check(request: &ImportEndorsement) -> Answer<()> {
    if request.bytes.0.is_empty() || request.bytes.0.len() > MAX_BYTES {
        return Err(Refused::malformed("bytes", format!("1 to {MAX_BYTES} bytes: import in parts")));
    }
    let plain = |id: &String| {
        (1..=ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if request.id.as_ref().is_some_and(|id| !plain(id)) {
        return Err(Refused::malformed("id", format!("1 to {ID} letters, digits, `.`, `_` and `-`")));
    }
    Ok(())
}

/// What the library makes of it, each with its id. Signatures are verified, so not on a thread that answers.
async fn read(
    current: &Arc<Current>,
    request: ImportEndorsement,
    now: i64,
) -> Answer<Vec<(Endorsement, Option<String>)>> {
    let (current, at) = (Arc::clone(current), u64::try_from(now).unwrap_or_default());
    let read = tokio::task::spawn_blocking(move || {
        let mut store = current.store.clone();
        let placed = store.import(&request.bytes.0, request.id.as_deref(), at)?;
        placed.iter().try_for_each(|one| one.check_made_by(at))?;
        // One that cannot be read when a TPM is enrolled would refuse every TPM.
        let tpms = |one: &&Endorsement| one.of == PinKind::TpmVendor && one.content == Content::RevocationList;
        for list in placed.iter().filter(tpms) {
            check_crl(&list.bytes).map_err(|problem| EndorsementError::Unusable {
                subject: list.subject.clone(),
                problem: problem.to_string(),
            })?;
        }
        // As it is imported after each start.
        let amds = |one: &Endorsement| one.of == PinKind::AmdArk && one.content == Content::RevocationList;
        let id = |one: &Endorsement| request.id.clone().filter(|_| one.content == Content::Manifest || amds(one));
        Ok(placed.into_iter().map(|one| (id(&one), one)).map(|(id, one)| (one, id)).collect())
    });
    read.await.map_err(Refused::internal)?.map_err(|error: EndorsementError| match error {
        EndorsementError::Older { .. } | EndorsementError::Rival { .. } | EndorsementError::TakenBack { .. } => {
            Refused::new(Code::Conflict, error.to_string())
        }
        EndorsementError::NoId => Refused::malformed("id", error.to_string()),
        _ => Refused::malformed("bytes", error.to_string()),
    })
}

/// What was taken and counts for nothing: evidence that needs it is refused, and who imports it should hear of it now.
fn warnings(placed: &[(Endorsement, Option<String>)], now: i64) -> Vec<String> {
    let now = u64::try_from(now).unwrap_or_default();
    let expired = placed.iter().filter(|(one, _)| one.until < now);
    let told = |(one, _): &(Endorsement, Option<String>)| {
        let (name, until) = (&one.name, rfc3339(seconds(one.until)));
        format!("{name} expired at {until}: it is kept, and counts for nothing; get a newer one")
    };
    expired.map(told).collect()
}

/// Whom an import is about: what it brought, or, of several, all of it.
fn named(placed: &[(Endorsement, Option<String>)], given: [u8; 32]) -> String {
    match placed {
        [(one, _)] => one.name.clone(),
        _ => format!("import/{}", hex::encode(given)),
    }
}

/// What would not be vouched for any more without an endorsement.
async fn fallen(current: &Arc<Current>, name: &str) -> Answer<Vec<String>> {
    let (current, name) = (Arc::clone(current), name.to_owned());
    let fallen = tokio::task::spawn_blocking(move || current.fallen(current.store.pins(), Some(&name)));
    fallen.await.map_err(Refused::internal)
}

/// The first few names, and how many more.
pub(super) fn listed(names: &[String]) -> Option<String> {
    let (first, more) = names.split_at(names.len().min(NAMED));
    match (first, more.len()) {
        ([], _) => None,
        (first, 0) => Some(first.join(", ")),
        (first, more) => Some(format!("{} and {more} more", first.join(", "))),
    }
}

fn telling(act: Act, row: &EndorsementRow) -> Act {
    act.saying("content", row.content.clone())
        .saying("of", row.of.clone())
        .saying("sha256", hex::encode(row.sha256.0))
        .saying("until", rfc3339(row.until))
}

fn view(row: EndorsementRow, vouched: bool, now: i64) -> EndorsementView {
    EndorsementView {
        state: standing(row.from, row.until, now),
        name: row.name,
        of: row.of,
        content: row.content,
        subject: row.subject,
        sha256: hex::encode(row.sha256.0),
        from: rfc3339(row.from),
        until: rfc3339(row.until),
        vouched,
        id: row.id,
        imported_by: row.imported_by,
        imported_at: rfc3339(row.imported_at),
        removal_proposed_by: row.removal_proposed_by,
    }
}

fn seconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}
