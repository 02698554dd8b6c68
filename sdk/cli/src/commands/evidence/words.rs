//! What evidence shows, in words.
//!
//! Everything that comes out of a log goes through [`shortened`]: one line, nothing that steers a terminal.

use super::verdict::Found;
use crate::plain;
use serde_json::Value;
use std::fmt::Write as _;
use strongroom::protocol::{
    admin::ReferenceEvent,
    claims::{Loader, SecureBoot, SignatureDatabase, Tolerance},
};
use strongroom_attest::{
    ima::{Entry, ImaLog, Measured},
    log::{BootLog, Examined, events},
    rows::{AZURE, BOOT_LOG, COMPOSITE, ENROLMENT, IMA_LOG, NVIDIA_GPU, QUOTE, SEV_SNP, SNP_LAUNCH, TDX, WORKLOAD},
    tpm::HashAlg,
    workload,
};

/// Most characters of a text that are shown.
const LINE: usize = 400;
/// Texts of PCR 8 that are shown where none is known to be the kernel's.
const TEXTS: usize = 8;
/// Programs of an IMA log that are named.
const PROGRAMS: usize = 12;
/// Violations of an IMA log that are named.
const VIOLATIONS: usize = 5;

/// A log's own text in one line that a page can hold.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", plain::line(text.get(..end).unwrap_or_default())),
        None => plain::line(text),
    }
}

/// What a boot log shows, in a few lines.
pub(super) fn boot_in_short(examined: &Examined) -> String {
    let mut text = String::new();
    if let Some(state) = &examined.secure_boot {
        let _ = writeln!(text, "Secure Boot: {}", if state.enabled { "on" } else { "off" });
    }
    if let Some(path) = &examined.boot_path {
        let _ = writeln!(text, "programs that were loaded: {}", path.images.len());
    }
    if let Some(loader) = &examined.loader {
        if let Some(line) = workload::certain_command_lines(loader).last() {
            let _ = writeln!(text, "kernel: {}", shortened(line));
        }
        for line in replacing(loader) {
            let _ = writeln!(text, "beside the kernel's own command line (PCR 12): {line}");
        }
        if loader.unread > 0 {
            let _ = writeln!(text, "boot loader: {}", unread(loader));
        }
    }
    for unknown in not_vouched(examined) {
        let _ = writeln!(text, "{unknown}");
    }
    for tolerance in &examined.tolerances {
        let _ = writeln!(text, "accepted deviation: {tolerance}");
    }
    text
}

/// The texts of PCR 12: command lines, or parts of one, that are used instead of the kernel's own or with it.
fn replacing(loader: &Loader) -> impl Iterator<Item = String> {
    loader.overrides.iter().map(|text| shortened(text))
}

/// What is not told, because values were given and those of its PCRs are not among them, or are not as the log says.
fn not_vouched(examined: &Examined) -> Vec<String> {
    let read = |row| examined.replay.is_some() && examined.refusal(row).is_none();
    let claims = [
        ("Secure Boot", "PCR 7", "L4", examined.secure_boot.is_none()),
        ("the boot path", "PCRs 4 and 5", "L5", examined.boot_path.is_none()),
        ("boot loader and kernel", "PCRs 8, 9, 11 and 12", "L6", examined.loader.is_none()),
    ];
    let missing = claims.into_iter().filter(|(_, _, row, missing)| *missing && read(row));
    missing.map(|(what, pcrs, ..)| format!("{what}: not known, for the values given do not vouch for {pcrs}")).collect()
}

/// Events that say nothing that their digests prove.
fn unread(loader: &Loader) -> String {
    format!(
        "{} events of PCRs 8 and 12 are of no text that is known: what they are of the log does not prove",
        loader.unread
    )
}

/// What a boot log shows, from firmware to kernel.
pub(super) fn boot(log: &BootLog<'_>, examined: &Examined) -> String {
    let banks: Vec<_> = log.algorithms().iter().map(ToString::to_string).collect();
    let mut text = format!("  {} events, digests of {}\n", log.events().len(), banks.join(", "));
    let bank =
        [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha1].into_iter().find(|bank| log.algorithms().contains(bank));
    let listed = bank.map(|bank| events::listed(log, bank)).unwrap_or_default();
    if let Some(state) = &examined.secure_boot {
        text.push_str(&secure_boot(state));
    }
    if let Some(path) = &examined.boot_path {
        let _ = writeln!(text, "  boot path (PCR 4): {} programs were loaded, in this order", path.images.len());
        for event in listed.iter().filter(|event| event.pcr == 4 && path.images.contains(&hex::encode(&event.digest.0)))
        {
            text.push_str(&said(event));
        }
        let left = if path.exit_boot_services {
            "the kernel took over from firmware (ExitBootServices succeeded)"
        } else {
            "the log does not show that the kernel took over from firmware"
        };
        let _ = writeln!(text, "  {left}");
    }
    if let Some(loader) = &examined.loader {
        match workload::certain_command_lines(loader).last() {
            Some(line) => {
                let _ = writeln!(text, "  kernel command line, as a digest confirms it: {}", shortened(line));
            }
            None if loader.unread > 0 => text.push_str(
                "  kernel command line: not known, for any of the events that cannot be read could be of it\n",
            ),
            None if !loader.overrides.is_empty() => {
                text.push_str("  kernel command line: not known, for these texts of PCR 12 replace it or are added to it\n");
            }
            None if !loader.texts.is_empty() => {
                text.push_str("  kernel command line: not known, for no text belongs to a command that starts a kernel\n");
                for line in loader.texts.iter().take(TEXTS) {
                    let _ = writeln!(text, "    a text of PCR 8: {}", shortened(line));
                }
            }
            None => text.push_str(
                "  kernel command line: no digest is of a text; with the kernel's EFI stub it is in PCR 9 as a digest only\n",
            ),
        }
        for line in replacing(loader) {
            let _ = writeln!(text, "    a text of PCR 12: {line}");
        }
        if loader.texts.len() > 1 {
            let _ = writeln!(text, "  boot loader (PCR 8): {} commands and texts", loader.texts.len());
        }
        if !loader.files.is_empty() {
            let _ = writeln!(text, "  boot loader's files, initrd, load options (PCR 9): {}", loader.files.len());
            for event in listed.iter().filter(|event| event.pcr == 9) {
                text.push_str(&said(event));
            }
        }
        if loader.unread > 0 {
            let _ = writeln!(text, "  {}", unread(loader));
        }
        if let Some(sections) = &loader.uki {
            let _ = writeln!(text, "  unified kernel image (PCR 11): {} sections", sections.len());
            for (name, digest) in sections {
                let _ = writeln!(text, "    {} {digest}", plain::line(name));
            }
        }
    }
    if let Some(phases) = examined.phases.as_ref().filter(|phases| !phases.is_empty()) {
        let _ = writeln!(text, "  phases that the system had gone through: {}", phases.join(", "));
    }
    for tolerance in &examined.tolerances {
        let _ = writeln!(text, "  accepted deviation {tolerance}: {}", deviation(*tolerance));
    }
    text
}

/// An event as the log describes it.
fn said(event: &ReferenceEvent) -> String {
    format!("    {} said: {}\n", hex::encode(&event.digest.0), shortened(&event.hint))
}

fn secure_boot(state: &SecureBoot) -> String {
    let mut text = match (state.enabled, state.setup_mode) {
        (true, _) => "  Secure Boot is on: firmware let in only programs that db accepts\n".to_owned(),
        (false, false) => "  Secure Boot is off: firmware let in any program\n".to_owned(),
        (false, true) => {
            "  Secure Boot is off, and in setup mode: there is no platform key, anybody at the machine may set keys\n"
                .to_owned()
        }
    };
    for (name, database) in [("PK", &state.pk), ("KEK", &state.kek), ("db", &state.db), ("dbx", &state.dbx)] {
        let _ = writeln!(text, "    {name:<4} {}", contents(database));
    }
    if !state.authorities.is_empty() {
        text.push_str("    programs were let in by, or rest on:\n");
    }
    for authority in &state.authorities {
        let _ = writeln!(text, "      {} {}", plain::line(&authority.variable), authority.sha256);
    }
    if state.dma_protection_disabled {
        text.push_str("    firmware says that devices may write to memory (DMA protection disabled)\n");
    }
    text
}

fn contents(database: &SignatureDatabase) -> String {
    if database.is_empty() {
        return "empty".to_owned();
    }
    let mut text = format!("{} certificates, {} other entries", database.certificates.len(), database.others);
    if let [certificate] = &database.certificates[..] {
        let _ = write!(text, " (certificate {certificate})");
    }
    text
}

/// Why a deviation is accepted, and what it means.
fn deviation(tolerance: Tolerance) -> &'static str {
    match tolerance {
        Tolerance::LogPadding => "bytes of 0x00 or 0xff follow the last event; they extend nothing",
        Tolerance::FirmwareAfterSeparator => {
            "boot variables, drivers of cards, tables or the manufacturer's own are measured after their PCR's separator, as some firmware does"
        }
        Tolerance::VendorEvent => "a PCR from which no claim is read has events of types that do not belong there",
        Tolerance::ResettablePcr => {
            "there are events of PCRs 16 to 23, which anybody may reset: nothing is read from them"
        }
        Tolerance::NoActionWithDigest => "an event that extends nothing has a digest all the same",
        Tolerance::ShimVariableSize => "shim before 15.3 logs its variables one byte longer than it measures them",
        Tolerance::SecureBootVariablesMissing => {
            "Secure Boot is off, and firmware does not measure all of its variables"
        }
        Tolerance::ExitBootServicesMissing => {
            "PCR 5 shows that the kernel took over from firmware; firmware did not write that into the log"
        }
        Tolerance::ExitBootServicesFailureMissing | Tolerance::ExitBootServicesRetryMissing => {
            "PCR 5 shows a failed ExitBootServices; firmware did not write that into the log"
        }
        _ => "the specification says otherwise, and real devices do it",
    }
}

/// What an IMA log shows, in a line.
pub(super) fn ima_in_short(measured: &Measured, entries: &[Entry]) -> String {
    let mut text = format!("IMA: {} of {} entries, {} files", measured.entries, entries.len(), measured.files.len());
    if measured.violations > 0 {
        let _ = write!(text, ", {} violations", measured.violations);
    }
    text.push('\n');
    text
}

/// What an IMA log shows.
pub(super) fn ima(log: &ImaLog) -> String {
    let entries = log.entries();
    let violations: Vec<&Entry> = entries.iter().filter(|entry| entry.is_violation()).collect();
    let files: Vec<&Entry> = entries.iter().skip(1).filter(|entry| !entry.is_violation()).collect();
    let mut text = format!("  {} entries, {} of files that were run or read\n", entries.len(), files.len());
    match entries.first() {
        Some(first) if first.path() == "boot_aggregate" && is_zero(first.digest()) => text.push_str(
            "  begins with a boot_aggregate of zeros: the kernel found no TPM for IMA, so no PCR was extended by this log\n",
        ),
        Some(first) if first.path() == "boot_aggregate" => {
            let _ = writeln!(
                text,
                "  begins with boot_aggregate {}: what the boot left in the PCRs",
                plain::line(first.digest())
            );
        }
        _ => text.push_str("  does not begin with boot_aggregate: it is a part of a log\n"),
    }
    text.push_str("  first that were measured:\n");
    for entry in files.iter().take(PROGRAMS) {
        let _ = writeln!(text, "    {} said: {}", plain::line(entry.digest()), shortened(entry.path()));
    }
    if !violations.is_empty() {
        let _ = writeln!(
            text,
            "  {} violations: files that were written while they were read, so what ran is not known",
            violations.len()
        );
    }
    for entry in violations.iter().take(VIOLATIONS) {
        let _ = writeln!(text, "    entry {} said: {}", entry.number(), shortened(entry.path()));
    }
    text
}

/// Whether a digest, after its algorithm, is all zeros.
fn is_zero(digest: &str) -> bool {
    let (_, value) = digest.rsplit_once(':').unwrap_or(("", digest));
    !value.is_empty() && value.bytes().all(|byte| byte == b'0')
}

/// What a quote shows.
pub(super) fn quote(found: &Found) -> String {
    let Some(claims) = found.claims.get("tpm").filter(|claims| claims.is_object()) else { return String::new() };
    let word = |name: &str| plain::line(&claims.get(name).map(Value::to_string).unwrap_or_default().replace('"', ""));
    let pcrs: Vec<&str> =
        claims["pcrs"].as_object().map(|pcrs| pcrs.keys().map(String::as_str).collect()).unwrap_or_default();
    let mut numbers: Vec<u8> = pcrs.iter().filter_map(|pcr| pcr.parse().ok()).collect();
    numbers.sort_unstable();
    let pcrs: Vec<String> = numbers.iter().map(u8::to_string).collect();
    let signed = word("scheme");
    let mut text = if pcrs.is_empty() {
        format!("  a quote, signed {signed}; the values that it is of are not all there\n")
    } else {
        format!("  a quote of {} PCRs {}, signed {signed}\n", word("bank"), pcrs.join(", "))
    };
    let _ = writeln!(text, "  the machine's boot: reset {}, restart {}", word("reset_count"), word("restart_count"));
    let bound = word("extra_data");
    let _ = writeln!(text, "  it binds {}", if bound.is_empty() { "nothing" } else { &bound });
    text
}

/// Every row, with what it checks.
pub(crate) fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of_a_machine = [&ENROLMENT[..], &QUOTE, &BOOT_LOG, &IMA_LOG, &WORKLOAD];
    let of_hardware = [&SEV_SNP[..], &SNP_LAUNCH, &AZURE, &TDX, &NVIDIA_GPU, &COMPOSITE];
    of_a_machine.into_iter().chain(of_hardware).flatten().copied()
}

/// What a row checks; `None` if there is no such row.
pub(crate) fn meaning_of_row(row: &str) -> Option<&'static str> {
    rows().find(|(known, _)| *known == row).map(|(_, title)| title)
}

/// What a person can do about a row that refused.
pub(crate) fn remedy(row: &str) -> &'static str {
    match row {
        "E1" | "E2" | "E3" => {
            "read the EK certificate from the TPM's NV again; import the vendor's root and intermediates"
        }
        "E4" => {
            "make the AK anew: a restricted signing key of the TPM, ECDSA P-256 with SHA-256 (`strongroom node enroll`)"
        }
        "E6" => "give the AK of this node; a new AK has to be enrolled and approved",
        "Q1" => "give the AK that was enrolled, and the quote's bytes as the TPM gave them",
        "Q2" => "quote with TPM2_Quote; anything else that the AK signs is no quote",
        "Q3" => "collect evidence for this very request: an old quote, or one of another request, binds something else",
        "Q4" => "the AK has to lie under this TPM's EK: enrol the node again",
        "Q5" => "the machine rebooted: ask for a new lease",
        "Q6" => "quote one SHA-256 or SHA-384 bank with exactly the PCRs that the vault selects, and send their values",
        "Q7" => "send the values that were quoted: read them again around the quote",
        "Q8" => "switch the TPM and measured boot on in firmware, or use firmware that measures",
        "L1" => "send binary_bios_measurements as the kernel shows it; set firmware to TPM 2.0 with a SHA-256 bank",
        "L2" => "read the log again; if it says the same, firmware is faulty: take it to its vendor",
        "L3" => {
            "read the log again from the kernel: if it says the same, firmware does not follow the profile, else somebody changed it"
        }
        "L4" => "look at Secure Boot in firmware's setup: keys enrolled, on, no debug mode",
        "L5" => "boot by UEFI; if the log is of this boot and still refused, firmware does not follow the profile",
        "L6" => "build the unified kernel image with a current systemd-stub, and boot it as it was built",
        "L7" => {
            "send the log of this boot of this machine, whole; if it is, something extended the PCR that the log does not show: find out what"
        }
        "L8" => {
            "send the node's IMA log whole and unchanged; for violations, keep programs from being written while they run"
        }
        "L9" => {
            "run the workload from a measured source: a measured container, a verity root, a file that IMA measured"
        }
        "E7" => {
            "have the identity that the evidence shows approved for this node, or collect it on the node's own devices"
        }
        "S1" => "send the report as the firmware gave it, 1,184 bytes; update firmware that still writes version 2",
        "S2" => "use a processor of a line that policy accepts; for a new one, update this program",
        "S3" => {
            "give the VCEK or VLEK with its intermediate (ASK, ASVK) of AMD's service; where the provider signs with a VLEK, let policy allow it"
        }
        "S4" => "import AMD's current revocation list; if it names the intermediate, the machine cannot be trusted",
        "S5" => {
            "fetch the VCEK of this chip and of the TCB that the report names; after an update of firmware it is another one"
        }
        "S6" => "update the host's firmware and commit it; or lower the minimum, if that was meant",
        "S7" => "launch the guest without the policy bits for debugging and migration; set the host up as policy asks",
        "S8" => "ask for the report at the privilege level that policy names",
        "S9" => "collect the report for this very request: an old one, or one of another request, binds something else",
        "S10" => "give the firmware, kernel, command line and CPUs that the guest is really launched with",
        "S11" => "send the report unchanged, with the certificate of the key that signed it",
        "S12" => "read NV index 0x01400001 of this machine's vTPM again, whole; quote with the AK that it names",
        "S13" => "give or import the certificates that the note names: nothing is fetched while a key is asked for",
        "T1" => {
            "see the part that refused: current collateral of this platform, firmware up to date, no debug, a log of this boot"
        }
        "G1" => "collect the report for this very request, and send it as the driver gave it",
        "G2" => "send the device's chain of five certificates with the report, both of the same GPU and unchanged",
        "G3" => {
            "import the manifests of the installed driver and VBIOS; if they are there, the firmware is not NVIDIA's: find out whose"
        }
        "G4" => "send one report of each GPU in the node's record, beside its guest's own evidence",
        "G5" => {
            "switch confidential mode on and DEVTOOLS off; import NVIDIA's current lists; install an accepted driver"
        }
        _ => "see the reference of rows",
    }
}
