//! One run of the world: what there is, and who hears of what happens.

use std::sync::Arc;

use engine::cluster::{ProbeFault, Report};
use engine::pool::SlotId;
use engine::route::Balance;
use engine::view::NodeId;

use crate::check::{Promise, Reference, Tally, Views, Violation};
use crate::clients::Session;
use crate::faults::Fault;
use crate::history::{History, Point};
use crate::monitor::Monitor;
use crate::pools::NodePool;
use crate::postgres::{Server, ServerId};
use crate::sabotage::Sabotage;
use crate::scenarios::Plan;
use crate::world::{Agenda, Chance, MS, US};

/// When the world ends, in nanoseconds.
pub(crate) const END: u64 = 3_000 * MS;
/// From here on all should be well again.
pub(crate) const CALM: u64 = 2_600 * MS;
/// How often the checkers look at everything.
const LOOK: u64 = 50 * MS;
/// Where the log begins.
const BEGIN: u64 = 100_000;

/// What can happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A node may be due for a probe.
    ProbeDue(usize),
    /// A probe has come to a server.
    ProbeArrived { node: usize, asked: u64, server: ServerId, run: u64 },
    /// A probe's answer has come back.
    ProbeAnswered { node: usize, asked: u64, outcome: Result<Report, ProbeFault> },
    /// A connect has come to its end.
    Connected { node: usize, slot: SlotId, server: ServerId },
    /// A pool asked to be woken.
    PoolDeadline(usize),
    /// A session wants something.
    Think(usize),
    /// A session that was held, or sent away, asks again.
    Route { session: usize, turn: u64 },
    /// A request has come to its server.
    Execute { session: usize, turn: u64 },
    /// A commit's record may be flushed.
    Flush { server: ServerId, run: u64, up_to: u64 },
    /// An answer has come to the session.
    Answered { session: usize, turn: u64 },
    /// A session's connection broke.
    Lost { session: usize, turn: u64 },
    /// Somebody writes without the router.
    OutsideWrite(ServerId),
    /// And is told that it is committed.
    OutsideAcknowledged(Point),
    /// The plan's fault of that number.
    Fault(usize),
    /// The checkers look at everything.
    Look,
}

/// The world.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) agenda: Agenda<Event>,
    pub(crate) chance: Chance,
    pub(crate) history: History,
    pub(crate) servers: Vec<Server>,
    pub(crate) monitor: Monitor,
    pub(crate) pools: Vec<NodePool>,
    pub(crate) balance: Balance,
    pub(crate) sessions: Vec<Session>,
    pub(crate) reference: Reference,
    pub(crate) plan: Plan,
    pub(crate) sabotage: Sabotage,
}

/// What came of a run.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The first broken promise.
    pub violation: Option<Violation>,
    /// What happened.
    pub tally: Tally,
}

impl Run {
    pub(crate) fn new(seed: u64, plan: Plan, sabotage: Sabotage) -> Self {
        let mut chance = Chance::new(seed);
        let (history, branch) = History::new();
        let mut servers = vec![Server::primary(0, branch, BEGIN)];
        servers.extend((1..plan.servers).map(|_| Server::replica(0, branch, BEGIN, ServerId(0))));
        let nodes = plan.addresses.len();
        let views = if sabotage == Sabotage::Nothing { Views::Judged } else { Views::Ignored };
        let names = (0..nodes - plan.strangers).map(|node| (node_id(node), Arc::from(format!("n{node}"))));
        let sessions: Vec<_> = (0..plan.sessions).map(|_| Session::new(&mut chance)).collect();
        Run {
            agenda: Agenda::new(),
            monitor: Monitor::new(names.collect(), nodes),
            pools: (0..nodes).map(|_| NodePool::new(plan.pool_size)).collect(),
            reference: Reference::new(sessions.len(), views),
            balance: Balance::new(),
            chance,
            history,
            servers,
            sessions,
            plan,
            sabotage,
        }
    }

    /// Lets the world run to its end, or to its first broken promise.
    pub(crate) fn play(mut self) -> Outcome {
        self.begin();
        while let Some(event) = self.agenda.next(END) {
            self.on_event(event);
            if self.reference.violation.is_some() {
                break;
            }
        }
        Outcome { violation: self.reference.violation, tally: self.reference.tally }
    }

    fn begin(&mut self) {
        for node in 0..self.pools.len() {
            self.schedule_probe(node);
        }
        for session in 0..self.sessions.len() {
            let due = self.chance.between(0, 20 * MS);
            self.agenda.after(due, Event::Think(session));
        }
        for server in 0..self.servers.len() {
            self.agenda.after(5 * MS, Event::OutsideWrite(ServerId(server)));
        }
        for place in 0..self.plan.faults.len() {
            self.agenda.at(self.plan.faults[place].0, Event::Fault(place));
        }
        self.agenda.after(LOOK, Event::Look);
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::ProbeDue(node) => self.on_probe_due(node),
            Event::ProbeArrived { node, asked, server, run } => {
                self.on_probe_arrived(node, asked, server, run)
            }
            Event::ProbeAnswered { node, asked, outcome } => self.on_probe_answered(node, asked, outcome),
            Event::Connected { node, slot, server } => self.on_connected(node, slot, server),
            Event::PoolDeadline(node) => self.on_pool_deadline(node),
            Event::Think(session) => self.on_think(session),
            Event::Route { session, turn } => self.on_route(session, turn),
            Event::Execute { session, turn } => self.on_execute(session, turn),
            Event::Flush { server, run, up_to } => self.on_flush(server, run, up_to),
            Event::Answered { session, turn } => self.on_answered(session, turn),
            Event::Lost { session, turn } => self.on_lost(session, turn),
            Event::OutsideWrite(server) => self.on_outside_write(server),
            Event::OutsideAcknowledged(point) => {
                self.reference.on_acknowledged(self.agenda.nanos(), None, point);
            }
            Event::Fault(place) => {
                let (_, fault) = self.plan.faults[place];
                self.on_fault(fault);
            }
            Event::Look => self.on_look(),
        }
    }

    /// One way over the network: quick as a rule, slow now and then.
    pub(crate) fn delay(&mut self) -> u64 {
        if self.chance.percent(5) {
            self.chance.between(US * 500, MS * 4)
        } else {
            self.chance.between(US * 50, US * 400)
        }
    }

    fn on_look(&mut self) {
        let now = self.agenda.nanos();
        self.monitor.cluster.check_invariants();
        for pool in &self.pools {
            pool.check_invariants();
        }
        self.check_waits();
        if now + LOOK >= END && self.plan.recovers && self.monitor.calm_replica_reads == 0 {
            self.reference.broken(Promise::Recovery, now);
        }
        self.agenda.after(LOOK, Event::Look);
    }

    /// Applies one of the plan's faults.
    fn on_fault(&mut self, fault: Fault) {
        crate::faults::apply(self, fault);
    }
}

/// The node at that place of the configuration.
pub(crate) fn node_id(place: usize) -> NodeId {
    NodeId(u32::try_from(place).expect("a handful of nodes"))
}
