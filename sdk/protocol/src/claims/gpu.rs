//! What a report of an NVIDIA GPU shows (rows G1 to G5).

use crate::requirements::DevtoolsWord;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the report of one GPU showed, every row held that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuClaims {
    /// The device: serial number of its identity certificate (the one that the provisioning CA signed, not the one
    /// below it, whose key changes with firmware), lower-case hexadecimal. It is the node record's `nvidia-gpu` id.
    pub device: String,
    /// SHA-256 of the device's identity key (`SubjectPublicKeyInfo`), lower-case hexadecimal.
    pub device_key_sha256: String,
    /// Serial number of the certificate of the key that signs reports, lower-case hexadecimal: what NVIDIA's tools
    /// call the device's `ueid`, in decimal.
    pub report_key: String,
    /// The chip, as the device's identity certificate names it: `GH100 A01 GSP BROM`.
    pub model: String,
    /// What the report binds, lower-case hexadecimal. Reports of one request have the same.
    pub nonce: String,
    /// SHA-256 of the root that the chain ends at, lower-case hexadecimal.
    pub root_sha256: String,
    /// The driver's version: `550.90.07`.
    pub driver_version: String,
    /// The VBIOS's version: `96.00.9F.00.01`.
    pub vbios_version: String,
    /// The id under which NVIDIA publishes the driver's reference manifest.
    pub driver_rim: String,
    /// The id under which NVIDIA publishes the VBIOS's reference manifest.
    pub vbios_rim: String,
    /// SHA-384 of the firmware that holds the reporting key, lower-case hexadecimal.
    pub fwid: String,
    /// The measurements, lower-case hexadecimal, by index as manifests count: from 0, the report's block 1.
    pub measurements: BTreeMap<u8, String>,
    /// How the GPU is used, where the report says so; null where the driver is too old to say.
    pub mode: Option<GpuMode>,
    /// Whether the protected `PCIe` mode is on, where the report says so.
    pub protected_pcie: Option<bool>,
    /// Whether the decoder NVDEC0 is on, so that measurement 35 was compared too; null where the report does not say.
    pub nvdec0_enabled: Option<bool>,
    /// Whose word it is that DEVTOOLS mode, in which a GPU can be debugged, is off; null where nothing says so.
    pub devtools_off: Option<DevtoolsWord>,
    /// The manifests that every golden value was compared with; null where they were not given.
    pub manifests: Option<GpuManifests>,
    /// Whether stored revocation lists or answers, none too old, covered the certificates of device and manifests.
    pub revocation_checked: bool,
}

/// How a GPU in confidential mode is used, as its report's feature flag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GpuMode {
    /// One GPU for one guest (SPT).
    Single,
    /// Several GPUs for one guest, their links encrypted (MPT).
    Multi,
    /// Several GPUs for one guest, their links in the clear inside a trusted chassis (protected `PCIe`).
    ProtectedPcie,
}

impl GpuMode {
    /// The mode on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Multi => "multi",
            Self::ProtectedPcie => "protected-pcie",
        }
    }
}

impl std::fmt::Display for GpuMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The two manifests of a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuManifests {
    /// Of the driver.
    pub driver: GpuManifest,
    /// Of the VBIOS.
    pub vbios: GpuManifest,
}

/// A reference manifest whose signature held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuManifest {
    /// `tagId` of the manifest, which its issuer made unique.
    pub tag: String,
    /// SHA-384 of what its signature covers, lower-case hexadecimal.
    pub sha384: String,
    /// SHA-256 of the root that its signer's chain ends at, lower-case hexadecimal.
    pub root_sha256: String,
    /// How many golden values were compared.
    pub compared: u32,
}
