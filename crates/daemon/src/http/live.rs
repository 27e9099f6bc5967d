//! `/livez`: the control thread still answers.
//!
//! Nothing is looked at: a router whose nodes are all gone is alive, and restarting it would not help.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::page;

/// 200, always.
pub(super) async fn live() -> Response {
    page::json(StatusCode::OK, &json!({ "status": "live" }))
}
