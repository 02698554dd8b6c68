//! Attacks on evidence of confidential hardware, carried out: each by the name of what is attempted, and refused by the
//! row that must refuse it. What single fields do is tested beside each verifier; here it is whole pieces of evidence,
//! each genuine by itself, in the wrong place, and inputs that are made to be expensive.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is how a test speaks; helpers of tests are tests too"
)]

#[path = "../benches/evidence/bombs.rs"]
mod bombs;
#[path = "attacks/elsewhere.rs"]
mod elsewhere;
#[path = "attacks/expensive.rs"]
mod expensive;
#[path = "attacks/relayed.rs"]
mod relayed;
#[path = "attacks/spliced.rs"]
mod spliced;
#[path = "attacks/swapped.rs"]
mod swapped;

use strongroom_attest::{
    Pins, QuoteEvidence,
    azure::{self, AzureEvidence, AzureExpectation, AzureRefused},
    nvidia::{self, GpuEvidence, GpuExpectation, GpuRefused, GpuRequirements, GuestWord, Revocation},
    snp::{self, SnpEvidence, SnpExpectation, SnpRefused, SnpRequirements, SnpRoots, SnpStore},
    tdx::{self, Collateral, Evidence, Expectation, TdxRefused, TdxRequirements},
};
use strongroom_hardware::{azure::Azure, nvidia as gpus, nvidia::Gpu, snp::Snp, tdx as intel, tdx::Tdx};
use strongroom_protocol::{
    Bytes,
    claims::{AzureClaims, GpuClaims, SnpClaims, TdxClaims},
    evidence::{PcrBank, PcrMap, PcrSelection},
    requirements::Register,
};

/// Judges a report under the machine's own root, as a vault does that pinned it.
fn judge_snp(snp: &Snp, report_data: [u8; 64], requirements: &SnpRequirements) -> Result<SnpClaims, SnpRefused> {
    judge_snp_under(snp, &snp.ark.der(), report_data, requirements)
}

/// The same under another root of the same product.
fn judge_snp_under(
    snp: &Snp,
    ark: &[u8],
    report_data: [u8; 64],
    requirements: &SnpRequirements,
) -> Result<SnpClaims, SnpRefused> {
    let roots = SnpRoots::new(&Pins::parse(&snp.pins(ark)).unwrap(), [ark]).unwrap();
    let certificates: Vec<Bytes> = snp.chain().into_iter().map(Bytes).collect();
    let (report, crl) = (snp.report_bytes(), snp.crl.der());
    let evidence = SnpEvidence { report: &report, certificates: &certificates, aux: None };
    let expect = SnpExpectation { report_data: Some(report_data), requirements };
    let store = SnpStore { certificates: &[], crls: &[&crl] };
    snp::verify(&evidence, &expect, &roots, &store, strongroom_hardware::snp::AT)
}

/// Judges a quote by the collateral of its own platform.
fn judge_tdx(tdx: &Tdx, report_data: [u8; 64]) -> Result<TdxClaims, TdxRefused> {
    let (collateral, pins) = (Collateral::parse(&tdx.collateral()).unwrap(), Pins::parse(&tdx.pins()).unwrap());
    let requirements = TdxRequirements::default();
    let expect = Expectation {
        report_data: Some(&report_data),
        collateral: Some(&collateral),
        pins: &pins,
        at: intel::AT,
        requirements: &requirements,
    };
    tdx::verify(&Evidence { quote: &tdx.quote(), ccel: None }, &expect)
}

/// Judges a GPU's report for itself: manifests and lists are asked for elsewhere.
fn judge_gpu(gpu: &Gpu, nonce: [u8; 32]) -> Result<GpuClaims, GpuRefused> {
    let pins = Pins::parse(gpus::pins(&[&gpu.chain], &[]).as_bytes()).unwrap();
    let requirements = GpuRequirements { manifests: false, revocation_max_age: None, ..GpuRequirements::default() };
    let expect = GpuExpectation {
        nonce: Some(&nonce),
        pins: &pins,
        at: gpus::AT,
        driver_rim: None,
        vbios_rim: None,
        record: None,
        revocation: Revocation::default(),
        guest: Some(GuestWord { confidential: true, devtools: false }),
        requirements: &requirements,
    };
    let (report, certificates) = (gpu.report_bytes(), gpu.certificates());
    let evidence = GpuEvidence { report: &report, certificates: certificates.iter().map(Vec::as_slice).collect() };
    nvidia::verify(&evidence, &expect)
}

/// Judges the envelope of one machine with the quote of one: the same, or another.
fn judge_azure(envelope: &Azure, quote: &Azure, extra_data: [u8; 32]) -> Result<AzureClaims, AzureRefused> {
    let ark = envelope.snp.ark.der();
    let roots = SnpRoots::new(&Pins::parse(&envelope.snp.pins(&ark)).unwrap(), [ark.as_slice()]).unwrap();
    let (hcl_report, message, signature) = (envelope.hcl_report(), quote.message(), quote.signature());
    let values = PcrMap(quote.quote.pcrs.iter().map(|(pcr, value)| (*pcr, Bytes(value.clone()))).collect());
    let (certificates, crl) = (envelope.snp.chain().into_iter().map(Bytes).collect::<Vec<_>>(), envelope.snp.crl.der());
    let quote =
        QuoteEvidence { message: &message, signature: &signature, pcr_bank: PcrBank::Sha256, pcr_values: &values };
    let evidence = AzureEvidence { hcl_report: &hcl_report, quote, certificates: &certificates };
    let paravisors = [Register(Azure::default().snp.report.measurement)].into();
    let selection = PcrSelection::default_sha256();
    let requirements = SnpRequirements { paravisors, ..SnpRequirements::default() };
    let expect = AzureExpectation { extra_data, selection: &selection, requirements: &requirements };
    let store = SnpStore { certificates: &[], crls: &[&crl] };
    azure::verify(&evidence, &expect, &roots, &store, strongroom_hardware::snp::AT)
}
