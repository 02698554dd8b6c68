//! What was loaded, from where, and whether firmware let go: row L5.

use super::{
    LogRefused,
    event::{BootLog, Event},
    kind::EventType,
};
use crate::{Tolerance, quote::hex, tpm::HashAlg};
use strongroom_protocol::claims::BootPath;

/// PCR 4: programs that the boot manager loads. PCR 5: how it did, and the partition table.
const PROGRAMS: u32 = 4;
const CONFIGURATION: u32 = 5;

const INVOCATION: &[u8] = b"Exit Boot Services Invocation";
const SUCCESS: &[u8] = b"Exit Boot Services Returned with Success";
const FAILURE: &[u8] = b"Exit Boot Services Returned with Failure";

const STEPS: [&[u8]; 3] = [INVOCATION, SUCCESS, FAILURE];

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

/// How far firmware was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Not,
    Invoked,
    Done,
}

/// Reads PCRs 4 and 5. What firmware says there is known by its digest, whatever type the event has: types are not
/// authenticated, and with another one a text must not become a program, nor a program a text.
pub(super) fn check(log: &BootLog<'_>) -> Result<BootPath, LogRefused> {
    let mut path = BootPath::default();
    let mut exit = Exit::Not;
    let said = Said::by(log);
    for event in log.events().iter().filter(|event| event.kind() != EventType::NO_ACTION) {
        match event.pcr() {
            PROGRAMS | CONFIGURATION if event.kind() == EventType::SEPARATOR => {}
            PROGRAMS if said.one_of(&ACTIONS, log.name_of(event)).is_some() => {}
            // After ExitBootServices there are no boot services that could measure a program.
            PROGRAMS if exit == Exit::Done => return Err(LogRefused::L5AfterExit { event: event.number() }),
            PROGRAMS => path.images.extend(log.name_of(event).map(hex)),
            CONFIGURATION => match said.one_of(&STEPS, log.name_of(event)) {
                Some(step) => exit = exit_step(event, exit, step)?,
                None => path.configuration.extend(log.name_of(event).map(hex)),
            },
            _ => {}
        }
    }
    path.exit_boot_services = exit == Exit::Done;
    if path.images.is_empty() { Err(LogRefused::L5NoImage) } else { Ok(path) }
}

/// What firmware says in PCRs 4 and 5, with the digests by which claims name things. Some measures a NUL with it.
struct Said(Vec<(Vec<u8>, &'static [u8])>);

impl Said {
    fn by(log: &BootLog<'_>) -> Self {
        let texts = || ACTIONS.into_iter().chain(STEPS);
        let of = |algorithm: HashAlg| {
            texts().flat_map(move |text| [&b""[..], b"\0"].map(|end| (algorithm.digest(&[text, end]), text)))
        };
        Self(log.naming().into_iter().flat_map(of).collect())
    }

    fn one_of(&self, texts: &[&'static [u8]], digest: Option<&[u8]>) -> Option<&'static [u8]> {
        let digest = digest?;
        self.0.iter().find(|(said, text)| said == digest && texts.contains(text)).map(|&(_, text)| text)
    }
}

/// One step of leaving firmware. A call may fail, before or after it is announced, and is made again; success is
/// announced before, and is the end.
fn exit_step(event: &Event<'_>, exit: Exit, step: &'static [u8]) -> Result<Exit, LogRefused> {
    match (exit, step) {
        (Exit::Not | Exit::Invoked, INVOCATION) => Ok(Exit::Invoked),
        (Exit::Not | Exit::Invoked, FAILURE) => Ok(exit),
        (Exit::Invoked, SUCCESS) => Ok(Exit::Done),
        _ => Err(LogRefused::L5Exit { event: event.number() }),
    }
}
