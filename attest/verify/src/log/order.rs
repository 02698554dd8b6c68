//! What may stand where, and what digests are of: row L3.
//!
//! A quote vouches for digests in their order, for each PCR. It does not vouch for an event's type, nor for
//! its data: both are what the log says. So a type is believed only where it may stand, and data only
//! where the digests are of them. What makes the rest of the crate's reading sound is the separator: before
//! it firmware speaks, after it whatever firmware loaded. An event that extends by a separator's digest
//! under another type would move that line, and is refused.

use super::{
    LogRefused,
    event::{BootLog, Event},
    kind::{EventType, Measured},
    variable::Variable,
};
use crate::Tolerance;
use std::collections::BTreeSet;

/// What separators may hold (PFP 1.06, §10.4.1): the first two are the usual ones, the last says that
/// firmware failed to measure.
const SEPARATORS: [[u8; 4]; 2] = [[0x00; 4], [0xff; 4]];
const FAILED: [u8; 4] = [1, 0, 0, 0];

/// PCRs that firmware closes with a separator.
const FIRMWARE: u32 = 8;
/// Firmware's own code, and Secure Boot.
const CODE: u32 = 0;
const SECURE_BOOT: u32 = 7;
/// Programs that firmware started.
const BOOT_PATH: u32 = 4;
/// Where firmware of some vendors measures on after the separator: boot variables and tables, cards, its own.
const LATE: [u32; 4] = [1, 2, 3, 6];
/// PCRs 8 to 15 are the boot loader's and the system's; from 16 on PCRs can be reset without a reboot.
const STATIC: u32 = 16;

/// Types that boot loaders and systems use in PCRs 8 to 15.
const BY_SYSTEMS: [EventType; 8] = [
    EventType::SEPARATOR,
    EventType::ACTION,
    EventType::EVENT_TAG,
    EventType::COMPACT_HASH,
    EventType::IPL,
    EventType::IPL_PARTITION_DATA,
    EventType::EFI_ACTION,
    EventType::EFI_VARIABLE_AUTHORITY,
];

/// Checks the order of events in every PCR and the digests that types promise.
pub(super) fn check(log: &BootLog<'_>) -> Result<Vec<Tolerance>, LogRefused> {
    let mut closed = [false; FIRMWARE as usize];
    let mut tolerances = BTreeSet::new();
    let disguises = disguises(log);
    for event in log.events() {
        if event.kind() == EventType::NO_ACTION {
            let zeros = event.digests().iter().all(|(_, digest)| digest.iter().all(|&byte| byte == 0));
            tolerances.extend((!zeros).then_some(Tolerance::NoActionWithDigest));
            continue;
        }
        tolerances.extend(check_digests(event)?);
        let place = usize::try_from(event.pcr()).ok().and_then(|pcr| closed.get_mut(pcr));
        let Some(closed) = place else {
            tolerances.extend(by_systems(event)?);
            continue;
        };
        if event.kind() == EventType::SEPARATOR {
            check_separator(event, *closed)?;
            *closed = true;
            continue;
        }
        // Two boot options, 1 and 0, make the very bytes of a separator that tells of a failure.
        let boot_order = event.kind().measured() == Measured::DataOrValue;
        let hidden = disguises.iter().filter(|(data, _)| !(boot_order && *data == FAILED));
        if hidden.into_iter().any(|(_, hash)| event.digests().iter().any(|(_, digest)| hash == digest)) {
            return Err(LogRefused::L3Disguised { event: event.number(), pcr: event.pcr(), kind: event.kind() });
        }
        tolerances.extend(by_firmware(event, *closed)?);
    }
    if let Some((_, pcr)) = closed.iter().zip(0..).find(|(closed, _)| !**closed) {
        return Err(LogRefused::L3NoSeparator { pcr });
    }
    Ok(tolerances.into_iter().collect())
}

/// Whether an event may stand in its PCR of 0 to 7, before or after its separator.
fn by_firmware(event: &Event<'_>, closed: bool) -> Result<Option<Tolerance>, LogRefused> {
    let (kind, pcr) = (event.kind(), event.pcr());
    let allowed = if closed { kind.after_separator() } else { kind.before_separator() };
    if allowed.contains(&pcr) {
        Ok(None)
    } else if [BOOT_PATH, SECURE_BOOT].contains(&pcr) || kind.name().is_none() || pcr == CODE && closed {
        // What is read of PCR 7 is read by type, and what booted is not to be called something else. Types that
        // nobody knows have no place in firmware's PCRs at all, and nothing of its own code may follow the separator.
        Err(LogRefused::misplaced(event, closed))
    } else if LATE.contains(&pcr) && closed {
        Ok(Some(Tolerance::FirmwareAfterSeparator))
    } else {
        // No claim is read of PCRs 0 to 3 and 6, and those of PCR 5 hold what was measured, of whatever type.
        Ok(Some(Tolerance::VendorEvent))
    }
}

/// The same of PCRs from 8 on, of which every claim is made of digests, of whatever type.
fn by_systems(event: &Event<'_>) -> Result<Option<Tolerance>, LogRefused> {
    if event.pcr() >= STATIC {
        Ok(Some(Tolerance::ResettablePcr))
    } else if event.kind().name().is_none() {
        Err(LogRefused::misplaced(event, false))
    } else {
        Ok((!BY_SYSTEMS.contains(&event.kind())).then_some(Tolerance::VendorEvent))
    }
}

/// What separators hold, with its digest in every bank of the log.
fn disguises(log: &BootLog<'_>) -> Vec<([u8; 4], Vec<u8>)> {
    let kinds = SEPARATORS.into_iter().chain([FAILED]);
    kinds.flat_map(|data| log.algorithms().iter().map(move |id| (data, id.digest(&[&data])))).collect()
}

fn check_separator(event: &Event<'_>, closed: bool) -> Result<(), LogRefused> {
    let problem = if closed {
        "it is the second of its PCR"
    } else if event.data() == FAILED {
        "it says that firmware failed to measure"
    } else if SEPARATORS.iter().all(|data| event.data() != data) {
        "it holds neither zeros nor ones"
    } else {
        return Ok(());
    };
    Err(LogRefused::L3Separator { event: event.number(), pcr: event.pcr(), problem })
}

fn check_digests(event: &Event<'_>) -> Result<Option<Tolerance>, LogRefused> {
    let shorter = event.data().split_last().map(|(_, shorter)| shorter);
    let (held, tolerance) = match event.kind().measured() {
        Measured::Elsewhere => (true, None),
        Measured::Data | Measured::DataOrValue | Measured::Authority if event.digests_are_of(event.data()) => {
            (true, None)
        }
        Measured::Data => (false, None),
        Measured::DataOrValue => {
            (Variable::parse(event.data()).is_some_and(|variable| event.digests_are_of(variable.value)), None)
        }
        Measured::Authority => {
            (shorter.is_some_and(|shorter| event.digests_are_of(shorter)), Some(Tolerance::ShimVariableSize))
        }
    };
    if held {
        Ok(tolerance)
    } else {
        Err(LogRefused::L3Digest { event: event.number(), pcr: event.pcr(), kind: event.kind() })
    }
}
