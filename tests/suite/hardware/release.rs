//! The main job on a confidential machine.

use super::{ASSET, Estate};
use crate::world::content;
use serde_json::{Value, json};
use std::fs;
use strongroom::{LeaseOver, Request};
use strongroom_protocol::{
    admin::{NodeView, Role},
    enrol::NodeState,
    sha256,
};

#[test]
fn a_file_is_sealed_and_opened_on_a_machine_with_eight_gpus() {
    let estate = Estate::of("tier3");
    let gpus: Vec<u16> = (1..=8).collect();
    let (guest, line) = estate.guest("gpu-1", 0xa1, &gpus);
    println!("a machine without a TPM is registered by: {line}");
    for identity in guest.machine.identities() {
        assert!(line.contains(&identity.to_string()), "{identity} is not in {line}");
    }
    let file = guest.cli.home().join("weights");
    let plaintext = content(7, 3 << 20);
    fs::write(&file, &plaintext).unwrap();
    let seal = ["seal", file.to_str().unwrap(), "--asset", ASSET];
    let stranger = guest.cli.refused(seal).unwrap();
    assert_eq!(stranger.status, 401, "before an operator knows the machine: {stranger:?}");

    let node = estate.import(&line);
    let operator = estate.vault.cli(Role::Operator).unwrap();
    let show = || operator.ask::<NodeView, _>(["node", "show", &node.to_string()]).unwrap();
    assert_eq!((show().state, show().activated_at), (NodeState::Pending, None));
    let sealed: Value = guest.cli.ask(seal).unwrap();
    let opened: Value =
        guest.cli.ask(["open", sealed["file"].as_str().unwrap(), "--asset", ASSET, "--digest"]).unwrap();
    assert_eq!(opened["sha256"], hex::encode(sha256(&plaintext)), "{opened}");
    assert_eq!(show().state, NodeState::Approved);
    assert!(show().activated_at.is_some(), "its first evidence activates it");

    // Each decision says what it rests on, and the ledger holds without the vault.
    let auditor = estate.vault.cli(Role::Auditor).unwrap();
    let decided: Vec<Value> =
        estate.records(node).into_iter().filter(|record| record["action"] == "release.decided").collect();
    assert_eq!(decided.len(), 2, "{decided:?}");
    for record in &decided {
        assert_eq!(record["verdict"], "released", "{record}");
        let id = record["id"].as_str().unwrap();
        let claims = estate.decision(id.parse().unwrap()).input["claims"].clone();
        assert_eq!(claims["snp"]["chip_id"], guest.machine.chip().value.as_str(), "{claims}");
        assert_eq!(claims["gpus"].as_array().map(Vec::len), Some(gpus.len()), "{claims}");
        assert!(claims["tpm"].is_null(), "{claims}");
        let explained = auditor.run(["explain", id]).unwrap().done().unwrap().stdout;
        assert!(explained.contains("released") && explained.contains("in the ledger"), "{explained}");
    }
    let export = guest.cli.home().join("export");
    auditor.run(["audit", "export", "--out", export.to_str().unwrap()]).unwrap().done().unwrap();
    auditor.run(["audit", "verify", export.to_str().unwrap()]).unwrap().done().unwrap();
}

#[test]
fn a_lease_is_of_one_launch_of_the_guest() {
    let estate = Estate::of("tier3");
    let (guest, node) = estate.registered("gpu-1", 0xa2, &[1, 2]);
    let (room, devices) = (estate.room(), guest.devices());
    let lease = room.release(&devices, Request::new().version(ASSET, 1).plaintext_to_disk());
    assert!(lease.is_err(), "a version's key is for assets that say so");
    let lease = room.release(&devices, Request::new().writer(ASSET, 1)).unwrap();
    lease.reattest(&room, &devices).unwrap();
    guest.machine.relaunch();
    let refused = lease.reattest(&room, &devices).unwrap_err();
    println!("a renewal after the guest was started anew → {refused}");
    assert_eq!(refused.problem().unwrap().reasons, ["rebooted"]);
    assert!(matches!(lease.check(), Err(LeaseOver::Revoked(_))), "{:?}", lease.check());
    // The guest that runs now may ask for itself.
    let lease = room.release(&devices, Request::new().writer(ASSET, 1)).unwrap();
    lease.end().unwrap();
    let last = estate.records(node).pop().unwrap();
    assert_eq!(last["action"], json!("lease.ended"), "{last}");
}
