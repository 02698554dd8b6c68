//! The envelope of NV index 0x01400001: header, SEV-SNP report, and runtime data whose hash the report holds.

use super::AzureRefused;
use crate::{quote::hex, snp::AttestationReport, tpm::Public};
use serde_json::Value;
use strongroom_protocol::{
    bytes::Bytes,
    limits::{HCL_REPORT, SNP_REPORT},
    sha256, unambiguous,
};

/// Bytes before the report: signature, version, size, kind of request, status, three reserved words.
const HEADER: usize = 0x20;
/// Bytes before the runtime data's JSON: sizes, version, kind of report, kind of hash.
const RUNTIME_HEADER: usize = 20;
/// The kind of report of SEV-SNP, in the runtime data's header.
const SEV_SNP: u32 = 2;
/// SHA-256, as the runtime data's header names it.
const SHA256: u32 = 1;
/// Bytes of a modulus: 2,048 to 4,096 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;
/// Base64 of 65537.
const EXPONENT: &str = "AQAB";

/// An envelope whose form holds. Its report is not yet verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `ATTESTATION_REPORT`, 1,184 bytes.
    pub report: &'a [u8],
    /// JSON, exactly the bytes that are hashed.
    pub runtime_data: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads an envelope of at most 16 KiB: the lengths in it must agree, and only zeros may follow.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, AzureRefused> {
        if bytes.len() > HCL_REPORT {
            return Err(AzureRefused::S12Length { limit: format!("at most {HCL_REPORT}"), actual: bytes.len() });
        }
        let short = |least: usize| AzureRefused::S12Length { limit: format!("at least {least}"), actual: bytes.len() };
        let least = HEADER + SNP_REPORT + RUNTIME_HEADER;
        let (header, rest) = bytes.split_at_checked(HEADER).ok_or_else(|| short(least))?;
        let (report, rest) = rest.split_at_checked(SNP_REPORT).ok_or_else(|| short(least))?;
        let (runtime, rest) = rest.split_at_checked(RUNTIME_HEADER).ok_or_else(|| short(least))?;
        let wrong = |field, expected, got| AzureRefused::S12Envelope { field, expected, got };
        if !header.starts_with(b"HCLA") {
            let got = hex(header.get(..4).unwrap_or_default());
            return Err(wrong("signature", "HCLA (48434c41)", got));
        }
        let word = |bytes: &[u8], at: usize| {
            bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(u32::MAX, |word| u32::from_le_bytes(*word))
        };
        if !matches!(word(header, 4), 1 | 2) {
            return Err(wrong("version", "1 or 2", word(header, 4).to_string()));
        }
        if word(runtime, 8) != SEV_SNP {
            return Err(wrong("kind of report", "2 (SEV-SNP)", word(runtime, 8).to_string()));
        }
        if word(runtime, 12) != SHA256 {
            return Err(wrong("kind of hash", "1 (SHA-256)", word(runtime, 12).to_string()));
        }
        let length = usize::try_from(word(runtime, 16)).unwrap_or(usize::MAX);
        let all = usize::try_from(word(runtime, 0)).unwrap_or(usize::MAX);
        if all.checked_sub(RUNTIME_HEADER) != Some(length) {
            return Err(wrong("size of the runtime data", "20 more than that of its JSON", all.to_string()));
        }
        let (runtime_data, after) = rest.split_at_checked(length).ok_or_else(|| short(least.saturating_add(length)))?;
        if after.iter().any(|byte| *byte != 0) {
            return Err(wrong("end", "zeros", "something else".to_owned()));
        }
        Ok(Self { report, runtime_data })
    }

    /// What the report must hold as `report_data`: SHA-256 of the runtime data, then zeros.
    pub fn report_data(&self) -> [u8; 64] {
        let mut expected = [0; 64];
        expected.iter_mut().zip(sha256(self.runtime_data)).for_each(|(to, from)| *to = from);
        expected
    }

    /// Row S12: the report holds the hash of the runtime data.
    pub fn check_binding(&self, report: &AttestationReport) -> Result<(), AzureRefused> {
        let expected = self.report_data();
        if report.report_data == expected {
            Ok(())
        } else {
            Err(AzureRefused::S12RuntimeData { expected: hex(&expected), got: hex(&report.report_data) })
        }
    }
}

/// What the runtime data say, once the report vouches for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeData {
    /// The key that quotes.
    pub ak: Public,
    /// `vm-configuration.vmUniqueId`.
    pub vm_id: Option<String>,
    /// `user-data`.
    pub user_data: Option<String>,
    /// `vm-configuration.secure-boot`.
    pub secure_boot: Option<bool>,
    /// `vm-configuration.console-enabled`.
    pub console_enabled: Option<bool>,
}

impl RuntimeData {
    /// Reads the JSON: no key twice, and each field that is read of its type. Fields that are not read may be there:
    /// Azure adds some.
    pub fn parse(json: &[u8]) -> Result<Self, AzureRefused> {
        let problem = |problem: String| AzureRefused::S12Json { problem };
        let all = unambiguous::from_slice(json).map_err(|error| problem(error.to_string()))?;
        let all = all.as_object().ok_or_else(|| problem("it is no object".to_owned()))?;
        let keys = all.get("keys").and_then(Value::as_array).ok_or_else(|| problem("keys is no list".to_owned()))?;
        let none = Value::Object(serde_json::Map::new());
        let configuration = all.get("vm-configuration").unwrap_or(&none);
        let configuration =
            configuration.as_object().ok_or_else(|| problem("vm-configuration is no object".to_owned()))?;
        let text = |value: Option<&Value>, name: &str| match value {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(problem(format!("{name} is no text"))),
        };
        let switch = |name: &str| match configuration.get(name) {
            None => Ok(None),
            Some(Value::Bool(set)) => Ok(Some(*set)),
            Some(_) => Err(problem(format!("{name} is neither true nor false"))),
        };
        let vm_id = text(configuration.get("vmUniqueId"), "vmUniqueId")?;
        if vm_id.as_deref().is_some_and(|id| !is_uuid(id)) {
            return Err(problem("vmUniqueId is no UUID".to_owned()));
        }
        Ok(Self {
            ak: read_ak(keys)?,
            vm_id,
            user_data: text(all.get("user-data"), "user-data")?,
            secure_boot: switch("secure-boot")?,
            console_enabled: switch("console-enabled")?,
        })
    }
}

fn is_uuid(text: &str) -> bool {
    let dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| if dash(at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// The one key `HCLAkPub`: RSA, 65537, as a public area of the kind that Azure's AK has (RSASSA with SHA-256).
fn read_ak(keys: &[Value]) -> Result<Public, AzureRefused> {
    let refused = |problem| AzureRefused::S12Key { problem };
    let mut named = keys.iter().filter(|key| key.get("kid").and_then(Value::as_str) == Some("HCLAkPub"));
    let key = named.next().ok_or_else(|| refused("is missing"))?;
    if named.next().is_some() {
        return Err(refused("stands twice"));
    }
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    if text("kty") != Some("RSA") || text("e") != Some(EXPONENT) {
        return Err(refused("is not RSA with the exponent 65537"));
    }
    let signs = key.get("key_ops").and_then(Value::as_array).is_some_and(|ops| ops.contains(&Value::from("sign")));
    if !signs {
        return Err(refused("is not for signing"));
    }
    let modulus = text("n").and_then(|n| n.parse::<Bytes>().ok()).ok_or_else(|| refused("has no modulus"))?;
    let modulus = modulus.as_slice();
    if !MODULUS.contains(&modulus.len()) || modulus.first().is_none_or(|first| first & 0x80 == 0) {
        return Err(refused("is not of 2048 to 4096 bits"));
    }
    let bits = u16::try_from(modulus.len() * 8).unwrap_or_default();
    let length = u16::try_from(modulus.len()).unwrap_or_default();
    // TPMT_PUBLIC: RSA, name by SHA-256, a restricted signing key, no policy, no cipher, RSASSA with SHA-256.
    let area = [
        &b"\x00\x01\x00\x0b\x00\x05\x04\x72\x00\x00\x00\x10\x00\x14\x00\x0b"[..],
        &bits.to_be_bytes(),
        &[0; 4],
        &length.to_be_bytes(),
        modulus,
    ];
    Public::parse(&area.concat()).map_err(|_| refused("is not a key that a TPM can have"))
}
