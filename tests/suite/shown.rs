//! Commands as documents show them, where no other suite gives just these options.

use crate::world::World;
use serde_json::{Value, json};
use std::fs;
use strongroom_protocol::{
    admin::{AssetView, Integrity, ReferenceView, Role},
    evidence::Evidence,
};

#[test]
fn assets_and_references_are_made_and_changed_as_shown() {
    let world = World::found::<0>(&[]);
    let (custodian, endorser) = (world.vault.cli(Role::Custodian).unwrap(), world.vault.cli(Role::Endorser).unwrap());
    let asset = |name: &str| {
        let all: Vec<AssetView> = custodian.ask(["asset", "list"]).unwrap();
        all.into_iter().map(|view| view.asset).find(|asset| asset.name == name).unwrap()
    };
    let create = ["asset", "create", "minilm", "--jurisdiction", "DE", "--jurisdiction", "FR"];
    let more = ["--reference-set", "gpu-nodes", "--label", "owner=search", "--max-leases", "64"];
    custodian.run(create.into_iter().chain(more)).unwrap().done().unwrap();
    let made = asset("minilm");
    assert_eq!((made.jurisdictions.as_slice(), made.max_leases), (&["DE".to_owned(), "FR".to_owned()][..], Some(64)));
    assert_eq!((made.labels["owner"].as_str(), made.integrity), ("search", Integrity::Plain));

    let hashed =
        ["asset", "create", "shared-corpus", "--hashed", "--jurisdiction", "DE", "--reference-set", "gpu-nodes"];
    custodian.run(hashed).unwrap().done().unwrap();
    assert_eq!(asset("shared-corpus").integrity, Integrity::Hashed);

    let update = ["asset", "update", "minilm", "--reference-set", "gpu-nodes", "--reference-set", "gpu-nodes-2"];
    custodian.run(update).unwrap().done().unwrap();
    assert_eq!(asset("minilm").reference_sets, ["gpu-nodes", "gpu-nodes-2"]);
    custodian.run(["asset", "update", "minilm", "--clear", "max-leases"]).unwrap().done().unwrap();
    let changed = asset("minilm");
    assert_eq!((changed.max_leases, changed.reference_sets.len()), (None, 2));

    let values = endorser.home().join("values.json");
    fs::write(&values, json!({ "bank": "sha256", "pcrs": { "0": "A".repeat(43), "4": "A".repeat(43) } }).to_string())
        .unwrap();
    let import = ["reference", "import", values.to_str().unwrap(), "--record", "gpu-nodes"];
    endorser.run(import).unwrap().done().unwrap();
    let sets: Vec<ReferenceView> = endorser.ask(["reference", "list"]).unwrap();
    assert_eq!((sets[0].name.as_str(), sets[0].version, sets[0].values.pcrs.0.len()), ("gpu-nodes", 1, 2));
}

#[test]
fn the_ledger_is_asked_as_shown() {
    let world = World::with::<1>(&[]);
    let (node, auditor) = (world.node(), world.vault.cli(Role::Auditor).unwrap());
    world.asset("minilm", |asset| asset.jurisdictions = vec!["FR".into()]);
    let file = node.cli.home().join("model");
    fs::write(&file, b"weights").unwrap();
    let refused = node.cli.refused(["seal", file.to_str().unwrap(), "--asset", "minilm"]).unwrap();
    assert_eq!(refused.reasons, ["jurisdiction_not_allowed"]);

    let count = |arguments: &[&str]| {
        let page: Value = auditor.ask(arguments).unwrap();
        page["records"].as_array().unwrap().len()
    };
    let between =
        ["audit", "query", "--from", "2020-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z", "--limit", "1000"];
    assert_eq!(count(&[&between[..], &["--verdict", "denied"]].concat()), 1);
    assert_eq!(count(&[&between[..], &["--verdict", "released"]].concat()), 0);
    assert!(count(&["audit", "query", "--last", "7d", "--action", "node.*", "--actor", "person:operator"]) > 0);
    let id = node.id.to_string();
    let denial =
        ["audit", "query", "--last", "1h", "--node", &id, "--site", "fra-1", "--reason", "jurisdiction_not_allowed"];
    assert_eq!(count(&denial), 1);
    assert_eq!(count(&[&denial[..], &["--after", "4096"]].concat()), 0);
    let job = ["audit", "query", "--last", "1h", "--node", &id, "--site", "fra-1", "--job", "run-17", "--after", "0"];
    assert_eq!(count(&job), 0);

    let statement = node.cli.home().join("statement.json");
    fs::write(&statement, "{}").unwrap();
    let items: Vec<Evidence> =
        node.cli.ask(["evidence", "collect", "--ask-vault", "--statement", statement.to_str().unwrap()]).unwrap();
    assert_eq!(items.len(), 1);
}
