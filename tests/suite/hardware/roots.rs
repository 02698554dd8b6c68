//! Whose hardware a vault believes: what is built into the released program, and nothing that anybody says to it.

use super::{ASSET, Estate, KINDS, devices_of};
use std::{fs, sync::Arc};
use strongroom::{Options, Request, Room};
use strongroom_protocol::{
    Bytes,
    admin::{CreateAsset, Integrity, Role, Site},
    endorsement::ImportEndorsement,
};
use strongroom_tests::{
    Makers, Vault,
    confidential::Published,
    programs::{bare, built},
};

#[test]
fn the_released_program_believes_no_makers_of_a_test() {
    let makers = Makers::new();
    // The program as it is released: no pins are given to it.
    let mut vault = Vault::init().unwrap();
    assert!(!vault.serve().unwrap());
    let operator = vault.admin(Role::Operator).unwrap();
    crate::world::act(&operator, "/v1/sites", &Site { name: "fra-1".into(), jurisdiction: "DE".into() });
    let endorser = vault.admin(Role::Endorser).unwrap();
    for Published { name, bytes, id } in makers.endorsements() {
        let body = ImportEndorsement { bytes: Bytes(bytes), id };
        let imported: Result<serde_json::Value, _> = endorser.post("/v1/endorsements", &body);
        let error = imported.expect_err(&name);
        println!("{name}: {error}");
        assert_eq!(error.problem().map(|problem| problem.status / 100), Some(4), "{name}: {error}");
    }
    vault.enforce("tier3", &[]).unwrap();
    let asset = CreateAsset {
        name: ASSET.into(),
        labels: [].into(),
        jurisdictions: vec!["DE".into()],
        reference_sets: vec!["guests".into()],
        integrity: Integrity::Plain,
        max_leases: None,
    };
    crate::world::act(&vault.admin(Role::Custodian).unwrap(), "/v1/assets", &asset);
    // Even a registered machine of theirs is not believed: its evidence is no decision, and stores nothing.
    let machine = Arc::new(makers.machine(0xf1, &[1]));
    let identities: Vec<String> =
        machine.identities().iter().flat_map(|identity| ["--identity".to_owned(), identity.to_string()]).collect();
    let import = ["node", "import", "--site", "fra-1", "--single-job"].map(str::to_owned);
    vault.cli(Role::Operator).unwrap().run(import.into_iter().chain(identities)).unwrap().done().unwrap();
    let room = Room::connect(&vault.join_file().unwrap(), Options::default()).unwrap();
    let devices = devices_of(&machine, &KINDS);
    let error = room.release(&devices, Request::new().writer(ASSET, 1)).map(drop).unwrap_err();
    println!("evidence of a test's hardware at the released program → {error}");
    let problem = error.problem().unwrap();
    assert_eq!((problem.status, problem.decision_id), (401, None), "{problem:?}");
}

#[test]
fn no_configuration_and_no_argument_names_other_roots() {
    let vault = Vault::init().unwrap();
    let text = fs::read_to_string(vault.configuration()).unwrap();
    let pins = vault.beside("pins.json");
    fs::write(&pins, Makers::new().pins()).unwrap();
    let serve = |more: &[&str]| {
        let mut command = bare(&built("strongroomd").unwrap());
        command.arg("serve").arg("--config").arg(vault.configuration()).args(more);
        let ran = command.output().unwrap();
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    for key in ["pins", "hardware_pins", "hardware_roots"] {
        let with = text.replacen("[attestation]", &format!("[attestation]\n{key} = \"{}\"", pins.display()), 1);
        assert_ne!(with, text, "the configuration has no such section");
        fs::write(vault.configuration(), with).unwrap();
        let (code, said) = serve(&[]);
        assert_eq!(code, Some(1), "{key}: {said}");
        assert!(said.contains("unknown field") && said.contains(key), "{key}: {said}");
    }
    fs::write(vault.configuration(), text).unwrap();
    for arguments in [["--pins", pins.to_str().unwrap()], ["--roots", pins.to_str().unwrap()]] {
        let (code, said) = serve(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
    }
    // What the test's program takes first is to the released one a command that there is none of.
    let ran = bare(&built("strongroomd").unwrap()).arg(&pins).output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
}

#[test]
fn what_a_tests_makers_sign_is_in_the_tests_program_alone() {
    let estate = Estate::of("tier3");
    let (guest, _) = estate.registered("gpu-1", 0xf2, &[1]);
    let lease = estate.room().release(&guest.devices(), Request::new().writer(ASSET, 1)).unwrap();
    lease.end().unwrap();
    // The same vault, its endorsements in its database, in the released program: nothing of it is believed any more.
    let mut vault = estate.vault;
    vault.stop().unwrap();
    vault.trusting_what_is_released();
    assert!(!vault.serve().unwrap());
    let room = Room::connect(&vault.join_file().unwrap(), Options::default()).unwrap();
    let error = room.release(&guest.devices(), Request::new().writer(ASSET, 1)).map(drop).unwrap_err();
    println!("the same evidence at the released program → {error}");
    let problem = error.problem().unwrap();
    assert_eq!((problem.status, problem.decision_id), (401, None), "{problem:?}");
}
