//! Decisions: what was asked, what was decided, and why, for authorised people.

use crate::{
    clock,
    json::{Json, Path},
    problem::{Answer, Refused},
    vault::{Shared, Vault},
};
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::Value;
use strongroom_ledger::{Action, Record};
use strongroom_protocol::{
    DecisionId,
    audit::{AuditPage, AuditQuery, DecisionView, Denial},
};

/// What `release` keeps beside a decision.
#[derive(Deserialize)]
struct Explanation {
    input: Value,
    denials: Vec<Denial>,
    obligations: Value,
}

/// `GET /v1/decisions`: records of decisions; of releases, unless another action is asked for.
pub async fn list(
    State(vault): State<Shared>,
    query: Result<Query<AuditQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<Json<AuditPage>> {
    let Query(mut query) = query.map_err(|e| Refused::malformed("query", e.body_text()))?;
    let decisions = [Action::ReleaseDecided, Action::LeaseRenewed];
    let action = query.action.get_or_insert_with(|| Action::ReleaseDecided.as_str().to_owned());
    if !decisions.iter().any(|a| a.as_str() == action) {
        return Err(Refused::malformed("action", "release.decided or lease.renewed"));
    }
    super::audit::page(&vault, query).await.map(Json)
}

/// `GET /v1/decisions/{id}`.
pub async fn show(State(vault): State<Shared>, Path(id): Path<String>) -> Answer<Json<DecisionView>> {
    let id: DecisionId = id.parse().map_err(|_| Refused::malformed("decision", "not a decision's id"))?;
    let entry = vault.store.entry_by_id(id).await?.ok_or_else(|| Refused::not_found("decision"))?;
    let (bytes, _) = entry.body.ok_or_else(|| Refused::not_found("decision: its record was pruned"))?;
    let record = Record::parse(&bytes)?;
    if record.verdict.is_none() {
        return Err(Refused::not_found("decision: this record is of another act"));
    }
    let explanation = explanation(&vault, &record).await?;
    Ok(Json(DecisionView {
        decision_id: id,
        index: entry.index,
        record: serde_json::from_slice(&bytes).map_err(Refused::internal)?,
        input: explanation.input,
        denials: explanation.denials,
        obligations: explanation.obligations,
    }))
}

async fn explanation(vault: &Vault, record: &Record) -> Answer<Explanation> {
    let bytes = match record.claims_sha256 {
        Some(sha256) => vault.store.blob(sha256).await?,
        None => None,
    };
    match bytes {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(Refused::internal),
        // Pruned: the record itself still says what was decided.
        None => Ok(Explanation { input: Value::Null, denials: Vec::new(), obligations: Value::Null }),
    }
}

/// The range of a query in Unix seconds: the last 15 minutes, unless it says otherwise.
pub(super) fn range(query: &AuditQuery, now: i64) -> Answer<(i64, i64)> {
    let read = |field: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => clock::from_rfc3339(text).map(Some).ok_or_else(|| Refused::malformed(field, "RFC 3339")),
    };
    let to = read("to", &query.to)?.unwrap_or_else(|| now.saturating_add(1));
    let from = read("from", &query.from)?.unwrap_or_else(|| to.saturating_sub(15 * 60));
    if from < to { Ok((from, to)) } else { Err(Refused::malformed("from", "before `to`")) }
}
