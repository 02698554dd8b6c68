//! Guests of Intel's: found by the platform of the quote, judged by imported collateral.

use super::{makers::tdx, *};

const PPID: &str = "tdx-ppid:0102030405060708090a0b0c0d0e0f10";

#[tokio::test]
async fn t1_a_guest_of_tdx_is_known_by_its_platform_and_held_to_what_is_required() {
    let bench = bench(ANY, json!({})).await;
    let node = registered(&bench, &[PPID.to_owned()]).await;
    let recipient = RecipientKey::generate().unwrap();
    let first = ask(&bench, &recipient).await;
    let reply = send(&bench, &first, |bound| vec![tdx(bound)]).await.ok();
    let (payload, _) = bench.believe(&first, &reply, &recipient);
    assert!(explained(&bench).await["input"]["claims"]["tdx"].is_object());
    assert_eq!(bench.vault.store.node(node).await.unwrap().unwrap().row.last_pcrs.unwrap().tdx.mrtds.len(), 1);
    let own = renewal(&bench, &first, payload.lease.id).await;
    send(&bench, &own, |bound| vec![tdx(bound)]).await.ok();

    let elsewhere = |bound: Bound<'_>| vec![tdx(Bound { statement: b"another", ..bound })];
    unstored(&bench, told(401, "evidence_refused", "T1"), elsewhere).await;
    let cut = |bound: Bound<'_>| {
        let Evidence::Tdx(mut item) = tdx(bound) else { unreachable!() };
        item.quote.0.truncate(100);
        vec![Evidence::Tdx(item)]
    };
    unstored(&bench, told(401, "evidence_refused", "T1"), cut).await;
    bench.enforce(policy(ANY, &json!({ "tdx": { "min_evaluation_data_number": 1000 } }))).await;
    denied(&bench, "T1", |bound| vec![tdx(bound)]).await;
}

#[tokio::test]
async fn t1_a_platform_without_imported_collateral_is_nobody_yet() {
    let bench = bench(ANY, json!({})).await;
    registered(&bench, &[PPID.to_owned()]).await;
    let name = bench.get(Role::Endorser, "/v1/endorsements").await.ok();
    let name = name
        .as_array()
        .unwrap()
        .iter()
        .find_map(|one| one["name"].as_str().filter(|name| name.starts_with("intel/tdx/")).map(str::to_owned));
    let path = format!("/v1/endorsements/{}", name.unwrap());
    // It takes two: with an older one in its place, what this one says is revoked or out of date would pass.
    let proposed = bench.call(Some(Role::Endorser), Method::DELETE, &path, None).await.ok();
    assert!(proposed["warnings"][0].as_str().unwrap().contains("not removed yet"));
    let again = bench.call(Some(Role::Endorser), Method::DELETE, &path, None).await;
    assert_eq!(again.problem(), (403, "four_eyes".to_owned()));
    let second = bench.token("second", &[Role::Endorser]).await;
    bench.as_holder(&second, Method::DELETE, &path).await.ok();
    unstored(&bench, told(401, "evidence_refused", "T1"), |bound| vec![tdx(bound)]).await;
}
