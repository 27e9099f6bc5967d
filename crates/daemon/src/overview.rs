//! Everything the console, the HTTP pages and the metrics may show, gathered at one moment.
//!
//! [`AdminWorld`] is what they are given: shared state to look at and a queue for what they ask for. [`Overview`] is plain data,
//! so that tables, metrics and JSON are pure functions of it. Nothing here decides or changes anything.

pub(crate) mod process;
pub(crate) mod replication;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use engine::freshness::Level;
use engine::pool::PoolMode;
use engine::time::Instant;
use engine::view::{Health, NodeId, NodeView, Role, View};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::ReadyWhen;
use crate::discover::{self, Discovery};
use crate::mail::{Snapshot, ToWorker, WorkerHandle};
use crate::monitor::events::Event;
use crate::monitor::probe::Receiver;
use crate::monitor::replication::{AGE_MAX, Replication, Slot, SlotLimit};
use crate::monitor::{MonitorHandle, NodeStatus};
use crate::pools::SharedPools;
use crate::stats::WorkerStats;
use crate::world::{Cluster, Database, Node, Reads};
use process::Process;
use replication::{OtherSender, Stream};

/// This release.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Longest wait for a worker's snapshot: one that is late is left out.
const SNAPSHOT_MAX: Duration = Duration::from_secs(1);

/// Averages are over at least this long (`stats_period` of PgBouncer).
const PERIOD: Duration = Duration::from_secs(60);

/// What the console and the HTTP server work with. Built by `run`.
pub(crate) struct AdminWorld {
    clock: Clock,
    /// Replaced whole on reload.
    pub(crate) served: ArcSwap<Served>,
    workers: Vec<WorkerHandle>,
    stats: Vec<Arc<WorkerStats>>,
    pools: Arc<SharedPools>,
    /// To `run`.
    pub(crate) orders: mpsc::Sender<Order>,
    periods: Mutex<Periods>,
    stopping: AtomicBool,
}

/// What is served under the settings in force.
pub(crate) struct Served {
    /// The clusters, in the order of the settings.
    pub(crate) clusters: Vec<Watched>,
    /// The databases known by name, in the order of the settings.
    pub(crate) databases: Vec<Arc<Database>>,
    /// Every setting with its value; no secret among them.
    pub(crate) settings: Vec<SettingRow>,
    /// Users that may log in, as far as they are listed.
    pub(crate) users: Vec<Arc<str>>,
    /// Of these, the ones that may use the console.
    pub(crate) admin_users: Vec<Arc<str>>,
    /// What `/readyz` asks for.
    pub(crate) ready_when: ReadyWhen,
    /// What a session asks for that says nothing.
    pub(crate) reads: Reads,
}

/// A cluster with its monitor.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) monitor: MonitorHandle,
    /// Its source of nodes, if it has one; replaced by a reload.
    pub(crate) discovery: Arc<ArcSwapOption<Discovery>>,
}

/// What an operator asks of `run`.
#[derive(Debug)]
pub(crate) enum Order {
    /// Read the settings again; the answer is what is wrong with them.
    Reload(oneshot::Sender<Result<(), String>>),
    /// Finish what is running, and end.
    Shutdown,
}

/// A setting as `SHOW CONFIG` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SettingRow {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) default: Option<String>,
    /// Whether a reload applies a new value.
    pub(crate) changeable: bool,
}

impl AdminWorld {
    /// A world in which these workers run and share these pools.
    pub(crate) fn new(
        clock: Clock,
        served: Served,
        (workers, pools): (Vec<(WorkerHandle, Arc<WorkerStats>)>, Arc<SharedPools>),
        orders: mpsc::Sender<Order>,
    ) -> AdminWorld {
        let (workers, stats) = workers.into_iter().unzip();
        let start = (clock.now(), Arc::new(WorkerStats::default()));
        AdminWorld {
            clock,
            served: ArcSwap::from_pointee(served),
            workers,
            stats,
            pools,
            orders,
            periods: Mutex::new(Periods { older: start.clone(), newer: start }),
            stopping: AtomicBool::new(false),
        }
    }

    /// From here on the router finishes what it has and takes nothing new.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether it was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Since each worker's loop turned last; none of one that has ended as it was told to.
    pub(crate) fn since_turned(&self) -> Vec<Option<Duration>> {
        let now = self.clock.now();
        self.stats.iter().map(|stats| stats.turned.last().map(|at| now.since(at))).collect()
    }

    /// What has happened, with the cluster's name, the oldest first.
    pub(crate) fn events(&self) -> Vec<(String, Event)> {
        events(&self.served.load().clusters)
    }

    /// The clusters, and by which reads their replicas are judged, without asking the workers anything.
    pub(crate) fn clusters(&self) -> (Vec<ClusterRow>, Reads) {
        let (served, now) = (self.served.load(), self.clock.now());
        (served.clusters.iter().map(|watched| watched.cluster_row(now)).collect(), served.reads)
    }

    /// The node of this name, with the monitor that watches it.
    pub(crate) fn find_node(&self, name: &str) -> Option<(NodeId, MonitorHandle)> {
        let served = self.served.load();
        served.clusters.iter().find_map(|watched| {
            let nodes = watched.cluster.nodes.load();
            let node = nodes.iter().find(|node| &*node.name == name)?;
            Some((node.id, watched.monitor.clone()))
        })
    }

    /// Everything at this moment.
    pub(crate) async fn overview(&self) -> Overview {
        let snapshot = self.snapshot().await;
        let now = self.clock.now();
        let served = self.served.load();
        let (clusters, reads) = self.clusters();
        let totals = Arc::new(sum(&self.stats));
        Overview {
            now,
            wall: self.clock.wall(),
            clusters,
            reads,
            events: events(&served.clusters),
            databases: served.databases.iter().map(|database| DatabaseRow::of(database)).collect(),
            settings: served.settings.clone(),
            users: served.users.clone(),
            period: self.period(now, &totals),
            totals,
            snapshot,
            process: Process::read(),
        }
    }

    /// What all workers have; one that doesn't answer in time is left out.
    async fn snapshot(&self) -> Snapshot {
        let mut all = Snapshot::default();
        for worker in &self.workers {
            let (tell, told) = oneshot::channel();
            if !worker.send(ToWorker::Snapshot(tell)).await {
                continue;
            }
            if let Ok(Ok(one)) = timeout(SNAPSHOT_MAX, told).await {
                all.clients.extend(one.clients);
                all.backends.extend(one.backends);
            }
        }
        all.pools = self.pools.rows(self.clock.now());
        all
    }

    fn period(&self, now: Instant, totals: &Arc<WorkerStats>) -> Period {
        let mut periods = self.periods.lock().unwrap_or_else(PoisonError::into_inner);
        periods.at(now, totals)
    }
}

/// Two moments of the counters, so that an average is over one to two periods however often it is asked for.
struct Periods {
    older: (Instant, Arc<WorkerStats>),
    newer: (Instant, Arc<WorkerStats>),
}

impl Periods {
    fn at(&mut self, now: Instant, totals: &Arc<WorkerStats>) -> Period {
        if now.since(self.newer.0) >= PERIOD {
            self.older = std::mem::replace(&mut self.newer, (now, Arc::clone(totals)));
        }
        Period { length: now.since(self.older.0), before: Arc::clone(&self.older.1) }
    }
}

/// The time that averages are over.
pub(crate) struct Period {
    pub(crate) length: Duration,
    /// The counters when it began.
    pub(crate) before: Arc<WorkerStats>,
}

/// Everything that can be shown.
pub(crate) struct Overview {
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
    pub(crate) clusters: Vec<ClusterRow>,
    pub(crate) reads: Reads,
    /// What has happened, with the cluster's name, the oldest first.
    pub(crate) events: Vec<(String, Event)>,
    pub(crate) databases: Vec<DatabaseRow>,
    pub(crate) settings: Vec<SettingRow>,
    pub(crate) users: Vec<Arc<str>>,
    /// The counters of all workers together.
    pub(crate) totals: Arc<WorkerStats>,
    pub(crate) period: Period,
    pub(crate) snapshot: Snapshot,
    pub(crate) process: Process,
}

impl Overview {
    /// All nodes of all clusters.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeRow> {
        self.clusters.iter().flat_map(|cluster| &cluster.nodes)
    }

    /// The node with this id.
    pub(crate) fn node(&self, id: NodeId) -> Option<&NodeRow> {
        self.nodes().find(|node| node.node.id == id)
    }

    /// Reads answered by replicas, of all reads; none before the first read.
    pub(crate) fn replica_share(&self) -> Option<f64> {
        let (replica, primary) = (self.totals.reads_on_replica.value(), self.totals.reads_on_primary.value());
        let all = replica.checked_add(primary).filter(|&all| all > 0)?;
        Some(replica as f64 / all as f64)
    }
}

/// A cluster as believed.
pub(crate) struct ClusterRow {
    pub(crate) name: String,
    pub(crate) epoch: u32,
    /// When the newest write through the router was acknowledged.
    pub(crate) newest_write: Option<Instant>,
    pub(crate) nodes: Vec<NodeRow>,
    /// How it goes with its source of nodes, if it has one.
    pub(crate) discovery: Option<discover::Status>,
    /// Streams to somebody who is no node of the cluster.
    pub(crate) others: Vec<OtherSender>,
}

impl ClusterRow {
    /// The replicas that may be given a read of this kind at this moment.
    pub(crate) fn serving_replicas(&self, reads: Reads) -> impl Iterator<Item = &NodeRow> {
        self.nodes.iter().filter(move |node| node.may_serve(reads))
    }

    /// Slots of the primary.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        let said = self.primary().and_then(|primary| primary.replication.as_ref()?.slots.as_ref());
        said.into_iter().flat_map(|listed| &listed.some)
    }

    /// Slots of all nodes, each with its node's name.
    pub(crate) fn all_slots(&self) -> impl Iterator<Item = (&str, &Slot)> {
        self.nodes.iter().flat_map(|node| {
            let listed = node.replication.as_ref().and_then(|said| said.slots.as_ref());
            listed.into_iter().flat_map(|listed| &listed.some).map(|slot| (&*node.node.name, slot))
        })
    }

    /// What a slot may make the primary keep.
    pub(crate) fn slot_limit(&self) -> SlotLimit {
        let said = self.primary().and_then(|primary| primary.replication.as_ref());
        said.map_or(SlotLimit::Unknown, |said| said.slot_limit)
    }

    /// The node that takes writes, if one is known and in role.
    pub(crate) fn primary(&self) -> Option<&NodeRow> {
        self.nodes.iter().find(|node| node.is_primary)
    }
}

/// A node as believed, and what its monitor knows besides.
pub(crate) struct NodeRow {
    pub(crate) node: Node,
    pub(crate) view: NodeView,
    pub(crate) status: NodeStatus,
    /// It is the accepted primary, and up.
    pub(crate) is_primary: bool,
    /// Proved staleness now.
    pub(crate) staleness: Option<Duration>,
    /// What it said of replication a moment ago.
    pub(crate) replication: Option<Arc<Replication>>,
    /// The stream it receives, and how far that is behind.
    pub(crate) stream: Stream,
}

impl NodeRow {
    /// The word for its role.
    pub(crate) fn role(&self) -> &'static str {
        match self.view.role {
            Role::Unknown => "unknown",
            Role::Primary => "primary",
            Role::Replica => "replica",
            Role::Fenced => "fenced",
        }
    }

    /// The word for its state: its health, unless an operator has drained it.
    pub(crate) fn state(&self) -> &'static str {
        match self.view.health {
            Health::Up | Health::Suspect if self.view.drained => "drained",
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Suspect => "suspect",
            Health::Down => "down",
        }
    }

    /// Whether it is a replica that may be given a read of this kind at this moment.
    pub(crate) fn may_serve(&self, reads: Reads) -> bool {
        let fresh = || self.staleness.is_some_and(|staleness| staleness <= reads.max_staleness);
        let enough = match reads.level {
            Level::Eventual => true,
            Level::Bounded | Level::Session | Level::Causal => fresh(),
            // The primary answers these.
            Level::Global | Level::Strong => false,
        };
        self.view.serves_reads() && enough
    }

    /// Whether WAL streams to it; `None` where that is hidden, and of a node that is no replica.
    pub(crate) fn receives(&self) -> Option<bool> {
        let in_recovery = match self.view.role {
            Role::Replica => true,
            Role::Primary | Role::Fenced => false,
            Role::Unknown => self.replication.as_ref()?.in_recovery,
        };
        if !in_recovery || !self.is_up() {
            return None;
        }
        self.status.receiver.as_ref()?.streams()
    }

    /// The word for its WAL receiver; none where the node does not answer.
    pub(crate) fn receiver(&self) -> Option<&str> {
        self.status.receiver.as_ref().filter(|_| self.is_up()).map(Receiver::name)
    }

    /// Whether replay is paused; none where the node does not answer.
    pub(crate) fn replay_paused(&self) -> Option<bool> {
        self.is_up().then_some(self.status.replay_paused)
    }

    /// Whether it answers the monitor.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.view.health, Health::Up | Health::Suspect)
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        if self.node.host.contains(':') {
            return format!("[{}]:{}", self.node.host, self.node.port);
        }
        format!("{}:{}", self.node.host, self.node.port)
    }
}

impl Watched {
    fn cluster_row(&self, now: Instant) -> ClusterRow {
        let view = self.cluster.view.load();
        let status = self.monitor.status();
        let known = |id: NodeId| status.iter().find(|s| s.node == id).cloned();
        let all = self.cluster.nodes.load();
        let nodes = all.iter().filter_map(|node| {
            let seen = view.node(node.id)?;
            Some(node_row(
                node,
                seen,
                &view,
                (known(node.id).unwrap_or_else(|| NodeStatus::new(node.id)), now),
            ))
        });
        let mut nodes: Vec<NodeRow> = nodes.collect();
        let others = replication::join(&mut nodes);
        ClusterRow {
            name: self.cluster.name.clone(),
            epoch: view.epoch.0,
            newest_write: self.cluster.writes.newest(),
            nodes,
            discovery: self.discovery.load().as_ref().map(|discovery| discovery.status()),
            others,
        }
    }
}

/// Joins what is known of a node from three places, at this moment.
pub(crate) fn node_row(node: &Node, seen: &NodeView, view: &View, about: (NodeStatus, Instant)) -> NodeRow {
    let (status, now) = about;
    let is_primary = view.primary == Some(node.id);
    let staleness = match seen.role {
        Role::Primary if is_primary => Some(Duration::ZERO),
        Role::Replica => seen.fresh_as_of.map(|at| now.since(at)),
        Role::Primary | Role::Unknown | Role::Fenced => None,
    };
    let said = status.replication.clone().filter(|said| now.since(said.at) < AGE_MAX);
    let up = matches!(seen.health, Health::Up | Health::Suspect);
    NodeRow {
        node: node.clone(),
        view: seen.clone(),
        status,
        is_primary,
        staleness,
        replication: said.filter(|_| up),
        stream: Stream::default(),
    }
}

/// The events of all clusters in the order of time.
fn events(clusters: &[Watched]) -> Vec<(String, Event)> {
    let of_cluster = |watched: &Watched| {
        let name = watched.cluster.name.clone();
        watched.monitor.events().all().into_iter().map(move |event| (name.clone(), event))
    };
    let mut all: Vec<_> = clusters.iter().flat_map(of_cluster).collect();
    all.sort_by_key(|(_, event)| event.at);
    all
}

/// A database as configured.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseRow {
    pub(crate) name: String,
    pub(crate) server_name: String,
    pub(crate) cluster: String,
    pub(crate) pool: engine::pool::Settings,
    pub(crate) level: Level,
    pub(crate) max_staleness: Duration,
    pub(crate) catalogue_epoch: u64,
}

impl DatabaseRow {
    fn of(database: &Database) -> DatabaseRow {
        DatabaseRow {
            name: database.name.clone(),
            server_name: database.server_name.clone(),
            cluster: database.cluster.name.clone(),
            pool: database.pool.clone(),
            level: database.reads.level,
            max_staleness: database.reads.max_staleness,
            catalogue_epoch: database.catalogue.load().epoch(),
        }
    }

    /// PgBouncer's word.
    pub(crate) fn pool_mode(&self) -> &'static str {
        match self.pool.mode {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
        }
    }
}

/// The counters of all workers, added up.
pub(crate) fn sum(stats: &[Arc<WorkerStats>]) -> WorkerStats {
    let total = WorkerStats::default();
    for one in stats {
        for (to, from) in total.counters().into_iter().zip(one.counters()) {
            to.add(from.value());
        }
    }
    total
}

#[cfg(test)]
pub(crate) mod example;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_several_workers_add_up() {
        let one = Arc::new(WorkerStats::default());
        one.writes.add(2);
        one.decisions[3].add(1);
        one.wait_time.record(Duration::from_micros(70));
        let total = sum(&[Arc::clone(&one), one]);
        assert_eq!((total.writes.value(), total.decisions[3].value()), (4, 2));
        assert_eq!((total.wait_time.count(), total.wait_time.sum_us.value()), (2, 140));
    }

    #[test]
    fn an_average_is_over_at_least_a_period_once_one_has_passed() {
        let at = |seconds: u64| Instant::START + Duration::from_secs(seconds);
        let mut periods = Periods { older: (at(0), Arc::default()), newer: (at(0), Arc::default()) };
        let totals = Arc::default();
        assert_eq!(periods.at(at(10), &totals).length, Duration::from_secs(10));
        assert_eq!(periods.at(at(60), &totals).length, Duration::from_secs(60));
        assert_eq!(periods.at(at(90), &totals).length, Duration::from_secs(90));
        assert_eq!(periods.at(at(121), &totals).length, Duration::from_secs(61));
    }
}
