//! The auditor's view: queries, proofs, the public log, the export.

use crate::bench::{Bench, read};
use axum::http::{Method, StatusCode};
use strongroom_envelope::RecipientKey;
use strongroom_ledger::{CheckedRecord, check_release_record};
use strongroom_protocol::{
    admin::Role,
    audit::{AuditPage, ExportLine, ProofView},
};

async fn some_decisions(bench: &Bench) -> CheckedRecord {
    let (tpm, _) = bench.ready().await;
    let recipient = RecipientKey::generate().unwrap();
    let statement = bench.ask(&recipient).await;
    let (_, checked) = bench.open(&tpm, &statement, &recipient).await;
    let mut statement = bench.ask(&recipient).await;
    statement.keys = vec![read("nothing", 1)];
    assert_eq!(bench.release(&tpm, &statement).await.status, StatusCode::FORBIDDEN);
    checked
}

async fn page(bench: &Bench, query: &str) -> AuditPage {
    let page = bench.get(Role::Auditor, &format!("/v1/audit/records{query}")).await.ok();
    serde_json::from_value(page).unwrap()
}

#[tokio::test]
async fn queries_filter_and_page() {
    let bench = Bench::new().await;
    some_decisions(&bench).await;
    let all = page(&bench, "?limit=1000").await;
    assert_eq!(all.entries.len() as u64, bench.ledger_size().await);
    assert_eq!(all.next, None);
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let after_text = after.map_or(String::new(), |a| format!("&after={a}"));
        let part = page(&bench, &format!("?limit=5{after_text}")).await;
        seen.extend(part.entries.iter().map(|e| e.index));
        match part.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, all.entries.iter().map(|e| e.index).collect::<Vec<_>>());
    assert_eq!(page(&bench, "?action=release.decided").await.entries.len(), 2);
    assert_eq!(page(&bench, "?action=release.decided&verdict=denied").await.entries.len(), 1);
    assert_eq!(page(&bench, "?reason=asset_unknown").await.entries.len(), 1);
    assert_eq!(page(&bench, "?actor=person:custodian").await.entries.len(), 1);
    assert_eq!(page(&bench, "?actor=system:test&action=token.*").await.entries.len(), 8);
    assert_eq!(page(&bench, "?to=2000-01-01T00:00:00Z").await.entries.len(), 0);
    for wrong in [
        "?limit=0",
        "?limit=1001",
        "?from=yesterday",
        "?nothing=1",
        "?limit=1&limit=2",
        "?verdict=maybe",
        "?verdict=Denied",
        "?action=nonsense.thing",
        "?action=nonsense.*",
        "?action=*",
        "?action=release",
        "?node=short",
        "?asset=../x",
        "?site=a/b",
        "?actor=olga",
        "?actor=people:olga",
        "?actor=person:",
        "?actor=node:x",
        "?reason=No-Such",
        "?job=",
    ] {
        let reply = bench.get(Role::Auditor, &format!("/v1/audit/records{wrong}")).await;
        assert_eq!(reply.problem(), (400, "malformed".to_owned()), "{wrong}");
    }
    let decisions = bench.get(Role::Operator, "/v1/decisions").await.ok();
    assert_eq!(decisions["entries"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn each_record_has_a_receipt_under_the_newest_checkpoint() {
    let bench = Bench::new().await;
    let checked = some_decisions(&bench).await;
    let path = format!("/v1/audit/records/{}/proof", checked.record.id);
    let proof: ProofView = serde_json::from_value(bench.get(Role::Auditor, &path).await.ok()).unwrap();
    let (record, salt) = (proof.entry.record.unwrap(), proof.entry.salt.unwrap());
    let keys = [bench.vault.ledger_key.clone()];
    let again = check_release_record(&record.0, &salt.0.try_into().unwrap(), &proof.receipt, &keys).unwrap();
    assert_eq!(again.record, checked.record);
    assert_eq!(again.receipt.checkpoint.size, bench.ledger_size().await);
    assert!(again.receipt.checkpoint.size > checked.receipt.checkpoint.size);
    let unknown = "/v1/audit/records/01ARZ3NDEKTSV4RRFFQ69G5FAV";
    assert_eq!(bench.get(Role::Auditor, unknown).await.problem().0, 404);
    assert_eq!(bench.get(Role::Auditor, "/v1/audit/records/x").await.problem().0, 400);
}

#[tokio::test]
async fn the_public_log_is_tiles_and_a_checkpoint() {
    let bench = Bench::new().await;
    some_decisions(&bench).await;
    let public = async |path: &str| bench.call(None, Method::GET, path, None).await;
    let checkpoint = String::from_utf8(public("/v1/ledger/checkpoint").await.bytes).unwrap();
    let size = checkpoint.lines().nth(1).unwrap();
    let tile = public(&format!("/v1/ledger/tile/0/000.p/{size}")).await;
    assert_eq!(tile.bytes.len(), 32 * size.parse::<usize>().unwrap());
    assert_eq!(public("/v1/ledger/tile/0/001").await.problem().0, 404);
    for wrong in ["0/1", "0/..", "9/9/9"] {
        assert_eq!(public(&format!("/v1/ledger/tile/{wrong}")).await.problem().0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn an_export_verifies_without_the_vault_and_not_after_a_change() {
    let bench = Bench::new().await;
    some_decisions(&bench).await;
    let export = bench.get(Role::Auditor, "/v1/audit/export").await;
    assert_eq!(export.status, StatusCode::OK);
    let text = String::from_utf8(export.bytes).unwrap();
    let lines: Vec<ExportLine> =
        text.lines().map(|l| strongroom_ledger::parse_export_line(l.as_bytes()).unwrap()).collect();
    let keys = [bench.vault.ledger_key.clone()];
    strongroom_ledger::verify_export(lines.iter().cloned().map(Ok::<_, String>), &keys, None).unwrap();
    let mut missing = lines.clone();
    missing.remove(3);
    assert!(strongroom_ledger::verify_export(missing.into_iter().map(Ok::<_, String>), &keys, None).is_err());
}
