//! What is asked, checked as far as it can be without looking at evidence: cheapest refusals first.

use super::items::{Items, cap, check_caps as check_caps_of};
use crate::{
    problem::{Answer, Refused},
    vault::Vault,
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};
use strongroom_protocol::{
    Code, Fixed, LeaseId, Problem, challenge::Purpose, limits, release::ReleaseRequest, sha256, statement::Statement,
};
use strongroom_store::{Requester, Whose};
use subtle::ConstantTimeEq;

/// The caller that the agent bound.
pub(super) struct Caller {
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) sha256: Fixed<32>,
    /// The bytes as policy reads them: a JSON object.
    pub(super) facts: BTreeMap<String, Value>,
}

/// A request whose statement is for this vault, fresh, and whole.
pub(super) struct Asked {
    pub(super) statement: Statement,
    pub(super) statement_bytes: Arc<Vec<u8>>,
    pub(super) statement_sha256: Fixed<32>,
    pub(super) caller: Option<Caller>,
    pub(super) items: Items,
    /// Whose evidence it says it is: by what its node was found, or was not.
    pub(super) whose: Whose,
    /// When it came, by the database's clock, Unix seconds: evidence is judged at this time.
    pub(super) at: i64,
    /// Who asks, and what was answered to this statement before.
    pub(super) requester: Requester,
}

impl Asked {
    pub(super) async fn read(vault: &Vault, request: ReleaseRequest) -> Answer<Self> {
        check_caps(&request)?;
        let statement = Statement::parse(&request.statement.0).map_err(|e| Refused::malformed(e.field, e.problem))?;
        if statement.vault != vault.keys.vault_id() {
            return Err(Refused::new(Code::WrongVault, format!("this vault is {}", vault.keys.vault_id())));
        }
        if !vault.keys.issued_nonce(Purpose::Release, &statement.nonce) {
            return Err(Problem::new(Code::NonceInvalid).field("nonce").into());
        }
        let caller = read_caller(&statement, request.caller)?;
        check_job(&statement, request.job_token.as_deref())?;
        let items = Items::sort(request.evidence)?;
        let candidates = items.whose()?;

        let at = vault.clock.now().await?;
        let statement_sha256 = Fixed(sha256(&request.statement.0));
        let (whose, requester) = find(vault, candidates, statement_sha256, statement.lease).await?;
        // A lost answer may be asked for again after the nonce's minute, while the lease lives.
        if requester.known.is_none() && i64::try_from(statement.nonce.expiry()).is_ok_and(|expiry| expiry <= at) {
            return Err(Problem::new(Code::NonceExpired).field("nonce").into());
        }
        let statement_bytes = Arc::new(request.statement.0);
        Ok(Self { statement, statement_bytes, statement_sha256, caller, items, whose, at, requester })
    }
}

/// The first of several names that a node has.
async fn find(
    vault: &Vault,
    candidates: Vec<Whose>,
    statement: Fixed<32>,
    lease: Option<LeaseId>,
) -> Answer<(Whose, Requester)> {
    let mut found = None;
    for whose in candidates {
        let requester = vault.store.requester(&whose, statement, lease).await?;
        if requester.node.is_some() {
            return Ok((whose, requester));
        }
        found = Some((whose, requester));
    }
    found.ok_or_else(|| Refused::internal("evidence that names nobody"))
}

/// Sizes and counts, before anything is read from the parts. The body's own cap came first.
fn check_caps(request: &ReleaseRequest) -> Answer<()> {
    cap("statement", request.statement.0.len(), limits::STATEMENT)?;
    cap("caller", request.caller.as_ref().map_or(0, |c| c.0.len()), limits::CALLER)?;
    cap("job_token", request.job_token.as_ref().map_or(0, String::len), limits::CALLER)?;
    check_caps_of(&request.evidence)
}

/// The caller bytes are those that the statement names; there are none exactly if it names none.
fn read_caller(statement: &Statement, bytes: Option<strongroom_protocol::Bytes>) -> Answer<Option<Caller>> {
    let mismatch = |detail: &str| Refused::new(Code::CallerMismatch, detail);
    match (&statement.caller, bytes) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(mismatch("the request has a caller, the statement names none")),
        (Some(_), None) => Err(mismatch("the statement names a caller, the request has none")),
        (Some(named), Some(bytes)) => {
            let sha256 = Fixed(sha256(&bytes.0));
            if sha256 != named.sha256 {
                return Err(mismatch("the caller's bytes have another SHA-256 than the statement names"));
            }
            let facts = crate::json::parse(&bytes.0)
                .map_err(|e| Refused::malformed("caller", e.0.detail.unwrap_or_default()))?;
            Ok(Some(Caller { bytes: Arc::new(bytes.0), sha256, facts }))
        }
    }
}

/// The scheduler's token, where one is given, is the one that the statement names.
fn check_job(statement: &Statement, token: Option<&str>) -> Answer<()> {
    match (&statement.job, token) {
        (None, Some(_)) => Err(Refused::malformed("job_token", "the statement names no job")),
        (Some(job), Some(token)) if !bool::from(sha256(token.as_bytes()).ct_eq(&job.token_sha256.0)) => {
            Err(Refused::malformed("job_token", "it is not the token that the statement names"))
        }
        _ => Ok(()),
    }
}
