//! Why the SDK did not do what it was asked for.

use crate::lease::LeaseOver;
use std::{path::PathBuf, time::Duration};
use strongroom_protocol::{
    Code, Problem,
    evidence::IMA_LOG_INCOMPLETE,
    lease::{EVIDENCE_DUE, LEASE_EXPIRED},
};

/// Each variant says what was wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The vault answered with a problem document.
    #[error("{}", describe(.0))]
    Refused(Box<Problem>),
    /// The vault could not be reached, or the connection broke.
    #[error("the vault at {url} cannot be reached: {cause}")]
    Unreachable {
        /// The vault's URL.
        url: String,
        /// What the connection said.
        cause: String,
    },
    /// The vault stayed busy or away for as long as was allowed.
    #[error("gave up after {} s and {attempts} attempts: {cause}; more patience (`--patience`) may help, or see why it is so", .waited.as_secs())]
    PatienceOver {
        /// How long, from the first attempt on.
        waited: Duration,
        /// Attempts made.
        attempts: u32,
        /// Why the last one did not succeed.
        cause: Box<Self>,
    },
    /// An answer that the protocol does not allow.
    #[error("the vault's answer is not what the protocol says: {0}")]
    Malformed(String),
    /// What the caller asked for cannot be asked of a vault.
    #[error("this cannot be asked for: {0}")]
    Request(String),
    /// The answer is not from a vault that this client believes.
    #[error("not believed: {0}; nothing was opened")]
    NotBelieved(String),
    /// The join file cannot be used.
    #[error("join file: {0}")]
    Join(String),
    /// The vault obliges the holder to something that this version does not know or cannot do here.
    #[error("the release carries an obligation that cannot be met here: {0}; the keys were zeroed")]
    Obligation(String),
    /// The lease is over.
    #[error(transparent)]
    LeaseOver(#[from] LeaseOver),
    /// The lease holds no key for this.
    #[error("the lease holds no key for {0}")]
    NoKey(String),
    /// Evidence could not be collected.
    #[error(transparent)]
    Collect(#[from] strongroom_collect::CollectError),
    /// Memory could not be protected.
    #[error(transparent)]
    Memory(#[from] strongroom_memory::MemoryError),
    /// The sealed file was refused.
    #[error(transparent)]
    Sealed(#[from] strongroom_sealed::SealedError),
    /// The plaintext holds no tensors, or these cannot be sealed.
    #[error(transparent)]
    Tensors(#[from] crate::tensors::TensorsError),
    /// The envelope was refused.
    #[error(transparent)]
    Envelope(#[from] strongroom_envelope::EnvelopeError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A pipe, a device or a directory stands where a file is wanted.
    #[error("{}: not a regular file: put what a pipe or a device gives into one first", .0.display())]
    NotRegular(PathBuf),
    /// Others than its owner may read or write the token file.
    #[error("token file {} has mode {mode:04o}: others may use the token; run `chmod 600` on it, and revoke the token if somebody may have", path.display())]
    TokenExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The token file does not hold one token.
    #[error("token file {} does not hold a token, which is one line without spaces, such as `srt_…`", .0.display())]
    TokenMalformed(PathBuf),
    /// The operating system has no random bytes.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

impl Error {
    /// Whether the same may be asked once more under a fresh nonce.
    pub(crate) fn wants_fresh_nonce(&self) -> bool {
        self.problem().is_some_and(|problem| matches!(problem.code, Code::NonceExpired | Code::NonceReused))
    }

    /// Whether the vault does not have the part of the IMA log that was left out.
    pub(crate) fn wants_whole_log(&self) -> bool {
        self.problem().is_some_and(|problem| problem.reasons.iter().any(|reason| reason == IMA_LOG_INCOMPLETE))
    }

    /// Whether the lease lives on, and only fresh evidence prolongs it now.
    pub(crate) fn wants_evidence(&self) -> bool {
        self.has_reason(Code::PossessionRefused, EVIDENCE_DUE)
    }

    /// Whether the vault found that the lease's time ran out.
    pub(crate) fn found_expired(&self) -> bool {
        self.has_reason(Code::PossessionRefused, LEASE_EXPIRED)
    }

    fn has_reason(&self, code: Code, wanted: &str) -> bool {
        self.problem().is_some_and(|p| p.code == code && p.reasons.iter().any(|reason| reason == wanted))
    }

    /// The vault's problem document, where this is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::PatienceOver { cause, .. } => cause.problem(),
            _ => None,
        }
    }
}

impl From<ring::error::Unspecified> for Error {
    fn from(_: ring::error::Unspecified) -> Self {
        Self::NoRandomness
    }
}

fn describe(problem: &Problem) -> String {
    if problem.code == Code::Malformed {
        return describe_malformed(problem);
    }
    let mut text = format!("{} [{}]", problem.title, problem.code.as_str());
    let mut add = |label: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            text.push_str(label);
            text.push_str(value);
        }
    };
    add(" ", problem.detail.as_deref());
    add(" Field: ", problem.field.as_deref());
    add(" Row: ", problem.row.as_deref());
    add(" Reasons: ", Some(problem.reasons.join(", ").as_str()));
    add(" Decision: ", problem.decision_id.map(|id| id.to_string()).as_deref());
    text
}

/// For people: what was wrong with which argument. The rest is for programs.
fn describe_malformed(problem: &Problem) -> String {
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let what = said(&problem.detail).unwrap_or_else(|| "it does not say why".to_owned());
    let field = said(&problem.field).map_or_else(|| "this".to_owned(), |field| format!("`{field}`"));
    format!("the vault does not accept {field}: {what} [{}]", problem.code.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrong_with_an_argument_is_said_for_people() {
        let problem = Problem::new(Code::Malformed).field("jurisdiction").detail("`XX` is not a country.");
        let text = Error::Refused(Box::new(problem)).to_string();
        assert_eq!(text, "the vault does not accept `jurisdiction`: `XX` is not a country. [malformed]");
    }

    #[test]
    fn a_nonce_that_was_used_up_is_replaced_and_nothing_else_is_asked_twice() {
        let refused = |code| Error::Refused(Box::new(Problem::new(code)));
        for code in [Code::NonceExpired, Code::NonceReused] {
            assert!(refused(code).wants_fresh_nonce(), "{code:?}");
        }
        for code in [Code::Denied, Code::LedgerUnavailable, Code::EvidenceRefused, Code::TooMany] {
            assert!(!refused(code).wants_fresh_nonce(), "{code:?}");
        }
    }
}
