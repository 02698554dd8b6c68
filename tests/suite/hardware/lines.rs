//! Other processors of AMD's: the line Turin, whose firmware makes reports of version 5, and those of a provider whose
//! own key (VLEK) signs.

use super::{ASSET, Estate, devices_of, shipped, values};
use serde_json::json;
use std::sync::Arc;
use strongroom::{LeaseOver, Request};
use strongroom_collect::Devices;
use strongroom_protocol::{NodeId, admin::SnpValues, evidence::EvidenceKind, requirements::Register};
use strongroom_tests::{
    Confidential, Makers, Vault,
    confidential::{Parts, set_tcb},
};

impl Estate {
    /// Tier 2; `vlek` whether it accepts a provider's key.
    fn of_lines(vlek: bool) -> Self {
        let makers = Makers::new();
        let mut settings = shipped("tier2", "snp");
        settings["allow_vlek"] = json!(vlek);
        let measurements = [Register(makers.turin(0xee).measurement())].into();
        Self::founded(Vault::init().unwrap(), makers, "tier2", &[("snp", settings)], values(SnpValues { measurements }))
    }

    /// A machine that an operator has registered by its chip.
    fn by_chip(&self, machine: Confidential) -> (Arc<Confidential>, NodeId) {
        let node = self.import_by(&[machine.chip()]);
        (Arc::new(machine), node)
    }
}

fn opened(machine: &Arc<Confidential>) -> Devices {
    devices_of(machine, &[EvidenceKind::SevSnp])
}

/// A lease is renewed by evidence, and ends when the guest is started anew.
fn holds_one_launch(estate: &Estate, machine: &Confidential, devices: &Devices) {
    let room = estate.room();
    let lease = room.release(devices, Request::new().writer(ASSET, 1)).unwrap();
    lease.reattest(&room, devices).unwrap();
    machine.relaunch();
    assert_eq!(lease.reattest(&room, devices).unwrap_err().problem().unwrap().reasons, ["rebooted"]);
    assert!(matches!(lease.check(), Err(LeaseOver::Revoked(_))), "{:?}", lease.check());
}

/// A host that hides the chip names no machine.
fn masked(estate: &Estate, machine: &Confidential, devices: &Devices) {
    let shown = machine.change(|parts| {
        parts.snp.report.key_info |= 1 << 1;
        std::mem::replace(&mut parts.snp.report.chip_id, [0; 64])
    });
    estate.unbelieved("a chip id that firmware masks", devices, "E7");
    machine.change(|parts| {
        parts.snp.report.key_info &= !(1 << 1);
        parts.snp.report.chip_id = shown;
    });
}

#[test]
fn a_machine_of_the_line_turin_is_released_to_and_held_to_its_own_minima() {
    let estate = Estate::of_lines(false);
    let (machine, _) = estate.by_chip(estate.makers.turin(0x51));
    let devices = opened(&machine);
    let decision = estate.released(&devices);
    let claims = estate.decision(decision).input["claims"]["snp"].clone();
    assert_eq!((&claims["product"], &claims["version"]), (&json!("turin"), &json!(5)), "{claims}");
    assert_eq!(claims["tcb"]["reported"]["fmc"], json!(1), "{claims}");
    assert!(estate.explained(decision).contains("released"));

    let honest = machine.change(|parts| parts.snp.report.clone());
    let restore = || {
        machine.change(|parts| parts.snp.report = honest.clone());
        machine.change(Parts::certify);
    };
    // Rolled back: what is reported, with AMD's certificate for it; what is committed; what launched the guest.
    let older = [1, 1, 1, 3, 0, 0, 0, 0x90];
    for what in ["reported", "launch", "committed and reported", "all"] {
        machine.change(|parts| {
            let report = &mut parts.snp.report;
            match what {
                "reported" => report.reported_tcb = older,
                "launch" => report.launch_tcb = older,
                "all" => set_tcb(&mut parts.snp, older),
                _ => (report.committed_tcb, report.reported_tcb) = (older, older),
            }
            parts.certify();
        });
        estate.denied(&format!("an older TCB: {what}"), &devices, "evidence_s6");
        restore();
    }
    // A certificate for firmware that the report does not show; one of another chip.
    machine.change(|parts| {
        parts.snp.report.reported_tcb = older;
        parts.certify();
        parts.snp.report.reported_tcb = honest.reported_tcb;
    });
    estate.unbelieved("a certificate of older firmware", &devices, "S5");
    restore();
    machine.change(|parts| {
        parts.snp.report.chip_id[0] ^= 1;
        parts.certify();
        parts.snp.report.chip_id[0] ^= 1;
    });
    estate.unbelieved("a certificate of another chip", &devices, "S5");
    restore();
    masked(&estate, &machine, &devices);
    // No alias check: the tier asks for it of this line.
    machine.change(|parts| parts.snp.report.platform &= !(1 << 5));
    estate.denied("memory that was not looked at for aliases", &devices, "evidence_s7");
    restore();
    machine.change(|parts| parts.snp.report.policy |= 1 << 19);
    estate.denied("a guest that may be debugged", &devices, "evidence_s7");
    restore();
    holds_one_launch(&estate, &machine, &devices);
}

#[test]
fn a_providers_key_counts_where_policy_says_so_and_passes_for_no_chips() {
    let estate = Estate::of_lines(true);
    let (machine, _) = estate.by_chip(estate.makers.provided(0x52));
    let devices = opened(&machine);
    let decision = estate.released(&devices);
    let claims = estate.decision(decision).input["claims"]["snp"].clone();
    assert_eq!(
        (&claims["signing_key"], &claims["chip_id"]),
        (&json!("vlek"), &json!(machine.chip().value)),
        "{claims}"
    );
    assert!(estate.explained(decision).contains("released"));
    holds_one_launch(&estate, &machine, &devices);

    // A report that says the chip's key signed it, beside a provider's certificate, and the other way round.
    let key_info = machine.change(|parts| std::mem::replace(&mut parts.snp.report.key_info, 0));
    estate.unbelieved("a provider's certificate for a chip's report", &devices, "S3");
    machine.change(|parts| parts.snp.report.key_info = key_info);
    let (chips, _) = estate.by_chip(estate.makers.machine(0x53, &[]));
    estate.released(&opened(&chips));
    chips.change(|parts| parts.snp.report.key_info = key_info);
    estate.unbelieved("a chip's certificate for a provider's report", &opened(&chips), "S3");

    masked(&estate, &machine, &devices);
    machine.change(|parts| {
        set_tcb(&mut parts.snp, [10, 0, 0, 0, 0, 0, 20, 0x88]);
        parts.certify();
    });
    estate.denied("older firmware of a provider", &devices, "evidence_s6");
}

#[test]
fn a_providers_key_does_not_count_where_policy_wants_the_chips() {
    let estate = Estate::of_lines(true);
    let (machine, node) = estate.by_chip(estate.makers.provided(0x54));
    estate.released(&opened(&machine));
    estate.vault.enforce("tier2", &[]).unwrap();
    estate.denied("a provider's key", &opened(&machine), "evidence_s3");
    let (decision, verdict) = estate.decided(node).pop().unwrap();
    assert_eq!(verdict, "denied");
    let explained = estate.explained(decision);
    assert!(explained.contains("VLEK"), "{explained}");
}
