//! The pools of a worker: which there are, and carrying out what they say.

use std::collections::HashMap;
use std::sync::Arc;

use engine::pool::{Action, CheckOut, Condition, Fault, Pool, SlotId, WaiterId};
use engine::session::Side;
use engine::time::Instant;
use engine::view::{Health, NodeId};
use wire::sqlstate::SqlState;

use crate::mail::{ConnectError, ConnectFault, Notice, PoolId, ReadyBackend, ToControl};
use crate::world::Database;

use super::Worker;
use super::backend::{BackendConn, Use};

/// One pool with what the shell must know about it.
pub(super) struct PoolEntry {
    pub(super) machine: Pool,
    pub(super) node: NodeId,
    pub(super) database: Arc<Database>,
    pub(super) user: Arc<str>,
    /// Places of the backends that have a slot.
    pub(super) slots: HashMap<SlotId, usize>,
    /// Why the last connect failed.
    last_error: Option<ConnectError>,
    /// `search_path` of this user in this database, as its backends say.
    pub(super) search_path: Option<Arc<str>>,
}

/// Node, database entry (by address) and user.
type Key = (NodeId, usize, Arc<str>);

/// All pools of a worker.
#[derive(Default)]
pub(super) struct Pools {
    entries: Vec<PoolEntry>,
    by_key: HashMap<Key, usize>,
}

impl Pools {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.entries.iter().filter_map(|p| p.machine.next_deadline()).min()
    }

    pub(super) fn entries(&self) -> &[PoolEntry] {
        &self.entries
    }

    pub(super) fn entry(&mut self, pool: PoolId) -> Option<&mut PoolEntry> {
        self.entries.get_mut(pool.0 as usize)
    }

    /// The pool of this node, database and user; made at its first use.
    fn find(&mut self, node: NodeId, database: &Arc<Database>, user: &Arc<str>) -> PoolId {
        let key = (node, Arc::as_ptr(database) as usize, Arc::clone(user));
        let entries = &mut self.entries;
        let index = *self.by_key.entry(key).or_insert_with(|| {
            entries.push(PoolEntry {
                machine: Pool::new(database.pool.clone()),
                node,
                database: Arc::clone(database),
                user: Arc::clone(user),
                slots: HashMap::new(),
                last_error: None,
                search_path: None,
            });
            entries.len() - 1
        });
        PoolId(u32::try_from(index).expect("fewer pools than memory has bytes"))
    }
}

impl Worker {
    /// Asks the pool of a node for a backend; its place if there is one now. Else the client waits, and its turn will
    /// come through [`Worker::run_pool`].
    pub(super) fn check_out(&mut self, index: usize, node: NodeId, now: Instant) -> Option<usize> {
        let client = self.clients.get_mut(index)?;
        if let Some(kept) = client.take_kept(node, &self.backends) {
            if self.is_proved(kept) {
                return Some(kept);
            }
            self.give_back(kept, Condition::Broken);
        }
        let client = self.clients.get_mut(index)?;
        let waiter = client.waiter(index);
        let pool = self.pools.find(node, &client.info.database, &client.info.user);
        client.pool = Some(pool);
        loop {
            let entry = self.pools.entry(pool).expect("found or made above");
            match entry.machine.check_out(now, waiter) {
                CheckOut::Ready(slot) => {
                    let place = entry.slots.get(&slot).copied().expect("a ready slot has its backend");
                    if self.is_proved(place) && self.is_wanted(index, place) {
                        return Some(place);
                    }
                    self.return_slot(pool, slot, Condition::Broken, now);
                }
                CheckOut::Queued => {
                    self.run_pool(pool, now);
                    return None;
                }
            }
        }
    }

    /// Is the backend of the very run of the server that the view speaks of, in the role it had when it connected?
    pub(super) fn is_proved(&self, place: usize) -> bool {
        let Some(backend) = self.backends.get(place) else { return false };
        let Some(entry) = self.pools.entries.get(backend.pool.0 as usize) else { return false };
        let view = entry.database.cluster.view.load();
        let Some(node) = view.node(backend.state.node) else { return false };
        let side = if view.primary == Some(node.id) { Side::Primary } else { Side::Replica };
        node.incarnation == Some(backend.state.incarnation) && backend.state.side == side
    }

    /// Is the backend of the run of the server that the client's decision is about?
    fn is_wanted(&self, index: usize, place: usize) -> bool {
        let backend = self.backends.get(place);
        let client = self.clients.get(index);
        client.zip(backend).is_some_and(|(client, backend)| client.session.accepts(&backend.state))
    }

    /// Gives a slot back and does what follows.
    pub(super) fn return_slot(&mut self, pool: PoolId, slot: SlotId, condition: Condition, now: Instant) {
        if condition == Condition::Broken {
            self.remove_backend_of(pool, slot);
        }
        if let Some(entry) = self.pools.entry(pool) {
            entry.machine.give_back(now, slot, condition);
        }
        self.run_pool(pool, now);
    }

    /// Carries out what a pool wants done.
    pub(super) fn run_pool(&mut self, pool: PoolId, now: Instant) {
        while let Some(action) = self.pools.entry(pool).and_then(|e| e.machine.next_action()) {
            match action {
                Action::Connect(slot) => self.connect(pool, slot, now),
                Action::Close(slot) => self.remove_backend_of(pool, slot),
                Action::Grant { waiter, slot } => self.grant(pool, waiter, slot, now),
                Action::TimedOut { waiter, waited } => {
                    let message = format!(
                        "no backend became free within query_wait_timeout ({:.1} s waited); the pool is full",
                        waited.as_secs_f64()
                    );
                    self.fail_wait(waiter, SqlState::TOO_MANY_CONNECTIONS, &message);
                }
                Action::Refuse { waiter, fault } => self.refuse(pool, waiter, fault),
            }
        }
    }

    fn connect(&mut self, pool: PoolId, slot: SlotId, now: Instant) {
        let worker = self.parts.index;
        let Some(entry) = self.pools.entry(pool) else { return };
        let (database, user) = (Arc::clone(&entry.database), Arc::clone(&entry.user));
        let request = ToControl::Connect { worker, pool, slot, node: entry.node, database, user };
        if self.parts.control.try_send(request).is_err() {
            let entry = self.pools.entry(pool).expect("it was there");
            entry.machine.on_connect_failed(now, slot, Fault::NotReady);
        }
    }

    /// The control thread has connected, or not.
    pub(super) fn on_connected(
        &mut self,
        pool: PoolId,
        slot: SlotId,
        outcome: Result<Box<ReadyBackend>, ConnectError>,
    ) {
        let now = self.times.now;
        let generation = self.next_generation();
        let Some(entry) = self.pools.entry(pool) else { return };
        match outcome {
            Ok(ready) => {
                entry.last_error = None;
                if let Some((_, path)) = ready.parameters.iter().find(|(name, _)| name == "search_path") {
                    entry.search_path = Some(path.as_str().into());
                }
                match BackendConn::new(*ready, pool, slot, entry.node, (generation, now)) {
                    Ok(backend) => self.add_backend(backend, now),
                    Err(_) => entry.machine.on_connect_failed(now, slot, Fault::Node),
                }
            }
            Err(error) => {
                let fault = match error.fault {
                    ConnectFault::Node => Fault::Node,
                    ConnectFault::NotReady => Fault::NotReady,
                    ConnectFault::Full => Fault::Full,
                    ConnectFault::Credentials => Fault::Credentials,
                };
                if matches!(error.fault, ConnectFault::Node) {
                    let notice = ToControl::Noticed { node: entry.node, what: Notice::ConnectionLost };
                    // A hint: the monitor probes anyway.
                    let _ = self.parts.control.try_send(notice);
                }
                let entry = self.pools.entry(pool).expect("it was there");
                entry.last_error = Some(error);
                entry.machine.on_connect_failed(now, slot, fault);
            }
        }
        self.run_pool(pool, now);
    }

    /// A waiter's turn has come.
    fn grant(&mut self, pool: PoolId, waiter: WaiterId, slot: SlotId, now: Instant) {
        let place = self.pools.entry(pool).and_then(|e| e.slots.get(&slot).copied());
        let (Some(index), Some(place)) = (self.client_of(waiter), place) else {
            return self.return_slot(pool, slot, Condition::Clean, now);
        };
        if !self.is_proved(place) || !self.is_wanted(index, place) {
            // A good backend of a run that the client's decision was not about is the next client's.
            let condition = if self.is_proved(place) { Condition::Clean } else { Condition::Broken };
            self.return_slot(pool, slot, condition, now);
            return self.unproved(index);
        }
        self.attach_for_later(index, place);
    }

    /// There is no backend, and none will come soon.
    fn refuse(&mut self, pool: PoolId, waiter: WaiterId, fault: Fault) {
        let error = self.pools.entry(pool).and_then(|e| e.last_error.clone());
        match fault {
            Fault::Credentials => {
                let (code, message) = error
                    .map_or((SqlState::CONNECTION_FAILURE, "the node refused the login".to_owned()), |e| {
                        (e.sqlstate, e.message)
                    });
                self.fail_wait(waiter, code, &message);
            }
            Fault::Node | Fault::NotReady | Fault::Full => {
                if let Some(index) = self.client_of(waiter) {
                    self.unproved(index);
                }
            }
        }
    }

    /// The chosen node can't serve the client now: decide again, or hold.
    pub(super) fn unproved(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index) {
            client.pool = None;
            client.session.on_no_backend();
            self.hold(index);
        }
    }

    /// The client's request waits until a node may take it; looked at again at once, then with each tick and view.
    pub(super) fn hold(&mut self, index: usize) {
        if !self.holding.contains(&index) {
            self.holding.push(index);
        }
    }

    /// A client's wait ends with an error.
    fn fail_wait(&mut self, waiter: WaiterId, code: SqlState, message: &str) {
        if let Some(index) = self.client_of(waiter) {
            if let Some(client) = self.clients.get_mut(index) {
                client.pool = None;
            }
            self.end_wait(index, code, message);
        }
    }

    /// The client that a waiter's number means, if it is still there.
    fn client_of(&self, waiter: WaiterId) -> Option<usize> {
        let index = usize::try_from(waiter.0 & 0xffff_ffff).ok()?;
        self.clients.get(index).filter(|c| c.waiter(index) == waiter).map(|_| index)
    }

    fn add_backend(&mut self, mut backend: BackendConn, now: Instant) {
        let (pool, slot) = (backend.pool, backend.slot);
        let entry = self.backends.vacant_entry();
        let place = entry.key();
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
        let registered = self.parts.poll.registry().register(
            backend.socket.stream(),
            super::backend_token(place),
            interest,
        );
        let pool_entry = self.pools.entry(pool).expect("backends are connected for pools that exist");
        if registered.is_err() {
            pool_entry.machine.on_connect_failed(now, slot, Fault::Node);
            return;
        }
        entry.insert(backend);
        self.parts.stats.backends.add(1);
        pool_entry.slots.insert(slot, place);
        pool_entry.machine.on_connected(now, slot);
    }

    /// Closes the backend that has this slot, if there is one.
    fn remove_backend_of(&mut self, pool: PoolId, slot: SlotId) {
        let place = self.pools.entry(pool).and_then(|e| e.slots.remove(&slot));
        if let Some(mut backend) = place.and_then(|p| self.backends.try_remove(p)) {
            self.parts.stats.backends.sub(1);
            debug_assert!(
                !matches!(backend.used, Use::Lent(_)),
                "a lent backend is taken from its client first"
            );
            // Told politely, so that PostgreSQL's log stays clean; the kernel may not take it, which is fine.
            let mut goodbye = Vec::new();
            wire::encode::terminate(&mut goodbye);
            backend.socket.send_bytes(&goodbye);
            let _ = self.parts.poll.registry().deregister(backend.socket.stream());
        }
    }

    /// Deadlines of all pools.
    pub(super) fn tick_pools(&mut self, now: Instant) {
        for index in 0..self.pools.entries.len() {
            let due = self.pools.entries[index].machine.next_deadline().is_some_and(|at| at <= now);
            if due {
                self.pools.entries[index].machine.on_deadline(now);
                self.run_pool(PoolId(u32::try_from(index).expect("made from one")), now);
            }
        }
    }

    /// Backends of nodes that are not what they were when they were connected are let go.
    pub(super) fn recheck_pools(&mut self, now: Instant) {
        for index in 0..self.pools.entries.len() {
            let stale = self.pools.entries[index].slots.values().any(|&place| {
                self.backends.get(place).is_some_and(|b| b.used == Use::Idle) && !self.is_proved(place)
            });
            let entry = &mut self.pools.entries[index];
            if stale {
                entry.machine.recycle();
                entry.machine.close_idle();
            }
            let up =
                entry.database.cluster.view.load().node(entry.node).is_some_and(|n| n.health == Health::Up);
            if up && entry.machine.counts().waiting > 0 {
                entry.machine.retry_now(now);
            }
            self.run_pool(PoolId(u32::try_from(index).expect("made from one")), now);
        }
    }
}
