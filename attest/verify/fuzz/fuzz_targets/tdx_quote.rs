//! A TDX quote: parsing, the key of its platform, examination. Nothing that was not signed is ever claimed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::{
    Pins,
    tdx::{Collateral, Evidence, Expectation, Quote, TdxRequirements, examine, verify},
};

fuzz_target!(|bytes: &[u8]| {
    let _ = Collateral::parse(bytes);
    let requirements = TdxRequirements::default();
    let expect = Expectation {
        report_data: None,
        collateral: None,
        pins: Pins::built_in(),
        at: 1_780_272_000,
        requirements: &requirements,
    };
    let evidence = Evidence { quote: bytes, ccel: None };
    let examined = examine(&evidence, &expect);
    assert!(examined.claims.is_none() && verify(&evidence, &expect).is_err());
    if let Ok(quote) = Quote::parse(bytes) {
        let _ = quote.key();
        assert!(bytes.starts_with(quote.signed()) && examined.malformed.is_none());
    }
});
