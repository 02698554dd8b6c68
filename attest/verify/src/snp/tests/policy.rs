//! Rows S6, S7 and S8: what policy asks for, and what no policy may allow.

use super::*;

#[test]
fn s6_reported_is_not_above_committed_nor_committed_above_current() {
    for product in [Product::Milan, Product::Genoa, Product::Turin] {
        let parts = if product == Product::Turin { [0, 1, 2, 3, 7] } else { [0, 1, 6, 7, 7] };
        for at in parts {
            let name = |case: Case| match case.refused() {
                SnpRefused::S6Order { low, high, .. } => (low, high),
                other => panic!("{other}"),
            };
            consistent(product, |snp| {
                snp.report.current_tcb[at] += 2;
                snp.report.committed_tcb[at] += 1;
            })
            .accepted();
            let reported = consistent(product, |snp| {
                snp.report.reported_tcb[at] += 1;
                snp.report.current_tcb[at] += 1;
            });
            assert_eq!(name(reported), ("reported", "committed"), "{product:?} {at}");
            let committed = consistent(product, |snp| snp.report.committed_tcb[at] += 1);
            assert_eq!(name(committed), ("committed", "current"), "{product:?} {at}");
        }
    }
}

#[test]
fn s6_reserved_bytes_of_every_tcb_are_zero() {
    for (product, reserved) in [(Product::Genoa, 2..6), (Product::Turin, 4..7)] {
        consistent(product, |_| {}).accepted();
        for at in reserved {
            let changes: [fn(&mut Snp, usize); 3] = [
                |snp, at| snp.report.current_tcb[at] = 1,
                |snp, at| snp.report.committed_tcb[at] = 1,
                |snp, at| snp.report.launch_tcb[at] = 1,
            ];
            for change in changes {
                let refused = case_of(Snp::new(product, Leaf::Vcek), |snp| change(snp, at)).refused();
                assert!(matches!(refused, SnpRefused::S6Reserved { .. }), "{refused}");
            }
            // The reported one is held against the certificate before.
            let refused = case_of(Snp::new(product, Leaf::Vcek), |snp| snp.report.reported_tcb[at] = 1).verify();
            assert!(matches!(refused, Err(SnpRefused::S5Tcb { .. })), "{refused:?}");
        }
    }
}

/// A TCB that was rolled back, on each of the three that policy reads, for each part.
#[test]
fn s6_minima_hold_for_reported_committed_and_launch_part_by_part() {
    let minimum = |which: &str, part: &str, value: u8| {
        let mut tcb = MinimumTcb::default();
        *match part {
            "FMC" => &mut tcb.fmc,
            "boot loader" => &mut tcb.boot_loader,
            "TEE" => &mut tcb.tee,
            "SNP" => &mut tcb.snp,
            _ => &mut tcb.microcode,
        } = value;
        let mut all = MinimumTcbs::default();
        *match which {
            "reported" => &mut all.reported,
            "committed" => &mut all.committed,
            _ => &mut all.launch,
        } = tcb;
        all
    };
    for (product, key, parts) in [
        (Product::Milan, SnpProduct::Milan, &[(0, "boot loader"), (1, "TEE"), (6, "SNP"), (7, "microcode")][..]),
        (
            Product::Turin,
            SnpProduct::Turin,
            &[(0, "FMC"), (1, "boot loader"), (2, "TEE"), (3, "SNP"), (7, "microcode")],
        ),
    ] {
        for &(at, part) in parts {
            for which in ["reported", "committed", "launch"] {
                // All three are at 9 but one, which is at 8.
                let case = |asked: u8| {
                    consistent(product, |snp| {
                        let report = &mut snp.report;
                        for tcb in [&mut report.reported_tcb, &mut report.committed_tcb, &mut report.launch_tcb] {
                            tcb[at] = 9;
                        }
                        report.current_tcb[at] = 9;
                        match which {
                            "reported" => report.reported_tcb[at] = 8,
                            "committed" => (report.committed_tcb[at], report.reported_tcb[at]) = (8, 8),
                            _ => report.launch_tcb[at] = 8,
                        }
                    })
                    .asking(|ask| ask.minimum_tcb = [(key, minimum(which, part, asked))].into())
                };
                case(8).accepted();
                let refused = case(9).refused();
                let expected = SnpRefused::S6Minimum { which, product: key, part, expected: 9, got: 8 };
                assert_eq!(refused, expected);
                assert!(refused.is_signed_for_this_request());
            }
        }
    }
    let fmc = case(|_| {}).asking(|ask| ask.minimum_tcb = [(SnpProduct::Genoa, minimum("reported", "FMC", 1))].into());
    assert!(matches!(fmc.refused(), SnpRefused::S6Minimum { part: "FMC", .. }));
    let other = case(|_| {}).asking(|ask| ask.minimum_tcb = [(SnpProduct::Turin, MinimumTcbs::default())].into());
    assert_eq!(other.refused(), SnpRefused::S6NoMinimum { product: SnpProduct::Genoa });
}

#[test]
fn s6_mitigations_are_in_both_vectors() {
    let asking = |version: u32, vectors: [u64; 2], bits: &[u8]| {
        case(|snp| {
            snp.report.version = version;
            snp.report.mitigations = vectors;
        })
        .asking(|ask| ask.mitigations = bits.iter().copied().collect())
    };
    asking(5, [0b101, 0b111], &[0, 2]).accepted();
    asking(5, [1 << 63, 1 << 63], &[63]).accepted();
    asking(3, [0, 0], &[]).accepted();
    let missing = |which, bit| SnpRefused::S6Mitigation { which, bit };
    assert_eq!(asking(5, [0b101, 0b111], &[1]).refused(), missing("launch", 1));
    assert_eq!(asking(5, [0b111, 0b101], &[1]).refused(), missing("current", 1));
    // A bit that no vector has is never there.
    assert_eq!(asking(5, [u64::MAX, u64::MAX], &[64]).refused(), missing("launch", 64));
    assert_eq!(asking(4, [0b111, 0b111], &[1]).refused(), SnpRefused::S6NoMitigations { version: 4 });
}

#[test]
fn s7_debugging_and_migration_are_refused_whatever_policy_says() {
    case(|_| {}).accepted();
    let lenient = |change: fn(&mut Snp)| case(change).asking(|ask| ask.allow_missing_crl = true).refused();
    assert_eq!(lenient(|snp| snp.report.policy |= 1 << 19), SnpRefused::S7Debug);
    assert!(matches!(lenient(|snp| snp.report.policy |= 1 << 18), SnpRefused::S7Migration { .. }));
    assert!(matches!(lenient(|snp| snp.report.report_id_ma[31] = 0), SnpRefused::S7Migration { .. }));
}

#[test]
fn s7_the_hosts_setup_is_as_policy_asks() {
    type Change = fn(&mut Snp);
    type Ask = fn(&mut SnpRequirements);
    let rows: [(&str, Ask, Change, Change); 6] = [
        ("smt_off", |ask| ask.smt_off = true, |snp| snp.report.platform &= !1, |snp| snp.report.platform |= 1),
        (
            "single_socket",
            |ask| ask.single_socket = true,
            |snp| snp.report.policy |= 1 << 20,
            |snp| snp.report.policy &= !(1 << 20),
        ),
        ("cxl_off", |ask| ask.cxl_off = true, |_| {}, |snp| snp.report.policy |= 1 << 21),
        ("aes_256_xts", |ask| ask.aes_256_xts = true, |snp| snp.report.policy |= 1 << 22, |_| {}),
        (
            "ciphertext_hiding",
            |ask| ask.ciphertext_hiding = true,
            |snp| snp.report.platform |= 1 << 4,
            // What the guest's owner asks for is not what the platform does.
            |snp| snp.report.policy |= 1 << 24,
        ),
        (
            "alias_check_complete",
            |ask| ask.alias_check_complete = true,
            |snp| snp.report.platform |= 1 << 5,
            |snp| snp.report.platform &= !(1 << 5),
        ),
    ];
    for (name, ask, good, bad) in rows {
        case(good).asking(ask).accepted();
        case(bad).accepted();
        match case(bad).asking(ask).refused() {
            SnpRefused::S7Setup { requirement, .. } => assert_eq!(requirement, name),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn s8_the_level_is_exactly_the_one_that_policy_names() {
    for level in [0, 1, 3] {
        case(|snp| snp.report.vmpl = level).asking(|ask| ask.vmpl = level).accepted();
    }
    for (got, expected) in [(1, 0), (0, 1), (u32::MAX, 0)] {
        let refused = case(|snp| snp.report.vmpl = got).asking(|ask| ask.vmpl = expected).refused();
        assert_eq!(refused, SnpRefused::S8Vmpl { expected, got });
    }
}

#[test]
fn requirements_are_read_strictly_and_the_default_is_strict() {
    let read = |json: &str| serde_json::from_str::<SnpRequirements>(json);
    assert_eq!(read("{}").unwrap(), SnpRequirements::default());
    let some = r#"{"refused_products":["milan"],"minimum_tcb":{"turin":{"launch":{"fmc":1,"microcode":70}}},"mitigations":[3]}"#;
    let some = read(some).unwrap();
    assert_eq!(some.minimum_tcb[&SnpProduct::Turin].launch.microcode, 70);
    assert_eq!(serde_json::from_str::<SnpRequirements>(&serde_json::to_string(&some).unwrap()).unwrap(), some);
    for wrong in
        [r#"{"debug":true}"#, r#"{"refused_products":["rome"]}"#, r#"{"minimum_tcb":{"milan":{"current":{}}}}"#]
    {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
