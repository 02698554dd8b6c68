//! Row S10: what a guest's launch will measure, from its firmware, kernel and CPUs.
//!
//! ```text
//! OVMF ──every page──┐
//! its SEV metadata ──pages that firmware fills, hashes of kernel, initrd, command line──┤──> launch digest
//! one save area a CPU (type, features, monitor) ──┘
//! ```
//!
//! The digest is a chain: each page replaces it by SHA-384 of a `PAGE_INFO` that holds the one before (AMD 56860,
//! `SNP_LAUNCH_UPDATE`). The save areas are written by the `sev` crate, which knows what each monitor puts there; the
//! rest is done here over bytes, because `sev` reads files itself and trusts their offsets.

use sev::measurement::{
    vcpu_types::CpuType,
    vmsa::{GuestFeatures, VMMType, VMSA},
};
use std::fmt;
use strongroom_protocol::sha256;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Bytes of firmware: no image is larger than 16 MiB.
const MAX_FIRMWARE: usize = 16 << 20;
/// Sections of the metadata, and bytes of one of them that firmware fills with zeros.
const MAX_SECTIONS: usize = 64;
const MAX_SECTION: usize = 64 << 20;
/// CPUs of a guest.
pub const MAX_CPUS: u32 = 4096;
/// Where save areas are said to be: the last page of 52 bits.
const SAVE_AREA: u64 = 0xffff_ffff_f000;

/// The page types of `SNP_LAUNCH_UPDATE`.
#[derive(Clone, Copy)]
#[repr(u8)]
enum PageKind {
    Normal = 1,
    SaveArea = 2,
    Zero = 3,
    Secrets = 5,
    Cpuid = 6,
}

/// The monitor: each sets up save areas in its own way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Monitor {
    /// QEMU.
    #[default]
    Qemu,
    /// Amazon's.
    Ec2,
    /// libkrun.
    Krun,
}

/// What a guest is launched from.
#[derive(Debug, Clone, Copy)]
pub struct LaunchInputs<'a> {
    /// OVMF, the whole image that is mapped below 4 GiB.
    pub firmware: &'a [u8],
    /// A kernel that the monitor loads itself, with what goes with it; `None` where the guest boots from its disk.
    pub kernel: Option<Kernel<'a>>,
    /// CPUs, at most [`MAX_CPUS`].
    pub cpus: u32,
    /// The CPU model, as QEMU names it: `EPYC-Milan`, `EPYC-v4`.
    pub cpu_type: &'a str,
    /// `GUEST_FEATURES` of the save area: 1 for SEV-SNP alone; Linux from 6.6 on adds debug swap, which makes 0x21.
    pub guest_features: u64,
    /// The monitor.
    pub monitor: Monitor,
}

/// A kernel with its initial file system and command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel<'a> {
    /// The kernel's image.
    pub image: &'a [u8],
    /// The initial file system; empty without one.
    pub initrd: &'a [u8],
    /// The command line, as the monitor is given it.
    pub command_line: &'a str,
}

/// Why no measurement can be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchRefused {
    /// The firmware is not a whole number of pages, or too large.
    #[error("S10: the firmware has {actual} bytes: give the whole OVMF image, at most 16 MiB, of whole pages")]
    S10Size {
        /// Bytes.
        actual: usize,
    },
    /// The firmware lacks what a launch under SEV-SNP needs.
    #[error("S10: the firmware's {what}: give an OVMF that was built for SEV-SNP")]
    S10Firmware {
        /// What is wrong.
        what: &'static str,
    },
    /// A kernel was given, and the firmware has no page for its hash.
    #[error("S10: the firmware has no page for the kernel's hashes: give OVMF's AmdSev build, or no kernel")]
    S10NoKernelHashes,
    /// The CPU model is not known.
    #[error("S10: the CPU type {got:?} is not known: name it as QEMU does, such as EPYC-Milan or EPYC-v4")]
    S10CpuType {
        /// What was given.
        got: String,
    },
    /// No CPU, or more than any guest has.
    #[error("S10: {got} CPUs: a guest has 1 to {}", MAX_CPUS)]
    S10Cpus {
        /// What was given.
        got: u32,
    },
    /// The save area could not be written.
    #[error("S10: the save area cannot be written: {0}")]
    S10SaveArea(String),
}

impl LaunchRefused {
    /// The row: `S10`.
    pub fn row(&self) -> &'static str {
        "S10"
    }
}

/// The launch digest that a report will hold as `measurement`.
pub fn measurement(inputs: &LaunchInputs<'_>) -> Result<[u8; 48], LaunchRefused> {
    let firmware = Firmware::parse(inputs.firmware)?;
    let mut digest = Digest([0; 48]);
    let start = (1_u64 << 32).saturating_sub(inputs.firmware.len() as u64);
    for (at, page) in inputs.firmware.chunks(PAGE).enumerate() {
        digest.page(PageKind::Normal, start.saturating_add((at * PAGE) as u64), &sha384(page));
    }
    after_firmware(digest, &firmware, inputs)
}

/// The rest of a launch, once the firmware's pages are measured.
fn after_firmware(
    mut digest: Digest,
    firmware: &Firmware,
    inputs: &LaunchInputs<'_>,
) -> Result<[u8; 48], LaunchRefused> {
    if !(1..=MAX_CPUS).contains(&inputs.cpus) {
        return Err(LaunchRefused::S10Cpus { got: inputs.cpus });
    }
    let cpu_type = CpuType::try_from(inputs.cpu_type)
        .map_err(|_| LaunchRefused::S10CpuType { got: inputs.cpu_type.to_owned() })?;
    let hashes = inputs.kernel.as_ref().map(|kernel| kernel_hashes(kernel, firmware)).transpose()?;
    for section in &firmware.sections {
        section.measure(&mut digest, hashes.as_deref(), inputs.monitor);
    }
    if inputs.monitor == Monitor::Ec2 {
        // Amazon's monitor lays the CPUID page last.
        for section in firmware.sections.iter().filter(|section| section.kind == SectionKind::Cpuid) {
            digest.page(PageKind::Cpuid, section.at.into(), &[0; 48]);
        }
    }
    let monitor = match inputs.monitor {
        Monitor::Qemu => VMMType::QEMU,
        Monitor::Ec2 => VMMType::EC2,
        Monitor::Krun => VMMType::KRUN,
    };
    let features = GuestFeatures(inputs.guest_features);
    let areas = VMSA::new(firmware.reset.into(), cpu_type, monitor, Some(inputs.cpus.into()), features);
    // Two pages: the first CPU's, and that of all others.
    let pages = areas.pages(inputs.cpus.min(2) as usize);
    let pages = pages.map_err(|error| LaunchRefused::S10SaveArea(error.to_string()))?;
    for cpu in 0..inputs.cpus {
        if let Some(page) = pages.get(cpu.min(1) as usize) {
            digest.page(PageKind::SaveArea, SAVE_AREA, &sha384(page));
        }
    }
    Ok(digest.0)
}

fn sha384(bytes: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, bytes);
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// The launch digest as it grows.
struct Digest([u8; 48]);

impl Digest {
    /// `PAGE_INFO`: the digest so far, the page's, length, type, permissions of the lower levels, address.
    fn page(&mut self, kind: PageKind, address: u64, contents: &[u8; 48]) {
        const LENGTH: u16 = 0x70;
        let mut info = Vec::with_capacity(LENGTH.into());
        info.extend_from_slice(&self.0);
        info.extend_from_slice(contents);
        info.extend_from_slice(&LENGTH.to_le_bytes());
        info.extend_from_slice(&[kind as u8, 0, 0, 0, 0, 0]);
        info.extend_from_slice(&address.to_le_bytes());
        self.0 = sha384(&info);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SectionKind {
    Zero,
    Secrets,
    Cpuid,
    KernelHashes,
}

/// A range of memory that is measured beside the firmware.
struct Section {
    at: u32,
    pages: u32,
    kind: SectionKind,
}

impl Section {
    fn measure(&self, digest: &mut Digest, hashes: Option<&[u8]>, monitor: Monitor) {
        match self.kind {
            SectionKind::Secrets => digest.page(PageKind::Secrets, self.at.into(), &[0; 48]),
            SectionKind::Cpuid if monitor == Monitor::Ec2 => {}
            SectionKind::Cpuid => digest.page(PageKind::Cpuid, self.at.into(), &[0; 48]),
            SectionKind::KernelHashes if hashes.is_some() => {
                digest.page(PageKind::Normal, self.at.into(), &sha384(hashes.unwrap_or_default()));
            }
            SectionKind::Zero | SectionKind::KernelHashes => {
                for page in 0..self.pages {
                    let address = u64::from(self.at) + u64::from(page) * PAGE as u64;
                    digest.page(PageKind::Zero, address, &[0; 48]);
                }
            }
        }
    }
}

/// What of OVMF decides about the launch, beside its bytes.
struct Firmware {
    sections: Vec<Section>,
    /// Where the other CPUs start.
    reset: u32,
    /// Where the kernel's hashes are looked for.
    hashes: Option<u32>,
}

/// Identifiers (GUIDs, as they lie in memory) of the table at the firmware's end, and of the kernel's hashes.
const TABLE: [u8; 16] = *b"\xde\x82\xb5\x96\xb2\x1f\xf7\x45\xba\xea\xa3\x66\xc5\x5a\x08\x2d";
const RESET: [u8; 16] = *b"\xde\x71\xf7\x00\x7e\x1a\xcb\x4f\x89\x0e\x68\xc7\x7e\x2f\xb4\x4e";
const HASHES: [u8; 16] = *b"\x1f\x37\x55\x72\x3b\x3a\x04\x4b\x92\x7b\x1d\xa6\xef\xa8\xd4\x54";
const METADATA: [u8; 16] = *b"\x66\x65\x88\xdc\x4a\x98\x98\x47\xa7\x5e\x55\x85\xa7\xbf\x67\xcc";
const HASH_TABLE: [u8; 16] = *b"\x06\xd6\x38\x94\x22\x4f\xc9\x4c\xb4\x79\xa7\x93\xd4\x11\xfd\x21";
const KERNEL_ENTRY: [u8; 16] = *b"\x37\x94\xe7\x4d\xd2\xab\x7f\x42\xb8\x35\xd5\xb1\x72\xd2\x04\x5b";
const INITRD_ENTRY: [u8; 16] = *b"\x31\xf7\xba\x44\x2f\x3a\xd7\x4b\x9a\xf1\x41\xe2\x91\x69\x78\x1d";
const COMMAND_LINE_ENTRY: [u8; 16] = *b"\xd8\x2d\xd0\x97\x20\xbd\x94\x4c\xaa\x78\xe7\x71\x4d\x36\xab\x2a";

/// The table ends this far before the firmware's end; an entry ends with its length and its identifier.
const AFTER_TABLE: usize = 32;
const ENTRY_FOOT: usize = 18;

impl Firmware {
    fn parse(image: &[u8]) -> Result<Self, LaunchRefused> {
        if image.is_empty() || image.len() > MAX_FIRMWARE || !image.len().is_multiple_of(PAGE) {
            return Err(LaunchRefused::S10Size { actual: image.len() });
        }
        let refused = |what| LaunchRefused::S10Firmware { what };
        let before = image.len().checked_sub(AFTER_TABLE).and_then(|end| image.get(..end));
        let (last, contents) = last_entry(before.unwrap_or_default()).ok_or(refused("table at its end is missing"))?;
        if last != TABLE {
            return Err(refused("table at its end is missing"));
        }
        let (mut reset, mut hashes, mut metadata) = (None, None, None);
        let mut entries = contents;
        while let Some((id, entry)) = last_entry(entries) {
            entries = entries.get(..entries.len().saturating_sub(entry.len() + ENTRY_FOOT)).unwrap_or_default();
            let value = entry.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
            match id {
                RESET => reset = value,
                HASHES => hashes = value.filter(|at| *at != 0),
                METADATA => metadata = value,
                _ => {}
            }
        }
        let reset = reset.ok_or(refused("table does not say where other CPUs start"))?;
        let from_end = metadata.ok_or(refused("table has no metadata of SEV"))?;
        let start = usize::try_from(from_end).ok().and_then(|from_end| image.len().checked_sub(from_end));
        let bytes = start.and_then(|start| image.get(start..)).unwrap_or_default();
        Ok(Self { sections: sections(bytes).ok_or(refused("metadata of SEV cannot be read"))?, reset, hashes })
    }
}

/// The last entry of a table: its identifier, and what lies before its foot.
fn last_entry(table: &[u8]) -> Option<([u8; 16], &[u8])> {
    let foot = table.last_chunk::<ENTRY_FOOT>()?;
    let (length, id) = foot.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length));
    let start = table.len().checked_sub(length)?;
    let contents = table.get(start..table.len().checked_sub(ENTRY_FOOT)?)?;
    Some((id.try_into().ok()?, contents))
}

/// `ASEV`, a length, version 1, a count, and that many of address, length, type.
fn sections(metadata: &[u8]) -> Option<Vec<Section>> {
    let (head, rest) = metadata.split_first_chunk::<16>()?;
    let word = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let count = usize::try_from(word(12)?).ok()?;
    if !head.starts_with(b"ASEV") || word(8)? != 1 || count > MAX_SECTIONS {
        return None;
    }
    let mut found = Vec::with_capacity(count);
    for item in rest.get(..count * 12)?.chunks_exact(12) {
        let number = |at: usize| Some(u32::from_le_bytes(*item.get(at..)?.first_chunk()?));
        let (at, length) = (number(0)?, usize::try_from(number(4)?).ok()?);
        let kind = match number(8)? {
            // Memory that is zero, and the calling area of an SVSM.
            1 | 4 => SectionKind::Zero,
            2 => SectionKind::Secrets,
            3 => SectionKind::Cpuid,
            0x10 => SectionKind::KernelHashes,
            _ => return None,
        };
        let one_page = kind == SectionKind::Zero || length == PAGE;
        if length > MAX_SECTION || !length.is_multiple_of(PAGE) || !one_page {
            return None;
        }
        found.push(Section { at, pages: u32::try_from(length / PAGE).ok()?, kind });
    }
    Some(found)
}

/// The page in which the firmware finds the hashes of what the monitor loads.
fn kernel_hashes(kernel: &Kernel<'_>, firmware: &Firmware) -> Result<Vec<u8>, LaunchRefused> {
    let has_page = firmware.sections.iter().any(|section| section.kind == SectionKind::KernelHashes);
    let at = firmware.hashes.filter(|_| has_page).ok_or(LaunchRefused::S10NoKernelHashes)?;
    let command_line = [kernel.command_line.as_bytes(), b"\0"].concat();
    let entries =
        [(COMMAND_LINE_ENTRY, &command_line[..]), (INITRD_ENTRY, kernel.initrd), (KERNEL_ENTRY, kernel.image)];
    let mut table = Vec::new();
    for (id, bytes) in entries {
        table.extend_from_slice(&id);
        table.extend_from_slice(&50_u16.to_le_bytes());
        table.extend_from_slice(&sha256(bytes));
    }
    let length = u16::try_from(table.len() + ENTRY_FOOT).unwrap_or(u16::MAX).to_le_bytes();
    let table = [&HASH_TABLE[..], &length, &table].concat();
    let offset = usize::try_from(at).unwrap_or(usize::MAX) % PAGE;
    let mut page = vec![0; PAGE];
    let place = page.get_mut(offset..offset + table.len());
    let place = place.ok_or(LaunchRefused::S10Firmware { what: "page for the kernel's hashes is too small" })?;
    place.copy_from_slice(&table);
    Ok(page)
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qemu => "qemu",
            Self::Ec2 => "ec2",
            Self::Krun => "krun",
        })
    }
}

#[cfg(test)]
mod tests;
