//! Unified kernel images: what PCR 11 will hold when one is booted (UAPI.5; systemd-stub(7)).
//!
//! ```text
//! file ──Uki::parse──> the sections that its stub measures, in the stub's order
//!        ──pcr11(bank, phases)──> the value      ──events(bank)──> the events that lead to it
//! ```
//!
//! The stub extends PCR 11 twice for each section: by its name with a NUL, then by its content as it lies in
//! memory (`VirtualSize` bytes; what the file does not hold is zeros). Which sections a stub measures depends on
//! its version, which it carries in `.sdmagic`.
//!
//! This is a prediction for reference values, made by whoever has the image. It proves nothing about a machine.

mod pe;

use crate::{quote::hex, tpm::HashAlg};
use std::collections::BTreeMap;
use strongroom_protocol::{Bytes, admin::ReferenceEvent};

/// What a stub measures, in its order, with the version of systemd since which it does (`unified_section` of
/// systemd, which promises never to reorder). `.pcrsig` is signatures of the result, and measured by none.
const MEASURED: [(&str, u32); 14] = [
    (".linux", 252),
    (".osrel", 252),
    (".cmdline", 252),
    (".initrd", 252),
    (".ucode", 256),
    (".splash", 252),
    (".dtb", 252),
    (".uname", 254),
    (".sbat", 255),
    (".pcrpkey", 252),
    (PROFILE, 257),
    (".dtbauto", 257),
    (".hwids", 257),
    (".efifw", 258),
];

/// Names of the sections that a stub may measure, in its order.
pub(crate) fn section_names() -> impl Iterator<Item = &'static str> {
    MEASURED.into_iter().map(|(name, _)| name)
}

/// The first version that measures into PCR 11.
const FIRST: u32 = 252;

/// Begins the sections of a profile (since version 257); those before the first are of all profiles.
const PROFILE: &str = ".profile";

/// Of these the stub picks the ones that fit the machine.
const BY_MACHINE: [&str; 2] = [".dtbauto", ".efifw"];

/// Where a stub says what it is.
const MAGIC: &str = ".sdmagic";
const MAGIC_TEXT: &str = "systemd-stub ";

/// The PCR.
const PCR: u8 = 11;

/// Why a file was refused as a unified kernel image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UkiRefused {
    /// Not a PE file, or one that cannot be read.
    #[error(
        "the file is no unified kernel image: {problem}: give the .efi file that firmware or the boot loader starts"
    )]
    Malformed {
        /// What was wrong.
        problem: &'static str,
    },
    /// A section lies outside of the file, or is longer in memory than any.
    #[error("section {section} of the unified kernel image {problem}: the file is cut or damaged; build it again")]
    Section {
        /// Its name.
        section: &'static str,
        /// What was wrong.
        problem: &'static str,
    },
    /// There is no kernel in it.
    #[error(
        "the file has no section .linux, so it is no unified kernel image (a boot loader, an add-on, a bare kernel?)"
    )]
    NoKernel,
    /// The stub is so old that it does not measure into PCR 11.
    #[error(
        "the image's stub is of systemd {version}, and only 252 and newer measure into PCR 11: build it with a newer stub"
    )]
    OldStub {
        /// Its version.
        version: u32,
    },
    /// The stub chooses among sections by the machine that it runs on.
    #[error(
        "what the stub measures depends on the machine (section {section}): take the value of PCR 11 from a machine that booted it"
    )]
    DependsOnMachine {
        /// The section.
        section: &'static str,
    },
}

/// A unified kernel image.
#[derive(Debug, Clone)]
pub struct Uki<'a> {
    sections: Vec<Section<'a>>,
}

/// A section that is measured.
#[derive(Debug, Clone, Copy)]
struct Section<'a> {
    name: &'static str,
    /// What the file holds of it.
    content: &'a [u8],
    /// Zeros that follow it in memory, bytes.
    zeros: usize,
}

impl<'a> Uki<'a> {
    /// Reads an image as a stub would find it in memory, in its first profile if it has several. Another profile
    /// has to be asked for at boot, and that is measured into PCR 12. How long the file may be is the caller's
    /// matter.
    pub fn parse(file: &'a [u8]) -> Result<Self, UkiRefused> {
        let table = pe::sections(file)?;
        let version = table.iter().find(|header| header.is(MAGIC)).and_then(|header| version(header.content(file)?));
        if let Some(version) = version.filter(|&version| version < FIRST) {
            return Err(UkiRefused::OldStub { version });
        }
        // Which version it is nobody knows: then everything that any measures.
        let known = version.unwrap_or(u32::MAX);
        let mut starts = table.iter().enumerate().filter(|(_, header)| header.is(PROFILE)).map(|(at, _)| at);
        let profiles = known >= since(PROFILE);
        let first = starts.next().filter(|_| profiles).unwrap_or(table.len());
        let second = starts.next().unwrap_or(table.len()).max(first);
        let (base, rest) = table.split_at(first);
        let profile = rest.get(..second - first).unwrap_or_default();

        let mut sections = Vec::new();
        for (name, since) in MEASURED {
            // Of equal names the first counts, and those of the profile before the others.
            let found = [profile, base].into_iter().find_map(|part| part.iter().find(|header| header.is(name)));
            let Some(header) = found.filter(|_| since <= known) else { continue };
            let section = header.loaded(file).map_err(|problem| UkiRefused::Section { section: name, problem })?;
            if section.content.is_empty() && section.zeros == 0 {
                continue;
            }
            if BY_MACHINE.contains(&name) {
                return Err(UkiRefused::DependsOnMachine { section: name });
            }
            sections.push(Section { name, ..section });
        }
        if sections.first().is_none_or(|section| section.name != ".linux") {
            return Err(UkiRefused::NoKernel);
        }
        Ok(Self { sections })
    }

    /// The digest of each section that is measured, lower-case hexadecimal, by name: what the claim
    /// `boot.loader.uki` holds after a boot.
    pub fn sections(&self, bank: HashAlg) -> BTreeMap<&'static str, String> {
        self.sections.iter().map(|section| (section.name, hex(&section.digest(bank)))).collect()
    }

    /// The kernel command line of the image, exactly as it is measured; `None` where there is none, or none that
    /// is text.
    pub fn command_line(&self) -> Option<&'a str> {
        let section = self.sections.iter().find(|section| section.name == ".cmdline" && section.zeros == 0)?;
        std::str::from_utf8(section.content).ok()
    }

    /// What PCR 11 of this bank holds when the system has gone through these phases
    /// ([`crate::log::PHASES`]; none: when the kernel starts).
    pub fn pcr11(&self, bank: HashAlg, phases: &[&str]) -> Vec<u8> {
        let measured = self.digests(bank).into_iter().map(|(_, digest)| digest);
        let phases = phases.iter().map(|phase| bank.digest(&[phase.as_bytes()]));
        let start = vec![0; bank.digest_length()];
        measured.chain(phases).fold(start, |value, digest| bank.digest(&[&value, &digest]))
    }

    /// The events that a boot of the image extends PCR 11 by, without phases.
    pub fn events(&self, bank: HashAlg) -> Vec<ReferenceEvent> {
        let event = |(hint, digest)| ReferenceEvent { pcr: PCR, digest: Bytes(digest), hint };
        self.digests(bank).into_iter().map(event).collect()
    }

    /// What is extended, in order, each with what it is.
    fn digests(&self, bank: HashAlg) -> Vec<(String, Vec<u8>)> {
        let of = |section: &Section<'_>| {
            let name = (format!("name of section {}", section.name), bank.digest(&[section.name.as_bytes(), b"\0"]));
            let content = (format!("section {}", section.name), section.digest(bank));
            [name, content]
        };
        self.sections.iter().flat_map(of).collect()
    }
}

impl Section<'_> {
    fn digest(&self, bank: HashAlg) -> Vec<u8> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let whole = (0..self.zeros / ZEROS.len()).map(|_| &ZEROS[..]);
        let rest = ZEROS.get(..self.zeros % ZEROS.len()).unwrap_or_default();
        let parts: Vec<&[u8]> = [self.content].into_iter().chain(whole).chain([rest]).collect();
        bank.digest(&parts)
    }
}

/// Since which version a section is measured.
fn since(name: &str) -> u32 {
    MEASURED.iter().find(|(measured, _)| *measured == name).map_or(0, |&(_, since)| since)
}

/// The number that a stub's magic text begins its version with: `#### LoaderInfo: systemd-stub 252.39-1 ####`.
fn version(magic: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(magic).ok()?;
    let (_, version) = text.split_once(MAGIC_TEXT)?;
    let digits = version.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(version.len());
    version.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests;
