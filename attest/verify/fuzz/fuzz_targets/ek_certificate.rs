//! An EK certificate, and certificates for the store: profile and path building over arbitrary DER.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::{TrustAnchors, enrol::verify_ek_certificate, tpm::Public};

/// An ECDSA AK on P-256: any key does, since no certificate found by chance is of it.
const PUBLIC: &[u8] = b"\x00\x23\x00\x0b\x00\x05\x00\x72\x00\x00\x00\x10\x00\x18\x00\x0b\x00\x03\x00\x10\
      \x00\x20\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\
      \x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96\
      \x00\x20\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\
      \x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";

fuzz_target!(|bytes: &[u8]| {
    let ek = Public::parse(PUBLIC).expect("a good public area");
    let anchors = TrustAnchors::from_der([bytes]).unwrap_or_default();
    let refused = verify_ek_certificate(&[bytes, bytes], &ek, &anchors, &[bytes], 1_767_225_600);
    assert!(refused.is_err());
    let without_crl = verify_ek_certificate(&[bytes], &ek, &anchors, &[], 1_767_225_600);
    assert!(without_crl.is_err());
});
