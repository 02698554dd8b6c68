//! `TPMS_ATTEST` of a quote (TCG TPM 2.0 Library, Part 2, §10.12.8).

use super::{
    algorithm::HashAlg,
    reader::{ParseError, Reader},
};

/// `TPM_GENERATED_VALUE`: a restricted key signs nothing from outside that starts with it.
const GENERATED: u32 = 0xff54_4347;
/// `TPM_ST_ATTEST_QUOTE`.
const QUOTE: u16 = 0x8018;
/// Banks in a selection.
const MAX_BANKS: usize = 16;
/// Bytes of one bank's bitmap.
const MAX_SELECT: usize = 4;
/// Bytes of a name: algorithm and the largest digest.
const MAX_NAME: usize = 66;

/// `TPMS_CLOCK_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds that the TPM has been powered, over its whole life.
    pub clock: u64,
    /// Counts TPM resets: reboots of the machine.
    pub reset_count: u32,
    /// Counts TPM restarts and resumes since the last reset.
    pub restart_count: u32,
    /// False when a higher value of `clock` may have been reported before, after a power loss.
    pub safe: bool,
}

/// One bank's part of a PCR selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BankSelection {
    /// `TPM_ALG_ID` of the bank, as marshalled: banks that this crate does not know can be named in a refusal.
    pub bank: u16,
    /// The bitmap: bit `i % 8` of byte `i / 8` is PCR `i`.
    pub bitmap: Vec<u8>,
}

impl BankSelection {
    /// The bank's name and the selected indices, for a refusal.
    pub(crate) fn describe(&self) -> String {
        let bank = HashAlg::from_id(self.bank).map_or_else(|| format!("{:#06x}", self.bank), |alg| alg.to_string());
        let mut pcrs = Vec::new();
        for (byte, bits) in self.bitmap.iter().enumerate() {
            pcrs.extend((0..8).filter(|bit| bits >> bit & 1 == 1).map(|bit| (byte * 8 + bit).to_string()));
        }
        format!("{bank}:{} in {} bytes", pcrs.join(","), self.bitmap.len())
    }
}

/// A quote's attestation structure. Parsing shows what the bytes say, not that they are true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attest {
    /// Qualified name of the signing key.
    pub qualified_signer: Vec<u8>,
    /// What the caller gave to be signed with it.
    pub extra_data: Vec<u8>,
    /// Clock and counters.
    pub clock_info: ClockInfo,
    /// The TPM's firmware version, as its vendor counts.
    pub firmware_version: u64,
    /// The PCRs that the digest is of.
    pub selection: Vec<BankSelection>,
    /// Digest of the selected PCRs' values, by the signing scheme's hash.
    pub pcr_digest: Vec<u8>,
}

impl Attest {
    /// Reads the `TPMS_ATTEST` of a quote, without a `TPM2B` size before it.
    ///
    /// Refuses another magic, another type, and trailing bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(bytes)?;
        let magic = reader.u32("magic")?;
        if magic != GENERATED {
            return Err(ParseError::Invalid { field: "magic", value: magic });
        }
        let kind = reader.u16("type")?;
        if kind != QUOTE {
            let name = match kind {
                0x8014 => "NV",
                0x8015 => "command audit",
                0x8016 => "session audit",
                0x8017 => "certify",
                0x8019 => "time",
                0x801a => "creation",
                0x801c => "NV digest",
                _ => "unknown",
            };
            return Err(ParseError::Unsupported { field: "attestation type", value: kind.into(), name });
        }
        let qualified_signer = reader.sized("qualifiedSigner", MAX_NAME)?.to_vec();
        let extra_data = reader.sized("extraData", MAX_NAME)?.to_vec();
        let clock_info = ClockInfo {
            clock: reader.u64("clock")?,
            reset_count: reader.u32("resetCount")?,
            restart_count: reader.u32("restartCount")?,
            safe: match reader.u8("safe")? {
                0 => false,
                1 => true,
                value => return Err(ParseError::Invalid { field: "safe", value: value.into() }),
            },
        };
        let firmware_version = reader.u64("firmwareVersion")?;
        let selection = read_selection(&mut reader)?;
        let pcr_digest = reader.sized("pcrDigest", 64)?.to_vec();
        reader.finish()?;
        Ok(Self { qualified_signer, extra_data, clock_info, firmware_version, selection, pcr_digest })
    }
}

fn read_selection(reader: &mut Reader<'_>) -> Result<Vec<BankSelection>, ParseError> {
    let field = "pcrSelect";
    let count = usize::try_from(reader.u32(field)?).unwrap_or(usize::MAX);
    if count > MAX_BANKS {
        return Err(ParseError::Oversized { field, limit: MAX_BANKS, actual: count });
    }
    let mut selection = Vec::with_capacity(count);
    for _ in 0..count {
        let bank = reader.u16(field)?;
        let size = usize::from(reader.u8(field)?);
        if size > MAX_SELECT {
            return Err(ParseError::Oversized { field, limit: MAX_SELECT, actual: size });
        }
        selection.push(BankSelection { bank, bitmap: reader.take(field, size)?.to_vec() });
    }
    Ok(selection)
}
