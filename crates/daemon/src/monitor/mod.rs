//! Watches the nodes of a cluster and publishes what is believed about them.
//!
//! A task per cluster tells the engine what was seen and does what it asks for; a task per node owns the one connection
//! to it. Nodes come and go as the settings and the cluster's source of nodes say. Nothing is judged here: roles, health,
//! freshness and pace are the engine's (`engine::cluster`).

pub(crate) mod events;
mod members;
mod name;
mod node;
pub(crate) mod probe;
pub(crate) mod replication;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::cluster::{Authority, Cluster as Machine, ClusterSettings};
use engine::time::Instant;
use engine::view::{NodeId, NodeView, View};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::config::{MonitorSettings, NodeSettings};
use crate::discover::Found;
use crate::mail::{Notice, ToWorker, WorkerHandle};
use crate::pools::SharedPools;
use crate::spawn;
use crate::world::Cluster;
use events::Events;
use members::Members;
pub(crate) use members::joined;
use node::Finding;
use probe::{Answer, Failure, Receiver};
use replication::Replication;

/// Most orders waiting for a monitor. A notice that finds the queue full is dropped: the monitor is about to look anyway.
const ORDERS_MAX: usize = 64;

/// Most findings waiting for a monitor; a node's task that has one more waits.
const FINDINGS_MAX: usize = 64;

/// Under a stream of writes the monitor looks for new ones this often, whatever their number.
const WRITES_LOOKED_FOR_EVERY: Duration = Duration::from_millis(1);

/// Longest wait for a worker that takes no mail; it will look at the view by itself.
const WORKER_MAIL_MAX: Duration = Duration::from_millis(100);

/// The way to a cluster's monitor. The monitor ends when its last handle is dropped.
#[derive(Clone)]
pub(crate) struct MonitorHandle {
    orders: mpsc::Sender<Order>,
    status: Arc<Mutex<Vec<NodeStatus>>>,
    events: Events,
    /// [`MonitorHandle::system`]; 0 is not known.
    system: Arc<AtomicU64>,
}

enum Order {
    Look(NodeId),
    Drain(NodeId),
    Undrain(NodeId),
    /// The settings name these nodes.
    List(Vec<NodeSettings>),
    /// The source of this name has found these; no name: there is no source any more.
    Find(Option<&'static str>, Found),
}

/// What the monitor knows of a node besides the view: for people, not for routing.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct NodeStatus {
    pub(crate) node: NodeId,
    pub(crate) receiver: Option<Receiver>,
    pub(crate) replay_paused: bool,
    /// What it said last of replication.
    pub(crate) replication: Option<Arc<Replication>>,
    /// As `SHOW server_version` prints it.
    pub(crate) server_version: Option<Arc<str>>,
    /// Time the last answered probe took.
    pub(crate) probe_time: Option<Duration>,
    /// Probes answered.
    pub(crate) probes: u64,
    /// Probes that failed.
    pub(crate) probe_failures: u64,
    /// Why the last probe failed, if it did.
    pub(crate) last_error: Option<String>,
}

impl NodeStatus {
    /// Of a node that wasn't probed.
    pub(crate) fn new(node: NodeId) -> NodeStatus {
        NodeStatus {
            node,
            receiver: None,
            replay_paused: false,
            replication: None,
            server_version: None,
            probe_time: None,
            probes: 0,
            probe_failures: 0,
            last_error: None,
        }
    }

    fn on_answer(&mut self, answer: &Answer) {
        self.receiver = Some(answer.slow.receiver.clone());
        self.replay_paused = answer.slow.replay_paused;
        self.replication.clone_from(&answer.replication);
        self.server_version = Some(Arc::clone(&answer.sizes.version));
        self.probe_time = Some(answer.answered.since(answer.asked));
        self.probes += 1;
        self.last_error = None;
    }

    fn on_failure(&mut self, failure: &Failure) {
        self.probe_failures += 1;
        self.last_error = Some(failure.message.clone());
    }
}

impl MonitorHandle {
    /// Live traffic saw something at this node: it is probed at once.
    pub(crate) fn notice(&self, node: NodeId, what: Notice) {
        tracing::debug!(node = node.0, ?what, "noticed on live traffic");
        // Full: the monitor is behind with orders like this one.
        let _full = self.orders.try_send(Order::Look(node));
    }

    /// No new work for this node. `false`: the monitor has ended.
    pub(crate) async fn drain(&self, node: NodeId) -> bool {
        self.orders.send(Order::Drain(node)).await.is_ok()
    }

    /// Takes [`MonitorHandle::drain`] back.
    pub(crate) async fn undrain(&self, node: NodeId) -> bool {
        self.orders.send(Order::Undrain(node)).await.is_ok()
    }

    /// The settings name these nodes of the cluster.
    pub(crate) async fn list(&self, nodes: Vec<NodeSettings>) {
        // A monitor that has ended has panicked, which was logged.
        let _ended = self.orders.send(Order::List(nodes)).await;
    }

    /// The source of this name has found these nodes; no name and nothing found when there is no source any more.
    pub(crate) async fn find(&self, source: Option<&'static str>, found: Found) {
        let _ended = self.orders.send(Order::Find(source, found)).await;
    }

    /// What is known of each node besides the view.
    pub(crate) fn status(&self) -> Vec<NodeStatus> {
        lock(&self.status).clone()
    }

    /// The system identifier of the accepted primary, once one was accepted.
    pub(crate) fn system(&self) -> Option<u64> {
        Some(self.system.load(Ordering::Acquire)).filter(|&system| system != 0)
    }

    /// What has happened to the nodes.
    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    /// A handle to no monitor, of a world made for a test.
    #[cfg(test)]
    pub(crate) fn nobody(status: Vec<NodeStatus>) -> MonitorHandle {
        let (orders, _) = mpsc::channel(1);
        MonitorHandle {
            orders,
            status: Arc::new(Mutex::new(status)),
            events: Events::default(),
            system: Arc::default(),
        }
    }
}

fn lock(status: &Mutex<Vec<NodeStatus>>) -> MutexGuard<'_, Vec<NodeStatus>> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a monitor needs of the rest of the process.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) pools: Arc<SharedPools>,
    pub(crate) clock: Clock,
    /// The next node's id: counts through all clusters, so that no id is ever used again.
    pub(crate) ids: Arc<AtomicU32>,
}

/// Starts watching a cluster that has these nodes by its settings. With somebody who elects its primary, nobody is
/// accepted before that one was heard.
pub(crate) fn spawn(
    cluster: Arc<Cluster>,
    (login, listed): (&MonitorSettings, Vec<NodeSettings>),
    elected: bool,
    around: Surroundings,
) -> MonitorHandle {
    let (orders, orders_in) = mpsc::channel(ORDERS_MAX);
    let (findings, findings_in) = mpsc::channel(FINDINGS_MAX);
    let handle =
        MonitorHandle { orders, status: Arc::default(), events: Events::default(), system: Arc::default() };
    let mut machine =
        Machine::new(ClusterSettings { probe_timeout: probe::PROBE_MAX, ..Default::default() }, Vec::new());
    let now = around.clock.now();
    if elected {
        machine.set_authority(Authority::Named(None), now);
    }
    let mut monitor = Monitor {
        cluster,
        machine,
        probed: Vec::new(),
        members: Members::new(login.clone(), findings),
        status: Arc::clone(&handle.status),
        events: handle.events.clone(),
        system: Arc::clone(&handle.system),
        around,
        write_seen: None,
        published: View::unknown([]),
    };
    monitor.members.listed = listed;
    monitor.admit(now);
    monitor.show();
    spawn::task("monitor", monitor.run(findings_in, orders_in));
    handle
}

/// The cluster's task.
struct Monitor {
    cluster: Arc<Cluster>,
    machine: Machine,
    probed: Vec<Probed>,
    members: Members,
    status: Arc<Mutex<Vec<NodeStatus>>>,
    events: Events,
    system: Arc<AtomicU64>,
    around: Surroundings,
    /// The newest write the engine was told of.
    write_seen: Option<Instant>,
    /// The last view published.
    published: View,
}

/// A node's task as the cluster's task sees it. It ends when this is dropped, and its connection with it.
struct Probed {
    node: NodeId,
    asks: mpsc::Sender<()>,
    in_flight: bool,
}

impl Monitor {
    async fn run(mut self, mut findings: mpsc::Receiver<Finding>, mut orders: mpsc::Receiver<Order>) {
        let mut look_for_writes = self.around.clock.now();
        loop {
            let now = self.around.clock.now();
            let pause = self.ask_due(now);
            self.publish().await;
            let may_look = now >= look_for_writes;
            let pause = if may_look { pause } else { pause.min(look_for_writes.since(now)) };
            tokio::select! {
                Some(finding) = findings.recv() => self.on_finding(&finding),
                order = orders.recv() => match order {
                    Some(order) => self.on_order(order).await,
                    None => return,
                },
                () = self.cluster.writes.newer_than(self.write_seen), if may_look => {
                    look_for_writes = self.around.clock.now() + WRITES_LOOKED_FOR_EVERY;
                    self.write_seen = self.cluster.writes.newest();
                    if let Some(at) = self.write_seen {
                        self.machine.on_write(at);
                    }
                }
                () = sleep(pause) => {}
            }
        }
    }

    /// Asks every node that is due; the time until the next one is.
    fn ask_due(&mut self, now: Instant) -> Duration {
        let mut pause = Duration::from_secs(1);
        for probed in &mut self.probed {
            if probed.in_flight {
                continue;
            }
            let due = self.machine.next_probe(probed.node);
            if due <= now {
                // A task that is gone has panicked, which was logged; its node stays as it was last seen.
                probed.in_flight = true;
                let _gone = probed.asks.try_send(());
            } else {
                pause = pause.min(due.since(now));
            }
        }
        pause
    }

    fn on_finding(&mut self, finding: &Finding) {
        // One who has left says nothing any more.
        let Some(probed) = self.probed.iter_mut().find(|probed| probed.node == finding.node) else { return };
        if finding.asked_for {
            probed.in_flight = false;
        }
        let node = finding.node;
        let name = || self.cluster.node(node).map(|node| node.name).unwrap_or_default();
        let mut all = lock(&self.status);
        let Some(status) = all.iter_mut().find(|status| status.node == node) else { return };
        match &finding.outcome {
            Ok(answer) => {
                if status.last_error.is_some() || status.probes == 0 {
                    tracing::info!(node = &*name(), "the node answers the monitor");
                }
                self.events.note(self.around.clock.wall(), events::of_answer(&name(), status, answer));
                status.on_answer(answer);
                self.machine.on_probe(node, answer.asked, answer.answered, answer.report());
            }
            Err(failure) => {
                if status.last_error.as_ref() != Some(&failure.message) {
                    tracing::warn!(node = &*name(), error = failure.message, "a probe failed");
                }
                status.on_failure(failure);
                self.machine.on_probe_failed(node, finding.at, failure.fault);
            }
        }
    }

    async fn on_order(&mut self, order: Order) {
        match order {
            Order::Look(node) => self.machine.on_noticed(node, self.around.clock.now()),
            Order::Drain(node) => self.machine.drain(node),
            Order::Undrain(node) => self.machine.undrain(node),
            Order::List(nodes) => {
                self.members.listed = nodes;
                self.change_members().await;
            }
            Order::Find(source, found) => {
                (self.members.source, self.members.found) = (source, found);
                self.change_members().await;
            }
        }
    }

    /// Publishes the view if it is new, and wakes the workers if it may change what waits for a node.
    async fn publish(&mut self) {
        if self.show() {
            for worker in &self.around.workers {
                // A worker that is stuck for so long must not keep others from the news.
                let _late = timeout(WORKER_MAIL_MAX, worker.send(ToWorker::ViewChanged)).await;
            }
        }
    }

    /// Puts the view, if it is new, where it is looked at. `true`: what waits for a node may have one by it.
    fn show(&mut self) -> bool {
        let Some(view) = self.machine.view() else { return false };
        self.cluster.view.store(Arc::new(view.clone()));
        self.system.store(self.machine.system().unwrap_or(0), Ordering::Release);
        let eligibility = eligibility_changed(&self.published, &view);
        for node in &view.nodes {
            if self.published.node(node.id).is_none_or(|before| standing(before) != standing(node)) {
                log_standing(&self.cluster.name, node);
            }
        }
        self.events.note(self.around.clock.wall(), events::of_views(&self.published, &view));
        self.published = view;
        eligibility
    }
}

/// What decides whether a node may be used at all; its position and its freshness are not part of it.
fn standing(node: &NodeView) -> impl PartialEq + use<> {
    (node.role, node.health, node.incarnation, node.timeline, node.drained, node.spared)
}

/// Whether a request that waits could now be served elsewhere.
fn eligibility_changed(before: &View, after: &View) -> bool {
    let left = |node: &NodeView| after.node(node.id).is_none();
    if (before.epoch, before.primary) != (after.epoch, after.primary) || before.nodes.iter().any(left) {
        return true;
    }
    after.nodes.iter().any(|node| {
        before.node(node.id).is_none_or(|old| {
            standing(old) != standing(node) || old.fresh_as_of.is_some() != node.fresh_as_of.is_some()
        })
    })
}

fn log_standing(cluster: &str, node: &NodeView) {
    tracing::info!(
        cluster,
        node = &*node.name,
        role = ?node.role,
        health = ?node.health,
        timeline = node.timeline.map(|timeline| timeline.0),
        drained = node.drained,
        spared = node.spared,
        "the node's standing has changed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::view::{Health, Role};
    use wire::lsn::Lsn;

    fn view() -> View {
        View::unknown([(NodeId(0), Arc::from("one")), (NodeId(1), Arc::from("two"))])
    }

    #[test]
    fn progress_of_a_replica_wakes_nobody() {
        let before = view();
        let mut after = view();
        after.nodes[1].position = Some(Lsn(7));
        after.nodes[1].lag_bytes = Some(3);
        after.version = 9;
        assert!(!eligibility_changed(&before, &after));
    }

    #[test]
    fn role_health_drain_first_proof_epoch_and_a_node_that_left_wake_the_workers() {
        let changes: [fn(&mut View); 8] = [
            |view| drop(view.nodes.pop()),
            |view| view.nodes[1].spared = true,
            |view| view.nodes[1].role = Role::Replica,
            |view| view.nodes[1].health = Health::Up,
            |view| view.nodes[1].drained = true,
            |view| view.nodes[1].fresh_as_of = Some(Instant::START),
            |view| view.primary = Some(NodeId(0)),
            |view| view.epoch.0 += 1,
        ];
        for change in changes {
            let mut after = view();
            change(&mut after);
            assert!(eligibility_changed(&view(), &after));
        }
    }
}
