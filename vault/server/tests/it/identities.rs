//! Identities of nodes: machines without a TPM, and what an operator adds to a record and takes out of it.

use crate::bench::{Bench, read};
use serde_json::{Value, json};
use strongroom_envelope::RecipientKey;
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{admin::Role, identity::Identity, limits};
use strongroom_server::vault::{record, subject, system};
use strongroom_store::{Change, Guard};

fn identity(text: &str) -> Value {
    let (kind, value) = text.split_once(':').unwrap();
    json!({ "kind": kind, "value": value })
}

fn listed(texts: &[&str]) -> Value {
    texts.iter().map(|text| identity(text)).collect()
}

const CHIP: &str = "snp-chip:4F2A90C1D7E3B658";
const PPID: &str = "tdx-ppid:00112233445566778899aabbccddeeff";
const VM: &str = "cloud-vm:7B5A1C2E-0D5F-4C39-9F0E-2A41C0FFEE00";
const GPU: &str = "nvidia-gpu:0a1b2c3d";

fn kept(text: &str) -> String {
    text.parse::<Identity>().unwrap().to_string()
}

/// Identities of a node as the vault shows them.
async fn shown(bench: &Bench, node: &str) -> Vec<String> {
    let view = bench.get(Role::Operator, &format!("/v1/nodes/{node}")).await.ok();
    let identities: Vec<Identity> = serde_json::from_value(view["identities"].clone()).unwrap();
    identities.iter().map(ToString::to_string).collect()
}

async fn site(bench: &Bench) {
    for (name, jurisdiction) in [("fra-1", "DE"), ("par-1", "FR")] {
        bench.post(Role::Operator, "/v1/sites", json!({ "name": name, "jurisdiction": jurisdiction })).await.ok();
    }
}

fn import(identities: &[&str]) -> Value {
    json!({ "identities": listed(identities), "site": "fra-1", "labels": { "rack": "b7" }, "single_job": true,
        "hostname": "gpu-7" })
}

#[tokio::test]
async fn a_machine_without_a_tpm_is_registered_by_what_it_will_show() {
    let bench = Bench::new().await;
    site(&bench).await;
    let recorded = bench.post(Role::Operator, "/v1/nodes/import", import(&[GPU, CHIP, VM])).await.ok();
    let node = recorded["node"].as_str().unwrap();
    // The first that names a machine names the node, in the form in which it is kept.
    let named = kept(CHIP).parse::<Identity>().unwrap().node_id().unwrap().to_string();
    assert_eq!(node, named);
    let view = bench.get(Role::Operator, &format!("/v1/nodes/{node}")).await.ok();
    assert_eq!(
        (&view["state"], &view["site"], &view["jurisdiction"]),
        (&json!("pending"), &json!("fra-1"), &json!("DE"))
    );
    assert_eq!((&view["tpm"], &view["activated_at"], &view["single_job"]), (&json!(null), &json!(null), &json!(true)));
    assert_eq!((&view["labels"]["rack"], &view["hostname"]), (&json!("b7"), &json!("gpu-7")));
    assert_eq!(shown(&bench, node).await, [kept(CHIP), kept(GPU), kept(VM)]);
    for by in [CHIP, GPU, VM] {
        assert_eq!(bench.get(Role::Auditor, &format!("/v1/nodes/{by}")).await.ok()["id"], node, "{by}");
    }
    assert_eq!(bench.get(Role::Auditor, &format!("/v1/nodes/{PPID}")).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(bench.get(Role::Auditor, "/v1/nodes/chip:00").await.problem(), (400, "malformed".to_owned()));
    assert_eq!(bench.get(Role::Auditor, "/v1/nodes").await.ok()[0]["identities"].as_array().unwrap().len(), 3);

    let record = bench.last_record().await;
    assert_eq!((record.action, record.subject.kind), (Action::NodeImported, SubjectKind::Node));
    assert_eq!((record.subject.id.as_str(), record.node.unwrap().to_string().as_str()), (node, node));
    assert_eq!((record.site.as_deref(), record.jurisdiction.as_deref()), (Some("fra-1"), Some("DE")));
    assert_eq!(record.details["identities"], json!([kept(GPU), kept(CHIP), kept(VM)]));

    // Its place may be corrected; it waits for its first evidence all the same.
    let place = json!({ "site": "par-1", "labels": {}, "single_job": false });
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/approve"), place).await.ok();
    let view = bench.get(Role::Operator, &format!("/v1/nodes/{node}")).await.ok();
    assert_eq!((&view["state"], &view["site"]), (&json!("pending"), &json!("par-1")));
    assert_eq!(bench.last_record().await.action, Action::NodeChanged);
    let reply = bench.get(Role::Operator, &format!("/v1/nodes/{node}/measurements")).await;
    assert_eq!(reply.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn what_names_no_machine_registers_none() {
    let bench = Bench::new().await;
    site(&bench).await;
    let many: Vec<String> = (0..limits::IDENTITIES).map(|n| format!("nvidia-gpu:{:06x}", n + 1)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain([CHIP]).collect();
    let malformed = || (400, "malformed".to_owned());
    for (identities, field) in [
        (vec![], "identities"),
        (vec![GPU], "identities"),
        (many.clone(), "identities"),
        (vec![CHIP, "tpm-ek:0000000000000000000000000000000000000000000000000000000000000001"], "identities[1]"),
        (vec![CHIP, "snp-chip:4f2a"], "identities[1]"),
        (vec![CHIP, "snp-chip:0000000000000000"], "identities[1]"),
        (vec![CHIP, GPU, "nvidia-gpu:000A1B2C3D"], "identities[2]"),
        (vec!["cloud-vm:vm-7"], "identities[0]"),
        (vec!["tdx-ppid:00"], "identities[0]"),
    ] {
        let reply = bench.post(Role::Operator, "/v1/nodes/import", import(&identities)).await;
        assert_eq!(reply.problem(), malformed(), "{identities:?}");
        assert_eq!(reply.json()["field"], field, "{}", reply.json());
    }
    for (field, value) in [
        ("site", json!("nowhere")),
        ("hostname", json!("a\nb")),
        ("labels", json!({ "": "x" })),
        ("identities", json!([{ "kind": "chip", "value": "00" }])),
        ("identities", json!([{ "kind": "snp-chip", "value": "4f2a90c1d7e3b658", "more": 1 }])),
        ("ek_public", json!("AQ")),
    ] {
        let mut body = import(&[CHIP]);
        body[field] = value;
        let status = bench.post(Role::Operator, "/v1/nodes/import", body).await.status.as_u16();
        assert_eq!(status, if field == "site" { 404 } else { 400 }, "{field}");
    }
    assert_eq!(bench.get(Role::Operator, "/v1/nodes").await.ok(), json!([]));
    // The greatest record that there may be fits into the ledger.
    let recorded = bench.post(Role::Operator, "/v1/nodes/import", import(&many[1..])).await.ok();
    assert_eq!(shown(&bench, recorded["node"].as_str().unwrap()).await.len(), limits::IDENTITIES);
}

#[tokio::test]
async fn an_identity_is_of_one_node() {
    let bench = Bench::new().await;
    let (_, enrolled) = bench.ready().await;
    let imported = bench.post(Role::Operator, "/v1/nodes/import", import(&[PPID, GPU])).await.ok();
    let imported = imported["node"].as_str().unwrap().to_owned();
    let change = async |node: &str, add: &[&str], remove: &[&str]| {
        let body = json!({ "add": listed(add), "remove": listed(remove) });
        bench.post(Role::Operator, &format!("/v1/nodes/{node}/identities"), body).await
    };
    let enrolled = enrolled.to_string();
    change(&enrolled, &[CHIP], &[]).await.ok();
    assert_eq!(bench.last_record().await.action, Action::NodeIdentified);

    // Another node's, whichever way it comes: the answer names that node.
    for (reply, taken, of) in [
        (change(&enrolled, &[GPU], &[]).await, GPU, &imported),
        (change(&imported, &[CHIP], &[]).await, CHIP, &enrolled),
        (bench.post(Role::Operator, "/v1/nodes/import", import(&[VM, GPU])).await, GPU, &imported),
        (bench.post(Role::Operator, "/v1/nodes/import", import(&[CHIP])).await, CHIP, &enrolled),
        (bench.post(Role::Operator, "/v1/nodes/import", import(&[PPID, VM])).await, PPID, &imported),
    ] {
        assert_eq!(reply.problem(), (409, "conflict".to_owned()), "{taken}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&kept(taken)) && detail.contains(of.as_str()), "{detail}");
    }

    // What is taken out is free for another. What names a node is not taken out of its record.
    change(&imported, &[], &[GPU]).await.ok();
    change(&enrolled, &[GPU], &[]).await.ok();
    for (node, add, remove) in [
        (&imported, vec![], vec![PPID]),
        (&imported, vec![], vec![GPU]),
        (&enrolled, vec![GPU], vec![]),
        (&imported, vec![VM], vec![PPID]),
    ] {
        assert_eq!(change(node, &add, &remove).await.problem(), (409, "conflict".to_owned()), "{add:?} {remove:?}");
    }
    let ek = shown(&bench, &enrolled).await.into_iter().find(|one| one.starts_with("tpm-ek")).unwrap();
    for (add, remove) in
        [(vec![], vec![]), (vec![], vec![ek.as_str()]), (vec![ek.as_str()], vec![]), (vec![VM, VM], vec![])]
    {
        assert_eq!(
            change(&enrolled, &add, &remove).await.problem(),
            (400, "malformed".to_owned()),
            "{add:?} {remove:?}"
        );
    }
    let many: Vec<String> = (0..limits::IDENTITIES).map(|n| format!("nvidia-gpu:{:06x}", n + 1)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(change(&enrolled, &many, &[]).await.problem(), (400, "malformed".to_owned()), "three are there");
    assert_eq!(shown(&bench, &enrolled).await, [ek, kept(CHIP), kept(GPU)]);
    assert_eq!(shown(&bench, &imported).await, [kept(PPID)]);

    // A revoked node keeps what it is known by: the machine does not come back under another name.
    bench.post(Role::Operator, &format!("/v1/nodes/{imported}/revoke"), json!({ "reason": "sold" })).await.ok();
    assert_eq!(change(&imported, &[VM], &[]).await.problem(), (409, "conflict".to_owned()));
    assert_eq!(bench.post(Role::Operator, "/v1/nodes/import", import(&[PPID])).await.problem().0, 409);
    assert_eq!(bench.post(Role::Operator, "/v1/nodes/import", import(&[VM, PPID])).await.problem().0, 409);
    let place = json!({ "site": "fra-1" });
    assert_eq!(bench.post(Role::Operator, &format!("/v1/nodes/{imported}/approve"), place).await.problem().0, 409);
}

#[tokio::test]
async fn taking_an_identity_out_ends_the_leases_of_the_node() {
    let bench = Bench::new().await;
    let (tpm, node) = bench.ready().await;
    let path = format!("/v1/nodes/{node}/identities");
    bench.post(Role::Operator, &path, json!({ "add": listed(&[CHIP]) })).await.ok();
    let recipient = RecipientKey::generate().unwrap();
    let mut statement = bench.ask(&recipient).await;
    statement.keys = vec![read("model", 1)];
    bench.open(&tpm, &statement, &recipient).await;
    let live = async || bench.vault.store.leases_of_node(node).await.unwrap().len();
    assert_eq!(live().await, 1);
    // What comes into the record ends nothing.
    bench.post(Role::Operator, &path, json!({ "add": listed(&[GPU, VM]) })).await.ok();
    assert_eq!(live().await, 1);

    bench.post(Role::Operator, &path, json!({ "add": listed(&[PPID]), "remove": listed(&[GPU, VM]) })).await.ok();
    let record = bench.last_record().await;
    assert_eq!((record.action, &record.details["leases_closed"]), (Action::NodeChanged, &json!(1)));
    assert_eq!(
        (&record.details["added"], &record.details["removed"]),
        (&json!([kept(PPID)]), &json!([kept(GPU), kept(VM)]))
    );
    assert_eq!(live().await, 0);
}

#[tokio::test]
async fn another_ak_leaves_the_record_as_it_was_approved() {
    let bench = Bench::new().await;
    let (tpm, node) = bench.ready().await;
    let path = format!("/v1/nodes/{node}/identities");
    bench.post(Role::Operator, &path, json!({ "add": listed(&[GPU]) })).await.ok();
    let before = shown(&bench, &node.to_string()).await;
    assert_eq!(before.len(), 2);
    assert_eq!(bench.pending(&tpm.with_another_ak()).await, node);
    let view = bench.get(Role::Operator, &format!("/v1/nodes/{node}")).await.ok();
    assert_eq!(view["state"], "pending");
    assert!(view["activated_at"].is_string());
    assert_eq!(shown(&bench, &node.to_string()).await, before);
}

/// What a node shows is written with each of its requests; acts on it come through all the same.
#[tokio::test]
async fn a_node_cannot_keep_people_from_acting_on_it() {
    let bench = Bench::new().await;
    let (_, node) = bench.ready().await;
    let path = format!("/v1/nodes/{node}");
    let writes = async || {
        // Fewer than an act is tried: each overtakes one attempt at the most.
        for _ in 0..20 {
            let shown = bench.vault.store.node(node).await.unwrap().unwrap();
            let now = bench.vault.store.now().await.unwrap();
            let record = record("test", now, system("test"), Action::NodeChanged, subject(SubjectKind::Node, node));
            let guards = vec![Guard::Node(node, shown.version)];
            // Refused where the act was quicker.
            drop(bench.vault.commit(record.unwrap(), guards, vec![Change::PutNode(shown.row)]).await);
        }
    };
    for round in 0..5 {
        let gpu = format!("nvidia-gpu:0{round}aa");
        let add = json!({ "add": listed(&[&gpu]) });
        let place = json!({ "site": "fra-1", "labels": { "round": round.to_string() }, "single_job": true });
        let (identities, approve) = (format!("{path}/identities"), format!("{path}/approve"));
        let (added, ()) = tokio::join!(bench.post(Role::Operator, &identities, add), writes());
        added.ok();
        let (approved, ()) = tokio::join!(bench.post(Role::Operator, &approve, place), writes());
        approved.ok();
    }
    let revoke = format!("{path}/revoke");
    let (revoked, ()) = tokio::join!(bench.post(Role::Operator, &revoke, json!({ "reason": "sold" })), writes());
    revoked.ok();
    let view = bench.get(Role::Operator, &path).await.ok();
    assert_eq!(view["labels"]["round"], "4");
}
