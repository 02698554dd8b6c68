//! Confidential machines of Azure: a report of SEV-SNP and a vTPM's quote, joined by an envelope (row S12).
//!
//! ```text
//! hcl_report ──Envelope::parse──> report, runtime data
//! report ──rows S1 to S11──> AMD's key vouches for it; its report_data is SHA-256 of the runtime data   row S12
//! runtime data ──RuntimeData::parse──> AK, id of the machine
//! quote ──rows Q1, Q2, Q3, Q6, Q7, Q8 with that AK──> this request, these PCRs
//! ```
//!
//! The report is made when the machine is started, so it binds no request: freshness comes from the quote alone. The
//! AK was not enrolled and has no EK, so rows E1 to E6 and Q4 have no place here: the report stands for them. It lies
//! in no hierarchy that is known, where TPMs show other counters and another firmware version than their own: there
//! are no such claims, and row Q5 is not checked; `snp.report_id` is new at each start of the machine.
//!
//! The paravisor asks for the report at VMPL 0. Reports of version 2 count here, as Azure still makes them; their
//! product is that of the certificates' chain.

mod envelope;
mod examine;
mod refused;

pub use envelope::{Envelope, RuntimeData};
pub use examine::{ExaminedAzure, examine};
pub use refused::AzureRefused;

use crate::{
    BootCounters, QuoteEvidence,
    quote::{self, VouchedQuote, hex},
    snp::{self, AttestationReport, Place, SnpEvidence, SnpExpectation, SnpRequirements, SnpRoots, SnpStore},
};
use strongroom_protocol::{
    bytes::Bytes,
    claims::AzureClaims,
    evidence::{AzureSnpVtpmEvidence, PcrSelection},
    requirements::Register,
    sha256,
};

/// The evidence as it was received.
#[derive(Debug, Clone, Copy)]
pub struct AzureEvidence<'a> {
    /// The envelope of NV index 0x01400001.
    pub hcl_report: &'a [u8],
    /// The vTPM's quote.
    pub quote: QuoteEvidence<'a>,
    /// VCEK and what is above it (DER or PEM), in any order.
    pub certificates: &'a [Bytes],
}

impl<'a> From<&'a AzureSnpVtpmEvidence> for AzureEvidence<'a> {
    fn from(evidence: &'a AzureSnpVtpmEvidence) -> Self {
        Self {
            hcl_report: evidence.hcl_report.as_slice(),
            quote: QuoteEvidence {
                message: evidence.message.as_slice(),
                signature: evidence.signature.as_slice(),
                pcr_bank: evidence.pcrs.bank,
                pcr_values: &evidence.pcrs.values,
            },
            certificates: &evidence.certificates,
        }
    }
}

/// What the evidence must be.
#[derive(Debug, Clone, Copy)]
pub struct AzureExpectation<'a> {
    /// What the request binds (`strongroom_protocol::binding::tpm_extra_data`).
    pub extra_data: [u8; 32],
    /// The PCRs that policy reads: all of them, and no others, must be quoted. Has PCRs 0 and 4.
    pub selection: &'a PcrSelection,
    /// What policy asks of the report.
    pub requirements: &'a SnpRequirements,
}

/// Verifies Azure's evidence at `at` (Unix seconds). Refuses at the first row that does not hold.
pub fn verify(
    evidence: &AzureEvidence<'_>,
    expect: &AzureExpectation<'_>,
    roots: &SnpRoots,
    store: &SnpStore<'_>,
    at: u64,
) -> Result<AzureClaims, AzureRefused> {
    verify_counted(evidence, expect, roots, store, at).map(|(claims, _)| claims)
}

/// [`verify`], with the counters of the quote. They are obscured by a constant of the AK (TPM 2.0 Library, part 3,
/// `TPM2_Quote`), so they count nothing; of one AK they are equal within a boot and differ between two. Whoever keeps
/// them beside `snp.report_id` can tell an envelope of an earlier boot from that of this one.
pub fn verify_counted(
    evidence: &AzureEvidence<'_>,
    expect: &AzureExpectation<'_>,
    roots: &SnpRoots,
    store: &SnpStore<'_>,
    at: u64,
) -> Result<(AzureClaims, BootCounters), AzureRefused> {
    let envelope = Envelope::parse(evidence.hcl_report)?;
    let report = snp::parse(envelope.report, Place::Azure)?;
    envelope.check_binding(&report)?;
    let bare = report_evidence(&envelope, evidence.certificates);
    let chain = snp::verify_chain(&report, &bare, roots, store, at)?;
    snp::authenticate(envelope.report, &report, &chain, at)?;
    check_paravisor(&report, expect.requirements)?;
    let runtime = RuntimeData::parse(envelope.runtime_data)?;
    let vouched = VouchedQuote { ak: &runtime.ak, extra_data: expect.extra_data, selection: expect.selection };
    let quoted = quote::verify_vouched(evidence.quote, &vouched)?;
    let report_data = Some(envelope.report_data());
    let expectation = SnpExpectation { report_data, requirements: expect.requirements };
    let snp = snp::judge(&report, &chain, &expectation)?;
    quoted.check_values(evidence.quote, &vouched)?;
    Ok((claims(snp, runtime, evidence.quote), quoted.boot()))
}

/// Row S12: who wrote the runtime data. The report says that *a* guest did, at the level that asked; only its
/// measurement says that it was a paravisor of Azure's, which keeps the vTPM's keys from everybody else.
fn check_paravisor(report: &AttestationReport, requirements: &SnpRequirements) -> Result<(), AzureRefused> {
    let measured = Register(report.measurement);
    if requirements.paravisors.contains(&measured) {
        return Ok(());
    }
    let accepted = requirements.paravisors.len();
    Err(AzureRefused::S12Paravisor { measured: hex(&measured.0), accepted })
}

fn report_evidence<'a>(envelope: &Envelope<'a>, certificates: &'a [Bytes]) -> SnpEvidence<'a> {
    SnpEvidence { report: envelope.report, certificates, aux: None }
}

fn claims(snp: strongroom_protocol::claims::SnpClaims, runtime: RuntimeData, quote: QuoteEvidence<'_>) -> AzureClaims {
    AzureClaims {
        snp,
        ak_sha256: hex(&sha256(&runtime.ak.spki_der())),
        vm_id: runtime.vm_id,
        user_data: runtime.user_data,
        secure_boot: runtime.secure_boot,
        console_enabled: runtime.console_enabled,
        pcr_bank: quote.pcr_bank,
        pcrs: quote.pcr_values.0.iter().map(|(pcr, value)| (*pcr, hex(value.as_slice()))).collect(),
    }
}

#[cfg(test)]
mod tests;
