//! Row E7, over identities by themselves; `tests/attacks/spliced.rs` has whole evidence.

use super::*;
use proptest::prelude::*;
use strongroom_protocol::NodeId;

fn read(text: &str) -> Identity {
    text.parse().unwrap()
}
fn ek(n: u8) -> Identity {
    Identity::of_tpm(&NodeId::from([n; 32]))
}
fn chip(n: u8) -> Identity {
    read(&format!("snp-chip:{}", format!("{n:02x}").repeat(64)))
}
fn ppid(n: u8) -> Identity {
    read(&format!("tdx-ppid:{}", format!("{n:02x}").repeat(16)))
}
fn gpu(n: u8) -> Identity {
    read(&format!("nvidia-gpu:{n:02x}"))
}
fn vm(n: u8) -> Identity {
    read(&format!("cloud-vm:7b5a1c2e-0d5f-4c39-9f0e-2a41c0ffee{n:02x}"))
}

/// The item that shows an identity of this kind by itself.
fn item(identity: &Identity) -> Shown {
    let by = match identity.kind {
        IdentityKind::TpmEk => EvidenceKind::Tpm2,
        IdentityKind::SnpChip => EvidenceKind::SevSnp,
        IdentityKind::TdxPpid => EvidenceKind::Tdx,
        IdentityKind::NvidiaGpu => EvidenceKind::NvidiaGpu,
        IdentityKind::CloudVm => EvidenceKind::AzureSnpVtpm,
    };
    Shown::one(by, identity.clone())
}

fn judge(record: &[Identity], shown: &[Identity]) -> Result<Devices, CompositeRefused> {
    let shown: Vec<_> = shown.iter().map(item).collect();
    check(&record.iter().cloned().collect(), &shown)
}

#[test]
fn e7_every_item_is_of_the_same_record() {
    let record = [ek(1), chip(1), gpu(1), gpu(2)];
    let devices = judge(&record, &[chip(1), gpu(2), gpu(1), ek(1)]).unwrap();
    assert_eq!((devices.tpm(), devices.guest().unwrap().by), (Some(&ek(1)), EvidenceKind::SevSnp));
    assert_eq!(devices.gpus(), &BTreeSet::from([gpu(1), gpu(2)]));
    // What the record lists besides need not be shown, but for GPUs.
    judge(&record, &[chip(1), gpu(2), gpu(1)]).unwrap();
    judge(&[ek(1), ppid(1)], &[ppid(1)]).unwrap();
    judge(&[ek(1), ppid(1)], &[ek(1)]).unwrap();
    judge(&[vm(1)], &[vm(1)]).unwrap();

    for (shown, strange) in [
        (vec![chip(2), gpu(1), gpu(2)], chip(2)),
        (vec![chip(1), gpu(1), gpu(3)], gpu(3)),
        (vec![chip(1), gpu(1), gpu(2), gpu(3)], gpu(3)),
        (vec![chip(1), gpu(1), gpu(2), ek(2)], ek(2)),
        (vec![ppid(1), gpu(1), gpu(2)], ppid(1)),
        (vec![vm(1), gpu(1), gpu(2)], vm(1)),
    ] {
        let refused = judge(&record, &shown).unwrap_err();
        let told = refused.to_string();
        assert!(matches!(&refused, CompositeRefused::E7NotListed { identity, .. } if *identity == strange), "{told}");
        assert!(told.contains(&strange.to_string()) && refused.row() == "E7", "{told}");
    }
    judge(&[], &[ek(1)]).unwrap_err();
}

#[test]
fn e7_a_device_is_shown_once() {
    let record = [ek(1), chip(1), gpu(1), gpu(2)];
    judge(&record, &[chip(1), gpu(1), gpu(2)]).unwrap();
    for (shown, twice) in [
        (vec![chip(1), gpu(1), gpu(2), gpu(1)], gpu(1)),
        (vec![ek(1), chip(1), gpu(1), gpu(2), ek(1)], ek(1)),
        (vec![chip(1), chip(1), gpu(1), gpu(2)], chip(1)),
    ] {
        assert_eq!(judge(&record, &shown).unwrap_err(), CompositeRefused::E7Twice { identity: twice });
    }
}

#[test]
fn e7_as_many_gpus_as_the_record_lists() {
    let record = [chip(1), gpu(1), gpu(2), gpu(3)];
    assert_eq!(judge(&record, &[chip(1), gpu(1), gpu(2), gpu(3)]).unwrap().gpus().len(), 3);
    assert_eq!(judge(&[chip(1)], &[chip(1)]).unwrap().gpus().len(), 0);
    let refused = judge(&record, &[chip(1), gpu(2)]).unwrap_err();
    let missing = BTreeSet::from([gpu(1), gpu(3)]);
    assert_eq!(refused, CompositeRefused::E7GpusMissing { listed: 3, missing });
    assert!(refused.to_string().contains("nvidia-gpu:01, nvidia-gpu:03"), "{refused}");
    assert!(matches!(judge(&record, &[chip(1)]), Err(CompositeRefused::E7GpusMissing { .. })));
}

#[test]
fn e7_gpus_count_beside_the_guest_that_collected_them_only() {
    for guest in [chip(1), ppid(1), vm(1)] {
        let record = [guest.clone(), ek(1), gpu(1)];
        judge(&record, &[gpu(1), guest]).unwrap();
        for shown in [vec![gpu(1)], vec![ek(1), gpu(1)]] {
            let refused = judge(&record, &shown).unwrap_err();
            assert_eq!(refused, CompositeRefused::E7GpuAlone { identity: gpu(1) });
        }
    }
}

#[test]
fn e7_one_guest_asks() {
    let record = [chip(1), chip(2), ppid(1), vm(1), vm(2)];
    for one in &record {
        judge(&record, std::slice::from_ref(one)).unwrap();
    }
    for (first, second) in [(chip(1), chip(2)), (chip(1), ppid(1)), (vm(1), vm(2)), (ppid(1), vm(1))] {
        let refused = judge(&record, &[first.clone(), second.clone()]).unwrap_err();
        let (first, second) = (item(&first).by, item(&second).by);
        assert_eq!(refused, CompositeRefused::E7TwoGuests { first, second });
    }
}

#[test]
fn e7_a_tpm_of_the_host_does_not_speak_for_a_guest() {
    let record = [ek(1), chip(1)];
    let alone = judge(&record, &[ek(1)]).unwrap();
    assert_eq!((alone.tpm(), alone.tpm_of_machine()), (Some(&ek(1)), Some(&ek(1))));
    let beside = judge(&record, &[ek(1), chip(1)]).unwrap();
    assert_eq!((beside.tpm(), beside.tpm_of_machine()), (Some(&ek(1)), None));
    let guest = Guest { by: EvidenceKind::SevSnp, identities: BTreeSet::from([chip(1)]) };
    assert_eq!(beside.guest(), Some(&guest));
    assert_eq!(judge(&record, &[chip(1)]).unwrap().tpm(), None);
}

#[test]
fn e7_of_several_identities_each_counts_whose_kind_the_record_lists() {
    let shown = |identities: &[Identity]| [Shown { by: EvidenceKind::AzureSnpVtpm, identities: identities.to_vec() }];
    let judge = |record: &[Identity], item: &[Shown]| check(&record.iter().cloned().collect(), item);
    let both = shown(&[vm(1), chip(1)]);
    // By its id alone: it may come to lie on another processor.
    let devices = judge(&[vm(1)], &both).unwrap();
    assert_eq!(devices.guest().unwrap().identities, BTreeSet::from([vm(1)]));
    judge(&[vm(1), chip(1)], &both).unwrap();
    // By the processor alone it is any stranger's machine on that processor, whether it says its id or not.
    for item in [&both, &shown(&[chip(1)])] {
        let refused = judge(&[chip(1)], item).unwrap_err();
        let (by, identity) = (EvidenceKind::AzureSnpVtpm, chip(1));
        assert_eq!(refused, CompositeRefused::E7ProcessorAlone { by, identity });
    }
    for record in [vec![vm(1), chip(2)], vec![vm(2), chip(1)], vec![vm(2)], vec![chip(2)], vec![ek(1)]] {
        let refused = judge(&record, &both).unwrap_err();
        assert!(matches!(refused, CompositeRefused::E7NotListed { .. }), "{refused}");
    }
    let again = [shown(&[vm(1), vm(1)]), shown(&[vm(1), chip(1)])];
    assert!(matches!(judge(&[vm(1)], &again[0]), Err(CompositeRefused::E7Twice { .. })));
}

#[test]
fn e7_an_item_shows_what_its_kind_speaks_for() {
    let record: BTreeSet<_> = [ek(1), chip(1), ppid(1), gpu(1), vm(1)].into();
    let pairs: [(EvidenceKind, &[IdentityKind]); 5] = [
        (EvidenceKind::Tpm2, &[IdentityKind::TpmEk]),
        (EvidenceKind::SevSnp, &[IdentityKind::SnpChip]),
        (EvidenceKind::Tdx, &[IdentityKind::TdxPpid]),
        (EvidenceKind::NvidiaGpu, &[IdentityKind::NvidiaGpu]),
        (EvidenceKind::AzureSnpVtpm, &[IdentityKind::SnpChip, IdentityKind::CloudVm]),
    ];
    for (by, own) in pairs {
        for identity in &record {
            let refused = check(&record, &[Shown::one(by, identity.clone())]).err();
            let strange = matches!(refused, Some(CompositeRefused::E7NotItsOwn { .. }));
            assert_eq!(!strange, own.contains(&identity.kind), "{by} and {identity}");
        }
    }
    let nothing = Shown { by: EvidenceKind::SevSnp, identities: Vec::new() };
    assert_eq!(check(&record, &[nothing]).unwrap_err(), CompositeRefused::E7Nameless { by: EvidenceKind::SevSnp });
    // A record is compared letter by letter, so what is shown comes in the form that it keeps.
    let upper = Identity { value: chip(0xab).value.to_uppercase(), ..chip(0xab) };
    let hidden = Identity { value: "00".repeat(64), ..chip(1) };
    for wrong in [upper, hidden] {
        let record = BTreeSet::from([wrong.clone()]);
        let refused = check(&record, &[Shown::one(EvidenceKind::SevSnp, wrong)]).unwrap_err();
        assert!(matches!(refused, CompositeRefused::E7NotItsOwn { .. }), "{refused}");
    }
}

#[test]
fn e7_items_are_few() {
    let record: BTreeSet<_> = (1..=40).map(gpu).chain([chip(1)]).collect();
    let shown = |gpus: u8| (1..=gpus).map(gpu).chain([chip(1)]).map(|one| item(&one)).collect::<Vec<_>>();
    let listed = |gpus: u8| (1..=gpus).map(gpu).chain([chip(1)]).collect::<BTreeSet<_>>();
    assert_eq!(check(&listed(31), &shown(31)).unwrap().gpus().len(), 31);
    assert_eq!(check(&listed(32), &shown(32)).unwrap_err(), CompositeRefused::E7Items { items: 33 });
    assert_eq!(check(&record, &[]).unwrap_err(), CompositeRefused::E7Items { items: 0 });
}

proptest! {
    /// Whatever is shown: an answer speaks of listed devices alone, and of every listed GPU.
    #[test]
    fn e7_what_is_accepted_is_listed(
        record in proptest::collection::vec((0_u8..5, 1_u8..4), 0..8),
        shown in proptest::collection::vec((0_u8..5, 1_u8..4), 0..8),
    ) {
        let of = |(kind, n): (u8, u8)| match kind {
            0 => ek(n),
            1 => chip(n),
            2 => ppid(n),
            3 => gpu(n),
            _ => vm(n),
        };
        let record: Vec<_> = record.into_iter().map(of).collect();
        let shown: Vec<_> = shown.into_iter().map(of).collect();
        let listed: BTreeSet<_> = record.iter().cloned().collect();
        match judge(&record, &shown) {
            Ok(devices) => {
                prop_assert!(shown.iter().all(|one| listed.contains(one)));
                let gpus = |of: &[Identity]| of.iter().filter(|one| one.kind == IdentityKind::NvidiaGpu).cloned().collect();
                prop_assert_eq!(devices.gpus(), &gpus(&shown));
                prop_assert_eq!(devices.gpus(), &gpus(&record));
                prop_assert!(devices.gpus().is_empty() || devices.guest().is_some());
            }
            Err(refused) => prop_assert_eq!(refused.row(), "E7"),
        }
    }
}
