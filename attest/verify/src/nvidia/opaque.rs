//! What the opaque fields of a report say: versions, board, modes; and the ids of the manifests that follow from it.
//!
//! The numbers of the fields are those of NVIDIA's open verifiers (NVIDIA/nvtrust, `OPAQUE_FIELD_ID_…`).

use super::{GpuRefused, report::Fields};
use strongroom_protocol::claims::GpuMode;

const DRIVER_VERSION: u16 = 3;
const VBIOS_VERSION: u16 = 6;
const NVDEC0_STATUS: u16 = 11;
const MEASUREMENT_COUNTS: u16 = 12;
const CHIP_SKU: u16 = 15;
const PROJECT: u16 = 17;
const PROJECT_SKU: u16 = 18;
const FWID: u16 = 20;
const PROTECTED_PCIE: u16 = 21;
const CHIP_INFO: u16 = 35;
const FEATURE_FLAG: u16 = 36;

/// Most characters of a version or a part's name.
const TEXT: usize = 64;

/// What the opaque fields say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `550.90.07`.
    pub driver_version: String,
    /// `96.00.9F.00.01`.
    pub vbios_version: String,
    /// The board.
    pub project: String,
    /// The board's variant.
    pub project_sku: String,
    /// The chip's variant.
    pub chip_sku: String,
    /// The chip's name, from Blackwell on.
    pub chip: Option<String>,
    /// Digest of the firmware that holds the reporting key.
    pub fwid: [u8; 48],
    /// How the GPU is used; only newer drivers say so.
    pub mode: Option<GpuMode>,
    /// Protected `PCIe`.
    pub protected_pcie: Option<bool>,
    /// The decoder NVDEC0.
    pub nvdec0_enabled: Option<bool>,
}

impl Facts {
    /// Reads the fields. Those of versions, board and firmware must be there.
    pub fn of(fields: &Fields<'_>) -> Result<Self, GpuRefused> {
        let needed = |kind| fields.get(&kind).copied().ok_or(GpuRefused::G1Opaque { kind, problem: "is missing" });
        let part = |kind| needed(kind).and_then(|data| text(kind, data, |c| c.is_ascii_alphanumeric()));
        let version = |c: u8| c.is_ascii_alphanumeric() || c == b'.';
        let counts = fields.get(&MEASUREMENT_COUNTS).is_none_or(|counts| counts.len().is_multiple_of(4));
        if !counts {
            return Err(GpuRefused::G1Opaque { kind: MEASUREMENT_COUNTS, problem: "is no row of counts" });
        }
        Ok(Self {
            driver_version: text(DRIVER_VERSION, needed(DRIVER_VERSION)?, version)?,
            vbios_version: vbios_version(needed(VBIOS_VERSION)?)?,
            project: part(PROJECT)?.to_ascii_uppercase(),
            project_sku: part(PROJECT_SKU)?.to_ascii_uppercase(),
            chip_sku: part(CHIP_SKU)?.to_ascii_uppercase(),
            chip: fields.contains_key(&CHIP_INFO).then(|| part(CHIP_INFO)).transpose()?,
            fwid: needed(FWID)?
                .try_into()
                .map_err(|_| GpuRefused::G1Opaque { kind: FWID, problem: "does not have 48 bytes" })?,
            mode: fields.get(&FEATURE_FLAG).map(|data| mode(data)).transpose()?,
            protected_pcie: switch(fields, PROTECTED_PCIE)?,
            nvdec0_enabled: switch(fields, NVDEC0_STATUS)?,
        })
    }

    /// The id of the driver's manifest. `model` names the chip where the report does not: `GH100 A01 GSP BROM`.
    pub fn driver_rim(&self, model: &str) -> String {
        let named = model.split(' ').next().filter(|name| !name.is_empty());
        let chip = self.chip.as_deref().or(named).unwrap_or("unknown");
        // Hopper's manifests came first; those of later chips say that they are of confidential computing.
        let family = if chip.starts_with("GH") { "NV_GPU_DRIVER" } else { "NV_GPU_CC_DRIVER" };
        format!("{family}_{chip}_{}", self.driver_version)
    }

    /// The id of the VBIOS's manifest.
    pub fn vbios_rim(&self) -> String {
        let version = self.vbios_version.replace('.', "");
        format!("NV_GPU_VBIOS_{}_{}_{}_{version}", self.project, self.project_sku, self.chip_sku)
    }
}

/// Eight bytes: the version's first four from the last to the first, then its fifth.
fn vbios_version(data: &[u8]) -> Result<String, GpuRefused> {
    match data {
        [fourth, third, second, first, fifth, _, _, _] => {
            Ok(format!("{first:02X}.{second:02X}.{third:02X}.{fourth:02X}.{fifth:02X}"))
        }
        _ => Err(GpuRefused::G1Opaque { kind: VBIOS_VERSION, problem: "does not have 8 bytes" }),
    }
}

/// Text that zeros may follow.
fn text(kind: u16, data: &[u8], allowed: impl Fn(u8) -> bool) -> Result<String, GpuRefused> {
    let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (text, zeros) = data.split_at_checked(end).unwrap_or_default();
    let right = !text.is_empty()
        && text.len() <= TEXT
        && text.iter().all(|&byte| allowed(byte))
        && zeros.iter().all(|&byte| byte == 0);
    match std::str::from_utf8(text) {
        Ok(text) if right => Ok(text.to_owned()),
        _ => Err(GpuRefused::G1Opaque { kind, problem: "is not the text that it should be" }),
    }
}

/// NVIDIA writes 0xaa for on and 0x55 for off, so that no flipped bit turns one into the other.
fn switch(fields: &Fields<'_>, kind: u16) -> Result<Option<bool>, GpuRefused> {
    match fields.get(&kind).copied() {
        None => Ok(None),
        Some([0xaa]) => Ok(Some(true)),
        Some([0x55]) => Ok(Some(false)),
        Some(_) => Err(GpuRefused::G1Opaque { kind, problem: "is neither on (0xaa) nor off (0x55)" }),
    }
}

fn mode(data: &[u8]) -> Result<GpuMode, GpuRefused> {
    let (first, rest) = data.split_first().unwrap_or((&0xff, &[]));
    match first {
        0 if rest.iter().all(|&byte| byte == 0) => Ok(GpuMode::Single),
        1 if rest.iter().all(|&byte| byte == 0) => Ok(GpuMode::Multi),
        2 if rest.iter().all(|&byte| byte == 0) => Ok(GpuMode::ProtectedPcie),
        _ => Err(GpuRefused::G1Opaque { kind: FEATURE_FLAG, problem: "is a mode that is not known" }),
    }
}
