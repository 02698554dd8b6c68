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

use self::quoted::Explained;
use crate::{Tolerance, tpm::HashAlg};
use std::collections::BTreeMap;
use strongroom_protocol::claims::{BootClaims, BootPath, Loader, SecureBoot};

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
    let Judged { banks, order, secure_boot, boot_path, loader, shown } = Judged::of(log, replay, quoted);
    banks?;
    let (order, (secure_boot, accepted)) = (order?, secure_boot?);
    let (boot_path, loader, shown) = (boot_path?, loader?, shown?);
    Ok(BootClaims {
        secure_boot,
        boot_path,
        loader,
        startup_locality: shown.startup_locality(replay),
        tolerances: tolerances(log, order, accepted, &shown),
        explained: shown.pcrs,
        phases: shown.phases.into_iter().map(str::to_owned).collect(),
    })
}

/// Each row of a log that was read, by itself.
struct Judged {
    banks: Result<(), LogRefused>,
    order: Result<Vec<Tolerance>, LogRefused>,
    secure_boot: Result<(SecureBoot, Option<Tolerance>), LogRefused>,
    boot_path: Result<BootPath, LogRefused>,
    loader: Result<Loader, LogRefused>,
    shown: Result<Explained, LogRefused>,
}

impl Judged {
    fn of(log: &BootLog<'_>, replay: &Replay, quoted: Option<&Quoted<'_>>) -> Self {
        let boot_path = boot_path::check(log);
        let exit_recorded = boot_path.as_ref().is_ok_and(|path| path.exit_boot_services);
        let shown =
            quoted.map_or_else(|| Ok(Explained::default()), |quoted| quoted::check(replay, quoted, exit_recorded));
        Self {
            banks: log.check_banks(),
            order: order::check(log),
            secure_boot: secure_boot::check(log),
            loader: loader::check(log),
            boot_path,
            shown,
        }
    }
}

/// Every deviation that was accepted.
fn tolerances(
    log: &BootLog<'_>,
    order: Vec<Tolerance>,
    secure_boot: Option<Tolerance>,
    shown: &Explained,
) -> Vec<Tolerance> {
    let padding = log.padded().then_some(Tolerance::LogPadding);
    order.into_iter().chain(secure_boot).chain(padding).chain(shown.tolerances.iter().copied()).collect()
}

#[cfg(test)]
pub(crate) mod builder;
#[cfg(test)]
mod tests;
