//! Tokens: rotation, use, and what is said of those that are over.

use crate::bench::{Bench, Reply};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::{Value, json};
use std::sync::Arc;
use strongroom_ledger::{Action, ActorKind};
use strongroom_protocol::admin::Role;
use strongroom_server::{
    config::Config,
    refusals, routes,
    start::{Committer, Trusted, assemble},
    token_use,
};

impl Bench {
    async fn with_token(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> Reply {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        let request = match body {
            Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.send(request.unwrap()).await
    }

    async fn whoami(&self, token: &str) -> Reply {
        self.with_token(Method::GET, "/v1/tokens/self", token, None).await
    }

    async fn rotate(&self, token: &str, grace: u64) -> Reply {
        self.with_token(Method::POST, "/v1/tokens/self/rotate", token, Some(json!({ "grace": grace }))).await
    }
}

fn unauthenticated() -> (u16, String) {
    (401, "unauthenticated".to_owned())
}

#[tokio::test]
async fn a_token_says_whose_it_is() {
    let bench = Bench::new().await;
    let token = bench.token("olga", &[Role::Operator, Role::Auditor]).await;
    let me = bench.whoami(&token).await.ok();
    assert_eq!(
        (&me["person"], &me["roles"], &me["state"]),
        (&json!("olga"), &json!(["auditor", "operator"]), &json!("active"))
    );
    assert!(me["expires_at"].is_string() && me["created_at"].is_string() && me["last_used_at"].is_null());
    assert!(!me.to_string().contains("sha256"), "{me}");
}

#[tokio::test]
async fn the_last_use_is_noted_beside_the_token_and_not_with_each_request() {
    let bench = Bench::new().await;
    let token = bench.token("olga", &[Role::Operator]).await;
    let row = async || {
        let tokens = bench.vault.store.tokens().await.unwrap();
        tokens.into_iter().find(|t| t.row.person == "olga").unwrap()
    };
    let size = bench.ledger_size().await;
    bench.whoami(&token).await.ok();
    bench.whoami(&token).await.ok();
    assert_eq!(row().await.row.last_used_at, None);
    token_use::write(&bench.vault).await.unwrap();
    let noted = row().await;
    let now = bench.vault.store.now().await.unwrap();
    assert!((now - 60..=now).contains(&noted.row.last_used_at.unwrap()));
    assert_eq!(noted.version, 1, "acts of the token that are under way are not held up");
    assert!(bench.whoami(&token).await.ok()["last_used_at"].is_string());
    assert_eq!(bench.ledger_size().await, size, "a use is no act");
    // Refused for its roles: it was used all the same; one that is over was not.
    let list = bench.get(Role::Admin, "/v1/tokens").await.ok();
    assert!(list.as_array().unwrap().iter().any(|t| t["person"] == "olga" && t["last_used_at"].is_string()));
}

#[tokio::test]
async fn a_rotated_token_has_the_same_person_roles_and_end() {
    let bench = Bench::new().await;
    let old = bench.token("olga", &[Role::Operator]).await;
    let before = bench.whoami(&old).await.ok();
    let rotated = bench.rotate(&old, 600).await.ok();
    let new = rotated["token"].as_str().unwrap();
    assert_ne!(new, old);
    let after = bench.whoami(new).await.ok();
    for field in ["person", "roles", "expires_at"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!((&after["id"], &after["state"]), (&rotated["id"], &json!("active")));
    // The old one is good for its grace, and says what took its place; it makes no third.
    let replaced = bench.whoami(&old).await.ok();
    assert_eq!((&replaced["state"], &replaced["replaced_by"]), (&json!("replaced"), &rotated["id"]));
    assert_eq!(replaced["expires_at"], rotated["old_ends_at"]);
    assert!(replaced["expires_at"].as_str().unwrap() < before["expires_at"].as_str().unwrap());
    assert_eq!(bench.rotate(&old, 0).await.problem(), (409, "conflict".to_owned()));

    let record = bench.last_record().await;
    assert_eq!(
        (record.action, record.actor.kind, record.actor.id.as_str()),
        (Action::TokenRotated, ActorKind::Person, "olga")
    );
    assert_eq!(record.subject.id, rotated["id"].as_str().unwrap());
    assert_eq!((&record.details["replaces"], &record.details["token"]), (&before["id"], &before["id"]));
    assert!(!serde_json::to_string(&record.details).unwrap().contains("srt_"));

    // At once: the old one opens nothing any more, and nobody may ask for more than an hour.
    let third = bench.rotate(new, 0).await.ok();
    assert_eq!(bench.whoami(new).await.problem(), unauthenticated());
    let third = third["token"].as_str().unwrap();
    assert_eq!(bench.rotate(third, 3601).await.problem(), (400, "malformed".to_owned()));
    assert_eq!(bench.whoami(third).await.status, StatusCode::OK);
    assert_eq!(bench.rotate(third, 3600).await.status, StatusCode::OK);
}

#[tokio::test]
async fn two_rotations_at_one_time_make_one_token() {
    let bench = Bench::new().await;
    let old = bench.token("olga", &[Role::Operator]).await;
    let (one, two) = tokio::join!(bench.rotate(&old, 60), bench.rotate(&old, 60));
    let made = [one.status, two.status].iter().filter(|status| **status == StatusCode::OK).count();
    assert_eq!(made, 1);
    let refused = if one.status == StatusCode::OK { two } else { one };
    assert_eq!(refused.problem(), (409, "conflict".to_owned()));
}

/// What a token gets that is over, but for the request's id.
async fn told(bench: &Bench, token: &str) -> Value {
    let reply = bench.whoami(token).await;
    assert_eq!(reply.problem(), unauthenticated());
    let mut headers: Vec<_> = reply.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.retain(|header| !header.starts_with("x-request-id"));
    let mut problem = reply.json();
    problem.as_object_mut().unwrap().remove("request_id");
    json!([headers, problem])
}

#[tokio::test]
async fn tokens_that_are_over_get_what_unknown_ones_get_and_the_ledger_knows_the_difference() {
    let bench = Bench::new().await;
    let id = async |token: &str| bench.whoami(token).await.ok()["id"].as_str().unwrap().to_owned();
    let (revoked, expired) =
        (bench.token("olga", &[Role::Operator]).await, bench.token("edna", &[Role::Endorser]).await);
    let (revoked_id, expired_id) = (id(&revoked).await, id(&expired).await);
    bench.call(Some(Role::Admin), Method::DELETE, &format!("/v1/tokens/{revoked_id}"), None).await.ok();
    // Its grace ends within the second.
    bench.rotate(&expired, 1).await.ok();
    let ends = bench.vault.store.now().await.unwrap() + 1;
    while bench.vault.store.now().await.unwrap() <= ends + 1 {
        tokio::task::yield_now().await;
    }
    let unknown = format!("srt_{}", "A".repeat(43));
    let of_unknown = told(&bench, &unknown).await;
    assert_eq!(told(&bench, &revoked).await, of_unknown);
    assert_eq!(told(&bench, &expired).await, of_unknown);
    assert_eq!(told(&bench, &expired).await, of_unknown);

    let size = bench.ledger_size().await;
    token_use::write(&bench.vault).await.unwrap();
    assert_eq!(bench.ledger_size().await, size + 2, "an entry for each token that is known, however often it came");
    let mut records = Vec::new();
    for index in size..size + 2 {
        let entry = bench.vault.store.entry(index).await.unwrap().unwrap();
        let record = strongroom_ledger::Record::parse(&entry.body.unwrap().0).unwrap();
        assert_eq!(record.action, Action::TokenRefused);
        records.push((record.subject.id, json!(record.details)));
    }
    records.sort_by_key(|(id, _)| *id != revoked_id);
    assert_eq!(records[0], (revoked_id, json!({ "person": "olga", "state": "revoked", "times": 1 })));
    assert_eq!(records[1], (expired_id, json!({ "person": "edna", "state": "expired", "times": 2 })));
    token_use::write(&bench.vault).await.unwrap();
    assert_eq!(bench.ledger_size().await, size + 2, "it is told once");

    refusals::sum_up(&bench.vault).await.unwrap();
    assert_eq!(bench.last_record().await.details["token_unknown"], 1);
    // And who administers sees it in the list.
    let list = bench.get(Role::Admin, "/v1/tokens").await.ok();
    let state = |person: &str| {
        let of_person = list.as_array().unwrap().iter().filter(|t| t["person"] == person);
        of_person.map(|t| t["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(state("olga"), ["revoked"]);
    let mut of_edna = state("edna");
    of_edna.sort();
    assert_eq!(of_edna, ["active", "expired"]);
}

/// The lock in the process does not keep replicas apart; the commit does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_that_are_kept_apart_do_not_add_up_over_two_replicas() {
    let bench = Bench::new().await;
    let committer = Arc::new(Committer(bench.sequencer.clone()));
    let (store, keys) = (Arc::clone(&bench.vault.store), Arc::clone(&bench.vault.keys));
    let mut config = Config::default();
    (config.limits.requests_per_second, config.limits.burst) = (100_000, 100_000);
    let other = assemble(config, store, committer, keys, Trusted::default(), bench.vault.ledger_key.clone());
    let other = routes::router(other);
    let create = |person: String, role: &'static str| {
        let body = json!({ "person": person, "roles": [role], "expires_in": 60 }).to_string();
        Request::builder()
            .method(Method::POST)
            .uri("/v1/tokens")
            .header(header::AUTHORIZATION, format!("Bearer {}", bench.tokens[&Role::Admin]))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .unwrap()
    };
    for round in 0..20 {
        let here = bench.send(create(format!("alice-{round}"), "policy-author"));
        let there = tower::ServiceExt::oneshot(other.clone(), create(format!("alice-{round}"), "policy-approver"));
        let (here, there) = tokio::join!(here, there);
        let made = u32::from(here.status == StatusCode::OK) + u32::from(there.unwrap().status() == StatusCode::OK);
        assert!(made <= 1, "round {round}: one person holds two roles that are kept apart");
    }
}
