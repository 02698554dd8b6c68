//! Boot logs: rows L1 to L7, in this order, and the claims that come out of them.
//!
//! ```text
//! bytes ──BootLog::parse──> events ──Replay::of──> PCR values        rows L1, L2
//!           order (L3)   secure_boot (L4)   boot_path (L5)   loader (L6)   ──> BootClaims
//!           the values that a quote vouches for ──quoted──> which PCRs the log explains       row L7
//! ```
//!
//! A log explains a quote and never replaces it: without L7 the claims are what the log says, no more.
//! To read more out of a log: a module with a struct of claims that is filled only from data whose
//! digests were compared, and a variant of [`LogRefused`] for each way in which it can be wrong.

mod boot_path;
mod event;
pub mod events;
mod examine;
mod guid;
mod kind;
mod loader;
mod order;
mod quoted;
mod refused;
mod replay;
mod secure_boot;
mod variable;

pub use event::{BootLog, Event, MAX_EVENTS};
pub use examine::{Examined, examine};
pub use kind::EventType;
pub(crate) use loader::text as text_of;
pub use quoted::PHASES;
pub use refused::LogRefused;
pub use replay::{Bank, Replay};

use crate::{Tolerance, tpm::HashAlg};
use std::collections::BTreeMap;
use strongroom_protocol::claims::BootClaims;

/// Values that a log must lead to.
#[derive(Debug, Clone)]
pub struct Quoted<'a> {
    /// Their bank.
    pub bank: HashAlg,
    /// The values, by PCR.
    pub values: BTreeMap<u8, &'a [u8]>,
    /// The PCRs that the log must explain: those that policy reads, without those that the running system
    /// extends in a log of its own (PCR 10).
    pub explained: &'a [u8],
}

/// Verifies a log, rows L1 to L6, and L7 where values are given. Refuses at the first row that does not hold.
pub fn verify(bytes: &[u8], quoted: Option<&Quoted<'_>>) -> Result<(Replay, BootClaims), LogRefused> {
    let log = BootLog::parse(bytes)?;
    let replay = Replay::of(&log)?;
    let claims = judge(&log, &replay, quoted)?;
    Ok((replay, claims))
}

/// Rows L3 to L7 of a log that was read.
pub fn judge(log: &BootLog<'_>, replay: &Replay, quoted: Option<&Quoted<'_>>) -> Result<BootClaims, LogRefused> {
    log.check_banks()?;
    let mut tolerances = order::check(log)?;
    let (secure_boot, accepted) = secure_boot::check(log)?;
    tolerances.extend(accepted);
    let boot_path = boot_path::check(log)?;
    let loader = loader::check(log)?;
    let shown = match quoted {
        Some(quoted) => {
            quoted::check(replay, quoted.bank, &quoted.values, quoted.explained, boot_path.exit_boot_services)?
        }
        None => quoted::Explained::default(),
    };
    if log.padded() {
        tolerances.push(Tolerance::LogPadding);
    }
    tolerances.extend(shown.tolerances);
    Ok(BootClaims {
        secure_boot,
        boot_path,
        loader,
        startup_locality: if shown.by_hardware { replay::HARDWARE } else { replay.startup_locality() },
        explained: shown.pcrs,
        phases: shown.phases.into_iter().map(str::to_owned).collect(),
        tolerances,
    })
}

#[cfg(test)]
pub(crate) mod builder;
#[cfg(test)]
mod tests;
