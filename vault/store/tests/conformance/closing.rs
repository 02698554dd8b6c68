//! Leases that are closed, one or many: what goes with them, and what the record says of it.

use crate::{World, rows::*};
use strongroom_ledger::Record;
use strongroom_protocol::{
    Bytes, LeaseId,
    admin::KeyState,
    enrol::NodeState,
    lease::LeaseState::{self, Ended, Live, Revoked},
    statement::{Access, Scope},
};
use strongroom_store::{Change, Refusal, model::LeaseRow};

/// Nodes 1 and 2, the first in `fra-1`; `minilm@1` decrypt-only, `minilm@2` and `corpus@1` active.
async fn furnish(w: &World) {
    let mut first = node(1);
    (first.state, first.site) = (NodeState::Approved, Some("fra-1".into()));
    w.accepted(with(vec![
        Change::CreateSite(site("fra-1")),
        Change::PutNode(first),
        Change::PutNode(node(2)),
        Change::CreateAsset(asset("minilm")),
        Change::CreateAsset(asset("corpus")),
        Change::PutKey(key("minilm", 1, KeyState::DecryptOnly)),
        Change::PutKey(key("minilm", 2, KeyState::Active)),
        Change::PutKey(key("corpus", 1, KeyState::Active)),
    ]))
    .await;
}

async fn grant(w: &World, row: LeaseRow) {
    w.accepted(with(vec![Change::GrantLease(row)])).await;
}

async fn state(w: &World, n: u8) -> LeaseState {
    w.store.lease(lease_id(n)).await.unwrap().unwrap().row.state
}

async fn key_state(w: &World, asset: &str, version: u32) -> (KeyState, i64) {
    let key = w.store.key(asset, version).await.unwrap().unwrap();
    (key.row.state, key.version)
}

/// The record of what was just committed.
async fn record_of(w: &World, change: Change) -> Record {
    Record::parse(&w.accepted(with(vec![change])).await.record).unwrap()
}

pub(crate) async fn the_leases_of_an_asset_a_site_or_all_close_together(w: World) {
    furnish(&w).await;
    let far = w.now().await + 1000;
    let mut both = lease(3, 2, "corpus", far);
    both.keys.extend([holds("minilm", 1, Access::Read), holds("minilm", 2, Access::Write)]);
    for row in [lease(1, 1, "minilm", far), lease(2, 1, "corpus", far), both, lease(4, 2, "corpus", far)] {
        grant(&w, row).await;
    }
    let states = async || [state(&w, 1).await, state(&w, 2).await, state(&w, 3).await, state(&w, 4).await];
    w.accepted(with(vec![Change::CloseLeasesOfAsset("minilm".into(), Revoked)])).await;
    assert_eq!(states().await, [Revoked, Live, Revoked, Live]);
    w.accepted(with(vec![Change::CloseLeasesOfSite("fra-1".into(), Revoked)])).await;
    assert_eq!(states().await, [Revoked, Revoked, Revoked, Live]);
    // Nothing is left of them, which is no reason to refuse: the act is on record.
    for change in [
        Change::CloseLeasesOfAsset("minilm".into(), Revoked),
        Change::CloseLeasesOfSite("none".into(), Revoked),
        Change::CloseEveryLease(Ended),
        Change::CloseEveryLease(Revoked),
    ] {
        w.accepted(with(vec![change])).await;
    }
    assert_eq!(states().await, [Revoked, Revoked, Revoked, Ended]);
    let refused = w.refused(with(vec![Change::CloseEveryLease(Live)])).await;
    assert!(matches!(refused, Refusal::Conflict(_)), "{refused:?}");
    let (of_node, of_asset) = w.store.live_leases(node_id(2), &["corpus".into()]).await.unwrap();
    assert_eq!((of_node, of_asset), (0, vec![0]), "what they held is free");
}

pub(crate) async fn a_closed_lease_has_no_secret(w: World) {
    furnish(&w).await;
    let far = w.now().await + 1000;
    let secret = async |n: u8| w.store.lease(lease_id(n)).await.unwrap().unwrap().row.wrapped_secret;
    for (n, change) in [
        (1, Change::CloseLease(lease_id(1), Ended)),
        (2, Change::CloseLease(lease_id(2), LeaseState::Expired)),
        (3, Change::CloseLeasesOfNode(node_id(1), Revoked)),
        (4, Change::CloseLeasesOfKey("minilm".into(), 1, Revoked)),
        (5, Change::CloseEveryLease(Revoked)),
    ] {
        grant(&w, lease(n, 1, "minilm", far)).await;
        let before = w.store.lease(lease_id(n)).await.unwrap().unwrap();
        assert_eq!(before.row.wrapped_secret, lease(n, 1, "minilm", far).wrapped_secret);
        w.accepted(with(vec![change])).await;
        assert_eq!(secret(n).await, Bytes::default());
        let after = w.store.lease(lease_id(n)).await.unwrap().unwrap();
        let expected = LeaseRow { wrapped_secret: Bytes::default(), state: after.row.state, ..before.row };
        assert_eq!((after.row, after.version), (expected, before.version + 1), "nothing else was changed");
    }
}

pub(crate) async fn what_a_revoked_lease_held_whole_opens_only(w: World) {
    furnish(&w).await;
    let far = w.now().await + 1000;
    let whole = |n, version| {
        let mut row = lease(n, 1, "minilm", far);
        row.keys = vec![holds("minilm", version, Access::Read)];
        row
    };
    // Ended by its holder, or expired: no reason to distrust it.
    for (n, state) in [(1, Ended), (2, LeaseState::Expired)] {
        grant(&w, whole(n, 2)).await;
        w.accepted(with(vec![Change::CloseLease(lease_id(n), state)])).await;
    }
    // A writer's key, and single objects' keys, open nothing that others wrote.
    let mut writer = lease(3, 1, "minilm", far);
    writer.keys = vec![holds("minilm", 2, Access::Write)];
    grant(&w, writer).await;
    let mut objects = whole(4, 2);
    objects.keys[0].scope = Scope::Object;
    grant(&w, objects).await;
    w.accepted(with(vec![Change::CloseEveryLease(Revoked)])).await;
    assert_eq!(key_state(&w, "minilm", 2).await, (KeyState::Active, 1));

    grant(&w, whole(5, 1)).await;
    grant(&w, whole(6, 2)).await;
    w.accepted(with(vec![Change::CloseEveryLease(Revoked)])).await;
    assert_eq!(key_state(&w, "minilm", 1).await, (KeyState::DecryptOnly, 1), "it was so already");
    assert_eq!(key_state(&w, "minilm", 2).await, (KeyState::DecryptOnly, 2));
    assert_eq!(key_state(&w, "corpus", 1).await, (KeyState::Active, 1), "nobody held it");
    assert!(!w.store.key("minilm", 2).await.unwrap().unwrap().row.wrapped.0.is_empty(), "it still opens");

    // A destroyed version stays destroyed.
    grant(&w, lease(7, 1, "corpus", far)).await;
    w.accepted(with(vec![
        Change::PutKey(key("corpus", 1, KeyState::Destroyed)),
        Change::CloseLeasesOfKey("corpus".into(), 1, Revoked),
    ]))
    .await;
    assert_eq!(key_state(&w, "corpus", 1).await, (KeyState::Destroyed, 2));
}

pub(crate) async fn the_record_says_what_was_closed(w: World) {
    furnish(&w).await;
    let far = w.now().await + 1000;
    let none = record_of(&w, Change::CloseLeasesOfAsset("minilm".into(), Revoked)).await;
    assert_eq!((&none.details["leases_closed"], &none.details["leases"]), (&0.into(), &serde_json::json!([])));
    assert!(!none.details.contains_key("decrypt_only"));

    for n in [2, 1] {
        grant(&w, lease(n, 1, "corpus", far)).await;
    }
    let of_node = record_of(&w, Change::CloseLeasesOfNode(node_id(1), Revoked)).await;
    let ids = [1, 2].map(lease_id).map(|id: LeaseId| id.to_string());
    assert_eq!(of_node.details["leases_closed"], 2);
    assert_eq!(of_node.details["leases"], serde_json::json!(ids));
    assert_eq!(of_node.details["decrypt_only"], serde_json::json!(["corpus@1"]));

    // One lease is the record's own.
    let mut row = lease(3, 1, "minilm", far);
    row.keys = vec![holds("minilm", 2, Access::Read)];
    grant(&w, row).await;
    let of_one = record_of(&w, Change::CloseLease(lease_id(3), Revoked)).await;
    assert!(!of_one.details.contains_key("leases"));
    assert_eq!(of_one.details["decrypt_only"], serde_json::json!(["minilm@2"]));

    // A record has its bounds: beyond them it counts, and names the first.
    for batch in (0..2010_u32).collect::<Vec<_>>().chunks(200) {
        let items = batch.iter().map(|n| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            let mut statement = bytes32(255);
            statement.0[..4].copy_from_slice(&n.to_be_bytes());
            let mut row = lease(9, 1, "corpus", far);
            (row.id, row.statement_sha256) = (id.into(), statement);
            with(vec![Change::GrantLease(row)])
        });
        w.commit(items.collect()).await;
    }
    let many = record_of(&w, Change::CloseEveryLease(Revoked)).await;
    assert_eq!(many.details["leases_closed"], 2010);
    assert_eq!(many.details["leases"].as_array().unwrap().len(), 2000);
}
