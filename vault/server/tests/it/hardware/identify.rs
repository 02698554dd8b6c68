//! Identifications: what comes into a record by evidence, and what does not.

use super::*;
use strongroom_protocol::{identity::Identity, limits, release::IdentifiedPayload};

/// A statement that asks for no key.
async fn identification(bench: &Bench, recipient: &RecipientKey) -> Statement {
    Statement { act: Act::Identify, keys: Vec::new(), ..ask(bench, recipient).await }
}

/// Sends an identification and opens its answer.
async fn identify(bench: &Bench, collect: impl FnOnce(Bound<'_>) -> Vec<Evidence>) -> Result<IdentifiedPayload, Reply> {
    let recipient = RecipientKey::generate().unwrap();
    let statement = identification(bench, &recipient).await;
    let reply = send(bench, &statement, collect).await;
    if reply.status != 200 {
        return Err(reply);
    }
    let (plaintext, checked) = bench.unseal(&statement, &reply.ok(), &recipient);
    assert_eq!(checked.record.action, Action::NodeIdentified);
    assert_eq!(checked.record.verdict, Some(strongroom_ledger::Verdict::Released));
    Ok(serde_json::from_slice(&plaintext).unwrap())
}

fn read(texts: &[String]) -> Vec<Identity> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[tokio::test]
async fn an_enrolled_node_shows_its_guest_and_gpus_and_is_released_to_by_them() {
    let bench = bench(&measured(), json!({})).await;
    let (machine, tpm) = (Machine::new(1, &[1, 2]), Tpm::new());
    let node = bench.approved(&tpm, "fra-1").await;
    let all = |bound: Bound<'_>| [vec![Evidence::Tpm2(tpm.quote(bound.tpm()))], machine.evidence(bound)].concat();
    unstored(&bench, told(401, "not_enrolled", ""), |bound| machine.evidence(bound)).await;

    let leases = bench.vault.store.leases_of_node(node).await.unwrap().len();
    let identified = identify(&bench, all).await.ok().unwrap();
    let shown = read(&[machine.gpu_ids(), vec![machine.chip()]].concat());
    let mut added = identified.added.clone();
    added.sort_by_key(ToString::to_string);
    assert_eq!((identified.node, added), (node, shown));
    let record = bench.last_record().await;
    assert_eq!((record.id, record.node), (identified.decision_id, Some(node)));
    assert_eq!(record.details["added"].as_array().unwrap().len(), 3);
    assert_eq!(bench.vault.store.leases_of_node(node).await.unwrap().len(), leases, "no lease");
    open(&bench, &machine).await;
    // Again nothing comes in, and the answer says so.
    assert_eq!(identify(&bench, all).await.ok().unwrap().added, []);
    assert_eq!(identify(&bench, |bound| machine.evidence(bound)).await.ok().unwrap().added, []);
}

#[tokio::test]
async fn an_identification_is_answered_once() {
    let bench = bench(ANY, json!({})).await;
    let (machine, node) = machine(&bench).await;
    let statement = identification(&bench, &RecipientKey::generate().unwrap()).await;
    send(&bench, &statement, |bound| machine.evidence(bound)).await.ok();
    assert_eq!(bench.vault.store.node(node).await.unwrap().unwrap().row.state, NodeState::Approved, "and activates");
    assert_eq!(bench.last_record().await.details["activated"], true);
    let again = send(&bench, &statement, |bound| machine.evidence(bound)).await;
    assert_eq!(again.problem(), (409, "nonce_reused".to_owned()));
    let asks = Statement {
        keys: vec![crate::bench::read("model", 1)],
        ..identification(&bench, &RecipientKey::generate().unwrap()).await
    };
    assert_eq!(send(&bench, &asks, |bound| machine.evidence(bound)).await.problem(), (400, "malformed".to_owned()));
}

#[tokio::test]
async fn what_another_node_has_is_denied_without_its_name() {
    let bench = bench(ANY, json!({})).await;
    let (machine, owner) = machine(&bench).await;
    let tpm = Tpm::new();
    let thief = bench.approved(&tpm, "fra-1").await;
    let before = bench.vault.store.node(thief).await.unwrap().unwrap();
    let reply =
        identify(&bench, |bound| [vec![Evidence::Tpm2(tpm.quote(bound.tpm()))], machine.evidence(bound)].concat())
            .await
            .err()
            .unwrap();
    assert_eq!((reply.problem().0, &reply.json()["reasons"]), (403, &json!(["identity_taken"])));
    assert!(!String::from_utf8_lossy(&reply.bytes).contains(&owner.to_string()));
    let why = explained(&bench).await["denials"].to_string();
    assert!(why.contains(&machine.chip()) && !why.contains(&owner.to_string()), "{why}");
    assert!(!String::from_utf8_lossy(&reply.bytes).contains(&machine.chip()));
    assert_eq!(bench.vault.store.node(thief).await.unwrap().unwrap(), before, "nothing came in");
    // A GPU of another's beside a guest of one's own likewise.
    let own = Machine::new(2, &[]);
    let reply = identify(&bench, |bound| {
        [vec![Evidence::Tpm2(tpm.quote(bound.tpm())), own.report(bound)], machine.gpu_reports(bound)].concat()
    })
    .await;
    assert_eq!(reply.err().unwrap().json()["reasons"], json!(["identity_taken"]));
}

#[tokio::test]
async fn e7_all_else_holds_for_identifications_too() {
    let bench = bench(ANY, json!({})).await;
    let (machine, tpm) = (Machine::new(1, &[1, 2]), Tpm::new());
    let node = bench.approved(&tpm, "fra-1").await;
    let quote = |bound: Bound<'_>| Evidence::Tpm2(tpm.quote(bound.tpm()));
    // A GPU without the guest that collected its report.
    let reply = identify(&bench, |bound| [vec![quote(bound)], machine.gpu_reports(bound)].concat()).await;
    assert_eq!(refused(&reply.err().unwrap()), told(403, "denied", "E7"));
    identify(&bench, |bound| [vec![quote(bound)], machine.evidence(bound)].concat()).await.ok().unwrap();
    // GPUs of the record are not left out.
    let reply = identify(&bench, |bound| vec![quote(bound), machine.report(bound)]).await;
    assert_eq!(refused(&reply.err().unwrap()), told(403, "denied", "E7"));
    // A second processor is an operator's to add.
    let other = Machine::new(2, &[]);
    let reply =
        identify(&bench, |bound| [vec![quote(bound), other.report(bound)], machine.gpu_reports(bound)].concat()).await;
    assert_eq!(refused(&reply.err().unwrap()), told(403, "denied", "E7"));
    assert_eq!(bench.vault.store.node(node).await.unwrap().unwrap().row.identities.len(), 4);
}

#[tokio::test]
async fn only_a_node_that_an_operator_wanted_identifies_and_within_the_number_of_a_record() {
    let bench = bench(ANY, json!({})).await;
    let (machine, tpm) = (Machine::new(1, &[]), Tpm::new());
    let node = bench.pending(&tpm).await;
    let both = |bound: Bound<'_>| vec![Evidence::Tpm2(tpm.quote(bound.tpm())), machine.report(bound)];
    let reply = identify(&bench, both).await.err().unwrap();
    assert_eq!((reply.problem().0, &reply.json()["reasons"]), (403, &json!(["node_not_approved"])));
    let place = json!({ "site": "fra-1", "labels": {}, "single_job": true });
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/approve"), place).await.ok();

    let full: Vec<String> =
        (1..limits::IDENTITIES).map(|n| format!("cloud-vm:00000000-0000-0000-0000-{n:012x}")).collect();
    let add = json!({ "add": full.iter().map(|one| identity(one)).collect::<Vec<_>>() });
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/identities"), add).await.ok();
    let reply = identify(&bench, both).await.err().unwrap();
    assert_eq!(reply.json()["reasons"], json!(["identities_too_many"]));
    let remove = json!({ "remove": [identity(&full[0])] });
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/identities"), remove).await.ok();
    identify(&bench, both).await.ok().unwrap();
}

#[tokio::test]
async fn a_clouds_machine_is_not_bound_to_the_processor_that_it_runs_on() {
    let paravisors = [hex::encode(makers().milan.snp.report.measurement)];
    let bench = bench(ANY, json!({ "snp": { "paravisors": paravisors } })).await;
    registered(&bench, &["cloud-vm:0a1b2c3d-1111-2222-3333-444455556666".to_owned()]).await;
    let machine = makers().milan.clone();
    let identified = identify(&bench, |bound| vec![makers::azure(&machine, bound)]).await.ok().unwrap();
    assert_eq!(identified.added, []);
}
