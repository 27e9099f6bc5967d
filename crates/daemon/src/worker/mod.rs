//! A worker: one thread that owns its clients, their sessions, and the backends they use.
//!
//! One loop over epoll: read, ask the session, send. No channel or timer per query, and no lock but that of the pool, which
//! nobody holds for longer than one decision. The worker decides nothing: sessions say what they want, pools say who gets
//! a backend, and the control thread connects and probes. What the worker shares with other threads it reaches through
//! [`crate::world`], `pools` and [`crate::mail`].

mod backend;
mod client;
mod housekeeping;
mod io;
mod pools;
mod snapshot;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use engine::pool::WorkerId;
use engine::session::{Pieces, Shared};
use engine::time::Instant;
use mio::{Events, Poll, Token};
use slab::Slab;

use crate::clock::Clock;
use crate::mail::{ControlSender, FromPeer, ToWorker};
use crate::pools::SharedPools;
use crate::stats::WorkerStats;

pub(crate) use backend::BackendConn;
use client::ClientConn;
use pools::Pools;

/// The token of the mail's waker; [`WorkerParts::poll`] must wake with it.
pub const WAKER: Token = Token(0);

/// Bytes read at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// Unsent bytes of one side above which the other side is not read.
const UNSENT_BYTES_MAX: usize = 256 << 10;

/// How much the memos of all workers may hold together, in bytes.
const MEMO_BYTES_MAX: usize = 16 << 20;

/// How often timeouts are looked at.
const TICK: Duration = Duration::from_millis(100);

/// What a worker is made of.
#[derive(Debug)]
pub struct WorkerParts {
    /// Its place among the workers.
    pub index: usize,
    /// Its epoll instance, whose waker is in the hands of the control thread.
    pub poll: Poll,
    /// Its mail from the control thread.
    pub mail: Receiver<ToWorker>,
    /// Its mail from the other workers.
    pub(crate) peers_mail: Receiver<FromPeer>,
    /// The pools, and the way to the other workers.
    pub(crate) pools: Arc<SharedPools>,
    /// The way to the control thread.
    pub control: ControlSender,
    /// The process's clock.
    pub clock: Clock,
    /// Its counters.
    pub stats: Arc<WorkerStats>,
}

/// Runs a worker until it is told to drain and its last client is gone, or the control thread is.
pub fn run(parts: WorkerParts) {
    Worker::new(parts).run();
}

struct Worker {
    parts: WorkerParts,
    clients: Slab<ClientConn>,
    /// Places of clients by their numbers.
    numbers: HashMap<u64, usize>,
    backends: Slab<BackendConn>,
    pools: Pools,
    shared: Shared,
    scratch: Scratch,
    /// Clients whose input must be looked at again.
    todo: Vec<usize>,
    /// Clients whose request waits for a node.
    holding: Vec<usize>,
    phase: Phase,
    times: Times,
    /// Grows with each client and backend, to tell successors of a place apart.
    generation: u32,
}

/// Instants that a worker goes by.
struct Times {
    /// Read after the bytes that are being dealt with had arrived.
    now: Instant,
    /// Of the last look at timeouts.
    ticked: Instant,
}

/// Memory that all calls share.
struct Scratch {
    buffer: Box<[u8]>,
    to_client: Pieces,
    to_backend: Pieces,
    gather: Vec<u8>,
}

/// Whether new clients are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Serving,
    Draining,
    Ended,
}

/// Whose socket an event is about.
enum Side {
    Client(usize),
    Backend(usize),
}

fn side(token: Token) -> Side {
    if token.0 % 2 == 1 { Side::Client(token.0 / 2) } else { Side::Backend(token.0 / 2 - 1) }
}

fn client_token(index: usize) -> Token {
    Token(index * 2 + 1)
}

fn backend_token(index: usize) -> Token {
    Token((index + 1) * 2)
}

impl Worker {
    fn new(parts: WorkerParts) -> Self {
        let now = parts.clock.now();
        parts.stats.turned.at(now);
        let (me, workers) =
            (WorkerId(u16::try_from(parts.index).expect("few workers")), parts.pools.workers());
        let pools = Pools::new(Arc::clone(&parts.pools), me);
        Worker {
            parts,
            clients: Slab::new(),
            numbers: HashMap::new(),
            backends: Slab::new(),
            pools,
            shared: Shared::new(MEMO_BYTES_MAX / usize::from(workers), (me, workers)),
            scratch: Scratch {
                buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
                to_client: Pieces::default(),
                to_backend: Pieces::default(),
                gather: Vec::new(),
            },
            todo: Vec::new(),
            holding: Vec::new(),
            phase: Phase::Serving,
            times: Times { now, ticked: now },
            generation: 0,
        }
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(1024);
        while self.phase != Phase::Ended {
            let timeout = self.timeout();
            match self.parts.poll.poll(&mut events, Some(timeout)) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    tracing::error!(error = %e, "epoll failed; the worker ends");
                    return;
                }
            }
            self.times.now = self.parts.clock.now();
            // Backends first: one that has died must not be lent to a client of the same round.
            for event in &events {
                if event.token() != WAKER
                    && let Side::Backend(index) = side(event.token())
                {
                    self.on_backend_event(index, event);
                }
            }
            for event in &events {
                if event.token() == WAKER {
                    self.read_mail();
                } else if let Side::Client(index) = side(event.token()) {
                    self.on_client_event(index, event);
                }
            }
            self.do_todo();
            self.times.now = self.parts.clock.now();
            self.tick();
            self.do_todo();
        }
        self.leave_pools();
        self.parts.stats.turned.ended();
    }

    /// How long the loop may sleep.
    fn timeout(&self) -> Duration {
        let now = self.times.now;
        let pools = self.pools.next_deadline().map(|at| at.since(now));
        let tick = if self.holding.is_empty() { TICK * 10 } else { TICK };
        pools.map_or(tick, |p| p.min(tick))
    }

    /// Looks again at clients for which something has changed.
    fn do_todo(&mut self) {
        while let Some(index) = self.todo.pop() {
            self.pump_client(index);
        }
    }

    fn read_mail(&mut self) {
        while let Ok(message) = self.parts.peers_mail.try_recv() {
            match message {
                FromPeer::Look(pool) => self.look_at_pool(pool),
                FromPeer::Learned(shape) => {
                    let _new = self.shared.learned.insert(shape);
                }
                FromPeer::HandedOver(backend) => self.on_handed_over(*backend),
            }
        }
        loop {
            match self.parts.mail.try_recv() {
                Ok(message) => self.on_mail(message),
                Err(std::sync::mpsc::TryRecvError::Empty) => return,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                    self.phase = Phase::Ended;
                    return;
                }
            }
        }
    }

    fn on_mail(&mut self, message: ToWorker) {
        match message {
            ToWorker::Client(client) => self.add_client(*client),
            ToWorker::Connected { pool, slot, outcome } => self.on_connected(pool, slot, outcome),
            ToWorker::Cancel { client, done } => self.cancel(client, done),
            ToWorker::CancelEnded(backend) => self.on_cancel_ended(backend),
            ToWorker::ViewChanged => self.on_view_changed(),
            ToWorker::Snapshot(answer) => {
                // Nobody may be waiting for it any more.
                let _ = answer.send(self.snapshot());
            }
            ToWorker::Drain => self.drain(),
        }
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }
}
