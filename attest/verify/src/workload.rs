//! What runs on a node, from measured sources alone: row L9.
//!
//! | claim | measured by | wants |
//! |---|---|---|
//! | `caller_measured` | IMA: the digest of the caller's executable is among those of the files | an IMA log that a quote covers (L8), and the digest as the node's agent tells it |
//! | `verity_root` | GRUB: the kernel command line in PCR 8; or a unified kernel image: its `.cmdline` in PCR 11 | L7 for PCRs 8, 9, 11 and 12, that is the claim `boot.loader`; for an image the text, which must have the measured digest |
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

/// PCRs in which containers may be measured. IMA's own is another log's.
const CONTAINERS: [u8; 7] = [8, 9, 11, 12, 13, 14, 15];

/// What a container's event begins with.
const CONTAINER: &str = "container sha256:";

/// GRUB's commands that choose what is started: it measures them and, of the kernels whose command line it makes, that
/// line by itself. A command without a line leaves open what was started.
const STARTS: [&str; 15] = [
    "linux ",
    "linuxefi ",
    "linux16 ",
    "multiboot ",
    "multiboot2 ",
    "chainloader ",
    "xen_hypervisor ",
    "xnu_kernel ",
    "xnu_kernel64 ",
    "kfreebsd ",
    "knetbsd ",
    "kopenbsd ",
    "ntldr ",
    "freedos ",
    "plan9 ",
];

/// Arguments that give the root hash of the root file system, and of `/usr`.
const ROOT: [&str; 3] = ["roothash", "systemd.verity_root_hash", "root_hexdigest"];
const USR: [&str; 2] = ["usrhash", "systemd.verity_usr_hash"];

/// What there is to read from; each may be missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    /// The boot log in the quoted bank ([`BootLog::in_bank`]), with the claims that its verification gave, L7 included.
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
        containers: sources.boot.and_then(|(log, boot)| containers(log, boot)),
    }
}

/// [`claims`] for people, with what became of row L9.
pub fn examine(sources: &Sources<'_>) -> (Report, WorkloadClaims) {
    let claims = claims(sources);
    let refused = claims.caller_measured == Some(false);
    let shown = claims.caller_measured.is_some()
        || claims.verity_root.is_some()
        || claims.containers.as_ref().is_some_and(|named| !named.is_empty());
    let report = Report::of_each(&rows::WORKLOAD, |_| match (refused, shown) {
        (true, _) => (Verdict::Refused, Some("IMA did not measure the caller's executable".to_owned())),
        (_, true) => (Verdict::Passed, None),
        _ => (Verdict::NotChecked, Some("nothing that a quote covers shows what runs".to_owned())),
    });
    (report, claims)
}

/// The root hash that every kernel command line names; `None` where one names none, another, or cannot be read.
fn verity_root(boot: &BootClaims, command_line: Option<&str>) -> Option<String> {
    // A quote covers all that could contradict it: the claim of a loader is there where it covers PCRs 8, 9, 11, 12.
    let loader = boot.loader.as_ref().filter(|_| !boot.explained.is_empty())?;
    let mut lines = command_lines(loader).filter(|_| loader.overrides.is_empty())?;
    if let Some(digest) = loader.uki.as_ref().and_then(|sections| sections.get(".cmdline")) {
        lines.push(command_line.filter(|line| is_of(digest, line))?);
    }
    let mut roots = lines.into_iter().map(root_of);
    let first = roots.next()??;
    roots.all(|root| root.as_ref() == Some(&first)).then_some(first)
}

/// The kernel command lines that PCR 8 may show, in order; `None` where an event of PCRs 8 and 12 cannot be read, which
/// could be one of them, or where a command that starts something has no line. Where no command does, any text may be one.
fn command_lines(loader: &Loader) -> Option<Vec<&str>> {
    if loader.unread > 0 { None } else { started(&loader.texts) }
}

/// The kernel command lines that PCR 8 certainly shows, in order: those that belong to a command of the boot loader's.
/// Empty where there is none, where an event of PCRs 8 and 12 cannot be read, where a command that starts something has
/// no line, or where PCR 12 has what could replace them.
pub fn certain_command_lines(loader: &Loader) -> Vec<&str> {
    let lines = command_lines(loader).filter(|lines| loader.overrides.is_empty() && lines.len() < loader.texts.len());
    lines.unwrap_or_default()
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

/// Container digests of every PCR that a quote covers and whose events are all texts; `None` where it covers no PCR in
/// which they could be.
fn containers(log: &BootLog<'_>, boot: &BootClaims) -> Option<Vec<String>> {
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
    let named: BTreeSet<_> = named.collect();
    (!covered.is_empty()).then(|| named.into_iter().collect())
}

/// Whether a text is 64 lower-case hexadecimal digits.
fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
