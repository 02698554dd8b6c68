//! The logs beside a quote: what they show is judged, and what is missing or wrong is refused by its row.

use crate::{
    bench::{Bench, Reply, baseline, request},
    boot::{Boot, Ima},
    tpm::Tpm,
};
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use strongroom_envelope::RecipientKey;
use strongroom_protocol::{
    Bytes, Fixed,
    binding::{TAG_TPM_AGENT, tpm_extra_data},
    evidence::{Evidence, Tpm2Evidence},
    release::ReleaseRequest,
    sha256,
    statement::CallerRef,
};

/// The baseline, its settings changed, and PCR 10 selected where `ima`.
fn policy(ima: bool, logs: Value) -> BTreeMap<String, String> {
    let mut files = baseline();
    let mut data: Value = serde_json::from_str(&files["data.json"]).unwrap();
    data["settings"]["logs"] = logs;
    if ima {
        data["settings"]["pcr_selection"]["pcrs"] = json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    }
    files.insert("data.json".to_owned(), data.to_string());
    files
}

/// A vault whose policy reads PCR 10, and a node that has measured `/sbin/init`.
async fn measuring(logs: Value) -> (Bench, Tpm) {
    let bench = Bench::new().await;
    let (mut tpm, _) = bench.ready().await;
    bench.enforce(policy(true, logs)).await;
    let mut ima = Ima::of(&tpm.boot);
    ima.run("/sbin/init");
    tpm.ima = Some(ima);
    (bench, tpm)
}

/// Asks without a caller, the evidence changed.
async fn ask(bench: &Bench, tpm: &Tpm, change: impl FnOnce(&mut Tpm2Evidence)) -> Reply {
    let mut statement = bench.ask(&RecipientKey::generate().unwrap()).await;
    statement.caller = None;
    let mut body = request(tpm, &statement);
    let item = body.evidence[0].as_tpm2_mut().unwrap();
    change(item);
    bench.public(Method::POST, "/v1/releases", &body).await
}

/// The reasons of a denial, its row, and what is kept of the decision.
async fn denied(bench: &Bench, reply: Reply) -> (Vec<String>, Value, Value) {
    assert_eq!(reply.problem(), (403, "denied".to_owned()));
    let problem = reply.json();
    let reasons = serde_json::from_value(problem["reasons"].clone()).unwrap();
    (reasons, problem["row"].clone(), kept(bench).await)
}

/// What is kept of the last decision: its input, its claims, its denials.
async fn kept(bench: &Bench) -> Value {
    let claims = bench.last_record().await.claims_sha256.unwrap();
    serde_json::from_slice(&bench.vault.store.blob(claims).await.unwrap().unwrap()).unwrap()
}

async fn reasons(bench: &Bench, reply: Reply) -> Vec<String> {
    denied(bench, reply).await.0
}

#[tokio::test]
async fn what_a_boot_log_shows_is_a_claim_that_policy_reads() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    ask(&bench, &tpm, |_| {}).await.ok();
    let view = kept(&bench).await;
    for claims in [&view["claims"], &view["input"]["claims"]] {
        assert_eq!(claims["boot"]["loader"]["texts"], json!(["/vmlinuz ro quiet"]), "{claims}");
        assert_eq!(claims["boot"]["secure_boot"]["enabled"], false);
        assert_eq!(claims["boot"]["explained"], json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14]));
        assert_eq!(claims["ima"], Value::Null);
        assert_eq!(claims["workload"]["caller_measured"], Value::Null);
        assert!(claims["tpm"]["pcrs"]["0"].is_string());
    }

    let mut files = baseline();
    let rule = "\ndeny contains {\"code\": \"quiet\", \"message\": \"Quiet.\", \"claim\": \"boot.loader.texts\"} if {\n\tsome text in input.claims.boot.loader.texts\n\tcontains(text, \"quiet\")\n}\n";
    files.get_mut("release.rego").unwrap().push_str(rule);
    bench.enforce(files).await;
    assert_eq!(reasons(&bench, ask(&bench, &tpm, |_| {}).await).await, ["quiet"]);
}

#[tokio::test]
async fn a_log_that_was_changed_is_a_denial_by_its_row_and_policy_is_asked_all_the_same() {
    let bench = Bench::new().await;
    let (mut tpm, _) = bench.ready().await;
    // Each byte may stand for another row; these are known ones.
    let log = tpm.boot.log();
    let place = |text: &str| log.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    let (version, spec) = (place("firmware 1"), place("Spec ID"));
    for (at, code, row) in [(version, "evidence_l3", "L3"), (spec, "evidence_l1", "L1")] {
        let reply = ask(&bench, &tpm, |item| item.boot_log.as_mut().unwrap().0[at] ^= 1).await;
        let (reasons, refused, view) = denied(&bench, reply).await;
        assert_eq!((reasons, refused), (vec![code.to_owned()], json!(row)));
        assert_eq!((&view["claims"]["boot"], &view["input"]["claims"]["boot"]), (&Value::Null, &Value::Null));
        assert!(view["denials"][0]["message"].as_str().unwrap().starts_with(row), "{view}");
    }
    // The log of another boot than the one that was quoted.
    let other = Boot { command_line: "/vmlinuz init=/bin/sh", ..Boot::default() };
    let reply = ask(&bench, &tpm, |item| item.boot_log = Some(Bytes(other.log()))).await;
    assert_eq!(reasons(&bench, reply).await, ["evidence_l7"]);
    // One denial names all that is wrong.
    tpm.boot.kernel = b"another kernel";
    let reply = ask(&bench, &tpm, |item| item.boot_log = Some(Bytes(other.log()))).await;
    assert_eq!(reasons(&bench, reply).await, ["evidence_l7", "reference_mismatch"]);
}

#[tokio::test]
async fn a_quote_without_its_boot_log_gets_nothing_unless_policy_says_so() {
    let bench = Bench::new().await;
    let (tpm, _) = bench.ready().await;
    let without = |item: &mut Tpm2Evidence| item.boot_log = None;
    assert_eq!(reasons(&bench, ask(&bench, &tpm, without).await).await, ["boot_log_missing"]);
    bench.enforce(policy(false, json!({ "boot": "optional" }))).await;
    ask(&bench, &tpm, without).await.ok();
    // What is there has to be right.
    let reply = ask(&bench, &tpm, |item| item.boot_log = Some(Bytes(b"no log".to_vec()))).await;
    assert_eq!(reasons(&bench, reply).await, ["evidence_l1"]);
}

#[tokio::test]
async fn an_ima_log_counts_where_pcr_10_is_quoted_and_has_to_come_with_it() {
    let (bench, tpm) = measuring(json!({})).await;
    ask(&bench, &tpm, |_| {}).await.ok();
    let view = kept(&bench).await;
    let ima = json!({
        "entries": 2, "violations": 0, "boot_aggregate_checked": true, "files": 1,
        "listed": { "fleet": { "unlisted": 0, "forbidden": 0, "missing": [], "examples": [] } },
    });
    assert_eq!((&view["claims"]["ima"], &view["input"]["claims"]["ima"]), (&ima, &ima));

    assert_eq!(reasons(&bench, ask(&bench, &tpm, |item| item.ima_log = None).await).await, ["ima_log_missing"]);
    let cut = |item: &mut Tpm2Evidence| {
        let first = Ima::of(&tpm.boot).log();
        item.ima_log = Some(Bytes(first));
    };
    let (reasons_, row, _) = denied(&bench, ask(&bench, &tpm, cut).await).await;
    assert_eq!((reasons_, row), (vec!["evidence_l8".to_owned()], json!("L8")));
    bench.enforce(policy(true, json!({ "ima": "optional" }))).await;
    ask(&bench, &tpm, |item| item.ima_log = None).await.ok();
    assert_eq!(reasons(&bench, ask(&bench, &tpm, cut).await).await, ["evidence_l8"]);

    // Where PCR 10 is not quoted, no word of such a log is believed or read.
    bench.enforce(policy(false, json!({}))).await;
    let tpm = Tpm { ima: None, ..tpm };
    ask(&bench, &tpm, |item| item.ima_log = Some(Bytes(b"no log".to_vec()))).await.ok();
    assert_eq!(kept(&bench).await["claims"]["ima"], Value::Null);
}

#[tokio::test]
async fn violations_are_refused_unless_policy_allows_them() {
    let (bench, mut tpm) = measuring(json!({})).await;
    tpm.ima.as_mut().unwrap().violate("/var/log/messages");
    assert_eq!(reasons(&bench, ask(&bench, &tpm, |_| {}).await).await, ["evidence_l8"]);
    bench.enforce(policy(true, json!({ "violations": "allowed" }))).await;
    ask(&bench, &tpm, |_| {}).await.ok();
    assert_eq!(kept(&bench).await["claims"]["ima"]["violations"], 1);
}

#[tokio::test]
async fn a_container_that_was_measured_is_a_claim() {
    let bench = Bench::new().await;
    let (mut tpm, _) = bench.ready().await;
    tpm.boot.container = Some("container sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    assert_eq!(reasons(&bench, ask(&bench, &tpm, |_| {}).await).await, ["reference_mismatch"]);
    let named = &tpm.boot.container.unwrap()["container ".len()..];
    let view = kept(&bench).await;
    assert_eq!(view["claims"]["workload"]["containers"], json!([named]));
    assert_eq!(view["input"]["claims"]["workload"], view["claims"]["workload"]);
}

#[tokio::test]
async fn a_caller_whose_program_ima_did_not_measure_gets_nothing() {
    let (bench, mut tpm) = measuring(json!({})).await;
    tpm.ima.as_mut().unwrap().run("/usr/bin/job");
    let ask = async |program: &str| {
        let caller = json!({ "exe": { "path": program, "sha256": hex::encode(sha256(program.as_bytes())) } });
        let caller = caller.to_string().into_bytes();
        let mut statement = bench.ask(&RecipientKey::generate().unwrap()).await;
        statement.caller = Some(CallerRef { sha256: Fixed(sha256(&caller)) });
        let bytes = serde_json::to_vec(&statement).unwrap();
        let quote = tpm.quote(tpm_extra_data(TAG_TPM_AGENT, &bytes, Some(&caller)));
        let (evidence, caller) = (vec![Evidence::Tpm2(quote)], Some(Bytes(caller)));
        let body = ReleaseRequest { statement: Bytes(bytes), caller, job_token: None, evidence };
        bench.public(Method::POST, "/v1/releases", &body).await
    };
    ask("/usr/bin/job").await.ok();
    let (reasons, _, view) = denied(&bench, ask("/dev/shm/job").await).await;
    assert_eq!(reasons, ["caller_not_measured"]);
    assert_eq!(view["claims"]["workload"]["caller_measured"], false);
}
