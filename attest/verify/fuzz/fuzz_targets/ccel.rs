//! The event log of a TDX guest: parsing and replay. What is accepted has the length of registers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::tdx::Ccel;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(log) = Ccel::parse(bytes) {
        assert!(log.rtmrs().iter().all(|rtmr| rtmr.len() == 48));
        assert!(log.claims().texts.len() + log.claims().unread as usize <= log.claims().events as usize);
    }
});
