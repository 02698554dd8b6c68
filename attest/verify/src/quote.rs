//! TPM quotes: rows Q1 to Q8, in this order, and the claims that come out of them.
//!
//! The order is also the order of trust. Before Q1 nothing of the quote is parsed but the
//! signature's frame; Q2 reads bytes that an enrolled AK has signed; Q3 shows that it signed them
//! for this request. Only then is a refusal a denial of that node (see
//! [`Refused::is_signed_for_this_request`]).

mod examine;

pub use examine::{ExaminedQuote, Found, Known, Values, examine_found};

use crate::{
    Refused, Report, Tolerance, rows,
    tpm::{Attest, BankSelection, HashAlg, ParseError, Public, Scheme, Signature, SigningScheme, qualified_name},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use strongroom_protocol::{
    bytes::Bytes,
    evidence::{PcrBank, PcrMap, PcrSelection, Tpm2Evidence},
};

/// PCR 0 holds the firmware, PCR 4 the boot loader: no measured boot leaves them untouched (Q8).
const MEASURED_BY_FIRMWARE: [u8; 2] = [0, 4];

/// A quote as it was received.
#[derive(Debug, Clone, Copy)]
pub struct QuoteEvidence<'a> {
    /// `TPMS_ATTEST` as the TPM marshalled it.
    pub message: &'a [u8],
    /// `TPMT_SIGNATURE` as the TPM marshalled it.
    pub signature: &'a [u8],
    /// The bank that the values are said to be of.
    pub pcr_bank: PcrBank,
    /// The values that the quote's digest is of.
    pub pcr_values: &'a PcrMap,
}

impl<'a> From<&'a Tpm2Evidence> for QuoteEvidence<'a> {
    fn from(evidence: &'a Tpm2Evidence) -> Self {
        Self {
            message: evidence.message.as_slice(),
            signature: evidence.signature.as_slice(),
            pcr_bank: evidence.pcrs.bank,
            pcr_values: &evidence.pcrs.values,
        }
    }
}

/// What a quote must be.
#[derive(Debug, Clone, Copy)]
pub struct QuoteExpectation<'a> {
    /// The enrolled AK.
    pub ak: &'a Public,
    /// The name of the EK that the AK was enrolled under, as [`Public::name`] gives it.
    pub ek_name: &'a [u8],
    /// What the request binds (`strongroom_protocol::binding::tpm_extra_data`).
    pub extra_data: [u8; 32],
    /// The PCRs that policy reads: all of them, and no others, must be quoted. Has PCRs 0 and 4.
    pub selection: &'a PcrSelection,
    /// At renewal the counters at the lease's start; `None` where there is no lease yet (Q5 is then not checked).
    pub boot: Option<BootCounters>,
}

/// Which boot of the machine, as its TPM counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BootCounters {
    /// Counts TPM resets.
    pub reset_count: u32,
    /// Counts TPM restarts and resumes since the last reset.
    pub restart_count: u32,
}

impl fmt::Display for BootCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reset {} restart {}", self.reset_count, self.restart_count)
    }
}

/// What a quote showed. Exists only after every row held: [`verify`] alone makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TpmClaims {
    /// The AK's name, lower-case hexadecimal.
    ak_name: String,
    /// The bank that the values are of.
    bank: PcrBank,
    /// The quoted values by PCR, lower-case hexadecimal.
    pcrs: BTreeMap<u8, String>,
    /// Counts TPM resets: reboots.
    reset_count: u32,
    /// Counts TPM restarts and resumes since the last reset.
    restart_count: u32,
    /// False where the clock may have gone back, because the TPM was shut down without notice.
    safe: bool,
    /// Milliseconds that the TPM has been powered.
    clock: u64,
    /// The TPM's firmware, as its vendor counts, lower-case hexadecimal.
    firmware_version: String,
    /// The AK's name qualified by those above it, lower-case hexadecimal.
    qualified_signer: String,
    /// Deviations that were accepted.
    tolerances: Vec<Tolerance>,
    #[serde(skip)]
    values: PcrMap,
    #[serde(skip)]
    boot_checked: bool,
}

impl TpmClaims {
    /// The AK's name, lower-case hexadecimal.
    pub fn ak_name(&self) -> &str {
        &self.ak_name
    }

    /// The bank that the values are of.
    pub fn bank(&self) -> PcrBank {
        self.bank
    }

    /// The values by PCR, lower-case hexadecimal.
    pub fn pcrs(&self) -> &BTreeMap<u8, String> {
        &self.pcrs
    }

    /// The values by PCR, as bytes.
    pub fn pcr_values(&self) -> &PcrMap {
        &self.values
    }

    /// Which boot this is.
    pub fn boot(&self) -> BootCounters {
        BootCounters { reset_count: self.reset_count, restart_count: self.restart_count }
    }

    /// False when the TPM lost power so that `clock` may have gone back.
    pub fn safe(&self) -> bool {
        self.safe
    }

    /// Milliseconds that the TPM has been powered, over its whole life.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// The TPM's firmware version as its vendor counts, 16 lower-case hexadecimal digits (it does
    /// not fit a JSON number).
    pub fn firmware_version(&self) -> &str {
        &self.firmware_version
    }

    /// The AK's qualified name, lower-case hexadecimal.
    pub fn qualified_signer(&self) -> &str {
        &self.qualified_signer
    }

    /// Deviations that were accepted.
    pub fn tolerances(&self) -> &[Tolerance] {
        &self.tolerances
    }

    /// Q1 to Q8, all passed; Q5 as not checked where no boot was expected.
    pub fn report(&self) -> Report {
        Report::new(&rows::QUOTE, not_checked(self.boot_checked), None)
    }
}

/// Verifies a quote, rows Q1 to Q8 in this order. Refuses at the first that does not hold.
pub fn verify(evidence: QuoteEvidence<'_>, expect: &QuoteExpectation<'_>) -> Result<TpmClaims, Refused> {
    let (scheme, tolerance) = check_signature(&evidence, expect.ak)?;
    let attest = Attest::parse(evidence.message).map_err(Refused::Q2Structure)?;
    check_binding(&attest, &expect.extra_data)?;
    check_signer(&attest, expect)?;
    let boot =
        BootCounters { reset_count: attest.clock_info.reset_count, restart_count: attest.clock_info.restart_count };
    if let Some(expected) = expect.boot.filter(|expected| *expected != boot) {
        return Err(Refused::Q5Rebooted { expected, got: boot });
    }
    check_selection(&attest, &evidence, expect.selection)?;
    check_digest(&attest, evidence.pcr_values, scheme.hash)?;
    check_measured(evidence.pcr_values)?;
    Ok(TpmClaims {
        ak_name: hex(&expect.ak.name()),
        bank: expect.selection.bank,
        pcrs: evidence.pcr_values.0.iter().map(|(pcr, value)| (*pcr, hex(value.as_slice()))).collect(),
        reset_count: boot.reset_count,
        restart_count: boot.restart_count,
        safe: attest.clock_info.safe,
        clock: attest.clock_info.clock,
        firmware_version: format!("{:016x}", attest.firmware_version),
        qualified_signer: hex(&attest.qualified_signer),
        tolerances: tolerance.into_iter().collect(),
        values: evidence.pcr_values.clone(),
        boot_checked: expect.boot.is_some(),
    })
}

/// What a quote must be whose AK something else than an enrolment vouches for: there is no EK to hold it against (Q4),
/// and its counters are not the TPM's own (Q5).
#[derive(Debug, Clone, Copy)]
pub(crate) struct VouchedQuote<'a> {
    /// The key that is vouched for.
    pub(crate) ak: &'a Public,
    /// What the request binds.
    pub(crate) extra_data: [u8; 32],
    /// The PCRs that must be quoted.
    pub(crate) selection: &'a PcrSelection,
}

/// A quote that a vouched AK has signed for this request: its values are still to be held against it.
pub(crate) struct FreshQuote {
    attest: Attest,
    scheme: SigningScheme,
}

/// Rows Q1, Q2 and Q3 of a quote by a vouched AK.
pub(crate) fn verify_vouched(evidence: QuoteEvidence<'_>, expect: &VouchedQuote<'_>) -> Result<FreshQuote, Refused> {
    let (scheme, _) = check_signature(&evidence, expect.ak)?;
    let attest = Attest::parse(evidence.message).map_err(Refused::Q2Structure)?;
    check_binding(&attest, &expect.extra_data)?;
    Ok(FreshQuote { attest, scheme })
}

impl FreshQuote {
    /// The counters, obscured by a constant of the AK where that lies in no hierarchy but the owner's.
    pub(crate) fn boot(&self) -> BootCounters {
        let clock = &self.attest.clock_info;
        BootCounters { reset_count: clock.reset_count, restart_count: clock.restart_count }
    }

    /// Rows Q6, Q7 and Q8.
    pub(crate) fn check_values(&self, evidence: QuoteEvidence<'_>, expect: &VouchedQuote<'_>) -> Result<(), Refused> {
        check_selection(&self.attest, &evidence, expect.selection)?;
        check_digest(&self.attest, evidence.pcr_values, self.scheme.hash)?;
        check_measured(evidence.pcr_values)
    }
}

/// Q3: exactly the binding of the request.
fn check_binding(attest: &Attest, expected: &[u8; 32]) -> Result<(), Refused> {
    if attest.extra_data == *expected {
        Ok(())
    } else {
        Err(Refused::Q3ExtraData { expected: hex(expected), got: hex(&attest.extra_data) })
    }
}

/// [`verify`] for people: every row with its verdict, and the claims if all held.
pub fn examine(evidence: QuoteEvidence<'_>, expect: &QuoteExpectation<'_>) -> (Report, Option<TpmClaims>) {
    match verify(evidence, expect) {
        Ok(claims) => (claims.report(), Some(claims)),
        Err(refused) => (Report::new(&rows::QUOTE, not_checked(expect.boot.is_some()), Some(&refused)), None),
    }
}

fn not_checked(boot: bool) -> &'static [(&'static str, &'static str)] {
    if boot { &[] } else { &[("Q5", "no lease was given whose boot the quote could be compared with")] }
}

/// Q1: the received bytes, with exactly the enrolled AK's scheme and hash.
fn check_signature(evidence: &QuoteEvidence<'_>, ak: &Public) -> Result<(SigningScheme, Option<Tolerance>), Refused> {
    let limit = strongroom_protocol::limits::TPM_STRUCTURE;
    if evidence.message.len() > limit {
        return Err(Refused::Q2Structure(ParseError::TooLong { limit, actual: evidence.message.len() }));
    }
    let signature = Signature::parse(evidence.signature).map_err(Refused::Q1Malformed)?;
    let scheme = signature.scheme();
    if scheme.hash == HashAlg::Sha1 {
        return Err(Refused::Q1Sha1);
    }
    if ak.scheme() != Scheme::Signing(scheme) {
        let expected = match ak.scheme() {
            Scheme::Signing(scheme) => scheme.to_string(),
            Scheme::Null | Scheme::Other(_) => "by no fixed scheme".to_owned(),
        };
        return Err(Refused::Q1Scheme { expected, got: scheme });
    }
    match signature.verify(ak, evidence.message) {
        Some(good) => Ok((scheme, good.tolerance())),
        None => Err(Refused::Q1Signature),
    }
}

/// Q4: the AK is a child of the EK, which is a primary key of the endorsement hierarchy.
fn check_signer(attest: &Attest, expect: &QuoteExpectation<'_>) -> Result<(), Refused> {
    let expected = qualified_name(expect.ek_name, &expect.ak.name())
        .ok_or_else(|| Refused::Q4Record { ek_name: hex(expect.ek_name) })?;
    if attest.qualified_signer == expected {
        Ok(())
    } else {
        Err(Refused::Q4Signer { expected: hex(&expected), got: hex(&attest.qualified_signer) })
    }
}

/// Q6: one bank, exactly the wanted bitmap, and exactly the values that it names.
///
/// The bitmap has three bytes, as TPMs of PCs have 24 PCRs: one selection has one spelling. Longer
/// bitmaps are refused even if zero, and so are further banks that select nothing.
fn check_selection(attest: &Attest, evidence: &QuoteEvidence<'_>, selection: &PcrSelection) -> Result<(), Refused> {
    let bitmap = selection.bitmap().ok_or(Refused::Q6Expectation)?;
    let wanted = BankSelection { bank: selection.bank.algorithm(), bitmap: bitmap.to_vec() };
    if attest.selection.as_slice() != std::slice::from_ref(&wanted) {
        let got: Vec<_> = attest.selection.iter().map(BankSelection::describe).collect();
        return Err(Refused::Q6Selection { expected: wanted.describe(), got: got.join("; ") });
    }
    if evidence.pcr_bank != selection.bank {
        return Err(Refused::Q6Bank { expected: bank_hash(selection.bank), got: bank_hash(evidence.pcr_bank) });
    }
    // What the values are values *of* is said by the selection, which is signed; the labels beside
    // them only have to agree with it.
    let values = &evidence.pcr_values.0;
    if !values.keys().eq(&selection.pcrs) {
        let missing = selection.pcrs.iter().filter(|pcr| !values.contains_key(pcr)).copied().collect();
        let extra = values.keys().filter(|pcr| !selection.pcrs.contains(pcr)).copied().collect();
        return Err(Refused::Q6Values { missing, extra });
    }
    let expected = selection.bank.digest_length();
    match values.iter().find(|(_, value)| value.0.len() != expected) {
        Some((&pcr, value)) => Err(Refused::Q6Length { pcr, expected, actual: value.0.len() }),
        None => Ok(()),
    }
}

/// Q7: the digest is by the signing scheme's hash, not by the bank's (Part 3, `TPM2_Quote`).
fn check_digest(attest: &Attest, values: &PcrMap, hash: HashAlg) -> Result<(), Refused> {
    let values: Vec<_> = values.0.values().map(Bytes::as_slice).collect();
    let digest = hash.digest(&values);
    if digest == attest.pcr_digest {
        Ok(())
    } else {
        Err(Refused::Q7Digest { expected: hex(&attest.pcr_digest), got: hex(&digest) })
    }
}

/// Q8: firmware that measures leaves neither all zeros nor all ones in PCRs 0 and 4.
fn check_measured(values: &PcrMap) -> Result<(), Refused> {
    for pcr in MEASURED_BY_FIRMWARE {
        let value = values.0.get(&pcr).ok_or(Refused::Q8NotSelected { pcr })?;
        for byte in [0x00, 0xff] {
            if value.0.iter().all(|&b| b == byte) {
                return Err(Refused::Q8NotMeasured { pcr, byte });
            }
        }
    }
    Ok(())
}

fn bank_hash(bank: PcrBank) -> HashAlg {
    match bank {
        PcrBank::Sha256 => HashAlg::Sha256,
        PcrBank::Sha384 => HashAlg::Sha384,
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('?', char::from);
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

#[cfg(test)]
mod tests;
