use crate::{
    World,
    rows::*,
    world::{accepted, refused},
};
use strongroom_protocol::{
    EnrolmentId,
    admin::{KeyState, PolicyState, ReferenceState as S},
    enrol::NodeState,
    lease::LeaseState,
    statement::Access,
};
use strongroom_store::{Blob, Change, Guard, Item, Refusal, model::MEASURED_BYTES};

/// The change alone is refused, for the rows' state.
async fn conflicts(w: &World, change: Change) {
    let refusal = w.refused(with(vec![change.clone()])).await;
    assert!(matches!(refusal, Refusal::Conflict(_)), "{change:?}: {refusal:?}");
}

async fn done(w: &World, change: Change) {
    w.accepted(with(vec![change])).await;
}

pub(crate) async fn a_site_is_created_once(w: World) {
    assert!(w.store.site("fra-1").await.unwrap().is_none());
    done(&w, Change::CreateSite(site("fra-1"))).await;
    let found = w.store.site("fra-1").await.unwrap().unwrap();
    assert_eq!((found.row, found.version), (site("fra-1"), 1));
    conflicts(&w, Change::CreateSite(site("fra-1"))).await;
}

pub(crate) async fn a_node_is_put_with_its_own_ak_and_a_known_site(w: World) {
    done(&w, Change::PutNode(node(1))).await;
    let found = w.store.node(node_id(1)).await.unwrap().unwrap();
    assert_eq!((&found.row, found.version), (&node(1), 1));
    assert_eq!(w.store.node_by_ak(bytes32(1)).await.unwrap().unwrap(), found);

    let mut thief = node(2);
    thief.tpm.as_mut().unwrap().ak_sha256 = bytes32(1);
    conflicts(&w, Change::PutNode(thief)).await;

    let mut approved = node(1);
    approved.state = NodeState::Approved;
    approved.site = Some("fra-1".into());
    conflicts(&w, Change::PutNode(approved.clone())).await;
    done(&w, Change::CreateSite(site("fra-1"))).await;
    approved.tpm.as_mut().unwrap().ak_sha256 = bytes32(9);
    done(&w, Change::PutNode(approved.clone())).await;
    let found = w.store.node(node_id(1)).await.unwrap().unwrap();
    assert_eq!((found.row, found.version), (approved, 2));
    assert!(w.store.node_by_ak(bytes32(1)).await.unwrap().is_none());
    assert!(w.store.node_by_ak(bytes32(9)).await.unwrap().is_some());
}

pub(crate) async fn what_a_node_measured_is_kept_of_its_last_boot(w: World) {
    assert!(w.store.measured(node_id(1)).await.unwrap().is_none());
    done(&w, Change::PutMeasured(measured(1, 7, b"one"))).await;
    done(&w, Change::PutMeasured(measured(2, 7, b"other"))).await;
    let found = w.store.measured(node_id(1)).await.unwrap().unwrap();
    assert_eq!((found.row, found.version), (measured(1, 7, b"one"), 1));
    let read = |version| Item { guards: vec![Guard::Measured(node_id(1), version)], ..item() };
    let grow = |version, state| Item { changes: vec![Change::PutMeasured(measured(1, 8, state))], ..read(version) };
    // Of two that go on from the same place at one time, the second has to look again.
    let outcomes = w.commit(vec![grow(1, b"two"), grow(1, b"three")]).await;
    accepted(outcomes[0].clone());
    assert_eq!(refused(outcomes[1].clone()), Refusal::Stale(Guard::Measured(node_id(1), 1)));
    let found = w.store.measured(node_id(1)).await.unwrap().unwrap();
    assert_eq!((found.row, found.version), (measured(1, 8, b"two"), 2));
    w.accepted(read(2)).await;
    assert_eq!(w.refused(read(1)).await, Refusal::Stale(Guard::Measured(node_id(1), 1)));
    assert_eq!(w.store.measured(node_id(2)).await.unwrap().unwrap().version, 1);

    let full = vec![b'x'; MEASURED_BYTES];
    done(&w, Change::PutMeasured(measured(1, 8, &full))).await;
    assert_eq!(w.store.measured(node_id(1)).await.unwrap().unwrap().row.state.len(), MEASURED_BYTES);
    conflicts(&w, Change::PutMeasured(measured(1, 8, &[&full[..], b"x"].concat()))).await;
}

pub(crate) async fn an_asset_is_created_once(w: World) {
    done(&w, Change::CreateAsset(asset("minilm"))).await;
    let found = w.store.asset("minilm").await.unwrap().unwrap();
    assert_eq!((found.row, found.version), (asset("minilm"), 1));
    conflicts(&w, Change::CreateAsset(asset("minilm"))).await;
}

pub(crate) async fn an_asset_is_changed_where_it_is(w: World) {
    conflicts(&w, Change::PutAsset(asset("minilm"))).await;
    done(&w, Change::CreateAsset(asset("minilm"))).await;
    done(&w, Change::CreateAsset(asset("corpus"))).await;
    let mut moved = asset("minilm");
    moved.asset.jurisdictions = vec!["NL".into()];
    done(&w, Change::PutAsset(moved.clone())).await;
    let found = w.store.asset("minilm").await.unwrap().unwrap();
    assert_eq!((found.row, found.version), (moved, 2));
    let other = w.store.asset("corpus").await.unwrap().unwrap();
    assert_eq!((other.row, other.version), (asset("corpus"), 1));
}

pub(crate) async fn key_versions_follow_one_another_and_stay_destroyed(w: World) {
    conflicts(&w, Change::PutKey(key("minilm", 1, KeyState::Active))).await;
    done(&w, Change::CreateAsset(asset("minilm"))).await;
    conflicts(&w, Change::PutKey(key("minilm", 0, KeyState::Active))).await;
    conflicts(&w, Change::PutKey(key("minilm", 2, KeyState::Active))).await;
    done(&w, Change::PutKey(key("minilm", 1, KeyState::Active))).await;
    conflicts(&w, Change::PutKey(key("minilm", 3, KeyState::Active))).await;
    w.accepted(with(vec![
        Change::PutKey(key("minilm", 1, KeyState::DecryptOnly)),
        Change::PutKey(key("minilm", 2, KeyState::Active)),
    ]))
    .await;
    let first = w.store.key("minilm", 1).await.unwrap().unwrap();
    assert_eq!((first.row.state, first.version), (KeyState::DecryptOnly, 2));
    let versions: Vec<_> = w.store.keys("minilm").await.unwrap().iter().map(|key| key.row.version).collect();
    assert_eq!(versions, [1, 2]);

    let mut kept = key("minilm", 1, KeyState::Destroyed);
    kept.wrapped = key("minilm", 1, KeyState::Active).wrapped;
    conflicts(&w, Change::PutKey(kept)).await;
    let mut lost = key("minilm", 2, KeyState::Active);
    lost.wrapped.0.clear();
    conflicts(&w, Change::PutKey(lost)).await;
    done(&w, Change::PutKey(key("minilm", 1, KeyState::Destroyed))).await;
    assert!(w.store.key("minilm", 1).await.unwrap().unwrap().row.wrapped.0.is_empty());
    conflicts(&w, Change::PutKey(key("minilm", 1, KeyState::Active))).await;
}

pub(crate) async fn reference_versions_follow_one_another(w: World) {
    conflicts(&w, propose("boot", 2)).await;
    conflicts(&w, Change::ProposeReference(in_force("boot", 1))).await;
    done(&w, propose("boot", 1)).await;
    conflicts(&w, propose("boot", 1)).await;
    assert_eq!(w.store.references(&["boot".into()]).await.unwrap(), (vec![], 0), "nothing is decided by a proposal");
    assert_eq!(w.store.reference_versions("boot").await.unwrap(), (vec![reference("boot", 1)], 0));
    done(&w, approve("boot", 1)).await;
    conflicts(&w, approve("boot", 1)).await;
    let (found, generation) = w.store.references(&["boot".into(), "none".into()]).await.unwrap();
    assert_eq!((found, generation), (vec![in_force("boot", 1)], 1));
    done(&w, propose("boot", 2)).await;
    assert_eq!(w.store.references(&["boot".into()]).await.unwrap(), (vec![in_force("boot", 1)], 1));
    assert_eq!(w.store.references(&[]).await.unwrap(), (vec![], 1));
}

pub(crate) async fn what_came_before_an_approved_reference_is_superseded(w: World) {
    conflicts(&w, approve("boot", 1)).await;
    for version in 1..=4 {
        done(&w, propose("boot", version)).await;
    }
    done(&w, propose("other", 1)).await;
    done(&w, approve("boot", 1)).await;
    done(&w, approve("boot", 3)).await;
    let (versions, generation) = w.store.reference_versions("boot").await.unwrap();
    let states: Vec<_> = versions.iter().map(|row| row.state).collect();
    assert_eq!((states, generation), (vec![S::Superseded, S::Superseded, S::InForce, S::Proposed], 2));
    assert_eq!(w.store.references(&["boot".into()]).await.unwrap().0, [in_force("boot", 3)]);
    // There is no way back but another version.
    conflicts(&w, approve("boot", 2)).await;
    conflicts(&w, approve("boot", 1)).await;
    assert_eq!(w.store.references(&["boot".into()]).await.unwrap().0, [in_force("boot", 3)]);
    assert_eq!(w.store.reference_versions("other").await.unwrap().0, [reference("other", 1)]);
}

pub(crate) async fn one_policy_is_enforced_at_a_time(w: World) {
    let none = w.store.enforced_policy().await.unwrap();
    assert_eq!((none.policy, none.generation), (None, 0));
    let mut approved = policy(1);
    approved.approver = Some("bob".into());
    conflicts(&w, Change::ProposePolicy(approved)).await;
    conflicts(&w, Change::EnforcePolicy(bytes32(1), "bob".into())).await;

    done(&w, Change::ProposePolicy(policy(1))).await;
    conflicts(&w, Change::ProposePolicy(policy(1))).await;
    done(&w, Change::EnforcePolicy(bytes32(1), "bob".into())).await;
    conflicts(&w, Change::EnforcePolicy(bytes32(1), "bob".into())).await;
    conflicts(&w, Change::ProposePolicy(policy(1))).await;
    done(&w, Change::ProposePolicy(policy(2))).await;
    done(&w, Change::EnforcePolicy(bytes32(2), "carol".into())).await;

    let enforced = w.store.enforced_policy().await.unwrap();
    let found = enforced.policy.unwrap();
    assert_eq!((found.digest, found.state, enforced.generation), (bytes32(2), PolicyState::Enforced, 2));
    assert_eq!(found.approver.as_deref(), Some("carol"));
    assert_eq!(w.store.policy_generation().await.unwrap(), 2);
    let old = w.store.policy(bytes32(1)).await.unwrap().unwrap();
    assert_eq!((old.row.state, old.version), (PolicyState::Superseded, 3));

    done(&w, Change::ProposePolicy(policy(1))).await;
    let again = w.store.policy(bytes32(1)).await.unwrap().unwrap();
    assert_eq!((again.row, again.version), (policy(1), 4));
}

pub(crate) async fn a_token_is_created_and_revoked_once(w: World) {
    done(&w, Change::CreateToken(token(1))).await;
    let mut same_secret = token(2);
    same_secret.token_sha256 = bytes32(1);
    conflicts(&w, Change::CreateToken(same_secret)).await;
    let mut same_id = token(1);
    same_id.token_sha256 = bytes32(2);
    conflicts(&w, Change::CreateToken(same_id)).await;
    let found = w.store.token(bytes32(1)).await.unwrap().unwrap();
    assert_eq!((found.row, found.version), (token(1), 1));

    conflicts(&w, Change::RevokeToken("token-2".into())).await;
    done(&w, Change::RevokeToken("token-1".into())).await;
    let found = w.store.token(bytes32(1)).await.unwrap().unwrap();
    assert!(found.row.revoked);
    assert_eq!(found.version, 2);
    conflicts(&w, Change::RevokeToken("token-1".into())).await;
}

pub(crate) async fn a_token_is_replaced_once_and_never_lives_longer(w: World) {
    let now = w.now().await;
    let mut old = token(1);
    old.expires_at = now + 1000;
    w.accepted(with(vec![Change::CreateToken(old), Change::CreateToken(token(2))])).await;
    let replace = |until| Change::ReplaceToken("token-1".into(), "token-2".into(), until);
    let found = async || w.store.token(bytes32(1)).await.unwrap().unwrap();
    done(&w, replace(now + 60)).await;
    let replaced = found().await;
    assert_eq!((replaced.row.expires_at, replaced.row.revoked, replaced.version), (now + 60, false, 2));
    assert_eq!(replaced.row.replaced_by.as_deref(), Some("token-2"));
    conflicts(&w, replace(now + 30)).await;
    conflicts(&w, Change::ReplaceToken("none".into(), "token-2".into(), now + 60)).await;

    for (n, until, ends_at, revoked) in [(3, now + 5000, now + 1000, false), (4, now, now, true)] {
        let mut old = token(n);
        old.expires_at = now + 1000;
        done(&w, Change::CreateToken(old)).await;
        done(&w, Change::ReplaceToken(format!("token-{n}"), "token-2".into(), until)).await;
        let replaced = w.store.token(bytes32(n)).await.unwrap().unwrap().row;
        assert_eq!((replaced.expires_at, replaced.revoked), (ends_at, revoked));
        conflicts(&w, Change::ReplaceToken(format!("token-{n}"), "token-1".into(), until)).await;
    }
    done(&w, Change::RevokeToken("token-2".into())).await;
    conflicts(&w, Change::ReplaceToken("token-2".into(), "token-1".into(), now + 60)).await;
}

pub(crate) async fn a_lease_is_granted_once_for_a_statement(w: World) {
    let far = w.now().await + 1000;
    let mut row = lease(1, 1, "minilm", far);
    row.keys.push(holds("minilm", 1, Access::Write));
    row.keys.push(holds("corpus", 2, Access::Read));
    done(&w, Change::GrantLease(row.clone())).await;
    let found = w.store.lease(lease_id(1)).await.unwrap().unwrap();
    assert_eq!((&found.row, found.version), (&row, 1));
    assert_eq!(w.store.lease_by_statement(bytes32(1)).await.unwrap().unwrap(), found);

    let mut same_statement = lease(2, 1, "minilm", far);
    same_statement.statement_sha256 = bytes32(1);
    conflicts(&w, Change::GrantLease(same_statement)).await;
    let mut same_id = lease(1, 1, "minilm", far);
    same_id.statement_sha256 = bytes32(2);
    conflicts(&w, Change::GrantLease(same_id)).await;
    let mut closed = lease(2, 1, "minilm", far);
    closed.state = LeaseState::Ended;
    conflicts(&w, Change::GrantLease(closed)).await;
    done(&w, Change::GrantLease(lease(2, 1, "minilm", far))).await;
}

pub(crate) async fn only_a_live_lease_is_renewed_delivered_or_closed(w: World) {
    let now = w.now().await;
    for (n, expires_at) in [(1, now + 1000), (2, now - 1)] {
        done(&w, Change::GrantLease(lease(n, 1, "minilm", expires_at))).await;
    }
    conflicts(&w, Change::RenewLease(lease_id(9), now + 2000, now + 1500)).await;
    conflicts(&w, Change::RenewLease(lease_id(2), now + 2000, now + 1500)).await;
    conflicts(&w, Change::DeliverLease(lease_id(2))).await;

    done(&w, Change::RenewLease(lease_id(1), now + 2000, now + 1500)).await;
    done(&w, Change::DeliverLease(lease_id(1))).await;
    conflicts(&w, Change::DeliverLease(lease_id(1))).await;
    let found = w.store.lease(lease_id(1)).await.unwrap().unwrap();
    let mut expected = lease(1, 1, "minilm", now + 2000);
    expected.decision = found.row.decision;
    expected.reattest_at = now + 1500;
    expected.delivered = true;
    assert_eq!((found.row, found.version), (expected, 3));

    conflicts(&w, Change::CloseLease(lease_id(1), LeaseState::Live)).await;
    done(&w, Change::CloseLease(lease_id(1), LeaseState::Revoked)).await;
    let found = w.store.lease(lease_id(1)).await.unwrap().unwrap();
    assert_eq!((found.row.state, found.version), (LeaseState::Revoked, 4));
    for change in [
        Change::CloseLease(lease_id(1), LeaseState::Ended),
        Change::RenewLease(lease_id(1), now + 3000, now + 2500),
        Change::DeliverLease(lease_id(1)),
    ] {
        conflicts(&w, change).await;
    }
    // One whose time ran out is still there to be closed.
    done(&w, Change::CloseLease(lease_id(2), LeaseState::Expired)).await;
}

/// The states of the first leases, in order.
async fn states(w: &World, leases: u8) -> Vec<LeaseState> {
    let mut states = Vec::new();
    for n in 1..=leases {
        states.push(w.store.lease(lease_id(n)).await.unwrap().unwrap().row.state);
    }
    states
}

pub(crate) async fn the_leases_of_a_node_close_together(w: World) {
    use LeaseState::{Ended, Live, Revoked};
    let far = w.now().await + 1000;
    for (n, node) in [(1, 1), (2, 1), (3, 2), (4, 1)] {
        done(&w, Change::GrantLease(lease(n, node, "minilm", far))).await;
    }
    done(&w, Change::CloseLease(lease_id(4), Ended)).await;
    done(&w, Change::CloseLeasesOfNode(node_id(1), Revoked)).await;
    assert_eq!(states(&w, 4).await, [Revoked, Revoked, Live, Ended]);
    done(&w, Change::CloseLeasesOfNode(node_id(1), Revoked)).await;
}

pub(crate) async fn the_leases_of_a_key_close_together(w: World) {
    use LeaseState::{Live, Revoked};
    let far = w.now().await + 1000;
    let mut second = lease(2, 1, "minilm", far);
    second.keys = vec![holds("minilm", 2, Access::Read)];
    let mut both = lease(3, 2, "corpus", far);
    both.keys.extend([holds("minilm", 1, Access::Read), holds("minilm", 1, Access::Write)]);
    for row in [lease(1, 1, "minilm", far), second, both, lease(4, 1, "corpus", far)] {
        done(&w, Change::GrantLease(row)).await;
    }
    done(&w, Change::CloseLeasesOfKey("minilm".into(), 1, Revoked)).await;
    assert_eq!(states(&w, 4).await, [Revoked, Live, Revoked, Live]);
}

pub(crate) async fn an_enrolment_is_activated_once(w: World) {
    let now = w.now().await;
    let (id, late) = (EnrolmentId::from([1; 16]), EnrolmentId::from([2; 16]));
    w.store.put_enrolment(&enrolment(1, now + 1000)).await.unwrap();
    w.store.put_enrolment(&enrolment(2, now - 1)).await.unwrap();
    conflicts(&w, Change::ActivateEnrolment(EnrolmentId::from([3; 16]), node_id(1))).await;
    conflicts(&w, Change::ActivateEnrolment(late, node_id(1))).await;
    done(&w, Change::ActivateEnrolment(id, node_id(1))).await;
    assert_eq!(w.store.enrolment(id).await.unwrap().unwrap().node, Some(node_id(1)));
    conflicts(&w, Change::ActivateEnrolment(id, node_id(1))).await;
}

pub(crate) async fn a_refused_item_leaves_nothing(w: World) {
    let blob = Blob::of(b"evidence".to_vec());
    let mut refused = with(vec![
        Change::CreateSite(site("fra-1")),
        propose("boot", 1),
        approve("boot", 1),
        Change::PutNode(node(1)),
        Change::RevokeToken("none".into()),
    ]);
    refused.blobs = vec![blob.clone()];
    let id = refused.record.id;
    let outcomes = w.commit(vec![refused, with(vec![Change::CreateSite(site("par-1"))])]).await;
    assert!(matches!(crate::world::refused(outcomes[0].clone()), Refusal::Conflict(_)));
    assert_eq!(crate::world::accepted(outcomes[1].clone()).index, 0);
    assert!(w.store.site("fra-1").await.unwrap().is_none());
    assert!(w.store.node(node_id(1)).await.unwrap().is_none());
    assert_eq!(w.store.references(&["boot".into()]).await.unwrap(), (vec![], 0));
    assert!(w.store.blob(blob.sha256).await.unwrap().is_none());
    assert!(!w.store.has_blob(blob.sha256).await.unwrap());
    assert!(w.store.entry_by_id(id).await.unwrap().is_none());
    assert!(w.store.site("par-1").await.unwrap().is_some());
    assert_eq!(w.check_log().await.len(), 1);
    // What it named is still free.
    w.accepted(Item { blobs: vec![blob.clone()], ..with(vec![propose("boot", 1)]) }).await;
    assert_eq!(w.store.blob(blob.sha256).await.unwrap().unwrap(), blob.bytes);
    assert!(w.store.has_blob(blob.sha256).await.unwrap());
}
