//! Refusals on their way out: every error of the API is a problem document (RFC 9457).

use crate::queue::QueueError;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use strongroom_keys::KeysError;
use strongroom_ledger::LedgerError;
use strongroom_protocol::{Code, DecisionId, Problem};
use strongroom_store::{Refusal, StoreError};

/// Media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A request that was refused or failed. What the requester is told is in the document; what only
/// the operator may know has been logged where it happened.
#[derive(Debug, Clone)]
pub struct Refused(pub Box<Problem>);

/// Seconds after which it is worth asking again when the disk is full: somebody may be making room,
/// and a requester that waits longer than its job's patience is no better served.
const ROOM: u64 = 5;

/// Seconds after which it is worth asking again when the database is none to commit to: a failover may be
/// under way.
const FAILOVER: u64 = 5;

/// The result of a handler.
pub type Answer<T> = Result<T, Refused>;

impl Refused {
    /// A refusal with what was wrong, and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem::new(code).detail(detail).into()
    }

    /// A malformed field.
    pub fn malformed(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Problem::new(Code::Malformed).field(field).detail(detail).into()
    }

    /// There is no such thing.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// A failure inside. `context` is logged, not told.
    pub fn internal(context: impl std::fmt::Display) -> Self {
        tracing::error!(%context, "a request failed inside");
        Problem::new(Code::Internal).into()
    }

    /// A decision's refusal.
    pub fn decided(code: Code, decision: DecisionId, reasons: Vec<String>) -> Self {
        let mut problem = Problem::new(code);
        problem.decision_id = Some(decision);
        problem.reasons = reasons;
        problem.into()
    }

    /// Its stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Displaced { .. } => displaced(&error.to_string()),
            StoreError::Unavailable(context) | StoreError::Conflicted(context) | StoreError::Unusable(context) => {
                tracing::error!(%context, "the store does not answer");
                Problem::new(Code::StoreUnavailable).retry_after(1).into()
            }
            StoreError::Volatile(_) | StoreError::ReadOnly(_) => unfit(&error),
            StoreError::DiskFull { .. } => {
                tracing::error!(%error, "the ledger cannot be written");
                Problem::new(Code::LedgerUnavailable).retry_after(ROOM).into()
            }
            other => Self::internal(other),
        }
    }
}

/// Another process commits under this replica's name. Whoever asks is told, since this replica is of no use to
/// them, and a probe is what takes it out of a load balancer.
fn displaced(why: &str) -> Refused {
    tracing::error!(%why, "nothing is committed, released or renewed by this replica");
    Problem::new(Code::LedgerUnavailable).detail(why).retry_after(FAILOVER).into()
}

/// Says to the operator which setting or server it is, and to the requester that it is the database.
fn unfit(why: &dyn std::fmt::Display) -> Refused {
    tracing::error!(%why, "nothing is committed, released or renewed until the database is mended");
    let detail = "the vault's database is a standby, or may lose what it confirms; the vault's log says which, and what \
                  to do";
    Problem::new(Code::StoreUnavailable).detail(detail).retry_after(FAILOVER).into()
}

impl From<KeysError> for Refused {
    fn from(error: KeysError) -> Self {
        Self::internal(error)
    }
}

impl From<LedgerError> for Refused {
    fn from(error: LedgerError) -> Self {
        Self::internal(error)
    }
}

impl From<QueueError> for Refused {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Full | QueueError::Deadline => {
                Self::from(Problem::new(Code::LedgerUnavailable).detail(error.to_string()).retry_after(1))
            }
            QueueError::Failed(failure) => {
                tracing::error!(%failure, "a commit failed");
                Problem::new(Code::LedgerUnavailable).retry_after(2).into()
            }
            QueueError::Unfit(failure) => unfit(&failure),
            QueueError::Displaced(failure) => displaced(&failure),
            QueueError::DiskFull(failure) => {
                tracing::error!(%failure, "the ledger cannot be written");
                Problem::new(Code::LedgerUnavailable).retry_after(ROOM).into()
            }
            QueueError::Locked(reason) => Self::new(Code::Locked, reason),
            QueueError::Refused(Refusal::NonceReused) => Problem::new(Code::NonceReused).into(),
            QueueError::Refused(Refusal::NonceExpired) => Problem::new(Code::NonceExpired).into(),
            QueueError::Refused(Refusal::Conflict(what)) => Self::new(Code::Conflict, what),
            QueueError::Refused(Refusal::Stale(_)) => {
                Self::new(Code::Conflict, "it changed meanwhile: read it again and repeat the request")
            }
            QueueError::Refused(Refusal::QuotaExceeded(_)) => {
                Self::from(Problem::new(Code::TooMany).detail("a quota is used up").retry_after(60))
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let problem = self.0;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        metrics::counter!("strongroom_refusals_total", "code" => problem.code.as_str()).increment(1);
        // INVARIANT: a problem document is plain data, which always serialises.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if let Some(seconds) = problem.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED && problem.code == Code::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Told(problem));
        response
    }
}

/// The document that a response holds, so that the outermost layer can add the request id to it.
#[derive(Clone)]
pub(crate) struct Told(pub(crate) Box<Problem>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_worth_asking_again_soon() {
        let full = || StoreError::DiskFull { free: 1, needed: 2 };
        for refused in [Refused::from(full()), Refused::from(QueueError::DiskFull(full().to_string()))] {
            assert_eq!((refused.code(), refused.0.retry_after), (Code::LedgerUnavailable, Some(5)));
            assert_eq!(refused.0.detail, None, "how much room there is concerns the operator only");
        }
    }

    #[test]
    fn a_replica_whose_name_was_taken_says_so() {
        let error = || StoreError::Displaced { replica: "strongroomd-1".into() };
        for refused in [Refused::from(error()), Refused::from(QueueError::Displaced(error().to_string()))] {
            assert_eq!((refused.code(), refused.0.status), (Code::LedgerUnavailable, 503));
            assert!(refused.0.detail.unwrap().contains("taken the name of the replica strongroomd-1"));
        }
    }

    /// A standby, or a server that forgets: the requester is told that it is the database, the operator more.
    #[test]
    fn a_database_to_which_nothing_is_committed_is_no_ledger_that_cannot_be_written() {
        for refused in [
            Refused::from(StoreError::Volatile("synchronous_commit is off: set it to on".into())),
            Refused::from(StoreError::ReadOnly("it is a standby: connect to the primary".into())),
            Refused::from(QueueError::Unfit("the database takes no writes".into())),
        ] {
            assert_eq!((refused.code(), refused.0.retry_after), (Code::StoreUnavailable, Some(5)));
            let detail = refused.0.detail.unwrap();
            assert!(detail.contains("standby") && !detail.contains("synchronous_commit"), "{detail}");
        }
    }
}
