//! What lies behind a denial: what the row checks, what the PCR holds, which events differ from the set's.

use super::super::{
    evidence::words::{meaning_of_row, remedy},
    reference::difference::{self, DifferingPcr},
};
use crate::plain;
use serde_json::Value;
use std::{collections::BTreeSet, fmt::Write as _};
use strongroom::{
    Admin,
    protocol::{
        NodeId,
        admin::{ReferenceValues, ReferenceView},
        audit::{DecisionView, Denial},
    },
};
use strongroom_attest::log::events::meaning;

/// Words for denials of evidence; nothing for others.
pub(super) fn text(admin: &Admin, view: &DecisionView) -> String {
    let mut text = rows(&view.denials);
    let pcrs: BTreeSet<u8> = view.denials.iter().filter_map(pcr).collect();
    for &pcr in &pcrs {
        let _ = writeln!(text, "PCR {pcr} holds: {}", meaning(pcr));
    }
    if !pcrs.is_empty() {
        text.push_str(&differences(admin, view, &pcrs));
    }
    text
}

/// The rows that refused, each with what to do.
fn rows(denials: &[Denial]) -> String {
    let mut text = String::new();
    let rows: BTreeSet<String> = denials.iter().filter_map(row).collect();
    for row in &rows {
        if let Some(title) = meaning_of_row(row) {
            let _ = writeln!(text, "row {row} checks: {title}\n  what to do: {}", remedy(row));
        }
    }
    text
}

/// The row that a code names: `evidence_l4`.
fn row(denial: &Denial) -> Option<String> {
    denial.code.strip_prefix("evidence_").map(str::to_ascii_uppercase)
}

/// The PCR that a denial is about.
fn pcr(denial: &Denial) -> Option<u8> {
    denial.claim.as_ref()?.strip_prefix("tpm.pcrs.")?.parse().ok()
}

/// Where the sets' events differ from those of the node's boot. The vault keeps a node's last evidence only: it
/// tells of this decision if its values are those that were judged.
fn differences(admin: &Admin, view: &DecisionView, pcrs: &BTreeSet<u8>) -> String {
    let node = view.record.get("node").and_then(Value::as_str).and_then(|node| node.parse::<NodeId>().ok());
    let Some(node) = node else { return String::new() };
    // Who may not read these sees no less than before.
    let Ok(shown) = admin.get::<ReferenceValues>(&format!("/v1/nodes/{node}/measurements")) else {
        return String::new();
    };
    let Ok(sets) = admin.get::<Vec<ReferenceView>>("/v1/references") else { return String::new() };
    if pcrs.iter().any(|&pcr| !is_judged(view, &shown, pcr)) {
        return format!(
            "the node has shown other evidence since: `strongroom reference diff SET node:{node}` compares that\n"
        );
    }
    let named = view.input.get("references").and_then(Value::as_object);
    let mut text = String::new();
    for (name, facts) in named.into_iter().flatten() {
        let version = facts.get("version").and_then(Value::as_u64);
        let set = sets.iter().find(|set| set.name == *name && Some(u64::from(set.version)) == version);
        let differing = set.map(|set| difference::pcrs(&set.values, &shown)).unwrap_or_default();
        let of_denials = differing.iter().filter(|found| pcrs.contains(&found.pcr));
        let name = set.map(|set| format!("{}@{}", set.name, set.version)).unwrap_or_default();
        text.extend(of_denials.map(|found: &DifferingPcr| found.text(&name, "this node")));
    }
    if text.contains(" said: ") {
        text.push_str("What stands after `said:` is the log's own word: no digest is of it.\n");
    }
    plain::lines(&text)
}

/// Whether the node's value of a PCR is the one that the decision was made on.
fn is_judged(view: &DecisionView, shown: &ReferenceValues, pcr: u8) -> bool {
    let judged = view.input.pointer(&format!("/claims/tpm/pcrs/{pcr}")).and_then(Value::as_str);
    let shown = shown.pcrs.0.get(&pcr).map(|value| hex::encode(&value.0));
    judged.is_some() && judged.map(str::to_owned) == shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_by_a_row_says_what_it_checks_and_what_to_do() {
        let denial = |code: &str, claim: Option<&str>| Denial {
            code: code.to_owned(),
            message: String::new(),
            claim: claim.map(str::to_owned),
            expected: None,
            got: None,
        };
        let text = rows(&[denial("evidence_l4", None), denial("evidence_l4", None), denial("quota", None)]);
        assert!(text.starts_with("row L4 checks: Secure Boot") && text.contains("what to do:"), "{text}");
        assert_eq!(text.matches("row L4").count(), 1);
        assert_eq!(rows(&[denial("evidence_x9", None), denial("jurisdiction_not_allowed", None)]), "");
        assert_eq!(pcr(&denial("reference_mismatch", Some("tpm.pcrs.9"))), Some(9));
        assert_eq!(pcr(&denial("reference_mismatch", Some("tpm.bank"))), None);
    }
}
