//! Releases: what is given, and everything that is refused.

use crate::{
    bench::{Bench, CALLER, baseline, read, request},
    tpm::Tpm,
};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use strongroom_envelope::RecipientKey;
use strongroom_ledger::{Action, Verdict};
use strongroom_protocol::{
    Bytes, Fixed, LeaseId, ObjectId, VaultId, WriterId,
    admin::Role,
    challenge::{Nonce, Purpose},
    sha256,
    statement::{Access, Act, KeyRequest, ObjectRef, Scope, Statement},
};

fn recipient() -> RecipientKey {
    RecipientKey::generate().unwrap()
}

/// The reasons of a denial that stands in the ledger.
async fn denied(bench: &Bench, reply: crate::bench::Reply) -> Vec<String> {
    assert_eq!(reply.problem(), (403, "denied".to_owned()));
    let problem = reply.json();
    let record = bench.last_record().await;
    assert_eq!(record.id.to_string(), problem["decision_id"].as_str().unwrap());
    assert_eq!(record.verdict, Some(Verdict::Denied));
    let told: Vec<String> = serde_json::from_value(problem["reasons"].clone()).unwrap();
    assert_eq!(told, record.reasons);
    told
}

#[tokio::test]
async fn an_attested_node_gets_the_key_under_a_recorded_lease() {
    let bench = Bench::new().await;
    let (tpm, node) = bench.ready().await;
    let recipient = recipient();
    let statement = bench.ask(&recipient).await;
    let (payload, checked) = bench.open(&tpm, &statement, &recipient).await;
    assert_eq!(payload.keys.len(), 1);
    assert_eq!((payload.keys[0].asset.as_str(), payload.keys[0].version), ("model", 1));
    assert_eq!((payload.lease.expires_in, payload.lease.renew_after, payload.lease.reattest_after), (3600, 60, 900));
    assert_eq!(payload.obligations["plaintext_to_disk"], false);
    let record = checked.record;
    assert_eq!(record.action, Action::ReleaseDecided);
    assert_eq!(record.verdict, Some(Verdict::Released));
    assert_eq!(
        (record.node, record.site.as_deref(), record.jurisdiction.as_deref()),
        (Some(node), Some("fra-1"), Some("DE"))
    );
    assert_eq!(record.recipient_sha256, Some(Fixed(sha256(recipient.public_key()))));
    assert_eq!(record.lease, Some(payload.lease.id));

    // The same key again, as the key tree derives it.
    let row = bench.vault.store.key("model", 1).await.unwrap().unwrap().row;
    let key = bench.vault.keys.version_key("model", 1, &row.wrapped.0).unwrap();
    assert_eq!(payload.keys[0].key.expose(), key.expose());
}

#[tokio::test]
async fn objects_and_writers_get_no_more_than_their_own_keys() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    let recipient = recipient();
    let object = ObjectRef { writer: WriterId::from([7; 16]), object: ObjectId::from([8; 16]) };
    let mut statement = bench.ask(&recipient).await;
    statement.keys = vec![
        KeyRequest { scope: Scope::Object, objects: vec![object], ..read("model", 1) },
        KeyRequest { access: Access::Write, scope: Scope::Writer, ..read("model", 1) },
    ];
    let (payload, _) = bench.open(&tpm, &statement, &recipient).await;
    let row = bench.vault.store.key("model", 1).await.unwrap().unwrap().row;
    let version = bench.vault.keys.version_key("model", 1, &row.wrapped.0).unwrap();
    let writer = WriterId::from(payload.lease.id);
    assert_eq!(
        payload.keys[0].key.expose(),
        version.writer_key("model", 1, object.writer).object_key(object.object).expose()
    );
    assert_eq!(payload.keys[1].key.expose(), version.writer_key("model", 1, writer).expose());
    assert_eq!(payload.keys[1].writer, Some(writer));
}

#[tokio::test]
async fn what_fails_before_a_decision_leaves_nothing() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    let recipient = recipient();
    let before = bench.ledger_size().await;
    let now = bench.vault.store.now().await.unwrap();
    let refused = async |change: &dyn Fn(&mut Statement)| {
        let mut statement = bench.ask(&recipient).await;
        change(&mut statement);
        bench.release(&tpm, &statement).await.problem()
    };
    let stale = bench.vault.keys.issue_nonce(Purpose::Release, u64::try_from(now).unwrap() - 1).unwrap();
    let possession = bench.nonce(Purpose::Possession).await;
    let bad = |status, code: &str| (status, code.to_owned());
    assert_eq!(refused(&|s| s.v = 2).await, bad(400, "malformed"));
    assert_eq!(refused(&|s| s.keys.clear()).await, bad(400, "malformed"));
    assert_eq!(refused(&|s| s.vault = VaultId::from([9; 32])).await, bad(400, "wrong_vault"));
    assert_eq!(refused(&|s| s.nonce = Nonce::new([1; 16], u64::MAX, [2; 16])).await, bad(400, "nonce_invalid"));
    assert_eq!(refused(&|s| s.nonce = possession).await, bad(400, "nonce_invalid"));
    assert_eq!(refused(&|s| s.nonce = stale).await, bad(400, "nonce_expired"));
    assert_eq!(refused(&|s| s.caller.as_mut().unwrap().sha256 = Fixed([0; 32])).await, bad(400, "caller_mismatch"));

    let send = async |change: &dyn Fn(&mut Value)| {
        let statement = bench.ask(&recipient).await;
        let mut body = serde_json::to_value(request(&tpm, &statement)).unwrap();
        change(&mut body);
        bench.public(Method::POST, "/v1/releases", &body).await.problem()
    };
    assert_eq!(send(&|b| b["more"] = 1.into()).await, bad(400, "malformed"));
    assert_eq!(send(&|b| b["caller"] = Value::Null).await, bad(400, "caller_mismatch"));
    assert_eq!(send(&|b| b["evidence"] = json!([])).await, bad(400, "malformed"));
    assert_eq!(send(&|b| b["evidence"][0]["type"] = "tpm1".into()).await, bad(400, "malformed"));
    assert_eq!(send(&|b| b["evidence"][0]["ak"] = Fixed([3; 32]).to_string().into()).await, bad(401, "not_enrolled"));
    assert_eq!(send(&|b| b["job_token"] = "x".into()).await, bad(400, "malformed"));
    let many = |b: &mut Value| b["evidence"] = vec![b["evidence"][0].clone(); 33].into();
    assert_eq!(send(&many).await, bad(413, "too_large"));
    assert_eq!(
        send(&|b| b["statement"] = Bytes(vec![b' '; (1 << 20) + 1]).to_string().into()).await,
        bad(413, "too_large")
    );
    assert_eq!(send(&|b| b["job_token"] = "x".repeat(5 << 20).into()).await, bad(413, "too_large"));
    let two = |b: &mut Value| {
        let mut other = b["evidence"][0].clone();
        other["ak"] = Fixed([3; 32]).to_string().into();
        b["evidence"].as_array_mut().unwrap().push(other);
    };
    assert_eq!(send(&two).await, bad(401, "evidence_refused"));
    let flip = |b: &mut Value| {
        let mut bytes: Bytes = b["evidence"][0]["signature"].as_str().unwrap().parse().unwrap();
        *bytes.0.last_mut().unwrap() ^= 1;
        b["evidence"][0]["signature"] = bytes.to_string().into();
    };
    assert_eq!(send(&flip).await, bad(401, "evidence_refused"));
    // Evidence of another request, and evidence collected in process where a caller is named.
    let (one, two) = (bench.ask(&recipient).await, bench.ask(&recipient).await);
    let mut mixed = request(&tpm, &one);
    mixed.evidence = request(&tpm, &two).evidence;
    assert_eq!(bench.public(Method::POST, "/v1/releases", &mixed).await.problem(), bad(401, "evidence_refused"));
    let mut in_process = one.clone();
    in_process.caller = None;
    mixed.evidence = request(&tpm, &in_process).evidence;
    assert_eq!(bench.public(Method::POST, "/v1/releases", &mixed).await.problem(), bad(401, "evidence_refused"));

    assert_eq!(bench.ledger_size().await, before, "nothing of it is in the ledger");
    strongroom_server::refusals::sum_up(&bench.vault).await.unwrap();
    let record = bench.last_record().await;
    assert_eq!((bench.ledger_size().await, record.action), (before + 1, Action::ReleaseRefusedUnauthenticated));
    assert_eq!(record.details["evidence_refused.q3"], 2);
    assert_eq!(record.details["evidence_refused.q1"], 1);
    assert_eq!(record.details["not_enrolled"], 1);
    strongroom_server::refusals::sum_up(&bench.vault).await.unwrap();
    assert_eq!(bench.ledger_size().await, before + 1, "a minute without refusals has no entry");
}

#[tokio::test]
async fn a_nonce_is_burnt_by_the_decision_that_used_it() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    let recipient = recipient();
    let first = bench.ask(&recipient).await;
    bench.open(&tpm, &first, &recipient).await;
    let mut second = bench.ask(&recipient).await;
    second.nonce = first.nonce;
    assert_eq!(bench.release(&tpm, &second).await.problem(), (409, "nonce_reused".to_owned()));
    // A denial burns its nonce as well.
    let mut denied = bench.ask(&recipient).await;
    denied.keys = vec![read("model", 2)];
    assert_eq!(bench.release(&tpm, &denied).await.status, StatusCode::FORBIDDEN);
    assert_eq!(bench.release(&tpm, &denied).await.problem(), (409, "nonce_reused".to_owned()));
}

#[tokio::test]
async fn a_statement_sent_again_gets_the_same_decision_sealed_anew() {
    let bench = Bench::new().await;
    let (tpm, node) = bench.ready().await;
    let recipient = recipient();
    let statement = bench.ask(&recipient).await;
    let first = bench.release(&tpm, &statement).await.ok();
    let size = bench.ledger_size().await;
    let again = bench.release(&tpm, &statement).await.ok();
    assert_eq!(bench.ledger_size().await, size, "no other decision");
    assert_eq!(first["decision_id"], again["decision_id"]);
    assert_ne!(first["envelope"], again["envelope"]);
    let (a, _) = bench.believe(&statement, &first, &recipient);
    let (b, _) = bench.believe(&statement, &again, &recipient);
    assert_eq!(a.lease.id, b.lease.id);
    assert_eq!(a.lease_secret.expose(), b.lease_secret.expose());
    assert_eq!(a.keys[0].key.expose(), b.keys[0].key.expose());

    // Another node with the same bytes gets nothing; nor does this one after its lease, or a reboot.
    let other = Tpm::new();
    bench.approved(&other, "fra-1").await;
    assert_eq!(bench.release(&other, &statement).await.problem(), (409, "nonce_reused".to_owned()));
    let rebooted = Tpm { reset_count: 2, ..tpm };
    assert_eq!(bench.release(&rebooted, &statement).await.problem(), (409, "nonce_reused".to_owned()));
    let tpm = Tpm { reset_count: 1, ..rebooted };
    assert_eq!(bench.release(&tpm, &statement).await.status, StatusCode::OK);
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/revoke"), json!({ "reason": "test" })).await.ok();
    assert_eq!(bench.release(&tpm, &statement).await.problem(), (409, "nonce_reused".to_owned()));
}

#[tokio::test]
async fn a_statement_sent_again_is_judged_again() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    let recipient = recipient();
    let statement = bench.ask(&recipient).await;
    let first = bench.release(&tpm, &statement).await.ok();
    let mut stricter = baseline();
    stricter
        .get_mut("release.rego")
        .unwrap()
        .push_str("\ndeny contains {\"code\": \"closed\", \"message\": \"Closed.\"} if { true }\n");
    bench.enforce(stricter).await;
    let again = bench.release(&tpm, &statement).await;
    assert_eq!(again.problem(), (403, "denied".to_owned()));
    assert_eq!(again.json()["decision_id"], first["decision_id"]);
    assert_eq!(again.json()["reasons"], json!(["closed"]));
}

#[tokio::test]
async fn without_a_policy_there_is_no_key_and_an_empty_bundle_is_none() {
    let bench = Bench::new().await;
    let tpm = Tpm::new();
    bench.post(Role::Operator, "/v1/sites", json!({ "name": "fra-1", "jurisdiction": "DE" })).await.ok();
    bench.approved(&tpm, "fra-1").await;
    bench.asset("model").await;
    let statement = bench.ask(&recipient()).await;
    assert_eq!(denied(&bench, bench.release(&tpm, &statement).await).await, ["no_policy"]);
    let empty = bench.post(Role::PolicyAuthor, "/v1/policies", json!({ "files": {} })).await;
    assert_eq!(empty.problem(), (422, "policy_invalid".to_owned()));
}

#[tokio::test]
async fn nodes_that_are_not_approved_get_nothing() {
    let bench = Bench::new().await;
    let (tpm, node) = bench.ready().await;
    let pending = Tpm::new();
    bench.pending(&pending).await;
    let statement = bench.ask(&recipient()).await;
    let reasons = denied(&bench, bench.release(&pending, &statement).await).await;
    assert!(reasons.contains(&"node_not_approved".to_owned()), "{reasons:?}");

    bench.post(Role::Operator, &format!("/v1/nodes/{node}/revoke"), json!({ "reason": "stolen" })).await.ok();
    let statement = bench.ask(&recipient()).await;
    let reasons = denied(&bench, bench.release(&tpm, &statement).await).await;
    assert!(reasons.contains(&"node_revoked".to_owned()), "{reasons:?}");
}

#[tokio::test]
async fn policy_denies_the_wrong_place_the_wrong_software_and_no_caller() {
    let bench = Bench::new().await;
    let (mut tpm, _) = bench.ready().await;
    let abroad = Tpm::new();
    bench.approved(&abroad, "iad-1").await;
    let statement = bench.ask(&recipient()).await;
    assert_eq!(denied(&bench, bench.release(&abroad, &statement).await).await, ["jurisdiction_not_allowed"]);

    let shared = Tpm::new();
    let node = bench.pending(&shared).await;
    let body = json!({ "site": "fra-1", "single_job": false });
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/approve"), body).await.ok();
    let mut statement = bench.ask(&recipient()).await;
    statement.caller = None;
    assert_eq!(denied(&bench, bench.release(&shared, &statement).await).await, ["caller_not_identified"]);

    let accepted = hex::encode(&tpm.pcrs().0[&9].0);
    tpm.boot.kernel = b"another kernel";
    let shown = hex::encode(&tpm.pcrs().0[&9].0);
    let statement = bench.ask(&recipient()).await;
    let reply = bench.release(&tpm, &statement).await;
    let id = reply.json()["decision_id"].as_str().unwrap().to_owned();
    let told = String::from_utf8(reply.bytes.clone()).unwrap();
    assert!(!told.contains("expected") && !told.contains(&shown[..8]), "the node learns codes only: {told}");
    assert_eq!(denied(&bench, reply).await, ["reference_mismatch"]);
    let view = bench.get(Role::Auditor, &format!("/v1/decisions/{id}")).await.ok();
    assert_eq!(view["denials"][0]["claim"], "tpm.pcrs.9");
    assert_eq!(view["denials"][0]["got"], shown);
    assert_eq!(view["denials"][0]["expected"], accepted);
    assert_eq!(view["input"]["node"]["site"], "fra-1");
    assert_eq!(view["input"]["caller"], serde_json::from_slice::<Value>(CALLER).unwrap());
}

#[tokio::test]
async fn a_quote_of_other_pcrs_is_a_denial_with_its_row() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    let mut statement = bench.ask(&recipient()).await;
    statement.caller = None;
    let mut body = request(&tpm, &statement);
    let item = body.evidence[0].as_tpm2_mut().unwrap();
    item.pcrs.values.0.insert(0, Bytes(vec![0xaa; 32]));
    let reply = bench.public(Method::POST, "/v1/releases", &body).await;
    assert_eq!(reply.json()["row"], "Q7");
    assert_eq!(denied(&bench, reply).await, ["evidence_q7"]);
}

#[tokio::test]
async fn unknown_and_destroyed_keys_are_recorded_refusals() {
    let bench = Bench::new().await;
    let (tpm, node) = bench.ready().await;
    let ask = async |key: KeyRequest| {
        let mut statement = bench.ask(&recipient()).await;
        statement.keys = vec![key];
        bench.release(&tpm, &statement).await
    };
    assert_eq!(denied(&bench, ask(read("nothing", 1)).await).await, ["asset_unknown"]);
    assert_eq!(denied(&bench, ask(read("model", 9)).await).await, ["key_unknown"]);

    bench.call(Some(Role::Custodian), Method::POST, "/v1/assets/model/keys", None).await.ok();
    let write = KeyRequest { access: Access::Write, scope: Scope::Writer, ..read("model", 1) };
    let reasons = denied(&bench, ask(write).await).await;
    assert!(reasons.contains(&"key_decrypt_only".to_owned()), "{reasons:?}");
    assert_eq!(ask(read("model", 1)).await.status, StatusCode::OK, "an older version still opens");

    bench.call(Some(Role::Custodian), Method::DELETE, "/v1/assets/model/keys/1", None).await.ok();
    let reply = ask(read("model", 1)).await;
    assert_eq!(reply.problem(), (410, "key_destroyed".to_owned()));
    assert_eq!(bench.last_record().await.id.to_string(), reply.json()["decision_id"].as_str().unwrap());
    assert_eq!(ask(read("model", 2)).await.status, StatusCode::OK);

    // Who may get nothing learns that, and not what became of a key.
    let path = format!("/v1/nodes/{node}/revoke");
    bench.post(Role::Operator, &path, json!({ "reason": "test" })).await.ok();
    let reasons = denied(&bench, ask(read("model", 1)).await).await;
    assert!(
        reasons.contains(&"node_revoked".to_owned()) && reasons.contains(&"key_destroyed".to_owned()),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn quotas_hold_inside_a_batch() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    let mut files = baseline();
    let data = files.get_mut("data.json").unwrap();
    *data = data.replace("\"max_leases_per_node\": 64", "\"max_leases_per_node\": 3");
    bench.enforce(files).await;
    let mut asked = Vec::new();
    for _ in 0..8 {
        asked.push(request(&tpm, &bench.ask(&recipient()).await));
    }
    let all = asked.iter().map(|body| bench.public(Method::POST, "/v1/releases", body));
    let replies = join_all(all).await;
    let granted = replies.iter().filter(|r| r.status == StatusCode::OK).count();
    assert_eq!(granted, 3);
    assert!(replies.iter().filter(|r| r.status != StatusCode::OK).all(|r| r.status == StatusCode::FORBIDDEN));
}

#[tokio::test]
async fn a_flood_of_denials_is_cut_off() {
    let mut config = strongroom_server::config::Config::default();
    config.limits.denials_per_node_per_hour = 2;
    let bench = Bench::with(config).await;
    let (tpm, _) = bench.ready().await;
    let deny = async || {
        let mut statement = bench.ask(&recipient()).await;
        statement.keys = vec![read("nothing", 1)];
        bench.release(&tpm, &statement).await
    };
    assert_eq!(deny().await.status, StatusCode::FORBIDDEN);
    assert_eq!(deny().await.status, StatusCode::FORBIDDEN);
    let size = bench.ledger_size().await;
    let third = deny().await;
    assert_eq!(third.problem(), (429, "too_many_requests".to_owned()));
    assert!(third.headers.contains_key("retry-after"));
    assert_eq!(bench.ledger_size().await, size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_at_once_each_get_their_own_decision() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    let recipient = recipient();
    let mut statements = Vec::new();
    for _ in 0..64 {
        statements.push(bench.ask(&recipient).await);
    }
    let before = bench.ledger_size().await;
    let replies = join_all(statements.iter().map(|s| bench.release(&tpm, s))).await;
    let mut leases = HashSet::new();
    let mut indices = BTreeMap::new();
    for (statement, reply) in statements.iter().zip(replies) {
        let (payload, checked) = bench.believe(statement, &reply.ok(), &recipient);
        leases.insert(payload.lease.id);
        indices.insert(checked.receipt.index, checked.record.id);
    }
    assert_eq!(leases.len(), 64);
    assert_eq!(indices.keys().copied().collect::<Vec<_>>(), (before..before + 64).collect::<Vec<_>>());
    bench.sequencer.verify_tail(1000).await.unwrap();
}

#[tokio::test]
async fn a_renewal_on_fresh_evidence_is_for_the_same_holder_only() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    let recipient = recipient();
    let first = bench.ask(&recipient).await;
    let (payload, _) = bench.open(&tpm, &first, &recipient).await;
    let renewal =
        async |lease: LeaseId| Statement { act: Act::Renew, lease: Some(lease), ..bench.ask(&recipient).await };

    let statement = renewal(payload.lease.id).await;
    let (renewed, checked) = bench.open(&tpm, &statement, &recipient).await;
    assert!(renewed.keys.is_empty());
    assert_eq!(renewed.lease.id, payload.lease.id);
    assert_eq!(renewed.lease_secret.expose(), payload.lease_secret.expose());
    assert_eq!(checked.record.action, Action::LeaseRenewed);

    let mut more = renewal(payload.lease.id).await;
    more.keys.push(KeyRequest { access: Access::Write, scope: Scope::Writer, ..read("model", 1) });
    assert_eq!(denied(&bench, bench.release(&tpm, &more).await).await, ["lease_mismatch"]);
    let other = RecipientKey::generate().unwrap();
    let mut elsewhere = renewal(payload.lease.id).await;
    elsewhere.recipient.public_key = Bytes(other.public_key().to_vec());
    assert_eq!(denied(&bench, bench.release(&tpm, &elsewhere).await).await, ["lease_mismatch"]);
    let unknown = renewal(LeaseId::from([5; 16])).await;
    assert_eq!(denied(&bench, bench.release(&tpm, &unknown).await).await, ["lease_unknown"]);
    let neighbour = Tpm::new();
    bench.approved(&neighbour, "fra-1").await;
    let stolen = renewal(payload.lease.id).await;
    assert_eq!(denied(&bench, bench.release(&neighbour, &stolen).await).await, ["lease_mismatch"]);

    // A reboot ends the lease with the denial.
    let rebooted = Tpm { reset_count: 2, ..tpm };
    let late = renewal(payload.lease.id).await;
    assert_eq!(denied(&bench, bench.release(&rebooted, &late).await).await, ["rebooted"]);
    let lease = bench.vault.store.lease(payload.lease.id).await.unwrap().unwrap().row;
    assert_eq!(lease.state, strongroom_protocol::lease::LeaseState::Revoked);
}

#[tokio::test]
async fn a_locked_vault_answers_423_and_is_not_ready() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    let statement = bench.ask(&recipient()).await;
    bench.vault.lock.lock("the ledger has gone back in time");
    assert_eq!(bench.release(&tpm, &statement).await.problem(), (423, "vault_locked".to_owned()));
    for path in ["/v1/vault", "/v1/sites", "/readyz", "/v1/ledger/checkpoint"] {
        assert_eq!(bench.get(Role::Operator, path).await.problem().0, 423, "{path}");
    }
    assert_eq!(bench.get(Role::Operator, "/healthz").await.status, StatusCode::OK);

    let locked = strongroom_server::routes::locked_router("custody does not yield the root key".to_owned());
    let bench = Bench { router: locked, ..bench };
    assert_eq!(bench.get(Role::Operator, "/v1/vault").await.problem(), (423, "vault_locked".to_owned()));
    assert_eq!(bench.get(Role::Operator, "/healthz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_database_that_went_back_in_time_locks_the_vault() {
    let bench = Bench::new().await;
    bench.ready().await;
    let outside = bench.directory.path().join("outside");
    let newer = std::fs::read(&outside).unwrap();
    let old = bench.directory.path().join("old.db");
    bench.vault.store.backup(&old).await.unwrap();
    bench.asset("another").await;
    let newest = std::fs::read(&outside).unwrap();
    assert_ne!(newer, newest);
    // The database as it was before, with the checkpoint that was kept outside.
    let store = strongroom_store::SqliteStore::open(&old).await.unwrap();
    let signer = strongroom_server::start::IdentitySigner(std::sync::Arc::clone(&bench.vault.keys));
    let opened = strongroom_store::Sequencer::new(
        std::sync::Arc::new(store),
        std::sync::Arc::new(signer),
        bench.vault.ledger_key.clone(),
        outside,
        "test",
    )
    .await;
    assert!(matches!(opened, Err(strongroom_store::StoreError::Rollback { .. })));
}

#[tokio::test]
async fn a_job_that_no_record_could_name_is_malformed() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    let recipient = RecipientKey::generate().unwrap();
    let mut statement = bench.ask(&recipient).await;
    let job =
        |id: &str| Some(strongroom_protocol::statement::JobRef { id: id.to_owned(), token_sha256: Fixed([7; 32]) });
    statement.job = job("train\n7");
    let reply = bench.release(&tpm, &statement).await;
    assert_eq!(reply.problem(), (400, "malformed".to_owned()));
    assert_eq!(reply.json()["field"], "job.id");
    statement.job = job("train 7");
    bench.open(&tpm, &statement, &recipient).await;
}

/// All at once, on one task.
async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|f| (Some(Box::pin(f)), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, output) in &mut running {
            if let Some(running) = future {
                match running.as_mut().poll(cx) {
                    std::task::Poll::Ready(done) => (*future, *output) = (None, Some(done)),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    running.into_iter().map(|(_, output)| output.unwrap()).collect()
}
