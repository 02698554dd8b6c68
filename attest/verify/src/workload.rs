//! What runs on a node, from measured sources alone: row L9.
//!
//! | claim | measured by | wants |
//! |---|---|---|
//! | `caller_measured` | IMA: the digest of the caller's executable is among those of the files | an IMA log that a quote covers (L8), and the digest as the node's agent tells it |
//! | `verity_root` | GRUB: the kernel command line in PCR 8; or a unified kernel image: its `.cmdline` in PCR 11 | L7 for these PCRs and for PCR 12; for an image the text, which must have the measured digest |
//! | `containers` | a text event `container sha256:` and 64 lower-case hexadecimal digits, in a PCR of 8 to 15 | L7 for this PCR |
//!
//! Nothing of it is read from a PCR in which there is an event that cannot be read: one that was made unreadable
//! could say the opposite. Whoever has a running kernel may extend all of these PCRs, and so put there what an
//! honest boot would have. The claims are worth what PCR 4 is: that the boot loader and the kernel, which measured
//! the rest before it ran, are those that policy knows.

use crate::{
    Report, Verdict,
    ima::Measured,
    log::{BootLog, EventType, text_of},
    quote::hex,
    rows,
    tpm::HashAlg,
};
use std::collections::{BTreeMap, BTreeSet};
use strongroom_protocol::claims::{BootClaims, Loader, WorkloadClaims};

/// GRUB's PCR, a unified kernel image's, and the one with what overrides its command line.
const GRUB: u8 = 8;
const UKI: u8 = 11;
const OVERRIDES: u8 = 12;

/// PCRs in which containers may be measured. IMA's own is another log's.
const CONTAINERS: [u8; 7] = [8, 9, 11, 12, 13, 14, 15];

/// What a container's event begins with.
const CONTAINER: &str = "container sha256:";

/// GRUB's commands that start a kernel: it measures them, and the command line by itself.
const STARTS: [&str; 4] = ["linux ", "linuxefi ", "linux16 ", "multiboot2 "];

/// Arguments that give the root hash of the root file system, and of `/usr`.
const ROOT: [&str; 3] = ["roothash", "systemd.verity_root_hash", "root_hexdigest"];
const USR: [&str; 2] = ["usrhash", "systemd.verity_usr_hash"];

/// What there is to read from; each may be missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    /// The boot log, with the claims that its verification gave, L7 included.
    pub boot: Option<(&'a BootLog<'a>, &'a BootClaims)>,
    /// The command line of the unified kernel image that is said to have been booted, exactly as in its section.
    pub command_line: Option<&'a str>,
    /// What IMA measured, as far as a quote covers it.
    pub files: Option<&'a Measured>,
    /// SHA-256 of the caller's executable as the node's agent tells it, lower-case hexadecimal.
    pub executable: Option<&'a str>,
}

/// Reads what the sources show. What they do not show is null or empty.
pub fn claims(sources: &Sources<'_>) -> WorkloadClaims {
    let measured = |files: &Measured, sha256: &str| files.files.contains_key(&format!("sha256:{sha256}"));
    WorkloadClaims {
        caller_measured: sources.files.zip(sources.executable).map(|(files, sha256)| measured(files, sha256)),
        verity_root: sources.boot.and_then(|(_, boot)| verity_root(boot, sources.command_line)),
        containers: sources.boot.map(|(log, boot)| containers(log, boot)).unwrap_or_default(),
    }
}

/// [`claims`] for people, with what became of row L9.
pub fn examine(sources: &Sources<'_>) -> (Report, WorkloadClaims) {
    let claims = claims(sources);
    let refused = claims.caller_measured == Some(false);
    let shown = claims.caller_measured.is_some() || claims.verity_root.is_some() || !claims.containers.is_empty();
    let report = Report::of_each(&rows::WORKLOAD, |_| match (refused, shown) {
        (true, _) => (Verdict::Refused, Some("IMA did not measure the caller's executable".to_owned())),
        (_, true) => (Verdict::Passed, None),
        _ => (Verdict::NotChecked, Some("nothing that a quote covers shows what runs".to_owned())),
    });
    (report, claims)
}

/// The root hash that every kernel command line names; `None` where one names none, another, or cannot be read.
fn verity_root(boot: &BootClaims, command_line: Option<&str>) -> Option<String> {
    let covered = |pcr| boot.explained.contains(&pcr);
    let mut lines = command_lines(&boot.loader)?;
    if !boot.loader.overrides.is_empty() || !covered(OVERRIDES) || !(lines.is_empty() || covered(GRUB)) {
        return None;
    }
    if let Some(digest) = boot.loader.uki.as_ref().and_then(|sections| sections.get(".cmdline")) {
        lines.push(command_line.filter(|line| covered(UKI) && is_of(digest, line))?);
    }
    let mut roots = lines.into_iter().map(root_of);
    let first = roots.next()??;
    roots.all(|root| root.as_ref() == Some(&first)).then_some(first)
}

/// The kernel command lines that PCR 8 shows, in order; `None` where an event of PCRs 8 and 12 cannot be read, which
/// could be one of them, or where a command that starts a kernel has no line.
pub fn command_lines(loader: &Loader) -> Option<Vec<&str>> {
    if loader.unread > 0 { None } else { started(&loader.texts) }
}

/// Whether a digest as claims name it, in lower-case hexadecimal, is of this text.
fn is_of(digest: &str, text: &str) -> bool {
    let hashes = [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    hashes.iter().any(|hash| hex(&hash.digest(&[text.as_bytes()])) == digest)
}

/// The kernel command lines among the texts of PCR 8. GRUB measures each twice, as a command and by itself, with
/// other quotation marks; a line without its command counts for nothing, and a command without its line is one
/// line too few. systemd-boot before version 251 measures lines only.
fn started(texts: &[String]) -> Option<Vec<&str>> {
    let bare = |text: &str| -> String { text.chars().filter(|letter| !"\"'\\".contains(*letter)).collect() };
    let commands: BTreeSet<String> =
        texts.iter().filter_map(|text| STARTS.iter().find_map(|start| text.strip_prefix(start))).map(bare).collect();
    if commands.is_empty() {
        return Some(texts.iter().map(String::as_str).collect());
    }
    let lines: Vec<&str> = texts.iter().map(String::as_str).filter(|text| commands.contains(&bare(text))).collect();
    let found: BTreeSet<String> = lines.iter().map(|line| bare(line)).collect();
    (found == commands).then_some(lines)
}

/// The root hash that a command line names: that of the root file system, else that of `/usr`.
fn root_of(line: &str) -> Option<String> {
    let words = || line.split(|letter: char| letter.is_whitespace() || "\"'".contains(letter));
    let values = |names: &'static [&'static str]| -> BTreeSet<&str> {
        words()
            .filter_map(|word| word.split_once('='))
            .filter(|(name, _)| names.contains(name))
            .map(|(_, v)| v)
            .collect()
    };
    let roots = Some(values(&ROOT)).filter(|roots| !roots.is_empty()).unwrap_or_else(|| values(&USR));
    let mut roots = roots.into_iter();
    match (roots.next(), roots.next()) {
        (Some(root), None) if is_sha256(root) => Some(root.to_owned()),
        _ => None,
    }
}

/// Container digests of every PCR that a quote covers and whose events are all texts.
fn containers(log: &BootLog<'_>, boot: &BootClaims) -> Vec<String> {
    let mut texts: BTreeMap<u8, Option<Vec<String>>> = BTreeMap::new();
    let covered = CONTAINERS.into_iter().filter(|pcr| boot.explained.contains(pcr)).collect::<Vec<_>>();
    for event in log.events().iter().filter(|event| event.kind() != EventType::NO_ACTION) {
        let Some(pcr) = u8::try_from(event.pcr()).ok().filter(|pcr| covered.contains(pcr)) else { continue };
        let of_pcr = texts.entry(pcr).or_insert_with(|| Some(Vec::new()));
        match (text_of(event), of_pcr.as_mut()) {
            (Some(text), Some(texts)) => texts.push(text),
            _ => *of_pcr = None,
        }
    }
    let named = texts.into_values().flatten().flatten().filter_map(|text| {
        let digest = text.strip_prefix(CONTAINER)?;
        is_sha256(digest).then(|| format!("sha256:{digest}"))
    });
    named.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether a text is 64 lower-case hexadecimal digits.
fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
