//! Quotes of TDX with their collateral, and the worst beside them.

use super::{Line, line};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use std::hint::black_box;
use strongroom_attest::{
    Pins,
    tdx::{Collateral, Evidence, Expectation, Quote, TdxRequirements, verify},
};
use strongroom_hardware::tdx::{AT, Tdx};

/// Signatures that a verification has in it, all of P-256: TCB signing, TCB info, enclave identity, the PCK's CA, the
/// PCK, both revocation lists, the enclave's report, the quote.
const SIGNATURES: usize = 9;

/// Lines with bare work, and the worst.
pub(super) fn lines() -> Vec<Line> {
    vec![quote(), worst_certificates()]
}

/// A verification of a stand-in, by the collateral that a store has read already.
fn verification(tdx: &Tdx, quote: Vec<u8>) -> impl FnMut() + use<> {
    let pins = Pins::parse(&tdx.pins()).unwrap();
    let collateral = Collateral::parse(&tdx.collateral()).unwrap();
    let requirements = TdxRequirements::default();
    move || {
        let expect = Expectation {
            report_data: Some(&[0x77; 64]),
            collateral: Some(&collateral),
            pins: &pins,
            at: AT,
            requirements: &requirements,
        };
        drop(black_box(verify(&Evidence { quote: &quote, ccel: None }, &expect)));
    }
}

fn quote() -> Line {
    let tdx = Tdx::default();
    let quote = tdx.quote();
    let signed = Quote::parse(&quote).unwrap().signed().to_vec();
    let signature = quote[signed.len() + 4..][..64].to_vec();
    let key = [&[4], &quote[signed.len() + 4 + 64..][..64]].concat();
    let bare = move || {
        for _ in 0..SIGNATURES {
            black_box(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key).verify(&signed, &signature)).unwrap();
        }
    };
    let size = quote.len();
    let mut work = verification(&tdx, quote);
    work();
    Line { bare: Some(Box::new(bare)), ..line("TDX quote with collateral", size, work) }
}

/// A quote whose certificates fill the cap, and lead nowhere.
fn worst_certificates() -> Line {
    let mut tdx = Tdx::default();
    tdx.quote.certificates = Some("-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n".repeat(480));
    let quote = tdx.quote();
    line("worst: TDX quote, certificates to the cap", quote.len(), verification(&tdx, quote))
}
