//! `TPMT_SIGNATURE`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::tpm::Signature;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signature) = Signature::parse(bytes) {
        signature.scheme();
    }
});
