//! Secure Boot as PCR 7 shows it: row L4.

use super::{
    LogRefused,
    event::{BootLog, Event},
    guid::Guid,
    kind::EventType,
    variable::{self, Variable},
};
use crate::{Tolerance, quote::hex};
use strongroom_protocol::claims::{Authority, SecureBoot};

/// PCR 7: what decides which programs may be loaded.
const PCR: u32 = 7;

/// The variables that firmware measures before the separator, each once (PFP 1.06, §3.3.4.8).
const VARIABLES: [(&str, Guid); 5] = [
    ("SecureBoot", Guid::GLOBAL),
    ("PK", Guid::GLOBAL),
    ("KEK", Guid::GLOBAL),
    ("db", Guid::IMAGE_SECURITY),
    ("dbx", Guid::IMAGE_SECURITY),
];

const DEBUG_MODE: &[u8] = b"UEFI Debug Mode";
const DMA_UNPROTECTED: &[u8] = b"DMA Protection Disabled";

/// Reads PCR 7. The digests of all events here have been checked to be of their data (row L3).
pub(super) fn check(log: &BootLog<'_>) -> Result<(SecureBoot, Option<Tolerance>), LogRefused> {
    let mut found: [Option<&[u8]>; 5] = [None; 5];
    let mut state = SecureBoot::default();
    for event in log.events().iter().filter(|event| event.pcr() == PCR) {
        match event.kind() {
            EventType::NO_ACTION | EventType::SEPARATOR => {}
            EventType::EFI_ACTION => match event.text() {
                DEBUG_MODE => return Err(LogRefused::L4Debug { event: event.number() }),
                DMA_UNPROTECTED => state.dma_protection_disabled = true,
                _ => return Err(malformed(event, "is an action that is not known")),
            },
            // Types are not authenticated, and the data of both look alike: a variable is a setting if it is
            // measured as one of the five, and an authority whatever else it is called.
            kind => {
                let variable = Variable::measured(event).ok_or(malformed(event, "is no UEFI variable"))?;
                let setting = kind == EventType::EFI_VARIABLE_DRIVER_CONFIG;
                if !(take(event, &variable, &mut found, setting)?) {
                    state.authorities.push(authority(event, variable)?);
                }
            }
        }
    }
    let tolerance = check_missing(found)?;
    // A setting that is called an authority is not one that is missing.
    for (found, (variable, _)) in found.iter().zip(VARIABLES) {
        if found.is_none() && state.authorities.iter().any(|authority| authority.variable == variable) {
            return Err(LogRefused::L4Missing { variable });
        }
    }
    let [secure_boot, pk, kek, db, dbx] = found.map(Option::unwrap_or_default);
    let database = |variable, value| variable::database(value).ok_or(LogRefused::L4Database { variable });
    state.pk = database("PK", pk)?;
    state.kek = database("KEK", kek)?;
    state.db = database("db", db)?;
    state.dbx = database("dbx", dbx)?;
    state.setup_mode = state.pk.is_empty();
    state.enabled = match secure_boot {
        // Firmware that has no Secure Boot measures the variable without a value.
        [] | [0] => false,
        [1] => true,
        _ => return Err(LogRefused::L4Database { variable: "SecureBoot" }),
    };
    if state.enabled {
        check_enabled(&state)?;
    }
    Ok((state, tolerance))
}

/// All five have to be there, unless Secure Boot is off; and where it is not said that it is off, none may be.
fn check_missing(found: [Option<&[u8]>; 5]) -> Result<Option<Tolerance>, LogRefused> {
    let missing = found.iter().zip(VARIABLES).find(|(found, _)| found.is_none());
    let Some((_, (variable, _))) = missing else { return Ok(None) };
    match found {
        [None, None, None, None, None] | [Some([] | [0]), ..] => Ok(Some(Tolerance::SecureBootVariablesMissing)),
        _ => Err(LogRefused::L4Missing { variable }),
    }
}

/// Takes one of the five settings; false if the variable is another, or measured as an authority.
fn take<'a>(
    event: &Event<'_>,
    variable: &Variable<'a>,
    found: &mut [Option<&'a [u8]>; 5],
    setting: bool,
) -> Result<bool, LogRefused> {
    let Some((place, (_, guid))) = found.iter_mut().zip(VARIABLES).find(|(_, (name, _))| *name == variable.name) else {
        return Ok(false);
    };
    if guid != variable.guid {
        return Err(malformed(event, "has the name of a Secure Boot variable under a foreign GUID"));
    }
    if !setting {
        return Ok(false);
    }
    match place.replace(variable.value) {
        Some(_) => Err(malformed(event, "is a Secure Boot variable that was measured before")),
        None => Ok(true),
    }
}

fn authority(event: &Event<'_>, variable: Variable<'_>) -> Result<Authority, LogRefused> {
    // An entry of db is an EFI_SIGNATURE_DATA: its owner's GUID, then the certificate or hash. Shim measures
    // what it goes by without an owner.
    let entry = match variable.guid {
        Guid::IMAGE_SECURITY if !variable::is_certificate(variable.value) => {
            variable.value.get(16..).ok_or(malformed(event, "is an authority without an entry"))?
        }
        _ => variable.value,
    };
    let sha256 = hex(ring::digest::digest(&ring::digest::SHA256, entry).as_ref());
    Ok(Authority { variable: variable.name, sha256 })
}

fn malformed(event: &Event<'_>, problem: &'static str) -> LogRefused {
    LogRefused::L4Malformed { event: event.number(), problem }
}

/// What `enabled` promises.
fn check_enabled(state: &SecureBoot) -> Result<(), LogRefused> {
    let missing = if state.pk.is_empty() {
        "PK is empty"
    } else if state.kek.is_empty() {
        "KEK is empty"
    } else if state.db.is_empty() {
        "db is empty"
    } else if !state.authorities.iter().any(|authority| authority.variable == "db") {
        "no program was let in by db"
    } else {
        return Ok(());
    };
    Err(LogRefused::L4Inconsistent { missing })
}
