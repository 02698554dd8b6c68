//! Evidence of several devices, held against one approved record (row E7).
//!
//! Binding shows that each signer saw the same statement, *not* that the signers are one machine. So each item has
//! to show an identity that the node's record lists, and all items the same record.
//!
//! ```text
//! verified items ──Shown, one each──┐
//! the node's record ────────────────┴──check──> Devices { tpm, guest, gpus }
//! ```
//!
//! A TPM belongs to the host. Where a guest's own evidence stands beside it, what the TPM measured says nothing of
//! that guest: [`Devices::tpm_of_machine`] is then none.

use std::collections::{BTreeMap, BTreeSet};
use strongroom_protocol::{
    evidence::EvidenceKind,
    identity::{Identity, IdentityKind},
    limits,
};

/// Whether a kind of evidence can show this kind of identity; of all else it does not speak. Azure's evidence is a
/// kind of its own, and never one of the machine's TPM.
fn may_show(by: EvidenceKind, kind: IdentityKind) -> bool {
    match by {
        EvidenceKind::Tpm2 => kind == IdentityKind::TpmEk,
        EvidenceKind::SevSnp => kind == IdentityKind::SnpChip,
        EvidenceKind::Tdx => kind == IdentityKind::TdxPpid,
        EvidenceKind::NvidiaGpu => kind == IdentityKind::NvidiaGpu,
        EvidenceKind::AzureSnpVtpm => matches!(kind, IdentityKind::CloudVm | IdentityKind::SnpChip),
    }
}

/// Whether it is of a guest whose memory a processor encrypts.
fn is_of_guest(by: EvidenceKind) -> bool {
    matches!(by, EvidenceKind::SevSnp | EvidenceKind::Tdx | EvidenceKind::AzureSnpVtpm)
}

/// What one verified item showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The kind of the item.
    pub by: EvidenceKind,
    /// What it showed under its signature: one identity, or of Azure's evidence the machine and the processor.
    pub identities: Vec<Identity>,
}

impl Shown {
    /// An item that showed one identity.
    pub fn one(by: EvidenceKind, identity: Identity) -> Self {
        Self { by, identities: vec![identity] }
    }
}

/// A guest by what its own evidence showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// The kind of that evidence.
    pub by: EvidenceKind,
    /// What of it the record lists.
    pub identities: BTreeSet<Identity>,
}

/// The devices of one approved record, all of them shown. Made by [`check`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devices {
    tpm: Option<Identity>,
    guest: Option<Guest>,
    gpus: BTreeSet<Identity>,
}

impl Devices {
    /// The machine's TPM, whether a guest's evidence stands beside it or not.
    pub fn tpm(&self) -> Option<&Identity> {
        self.tpm.as_ref()
    }

    /// The TPM where it speaks for the machine that asks: there is no guest beside it.
    pub fn tpm_of_machine(&self) -> Option<&Identity> {
        self.tpm.as_ref().filter(|_| self.guest.is_none())
    }

    /// The guest whose memory a processor encrypts.
    pub fn guest(&self) -> Option<&Guest> {
        self.guest.as_ref()
    }

    /// The GPUs, exactly those that the record lists.
    pub fn gpus(&self) -> &BTreeSet<Identity> {
        &self.gpus
    }
}

/// Why evidence is not that of one approved record (row E7). Expected values are for authorised people; a node is
/// told the row only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompositeRefused {
    /// Nothing was shown, or more items than a request has.
    #[error("E7: {items} items of evidence were shown: a request has 1 to {}", limits::EVIDENCE_ITEMS)]
    E7Items {
        /// How many.
        items: usize,
    },
    /// An item shows nothing to know its machine by.
    #[error(
        "E7: the {by} item shows no identity: a chip id that firmware masks names no machine; have the host show it"
    )]
    E7Nameless {
        /// The item.
        by: EvidenceKind,
    },
    /// An item shows what its kind does not speak for, or not in the form in which it is kept.
    #[error("E7: a {by} item does not show {identity}: hand over what its claims name, in the form that records keep")]
    E7NotItsOwn {
        /// The item.
        by: EvidenceKind,
        /// What it is said to have shown.
        identity: Identity,
    },
    /// The record does not list it.
    #[error(
        "E7: the {by} item is of {identity}, which the node's record does not list: it is another machine's, or a part was exchanged; `strongroom node identity add` puts it into the record"
    )]
    E7NotListed {
        /// The item.
        by: EvidenceKind,
        /// What it showed.
        identity: Identity,
    },
    /// Two items show one device.
    #[error("E7: two items show {identity}: each device is shown once")]
    E7Twice {
        /// The device.
        identity: Identity,
    },
    /// Items of two guests: nothing says which of them collected the rest.
    #[error("E7: a {first} item and a {second} item are of two guests: a request is made by one")]
    E7TwoGuests {
        /// The first.
        first: EvidenceKind,
        /// The second.
        second: EvidenceKind,
    },
    /// A GPU without the guest that collected its report.
    #[error(
        "E7: {identity} is shown without evidence of the guest that collected it: a GPU counts beside a sev-snp, tdx or azure-snp-vtpm item only"
    )]
    E7GpuAlone {
        /// The GPU.
        identity: Identity,
    },
    /// The record lists GPUs that were not shown.
    #[error(
        "E7: {} of the {listed} GPUs that the record lists were not shown: {}: put them into confidential mode, or take them out of the record",
        missing.len(), joined(missing)
    )]
    E7GpusMissing {
        /// How many the record lists.
        listed: usize,
        /// Those that no item showed.
        missing: BTreeSet<Identity>,
    },
}

impl CompositeRefused {
    /// The row.
    pub fn row(&self) -> &'static str {
        "E7"
    }
}

/// The first of them, for a message.
fn joined(identities: &BTreeSet<Identity>) -> String {
    const NAMED: usize = 8;
    let named: Vec<_> = identities.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if identities.len() > NAMED { ", …" } else { "" };
    named.join(", ") + more
}

/// Holds what verified items showed against the record of one node (row E7).
///
/// Every item shows an identity that the record lists. Where an item shows several, each counts whose kind the
/// record lists at all: of a cloud's machine that an operator registered by its id alone, the processor may change,
/// and where he registered the processor too, it may not. Each device is shown once, by items of one guest at the
/// most; and of GPUs, exactly those that the record lists, beside that guest.
///
/// # Errors
/// The first of these that does not hold.
pub fn check(record: &BTreeSet<Identity>, shown: &[Shown]) -> Result<Devices, CompositeRefused> {
    if shown.is_empty() || shown.len() > limits::EVIDENCE_ITEMS {
        return Err(CompositeRefused::E7Items { items: shown.len() });
    }
    let kinds: BTreeSet<IdentityKind> = record.iter().map(|listed| listed.kind).collect();
    let mut seen: BTreeMap<&Identity, EvidenceKind> = BTreeMap::new();
    let mut devices = Devices { tpm: None, guest: None, gpus: BTreeSet::new() };
    for item in shown {
        let listed = listed_of(record, &kinds, item)?;
        for identity in &item.identities {
            if seen.insert(identity, item.by).is_some() {
                return Err(CompositeRefused::E7Twice { identity: identity.clone() });
            }
        }
        if is_of_guest(item.by) {
            if let Some(first) = &devices.guest {
                return Err(CompositeRefused::E7TwoGuests { first: first.by, second: item.by });
            }
            devices.guest = Some(Guest { by: item.by, identities: listed });
        } else if item.by == EvidenceKind::Tpm2 {
            devices.tpm = listed.into_iter().next();
        } else {
            devices.gpus.extend(listed);
        }
    }
    if let (None, Some(gpu)) = (&devices.guest, devices.gpus.first()) {
        return Err(CompositeRefused::E7GpuAlone { identity: gpu.clone() });
    }
    let expected = record.iter().filter(|listed| listed.kind == IdentityKind::NvidiaGpu);
    let missing: BTreeSet<Identity> = expected.clone().filter(|gpu| !devices.gpus.contains(gpu)).cloned().collect();
    if !missing.is_empty() {
        return Err(CompositeRefused::E7GpusMissing { listed: expected.count(), missing });
    }
    Ok(devices)
}

/// What of an item the record lists: all that it shows of the kinds which the record has, and one at the least.
fn listed_of(
    record: &BTreeSet<Identity>,
    kinds: &BTreeSet<IdentityKind>,
    item: &Shown,
) -> Result<BTreeSet<Identity>, CompositeRefused> {
    let by = item.by;
    for identity in &item.identities {
        let kept = Identity::read(identity.kind, &identity.value).is_ok_and(|kept| kept == *identity);
        if !kept || !may_show(by, identity.kind) {
            return Err(CompositeRefused::E7NotItsOwn { by, identity: identity.clone() });
        }
    }
    let strange = item.identities.iter().find(|one| kinds.contains(&one.kind) && !record.contains(*one));
    let listed: BTreeSet<Identity> = item.identities.iter().filter(|one| record.contains(*one)).cloned().collect();
    match (strange, item.identities.first()) {
        (_, None) => Err(CompositeRefused::E7Nameless { by }),
        (Some(identity), _) => Err(CompositeRefused::E7NotListed { by, identity: identity.clone() }),
        (None, Some(identity)) if listed.is_empty() => {
            Err(CompositeRefused::E7NotListed { by, identity: identity.clone() })
        }
        (None, Some(_)) => Ok(listed),
    }
}

#[cfg(test)]
mod tests {
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
            assert!(
                matches!(&refused, CompositeRefused::E7NotListed { identity, .. } if *identity == strange),
                "{told}"
            );
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
        let shown =
            |identities: &[Identity]| [Shown { by: EvidenceKind::AzureSnpVtpm, identities: identities.to_vec() }];
        let judge = |record: &[Identity], item: &[Shown]| check(&record.iter().cloned().collect(), item);
        let both = shown(&[vm(1), chip(1)]);
        // By its id alone: it may come to lie on another processor.
        let devices = judge(&[vm(1)], &both).unwrap();
        assert_eq!(devices.guest().unwrap().identities, BTreeSet::from([vm(1)]));
        judge(&[vm(1), chip(1)], &both).unwrap();
        judge(&[chip(1)], &both).unwrap();
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
}
