//! The rows, and a report that lists each with its verdict: what an offline tool prints.

use crate::Refused;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// Rows of an enrolment, in the order in which they are checked.
pub const ENROLMENT: [(&str, &str); 6] = [
    ("E1", "EK certificate profile"),
    ("E2", "path to a pinned vendor root, validity, revocation"),
    ("E3", "EK public area equals the certificate's key and an EK template"),
    ("E4", "AK is a restricted signing key of its TPM"),
    ("E5", "activation secret"),
    ("E6", "same EK and AK as enrolled"),
];

/// Rows of a quote, in the order in which they are checked.
pub const QUOTE: [(&str, &str); 8] = [
    ("Q1", "signature by the enrolled AK, by its scheme and hash"),
    ("Q2", "a quote, and nothing else"),
    ("Q3", "extraData is the binding of the request"),
    ("Q4", "signer is the AK under this EK in the endorsement hierarchy"),
    ("Q5", "same boot as at the lease's start"),
    ("Q6", "exactly the wanted PCRs, values labelled by the selection"),
    ("Q7", "digest of the values"),
    ("Q8", "firmware measured the boot"),
];

/// Rows of a boot log. The first two are of its form: without them there is nothing to judge. The others
/// stand by themselves.
pub const BOOT_LOG: [(&str, &str); 7] = [
    ("L1", "crypto-agile log, whole, one digest of each algorithm an event"),
    ("L2", "startup locality; events without action extend nothing"),
    ("L3", "types where they may stand, digests of the data, one separator a PCR"),
    ("L4", "Secure Boot and its variables (PCR 7)"),
    ("L5", "boot path (PCRs 4 and 5)"),
    ("L6", "boot loader and unified kernel image (PCRs 8 to 12)"),
    ("L7", "the log leads to the quoted values"),
];

/// Rows of an IMA log.
pub const IMA_LOG: [(&str, &str); 1] = [("L8", "IMA log: hashes, violations, boot_aggregate, the quoted PCR 10")];

/// Rows of a GPU's report.
pub const NVIDIA_GPU: [(&str, &str); 5] = [
    ("G1", "SPDM request and response: binding, measurements, opaque fields"),
    ("G2", "five certificates to a pinned root, signature, firmware"),
    ("G3", "signed manifests of driver and VBIOS, every golden value"),
    ("G4", "exactly the GPUs of the node's record, beside CPU-TEE evidence"),
    ("G5", "confidential mode, not DEVTOOLS, pinned manifests, revocation"),
];

/// Row of what runs on a node.
pub const WORKLOAD: [(&str, &str); 1] = [("L9", "workload identity from measured sources only")];

/// Rows of a report of AMD SEV-SNP, in the order in which they are checked.
pub const SEV_SNP: [(&str, &str); 11] = [
    ("S1", "report of version 3 to 5, reserved bytes and unknown bits zero"),
    ("S2", "Milan, Genoa or Turin, and not a product line that policy refuses"),
    ("S13", "certificates sent or stored, nothing fetched"),
    ("S3", "VCEK or VLEK to the pinned root of the product"),
    ("S4", "the root's revocation list"),
    ("S5", "the certificate is for this TCB and this chip"),
    ("S11", "signature over the received bytes"),
    ("S9", "report_data is the binding of the request"),
    ("S6", "TCB: order, minima, mitigations"),
    ("S7", "no debugging, no migration, the host's setup"),
    ("S8", "privilege level"),
];

/// Row of what a guest's launch will measure.
pub const SNP_LAUNCH: [(&str, &str); 1] = [("S10", "launch measurement from firmware, kernel, command line, CPUs")];

/// Row of the envelope of Azure's vTPM. Rows of SEV-SNP and of the quote (without Q4 and Q5) stand beside it.
pub const AZURE: [(&str, &str); 1] = [("S12", "envelope: runtime data in the report, AK in the runtime data")];

/// Row of a TDX quote.
pub const TDX: [(&str, &str); 1] =
    [("T1", "TDX quote: signatures, collateral, TCB, binding, attributes, registers, event log")];

/// The report of an IMA log. `covered`: PCR 10 was given; `boot_aggregate`: so were PCRs 0 to 9.
pub fn ima_report(covered: bool, boot_aggregate: bool, refused: Option<&crate::ima::ImaRefused>) -> Report {
    Report::of_each(&IMA_LOG, |_| match refused {
        Some(refused) => (Verdict::Refused, Some(refused.to_string())),
        None if !covered => (Verdict::NotChecked, Some("every hash holds; PCR 10 was not given".to_owned())),
        None if !boot_aggregate => {
            let unknown = "every hash holds and PCR 10 covers the log; boot_aggregate was not compared: PCRs 0 to 9 of \
                           its bank were not given";
            (Verdict::NotChecked, Some(unknown.to_owned()))
        }
        None => (Verdict::Passed, None),
    })
}

/// Row of evidence from several devices.
pub const COMPOSITE: [(&str, &str); 1] = [(
    "E7",
    "every item is of the same approved record, each device once, and every GPU that it lists beside its guest",
)];

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Checked, and it held.
    Passed,
    /// Checked, and it did not hold.
    Refused,
    /// Not checked: its input was not given, or an earlier row refused. Never to be shown as passed.
    NotChecked,
}

/// One row with its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Row {
    /// Such as `Q3`.
    pub row: &'static str,
    /// What it checks.
    pub title: &'static str,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Every row of one verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// The rows, in the order in which they are checked.
    pub rows: Vec<Row>,
}

impl Report {
    /// A report of rows that were judged one by one: `judge` says of a row that it held, why it was refused, or
    /// why it was not checked.
    pub(crate) fn of_each(
        rows: &[(&'static str, &'static str)],
        judge: impl Fn(&'static str) -> (Verdict, Option<String>),
    ) -> Self {
        let row = |&(row, title): &(&'static str, &'static str)| {
            let (verdict, note) = judge(row);
            Row { row, title, verdict, note }
        };
        Self { rows: rows.iter().map(row).collect() }
    }

    /// A report of a verification that checks `rows` in their order and stops at the first refusal.
    /// `not_checked` names the rows whose input was not given, and says why.
    pub(crate) fn new(
        rows: &[(&'static str, &'static str)],
        not_checked: &[(&'static str, &str)],
        refused: Option<&Refused>,
    ) -> Self {
        let mut stopped = false;
        let row = |&(row, title): &(&'static str, &'static str)| {
            let reason = not_checked.iter().find(|(id, _)| *id == row).map(|(_, reason)| (*reason).to_owned());
            let (verdict, note) = match refused {
                Some(refused) if refused.row() == row => {
                    stopped = true;
                    (Verdict::Refused, Some(refused.to_string()))
                }
                _ if stopped => (Verdict::NotChecked, Some("an earlier row refused".to_owned())),
                _ if reason.is_some() => (Verdict::NotChecked, reason),
                _ => (Verdict::Passed, None),
            };
            Row { row, title, verdict, note }
        };
        Self { rows: rows.iter().map(row).collect() }
    }

    /// True when nothing that was checked was refused. It may still have rows that were not checked.
    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Verdict::Refused)
    }

    /// The verdict of a row; `None` if the report has no such row.
    pub fn verdict(&self, id: &str) -> Option<Verdict> {
        self.rows.iter().find(|row| row.row == id).map(|row| row.verdict)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::NotChecked => "not checked",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Row { row, title, verdict, note } in &self.rows {
            writeln!(f, "{row}  {verdict:<11}  {title}")?;
            if let Some(note) = note {
                writeln!(f, "                 {note}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Verdict::{NotChecked as N, Passed as P, Refused as R},
        *,
    };

    #[test]
    fn what_comes_after_a_refusal_was_not_checked() {
        let report = Report::new(&QUOTE, &[("Q5", "no lease")], Some(&Refused::Q6Expectation));
        let verdicts: Vec<_> = report.rows.iter().map(|row| row.verdict).collect();
        assert_eq!(verdicts, [P, P, P, P, N, R, N, N]);
        assert!(!report.holds());
        assert!(report.to_string().contains("Q5  not checked  same boot"));
        assert!(Report::new(&QUOTE, &[("Q5", "no lease")], None).holds());
    }
}
