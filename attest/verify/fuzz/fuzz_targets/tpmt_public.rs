//! `TPMT_PUBLIC`: whatever parses can be named, exported and judged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::{enrol::check_ak, tpm::Public};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(public) = Public::parse(bytes) {
        assert_eq!(public.as_bytes(), bytes);
        public.spki_der();
        public.qualified_name_under_endorsement(&public);
        let _ = check_ak(&public);
    }
});
