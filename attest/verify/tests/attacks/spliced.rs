//! Evidence of several machines put together, each piece genuine and bound to the request.

use super::*;
use std::collections::BTreeSet;
use strongroom_attest::composite::{self, CompositeRefused, Shown};
use strongroom_hardware::snp::{Leaf, Product, leaf_extensions};
use strongroom_protocol::{evidence::EvidenceKind, identity::Identity};

/// A machine whose processor has this id, with so many GPUs, as an approved record lists it.
struct Machine {
    guest: Shown,
    gpus: Vec<Shown>,
}

impl Machine {
    /// Its evidence is made, verified, and leaves what it showed.
    fn honest(chip: u8, gpus: &[u8], family: &Gpu) -> Self {
        let mut snp = Snp::new(Product::Genoa, Leaf::Vcek);
        snp.report.chip_id = [chip; 64];
        snp.leaf.extensions = leaf_extensions(Product::Genoa, Leaf::Vcek, &snp.report);
        let claims = judge_snp(&snp, [3; 64], &SnpRequirements::default()).unwrap();
        let guest = Shown::one(EvidenceKind::SevSnp, claims.identity().unwrap());
        let shown = |serial: &u8| {
            let gpu = Gpu { chain: family.chain.another_device(&[0x41, *serial]), ..Gpu::default() };
            let claims = judge_gpu(&gpu, [7; 32]).unwrap();
            Shown::one(EvidenceKind::NvidiaGpu, nvidia::identity(&claims))
        };
        Self { guest, gpus: gpus.iter().map(shown).collect() }
    }

    fn record(&self) -> BTreeSet<Identity> {
        let all = self.gpus.iter().chain([&self.guest]);
        all.flat_map(|shown| shown.identities.clone()).collect()
    }

    fn shown(&self) -> Vec<Shown> {
        [vec![self.guest.clone()], self.gpus.clone()].concat()
    }
}

#[test]
fn e7_evidence_of_two_honest_machines_is_that_of_neither() {
    let family = Gpu::default();
    let (one, two) = (Machine::honest(1, &[1, 2], &family), Machine::honest(2, &[3, 4], &family));
    assert_eq!(composite::check(&one.record(), &one.shown()).unwrap().gpus().len(), 2);
    assert_eq!(composite::check(&two.record(), &two.shown()).unwrap().gpus().len(), 2);
    let refused = |shown: Vec<Shown>| composite::check(&one.record(), &shown).unwrap_err();
    let not_listed = |refused: CompositeRefused, strange: &Shown| match refused {
        CompositeRefused::E7NotListed { identity, .. } => assert_eq!(identity, strange.identities[0]),
        other => panic!("{other}"),
    };

    // The other's guest with this one's GPUs: a machine without confidential memory borrows a processor.
    not_listed(refused([vec![two.guest.clone()], one.gpus.clone()].concat()), &two.guest);
    // This one's guest with one, or all, of the other's GPUs: one that is in DEVTOOLS mode stays at home.
    not_listed(refused(vec![one.guest.clone(), one.gpus[0].clone(), two.gpus[0].clone()]), &two.gpus[0]);
    not_listed(refused([vec![one.guest.clone()], two.gpus.clone()].concat()), &two.gpus[0]);
    // All of it, and one more beside.
    not_listed(refused([one.shown(), vec![two.gpus[1].clone()]].concat()), &two.gpus[1]);
    // Two guests, each of which could have collected the rest.
    let both = one.record().union(&two.record()).cloned().collect();
    let refused = composite::check(&both, &[one.shown(), two.shown()].concat()).unwrap_err();
    assert!(matches!(refused, CompositeRefused::E7TwoGuests { .. }), "{refused}");
}

#[test]
fn e7_another_number_of_gpus_than_the_record_lists_is_refused() {
    let machine = Machine::honest(1, &[1, 2, 3], &Gpu::default());
    composite::check(&machine.record(), &machine.shown()).unwrap();
    let judge = |shown: &[&Shown]| {
        let shown: Vec<Shown> = shown.iter().copied().cloned().collect();
        composite::check(&machine.record(), &shown).unwrap_err()
    };
    let Machine { guest, gpus } = &machine;
    let fewer = judge(&[guest, &gpus[0], &gpus[1]]);
    assert!(matches!(&fewer, CompositeRefused::E7GpusMissing { listed: 3, missing } if missing.len() == 1), "{fewer}");
    assert!(matches!(judge(&[guest]), CompositeRefused::E7GpusMissing { listed: 3, .. }));
    // One shown twice, in place of the one that is missing.
    assert!(matches!(judge(&[guest, &gpus[0], &gpus[1], &gpus[1]]), CompositeRefused::E7Twice { .. }));
    assert!(matches!(judge(&[&gpus[0], &gpus[1], &gpus[2]]), CompositeRefused::E7GpuAlone { .. }));
}

#[test]
fn e7_a_processor_that_hides_its_id_is_no_machine_of_a_record() {
    let mut snp = Snp::new(Product::Genoa, Leaf::Vlek);
    snp.report.chip_id = [0; 64];
    let vlek = SnpRequirements { allow_vlek: true, ..SnpRequirements::default() };
    let claims = judge_snp(&snp, [3; 64], &vlek).unwrap();
    assert_eq!(claims.identity(), None);
    let shown = Shown { by: EvidenceKind::SevSnp, identities: claims.identity().into_iter().collect() };
    let record = Machine::honest(1, &[], &Gpu::default()).record();
    assert!(matches!(composite::check(&record, &[shown]), Err(CompositeRefused::E7Nameless { .. })));
    // With a VCEK nothing else says whose report it is.
    let mut snp = Snp::new(Product::Genoa, Leaf::Vcek);
    snp.report.chip_id = [0; 64];
    assert_eq!(judge_snp(&snp, [3; 64], &SnpRequirements::default()), Err(SnpRefused::S5Masked));
}

#[test]
fn s12_q1_an_envelope_of_one_machine_with_the_quote_of_another_is_refused() {
    let one = Azure::default();
    assert!(judge_azure(&one, &one, [9; 32]).is_ok());
    let mut two = Azure::default();
    two.quote.signed_by = strongroom_hardware::azure::other_ak();
    two.runtime_data = strongroom_hardware::azure::runtime_data(two.quote.signed_by);
    assert!(judge_azure(&two, &two, [9; 32]).is_ok());
    for (envelope, quote) in [(&one, &two), (&two, &one)] {
        assert_eq!(judge_azure(envelope, quote, [9; 32]).unwrap_err().row(), "Q1");
    }
    // This machine's report under the other's runtime data, in which its key stands.
    let mut joined = one.clone();
    joined.report_data = Some({
        let mut bound = [0; 64];
        bound[..32].copy_from_slice(&strongroom_protocol::sha256(one.runtime_data.as_bytes()));
        bound
    });
    assert!(judge_azure(&joined, &one, [9; 32]).is_ok());
    joined.runtime_data = two.runtime_data.clone();
    assert_eq!(judge_azure(&joined, &two, [9; 32]).unwrap_err().row(), "S12");
}
