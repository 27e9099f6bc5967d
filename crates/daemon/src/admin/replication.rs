//! The tables of replication: `REPLICATION`, `SLOTS`, `EVENTS`, and what `NODES` has of it.
//!
//! Columns are called as in PostgreSQL's views where they come from there. What is hidden or unknown is NULL.

use super::show::yes_no;
use super::table::{Cell, Column, Kind, Table, cell, maybe};
use crate::clock::time_of_day;
use crate::monitor::replication::{Conflicts, Sender, Slot, SlotLimit};
use crate::overview::replication::LagBytes;
use crate::overview::{ClusterRow, NodeRow, Overview};

use Kind::{Big, Float, Int, Text};

/// The last columns of `NODES`.
pub(super) fn of_node(node: &NodeRow) -> [Cell; 6] {
    let said = node.replication.as_ref();
    let lag = |bytes: Option<u64>| if node.is_primary { cell(0) } else { maybe(bytes) };
    [
        lag(node.stream.lag.write),
        lag(node.stream.lag.flush),
        maybe(node.stream.upstream.as_ref()),
        maybe(said.and_then(|said| said.conflicts.as_ref()).map(Conflicts::total)),
        maybe(said.and_then(|said| said.connections.used)),
        maybe(said.and_then(|said| said.connections.max)),
    ]
}

#[rustfmt::skip]
const STREAMS: &[Column] = &[
    ("cluster", Text), ("upstream", Text), ("node", Text), ("application_name", Text), ("client_addr", Text), ("slot", Text),
    ("state", Text), ("sync_state", Text), ("sent_lsn", Text), ("write_lsn", Text), ("flush_lsn", Text), ("replay_lsn", Text),
    ("sent_lag_bytes", Big), ("write_lag_bytes", Big), ("flush_lag_bytes", Big), ("replay_lag_bytes", Big),
    ("write_lag_ms", Float), ("flush_lag_ms", Float), ("replay_lag_ms", Float), ("last_reply_ms_ago", Float),
    ("receiver", Text), ("receiver_timeline", Int), ("last_message_ms_ago", Float), ("staleness_ms", Float), ("replay", Text),
];

/// `SHOW REPLICATION`: one row for each replica, whether anything streams to it or not, then the streams to others.
pub(super) fn streams(overview: &Overview) -> Table {
    let rows = overview.clusters.iter().flat_map(|cluster| {
        let replicas =
            cluster.nodes.iter().filter(|node| is_replica(node)).map(move |node| to_node(cluster, node));
        let others = cluster.others.iter().map(move |other| {
            let mut row = sending(cluster, Some(&*other.upstream), None, (Some(&other.sender), other.lag));
            row.extend([const { None }; 5]);
            row
        });
        replicas.chain(others)
    });
    Table::new(STREAMS, rows)
}

fn is_replica(node: &NodeRow) -> bool {
    node.role() == "replica" || node.replication.as_ref().is_some_and(|said| said.in_recovery)
}

/// Whether WAL is replayed; none of a primary, and of a node that does not answer.
pub(super) fn replay(node: &NodeRow) -> Option<&'static str> {
    match node.replay_paused()? {
        true => Some("paused"),
        false if is_replica(node) => Some("running"),
        false => None,
    }
}

fn to_node(cluster: &ClusterRow, node: &NodeRow) -> Vec<Cell> {
    let stream = &node.stream;
    let mut row = sending(
        cluster,
        stream.upstream.as_deref(),
        Some(&node.node.name),
        (stream.sender.as_ref(), stream.lag),
    );
    let receiver = node.replication.as_ref().and_then(|said| said.receiver.as_ref());
    row.extend([
        maybe(node.receiver()),
        maybe(receiver.and_then(|receiver| receiver.timeline)),
        maybe(receiver.and_then(|receiver| receiver.silent_ms)),
        maybe(node.staleness.map(|staleness| staleness.as_micros() as f64 / 1e3)),
        maybe(replay(node)),
    ]);
    row
}

/// The columns of the upstream's end.
fn sending(
    cluster: &ClusterRow,
    upstream: Option<&str>,
    node: Option<&str>,
    (sender, lag): (Option<&Sender>, LagBytes),
) -> Vec<Cell> {
    let text = |of: fn(&Sender) -> &Option<String>| sender.and_then(|sender| of(sender).clone());
    let reached = sender.map(|sender| sender.reached).unwrap_or_default();
    let lag_ms = sender.map(|sender| sender.lag_ms).unwrap_or_default();
    let mut row = vec![cell(&cluster.name), maybe(upstream), maybe(node)];
    row.extend([text(|s| &s.application_name), text(|s| &s.client_addr), text(|s| &s.slot)]);
    row.extend([text(|s| &s.state), text(|s| &s.sync_state)]);
    row.extend([reached.sent, reached.written, reached.flushed, reached.replayed].map(maybe));
    row.extend([lag.sent, lag.write, lag.flush, lag.replay].map(maybe));
    row.extend([lag_ms.write, lag_ms.flush, lag_ms.replay].map(maybe));
    row.push(maybe(sender.and_then(|sender| sender.silent_ms)));
    row
}

#[rustfmt::skip]
const SLOTS: &[Column] = &[
    ("cluster", Text), ("node", Text), ("slot", Text), ("type", Text), ("database", Text), ("active", Text),
    ("restart_lsn", Text), ("retained_bytes", Big), ("limit_bytes", Big), ("safe_bytes", Big), ("wal_status", Text),
    ("lost", Text), ("invalidation", Text), ("inactive_ms", Float), ("temporary", Text), ("used_by", Text),
];

/// `SHOW SLOTS`
pub(super) fn slots(overview: &Overview) -> Table {
    let rows = overview.clusters.iter().flat_map(|cluster| {
        cluster.all_slots().map(move |(node, slot)| {
            let limit = match cluster.nodes.iter().find(|row| &*row.node.name == node).and_then(limit_of) {
                Some(SlotLimit::Bytes(bytes)) => Some(bytes),
                Some(SlotLimit::Unlimited | SlotLimit::Unknown) | None => None,
            };
            slot_row(cluster, node, (slot, limit))
        })
    });
    Table::new(SLOTS, rows)
}

fn limit_of(node: &NodeRow) -> Option<SlotLimit> {
    node.replication.as_ref().map(|said| said.slot_limit)
}

fn slot_row(cluster: &ClusterRow, node: &str, (slot, limit): (&Slot, Option<u64>)) -> Vec<Cell> {
    let used_by = cluster.nodes.iter().find(|row| {
        let uses = row.stream.sender.as_ref().and_then(|sender| sender.slot.as_ref());
        uses == Some(&slot.name) && row.stream.upstream.as_deref() == Some(node)
    });
    vec![
        cell(&cluster.name),
        cell(node),
        cell(&slot.name),
        slot.kind.clone(),
        slot.database.clone(),
        maybe(slot.active.map(yes_no)),
        maybe(slot.restart),
        maybe(slot.retained_bytes),
        maybe(limit),
        maybe(slot.safe_bytes),
        slot.wal_status.clone(),
        maybe(slot.is_lost().map(yes_no)),
        slot.invalidation.clone(),
        maybe(slot.inactive_ms),
        maybe(slot.temporary.map(yes_no)),
        maybe(used_by.map(|row| &row.node.name)),
    ]
}

const EVENTS: &[Column] =
    &[("time", Text), ("cluster", Text), ("node", Text), ("kind", Text), ("event", Text)];

/// `SHOW EVENTS`
pub(super) fn events(overview: &Overview) -> Table {
    let rows = overview.events.iter().map(|(cluster, event)| {
        vec![
            cell(time_of_day(event.at)),
            cell(cluster),
            maybe(event.news.node.as_ref()),
            cell(event.news.kind.name()),
            cell(&event.news.text),
        ]
    });
    Table::new(EVENTS, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::example;

    #[test]
    fn a_replica_and_a_backup_each_have_a_row() {
        let table = streams(&example::overview());
        assert_eq!(table.rows().len(), 2);
        assert_eq!((table.cell(0, "upstream"), table.cell(0, "node")), (Some("one"), Some("two")));
        assert_eq!((table.cell(0, "slot"), table.cell(0, "state")), (Some("two"), Some("streaming")));
        assert_eq!(
            (table.cell(0, "write_lag_bytes"), table.cell(0, "replay_lag_bytes")),
            (Some("16"), Some("96"))
        );
        assert_eq!(
            (table.cell(0, "replay_lag_ms"), table.cell(0, "staleness_ms")),
            (Some("250"), Some("250"))
        );
        assert_eq!(
            (table.cell(0, "receiver"), table.cell(0, "receiver_timeline")),
            (Some("streaming"), Some("1"))
        );
        assert_eq!((table.cell(1, "node"), table.cell(1, "application_name")), (None, Some("pg_basebackup")));
        assert_eq!((table.cell(1, "sent_lag_bytes"), table.cell(1, "receiver")), (None, None));
    }

    #[test]
    fn slots_say_what_they_retain_of_how_much_and_who_uses_them() {
        let table = slots(&example::overview());
        assert_eq!((table.cell(0, "slot"), table.cell(0, "active")), (Some("old"), Some("no")));
        assert_eq!(
            (table.cell(0, "retained_bytes"), table.cell(0, "limit_bytes")),
            (Some("16777312"), Some("1073741824"))
        );
        assert_eq!((table.cell(0, "used_by"), table.cell(1, "used_by")), (None, Some("two")));
        assert_eq!(table.cell(1, "lost"), Some("no"));
    }

    #[test]
    fn events_have_the_time_of_day() {
        let table = events(&example::overview());
        assert_eq!(
            (table.cell(0, "time"), table.cell(0, "kind")),
            (Some("2026-11-21 05:59:52 UTC"), Some("primary"))
        );
        assert_eq!(table.cell(0, "event"), Some("is the primary (epoch 1)"));
    }
}
