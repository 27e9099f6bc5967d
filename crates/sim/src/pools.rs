//! Pools as a worker runs them: connects, closes and grants as told, and keeps its own account of the queue.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use engine::pool::{
    Action, CheckOut, Condition, Fault, Pool, PoolMode, Settings, SlotId, WaiterId, WorkerId,
};

use crate::check::Promise;
use crate::postgres::{ServerId, State};
use crate::run::{Event, Run, node_id};
use crate::world::MS;

/// Longest wait for a backend, in nanoseconds.
const WAIT_MAX: u64 = 400 * MS;

/// The one worker whose sessions are played.
const WORKER: WorkerId = WorkerId(0);

/// A pool, and who has what of it.
#[derive(Debug)]
pub(crate) struct NodePool {
    pool: Pool,
    size: usize,
    /// To which run of which server each backend goes.
    pub(crate) backends: BTreeMap<SlotId, (ServerId, u64)>,
    connecting: usize,
    /// Who waits, by our own account, and since when.
    waiting: VecDeque<(usize, u64)>,
    /// When the pool is to be woken.
    due: Option<u64>,
}

impl NodePool {
    pub(crate) fn new(size: u32) -> Self {
        let settings = Settings {
            mode: PoolMode::Transaction,
            size,
            min_size: 0,
            wait_max: Duration::from_nanos(WAIT_MAX),
            idle_max: Duration::from_millis(300),
            lifetime_max: Duration::from_millis(900),
            connect_retry: Duration::from_millis(200),
        };
        NodePool {
            pool: Pool::new(settings, 1),
            size: size as usize,
            backends: BTreeMap::new(),
            connecting: 0,
            waiting: VecDeque::new(),
            due: None,
        }
    }

    pub(crate) fn check_invariants(&self) {
        self.pool.check_invariants();
    }
}

impl Run {
    /// A session wants a backend of a node.
    pub(crate) fn check_out(&mut self, session: usize, node: usize) -> Option<SlotId> {
        let now = self.agenda.now();
        let ready = match self.pools[node].pool.check_out(now, WORKER, WaiterId(session as u64)) {
            CheckOut::Ready(slot) => Some(slot),
            CheckOut::Queued => {
                self.pools[node].waiting.push_back((session, now.as_nanos()));
                None
            }
        };
        if ready.is_some() {
            if !self.pools[node].waiting.is_empty() {
                self.reference.broken(Promise::PoolOrder, now.as_nanos());
            }
            self.balance.lent(node_id(node));
        }
        self.obey(node);
        ready
    }

    /// A session is done with a backend.
    pub(crate) fn give_back(&mut self, node: usize, slot: SlotId, condition: Condition) {
        self.balance.given_back(node_id(node));
        self.pools[node].pool.give_back(self.agenda.now(), WORKER, slot, condition);
        self.obey(node);
    }

    /// The node is of the cluster no more.
    pub(crate) fn retire(&mut self, node: usize) {
        self.pools[node].pool.retire(self.agenda.now(), WORKER);
        self.obey(node);
    }

    pub(crate) fn on_connected(&mut self, node: usize, slot: SlotId, server: ServerId) {
        let now = self.agenda.now();
        let pool = &mut self.pools[node];
        pool.connecting -= 1;
        match self.servers[server.0].state {
            State::Running => {
                pool.backends.insert(slot, (server, self.servers[server.0].run));
                pool.pool.on_connected(now, WORKER, slot);
            }
            State::Gone | State::Isolated | State::Frozen(_) => {
                pool.pool.on_connect_failed(now, WORKER, slot, Fault::Node);
            }
        }
        self.obey(node);
    }

    pub(crate) fn on_pool_deadline(&mut self, node: usize) {
        if self.pools[node].due == Some(self.agenda.nanos()) {
            self.pools[node].due = None;
            self.pools[node].pool.on_deadline(self.agenda.now(), WORKER);
            self.obey(node);
        }
    }

    /// The idle backends of a server's run that has ended die.
    pub(crate) fn lose_idle_backends(&mut self, server: ServerId, run: u64) {
        let now = self.agenda.now();
        for node in 0..self.pools.len() {
            let backends = self.pools[node].backends.iter();
            let dead = backends.filter(|(_, backend)| **backend == (server, run)).map(|(slot, _)| *slot);
            let idle: Vec<_> = dead.filter(|slot| !self.is_lent(node, *slot)).collect();
            for slot in idle {
                self.pools[node].backends.remove(&slot);
                self.pools[node].pool.on_closed(now, WORKER, slot);
            }
            self.obey(node);
        }
    }

    /// Everyone who waits must have been told the end of it in time.
    pub(crate) fn check_waits(&mut self) {
        let now = self.agenda.nanos();
        let overdue = |(_, since): &(usize, u64)| now > since + WAIT_MAX + MS;
        if self.pools.iter().any(|pool| pool.waiting.front().is_some_and(overdue)) {
            self.reference.broken(Promise::PoolWait, now);
        }
    }

    /// Does what the pool says, and checks that it may say so.
    fn obey(&mut self, node: usize) {
        while let Some(action) = self.pools[node].pool.next_action(WORKER) {
            match action {
                Action::Connect { slot, .. } => {
                    let server = self.chance.pick(&self.plan.addresses[node]);
                    self.pools[node].connecting += 1;
                    let delay = self.delay() + self.delay();
                    self.agenda.after(delay, Event::Connected { node, slot, server });
                }
                Action::Close(slot) => {
                    self.pools[node].backends.remove(&slot);
                }
                Action::HandOver { .. } => unreachable!("there is one worker"),
                Action::Grant { waiter, slot } => {
                    let session = self.end_wait(node, waiter);
                    self.balance.lent(node_id(node));
                    self.run_on(session, node, slot);
                }
                Action::TimedOut { waiter, .. } => {
                    let session = self.end_wait(node, waiter);
                    self.fail(session);
                }
                Action::Refuse { waiter, .. } => {
                    let session = self.end_wait(node, waiter);
                    self.tell_monitor_of(node);
                    self.route_later(session, MS);
                }
            }
            let pool = &self.pools[node];
            if pool.backends.len() + pool.connecting > pool.size {
                self.reference.broken(Promise::PoolLimit, self.agenda.nanos());
            }
        }
        let next = self.pools[node].pool.next_deadline().map(|due| due.as_nanos().max(self.agenda.nanos()));
        if let Some(next) = next.filter(|next| self.pools[node].due.is_none_or(|due| *next < due)) {
            self.pools[node].due = Some(next);
            self.agenda.at(next, Event::PoolDeadline(node));
        }
    }

    /// The first of the queue is told the end of its wait; it must be this one.
    fn end_wait(&mut self, node: usize, waiter: WaiterId) -> usize {
        let first = self.pools[node].waiting.pop_front().map(|(session, _)| session as u64);
        if first != Some(waiter.0) {
            self.reference.broken(Promise::PoolOrder, self.agenda.nanos());
        }
        usize::try_from(waiter.0).expect("the number of a session")
    }
}
