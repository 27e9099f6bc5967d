//! A made-up status, for the tests of everything that shows one: a primary, a replica whose replay is paused, one that tells
//! nothing, a backup under way, a replication slot that nobody uses.

use serde_json::{Value, json};

/// What `/api/v1/status` says.
pub(super) fn status() -> Value {
    json!({
        "version": "0.1.0", "uptime_ms": 61_000, "clients": 2, "backends": 3, "max_staleness_ms": 10_000.0,
        "nodes": [
            {"name": "primary", "cluster": "main", "address": "127.0.0.1:6442", "role": "primary", "timeline": 1, "state": "up",
             "staleness_ms": 0.0, "lag_bytes": 0, "drained": false, "receiver": "none", "replay_paused": false,
             "write_lag_bytes": null, "flush_lag_bytes": null, "upstream": null, "conflicts": {"total": 0},
             "connections": {"used": 12, "max": 100}},
            {"name": "replica-1", "cluster": "main", "address": "127.0.0.1:6443", "role": "replica", "timeline": 1, "state": "up",
             "staleness_ms": 3.25, "lag_bytes": 20_480, "drained": false, "receiver": "streaming", "replay_paused": true,
             "write_lag_bytes": 0, "flush_lag_bytes": 96, "upstream": {"node": "primary", "state": "streaming", "slot": "r1"},
             "conflicts": {"total": 5}, "connections": {"used": 7, "max": 100}},
            {"name": "replica-2", "cluster": "main", "address": "127.0.0.1:6444", "role": "replica", "timeline": 1, "state": "up",
             "staleness_ms": null, "lag_bytes": null, "drained": true, "receiver": null, "replay_paused": false,
             "write_lag_bytes": null, "flush_lag_bytes": null, "upstream": null, "conflicts": null,
             "connections": {"used": null, "max": 100}},
        ],
        "clusters": [{
            "name": "main", "primary": "primary", "replicas_serving": 1,
            "slots": [
                {"name": "r1", "node": "primary", "type": "physical", "active": true, "lost": false, "retained_bytes": 20_480,
                 "wal_status": "reserved", "safe_bytes": null},
                {"name": "r2", "node": "primary", "type": "physical", "active": false, "lost": false,
                 "retained_bytes": 150 << 20, "wal_status": "unreserved", "safe_bytes": 50 << 20},
            ],
            "other_senders": [{"node": "primary", "application_name": "pg_basebackup", "state": "backup"}],
        }],
        "pools": [{"database": "app", "user": "app", "node": "primary", "clients_active": 1, "clients_waiting": 4,
                   "backends_active": 1, "backends_idle": 0, "size": 20, "wait_max_ms": 1500.0}],
        "reads": {"replica": 3, "primary": 1, "share": 0.75},
        "reasons": {"write": 2, "fresh_replica": 3, "no_replica": 0},
    })
}
