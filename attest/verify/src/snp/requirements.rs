//! What a site asks of SEV-SNP beyond what always holds.

use super::{SnpRefused, report::MitigationVectors, tcb::above};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use strongroom_protocol::claims::{SnpClaims, SnpGuestPolicy, SnpPlatform, SnpProduct, SnpSigningKey, SnpTcb};

/// What policy sets for reports. The default is strict where being strict excludes no sound machine: level 0, VCEKs
/// only, a revocation list at hand. Whatever it says, debugging and migration agents are refused, and reports of
/// version 2 outside Azure's envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a requirement of its own, by its own name")]
#[serde(deny_unknown_fields, default)]
pub struct SnpRequirements {
    /// The privilege level that must have asked (row S8).
    pub vmpl: u32,
    /// Lines of products that are refused (row S2).
    pub refused_products: BTreeSet<SnpProduct>,
    /// The lowest TCBs, by product (row S6). Once one is given, products without one are refused.
    pub minimum_tcb: BTreeMap<SnpProduct, MinimumTcbs>,
    /// Bits that must be set in both mitigation vectors, 0 to 63 (row S6). Reports before version 5 have none.
    pub mitigations: BTreeSet<u8>,
    /// Simultaneous multithreading must be off on the platform (row S7).
    pub smt_off: bool,
    /// The guest's policy must bind it to one socket (row S7).
    pub single_socket: bool,
    /// The guest's policy must not let CXL in (row S7).
    pub cxl_off: bool,
    /// The guest's policy must ask for AES-256 XTS (row S7).
    pub aes_256_xts: bool,
    /// Ciphertext hiding must be on at the platform (row S7).
    pub ciphertext_hiding: bool,
    /// The platform must have looked for aliased memory (row S7).
    pub alias_check_complete: bool,
    /// VLEKs count too (row S3). They do not name the chip: without its id in the report, no node's record has it.
    pub allow_vlek: bool,
    /// A report counts without a revocation list of its product's root (row S4).
    pub allow_missing_crl: bool,
}

/// The lowest TCBs of a product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MinimumTcbs {
    /// Of `REPORTED_TCB`.
    pub reported: MinimumTcb,
    /// Of `COMMITTED_TCB`.
    pub committed: MinimumTcb,
    /// Of `LAUNCH_TCB`.
    pub launch: MinimumTcb,
}

/// The lowest version of each part; a part that is left out may have any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MinimumTcb {
    /// The first mutable code; above 0, it refuses Milan and Genoa, which do not count it.
    pub fmc: u8,
    /// The boot loader.
    pub boot_loader: u8,
    /// The security processor's operating system.
    pub tee: u8,
    /// The SEV-SNP firmware.
    pub snp: u8,
    /// The microcode.
    pub microcode: u8,
}

impl From<MinimumTcb> for SnpTcb {
    fn from(minimum: MinimumTcb) -> Self {
        let MinimumTcb { fmc, boot_loader, tee, snp, microcode } = minimum;
        Self { fmc: Some(fmc), boot_loader, tee, snp, microcode }
    }
}

impl SnpRequirements {
    /// Row S2: the product is not one that policy refuses.
    pub(super) fn check_product(&self, product: SnpProduct) -> Result<(), SnpRefused> {
        if self.refused_products.contains(&product) { Err(SnpRefused::S2Refused { product }) } else { Ok(()) }
    }

    /// Row S3: VLEKs count only where policy lets them.
    pub(super) fn check_key(&self, key: SnpSigningKey) -> Result<(), SnpRefused> {
        if key == SnpSigningKey::Vlek && !self.allow_vlek { Err(SnpRefused::S3Vlek) } else { Ok(()) }
    }

    /// Row S6: minima, and mitigations.
    pub(super) fn check_tcbs(&self, claims: &SnpClaims, vectors: Option<MitigationVectors>) -> Result<(), SnpRefused> {
        let product = claims.product;
        match self.minimum_tcb.get(&product) {
            Some(minimum) => {
                check_minimum("reported", product, minimum.reported, claims.tcb.reported)?;
                check_minimum("committed", product, minimum.committed, claims.tcb.committed)?;
                check_minimum("launch", product, minimum.launch, claims.tcb.launch)?;
            }
            None if self.minimum_tcb.is_empty() => {}
            None => return Err(SnpRefused::S6NoMinimum { product }),
        }
        for &bit in &self.mitigations {
            let set = |vector: u64| vector.checked_shr(bit.into()).is_some_and(|rest| rest & 1 == 1);
            let refused = |which| SnpRefused::S6Mitigation { which, bit };
            match vectors {
                None => return Err(SnpRefused::S6NoMitigations { version: claims.version }),
                Some(vectors) if !set(vectors.launch) => return Err(refused("launch")),
                Some(vectors) if !set(vectors.current) => return Err(refused("current")),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Row S7, but for what is always refused.
    pub(super) fn check_setup(&self, policy: SnpGuestPolicy, platform: SnpPlatform) -> Result<(), SnpRefused> {
        let checks = [
            (self.smt_off && platform.smt, "smt_off", "switch SMT off in the host's firmware"),
            (self.single_socket && !policy.single_socket, "single_socket", "launch the guest with policy bit 20"),
            (self.cxl_off && policy.cxl_allowed, "cxl_off", "launch the guest without policy bit 21"),
            (self.aes_256_xts && !policy.aes_256_xts, "aes_256_xts", "launch the guest with policy bit 22"),
            (
                self.ciphertext_hiding && !platform.ciphertext_hiding,
                "ciphertext_hiding",
                "enable ciphertext hiding on the host",
            ),
            (
                self.alias_check_complete && !platform.alias_check_complete,
                "alias_check_complete",
                "update the host's firmware so that it looks for aliased memory",
            ),
        ];
        match checks.into_iter().find(|(fails, ..)| *fails) {
            Some((_, requirement, action)) => Err(SnpRefused::S7Setup { requirement, action }),
            None => Ok(()),
        }
    }

    /// Row S8: exactly the level that policy names.
    pub(super) fn check_vmpl(&self, vmpl: u32) -> Result<(), SnpRefused> {
        if vmpl == self.vmpl { Ok(()) } else { Err(SnpRefused::S8Vmpl { expected: self.vmpl, got: vmpl }) }
    }
}

fn check_minimum(which: &'static str, product: SnpProduct, minimum: MinimumTcb, tcb: SnpTcb) -> Result<(), SnpRefused> {
    match above(minimum.into(), tcb) {
        Some((part, expected, got)) => Err(SnpRefused::S6Minimum { which, product, part, expected, got }),
        None => Ok(()),
    }
}
