//! A worker's clients: their sockets and sessions, and carrying out what sessions want.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::Guard;
use engine::pool::{Condition, WaiterId};
use engine::session::{Context, Event, Origin, Profile, Session, Shared, Side, Step, Want};
use engine::time::Instant;
use engine::view::{NodeId, View};
use mio::net::TcpStream;
use slab::Slab;
use sql::Catalogue;
use wire::sqlstate::SqlState;
use wire::status::TransactionStatus;

use crate::mail::{ClientGuard, NewClient, Notice, PoolId, ToControl};
use crate::world::Database;

use super::backend::{BackendConn, Use};
use super::io::{Received, Socket};
use super::{Phase, Scratch, UNSENT_BYTES_MAX, Worker, client_token};

/// One client.
pub(super) struct ClientConn {
    pub(super) socket: Socket,
    pub(super) session: Session,
    /// Bytes shown to the session and not consumed.
    pub(super) input: Vec<u8>,
    /// The session has seen all of `input` and needs more.
    starved: bool,
    /// Place of the backend it has.
    pub(super) backend: Option<usize>,
    /// Session pooling: backends it keeps between requests.
    kept: Vec<usize>,
    /// The pool it waits in.
    pub(super) pool: Option<PoolId>,
    pub(super) info: Box<ClientInfo>,
    pub(super) active: Instant,
}

/// What is fixed about a client.
pub(super) struct ClientInfo {
    pub(super) number: u64,
    pub(super) generation: u32,
    pub(super) peer: SocketAddr,
    pub(super) database: Arc<Database>,
    pub(super) user: Arc<str>,
    pub(super) application_name: Option<String>,
    pub(super) connected: Instant,
    pub(super) search_path: Option<Arc<str>>,
    #[expect(dead_code, reason = "kept for its Drop: it ends the client's place in the limits")]
    guard: ClientGuard,
}

/// What the requests of one event are judged by: read once, after the event's bytes had arrived, so that what they
/// acknowledge lies before `now`.
struct Sight {
    now: Instant,
    view: Guard<Arc<View>>,
    catalogue: Guard<Arc<Catalogue>>,
}

impl Sight {
    fn of(database: &Database, now: Instant) -> Self {
        Sight { now, view: database.cluster.view.load(), catalogue: database.catalogue.load() }
    }

    /// What a session works with.
    fn context<'a>(
        &'a self,
        info: &'a ClientInfo,
        shared: &'a mut Shared,
        scratch: &'a mut Scratch,
    ) -> Context<'a> {
        Context {
            now: self.now,
            view: &self.view,
            catalogue: &self.catalogue,
            default_search_path: info.search_path.as_deref(),
            shared,
            to_backend: &mut scratch.to_backend,
            to_client: &mut scratch.to_client,
        }
    }
}

impl ClientConn {
    /// Its number in queues; another client at the same place has another one.
    pub(super) fn waiter(&self, index: usize) -> WaiterId {
        WaiterId((u64::from(self.info.generation) << 32) | index as u64)
    }

    /// Takes a kept backend of this node; one of another node of the same side is of no more use.
    pub(super) fn take_kept(&mut self, node: NodeId, backends: &Slab<BackendConn>) -> Option<usize> {
        let at = self.kept.iter().position(|&p| backends.get(p).is_some_and(|b| b.state.node == node))?;
        Some(self.kept.swap_remove(at))
    }

    /// A kept backend is gone.
    pub(super) fn forget_kept(&mut self, place: usize) {
        self.kept.retain(|&p| p != place);
    }
}

impl Worker {
    /// A client that has logged in.
    pub(super) fn add_client(&mut self, new: NewClient) {
        let now = self.parts.clock.now();
        let generation = self.next_generation();
        if self.phase != Phase::Serving {
            return;
        }
        let database = new.database;
        let profile = Profile {
            mode: new.mode,
            pool_mode: database.pool.mode,
            level: database.reads.level,
            max_staleness: database.reads.max_staleness,
            message_bytes_max: database.limits.message_bytes_max,
            wait_max: database.pool.wait_max,
            database_key: Arc::as_ptr(&database) as u64,
            user: Arc::clone(&new.user),
        };
        let application_name =
            new.parameters.iter().find(|(n, _)| n == "application_name").map(|(_, v)| v.clone());
        let mut conn = ClientConn {
            socket: Socket::new(TcpStream::from_std(new.socket)),
            session: Session::new(profile, &new.parameters),
            input: Vec::new(),
            starved: true,
            backend: None,
            kept: Vec::new(),
            pool: None,
            info: Box::new(ClientInfo {
                number: new.number,
                generation,
                peer: new.peer,
                database,
                user: new.user,
                application_name,
                connected: now,
                search_path: None,
                guard: new.guard,
            }),
            active: now,
        };
        let entry = self.clients.vacant_entry();
        let index = entry.key();
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
        let registered =
            self.parts.poll.registry().register(conn.socket.stream(), client_token(index), interest);
        if registered.is_err() {
            return;
        }
        self.numbers.insert(conn.info.number, index);
        entry.insert(conn);
        self.parts.stats.clients.add(1);
        self.todo.push(index);
    }

    pub(super) fn on_client_event(&mut self, index: usize, event: &mio::event::Event) {
        let Some(client) = self.clients.get_mut(index) else { return };
        client.socket.on_event(event);
        if event.is_read_closed() && client.session.waiting_since().is_some() {
            // It left the queue by leaving altogether.
            return self.close_client(index);
        }
        if event.is_writable() && client.socket.unsent() > 0 && client.socket.flush() {
            // Its backend was not read while it did not read.
            if let Some(place) = client.backend {
                self.pump_backend(place);
            }
        }
        self.pump_client(index);
    }

    /// Reads a client and lets its session deal with it, as long as there is something and nothing stands in the way.
    pub(super) fn pump_client(&mut self, index: usize) {
        let mut buffer = std::mem::take(&mut self.scratch.buffer);
        while self.pump_client_once(index, &mut buffer) {}
        self.scratch.buffer = buffer;
    }

    /// One look at a client's input. `true`: there may be more to do.
    fn pump_client_once(&mut self, index: usize, buffer: &mut [u8]) -> bool {
        let Some(client) = self.clients.get_mut(index) else { return false };
        if client.session.waiting_since().is_some() {
            // Only its end matters now; its bytes can wait in the kernel.
            return false;
        }
        let choked = client
            .backend
            .and_then(|p| self.backends.get(p))
            .is_some_and(|b| b.socket.unsent() > UNSENT_BYTES_MAX);
        if choked || client.socket.unsent() > UNSENT_BYTES_MAX {
            return false;
        }
        let mut kept = std::mem::take(&mut client.input);
        let received = if kept.is_empty() || client.starved {
            match client.socket.receive(buffer) {
                Received::Bytes(n) => n,
                Received::Nothing => {
                    client.input = kept;
                    return false;
                }
                Received::End => {
                    self.leave(index);
                    return false;
                }
            }
        } else {
            0
        };
        self.times.now = self.parts.clock.now();
        client.active = self.times.now;
        self.parts.stats.bytes_received.add(received as u64);
        if kept.is_empty() {
            let consumed = self.show_client(index, &buffer[..received]);
            if let Some(client) = self.clients.get_mut(index) {
                // A rerun may have put bytes there meanwhile; they come first.
                client.input.extend_from_slice(&buffer[consumed..received]);
            }
        } else {
            kept.extend_from_slice(&buffer[..received]);
            let consumed = self.show_client(index, &kept);
            if let Some(client) = self.clients.get_mut(index) {
                kept.drain(..consumed);
                if client.input.is_empty() {
                    client.input = if kept.is_empty() { Vec::new() } else { kept };
                } else {
                    client.input.extend_from_slice(&kept);
                }
            }
        }
        self.clients
            .get(index)
            .is_some_and(|c| c.socket.may_read() && c.session.waiting_since().is_none() && c.starved)
    }

    /// Shows input to the session until it wants something that is not here. Returns how much was consumed.
    fn show_client(&mut self, index: usize, input: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let Some(step) = self.client_step(index, &input[at..]) else { return at };
            at += step.consumed;
            let Some(client) = self.clients.get_mut(index) else { return at };
            client.starved = step.want == Want::Input;
            match step.want {
                Want::Input | Want::Answers | Want::GiveBack | Want::Rerun { .. } => return at,
                Want::CheckOut(node) => {
                    if !self.check_out_for(index, node) {
                        return at;
                    }
                }
                Want::Hold => {
                    self.hold(index);
                    return at;
                }
                Want::Close => {
                    self.close_client(index);
                    return at;
                }
            }
        }
    }

    /// Gets the client a backend of this node. `false`: it has to wait.
    fn check_out_for(&mut self, index: usize, node: NodeId) -> bool {
        let place = self.check_out(index, node, self.times.now);
        if let Some(place) = place {
            self.attach(index, place);
        }
        place.is_some()
    }

    /// The backend at this place is the client's from here on. What brings it into line (settings that differ, a
    /// deferred BEGIN; in most cases nothing) is left among the pieces, to be sent together with the request.
    fn attach(&mut self, index: usize, place: usize) {
        let now = self.times.now;
        let (Some(client), Some(backend)) = (self.clients.get_mut(index), self.backends.get_mut(place))
        else {
            return;
        };
        let waited = client.session.waiting_since().map(|since| now.since(since)).unwrap_or_default();
        if client.pool.take().is_some() && !waited.is_zero() {
            self.parts.stats.wait_time.record(waited);
        }
        if client.info.search_path.is_none() {
            client.info.search_path = self.pools.search_path(backend.pool);
        }
        client.backend = Some(place);
        backend.used = Use::Lent(index);
        backend.since = now;
        let sight = Sight::of(&client.info.database, self.times.now);
        let mut cx = sight.context(&client.info, &mut self.shared, &mut self.scratch);
        client.session.on_checked_out(&mut backend.state, &mut cx);
    }

    /// As `attach`, for a client that is looked at later: what brings the backend into line goes ahead.
    pub(super) fn attach_for_later(&mut self, index: usize, place: usize) {
        self.attach(index, place);
        if let Some(backend) = self.backends.get_mut(place) {
            backend.socket.send(&self.scratch.to_backend, &[], &mut self.scratch.gather);
        }
        self.scratch.to_backend.clear();
        self.todo.push(index);
    }

    /// One call of `Session::on_client`, and sending what it made. `None`: the client is gone.
    fn client_step(&mut self, index: usize, input: &[u8]) -> Option<Step> {
        let client = self.clients.get_mut(index)?;
        let mut backend = client.backend.and_then(|p| self.backends.get_mut(p));
        let sight = Sight::of(&client.info.database, self.times.now);
        let mut cx = sight.context(&client.info, &mut self.shared, &mut self.scratch);
        let step = client.session.on_client(input, &mut cx, backend.as_deref_mut().map(|b| &mut b.state));
        if let Some(backend) = backend {
            backend.socket.send(&self.scratch.to_backend, input, &mut self.scratch.gather);
        }
        let sent = client.socket.send(&self.scratch.to_client, input, &mut self.scratch.gather);
        self.parts.stats.bytes_sent.add(sent as u64);
        self.scratch.to_backend.clear();
        self.scratch.to_client.clear();
        self.count_events(index);
        Some(step)
    }

    /// One call of `Session::on_backend`, and sending what it made.
    pub(super) fn backend_step(&mut self, place: usize, index: usize, input: &[u8]) -> Step {
        let gone = Step { consumed: input.len(), want: Want::Close };
        let (Some(client), Some(backend)) = (self.clients.get_mut(index), self.backends.get_mut(place))
        else {
            return gone;
        };
        client.active = self.times.now;
        let sight = Sight::of(&client.info.database, self.times.now);
        let mut cx = sight.context(&client.info, &mut self.shared, &mut self.scratch);
        let step = client.session.on_backend(input, &mut cx, &mut backend.state);
        let sent = client.socket.send(&self.scratch.to_client, input, &mut self.scratch.gather);
        self.parts.stats.bytes_sent.add(sent as u64);
        self.scratch.to_client.clear();
        self.scratch.to_backend.clear();
        self.count_events(index);
        step
    }

    /// A call of a session that has neither input nor backend bytes; what it made is sent.
    pub(super) fn session_call<R>(
        &mut self,
        index: usize,
        call: impl FnOnce(&mut Session, &[u8], &mut Context<'_>) -> R,
    ) -> Option<R> {
        let client = self.clients.get_mut(index)?;
        let sight = Sight::of(&client.info.database, self.times.now);
        let mut cx = sight.context(&client.info, &mut self.shared, &mut self.scratch);
        let result = call(&mut client.session, &client.input, &mut cx);
        client.socket.send(&self.scratch.to_client, &client.input, &mut self.scratch.gather);
        self.scratch.to_client.clear();
        self.scratch.to_backend.clear();
        self.count_events(index);
        Some(result)
    }

    /// The session does not need its backend any more.
    pub(super) fn release(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let Some(place) = client.backend.take() else { return };
        let Some(backend) = self.backends.get_mut(place) else { return };
        self.shared.balance.given_back(backend.state.node);
        let keeps = client.info.database.pool.mode == engine::pool::PoolMode::Session && !backend.state.spent;
        if keeps {
            client.kept.push(place);
            backend.used = Use::Kept(index);
        } else {
            self.give_back(place, Condition::Clean);
        }
    }

    /// The session's request runs again, elsewhere.
    pub(super) fn rerun(&mut self, index: usize, in_step: bool) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let mut again = client.session.take_rerun();
        again.append(&mut client.input);
        client.input = again;
        client.starved = false;
        if let Some(place) = client.backend.take() {
            if let Some(backend) = self.backends.get(place) {
                self.shared.balance.given_back(backend.state.node);
            }
            self.give_back(place, if in_step { Condition::Clean } else { Condition::Broken });
        }
        self.todo.push(index);
    }

    /// The client's backend is gone.
    pub(super) fn lose_backend(&mut self, index: usize) {
        let Some(place) = self.clients.get(index).and_then(|c| c.backend) else { return };
        let want = {
            let (clients, backends) = (&mut self.clients, &mut self.backends);
            let (Some(client), Some(backend)) = (clients.get_mut(index), backends.get_mut(place)) else {
                return;
            };
            let sight = Sight::of(&client.info.database, self.times.now);
            let mut cx = sight.context(&client.info, &mut self.shared, &mut self.scratch);
            let want = client.session.on_backend_lost(&mut cx, &backend.state);
            client.socket.send(&self.scratch.to_client, &[], &mut self.scratch.gather);
            want
        };
        self.scratch.to_client.clear();
        self.scratch.to_backend.clear();
        self.count_events(index);
        match want {
            Want::Rerun { in_step } => self.rerun(index, in_step),
            Want::Close => self.close_client(index),
            Want::Input | Want::Answers | Want::GiveBack | Want::CheckOut(_) | Want::Hold => {
                self.release(index);
                self.todo.push(index);
            }
        }
    }

    /// The client has ended its side.
    fn leave(&mut self, index: usize) {
        self.close_client(index);
    }

    /// Ends a client: what is under way on its backend is cancelled, an open block rolled back.
    pub(super) fn close_client(&mut self, index: usize) {
        let Some(mut client) = self.clients.try_remove(index) else { return };
        self.numbers.remove(&client.info.number);
        self.parts.stats.clients.sub(1);
        client.socket.flush();
        let _ = self.parts.poll.registry().deregister(client.socket.stream());
        if let Some(pool) = client.pool.take() {
            let waiter = client.waiter(index);
            self.call_pool(pool, self.times.now, |machine, me| machine.abandon(me, waiter));
        }
        self.holding.retain(|&i| i != index);
        for place in std::mem::take(&mut client.kept) {
            self.give_back(place, Condition::Clean);
        }
        if let Some(place) = client.backend.take() {
            self.clean_up(place, &client.session);
        }
    }

    /// The client of this backend has left.
    fn clean_up(&mut self, place: usize, session: &Session) {
        let Some(backend) = self.backends.get_mut(place) else { return };
        self.shared.balance.given_back(backend.state.node);
        if !session.leaves_backend_clean() || backend.state.spent {
            if !session.is_idle() {
                self.send_cancel(place, None);
            }
            return self.give_back(place, Condition::Broken);
        }
        if session.status() == TransactionStatus::Idle {
            return self.give_back(place, Condition::Clean);
        }
        backend.used = Use::Cleaning;
        let mut rollback = Vec::new();
        wire::encode::query(&mut rollback, "ROLLBACK").expect("our own text has no zero byte");
        backend.socket.send_bytes(&rollback);
    }

    /// The wait of a client's request ends with an error.
    pub(super) fn end_wait(&mut self, index: usize, code: SqlState, message: &str) {
        let consumed =
            self.session_call(index, |session, input, cx| session.on_wait_failed(input, code, message, cx));
        let (Some(client), Some(consumed)) = (self.clients.get_mut(index), consumed) else { return };
        client.input.drain(..consumed);
        client.starved = false;
        self.holding.retain(|&i| i != index);
        self.todo.push(index);
    }

    /// Turns what sessions report into numbers and signals.
    pub(super) fn count_events(&mut self, index: usize) {
        if self.shared.events.is_empty() {
            return;
        }
        let stats = &self.parts.stats;
        for event in self.shared.events.drain(..) {
            match event.origin() {
                Some(Origin::Router) => stats.router_failures.add(1),
                Some(Origin::Node) => stats.node_failures.add(1),
                Some(Origin::Client) | None => {}
            }
            match event {
                Event::Decided(reason) => stats.decisions[reason as usize].add(1),
                Event::Answered { side, reads, took } => {
                    match (side, reads) {
                        (Side::Replica, true) => stats.reads_on_replica.add(1),
                        (Side::Primary, true) => stats.reads_on_primary.add(1),
                        (Side::Replica | Side::Primary, false) => stats.writes.add(1),
                    }
                    let time = if side == Side::Replica { &stats.replica_time } else { &stats.primary_time };
                    time.record(took);
                }
                Event::TransactionEnded => stats.transactions.add(1),
                Event::Wrote(at) => {
                    if let Some(client) = self.clients.get(index) {
                        client.info.database.cluster.writes.acknowledged(at);
                    }
                }
                Event::Rerun(_) => stats.reruns.add(1),
                Event::NodeError(_) => stats.errors.add(1),
                Event::OwnError(_) => {
                    stats.errors.add(1);
                    stats.own_errors.add(1);
                }
                Event::Learned(shape) => self.pools.teach_others(shape),
                Event::PrimaryRefusedWrite(node) => {
                    // A hint: the monitor probes anyway.
                    let _ =
                        self.parts.control.try_send(ToControl::Noticed { node, what: Notice::RefusedWrite });
                }
                Event::ParseReceived => stats.parses_received.add(1),
                Event::ParseSent => stats.parses_sent.add(1),
                Event::BindReceived => stats.binds.add(1),
            }
        }
    }
}
