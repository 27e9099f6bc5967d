//! What the threads share: clusters and databases, built from the settings and replaced on reload, or as nodes come and go.
//!
//! Everything here is read on the data path, so it is immutable or behind `ArcSwap`; nothing here is a
//! global: `run` builds it and hands it down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use engine::freshness::Level;
use engine::pool;
use engine::time::Instant;
use engine::view::{NodeId, View};
use tokio::sync::Notify;

/// One cluster as the threads see it.
#[derive(Debug)]
pub struct Cluster {
    /// Its name in the configuration.
    pub name: String,
    /// Its nodes, in the order in which they joined; replaced whole by the monitor. Every node that the view names is
    /// here, but for a moment in which it has left.
    pub nodes: ArcSwap<Vec<Node>>,
    /// What the monitor believes; replaced whole.
    pub view: ArcSwap<View>,
    /// Tells the monitor that somebody wrote.
    pub writes: WriteSignal,
}

impl Cluster {
    /// A cluster without nodes; its monitor brings them.
    pub fn new(name: String) -> Cluster {
        let view = ArcSwap::from_pointee(View::unknown([]));
        Cluster { name, nodes: ArcSwap::default(), view, writes: WriteSignal::default() }
    }

    /// The node of this id, if it is one of the cluster's.
    pub fn node(&self, id: NodeId) -> Option<Node> {
        self.nodes.load().iter().find(|node| node.id == id).cloned()
    }
}

/// Where a node lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Given when it joined; no other node of the process ever has it.
    pub id: NodeId,
    /// Its name in the configuration, or its address.
    pub name: Arc<str>,
    /// Who named it: the configuration, or a source of nodes.
    pub source: &'static str,
    /// Host name, IP address or directory of a Unix socket.
    pub host: String,
    /// TCP port, or the suffix of the Unix socket.
    pub port: u16,
}

/// A database clients can name, and how it is served.
#[derive(Debug)]
pub struct Database {
    /// The name without suffix.
    pub name: String,
    /// Its name on the nodes.
    pub server_name: String,
    /// The cluster that has it.
    pub cluster: Arc<Cluster>,
    /// Functions, operators and relations as last loaded from it; the built-in table until then.
    pub catalogue: ArcSwap<sql::Catalogue>,
    /// Pool sizes and lifetimes.
    pub pool: pool::Settings,
    /// Freshness asked for unless the session says otherwise.
    pub reads: Reads,
    /// Limits of a client's session.
    pub limits: Limits,
    /// Counts the reloads: of two entries of one database, the one with the higher number has the newer settings.
    pub generation: u64,
}

/// Freshness defaults of a database (`[reads]`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reads {
    /// `consistency`.
    pub level: Level,
    /// `max_staleness`.
    pub max_staleness: Duration,
}

/// Limits of a client's session. Zero durations are "no limit", as in PgBouncer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// `client_idle_timeout`.
    pub client_idle_max: Duration,
    /// `idle_transaction_timeout`.
    pub idle_transaction_max: Duration,
    /// `query_timeout`.
    pub query_max: Duration,
    /// Largest message accepted from a client, in bytes (`max_message`).
    pub message_bytes_max: usize,
}

/// How a worker tells the monitor that a write was acknowledged, at the cost of one store per write and one
/// wake-up per idle period of the monitor.
#[derive(Debug, Default)]
pub struct WriteSignal {
    /// Nanoseconds of the newest acknowledgement.
    newest: AtomicU64,
    /// True while the monitor samples at its idle rate and wants to be woken.
    asleep: AtomicBool,
    wake: Notify,
}

impl WriteSignal {
    /// A write was acknowledged at `at`.
    pub fn acknowledged(&self, at: Instant) {
        self.newest.fetch_max(at.as_nanos(), Ordering::AcqRel);
        if self.asleep.load(Ordering::Acquire) && self.asleep.swap(false, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// The newest acknowledgement, if there was one.
    pub fn newest(&self) -> Option<Instant> {
        match self.newest.load(Ordering::Acquire) {
            0 => None,
            nanos => Some(Instant::from_nanos(nanos)),
        }
    }

    /// The monitor's side: returns at once when a write newer than `seen` is known, else when one comes.
    pub async fn newer_than(&self, seen: Option<Instant>) {
        loop {
            self.asleep.store(true, Ordering::Release);
            if self.newest() > seen {
                self.asleep.store(false, Ordering::Release);
                return;
            }
            self.wake.notified().await;
        }
    }
}
