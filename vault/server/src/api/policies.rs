//! Policies: one person proposes, another enforces.

use super::Act;
use crate::{
    authority::Holder,
    clock::rfc3339,
    json::{Json, Path},
    problem::{Answer, Refused},
    vault::{Shared, Vault, subject},
};
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use strongroom_ledger::{Action, PolicyMode, PolicyRef, SubjectKind};
use strongroom_policy::Bundle;
use strongroom_protocol::{
    Bytes, Code, Fixed, Problem,
    admin::{PolicyFiles, PolicyState, PolicyView, Recorded},
};
use strongroom_store::{
    Change, Guard,
    model::{PolicyRow, Versioned},
};

/// `GET /v1/policies/{digest}`: the policy with its files, for who has to approve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyDetail {
    /// State, author, approver.
    pub policy: PolicyView,
    /// Path to text.
    pub files: BTreeMap<String, String>,
}

/// `POST /v1/policies`: loads and compiles the bundle, and keeps it as proposed.
pub async fn propose(
    State(vault): State<Shared>,
    holder: Holder,
    Json(request): Json<PolicyFiles>,
) -> Answer<Json<Recorded>> {
    // Compiling is the costliest thing that one request can ask for: it does not block the others.
    let bundle = tokio::task::spawn_blocking(move || Bundle::from_files(request.files))
        .await
        .map_err(Refused::internal)?
        .map_err(|e| Refused::from(Problem::new(Code::PolicyInvalid).detail(e.to_string())))?;
    let digest = Fixed(bundle.digest());
    let act = Act::by(&vault, &holder, Action::PolicyProposed, subject(SubjectKind::Policy, digest)).await?;
    let row = PolicyRow {
        digest,
        files: bundle.files().clone(),
        state: PolicyState::Proposed,
        author: holder.token.person.clone(),
        approver: None,
        proposed_at: act.now(),
    };
    let files: Vec<String> = row.files.keys().cloned().collect();
    let recorded = act.saying("files", files).changing(Change::ProposePolicy(row)).commit(&vault).await?;
    Ok(Json(Recorded { digest: Some(Bytes(digest.0.to_vec())), ..recorded }))
}

/// `GET /v1/policies`, newest first.
pub async fn list(State(vault): State<Shared>) -> Answer<Json<Vec<PolicyView>>> {
    Ok(Json(vault.store.policies().await?.iter().map(view).collect()))
}

/// `GET /v1/policies/{digest}`.
pub async fn show(State(vault): State<Shared>, Path(digest): Path<String>) -> Answer<Json<PolicyDetail>> {
    let policy = find(&vault, &digest).await?.row;
    Ok(Json(PolicyDetail { policy: view(&policy), files: policy.files }))
}

/// `POST /v1/policies/{digest}/enforce`: by another person than its author.
pub async fn enforce(
    State(vault): State<Shared>,
    Path(digest): Path<String>,
    holder: Holder,
) -> Answer<Json<Recorded>> {
    let policy = find(&vault, &digest).await?;
    let (row, person) = (&policy.row, &holder.token.person);
    if row.state == PolicyState::Enforced {
        return Err(Refused::new(Code::Conflict, "this policy is enforced already"));
    }
    if row.author == *person && !vault.config.four_eyes.waived {
        tracing::warn!(%person, digest = %row.digest, "refused: the author of a policy may not enforce it");
        let detail = format!("{person} proposed this policy: somebody else has to enforce it");
        return Err(Refused::new(Code::FourEyes, detail));
    }
    // It compiled when it was proposed; this software may be a newer one.
    Bundle::from_files(row.files.clone())
        .map_err(|e| Refused::from(Problem::new(Code::PolicyInvalid).detail(e.to_string())))?;
    let before = vault.store.enforced_policy().await?;
    let act = Act::by(&vault, &holder, Action::PolicyEnforced, subject(SubjectKind::Policy, row.digest)).await?;
    let mut act = act
        .guarded(Guard::Policy(row.digest, policy.version))
        .guarded(Guard::PolicyGeneration(before.generation))
        .saying("author", row.author.clone());
    act.record.policy = Some(PolicyRef { digest: row.digest, mode: PolicyMode::Enforced });
    if let Some(before) = before.policy {
        act = act.saying("supersedes", before.digest.to_string());
    }
    let change = Change::EnforcePolicy(row.digest, person.clone());
    let recorded = act.changing(change).commit(&vault).await?;
    Ok(Json(Recorded { digest: Some(Bytes(row.digest.0.to_vec())), ..recorded }))
}

async fn find(vault: &Vault, digest: &str) -> Answer<Versioned<PolicyRow>> {
    let digest = digest.parse().map_err(|_| Refused::malformed("policy", "a digest: 43 characters of base64url"))?;
    vault.store.policy(digest).await?.ok_or_else(|| Refused::not_found("policy"))
}

fn view(policy: &PolicyRow) -> PolicyView {
    PolicyView {
        digest: policy.digest,
        state: policy.state,
        author: policy.author.clone(),
        approver: policy.approver.clone(),
        proposed_at: rfc3339(policy.proposed_at),
    }
}
