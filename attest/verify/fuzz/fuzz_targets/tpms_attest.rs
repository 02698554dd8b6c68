//! `TPMS_ATTEST` of a quote.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::tpm::Attest;

fuzz_target!(|bytes: &[u8]| {
    let _ = Attest::parse(bytes);
});
