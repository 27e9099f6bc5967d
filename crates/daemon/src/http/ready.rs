//! `/readyz`: may clients be sent here?
//!
//! Ready is: for every configured cluster a primary is known and in role.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::page;
use crate::overview::{AdminWorld, Overview};

/// 200, or 503 with what is missing.
pub(super) async fn ready(State(world): State<Arc<AdminWorld>>) -> Response {
    let (status, body) = answer(&world.overview().await);
    page::json(status, &body)
}

fn answer(overview: &Overview) -> (StatusCode, Value) {
    let missing: Vec<Value> = overview
        .clusters
        .iter()
        .filter(|cluster| cluster.primary().is_none())
        .map(|cluster| {
            let nodes = cluster.nodes.iter().map(|node| {
                json!({
                    "name": &*node.node.name,
                    "role": node.role(),
                    "state": node.state(),
                    "error": node.status.last_error,
                })
            });
            json!({ "cluster": cluster.name, "missing": "primary", "nodes": nodes.collect::<Vec<_>>() })
        })
        .collect();
    if missing.is_empty() {
        (StatusCode::OK, json!({ "status": "ready" }))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not ready", "missing": missing }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::example;

    #[test]
    fn with_a_primary_in_every_cluster_it_is_ready() {
        assert_eq!(answer(&example::overview()).0, StatusCode::OK);
    }

    #[test]
    fn without_a_primary_it_says_which_cluster_and_why() {
        let mut overview = example::overview();
        overview.clusters[0].nodes.retain(|node| !node.is_primary);
        let (status, body) = answer(&overview);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body["missing"][0]["cluster"], "main");
        assert_eq!(body["missing"][0]["nodes"][1]["error"], "Connection refused (os error 111)");
    }
}
