//! What a vault says of evidence: to whoever sent it, and to the auditor who asks afterwards.

use super::{ASSET, Estate};
use serde_json::Value;
use strongroom::{Error, Request};
use strongroom_collect::Attester;
use strongroom_protocol::{Code, DecisionId, NodeId, Problem, admin::Role};

/// What an error of the vault's is, printed for whoever reads the log.
#[track_caller]
pub(super) fn told(what: &str, error: &Error) -> Problem {
    println!("{what:60} → {error}");
    error.problem().unwrap_or_else(|| panic!("{what}: {error}")).clone()
}

impl Estate {
    /// Keys for these devices, which are given up again; the decision.
    #[track_caller]
    pub(super) fn released(&self, devices: &dyn Attester) -> DecisionId {
        let lease = self.room().release(devices, Request::new().writer(ASSET, 1)).unwrap();
        let decision = lease.decision();
        lease.end().unwrap();
        decision
    }

    /// What the vault says to these devices' request.
    #[track_caller]
    pub(super) fn refused(&self, what: &str, devices: &dyn Attester) -> Problem {
        let error = self.room().release(devices, Request::new().writer(ASSET, 1)).map(drop).unwrap_err();
        told(what, &error)
    }

    /// Refused in this row, as evidence that no node has signed: nothing is decided, and nothing stored.
    #[track_caller]
    pub(super) fn unbelieved(&self, what: &str, devices: &dyn Attester, row: &str) {
        let problem = self.refused(what, devices);
        let told = (problem.status, problem.code, problem.row.as_deref(), problem.decision_id);
        assert_eq!(told, (401, Code::EvidenceRefused, Some(row), None), "{what}");
    }

    /// A denial with this reason and no other, of a machine that is believed to be the node. The authorised person
    /// reads what it showed and what was refused.
    #[track_caller]
    pub(super) fn denied(&self, what: &str, devices: &dyn Attester, reason: &str) {
        let problem = self.refused(what, devices);
        assert_eq!(
            (problem.code, problem.reasons.as_slice()),
            (Code::Denied, [reason.to_owned()].as_slice()),
            "{what}"
        );
        let explained = self.explained(problem.decision_id.unwrap());
        assert!(explained.contains("denied") && explained.contains(reason), "{what}: {explained}");
        if let Some(row) = problem.row {
            assert!(explained.contains(&format!("row {row} checks")), "{what}: {explained}");
        }
    }

    /// What `explain` prints for an auditor.
    pub(super) fn explained(&self, decision: DecisionId) -> String {
        let auditor = self.vault.cli(Role::Auditor).unwrap();
        let explained = auditor.run(["explain", &decision.to_string()]).unwrap().done().unwrap().stdout;
        println!("{explained}");
        explained
    }

    /// The ids of all decisions about this node, with their verdicts, the oldest first.
    pub(super) fn decided(&self, node: NodeId) -> Vec<(DecisionId, String)> {
        let records = self.records(node).into_iter().filter(|record| record["action"] == "release.decided");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        records.map(|record| (text(&record["id"]).parse().unwrap(), text(&record["verdict"]))).collect()
    }
}
