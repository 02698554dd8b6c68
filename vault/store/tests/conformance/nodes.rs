//! Identities of nodes: each belongs to one, with a TPM or without.

use crate::{World, rows::*};
use std::collections::BTreeSet;
use strongroom_protocol::{identity::Identity, limits};
use strongroom_store::{Change, Refusal, model::NodeRow};

async fn put(w: &World, row: NodeRow) {
    w.accepted(with(vec![Change::PutNode(row)])).await;
}

/// The change alone is refused, with what in it stands in its way.
async fn conflict(w: &World, row: NodeRow) -> String {
    match w.refused(with(vec![Change::PutNode(row)])).await {
        Refusal::Conflict(why) => why,
        other => panic!("{other:?}"),
    }
}

fn listing(row: NodeRow, more: &[Identity]) -> NodeRow {
    let identities = row.identities.iter().chain(more).cloned().collect();
    NodeRow { identities, ..row }
}

pub(crate) async fn a_node_may_have_no_tpm(w: World) {
    let row = listing(imported(1), &[gpu(1)]);
    put(&w, row.clone()).await;
    // Another one: no AK is not the same AK.
    put(&w, imported(2)).await;
    let found = w.store.node(row.id).await.unwrap().unwrap();
    assert_eq!((&found.row, found.version), (&row, 1));
    for identity in [chip(1), gpu(1)] {
        assert_eq!(w.store.node_by_identity(&identity).await.unwrap().unwrap(), found, "{identity}");
    }
    assert!(w.store.node_by_identity(&chip(3)).await.unwrap().is_none());
    assert!(w.store.node_by_identity(&gpu(2)).await.unwrap().is_none());
    assert_eq!(w.store.nodes().await.unwrap().len(), 2);

    put(&w, node(7)).await;
    let by_ek = w.store.node_by_identity(&Identity::of_tpm(&node_id(7))).await.unwrap().unwrap();
    assert_eq!(by_ek.row, node(7));
}

pub(crate) async fn an_identity_belongs_to_one_node(w: World) {
    put(&w, listing(node(1), &[chip(1), gpu(1), gpu(2)])).await;
    put(&w, node(2)).await;
    let taken = conflict(&w, listing(node(2), &[gpu(3), gpu(2)])).await;
    assert_eq!(taken, format!("the identity {} belongs to the node {}", gpu(2), node_id(1)));
    assert!(w.store.node_by_identity(&gpu(3)).await.unwrap().is_none(), "a refused item leaves nothing");
    assert!(conflict(&w, imported(1)).await.contains(&chip(1).to_string()), "its processor is another's");
    // The value alone is not the identity: this kind of it belongs to nobody.
    let alike = Identity { kind: strongroom_protocol::identity::IdentityKind::CloudVm, value: gpu(2).value };
    assert!(w.store.node_by_identity(&alike).await.unwrap().is_none());

    // What is taken out of one record is free for another, and what stays is not.
    put(&w, listing(node(1), &[chip(1), gpu(1)])).await;
    put(&w, listing(node(2), &[gpu(2)])).await;
    assert_eq!(w.store.node_by_identity(&gpu(2)).await.unwrap().unwrap().row.id, node_id(2));
    assert_eq!(w.store.node_by_identity(&gpu(1)).await.unwrap().unwrap().row.id, node_id(1));
    conflict(&w, listing(node(2), &[gpu(2), gpu(1)])).await;
    // Within one item the order counts: what the first change frees, the second may take.
    let moved = vec![Change::PutNode(node(1)), Change::PutNode(listing(node(2), &[gpu(2), gpu(1)]))];
    w.accepted(with(moved)).await;
    assert_eq!(w.store.node_by_identity(&gpu(1)).await.unwrap().unwrap().row.id, node_id(2));
    assert!(w.store.node_by_identity(&chip(1)).await.unwrap().is_none());
}

pub(crate) async fn a_record_lists_what_names_its_node(w: World) {
    let many: Vec<_> = (1..).take(limits::IDENTITIES - 1).map(gpu).collect();
    put(&w, listing(node(1), &many)).await;
    assert!(
        conflict(&w, listing(node(1), &[many.as_slice(), &[gpu(1000)]].concat())).await.contains("more identities")
    );
    conflict(&w, NodeRow { identities: BTreeSet::new(), ..node(2) }).await;
    conflict(&w, NodeRow { identities: BTreeSet::from([chip(1)]), ..node(2) }).await;
    conflict(&w, listing(node(2), &[Identity::of_tpm(&node_id(3))])).await;
    conflict(&w, NodeRow { identities: BTreeSet::from([chip(2)]), ..imported(1) }).await;
    conflict(&w, listing(imported(1), &[Identity::of_tpm(&node_id(3))])).await;
    assert_eq!(w.store.nodes().await.unwrap().len(), 1);
}
