//! `/livez`: does every worker still turn its loop?
//!
//! Nothing else is looked at: a router whose nodes are all gone is alive, and restarting it would not help. That the control
//! thread lives is shown by its answering.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::page;
use crate::overview::AdminWorld;

/// A worker whose loop has not turned for so long is stuck. An idle one turns every second.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// 200, or 503 with the workers that are stuck.
pub(super) async fn live(State(world): State<Arc<AdminWorld>>) -> Response {
    let (status, body) = answer(&world.since_turned());
    page::json(status, &body)
}

/// Whether `/livez` would say so.
pub(crate) fn is_live(world: &AdminWorld) -> bool {
    answer(&world.since_turned()).0 == StatusCode::OK
}

/// `since_turned` is the time since each worker's loop turned last; none of one that has ended as it was told to.
fn answer(since_turned: &[Option<Duration>]) -> (StatusCode, Value) {
    let stuck = since_turned.iter().enumerate().filter_map(|(worker, since)| {
        let since = since.filter(|since| *since >= STUCK_AFTER)?;
        Some(json!({ "worker": worker, "silent_ms": u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }))
    });
    let stuck: Vec<Value> = stuck.collect();
    if stuck.is_empty() {
        (StatusCode::OK, json!({ "status": "live" }))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "stuck", "stuck": stuck }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_whose_loop_does_not_turn_is_named() {
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(answer(&[ms(0), ms(4_999)]).0, StatusCode::OK);
        let (status, body) = answer(&[ms(10), ms(7_000), ms(900)]);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body["stuck"], json!([{ "worker": 1, "silent_ms": 7_000 }]));
    }

    #[test]
    fn a_worker_that_has_ended_in_order_is_not_stuck() {
        assert_eq!(answer(&[None, Some(Duration::ZERO)]).0, StatusCode::OK);
    }
}
