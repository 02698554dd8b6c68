//! The quote's form, and what it binds.

use super::*;

#[test]
fn t1_quotes_of_each_version_are_accepted() {
    for (version, kind) in [(4, BodyKind::Td10), (5, BodyKind::Td10), (5, BodyKind::Td15), (5, BodyKind::Td15Ex)] {
        let claims = accepted(|tdx| (tdx.quote.version, tdx.quote.body.kind) = (version, kind));
        assert_eq!(claims.platform.ppid, "0102030405060708090a0b0c0d0e0f10");
        assert_eq!(claims.identity().to_string(), "tdx-ppid:0102030405060708090a0b0c0d0e0f10");
        assert_eq!((claims.platform.fmspc.as_str(), claims.platform.pce_svn), ("b0c06f000000", 13));
        assert_eq!((claims.platform.smt, claims.platform.instance_id.unwrap()), (Some(true), "07".repeat(16)));
        assert_eq!(claims.tcb.status, TdxTcbStatus::UpToDate);
        assert_eq!((claims.tcb.evaluation_data_number, claims.tcb.advisories.len()), (20, 0));
        // 20 June 2026: TCB info expires first.
        assert_eq!(claims.tcb.collateral_expires, AT + 19 * 86_400);
        assert_eq!((claims.guest.mrtd, claims.guest.rtmr2), ("41".repeat(48), "12".repeat(48)));
        assert_eq!(claims.guest.attributes, [TdxAttribute::SeptVeDisable]);
        assert_eq!(claims.guest.xfam, "00000000000602e7");
        assert_eq!(claims.guest.td_id.is_some(), kind == BodyKind::Td15Ex);
        assert_eq!(claims.module.current_tee_tcb_svn.is_some(), kind != BodyKind::Td10);
        assert_eq!(claims.log, None);
    }
}

#[test]
fn t1_a_quote_of_another_request_is_refused() {
    accepted(|tdx| tdx.quote.body.report_data = [0x77; 64]);
    for at in [0, 31, 32, 63] {
        let refused = refused(|tdx| tdx.quote.body.report_data[at] ^= 1);
        assert!(matches!(refused, TdxRefused::T1ReportData { .. }), "{refused}");
        assert!(!refused.is_signed_for_this_request());
        assert_eq!(refused.row(), "T1");
    }
}

#[test]
fn t1_a_quote_of_another_kind_is_refused() {
    let kind = |change: fn(&mut Tdx)| match refused(change) {
        TdxRefused::T1Kind { field, .. } => field,
        TdxRefused::T1Malformed { .. } => "layout",
        other => panic!("{other}"),
    };
    assert_eq!(kind(|tdx| tdx.quote.version = 3), "layout");
    assert_eq!(kind(|tdx| tdx.quote.version = 6), "layout");
    assert_eq!(kind(|tdx| (tdx.quote.version, tdx.quote.tee_type) = (5, 0)), "kind");
    assert_eq!(kind(|tdx| tdx.quote.tee_type = 0x80), "layout");
    assert_eq!(kind(|tdx| tdx.quote.key_type = 3), "attestation key");
    assert_eq!(kind(|tdx| tdx.quote.vendor[0] ^= 1), "quoting enclave's vendor");
    assert_eq!(kind(|tdx| tdx.quote.certification = 5), "certification data");
    assert_eq!(kind(|tdx| tdx.quote.enclave_certification = 3), "enclave's certification data");
}

#[test]
fn t1_only_zeros_may_follow_a_quote() {
    accepted(|tdx| tdx.quote.trailing = vec![0; 70]);
    let refused = refused(|tdx| tdx.quote.trailing = vec![0, 0, 1]);
    assert!(matches!(refused, TdxRefused::T1Malformed { .. }), "{refused}");
}

#[test]
fn t1_a_quote_that_is_cut_off_or_does_not_fill_its_sizes_is_refused() {
    let quote = Tdx::default().quote();
    keep_seed("tdx_quote", "v4", &quote);
    keep_seed(
        "tdx_quote",
        "v5",
        &changed(|tdx| (tdx.quote.version, tdx.quote.body.kind) = (5, BodyKind::Td15Ex)).quote(),
    );
    assert!(Quote::parse(&quote).is_ok());
    for length in (0..quote.len()).step_by(7).chain([quote.len() - 1]) {
        assert!(Quote::parse(&quote[..length]).is_err(), "{length} bytes");
    }
    // One byte more in the outer size, with a byte for it: nothing reads it, and nothing signs it.
    let mut padded = quote.clone();
    padded.push(0);
    let (sizes, outer) = (632, 632 + 4 + 128 + 2);
    for at in [sizes, outer] {
        let size = u32::from_le_bytes(padded[at..at + 4].try_into().unwrap()) + 1;
        padded[at..at + 4].copy_from_slice(&size.to_le_bytes());
    }
    assert!(matches!(Quote::parse(&padded), Err(TdxRefused::T1Malformed { .. })));
    let long = vec![0; strongroom_protocol::limits::TDX_QUOTE + 1];
    assert!(matches!(Quote::parse(&long), Err(TdxRefused::T1TooLong { .. })));
}

#[test]
fn t1_certificates_in_the_quote_are_counted() {
    let of = |text: &str| {
        let text = text.to_owned();
        match refused(move |tdx| tdx.quote.certificates = Some(text)) {
            TdxRefused::T1Certificates { problem } => problem,
            other => panic!("{other}"),
        }
    };
    let honest = Tdx::default();
    let quote = honest.quote();
    let text = String::from_utf8_lossy(&quote).into_owned();
    let first = &text[text.find("-----BEGIN").unwrap()..];
    let first = &first[..first.find("-----END CERTIFICATE-----\n").unwrap() + 26];
    // A fourth is not needed, and harms nothing.
    accepted(|tdx| tdx.certificates.more = first.to_owned());
    assert!(of(&first.repeat(5)).contains("more than four"));
    assert!(of("").contains("none"));
    assert!(of("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").contains("PEM"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn t1_any_bytes_are_refused_without_a_crash(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Quote::parse(&bytes).is_err());
        prop_assert!(Ccel::parse(&bytes).is_err());
        prop_assert!(Collateral::parse(&bytes).is_err());
    }
}

#[test]
fn t1_a_bit_flipped_anywhere_is_never_taken_for_the_quote_that_was_signed() {
    let tdx = Tdx::default();
    let (quote, pins, collateral) = (tdx.quote(), pins(&tdx), collateral_of(&tdx));
    let honest = Given::default();
    let expect = Expectation {
        report_data: Some(&honest.report_data),
        collateral: Some(&collateral),
        pins: &pins,
        at: AT,
        requirements: &honest.requirements,
    };
    let judge = |quote: &[u8]| verify(&Evidence { quote, ccel: None }, &expect);
    let claims = judge(&quote).unwrap();
    let signed = Quote::parse(&quote).unwrap().signed().len();
    for at in 0..quote.len() {
        // Every byte of what is signed; behind it, where certificates are long, every third.
        if at >= signed && at % 3 != 0 {
            continue;
        }
        let mut flipped = quote.clone();
        flipped[at] ^= 1 << (at % 8);
        match judge(&flipped) {
            Err(_) => {}
            // PEM has bits that nobody reads, such as the case of a newline; what is claimed is the same.
            Ok(read) => assert!(at >= signed && read == claims, "byte {at}"),
        }
    }
}
