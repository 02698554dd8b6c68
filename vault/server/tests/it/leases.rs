//! Leases between attestations.

use crate::{bench::Bench, tpm::Tpm};
use axum::http::StatusCode;
use serde_json::{Value, json};
use strongroom_envelope::{RecipientKey, ReleasePayload};
use strongroom_ledger::Action;
use strongroom_protocol::{
    LeaseId,
    admin::{KeyState, Role},
    lease::LeaseState,
};

fn handling(plaintext_to_disk: bool) -> Value {
    json!({ "handling": {
        "key_pages": "memfd_secret", "weakened": [], "plaintext_to_disk": plaintext_to_disk, "client": "test/1",
    } })
}

async fn leased(bench: &Bench) -> (Tpm, ReleasePayload) {
    let (tpm, _) = bench.ready().await;
    let payload = lease(bench, &tpm).await;
    (tpm, payload)
}

async fn lease(bench: &Bench, tpm: &Tpm) -> ReleasePayload {
    let recipient = RecipientKey::generate().unwrap();
    let statement = bench.ask(&recipient).await;
    bench.open(tpm, &statement, &recipient).await.0
}

async fn state(bench: &Bench, lease: LeaseId) -> LeaseState {
    bench.vault.store.lease(lease).await.unwrap().unwrap().row.state
}

#[tokio::test]
async fn the_first_proof_is_the_delivery_and_says_how_keys_are_held() {
    let bench = Bench::new().await;
    let (_, payload) = leased(&bench).await;
    let (id, secret) = (payload.lease.id, payload.lease_secret.expose());
    let answer = bench.possess("renew", id, secret, Some(handling(false))).await.ok();
    assert_eq!((answer["expires_in"].as_u64(), answer["renew_after"].as_u64()), (Some(3600), Some(60)));
    let record = bench.last_record().await;
    assert_eq!(record.action, Action::ReleaseDelivered);
    assert_eq!(record.details["handling"]["key_pages"], "memfd_secret");
    assert_eq!(record.previous, Some(payload.decision_id), "the records of a lease are a chain");

    bench.possess("renew", id, secret, None).await.ok();
    assert_eq!(bench.last_record().await.action, Action::LeaseRenewed);
    bench.possess("end", id, secret, None).await.ok();
    assert_eq!(bench.last_record().await.action, Action::LeaseEnded);
    assert_eq!(state(&bench, id).await, LeaseState::Ended);
    assert_eq!(bench.possess("renew", id, secret, None).await.problem(), (401, "possession_refused".to_owned()));
}

#[tokio::test]
async fn only_the_holder_can_prove_possession_and_each_proof_counts_once() {
    let bench = Bench::new().await;
    let (tpm, payload) = leased(&bench).await;
    let (id, secret) = (payload.lease.id, *payload.lease_secret.expose());
    let refused = || (401, "possession_refused".to_owned());
    let size = bench.ledger_size().await;
    assert_eq!(bench.possess("renew", id, &[0; 32], Some(handling(false))).await.problem(), refused());
    assert_eq!(bench.possess("renew", LeaseId::from([1; 16]), &secret, None).await.problem(), refused());
    let other = lease(&bench, &tpm).await;
    assert_eq!(bench.possess("renew", other.lease.id, &secret, None).await.problem(), refused());
    // A proof for one act, or over one body, is none for another.
    let body = handling(false);
    let proof = bench.proof("renew", id, &secret, Some(&body)).await;
    assert_eq!(bench.possess_with("renew", id, &proof, Some(handling(true))).await.problem(), refused());
    let ending = bench.proof("end", id, &secret, Some(&body)).await;
    assert_eq!(bench.possess_with("renew", id, &ending, Some(body.clone())).await.problem(), refused());
    assert_eq!(bench.ledger_size().await, size + 1, "but for the other lease, nothing was written");

    assert_eq!(bench.possess_with("renew", id, &proof, Some(body.clone())).await.status, StatusCode::OK);
    let again = bench.possess_with("renew", id, &proof, Some(body)).await;
    assert_eq!(again.problem(), (409, "nonce_reused".to_owned()));
}

#[tokio::test]
async fn a_holder_that_breaks_its_obligations_loses_the_lease() {
    let bench = Bench::new().await;
    let (tpm, payload) = leased(&bench).await;
    let silent = bench.possess("renew", payload.lease.id, payload.lease_secret.expose(), None).await;
    assert_eq!(silent.problem(), (403, "denied".to_owned()));
    assert_eq!(silent.json()["reasons"], json!(["handling_not_stated"]));

    let payload = lease(&bench, &tpm).await;
    let reply = bench.possess("renew", payload.lease.id, payload.lease_secret.expose(), Some(handling(true))).await;
    assert_eq!(reply.json()["reasons"], json!(["plaintext_to_disk_forbidden"]));
    assert_eq!(bench.last_record().await.action, Action::LeaseRevoked);
    assert_eq!(state(&bench, payload.lease.id).await, LeaseState::Revoked);
}

#[tokio::test]
async fn revocation_is_told_at_once_and_retires_a_whole_version() {
    let bench = Bench::new().await;
    let (_, payload) = leased(&bench).await;
    let (id, secret) = (payload.lease.id, payload.lease_secret.expose());
    let proof = bench.proof("listen", id, secret, None).await;
    let request = axum::http::Request::builder()
        .uri(format!("/v1/leases/{id}/events"))
        .header("strongroom-possession", proof.to_string())
        .body(axum::body::Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(bench.router.clone(), request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = tokio::spawn(axum::body::to_bytes(response.into_body(), 1 << 20));
    let path = format!("/v1/leases/{id}/revoke");
    bench.post(Role::Custodian, &path, json!({ "reason": "a leak" })).await.ok();

    // The stream ends with the event.
    let text = String::from_utf8(body.await.unwrap().unwrap().to_vec()).unwrap();
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| {
            let signed: strongroom_protocol::lease::SignedEvent = serde_json::from_str(data).unwrap();
            let event: Value = serde_json::from_slice(&signed.event.0).unwrap();
            let counter = event["counter"].as_u64().unwrap().to_be_bytes();
            let random = proof.client_random.as_array();
            let message = strongroom_protocol::binding::lease_message("listen", id, &counter, random, &signed.event.0);
            bench.verify(&message, &signed.signature.0);
            event
        })
        .collect();
    assert_eq!(events.iter().map(|e| e["event"].as_str().unwrap()).collect::<Vec<_>>(), ["listening", "revoked"]);
    assert_eq!(events[1]["reason"], "a leak");

    let key = bench.vault.store.key("model", 1).await.unwrap().unwrap().row;
    assert_eq!(key.state, KeyState::DecryptOnly, "it was held whole");
    assert_eq!(bench.call(None, axum::http::Method::GET, "/v1/assets/model/current", None).await.problem().0, 409);
    let again = bench.possess_with("listen", id, &proof, None).await;
    assert_eq!(again.problem(), (401, "possession_refused".to_owned()));
}

#[tokio::test]
async fn a_revoked_node_and_a_destroyed_key_take_their_leases_along() {
    let bench = Bench::new().await;
    let (tpm, first) = leased(&bench).await;
    bench.call(Some(Role::Custodian), axum::http::Method::POST, "/v1/assets/model/keys", None).await.ok();
    bench.call(Some(Role::Custodian), axum::http::Method::DELETE, "/v1/assets/model/keys/1", None).await.ok();
    assert_eq!(state(&bench, first.lease.id).await, LeaseState::Revoked);
    assert!(bench.vault.store.key("model", 1).await.unwrap().unwrap().row.wrapped.0.is_empty(), "the key is gone");

    let recipient = RecipientKey::generate().unwrap();
    let mut statement = bench.ask(&recipient).await;
    statement.keys[0].version = 2;
    let (second, checked) = bench.open(&tpm, &statement, &recipient).await;
    let path = format!("/v1/nodes/{}/revoke", checked.record.node.unwrap());
    bench.post(Role::Operator, &path, json!({ "reason": "stolen" })).await.ok();
    assert_eq!(state(&bench, second.lease.id).await, LeaseState::Revoked);
}

#[tokio::test]
async fn a_lease_that_nobody_proves_is_closed_with_delivery_unknown() {
    let mut config = strongroom_server::config::Config::default();
    config.lease.delivery_deadline_s = 0;
    let bench = Bench::with(config).await;
    let (tpm, payload) = leased(&bench).await;
    let held = lease(&bench, &tpm).await;
    bench.possess("renew", held.lease.id, held.lease_secret.expose(), Some(handling(false))).await.ok();
    // The database's clock has to pass the second of the grant.
    let granted = bench.vault.store.lease(payload.lease.id).await.unwrap().unwrap().row.granted_at;
    while bench.vault.store.now().await.unwrap() <= granted + 1 {
        tokio::task::yield_now().await;
    }
    let closed = strongroom_server::lease::sweep::sweep(&bench.vault).await.unwrap();
    assert_eq!(closed, 1, "the one that was delivered stays");
    assert_eq!(bench.last_record().await.action, Action::ReleaseDeliveryUnknown);
    assert_eq!(state(&bench, payload.lease.id).await, LeaseState::Ended);
    assert_eq!(state(&bench, held.lease.id).await, LeaseState::Live);
}
