//! Bodies and status codes that several pages share, and the page of the metrics.
//!
//! Every error is JSON: `{"error": "…"}`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};

use crate::metrics;
use crate::overview::AdminWorld;

/// What can be asked for.
const PAGES: [&str; 10] = [
    "/livez",
    "/readyz",
    "/readyz/primary",
    "/readyz/reads",
    "/metrics",
    "/api/v1/status",
    "/api/v1/cluster",
    "/api/v1/pools",
    "/api/v1/stats",
    "/api/v1/events",
];

/// `/metrics`.
pub(super) async fn metrics(State(world): State<Arc<AdminWorld>>) -> Response {
    let text = metrics::render(&world.overview().await);
    response(StatusCode::OK, metrics::CONTENT_TYPE, text)
}

/// A JSON body.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    response(status, "application/json", body.to_string() + "\n")
}

/// An error as JSON.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    json(status, &json!({ "error": message }))
}

/// 404.
pub(super) async fn not_found(uri: Uri) -> Response {
    let message = format!("there is nothing at {}", uri.path());
    json(StatusCode::NOT_FOUND, &json!({ "error": message, "pages": PAGES }))
}

/// 405.
pub(super) async fn method_not_allowed() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here; the console changes things")
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "no-store")
        .body(Body::from(body))
        .expect("status and headers are valid constants")
}
