//! The node's agent, from the side of those who ask it: wire types, frames, and an [`crate::Attester`].
//!
//! A Unix stream socket; each message is a frame: u32 little-endian length, then that many bytes of
//! JSON. The agent answers each request with one frame.
//!
//! ```text
//! client                                   agent
//!   ── {"ask":"caller"} ──────────────────> who sent this? (SCM_CREDENTIALS, pidfd)
//!   <── {"answer":"caller", caller, token}
//!   ── {"ask":"attest", token, …} ────────> same sender, still alive, still that program?
//!   <── {"answer":"evidence", …}
//! ```
//!
//! The token closes a gap in what a socket tells: credentials name a process id at the moment of
//! sending, and ids are used again. A message that carries the token was sent after the agent took hold
//! of the process (by a pidfd), and that process lives when the message is read; so it is the sender.
//! The token is no secret of value: without being that process it serves nobody.
//!
//! The agent holds no keys and is given none: statements carry public keys only.

mod address;
mod attester;
mod frame;
mod node_config;

pub use address::{AddressError, AgentAddress, SOCKET, VARIABLE};
pub use attester::AgentAttester;
pub use frame::{FrameError, read_frame, write_frame};
pub use node_config::{AgentConfig, NodeConfig};

use serde::{Deserialize, Serialize};
use strongroom_protocol::{
    Bytes, Fixed,
    evidence::{Evidence, PcrSelection},
};

/// What an agent is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase", deny_unknown_fields)]
pub enum AgentRequest {
    /// Who am I to you? Answered by [`AgentAnswer::Caller`].
    Caller {},
    /// Evidence that binds a statement and this caller. Answered by [`AgentAnswer::Evidence`].
    Attest {
        /// The token of the last [`AgentAnswer::Caller`] on this connection.
        token: Fixed<16>,
        /// The statement's exact bytes; it names this caller's SHA-256.
        statement: Bytes,
        /// The PCRs to quote.
        selection: PcrSelection,
        /// Bytes of the IMA log that the vault has already.
        #[serde(default, skip_serializing_if = "is_zero")]
        ima_offset: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(offset: &u64) -> bool {
    *offset == 0
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase", deny_unknown_fields)]
pub enum AgentAnswer {
    /// Who the sender is to the agent.
    Caller {
        /// The caller bytes.
        caller: Bytes,
        /// For the requests that follow on this connection.
        token: Fixed<16>,
    },
    /// Evidence, every item under an `-agent` tag.
    Evidence {
        /// The items.
        evidence: Vec<Evidence>,
    },
    /// No.
    Refused {
        /// Why, for programs.
        code: AgentRefusal,
        /// Why, for people.
        message: String,
        /// When asking again may help, milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

/// Why an agent refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentRefusal {
    /// Not a frame, or not a request.
    Malformed,
    /// A frame above the cap.
    TooLarge,
    /// The frame did not arrive in time.
    TooSlow,
    /// The agent cannot tell who the sender is.
    Unidentified,
    /// The token is not this sender's: the caller was not asked for first, another process sent this, or
    /// the process runs another program since.
    NotTheCaller,
    /// The statement is not one that an agent attests.
    StatementRefused,
    /// The statement names another caller, or none.
    CallerMismatch,
    /// Too many requests of this user, or of all.
    TooMany,
    /// As many connections or requests wait as may.
    Busy,
    /// The node's devices gave no evidence.
    Device,
}

impl AgentRefusal {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::Unidentified => "unidentified",
            Self::NotTheCaller => "not_the_caller",
            Self::StatementRefused => "statement_refused",
            Self::CallerMismatch => "caller_mismatch",
            Self::TooMany => "too_many",
            Self::Busy => "busy",
            Self::Device => "device",
        }
    }

    /// Whether the same request may succeed a moment later.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::TooMany | Self::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_requests_and_fields_are_refused() {
        let good = r#"{"ask":"attest","token":"AAAAAAAAAAAAAAAAAAAAAA","statement":"AA","selection":{"bank":"sha256","pcrs":[0]}}"#;
        assert!(serde_json::from_str::<AgentRequest>(good).is_ok());
        assert!(serde_json::from_str::<AgentRequest>(r#"{"ask":"caller"}"#).is_ok());
        for wrong in [
            r#"{"ask":"enrol"}"#.to_owned(),
            r#"{"ask":"caller","uid":0}"#.to_owned(),
            "{}".to_owned(),
            good.replacen('{', r#"{"tag":"strongroom/v1/enrol","#, 1),
            good.replacen('{', r#"{"caller":"AA","#, 1),
            good.replacen('{', r#"{"statement":"AA","#, 1),
        ] {
            assert!(serde_json::from_str::<AgentRequest>(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_refusal_has_one_name() {
        for refusal in [
            AgentRefusal::Malformed,
            AgentRefusal::TooLarge,
            AgentRefusal::TooSlow,
            AgentRefusal::Unidentified,
            AgentRefusal::NotTheCaller,
            AgentRefusal::StatementRefused,
            AgentRefusal::CallerMismatch,
            AgentRefusal::TooMany,
            AgentRefusal::Busy,
            AgentRefusal::Device,
        ] {
            assert_eq!(serde_json::to_value(refusal).unwrap(), refusal.as_str());
        }
    }
}
