//! What vendors publish, as it comes into a store: certificates, lists, answers, collateral, manifests. Nothing found by
//! chance is vouched for by a pinned root.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::{
    Pins,
    endorsements::{Found, Store},
    nvidia::Revocation,
    x509::{Certificate, Crl, certificates},
};

/// 22 November 2026.
const AT: u64 = 1_795_305_600;

fuzz_target!(|bytes: &[u8]| {
    let _ = Revocation { crls: &[bytes], ocsp: &[] }.check_form();
    let _ = Revocation { crls: &[], ocsp: &[bytes] }.check_form();
    if let Ok(list) = Crl::parse(bytes) {
        assert!(list.validity().is_err() || !list.revokes(&[0; 21]));
    }
    for der in certificates(bytes).unwrap_or_default() {
        if let Ok(certificate) = Certificate::parse(&der) {
            assert_eq!(certificate.der(), der.as_ref());
            assert!(!certificate.subject().chars().any(char::is_control));
        }
    }
    let found = Found::read(bytes);
    // Of no root, nothing is taken; of the pinned ones, only what was recognised.
    assert!(Store::default().import(bytes, Some("NV_GPU_DRIVER_GH100_545.00"), AT).is_err());
    let mut store = Store::new(Pins::built_in().clone());
    if let Ok(taken) = store.import(bytes, Some("NV_GPU_DRIVER_GH100_545.00"), AT) {
        assert_eq!(found.map(|found| found.len()), Ok(taken.len()));
        assert!(store.check(AT).len() <= taken.len());
    }
});
