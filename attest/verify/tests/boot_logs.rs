//! Boot logs of real machines and clouds, read from `../shared/vectors` beside the project.
//!
//! Skips, with a printed reason, where that folder is absent.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test is how a test speaks")]

mod vectors;

use std::{collections::BTreeMap, fs};
use strongroom_attest::{
    log::{BootLog, LogRefused, Quoted, Replay, verify},
    tpm::HashAlg,
};
use vectors::vectors;

/// What the machine's SHA-256 bank held, by PCR.
type Expected = BTreeMap<u8, Vec<u8>>;

fn expected(text: &serde_json::Value) -> Expected {
    let bank = text["sha256"].as_object().unwrap();
    bank.iter().map(|(pcr, value)| (pcr.parse().unwrap(), hex::decode(value.as_str().unwrap()).unwrap())).collect()
}

#[test]
fn l7_every_log_leads_to_what_its_machine_held() {
    let Some(path) = vectors("eventlog") else { return };
    let all: serde_json::Value = serde_json::from_slice(&fs::read(path.join("expected-pcrs.json")).unwrap()).unwrap();
    assert!(all.as_object().unwrap().len() >= 7);
    for (name, facts) in all.as_object().unwrap() {
        let bytes = fs::read(path.join(name)).unwrap();
        let log = BootLog::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(log.events().len() as u64, facts["events"].as_u64().unwrap(), "{name}");
        let replay = Replay::of(&log).unwrap();
        assert_eq!(u64::from(replay.startup_locality()), facts["startup_locality"].as_u64().unwrap(), "{name}");
        let expected = expected(facts);
        assert_eq!(replay.bank(HashAlg::Sha256).unwrap(), &expected, "{name}");

        // A quote has those that nothing touched too.
        let expected: BTreeMap<u8, Vec<u8>> =
            (0..16).filter_map(|pcr| Some((pcr, replay.value(HashAlg::Sha256, pcr)?))).chain(expected).collect();
        let explained: Vec<u8> = expected.keys().copied().collect();
        let values = expected.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
        let (_, claims) = verify(&bytes, Some(&Quoted { bank: HashAlg::Sha256, values, explained: &explained }))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(claims.explained, explained, "{name}");
        println!(
            "{name}: {} events, Secure Boot {}, {} images, {} texts ({} unread), tolerances {:?}",
            log.events().len(),
            if claims.secure_boot.as_ref().unwrap().enabled { "on" } else { "off" },
            claims.boot_path.as_ref().unwrap().images.len(),
            claims.loader.as_ref().unwrap().texts.len(),
            claims.loader.as_ref().unwrap().unread,
            claims.tolerances
        );
        let secure = ["keylime-secureboot.bin", "rhel8-uefi.bin", "eventlogwithsp800155.bin", "cos-101-amd-sev.bin"];
        assert_eq!(claims.secure_boot.unwrap().enabled, secure.contains(&name.as_str()), "{name}");
        assert_eq!(claims.loader.unwrap().unread, 0, "{name}");
    }
}

#[test]
fn l1_edge_files_have_a_named_verdict() {
    let Some(path) = vectors("eventlog") else { return };
    for entry in fs::read_dir(path.join("edge")).unwrap() {
        let path = entry.unwrap().path();
        let refused = verify(&fs::read(&path).unwrap(), None).unwrap_err();
        println!("{}: {refused}", path.file_name().unwrap().to_string_lossy());
        assert_eq!(refused, LogRefused::L1Sha1Format);
    }
}

#[test]
fn l1_the_log_of_a_tdx_guest_is_refused_by_name() {
    let Some(path) = vectors("eventlog") else { return };
    let refused = verify(&fs::read(path.join("../tdx/ccel-ovmf.bin")).unwrap(), None).unwrap_err();
    println!("ccel-ovmf.bin: {refused}");
    assert_eq!(refused, LogRefused::L1NotOfPcrs { index: 1 });
}

#[test]
fn l8_a_real_ima_log_is_read_whole() {
    let Some(path) = vectors("eventlog") else { return };
    let text = fs::read(path.join("../ima/ascii_runtime_measurements")).unwrap();
    let log = strongroom_attest::ima::ImaLog::parse(&text, 0).unwrap();
    assert_eq!(log.entries().len(), 826);
    println!("PCR 10, SHA-1: {}", hex::encode(log.replay(HashAlg::Sha1)));
    assert_eq!(log.entries()[0].path(), "boot_aggregate");
}
