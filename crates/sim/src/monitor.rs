//! The monitor as the shell runs it: one probe at a time per node, over a connection that is kept.

use std::sync::Arc;
use std::time::Duration;

use engine::cluster::{Cluster, ClusterSettings, ProbeFault, Report};
use engine::time::Instant;
use engine::view::{Incarnation, NodeId, View};
use wire::lsn::{Lsn, Timeline};

use crate::postgres::{Role, ServerId, State};
use crate::run::{Event, Run, node_id};
use crate::sabotage::Sabotage;
use crate::world::MS;

/// A probe is given up after this, in nanoseconds.
const PROBE_TIMEOUT: u64 = 100 * MS;

/// The engine's machine and what the shell keeps beside it.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) cluster: Cluster,
    pub(crate) view: View,
    /// Reads that replicas answered after all should have been well.
    pub(crate) calm_replica_reads: u64,
    links: Vec<Link>,
}

/// The monitor's way to one node.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// Which run of which server its connection goes to.
    connected: Option<(ServerId, u64)>,
    under_way: bool,
    /// When it is asked to look next; others are stale.
    due: Option<u64>,
}

impl Monitor {
    /// Of these nodes, and of so many places with those that join later.
    pub(crate) fn new(nodes: Vec<(NodeId, Arc<str>)>, places: usize) -> Self {
        let ms = Duration::from_millis;
        let settings = ClusterSettings {
            probe_idle_interval: ms(50),
            probe_hurried_interval: ms(2),
            hurry_max: ms(200),
            probe_stalled_interval: ms(20),
            probe_timeout: Duration::from_nanos(PROBE_TIMEOUT),
            strikes: 2,
            retry_max: ms(200),
            credentials_retry_max: ms(1000),
            samples_max: 64,
            takeover_after: ms(400),
        };
        Monitor {
            view: View::unknown(nodes.clone()),
            links: vec![Link::default(); places],
            cluster: Cluster::new(settings, nodes),
            calm_replica_reads: 0,
        }
    }
}

impl Run {
    /// A node leaves the cluster: nobody asks it any more, and its pool ends.
    pub(crate) fn leave(&mut self, node: usize) {
        self.monitor.cluster.leave(node_id(node), self.agenda.now());
        self.look_at_view();
        self.retire(node);
    }

    /// A node joins the cluster.
    pub(crate) fn join(&mut self, node: usize) {
        self.monitor.cluster.join(node_id(node), Arc::from(format!("n{node}")));
        self.look_at_view();
        self.schedule_probe(node);
    }

    /// A session's write was acknowledged.
    pub(crate) fn tell_monitor_of_write(&mut self) {
        self.monitor.cluster.on_write(self.agenda.now());
        for node in 0..self.pools.len() {
            self.schedule_probe(node);
        }
    }

    /// A session saw something that should make the monitor look.
    pub(crate) fn tell_monitor_of(&mut self, node: usize) {
        self.monitor.cluster.on_noticed(node_id(node), self.agenda.now());
        self.schedule_probe(node);
    }

    pub(crate) fn schedule_probe(&mut self, node: usize) {
        let next = self.monitor.cluster.next_probe(node_id(node)).as_nanos().max(self.agenda.nanos());
        let link = &mut self.monitor.links[node];
        if !link.under_way && link.due.is_none_or(|due| next < due) {
            link.due = Some(next);
            self.agenda.at(next, Event::ProbeDue(node));
        }
    }

    pub(crate) fn on_probe_due(&mut self, node: usize) {
        let asked = self.agenda.nanos();
        let link = &mut self.monitor.links[node];
        if link.under_way || link.due != Some(asked) {
            return;
        }
        link.due = None;
        if self.monitor.cluster.next_probe(node_id(node)) > self.agenda.now() {
            self.schedule_probe(node);
            return;
        }
        link.under_way = true;
        let connected = link.connected;
        let (server, run) = connected.unwrap_or_else(|| {
            let server = self.chance.pick(&self.plan.addresses[node]);
            (server, self.servers[server.0].run)
        });
        self.monitor.links[node].connected = Some((server, run));
        let delay = self.delay();
        self.agenda.after(delay, Event::ProbeArrived { node, asked, server, run });
    }

    pub(crate) fn on_probe_arrived(&mut self, node: usize, asked: u64, server: ServerId, run: u64) {
        let now = self.agenda.nanos();
        let state = self.servers[server.0].state;
        let outcome = match state {
            State::Gone | State::Isolated => Err(ProbeFault::Refused),
            State::Frozen(until) if until < asked + PROBE_TIMEOUT => {
                self.agenda.at(until, Event::ProbeArrived { node, asked, server, run });
                return;
            }
            State::Frozen(_) => {
                let outcome = Err(ProbeFault::TimedOut);
                self.agenda.at(asked + PROBE_TIMEOUT, Event::ProbeAnswered { node, asked, outcome });
                return;
            }
            State::Running if self.servers[server.0].run != run => Err(ProbeFault::Reset),
            State::Running => {
                let honest = self.servers[server.0].report(server, now, &self.history);
                Ok(self.sabotaged(node, server, honest))
            }
        };
        let delay = self.delay();
        self.agenda.after(delay, Event::ProbeAnswered { node, asked, outcome });
    }

    pub(crate) fn on_probe_answered(&mut self, node: usize, asked: u64, outcome: Result<Report, ProbeFault>) {
        let now = self.agenda.now();
        self.monitor.links[node].under_way = false;
        match outcome {
            Ok(report) => {
                let asked =
                    if self.sabotage == Sabotage::LateStamp { now } else { Instant::from_nanos(asked) };
                self.monitor.cluster.on_probe(node_id(node), asked, now, report);
            }
            Err(fault) => {
                self.monitor.links[node].connected = None;
                self.monitor.cluster.on_probe_failed(node_id(node), now, fault);
            }
        }
        self.look_at_view();
        for node in 0..self.pools.len() {
            self.schedule_probe(node);
        }
    }

    /// What the monitor would be told if a rule were forgotten.
    fn sabotaged(&self, node: usize, server: ServerId, honest: Report) -> Report {
        match self.sabotage {
            Sabotage::FlushPosition => match &self.servers[server.0].role {
                Role::Primary(writing) => Report { position: Lsn(writing.flushed), ..honest },
                Role::Replica(_) => honest,
            },
            Sabotage::NoIncarnation => Report { incarnation: Incarnation(node as u64), ..honest },
            Sabotage::NoTimeline if honest.in_recovery => {
                let current = self.reference.reigning_timeline(&self.history);
                Report { timeline: current.map(Timeline).or(honest.timeline), ..honest }
            }
            Sabotage::NoNormalise => Report { wal_block_size: 0, wal_segment_size: 0, ..honest },
            Sabotage::Nothing
            | Sabotage::LateStamp
            | Sabotage::NoTimeline
            | Sabotage::NoReadOrder
            | Sabotage::ForgottenWrite => honest,
        }
    }

    /// Takes the new view, if there is one, and lets the checkers judge it.
    fn look_at_view(&mut self) {
        let Some(view) = self.monitor.cluster.view() else { return };
        let now = self.agenda.nanos();
        if let Some(primary) = view.primary {
            let believed = view.node(primary).and_then(|node| node.incarnation);
            for &server in &self.plan.addresses[primary.index()] {
                if self.is_believed(server, believed) && self.servers[server.0].is_primary() {
                    self.reference.on_reign(now, self.servers[server.0].branch, &self.history);
                }
            }
        }
        for node in &view.nodes {
            let Some(fresh_as_of) = node.fresh_as_of else { continue };
            for &server in &self.plan.addresses[node.id.index()] {
                if self.is_believed(server, node.incarnation) {
                    let state = self.servers[server.0].visible(now);
                    self.reference.on_fresh(now, fresh_as_of.as_nanos(), state, &self.history);
                }
            }
        }
        self.monitor.view = view;
    }

    /// Whether the view speaks of the present run of this server.
    fn is_believed(&self, server: ServerId, believed: Option<Incarnation>) -> bool {
        let server_now = &self.servers[server.0];
        let same =
            believed == Some(server_now.incarnation(server)) || self.sabotage == Sabotage::NoIncarnation;
        same && server_now.state != State::Gone
    }
}
