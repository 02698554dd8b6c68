//! A unified kernel image: parsing, prediction. What is predicted is what its events lead to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::{Uki, tpm::HashAlg};

fuzz_target!(|bytes: &[u8]| {
    let Ok(uki) = Uki::parse(bytes) else { return };
    let bank = HashAlg::Sha256;
    let extend = |value: Vec<u8>, digest: Vec<u8>| bank.digest(&[&value, &digest]);
    let digests = uki.events(bank).into_iter().map(|event| event.digest.0);
    assert_eq!(digests.fold(vec![0; 32], extend), uki.pcr11(bank, &[]));
    assert!(uki.sections(bank).contains_key(".linux"));
});
