//! The public log: checkpoint and tiles (C2SP tlog-tiles). They leak nothing: entries are hashes.

use crate::{
    json::Path,
    problem::{Answer, Refused},
    vault::Shared,
};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use strongroom_ledger::TilePath;

/// `GET /v1/ledger/checkpoint`.
pub async fn checkpoint(State(vault): State<Shared>) -> Answer<Response> {
    let head = vault.store.head().await?.ok_or_else(|| Refused::not_found("checkpoint yet"))?;
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, head.checkpoint).into_response())
}

/// `GET /v1/ledger/tile/{path}`.
pub async fn tile(State(vault): State<Shared>, Path(path): Path<String>) -> Answer<Response> {
    let path: TilePath =
        format!("tile/{path}").parse().map_err(|_| Refused::malformed("path", "a path of C2SP tlog-tiles"))?;
    let tile = vault.store.tile(&path.to_string()).await?.ok_or_else(|| Refused::not_found("tile"))?;
    // A tile of a given width never changes.
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, tile).into_response())
}
