//! A Hopper's report and NVIDIA's manifests, read from `../shared/vectors` beside the project (rows G1 to G3).
//!
//! Skips, with a printed reason, where that folder is absent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is how a test speaks; helpers of tests are tests too"
)]

mod vectors;

use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::fs;
use strongroom_attest::{
    Pins,
    Verdict::{NotChecked as N, Passed as P},
    nvidia::{self, GpuEvidence, GpuExpectation, GpuRefused, GpuRequirements, GuestWord, Revocation, RimKind, rim},
};
use vectors::vectors;

/// 2025-01-01: inside the validity of every chain.
const AT: u64 = 1_735_689_600;
/// 2026-11-22: the manifests' signers have expired, the device's certificates never do.
const NOW: u64 = 1_795_305_600;

struct Hopper {
    report: Vec<u8>,
    chain: Vec<CertificateDer<'static>>,
    nonce: [u8; 32],
    requirements: GpuRequirements,
}

impl Hopper {
    fn read() -> Option<Self> {
        let report = hex::decode(fs::read_to_string(vectors("nvidia/hopper-report.hex")?).unwrap().trim()).unwrap();
        let pem = fs::read(vectors("nvidia/hopper-cert-chain.pem")?).unwrap();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap();
        let nonce = report[4..36].try_into().unwrap();
        let requirements = GpuRequirements { manifests: false, revocation_max_age: None, ..GpuRequirements::default() };
        Some(Self { report, chain, nonce, requirements })
    }

    fn evidence<'a>(&'a self, report: &'a [u8]) -> GpuEvidence<'a> {
        GpuEvidence { report, certificates: self.chain.iter().map(AsRef::as_ref).collect() }
    }

    fn expectation(&self) -> GpuExpectation<'_> {
        GpuExpectation {
            nonce: Some(&self.nonce),
            pins: Pins::built_in(),
            at: NOW,
            driver_rim: None,
            vbios_rim: None,
            record: None,
            revocation: Revocation::default(),
            guest: Some(GuestWord { confidential: true, devtools: false }),
            requirements: &self.requirements,
        }
    }
}

#[test]
fn g1_g2_a_hoppers_report_and_chain_and_firmware_verify() {
    let Some(hopper) = Hopper::read() else { return };
    let mut evidence = hopper.evidence(&hopper.report);
    let claims = nvidia::verify(&evidence, &hopper.expectation()).unwrap();
    assert_eq!(claims.device, "41431d480fe5e87274");
    assert_eq!(claims.report_key, "53c22ba15e5d68088282da074ed9fb37aa585771");
    assert_eq!(claims.model, "GH100 A01 GSP BROM");
    assert_eq!((claims.driver_version.as_str(), claims.vbios_version.as_str()), ("550.90.07", "96.00.9F.00.01"));
    assert_eq!(claims.driver_rim, "NV_GPU_DRIVER_GH100_550.90.07");
    assert_eq!(claims.vbios_rim, "NV_GPU_VBIOS_1010_0200_882_96009F0001");
    assert_eq!(claims.measurements.len(), 64);
    assert_eq!((claims.mode, claims.protected_pcie, claims.nvdec0_enabled), (None, Some(false), Some(false)));
    assert!(claims.manifests.is_none());

    // The same in any order; not with one less, nor before the first of them is valid.
    evidence.certificates.reverse();
    assert_eq!(nvidia::verify(&evidence, &hopper.expectation()).unwrap(), claims);
    evidence.certificates.pop();
    assert!(matches!(nvidia::verify(&evidence, &hopper.expectation()), Err(GpuRefused::G2Chain { .. })));
    let early = GpuExpectation { at: 1_600_000_000, ..hopper.expectation() };
    let refused = nvidia::verify(&hopper.evidence(&hopper.report), &early).unwrap_err();
    assert!(matches!(refused, GpuRefused::G2Validity { .. }), "{refused}");
    let nobody = Pins::default();
    let unpinned = GpuExpectation { pins: &nobody, ..hopper.expectation() };
    let refused = nvidia::verify(&hopper.evidence(&hopper.report), &unpinned).unwrap_err();
    assert!(matches!(refused, GpuRefused::G2Root { .. }), "{refused}");
    println!("hopper-report.hex, hopper-cert-chain.pem: signature, chain and firmware verify");
}

#[test]
fn g3_g5_what_a_hoppers_report_does_not_show_is_not_passed() {
    let Some(hopper) = Hopper::read() else { return };
    let expect = GpuExpectation { guest: None, ..hopper.expectation() };
    let refused = nvidia::verify(&hopper.evidence(&hopper.report), &expect).unwrap_err();
    assert!(matches!(refused, GpuRefused::G5Unknown { .. }), "{refused}");
    let judged = nvidia::examine(&hopper.evidence(&hopper.report), &expect);
    assert!(judged.report.holds() && judged.claims.is_some(), "{}", judged.report);
    let verdicts = ["G1", "G2", "G3", "G4", "G5"].map(|row| judged.report.verdict(row).unwrap());
    assert_eq!(verdicts, [P, P, N, N, N], "{}", judged.report);
    // The strict default asks for more than a vector alone can show.
    let strict = GpuRequirements::default();
    let expect = GpuExpectation { requirements: &strict, ..hopper.expectation() };
    let refused = nvidia::verify(&hopper.evidence(&hopper.report), &expect).unwrap_err();
    assert!(matches!(refused, GpuRefused::G3Missing { rim: RimKind::Driver, .. }), "{refused}");
}

const MANIFESTS: [(&str, &str, &str, usize); 3] = [
    ("driver-rim-test-no-gpu.swidtag", "NV_GPU_DRIVER_GH100_545.00", "545.00", 21),
    ("vbios-rim-test-no-gpu.swidtag", "NV_GPU_VBIOS_1010_0200_882_96005E0001", "96.00.5E.00.01", 12),
    ("vbios-rim-prod-1010_0200_882_96005E0001.swidtag", "NV_GPU_VBIOS_1010_0200_882_96005E0001", "96.00.5E.00.01", 12),
];

#[test]
fn g3_the_signatures_of_nvidias_manifests() {
    for (file, id, version, active) in MANIFESTS {
        let Some(path) = vectors(&format!("nvidia/{file}")) else { return };
        let bytes = fs::read(path).unwrap();
        let (read, golden) = rim::read_unverified(RimKind::of_id(id).unwrap(), &bytes).unwrap();
        assert_eq!((read.as_str(), golden.len()), (version, 64));
        assert_eq!(golden.values().filter(|golden| golden.active).count(), active, "{file}");
        let rim = rim::verify(id, &bytes, Pins::built_in(), AT).unwrap();
        assert_eq!(rim.golden(), &golden);
        let expired = rim::verify(id, &bytes, Pins::built_in(), NOW).unwrap_err();
        assert!(matches!(expired, GpuRefused::G3Validity { .. }), "{expired}");
        // Another version's id; a changed value; any byte of what is signed.
        let other = rim::verify(&id.replace('5', "6"), &bytes, Pins::built_in(), AT).unwrap_err();
        assert!(matches!(other, GpuRefused::G3Version { .. }), "{other}");
        for at in (0..bytes.len()).step_by(509) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            match rim::verify(id, &changed, Pins::built_in(), AT) {
                // White space of base64, and of tags, is in no signature.
                Ok(same) => assert_eq!(same.golden(), &golden, "byte {at}"),
                Err(refused) => assert_eq!(refused.row(), "G3", "byte {at}: {refused}"),
            }
        }
        println!("{file}: signature and chain hold at {AT}; at {NOW}: {expired}");
    }
}

#[test]
fn g3_manifests_of_another_version_than_the_hoppers_are_refused() {
    let (Some(hopper), Some(path)) = (Hopper::read(), vectors(&format!("nvidia/{}", MANIFESTS[0].0))) else { return };
    let driver = rim::verify(MANIFESTS[0].1, &fs::read(path).unwrap(), Pins::built_in(), AT).unwrap();
    let expect = GpuExpectation { driver_rim: Some(&driver), at: AT, ..hopper.expectation() };
    let refused = nvidia::verify(&hopper.evidence(&hopper.report), &expect).unwrap_err();
    assert!(matches!(refused, GpuRefused::G3Id { rim: RimKind::Driver, .. }), "{refused}");
    assert!(refused.is_signed_for_this_request());
}
