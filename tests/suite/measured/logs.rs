//! The logs of a real boot against what the TPM holds after it: rows L1 to L8.

use super::parts;
use std::collections::BTreeMap;
use strongroom_attest::{
    ima::{self, ImaExpectation},
    log::{self, Quoted},
    tpm::HashAlg,
};
use strongroom_tests::measured::{Guest, Platform, Software, root};

/// PCRs that a boot log has to explain.
const FIRMWARE: [u8; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 9];

/// Verifies both logs against the PCRs, and prints what they show.
fn verify(guest: &mut Guest) -> (log::Replay, strongroom_protocol::claims::BootClaims, ima::Measured) {
    let (boot_log, pcrs) = (guest.boot_log().unwrap(), guest.pcrs().unwrap());
    let values: BTreeMap<u8, &[u8]> = pcrs.iter().map(|(pcr, value)| (*pcr, value.as_slice())).collect();
    let quoted = Quoted { bank: HashAlg::Sha256, values: values.clone(), explained: &FIRMWARE };
    let (replay, claims) = log::verify(&boot_log, Some(&quoted)).unwrap();
    // PCR 10 may have grown between the two readings, so the log is read last: it covers what was quoted.
    let log = guest.ima_log().unwrap();
    let expect = ImaExpectation {
        bank: HashAlg::Sha256,
        pcr: values[&10],
        boot: values.into_iter().filter(|(pcr, _)| *pcr < 10).collect(),
        verified: None,
        allow_violations: false,
    };
    let measured = ima::verify(&log, &expect).unwrap();
    println!(
        "up after {:.1} s by {}; boot log of {} bytes, IMA log of {} entries",
        guest.took.as_secs_f32(),
        guest.accelerator,
        boot_log.len(),
        measured.entries
    );
    (replay, claims, measured)
}

#[test]
fn a_real_boots_logs_explain_its_pcrs() {
    let Some(parts) = parts("a_real_boots_logs_explain_its_pcrs") else { return };
    let mut platform = Platform::make(&parts).unwrap();
    let mut guest = platform.boot(&Software::default()).unwrap();
    guest.run(&format!("{} --version", root::PROGRAM)).unwrap().done().unwrap();
    let (_, claims, measured) = verify(&mut guest);
    println!("{}", serde_json::to_string_pretty(&claims).unwrap());
    println!("{measured:#?}");
    assert_eq!(claims.explained, FIRMWARE);
    assert!(measured.boot_aggregate_checked);
    let paths: Vec<&str> = measured.files.values().map(String::as_str).collect();
    for path in ["/sbin/start", "/bin/busybox", root::PROGRAM] {
        assert!(paths.contains(&path), "{path} is not in {paths:?}");
    }
    guest.shut_down().unwrap();
}
