//! A log against the values that a quote vouches for: row L7.

use super::{
    LogRefused, Quoted,
    boot_path::MISSING,
    replay::{HARDWARE, Replay, extend},
};
use crate::{Tolerance, quote::hex, tpm::HashAlg};

/// PCR 0, which hardware may have extended before startup.
const CODE: u8 = 0;
/// PCR 5, whose last events some firmware keeps out of the log.
const CONFIGURATION: u8 = 5;
/// PCR 11, which the system extends as it comes up.
const UKI: u8 = 11;

/// What systemd extends PCR 11 with as the boot goes on, one word after the other (systemd-pcrphase(8)).
pub const PHASES: [&str; 6] = ["enter-initrd", "leave-initrd", "sysinit", "ready", "shutdown", "final"];

/// The phases that a system may have gone through, in their order: an initrd without systemd leaves out its own.
fn phases() -> impl Iterator<Item = Vec<&'static str>> {
    let chosen =
        |set: u32| PHASES.into_iter().enumerate().filter(move |(at, _)| set >> at & 1 == 1).map(|(_, phase)| phase);
    (1..1_u32 << PHASES.len()).map(move |set| chosen(set).collect())
}

fn bytes<'a>(phases: &[&'a str]) -> Vec<&'a [u8]> {
    phases.iter().map(|phase| phase.as_bytes()).collect()
}

/// What a comparison showed beside that it held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Explained {
    /// PCRs that the log explains.
    pub pcrs: Vec<u8>,
    /// The phases that PCR 11 had gone through.
    pub phases: Vec<&'static str>,
    /// Whether there were values to compare with: then claims are made of the PCRs that the log explains, and of no
    /// others.
    pub compared: bool,
    /// PCR 0 shows that hardware measured before the TPM was started.
    pub by_hardware: bool,
    /// What was accepted.
    pub tolerances: Vec<Tolerance>,
}

impl Explained {
    /// What a log shows that is read from these PCRs: `None` where a quote does not vouch for all of them. Without any
    /// quote it is what the log says.
    pub(super) fn vouched<T>(&self, pcrs: &[u8], claim: T) -> Option<T> {
        (!self.compared || pcrs.iter().all(|pcr| self.pcrs.contains(pcr))).then_some(claim)
    }

    /// The phases, if PCR 11 shows them.
    pub(super) fn phases(&self) -> Option<Vec<&'static str>> {
        self.vouched(&[UKI], self.phases.clone())
    }

    /// The locality in which the TPM was started, if PCR 0 shows it.
    pub(super) fn startup_locality(&self, replay: &Replay) -> Option<u8> {
        self.vouched(&[CODE], if self.by_hardware { HARDWARE } else { replay.startup_locality() })
    }
}

/// Compares. The values were checked against a quote, or are to be taken at their word; `exit_recorded` says that
/// the log shows how firmware was left. Beside what was explained stands the first refusal, if there is one.
pub(super) fn compare(
    replay: &Replay,
    quoted: &Quoted<'_>,
    exit_recorded: bool,
) -> (Explained, Result<(), LogRefused>) {
    let mut shown = Explained { compared: true, ..Explained::default() };
    let mut refused = Ok(());
    for &pcr in quoted.explained {
        match explain(replay, quoted, exit_recorded, pcr, &mut shown) {
            Ok(()) => shown.pcrs.push(pcr),
            Err(error) => refused = refused.and(Err(error)),
        }
    }
    (shown, refused)
}

fn explain(
    replay: &Replay,
    quoted: &Quoted<'_>,
    exit_recorded: bool,
    pcr: u8,
    shown: &mut Explained,
) -> Result<(), LogRefused> {
    let algorithm = quoted.bank;
    let quoted = *quoted.values.get(&pcr).ok_or(LogRefused::L7NotQuoted { pcr })?;
    let replayed = replay.value(algorithm, pcr).ok_or(LogRefused::L7Bank { bank: algorithm })?;
    let unrecorded = match pcr {
        _ if replayed == quoted => Unrecorded::Nothing,
        CODE if replay.by_hardware(algorithm) == Some(quoted) => {
            shown.by_hardware = true;
            Unrecorded::Nothing
        }
        CONFIGURATION if exit_recorded => Unrecorded::Unknown,
        UKI if !replay.touches(UKI) => Unrecorded::Unknown,
        _ => Unrecorded::between(algorithm, pcr, &replayed, quoted),
    };
    match unrecorded {
        Unrecorded::Nothing => {}
        Unrecorded::Exit(tolerance) => shown.tolerances.push(tolerance),
        Unrecorded::Phases(phases) => shown.phases = phases,
        Unrecorded::Unknown => {
            return Err(LogRefused::L7Differs { pcr, quoted: hex(quoted), replayed: hex(&replayed) });
        }
    }
    Ok(())
}

/// What a PCR was extended by after the last event of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unrecorded {
    Nothing,
    /// Leaving firmware, which some firmware does not write down.
    Exit(Tolerance),
    /// Phases of a system that comes up, which firmware's log cannot have.
    Phases(Vec<&'static str>),
    /// Something else.
    Unknown,
}

impl Unrecorded {
    /// What leads from the value after the log's events to the one that is held.
    pub(super) fn between(algorithm: HashAlg, pcr: u8, replayed: &[u8], held: &[u8]) -> Self {
        let leads = |steps: &[&[u8]]| {
            let step = |mut value: Vec<u8>, step: &&[u8]| {
                extend(algorithm, &mut value, algorithm.hash(&[step]).as_ref());
                value
            };
            steps.iter().fold(replayed.to_vec(), step) == held
        };
        let found = match pcr {
            _ if replayed == held => Some(Self::Nothing),
            CONFIGURATION => {
                MISSING.iter().find(|(_, steps)| leads(steps)).map(|(tolerance, _)| Self::Exit(*tolerance))
            }
            UKI => phases().find(|phases| leads(&bytes(phases))).map(Self::Phases),
            _ => None,
        };
        found.unwrap_or(Self::Unknown)
    }
}
