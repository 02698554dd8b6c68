use crate::{
    World,
    rows::*,
    world::{accepted, refused},
};
use strongroom_protocol::challenge::Nonce;
use strongroom_store::{Change, Guard, Item, Refusal};

fn burning(nonce: Nonce) -> Item {
    Item { nonce: Some(nonce), ..item() }
}

pub(crate) async fn a_nonce_is_burnt_once(w: World) {
    let now = w.now().await;
    let (first, second) = (nonce(now, 60), nonce(now, 60));
    w.accepted(burning(first)).await;
    w.accepted(burning(second)).await;
    assert_eq!(w.refused(burning(first)).await, Refusal::NonceReused);
    assert_eq!(w.check_log().await.len(), 2);
}

pub(crate) async fn a_duplicate_fails_alone(w: World) {
    let now = w.now().await;
    let (twice, once) = (nonce(now, 60), nonce(now, 60));
    let mut outcomes = w.commit(vec![burning(twice), burning(twice), burning(once)]).await;
    assert_eq!(accepted(outcomes.pop().unwrap()).index, 1);
    assert_eq!(refused(outcomes.pop().unwrap()), Refusal::NonceReused);
    assert_eq!(accepted(outcomes.pop().unwrap()).index, 0);
    assert_eq!(w.check_log().await.len(), 2);
}

pub(crate) async fn an_expired_nonce_is_refused(w: World) {
    let now = w.now().await;
    let mut outcomes = w.commit(vec![burning(nonce(now, -1)), burning(nonce(now, 60))]).await;
    accepted(outcomes.pop().unwrap());
    assert_eq!(refused(outcomes.pop().unwrap()), Refusal::NonceExpired);
    let endless = Nonce::new([1; 16], u64::MAX, [0; 16]);
    w.accepted(burning(endless)).await;
    assert_eq!(w.refused(burning(endless)).await, Refusal::NonceReused);
}

pub(crate) async fn a_refused_item_burns_nothing(w: World) {
    let nonce = nonce(w.now().await, 60);
    let stale = Item { guards: vec![Guard::PolicyGeneration(9)], ..burning(nonce) };
    let conflict = Item { changes: vec![Change::RevokeToken("none".into())], ..burning(nonce) };
    for outcome in w.commit(vec![stale, conflict]).await {
        assert!(!matches!(refused(outcome), Refusal::NonceReused));
    }
    w.accepted(burning(nonce)).await;
}
