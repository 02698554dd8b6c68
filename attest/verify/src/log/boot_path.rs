//! What was loaded, from where, and whether firmware let go: row L5.

use super::{
    LogRefused,
    event::{BootLog, Event},
    kind::EventType,
};
use crate::{Tolerance, quote::hex};
use strongroom_protocol::claims::BootPath;

/// PCR 4: programs that the boot manager loads. PCR 5: how it did, and the partition table.
const PROGRAMS: u32 = 4;
const CONFIGURATION: u32 = 5;

const INVOCATION: &[u8] = b"Exit Boot Services Invocation";
const SUCCESS: &[u8] = b"Exit Boot Services Returned with Success";
const FAILURE: &[u8] = b"Exit Boot Services Returned with Failure";

/// What some firmware extends PCR 5 with at the end without writing it into the log that the system gets:
/// the three cases that attestation services have met.
pub(super) const MISSING: [(Tolerance, &[&[u8]]); 3] = [
    (Tolerance::ExitBootServicesMissing, &[INVOCATION, SUCCESS]),
    (Tolerance::ExitBootServicesFailureMissing, &[INVOCATION, FAILURE]),
    (Tolerance::ExitBootServicesRetryMissing, &[INVOCATION, FAILURE, SUCCESS]),
];

/// What firmware says in PCR 4 about the boot options that it tries.
const ACTIONS: [&[u8]; 2] =
    [b"Calling EFI Application from Boot Option", b"Returning from EFI Application from Boot Option"];

/// Reads PCRs 4 and 5.
pub(super) fn check(log: &BootLog<'_>) -> Result<BootPath, LogRefused> {
    let mut path = BootPath::default();
    let mut last = None;
    for event in log.events().iter().filter(|event| event.kind() != EventType::NO_ACTION) {
        let text = event.kind() == EventType::EFI_ACTION;
        match event.pcr() {
            PROGRAMS | CONFIGURATION if event.kind() == EventType::SEPARATOR => {}
            PROGRAMS if text && ACTIONS.contains(&event.data()) => {}
            // After ExitBootServices there are no boot services that could measure a program.
            PROGRAMS if last == Some(SUCCESS) => return Err(LogRefused::L5AfterExit { event: event.number() }),
            PROGRAMS => path.images.extend(event.name_digest().map(hex)),
            CONFIGURATION if text && exit_step(event, &mut last)? => {}
            CONFIGURATION => path.configuration.extend(event.name_digest().map(hex)),
            _ => {}
        }
    }
    path.exit_boot_services = last == Some(SUCCESS);
    if path.images.is_empty() { Err(LogRefused::L5NoImage) } else { Ok(path) }
}

/// One step of leaving firmware; false if the text is another.
fn exit_step(event: &Event<'_>, last: &mut Option<&'static [u8]>) -> Result<bool, LogRefused> {
    let Some(&step) = [INVOCATION, SUCCESS, FAILURE].iter().find(|&&step| step == event.data()) else {
        return Ok(false);
    };
    // A failed call is made again, with or without a second announcement.
    let in_order = match *last {
        None => step == INVOCATION,
        Some(INVOCATION) => step != INVOCATION,
        Some(FAILURE) => step != FAILURE,
        Some(_) => false,
    };
    *last = Some(step);
    if in_order { Ok(true) } else { Err(LogRefused::L5Exit { event: event.number() }) }
}
