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

fn is_cloud_vm(identity: &Identity) -> bool {
    identity.kind == IdentityKind::CloudVm
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
    /// A cloud's machine, by a processor that it may share with strangers.
    #[error(
        "E7: the {by} item shows {identity} and no machine that the record lists: strangers share a cloud's processor; `strongroom node identity add` puts the machine's cloud-vm into the record"
    )]
    E7ProcessorAlone {
        /// The item.
        by: EvidenceKind,
        /// The processor.
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
/// and where he registered the processor too, it may not. The processor alone names no machine of a cloud: strangers'
/// run on it. Each device is shown once, by items of one guest at the most; and of GPUs, exactly those that the record
/// lists, beside that guest.
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
        (None, Some(_)) if by == EvidenceKind::AzureSnpVtpm && !listed.iter().any(is_cloud_vm) => {
            // It lists what the item shows, and that is the processor.
            let identity = listed.into_iter().next();
            Err(identity.map_or(CompositeRefused::E7Nameless { by }, |identity| CompositeRefused::E7ProcessorAlone {
                by,
                identity,
            }))
        }
        (None, Some(_)) => Ok(listed),
    }
}

#[cfg(test)]
mod tests;
