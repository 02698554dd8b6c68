//! Administration: tokens, four eyes, references, strictness.

use crate::bench::{Bench, baseline};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::{Value, json};
use strongroom_envelope::RecipientKey;
use strongroom_ledger::Action;
use strongroom_protocol::admin::Role;

#[tokio::test]
async fn the_author_of_a_policy_does_not_enforce_it_whatever_tokens_he_has() {
    let bench = Bench::new().await;
    let proposed = bench.post(Role::PolicyAuthor, "/v1/policies", json!({ "files": baseline() })).await.ok();
    let path = format!("/v1/policies/{}/enforce", proposed["digest"].as_str().unwrap());
    // The store may hold such a token (an older vault, another replica): the person is what counts.
    let own = bench.token("policy-author", &[Role::PolicyApprover]).await;
    let enforce = |token: &str| {
        Request::builder()
            .method(Method::POST)
            .uri(&path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap()
    };
    let refused = bench.send(enforce(&own)).await;
    assert_eq!(refused.problem(), (403, "four_eyes".to_owned()));
    assert!(bench.vault.store.enforced_policy().await.unwrap().policy.is_none());
    bench.send(enforce(&bench.tokens[&Role::PolicyApprover])).await.ok();
    let record = bench.last_record().await;
    assert_eq!(record.action, Action::PolicyEnforced);
    assert_eq!((record.actor.id.as_str(), &record.details["author"]), ("policy-approver", &json!("policy-author")));
    assert_eq!(bench.send(enforce(&bench.tokens[&Role::PolicyApprover])).await.problem().0, 409);
}

#[tokio::test]
async fn four_eyes_can_be_waived_only_by_the_configuration_which_shows() {
    let mut config = strongroom_server::config::Config::default();
    config.four_eyes.waived = true;
    let bench = Bench::with(config).await;
    let own = bench.token("policy-author", &[Role::PolicyApprover]).await;
    let proposed = bench.post(Role::PolicyAuthor, "/v1/policies", json!({ "files": baseline() })).await.ok();
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/v1/policies/{}/enforce", proposed["digest"].as_str().unwrap()))
        .header(header::AUTHORIZATION, format!("Bearer {own}"))
        .body(Body::empty())
        .unwrap();
    bench.send(request).await.ok();
    assert_eq!(bench.last_record().await.details["four_eyes_waived"], true);
    assert_eq!(bench.call(None, Method::GET, "/v1/vault", None).await.ok()["four_eyes_waived"], true);
}

#[tokio::test]
async fn nobody_holds_two_of_the_roles_that_are_kept_apart() {
    let bench = Bench::new().await;
    let create = async |person: &str, roles: &[&str]| {
        let body = json!({ "person": person, "roles": roles, "expires_in": 60 });
        bench.post(Role::Admin, "/v1/tokens", body).await
    };
    let refused = || (403, "four_eyes".to_owned());
    assert_eq!(create("alice", &["admin", "policy-author"]).await.problem(), refused());
    assert_eq!(create("alice", &["policy-approver", "policy-author"]).await.problem(), refused());
    let first = create("alice", &["policy-author", "operator"]).await.ok();
    assert_eq!(create("alice", &["policy-approver"]).await.problem(), refused(), "over all tokens of the person");
    create("alice", &["policy-author"]).await.ok();
    create("bob", &["policy-approver"]).await.ok();
    for id in [first["id"].as_str().unwrap(), "none"] {
        bench.call(Some(Role::Admin), Method::DELETE, &format!("/v1/tokens/{id}"), None).await;
    }
    assert_eq!(create("alice", &["admin"]).await.problem(), refused(), "her second token is live");
    for person in ["two words", "", "оlga", "olga\u{202e}", "Olga", "-olga", "a\tb", &"a".repeat(129)] {
        assert_eq!(create(person, &["auditor"]).await.problem(), (400, "malformed".to_owned()), "{person:?}");
    }
    create("olga.b-c_d@example.org", &["auditor"]).await.ok();
    assert_eq!(create("carol", &[]).await.problem().0, 400);
}

#[tokio::test]
async fn a_revoked_or_expired_token_opens_nothing() {
    let bench = Bench::new().await;
    let body = json!({ "person": "dave", "roles": ["operator"], "expires_in": 3600 });
    let created = bench.post(Role::Admin, "/v1/tokens", body).await.ok();
    let sites = async |token: &str| {
        let request = Request::builder().uri("/v1/sites").header(header::AUTHORIZATION, token).body(Body::empty());
        bench.send(request.unwrap()).await
    };
    let token = created["token"].as_str().unwrap();
    assert_eq!(sites(&format!("Bearer {token}")).await.status, StatusCode::OK);
    for wrong in [token.to_owned(), format!("Basic {token}"), format!("Bearer {}", &token[1..]), "Bearer ".to_owned()] {
        assert_eq!(sites(&wrong).await.problem(), (401, "unauthenticated".to_owned()));
    }
    let path = format!("/v1/tokens/{}", created["id"].as_str().unwrap());
    bench.call(Some(Role::Admin), Method::DELETE, &path, None).await.ok();
    assert_eq!(sites(&format!("Bearer {token}")).await.problem(), (401, "unauthenticated".to_owned()));
    // No answer shows a token's secret or its hash again.
    let list = bench.get(Role::Admin, "/v1/tokens").await;
    let text = String::from_utf8(list.bytes).unwrap();
    assert!(!text.contains("srt_") && !text.contains("sha256"), "{text}");
}

#[tokio::test]
async fn what_exists_is_not_made_again_and_names_are_checked() {
    let bench = Bench::new().await;
    let site = json!({ "name": "fra-1", "jurisdiction": "DE" });
    bench.post(Role::Operator, "/v1/sites", site.clone()).await.ok();
    assert_eq!(bench.post(Role::Operator, "/v1/sites", site).await.problem(), (409, "conflict".to_owned()));
    for wrong in [
        json!({ "name": "../x", "jurisdiction": "DE" }),
        json!({ "name": "x", "jurisdiction": "de" }),
        json!({ "name": "x", "jurisdiction": "ZZ" }),
        json!(["x", "DE"]),
        json!({ "name": "x", "jurisdiction": "DE", "more": 1 }),
        json!({ "name": "x" }),
    ] {
        assert_eq!(bench.post(Role::Operator, "/v1/sites", wrong).await.problem(), (400, "malformed".to_owned()));
    }
    bench.asset("model").await;
    let again = json!({ "name": "model", "jurisdictions": [], "reference_sets": [] });
    assert_eq!(bench.post(Role::Custodian, "/v1/assets", again).await.problem(), (409, "conflict".to_owned()));
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/sites")
        .header(header::AUTHORIZATION, format!("Bearer {}", bench.tokens[&Role::Operator]))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(r#"{"name":"a","name":"b","jurisdiction":"DE"}"#));
    assert_eq!(bench.send(request.unwrap()).await.problem(), (400, "malformed".to_owned()));
}

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let bench = Bench::new().await;
    assert_eq!(bench.get(Role::Admin, "/v1/nothing").await.problem(), (404, "not_found".to_owned()));
    let put = bench.call(Some(Role::Operator), Method::PUT, "/v1/sites", None).await;
    assert_eq!(put.problem(), (405, "malformed".to_owned()));
    assert_eq!(bench.get(Role::Auditor, "/v1/leases?limit=x").await.problem(), (400, "malformed".to_owned()));
    assert_eq!(bench.get(Role::Auditor, "/v1/leases?nothing=1").await.problem(), (400, "malformed".to_owned()));
    let version = "/v1/assets/model/keys/one";
    let reply = bench.call(Some(Role::Custodian), Method::DELETE, version, None).await;
    assert_eq!(reply.problem(), (400, "malformed".to_owned()));
}

#[tokio::test]
async fn reference_sets_grow_by_versions_and_an_empty_one_is_refused() {
    let bench = Bench::new().await;
    let (_, node) = bench.ready().await;
    let record = async |body: Value| bench.post(Role::Endorser, "/v1/references", body).await;
    assert_eq!(record(json!({ "name": "fleet", "from_node": node })).await.ok()["version"], 2);
    let empty = json!({ "name": "fleet", "values": { "bank": "sha256", "pcrs": {} } });
    assert_eq!(record(empty).await.problem().0, 400);
    let short = json!({ "name": "fleet", "values": { "bank": "sha256", "pcrs": { "0": "AAAA" } } });
    assert_eq!(record(short).await.problem().0, 400);
    assert_eq!(record(json!({ "name": "fleet" })).await.problem().0, 400);
    let of = |pcr: &str| json!({ "name": "fleet", "values": { "bank": "sha256", "pcrs": { pcr: "A".repeat(43) } } });
    assert_eq!(record(of("10")).await.problem(), (400, "malformed".to_owned()));
    for digest in ["SHA256:00", "sha256", "sha256:zz", "sha256:", &format!("sha256:{}", "AB".repeat(32))] {
        let mut body = of("4");
        body["values"]["files"] = json!({ "forbidden": { digest: "nc" } });
        assert_eq!(record(body).await.problem(), (400, "malformed".to_owned()), "{digest}");
    }
    let mut body = of("4");
    body["values"]["files"] = json!({ "forbidden": { format!("sha256:{}", "ab".repeat(32)): "nc" } });
    assert_eq!(record(body).await.ok()["version"], 3);
    let list = bench.get(Role::Endorser, "/v1/references").await.ok();
    let told: Vec<_> = list.as_array().unwrap().iter().map(|set| [&set["version"], &set["state"]]).collect();
    assert_eq!(json!(told), json!([[1, "in_force"], [2, "proposed"], [3, "proposed"]]));
    assert_eq!(list[0]["source"], node.to_string());
    let people = [&list[0]["proposed_by"], &list[0]["approved_by"], &list[1]["proposed_by"], &list[1]["approved_by"]];
    assert_eq!(json!(people), json!(["endorser", "second-endorser", "endorser", null]));
}

#[tokio::test]
async fn who_proposed_a_reference_set_does_not_approve_it() {
    let bench = Bench::new().await;
    let (mut tpm, node) = bench.ready().await;
    let statement = async || {
        let mut statement = bench.ask(&RecipientKey::generate().unwrap()).await;
        statement.caller = None;
        statement
    };
    tpm.boot.kernel = b"another kernel";
    let reply = bench.release(&tpm, &statement().await).await;
    assert_eq!(reply.json()["reasons"], json!(["reference_mismatch"]));
    let body = json!({ "name": "fleet", "from_node": node });
    bench.post(Role::Endorser, "/v1/references", body).await.ok();
    let approve = "/v1/references/fleet/2/approve";
    assert_eq!(
        bench.release(&tpm, &statement().await).await.json()["reasons"],
        json!(["reference_mismatch"]),
        "nothing is decided by what is only proposed"
    );
    let own = bench.token("endorser", &[Role::Endorser]).await;
    for token in [&bench.tokens[&Role::Endorser], &own] {
        assert_eq!(bench.as_holder(token, Method::POST, approve).await.problem(), (403, "four_eyes".to_owned()));
    }
    let other = bench.token("other", &[Role::Endorser]).await;
    let missing = bench.as_holder(&other, Method::POST, "/v1/references/fleet/9/approve").await;
    assert_eq!(missing.problem(), (404, "not_found".to_owned()));
    bench.as_holder(&other, Method::POST, approve).await.ok();
    let record = bench.last_record().await;
    assert_eq!(record.action, Action::ReferenceApproved);
    assert_eq!((&record.details["supersedes"], &record.details["proposed_by"]), (&json!(1), &json!("endorser")));
    bench.release(&tpm, &statement().await).await.ok();
    for version in ["2", "1"] {
        let again = format!("/v1/references/fleet/{version}/approve");
        assert_eq!(bench.as_holder(&other, Method::POST, &again).await.problem(), (409, "conflict".to_owned()));
    }
}

#[tokio::test]
async fn where_four_eyes_are_waived_one_person_is_enough_for_a_reference_set() {
    let mut config = strongroom_server::config::Config::default();
    config.four_eyes.waived = true;
    let bench = Bench::with(config).await;
    let values = json!({ "bank": "sha256", "pcrs": { "0": "A".repeat(43) } });
    bench.post(Role::Endorser, "/v1/references", json!({ "name": "fleet", "values": values })).await.ok();
    let approve = "/v1/references/fleet/1/approve";
    bench.as_holder(&bench.tokens[&Role::Endorser], Method::POST, approve).await.ok();
    assert_eq!(bench.last_record().await.details["four_eyes_waived"], true);
}

#[tokio::test]
async fn what_a_node_showed_last_is_there_to_be_compared_and_proposed() {
    let bench = Bench::new().await;
    let (tpm, node) = bench.ready().await;
    let path = format!("/v1/nodes/{node}/measurements");
    let enrolled = bench.get(Role::Endorser, &path).await.ok();
    assert_eq!(enrolled["pcrs"]["8"], json!(tpm.pcrs().0[&8]));
    assert!(enrolled.get("events").is_none(), "no log came with the enrolment's quote");
    let mut statement = bench.ask(&RecipientKey::generate().unwrap()).await;
    statement.caller = None;
    bench.release(&tpm, &statement).await.ok();
    let shown = bench.get(Role::Endorser, &path).await.ok();
    let hints: Vec<_> = shown["events"].as_array().unwrap().iter().filter(|event| event["pcr"] == 8).collect();
    assert!(hints.iter().any(|event| event["hint"].as_str().unwrap().contains("/vmlinuz ro quiet")), "{hints:?}");
    bench.refer("fleet", json!({ "from_node": node })).await;
    let list = bench.get(Role::Endorser, "/v1/references").await.ok();
    assert_eq!(list[1]["values"], shown);
    let unknown = bench.get(Role::Endorser, &format!("/v1/nodes/{}/measurements", "A".repeat(43))).await;
    assert_eq!(unknown.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn peers_that_ask_too_often_wait() {
    let mut config = strongroom_server::config::Config::default();
    (config.limits.requests_per_second, config.limits.burst) = (1, 2);
    let bench = Bench::with_limits(config).await;
    let ask = async |peer: &str| {
        let mut request = Request::builder().uri("/v1/vault").body(Body::empty()).unwrap();
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer.parse::<std::net::SocketAddr>().unwrap()));
        bench.send(request).await
    };
    assert_eq!(ask("192.0.2.1:1").await.status, StatusCode::OK);
    assert_eq!(ask("192.0.2.1:2").await.status, StatusCode::OK);
    let refused = ask("192.0.2.1:3").await;
    assert_eq!(refused.problem(), (429, "too_many_requests".to_owned()));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(ask("192.0.2.2:1").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_asset_whose_name_the_ledger_could_not_write_with_a_version_is_refused() {
    let bench = Bench::new().await;
    let create = async |name: &str| {
        let asset = json!({ "name": name, "labels": {}, "jurisdictions": ["DE"], "reference_sets": [] });
        bench.post(Role::Custodian, "/v1/assets", asset).await
    };
    assert_eq!(create(&"a".repeat(245)).await.problem(), (400, "malformed".to_owned()));
    let longest = "a".repeat(244);
    create(&longest).await.ok();
    bench.call(Some(Role::Custodian), Method::POST, &format!("/v1/assets/{longest}/keys"), None).await.ok();
}

#[tokio::test]
async fn the_last_token_of_an_admin_is_not_revoked() {
    let bench = Bench::new().await;
    let tokens = bench.get(Role::Admin, "/v1/tokens").await.ok();
    let id_of = |tokens: &Value, person: &str| {
        let found = tokens.as_array().unwrap().iter().find(|t| t["person"] == person).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    let own = id_of(&tokens, "admin");
    let revoke =
        async |id: &str| bench.call(Some(Role::Admin), Method::DELETE, &format!("/v1/tokens/{id}"), None).await;
    let refused = revoke(&own).await;
    assert_eq!(refused.problem(), (409, "conflict".to_owned()));
    assert!(refused.json()["detail"].as_str().unwrap().contains("last live token"), "{}", refused.json());
    // One that has expired is none.
    let short = json!({ "person": "eve", "roles": ["admin"], "expires_in": 1 });
    let short = bench.post(Role::Admin, "/v1/tokens", short).await.ok();
    while bench.vault.store.now().await.unwrap() < expiry(&bench, short["id"].as_str().unwrap()).await {
        tokio::task::yield_now().await;
    }
    assert_eq!(revoke(&own).await.problem().0, 409);
    // With another's, it is: and what is left is told.
    let other = json!({ "person": "ada", "roles": ["admin"], "expires_in": 600 });
    let other = bench.post(Role::Admin, "/v1/tokens", other).await.ok();
    let last = json!({ "person": "bea", "roles": ["admin"], "expires_in": 300 });
    let last = bench.post(Role::Admin, "/v1/tokens", last).await.ok();
    let warned = revoke(last["id"].as_str().unwrap()).await.ok();
    assert_eq!(warned.get("warnings"), None, "two are left");
    let warned = revoke(&own).await.ok();
    assert!(warned["warnings"][0].as_str().unwrap().contains("ada's, until"), "{warned}");
    let by = |token: &str| {
        let path = format!("/v1/tokens/{}", other["id"].as_str().unwrap());
        let request = Request::builder().method(Method::DELETE).uri(path);
        request.header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::empty()).unwrap()
    };
    assert_eq!(bench.send(by(other["token"].as_str().unwrap())).await.problem().0, 409);
}

/// When a token ends, Unix seconds.
async fn expiry(bench: &Bench, id: &str) -> i64 {
    let tokens = bench.vault.store.tokens().await.unwrap();
    tokens.iter().find(|t| t.row.id == id).unwrap().row.expires_at
}

#[tokio::test]
async fn an_asset_is_changed_with_a_record_of_what_it_was_and_a_slip_is_told() {
    let bench = Bench::new().await;
    let (tpm, node) = bench.ready().await;
    let update = async |body: Value| bench.post(Role::Custodian, "/v1/assets/model", body).await;
    let released = async || {
        let recipient = strongroom_envelope::RecipientKey::generate().unwrap();
        let statement = bench.ask(&recipient).await;
        bench.release(&tpm, &statement).await.status
    };
    assert_eq!(released().await, StatusCode::OK);

    // What is not given stays, and the answer names what nobody has recorded.
    let changed = update(json!({ "reference_sets": ["fleet", "flete"] })).await.ok();
    assert_eq!(changed["warnings"].as_array().unwrap().len(), 1);
    assert!(changed["warnings"][0].as_str().unwrap().contains("flete"), "{changed}");
    let record = bench.last_record().await;
    assert_eq!((record.action, record.actor.id.as_str()), (Action::AssetChanged, "custodian"));
    assert_eq!(record.subject.id, "model");
    assert_eq!(record.details["reference_sets"], json!(["fleet", "flete"]));
    assert_eq!(record.details["reference_sets_before"], json!(["fleet"]));
    assert!(!record.details.contains_key("jurisdictions"), "{:?}", record.details);
    let view = bench.get(Role::Custodian, "/v1/assets/model").await.ok();
    assert_eq!(view["asset"]["jurisdictions"], json!(["DE"]));
    assert_eq!(released().await, StatusCode::OK);

    // It decides the next release.
    update(json!({ "jurisdictions": ["FR"] })).await.ok();
    assert_eq!(released().await, StatusCode::FORBIDDEN);
    update(json!({ "jurisdictions": ["FR", "DE"], "max_leases": 2 })).await.ok();
    let view = bench.get(Role::Custodian, "/v1/assets/model").await.ok();
    assert_eq!(view["asset"]["max_leases"], 2);
    update(json!({ "max_leases": null })).await.ok();
    let view = bench.get(Role::Custodian, "/v1/assets/model").await.ok();
    assert_eq!(view["asset"]["max_leases"], Value::Null);
    assert_eq!(released().await, StatusCode::OK);

    let size = bench.ledger_size().await;
    for (wrong, status) in [
        (json!({}), 400),
        (json!({ "jurisdictions": ["ZZ"] }), 400),
        (json!({ "reference_sets": ["../x"] }), 400),
        (json!({ "labels": { "": "x" } }), 400),
        (json!({ "integrity": "hashed" }), 400),
        (json!({ "name": "other" }), 400),
        (json!([null, ["DE"]]), 400),
        (json!({ "jurisdictions": ["FR", "DE"] }), 409),
    ] {
        assert_eq!(update(wrong.clone()).await.problem().0, status, "{wrong}");
    }
    let unknown = bench.post(Role::Custodian, "/v1/assets/none", json!({ "labels": {} })).await;
    assert_eq!(unknown.problem(), (404, "not_found".to_owned()));
    assert_eq!(bench.ledger_size().await, size);
    let _ = node;

    let create = json!({ "name": "typo", "jurisdictions": ["DE"], "reference_sets": ["flete", "fleet"] });
    let created = bench.post(Role::Custodian, "/v1/assets", create).await.ok();
    assert_eq!(created["warnings"].as_array().unwrap().len(), 1, "{created}");
}
