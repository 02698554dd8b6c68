//! What the PCRs hold after a log: row L2.

use super::{
    LogRefused,
    event::{BootLog, Event},
    kind::EventType,
};
use crate::tpm::HashAlg;
use std::collections::BTreeMap;

/// Values of one bank by PCR.
pub type Bank = BTreeMap<u8, Vec<u8>>;

/// The data of the event that says in which locality the TPM was started (PFP 1.06, §10.4.5.3).
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";

/// The locality of what hardware measures.
pub(super) const HARDWARE: u8 = 4;

/// What the PCRs hold after a log, in every bank that the log has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    banks: BTreeMap<HashAlg, Bank>,
    startup_locality: u8,
    /// PCR 0 by bank, if hardware measured before startup, as an event says and the startup locality does not.
    by_hardware: BTreeMap<HashAlg, Vec<u8>>,
}

impl Replay {
    /// Extends the PCRs by every event of the log that extends.
    ///
    /// PCRs start from zeros, PCR 0 with the startup locality in its last byte (TCG TPM 2.0 Library, Part
    /// 3, `TPM2_Startup`).
    pub fn of(log: &BootLog<'_>) -> Result<Self, LogRefused> {
        let (startup_locality, by_hardware) = startup(log.events())?;
        let mut banks: BTreeMap<HashAlg, Bank> = log.algorithms().iter().map(|&id| (id, Bank::new())).collect();
        let mut others: BTreeMap<HashAlg, Vec<u8>> = BTreeMap::new();
        for event in log.events().iter().filter(|event| event.kind() != EventType::NO_ACTION) {
            // INVARIANT: the parser lets only events that extend nothing name a PCR above 23.
            let Ok(pcr) = u8::try_from(event.pcr()) else { continue };
            for &(algorithm, digest) in event.digests() {
                let bank = banks.entry(algorithm).or_default();
                let value = bank.entry(pcr).or_insert_with(|| start(pcr, startup_locality, algorithm));
                extend(algorithm, value, digest);
                if by_hardware && pcr == 0 {
                    let value = others.entry(algorithm).or_insert_with(|| start(0, HARDWARE, algorithm));
                    extend(algorithm, value, digest);
                }
            }
        }
        Ok(Self { banks, startup_locality, by_hardware: others })
    }

    /// What PCR 0 holds if hardware measured before the TPM was started, which leaves 4 there (Part 1, §34.3);
    /// `None` if no event says so, or the startup locality is given.
    pub(super) fn by_hardware(&self, algorithm: HashAlg) -> Option<&[u8]> {
        self.by_hardware.get(&algorithm).map(Vec::as_slice)
    }

    /// The locality in which the TPM was started: 0, 3 or 4.
    pub fn startup_locality(&self) -> u8 {
        self.startup_locality
    }

    /// The PCRs that the log extends, in this bank; `None` if the log has no such bank.
    pub fn bank(&self, algorithm: HashAlg) -> Option<&Bank> {
        self.banks.get(&algorithm)
    }

    /// What a PCR holds: what the log makes of it, or its start if the log does not touch it; `None` if the
    /// log has no such bank.
    pub fn value(&self, algorithm: HashAlg, pcr: u8) -> Option<Vec<u8>> {
        let bank = self.banks.get(&algorithm)?;
        Some(bank.get(&pcr).cloned().unwrap_or_else(|| start(pcr, self.startup_locality, algorithm)))
    }

    /// Whether the log extends this PCR.
    pub fn touches(&self, pcr: u8) -> bool {
        self.banks.values().any(|bank| bank.contains_key(&pcr))
    }
}

pub(crate) fn extend(algorithm: HashAlg, value: &mut Vec<u8>, digest: &[u8]) {
    let extended = algorithm.hash(&[value, digest]);
    value.clear();
    value.extend_from_slice(extended.as_ref());
}

/// What a PCR holds before anything is measured.
pub(super) fn start(pcr: u8, startup_locality: u8, algorithm: HashAlg) -> Vec<u8> {
    let mut value = vec![0; algorithm.digest_length()];
    if let (0, Some(last)) = (pcr, value.last_mut()) {
        *last = startup_locality;
    }
    value
}

/// The startup locality, and whether the first event of PCR 0 says that hardware measured before startup and
/// nothing gives the locality: the profile then leaves open what PCR 0 began with.
fn startup(events: &[Event<'_>]) -> Result<(u8, bool), LogRefused> {
    let mut found = None;
    let mut extended = false;
    let mut hardware = false;
    for event in events {
        if event.kind() != EventType::NO_ACTION {
            hardware |= event.pcr() == 0 && !extended && event.kind() == EventType::EFI_HCRTM_EVENT;
            extended |= event.pcr() == 0;
            continue;
        }
        let name = STARTUP_LOCALITY.get(..15).unwrap_or_default();
        let Some(rest) = event.data().strip_prefix(name) else { continue };
        let problem = match rest {
            _ if found.is_some() => "stands there twice",
            _ if extended => "comes after PCR 0 was extended",
            _ if event.pcr() != 0 => "is not of PCR 0",
            &[0, locality @ (0 | 3 | 4)] => {
                found = Some(locality);
                continue;
            }
            [0, _] => "names another locality than 0, 3 or 4",
            _ => "is not 17 bytes long",
        };
        return Err(LogRefused::L2Locality { event: event.number(), problem });
    }
    Ok((found.unwrap_or(0), hardware && found.is_none()))
}
