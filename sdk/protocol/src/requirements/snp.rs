//! What a site asks of SEV-SNP beyond what always holds.

use super::Register;
use crate::claims::{SnpProduct, SnpTcb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Launch measurements of the paravisors that speak for Azure's machines (row S12). Without one, no evidence of
    /// Azure's counts: whoever has a processor of AMD's can launch software of his own that vouches for any virtual TPM.
    pub paravisors: BTreeSet<Register>,
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
