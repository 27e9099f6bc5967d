//! What a worker counts. One writer each, so that counting is a plain add; any thread may read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::route::Reason;
use engine::time::Instant;

/// A number that one thread adds to and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning worker may.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Subtracts, for numbers that are a level (clients, backends); only the owning worker may.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Replaces the value; only the owning worker may.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// When a worker's loop turned last: written a few times a second, so that a stuck one is found out.
#[derive(Debug, Default)]
pub struct Turned(AtomicU64);

impl Turned {
    /// It has ended as it was told to, and turns no more.
    const ENDED: u64 = u64::MAX;

    /// It turns.
    pub fn at(&self, now: Instant) {
        self.0.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// It has ended as it was told to.
    pub fn ended(&self) {
        self.0.store(Turned::ENDED, Ordering::Relaxed);
    }

    /// When it turned last; none if it has ended.
    pub fn last(&self) -> Option<Instant> {
        let nanos = self.0.load(Ordering::Relaxed);
        (nanos != Turned::ENDED).then(|| Instant::from_nanos(nanos))
    }
}

/// Upper bounds of the duration buckets, in microseconds; one more bucket holds the rest.
/// Two seconds are among them because `deploy/prometheus` has an alert at that time, which is exact only at a bound.
pub const BUCKETS_US: [u64; 17] = [
    50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 409_600, 1_000_000,
    2_000_000, 6_553_600, 26_214_400,
];

/// Durations in buckets, with their sum.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Counts per bucket of [`BUCKETS_US`], then the rest. Not cumulative.
    pub buckets: [Counter; BUCKETS_US.len() + 1],
    /// Sum in microseconds.
    pub sum_us: Counter,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|&bound| bound < us);
        self.buckets[bucket].add(1);
        self.sum_us.add(us);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::value).sum()
    }
}

// Flat table: one counter a line.
/// Everything a worker counts.
#[derive(Debug)]
pub struct WorkerStats {
    /// Requests by the reason of their decision, indexed by `Reason as usize`.
    pub decisions: [Counter; Reason::COUNT],
    /// Requests classified Reads and answered by a replica.
    pub reads_on_replica: Counter,
    /// Requests classified Reads and answered by the primary.
    pub reads_on_primary: Counter,
    /// Other requests (all on the primary, or local).
    pub writes: Counter,
    /// Transactions ended (a statement outside a block is one).
    pub transactions: Counter,
    /// Requests that ran again, on another node.
    pub reruns: Counter,
    /// ErrorResponses sent to clients, ours and the nodes'.
    pub errors: Counter,
    /// Of these, those that the router itself has written.
    pub own_errors: Counter,
    /// Of all errors, those that are the router's failure.
    pub router_failures: Counter,
    /// Of all errors, those that are a node's failure.
    pub node_failures: Counter,
    /// Bytes from clients.
    pub bytes_received: Counter,
    /// Bytes to clients.
    pub bytes_sent: Counter,
    /// Parse messages from clients, and those sent on to nodes.
    pub parses_received: Counter,
    /// Parse messages sent to nodes.
    pub parses_sent: Counter,
    /// Bind messages from clients.
    pub binds: Counter,
    /// Request time, from routing to ReadyForQuery, on replicas.
    pub replica_time: Histogram,
    /// The same on the primary.
    pub primary_time: Histogram,
    /// Time waited for a backend, of requests that had to wait.
    pub wait_time: Histogram,
    /// Verdicts found in the memo.
    pub memo_hits: Counter,
    /// Statements classified anew.
    pub memo_misses: Counter,
    /// Clients now.
    pub clients: Counter,
    /// Backends now.
    pub backends: Counter,
    /// Backends handed over to other workers.
    pub handed_over: Counter,
    /// When its loop turned last; not a counter.
    pub turned: Turned,
}

impl Default for WorkerStats {
    fn default() -> Self {
        WorkerStats {
            decisions: std::array::from_fn(|_| Counter::default()),
            reads_on_replica: Counter::default(),
            reads_on_primary: Counter::default(),
            writes: Counter::default(),
            transactions: Counter::default(),
            reruns: Counter::default(),
            errors: Counter::default(),
            own_errors: Counter::default(),
            router_failures: Counter::default(),
            node_failures: Counter::default(),
            bytes_received: Counter::default(),
            bytes_sent: Counter::default(),
            parses_received: Counter::default(),
            parses_sent: Counter::default(),
            binds: Counter::default(),
            replica_time: Histogram::default(),
            primary_time: Histogram::default(),
            wait_time: Histogram::default(),
            memo_hits: Counter::default(),
            memo_misses: Counter::default(),
            clients: Counter::default(),
            backends: Counter::default(),
            handed_over: Counter::default(),
            turned: Turned::default(),
        }
    }
}

impl Histogram {
    /// Its counters, in a fixed order.
    fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.buckets.iter().chain([&self.sum_us])
    }
}

impl WorkerStats {
    /// Every counter, in a fixed order, so that workers can be added up.
    pub fn counters(&self) -> Vec<&Counter> {
        let single = [
            &self.reads_on_replica,
            &self.reads_on_primary,
            &self.writes,
            &self.transactions,
            &self.reruns,
            &self.errors,
            &self.own_errors,
            &self.router_failures,
            &self.node_failures,
            &self.bytes_received,
            &self.bytes_sent,
            &self.parses_received,
            &self.parses_sent,
            &self.binds,
            &self.memo_hits,
            &self.memo_misses,
            &self.clients,
            &self.backends,
            &self.handed_over,
        ];
        let times = [&self.replica_time, &self.primary_time, &self.wait_time];
        let times = times.into_iter().flat_map(Histogram::counters);
        self.decisions.iter().chain(single).chain(times).collect()
    }
}
