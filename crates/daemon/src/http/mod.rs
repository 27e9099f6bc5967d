//! The HTTP server: is it alive, is it ready, its numbers, and its state as JSON.
//!
//! Answers are GET only and change nothing; what an operator may change is changed in the console. It runs on the control
//! thread and has few connections at a time, short ones.

mod api;
mod door;
mod live;
mod page;
mod ready;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::overview::AdminWorld;
use door::Door;
pub(crate) use live::is_live;

/// Longest time an answer may take to make.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Most requests at a time; a router has a few scrapers, not a public.
const REQUESTS_MAX: usize = 16;
/// Longest path and query, in bytes.
const URI_BYTES_MAX: usize = 1024;

/// Serves until the future is dropped, or the listener fails.
///
/// # Errors
/// What the listener said.
pub(crate) async fn serve(listener: TcpListener, world: Arc<AdminWorld>) -> std::io::Result<()> {
    axum::serve(Door::new(listener), router(world)).await
}

fn router(world: Arc<AdminWorld>) -> Router {
    Router::new()
        .route("/livez", get(live::live))
        .route("/healthz", get(live::live))
        .route("/readyz", get(ready::ready))
        .route("/readyz/primary", get(ready::primary))
        .route("/readyz/reads", get(ready::reads))
        .route("/metrics", get(page::metrics))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/cluster", get(api::cluster))
        .route("/api/v1/pools", get(api::pools))
        .route("/api/v1/stats", get(api::stats))
        .route("/api/v1/events", get(api::events))
        .fallback(page::not_found)
        .method_not_allowed_fallback(page::method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::new(Semaphore::new(REQUESTS_MAX)), within_limits))
        .with_state(world)
}

/// Bounds what any request may cost.
async fn within_limits(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let length = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    if length > URI_BYTES_MAX {
        return page::error(StatusCode::URI_TOO_LONG, "the address is too long");
    }
    let Ok(_place) = places.try_acquire() else {
        return page::error(StatusCode::SERVICE_UNAVAILABLE, "too many requests at a time: try again");
    };
    match timeout(ANSWER_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => page::error(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long to make"),
    }
}
