//! The question, and what its answer says.
//!
//! One statement for all versions and both roles, answered in one row with one JSON object: columns that a version lacks are
//! keys that are missing, and so unknown. It works for every role; one without `pg_read_all_stats` (part of `pg_monitor`) is
//! told which processes there are, and nothing more of them.

use engine::time::Instant;
use serde_json::Value;
use wire::lsn::{Lsn, Timeline, normalise};

use super::{
    Conflicts, Connections, LISTED_MAX, LagMillis, Listed, Reached, Receiving, Replication, Sender, Slot,
    SlotLimit,
};

/// The question as it is asked.
pub(super) fn question() -> String {
    QUESTION.replace("{limit}", &LISTED_MAX.to_string())
}

/// The end of the WAL stands behind the senders because the arguments are evaluated in order: what a sender lacks must not come
/// out too small.
const QUESTION: &str = "SELECT json_build_object(\
    'in_recovery', r, \
    'sees', pg_has_role('pg_read_all_stats', 'USAGE'), \
    'senders', (SELECT json_agg(s) FROM (\
        SELECT w.pid, w.usename, w.application_name, host(w.client_addr) AS client_addr, l.slot_name, \
            w.state, w.sync_state, w.sent_lsn, w.write_lsn, w.flush_lsn, w.replay_lsn, \
            extract(epoch FROM w.write_lag) * 1000 AS write_ms, \
            extract(epoch FROM w.flush_lag) * 1000 AS flush_ms, \
            extract(epoch FROM w.replay_lag) * 1000 AS replay_ms, \
            extract(epoch FROM clock_timestamp() - w.reply_time) * 1000 AS silent_ms, \
            count(*) OVER () AS total \
        FROM pg_stat_replication AS w LEFT JOIN pg_replication_slots AS l ON l.active_pid = w.pid \
        ORDER BY w.pid LIMIT {limit}) AS s), \
    'slots', (SELECT json_agg(s) FROM (\
        SELECT l.slot_name, l.slot_type, l.database, l.active, l.temporary, l.restart_lsn, l.wal_status, l.safe_wal_size, \
            to_jsonb(l) -> 'invalidation_reason' AS invalidation, \
            extract(epoch FROM clock_timestamp() - (to_jsonb(l) ->> 'inactive_since')::timestamptz) * 1000 AS inactive_ms, \
            count(*) OVER () AS total \
        FROM pg_replication_slots AS l ORDER BY l.slot_name LIMIT {limit}) AS s), \
    'receiver', (SELECT to_json(s) FROM (\
        SELECT w.status, w.sender_host, w.sender_port, w.slot_name, w.received_tli, w.written_lsn, w.flushed_lsn, w.conninfo, \
            extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time) * 1000 AS silent_ms \
        FROM pg_stat_wal_receiver AS w) AS s), \
    'end', CASE WHEN r THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
        ELSE pg_current_wal_insert_lsn() END, \
    'page_bytes', i.wal_block_size, 'segment_bytes', i.bytes_per_wal_segment, \
    'conflicts', (SELECT json_build_object(\
        'tablespace', sum(c.confl_tablespace), 'lock', sum(c.confl_lock), 'snapshot', sum(c.confl_snapshot), \
        'bufferpin', sum(c.confl_bufferpin), 'deadlock', sum(c.confl_deadlock), \
        'active_logicalslot', sum((to_jsonb(c) ->> 'confl_active_logicalslot')::int8)) \
        FROM pg_stat_database_conflicts AS c), \
    'connections', (SELECT count(*) FROM pg_stat_activity AS a WHERE a.backend_type = 'client backend'), \
    'connections_max', current_setting('max_connections')::int8, \
    'slot_limit', pg_size_bytes(current_setting('max_slot_wal_keep_size')))::text \
    FROM (SELECT pg_is_in_recovery() AS r) AS role CROSS JOIN pg_control_init() AS i";

/// What the answer says; `None` if it is no answer to the question.
pub(super) fn read(answer: &str, at: Instant) -> Option<Replication> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let in_recovery = answer["in_recovery"].as_bool()?;
    let sees = answer["sees"].as_bool()?;
    let size = |key: &str| u32::try_from(answer[key].as_u64().unwrap_or(0)).unwrap_or(0);
    let end = lsn(&answer["end"]);
    let end = if in_recovery {
        end
    } else {
        end.map(|end| normalise(end, size("page_bytes"), size("segment_bytes")))
    };
    Some(Replication {
        at,
        in_recovery,
        end,
        receiver: Some(&answer["receiver"]).filter(|row| row.is_object()).map(receiving),
        conflicts: conflicts(&answer["conflicts"]),
        connections: Connections {
            used: answer["connections"].as_u64().filter(|_| sees),
            max: answer["connections_max"].as_u64(),
        },
        senders: sees.then(|| listed(&answer["senders"], |row| Some(sender(row)))),
        slots: Some(listed(&answer["slots"], |row| slot(row, end))),
        slot_limit: match answer["slot_limit"].as_i64() {
            None => SlotLimit::Unknown,
            Some(bytes) => u64::try_from(bytes).map_or(SlotLimit::Unlimited, SlotLimit::Bytes),
        },
    })
}

/// No rows are no list: `json_agg` answers null.
fn listed<T>(rows: &Value, one: impl Fn(&Value) -> Option<T>) -> Listed<T> {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    let total = rows.first().and_then(|row| row["total"].as_u64()).unwrap_or(rows.len() as u64);
    Listed { some: rows.iter().filter_map(one).collect(), total }
}

fn receiving(row: &Value) -> Receiving {
    Receiving {
        status: text(&row["status"]),
        sender_host: text(&row["sender_host"]),
        sender_port: row["sender_port"].as_u64().and_then(|port| u16::try_from(port).ok()),
        slot: text(&row["slot_name"]).filter(|name| !name.is_empty()),
        application_name: row["conninfo"].as_str().and_then(announced),
        timeline: row["received_tli"]
            .as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .filter(|id| *id != 0)
            .map(Timeline),
        written: lsn(&row["written_lsn"]),
        flushed: lsn(&row["flushed_lsn"]),
        silent_ms: millis(&row["silent_ms"]),
    }
}

fn sender(row: &Value) -> Sender {
    Sender {
        pid: row["pid"].as_i64(),
        user: text(&row["usename"]),
        application_name: text(&row["application_name"]),
        client_addr: text(&row["client_addr"]),
        slot: text(&row["slot_name"]),
        state: text(&row["state"]),
        sync_state: text(&row["sync_state"]),
        reached: Reached {
            sent: lsn(&row["sent_lsn"]),
            written: lsn(&row["write_lsn"]),
            flushed: lsn(&row["flush_lsn"]),
            replayed: lsn(&row["replay_lsn"]),
        },
        lag_ms: LagMillis {
            write: millis(&row["write_ms"]),
            flush: millis(&row["flush_ms"]),
            replay: millis(&row["replay_ms"]),
        },
        silent_ms: millis(&row["silent_ms"]),
    }
}

fn slot(row: &Value, end: Option<Lsn>) -> Option<Slot> {
    let restart = lsn(&row["restart_lsn"]);
    Some(Slot {
        name: text(&row["slot_name"])?,
        kind: text(&row["slot_type"]),
        database: text(&row["database"]),
        active: row["active"].as_bool(),
        temporary: row["temporary"].as_bool(),
        restart,
        wal_status: text(&row["wal_status"]),
        safe_bytes: row["safe_wal_size"].as_i64(),
        retained_bytes: end.zip(restart).map(|(end, restart)| end.distance(restart)),
        inactive_ms: millis(&row["inactive_ms"]),
        invalidation: text(&row["invalidation"]),
    })
}

fn conflicts(row: &Value) -> Option<Conflicts> {
    let counts = Conflicts::CAUSES.map(|cause| row[cause].as_u64());
    counts.iter().any(Option::is_some).then(|| Conflicts::new(counts))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(ToOwned::to_owned)
}

fn lsn(value: &Value) -> Option<Lsn> {
    value.as_str()?.parse().ok().filter(|lsn| *lsn != Lsn::INVALID)
}

/// Clocks of one machine may still step; a time before it began is none.
fn millis(value: &Value) -> Option<f64> {
    value.as_f64().map(|ms| ms.max(0.0))
}

/// The name that a receiver's connection announces: libpq prefers `application_name` and else takes the fallback, which is the
/// standby's `cluster_name` or `walreceiver`.
fn announced(conninfo: &str) -> Option<String> {
    let value =
        |key: &str| options(conninfo).into_iter().find(|(name, _)| name == key).map(|(_, value)| value);
    value("application_name").or_else(|| value("fallback_application_name")).filter(|name| !name.is_empty())
}

/// `key=value` pairs as libpq writes them; quoted values have `\'` and `\\` in them
/// (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>).
fn options(conninfo: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = conninfo.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        let mut key = String::new();
        while let Some(c) = rest.next_if(|c| *c != '=') {
            key.push(c);
        }
        if rest.next().is_none() {
            return pairs;
        }
        let quoted = rest.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        while let Some(c) = rest.next_if(|c| quoted || !c.is_whitespace()) {
            match c {
                '\'' if quoted => break,
                '\\' => value.extend(rest.next()),
                _ => value.push(c),
            }
        }
        pairs.push((key.trim().to_owned(), value));
    }
}

#[cfg(test)]
mod tests;
