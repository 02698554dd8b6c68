//! What was found, and what to do.

use serde::Serialize;

/// Whether a node can go on like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// Works, and could be better.
    Warn,
    /// Something will not work, or is open to others.
    Fail,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

/// All rows, in the order in which they were looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Ok, found: found.into(), remedy: None });
    }

    pub(super) fn warn(&mut self, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Warn, found: found.into(), remedy: Some(remedy.into()) });
    }

    pub(super) fn fail(&mut self, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Fail, found: found.into(), remedy: Some(remedy.into()) });
    }

    /// True unless something failed.
    pub(super) fn hold(&self) -> bool {
        self.0.iter().all(|finding| finding.verdict != Verdict::Fail)
    }
}
