//! Machines without a TPM, and identities of a node's record, from the command line to the ledger.

use crate::world::World;
use serde_json::Value;
use strongroom_protocol::{
    Code,
    admin::{NodeView, Recorded, Role},
    enrol::NodeState,
    identity::Identity,
};

const CHIP: &str = "snp-chip:4F2A90C1D7E3B658";
const GPU: &str = "nvidia-gpu:0a1b2c3d";
const OTHER: &str = "nvidia-gpu:0a1b2c3e";
const VM: &str = "cloud-vm:7B5A1C2E-0D5F-4C39-9F0E-2A41C0FFEE00";

fn read(text: &str) -> Identity {
    text.parse().unwrap()
}

#[test]
fn a_machine_without_a_tpm_is_registered_and_its_record_changed() {
    let world = World::found::<0>(&[]);
    let operator = world.vault.cli(Role::Operator).unwrap();
    let import = ["node", "import", "--identity", GPU, "--identity", CHIP, "--site", "fra-1"];
    let more = ["--label", "rack=b7", "--single-job", "--hostname", "gpu-7"];
    let recorded: Recorded = operator.ask(import.into_iter().chain(more)).unwrap();
    let node = recorded.node.unwrap();
    assert_eq!(Some(node), read(CHIP).node_id(), "named by its processor, not by a GPU");

    let id = node.to_string();
    let show = |name: &str| operator.ask::<NodeView, _>(["node", "show", name]).unwrap();
    let view = show(&id);
    assert_eq!((view.state, view.site.as_deref(), view.tpm.as_deref()), (NodeState::Pending, Some("fra-1"), None));
    assert_eq!((view.activated_at.as_deref(), view.hostname.as_deref()), (None, Some("gpu-7")));
    assert_eq!(view.identities, [read(CHIP), read(GPU)]);
    assert_eq!(show(GPU), view, "by any of its identities");
    let said = operator.run(["node", "show", CHIP]).unwrap().done().unwrap().stdout;
    for word in [id.as_str(), "pending: it waits for its first evidence", "fra-1 in DE", "rack=b7", GPU] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    assert!(said.contains(&read(CHIP).to_string()) && !said.contains("tpm"), "{said}");
    let listed = operator.run(["node", "list"]).unwrap().done().unwrap().stdout;
    assert!(listed.contains("snp-chip, nvidia-gpu"), "{listed}");

    // An approval moves it, and it waits all the same: nothing is said to be approved that is not.
    let approve = ["node", "approve", &id, "--site", "fra-1", "--label", "rack=b7", "--single-job"];
    let said = operator.run(approve).unwrap().done().unwrap().stdout;
    assert!(said.contains("placed into site fra-1; it is pending: it waits for its first evidence"), "{said}");
    assert!(!said.contains("approved"), "{said}");
    let document: Value = operator.ask(approve).unwrap();
    assert_eq!((&document["state"], &document["waits_for"]), (&Value::from("pending"), &Value::from("evidence")));

    // Identities come and go, each with its entry; a GPU that was exchanged is free for another node.
    operator.run(["node", "identity", "add", &id, OTHER]).unwrap().done().unwrap();
    assert!(operator.run(["node", "list"]).unwrap().stdout.contains("snp-chip, 2 nvidia-gpu"));
    let taken = operator.refused(["node", "import", "--identity", VM, "--identity", OTHER, "--site", "fra-1"]).unwrap();
    assert_eq!(taken.code, Code::Conflict);
    assert!(taken.detail.as_ref().is_some_and(|detail| detail.contains(&id) && detail.contains(OTHER)), "{taken:?}");
    let said = operator.run(["node", "identity", "remove", &id, GPU, OTHER]).unwrap().done().unwrap().stdout;
    assert!(said.contains(OTHER) && said.contains("its leases ended"), "{said}");
    let second: Recorded =
        operator.ask(["node", "import", "--identity", VM, "--identity", OTHER, "--site", "iad-1"]).unwrap();
    assert_eq!(second.node, read(VM).node_id());
    assert_eq!(show(&id).identities, [read(CHIP)]);
    let named = operator.refused(["node", "identity", "remove", &id, CHIP]).unwrap();
    assert!(named.detail.as_ref().is_some_and(|detail| detail.contains("names the node")), "{named:?}");

    // What is no identity does not leave this machine.
    for wrong in ["snp-chip:00", "gpu:01", "snp-chip", "snp-chip:0000000000000000"] {
        let ran = operator.run(["node", "import", "--identity", wrong, "--site", "fra-1"]).unwrap();
        assert_eq!((ran.code, ran.stderr.starts_with("error: invalid value")), (Some(2), true), "{}", ran.stderr);
    }
    let ek = format!("tpm-ek:{}", "01".repeat(32));
    let refused = operator.refused(["node", "identity", "add", &id, &ek]).unwrap();
    assert_eq!((refused.code, refused.field.as_deref()), (Code::Malformed, Some("add[0]")));
    let denied = world.vault.cli(Role::Endorser).unwrap();
    assert_eq!(denied.refused(["node", "identity", "add", &id, OTHER]).unwrap().code, Code::Forbidden);

    let told: Vec<(Value, Value)> =
        world.records(&["--node", &id]).iter().map(|r| (r["action"].clone(), r["details"].clone())).collect();
    let actions: Vec<&str> = told.iter().map(|(action, _)| action.as_str().unwrap()).collect();
    assert_eq!(actions, ["node.imported", "node.changed", "node.changed", "node.identified", "node.changed"]);
    assert_eq!(told[0].1["identities"], serde_json::json!([GPU, read(CHIP).to_string()]));
    assert_eq!(told[3].1["added"], serde_json::json!([OTHER]));
    assert_eq!(told[4].1["removed"], serde_json::json!([GPU, OTHER]));
}

#[test]
fn an_enrolled_node_lists_its_tpm_and_what_an_operator_added() {
    let world = World::found::<1>(&[]);
    let operator = world.vault.cli(Role::Operator).unwrap();
    let id = world.node().id.to_string();
    let document: Value = operator.ask(["node", "approve", &id, "--site", "fra-1", "--single-job"]).unwrap();
    assert_eq!((&document["state"], &document["waits_for"]), (&Value::from("approved"), &Value::Null));
    operator.run(["node", "identity", "add", &id, CHIP, GPU]).unwrap().done().unwrap();
    let view: NodeView = operator.ask(["node", "show", &id]).unwrap();
    assert_eq!(view.identities, [Identity::of_tpm(&world.node().id), read(CHIP), read(GPU)]);
    assert!(view.tpm.is_some() && view.activated_at.is_some());
    let taken = operator.refused(["node", "import", "--identity", CHIP, "--site", "fra-1"]).unwrap();
    assert_eq!(taken.code, Code::Conflict);
    // Its TPM is not changed by hand.
    let ek = Identity::of_tpm(&world.node().id).to_string();
    assert_eq!(operator.refused(["node", "identity", "remove", &id, &ek]).unwrap().code, Code::Malformed);
}
