//! Enrolment: activation, and what it refuses. The certificate's rows are tested where they live.

use crate::{bench::Bench, tpm::Tpm};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use strongroom_envelope::RecipientKey;
use strongroom_protocol::{Bytes, Fixed, VaultId, admin::Role, challenge::Purpose};

#[tokio::test]
async fn a_node_is_activated_then_approved() {
    let bench = Bench::new().await;
    let tpm = Tpm::new();
    let enrolment = bench.enrolment(&tpm, b"secret").await;
    let path = format!("/v1/enrolments/{enrolment}");
    let show = async || bench.call(None, Method::GET, &path, None).await.ok();
    assert_eq!(show().await, json!({ "node": null, "state": null, "site": null }));
    let statement = bench.enrol_statement(&tpm, enrolment).await;
    let state = bench.activate(&tpm, enrolment, b"secret", &statement).await.ok();
    assert_eq!((state["state"].as_str(), &state["site"]), (Some("pending"), &Value::Null));
    assert_eq!(show().await, state);
    let node = state["node"].as_str().unwrap();
    assert_eq!(node, Fixed(strongroom_protocol::sha256(&tpm.ek_public)).to_string());
    let statement = bench.enrol_statement(&tpm, enrolment).await;
    assert_eq!(bench.activate(&tpm, enrolment, b"secret", &statement).await.problem().0, 409, "once");

    bench.post(Role::Operator, "/v1/sites", json!({ "name": "fra-1", "jurisdiction": "DE" })).await.ok();
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/approve"), json!({ "site": "fra-1" })).await.ok();
    assert_eq!(show().await["state"], "approved");
    let view = bench.get(Role::Operator, &format!("/v1/nodes/{node}")).await.ok();
    assert_eq!((view["site"].as_str(), view["jurisdiction"].as_str()), (Some("fra-1"), Some("DE")));
}

#[tokio::test]
async fn activation_refuses_each_wrong_part() {
    let bench = Bench::new().await;
    let tpm = Tpm::new();
    let enrolment = bench.enrolment(&tpm, b"secret").await;
    let other = bench.enrolment(&Tpm::new(), b"secret").await;
    let before = bench.ledger_size().await;
    let now = u64::try_from(bench.vault.store.now().await.unwrap()).unwrap();
    let stale = bench.vault.keys.issue_nonce(Purpose::Enrol, now - 1).unwrap();
    let release = bench.nonce(Purpose::Release).await;
    let refused = async |change: &dyn Fn(&mut Value)| {
        let mut statement = bench.enrol_statement(&tpm, enrolment).await;
        change(&mut statement);
        bench.activate(&tpm, enrolment, b"secret", &statement).await.problem().1
    };
    assert_eq!(refused(&|s| s["v"] = 2.into()).await, "malformed");
    assert_eq!(refused(&|s| s["act"] = "release".into()).await, "malformed");
    assert_eq!(refused(&|s| s["more"] = 1.into()).await, "malformed");
    assert_eq!(refused(&|s| s["vault"] = VaultId::from([0; 32]).to_string().into()).await, "wrong_vault");
    assert_eq!(refused(&|s| s["nonce"] = json!(release)).await, "nonce_invalid");
    assert_eq!(refused(&|s| s["nonce"] = json!(stale)).await, "nonce_expired");
    assert_eq!(refused(&|s| s["enrolment"] = other.to_string().into()).await, "malformed");
    assert_eq!(refused(&|s| s["ek_sha256"] = Fixed([0; 32]).to_string().into()).await, "malformed");
    assert_eq!(refused(&|s| s["ak_name"] = Bytes(vec![0; 34]).to_string().into()).await, "malformed");

    let statement = bench.enrol_statement(&tpm, enrolment).await;
    let wrong = bench.activate(&tpm, enrolment, b"guess", &statement).await;
    assert_eq!((wrong.problem().1.as_str(), wrong.json()["row"].as_str()), ("enrolment_refused", Some("E5")));
    // Another machine's TPM signs: its AK is not the one that was enrolled.
    let wrong = bench.activate(&Tpm::new(), enrolment, b"secret", &statement).await;
    assert_eq!(wrong.problem().1, "malformed");
    assert_eq!(bench.ledger_size().await, before, "nothing was reserved or written");
    bench.activate(&tpm, enrolment, b"secret", &statement).await.ok();
}

#[tokio::test]
async fn another_ak_for_a_known_ek_waits_for_approval_again_and_ends_its_leases() {
    let bench = Bench::new().await;
    let (tpm, node) = bench.ready().await;
    let recipient = RecipientKey::generate().unwrap();
    let statement = bench.ask(&recipient).await;
    let (payload, _) = bench.open(&tpm, &statement, &recipient).await;
    let again = tpm.with_another_ak();
    assert_eq!(bench.pending(&again).await, node);
    let lease = bench.vault.store.lease(payload.lease.id).await.unwrap().unwrap().row;
    assert_eq!(lease.state, strongroom_protocol::lease::LeaseState::Revoked);
    let statement = bench.ask(&recipient).await;
    assert_eq!(bench.release(&tpm, &statement).await.problem().1, "not_enrolled", "the old AK is gone");
    let statement = bench.ask(&recipient).await;
    assert_eq!(bench.release(&again, &statement).await.problem().1, "denied");

    // A revoked node does not come back by enrolling again.
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/revoke"), json!({ "reason": "stolen" })).await.ok();
    let enrolment = bench.enrolment(&tpm, b"secret").await;
    let statement = bench.enrol_statement(&tpm, enrolment).await;
    assert_eq!(bench.activate(&tpm, enrolment, b"secret", &statement).await.problem().1, "conflict");
}

#[tokio::test]
async fn a_tpm_without_a_vendors_certificate_is_refused_before_anything_is_kept() {
    let bench = Bench::new().await;
    let tpm = Tpm::new();
    let enrol = async |chain: Vec<Bytes>| {
        let body = json!({
            "ek_certificate_chain": chain, "ek_public": Bytes(tpm.ek_public.clone()), "ak_public": Bytes(tpm.ak_public.clone()),
        });
        bench.public(Method::POST, "/v1/nodes", &body).await
    };
    let none = enrol(vec![]).await;
    assert_eq!((none.problem().1.as_str(), none.json()["row"].as_str()), ("enrolment_refused", Some("E1")));
    assert_eq!(enrol(vec![Bytes(vec![0; 17 << 10])]).await.problem().1, "too_large");
    assert_eq!(enrol(vec![Bytes(vec![0]); 9]).await.problem().1, "too_large");
    let own = rcgen::generate_simple_self_signed(vec!["tpm".into()]).unwrap();
    let self_made = enrol(vec![Bytes(own.cert.der().to_vec())]).await;
    assert_eq!(self_made.problem().1, "enrolment_refused");
}

/// Two activations of one EK at one time, of which neither has seen the other's node: the second would
/// write over what became of the first, an approval or a revocation.
#[tokio::test]
async fn of_two_first_enrolments_at_one_time_one_is_refused() {
    let bench = Bench::new().await;
    let mut conflicts = 0;
    // Where one of them was slow, both are in order, one after the other: then it is tried again.
    for _ in 0..100 {
        let tpm = Tpm::new();
        let other = tpm.with_another_ak();
        let (a, b) = (bench.enrolment(&tpm, b"secret").await, bench.enrolment(&other, b"secret").await);
        let (first, second) = (bench.enrol_statement(&tpm, a).await, bench.enrol_statement(&other, b).await);
        let replies =
            tokio::join!(bench.activate(&tpm, a, b"secret", &first), bench.activate(&other, b, b"secret", &second));
        let refused: Vec<_> = [replies.0, replies.1].into_iter().filter(|r| r.status != StatusCode::OK).collect();
        assert!(refused.len() < 2, "one of them enrols the node");
        if let Some(refused) = refused.first() {
            assert_eq!(refused.problem(), (409, "conflict".to_owned()));
            conflicts += 1;
            break;
        }
    }
    assert_eq!(conflicts, 1, "the commit does not notice");
}
