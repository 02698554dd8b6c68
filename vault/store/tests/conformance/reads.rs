use crate::{World, rows::*};
use strongroom_protocol::{EnrolmentId, admin::ReferenceState, lease::LeaseState};
use strongroom_store::{Change, StoreError, model::ReferenceRow};

pub(crate) async fn a_vault_is_initialised_once(w: World) {
    assert_eq!(w.store.vault().await.unwrap(), None);
    w.store.initialise(&vault()).await.unwrap();
    assert_eq!(w.store.vault().await.unwrap(), Some(vault()));
    let mut other = vault();
    other.created_at = 2;
    assert!(matches!(w.store.initialise(&other).await, Err(StoreError::Initialised)));
    assert_eq!(w.store.vault().await.unwrap(), Some(vault()));
    w.accepted(item()).await;
}

pub(crate) async fn the_clock_is_in_seconds(w: World) {
    let now = w.now().await;
    assert!((1_700_000_000..4_000_000_000).contains(&now), "{now}");
}

pub(crate) async fn enrolments_are_kept_until_they_expire(w: World) {
    let now = w.now().await;
    let id = EnrolmentId::from([1; 16]);
    w.store.put_enrolment(&enrolment(1, now + 1000)).await.unwrap();
    assert_eq!(w.store.enrolment(id).await.unwrap(), Some(enrolment(1, now + 1000)));
    assert!(matches!(w.store.put_enrolment(&enrolment(1, now + 1000)).await, Err(StoreError::Unavailable(_))));
    w.store.put_enrolment(&enrolment(2, now)).await.unwrap();
    assert_eq!(w.store.enrolment(EnrolmentId::from([2; 16])).await.unwrap(), None);
    assert_eq!(w.store.enrolment(EnrolmentId::from([3; 16])).await.unwrap(), None);
}

pub(crate) async fn lists_have_their_order(w: World) {
    w.accepted(with(vec![
        Change::CreateSite(site("par-1")),
        Change::CreateSite(site("fra-1")),
        Change::PutNode(node(1)),
        Change::PutNode(node(2)),
        Change::CreateAsset(asset("minilm")),
        Change::CreateAsset(asset("corpus")),
        propose("boot", 1),
        approve("boot", 1),
        propose("boot", 2),
        approve("boot", 2),
        propose("a", 1),
        approve("a", 1),
        Change::ProposePolicy(policy(1)),
        Change::ProposePolicy(policy(2)),
        Change::CreateToken(token(2)),
        Change::CreateToken(token(1)),
    ]))
    .await;
    assert_eq!(w.store.sites().await.unwrap(), [site("fra-1"), site("par-1")]);
    // Node 2 was enrolled before node 1.
    assert_eq!(w.store.nodes().await.unwrap(), [node(2), node(1)]);
    assert_eq!(w.store.assets().await.unwrap(), [asset("corpus"), asset("minilm")]);
    let old = ReferenceRow { state: ReferenceState::Superseded, ..in_force("boot", 1) };
    let references = [in_force("a", 1), old, in_force("boot", 2)];
    assert_eq!(w.store.all_references().await.unwrap(), references);
    assert_eq!(w.store.policies().await.unwrap(), [policy(2), policy(1)]);
    let tokens: Vec<_> = w.store.tokens().await.unwrap().into_iter().map(|token| token.row).collect();
    assert_eq!(tokens, [token(1), token(2)]);
}

pub(crate) async fn leases_are_listed_by_what_they_are_now(w: World) {
    let now = w.now().await;
    let mut delivered = lease(4, 1, "minilm", now + 1000);
    delivered.delivered = true;
    for row in [
        lease(1, 1, "minilm", now + 1000),
        lease(2, 1, "minilm", now - 1),
        lease(3, 1, "minilm", now + 1000),
        delivered,
        lease(5, 1, "minilm", now + 1000),
    ] {
        w.accepted(with(vec![Change::GrantLease(row)])).await;
    }
    w.accepted(with(vec![Change::CloseLease(lease_id(3), LeaseState::Ended)])).await;
    let numbers = |leases: Vec<strongroom_store::model::LeaseRow>| -> Vec<_> {
        leases.iter().map(|lease| lease.id.as_array()[0]).collect()
    };
    assert_eq!(numbers(w.store.leases(true, None, 10).await.unwrap()), [5, 4, 1]);
    assert_eq!(numbers(w.store.leases(true, None, 2).await.unwrap()), [5, 4]);
    let all = w.store.leases(false, None, 10).await.unwrap();
    let states: Vec<_> = all.iter().map(|lease| lease.state).collect();
    assert_eq!(states, [LeaseState::Live, LeaseState::Live, LeaseState::Ended, LeaseState::Expired, LeaseState::Live,]);
    assert_eq!(numbers(all), [5, 4, 3, 2, 1]);
    assert_eq!(w.store.lease(lease_id(2)).await.unwrap().unwrap().row.state, LeaseState::Expired);
    assert_eq!(w.store.lease_by_statement(bytes32(2)).await.unwrap().unwrap().row.state, LeaseState::Expired);

    // 2 ran out; 1 was granted at 1001, 5 at 1005; 4 was delivered, 3 is closed.
    assert_eq!(numbers(w.store.lapsed_leases(0, 10).await.unwrap()), [2]);
    assert_eq!(numbers(w.store.lapsed_leases(1005, 10).await.unwrap()), [1, 2]);
    assert_eq!(numbers(w.store.lapsed_leases(1006, 10).await.unwrap()), [1, 2, 5]);
    assert_eq!(numbers(w.store.lapsed_leases(1006, 1).await.unwrap()), [1]);
}

pub(crate) async fn the_approved_reference_is_in_force(w: World) {
    w.accepted(with(in_turn([("boot", 1), ("boot", 2), ("other", 1)]))).await;
    let (found, generation) = w.store.references(&["other".into(), "boot".into()]).await.unwrap();
    assert_eq!((found, generation), (vec![in_force("boot", 2), in_force("other", 1)], 3));
}

pub(crate) async fn leases_are_found_by_node_and_by_key(w: World) {
    let now = w.now().await;
    w.accepted(with(vec![
        Change::PutNode(node(1)),
        Change::PutNode(node(2)),
        Change::CreateAsset(asset("minilm")),
        Change::CreateAsset(asset("corpus")),
        Change::GrantLease(lease(1, 1, "minilm", now + 1000)),
        Change::GrantLease(lease(2, 2, "minilm", now + 1000)),
        Change::GrantLease(lease(3, 2, "corpus", now + 1000)),
        // Its time is over, but nobody has closed it: closing the node's leases would.
        Change::GrantLease(lease(4, 2, "corpus", now - 1)),
        Change::GrantLease(lease(5, 2, "minilm", now + 1000)),
        Change::CloseLease(lease_id(5), LeaseState::Ended),
    ]))
    .await;
    let ids = |leases: Vec<strongroom_store::model::LeaseRow>| {
        let mut ids: Vec<_> = leases.into_iter().map(|lease| lease.id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(w.store.leases_of_node(node_id(2)).await.unwrap()), [lease_id(2), lease_id(3), lease_id(4)]);
    assert_eq!(ids(w.store.leases_of_key("minilm", 1).await.unwrap()), [lease_id(1), lease_id(2)]);
    assert!(w.store.leases_of_key("minilm", 2).await.unwrap().is_empty());
}

pub(crate) async fn a_list_of_leases_goes_on_where_it_ended(w: World) {
    let far = w.now().await + 1000;
    for n in 1..=5 {
        // Three of one second, whose ids decide.
        let granted_at = if n < 4 { 1000 } else { 1001 };
        let row = strongroom_store::model::LeaseRow { granted_at, ..lease(n, 1, "minilm", far) };
        w.accepted(with(vec![Change::GrantLease(row)])).await;
    }
    w.accepted(with(vec![Change::CloseLease(lease_id(4), LeaseState::Ended)])).await;
    let page = async |live, after: Option<u8>| {
        let leases = w.store.leases(live, after.map(lease_id), 2).await.unwrap();
        leases.iter().map(|lease| lease.id.as_array()[0]).collect::<Vec<_>>()
    };
    assert_eq!(page(false, None).await, [5, 4]);
    assert_eq!(page(false, Some(4)).await, [3, 2]);
    assert_eq!(page(false, Some(2)).await, [1]);
    assert_eq!(page(false, Some(1)).await, [0; 0]);
    assert_eq!(page(true, None).await, [5, 3]);
    // A place in the list is one whatever has become of the lease.
    assert_eq!(page(true, Some(4)).await, [3, 2]);
    assert_eq!(page(true, Some(9)).await, [0; 0], "behind nothing there is nothing");
}

pub(crate) async fn the_use_of_a_token_is_noted(w: World) {
    w.accepted(with(vec![Change::CreateToken(token(1)), Change::CreateToken(token(2))])).await;
    let used = async |n: u8| {
        let found = w.store.token(bytes32(n)).await.unwrap().unwrap();
        assert_eq!(found.version, 1, "who uses a token does not change it");
        found.row.last_used_at
    };
    assert_eq!(used(1).await, None);
    let note = async |uses: &[(&str, i64)]| {
        let noted: Vec<_> = uses.iter().map(|(id, at)| ((*id).to_owned(), *at)).collect();
        w.store.note_token_use(&noted).await.unwrap();
    };
    note(&[("token-1", 100), ("none", 100)]).await;
    assert_eq!((used(1).await, used(2).await), (Some(100), None));
    note(&[("token-1", 90), ("token-2", 110)]).await;
    assert_eq!((used(1).await, used(2).await), (Some(100), Some(110)), "an earlier use is no news");
    let listed: Vec<_> = w.store.tokens().await.unwrap().into_iter().map(|t| t.row.last_used_at).collect();
    assert_eq!(listed, [Some(100), Some(110)]);
    note(&[]).await;
}
