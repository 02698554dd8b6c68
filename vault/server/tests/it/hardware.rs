//! Machines with confidential hardware: guests, their GPUs, and what a release makes of several items.

mod azure;
mod identify;
mod leases;
mod makers;
mod tdx;

use crate::{
    bench::{Bench, Reply},
    tpm::Tpm,
};
use axum::http::Method;
use makers::{Bound, Machine, import, makers, request};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use strongroom_envelope::{RecipientKey, ReleasePayload};
use strongroom_ledger::Action;
use strongroom_protocol::{
    Bytes, NodeId,
    admin::Role,
    enrol::NodeState,
    evidence::Evidence,
    statement::{Act, Statement},
};
use strongroom_server::config::Config;

/// What the machines of these tests measure at their launch.
const MEASUREMENT: &str = "04";

/// A policy that gives keys to guests of this measurement, with these settings beside the usual ones.
fn policy(rules: &str, settings: &Value) -> BTreeMap<String, String> {
    let mut all = json!({
        "pcr_selection": { "bank": "sha256", "pcrs": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14] },
        "lease_seconds": 3600, "renew_after": 60, "reattest_after": 900,
        "max_leases_per_node": 64, "max_leases_per_asset": 1024, "max_objects_per_key": 4096,
        "version_scope_assets": [], "plaintext_to_disk": false, "handling": ["no_swap"],
        "logs": { "boot": "required", "ima": "required", "violations": "refused" },
        "gpu": { "not_devtools": "measurements", "revocation_max_age": null },
    });
    for (name, value) in settings.as_object().unwrap() {
        all[name] = value.clone();
    }
    let rego = format!(
        r#"package strongroom.release

default allow := false

allow if {{
	input.act in {{"release", "renew"}}
	input.node.state == "approved"
	count(deny) == 0
}}

{rules}

obligations := {{
	"lease_seconds": data.settings.lease_seconds,
	"renew_after": data.settings.renew_after,
	"reattest_after": data.settings.reattest_after,
	"handling": data.settings.handling,
	"plaintext_to_disk": false,
}}
"#
    );
    let data = json!({ "settings": all }).to_string();
    BTreeMap::from([("release.rego".to_owned(), rego), ("data.json".to_owned(), data)])
}

/// Guests of the known measurement.
fn measured() -> String {
    let measurement = MEASUREMENT.repeat(48);
    format!(
        r#"deny contains {{"code": "measurement", "message": "Another guest.", "claim": "snp.measurement"}} if {{
	not input.claims.snp.measurement == "{measurement}"
}}"#
    )
}

/// No rule but those of the vault itself.
const ANY: &str = r#"deny contains {"code": "never", "message": "Never."} if { false }"#;

/// A vault that trusts the makers, with a site, an asset and this policy.
async fn bench(rules: &str, settings: Value) -> Bench {
    let mut config = Config::default();
    config.limits.requests_per_second = 100_000;
    config.limits.burst = 100_000;
    bench_with(config, rules, settings).await
}

async fn bench_with(config: Config, rules: &str, settings: Value) -> Bench {
    let bench = Bench::trusting(config, makers().pins()).await;
    makers().publish(&bench).await;
    let site = json!({ "name": "fra-1", "jurisdiction": "DE" });
    bench.post(Role::Operator, "/v1/sites", site).await.ok();
    bench.refer("fleet", json!({ "values": { "bank": "sha256", "pcrs": { "0": Bytes(vec![0; 32]) } } })).await;
    bench.asset("model").await;
    bench.enforce(policy(rules, &settings)).await;
    bench
}

/// A node that an operator registered by these identities.
async fn registered(bench: &Bench, identities: &[String]) -> NodeId {
    let listed: Vec<Value> = identities.iter().map(|one| identity(one)).collect();
    let body = json!({ "identities": listed, "site": "fra-1", "labels": {}, "single_job": true });
    let recorded = bench.post(Role::Operator, "/v1/nodes/import", body).await.ok();
    serde_json::from_value(recorded["node"].clone()).unwrap()
}

fn identity(text: &str) -> Value {
    let (kind, value) = text.split_once(':').unwrap();
    json!({ "kind": kind, "value": value })
}

/// The machine of processor 1 with GPUs 1 and 2, registered.
async fn machine(bench: &Bench) -> (Machine, NodeId) {
    let machine = Machine::new(1, &[1, 2]);
    let node = registered(bench, &[vec![machine.chip()], machine.gpu_ids()].concat()).await;
    (machine, node)
}

/// Sends a statement with what `collect` gives.
async fn send(bench: &Bench, statement: &Statement, collect: impl FnOnce(Bound<'_>) -> Vec<Evidence>) -> Reply {
    bench.public(Method::POST, "/v1/releases", &request(statement, collect)).await
}

/// A statement without a caller.
async fn ask(bench: &Bench, recipient: &RecipientKey) -> Statement {
    Statement { caller: None, ..bench.ask(recipient).await }
}

/// Asks and opens.
async fn open(bench: &Bench, machine: &Machine) -> (ReleasePayload, Statement, RecipientKey) {
    let recipient = RecipientKey::generate().unwrap();
    let statement = ask(bench, &recipient).await;
    let reply = send(bench, &statement, |bound| machine.evidence(bound)).await.ok();
    let (payload, _) = bench.believe(&statement, &reply, &recipient);
    (payload, statement, recipient)
}

/// Refused with this code and row.
#[track_caller]
fn refused(reply: &Reply) -> (u16, String, String) {
    let (status, code) = reply.problem();
    (status, code, reply.json()["row"].as_str().unwrap_or_default().to_owned())
}

fn told(status: u16, code: &str, row: &str) -> (u16, String, String) {
    (status, code.to_owned(), row.to_owned())
}

/// Refuses what `collect` gives, and nothing is stored.
async fn unstored(bench: &Bench, told: (u16, String, String), collect: impl FnOnce(Bound<'_>) -> Vec<Evidence>) {
    let statement = ask(bench, &RecipientKey::generate().unwrap()).await;
    let before = bench.ledger_size().await;
    let reply = send(bench, &statement, collect).await;
    assert_eq!(refused(&reply), told);
    assert_eq!(bench.ledger_size().await, before, "nothing is stored");
    assert!(reply.json()["decision_id"].is_null());
    // Nor is the nonce burnt: the same statement may be sent with other evidence.
    assert_ne!(refused(&send(bench, &statement, |_| Vec::new()).await).1, "nonce_reused");
}

/// Denies what `collect` gives, by a decision.
async fn denied(bench: &Bench, row: &str, collect: impl FnOnce(Bound<'_>) -> Vec<Evidence>) -> Value {
    let statement = ask(bench, &RecipientKey::generate().unwrap()).await;
    let before = bench.ledger_size().await;
    let reply = send(bench, &statement, collect).await;
    assert_eq!(refused(&reply), told(403, "denied", row));
    assert_eq!(bench.ledger_size().await, before + 1);
    let problem = reply.json();
    let record = bench.last_record().await;
    assert_eq!(problem["decision_id"], record.id.to_string());
    assert_eq!(problem["reasons"], json!(record.reasons));
    problem
}

/// The claims blob of the last decision.
async fn explained(bench: &Bench) -> Value {
    let record = bench.last_record().await;
    let claims = bench.vault.store.blob(record.claims_sha256.unwrap()).await.unwrap().unwrap();
    serde_json::from_slice(&claims).unwrap()
}

#[tokio::test]
async fn a_guest_with_its_gpus_is_activated_and_gets_keys() {
    let bench = bench(&measured(), json!({})).await;
    let (machine, node) = machine(&bench).await;
    let row = async || bench.vault.store.node(node).await.unwrap().unwrap().row;
    assert_eq!((row().await.activated_at, row().await.state), (None, NodeState::Pending));

    let (payload, ..) = open(&bench, &machine).await;
    assert_eq!(payload.keys.len(), 1);
    let record = bench.last_record().await;
    assert_eq!((record.action, &record.details["activated"]), (Action::ReleaseDecided, &json!(true)));
    let activated = row().await;
    assert_eq!(activated.state, NodeState::Approved);
    assert!(activated.activated_at.is_some());
    assert_eq!(activated.last_pcrs.clone().unwrap().snp.measurements.len(), 1, "to be proposed as a set");

    // What policy read, and what is kept.
    let explained = explained(&bench).await;
    let input = &explained["input"];
    assert_eq!(input["node"]["state"], "approved");
    assert_eq!(input["node"]["identities"].as_array().unwrap().len(), 3);
    assert_eq!(input["claims"]["tpm"], Value::Null);
    assert_eq!(input["claims"]["snp"]["measurement"], MEASUREMENT.repeat(48));
    let devices: Vec<_> = input["claims"]["gpus"].as_array().unwrap().iter().map(|gpu| gpu["device"].clone()).collect();
    assert_eq!(devices, ["47500001", "47500002"], "ascending");
    assert_eq!(explained["claims"]["snp"]["report_id"], input["claims"]["snp"]["report_id"]);
    let kept = bench.vault.store.blob(record.evidence_sha256.unwrap()).await.unwrap().unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    let kinds: Vec<_> = kept.as_array().unwrap().iter().map(|item| item["type"].clone()).collect();
    assert_eq!(kinds, ["sev-snp", "nvidia-gpu", "nvidia-gpu"]);
    let report = kept[1]["report_sha256"].as_str().unwrap().parse().unwrap();
    assert!(bench.vault.store.blob(report).await.unwrap().is_some(), "a GPU's report is kept by its digest");

    // Once.
    open(&bench, &machine).await;
    assert_eq!(bench.last_record().await.details.get("activated"), None);
    assert_eq!(row().await, activated);
}

#[tokio::test]
async fn what_policy_does_not_accept_is_denied_and_activates_all_the_same() {
    let bench = bench(&measured(), json!({})).await;
    let (mut machine, node) = machine(&bench).await;
    machine.snp.report.measurement = [5; 48];
    let problem = denied(&bench, "", |bound| machine.evidence(bound)).await;
    assert_eq!(problem["reasons"], json!(["measurement"]));
    assert_eq!(bench.last_record().await.details["activated"], true);
    assert_eq!(bench.vault.store.node(node).await.unwrap().unwrap().row.state, NodeState::Approved);
}

#[tokio::test]
async fn e7_items_of_two_machines_are_denied_by_the_record_of_the_first() {
    let bench = bench(ANY, json!({})).await;
    let (machine, node) = machine(&bench).await;
    let other = Machine::new(2, &[3, 4]);
    registered(&bench, &[vec![other.chip()], other.gpu_ids()].concat()).await;
    denied(&bench, "E7", |bound| [vec![machine.report(bound)], other.gpu_reports(bound)].concat()).await;
    let record = bench.last_record().await;
    assert_eq!(
        (record.node, record.reasons),
        (Some(node), vec!["evidence_e7".to_owned(), "node_not_approved".to_owned()])
    );
    let why = explained(&bench).await["denials"].to_string();
    assert!(why.contains(&other.gpu_ids()[0]), "authorised people are told which: {why}");
    assert_eq!(record.details.get("activated"), None);
    assert_eq!(bench.vault.store.node(node).await.unwrap().unwrap().row.state, NodeState::Pending);

    let one = |bound: Bound<'_>| vec![machine.report(bound), machine.gpu_reports(bound).remove(0)];
    denied(&bench, "E7", one).await;
    denied(&bench, "E7", |bound| vec![machine.report(bound)]).await;
    // Another node's TPM beside the guest: the AK says whose request it is.
    let tpm = Tpm::new();
    let enrolled = bench.approved(&tpm, "fra-1").await;
    denied(&bench, "E7", |bound| [vec![Evidence::Tpm2(tpm.quote(bound.tpm()))], machine.evidence(bound)].concat())
        .await;
    assert_eq!(bench.last_record().await.node, Some(enrolled));
    open(&bench, &machine).await;
}

#[tokio::test]
async fn evidence_of_nobody_leaves_nothing_behind() {
    let bench = bench(ANY, json!({})).await;
    let (machine, _) = machine(&bench).await;
    let e7 = || told(401, "evidence_refused", "E7");
    unstored(&bench, e7(), |bound| machine.gpu_reports(bound)).await;
    unstored(&bench, e7(), |bound| [machine.evidence(bound), vec![machine.report(bound)]].concat()).await;
    let twice = |bound: Bound<'_>| {
        let mut items = machine.evidence(bound);
        items.push(items[1].clone());
        items
    };
    unstored(&bench, e7(), twice).await;
    let mut masked = machine.clone();
    masked.snp.report.chip_id = [0; 64];
    unstored(&bench, e7(), |bound| masked.evidence(bound)).await;
    let stranger = Machine::new(9, &[]);
    unstored(&bench, told(401, "not_enrolled", ""), |bound| stranger.evidence(bound)).await;
    open(&bench, &machine).await;
}

#[tokio::test]
async fn unsigned_reports_of_a_known_processor_store_nothing_and_spend_nothing_of_its_rate() {
    let mut config = Config::default();
    (config.limits.requests_per_second, config.limits.burst) = (1, 5);
    let bench = bench_with(config, ANY, json!({})).await;
    let (machine, _) = machine(&bench).await;
    let mut forged = machine.clone();
    forged.snp.report.set_after = vec![(0x50, 0xff)];
    for _ in 0..10 {
        unstored(&bench, told(401, "evidence_refused", "S11"), |bound| forged.evidence(bound)).await;
    }
    // Whoever knows its processor spends the rate of an address; the node's own is whole.
    open(&bench, &machine).await;
}

#[tokio::test]
async fn s9_g1_what_was_made_for_another_request_is_refused() {
    let bench = bench(ANY, json!({})).await;
    let (machine, _) = machine(&bench).await;
    open(&bench, &machine).await;
    let elsewhere = |bound: Bound<'_>| machine.evidence(Bound { statement: b"another statement", ..bound });
    unstored(&bench, told(401, "evidence_refused", "S9"), elsewhere).await;
    // The agent's tag where nobody is named, and the other way round.
    let agents = |bound: Bound<'_>| machine.evidence(Bound { caller: Some(b"caller"), ..bound });
    unstored(&bench, told(401, "evidence_refused", "S9"), agents).await;
    let recipient = RecipientKey::generate().unwrap();
    let statement = bench.ask(&recipient).await;
    let own = send(&bench, &statement, |bound| machine.evidence(Bound { caller: None, ..bound })).await;
    assert_eq!(refused(&own), told(401, "evidence_refused", "S9"));
    send(&bench, &statement, |bound| machine.evidence(bound)).await.ok();
    // A GPU's report of another request beside the guest's own: the node did send it.
    let stale = |bound: Bound<'_>| {
        let of_another = Bound { statement: b"another statement", ..bound };
        [vec![machine.report(bound)], machine.gpu_reports(of_another)].concat()
    };
    let problem = denied(&bench, "G1", stale).await;
    assert_eq!(problem["reasons"], json!(["evidence_g1"]));
}

#[tokio::test]
async fn s7_what_a_policy_requires_of_a_report_is_denied_and_activates_nothing() {
    let bench = bench(ANY, json!({ "snp": { "smt_off": true } })).await;
    let (mut machine, node) = machine(&bench).await;
    denied(&bench, "S7", |bound| machine.evidence(bound)).await;
    assert_eq!(bench.vault.store.node(node).await.unwrap().unwrap().row.state, NodeState::Pending);
    machine.snp.report.platform &= !1;
    open(&bench, &machine).await;
    assert_eq!(bench.vault.store.node(node).await.unwrap().unwrap().row.state, NodeState::Approved);
}

#[tokio::test]
async fn s4_a_list_that_is_imported_counts_from_then_on_whatever_was_verified_before() {
    let bench = bench(ANY, json!({})).await;
    let (machine, _) = machine(&bench).await;
    open(&bench, &machine).await;
    import(&bench, makers().revoked(), None).await;
    unstored(&bench, told(401, "evidence_refused", "S4"), |bound| machine.evidence(bound)).await;
}

#[tokio::test]
async fn s4_a_list_that_is_written_after_the_verification_and_before_the_commit_counts() {
    let bench = bench(ANY, json!({})).await;
    let (machine, _) = machine(&bench).await;
    open(&bench, &machine).await;
    bench.ahead.hold_import();
    let body = json!({ "bytes": Bytes(makers().revoked()) });
    let kept = bench.post(Role::Endorser, "/v1/endorsements", body).await;
    assert_eq!(kept.problem().0, 503);
    let statement = ask(&bench, &RecipientKey::generate().unwrap()).await;
    let before = bench.ledger_size().await;
    let reply = send(&bench, &statement, |bound| machine.evidence(bound)).await;
    assert!(bench.ahead.is_done(), "it was verified by the list of before, and its release was to be written");
    assert_eq!(refused(&reply), told(401, "evidence_refused", "S4"));
    assert_eq!(bench.ledger_size().await, before + 1, "the import alone");
}

#[tokio::test]
async fn a_revoked_node_gets_nothing_by_any_of_its_identities() {
    let bench = bench(ANY, json!({})).await;
    let (machine, node) = machine(&bench).await;
    open(&bench, &machine).await;
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/revoke"), json!({ "reason": "sold" })).await.ok();
    let problem = denied(&bench, "", |bound| machine.evidence(bound)).await;
    assert_eq!(problem["reasons"], json!(["node_revoked", "not_allowed"]), "whatever policy says");
}

#[tokio::test]
async fn a_tpm_beside_a_guest_is_the_hosts_and_policy_reads_nothing_of_it() {
    let bench = bench(ANY, json!({})).await;
    let machine = Machine::new(1, &[]);
    let tpm = Tpm::new();
    let node = bench.approved(&tpm, "fra-1").await;
    let add = json!({ "add": [identity(&machine.chip())] });
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/identities"), add).await.ok();
    let both = |bound: Bound<'_>| {
        let mut quote = tpm.quote(bound.tpm());
        quote.boot_log = None;
        vec![machine.report(bound), Evidence::Tpm2(quote)]
    };
    let recipient = RecipientKey::generate().unwrap();
    let statement = ask(&bench, &recipient).await;
    let reply = send(&bench, &statement, both).await.ok();
    bench.believe(&statement, &reply, &recipient);
    let explained = explained(&bench).await;
    assert_eq!((&explained["claims"]["tpm"], &explained["input"]["claims"]["tpm"]), (&Value::Null, &Value::Null));
    assert!(explained["input"]["claims"]["snp"].is_object());
    let lease = bench.vault.store.leases_of_node(node).await.unwrap().remove(0);
    assert_eq!((lease.ak_sha256, lease.boot), (Some(tpm.ak_sha256()), Some((1, 0))), "both have signed for the lease");
    assert!(lease.guest.is_some());
    // Alone it speaks for its machine, and owes the log.
    let alone = |bound: Bound<'_>| vec![both(bound).remove(1)];
    assert_eq!(denied(&bench, "", alone).await["reasons"], json!(["boot_log_missing"]));
}

#[tokio::test]
async fn every_field_has_its_cap() {
    let bench = bench(ANY, json!({})).await;
    let machine = Machine::new(1, &[1]);
    let tdx = |quote: usize, ccel: usize| {
        Evidence::Tdx(strongroom_protocol::evidence::TdxEvidence {
            quote: Bytes(vec![0; quote]),
            ccel: Some(Bytes(vec![0; ccel])),
        })
    };
    let too_large = |change: fn(&mut Vec<Evidence>)| {
        move |bound: Bound<'_>| {
            let mut items = machine.clone().evidence(bound);
            change(&mut items);
            items
        }
    };
    for (field, items) in [
        ("evidence.quote", vec![tdx((32 << 10) + 1, 0)]),
        ("evidence.ccel", vec![tdx(8, (1 << 20) + 1)]),
        ("evidence", vec![tdx(8, 8); 33]),
    ] {
        let statement = ask(&bench, &RecipientKey::generate().unwrap()).await;
        let reply = send(&bench, &statement, |_| items).await;
        assert_eq!(reply.problem(), (413, "too_large".to_owned()), "{field}");
        assert_eq!(reply.json()["field"], field);
    }
    for change in [
        |items: &mut Vec<Evidence>| {
            if let Evidence::SevSnp(item) = &mut items[0] {
                item.report.0.push(0);
            }
        },
        |items: &mut Vec<Evidence>| {
            if let Evidence::SevSnp(item) = &mut items[0] {
                item.aux = Some(Bytes(vec![0; (64 << 10) + 1]));
            }
        },
        |items: &mut Vec<Evidence>| {
            if let Evidence::SevSnp(item) = &mut items[0] {
                item.certificates = vec![Bytes(vec![0]); 9];
            }
        },
        |items: &mut Vec<Evidence>| {
            if let Evidence::NvidiaGpu(item) = &mut items[1] {
                item.report = Bytes(vec![0; (64 << 10) + 1]);
            }
        },
        |items: &mut Vec<Evidence>| {
            if let Evidence::NvidiaGpu(item) = &mut items[1] {
                item.certificates[0] = Bytes(vec![0; (16 << 10) + 1]);
            }
        },
    ] {
        let statement = ask(&bench, &RecipientKey::generate().unwrap()).await;
        let reply = send(&bench, &statement, too_large.clone()(change)).await;
        assert_eq!(reply.problem(), (413, "too_large".to_owned()));
    }
}

/// A statement that renews a lease, as the first of it asked.
async fn renewal(bench: &Bench, first: &Statement, lease: strongroom_protocol::LeaseId) -> Statement {
    let fresh = bench.ask(&RecipientKey::generate().unwrap()).await;
    Statement {
        act: Act::Renew,
        lease: Some(lease),
        nonce: fresh.nonce,
        client_random: fresh.client_random,
        ..first.clone()
    }
}
