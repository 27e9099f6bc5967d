//! A worker's backends: their sockets, whom they are lent to, and what comes from them.

use std::net::SocketAddr;

use engine::pool::{Condition, SlotId};
use engine::session::{Backend, Side, Strings, Want};
use engine::time::Instant;
use engine::view::NodeId;
use mio::net::TcpStream;
use wire::frame;

use crate::mail::{BackendKey, Notice, PoolId, ReadyBackend, ToControl};

use super::io::{Received, Socket};
use super::{UNSENT_BYTES_MAX, Worker};

/// One pooled connection to a node.
#[derive(Debug)]
pub(crate) struct BackendConn {
    pub(super) socket: Socket,
    pub(super) state: Backend,
    pub(super) pool: PoolId,
    pub(super) slot: SlotId,
    pub(super) used: Use,
    /// Bytes shown to the session and not consumed.
    input: Vec<u8>,
    pub(super) origin: Origin,
    /// Cancel requests on their way to it: it must not serve anybody else before they have arrived.
    pub(super) cancels: u32,
    /// When it was last lent or given back.
    pub(super) since: Instant,
}

/// What was learned when it was connected.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    pub(super) cancel: Option<(i32, Vec<u8>)>,
    pub(super) generation: u32,
    pub(super) connected: Instant,
}

/// Who has a backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// The pool. → `Lent`, `Arriving` (at another worker)
    Idle,
    /// Nobody: it was handed over, and its pool has not been told that it is here. → `Idle`
    Arriving,
    /// This client, for what it is doing. → `Kept`, `Cleaning`, `Cancelling`, `Idle`
    Lent(usize),
    /// This client, until it leaves (session pooling). → `Lent`, `Idle`
    Kept(usize),
    /// Its client has left in the middle of a block: ROLLBACK is on its way. → `Idle`
    Cleaning,
    /// Nobody, until the cancel requests sent for its last client have arrived. → `Idle`
    Cancelling,
}

impl BackendConn {
    pub(super) fn new(
        ready: ReadyBackend,
        pool: PoolId,
        slot: SlotId,
        node: NodeId,
        made: (u32, Instant),
    ) -> std::io::Result<Self> {
        ready.socket.set_nonblocking(true)?;
        let side = if ready.in_recovery { Side::Replica } else { Side::Primary };
        let (generation, connected) = made;
        let mut state = Backend::new(node, side, ready.incarnation);
        for (name, value) in &ready.parameters {
            state.strings = Strings::reported(name.as_bytes(), value.as_bytes()).unwrap_or(state.strings);
        }
        Ok(BackendConn {
            socket: Socket::new(TcpStream::from_std(ready.socket)),
            state,
            pool,
            slot,
            used: Use::Idle,
            input: Vec::new(),
            origin: Origin { address: ready.address, cancel: ready.cancel, generation, connected },
            cancels: 0,
            since: connected,
        })
    }

    /// Its name for the control thread.
    pub(super) fn key(&self, worker: usize, place: usize) -> BackendKey {
        let index = u32::try_from(place).expect("fewer backends than file descriptors");
        BackendKey { worker, index, generation: self.origin.generation }
    }
}

/// Why a look at a backend ended.
enum Outcome {
    /// It has nothing more to say for now, or must not be read.
    Quiet,
    /// Its session wants this.
    Wants(Want),
    /// The connection is over.
    Lost,
}

impl Worker {
    pub(super) fn on_backend_event(&mut self, place: usize, event: &mio::event::Event) {
        let Some(backend) = self.backends.get_mut(place) else { return };
        backend.socket.on_event(event);
        if event.is_writable()
            && backend.socket.unsent() > 0
            && backend.socket.flush()
            && let Use::Lent(client) = backend.used
        {
            self.todo.push(client);
        }
        self.pump_backend(place);
    }

    /// Reads a backend and lets its session deal with it, as long as there is something.
    pub(super) fn pump_backend(&mut self, place: usize) {
        loop {
            let Some(backend) = self.backends.get(place) else { return };
            let outcome = match backend.used {
                Use::Lent(client) => self.relay(place, client),
                Use::Idle | Use::Arriving | Use::Kept(_) | Use::Cleaning | Use::Cancelling => {
                    self.watch_idle(place)
                }
            };
            match outcome {
                Outcome::Quiet => return,
                Outcome::Lost => return self.on_backend_lost(place),
                Outcome::Wants(want) => {
                    if !self.on_backend_want(place, want) {
                        return;
                    }
                }
            }
        }
    }

    /// One read, shown to the client's session.
    fn relay(&mut self, place: usize, client: usize) -> Outcome {
        let mut buffer = std::mem::take(&mut self.scratch.buffer);
        let outcome = self.relay_with(&mut buffer, place, client);
        self.scratch.buffer = buffer;
        outcome
    }

    fn relay_with(&mut self, buffer: &mut [u8], place: usize, index: usize) -> Outcome {
        let (Some(backend), Some(client)) = (self.backends.get_mut(place), self.clients.get_mut(index))
        else {
            return Outcome::Quiet;
        };
        if client.socket.unsent() > UNSENT_BYTES_MAX {
            return Outcome::Quiet;
        }
        let received = match backend.socket.receive(buffer) {
            Received::Bytes(n) => n,
            Received::Nothing => return Outcome::Quiet,
            Received::End => return Outcome::Lost,
        };
        self.times.now = self.parts.clock.now();
        let mut kept = std::mem::take(&mut backend.input);
        let input: &[u8] = if kept.is_empty() {
            &buffer[..received]
        } else {
            kept.extend_from_slice(&buffer[..received]);
            &kept
        };
        let mut at = 0;
        loop {
            let step = self.backend_step(place, index, &input[at..]);
            at += step.consumed;
            // The session may keep its backend and want its client's input looked at: that is later.
            if step.want == Want::Answers && at < input.len() {
                self.todo.push(index);
                continue;
            }
            let rest = &input[at..];
            if let Some(backend) = self.backends.get_mut(place) {
                backend.input = if rest.is_empty() { Vec::new() } else { rest.to_vec() };
            }
            return Outcome::Wants(step.want);
        }
    }

    /// Acts on what the session wants after it has seen its backend's bytes. `true`: look at the backend again.
    fn on_backend_want(&mut self, place: usize, want: Want) -> bool {
        let Some(Use::Lent(index)) = self.backends.get(place).map(|b| b.used) else { return false };
        match want {
            Want::Input => true,
            Want::Answers => {
                self.todo.push(index);
                true
            }
            Want::GiveBack => {
                self.release(index);
                self.todo.push(index);
                false
            }
            Want::Rerun { in_step } => {
                self.rerun(index, in_step);
                false
            }
            Want::Close => {
                self.close_client(index);
                false
            }
            Want::CheckOut(_) | Want::Hold => {
                debug_assert!(false, "a backend's bytes never make a session want another node");
                false
            }
        }
    }

    /// A backend without a session: what it says is for nobody. Only harmless messages are accepted.
    fn watch_idle(&mut self, place: usize) -> Outcome {
        let mut buffer = std::mem::take(&mut self.scratch.buffer);
        let outcome = self.watch_idle_with(&mut buffer, place);
        self.scratch.buffer = buffer;
        outcome
    }

    fn watch_idle_with(&mut self, buffer: &mut [u8], place: usize) -> Outcome {
        let Some(backend) = self.backends.get_mut(place) else { return Outcome::Quiet };
        let received = match backend.socket.receive(buffer) {
            Received::Bytes(n) => n,
            Received::Nothing if backend.input.is_empty() => return Outcome::Quiet,
            Received::Nothing => 0,
            Received::End => return Outcome::Lost,
        };
        backend.input.extend_from_slice(&buffer[..received]);
        let mut at = 0;
        let mut cleaned = false;
        loop {
            use frame::tag::backend as tag;
            let header = match frame::header(&backend.input[at..]) {
                Ok(Some(header)) if backend.input.len() - at >= header.total => header,
                Ok(Some(header)) if header.total > 1 << 20 => return Outcome::Lost,
                Ok(_) => break,
                Err(_) => return Outcome::Lost,
            };
            match (backend.used, header.tag) {
                (_, tag::NOTICE_RESPONSE | tag::PARAMETER_STATUS | tag::NOTIFICATION_RESPONSE)
                | (Use::Cleaning, tag::COMMAND_COMPLETE) => {}
                (Use::Cleaning, tag::READY_FOR_QUERY) if backend.input.get(at + 5) == Some(&b'I') => {
                    cleaned = true
                }
                _ => return Outcome::Lost,
            }
            at += header.total;
        }
        backend.input.drain(..at);
        if backend.input.is_empty() {
            backend.input = Vec::new();
        }
        if cleaned {
            self.give_back(place, Condition::Clean);
            return Outcome::Quiet;
        }
        if received == 0 { Outcome::Quiet } else { Outcome::Wants(Want::Input) }
    }

    /// The connection is over.
    fn on_backend_lost(&mut self, place: usize) {
        // A write of its may have taken effect up to this moment.
        self.times.now = self.parts.clock.now();
        let now = self.times.now;
        let Some(backend) = self.backends.get_mut(place) else { return };
        backend.state.spent = true;
        let (pool, slot, used) = (backend.pool, backend.slot, backend.used);
        // A hint: the monitor probes anyway.
        let _ = self
            .parts
            .control
            .try_send(ToControl::Noticed { node: backend.state.node, what: Notice::ConnectionLost });
        match used {
            Use::Lent(index) => self.lose_backend(index),
            Use::Kept(index) => {
                if let Some(client) = self.clients.get_mut(index) {
                    client.forget_kept(place);
                }
                self.give_back(place, Condition::Broken);
            }
            Use::Cleaning | Use::Cancelling => self.give_back(place, Condition::Broken),
            Use::Idle => {
                drop(self.remove_backend_of(pool, slot));
                self.call_pool(pool, now, |machine, me| machine.on_closed(now, me, slot));
            }
            Use::Arriving => {
                drop(self.remove_backend_of(pool, slot));
                self.call_pool(pool, now, |machine, me| machine.on_lost(now, me, slot));
            }
        }
    }

    /// Gives a backend back to its pool, or to the cancel requests that still seek it.
    pub(super) fn give_back(&mut self, place: usize, condition: Condition) {
        let now = self.times.now;
        let Some(backend) = self.backends.get_mut(place) else { return };
        backend.since = now;
        let condition = if backend.state.spent { Condition::Broken } else { condition };
        if backend.cancels > 0 && condition == Condition::Clean {
            backend.used = Use::Cancelling;
            return;
        }
        backend.used = Use::Idle;
        let (pool, slot) = (backend.pool, backend.slot);
        let leftover = !backend.input.is_empty();
        self.return_slot(pool, slot, condition, now);
        if leftover && condition == Condition::Clean {
            self.pump_backend(place);
        }
    }

    /// A cancel leg has ended.
    pub(super) fn on_cancel_ended(&mut self, key: BackendKey) {
        let place = key.index as usize;
        let Some(backend) = self.backends.get_mut(place) else { return };
        if backend.origin.generation != key.generation {
            return;
        }
        backend.cancels = backend.cancels.saturating_sub(1);
        if backend.cancels == 0 && backend.used == Use::Cancelling {
            self.give_back(place, Condition::Clean);
        }
    }
}
