//! An IMA log, binary or ASCII: what is read is covered by the value that it replays to, as a whole, and goes on
//! from there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::{
    ima::{ImaExpectation, ImaLog, verify},
    tpm::HashAlg,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(log) = ImaLog::parse(bytes, 0) else { return };
    let bank = HashAlg::Sha256;
    let pcr = log.replay(bank);
    let expect = ImaExpectation { bank, pcr: &pcr, boot: Default::default(), verified: None, allow_violations: true };
    let Ok(measured) = verify(bytes, &expect) else { return };
    assert_eq!(measured.entries, log.entries().len() as u64);
    let later = verify(b"", &ImaExpectation { verified: Some(&measured), ..expect }).expect("nothing new");
    assert_eq!(later, measured);
});
