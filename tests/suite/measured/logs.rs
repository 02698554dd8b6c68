//! The logs of a real boot against what the TPM holds after it: rows L1 to L8.

use super::parts;
use std::collections::BTreeMap;
use strongroom_attest::{
    ima::{self, ImaExpectation, Measured},
    log::{self, Quoted},
    tpm::HashAlg,
};
use strongroom_protocol::{admin::ReferenceValues, claims::BootClaims};
use strongroom_tests::{
    Cli,
    measured::{Guest, Platform, Software, Start},
};

/// PCRs that a boot log has to explain: all that the boot extends, but for IMA's.
const EXPLAINED: [u8; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15];

/// Verifies both logs against the PCRs, and says how long they are.
pub(super) fn verify(guest: &mut Guest) -> (BTreeMap<u8, Vec<u8>>, BootClaims, Measured) {
    let (boot_log, pcrs) = (guest.boot_log().unwrap(), guest.pcrs().unwrap());
    let values: BTreeMap<u8, &[u8]> = pcrs.iter().map(|(pcr, value)| (*pcr, value.as_slice())).collect();
    let quoted = Quoted { bank: HashAlg::Sha256, values: values.clone(), explained: &EXPLAINED };
    let (_, claims) = log::verify(&boot_log, Some(&quoted)).unwrap();
    // The log and the values are of the same boot, or it is refused for each PCR that differs.
    for pcr in [4, 9] {
        let mut others = quoted.clone();
        others.values.insert(pcr, &[7; 32]);
        let refused = log::verify(&boot_log, Some(&others)).unwrap_err();
        assert_eq!(refused.row(), "L7", "{refused}");
        assert!(refused.to_string().contains(&format!("PCR {pcr}")), "{refused}");
    }
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
    assert_eq!(claims.explained, EXPLAINED);
    assert!(measured.boot_aggregate_checked);
    println!(
        "up after {:.1} s by {}; boot log of {} bytes, IMA log of {} entries",
        guest.took.as_secs_f32(),
        guest.accelerator,
        boot_log.len(),
        measured.entries
    );
    (pcrs, claims, measured)
}

/// PCR 11 as the command line predicts it from the image.
fn predicted(guest: &Guest) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    let cli = Cli::new(home.path().to_owned()).unwrap();
    let image = guest.unified_image();
    let values: ReferenceValues =
        cli.ask(["reference", "from-uki", image.to_str().unwrap(), "--phase", "none"]).unwrap();
    let pcrs: Vec<_> = values.pcrs.0.into_iter().collect();
    let [(11, value)] = pcrs.as_slice() else { panic!("{pcrs:?}") };
    value.0.clone()
}

#[test]
#[ignore = "long: `make test-long` runs it"]
fn a_unified_kernel_image_boots_into_the_pcr_11_that_was_predicted() {
    let Some(parts) = parts("a_unified_kernel_image_boots_into_the_pcr_11_that_was_predicted") else { return };
    let mut platform = Platform::make(&parts).unwrap();
    let mut guest = platform.boot(&Software { start: Start::Unified, ..Software::default() }).unwrap();
    let (pcrs, claims, _) = verify(&mut guest);
    let foretold = predicted(&guest);
    println!("PCR 11: {} predicted, {} booted", hex::encode(&foretold), hex::encode(&pcrs[&11]));
    assert_eq!(foretold, pcrs[&11]);
    // What the log shows of its sections is what the image holds.
    let sections = claims.loader.unwrap().uki.unwrap();
    let line = hex::encode(strongroom_protocol::sha256(Software::default().command_line.as_bytes()));
    assert_eq!(sections.get(".cmdline"), Some(&line), "{sections:?}");
    assert_eq!(sections.keys().collect::<Vec<_>>(), [".cmdline", ".initrd", ".linux", ".osrel"]);
    assert_eq!(guest.run("cat /proc/cmdline").unwrap().stdout.trim(), Software::default().command_line);
    guest.shut_down().unwrap();

    // Another command line is another image, another prediction, and another value.
    let longer = format!("{} single", Software::default().command_line);
    let mut guest =
        platform.boot(&Software { command_line: longer, start: Start::Unified, ..Software::default() }).unwrap();
    let (changed, _, _) = verify(&mut guest);
    assert_eq!(predicted(&guest), changed[&11]);
    assert_ne!(pcrs[&11], changed[&11]);
    let differ: Vec<u8> = pcrs.keys().copied().filter(|pcr| pcrs[pcr] != changed[pcr]).collect();
    println!("another command line changes PCRs {differ:?}");
}
