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
use rustls_pki_types::{CertificateDer, pem::PemObject};
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
    // Intel's algorithm ends with "if no TCB level matches, your TCB level is not supported", and its library with
    // TCB_NOT_SUPPORTED: components are compared one by one, so that a platform can be below every level. This one is:
    // its eighth component is 3, and each level wants 5. A verifier that compares all components as one number calls it
    // OutOfDate, which a policy may permit.
    let info: dcap_qvl::TcbInfo =
        serde_json::from_str(collateral_of("tdx_quote_outdated", "tcb_info").as_str()).unwrap();
    let parsed = dcap_qvl::quote::Quote::parse(&quote).unwrap();
    let pck = CertificateDer::from_pem_slice(parsed.inner_cert_data()).unwrap();
    let pck = dcap_qvl::intel::parse_pck_extension(&pck).unwrap();
    let tee = parsed.report.as_td10().unwrap().tee_tcb_svn;
    let short = |level: &dcap_qvl::TcbLevel| level.shortfalls(&pck.cpu_svn, pck.pce_svn, Some(&tee)).unwrap();
    for level in &info.tcb_levels {
        println!("{:?}: {:?}", level.tcb_status, short(level));
        assert!(!short(level).is_empty());
    }
    assert!(info.tcb_levels.iter().any(|level| level.tcb_status == dcap_qvl::TcbStatus::OutOfDate));
    let refused = judge(&quote, &collateral, at, &every_status()).unwrap_err();
    println!("tdx_quote_outdated: {refused}");
    assert!(matches!(refused, TdxRefused::T1TcbBelow { .. }), "{refused}");
    let lacks = "of its nearest level, OutOfDate, it lacks: SGX component 8 is 3, needed is 5";
    assert!(refused.to_string().contains(lacks), "{refused}");
}

/// A part of a vector's collateral.
fn collateral_of(name: &str, part: &str) -> String {
    let json: serde_json::Value = serde_json::from_slice(&vector(&format!("{name}_collateral.json")).unwrap()).unwrap();
    json[part].as_str().unwrap().to_owned()
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
