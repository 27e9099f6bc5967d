//! `highwater status`: what a running router says of itself, as a table or as the JSON it gave.
//!
//! Shows only; every number is the router's. The JSON's shape is made in the daemon and read here by name, so that a
//! newer router's extra fields do no harm.

use std::time::Duration;

use serde_json::Value;

use crate::{args, http, output};

/// Between two refreshes of `--watch`.
const REFRESH: Duration = Duration::from_secs(1);

/// ANSI: cursor home, clear from there on.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Asks once, or for ever with `--watch` (Ctrl-C ends it).
pub(crate) fn status(asked: &args::Status) -> anyhow::Result<()> {
    loop {
        let status = http::json(&asked.http, "/api/v1/status")?;
        let text = if asked.json { format!("{status}\n") } else { render(&status) };
        if !asked.watch {
            output::text(&text);
            return Ok(());
        }
        let clear = if asked.json { "" } else { CLEAR };
        if output::text(&format!("{clear}{text}")) == output::Reader::Gone {
            return Ok(());
        }
        std::thread::sleep(REFRESH);
    }
}

fn render(status: &Value) -> String {
    let mut text = format!(
        "highwater {}, up {}; clients: {}, backends: {}\n\n",
        cell(&status["version"]),
        uptime(status["uptime_ms"].as_u64()),
        cell(&status["clients"]),
        cell(&status["backends"]),
    );
    text.push_str(&nodes(status));
    let pools = rows(&status["pools"], pool);
    if !pools.is_empty() {
        text.push('\n');
        text.push_str(&output::table(
            ["database", "user", "node", "clients", "waiting", "backends", "idle", "size", "longest wait"],
            &pools,
        ));
    }
    text.push('\n');
    text.push_str(&reads(&status["reads"]));
    text.push_str(&reasons(&status["reasons"]));
    text
}

fn nodes(status: &Value) -> String {
    output::table(
        ["node", "address", "role", "timeline", "state", "staleness", "lag"],
        &rows(&status["nodes"], |node| {
            [
                cell(&node["name"]),
                cell(&node["address"]),
                cell(&node["role"]),
                cell(&node["timeline"]),
                if node["drained"] == true { "drained".to_owned() } else { cell(&node["state"]) },
                millis(&node["staleness_ms"]),
                node["lag_bytes"].as_u64().map_or_else(unknown, bytes),
            ]
        }),
    )
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

fn rows<const N: usize>(list: &Value, row: impl Fn(&Value) -> [String; N]) -> Vec<[String; N]> {
    list.as_array().into_iter().flatten().map(row).collect()
}

/// A text or number; what the router does not know, or did not say, is a dash.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => unknown(),
        other => other.to_string(),
    }
}

fn unknown() -> String {
    "-".to_owned()
}

fn millis(value: &Value) -> String {
    match value.as_f64() {
        None => unknown(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 10_000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1e3),
    }
}

/// A number of bytes for people.
fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} B"),
        10_240..10_485_760 => format!("{} kB", count >> 10),
        _ => format!("{} MB", count >> 20),
    }
}

fn uptime(ms: Option<u64>) -> String {
    let Some(seconds) = ms.map(|ms| ms / 1000) else { return unknown() };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_becomes_aligned_tables() {
        let status = json!({
            "version": "0.1.0", "uptime_ms": 61_000, "clients": 2, "backends": 3,
            "nodes": [
                {"name": "primary", "address": "127.0.0.1:6442", "role": "primary", "timeline": 1, "state": "up",
                 "staleness_ms": null, "lag_bytes": 0, "drained": false},
                {"name": "replica-1", "address": "127.0.0.1:6443", "role": "replica", "timeline": 1, "state": "up",
                 "staleness_ms": 3.25, "lag_bytes": 20_480, "drained": true},
            ],
            "pools": [{"database": "app", "user": "app", "node": "primary", "clients_active": 1, "clients_waiting": 0,
                       "backends_active": 1, "backends_idle": 0, "size": 20, "wait_max_ms": 0.0}],
            "reads": {"replica": 3, "primary": 1, "share": 0.75},
            "reasons": {"write": 2, "fresh_replica": 3, "no_replica": 0},
        });
        let expected = "\
highwater 0.1.0, up 1 min 1 s; clients: 2, backends: 3

  node       address         role     timeline  state    staleness  lag
  primary    127.0.0.1:6442  primary  1         up       -          0 B
  replica-1  127.0.0.1:6443  replica  1         drained  3.2 ms     20 kB

  database  user  node     clients  waiting  backends  idle  size  longest wait
  app       app   primary  1        0        1         0     20    0.0 ms

  reads: 3 on replicas (75.0 %), 1 on the primary
  reasons: fresh_replica 3, write 2
";
        assert_eq!(render(&status), expected);
    }

    #[test]
    fn what_is_missing_is_a_dash_and_no_error() {
        assert!(
            render(&json!({"nodes": [{"name": "n"}]}))
                .contains("  n     -        -     -         -      -          -")
        );
    }
}
