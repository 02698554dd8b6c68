//! What is read together is what its parts say one by one.

use crate::{World, rows::*};
use strongroom_protocol::{Fixed, admin::KeyState, identity::Identity, lease::LeaseState, statement::Access};
use strongroom_store::{Change, Whose, model::NodeRow};

pub(crate) async fn who_asks_is_read_together(w: World) {
    let now = w.now().await;
    w.accepted(with(vec![
        Change::PutNode(node(1)),
        Change::PutNode(NodeRow { hostname: Some("renamed".into()), ..node(1) }),
        Change::GrantLease(lease(1, 1, "minilm", now + 1000)),
        Change::RenewLease(lease_id(1), now + 2000, now + 1500),
        Change::DeliverLease(lease_id(1)),
        Change::GrantLease(lease(2, 1, "minilm", now - 1)),
        Change::GrantLease(lease(3, 1, "minilm", now + 1000)),
        Change::CloseLease(lease_id(3), LeaseState::Revoked),
        Change::ProposePolicy(policy(1)),
        Change::EnforcePolicy(bytes32(1), "bob".into()),
    ]))
    .await;
    let nobody = w.store.requester(&Whose::Ak(bytes32(8)), bytes32(8), None).await.unwrap();
    assert_eq!((nobody.node, nobody.known, nobody.renewed, nobody.policy_generation), (None, None, None, 1));
    for (statement, renewed) in [(1, 2), (2, 3), (3, 1), (8, 8)] {
        let (statement, renewed) = (bytes32(statement), lease_id(renewed));
        let read = w.store.requester(&Whose::Ak(bytes32(1)), statement, Some(renewed)).await.unwrap();
        assert_eq!(read.node, w.store.node_by_ak(bytes32(1)).await.unwrap());
        assert_eq!(read.known, w.store.lease_by_statement(statement).await.unwrap());
        assert_eq!(read.renewed, w.store.lease(renewed).await.unwrap());
    }
    // The same by what the record lists, and by nothing that it does not.
    w.accepted(with(vec![Change::PutNode(NodeRow {
        identities: [Identity::of_tpm(&node_id(1)), chip(1)].into(),
        ..node(1)
    })]))
    .await;
    for (whose, found) in [
        (Whose::Identity(chip(1)), true),
        (Whose::Identity(Identity::of_tpm(&node_id(1))), true),
        (Whose::Identity(chip(2)), false),
    ] {
        let read = w.store.requester(&whose, bytes32(1), Some(lease_id(2))).await.unwrap();
        assert_eq!(read.node, w.store.node(node_id(1)).await.unwrap().filter(|_| found), "{whose:?}");
        let of_leases =
            (w.store.lease_by_statement(bytes32(1)).await.unwrap(), w.store.lease(lease_id(2)).await.unwrap());
        assert_eq!((read.known, read.renewed, read.policy_generation), (of_leases.0, of_leases.1, 1));
    }
    let read = w.store.requester(&Whose::Ak(bytes32(1)), bytes32(2), Some(lease_id(1))).await.unwrap();
    assert_eq!(read.known.unwrap().row.state, LeaseState::Expired);
    let renewed = read.renewed.unwrap();
    assert!(renewed.row.delivered);
    assert_eq!((renewed.version, renewed.row.expires_at, read.node.unwrap().version), (3, now + 2000, 3));
}

pub(crate) async fn what_a_release_is_decided_from_is_read_together(w: World) {
    let now = w.now().await;
    let mut corpus = asset("corpus");
    corpus.asset.reference_sets = vec!["other".into(), "boot".into(), "none".into()];
    let mut bare = asset("bare");
    bare.asset.reference_sets.clear();
    let mut several = lease(1, 1, "minilm", now + 1000);
    several.keys.extend([holds("minilm", 2, Access::Read), holds("corpus", 1, Access::Write)]);
    let mut changes = vec![
        Change::CreateSite(site("fra-1")),
        Change::PutNode(node(1)),
        Change::CreateAsset(asset("minilm")),
        Change::CreateAsset(corpus),
        Change::CreateAsset(bare),
        Change::PutKey(key("minilm", 1, KeyState::Active)),
        Change::PutKey(key("minilm", 1, KeyState::DecryptOnly)),
        Change::PutKey(key("minilm", 2, KeyState::Active)),
        Change::PutKey(key("corpus", 1, KeyState::Active)),
        Change::GrantLease(several),
        Change::GrantLease(lease(2, 2, "minilm", now + 1000)),
        Change::GrantLease(lease(3, 2, "minilm", now - 1)),
        Change::GrantLease(lease(4, 1, "minilm", now + 1000)),
        Change::CloseLease(lease_id(4), LeaseState::Ended),
    ];
    changes.extend(in_turn([("boot", 1), ("boot", 2), ("other", 1), ("unnamed", 1)]));
    w.accepted(with(changes)).await;
    let asked = |names: &[(&str, u32)]| names.iter().map(|(name, key)| ((*name).to_owned(), *key)).collect::<Vec<_>>();
    let all = asked(&[("minilm", 1), ("corpus", 1), ("minilm", 1), ("minilm", 9), ("none", 1), ("bare", 1)]);
    let read = w.store.grounds(node_id(1), Some("fra-1"), &all).await.unwrap();
    assert_eq!(read.site, w.store.site("fra-1").await.unwrap());
    let names: Vec<_> = read.assets.keys().map(String::as_str).collect();
    assert_eq!(names, ["bare", "corpus", "minilm"]);
    for (name, found) in &read.assets {
        assert_eq!(w.store.asset(name).await.unwrap().as_ref(), Some(found));
    }
    assert_eq!(read.keys.keys().cloned().collect::<Vec<_>>(), asked(&[("corpus", 1), ("minilm", 1)]));
    for ((name, version), found) in &read.keys {
        assert_eq!(w.store.key(name, *version).await.unwrap().as_ref(), Some(found));
    }
    assert_eq!(read.keys[&("minilm".to_owned(), 1)].version, 2);
    assert_eq!(read.references, [in_force("boot", 2), in_force("other", 1)]);
    assert_eq!((read.reference_generation, read.policy_generation, read.node_live), (4, 0, 1));
    let live: Vec<_> = read.asset_live.iter().map(|(name, live)| (name.as_str(), *live)).collect();
    assert_eq!(live, [("bare", 0), ("corpus", 1), ("minilm", 2), ("none", 0)]);

    let read = w.store.grounds(node_id(2), None, &asked(&[("bare", 1)])).await.unwrap();
    assert_eq!((read.site, read.keys.len(), read.references.len(), read.node_live), (None, 0, 0, 1));
    let read = w.store.grounds(node_id(9), Some("none"), &[]).await.unwrap();
    assert_eq!((read.site, read.assets.len(), read.references.len(), read.node_live), (None, 0, 0, 0));
    assert!(w.store.requester(&Whose::Ak(Fixed([0; 32])), Fixed([0; 32]), None).await.unwrap().node.is_none());
}
