//! The identities of one machine, as its approved record lists them and as evidence shows them.

use crate::{ids::NodeId, push_length_prefixed, sha256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What a node without a TPM is named under.
const NODE_TAG: &[u8] = b"strongroom/v1/node\0";
/// Bytes of `CHIP_ID` in a report; processors of the Turin line fill the first eight.
const CHIP_ID: usize = 64;
const TURIN_CHIP_ID: usize = 8;
/// Characters of an identity before it is looked at, at the most.
const LONGEST: usize = 256;
/// Bytes of a certificate's serial number, at the most (RFC 5280 §4.1.2.2).
const SERIAL: usize = 20;

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
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::TpmEk, Self::SnpChip, Self::TdxPpid, Self::NvidiaGpu, Self::CloudVm];

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

    /// Whether it names a whole machine that has no TPM of its own to be named by: a GPU does not.
    pub fn is_platform(self) -> bool {
        matches!(self, Self::SnpChip | Self::TdxPpid | Self::CloudVm)
    }

    /// How its values are written.
    pub fn form(self) -> &'static str {
        match self {
            Self::TpmEk => "64 hexadecimal digits",
            Self::SnpChip => "128 hexadecimal digits, or the 16 of a Turin processor",
            Self::TdxPpid => "32 hexadecimal digits",
            Self::NvidiaGpu => "2 to 40 hexadecimal digits, an even number",
            Self::CloudVm => "a UUID such as 7b5a1c2e-0d5f-4c39-9f0e-2a41c0ffee00",
        }
    }
}

impl FromStr for IdentityKind {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(IdentityError::Kind)
    }
}

/// A text that is no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not `KIND:VALUE`, or no such kind.
    #[error("an identity is KIND:VALUE, and its kind one of tpm-ek, snp-chip, tdx-ppid, nvidia-gpu and cloud-vm")]
    Kind,
    /// The value is not one of its kind.
    #[error("the value of {0} is {form}", form = .0.form())]
    Value(IdentityKind),
    /// Nothing but zeros: what firmware shows in the place of an identity that it hides.
    #[error("a value of {0} that is all zeros names no machine: firmware shows it where the identity is hidden")]
    Hidden(IdentityKind),
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

impl Identity {
    /// Reads a value in any of the forms in which it is found, into the one in which it is kept: lower case,
    /// a chip id always of 64 bytes, a serial number without leading zero bytes.
    ///
    /// # Errors
    /// A value that is none of its kind.
    pub fn read(kind: IdentityKind, value: &str) -> Result<Self, IdentityError> {
        if value.len() > LONGEST {
            return Err(IdentityError::Value(kind));
        }
        let value = match kind {
            IdentityKind::CloudVm => uuid(value),
            _ => hex::decode(value).ok().and_then(|bytes| canonical(kind, bytes)).map(hex::encode),
        };
        let value = value.ok_or(IdentityError::Value(kind))?;
        if value.bytes().all(|digit| matches!(digit, b'0' | b'-')) {
            return Err(IdentityError::Hidden(kind));
        }
        Ok(Self { kind, value })
    }

    /// The identity of a TPM, by the id of the node that it names: SHA-256 of its endorsement key's `TPMT_PUBLIC`.
    pub fn of_tpm(node: &NodeId) -> Self {
        Self { kind: IdentityKind::TpmEk, value: hex::encode(node.as_array()) }
    }

    /// The id of a node without a TPM that this identity names:
    /// `SHA-256("strongroom/v1/node" || 0x00 || LP(kind) || LP(value))`. None of a TPM, which names its node
    /// itself, and none of a GPU, which names no machine.
    pub fn node_id(&self) -> Option<NodeId> {
        if !self.kind.is_platform() {
            return None;
        }
        let mut named = NODE_TAG.to_vec();
        push_length_prefixed(&mut named, self.kind.as_str().as_bytes());
        push_length_prefixed(&mut named, self.value.as_bytes());
        Some(NodeId::from(sha256(&named)))
    }
}

/// The bytes of an identity as they are kept.
fn canonical(kind: IdentityKind, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    match (kind, bytes.len()) {
        (IdentityKind::TpmEk, 32) | (IdentityKind::SnpChip, CHIP_ID) | (IdentityKind::TdxPpid, 16) => Some(bytes),
        (IdentityKind::SnpChip, TURIN_CHIP_ID) => {
            bytes.resize(CHIP_ID, 0);
            Some(bytes)
        }
        (IdentityKind::NvidiaGpu, 1..=SERIAL) => {
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(bytes.len() - 1);
            Some(bytes.split_off(zeros))
        }
        _ => None,
    }
}

/// A UUID in its usual form (RFC 9562 §4), in lower case.
fn uuid(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let digits = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (lengths == [8, 4, 4, 4, 12] && digits).then(|| text.to_ascii_lowercase())
}

impl FromStr for Identity {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let (kind, value) = text.split_once(':').ok_or(IdentityError::Kind)?;
        Self::read(kind.parse()?, value)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHIP: &str = "0102030405060708";
    const VM: &str = "7B5A1C2E-0D5F-4C39-9F0E-2A41C0FFEE00";

    #[test]
    fn a_kind_has_one_name() {
        for kind in IdentityKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("SNP-chip".parse::<IdentityKind>(), Err(IdentityError::Kind));
    }

    #[test]
    fn an_identity_is_kept_in_one_form() {
        let read = |text: &str| text.parse::<Identity>().unwrap().to_string();
        let whole = format!("snp-chip:{CHIP}{}", "00".repeat(56));
        assert_eq!(read(&format!("snp-chip:{CHIP}")), whole, "Turin's eight bytes");
        assert_eq!(read(&whole), whole);
        assert_eq!(read(&format!("snp-chip:{}", "AB".repeat(64))), format!("snp-chip:{}", "ab".repeat(64)));
        assert_eq!(read(&format!("tdx-ppid:{}", "0A".repeat(16))), format!("tdx-ppid:{}", "0a".repeat(16)));
        assert_eq!(read("nvidia-gpu:00008A"), "nvidia-gpu:8a", "the sign byte of DER is no part of the number");
        assert_eq!(read(&format!("nvidia-gpu:{}", "11".repeat(20))), format!("nvidia-gpu:{}", "11".repeat(20)));
        assert_eq!(read(&format!("cloud-vm:{VM}")), format!("cloud-vm:{}", VM.to_lowercase()));
        assert_eq!(read(&format!("tpm-ek:{}", "C0".repeat(32))), format!("tpm-ek:{}", "c0".repeat(32)));
    }

    #[test]
    fn what_is_no_identity_of_its_kind_is_refused() {
        use IdentityKind::{CloudVm, NvidiaGpu, SnpChip, TdxPpid, TpmEk};
        let refused = |text: &str| text.parse::<Identity>().unwrap_err();
        for text in ["", "snp-chip", "chip:00", &format!(":{CHIP}"), "SNP-CHIP:01"] {
            assert_eq!(refused(text), IdentityError::Kind, "{text}");
        }
        let long = "1".repeat(LONGEST + 2);
        for (kind, values) in [
            (SnpChip, vec!["", "01", "010203040506070", &CHIP[2..], "zz02030405060708", &long]),
            (TdxPpid, vec![CHIP, "0x0102", VM]),
            (TpmEk, vec![CHIP, "ab"]),
            (NvidiaGpu, vec!["", "1", "g1", "11:22", "111111111111111111111111111111111111111111"]),
            (CloudVm, vec!["", "7b5a1c2e", "7b5a1c2e0d5f4c399f0e2a41c0ffee00", "7b5a1c2e-0d5f-4c39-9f0e-2a41c0ffee0g"]),
        ] {
            for value in values {
                assert_eq!(refused(&format!("{kind}:{value}")), IdentityError::Value(kind), "{kind}:{value}");
            }
        }
        for (kind, value) in [
            (SnpChip, "00".repeat(64)),
            (SnpChip, "00".repeat(8)),
            (TdxPpid, "00".repeat(16)),
            (NvidiaGpu, "0000".to_owned()),
            (CloudVm, "00000000-0000-0000-0000-000000000000".to_owned()),
        ] {
            assert_eq!(Identity::read(kind, &value), Err(IdentityError::Hidden(kind)), "a hidden {kind}");
        }
    }

    #[test]
    fn a_node_without_a_tpm_is_named_by_its_machine() {
        let chip: Identity = format!("snp-chip:{CHIP}").parse().unwrap();
        // printf 'strongroom/v1/node\0\x08\0\0\0snp-chip\x80\0\0\0%s' 0102…(64 bytes) | sha256sum
        let named = hex::encode(chip.node_id().unwrap().as_array());
        assert_eq!(named, "2a2db865d8c61542108acf943f57cd28e233333855c270180c463d76440dc336");
        let same: Identity = format!("snp-chip:{CHIP}{}", "00".repeat(56)).parse().unwrap();
        assert_eq!(same.node_id(), chip.node_id(), "however it was written");
        let vm: Identity = format!("cloud-vm:{VM}").parse().unwrap();
        assert_ne!(vm.node_id(), chip.node_id());
        let node = NodeId::from([7; 32]);
        assert_eq!(Identity::of_tpm(&node).to_string(), format!("tpm-ek:{}", "07".repeat(32)));
        for other in [Identity::of_tpm(&node), "nvidia-gpu:01".parse().unwrap()] {
            assert_eq!(other.node_id(), None, "{other}");
        }
    }
}
