use crate::{
    World,
    rows::*,
    world::{accepted, refused},
};
use strongroom_protocol::{admin::KeyState, enrol::NodeState};
use strongroom_store::{Change, Guard, Item, Refusal};

fn guarded(guard: Guard) -> Item {
    Item { guards: vec![guard], ..item() }
}

/// A world with one row of each kind, all of version 1.
async fn settled(w: &World) {
    let far = w.now().await + 1000;
    w.accepted(with(vec![
        Change::CreateSite(site("fra-1")),
        Change::PutNode(node(1)),
        Change::CreateAsset(asset("minilm")),
        Change::PutKey(key("minilm", 1, KeyState::Active)),
        propose("boot", 1),
        approve("boot", 1),
        Change::ProposePolicy(policy(1)),
        Change::CreateToken(token(1)),
        Change::GrantLease(lease(1, 1, "minilm", far)),
    ]))
    .await;
}

pub(crate) async fn each_guard_accepts_the_version_that_is_there_and_refuses_another(w: World) {
    settled(&w).await;
    w.accepted(with(vec![Change::EnforcePolicy(bytes32(1), "bob".into())])).await;
    let guards: Vec<fn(i64) -> Guard> = vec![
        |version| Guard::Node(node_id(1), version),
        |version| Guard::Site("fra-1".into(), version),
        |version| Guard::Asset("minilm".into(), version),
        |version| Guard::Key("minilm".into(), 1, version),
        |version| Guard::Lease(lease_id(1), version),
        |version| Guard::Token("token-1".into(), version),
        Guard::PolicyGeneration,
        Guard::ReferenceGeneration,
        Guard::TokenGeneration,
    ];
    for guard in guards {
        w.accepted(guarded(guard(1))).await;
        for stale in [guard(0), guard(2)] {
            assert_eq!(w.refused(guarded(stale.clone())).await, Refusal::Stale(stale));
        }
    }
    // Proposed is version 1, enforced version 2.
    w.accepted(guarded(Guard::Policy(bytes32(1), 2))).await;
    let stale = Guard::Policy(bytes32(1), 1);
    assert_eq!(w.refused(guarded(stale.clone())).await, Refusal::Stale(stale));

    w.accepted(guarded(Guard::NewStatement(bytes32(2)))).await;
    let stale = Guard::NewStatement(bytes32(1));
    assert_eq!(w.refused(guarded(stale.clone())).await, Refusal::Stale(stale));
    w.check_log().await;
}

pub(crate) async fn a_token_created_meanwhile_is_seen(w: World) {
    assert_eq!(w.store.token_generation().await.unwrap(), 0);
    let make = |n| Item { guards: vec![Guard::TokenGeneration(0)], ..with(vec![Change::CreateToken(token(n))]) };
    let outcomes = w.commit(vec![make(1), make(2)]).await;
    accepted(outcomes[0].clone());
    assert_eq!(refused(outcomes[1].clone()), Refusal::Stale(Guard::TokenGeneration(0)));
    assert_eq!(w.store.token_generation().await.unwrap(), 1);
    w.accepted(with(vec![Change::RevokeToken("token-1".into())])).await;
    assert_eq!(w.store.token_generation().await.unwrap(), 1, "who has less adds up to nothing");
}

pub(crate) async fn a_guard_sees_the_items_before_it(w: World) {
    settled(&w).await;
    let far = w.now().await + 1000;
    let mut revoked = node(1);
    revoked.state = NodeState::Revoked;
    let outcomes = w
        .commit(vec![
            guarded(Guard::Node(node_id(1), 1)),
            with(vec![
                Change::PutNode(revoked),
                Change::PutKey(key("minilm", 1, KeyState::DecryptOnly)),
                propose("boot", 2),
                approve("boot", 2),
                Change::EnforcePolicy(bytes32(1), "bob".into()),
                Change::RevokeToken("token-1".into()),
                Change::DeliverLease(lease_id(1)),
                Change::GrantLease(lease(2, 1, "minilm", far)),
            ]),
            guarded(Guard::Node(node_id(1), 1)),
            guarded(Guard::Key("minilm".into(), 1, 1)),
            guarded(Guard::ReferenceGeneration(1)),
            guarded(Guard::PolicyGeneration(0)),
            guarded(Guard::Token("token-1".into(), 1)),
            guarded(Guard::Lease(lease_id(1), 1)),
            guarded(Guard::NewStatement(bytes32(2))),
            guarded(Guard::Node(node_id(1), 2)),
        ])
        .await;
    assert_eq!(outcomes.len(), 10);
    for (place, outcome) in outcomes.into_iter().enumerate() {
        match place {
            0 | 1 | 9 => drop(accepted(outcome)),
            _ => assert!(matches!(refused(outcome), Refusal::Stale(_)), "{place}"),
        }
    }
    assert_eq!(w.check_log().await.len(), 4);
}

pub(crate) async fn a_row_that_is_not_there_has_version_zero(w: World) {
    w.accepted(guarded(Guard::Node(node_id(1), 0))).await;
    w.accepted(guarded(Guard::PolicyGeneration(0))).await;
    let stale = Guard::Node(node_id(1), 1);
    assert_eq!(w.refused(guarded(stale.clone())).await, Refusal::Stale(stale));
}

pub(crate) async fn of_many_guards_the_last_one_counts_too(w: World) {
    settled(&w).await;
    let many: Vec<_> = (0..40).map(|n| Guard::Asset(format!("none-{n}"), 0)).collect();
    let ending = |last: Guard| Item { guards: many.iter().cloned().chain([last]).collect(), ..item() };
    w.accepted(ending(Guard::Key("minilm".into(), 1, 1))).await;
    let stale = Guard::Key("minilm".into(), 1, 7);
    assert_eq!(w.refused(ending(stale.clone())).await, Refusal::Stale(stale));
}
