use crate::{
    World,
    rows::*,
    world::{accepted, refused},
};
use strongroom_protocol::{lease::LeaseState, statement::Access};
use strongroom_store::{Change, Item, Quota, Refusal, model::LeaseRow};

fn grant(row: LeaseRow, quota: Quota) -> Item {
    Item { quotas: vec![quota], ..with(vec![Change::GrantLease(row)]) }
}

pub(crate) async fn leases_of_a_node_are_counted_with_the_items_before(w: World) {
    let far = w.now().await + 1000;
    let asked = |n, node| grant(lease(n, node, "minilm", far), Quota::NodeLeases(node_id(node), 3));
    w.accepted(asked(1, 1)).await;
    // Without a quota of its own, an item counts for those after it.
    let free = with(vec![Change::GrantLease(lease(2, 1, "minilm", far))]);
    let outcomes = w.commit(vec![asked(3, 2), free, asked(4, 1), asked(5, 1), asked(6, 2), asked(7, 1)]).await;
    let over = Refusal::QuotaExceeded(Quota::NodeLeases(node_id(1), 3));
    for (place, outcome) in outcomes.into_iter().enumerate() {
        match place {
            3 | 5 => assert_eq!(refused(outcome), over),
            _ => drop(accepted(outcome)),
        }
    }
    assert_eq!(w.refused(asked(8, 1)).await, over);
    assert_eq!(w.store.live_leases(node_id(1), &[]).await.unwrap().0, 3);
    w.check_log().await;
}

pub(crate) async fn leases_of_an_asset_are_counted_once_each(w: World) {
    let far = w.now().await + 1000;
    let mut several = lease(1, 1, "minilm", far);
    several.keys.extend([holds("minilm", 2, Access::Read), holds("minilm", 2, Access::Write)]);
    let quota = || Quota::AssetLeases("minilm".into(), 2);
    let outcomes = w
        .commit(vec![
            grant(several, quota()),
            grant(lease(2, 2, "corpus", far), Quota::AssetLeases("corpus".into(), 1)),
            grant(lease(3, 2, "minilm", far), quota()),
            grant(lease(4, 3, "minilm", far), quota()),
        ])
        .await;
    assert_eq!(refused(outcomes[3].clone()), Refusal::QuotaExceeded(quota()));
    outcomes.into_iter().take(3).for_each(|outcome| drop(accepted(outcome)));
    let assets = ["minilm".into(), "none".into(), "corpus".into()];
    assert_eq!(w.store.live_leases(node_id(2), &assets).await.unwrap(), (2, vec![2, 0, 1]));
}

pub(crate) async fn closed_and_lapsed_leases_do_not_count(w: World) {
    let now = w.now().await;
    let asked = |n| Item {
        quotas: vec![Quota::NodeLeases(node_id(1), 2), Quota::AssetLeases("minilm".into(), 2)],
        ..with(vec![Change::GrantLease(lease(n, 1, "minilm", now + 1000))])
    };
    // One lapsed, two live.
    w.accepted(with(vec![Change::GrantLease(lease(1, 1, "minilm", now - 1))])).await;
    w.accepted(asked(2)).await;
    w.accepted(asked(3)).await;
    assert!(matches!(w.refused(asked(4)).await, Refusal::QuotaExceeded(_)));
    // Closing makes room within the same batch, and within the same item.
    let outcomes = w
        .commit(vec![
            asked(5),
            with(vec![Change::CloseLease(lease_id(2), LeaseState::Ended)]),
            asked(6),
            asked(7),
            Item {
                changes: [vec![Change::CloseLease(lease_id(3), LeaseState::Ended)], asked(8).changes].concat(),
                ..asked(8)
            },
            asked(9),
            with(vec![Change::CloseLeasesOfNode(node_id(1), LeaseState::Revoked)]),
            asked(10),
            asked(11),
            asked(12),
        ])
        .await;
    for (place, outcome) in outcomes.into_iter().enumerate() {
        match place {
            0 | 3 | 5 | 9 => assert!(matches!(refused(outcome), Refusal::QuotaExceeded(_)), "{place}"),
            _ => drop(accepted(outcome)),
        }
    }
}

pub(crate) async fn denials_are_counted_with_the_items_before(w: World) {
    let limited = |node, limit| Item { quotas: vec![Quota::NodeDenials(node_id(node), limit)], ..denial(node) };
    let over = |node, limit| Refusal::QuotaExceeded(Quota::NodeDenials(node_id(node), limit));
    w.accepted(denial(1)).await;
    let outcomes = w.commit(vec![denial(1), limited(2, 1), limited(1, 3), limited(1, 3), limited(2, 1)]).await;
    assert_eq!(refused(outcomes[3].clone()), over(1, 3));
    assert_eq!(refused(outcomes[4].clone()), over(2, 1));
    outcomes.into_iter().take(3).for_each(|outcome| drop(accepted(outcome)));
    assert_eq!(w.refused(limited(1, 3)).await, over(1, 3));
    w.accepted(limited(1, 4)).await;
    // What is not a denial is not counted.
    w.accepted(Item { quotas: vec![Quota::NodeDenials(node_id(1), 4)], ..item() }).await;
}
