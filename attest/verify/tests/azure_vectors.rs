//! Evidence of real machines of Azure, read from `../shared/vectors` beside the project.
//!
//! Skips, with a printed reason, where that folder is absent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is how a test speaks; helpers of tests are tests too"
)]

mod vectors;

use std::fs;
use strongroom_attest::{
    QuoteEvidence, Verdict,
    azure::{self, AzureEvidence, AzureExpectation, AzureRefused, Envelope, RuntimeData},
    quote::{Found, Known, Values},
    snp::{AttestationReport, SnpRequirements, SnpRoots, SnpStore},
    tpm::{Attest, HashAlg},
};
use strongroom_protocol::{
    bytes::Bytes,
    evidence::{PcrBank, PcrMap, PcrSelection},
    requirements::Register,
};
use vectors::vectors;

/// 2025-06-01.
const AT: u64 = 1_748_736_000;

/// The container of the vectors: u64-LE length, RSASSA signature, u64-LE length, `TPMS_ATTEST`, u64-LE 24, 24 PCRs.
struct Quote {
    message: Vec<u8>,
    signature: Vec<u8>,
    values: PcrMap,
}

impl Quote {
    fn read(path: &std::path::Path) -> Self {
        let file = fs::read(path).unwrap();
        let mut rest = file.as_slice();
        let mut take = |length: usize| {
            let (head, tail) = rest.split_at(length);
            rest = tail;
            head.to_vec()
        };
        let number = |bytes: Vec<u8>| usize::try_from(u64::from_le_bytes(bytes.try_into().unwrap())).unwrap();
        let length = number(take(8));
        let signature = [&b"\x00\x14\x00\x0b\x01\x00"[..], &take(length)].concat();
        let length = number(take(8));
        let message = take(length);
        assert_eq!(number(take(8)), 24);
        let values = PcrMap((0..24).map(|pcr| (pcr, Bytes(take(32)))).collect());
        Self { message, signature, values }
    }

    fn evidence(&self) -> QuoteEvidence<'_> {
        let (message, signature) = (&self.message, &self.signature);
        QuoteEvidence { message, signature, pcr_bank: PcrBank::Sha256, pcr_values: &self.values }
    }
}

#[test]
fn s12_the_ak_of_a_real_machine_is_bound_to_its_report_and_the_report_to_amd() {
    let Some(path) = vectors("azure-vtpm/snp") else { return };
    let hcl = fs::read(path.join("hcl-report.bin")).unwrap();
    let chain = [Bytes(fs::read(path.join("vcek-chain.pem")).unwrap())];
    let quote = Quote::read(&path.join("quote.bin"));
    let paravisor = AttestationReport::parse(Envelope::parse(&hcl).unwrap().report).unwrap().measurement;
    let paravisors = [Register(paravisor)].into();
    let requirements = SnpRequirements { allow_missing_crl: true, paravisors, ..SnpRequirements::default() };
    let extra_data = Attest::parse(&quote.message).unwrap().extra_data;
    println!("the quote binds {} bytes", extra_data.len());

    let values: Values = quote.values.0.iter().map(|(pcr, value)| (*pcr, value.0.clone())).collect();
    let wanted = (0..24).collect();
    let found = Found {
        message: &quote.message,
        signature: &quote.signature,
        values: Some((HashAlg::Sha256, &values)),
        exact: true,
    };
    let known = Known { extra_data: Some(&extra_data), wanted: Some((HashAlg::Sha256, &wanted)), ..Known::default() };
    let roots = SnpRoots::built_in();
    let judged = azure::examine(&hcl, &chain, Some((&found, &known)), &requirements, roots, &SnpStore::default(), AT);
    println!("{}", judged.report);
    let verdict = |row| judged.report.verdict(row).unwrap();
    for row in ["S12", "S1", "S2", "S13", "S3", "S5", "S11", "S9", "S7", "S8", "Q1", "Q2", "Q3", "Q6", "Q7", "Q8"] {
        assert_eq!(verdict(row), Verdict::Passed, "{row}");
    }
    assert!(judged.vouches());
    assert_eq!(["S4", "S6", "Q4", "Q5"].map(verdict), [Verdict::NotChecked; 4]);

    // Without what it should bind, it is of any time; and without a list of paravisors, of anybody's guest.
    let unbound = Known { extra_data: None, ..known };
    let any = SnpRequirements::default();
    for (known, requirements, open, vouched) in [(unbound, &requirements, "S9", true), (known, &any, "S12", false)] {
        let judged =
            azure::examine(&hcl, &chain, Some((&found, &known)), requirements, roots, &SnpStore::default(), AT);
        assert_eq!(judged.report.verdict(open), Some(Verdict::NotChecked), "{open}");
        assert_eq!(judged.vouches(), vouched, "{open}");
    }

    let evidence = AzureEvidence { hcl_report: &hcl, quote: quote.evidence(), certificates: &chain };
    let selection = PcrSelection { bank: PcrBank::Sha256, pcrs: (0..24).collect() };
    let Ok(extra_data) = <[u8; 32]>::try_from(extra_data.as_slice()) else {
        // Bound to fewer bytes than any request binds: row Q3 refuses it, and the rows above said the rest.
        let expect = AzureExpectation { extra_data: [0; 32], selection: &selection, requirements: &requirements };
        let refused = azure::verify(&evidence, &expect, roots, &SnpStore::default(), AT).unwrap_err();
        assert_eq!(refused.row(), "Q3");
        return;
    };
    let expect = AzureExpectation { extra_data, selection: &selection, requirements: &requirements };
    let claims = azure::verify(&evidence, &expect, roots, &SnpStore::default(), AT).unwrap();
    assert_eq!(claims.vm_id.as_deref(), Some("911B0EF8-9DBA-48B0-B275-4E4DF2D39252"));
}

#[test]
fn s12_runtime_data_that_the_report_does_not_vouch_for_are_refused() {
    let Some(path) = vectors("azure-vtpm/snp") else { return };
    let hcl = fs::read(path.join("hcl-report.bin")).unwrap();
    let envelope = Envelope::parse(&hcl).unwrap();
    let runtime = RuntimeData::parse(envelope.runtime_data).unwrap();
    assert_eq!(runtime.vm_id.as_deref(), Some("911B0EF8-9DBA-48B0-B275-4E4DF2D39252"));
    assert_eq!((runtime.secure_boot, runtime.console_enabled), (Some(true), Some(true)));
    let mut other = hcl.clone();
    let at = other.windows(9).position(|window| window == b"911B0EF8-").unwrap();
    other[at] ^= 1;
    let judged =
        azure::examine(&other, &[], None, &SnpRequirements::default(), SnpRoots::built_in(), &SnpStore::default(), AT);
    assert!(matches!(judged.refused, Some(AzureRefused::S12RuntimeData { .. })), "{:?}", judged.refused);
}

#[test]
fn q1_a_quote_verifies_under_the_ak_of_its_file_and_no_other() {
    let Some(path) = vectors("azure-vtpm") else { return };
    let quote = Quote::read(&path.join("quote.bin"));
    let hcl = fs::read(path.join("snp/hcl-report.bin")).unwrap();
    let ak = RuntimeData::parse(Envelope::parse(&hcl).unwrap().runtime_data).unwrap().ak;
    let found = Found { message: &quote.message, signature: &quote.signature, values: None, exact: true };
    let judged = strongroom_attest::quote::examine_found(&found, &Known { ak: Some(&ak), ..Known::default() });
    // Another machine's AK: its own is in akpub.pem, which `hardware_vectors.rs` verifies it by.
    assert_eq!(judged.report.verdict("Q1"), Some(Verdict::Refused));
    let own = Quote::read(&path.join("snp/quote.bin"));
    let found = Found { message: &own.message, signature: &own.signature, values: None, exact: true };
    let judged = strongroom_attest::quote::examine_found(&found, &Known { ak: Some(&ak), ..Known::default() });
    assert_eq!(judged.report.verdict("Q1"), Some(Verdict::Passed));
}
