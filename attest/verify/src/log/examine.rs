//! A log for people: every row with its verdict, and whatever could be read.

use super::{
    BootLog, LogRefused, Quoted, Replay, boot_path, loader, order,
    quoted::{self, Explained},
    secure_boot,
};
use crate::{Report, Tolerance, Verdict, rows::BOOT_LOG};
use std::collections::BTreeMap;
use strongroom_protocol::claims::{BootPath, Loader, SecureBoot};

/// What became of each row of a log, and what could be read of it.
#[derive(Debug, Clone)]
pub struct Examined {
    /// Rows L1 to L7.
    pub report: Report,
    /// What the PCRs hold after the log; `None` where L1 or L2 refused.
    pub replay: Option<Replay>,
    /// What PCR 7 shows; `None` where L4 refused. Believe it only if L3 held, and the quote if L7 did.
    pub secure_boot: Option<SecureBoot>,
    /// What PCRs 4 and 5 show; the same of L5.
    pub boot_path: Option<BootPath>,
    /// What PCRs 8 to 12 show; the same of L6.
    pub loader: Option<Loader>,
    /// PCRs that were compared and that the log explains.
    pub explained: Vec<u8>,
    /// How far the system had come up.
    pub phases: Vec<&'static str>,
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
    let readable = log.as_ref().zip(replay.as_ref());
    let _ = log.as_ref().map(|log| log.check_banks().map_err(&mut note));
    let mut tolerances = readable.and_then(|(log, _)| order::check(log).map_err(&mut note).ok()).unwrap_or_default();
    let secure_boot = readable.and_then(|(log, _)| secure_boot::check(log).map_err(&mut note).ok());
    let (secure_boot, accepted) = secure_boot.map(|(state, accepted)| (Some(state), accepted)).unwrap_or_default();
    tolerances.extend(accepted);
    let boot_path = readable.and_then(|(log, _)| boot_path::check(log).map_err(&mut note).ok());
    let loader = readable.and_then(|(log, _)| loader::check(log).map_err(&mut note).ok());
    let left = boot_path.as_ref().is_some_and(|path| path.exit_boot_services);
    let shown = readable.zip(quoted).and_then(|((_, replay), quoted)| {
        quoted::check(replay, quoted.bank, &quoted.values, quoted.explained, left).map_err(&mut note).ok()
    });
    let Explained { pcrs: explained, phases, tolerances: missing, .. } = shown.unwrap_or_default();
    if log.as_ref().is_some_and(BootLog::padded) {
        tolerances.push(Tolerance::LogPadding);
    }
    tolerances.extend(missing);
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
    Examined { report, replay, secure_boot, boot_path, loader, explained, phases, tolerances }
}
