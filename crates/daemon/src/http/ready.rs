//! `/readyz`, `/readyz/primary` and `/readyz/reads`: may clients be sent here, and may those who only read?
//!
//! `/readyz` asks for what `ready_when` names; the others each for their own, so that one router can stand behind two balancers.
//! A router that was told to stop is not ready for anybody. No worker is asked: they may be busy, and readiness is not theirs.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::page;
use crate::config::ReadyWhen;
use crate::overview::{AdminWorld, ClusterRow};
use crate::world::Reads;

/// 200 if what is configured is there, or 503 with what is missing.
pub(super) async fn ready(State(world): State<Arc<AdminWorld>>) -> Response {
    let wanted = world.served.load().ready_when;
    respond(&world, wanted)
}

/// The same for a primary.
pub(super) async fn primary(State(world): State<Arc<AdminWorld>>) -> Response {
    respond(&world, ReadyWhen::Primary)
}

/// The same for reads.
pub(super) async fn reads(State(world): State<Arc<AdminWorld>>) -> Response {
    respond(&world, ReadyWhen::Reads)
}

fn respond(world: &AdminWorld, wanted: ReadyWhen) -> Response {
    let (status, body) = if world.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "stopping" }))
    } else {
        let (clusters, reads) = world.clusters();
        answer(wanted, &clusters, reads)
    };
    page::json(status, &body)
}

fn answer(wanted: ReadyWhen, clusters: &[ClusterRow], reads: Reads) -> (StatusCode, Value) {
    let lacks = |cluster: &&ClusterRow| match wanted {
        ReadyWhen::Primary => cluster.primary().is_none(),
        // The primary answers reads that no replica may.
        ReadyWhen::Reads => cluster.primary().is_none() && cluster.serving_replicas(reads).next().is_none(),
    };
    let what = match wanted {
        ReadyWhen::Primary => "primary",
        ReadyWhen::Reads => "a primary, or a replica that is fresh enough",
    };
    let missing: Vec<Value> = clusters.iter().filter(lacks).map(|cluster| missing(what, cluster)).collect();
    if missing.is_empty() {
        (StatusCode::OK, json!({ "status": "ready" }))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not ready", "missing": missing }))
    }
}

fn missing(what: &str, cluster: &ClusterRow) -> Value {
    let nodes = cluster.nodes.iter().map(|node| {
        json!({
            "name": &*node.node.name,
            "role": node.role(),
            "state": node.state(),
            "error": node.status.last_error,
        })
    });
    json!({ "cluster": cluster.name, "missing": what, "nodes": nodes.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::overview::{Overview, example};

    fn status(wanted: ReadyWhen, overview: &Overview) -> u16 {
        answer(wanted, &overview.clusters, overview.reads).0.as_u16()
    }

    fn without_primary() -> Overview {
        let mut overview = example::overview();
        overview.clusters[0].nodes.retain(|node| !node.is_primary);
        overview
    }

    #[test]
    fn with_a_primary_in_every_cluster_it_is_ready_for_everything() {
        let mut overview = example::overview();
        assert_eq!(status(ReadyWhen::Primary, &overview), 200);
        assert_eq!(status(ReadyWhen::Reads, &overview), 200);
        overview.clusters[0].nodes.truncate(1);
        assert_eq!(status(ReadyWhen::Reads, &overview), 200, "the primary answers reads, too");
    }

    #[test]
    fn without_a_primary_it_says_which_cluster_and_why() {
        let overview = without_primary();
        let (status, body) = answer(ReadyWhen::Primary, &overview.clusters, overview.reads);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            (&body["missing"][0]["cluster"], &body["missing"][0]["missing"]),
            (&json!("main"), &json!("primary"))
        );
        assert_eq!(body["missing"][0]["nodes"][1]["error"], "Connection refused (os error 111)");
    }

    #[test]
    fn without_a_primary_reads_are_served_as_long_as_a_replica_is_fresh_enough() {
        let mut overview = without_primary();
        assert_eq!(status(ReadyWhen::Reads, &overview), 200);
        overview.reads.max_staleness = Duration::from_millis(200);
        assert_eq!(status(ReadyWhen::Reads, &overview), 503);
        overview.reads.max_staleness = Duration::from_secs(10);
        overview.clusters[0].nodes[0].view.drained = true;
        assert_eq!(status(ReadyWhen::Reads, &overview), 503);
    }
}
