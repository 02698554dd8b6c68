//! Rows S1 and S2, and what no bytes may do.

use super::*;
use proptest::prelude::*;

#[test]
fn s1_versions_3_to_5_count_and_2_in_azures_envelope_alone() {
    for version in [3, 4, 5] {
        case(|snp| snp.report.version = version).accepted();
    }
    for version in [0, 1, 2, 6, 0x0300_0000] {
        let refused = case(|snp| snp.report.version = version).refused();
        assert_eq!(refused, SnpRefused::S1Version { got: version });
    }
    let second = case(|snp| snp.report.version = 2).snp.report_bytes();
    assert_eq!(parse(&second, Place::Azure).unwrap().version, 2);
    assert_eq!(parse(&second, Place::Bare), Err(SnpRefused::S1Version { got: 2 }));
}

#[test]
fn s1_reserved_bytes_are_zero_in_each_version() {
    let always: Vec<usize> = (0x4c..0x50).chain(0x18b..0x1a0).chain([0x1eb, 0x1ef]).chain(0x208..0x2a0).collect();
    for (version, more) in
        [(2, (0x188..0x18b).chain(0x1f8..0x208)), (3, (0x1f8..0x208).chain(0..0)), (5, (0..0).chain(0..0))]
    {
        let mut snp = Snp::default();
        snp.report.version = version;
        snp.report.cpu = [0; 3];
        assert!(AttestationReport::parse(&snp.report_bytes()).is_ok());
        for at in always.iter().copied().chain(more) {
            snp.report.set = vec![(at, 0x80)];
            let refused = AttestationReport::parse(&snp.report_bytes()).unwrap_err();
            assert_eq!(refused, SnpRefused::S1Reserved { at, got: 0x80 }, "version {version}");
        }
    }
    assert_eq!(case(|snp| snp.report.set.push((0x4c, 1))).refused().row(), "S1");
}

#[test]
fn s1_bits_and_values_that_are_not_known_are_refused() {
    case(|snp| snp.report.platform = 0b1011_1111).accepted();
    for bit in 26..64 {
        let refused = case(|snp| snp.report.policy |= 1 << bit).refused();
        assert_eq!(refused, SnpRefused::S1Bits { field: "POLICY", unknown: 1 << bit });
    }
    assert_eq!(case(|snp| snp.report.policy &= !(1 << 17)).refused(), SnpRefused::S1PolicyOne);
    for bit in [6, 8, 63] {
        let refused = case(|snp| snp.report.platform |= 1 << bit).refused();
        assert_eq!(refused, SnpRefused::S1Bits { field: "PLATFORM_INFO", unknown: 1 << bit });
    }
    let refused = case(|snp| snp.report.key_info = 1 << 5).refused();
    assert_eq!(refused, SnpRefused::S1Bits { field: "KEY_INFO", unknown: 1 << 5 });
    for key in 2..7 {
        assert_eq!(case(|snp| snp.report.key_info = key << 2).refused(), SnpRefused::S1SigningKey { got: key });
    }
    for algorithm in [0, 2] {
        let refused = case(|snp| snp.report.algorithm = algorithm).refused();
        assert_eq!(refused, SnpRefused::S1Algorithm { got: algorithm });
    }
}

#[test]
fn s1_a_report_has_one_length() {
    let report = case(|_| {}).snp.report_bytes();
    assert!(AttestationReport::parse(&report).is_ok());
    for wrong in [&report[..1183], &[&report[..], &[0]].concat(), &[]] {
        let refused = AttestationReport::parse(wrong).unwrap_err();
        assert_eq!(refused, SnpRefused::S1Length { expected: 1184, actual: wrong.len() });
    }
}

#[test]
fn s2_the_product_is_told_by_family_and_model() {
    let product = |family, model| Cpu { family, model, stepping: 0 }.product();
    for (family, models, expected) in [
        (0x19, 0x00..=0x0f, SnpProduct::Milan),
        (0x19, 0x10..=0x1f, SnpProduct::Genoa),
        (0x19, 0xa0..=0xaf, SnpProduct::Genoa),
        (0x1a, 0x00..=0x11, SnpProduct::Turin),
    ] {
        for model in models {
            assert_eq!(product(family, model), Some(expected));
        }
    }
    for (family, model) in [(0x17, 0x31), (0x19, 0x20), (0x19, 0x9f), (0x19, 0xb0), (0x1a, 0x12), (0x1a, 0x50), (0, 0)]
    {
        assert_eq!(product(family, model), None);
        let refused = case(|snp| snp.report.cpu = [family, model, 0]).refused();
        assert_eq!(refused, SnpRefused::S2Unknown { family, model });
    }
}

#[test]
fn s2_policy_may_refuse_a_line_of_products() {
    let refusing = |product| case(|_| {}).asking(|ask| ask.refused_products = [product].into());
    refusing(SnpProduct::Milan).accepted();
    let refused = refusing(SnpProduct::Genoa).refused();
    assert_eq!(refused, SnpRefused::S2Refused { product: SnpProduct::Genoa });
    assert!(refused.is_signed_for_this_request());
}

/// Seeds of `fuzz/`: right inputs of each shape.
#[test]
fn seeds_are_kept() {
    for product in [Product::Milan, Product::Genoa, Product::Turin] {
        for version in [2, 3, 5] {
            let snp = case_of(Snp::new(product, Leaf::Vcek), |snp| snp.report.version = version).snp;
            let bytes = [snp.report_bytes(), snp.leaf.der()].concat();
            crate::seeds::keep("snp_report", &format!("{}-{version}", product.name()), &bytes);
        }
    }
}

proptest! {
    #[test]
    fn s1_no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1300)) {
        let _ = AttestationReport::parse(&bytes);
        let mut report = case(|_| {}).snp.report.clone().sign(&strongroom_hardware::snp::keys().leaf);
        report.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
        let certificates = [Bytes(bytes.clone())];
        let evidence = SnpEvidence { report: &report, certificates: &certificates, aux: Some(&bytes) };
        let requirements = SnpRequirements::default();
        let expect = SnpExpectation { report_data: None, requirements: &requirements };
        let store = SnpStore { certificates: &[&bytes], crls: &[&bytes] };
        prop_assert!(verify(&evidence, &expect, SnpRoots::built_in(), &store, AT).is_err());
        let examined = examine(&evidence, &expect, SnpRoots::built_in(), &store, AT);
        prop_assert!(examined.claims.is_none());
    }
}
