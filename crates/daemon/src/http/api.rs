//! The state as JSON. Shapes are made here and nowhere else; `/api/v1/status` is what `highwater status --json` prints.
//!
//! Fields are added, never renamed or removed, within `v1`. What is unknown is null, never zero.

mod replication;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use engine::route::Reason;
use serde_json::{Map, Value, json};

use super::page;
use crate::mail::PoolRow;
use crate::overview::{AdminWorld, ClusterRow, NodeRow, Overview, VERSION};
use crate::stats::{BUCKETS_US, Histogram};

/// `/api/v1/status`.
pub(super) async fn status(State(world): State<Arc<AdminWorld>>) -> Response {
    page::json(StatusCode::OK, &status_of(&world.overview().await))
}

/// `/api/v1/cluster`.
pub(super) async fn cluster(State(world): State<Arc<AdminWorld>>) -> Response {
    let overview = world.overview().await;
    let clusters: Vec<_> = overview.clusters.iter().map(|cluster| cluster_of(cluster, &overview)).collect();
    page::json(StatusCode::OK, &json!({ "clusters": clusters }))
}

/// `/api/v1/pools`.
pub(super) async fn pools(State(world): State<Arc<AdminWorld>>) -> Response {
    page::json(StatusCode::OK, &json!({ "pools": pools_of(&world.overview().await) }))
}

/// `/api/v1/stats`.
pub(super) async fn stats(State(world): State<Arc<AdminWorld>>) -> Response {
    page::json(StatusCode::OK, &stats_of(&world.overview().await))
}

/// `/api/v1/events`.
pub(super) async fn events(State(world): State<Arc<AdminWorld>>) -> Response {
    page::json(StatusCode::OK, &json!({ "events": replication::events(&world.events()) }))
}

/// The shape that CONTRACT fixes for `status --json`.
fn status_of(overview: &Overview) -> Value {
    let nodes =
        overview.clusters.iter().flat_map(|cluster| cluster.nodes.iter().map(|node| node_of(node, cluster)));
    json!({
        "version": VERSION,
        "uptime_ms": millis(Duration::from_nanos(overview.now.as_nanos())),
        "nodes": nodes.collect::<Vec<_>>(),
        "pools": pools_of(overview),
        "reads": reads_of(overview),
        "reasons": reasons_of(overview),
        "clients": overview.totals.clients.value(),
        "backends": overview.totals.backends.value(),
        "clusters": overview.clusters.iter().map(|cluster| replication::cluster(cluster, overview)).collect::<Vec<_>>(),
        "max_staleness_ms": millis_exact(overview.reads.max_staleness),
        "writes": overview.totals.writes.value(),
        "errors": { "all": overview.totals.errors.value(), "own": overview.totals.own_errors.value() },
    })
}

fn node_of(node: &NodeRow, cluster: &ClusterRow) -> Value {
    let mut shown = json!({
        "name": &*node.node.name,
        "cluster": cluster.name,
        "address": node.address(),
        "role": node.role(),
        "timeline": node.view.timeline.map(|timeline| timeline.0),
        "state": node.state(),
        "staleness_ms": node.staleness.map(millis_exact),
        "lag_bytes": if node.is_primary { Some(0) } else { node.view.lag_bytes },
        "position": node.view.position.map(|lsn| lsn.to_string()),
        "drained": node.view.drained,
        "serves_reads": node.view.serves_reads(),
        "receiver": node.receiver(),
        "replay_paused": node.replay_paused(),
        "server_version": node.status.server_version.as_deref(),
        "probe_ms": node.status.probe_time.map(millis_exact),
        "error": node.status.last_error,
    });
    if let Some(fields) = shown.as_object_mut() {
        fields.extend(replication::of_node(node));
    }
    shown
}

fn cluster_of(cluster: &ClusterRow, overview: &Overview) -> Value {
    let mut shown = replication::cluster(cluster, overview);
    shown["nodes"] = cluster.nodes.iter().map(|node| node_of(node, cluster)).collect();
    shown["discovery"] = cluster.discovery.as_ref().map_or(Value::Null, |discovery| {
        json!({
            "source": discovery.source,
            "last_ok_ms": discovery.last_ok.map(|at| millis(overview.now.since(at))),
            "error": discovery.error,
        })
    });
    shown
}

fn pools_of(overview: &Overview) -> Vec<Value> {
    overview.snapshot.pools.iter().map(|pool| pool_of(pool, overview)).collect()
}

fn pool_of(pool: &PoolRow, overview: &Overview) -> Value {
    let node = overview.node(pool.node);
    json!({
        "database": pool.database,
        "user": &*pool.user,
        "node": node.map(|node| node.node.name.to_string()),
        "role": node.map(NodeRow::role),
        "mode": pool.mode,
        "size": pool.size,
        "clients_active": pool.clients_active,
        "clients_waiting": pool.clients_waiting,
        "backends_active": pool.backends_active,
        "backends_idle": pool.backends_idle,
        "backends_connecting": pool.backends_connecting,
        "wait_max_ms": pool.wait_max_us as f64 / 1e3,
    })
}

fn reads_of(overview: &Overview) -> Value {
    json!({
        "replica": overview.totals.reads_on_replica.value(),
        "primary": overview.totals.reads_on_primary.value(),
        "share": overview.replica_share(),
    })
}

fn reasons_of(overview: &Overview) -> Value {
    let counts = Reason::ALL.iter().map(|&reason| {
        (reason.name().to_owned(), Value::from(overview.totals.decisions[reason as usize].value()))
    });
    Value::Object(counts.collect::<Map<_, _>>())
}

fn stats_of(overview: &Overview) -> Value {
    let totals = &overview.totals;
    json!({
        "version": VERSION,
        "uptime_ms": millis(Duration::from_nanos(overview.now.as_nanos())),
        "reads": reads_of(overview),
        "writes": totals.writes.value(),
        "transactions": totals.transactions.value(),
        "reasons": reasons_of(overview),
        "reruns": totals.reruns.value(),
        "errors": { "all": totals.errors.value(), "own": totals.own_errors.value() },
        "bytes": { "received": totals.bytes_received.value(), "sent": totals.bytes_sent.value() },
        "prepared": {
            "parses_received": totals.parses_received.value(),
            "parses_sent": totals.parses_sent.value(),
            "binds": totals.binds.value(),
        },
        "memo": { "hits": totals.memo_hits.value(), "misses": totals.memo_misses.value() },
        "clients": totals.clients.value(),
        "backends": totals.backends.value(),
        "times": {
            "replica": histogram_of(&totals.replica_time),
            "primary": histogram_of(&totals.primary_time),
            "wait": histogram_of(&totals.wait_time),
        },
        "process": {
            "cpu_seconds": overview.process.cpu_seconds,
            "resident_bytes": overview.process.resident_bytes,
            "open_fds": overview.process.open_fds,
        },
    })
}

fn histogram_of(histogram: &Histogram) -> Value {
    let counts: Vec<u64> = histogram.buckets.iter().map(crate::stats::Counter::value).collect();
    json!({
        "count": histogram.count(),
        "sum_us": histogram.sum_us.value(),
        "bounds_us": BUCKETS_US,
        "buckets": counts,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds with microseconds behind the point.
fn millis_exact(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::example;

    #[test]
    fn the_status_has_the_shape_that_tools_rely_on() {
        let status = status_of(&example::overview());
        let nodes = status["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 3);
        for key in ["name", "address", "role", "timeline", "state", "staleness_ms", "lag_bytes"] {
            assert!(nodes.iter().all(|node| node.get(key).is_some()), "{key}");
        }
        assert_eq!(
            (&nodes[1]["name"], &nodes[1]["address"], &nodes[1]["role"], &nodes[1]["state"]),
            (&json!("two"), &json!("10.0.0.1:5433"), &json!("replica"), &json!("up"))
        );
        assert_eq!((&nodes[1]["staleness_ms"], &nodes[1]["lag_bytes"]), (&json!(250.0), &json!(96)));
        assert_eq!(status["reads"], json!({ "replica": 3, "primary": 1, "share": 0.75 }));
        assert_eq!(status["reasons"]["fresh_replica"], 3);
        assert_eq!(status["pools"][0]["node"], "two");
        assert_eq!(status["version"], VERSION);
    }

    #[test]
    fn the_replication_view_is_in_the_status_and_in_the_cluster() {
        let overview = example::overview();
        let status = status_of(&overview);
        let two = &status["nodes"][1];
        assert_eq!((&two["write_lag_bytes"], &two["flush_lag_bytes"]), (&json!(16), &json!(32)));
        assert_eq!(two["upstream"]["node"], "one");
        assert_eq!(
            (&two["upstream"]["slot"], &two["upstream"]["state"]),
            (&json!("two"), &json!("streaming"))
        );
        assert_eq!(two["upstream"]["replay_lag_ms"], 250.0);
        assert_eq!(
            (&two["wal_receiver"]["slot"], &two["wal_receiver"]["timeline"]),
            (&json!("two"), &json!(1))
        );
        assert_eq!(
            two["conflicts"],
            json!({ "total": 5, "by_cause": { "tablespace": 0, "lock": 1, "snapshot": 4, "bufferpin": 0, "deadlock": 0 } })
        );
        assert_eq!(two["connections"], json!({ "used": 7, "max": 100 }));
        let cluster = &status["clusters"][0];
        assert_eq!(
            (&cluster["replicas_serving"], &cluster["slot_limit_bytes"]),
            (&json!(1), &json!(1 << 30))
        );
        assert_eq!(cluster["slots"][0]["name"], "old");
        assert_eq!(
            (&cluster["slots"][0]["node"], &cluster["slots"][0]["active"]),
            (&json!("one"), &json!(false))
        );
        assert_eq!(cluster["slots"][0]["retained_bytes"], 0x100_0060);
        assert_eq!(cluster["other_senders"][0]["application_name"], "pg_basebackup");
        assert_eq!(cluster_of(&overview.clusters[0], &overview)["nodes"][1]["write_lag_bytes"], 16);
    }

    #[test]
    fn the_page_of_the_documentation_names_every_field() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http.md");
        let page = std::fs::read_to_string(page).unwrap();
        let overview = example::overview();
        let mut shown = status_of(&overview);
        // Keys here are values: their pages are made from their own tables.
        shown["reasons"] = Value::Null;
        shown["nodes"][1]["conflicts"]["by_cause"] = Value::Null;
        shown["nodes"][0]["conflicts"] = Value::Null;
        let events = json!({ "events": replication::events(&overview.events) });
        for field in fields(&shown).into_iter().chain(fields(&events)) {
            assert!(
                page.contains(&format!("`{field}`")) || field == "events",
                "docs/http.md does not name {field}"
            );
        }
    }

    /// Every key of every object in it.
    fn fields(value: &Value) -> Vec<String> {
        match value {
            Value::Object(object) => {
                object.iter().flat_map(|(key, value)| [vec![key.clone()], fields(value)].concat()).collect()
            }
            Value::Array(list) => list.iter().flat_map(fields).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        }
    }

    #[test]
    fn events_have_a_time_that_programs_and_people_can_read() {
        assert_eq!(
            replication::events(&example::overview().events),
            json!([{ "time_ms": 1_795_240_792_000_u64, "time": "2026-11-21 05:59:52 UTC", "cluster": "main", "node": "one",
                "kind": "primary", "event": "is the primary (epoch 1)" }])
        );
    }

    #[test]
    fn what_a_node_does_not_tell_is_null() {
        let status = status_of(&example::overview());
        let down = &status["nodes"][2];
        for key in
            ["write_lag_bytes", "flush_lag_bytes", "upstream", "wal_receiver", "conflicts", "senders_total"]
        {
            assert_eq!(down.get(key), Some(&Value::Null), "{key}");
        }
        assert_eq!(down["connections"], json!({ "used": null, "max": null }));
    }

    #[test]
    fn the_unknown_is_null_and_not_zero() {
        let status = status_of(&example::overview());
        let down = &status["nodes"][2];
        assert_eq!((&down["staleness_ms"], &down["lag_bytes"]), (&Value::Null, &Value::Null));
        assert_eq!(down["state"], "down");
    }

    #[test]
    fn before_the_first_read_there_is_no_share() {
        let mut overview = example::overview();
        overview.totals = Arc::default();
        assert_eq!(status_of(&overview)["reads"]["share"], Value::Null);
    }

    #[test]
    fn stats_hold_a_count_for_every_bucket() {
        let stats = stats_of(&example::overview());
        let wait = &stats["times"]["wait"];
        assert_eq!(
            wait["buckets"].as_array().unwrap().len(),
            wait["bounds_us"].as_array().unwrap().len() + 1
        );
        assert_eq!(wait["count"], 2);
    }
}
