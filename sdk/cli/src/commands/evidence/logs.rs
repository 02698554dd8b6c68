//! Boot logs and IMA logs for `evidence verify`.

use super::{verdict::Found, words};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use strongroom::protocol::{admin::FileLists, claims::BootClaims};
use strongroom_attest::{
    Report, Verdict,
    ima::{ImaExpectation, ImaLog, ImaRefused, Measured, verify},
    log::{BootLog, Examined, LogRefused, Quoted, Replay, examine, judge},
    quote::Values,
    rows,
    tpm::HashAlg,
};

/// PCRs that firmware extends.
const FIRMWARE: u8 = 8;
/// From here on a running system may reset PCRs: nothing is read from them.
const RESETTABLE: u8 = 16;
/// IMA's own.
const IMA: u8 = 10;
/// PCRs that a TPM has.
const PCRS: u8 = 24;

/// Examines a boot log, with the values of one bank that it has to lead to.
pub(super) fn examined(bytes: &[u8], quoted: Option<(HashAlg, &Values)>) -> Examined {
    let first = examine(bytes, None);
    let wanted: Vec<u8> =
        quoted.map(|(bank, values)| explains(first.replay.as_ref(), bank, values)).unwrap_or_default();
    // Values of which the log explains none are nothing to compare with.
    match quoted.filter(|_| !wanted.is_empty()) {
        Some((bank, values)) => {
            let values = values.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
            examine(bytes, Some(&Quoted { bank, values, explained: &wanted }))
        }
        None => first,
    }
}

/// Judges a boot log, with the values of one bank that it has to lead to.
pub(super) fn boot_log(bytes: &[u8], quoted: Option<(HashAlg, &Values)>) -> Found {
    let mut examined = examined(bytes, quoted);
    let malformed = malformed(bytes);
    if let (Some((HashAlg::Sha1, _)), Some(row)) =
        (quoted, examined.report.rows.iter_mut().find(|row| row.row == "L7" && row.verdict == Verdict::Passed))
    {
        row.note = Some("compared in the SHA-1 bank, which no vault takes: quote SHA-256".to_owned());
    }
    let mut members = Map::new();
    if let Some(replay) = &examined.replay {
        members.insert("pcrs".into(), json!(pcrs(replay)));
        // L7 names the first that differs; here stand all.
        let others: Vec<u8> = quoted
            .iter()
            .flat_map(|(_, values)| values.iter())
            .filter(|&(pcr, value)| !untouched(*pcr, value) && !examined.explained.contains(pcr))
            .map(|(&pcr, _)| pcr)
            .collect();
        members.insert("unexplained".into(), json!(others));
    }
    let passed = |row: &rows::Row| row.verdict == Verdict::Passed;
    Found {
        vouched: BTreeMap::from([("boot", examined.report.rows.iter().all(passed))]),
        claims: Map::from_iter([("boot".to_owned(), claims(&examined))]),
        text: words::boot_in_short(&examined),
        rows: examined.report.rows,
        members,
        malformed,
        final_rows: vec!["L1", "L2"],
        ..Found::default()
    }
}

/// The PCRs that a log has to explain, as a vault has it explain them: all but IMA's. Of those that a running system
/// may reset, only what the log says something of.
fn explains(replay: Option<&Replay>, bank: HashAlg, values: &Values) -> Vec<u8> {
    let touched = |pcr: u8| replay.is_some_and(|replay| replay.touches(pcr));
    let left = |pcr: u8, value: &Vec<u8>| replay.and_then(|replay| replay.value(bank, pcr)).as_ref() == Some(value);
    let explained = values
        .iter()
        .filter(|(pcr, value)| **pcr != IMA && (**pcr < RESETTABLE || touched(**pcr) || left(**pcr, value)));
    explained.map(|(&pcr, _)| pcr).collect()
}

/// Whether a PCR is as a TPM starts it: zeros, and ones in those of a dynamic launch.
fn untouched(pcr: u8, value: &[u8]) -> bool {
    value.iter().all(|&byte| byte == 0) || (pcr > RESETTABLE && value.iter().all(|&byte| byte == 0xff))
}

/// The claims of a boot log of which every row holds, the quoted values included.
pub(super) fn verified(log: &BootLog<'_>, (bank, values): (HashAlg, &Values)) -> Option<BootClaims> {
    let replay = Replay::of(log).ok()?;
    let explained = explains(Some(&replay), bank, values);
    let values = values.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
    judge(log, &replay, Some(&Quoted { bank, values, explained: &explained })).ok()
}

/// What IMA measured as far as the quoted PCR 10 covers it.
pub(super) fn measured(bytes: &[u8], (bank, values): (HashAlg, &Values), allow_violations: bool) -> Option<Measured> {
    let pcr = values.get(&IMA)?;
    let boot = values.iter().filter(|(pcr, _)| **pcr < IMA).map(|(&pcr, value)| (pcr, value.as_slice())).collect();
    verify(bytes, &ImaExpectation { bank, pcr, boot, verified: None, allow_violations }).ok()
}

/// Every bank of the log, every PCR that it touches and all that firmware closes, lower-case hexadecimal.
pub(super) fn pcrs(replay: &Replay) -> BTreeMap<&'static str, BTreeMap<u8, String>> {
    let banks = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    let shown = |pcr: &u8| *pcr < FIRMWARE || replay.touches(*pcr);
    let bank = |bank: HashAlg| {
        replay.bank(bank)?;
        let value = |pcr| Some((pcr, hex::encode(replay.value(bank, pcr)?)));
        Some((bank.as_str(), (0..PCRS).filter(shown).filter_map(value).collect()))
    };
    banks.into_iter().filter_map(bank).collect()
}

/// Why bytes are no boot log at all.
fn malformed(bytes: &[u8]) -> Option<String> {
    let refused = BootLog::parse(bytes).err()?;
    match refused {
        // Only the beginning was looked at: other bytes may begin like an old log.
        LogRefused::L1Sha1Format if is_old_log(bytes) => None,
        LogRefused::L1Sha1Format => {
            Some("L1: neither a crypto-agile log nor one in the SHA-1 format: give binary_bios_measurements as the kernel shows it".to_owned())
        }
        refused => refused.is_malformed().then(|| refused.to_string()),
    }
}

/// A log in the format of TPM 1.2: events of PCR, type, SHA-1 digest, size, data, up to the end.
fn is_old_log(bytes: &[u8]) -> bool {
    let word = |bytes: &[u8]| bytes.first_chunk::<4>().map(|word| u32::from_le_bytes(*word));
    let mut rest = bytes;
    let mut events = 0;
    while !rest.is_empty() {
        let Some((head, tail)) = rest.split_at_checked(32) else { return padding(rest) && events > 0 };
        let (Some(pcr), Some(kind), Some(size)) =
            (word(head), head.get(4..).and_then(word), head.get(28..).and_then(word))
        else {
            return false;
        };
        if pcr >= u32::from(PCRS) || kind == 0 {
            return padding(rest) && events > 0;
        }
        let Some(next) = usize::try_from(size).ok().and_then(|size| tail.get(size..)) else { return false };
        rest = next;
        events += 1;
    }
    events > 0
}

fn padding(rest: &[u8]) -> bool {
    [0x00, 0xff].iter().any(|byte| rest.iter().all(|b| b == byte))
}

/// The claims of a boot log, as a vault names them; null where the row that reads them refused, or values were given
/// that do not vouch for them.
fn claims(examined: &Examined) -> Value {
    json!({
        "secure_boot": examined.secure_boot,
        "boot_path": examined.boot_path,
        "loader": examined.loader,
        "startup_locality": examined.startup_locality,
        "explained": examined.explained,
        "phases": examined.phases,
        "tolerances": examined.tolerances,
    })
}

/// Judges an IMA log, with PCR values of one bank, and lists that its files are held against.
pub(super) fn ima_log(
    bytes: &[u8],
    quoted: Option<(HashAlg, &Values)>,
    allow_violations: bool,
    lists: Option<&FileLists>,
) -> Found {
    let log = match ImaLog::parse(bytes, 0) {
        Ok(log) => log,
        Err(error) => {
            let malformed = no_ima_log(bytes, &error);
            return Found { malformed, ..ima_refused(&error) };
        }
    };
    let mut found = Found::default();
    let banks = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384];
    let ima_pcrs: BTreeMap<&str, BTreeMap<u8, String>> =
        banks.iter().map(|&bank| (bank.as_str(), BTreeMap::from([(IMA, hex::encode(log.replay(bank)))]))).collect();
    found.members.insert("ima_pcrs".into(), json!(ima_pcrs));
    let given = quoted.filter(|(_, values)| values.contains_key(&IMA));
    // Without a value every entry counts: what the log says of itself.
    let bank = given.map_or(HashAlg::Sha256, |(bank, _)| bank);
    let pcr = given.and_then(|(_, values)| values.get(&IMA).cloned()).unwrap_or_else(|| log.replay(bank));
    let boot: BTreeMap<u8, &[u8]> = given
        .iter()
        .flat_map(|(_, values)| values.iter())
        .filter(|(pcr, _)| **pcr < IMA)
        .map(|(&pcr, value)| (pcr, value.as_slice()))
        .collect();
    let judge = |allow_violations| {
        verify(bytes, &ImaExpectation { bank, pcr: &pcr, boot: boot.clone(), verified: None, allow_violations })
    };
    let strict = judge(false);
    let (measured, violation) = match (strict, allow_violations) {
        (Ok(measured), _) => (measured, None),
        (Err(error @ ImaRefused::L8Violation { .. }), true) => match judge(true) {
            Ok(measured) => (measured, Some(error)),
            Err(error) => return Found { members: found.members, ..ima_refused(&error) },
        },
        (Err(error), _) => return Found { members: found.members, ..ima_refused(&error) },
    };
    let sets = lists.into_iter().map(|lists| ("reference", lists));
    let claims = measured.claims(sets);
    found.listed = lists.filter(|lists| !lists.is_empty()).and_then(|_| claims.listed.get("reference").cloned());
    found.claims.insert("ima".to_owned(), json!(claims));
    found.text = words::ima_in_short(&measured, log.entries());
    let report = match violation {
        Some(violation) => rows::ima_report(true, true, Some(&violation)),
        None => rows::ima_report(given.is_some(), measured.boot_aggregate_checked, None),
    };
    // What was measured is vouched for by PCR 10; boot_aggregate says in addition by which boot.
    found.vouched.insert("ima", given.is_some() && report.holds());
    found.rows = with_weak_bank(report, given.map(|(bank, _)| bank)).rows;
    found
}

fn with_weak_bank(mut report: Report, bank: Option<HashAlg>) -> Report {
    for row in report.rows.iter_mut().filter(|row| bank == Some(HashAlg::Sha1) && row.verdict != Verdict::Refused) {
        let open = row.note.take().map(|note| format!("; {note}")).unwrap_or_default();
        row.note = Some(format!("compared in the SHA-1 bank, which no vault takes: quote SHA-256{open}"));
    }
    report
}

/// A part of a log whose beginning only the vault has.
pub(super) fn ima_part(bytes: &[u8], offset: u64) -> Found {
    if let Err(error) = ImaLog::parse(bytes, 0) {
        return ima_refused(&error);
    }
    let mut report = rows::ima_report(false, false, None);
    for row in &mut report.rows {
        row.note = Some(format!(
            "every hash holds; this is what follows byte {offset} of the node's log, and the vault has the rest"
        ));
    }
    Found { rows: report.rows, ..Found::default() }
}

fn ima_refused(error: &ImaRefused) -> Found {
    let final_rows = if matches!(error, ImaRefused::L8Violation { .. }) { Vec::new() } else { vec!["L8"] };
    Found {
        rows: rows::ima_report(true, true, Some(error)).rows,
        malformed: error.is_malformed().then(|| error.to_string()),
        final_rows,
        vouched: BTreeMap::from([("ima", false)]),
        ..Found::default()
    }
}

/// Why bytes are no IMA log at all: what cannot be read, and what begins as none does.
fn no_ima_log(bytes: &[u8], error: &ImaRefused) -> Option<String> {
    match error {
        ImaRefused::L8Pcr { entry: 1, .. } if BootLog::parse(bytes).is_ok() => {
            Some("L8: this is a boot log: give it with --kind tcg-log".to_owned())
        }
        ImaRefused::L8Pcr { entry: 1, .. } if !names_template(bytes) => Some(format!(
            "L8: it does not begin with an entry of PCR {IMA}: give binary_runtime_measurements or ascii_runtime_measurements as the kernel shows them"
        )),
        error => error.is_malformed().then(|| error.to_string()),
    }
}

/// Whether the first entry has a template's name in its place: an IMA log, if one of another PCR.
fn names_template(bytes: &[u8]) -> bool {
    // Binary: PCR, SHA-1 hash, length of the name. ASCII: PCR, hash, name.
    let binary = bytes.get(28..).unwrap_or_default();
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let ascii = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).nth(2).unwrap_or_default();
    [binary, ascii].iter().any(|name| name.starts_with(b"ima") || name.starts_with(b"evm-"))
}
