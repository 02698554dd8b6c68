//! A GPU's report: frame, blocks, fields, and what is judged before and without a chain.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::{
    Pins,
    nvidia::{Facts, GpuEvidence, GpuExpectation, GpuReport, GpuRequirements, Revocation, examine, verify},
};

fuzz_target!(|bytes: &[u8]| {
    let requirements = GpuRequirements::default();
    let expect = GpuExpectation {
        nonce: None,
        pins: Pins::built_in(),
        at: 1_795_305_600,
        driver_rim: None,
        vbios_rim: None,
        record: None,
        revocation: Revocation::default(),
        guest: None,
        requirements: &requirements,
    };
    let evidence = GpuEvidence { report: bytes, certificates: vec![bytes; 5] };
    assert!(verify(&evidence, &expect).is_err());
    assert!(!examine(&evidence, &expect).report.holds());
    let Ok(report) = GpuReport::parse(bytes) else { return };
    if let Ok(measurements) = report.measurements() {
        assert_eq!(measurements.len(), usize::from(report.blocks));
    }
    if let Ok(fields) = report.fields() {
        if let Ok(facts) = Facts::of(&fields) {
            assert!(facts.vbios_rim().starts_with("NV_GPU_VBIOS_"));
        }
    }
});
