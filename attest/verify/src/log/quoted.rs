//! A log against the values that a quote vouches for: row L7.

use super::{LogRefused, boot_path::MISSING, replay::Replay};
use crate::{Tolerance, quote::hex, tpm::HashAlg};
use std::collections::BTreeMap;

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
    /// PCR 0 shows that hardware measured before the TPM was started.
    pub by_hardware: bool,
    /// What was accepted.
    pub tolerances: Vec<Tolerance>,
}

/// Compares. `values` are of one bank and were checked against a quote, or are to be taken at their word;
/// `explained` are the PCRs that the log must explain; `exit_recorded` says that it shows how firmware was left.
pub(super) fn check(
    replay: &Replay,
    algorithm: HashAlg,
    values: &BTreeMap<u8, &[u8]>,
    explained: &[u8],
    exit_recorded: bool,
) -> Result<Explained, LogRefused> {
    let mut shown = Explained::default();
    for &pcr in explained {
        let quoted = *values.get(&pcr).ok_or(LogRefused::L7NotQuoted { pcr })?;
        let replayed = replay.value(algorithm, pcr).ok_or(LogRefused::L7Bank { bank: algorithm })?;
        let as_it_stands = || LogRefused::L7Differs { pcr, quoted: hex(quoted), replayed: hex(&replayed) };
        let after = |steps: &[&[u8]]| {
            steps.iter().fold(replayed.clone(), |value, step| algorithm.digest(&[&value, &algorithm.digest(&[step])]))
        };
        if replayed == quoted {
            // It is what the log says.
        } else if pcr == CODE && replay.by_hardware(algorithm) == Some(quoted) {
            shown.by_hardware = true;
        } else if pcr == CONFIGURATION && !exit_recorded {
            let (tolerance, _) = MISSING.iter().find(|(_, steps)| after(steps) == quoted).ok_or_else(as_it_stands)?;
            shown.tolerances.push(*tolerance);
        } else if pcr == UKI && replay.touches(UKI) {
            shown.phases = phases().find(|phases| after(&bytes(phases)) == quoted).ok_or_else(as_it_stands)?;
        } else {
            return Err(as_it_stands());
        }
        shown.pcrs.push(pcr);
    }
    Ok(shown)
}
