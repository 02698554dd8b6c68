//! What is asked, checked as far as it can be without looking at evidence: cheapest refusals first.

use crate::{
    problem::{Answer, Refused},
    vault::Vault,
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};
use strongroom_protocol::{
    Code, Fixed, Problem,
    challenge::Purpose,
    evidence::{Evidence, Tpm2Evidence},
    limits,
    release::ReleaseRequest,
    sha256,
    statement::{Act, Statement},
};
use strongroom_store::{Requester, Whose};
use subtle::ConstantTimeEq;

/// The caller that the agent bound.
pub(super) struct Caller {
    pub(super) bytes: Vec<u8>,
    pub(super) sha256: Fixed<32>,
    /// The bytes as policy reads them: a JSON object.
    pub(super) facts: BTreeMap<String, Value>,
}

/// A request whose statement is for this vault, fresh, and whole.
pub(super) struct Asked {
    pub(super) statement: Statement,
    pub(super) statement_bytes: Vec<u8>,
    pub(super) statement_sha256: Fixed<32>,
    pub(super) caller: Option<Caller>,
    pub(super) quote: Arc<Tpm2Evidence>,
    /// Who asks, and what was answered to this statement before.
    pub(super) requester: Requester,
}

impl Asked {
    pub(super) async fn read(vault: &Vault, request: ReleaseRequest) -> Answer<Self> {
        check_caps(&request)?;
        let statement = Statement::parse(&request.statement.0).map_err(|e| Refused::malformed(e.field, e.problem))?;
        if statement.act == Act::Identify {
            return Err(Refused::malformed("act", "this vault takes no identifications"));
        }
        if statement.vault != vault.keys.vault_id() {
            return Err(Refused::new(Code::WrongVault, format!("this vault is {}", vault.keys.vault_id())));
        }
        if !vault.keys.issued_nonce(Purpose::Release, &statement.nonce) {
            return Err(Problem::new(Code::NonceInvalid).field("nonce").into());
        }
        let caller = read_caller(&statement, request.caller)?;
        check_job(&statement, request.job_token.as_deref())?;
        let quote = Arc::new(only_quote(request.evidence)?);

        let now = vault.clock.now().await?;
        let statement_sha256 = Fixed(sha256(&request.statement.0));
        // A lost answer may be asked for again after the nonce's minute, while the lease lives.
        let requester = vault.store.requester(&Whose::Ak(quote.ak), statement_sha256, statement.lease).await?;
        if requester.known.is_none() && i64::try_from(statement.nonce.expiry()).is_ok_and(|expiry| expiry <= now) {
            return Err(Problem::new(Code::NonceExpired).field("nonce").into());
        }
        Ok(Self { statement, statement_bytes: request.statement.0, statement_sha256, caller, quote, requester })
    }
}

/// Sizes and counts, before anything is read from the parts. The body's own cap came first.
fn check_caps(request: &ReleaseRequest) -> Answer<()> {
    let cap = |field: &str, actual: usize, limit: usize| {
        if actual > limit {
            Err(Refused::from(Problem::new(Code::TooLarge).field(field).detail(format!("at most {limit}"))))
        } else {
            Ok(())
        }
    };
    cap("statement", request.statement.0.len(), limits::STATEMENT)?;
    cap("caller", request.caller.as_ref().map_or(0, |c| c.0.len()), limits::CALLER)?;
    cap("job_token", request.job_token.as_ref().map_or(0, String::len), limits::CALLER)?;
    cap("evidence", request.evidence.len(), limits::EVIDENCE_ITEMS)?;
    for item in request.evidence.iter().filter_map(Evidence::as_tpm2) {
        cap("evidence.message", item.message.0.len(), limits::TPM_STRUCTURE)?;
        cap("evidence.signature", item.signature.0.len(), limits::TPM_STRUCTURE)?;
        cap("evidence.boot_log", item.boot_log.as_ref().map_or(0, |l| l.0.len()), limits::BOOT_LOG)?;
        cap("evidence.ima_log", item.ima_log.as_ref().map_or(0, |l| l.0.len()), limits::IMA_LOG)?;
    }
    Ok(())
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
            Ok(Some(Caller { bytes: bytes.0, sha256, facts }))
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

/// The one quote. A node has one TPM; items of several AKs are evidence of several machines (E7).
fn only_quote(evidence: Vec<Evidence>) -> Answer<Tpm2Evidence> {
    if let Some(other) = evidence.iter().find(|item| item.as_tpm2().is_none()) {
        let problem = format!("this vault judges evidence of type tpm2, not of type {}", other.kind());
        return Err(Refused::malformed("evidence", problem));
    }
    let mut items = evidence.into_iter().filter_map(Evidence::into_tpm2);
    let first = items.next().ok_or_else(|| Refused::malformed("evidence", "at least one item"))?;
    match items.next() {
        None => Ok(first),
        Some(other) if other.ak != first.ak => {
            Err(Problem::new(Code::EvidenceRefused).row("E7").detail("the items are not evidence of one node").into())
        }
        Some(_) => Err(Refused::malformed("evidence", "a node has one TPM: send one item of type tpm2")),
    }
}
