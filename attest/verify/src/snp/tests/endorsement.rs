//! Row S5: what the leaf's certificate says of its key.

use super::*;
use strongroom_hardware::{
    certificate::Extension,
    snp::{CSP_ID, HWID, integer, part},
};

fn vlek(change: impl FnOnce(&mut Snp)) -> Case {
    case_of(Snp::new(Product::Genoa, Leaf::Vlek), change).asking(|ask| ask.allow_vlek = true)
}

#[test]
fn s5_the_certificate_is_for_the_reported_tcb() {
    for product in [Product::Milan, Product::Genoa, Product::Turin] {
        consistent(product, |_| {}).accepted();
        let parts: &[u64] = if product == Product::Turin { &[1, 2, 3, 8, 9] } else { &[1, 2, 3, 8] };
        for &last in parts {
            let mut case = case_of(Snp::new(product, Leaf::Vcek), |_| {});
            let value = &mut case.snp.leaf.extension(&part(last)).value;
            *value = integer(value.last().unwrap().wrapping_add(1));
            case.certificates = case.snp.chain();
            assert!(matches!(case.refused(), SnpRefused::S5Tcb { .. }), "{product:?} {last}");
            case.snp.leaf.without(&part(last));
            case.certificates = case.snp.chain();
            assert!(matches!(case.refused(), SnpRefused::S5Extension { .. }), "{product:?} {last}");
        }
    }
    for last in 4..=7 {
        let refused = case(|snp| snp.leaf.extension(&part(last)).value = integer(1)).refused();
        assert!(matches!(refused, SnpRefused::S5Extension { name: "spl_4 to spl_7", .. }), "{refused}");
    }
    let refused = case(|snp| snp.leaf.extension(&part(9)).value = integer(0)).refused();
    assert!(matches!(refused, SnpRefused::S5Extension { name: "fmcSPL", .. }), "{refused}");
}

#[test]
fn s5_numbers_from_0x80_on_take_two_bytes() {
    let claims = case(|_| {}).accepted();
    assert_eq!(claims.tcb.reported.microcode, 0x88);
    let refused = case(|snp| snp.leaf.extension(&part(8)).value = vec![2, 1, 0x88]).refused();
    assert!(matches!(refused, SnpRefused::S5Extension { name: "ucodeSPL", .. }), "{refused}");
}

#[test]
fn s5_a_vcek_is_of_the_chip_that_the_report_names() {
    case(|_| {}).accepted();
    for at in [0, 63] {
        let refused = case(|snp| snp.report.chip_id[at] ^= 1).refused();
        assert!(matches!(refused, SnpRefused::S5ChipId { .. }), "{refused}");
    }
    let turin = |change: fn(&mut Snp)| case_of(Snp::new(Product::Turin, Leaf::Vcek), change);
    turin(|_| {}).accepted();
    // Turin's ids have eight bytes: what follows is part of the report, and must be zero.
    assert!(matches!(turin(|snp| snp.report.chip_id[8] = 1).refused(), SnpRefused::S5ChipId { .. }));
    assert!(matches!(turin(|snp| snp.report.chip_id[7] ^= 1).refused(), SnpRefused::S5ChipId { .. }));
    let long = turin(|snp| snp.leaf.extension(&HWID).value = snp.report.chip_id.to_vec()).refused();
    assert!(matches!(long, SnpRefused::S5Extension { name: "HWID", .. }), "{long}");
    // The octets stand by themselves, without DER around them.
    let wrapped = case(|snp| {
        snp.leaf.extension(&HWID).value = [&[4, 64][..], &snp.report.chip_id].concat();
    });
    assert!(matches!(wrapped.refused(), SnpRefused::S5Extension { name: "HWID", .. }));
    let missing = case(|snp| snp.leaf.without(&HWID)).refused();
    assert!(matches!(missing, SnpRefused::S5Extension { name: "HWID", problem: "is missing", .. }), "{missing}");
}

#[test]
fn s5_a_masked_chip_id_goes_with_a_vlek_only() {
    let claims = vlek(|snp| snp.report.chip_id = [0; 64]).accepted();
    assert_eq!((claims.chip_id.clone(), claims.identity()), (None, None));
    assert!(vlek(|_| {}).accepted().identity().is_some());
    assert_eq!(case(|snp| snp.report.chip_id = [0; 64]).refused(), SnpRefused::S5Masked);
    let zeros = consistent(Product::Genoa, |snp| snp.report.chip_id = [0; 64]).refused();
    assert_eq!(zeros, SnpRefused::S5Masked);
    let none = Case { certificates: Vec::new(), ..case(|snp| snp.report.chip_id = [0; 64]) };
    assert_eq!(none.refused(), SnpRefused::S5Masked);
}

#[test]
fn s5_a_vlek_names_its_provider_and_no_chip() {
    assert_eq!(vlek(|_| {}).accepted().csp_id.as_deref(), Some("CN=cloud.example"));
    let wrong = |case: Case| match case.refused() {
        SnpRefused::S5Extension { name, .. } => name,
        other => panic!("{other}"),
    };
    assert_eq!(wrong(vlek(|snp| snp.leaf.extensions.push(Extension::plain(&HWID, vec![1; 64])))), "HWID");
    assert_eq!(wrong(vlek(|snp| snp.leaf.without(&CSP_ID))), "CSP_ID");
    assert_eq!(wrong(vlek(|snp| snp.leaf.extension(&CSP_ID).value = b"\x16\x00".to_vec())), "CSP_ID");
    assert_eq!(wrong(case(|snp| snp.leaf.extensions.push(Extension::plain(&CSP_ID, b"\x16\x01x".to_vec())))), "CSP_ID");
}
