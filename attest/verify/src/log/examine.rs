//! A log for people: every row with its verdict, and whatever could be read.

use super::{BOOT_PATH, BootLog, Judged, LOADER, LogRefused, Quoted, Replay, SECURE_BOOT, tolerances};
use crate::{Report, Tolerance, Verdict, rows::BOOT_LOG};
use std::collections::BTreeMap;
use strongroom_protocol::claims::{BootPath, Loader, SecureBoot};

/// What became of each row of a log, and what could be read of it.
#[derive(Debug, Clone, Default)]
pub struct Examined {
    /// Rows L1 to L7.
    pub report: Report,
    /// What the PCRs hold after the log; `None` where L1 or L2 refused.
    pub replay: Option<Replay>,
    /// What PCR 7 shows; `None` where L4 refused, or where values are given of which this PCR's is none that the log
    /// explains. Believe it only if L3 held, and the quote if L7 did.
    pub secure_boot: Option<SecureBoot>,
    /// What PCRs 4 and 5 show; the same of L5.
    pub boot_path: Option<BootPath>,
    /// What PCRs 8, 9, 11 and 12 show; the same of L6.
    pub loader: Option<Loader>,
    /// The locality in which the TPM was started, as PCR 0 shows it; `None` where there was no log to read.
    pub startup_locality: Option<u8>,
    /// PCRs that were compared and that the log explains, each by itself: also where L7 refused because of another.
    pub explained: Vec<u8>,
    /// How far the system had come up, as PCR 11 shows it; `None` where there was no log to read.
    pub phases: Option<Vec<&'static str>>,
    /// Deviations that were accepted.
    pub tolerances: Vec<Tolerance>,
}

impl Examined {
    /// Why a row was refused, where it was.
    pub fn refusal(&self, row: &str) -> Option<&str> {
        let row = self.report.rows.iter().find(|found| found.row == row)?;
        row.note.as_deref().filter(|_| row.verdict == Verdict::Refused)
    }
}

/// [`super::verify`] for people: rows L3 to L7 are judged one by one, so that each says for itself what is wrong.
pub fn examine(bytes: &[u8], quoted: Option<&Quoted<'_>>) -> Examined {
    let mut refused: BTreeMap<&'static str, String> = BTreeMap::new();
    let mut note = |error: LogRefused| {
        refused.insert(error.row(), error.to_string());
    };
    let log = BootLog::parse(bytes).map_err(&mut note).ok();
    let replay = log.as_ref().and_then(|log| Replay::of(log).map_err(&mut note).ok());
    let mut examined = Examined::default();
    if let Some((log, replay)) = log.as_ref().zip(replay.as_ref()) {
        let Judged { banks, order, secure_boot, boot_path, loader, shown, led } = Judged::of(log, replay, quoted);
        banks.unwrap_or_else(&mut note);
        let order = order.map_err(&mut note).unwrap_or_default();
        let secure_boot = secure_boot.map_err(&mut note).ok();
        let (secure_boot, accepted) = secure_boot.map(|(state, accepted)| (Some(state), accepted)).unwrap_or_default();
        led.unwrap_or_else(&mut note);
        examined = Examined {
            secure_boot: secure_boot.and_then(|state| shown.vouched(&SECURE_BOOT, state)),
            boot_path: boot_path.map_err(&mut note).ok().and_then(|path| shown.vouched(&BOOT_PATH, path)),
            loader: loader.map_err(&mut note).ok().and_then(|loader| shown.vouched(&LOADER, loader)),
            startup_locality: shown.startup_locality(replay),
            tolerances: tolerances(log, order, accepted, &shown),
            phases: shown.phases(),
            explained: shown.pcrs,
            ..examined
        };
    }
    let report = Report::of_each(&BOOT_LOG, |row| match (refused.get(row), row) {
        (Some(why), _) => (Verdict::Refused, Some(why.clone())),
        (None, "L2") if log.is_none() => (Verdict::NotChecked, Some("there is no log to read".to_owned())),
        (None, "L1" | "L2") => (Verdict::Passed, None),
        (None, _) if replay.is_none() => (Verdict::NotChecked, Some("there is no log to read".to_owned())),
        (None, "L7") if quoted.is_none() => {
            (Verdict::NotChecked, Some("no values were given that the log could be compared with".to_owned()))
        }
        (None, _) => (Verdict::Passed, None),
    });
    Examined { report, replay, ..examined }
}
