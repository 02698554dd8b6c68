//! IMA logs: row L8, and the claims that come out of the part that a quote covers.
//!
//! ```text
//! bytes ──ImaLog::parse──> entries, each proved by its hash
//!         ──cover(PCR 10)──> the prefix that the quote covers ──> Measured ──claims(lists)──> ImaClaims
//! ```
//!
//! The kernel goes on measuring between the quote and the reading of the log, so the log is longer than
//! what was quoted. Entries after the prefix are nobody's word, and no claim is made from them. A log that
//! goes on from one that was verified before starts where [`Measured`] ends and holds only what follows it.

mod ascii;
mod binary;
mod entry;
mod refused;

pub use entry::Entry;
pub use refused::ImaRefused;

use crate::{quote::hex, tpm::HashAlg};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use strongroom_protocol::{
    Bytes,
    admin::FileLists,
    claims::{ImaClaims, Listed, ListedFile},
    files::algorithm,
    limits,
};

/// Most entries of a log, or of the part of it that is sent.
pub const MAX_ENTRIES: usize = 32_768;

/// The PCR that IMA extends.
const PCR: u32 = 10;

/// Files against a list that are shown by name.
const EXAMPLES: usize = 16;

/// The name of the first entry.
const BOOT_AGGREGATE: &str = "boot_aggregate";

/// What a node measured since it booted, as far as its quotes have covered it. The vault keeps one for each boot,
/// so that a renewal may send only what is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Entries of the log.
    pub entries: u64,
    /// Bytes of the log that hold them: where the next part starts.
    pub bytes: u64,
    /// Violations among them.
    pub violations: u64,
    /// Whether `boot_aggregate` was compared with quoted PCRs.
    pub boot_aggregate_checked: bool,
    /// What PCR 10 held after them, in the bank that is quoted.
    pub pcr: Bytes,
    /// The files by digest (algorithm, colon, lower-case hexadecimal), each with the first path under which it was
    /// measured. Paths are hints. Without violations and without `boot_aggregate`.
    pub files: BTreeMap<String, String>,
}

/// What an IMA log must be.
#[derive(Debug, Clone)]
pub struct ImaExpectation<'a> {
    /// The bank of the values.
    pub bank: HashAlg,
    /// PCR 10 as a quote vouches for it.
    pub pcr: &'a [u8],
    /// PCRs 0 to 9 as the quote vouches for them, as far as it has them; what `boot_aggregate` is compared with.
    pub boot: BTreeMap<u8, &'a [u8]>,
    /// What was verified before, in this boot of this node; `None` where the log has to be whole.
    pub verified: Option<&'a Measured>,
    /// Accept files that were measured while they could change.
    pub allow_violations: bool,
}

impl Measured {
    /// The claims, with the files held against the lists of each of these reference sets.
    pub fn claims<'a>(&self, sets: impl IntoIterator<Item = (&'a str, &'a FileLists)>) -> ImaClaims {
        let listed = sets.into_iter().map(|(name, lists)| (name.to_owned(), self.held_against(lists))).collect();
        ImaClaims {
            entries: self.entries,
            violations: self.violations,
            boot_aggregate_checked: self.boot_aggregate_checked,
            files: self.files.len() as u64,
            listed,
        }
    }

    fn held_against(&self, lists: &FileLists) -> Listed {
        let mut listed = Listed::default();
        let hashes: BTreeSet<_> = lists.forbidden.keys().map(|digest| algorithm(digest)).collect();
        for (digest, path) in &self.files {
            let forbidden = lists.forbidden.contains_key(digest);
            // By another hash than each of the forbidden ones is known by, it may be one of them: an entry in another
            // hash must not switch the protection off for the rest. What is no digest may be any file.
            let hash = algorithm(digest);
            let unknown = hashes.iter().any(|other| other.is_none() || *other != hash);
            let accepts = lists.accepted.as_ref().is_none_or(|accepted| accepted.contains_key(digest));
            let unlisted = unknown || !accepts;
            listed.forbidden += u64::from(forbidden);
            listed.unlisted += u64::from(unlisted);
            if (forbidden || unlisted) && listed.examples.len() < EXAMPLES {
                listed.examples.push(ListedFile { digest: digest.clone(), path: path.clone(), forbidden });
            }
        }
        listed.missing = lists.required.keys().filter(|digest| !self.files.contains_key(*digest)).cloned().collect();
        listed
    }
}

/// A log whose entries are proved by their hashes. What PCR 10 says of them is another matter.
#[derive(Debug, Clone)]
pub struct ImaLog {
    entries: Vec<Entry>,
}

impl ImaLog {
    /// Reads a log of at most [`limits::IMA_LOG`] bytes as the kernel shows it, binary or ASCII. `before` is
    /// the number of entries that stand before it in the node's whole log.
    pub fn parse(bytes: &[u8], before: u64) -> Result<Self, ImaRefused> {
        if bytes.len() > limits::IMA_LOG {
            return Err(ImaRefused::L8TooLong { limit: limits::IMA_LOG, actual: bytes.len() });
        }
        let first = before.saturating_add(1);
        // A binary entry begins with its PCR, 10, in 32 bits, and so with the byte of a newline; a line with the same in
        // digits.
        let entries = match bytes {
            [b'0'..=b'9' | b' ', ..] | [b'\n', b'0'..=b'9' | b' ', ..] => ascii::parse(bytes, first)?,
            _ => binary::parse(bytes, first)?,
        };
        Ok(Self { entries })
    }

    /// The entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What PCR 10 of this bank holds after all entries, starting from zeros.
    pub fn replay(&self, bank: HashAlg) -> Vec<u8> {
        let mut value = vec![0; bank.digest_length()];
        self.entries.iter().for_each(|entry| entry.extend(bank, &mut value));
        value
    }
}

/// Verifies a log, or the part of it that follows what was verified before.
pub fn verify(bytes: &[u8], expect: &ImaExpectation<'_>) -> Result<Measured, ImaRefused> {
    let before = expect.verified.map_or(0, |verified| verified.entries);
    let log = ImaLog::parse(bytes, before)?;
    let count = cover(&log, expect)?;
    let covered = log.entries.get(..count).unwrap_or_default();
    let end = covered.last().map_or(0, |last| last.end as u64);
    let mut measured = match expect.verified {
        Some(verified) => verified.clone(),
        None => Measured {
            entries: 0,
            bytes: 0,
            violations: 0,
            boot_aggregate_checked: check_boot_aggregate(covered, expect)?,
            pcr: Bytes::default(),
            files: BTreeMap::new(),
        },
    };
    for entry in log.entries.into_iter().take(count) {
        if entry.violation {
            if !expect.allow_violations {
                return Err(ImaRefused::L8Violation { entry: entry.number, path: entry.path });
            }
            measured.violations += 1;
        } else if entry.number > 1 {
            measured.files.entry(entry.digest).or_insert(entry.path);
        }
    }
    measured.entries = before.saturating_add(count as u64);
    measured.bytes = measured.bytes.saturating_add(end);
    measured.pcr = Bytes(expect.pcr.to_vec());
    Ok(measured)
}

/// How many entries lead to PCR 10's value: the shortest prefix that does.
fn cover(log: &ImaLog, expect: &ImaExpectation<'_>) -> Result<usize, ImaRefused> {
    let bank = expect.bank;
    let mut value = expect.verified.map_or_else(|| vec![0; bank.digest_length()], |verified| verified.pcr.0.clone());
    let mut count = 0;
    let mut entries = log.entries.iter();
    while value != expect.pcr {
        let Some(entry) = entries.next() else {
            return Err(ImaRefused::L8NotCovered { bank, quoted: hex(expect.pcr) });
        };
        entry.extend(bank, &mut value);
        count += 1;
    }
    Ok(count)
}

/// The first entry is of the PCRs that the boot left: 0 to 7 by SHA-1, 0 to 9 by others (Linux,
/// `security/integrity/ima/ima_crypto.c`). False where the values are not known.
fn check_boot_aggregate(covered: &[Entry], expect: &ImaExpectation<'_>) -> Result<bool, ImaRefused> {
    let first = covered.first().filter(|entry| entry.path == BOOT_AGGREGATE).ok_or(ImaRefused::L8NoBootAggregate)?;
    let prefix = format!("{}:", expect.bank.as_str());
    let Some(got) = first.digest.strip_prefix(&prefix) else { return Ok(false) };
    let last = if expect.bank == HashAlg::Sha1 { 7 } else { 9 };
    let values: Option<Vec<&[u8]>> = (0..=last).map(|pcr| expect.boot.get(&pcr).copied()).collect();
    let Some(values) = values else { return Ok(false) };
    let expected = hex(&expect.bank.digest(&values));
    if expected == got { Ok(true) } else { Err(ImaRefused::L8BootAggregate { last, expected, got: got.to_owned() }) }
}

#[cfg(test)]
mod tests;
