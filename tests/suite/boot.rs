//! The boot stand-in: its log explains the PCRs, as other people's tools read it too.

use std::{collections::BTreeMap, path::Path, process::Command};
use strongroom_collect::TpmDevice;
use strongroom_protocol::evidence::{PcrBank, PcrSelection};
use strongroom_tests::{BootLog, Event, Machine, Node, Swtpm, bootlog::kind};

fn pcrs(tcti: &str) -> BTreeMap<u8, Vec<u8>> {
    let all = PcrSelection { bank: PcrBank::Sha256, pcrs: (0..16).collect() };
    let device = TpmDevice::open(&tcti.parse().unwrap()).unwrap();
    device.pcrs(&all).unwrap().values.0.into_iter().map(|(pcr, value)| (pcr, value.0)).collect()
}

fn replayed(log: &BootLog) -> BTreeMap<u8, Vec<u8>> {
    let found = log.replay();
    (0..16).map(|pcr| (pcr, found.get(&u32::from(pcr)).unwrap_or(&[0; 32]).to_vec())).collect()
}

fn boot_standin(tcti: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boot-standin"));
    let run = command.args(["--tcti", tcti]).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if run.status.success() { Ok(text(&run.stdout)) } else { Err(text(&run.stderr)) }
}

#[test]
fn the_tpm_holds_what_the_log_replays_to() {
    let dir = tempfile::tempdir().unwrap();
    let tpm = Swtpm::start(&dir.path().join("tpm")).unwrap();
    let path = dir.path().join("boot.log");
    let path = path.to_str().unwrap();
    boot_standin(&tpm.tcti(), &["--log", path, "--kernel-cmdline", "quiet", "--secure-boot", "off"]).unwrap();

    let machine = Machine { kernel_cmdline: "quiet".into(), secure_boot: false, ..Machine::default() };
    let log = machine.boot_log();
    assert_eq!(std::fs::read(path).unwrap(), log.encode());
    let held = pcrs(&tpm.tcti());
    assert_eq!(held, replayed(&log));
    // Each event counts: without any one of them the values differ.
    for left_out in 0..log.events.len() {
        let mut events = log.events.clone();
        events.remove(left_out);
        assert_ne!(held, replayed(&BootLog::new(events)), "event {left_out}");
    }

    let again = boot_standin(&tpm.tcti(), &["--log", path]).unwrap_err();
    assert!(again.contains("has booted already"), "{again}");

    boot_standin(&tpm.tcti(), &["--extend", "8=something else"]).unwrap();
    let changed = pcrs(&tpm.tcti());
    let differ: Vec<u8> = (0..16).filter(|pcr| held[pcr] != changed[pcr]).collect();
    assert_eq!(differ, [8]);
    let mut events = log.events;
    events.push(Event::of_data(8, kind::IPL, "something else"));
    assert_eq!(changed, replayed(&BootLog::new(events.clone())));

    boot_standin(&tpm.tcti(), &["--log", path, "--measure", "9=another initrd"]).unwrap();
    assert_eq!(std::fs::read(path).unwrap().len(), BootLog::new(events.clone()).encode().len());
    events.push(Event::of_data(9, kind::IPL, "another initrd"));
    assert_eq!(pcrs(&tpm.tcti()), replayed(&BootLog::new(events)));
}

#[test]
fn wrong_arguments_are_refused() {
    for arguments in [&["--extend", "24=x"][..], &["--extend", "8"], &[], &["--kernel-cmdline", "x", "--extend", "8=x"]]
    {
        assert!(boot_standin("swtpm:host=127.0.0.1,port=1", arguments).is_err(), "{arguments:?}");
    }
    // An event cannot be written behind a log that is not there.
    assert!(boot_standin("swtpm:host=127.0.0.1,port=1", &["--measure", "8=x"]).is_err());
    let real = boot_standin("device:/dev/tpmrm0", &["--extend", "8=x"]).unwrap_err();
    assert!(real.contains("a software TPM only"), "{real}");
}

/// `tpm2_eventlog` parses the log and computes the same PCRs.
#[test]
fn tpm2_tools_read_the_log() {
    let node = Node::boot(&Machine::default()).unwrap();
    let Ok(run) = Command::new("tpm2_eventlog").arg(node.boot_log()).output() else {
        println!("skipped: tpm2_eventlog (package tpm2-tools) is not installed");
        return;
    };
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{text}{}", String::from_utf8_lossy(&run.stderr));
    for name in ["SecureBoot", "dbx", "SbatLevel", "Exit Boot Services Returned with Success"] {
        assert!(text.contains(name), "{name}");
    }
    let found: BTreeMap<u8, Vec<u8>> = text
        .lines()
        .skip_while(|line| *line != "pcrs:")
        .filter_map(|line| line.split_once(": 0x"))
        .map(|(pcr, value)| (pcr.trim().parse().unwrap(), hex::decode(value.trim()).unwrap()))
        .collect();
    let held = pcrs(&node.tpm.tcti());
    assert_eq!(found.len(), 11);
    for (pcr, value) in found {
        assert_eq!(value, held[&pcr], "PCR {pcr}");
    }
}

/// Real machines' logs have the header that the stand-in writes.
#[test]
fn the_header_is_that_of_real_machines() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/eventlog");
    let Ok(real) = std::fs::read(vectors.join("qemu-ovmf-linux61.bin")) else {
        println!("skipped: no vectors in {}", vectors.display());
        return;
    };
    let ours = Machine::default().boot_log().encode();
    // All but the specification's errata number, which is the profile's version.
    let errata = 32 + 16 + 4 + 2;
    assert_eq!(ours[..errata], real[..errata]);
    assert_eq!(ours[errata + 1..65 + 4], real[errata + 1..65 + 4]);
}
