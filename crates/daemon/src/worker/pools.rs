//! The pools of a worker: its part in those that all workers share, and carrying out what they say.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use engine::pool::{Abandoned, Action, CheckOut, Condition, Fault, Pool, SlotId, WaiterId, WorkerId};
use engine::session::Side;
use engine::time::Instant;
use engine::view::{Health, NodeId};
use wire::sqlstate::SqlState;

use crate::mail::{ConnectError, ConnectFault, FromPeer, Notice, PoolId, ReadyBackend, ToControl};
use crate::pools::{SharedPool, SharedPools, Turn};
use crate::world::Database;

use super::Worker;
use super::backend::{BackendConn, Use};
use super::client::ClientConn;

/// A worker's part in one pool.
pub(super) struct PoolEntry {
    pub(super) shared: Arc<SharedPool>,
    /// Places of the backends that the worker has.
    places: Places,
    /// When the pool wants to be told the time, as far as this worker knows. Whoever calls a pool last knows it exactly.
    due: Option<Instant>,
}

/// Places of backends by their slots; slots are small numbers.
#[derive(Default)]
struct Places(Vec<Option<usize>>);

impl Places {
    fn at(&self, slot: SlotId) -> Option<usize> {
        self.0.get(slot.0 as usize).copied().flatten()
    }

    fn put(&mut self, slot: SlotId, place: usize) {
        let index = slot.0 as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index] = Some(place);
    }

    fn take(&mut self, slot: SlotId) -> Option<usize> {
        self.0.get_mut(slot.0 as usize)?.take()
    }

    fn all(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied().flatten()
    }
}

/// Where a pool was found, by node, database entry (by address) and user.
type Found = HashMap<(NodeId, usize, Arc<str>), (PoolId, Weak<Database>)>;

/// Most ways to pools remembered; when there would be more, those of databases that are gone are forgotten.
const FOUND_MAX: usize = 4096;

/// A worker's part in the pools.
pub(super) struct Pools {
    shared: Arc<SharedPools>,
    me: WorkerId,
    /// By the places of the pools. Of a pool that was dropped it may be kept for a while.
    entries: Vec<Option<PoolEntry>>,
    /// While an entry stands here, its address is nobody else's.
    found: Found,
}

impl Pools {
    pub(super) fn new(shared: Arc<SharedPools>, me: WorkerId) -> Self {
        Pools { shared, me, entries: Vec::new(), found: HashMap::new() }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.entries.iter().flatten().filter_map(|pool| pool.due).min()
    }

    pub(super) fn entry(&self, pool: PoolId) -> Option<&PoolEntry> {
        self.entries.get(pool.place as usize)?.as_ref().filter(|entry| entry.shared.id == pool)
    }

    /// What users of this pool get as `search_path` without asking, as far as known.
    pub(super) fn search_path(&self, pool: PoolId) -> Option<Arc<str>> {
        self.entry(pool)?.shared.lock().search_path.clone()
    }

    /// The pool of this node, database and user; made at its first use.
    fn find(&mut self, node: NodeId, database: &Arc<Database>, user: &Arc<str>, now: Instant) -> PoolId {
        let key = (node, Arc::as_ptr(database) as usize, Arc::clone(user));
        if let Some((pool, _)) = self.found.get(&key)
            && self.entry(*pool).is_some()
        {
            return *pool;
        }
        let shared = self.shared.find(node, database, user, now);
        if self.found.len() >= FOUND_MAX {
            self.found.retain(|_, (_, database)| database.strong_count() > 0);
        }
        let pool = shared.id;
        self.found.insert(key, (pool, Arc::downgrade(database)));
        if self.entry(pool).is_none() {
            self.enter(shared);
        }
        pool
    }

    /// The part in this pool, which may be new. `None`: the pool was dropped.
    fn known(&mut self, pool: PoolId) -> Option<&mut PoolEntry> {
        if self.entry(pool).is_none() {
            let shared = self.shared.at(pool)?;
            self.enter(shared);
        }
        self.entries[pool.place as usize].as_mut()
    }

    fn enter(&mut self, shared: Arc<SharedPool>) {
        let place = shared.id.place as usize;
        if place >= self.entries.len() {
            self.entries.resize_with(place + 1, || None);
        }
        let due = shared.lock().machine.next_deadline();
        self.entries[place] = Some(PoolEntry { shared, places: Places::default(), due });
    }

    /// Lets go of the pools that were dropped.
    pub(super) fn forget_dropped(&mut self) {
        let dropped = |entry: &PoolEntry| entry.shared.is_dropped() && entry.places.all().next().is_none();
        let mut any = false;
        for entry in &mut self.entries {
            if entry.as_ref().is_some_and(dropped) {
                *entry = None;
                any = true;
            }
        }
        if any {
            let entries = &self.entries;
            let there = |pool: PoolId| {
                entries[pool.place as usize].as_ref().is_some_and(|entry| entry.shared.id == pool)
            };
            self.found.retain(|_, (pool, _)| there(*pool));
        }
    }

    /// Tells the other workers of a shape that a replica has refused.
    pub(super) fn teach_others(&self, shape: u64) {
        for worker in (0..self.shared.workers()).map(WorkerId).filter(|worker| *worker != self.me) {
            // One that has ended need not know.
            let _ended = self.shared.send(worker, FromPeer::Learned(shape));
        }
    }

    fn ids(&self) -> Vec<PoolId> {
        self.entries.iter().flatten().map(|entry| entry.shared.id).collect()
    }
}

impl Worker {
    /// Asks the pool of a node for a backend; its place if there is one now. Else the client waits, and its turn will
    /// come through [`Worker::grant`].
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
        let pool = self.pools.find(node, &client.info.database, &client.info.user, now);
        client.pool = Some(pool);
        loop {
            match self.call_pool(pool, now, |machine, me| machine.check_out(now, me, waiter)) {
                Some(CheckOut::Ready(slot)) => {
                    let place = self.pools.entry(pool).and_then(|entry| entry.places.at(slot));
                    let place = place.expect("a slot is lent where its backend is");
                    if self.is_proved(place) && self.is_wanted(index, place) {
                        return Some(place);
                    }
                    self.return_slot(pool, slot, Condition::Broken, now);
                }
                Some(CheckOut::Queued) => return None,
                None => {
                    self.unproved(index);
                    return None;
                }
            }
        }
    }

    /// One call of a pool's machine, under its lock. Then this worker does what it wants of it, and others are told of what it
    /// wants of them. `None`: the pool was dropped, so that there is nothing to be done.
    pub(super) fn call_pool<R>(
        &mut self,
        pool: PoolId,
        now: Instant,
        call: impl FnOnce(&mut Pool, WorkerId) -> R,
    ) -> Option<R> {
        let me = self.pools.me;
        let entry = self.pools.known(pool)?;
        let mut state = entry.shared.lock();
        let result = call(&mut state.machine, me);
        let turn = state.turn(me);
        drop(state);
        entry.due = turn.due;
        self.obey(pool, turn, now);
        Some(result)
    }

    /// Does what follows from a call.
    fn obey(&mut self, pool: PoolId, mut turn: Turn, now: Instant) {
        loop {
            if !turn.others.is_empty() {
                self.pools.shared.tell(turn.others, pool);
            }
            let Some(action) = turn.action else { return };
            self.carry_out(pool, action, now);
            if !turn.more {
                return;
            }
            let me = self.pools.me;
            let Some(entry) = self.pools.known(pool) else { return };
            turn = entry.shared.lock().turn(me);
            entry.due = turn.due;
        }
    }

    fn carry_out(&mut self, pool: PoolId, action: Action, now: Instant) {
        match action {
            Action::Connect { slot, home } => self.connect(pool, slot, home, now),
            Action::Close(slot) => self.close_backend_of(pool, slot),
            Action::HandOver { slot, to } => self.hand_over(pool, slot, to, now),
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

    /// Another worker has left something to do here.
    pub(super) fn look_at_pool(&mut self, pool: PoolId) {
        let now = self.times.now;
        let me = self.pools.me;
        let Some(entry) = self.pools.known(pool) else { return };
        entry.shared.lock().looked(me);
        self.call_pool(pool, now, |_, _| ());
    }

    /// Is the backend of the very run of the server that the view speaks of, in the role it had when it connected?
    pub(super) fn is_proved(&self, place: usize) -> bool {
        let Some(backend) = self.backends.get(place) else { return false };
        let Some(entry) = self.pools.entry(backend.pool) else { return false };
        let view = entry.shared.cluster.view.load();
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
            self.close_backend_of(pool, slot);
        }
        self.call_pool(pool, now, |machine, me| machine.give_back(now, me, slot, condition));
    }

    fn connect(&mut self, pool: PoolId, slot: SlotId, home: WorkerId, now: Instant) {
        let Some(entry) = self.pools.known(pool) else { return };
        let shared = &entry.shared;
        let (node, user, database) =
            (shared.node, Arc::clone(&shared.user), Arc::clone(&shared.lock().database));
        let request = ToControl::Connect { worker: home.index(), pool, slot, node, database, user };
        if self.parts.control.try_send(request).is_err() {
            self.call_pool(pool, now, |machine, me| {
                machine.on_connect_failed(now, me, slot, Fault::NotReady);
            });
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
        let outcome = match outcome {
            Ok(ready) => self.take_in(pool, slot, *ready),
            Err(error) => Err(self.learn_fault(pool, error)),
        };
        self.call_pool(pool, now, |machine, me| match outcome {
            Ok(()) => machine.on_connected(now, me, slot),
            Err(fault) => machine.on_connect_failed(now, me, slot, fault),
        });
    }

    /// A new backend becomes the worker's.
    fn take_in(&mut self, pool: PoolId, slot: SlotId, ready: ReadyBackend) -> Result<(), Fault> {
        let made = (self.next_generation(), self.times.now);
        let shared = Arc::clone(&self.pools.known(pool).ok_or(Fault::Node)?.shared);
        let path = ready.parameters.iter().find(|(name, _)| name == "search_path");
        let path = path.map(|(_, path)| path.as_str().into());
        let mut state = shared.lock();
        state.last_error = None;
        state.search_path = path.or(state.search_path.take());
        drop(state);
        let backend = BackendConn::new(ready, pool, slot, shared.node, made);
        backend.ok().and_then(|backend| self.add_backend(backend)).map(drop).ok_or(Fault::Node)
    }

    /// There is no new backend, for this reason.
    fn learn_fault(&mut self, pool: PoolId, error: ConnectError) -> Fault {
        let Some(shared) = self.pools.known(pool).map(|entry| Arc::clone(&entry.shared)) else {
            return Fault::Node;
        };
        let fault = match error.fault {
            ConnectFault::Node => Fault::Node,
            ConnectFault::NotReady => Fault::NotReady,
            ConnectFault::Full => Fault::Full,
            ConnectFault::Credentials => Fault::Credentials,
        };
        if fault == Fault::Node {
            let notice = ToControl::Noticed { node: shared.node, what: Notice::ConnectionLost };
            // A hint: the monitor probes anyway.
            let _ = self.parts.control.try_send(notice);
        }
        shared.lock().last_error = Some(error);
        fault
    }

    /// Passes an idle backend on to another worker.
    fn hand_over(&mut self, pool: PoolId, slot: SlotId, to: WorkerId, now: Instant) {
        // Whether another worker gets it or not, it is no longer this one's.
        let passed = self.remove_backend_of(pool, slot).is_some_and(|backend| {
            self.pools.shared.send(to, FromPeer::HandedOver(Box::new(backend))).is_ok()
        });
        if passed {
            self.parts.stats.handed_over.add(1);
        } else {
            self.call_pool(pool, now, |machine, me| machine.on_lost(now, me, slot));
        }
    }

    /// Another worker has passed a backend on to this one.
    pub(super) fn on_handed_over(&mut self, mut backend: BackendConn) {
        let now = self.times.now;
        let (pool, slot) = (backend.pool, backend.slot);
        backend.origin.generation = self.next_generation();
        backend.used = Use::Arriving;
        backend.socket.look_again();
        self.pools.known(pool);
        let Some(place) = self.add_backend(backend) else {
            self.call_pool(pool, now, |machine, me| machine.on_lost(now, me, slot));
            return;
        };
        // It may have died on the way: then the pool is told of that by this.
        self.pump_backend(place);
        let Some(backend) = self.backends.get_mut(place).filter(|backend| backend.used == Use::Arriving)
        else {
            return;
        };
        backend.used = Use::Idle;
        if self.is_proved(place) {
            self.call_pool(pool, now, |machine, me| machine.on_arrived(now, me, slot));
            return;
        }
        self.close_backend_of(pool, slot);
        self.call_pool(pool, now, |machine, me| machine.on_lost(now, me, slot));
    }

    /// A waiter's turn has come.
    fn grant(&mut self, pool: PoolId, waiter: WaiterId, slot: SlotId, now: Instant) {
        let place = self.pools.entry(pool).and_then(|e| e.places.at(slot));
        let waits = |index: &usize| self.clients.get(*index).is_some_and(|client| client.pool == Some(pool));
        let (Some(index), Some(place)) = (self.client_of(waiter).filter(waits), place) else {
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
        let error = self.pools.entry(pool).and_then(|e| e.shared.lock().last_error.clone());
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

    /// Takes a backend in; its place. `None`: the operating system refuses it.
    fn add_backend(&mut self, mut backend: BackendConn) -> Option<usize> {
        let (pool, slot) = (backend.pool, backend.slot);
        let entry = self.backends.vacant_entry();
        let place = entry.key();
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
        let token = super::backend_token(place);
        self.parts.poll.registry().register(backend.socket.stream(), token, interest).ok()?;
        entry.insert(backend);
        self.parts.stats.backends.add(1);
        let known = self.pools.known(pool).expect("a pool with a backend is not dropped");
        known.places.put(slot, place);
        Some(place)
    }

    /// Takes out the backend that has this slot, if it is here.
    pub(super) fn remove_backend_of(&mut self, pool: PoolId, slot: SlotId) -> Option<BackendConn> {
        let place = self.pools.known(pool)?.places.take(slot)?;
        let mut backend = self.backends.try_remove(place)?;
        debug_assert!(!matches!(backend.used, Use::Lent(_)), "a lent backend is taken from its client first");
        self.parts.stats.backends.sub(1);
        let _ = self.parts.poll.registry().deregister(backend.socket.stream());
        Some(backend)
    }

    /// Closes the backend that has this slot, if it is here.
    fn close_backend_of(&mut self, pool: PoolId, slot: SlotId) {
        if let Some(mut backend) = self.remove_backend_of(pool, slot) {
            // Told politely, so that PostgreSQL's log stays clean; the kernel may not take it, which is fine.
            let mut goodbye = Vec::new();
            wire::encode::terminate(&mut goodbye);
            backend.socket.send_bytes(&goodbye);
        }
    }

    /// Deadlines of all pools.
    pub(super) fn tick_pools(&mut self, now: Instant) {
        for pool in self.pools.ids() {
            if self.pools.entry(pool).is_some_and(|entry| entry.due.is_some_and(|due| due <= now)) {
                self.call_pool(pool, now, |machine, me| machine.on_deadline(now, me));
            }
        }
    }

    /// Backends of nodes that are not what they were when they were connected are let go.
    pub(super) fn recheck_pools(&mut self, now: Instant) {
        for pool in self.pools.ids() {
            let Some(entry) = self.pools.entry(pool) else { continue };
            let view = entry.shared.cluster.view.load();
            let seen = view.node(entry.shared.node);
            // A node that left finishes what it is doing, which may be well; it only gets nothing more.
            let left = seen.is_none();
            let health = seen.map_or(Health::Down, |n| n.health);
            let lost_replica = !left && health == Health::Down && view.primary != Some(entry.shared.node);
            let primary = view.primary.and_then(|primary| view.node(primary));
            let elsewhere = primary.is_some_and(|primary| primary.health == Health::Up);
            drop(view);
            let places: Vec<usize> = entry.places.all().collect();
            let idle = |place: &usize| self.backends.get(*place).is_some_and(|b| b.used == Use::Idle);
            let stale = places.iter().any(|place| idle(place) && !self.is_proved(*place));
            self.call_pool(pool, now, |machine, me| {
                if stale {
                    machine.recycle(me);
                }
                if health == Health::Up && machine.counts().waiting > 0 {
                    machine.retry_now(now, me);
                }
            });
            if lost_replica || left {
                self.leave_queue(pool, now);
            }
            if lost_replica && elsewhere {
                self.move_reads(&places);
            }
        }
    }

    /// What runs on these backends of a replica that is gone, and could run elsewhere, does: a host that is frozen may
    /// never answer, nor end the connection.
    fn move_reads(&mut self, places: &[usize]) {
        for &place in places {
            let Some(backend) = self.backends.get_mut(place) else { continue };
            let Use::Lent(index) = backend.used else { continue };
            if self.clients.get(index).is_some_and(|client| client.session.may_move(&backend.state)) {
                backend.state.spent = true;
                self.lose_backend(index);
            }
        }
    }

    /// Whoever waits for this node, which is gone, is sent elsewhere. What is lent there may never come back: a host
    /// that is frozen does not even end its connections.
    fn leave_queue(&mut self, pool: PoolId, now: Instant) {
        let here =
            |client: &ClientConn| client.pool == Some(pool) && client.session.waiting_since().is_some();
        let waiting: Vec<(usize, WaiterId)> =
            self.clients.iter().filter(|(_, c)| here(c)).map(|(i, c)| (i, c.waiter(i))).collect();
        for (index, waiter) in waiting {
            let left = self.call_pool(pool, now, |machine, me| machine.abandon(me, waiter));
            if left == Some(Abandoned::WasQueued)
                && let Some(client) = self.clients.get_mut(index)
            {
                client.pool = None;
                self.hold(index);
            }
        }
    }

    /// The worker ends: what it has is closed with it, and others may have the slots.
    pub(super) fn leave_pools(&mut self) {
        let now = self.times.now;
        for pool in self.pools.ids() {
            self.call_pool(pool, now, |machine, me| machine.leave(now, me));
        }
    }
}
