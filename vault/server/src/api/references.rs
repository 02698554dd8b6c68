//! Reference values: named sets of accepted measurements, by version.

use super::{Act, check_name};
use crate::{
    authority::Holder,
    clock::rfc3339,
    json::Json,
    problem::{Answer, Refused},
    vault::{Shared, subject},
};
use axum::extract::State;
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{
    Code,
    admin::{RecordReference, Recorded, ReferenceValues, ReferenceView},
};
use strongroom_store::{Change, Guard, model::ReferenceRow};

/// `POST /v1/references`: a new version of a set, from a node's last quote or from given values.
pub async fn record(
    State(vault): State<Shared>,
    holder: Holder,
    Json(request): Json<RecordReference>,
) -> Answer<Json<Recorded>> {
    check_name("name", &request.name)?;
    let (values, source) = match (request.from_node, request.values) {
        (Some(id), None) => {
            let node = vault.store.node(id).await?.ok_or_else(|| Refused::not_found("node"))?;
            let values =
                node.row.last_pcrs.ok_or_else(|| Refused::new(Code::Conflict, "the node has shown no values"))?;
            (values, id.to_string())
        }
        (None, Some(values)) => (values, "import".to_owned()),
        _ => return Err(Refused::malformed("values", "give either from_node or values")),
    };
    check_values(&values)?;
    let (current, generation) = vault.store.references(std::slice::from_ref(&request.name)).await?;
    let version = current.first().map_or(0, |r| r.version).saturating_add(1);
    let act =
        Act::by(&vault, &holder, Action::ReferenceRecorded, subject(SubjectKind::Reference, &request.name)).await?;
    let recorded_at = act.now();
    let act = act
        .guarded(Guard::ReferenceGeneration(generation))
        .saying("version", version)
        .saying("source", source.clone())
        .saying("values", serde_json::to_value(&values).map_err(Refused::internal)?);
    let row = ReferenceRow { name: request.name, version, values, source, recorded_at };
    let recorded = act.changing(Change::AddReference(row)).commit(&vault).await?;
    Ok(Json(Recorded { version: Some(version), ..recorded }))
}

/// `GET /v1/references`: every version of every set.
pub async fn list(State(vault): State<Shared>) -> Answer<Json<Vec<ReferenceView>>> {
    let references = vault.store.all_references().await?;
    let view = |r: ReferenceRow| ReferenceView {
        name: r.name,
        version: r.version,
        values: r.values,
        source: r.source,
        recorded_at: rfc3339(r.recorded_at),
    };
    Ok(Json(references.into_iter().map(view).collect()))
}

fn check_values(values: &ReferenceValues) -> Answer<()> {
    let length = values.bank.digest_length();
    if values.pcrs.0.is_empty() {
        return Err(Refused::malformed("values.pcrs", "at least one value: an empty set would match every machine"));
    }
    if values.pcrs.0.values().any(|v| v.0.len() != length) {
        return Err(Refused::malformed("values.pcrs", format!("a value of this bank has {length} bytes")));
    }
    Ok(())
}
