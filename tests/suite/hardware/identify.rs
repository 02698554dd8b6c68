//! A node puts its own devices into its record, and nobody else's.

use super::Estate;
use serde_json::Value;
use strongroom_protocol::{
    admin::{NodeView, Role},
    identity::Identity,
};
use strongroom_tests::Confidential;

#[test]
fn gpus_come_into_a_record_by_the_evidence_of_their_own_node() {
    let estate = Estate::of("tier3");
    // An operator knows the processor; the GPUs were not in the machine yet.
    let guest = estate.unregistered("gpu-1", 0xc1, &[1, 2, 3]);
    let enrol = ["node", "enroll", "--device", "sev-snp", "--device", "nvidia-gpu"];
    guest.cli.run(enrol).unwrap().done().unwrap();
    let chip = guest.machine.chip().to_string();
    let node = estate.import(&format!("strongroom node import --identity {chip} --site SITE --single-job"));
    let told = guest.cli.run(["node", "identify"]).unwrap().done().unwrap().stdout;
    let expected: Vec<Identity> = guest.machine.identities();
    for identity in &expected[1..] {
        assert!(told.contains(&identity.to_string()), "{identity} is not in {told}");
    }
    assert!(told.starts_with("3 came into the record of node "), "{told}");
    let operator = estate.vault.cli(Role::Operator).unwrap();
    let view: NodeView = operator.ask(["node", "show", &node.to_string()]).unwrap();
    let listed: std::collections::BTreeSet<Identity> = view.identities.into_iter().collect();
    assert_eq!(listed, expected.iter().cloned().collect());
    // Once more there is nothing to add.
    let again: Value = guest.cli.ask(["node", "identify"]).unwrap();
    assert_eq!(again["added"], serde_json::json!([]), "{again}");
    let actions: Vec<String> =
        estate.records(node).iter().map(|record| record["action"].as_str().unwrap().to_owned()).collect();
    assert!(actions.iter().any(|action| action == "node.identified"), "{actions:?}");
}

#[test]
fn a_device_of_another_node_does_not_come_into_a_record() {
    let estate = Estate::of("tier3");
    let (owner, _) = estate.registered("gpu-1", 0xc2, &[1]);
    let (thief, node) = estate.registered("gpu-2", 0xc3, &[2]);
    let gpu = Confidential::gpu(1);
    // It is in the thief's machine now, genuine, and signs what it is asked to.
    let stolen = owner.machine.change(|parts| parts.gpus.pop().unwrap());
    thief.machine.change(|parts| parts.gpus.push(stolen));
    let problem = thief.cli.refused(["node", "identify"]).unwrap();
    println!("a GPU that another node's record lists → {problem:?}");
    assert!(problem.status == 409 || problem.status == 403, "{problem:?}");
    let view: NodeView = estate.vault.cli(Role::Operator).unwrap().ask(["node", "show", &node.to_string()]).unwrap();
    assert!(!view.identities.contains(&gpu), "{view:?}");
    // Nor does anything come into a record that nobody approved.
    let stranger = estate.unregistered("gpu-3", 0xc4, &[9]);
    stranger.cli.run(["node", "enroll", "--device", "sev-snp", "--device", "nvidia-gpu"]).unwrap().done().unwrap();
    let problem = stranger.cli.refused(["node", "identify"]).unwrap();
    assert_eq!(problem.status, 401, "{problem:?}");
}

#[test]
fn the_doctor_says_by_what_a_machine_is_registered() {
    let estate = Estate::of("tier3");
    let (guest, line) = estate.guest("gpu-1", 0xc5, &[1, 2]);
    // Other findings are this machine's own affair.
    let told = guest.cli.run(["doctor", "--node"]).unwrap().stdout;
    for identity in guest.machine.identities() {
        assert!(told.contains(&format!("ok    identity       {identity}")), "{identity} is not in {told}");
    }
    let start = line.split(" --site").next().unwrap();
    assert!(told.contains(start), "{start} is not in {told}");
    let status = guest.cli.run(["node", "status"]).unwrap();
    assert_eq!(status.code, Some(2), "{}", status.stderr);
    assert!(status.stderr.contains("did not enrol by a TPM"), "{}", status.stderr);
}
