//! Request ids, spans, metrics. Bodies, tokens and header values never reach a log.

use crate::{
    problem::{PROBLEM_JSON, Told},
    vault,
};
use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use tokio::time::Instant;
use tracing::Instrument;

/// Header of an answer that names the request in the vault's log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outermost layer: gives each request an id, and tells it in the answer and in the log.
pub async fn observe(request: Request, next: Next) -> Response {
    let id = hex::encode(vault::random::<8>().unwrap_or_default());
    let route = request.extensions().get::<MatchedPath>().map_or("none".to_owned(), |p| p.as_str().to_owned());
    let method = request.method().clone();
    let span = tracing::info_span!("request", %id, %method, %route);
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    metrics::histogram!("strongroom_request_seconds", "route" => route, "method" => method_label(&method))
        .record(started.elapsed().as_secs_f64());
    if let Some(Told(mut problem)) = response.extensions_mut().remove::<Told>() {
        let _in = span.enter();
        tracing::info!(status, code = problem.code.as_str(), field = problem.field, row = problem.row, "refused");
        problem.request_id = Some(id.clone());
        // INVARIANT: a problem document is plain data, which always serialises.
        *response.body_mut() = Body::from(serde_json::to_vec(&problem).unwrap_or_default());
        response.headers_mut().remove(header::CONTENT_LENGTH);
        debug_assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
    } else {
        let _in = span.enter();
        tracing::debug!(status, "answered");
    }
    // INVARIANT: hexadecimal is a header value.
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// A closed set of labels, whatever method a request invents.
fn method_label(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
