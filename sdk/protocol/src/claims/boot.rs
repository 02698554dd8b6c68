//! What a boot log shows (rows L1 to L7).

use super::Tolerance;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a boot log showed, every row held.
///
/// Digests of events are of the bank that was quoted, and only its digests were compared with data; of a log by itself
/// they are SHA-256, else SHA-384. A claim is null unless the quote covers every PCR that it is read from and the log
/// explains it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BootClaims {
    /// Secure Boot (PCR 7); null where the quote does not cover that PCR.
    pub secure_boot: Option<SecureBoot>,
    /// Programs and partition tables (PCRs 4 and 5); null where the quote does not cover both.
    pub boot_path: Option<BootPath>,
    /// Boot loader and kernel (PCRs 8, 9, 11 and 12); null where the quote does not cover all four.
    pub loader: Option<Loader>,
    /// The locality in which the TPM was started; null where the quote does not cover PCR 0.
    pub startup_locality: Option<u8>,
    /// PCRs that a quote was compared with and that the log explains; empty where there was no quote.
    pub explained: Vec<u8>,
    /// How far the system had come up when it was quoted, as PCR 11 shows it; null where the quote does not cover it.
    pub phases: Option<Vec<String>>,
    /// Deviations that were accepted. Of a PCR that is not among those explained a log need not show them.
    pub tolerances: Vec<Tolerance>,
}

/// The state of Secure Boot at this boot. Every field is from data that PCR 7's digests are of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecureBoot {
    /// On, with PK, KEK and db in place, and at least one program let in by db.
    pub enabled: bool,
    /// There is no PK: anybody at the machine may set keys.
    pub setup_mode: bool,
    /// The platform key.
    pub pk: SignatureDatabase,
    /// Who may change db and dbx.
    pub kek: SignatureDatabase,
    /// What may be loaded.
    pub db: SignatureDatabase,
    /// What may not be loaded.
    pub dbx: SignatureDatabase,
    /// By what entries programs were let in, in order, and any other variable that PCR 7 shows.
    pub authorities: Vec<Authority>,
    /// Firmware said that devices may write to memory while it runs.
    pub dma_protection_disabled: bool,
}

/// The entry of a database that let a program in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// The database: `db`, or shim's `Shim`, `MokList`, `SbatLevel`, or another variable.
    pub variable: String,
    /// SHA-256 of the entry, lower-case hexadecimal; of a certificate alone where it is one of `db`.
    pub sha256: String,
}

/// What a database of signatures holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignatureDatabase {
    /// SHA-256 of the variable's value, lower-case hexadecimal.
    pub sha256: String,
    /// SHA-256 of each X.509 certificate (DER) in it, lower-case hexadecimal, in its order.
    pub certificates: Vec<String>,
    /// Other entries, such as hashes of images: how many.
    pub others: u32,
}

impl SignatureDatabase {
    /// True when it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.others == 0
    }
}

/// The path that the boot took.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BootPath {
    /// What PCR 4 was extended with, in order, but for the separator and the texts that firmware writes there:
    /// the Authenticode digests of boot loaders, lower-case hexadecimal, in the quoted bank. Whatever type an event
    /// has: types are not authenticated.
    pub images: Vec<String>,
    /// The same of PCR 5: partition tables, and a boot manager's configuration.
    pub configuration: Vec<String>,
    /// The log shows that firmware handed over: `ExitBootServices` was called and succeeded.
    pub exit_boot_services: bool,
}

/// What was measured after firmware.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loader {
    /// The texts of PCR 8, in order: GRUB's commands and the kernel's command line.
    pub texts: Vec<String>,
    /// The texts of PCR 12, in order: a command line that is not part of a unified kernel image.
    pub overrides: Vec<String>,
    /// Events of PCRs 8 and 12 whose digests are of no text that is known. Where this is not 0, the texts are not all.
    pub unread: u32,
    /// What PCR 9 was extended with, in order, lower-case hexadecimal, in the quoted bank: files that the boot loader read, the
    /// kernel's initrds and its load options.
    pub files: Vec<String>,
    /// A unified kernel image's sections, by name, with the digests of their contents in the quoted bank; null where PCR 11 does
    /// not begin with the name of one.
    pub uki: Option<BTreeMap<String, String>>,
}
