//! Leases that are taken back together: a node's, an asset's, a site's, all.

use crate::{
    bench::{Bench, Reply, read},
    leases::{elsewhere, heard, listen},
    tpm::Tpm,
};
use serde_json::{Value, json};
use strongroom_envelope::{RecipientKey, ReleasePayload};
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{
    LeaseId, NodeId,
    admin::{KeyState, Role},
    lease::LeaseState,
};
use strongroom_server::vault::{record, subject, system};
use strongroom_store::Change;

/// Two nodes, in `fra-1` and `fra-2`, and the assets `model` and `other`.
struct Fleet {
    bench: Bench,
    first: (Tpm, NodeId),
    second: (Tpm, NodeId),
}

impl Fleet {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let first = bench.ready().await;
        bench.post(Role::Operator, "/v1/sites", json!({ "name": "fra-2", "jurisdiction": "DE" })).await.ok();
        bench.asset("other").await;
        let tpm = Tpm::new();
        let node = bench.approved(&tpm, "fra-2").await;
        Self { bench, first, second: (tpm, node) }
    }

    async fn lease(&self, tpm: &Tpm, asset: &str) -> ReleasePayload {
        let recipient = RecipientKey::generate().unwrap();
        let mut statement = self.bench.ask(&recipient).await;
        statement.keys = vec![read(asset, 1)];
        self.bench.open(tpm, &statement, &recipient).await.0
    }

    async fn revoke(&self, role: Role, mut which: Value) -> Reply {
        which["reason"] = "incident 17".into();
        self.bench.post(role, "/v1/leases/revoke", which).await
    }

    async fn is_live(&self, lease: &ReleasePayload) -> bool {
        state(&self.bench, lease.lease.id).await == LeaseState::Live
    }
}

async fn state(bench: &Bench, lease: LeaseId) -> LeaseState {
    bench.vault.store.lease(lease).await.unwrap().unwrap().row.state
}

#[tokio::test]
async fn each_choice_takes_its_leases_and_no_others_and_the_record_says_so() {
    for (role, choice, kind, taken, versions) in [
        (Role::Operator, "node", SubjectKind::Node, [true, true, false], vec!["model@1", "other@1"]),
        (Role::Custodian, "asset", SubjectKind::Asset, [true, false, true], vec!["model@1"]),
        (Role::Operator, "site", SubjectKind::Site, [true, true, false], vec!["model@1", "other@1"]),
        (Role::Custodian, "everything", SubjectKind::Vault, [true, true, true], vec!["model@1", "other@1"]),
    ] {
        let fleet = Fleet::new().await;
        let (tpm, node) = &fleet.first;
        let leases = [
            fleet.lease(tpm, "model").await,
            fleet.lease(tpm, "other").await,
            fleet.lease(&fleet.second.0, "model").await,
        ];
        let (which, subject) = match choice {
            "node" => (json!({ "node": node }), node.to_string()),
            "asset" => (json!({ "asset": "model" }), "model".to_owned()),
            "site" => (json!({ "site": "fra-1" }), "fra-1".to_owned()),
            _ => (json!({ "everything": true }), fleet.bench.vault.keys.vault_id().to_string()),
        };
        let mut listening = Vec::new();
        for lease in &leases {
            listening.push(listen(&fleet.bench, lease).await);
        }
        let size = fleet.bench.ledger_size().await;
        let answer = fleet.revoke(role, which).await.ok();
        assert_eq!(fleet.bench.ledger_size().await, size + 1, "{choice}: one transaction, one entry");
        let mut ids = Vec::new();
        for ((lease, taken), (proof, body)) in leases.iter().zip(taken).zip(listening) {
            assert_eq!(fleet.is_live(lease).await, !taken, "{choice}");
            if taken {
                ids.push(lease.lease.id);
                let events = heard(&fleet.bench, lease, &proof, body).await;
                assert_eq!((&events[1]["event"], &events[1]["reason"]), (&json!("revoked"), &json!("incident 17")));
            } else {
                body.abort();
            }
        }
        ids.sort_unstable();
        let record = fleet.bench.last_record().await;
        assert_eq!((record.action, record.actor.id.as_str()), (Action::LeaseRevoked, role.as_str()));
        assert_eq!((record.subject.kind, record.subject.id), (kind, subject));
        assert_eq!(record.details["reason"], "incident 17");
        assert_eq!(record.details["leases"], json!(ids));
        assert_eq!(answer["record"], record.id.to_string());
        assert_eq!((&answer["leases"], &answer["decrypt_only"]), (&json!(ids.len()), &json!(versions)), "{choice}");
        for version in versions {
            let asset = version.split_once('@').unwrap().0;
            let key = fleet.bench.vault.store.key(asset, 1).await.unwrap().unwrap().row;
            assert_eq!(key.state, KeyState::DecryptOnly, "{choice}: {version} was held whole");
        }
        // Again: nothing is left to take, and that it was wanted is on record.
        let which = if choice == "everything" { json!({ "everything": true }) } else { json!({ "node": node }) };
        let again = fleet.revoke(Role::Custodian, which).await.ok();
        assert_eq!(again["leases"], u64::from(choice == "asset"));
    }
}

/// Another replica commits it: this process gets no notice, and finds it and its reason by looking.
#[tokio::test]
async fn the_reason_of_many_is_found_by_looking() {
    let fleet = Fleet::new().await;
    let revoked = LeaseState::Revoked;
    for (kind, id, change) in [
        (SubjectKind::Asset, "model".to_owned(), Change::CloseLeasesOfAsset("model".into(), revoked)),
        (SubjectKind::Site, "fra-1".to_owned(), Change::CloseLeasesOfSite("fra-1".into(), revoked)),
        (SubjectKind::Node, fleet.first.1.to_string(), Change::CloseLeasesOfNode(fleet.first.1, revoked)),
        (SubjectKind::Vault, fleet.bench.vault.keys.vault_id().to_string(), Change::CloseEveryLease(revoked)),
    ] {
        let lease = fleet.lease(&fleet.first.0, "model").await;
        let (proof, body) = listen(&fleet.bench, &lease).await;
        let now = fleet.bench.vault.store.now().await.unwrap();
        let reason = format!("a {kind} is lost");
        let record = record("other", now, system("test"), Action::LeaseRevoked, subject(kind, id)).unwrap();
        elsewhere(&fleet.bench, record, vec![change], Some(&reason)).await;
        let events = heard(&fleet.bench, &lease, &proof, body).await;
        assert_eq!((&events[1]["event"], &events[1]["reason"]), (&json!("revoked"), &json!(reason)));
    }
}

#[tokio::test]
async fn a_choice_has_to_be_one_and_somebodys() {
    let fleet = Fleet::new().await;
    let lease = fleet.lease(&fleet.first.0, "model").await;
    let node = fleet.first.1;
    let stranger = NodeId::from([9; 32]);
    for (role, which, refused) in [
        (Role::Custodian, json!({}), (400, "malformed")),
        (Role::Custodian, json!({ "everything": false }), (400, "malformed")),
        (Role::Custodian, json!({ "node": node, "everything": true }), (400, "malformed")),
        (Role::Custodian, json!({ "node": node, "asset": "model" }), (400, "malformed")),
        (Role::Custodian, json!({ "site": "fra-1", "asset": "model" }), (400, "malformed")),
        (Role::Custodian, json!({ "everything": true, "more": 1 }), (400, "malformed")),
        (Role::Custodian, json!({ "node": stranger }), (404, "not_found")),
        (Role::Custodian, json!({ "asset": "none" }), (404, "not_found")),
        (Role::Custodian, json!({ "site": "none" }), (404, "not_found")),
        (Role::Operator, json!({ "asset": "model" }), (403, "forbidden")),
        (Role::Auditor, json!({ "everything": true }), (403, "forbidden")),
    ] {
        let size = fleet.bench.ledger_size().await;
        let reply = fleet.revoke(role, which.clone()).await;
        assert_eq!(reply.problem(), (refused.0, refused.1.to_owned()), "{which}");
        assert_eq!(fleet.bench.ledger_size().await, size, "{which}");
    }
    for reason in ["", "two\nlines", &"r".repeat(1025)] {
        let body = json!({ "everything": true, "reason": reason });
        let reply = fleet.bench.post(Role::Custodian, "/v1/leases/revoke", body).await;
        assert_eq!(reply.problem(), (400, "malformed".to_owned()));
    }
    assert!(fleet.is_live(&lease).await);
}

#[tokio::test]
async fn what_is_over_has_no_secret_to_prove() {
    let fleet = Fleet::new().await;
    let lease = fleet.lease(&fleet.first.0, "model").await;
    let (id, secret) = (lease.lease.id, lease.lease_secret.expose());
    let stored = async || fleet.bench.vault.store.lease(id).await.unwrap().unwrap().row.wrapped_secret.0.len();
    assert_ne!(stored().await, 0);
    fleet.revoke(Role::Custodian, json!({ "everything": true })).await.ok();
    assert_eq!(stored().await, 0);
    for act in ["renew", "end", "listen"] {
        let reply = fleet.bench.possess(act, id, secret, None).await;
        assert_eq!(reply.problem(), (401, "possession_refused".to_owned()));
        assert!(reply.json()["detail"].as_str().unwrap().contains("not live"), "{act}");
    }
    // One that nobody knows, and one that is live, say nothing to who cannot prove it.
    let live = fleet.lease(&fleet.first.0, "other").await;
    for id in [LeaseId::from([9; 16]), live.lease.id] {
        let reply = fleet.bench.possess("renew", id, secret, None).await;
        assert_eq!(reply.problem(), (401, "possession_refused".to_owned()));
        assert_eq!(reply.json()["detail"], Value::Null);
    }
}

#[tokio::test]
async fn a_reboot_retires_what_the_lease_held_whole() {
    let Fleet { bench, first: (tpm, _), .. } = Fleet::new().await;
    let recipient = RecipientKey::generate().unwrap();
    let statement = bench.ask(&recipient).await;
    let lease = bench.open(&tpm, &statement, &recipient).await.0.lease.id;
    let rebooted = Tpm { reset_count: tpm.reset_count + 1, ..tpm };
    let mut renewal = bench.ask(&recipient).await;
    renewal.act = strongroom_protocol::statement::Act::Renew;
    (renewal.lease, renewal.keys) = (Some(lease), statement.keys);
    let reply = bench.release(&rebooted, &renewal).await;
    assert_eq!(reply.json()["reasons"], json!(["rebooted"]));
    assert_eq!(state(&bench, lease).await, LeaseState::Revoked);
    assert_eq!(bench.last_record().await.details["decrypt_only"], json!(["model@1"]));
    let key = bench.vault.store.key("model", 1).await.unwrap().unwrap().row;
    assert_eq!(key.state, KeyState::DecryptOnly, "the machine may have kept it across the reboot");
}

#[tokio::test]
async fn a_list_of_leases_has_pages() {
    let fleet = Fleet::new().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(fleet.lease(&fleet.first.0, "model").await.lease.id);
    }
    fleet.bench.post(Role::Custodian, &format!("/v1/leases/{}/revoke", all[4]), json!({ "reason": "r" })).await.ok();
    let page = async |query: &str| -> Vec<LeaseId> {
        let page = fleet.bench.get(Role::Auditor, &format!("/v1/leases?{query}")).await.ok();
        page.as_array().unwrap().iter().map(|l| serde_json::from_value(l["id"].clone()).unwrap()).collect()
    };
    for (choice, mut expected) in [("all=true&", all.clone()), ("", all[..4].to_vec())] {
        let mut seen = page(&format!("{choice}limit=2")).await;
        loop {
            let more = page(&format!("{choice}limit=2&after={}", seen.last().unwrap())).await;
            seen.extend(&more);
            if more.len() < 2 {
                break;
            }
        }
        seen.sort_unstable();
        expected.sort_unstable();
        assert_eq!(seen, expected, "each once");
    }
    let unknown = LeaseId::from([9; 16]);
    for wrong in [format!("after={unknown}"), "after=x".to_owned()] {
        let reply = fleet.bench.get(Role::Auditor, &format!("/v1/leases?{wrong}")).await;
        assert_eq!(reply.problem(), (400, "malformed".to_owned()));
    }
}
