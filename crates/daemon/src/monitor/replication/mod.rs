//! What a node says of replication: who streams from it, what it receives itself, its slots, its conflicts.
//!
//! For people and for alarms, never for routing: freshness is proved by the probe alone. Asked slowly, on a connection of its own
//! (`watch`), so that a node that is slow to tell of its slots is not taken for one that is slow to answer. What a node does
//! not say, or hides from the monitor's role, is `None`.

mod read;
mod watch;

use std::time::Duration;

use engine::time::Instant;
use wire::lsn::{Lsn, Timeline};

pub(super) use watch::{Inquiry, watch};

/// Time between two questions to a node.
pub(crate) const ASK_EVERY: Duration = Duration::from_secs(1);

/// What was said longer ago is unknown again.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(5);

/// Most senders and most slots taken in from one node; how many there are is known all the same.
pub(crate) const LISTED_MAX: usize = 64;

/// What one node said at one moment.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Replication {
    /// When it had answered.
    pub(crate) at: Instant,
    pub(crate) in_recovery: bool,
    /// The end of the WAL that it has: inserted, or received where it is a replica.
    pub(crate) end: Option<Lsn>,
    /// What it receives; `None` on a primary, and where a replica receives nothing.
    pub(crate) receiver: Option<Receiving>,
    /// Queries cancelled because they stood in the way of replay.
    pub(crate) conflicts: Option<Conflicts>,
    /// Its connections of clients, if they may be seen, and how many it takes.
    pub(crate) connections: Connections,
    /// Who streams from it; `None` where that is hidden.
    pub(crate) senders: Option<Listed<Sender>>,
    pub(crate) slots: Option<Listed<Slot>>,
    /// `max_slot_wal_keep_size`.
    pub(crate) slot_limit: SlotLimit,
}

/// Some of a list, and how long it is.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Listed<T> {
    pub(crate) some: Vec<T>,
    pub(crate) total: u64,
}

/// A row of `pg_stat_wal_receiver`; everything but its being there is hidden from a role without `pg_monitor`.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Receiving {
    pub(crate) status: Option<String>,
    pub(crate) sender_host: Option<String>,
    pub(crate) sender_port: Option<u16>,
    pub(crate) slot: Option<String>,
    /// The name under which it announces itself.
    pub(crate) application_name: Option<String>,
    pub(crate) timeline: Option<Timeline>,
    pub(crate) written: Option<Lsn>,
    pub(crate) flushed: Option<Lsn>,
    /// Since the sender was last heard.
    pub(crate) silent_ms: Option<f64>,
}

/// A row of `pg_stat_replication`: the upstream end of a stream.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Sender {
    pub(crate) pid: Option<i64>,
    pub(crate) user: Option<String>,
    pub(crate) application_name: Option<String>,
    pub(crate) client_addr: Option<String>,
    /// Of the slot it uses, if it uses one.
    pub(crate) slot: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) sync_state: Option<String>,
    pub(crate) reached: Reached,
    /// As the sender measures it; unknown where nothing was written for a while.
    pub(crate) lag_ms: LagMillis,
    /// Since the receiver's last reply.
    pub(crate) silent_ms: Option<f64>,
}

/// Positions a stream has reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reached {
    pub(crate) sent: Option<Lsn>,
    pub(crate) written: Option<Lsn>,
    pub(crate) flushed: Option<Lsn>,
    pub(crate) replayed: Option<Lsn>,
}

/// Delays of a stream, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct LagMillis {
    pub(crate) write: Option<f64>,
    pub(crate) flush: Option<f64>,
    pub(crate) replay: Option<f64>,
}

/// A row of `pg_replication_slots`.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Slot {
    pub(crate) name: String,
    /// `physical` or `logical`.
    pub(crate) kind: Option<String>,
    /// Of a logical slot.
    pub(crate) database: Option<String>,
    pub(crate) active: Option<bool>,
    pub(crate) temporary: Option<bool>,
    pub(crate) restart: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub(crate) wal_status: Option<String>,
    /// Bytes that may still be written before it is lost.
    pub(crate) safe_bytes: Option<i64>,
    /// WAL that is kept for it.
    pub(crate) retained_bytes: Option<u64>,
    /// Since nobody uses it (PostgreSQL 17 and later).
    pub(crate) inactive_ms: Option<f64>,
    /// Why it is lost (PostgreSQL 17 and later).
    pub(crate) invalidation: Option<String>,
}

impl Slot {
    /// Whether what it kept WAL for can't go on with it.
    pub(crate) fn is_lost(&self) -> Option<bool> {
        if self.invalidation.is_some() {
            return Some(true);
        }
        // A slot that has not kept anything yet has no status, and nothing to lose.
        match (&self.wal_status, self.restart) {
            (Some(status), _) => Some(status == "lost"),
            (None, None) => Some(false),
            (None, Some(_)) => None,
        }
    }
}

/// `max_slot_wal_keep_size`: what a slot may make a node keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SlotLimit {
    Unknown,
    Unlimited,
    Bytes(u64),
}

/// `pg_stat_database_conflicts`, all databases together. A cause is unknown where the version does not count it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Conflicts {
    /// In the order of [`Conflicts::CAUSES`].
    counts: [Option<u64>; Conflicts::CAUSES.len()],
}

impl Conflicts {
    /// The causes, as PostgreSQL's columns name them.
    pub(crate) const CAUSES: [&'static str; 6] =
        ["tablespace", "lock", "snapshot", "bufferpin", "deadlock", "active_logicalslot"];

    pub(crate) fn new(counts: [Option<u64>; Conflicts::CAUSES.len()]) -> Conflicts {
        Conflicts { counts }
    }

    /// Causes that were counted.
    pub(crate) fn by_cause(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Conflicts::CAUSES.into_iter().zip(self.counts).filter_map(|(cause, count)| Some((cause, count?)))
    }

    /// All causes together.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().flatten().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// How full a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Connections {
    pub(crate) used: Option<u64>,
    pub(crate) max: Option<u64>,
}
