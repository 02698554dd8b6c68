//! What a report of AMD SEV-SNP shows (rows S1 to S13), and what Azure's virtual TPM adds to it.

use crate::{
    evidence::PcrBank,
    identity::{Identity, IdentityKind},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// A line of AMD processors: each has roots of its own, and a layout of its TCB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SnpProduct {
    /// EPYC 7003: family 19h, models 00h to 0Fh.
    Milan,
    /// EPYC 9004 and 8004: family 19h, models 10h to 1Fh and `A0h` to `AFh`.
    Genoa,
    /// EPYC 9005: family 1Ah, models 00h to 11h.
    Turin,
}

impl SnpProduct {
    /// Every product.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// As AMD writes it in the names of certificates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }
}

impl fmt::Display for SnpProduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which key signed a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SnpSigningKey {
    /// The key of one chip at one version of its firmware.
    Vcek,
    /// A key that AMD seeds for a cloud provider: it does not name the chip.
    Vlek,
}

impl fmt::Display for SnpSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vcek => "VCEK",
            Self::Vlek => "VLEK",
        })
    }
}

/// What a report of SEV-SNP showed, every row held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnpClaims {
    /// The report's version.
    pub version: u32,
    /// The line of processors.
    pub product: SnpProduct,
    /// The processor's `CHIP_ID`, lower-case hexadecimal, 64 bytes; null where it is masked.
    pub chip_id: Option<String>,
    /// Which key signed the report.
    pub signing_key: SnpSigningKey,
    /// The cloud provider that a VLEK was made for, as its certificate names it; null with a VCEK.
    pub csp_id: Option<String>,
    /// The privilege level that asked for the report: 0 is the highest.
    pub vmpl: u32,
    /// What the firmware measured of the guest at its launch, lower-case hexadecimal, 48 bytes.
    pub measurement: String,
    /// What the host gave at launch, lower-case hexadecimal, 32 bytes.
    pub host_data: String,
    /// What the guest gave when it asked, lower-case hexadecimal, 64 bytes.
    pub report_data: String,
    /// SHA-384 of the key that signed the ID block, lower-case hexadecimal; zeros where there was none.
    pub id_key_digest: String,
    /// SHA-384 of the key that certified the ID key, lower-case hexadecimal; null where there was none.
    pub author_key_digest: Option<String>,
    /// `FAMILY_ID` of the ID block, lower-case hexadecimal, 16 bytes.
    pub family_id: String,
    /// `IMAGE_ID` of the ID block, lower-case hexadecimal, 16 bytes.
    pub image_id: String,
    /// The guest's security version number, from the ID block.
    pub guest_svn: u32,
    /// The guest's id, new at each launch, lower-case hexadecimal, 32 bytes.
    pub report_id: String,
    /// Versions of the parts that the guest's protection rests on.
    pub tcb: SnpTcbs,
    /// Versions of the security processor's firmware.
    pub firmware: SnpFirmware,
    /// Bits of mitigations that were in force, by number; null where the report has none (before version 5).
    pub mitigations: Option<SnpMitigations>,
    /// What the guest's policy lets the host do.
    pub policy: SnpGuestPolicy,
    /// How the platform was set up when the report was made.
    pub platform: SnpPlatform,
    /// When the revocation list was made by which the chain's intermediate is not revoked, Unix seconds; null where
    /// none was given.
    pub crl_made_at: Option<i64>,
}

impl SnpClaims {
    /// The chip, as a node's record lists it; `None` where the report does not name it.
    pub fn identity(&self) -> Option<Identity> {
        self.chip_id.clone().map(|value| Identity { kind: IdentityKind::SnpChip, value })
    }
}

/// The versions of one TCB, part by part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnpTcb {
    /// The first mutable code of the security processor; null on Milan and Genoa, which do not count it.
    pub fmc: Option<u8>,
    /// The security processor's boot loader.
    pub boot_loader: u8,
    /// The security processor's operating system.
    pub tee: u8,
    /// The SEV-SNP firmware.
    pub snp: u8,
    /// The lowest microcode of all cores.
    pub microcode: u8,
}

impl fmt::Display for SnpTcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "FMC {fmc}, ")?;
        }
        let Self { boot_loader, tee, snp, microcode, .. } = self;
        write!(f, "boot loader {boot_loader}, TEE {tee}, SNP {snp}, microcode {microcode}")
    }
}

/// The TCBs that a report names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnpTcbs {
    /// What runs now.
    pub current: SnpTcb,
    /// Below what the host can no longer go back.
    pub committed: SnpTcb,
    /// What the signing key was derived for.
    pub reported: SnpTcb,
    /// What ran when the guest was launched.
    pub launch: SnpTcb,
}

/// Versions of the security processor's firmware: `major.minor.build`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnpFirmware {
    /// What runs now.
    pub current: String,
    /// What was committed.
    pub committed: String,
}

/// Bits of AMD's mitigation vectors, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnpMitigations {
    /// In force when the guest was launched.
    pub launch: Vec<u8>,
    /// In force now.
    pub current: Vec<u8>,
}

/// What a guest's policy says. Debugging and migration are always off, or the report is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of the policy, by its own name")]
#[serde(deny_unknown_fields)]
pub struct SnpGuestPolicy {
    /// The lowest version of the firmware's interface, major.
    pub abi_major: u8,
    /// The same, minor.
    pub abi_minor: u8,
    /// Simultaneous multithreading may be on.
    pub smt_allowed: bool,
    /// The guest runs on one socket only.
    pub single_socket: bool,
    /// Memory and devices on CXL may be there.
    pub cxl_allowed: bool,
    /// Memory must be encrypted by AES-256 XTS.
    pub aes_256_xts: bool,
    /// Energy counters must be off.
    pub rapl_disabled: bool,
    /// Ciphertext must be hidden from the host.
    pub ciphertext_hiding: bool,
    /// The host cannot move or swap the guest's pages.
    pub page_swap_disabled: bool,
}

/// How a platform was set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of the platform's state, by its own name")]
#[serde(deny_unknown_fields)]
pub struct SnpPlatform {
    /// Simultaneous multithreading is on.
    pub smt: bool,
    /// All memory is encrypted transparently.
    pub tsme: bool,
    /// Memory has error correction.
    pub ecc: bool,
    /// Energy counters are off.
    pub rapl_disabled: bool,
    /// Ciphertext is hidden from the host.
    pub ciphertext_hiding: bool,
    /// Firmware found no two addresses of one piece of memory since the last reset.
    pub alias_check_complete: bool,
    /// Trusted devices may be there.
    pub tio: bool,
}

/// What the evidence of a confidential machine of Azure showed, every row held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AzureClaims {
    /// The report in the envelope. It was made when the machine was started: only the quote is fresh.
    pub snp: SnpClaims,
    /// The machine's id as Azure writes it; null where the runtime data has none.
    pub vm_id: Option<String>,
    /// SHA-256 of the public key (`SubjectPublicKeyInfo`) that quotes, lower-case hexadecimal.
    pub ak_sha256: String,
    /// `user-data` of the runtime data as it stands there, upper-case hexadecimal; null where there is none.
    pub user_data: Option<String>,
    /// Secure Boot is configured; null where the runtime data does not say.
    pub secure_boot: Option<bool>,
    /// A serial console is configured; null where the runtime data does not say.
    pub console_enabled: Option<bool>,
    /// The bank that the values are of.
    pub pcr_bank: PcrBank,
    /// The quoted values by PCR, lower-case hexadecimal.
    pub pcrs: BTreeMap<u8, String>,
}

impl AzureClaims {
    /// The virtual machine, as a node's record lists it: in lower case.
    pub fn identity(&self) -> Option<Identity> {
        self.vm_id.as_ref().map(|id| Identity { kind: IdentityKind::CloudVm, value: id.to_ascii_lowercase() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_has_one_name() {
        for product in SnpProduct::ALL {
            assert_eq!(serde_json::to_value(product).unwrap(), product.to_string().to_lowercase());
        }
    }
}
