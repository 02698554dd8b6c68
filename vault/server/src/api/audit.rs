//! The access log: queries, records, proofs, export.

use super::{Act, decisions};
use crate::{
    authority::Holder,
    json::{Json, Path},
    problem::{Answer, Refused},
    receipts,
    vault::{Shared, Vault, subject},
};
use axum::{
    body::{Body, Bytes as BodyBytes},
    extract::{Query, State, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Response},
};
use std::io;
use strongroom_ledger::{Action, ActorKind, SubjectKind, Verdict};
use strongroom_protocol::{
    Bytes, DecisionId, NodeId,
    audit::{AuditPage, AuditQuery, EntryView, ExportLine, ProofView},
    statement::check_asset_name,
};
use strongroom_store::{
    StoreError,
    model::{EntryRow, Head},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Records of a page, unless the query says otherwise, and at the most.
const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;
/// Entries read at once for an export.
const EXPORT_PAGE: u32 = 512;

/// `GET /v1/audit/records`.
pub async fn records(
    State(vault): State<Shared>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Answer<Json<AuditPage>> {
    let Query(query) = query.map_err(|e| Refused::malformed("query", e.body_text()))?;
    page(&vault, query).await.map(Json)
}

/// A page of records, as of the checkpoint that was the newest before they were read.
pub(super) async fn page(vault: &Vault, mut query: AuditQuery) -> Answer<AuditPage> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Refused::malformed("limit", "1 to 1,000"));
    }
    query.limit = Some(limit);
    check_filters(&query)?;
    let (from, to) = decisions::range(&query, vault.clock.now().await?)?;
    let head = head(vault).await?;
    let rows = vault.store.query(&query, from, to).await?;
    let full = u32::try_from(rows.len()).is_ok_and(|n| n >= limit);
    let entries: Vec<_> = rows.into_iter().filter(|row| row.index < head.size).map(view).collect();
    let next = entries.last().map(|e| e.index).filter(|_| full);
    Ok(AuditPage { checkpoint: head.checkpoint, entries, next })
}

/// A filter that can match nothing is a slip, and an empty page would hide it.
fn check_filters(query: &AuditQuery) -> Answer<()> {
    let check = |field: &str, given: &Option<String>, known: fn(&str) -> bool, detail: &str| match given {
        Some(text) if !known(text) => Err(Refused::malformed(field, detail)),
        _ => Ok(()),
    };
    let plain = |text: &str| (1..=255).contains(&text.len()) && !text.contains(char::is_control);
    check("asset", &query.asset, |text| check_asset_name(text).is_ok(), "an asset's name")?;
    check("site", &query.site, |text| check_asset_name(text).is_ok(), "a site's name")?;
    check("node", &query.node, |text| text.parse::<NodeId>().is_ok(), "a node's id: 43 characters of base64url")?;
    check("job", &query.job, plain, "1 to 255 bytes without control characters")?;
    check("actor", &query.actor, is_actor, "kind:id, such as person:alice; kinds are node, person, system")?;
    check("action", &query.action, is_action, "an act, such as release.decided, or all of a kind, such as node.*")?;
    check("verdict", &query.verdict, |text| text.parse::<Verdict>().is_ok(), "released or denied")?;
    check("reason", &query.reason, is_reason, "a reason's code: 1 to 64 of a-z 0-9 _")
}

fn is_actor(text: &str) -> bool {
    text.split_once(':').is_some_and(|(kind, id)| match kind.parse() {
        Ok(ActorKind::Node) => id.parse::<NodeId>().is_ok(),
        Ok(_) => (1..=255).contains(&id.len()) && !id.contains(char::is_control),
        Err(_) => false,
    })
}

fn is_action(text: &str) -> bool {
    match text.strip_suffix(".*") {
        Some(kind) => Action::ALL.iter().any(|action| action.kind() == kind),
        None => text.parse::<Action>().is_ok(),
    }
}

fn is_reason(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// `GET /v1/audit/records/{id}`.
pub async fn record(State(vault): State<Shared>, Path(id): Path<String>) -> Answer<Json<EntryView>> {
    Ok(Json(view(find(&vault, &id).await?)))
}

/// `GET /v1/audit/records/{id}/proof`: a receipt under the newest checkpoint.
pub async fn proof(State(vault): State<Shared>, Path(id): Path<String>) -> Answer<Json<ProofView>> {
    let row = find(&vault, &id).await?;
    let receipt = receipts::receipt(vault.store.as_ref(), row.index).await?;
    Ok(Json(ProofView { entry: view(row), receipt }))
}

/// `GET /v1/audit/export`: the whole log as JSON lines, with the checkpoint whose tree they make.
/// The export is an act of its own, and its record is the last but those written meanwhile.
pub async fn export(State(vault): State<Shared>, holder: Holder) -> Answer<Response> {
    let subject = subject(SubjectKind::Ledger, vault.ledger_key.name());
    Act::by(&vault, &holder, Action::LedgerExported, subject).await?.commit(&vault).await?;
    let head = head(&vault).await?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        if let Err(error) = write(&vault, &head, &sender).await {
            // The client sees a body that breaks off, and has no footer.
            tracing::warn!(%error, "an export broke off");
            let _ = sender.send(Err(error)).await;
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")], body).into_response())
}

async fn write(vault: &Vault, head: &Head, to: &mpsc::Sender<io::Result<BodyBytes>>) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let failed = |e: StoreError| io::Error::other(e);
    let header = ExportLine::Header { v: 1, ledger_verifier_key: vault.ledger_key.to_string(), first: 0 };
    to.send(Ok(line(&header)?.into())).await.map_err(|_| gone())?;
    let mut first = 0;
    while first < head.size {
        let limit = u32::try_from(head.size - first).unwrap_or(EXPORT_PAGE).min(EXPORT_PAGE);
        let rows = vault.store.entries(first, limit).await.map_err(failed)?;
        let Some(last) = rows.last() else { return Err(io::Error::other(format!("entry {first} is missing"))) };
        first = last.index + 1;
        let mut chunk = Vec::new();
        for row in rows {
            chunk.extend(line(&ExportLine::Entry(view(row)))?);
        }
        to.send(Ok(chunk.into())).await.map_err(|_| gone())?;
    }
    let footer = ExportLine::Footer { checkpoint: head.checkpoint.clone() };
    to.send(Ok(line(&footer)?.into())).await.map_err(|_| gone())
}

fn line(line: &ExportLine) -> io::Result<Vec<u8>> {
    let mut out = serde_json::to_vec(line)?;
    out.push(b'\n');
    Ok(out)
}

async fn head(vault: &Vault) -> Answer<Head> {
    vault.store.head().await?.ok_or_else(|| Refused::internal("a vault without a ledger"))
}

async fn find(vault: &Vault, id: &str) -> Answer<EntryRow> {
    let id: DecisionId = id.parse().map_err(|_| Refused::malformed("record", "not a record's id"))?;
    vault.store.entry_by_id(id).await?.ok_or_else(|| Refused::not_found("record"))
}

fn view(row: EntryRow) -> EntryView {
    let (record, salt) = row.body.map(|(record, salt)| (Bytes(record), Bytes(salt.to_vec()))).unzip();
    EntryView { index: row.index, record, salt, entry: Bytes(row.entry.to_vec()) }
}
