//! What the control thread and the workers say to each other.
//!
//! A worker never waits for anybody: it sends, goes on, and is woken when an answer is there. To and from the control thread the
//! number of messages is bounded; among workers it is by what the messages are about: one word for each pool that a
//! worker has not looked at, one for each shape newly refused by a replica, and each backend is at one place only.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};

use engine::pool::SlotId;
use engine::route::RouteMode;
use engine::view::{Incarnation, NodeId};
use tokio::sync::{mpsc, oneshot};
use wire::sqlstate::SqlState;

use crate::worker::BackendConn;
use crate::world::Database;

/// Most messages waiting for a worker or for the control thread.
pub const MAIL_MAX: usize = 8192;

/// A pool's name: its place among the pools, and which of those that had this place it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PoolId {
    /// Where it stands; another pool may stand there once this one is dropped.
    pub place: u32,
    /// Counts the pools of the process.
    pub number: u32,
}

/// A backend of a worker, with its generation, so that a late message can't hit a successor. It stays true while the
/// message is under way: a backend is not handed over while cancel requests seek it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BackendKey {
    /// The worker that has it.
    pub worker: usize,
    /// Place in the worker's slab.
    pub index: u32,
    /// Counts the backends that had this place.
    pub generation: u32,
}

/// From the control thread to a worker.
#[derive(Debug)]
pub enum ToWorker {
    /// A client has logged in; it is the worker's from here on.
    Client(Box<NewClient>),
    /// The answer to [`ToControl::Connect`].
    Connected {
        /// The pool that asked.
        pool: PoolId,
        /// The slot it asked for.
        slot: SlotId,
        /// A backend ready for its first query, or why there is none.
        outcome: Result<Box<ReadyBackend>, ConnectError>,
    },
    /// A CancelRequest with a right key came for this client.
    Cancel {
        /// The client's number ([`NewClient::number`]).
        client: u64,
        /// Dropped when the cancel is dealt with: the client that sent the request waits for that.
        done: oneshot::Sender<()>,
    },
    /// The cancel leg for this backend is over: it may be lent again.
    CancelEnded(BackendKey),
    /// A new view was published: look again at what waits for a node.
    ViewChanged,
    /// Tell what you have, for the admin console.
    Snapshot(oneshot::Sender<Snapshot>),
    /// Finish what is running, take nothing new, and end.
    Drain,
}

/// From a worker to the control thread.
#[derive(Debug)]
pub enum ToControl {
    /// Connect and log in to a node for this pool.
    Connect {
        /// Which worker gets the backend.
        worker: usize,
        /// For which pool.
        pool: PoolId,
        /// For which slot of it.
        slot: SlotId,
        /// The node.
        node: NodeId,
        /// The database, with its cluster.
        database: Arc<Database>,
        /// The user to log in as; the control thread has the credentials.
        user: Arc<str>,
    },
    /// Cancel what this backend runs.
    CancelBackend {
        /// Which backend, of the worker that asks.
        backend: BackendKey,
        /// Where it lives.
        address: SocketAddr,
        /// PostgreSQL's process id for the cancel request.
        pid: i32,
        /// PostgreSQL's secret for the cancel request.
        key: Vec<u8>,
        /// Passed on from [`ToWorker::Cancel`]; dropped when the cancel leg is over.
        done: Option<oneshot::Sender<()>>,
    },
    /// Something seen on live traffic that should make the monitor look at a node at once.
    Noticed {
        /// The node.
        node: NodeId,
        /// What was seen.
        what: Notice,
    },
}

/// What live traffic can tell about a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A backend's connection ended without being asked to.
    ConnectionLost,
    /// A write was refused with 25006 although the node was believed to be the primary.
    RefusedWrite,
    /// `in_hot_standby` was reported as changed.
    RoleReported,
}

/// A client that has logged in.
#[derive(Debug)]
pub struct NewClient {
    /// Unique in the process.
    pub number: u64,
    /// Its socket, non-blocking, with nothing read ahead.
    pub socket: TcpStream,
    /// Where it came from.
    pub peer: SocketAddr,
    /// The database it named, without suffix.
    pub database: Arc<Database>,
    /// What the suffix of the name asks for.
    pub mode: RouteMode,
    /// The user it logged in as.
    pub user: Arc<str>,
    /// Start-up parameters that are PostgreSQL settings, lower-case names, in order; also those from `options`.
    /// `highwater.*` among them.
    pub parameters: Vec<(String, String)>,
    /// Ends the client's place in the limits and its cancel key when dropped.
    pub guard: ClientGuard,
}

/// Runs its closure once, when the client is gone.
pub struct ClientGuard(Option<Box<dyn FnOnce() + Send>>);

impl ClientGuard {
    /// A guard that runs `end` when dropped.
    pub fn new(end: impl FnOnce() + Send + 'static) -> Self {
        ClientGuard(Some(Box::new(end)))
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl std::fmt::Debug for ClientGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientGuard")
    }
}

/// A backend that is logged in, idle and in step: nothing is owed in either direction.
#[derive(Debug)]
pub struct ReadyBackend {
    /// Its socket, non-blocking, with nothing read ahead.
    pub socket: TcpStream,
    /// The node's address in use (for cancel legs).
    pub address: SocketAddr,
    /// BackendKeyData, where the server sent any.
    pub cancel: Option<(i32, Vec<u8>)>,
    /// ParameterStatus at login, in order.
    pub parameters: Vec<(String, String)>,
    /// The run of the server it is connected to, asked on this very connection.
    pub incarnation: Incarnation,
    /// `pg_is_in_recovery()`, asked on this very connection.
    pub in_recovery: bool,
}

/// Why there is no backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectError {
    /// The class of the fault decides what the pool and the waiters do.
    pub fault: ConnectFault,
    /// SQLSTATE to give to a client that waits for this.
    pub sqlstate: SqlState,
    /// One sentence for the client and the log; leaks nothing.
    pub message: String,
}

/// Whose fault it is that a connect failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectFault {
    /// Refused, unreachable, reset or silent: the node.
    Node,
    /// 57P03: alive, not ready.
    NotReady,
    /// 53300: alive, full.
    Full,
    /// 28xxx or 3D000: this user or database, not the node.
    Credentials,
}

/// What a worker has at one moment, or all of them together.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// One row per client.
    pub clients: Vec<ClientRow>,
    /// One row per backend.
    pub backends: Vec<BackendRow>,
    /// One row per pool; none from a single worker, because they are shared.
    pub pools: Vec<PoolRow>,
}

/// A client as `SHOW CLIENTS` shows it.
#[derive(Clone, Debug)]
pub struct ClientRow {
    /// Its number.
    pub number: u64,
    /// Who.
    pub user: Arc<str>,
    /// The database it named, with suffix removed.
    pub database: String,
    /// `active`, `waiting` or `idle`.
    pub state: &'static str,
    /// Where from.
    pub peer: SocketAddr,
    /// Application name, if it gave one.
    pub application_name: Option<String>,
    /// Milliseconds since it logged in.
    pub connected_ms: u64,
    /// Milliseconds it has waited for a backend, if it does.
    pub waiting_ms: u64,
    /// Node of its backend, if it has one.
    pub node: Option<NodeId>,
    /// Whether it is pinned.
    pub pinned: bool,
}

/// A backend as `SHOW SERVERS` shows it.
#[derive(Clone, Debug)]
pub struct BackendRow {
    /// Its user.
    pub user: Arc<str>,
    /// Its database on the node.
    pub database: String,
    /// `active`, `idle` or `cancelling`.
    pub state: &'static str,
    /// Its node.
    pub node: NodeId,
    /// Where it is connected.
    pub address: SocketAddr,
    /// PostgreSQL's process id, if known.
    pub pid: Option<i32>,
    /// Milliseconds since it was connected.
    pub connected_ms: u64,
    /// Milliseconds since it was last given back or lent.
    pub since_ms: u64,
    /// Prepared statements it holds for us.
    pub prepared: usize,
    /// Number of the client it is lent to.
    pub client: Option<u64>,
}

/// A pool as `SHOW POOLS` shows it.
#[derive(Clone, Debug)]
pub struct PoolRow {
    /// Its database entry.
    pub database: String,
    /// Its user.
    pub user: Arc<str>,
    /// Its node.
    pub node: NodeId,
    /// Clients that have one of its backends.
    pub clients_active: u32,
    /// Clients that wait for one.
    pub clients_waiting: u32,
    /// Backends lent.
    pub backends_active: u32,
    /// Backends idle.
    pub backends_idle: u32,
    /// Backends being connected.
    pub backends_connecting: u32,
    /// Longest wait at this moment, in microseconds.
    pub wait_max_us: u64,
    /// Its limit.
    pub size: u32,
    /// `session` or `transaction`.
    pub mode: &'static str,
}

/// The control thread's way to one worker: a bounded queue and a waker.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    queue: SyncSender<ToWorker>,
    waker: Arc<mio::Waker>,
}

/// What workers say to each other.
#[derive(Debug)]
pub(crate) enum FromPeer {
    /// There is something for you to do in this pool.
    Look(PoolId),
    /// This backend is yours from here on.
    HandedOver(Box<BackendConn>),
    /// A replica has refused statements of this shape: they go to the primary at once.
    Learned(u64),
}

/// The other workers' way to one worker.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    queue: Sender<FromPeer>,
    waker: Arc<mio::Waker>,
}

impl Peer {
    /// Sends and wakes. The message comes back if the worker has ended.
    pub(crate) fn send(&self, message: FromPeer) -> Result<(), FromPeer> {
        self.queue.send(message).map_err(|error| error.0)?;
        // Fails only for want of kernel memory, and then the worker looks when it wakes by itself.
        let _woken_late = self.waker.wake();
        Ok(())
    }
}

impl WorkerHandle {
    /// Ways to a worker that polls with `waker`'s poll.
    #[expect(
        clippy::disallowed_methods,
        reason = "among workers: one word per pool or newly learned shape, and each backend is on the way once"
    )]
    pub(crate) fn new(waker: mio::Waker) -> (WorkerHandle, Receiver<ToWorker>, Peer, Receiver<FromPeer>) {
        let (queue, mail) = sync_channel(MAIL_MAX);
        let (peers_queue, peers_mail) = channel();
        let waker = Arc::new(waker);
        let peer = Peer { queue: peers_queue, waker: Arc::clone(&waker) };
        (WorkerHandle { queue, waker }, mail, peer, peers_mail)
    }

    /// Sends, waiting a moment at a time while the worker's queue is full. `false`: the worker has ended.
    pub async fn send(&self, message: ToWorker) -> bool {
        let mut message = message;
        loop {
            match self.queue.try_send(message) {
                Ok(()) => return self.waker.wake().is_ok(),
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => {
                    message = back;
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
        }
    }
}

/// A worker's way to the control thread.
pub type ControlSender = mpsc::Sender<ToControl>;
