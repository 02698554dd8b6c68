//! Leases between attestations.

use crate::{bench::Bench, tpm::Tpm};
use axum::http::StatusCode;
use serde_json::{Value, json};
use strongroom_envelope::{RecipientKey, ReleasePayload};
use strongroom_ledger::{Action, Record, SubjectKind, Verdict};
use strongroom_protocol::{
    Fixed, LeaseId,
    admin::{KeyState, Role},
    lease::{LeaseState, Possession},
    statement::{Access, Scope},
};
use strongroom_server::vault::{record, subject, system};
use strongroom_store::{Change, Item, Outcome};
use tokio::task::JoinHandle;

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

async fn key_state(bench: &Bench, version: u32) -> KeyState {
    bench.vault.store.key("model", version).await.unwrap().unwrap().row.state
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

/// Sets when a lease ends, and when fresh evidence is due.
async fn set_times(bench: &Bench, lease: LeaseId, expires_at: i64, reattest_at: i64) {
    let (actor, now) = (system("test"), bench.vault.store.now().await.unwrap());
    let record = bench.vault.record(now, actor, Action::LeaseRenewed, subject(SubjectKind::Lease, lease)).unwrap();
    bench.vault.commit(record, Vec::new(), vec![Change::RenewLease(lease, expires_at, reattest_at)]).await.unwrap();
}

/// Who is refused is told whether the lease is over, so that nobody gives up one that lives.
#[tokio::test]
async fn a_refused_possession_says_whether_the_lease_is_over_and_by_what() {
    let bench = Bench::new().await;
    let (tpm, payload) = leased(&bench).await;
    let refused = async |payload: &ReleasePayload| {
        let reply =
            bench.possess("renew", payload.lease.id, payload.lease_secret.expose(), Some(handling(false))).await;
        assert_eq!(reply.problem(), (401, "possession_refused".to_owned()));
        reply.json().get("reasons").cloned().unwrap_or_default()
    };
    let now = bench.vault.store.now().await.unwrap();
    set_times(&bench, payload.lease.id, now + 3600, now).await;
    assert_eq!(refused(&payload).await, json!(["evidence_due"]));
    assert_eq!(state(&bench, payload.lease.id).await, LeaseState::Live);
    // To somebody else nothing of that is said.
    let stranger = bench.possess("renew", payload.lease.id, &[0; 32], Some(handling(false))).await;
    assert_eq!(stranger.json().get("reasons"), None);
    set_times(&bench, payload.lease.id, now, now).await;
    assert_eq!(refused(&payload).await, json!(["lease_expired"]));

    let revoked = lease(&bench, &tpm).await;
    let path = format!("/v1/leases/{}/revoke", revoked.lease.id);
    bench.post(Role::Custodian, &path, json!({ "reason": "a leak" })).await.ok();
    assert_eq!(refused(&revoked).await, Value::Null, "it was taken back");
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
    assert_eq!(key_state(&bench, 1).await, KeyState::DecryptOnly, "it was held whole");
    assert_eq!(state(&bench, payload.lease.id).await, LeaseState::Revoked);
}

/// Listens to a lease.
pub(crate) async fn listen(bench: &Bench, payload: &ReleasePayload) -> (Possession, JoinHandle<Vec<u8>>) {
    let id = payload.lease.id;
    let proof = bench.proof("listen", id, payload.lease_secret.expose(), None).await;
    let request = axum::http::Request::builder()
        .uri(format!("/v1/leases/{id}/events"))
        .header("strongroom-possession", proof.to_string())
        .body(axum::body::Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(bench.router.clone(), request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = async { axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec() };
    (proof, tokio::spawn(body))
}

/// What was told until the stream ended, each signature verified.
pub(crate) async fn heard(
    bench: &Bench,
    payload: &ReleasePayload,
    proof: &Possession,
    body: JoinHandle<Vec<u8>>,
) -> Vec<Value> {
    let text = String::from_utf8(body.await.unwrap()).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| {
            let signed: strongroom_protocol::lease::SignedEvent = serde_json::from_str(data).unwrap();
            let event: Value = serde_json::from_slice(&signed.event.0).unwrap();
            let counter = event["counter"].as_u64().unwrap().to_be_bytes();
            let random = proof.client_random.as_array();
            let message = strongroom_protocol::binding::lease_message(
                "listen",
                payload.lease.id,
                &counter,
                random,
                &signed.event.0,
            );
            bench.verify(&message, &signed.signature.0);
            event
        })
        .collect()
}

/// What another replica commits: this process gets no notice of it, and finds it by looking.
pub(crate) async fn elsewhere(bench: &Bench, mut record: Record, changes: Vec<Change>, reason: Option<&str>) {
    if let Some(reason) = reason {
        record.details.insert("reason".to_owned(), reason.into());
    }
    let item = Item { record, guards: vec![], nonce: None, quotas: vec![], changes, blobs: vec![] };
    let outcomes = bench.sequencer.commit(vec![item]).await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{outcomes:?}");
}

#[tokio::test]
async fn a_revocation_that_is_found_by_looking_is_told_with_its_reason() {
    let bench = Bench::new().await;
    let (tpm, by_lease) = leased(&bench).await;
    let now = bench.vault.store.now().await.unwrap();
    let of = |action, kind, id: String| record("other", now, system("test"), action, subject(kind, id)).unwrap();

    let (proof, body) = listen(&bench, &by_lease).await;
    let lease_row = bench.vault.store.lease(by_lease.lease.id).await.unwrap().unwrap().row;
    let mut revoked = of(Action::LeaseRevoked, SubjectKind::Lease, by_lease.lease.id.to_string());
    (revoked.lease, revoked.node) = (Some(lease_row.id), Some(lease_row.node));
    elsewhere(&bench, revoked, vec![Change::CloseLease(lease_row.id, LeaseState::Revoked)], Some("a leak")).await;
    let events = heard(&bench, &by_lease, &proof, body).await;
    assert_eq!((&events[1]["event"], &events[1]["reason"]), (&json!("revoked"), &json!("a leak")));

    let by_boot = lease(&bench, &tpm).await;
    let (proof, body) = listen(&bench, &by_boot).await;
    let mut denied = of(Action::LeaseRenewed, SubjectKind::Node, lease_row.node.to_string());
    (denied.lease, denied.node) = (Some(by_boot.lease.id), Some(lease_row.node));
    (denied.verdict, denied.reasons) = (Some(Verdict::Denied), vec!["rebooted".to_owned()]);
    (denied.statement_sha256, denied.recipient_sha256) = (Some(Fixed([1; 32])), Some(Fixed([2; 32])));
    elsewhere(&bench, denied, vec![Change::CloseLease(by_boot.lease.id, LeaseState::Revoked)], None).await;
    let events = heard(&bench, &by_boot, &proof, body).await;
    assert_eq!(events[1]["reason"], "rebooted");

    let by_key = lease(&bench, &tpm).await;
    let (proof, body) = listen(&bench, &by_key).await;
    let destroyed = of(Action::KeyDestroyed, SubjectKind::Key, "model@1".to_owned());
    let close = Change::CloseLeasesOfKey("model".to_owned(), 1, LeaseState::Revoked);
    elsewhere(&bench, destroyed, vec![close], None).await;
    let events = heard(&bench, &by_key, &proof, body).await;
    assert_eq!(events[1]["reason"], "the key version was destroyed");

    let by_node = lease(&bench, &tpm).await;
    let (proof, body) = listen(&bench, &by_node).await;
    let mut revoked = of(Action::NodeRevoked, SubjectKind::Node, lease_row.node.to_string());
    revoked.node = Some(lease_row.node);
    let close = Change::CloseLeasesOfNode(lease_row.node, LeaseState::Revoked);
    elsewhere(&bench, revoked, vec![close], Some("stolen")).await;
    let events = heard(&bench, &by_node, &proof, body).await;
    assert_eq!(events[1]["reason"], "stolen");
}

#[tokio::test]
async fn revocation_is_told_at_once_and_retires_a_whole_version() {
    let bench = Bench::new().await;
    let (tpm, payload) = leased(&bench).await;
    let id = payload.lease.id;
    let (proof, body) = listen(&bench, &payload).await;
    let path = format!("/v1/leases/{id}/revoke");
    bench.post(Role::Custodian, &path, json!({ "reason": "a leak" })).await.ok();

    let events = heard(&bench, &payload, &proof, body).await;
    assert_eq!(events.iter().map(|e| e["event"].as_str().unwrap()).collect::<Vec<_>>(), ["listening", "revoked"]);
    assert_eq!(events[1]["reason"], "a leak");

    let key = bench.vault.store.key("model", 1).await.unwrap().unwrap().row;
    assert_eq!(key.state, KeyState::DecryptOnly, "it was held whole");
    // What is sealed can still be opened, and nothing new is sealed, until the key is rotated.
    let current = bench.call(None, axum::http::Method::GET, "/v1/assets/model/current", None).await.ok();
    assert_eq!((&current["version"], &current["state"]), (&json!(1), &json!("decrypt-only")));
    let recipient = RecipientKey::generate().unwrap();
    let mut statement = bench.ask(&recipient).await;
    (statement.keys[0].access, statement.keys[0].scope) = (Access::Write, Scope::Writer);
    assert_eq!(bench.release(&tpm, &statement).await.json()["reasons"], json!(["key_decrypt_only", "key_state"]));
    let statement = bench.ask(&recipient).await;
    bench.open(&tpm, &statement, &recipient).await;
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

#[tokio::test]
async fn a_node_that_is_moved_or_enrolled_again_retires_what_it_held_whole() {
    let bench = Bench::new().await;
    let (tpm, node) = bench.ready().await;
    lease(&bench, &tpm).await;
    let body = json!({ "site": "iad-1", "labels": {}, "single_job": true });
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/approve"), body).await.ok();
    assert_eq!(key_state(&bench, 1).await, KeyState::DecryptOnly);
    assert_eq!(bench.last_record().await.details["decrypt_only"], json!(["model@1"]));

    let bench = Bench::new().await;
    let (tpm, _) = leased(&bench).await;
    bench.pending(&tpm.with_another_ak()).await;
    assert_eq!(key_state(&bench, 1).await, KeyState::DecryptOnly);
}

#[tokio::test]
async fn a_destroyed_key_takes_other_versions_of_its_leases_out_of_sealing() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    bench.asset("other").await;
    let recipient = RecipientKey::generate().unwrap();
    let mut statement = bench.ask(&recipient).await;
    statement.keys.push(crate::bench::read("other", 1));
    bench.open(&tpm, &statement, &recipient).await;
    bench.call(Some(Role::Custodian), axum::http::Method::DELETE, "/v1/assets/other/keys/1", None).await.ok();
    assert_eq!(key_state(&bench, 1).await, KeyState::DecryptOnly);
    assert_eq!(bench.last_record().await.details["decrypt_only"], json!(["model@1"]));
}

#[tokio::test]
async fn a_destroyed_key_is_in_no_file_of_the_database() {
    let bench = Bench::new().await;
    bench.asset("model").await;
    let wrapped = bench.vault.store.key("model", 1).await.unwrap().unwrap().row.wrapped;
    let (raw, text) = (wrapped.0.clone(), wrapped.to_string().into_bytes());
    let found = || {
        ["vault.db", "vault.db-wal"].into_iter().any(|name| {
            let bytes = std::fs::read(bench.directory.path().join(name)).unwrap();
            [&raw, &text].into_iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle))
        })
    };
    assert!(found(), "a live key's wrapping is there");
    bench.call(Some(Role::Custodian), axum::http::Method::DELETE, "/v1/assets/model/keys/1", None).await.ok();
    assert!(!found());
    assert!(!bench.vault.shredder.waits());
    let gone = bench.call(None, axum::http::Method::GET, "/v1/assets/model/current", None).await;
    assert_eq!(gone.problem(), (409, "conflict".to_owned()), "nothing is left to open");
}

#[tokio::test]
async fn what_a_reader_holds_up_is_shredded_later() {
    let bench = Bench::new().await;
    assert!(bench.vault.shredder.waits(), "at the start nobody knows");
    bench.vault.shredder.again(bench.vault.store.as_ref()).await;
    assert!(!bench.vault.shredder.waits());
}
