//! Every endpoint that changes something leaves an entry that names the person: the table of
//! endpoints is walked, so that a new one cannot be forgotten.

use crate::{
    bench::{Bench, baseline, read},
    vendor::Vendor,
};
use axum::http::Method;
use serde_json::{Value, json};
use strongroom_envelope::RecipientKey;
use strongroom_ledger::ActorKind;
use strongroom_protocol::{Bytes, LeaseId, NodeId, admin::Role};
use strongroom_server::{authority::Access, routes::endpoints};

/// Who does what to what: a request that is granted.
struct Case {
    role: Role,
    path: String,
    body: Option<Value>,
    action: &'static str,
}

fn case(role: Role, path: impl Into<String>, body: Option<Value>, action: &'static str) -> Case {
    Case { role, path: path.into(), body, action }
}

/// The baseline under another digest than the one that is enforced.
fn other_policy() -> Value {
    let mut files = baseline();
    files.get_mut("data.json").unwrap().push('\n');
    json!({ "files": files })
}

/// A root that two persons pinned, ready to be imported.
async fn pinned(bench: &Bench) -> Value {
    let vendor = Vendor::new();
    let sha256 = vendor.root.fingerprint();
    bench.post(Role::Endorser, "/v1/pins", pin(&sha256)).await.ok();
    let second = bench.token("second-endorser", &[Role::Endorser]).await;
    bench.as_holder(&second, Method::POST, &format!("/v1/pins/tpm-vendor/{sha256}/approve")).await.ok();
    json!({ "bytes": Bytes(vendor.root.der()) })
}

fn pin(sha256: &str) -> Value {
    json!({ "kind": "tpm-vendor", "name": "CN=Vendor Root", "sha256": sha256, "source": "https://vendor.example" })
}

#[expect(clippy::panic, reason = "a failed test is how it speaks")]
async fn of(bench: &Bench, method: &Method, path: &str, node: NodeId, lease: LeaseId) -> Case {
    use Role::{Admin, Custodian, Endorser, Operator, PolicyApprover, PolicyAuthor};
    let reason = json!({ "reason": "incident 17" });
    let token = json!({ "person": "alice", "roles": ["auditor"], "expires_in": 60 });
    match (method.as_str(), path) {
        ("POST", "/v1/sites") => {
            case(Operator, path, Some(json!({ "name": "ams-1", "jurisdiction": "NL" })), "site.created")
        }
        ("POST", "/v1/nodes/{id}/approve") => {
            let body = json!({ "site": "iad-1", "labels": {}, "single_job": true });
            case(Operator, format!("/v1/nodes/{node}/approve"), Some(body), "node.changed")
        }
        ("POST", "/v1/nodes/{id}/revoke") => {
            case(Operator, format!("/v1/nodes/{node}/revoke"), Some(reason), "node.revoked")
        }
        ("POST", "/v1/nodes/import") => {
            let chip = json!({ "kind": "snp-chip", "value": "4f2a90c1d7e3b658" });
            case(Operator, path, Some(json!({ "identities": [chip], "site": "fra-1" })), "node.imported")
        }
        ("POST", "/v1/nodes/{id}/identities") => {
            let gpu = json!({ "kind": "nvidia-gpu", "value": "0a1b2c3d" });
            case(Operator, format!("/v1/nodes/{node}/identities"), Some(json!({ "add": [gpu] })), "node.identified")
        }
        ("POST", "/v1/references") => {
            case(Endorser, path, Some(json!({ "name": "fleet", "from_node": node })), "reference.proposed")
        }
        ("POST", "/v1/references/{name}/{version}/approve") => {
            let second = bench.token("second-endorser", &[Endorser]).await;
            let body = json!({ "name": "fleet", "from_node": node }).to_string();
            let request = axum::http::Request::builder().method(Method::POST).uri("/v1/references");
            let request =
                request.header("authorization", format!("Bearer {second}")).header("content-type", "application/json");
            bench.send(request.body(body.into()).unwrap()).await.ok();
            case(Endorser, "/v1/references/fleet/2/approve", None, "reference.approved")
        }
        ("POST", "/v1/pins") => case(Endorser, path, Some(pin(&"00".repeat(32))), "trust.pin_proposed"),
        ("POST", "/v1/pins/{kind}/{sha256}/approve") => {
            let second = bench.token("second-endorser", &[Endorser]).await;
            let body = pin(&"00".repeat(32)).to_string();
            let request = axum::http::Request::builder().method(Method::POST).uri("/v1/pins");
            let request =
                request.header("authorization", format!("Bearer {second}")).header("content-type", "application/json");
            bench.send(request.body(body.into()).unwrap()).await.ok();
            case(Endorser, format!("/v1/pins/tpm-vendor/{}/approve", "00".repeat(32)), None, "trust.pin_approved")
        }
        ("DELETE", "/v1/pins/{kind}/{sha256}") => {
            bench.post(Endorser, "/v1/pins", pin(&"00".repeat(32))).await.ok();
            case(Endorser, format!("/v1/pins/tpm-vendor/{}", "00".repeat(32)), None, "trust.pin_withdrawn")
        }
        ("POST", "/v1/endorsements") => {
            let body = pinned(bench).await;
            case(Endorser, path, Some(body), "trust.endorsement_imported")
        }
        ("DELETE", "/v1/endorsements/{*name}") => {
            let imported = bench.post(Endorser, "/v1/endorsements", pinned(bench).await).await.ok();
            let name = imported["endorsements"][0]["name"].as_str().unwrap();
            case(Endorser, format!("/v1/endorsements/{name}"), None, "trust.endorsement_removed")
        }
        ("POST", "/v1/assets") => {
            let body = json!({ "name": "new", "jurisdictions": ["DE"], "reference_sets": ["fleet"] });
            case(Custodian, path, Some(body), "asset.created")
        }
        ("POST", "/v1/assets/{name}") => {
            case(Custodian, "/v1/assets/model", Some(json!({ "labels": { "a": "b" } })), "asset.changed")
        }
        ("POST", "/v1/assets/{name}/keys") => case(Custodian, "/v1/assets/model/keys", None, "key.rotated"),
        ("DELETE", "/v1/assets/{name}/keys/{version}") => {
            case(Custodian, "/v1/assets/model/keys/1", None, "key.destroyed")
        }
        ("POST", "/v1/leases/revoke") => {
            let body = json!({ "everything": true, "reason": "incident 17" });
            case(Custodian, path, Some(body), "lease.revoked")
        }
        ("POST", "/v1/leases/{id}/revoke") => {
            case(Custodian, format!("/v1/leases/{lease}/revoke"), Some(reason), "lease.revoked")
        }
        ("POST", "/v1/policies") => case(PolicyAuthor, path, Some(other_policy()), "policy.proposed"),
        ("POST", "/v1/policies/{digest}/enforce") => {
            let proposed = bench.post(PolicyAuthor, "/v1/policies", other_policy()).await.ok();
            let path = format!("/v1/policies/{}/enforce", proposed["digest"].as_str().unwrap());
            case(PolicyApprover, path, None, "policy.enforced")
        }
        ("POST", "/v1/tokens") => case(Admin, path, Some(token), "token.created"),
        ("POST", "/v1/tokens/self/rotate") => case(Endorser, path, Some(json!({ "grace": 60 })), "token.rotated"),
        ("DELETE", "/v1/tokens/{id}") => {
            let created = bench.post(Admin, "/v1/tokens", token).await.ok();
            case(Admin, format!("/v1/tokens/{}", created["id"].as_str().unwrap()), None, "token.revoked")
        }
        other => panic!("{other:?} changes something, and no request of this test does"),
    }
}

#[tokio::test]
async fn every_act_is_in_the_ledger_with_the_person_who_did_it() {
    let acts = endpoints().into_iter().filter(|e| matches!(e.access, Access::Roles(_)) && e.method != Method::GET);
    for endpoint in acts {
        let bench = Bench::new().await;
        let (tpm, node) = bench.ready().await;
        let recipient = RecipientKey::generate().unwrap();
        let mut statement = bench.ask(&recipient).await;
        statement.keys = vec![read("model", 1)];
        let lease = bench.open(&tpm, &statement, &recipient).await.0.lease.id;
        let what = format!("{} {}", endpoint.method, endpoint.path);
        let case = of(&bench, &endpoint.method, endpoint.path, node, lease).await;
        let size = bench.ledger_size().await;
        bench.call(Some(case.role), endpoint.method, &case.path, case.body).await.ok();
        assert_eq!(bench.ledger_size().await, size + 1, "{what}: one act, one entry");
        let record = bench.last_record().await;
        assert_eq!(record.action.as_str(), case.action, "{what}");
        assert_eq!((record.actor.kind, record.actor.id.as_str()), (ActorKind::Person, case.role.as_str()), "{what}");
        assert!(record.details["token"].is_string(), "{what}: by which token");
    }
}
