//! The identities of one machine, as its approved record lists them and as evidence shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an identity is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityKind {
    /// A TPM: SHA-256 of the endorsement key's `TPMT_PUBLIC`.
    TpmEk,
    /// An AMD processor: `CHIP_ID` of its report, 64 bytes.
    SnpChip,
    /// An Intel platform: the PPID of its PCK certificate, 16 bytes.
    TdxPpid,
    /// An NVIDIA GPU: the serial number of its device certificate.
    NvidiaGpu,
    /// A virtual machine of a cloud: the id that the cloud's own evidence shows.
    CloudVm,
}

impl IdentityKind {
    /// The kind on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TpmEk => "tpm-ek",
            Self::SnpChip => "snp-chip",
            Self::TdxPpid => "tdx-ppid",
            Self::NvidiaGpu => "nvidia-gpu",
            Self::CloudVm => "cloud-vm",
        }
    }
}

impl fmt::Display for IdentityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One identity. Evidence shows it under a signature; a record lists it because somebody approved it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Of what.
    pub kind: IdentityKind,
    /// Lower-case hexadecimal; a cloud's id as the cloud writes it.
    pub value: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name() {
        for kind in [
            IdentityKind::TpmEk,
            IdentityKind::SnpChip,
            IdentityKind::TdxPpid,
            IdentityKind::NvidiaGpu,
            IdentityKind::CloudVm,
        ] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
