//! A report of SEV-SNP with what may lie beside it: certificates, a certificate table, a revocation list.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::snp::{SnpEvidence, SnpExpectation, SnpRequirements, SnpRoots, SnpStore, examine, verify};

const REPORT: usize = 1184;

fuzz_target!(|bytes: &[u8]| {
    let (report, more) = bytes.split_at(bytes.len().min(REPORT));
    let requirements = SnpRequirements { allow_vlek: true, allow_missing_crl: true, ..SnpRequirements::default() };
    let report_data = report.get(0x50..0x90).and_then(<[u8]>::first_chunk).copied();
    let expect = SnpExpectation { report_data, requirements: &requirements };
    let evidence = SnpEvidence { report, certificates: &[], aux: Some(more) };
    let roots = SnpRoots::built_in();
    for store in [SnpStore { certificates: &[more], crls: &[] }, SnpStore { certificates: &[], crls: &[more] }] {
        let verified = verify(&evidence, &expect, roots, &store, 1_767_225_600);
        let examined = examine(&evidence, &expect, roots, &store, 1_767_225_600);
        // What a vault accepts, people's tool does too, and the other way round.
        assert_eq!(verified.is_ok(), examined.claims.is_some());
    }
});
