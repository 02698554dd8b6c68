//! What this machine shows of itself beside a TPM, for whoever writes its record.

use super::findings::Findings;
use crate::{commands::node::shown::Shown, context::Context};
use std::path::Path;
use strongroom::{collect::NodeConfig, protocol::evidence::EvidenceKind};

/// Looks at the evidence of the devices that are configured. What does not answer was told of before.
pub(super) fn examine(root: &Path, context: &Context, findings: &mut Findings) {
    let config = context.node_config().ok().flatten();
    // Of a node that has its TPM alone there is nothing to tell, and its quote takes a while.
    let alone = |config: &NodeConfig| matches!(config, NodeConfig::Devices(devices) if devices.devices.iter().all(|kind| *kind == EvidenceKind::Tpm2));
    if root != Path::new("/") || config.as_ref().is_none_or(alone) {
        return;
    }
    let enrolled = context.enrolment_path().exists();
    if let Ok(shown) = context.attester().and_then(|attester| Shown::by(&*attester)) {
        tell(&shown, enrolled, findings);
    }
}

fn tell(shown: &Shown, enrolled: bool, findings: &mut Findings) {
    const CHECK: &str = "identity";
    for identity in &shown.identities {
        findings.ok(CHECK, identity.to_string());
    }
    for why in &shown.nameless {
        findings.warn(CHECK, why.clone(), "until then the vault takes this item for no machine's");
    }
    if enrolled && !shown.identities.is_empty() {
        findings.ok(CHECK, "strongroom node identify puts these into the node's record");
    } else if shown.names_a_machine() {
        findings.ok(CHECK, format!("an operator registers this machine: {}", shown.import_line()));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::findings::Verdict, *};

    #[test]
    fn a_machine_is_told_by_what_it_shows_and_how_it_comes_into_a_record() {
        let told = |shown: &Shown, enrolled| {
            let mut findings = Findings::default();
            tell(shown, enrolled, &mut findings);
            findings.0.into_iter().map(|finding| (finding.verdict, finding.found)).collect::<Vec<_>>()
        };
        let chip = format!("snp-chip:{}", "ab".repeat(64));
        let identities = vec![chip.parse().unwrap(), "nvidia-gpu:4701".parse().unwrap()];
        let shown = Shown { identities, nameless: Vec::new() };
        let line = format!(
            "an operator registers this machine: strongroom node import --identity {chip} --identity nvidia-gpu:4701 --site SITE"
        );
        let gpu = (Verdict::Ok, "nvidia-gpu:4701".to_owned());
        assert_eq!(told(&shown, false), [(Verdict::Ok, chip.clone()), gpu.clone(), (Verdict::Ok, line)]);
        assert!(told(&shown, true)[2].1.contains("node identify"));
        let hidden = Shown { identities: Vec::new(), nameless: vec!["sev-snp: hidden".to_owned()] };
        assert_eq!(told(&hidden, false), [(Verdict::Warn, "sev-snp: hidden".to_owned())]);
        assert!(told(&Shown::default(), true).is_empty());
    }
}
