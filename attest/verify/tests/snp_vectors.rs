//! Reports that real processors signed, read from `../shared/vectors` beside the project.
//!
//! Skips, with a printed reason, where that folder is absent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is how a test speaks; helpers of tests are tests too"
)]

mod vectors;

use Verdict::{NotChecked, Passed, Refused};
use sev::parser::ByteParser;
use std::fs;
use strongroom_attest::{
    Verdict,
    snp::{
        AttestationReport, ExaminedSnp, MinimumTcb, MinimumTcbs, SIGNED, SnpEvidence, SnpExpectation, SnpRefused,
        SnpRequirements, SnpRoots, SnpStore, examine, verify, verify_chain, verify_with,
    },
    x509::X509Problem,
};
use strongroom_protocol::{
    bytes::Bytes,
    claims::{SnpProduct, SnpSigningKey},
};
use vectors::vectors;

/// 2025-06-01, and a day after the VLEK expired.
const JUNE_2025: u64 = 1_748_736_000;
const AFTER: u64 = 1_765_500_000;

/// A report with its leaf, judged without a binding.
fn judge(report: &[u8], leaf: &[u8], asvk: &[&[u8]], requirements: &SnpRequirements, at: u64) -> ExaminedSnp {
    let certificates = [Bytes(leaf.to_vec())];
    let evidence = SnpEvidence { report, certificates: &certificates, aux: None };
    let store = SnpStore { certificates: asvk, crls: &[] };
    let examined =
        examine(&evidence, &SnpExpectation { report_data: None, requirements }, SnpRoots::built_in(), &store, at);
    println!("{}", examined.report);
    examined
}

fn verdicts(examined: &ExaminedSnp, rows: &[&str]) -> Vec<Verdict> {
    rows.iter().map(|row| examined.report.verdict(row).unwrap()).collect()
}

#[test]
fn s1_s3_s5_s11_a_milan_report_of_version_2_is_amds_and_refused_outside_azure() {
    let Some(path) = vectors("snp/milan-v2") else { return };
    let (report, leaf) = (fs::read(path.join("report.bin")).unwrap(), fs::read(path.join("vcek.der")).unwrap());
    let examined = judge(&report, &leaf, &[], &SnpRequirements::default(), JUNE_2025);
    let rows = ["S1", "S2", "S13", "S3", "S4", "S5", "S11", "S9", "S6", "S7", "S8"];
    let mut expected =
        [Refused, Passed, Passed, Passed, NotChecked, Passed, Passed, NotChecked, NotChecked, Passed, Passed];
    assert_eq!(verdicts(&examined, &rows), expected);
    // Without a minimum only the order of its TCBs is judged, and one of zeros is none.
    let minimum = |snp| {
        let reported = MinimumTcb { snp, ..MinimumTcb::default() };
        let minimum_tcb = [(SnpProduct::Milan, MinimumTcbs { reported, ..MinimumTcbs::default() })].into();
        let requirements = SnpRequirements { minimum_tcb, ..SnpRequirements::default() };
        verdicts(&judge(&report, &leaf, &[], &requirements, JUNE_2025), &rows)
    };
    assert_eq!(minimum(0), expected);
    expected[8] = Passed;
    assert_eq!(minimum(1), expected);
    expected[8] = Refused;
    assert_eq!(minimum(u8::MAX), expected);
    assert_eq!(examined.product, Some(SnpProduct::Milan));
    assert_eq!(examined.claims, None);
    assert_eq!(examined.refused["S1"], SnpRefused::S1Version { got: 2 });
}

#[test]
fn s5_certificates_of_another_chip_or_tcb_are_refused() {
    let Some(path) = vectors("snp/milan-v2") else { return };
    let report = fs::read(path.join("report.bin")).unwrap();
    for name in ["vcek-wrong-oid-values-1.der", "vcek-wrong-oid-values-2.der"] {
        let leaf = fs::read(path.join(name)).unwrap();
        println!("{name}");
        let examined = judge(&report, &leaf, &[], &SnpRequirements::default(), JUNE_2025);
        assert_eq!(examined.report.verdict("S5"), Some(Verdict::Refused), "{name}");
        assert_eq!(examined.claims, None, "{name}");
    }
    let leaf = fs::read(path.join("vcek.der")).unwrap();
    let examined = judge(&report, &leaf, &[], &SnpRequirements::default(), JUNE_2025);
    assert_eq!(examined.report.verdict("S5"), Some(Verdict::Passed));
}

#[test]
fn s7_a_genuine_report_of_a_guest_that_can_be_debugged_is_refused() {
    let Some(path) = vectors("snp/milan-v2-debug-on") else { return };
    let (report, leaf) = (fs::read(path.join("report.bin")).unwrap(), fs::read(path.join("vcek.der")).unwrap());
    let examined = judge(&report, &leaf, &[], &SnpRequirements::default(), JUNE_2025);
    assert_eq!(verdicts(&examined, &["S3", "S5", "S11"]), [Verdict::Passed; 3]);
    assert_eq!(examined.refused["S7"], SnpRefused::S7Debug);
    assert_eq!(examined.claims, None);
}

/// The report that a VLEK signed, with everything that it needs.
struct Vlek {
    report: Vec<u8>,
    certificates: Vec<Bytes>,
    asvk: Vec<u8>,
}

impl Vlek {
    fn read() -> Option<Self> {
        let path = vectors("snp/milan-v3-vlek-aws")?;
        let asvk = fs::read(vectors("snp/roots/asvk_ark_milan.pem")?).unwrap();
        let certificates = vec![Bytes(fs::read(path.join("vlek.der")).unwrap())];
        Some(Self { report: fs::read(path.join("report.bin")).unwrap(), certificates, asvk })
    }

    fn report_data(&self) -> [u8; 64] {
        self.report[0x50..0x90].try_into().unwrap()
    }

    fn evidence(&self) -> SnpEvidence<'_> {
        SnpEvidence { report: &self.report, certificates: &self.certificates, aux: None }
    }

    fn requirements() -> SnpRequirements {
        SnpRequirements { vmpl: 1, allow_vlek: true, allow_missing_crl: true, ..SnpRequirements::default() }
    }

    fn verify(
        &self,
        requirements: &SnpRequirements,
        at: u64,
    ) -> Result<strongroom_protocol::claims::SnpClaims, SnpRefused> {
        let store = SnpStore { certificates: &[&self.asvk], crls: &[] };
        let expect = SnpExpectation { report_data: Some(self.report_data()), requirements };
        verify(&self.evidence(), &expect, SnpRoots::built_in(), &store, at)
    }
}

#[test]
fn s3_s8_a_report_by_a_vlek_holds_while_the_vlek_does_and_at_its_level_only() {
    let Some(vlek) = Vlek::read() else { return };
    let claims = vlek.verify(&Vlek::requirements(), JUNE_2025).unwrap();
    assert_eq!((claims.version, claims.vmpl, claims.product), (3, 1, SnpProduct::Milan));
    assert_eq!(claims.signing_key, SnpSigningKey::Vlek);
    assert_eq!(claims.csp_id.as_deref(), Some("CN=cc-us-east-2.amazonaws.com"));
    assert_eq!((claims.chip_id, claims.tcb.reported.microcode, claims.tcb.current.microcode), (None, 0xd9, 0xdc));

    let refused = vlek.verify(&Vlek::requirements(), AFTER).unwrap_err();
    assert!(
        matches!(
            refused,
            SnpRefused::S3Certificate {
                link: "VLEK",
                problem: X509Problem::Expired { until: 1_765_404_861, at: AFTER }
            }
        ),
        "{refused}"
    );
    let level = SnpRequirements { vmpl: 0, ..Vlek::requirements() };
    assert_eq!(vlek.verify(&level, JUNE_2025), Err(SnpRefused::S8Vmpl { expected: 0, got: 1 }));
    let no_vlek = SnpRequirements { allow_vlek: false, ..Vlek::requirements() };
    assert_eq!(vlek.verify(&no_vlek, JUNE_2025), Err(SnpRefused::S3Vlek));
    let with_crl = SnpRequirements { allow_missing_crl: false, ..Vlek::requirements() };
    let file = "vlek/crl/Milan.crl".to_owned();
    assert_eq!(vlek.verify(&with_crl, JUNE_2025), Err(SnpRefused::S4Missing { product: SnpProduct::Milan, file }));
    let examined = judge(&vlek.report, &vlek.certificates[0].0, &[], &Vlek::requirements(), JUNE_2025);
    assert_eq!(verdicts(&examined, &["S13", "S3", "S11", "S6"]), [Verdict::NotChecked; 4]);
}

/// Every bit of the signed part, and of the signature after it.
#[test]
fn s1_s11_each_flipped_bit_of_a_real_report_is_refused() {
    let Some(vlek) = Vlek::read() else { return };
    let store = SnpStore { certificates: &[&vlek.asvk], crls: &[] };
    let parsed = AttestationReport::parse(&vlek.report).unwrap();
    let chain = verify_chain(&parsed, &vlek.evidence(), SnpRoots::built_in(), &store, JUNE_2025).unwrap();
    let requirements = Vlek::requirements();
    let expect = SnpExpectation { report_data: Some(vlek.report_data()), requirements: &requirements };
    assert!(verify_with(&vlek.report, &chain, &expect, JUNE_2025).is_ok());
    let mut by_row = std::collections::BTreeMap::<&str, usize>::new();
    let mut report = vlek.report.clone();
    for at in 0..report.len() {
        for bit in 0..8 {
            report[at] ^= 1 << bit;
            let refused = verify_with(&report, &chain, &expect, JUNE_2025).unwrap_err();
            assert!(!refused.is_signed_for_this_request(), "byte {at:#x}, bit {bit}: {refused}");
            *by_row.entry(refused.row()).or_default() += 1;
            report[at] ^= 1 << bit;
        }
    }
    println!("{} bits, all refused; {SIGNED} bytes are signed; by row: {by_row:?}", report.len() * 8);
    assert_eq!(by_row.values().sum::<usize>(), 1184 * 8);
}

/// `sev` reads reports too. What it reads is compared; what is verified is the bytes that were received.
#[test]
fn s1_a_report_is_read_as_the_sev_crate_reads_it() {
    for name in ["snp/milan-v2", "snp/milan-v2-debug-on", "snp/milan-v3-vlek-aws"] {
        let Some(path) = vectors(name) else { return };
        let bytes = fs::read(path.join("report.bin")).unwrap();
        let ours = AttestationReport::parse(&bytes).unwrap();
        let Ok(theirs) = sev::firmware::guest::AttestationReport::from_bytes(&bytes) else {
            // It tells version 2's layout by the chip id, and so cannot read a masked one.
            continue;
        };
        assert_eq!((ours.version, ours.guest_svn, ours.vmpl), (theirs.version, theirs.guest_svn, theirs.vmpl));
        assert_eq!((ours.report_data, ours.measurement), (theirs.report_data, theirs.measurement));
        assert_eq!((ours.host_data, ours.id_key_digest), (theirs.host_data, theirs.id_key_digest));
        assert_eq!((ours.author_key_digest, ours.report_id), (theirs.author_key_digest, theirs.report_id));
        assert_eq!((ours.report_id_ma, ours.chip_id), (theirs.report_id_ma, theirs.chip_id));
        assert_eq!((ours.family_id, ours.image_id), (theirs.family_id, theirs.image_id));
        for (raw, tcb) in [
            (ours.current_tcb, theirs.current_tcb),
            (ours.committed_tcb, theirs.committed_tcb),
            (ours.reported_tcb, theirs.reported_tcb),
            (ours.launch_tcb, theirs.launch_tcb),
        ] {
            let read = raw.read(SnpProduct::Milan, "a").unwrap();
            assert_eq!(
                (read.boot_loader, read.tee, read.snp, read.microcode),
                (tcb.bootloader, tcb.tee, tcb.snp, tcb.microcode)
            );
        }
        let version = |version: sev::firmware::guest::Version| (version.major, version.minor, version.build);
        let (current, committed) = (ours.current_version, ours.committed_version);
        assert_eq!((current.major, current.minor, current.build), version(theirs.current));
        assert_eq!((committed.major, committed.minor, committed.build), version(theirs.committed));
        assert_eq!(ours.policy.debug(), theirs.policy.debug_allowed());
        assert_eq!(ours.policy.claims().single_socket, theirs.policy.single_socket_required());
        assert_eq!(ours.platform.claims().smt, theirs.plat_info.smt_enabled());
    }
}

/// The roots of the vectors are those that are pinned, and theirs alone.
#[test]
fn s3_the_roots_of_every_product_are_built_in() {
    assert_eq!(SnpRoots::built_in().products().collect::<Vec<_>>(), SnpProduct::ALL);
    for product in SnpProduct::ALL {
        let Some(path) = vectors(&format!("snp/roots/ask_ark_{}.pem", product.name().to_lowercase())) else { return };
        let pem = fs::read(path).unwrap();
        let ders = strongroom_attest::x509::certificates(&pem).unwrap();
        assert_eq!(ders.len(), 2);
        assert!(ders.iter().any(|der| der.as_ref() == SnpRoots::built_in().ark(product).unwrap()));
    }
    assert_eq!(SnpRoots::default().ark(SnpProduct::Milan), None);
}
