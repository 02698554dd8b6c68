use crate::{World, rows::*};
use strongroom_ledger::{Action, Actor, ActorKind, KeyGrant, Subject, SubjectKind, Verdict};
use strongroom_protocol::{audit::AuditQuery, statement::Access};
use strongroom_store::Item;

/// Indices that a query finds, at any time.
async fn found(w: &World, query: &AuditQuery) -> Vec<u64> {
    let rows = w.store.query(query, 0, i64::MAX).await.unwrap();
    assert!(rows.iter().all(|row| row.body.is_some()));
    rows.into_iter().map(|row| row.index).collect()
}

/// A filter's value.
#[expect(clippy::needless_pass_by_value, clippy::unnecessary_wraps, reason = "so that the queries below read well")]
fn some(text: impl ToString) -> Option<String> {
    Some(text.to_string())
}

/// 0: a denial to node 1; 1: a release to node 2 in a site, with a job and an asset; 2: an act about
/// an asset; 3: a key's; 4: a site's.
async fn written(w: &World) {
    let mut release = denial(2);
    release.record.verdict = Some(Verdict::Released);
    release.record.reasons = vec![];
    release.record.site = some("fra-1");
    release.record.job = some("job-1");
    release.record.keys = ["minilm", "minilm", "corpus"]
        .into_iter()
        .zip([1, 2, 1])
        .map(|(asset, version)| KeyGrant::from(&holds(asset, version, Access::Read)))
        .collect();
    let act = |action, kind, id: &str| {
        let mut item = item();
        item.record.action = action;
        item.record.subject = Subject::new(kind, id);
        item
    };
    let mut by_node = act(Action::SiteChanged, SubjectKind::Site, "fra-1");
    by_node.record.actor = Actor::new(ActorKind::System, "sweeper");
    w.commit(vec![
        denial(1),
        release,
        act(Action::AssetCreated, SubjectKind::Asset, "minilm"),
        act(Action::KeyRotated, SubjectKind::Key, "minilm@2"),
        by_node,
    ])
    .await;
}

pub(crate) async fn each_filter_selects(w: World) {
    written(&w).await;
    let all = AuditQuery::default();
    assert_eq!(found(&w, &all).await, [0, 1, 2, 3, 4]);
    for (query, expected) in [
        (AuditQuery { asset: some("minilm"), ..all.clone() }, vec![1, 2, 3]),
        (AuditQuery { asset: some("corpus"), ..all.clone() }, vec![1]),
        (AuditQuery { node: some(node_id(2)), ..all.clone() }, vec![1]),
        (AuditQuery { site: some("fra-1"), ..all.clone() }, vec![1]),
        (AuditQuery { job: some("job-1"), ..all.clone() }, vec![1]),
        (AuditQuery { actor: some("system:sweeper"), ..all.clone() }, vec![4]),
        (AuditQuery { actor: some("person:alice"), ..all.clone() }, vec![0, 1, 2, 3]),
        (AuditQuery { action: some("release.decided"), ..all.clone() }, vec![0, 1]),
        (AuditQuery { action: some("key.*"), ..all.clone() }, vec![3]),
        (AuditQuery { action: some("key"), ..all.clone() }, vec![]),
        (AuditQuery { verdict: some("denied"), ..all.clone() }, vec![0]),
        (AuditQuery { verdict: some("released"), ..all.clone() }, vec![1]),
        (AuditQuery { reason: some("pcr_mismatch"), ..all.clone() }, vec![0]),
        (AuditQuery { reason: some("%"), ..all.clone() }, vec![]),
        (AuditQuery { asset: some("x' OR '1'='1"), ..all.clone() }, vec![]),
    ] {
        assert_eq!(found(&w, &query).await, expected, "{query:?}");
    }
}

pub(crate) async fn filters_are_taken_together(w: World) {
    written(&w).await;
    let query = AuditQuery {
        asset: some("minilm"),
        node: some(node_id(2)),
        site: some("fra-1"),
        job: some("job-1"),
        actor: some("person:alice"),
        action: some("release.*"),
        verdict: some("released"),
        ..AuditQuery::default()
    };
    assert_eq!(found(&w, &query).await, [1]);
    assert_eq!(found(&w, &AuditQuery { verdict: some("denied"), ..query.clone() }).await, [] as [u64; 0]);
    assert_eq!(found(&w, &AuditQuery { reason: some("pcr_mismatch"), ..query }).await, [] as [u64; 0]);
}

pub(crate) async fn pages_follow_one_another(w: World) {
    for _ in 0..5 {
        w.commit((0..250).flat_map(|_| [item(), denial(1)]).take(250).collect()).await;
    }
    for (filter, step) in
        [(AuditQuery::default(), 1), (AuditQuery { verdict: some("denied"), ..AuditQuery::default() }, 2)]
    {
        assert_eq!(found(&w, &filter).await.len(), 100);
        assert_eq!(found(&w, &AuditQuery { limit: Some(5000), ..filter.clone() }).await.len(), 1000.min(1250 / step));
        let mut query = AuditQuery { limit: Some(200), ..filter };
        let mut seen = Vec::new();
        loop {
            let page = found(&w, &query).await;
            let (Some(first), Some(last)) = (page.first(), page.last()) else { break };
            assert!(query.after.is_none_or(|after| after < *first));
            query.after = Some(*last);
            seen.extend(page);
        }
        let expected: Vec<u64> = (0..1250_u64).filter(|index| index % step as u64 == step as u64 - 1).collect();
        assert_eq!(seen, expected);
    }
}

pub(crate) async fn times_bound_a_query(w: World) {
    let before = w.now().await;
    w.commit(vec![Item { ..item() }, denial(1)]).await;
    let after = w.now().await + 1;
    let between = async |from, to| w.store.query(&AuditQuery::default(), from, to).await.unwrap().len();
    assert_eq!(between(before, after).await, 2);
    assert_eq!(between(before - 1000, before).await, 0);
    assert_eq!(between(after, after + 1000).await, 0);
    assert_eq!(between(i64::MIN, i64::MAX).await, 2);
    assert_eq!(between(after, before).await, 0);
    let denied = AuditQuery { verdict: some("denied"), ..AuditQuery::default() };
    assert_eq!(w.store.query(&denied, before, after).await.unwrap().len(), 1);
    assert_eq!(w.store.query(&denied, after, after + 9).await.unwrap().len(), 0);
}
