//! The pools, which all workers share: one machine for each node, database and user, behind a lock that is held for the
//! time of one call. Sockets never come here: a backend belongs to the worker that has it, and changes hands by mail.
//!
//! A pool is found by what it is, so that a limit holds over a reload too. When its node has left the cluster it is retired,
//! and dropped once nothing is left of it. Nothing here decides who gets what; that is `engine::pool`'s.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::pool::{Action, Pool, PoolMode, WorkerId, WorkerSet};
use engine::time::Instant;
use engine::view::NodeId;

use crate::mail::{ConnectError, FromPeer, Peer, PoolId, PoolRow};
use crate::world::{Cluster, Database};

/// All pools, and the workers that share them.
#[derive(Debug)]
pub(crate) struct SharedPools {
    peers: Vec<Peer>,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    /// By their places.
    pools: Vec<Option<Arc<SharedPool>>>,
    by_key: HashMap<Key, Arc<SharedPool>>,
    /// Pools made so far.
    made: u32,
}

/// What a pool is: the backends of a user of a database, as clients and as the node call it, on a node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    node: NodeId,
    name: String,
    server_name: String,
    user: Arc<str>,
}

/// One pool.
#[derive(Debug)]
pub(crate) struct SharedPool {
    pub(crate) id: PoolId,
    pub(crate) node: NodeId,
    pub(crate) user: Arc<str>,
    pub(crate) cluster: Arc<Cluster>,
    state: Mutex<PoolState>,
    /// It is retired and has nothing: it is not found any more, and nobody gets anything from it.
    dropped: AtomicBool,
}

/// What the lock of a pool guards.
#[derive(Debug)]
pub(crate) struct PoolState {
    pub(crate) machine: Pool,
    /// The newest settings it was told of.
    pub(crate) database: Arc<Database>,
    /// Why the last connect failed.
    pub(crate) last_error: Option<ConnectError>,
    /// `search_path` of this user in this database, as its backends say.
    pub(crate) search_path: Option<Arc<str>>,
    /// Workers that have been told to look, and have not looked yet.
    told: WorkerSet,
}

/// What follows from a call of a pool's machine.
pub(crate) struct Turn {
    /// What the worker itself is to do.
    pub(crate) action: Option<Action>,
    /// There is more for it to do.
    pub(crate) more: bool,
    /// Who else has something to do, and must be told.
    pub(crate) others: WorkerSet,
    /// When to call [`Pool::on_deadline`].
    pub(crate) due: Option<Instant>,
}

impl SharedPools {
    /// No pools yet, for these workers.
    pub(crate) fn new(peers: Vec<Peer>) -> Self {
        SharedPools { peers, all: Mutex::default() }
    }

    /// How many workers share them.
    pub(crate) fn workers(&self) -> u16 {
        u16::try_from(self.peers.len()).expect("the settings allow fewer workers")
    }

    /// The pool of this node, database and user; made at its first use.
    pub(crate) fn find(
        &self,
        node: NodeId,
        database: &Arc<Database>,
        user: &Arc<str>,
        now: Instant,
    ) -> Arc<SharedPool> {
        let key = Key {
            node,
            name: database.name.clone(),
            server_name: database.server_name.clone(),
            user: Arc::clone(user),
        };
        let mut all = self.lock();
        if let Some(pool) = all.by_key.get(&key).cloned() {
            drop(all);
            self.renew(&pool, database, now);
            return pool;
        }
        // Tests of what only looks at pools have no worker.
        let state = PoolState {
            machine: Pool::new(database.pool.clone(), self.workers().max(1)),
            database: Arc::clone(database),
            last_error: None,
            search_path: None,
            told: WorkerSet::default(),
        };
        let pool = Arc::new(SharedPool {
            id: all.vacant_id(),
            node,
            user: Arc::clone(user),
            cluster: Arc::clone(&database.cluster),
            state: Mutex::new(state),
            dropped: AtomicBool::new(false),
        });
        let place = pool.id.place as usize;
        all.pools[place] = Some(Arc::clone(&pool));
        all.by_key.insert(key, Arc::clone(&pool));
        pool
    }

    /// The pool of this name, unless it was dropped.
    pub(crate) fn at(&self, id: PoolId) -> Option<Arc<SharedPool>> {
        self.lock().pools.get(id.place as usize)?.clone().filter(|pool| pool.id == id)
    }

    /// All pools, in the order of their places.
    fn all(&self) -> Vec<Arc<SharedPool>> {
        self.lock().pools.iter().flatten().cloned().collect()
    }

    /// Retires the pools of nodes that have left their clusters, and drops those of which nothing is left.
    pub(crate) fn sweep(&self, now: Instant) {
        for pool in self.all() {
            if pool.cluster.node(pool.node).is_none() {
                self.retire(&pool, now);
            }
        }
        let mut all = self.lock();
        let All { pools, by_key, .. } = &mut *all;
        for place in pools.iter_mut() {
            let Some(pool) = place else { continue };
            let state = pool.lock();
            if state.machine.is_retired() && state.machine.is_unused() {
                pool.dropped.store(true, Ordering::Release);
                drop(state);
                *place = None;
            }
        }
        by_key.retain(|_, pool| !pool.is_dropped());
    }

    fn retire(&self, pool: &SharedPool, now: Instant) {
        let mut state = pool.lock();
        if !state.machine.is_retired() {
            state.machine.retire(now, WorkerId(0));
            self.tell_everybody(pool.id, state);
        }
    }

    /// Gives the pools that exist the new settings of their databases.
    pub(crate) fn take_over(&self, databases: &[Arc<Database>], now: Instant) {
        for pool in self.all() {
            let is = |database: &&Arc<Database>| {
                let pool = &pool.lock().database;
                (&database.name, &database.server_name) == (&pool.name, &pool.server_name)
                    && Arc::ptr_eq(&database.cluster, &pool.cluster)
            };
            if let Some(database) = databases.iter().find(is) {
                self.renew(&pool, database, now);
            }
        }
    }

    /// Tells a worker to look at a pool.
    pub(crate) fn tell(&self, others: WorkerSet, pool: PoolId) {
        for worker in others {
            // One that has ended has nothing to look at.
            let _ended = self.send(worker, FromPeer::Look(pool));
        }
    }

    /// Mail to a worker; given back if it has ended.
    pub(crate) fn send(&self, worker: WorkerId, message: FromPeer) -> Result<(), FromPeer> {
        self.peers[worker.index()].send(message)
    }

    /// What the pools of the clusters' nodes have, for people.
    pub(crate) fn rows(&self, now: Instant) -> Vec<PoolRow> {
        self.all().iter().filter_map(|pool| pool.row(now)).collect()
    }

    /// Clients that logged in before a reload come later than others with settings that are older: these change nothing.
    fn renew(&self, pool: &SharedPool, database: &Arc<Database>, now: Instant) {
        let mut state = pool.lock();
        if database.generation <= state.database.generation {
            return;
        }
        state.database = Arc::clone(database);
        // Whoever calls, all are told: they look, and find what there is to do and when.
        state.machine.resize(now, WorkerId(0), database.pool.clone());
        self.tell_everybody(pool.id, state);
    }

    fn tell_everybody(&self, pool: PoolId, mut state: MutexGuard<'_, PoolState>) {
        let everybody = (0..self.workers()).map(WorkerId);
        let mut others = WorkerSet::default();
        everybody.for_each(|worker| others.add(worker));
        state.told = others;
        drop(state);
        self.tell(others, pool);
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    /// A name for one pool more: a place that nobody has, which is there.
    fn vacant_id(&mut self) -> PoolId {
        let place = self.pools.iter().position(Option::is_none).unwrap_or_else(|| {
            self.pools.push(None);
            self.pools.len() - 1
        });
        self.made = self.made.wrapping_add(1);
        PoolId { place: u32::try_from(place).expect("fewer pools than memory has bytes"), number: self.made }
    }
}

impl SharedPool {
    /// Whether it is retired and has nothing.
    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    /// The machine and what belongs to it, for one call.
    pub(crate) fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn row(&self, now: Instant) -> Option<PoolRow> {
        let state = self.lock();
        if state.machine.is_retired() {
            return None;
        }
        let counts = state.machine.counts();
        Some(PoolRow {
            database: state.database.name.clone(),
            user: Arc::clone(&self.user),
            node: self.node,
            clients_active: counts.lent,
            clients_waiting: counts.waiting,
            backends_active: counts.lent,
            backends_idle: counts.idle + counts.moving,
            backends_connecting: counts.connecting,
            wait_max_us: u64::try_from(state.machine.longest_wait(now).as_micros()).unwrap_or(u64::MAX),
            size: state.database.pool.size,
            mode: match state.database.pool.mode {
                PoolMode::Session => "session",
                PoolMode::Transaction => "transaction",
            },
        })
    }
}

impl PoolState {
    /// What the worker `by` and others are to do after a call by it.
    pub(crate) fn turn(&mut self, by: WorkerId) -> Turn {
        let action = self.machine.next_action(by);
        let pending = self.machine.pending();
        let mut others = pending.without(self.told);
        others.remove(by);
        for worker in others {
            self.told.add(worker);
        }
        Turn { action, more: pending.has(by), others, due: self.machine.next_deadline() }
    }

    /// The worker `by` looks, because it was told to.
    pub(crate) fn looked(&mut self, by: WorkerId) {
        self.told.remove(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::databases::Databases;
    use crate::databases::tests::{clusters, settings};

    #[test]
    fn a_pool_is_the_same_after_a_reload_and_has_the_new_limit() {
        let text = "[[database]]\nname = \"a\"\npool_size = 9\n";
        let old = settings(text);
        let clusters = clusters(&old);
        let before = Databases::new(&old.databases, &old.suffixes, (&clusters, None));
        let new = settings(&text.replace('9', "3"));
        let after = Databases::new(&new.databases, &new.suffixes, (&clusters, Some(&before)));
        let (before, after) = (before.all().remove(0), after.all().remove(0));
        let (pools, user, now) = (SharedPools::new(Vec::new()), Arc::from("ann"), Instant::START);
        let find = |node, database, user| pools.find(NodeId(node), database, user, now).id;
        let id = find(1, &before, &user);
        pools.take_over(std::slice::from_ref(&after), now);
        assert_eq!(find(1, &after, &user), id);
        // A client that came in before the reload.
        assert_eq!(find(1, &before, &user), id);
        assert_eq!(pools.rows(now).iter().map(|row| row.size).collect::<Vec<_>>(), [3]);
        assert_ne!(find(2, &after, &user), id);
        assert_ne!(find(1, &after, &Arc::from("bob")), id);
    }

    #[test]
    fn the_pool_of_a_node_that_left_is_dropped_when_nothing_is_left_of_it_and_its_place_is_used_again() {
        let settings = settings("[[database]]\nname = \"a\"\n");
        let clusters = clusters(&settings);
        let databases = Databases::new(&settings.databases, &settings.suffixes, (&clusters, None));
        let database = databases.all().remove(0);
        let (pools, user, now) = (SharedPools::new(Vec::new()), Arc::from("ann"), Instant::START);
        // No cluster of these tests has nodes: this one has left.
        let pool = pools.find(NodeId(1), &database, &user, now);
        let waiter = engine::pool::WaiterId(1);
        let by = WorkerId(0);
        assert_eq!(pool.lock().machine.check_out(now, by, waiter), engine::pool::CheckOut::Queued);
        let Some(Action::Connect { slot, .. }) = pool.lock().machine.next_action(by) else {
            panic!("no connect")
        };
        pools.sweep(now);
        assert!(pools.at(pool.id).is_some(), "a connect is under way");
        assert!(pools.rows(now).is_empty(), "it is not shown");
        assert!(matches!(pool.lock().machine.next_action(by), Some(Action::Refuse { .. })));
        pool.lock().machine.on_connect_failed(now, by, slot, engine::pool::Fault::Node);
        pools.sweep(now);
        assert!(pools.at(pool.id).is_none() && pool.is_dropped());
        let next = pools.find(NodeId(2), &database, &user, now);
        assert_eq!(next.id.place, pool.id.place);
        assert!(pools.at(pool.id).is_none(), "a late message to the one before finds nobody");
    }
}
