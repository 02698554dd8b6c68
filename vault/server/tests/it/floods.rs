//! What one node can do to the vault: how much is kept of what it sends, and many requests at one time.

use crate::{
    bench::request,
    boot::{Ima, digest_of},
    measured::{Measuring, whole},
    tpm::Tpm,
};
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use strongroom_protocol::{Bytes, Fixed, admin::Role, sha256};
use tokio::task::JoinSet;

/// What is kept of the last decision's evidence.
async fn evidence(node: &Measuring) -> Value {
    let kept = node.bench.last_record().await.evidence_sha256.unwrap();
    let items: Value = serde_json::from_slice(&node.bench.vault.store.blob(kept).await.unwrap().unwrap()).unwrap();
    items[0].clone()
}

async fn is_kept(node: &Measuring, log: &[u8]) -> bool {
    node.bench.vault.store.blob(Fixed(sha256(log))).await.unwrap().is_some()
}

fn named(log: &[u8]) -> Value {
    json!(Fixed(sha256(log)))
}

#[tokio::test]
async fn of_an_ima_log_only_what_the_quote_covers_is_kept() {
    let node = Measuring::new().await;
    let covered = node.log();
    let sent = [covered.clone(), Ima::of(&node.tpm.boot).log()].concat();
    let longer = sent.clone();
    let first = node.granted(None, |item| item.ima_log = Some(Bytes(longer))).await;
    assert_eq!(first.ima_offset, Some(covered.len() as u64));
    assert!(is_kept(&node, &covered).await && !is_kept(&node, &sent).await);
    let item = evidence(&node).await;
    assert_eq!((&item["ima_log_sha256"], &item["ima_log_bytes"]), (&named(&sent), &json!(sent.len())));
    assert_eq!(item["ima_log_kept_sha256"], named(&covered));
    // A renewal's part: nothing new is covered, so nothing of it is kept.
    let (offset, part) = (first.ima_offset, sent[covered.len()..].to_vec());
    let junk = part.clone();
    node.granted(Some(first.lease.id), move |item| (item.ima_log, item.ima_offset) = (Some(Bytes(junk)), offset)).await;
    assert!(!is_kept(&node, &part).await);
    assert_eq!(evidence(&node).await["ima_log_kept_sha256"], named(b""));
    // One that is refused is named and not kept.
    let refused = vec![7; 1000];
    let other = refused.clone();
    assert_eq!(node.reasons(None, move |item| item.ima_log = Some(Bytes(other))).await, json!(["evidence_l8"]));
    let item = evidence(&node).await;
    assert_eq!((&item["ima_log_sha256"], &item["ima_log_kept_sha256"]), (&named(&refused), &Value::Null));
    assert!(!is_kept(&node, &refused).await);
}

#[tokio::test]
async fn a_boot_log_is_kept_of_an_approved_node_and_only_if_it_is_one() {
    let node = Measuring::new().await;
    let other = crate::boot::Boot { command_line: "init=/bin/sh", ..node.tpm.boot.clone() }.log();
    let sent = other.clone();
    assert_eq!(node.reasons(None, move |item| item.boot_log = Some(Bytes(sent))).await, json!(["evidence_l7"]));
    assert!(is_kept(&node, &other).await, "somebody may want to see what was booted");
    let garbage = vec![9; 100_000];
    let sent = garbage.clone();
    assert_eq!(node.reasons(None, move |item| item.boot_log = Some(Bytes(sent))).await, json!(["evidence_l1"]));
    assert!(!is_kept(&node, &garbage).await);
    let item = evidence(&node).await;
    assert_eq!((&item["boot_log_sha256"], &item["boot_log_bytes"]), (&named(&garbage), &json!(garbage.len())));
    node.granted(None, whole).await;
    assert!(is_kept(&node, &node.tpm.boot.log()).await);
}

#[tokio::test]
async fn of_a_node_that_nobody_approved_no_log_is_kept() {
    let mut node = Measuring::new().await;
    node.tpm = Tpm { ima: node.tpm.ima.take(), ..Tpm::new() };
    node.tpm.boot.command_line = "another machine";
    let mut ima = Ima::of(&node.tpm.boot);
    ima.run("/sbin/init");
    node.tpm.ima = Some(ima);
    node.node = node.bench.pending(&node.tpm).await;
    let reasons = node.reasons(None, whole).await;
    assert!(reasons.as_array().unwrap().contains(&json!("node_not_approved")), "{reasons}");
    let (boot, ima) = (node.tpm.boot.log(), node.log());
    assert!(!is_kept(&node, &boot).await && !is_kept(&node, &ima).await);
    assert_eq!(evidence(&node).await["boot_log_sha256"], named(&boot));
    // What it showed can be asked for all the same, without events, and once it is approved with them.
    let path = format!("/v1/nodes/{}/measurements", node.node);
    let values = node.bench.get(Role::Endorser, &path).await.ok();
    assert!(
        values["pcrs"]["0"].is_string() && values.get("events").is_none_or(|events| events == &json!({})),
        "{values}"
    );
    let body = json!({ "site": "fra-1", "labels": {}, "single_job": true });
    node.bench.post(Role::Operator, &format!("/v1/nodes/{}/approve", node.node), body).await.ok();
    node.reasons(None, whole).await;
    assert!(is_kept(&node, &boot).await && is_kept(&node, &ima).await);
}

#[tokio::test]
async fn a_cleared_tpm_is_known_by_its_new_ak() {
    let mut node = Measuring::new().await;
    node.tpm.reset_count = 7;
    node.granted(None, whole).await;
    // TPM2_Clear: the counters begin at zero, and the node enrols with another AK.
    let cleared = node.tpm.with_another_ak();
    node.tpm = Tpm { boot: node.tpm.boot.clone(), ima: node.tpm.ima.clone(), reset_count: 0, ..cleared };
    assert_eq!(node.bench.approved(&node.tpm, "fra-1").await, node.node);
    let told = node.granted(None, whole).await.ima_offset;
    assert_eq!(told, Some(node.log().len() as u64), "kept, and told");
    assert_eq!(node.bench.vault.store.measured(node.node).await.unwrap().unwrap().row.boot, (0, 0));
    // And what was once seen in this boot is not forgotten.
    node.forbid(&["/usr/bin/nc"]).await;
    let before = node.tpm.ima.clone();
    node.run("/usr/bin/nc");
    assert_eq!(node.reasons(None, whole).await, json!(["file_forbidden"]));
    node.tpm.ima = before;
    assert_eq!(node.reasons(None, whole).await, json!(["file_forbidden"]));
}

#[tokio::test]
async fn logs_that_hold_are_kept_as_far_as_there_is_room() {
    let mut config = strongroom_server::config::Config::default();
    config.limits.log_bytes_per_node_per_hour = 200_000;
    let node = Measuring::with(config).await;
    let lease = node.granted(None, whole).await.lease.id;
    let honest = node.tpm.boot.log();
    assert!(is_kept(&node, &honest).await);
    // An event without action may say anything, and no quote covers it.
    let (mut kept, mut padded) = (Vec::new(), Vec::new());
    for n in 0..4_u8 {
        let said = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &0x000b_u16.to_le_bytes()].concat();
        let count = [1_u32.to_le_bytes(), 90_000_u32.to_le_bytes()];
        let log = [&honest[..], &said[..8], &count[0], &said[8..], &[0; 32], &count[1], &vec![n; 90_000]].concat();
        let sent = log.clone();
        node.granted(Some(lease), move |item| item.boot_log = Some(Bytes(sent))).await;
        let item = evidence(&node).await;
        assert_eq!((&item["boot_log_sha256"], &item["boot_log_bytes"]), (&named(&log), &json!(log.len())));
        kept.push(is_kept(&node, &log).await);
        padded.push(log);
    }
    assert_eq!(kept, [true, true, false, false]);
    let last = async || node.bench.vault.store.node(node.node).await.unwrap().unwrap().row.last_boot_log;
    assert_eq!(last().await, None, "nothing is proposed from a log that is not there");
    // What is there already takes no room, whichever was sent last.
    for log in [&honest, &padded[0], &honest] {
        let sent = log.clone();
        node.granted(Some(lease), move |item| item.boot_log = Some(Bytes(sent))).await;
        assert_eq!(last().await, Some(Fixed(sha256(log))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_statement_sent_by_many_keeps_nobody_else_out() {
    let node = Arc::new(Measuring::new().await);
    let lease = node.granted(None, whole).await.lease.id;
    let again = Arc::new(request(&node.tpm, &node.statement(None).await));
    let public = |body: Arc<_>| {
        let node = Arc::clone(&node);
        async move { node.bench.public(Method::POST, "/v1/releases", &*body).await.status.as_u16() }
    };
    assert_eq!(public(Arc::clone(&again)).await, 200);
    let mut others = JoinSet::new();
    for _ in 0..100 {
        others.spawn(public(Arc::clone(&again)));
    }
    for _ in 0..3 {
        let renewal = Arc::new(request(&node.tpm, &node.statement(Some(lease)).await));
        assert_eq!(public(renewal).await, 200);
    }
    let statuses = others.join_all().await;
    assert!(statuses.contains(&200) && statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn events_that_do_not_lead_to_a_sets_values_are_refused() {
    let node = Measuring::new().await;
    node.granted(None, whole).await;
    let values = node.bench.get(Role::Endorser, &format!("/v1/nodes/{}/measurements", node.node)).await.ok();
    let propose = async |values: &Value| {
        node.bench.post(Role::Endorser, "/v1/references", json!({ "name": "other", "values": values })).await
    };
    propose(&values).await.ok();
    let mut lies = values.clone();
    lies["events"][0]["digest"] = json!(Fixed([0; 32]));
    let reply = propose(&lies).await;
    assert_eq!(reply.problem(), (400, "malformed".to_owned()));
    assert_eq!(reply.json()["field"], "values.events");
}

#[tokio::test]
async fn lists_that_would_forbid_nothing_are_refused() {
    let node = Measuring::new().await;
    node.granted(None, whole).await;
    let mut values = node.bench.get(Role::Endorser, &format!("/v1/nodes/{}/measurements", node.node)).await.ok();
    let (whole_digest, sha1) = (digest_of("/usr/bin/nc"), format!("sha1:{}", "0".repeat(40)));
    let cut = &whole_digest[..whole_digest.len() - 1];
    let mut propose = async |forbidden: Value| {
        values["files"] = json!({ "forbidden": forbidden });
        node.bench.post(Role::Endorser, "/v1/references", json!({ "name": "other", "values": values })).await
    };
    propose(json!({ &whole_digest: "nc" })).await.ok();
    for lists in [json!({ cut: "nc" }), json!({ &whole_digest: "nc", sha1: "another" })] {
        let reply = propose(lists).await;
        assert_eq!(reply.problem(), (400, "malformed".to_owned()));
        assert_eq!(reply.json()["field"], "values.files");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_requests_of_one_node_at_once_are_all_answered() {
    let mut node = Measuring::new().await;
    let mut requests = Vec::new();
    for n in 0..40 {
        // Each shows more than the one before, so each has something to add.
        node.run(["/bin/a", "/bin/b", "/bin/c", "/bin/d"][n % 4]);
        requests.push(request(&node.tpm, &node.statement(None).await));
    }
    let node = Arc::new(node);
    let mut replies = JoinSet::new();
    for body in requests {
        let node = Arc::clone(&node);
        replies.spawn(async move { node.bench.public(Method::POST, "/v1/releases", &body).await });
    }
    for reply in replies.join_all().await {
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.bytes));
    }
    let kept = node.bench.vault.store.measured(node.node).await.unwrap().unwrap();
    assert!(
        String::from_utf8(kept.row.state).unwrap().contains("\"entries\":42,"),
        "the longest, whatever their order"
    );
}
