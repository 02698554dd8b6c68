//! Boot logs: rows L1 to L7, in this order, and the claims that come out of them.
//!
//! ```text
//! bytes ──BootLog::parse──> events ──Replay::of──> PCR values        rows L1, L2
//!           order (L3)   secure_boot (L4)   boot_path (L5)   loader (L6)   ──> BootClaims
//!           the values that a quote vouches for ──quoted──> which PCRs the log explains       row L7
//! ```
//!
//! A log explains a quote and never replaces it: without L7 the claims are what the log says, no more. With it they
//! are made in the quoted bank, of PCRs that the quote vouches for and the log explains.
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
pub(crate) use replay::extend;
pub use replay::{Bank, Replay};

use self::quoted::Explained;
use crate::{Tolerance, tpm::HashAlg};
use std::{borrow::Cow, collections::BTreeMap};
use strongroom_protocol::claims::{BootClaims, BootPath, Loader, SecureBoot};

/// The PCRs that claims are read from: Secure Boot, programs and partition tables, what was measured after firmware.
const SECURE_BOOT: [u8; 1] = [7];
const BOOT_PATH: [u8; 2] = [4, 5];
const LOADER: [u8; 4] = [8, 9, 11, 12];

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

/// Rows L3 to L7 of a log that was read. Where values are given, digests are compared and named in their bank alone,
/// and a claim that is read from a PCR which is not among `explained` is `None`.
pub fn judge(log: &BootLog<'_>, replay: &Replay, quoted: Option<&Quoted<'_>>) -> Result<BootClaims, LogRefused> {
    let Judged { banks, order, secure_boot, boot_path, loader, shown, led } = Judged::of(log, replay, quoted);
    banks?;
    let (order, (secure_boot, accepted)) = (order?, secure_boot?);
    let (boot_path, loader) = (boot_path?, loader?);
    led?;
    Ok(BootClaims {
        secure_boot: shown.vouched(&SECURE_BOOT, secure_boot),
        boot_path: shown.vouched(&BOOT_PATH, boot_path),
        loader: shown.vouched(&LOADER, loader),
        startup_locality: shown.startup_locality(replay),
        tolerances: tolerances(log, order, accepted, &shown),
        phases: shown.phases().map(|phases| phases.into_iter().map(str::to_owned).collect()),
        explained: shown.pcrs,
    })
}

/// Each row of a log that was read, by itself.
struct Judged {
    banks: Result<(), LogRefused>,
    order: Result<Vec<Tolerance>, LogRefused>,
    secure_boot: Result<(SecureBoot, Option<Tolerance>), LogRefused>,
    boot_path: Result<BootPath, LogRefused>,
    loader: Result<Loader, LogRefused>,
    shown: Explained,
    /// Row L7: whether the log led to every value that it had to explain.
    led: Result<(), LogRefused>,
}

impl Judged {
    fn of(log: &BootLog<'_>, replay: &Replay, quoted: Option<&Quoted<'_>>) -> Self {
        let seen = quoted.map_or(Cow::Borrowed(log), |quoted| log.in_bank(quoted.bank));
        let boot_path = boot_path::check(&seen);
        let exit_recorded = boot_path.as_ref().is_ok_and(|path| path.exit_boot_services);
        let (shown, led) = quoted
            .map_or_else(|| (Explained::default(), Ok(())), |quoted| quoted::compare(replay, quoted, exit_recorded));
        Self {
            banks: log.check_banks(),
            order: order::check(&seen),
            secure_boot: secure_boot::check(&seen),
            loader: loader::check(&seen),
            boot_path,
            shown,
            led,
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
