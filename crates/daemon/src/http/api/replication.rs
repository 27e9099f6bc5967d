//! Replication as JSON: what a node receives, who streams from it, slots, conflicts.
//!
//! Shapes only; which stream belongs to which node is found in `overview::replication`.

use std::time::UNIX_EPOCH;

use serde_json::{Map, Value, json};

use super::millis;
use crate::clock::time_of_day;
use crate::monitor::events::Event;
use crate::monitor::replication::{Conflicts, Receiving, Sender, Slot, SlotLimit};
use crate::overview::replication::LagBytes;
use crate::overview::{ClusterRow, NodeRow, Overview};

/// What a node's object has besides.
pub(super) fn of_node(node: &NodeRow) -> Map<String, Value> {
    let said = node.replication.as_ref();
    let connections = said.map(|said| said.connections).unwrap_or_default();
    let stream = &node.stream;
    let upstream = stream.upstream.as_ref().zip(stream.sender.as_ref());
    let fields = [
        ("write_lag_bytes", json!(stream.lag.write)),
        ("flush_lag_bytes", json!(stream.lag.flush)),
        ("upstream", upstream.map_or(Value::Null, |(name, sender)| sender_of(name, sender, stream.lag))),
        ("wal_receiver", said.and_then(|said| said.receiver.as_ref()).map_or(Value::Null, receiver_of)),
        ("conflicts", said.and_then(|said| said.conflicts.as_ref()).map_or(Value::Null, conflicts_of)),
        ("connections", json!({ "used": connections.used, "max": connections.max })),
        ("slots_total", json!(said.and_then(|said| Some(said.slots.as_ref()?.total)))),
        ("senders_total", json!(said.and_then(|said| Some(said.senders.as_ref()?.total)))),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A cluster without its nodes.
pub(super) fn cluster(cluster: &ClusterRow, overview: &Overview) -> Value {
    let newest_write = cluster.newest_write.map(|at| millis(overview.now.since(at)));
    let slot_limit = match cluster.slot_limit() {
        SlotLimit::Bytes(bytes) => Some(bytes),
        SlotLimit::Unlimited | SlotLimit::Unknown => None,
    };
    let others = cluster.others.iter().map(|other| sender_of(&other.upstream, &other.sender, other.lag));
    json!({
        "name": cluster.name,
        "primary": cluster.primary().map(|node| node.node.name.to_string()),
        "epoch": cluster.epoch,
        "newest_write_ms_ago": newest_write,
        "replicas_serving": cluster.serving_replicas(overview.reads).count(),
        "slots": cluster.all_slots().map(|(node, slot)| slot_of(node, slot)).collect::<Vec<_>>(),
        "slot_limit_bytes": slot_limit,
        "other_senders": others.collect::<Vec<_>>(),
    })
}

/// What has happened, the oldest first.
pub(super) fn events(events: &[(String, Event)]) -> Value {
    let one = |(cluster, event): &(String, Event)| {
        let since = event.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        json!({
            "time_ms": millis(since),
            "time": time_of_day(event.at),
            "cluster": cluster,
            "node": event.news.node.as_deref(),
            "kind": event.news.kind.name(),
            "event": event.news.text,
        })
    };
    events.iter().map(one).collect()
}

fn sender_of(node: &str, sender: &Sender, lag: LagBytes) -> Value {
    let reached = sender.reached;
    json!({
        "node": node,
        "pid": sender.pid,
        "user": sender.user,
        "application_name": sender.application_name,
        "client_addr": sender.client_addr,
        "slot": sender.slot,
        "state": sender.state,
        "sync_state": sender.sync_state,
        "sent": reached.sent.map(|lsn| lsn.to_string()),
        "written": reached.written.map(|lsn| lsn.to_string()),
        "flushed": reached.flushed.map(|lsn| lsn.to_string()),
        "replayed": reached.replayed.map(|lsn| lsn.to_string()),
        "sent_lag_bytes": lag.sent,
        "write_lag_bytes": lag.write,
        "flush_lag_bytes": lag.flush,
        "replay_lag_bytes": lag.replay,
        "write_lag_ms": sender.lag_ms.write,
        "flush_lag_ms": sender.lag_ms.flush,
        "replay_lag_ms": sender.lag_ms.replay,
        "last_reply_ms_ago": sender.silent_ms,
    })
}

fn receiver_of(receiver: &Receiving) -> Value {
    json!({
        "status": receiver.status,
        "sender_host": receiver.sender_host,
        "sender_port": receiver.sender_port,
        "slot": receiver.slot,
        "application_name": receiver.application_name,
        "timeline": receiver.timeline.map(|timeline| timeline.0),
        "written": receiver.written.map(|lsn| lsn.to_string()),
        "flushed": receiver.flushed.map(|lsn| lsn.to_string()),
        "last_message_ms_ago": receiver.silent_ms,
    })
}

fn slot_of(node: &str, slot: &Slot) -> Value {
    json!({
        "node": node,
        "name": slot.name,
        "type": slot.kind,
        "database": slot.database,
        "active": slot.active,
        "temporary": slot.temporary,
        "restart": slot.restart.map(|lsn| lsn.to_string()),
        "retained_bytes": slot.retained_bytes,
        "safe_bytes": slot.safe_bytes,
        "wal_status": slot.wal_status,
        "lost": slot.is_lost(),
        "invalidation": slot.invalidation,
        "inactive_ms": slot.inactive_ms,
    })
}

fn conflicts_of(conflicts: &Conflicts) -> Value {
    let by_cause: Map<String, Value> =
        conflicts.by_cause().map(|(cause, count)| (cause.to_owned(), count.into())).collect();
    json!({ "total": conflicts.total(), "by_cause": by_cause })
}
