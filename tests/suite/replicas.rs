//! Several replicas of one vault, over one PostgreSQL database: any of them serves any request, and they
//! write one ledger. And the way from a vault to that database.

mod failover;
mod ledger;
mod requests;
mod standing;
mod way;

use crate::world::{REFERENCES, World, act};
use serde_json::json;
use strongroom::Admin;
use strongroom_protocol::admin::{CreateAsset, Integrity, Role};
use strongroom_tests::{Member, Node, Vault};

/// What a release needs, in a vault that serves and trusts this node's TPM: site, node, reference set,
/// policy; and the asset `minilm`, which is made by way of `custodian`.
fn furnished(vault: Vault, node: Node, custodian: impl FnOnce(&Vault) -> Admin) -> World {
    let operator = vault.admin(Role::Operator).unwrap();
    act(&operator, "/v1/sites", &json!({ "name": "fra-1", "jurisdiction": "DE" }));
    let node = Member::enrol(&vault, node, "node-0").unwrap();
    node.approve(&vault, "fra-1").unwrap();
    let world = World { vault, nodes: vec![node] };
    world.refer_to(world.node());
    world.vault.enforce_baseline(&[]).unwrap();
    let asset = CreateAsset {
        name: "minilm".into(),
        labels: [].into(),
        jurisdictions: vec!["DE".into()],
        reference_sets: vec![REFERENCES.into()],
        integrity: Integrity::Plain,
        max_leases: None,
    };
    act(&custodian(&world.vault), "/v1/assets", &asset);
    world
}
