//! Quotes, collateral and an event log of real TDX guests, read from `../shared/vectors/tdx` beside the project.
//!
//! Skips, with a printed reason, where that folder is absent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is how a test speaks; helpers of tests are tests too"
)]

mod vectors;

use dcap_qvl::{QuotePolicy, verify::QuoteVerifier};
use std::fs;
use strongroom_attest::{
    Pins,
    tdx::{Ccel, Collateral, Evidence, Expectation, Quote, TdxRefused, TdxRequirements, verify},
};
use strongroom_protocol::claims::{TdxClaims, TdxTcbStatus};
use vectors::vectors;

fn vector(name: &str) -> Option<Vec<u8>> {
    vectors(&format!("tdx/{name}")).map(|path| fs::read(path).unwrap())
}

/// A quote with its collateral.
fn pair(name: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    Some((vector(name)?, vector(&format!("{name}_collateral.json"))?))
}

/// Judges by what the quote itself binds, at a time; requirements as a vault has them unless told otherwise.
fn judge(
    quote: &[u8],
    collateral: &Collateral,
    at: u64,
    requirements: &TdxRequirements,
) -> Result<TdxClaims, TdxRefused> {
    let report_data = *Quote::parse(quote)?.report_data();
    let expect = Expectation {
        report_data: Some(&report_data),
        collateral: Some(collateral),
        pins: Pins::built_in(),
        at,
        requirements,
    };
    verify(&Evidence { quote, ccel: None }, &expect)
}

#[test]
fn t1_a_real_quote_verifies_while_its_collateral_is_current() {
    let Some((quote, collateral)) = pair("tdx_quote") else { return };
    let collateral = Collateral::parse(&collateral).unwrap();
    assert_eq!(*collateral.key(), Quote::parse(&quote).unwrap().key().unwrap());
    let strict = TdxRequirements::default();
    let inside = collateral.valid_from() + 3600;
    let claims = judge(&quote, &collateral, inside, &strict).unwrap();
    println!("tdx_quote: {}, {}", claims.tcb.status, claims.identity());
    assert_eq!(claims.tcb.status, TdxTcbStatus::UpToDate);
    assert_eq!((claims.platform.fmspc.as_str(), claims.tcb.evaluation_data_number), ("b0c06f000000", 17));
    assert!(claims.guest.mrtd.starts_with("91eb2b44d141d4ec") && claims.guest.rtmr3 == "00".repeat(48));
    assert_eq!(claims.guest.xfam, "00000000000602e7");
    assert_eq!(claims.tcb.collateral_expires, collateral.next_update());

    let late = judge(&quote, &collateral, collateral.next_update() + 1, &strict).unwrap_err();
    assert!(matches!(late, TdxRefused::T1CollateralExpired { .. }), "{late}");
    let early = judge(&quote, &collateral, collateral.valid_from() - 1, &strict).unwrap_err();
    assert!(matches!(early, TdxRefused::T1CollateralEarly { .. }), "{early}");
    // 22 November 2026.
    let today = judge(&quote, &collateral, 1_795_305_600, &strict).unwrap_err();
    assert!(matches!(today, TdxRefused::T1CollateralExpired { .. }), "{today}");
}

#[test]
fn t1_a_real_quote_of_old_firmware_is_refused() {
    let Some((quote, collateral)) = pair("tdx_quote_outdated") else { return };
    let collateral = Collateral::parse(&collateral).unwrap();
    let at = collateral.valid_from() + 3600;
    // Its eighth component is 3, and every level of Intel's data wants 5: compared component by component, as Intel
    // does, it is below "OutOfDate". A verifier that compares them as one number calls it OutOfDate.
    let refused = judge(&quote, &collateral, at, &every_status()).unwrap_err();
    println!("tdx_quote_outdated: {refused}");
    assert!(matches!(refused, TdxRefused::T1TcbBelow { .. }), "{refused}");
}

/// Requirements that accept every status that there is.
fn every_status() -> TdxRequirements {
    TdxRequirements { tcb_statuses: TdxTcbStatus::ALL.into(), ..TdxRequirements::default() }
}

#[test]
fn t1_intels_pinned_root_is_that_of_the_verifier() {
    let Some((quote, json)) = pair("tdx_quote") else { return };
    let collateral = Collateral::parse(&json).unwrap();
    let at = collateral.valid_from() + 3600;
    // The crate keeps its root to itself, and says only which key it has.
    let given: dcap_qvl::QuoteCollateralV3 = serde_json::from_slice(&json).unwrap();
    let claims = |verifier: QuoteVerifier| {
        verifier.verify_with_policy(&quote, &given, at, &QuotePolicy::claims_only(at)).unwrap()
    };
    let ours = claims(QuoteVerifier::new(collateral.root().to_vec()));
    assert_eq!(ours, claims(QuoteVerifier::new_prod()));
    assert!(Pins::built_in().of_certificate(strongroom_attest::PinKind::IntelSgxRoot, collateral.root()).is_some());
}

#[test]
fn t1_a_bit_flipped_in_a_real_quotes_signed_part_is_refused() {
    for name in ["tdx_quote", "tdx_quote_outdated"] {
        let Some((quote, collateral)) = pair(name) else { return };
        let collateral = Collateral::parse(&collateral).unwrap();
        let at = collateral.valid_from() + 3600;
        // The second is refused by its firmware, after its signatures held: no flipped one may come so far.
        let come_so_far =
            |result: &Result<TdxClaims, TdxRefused>| matches!(result, Ok(_) | Err(TdxRefused::T1TcbBelow { .. }));
        assert!(come_so_far(&judge(&quote, &collateral, at, &every_status())));
        let signed = Quote::parse(&quote).unwrap().signed().len();
        for byte in 0..signed {
            let mut flipped = quote.clone();
            flipped[byte] ^= 1 << (byte % 8);
            let result = judge(&flipped, &collateral, at, &every_status());
            assert!(!come_so_far(&result), "{name}: byte {byte}");
        }
        println!("{name}: {signed} bytes, one bit in each flipped, all refused");
    }
}

#[test]
fn t1_a_real_guests_log_is_replayed() {
    let Some(log) = vector("ccel-ovmf.bin") else { return };
    let ccel = Ccel::parse(&log).unwrap();
    // Computed apart from this crate. No quote of that guest is there to compare with.
    let hex: Vec<String> = ccel.rtmrs().iter().map(hex::encode).collect();
    assert!(hex[0].starts_with("8566f998798db09443b244c62de9a304") && hex[0].ends_with("90abe193"));
    assert!(hex[1].starts_with("775b9f6bfe99f8a31396f0d0218e67ff") && hex[1].ends_with("fc210c13c6"));
    assert!(hex[2].starts_with("94eaf7a7bf398ed8d888c91057ae0261") && hex[2].ends_with("bbf25f34a"));
    assert_eq!(hex[3], "00".repeat(48));
    assert_eq!((ccel.claims().events, ccel.claims().unread), (20, 2));
    println!("ccel-ovmf.bin: {} events, RTMR0 {}…", ccel.claims().events, &hex[0][..16]);
    let mut changed = log;
    let at = changed.windows(4).position(|window| window == b"ACPI").unwrap() - 10;
    changed[at] ^= 1;
    assert_ne!(Ccel::parse(&changed).map(|log| log.rtmrs().clone()), Ok(ccel.rtmrs().clone()));
}
