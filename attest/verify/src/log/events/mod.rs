//! Events for people: what each extended, what the log says that it is, and where two boots differ.
//!
//! Reference sets keep a machine's events beside its PCR values, so that `PCR 9 differs` can be followed by
//! what differs. Nothing here decides anything: hints are the log's own words, which nothing authenticates.

mod difference;
mod hint;

pub use difference::{Change, Difference, Place, difference};

use super::{
    BootLog, EventType,
    quoted::Unrecorded,
    replay::{extend, start},
};
use crate::tpm::HashAlg;
use std::collections::BTreeSet;
use strongroom_protocol::{Bytes, admin::ReferenceEvent, evidence::PcrMap};

/// Localities in which a TPM may have been started (PFP 1.06, §10.4.5.3).
const LOCALITIES: [u8; 3] = [0, 3, 4];

/// Longest hint, in characters.
pub const HINT: usize = 200;

/// The events that extend a PCR of this bank, in the log's order, each with a hint of at most [`HINT`] characters:
/// the type's name and what the log says, without control characters. Empty if the log has no such bank.
pub fn listed(log: &BootLog<'_>, bank: HashAlg) -> Vec<ReferenceEvent> {
    let extending = log.events().iter().filter(|event| event.kind() != EventType::NO_ACTION);
    extending
        .filter_map(|event| {
            let digest = Bytes(event.digest(bank)?.to_vec());
            // INVARIANT: the parser lets only events that extend nothing name a PCR above 23.
            let pcr = u8::try_from(event.pcr()).ok()?;
            Some(ReferenceEvent { pcr, digest, hint: hint::of(event) })
        })
        .collect()
}

/// The PCRs of these values that have events here which do not lead to what they hold. What firmware and systems
/// measure without writing it into the log counts as leading there (row L7).
pub fn astray(events: &[ReferenceEvent], bank: HashAlg, values: &PcrMap) -> BTreeSet<u8> {
    let leads = |pcr: u8, held: &Bytes| {
        LOCALITIES.into_iter().any(|locality| {
            let mut value = start(pcr, locality, bank);
            for event in events.iter().filter(|event| event.pcr == pcr) {
                extend(bank, &mut value, &event.digest.0);
            }
            Unrecorded::between(bank, pcr, &value, &held.0) != Unrecorded::Unknown
        })
    };
    let with_events: BTreeSet<u8> = events.iter().map(|event| event.pcr).collect();
    let wrong = |pcr: &u8| values.0.get(pcr).is_some_and(|held| !leads(*pcr, held));
    with_events.into_iter().filter(wrong).collect()
}

/// What a PCR holds, in words (PFP 1.06, §3.3.4; from 8 on the registry of the UAPI group).
pub fn meaning(pcr: u8) -> &'static str {
    match pcr {
        0 => "firmware: its code",
        1 => "firmware's configuration, tables of the platform, boot order",
        2 => "drivers and option ROMs of cards",
        3 => "configuration of cards",
        4 => "boot loaders and other programs that firmware started",
        5 => "partition table, boot manager's configuration, leaving firmware",
        6 => "what the machine's manufacturer measures",
        7 => "Secure Boot: state, keys, and by which of them programs were let in",
        8 => "kernel command line and commands of GRUB",
        9 => "kernel command line and initrd (the kernel's EFI stub), files that GRUB read",
        10 => "files that the kernel measured (IMA)",
        11 => "unified kernel image, and how far the system has come up",
        12 => "kernel command line, credentials and add-ons beside a unified kernel image",
        13 => "system extensions",
        14 => "keys of the machine's owner (shim)",
        15 => "root file system, volume keys, machine id",
        16 => "for debugging: anybody may reset it",
        17..=22 => "dynamic launch",
        23 => "for applications: anybody may reset it",
        _ => "no PCR of a PC's TPM",
    }
}

#[cfg(test)]
mod tests;
