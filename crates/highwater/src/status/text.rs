//! The status as tables, for a terminal's scroll-back or a file.

use serde_json::Value;

use super::figures::{
    bytes, cell, connections, millis, of_clusters, rows, slot_state, state, unknown, uptime,
};
use crate::output;

/// All of it.
pub(super) fn render(status: &Value) -> String {
    let mut text = format!(
        "highwater {}, up {}; clients: {}, backends: {}\n\n",
        cell(&status["version"]),
        uptime(&status["uptime_ms"]),
        cell(&status["clients"]),
        cell(&status["backends"]),
    );
    let sections = [nodes(status), streams(status), slots(status), pools(status)];
    text.push_str(&sections.into_iter().flatten().collect::<Vec<_>>().join("\n"));
    text.push('\n');
    text.push_str(&reads(&status["reads"]));
    text.push_str(&reasons(&status["reasons"]));
    text
}

fn nodes(status: &Value) -> Option<String> {
    let rows: Vec<_> = rows(&status["nodes"])
        .map(|node| {
            [
                cell(&node["name"]),
                cell(&node["address"]),
                cell(&node["role"]),
                cell(&node["timeline"]),
                state(node),
                millis(&node["staleness_ms"]),
                bytes(&node["lag_bytes"]),
                connections(&node["connections"]),
            ]
        })
        .collect();
    let heading = ["node", "address", "role", "timeline", "state", "staleness", "lag", "connections"];
    Some(output::table(heading, &rows))
}

/// The stream of each replica, then those to others.
fn streams(status: &Value) -> Option<String> {
    let replicas = rows(&status["nodes"]).filter(|node| node["role"] == "replica").map(|node| {
        let upstream = &node["upstream"];
        [
            cell(&node["name"]),
            cell(&upstream["node"]),
            cell(&upstream["state"]),
            cell(&node["receiver"]),
            bytes(&node["write_lag_bytes"]),
            bytes(&node["flush_lag_bytes"]),
            bytes(&node["lag_bytes"]),
            replay(node),
            cell(&node["conflicts"]["total"]),
        ]
    });
    let others = of_clusters(status, "other_senders").map(|sender| {
        [
            format!("({})", cell(&sender["application_name"])),
            cell(&sender["node"]),
            cell(&sender["state"]),
            cell(&Value::Null),
            bytes(&sender["write_lag_bytes"]),
            bytes(&sender["flush_lag_bytes"]),
            bytes(&sender["replay_lag_bytes"]),
            cell(&Value::Null),
            cell(&Value::Null),
        ]
    });
    let rows: Vec<_> = replicas.chain(others).collect();
    let heading = [
        "stream to",
        "from",
        "sender",
        "receiver",
        "not written",
        "not flushed",
        "not replayed",
        "replay",
        "conflicts",
    ];
    (!rows.is_empty()).then(|| output::table(heading, &rows))
}

fn replay(node: &Value) -> String {
    node["replay_paused"]
        .as_bool()
        .map_or_else(unknown, |paused| if paused { "paused" } else { "running" }.to_owned())
}

fn slots(status: &Value) -> Option<String> {
    let rows: Vec<_> = of_clusters(status, "slots")
        .map(|slot| {
            [
                cell(&slot["name"]),
                cell(&slot["node"]),
                cell(&slot["type"]),
                slot_state(slot),
                bytes(&slot["retained_bytes"]),
                cell(&slot["wal_status"]),
                bytes(&slot["safe_bytes"]),
            ]
        })
        .collect();
    let heading = ["replication slot", "on", "type", "state", "retained", "WAL", "left before lost"];
    (!rows.is_empty()).then(|| output::table(heading, &rows))
}

fn pools(status: &Value) -> Option<String> {
    let rows: Vec<_> = rows(&status["pools"]).map(pool).collect();
    let heading =
        ["database", "user", "node", "clients", "waiting", "backends", "idle", "size", "longest wait"];
    (!rows.is_empty()).then(|| output::table(heading, &rows))
}

fn pool(pool: &Value) -> [String; 9] {
    [
        cell(&pool["database"]),
        cell(&pool["user"]),
        cell(&pool["node"]),
        cell(&pool["clients_active"]),
        cell(&pool["clients_waiting"]),
        cell(&pool["backends_active"]),
        cell(&pool["backends_idle"]),
        cell(&pool["size"]),
        millis(&pool["wait_max_ms"]),
    ]
}

fn reads(reads: &Value) -> String {
    let share =
        reads["share"].as_f64().map_or_else(String::new, |share| format!(" ({:.1} %)", share * 100.0));
    format!(
        "  reads: {} on replicas{share}, {} on the primary\n",
        cell(&reads["replica"]),
        cell(&reads["primary"])
    )
}

/// The reasons that occurred, the most frequent first.
fn reasons(reasons: &Value) -> String {
    let mut counted: Vec<(u64, &str)> = reasons
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, count)| Some((count.as_u64().filter(|count| *count > 0)?, name.as_str())))
        .collect();
    counted.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let words: Vec<_> = counted.iter().map(|(count, name)| format!("{name} {count}")).collect();
    if words.is_empty() { String::new() } else { format!("  reasons: {}\n", words.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::status::example;

    #[test]
    fn a_status_becomes_aligned_tables() {
        let expected = "\
highwater 0.1.0, up 1 min 1 s; clients: 2, backends: 3

  node       address         role     timeline  state    staleness  lag    connections
  primary    127.0.0.1:6442  primary  1         up       0.0 ms     0 B    12/100
  replica-1  127.0.0.1:6443  replica  1         up       3.2 ms     20 kB  7/100
  replica-2  127.0.0.1:6444  replica  1         drained  -          -      ?/100

  stream to        from     sender     receiver   not written  not flushed  not replayed  replay   conflicts
  replica-1        primary  streaming  streaming  0 B          96 B         20 kB         paused   5
  replica-2        -        -          -          -            -            -             running  -
  (pg_basebackup)  primary  backup     -          -            -            -             -        -

  replication slot  on       type      state     retained  WAL         left before lost
  r1                primary  physical  in use    20 kB     reserved    -
  r2                primary  physical  not used  150 MB    unreserved  50 MB

  database  user  node     clients  waiting  backends  idle  size  longest wait
  app       app   primary  1        4        1         0     20    1500 ms

  reads: 3 on replicas (75.0 %), 1 on the primary
  reasons: fresh_replica 3, write 2
";
        assert_eq!(render(&example::status()), expected);
    }

    #[test]
    fn what_is_missing_is_a_dash_and_no_error() {
        let text = render(&json!({"nodes": [{"name": "n"}]}));
        assert!(text.contains("  n     -        -     -         -      -          -    -"), "{text}");
    }
}
