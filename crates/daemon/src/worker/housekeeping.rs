//! What a worker does beside queries: held requests, timeouts, cancel requests, draining.

use engine::pool::Abandoned;
use engine::session::Want;
use engine::time::Instant;
use tokio::sync::oneshot;
use wire::sqlstate::SqlState;
use wire::status::TransactionStatus;

use crate::mail::ToControl;

use super::backend::Use;
use super::{Phase, TICK, Worker};

impl Worker {
    /// Deadlines, a few times a second.
    pub(super) fn tick(&mut self) {
        let now = self.times.now;
        self.tick_pools(now);
        if now.since(self.times.ticked) < TICK {
            return;
        }
        self.times.ticked = now;
        self.parts.stats.turned.at(now);
        self.look_at_held(now);
        self.expire(now);
        self.pools.forget_dropped();
        let counters = self.shared.memo.counters();
        let stats = &self.parts.stats;
        stats.memo_hits.set(counters.hits);
        stats.memo_misses.set(counters.misses);
        if self.phase == Phase::Draining {
            self.close_idle_clients();
        }
    }

    /// The view has changed: held requests may go on, and pools may have backends of a node that is another now.
    pub(super) fn on_view_changed(&mut self) {
        let now = self.times.now;
        self.recheck_pools(now);
        self.look_at_held(now);
    }

    /// Decides anew for every held request.
    fn look_at_held(&mut self, now: Instant) {
        for index in std::mem::take(&mut self.holding) {
            let want = self.session_call(index, |session, input, cx| session.on_view(input, cx));
            match want {
                Some(Want::CheckOut(node)) => {
                    if let Some(place) = self.check_out(index, node, now) {
                        self.attach_for_later(index, place);
                    }
                }
                Some(Want::Hold) => self.hold_or_fail(index, now),
                Some(Want::Input | Want::Answers | Want::GiveBack | Want::Rerun { .. } | Want::Close)
                | None => {}
            }
        }
    }

    /// Holds on, unless it has been too long.
    fn hold_or_fail(&mut self, index: usize, now: Instant) {
        let Some(client) = self.clients.get(index) else { return };
        let waited = client.session.waiting_since().map(|since| now.since(since)).unwrap_or_default();
        let limit = client.info.database.pool.wait_max;
        if limit.is_zero() || waited < limit {
            return self.hold(index);
        }
        let message = format!(
            "no node could take the statement for {:.1} s (query_wait_timeout)",
            waited.as_secs_f64()
        );
        self.end_wait(index, SqlState::CANNOT_CONNECT_NOW, &message);
    }

    /// Timeouts of clients, PgBouncer's `client_idle_timeout`, `idle_transaction_timeout`, `query_timeout`.
    fn expire(&mut self, now: Instant) {
        let mut over: Vec<(usize, SqlState, &'static str)> = Vec::new();
        for (index, client) in &self.clients {
            let limits = client.info.database.limits;
            let quiet = now.since(client.active);
            let idle = client.session.is_idle();
            let passed = |limit: std::time::Duration| !limit.is_zero() && quiet >= limit;
            if idle && passed(limits.client_idle_max) {
                over.push((
                    index,
                    SqlState::IDLE_SESSION_TIMEOUT,
                    "client_idle_timeout: the client was idle for too long",
                ));
            } else if !idle
                && client.session.leaves_backend_clean()
                && client.session.status() != TransactionStatus::Idle
            {
                if passed(limits.idle_transaction_max) {
                    let message = "idle_transaction_timeout: the transaction was idle for too long";
                    over.push((index, SqlState::IDLE_IN_TRANSACTION_TIMEOUT, message));
                }
            } else if !idle && client.backend.is_some() {
                let since = client.backend.and_then(|p| self.backends.get(p)).map(|b| b.since);
                let running = since.map(|s| now.since(s)).unwrap_or_default();
                if !limits.query_max.is_zero() && running >= limits.query_max && quiet >= limits.query_max {
                    over.push((
                        index,
                        SqlState::QUERY_CANCELED,
                        "query_timeout: the statement ran for too long",
                    ));
                }
            }
        }
        for (index, code, message) in over {
            self.session_call(index, |session, _, cx| session.end_fatally(code, message, cx));
            self.close_client(index);
        }
    }

    /// A CancelRequest with the right key has come for this client.
    pub(super) fn cancel(&mut self, number: u64, done: oneshot::Sender<()>) {
        let Some(&index) = self.numbers.get(&number) else { return };
        let Some(client) = self.clients.get_mut(index) else { return };
        if let Some(place) = client.backend {
            return self.send_cancel(place, Some(done));
        }
        let waiter = client.waiter(index);
        let waits = client.session.waiting_since().is_some();
        let now = self.times.now;
        let pool = client.pool.take();
        let queued = pool.and_then(|p| self.call_pool(p, now, |machine, me| machine.abandon(me, waiter)));
        if waits && (queued == Some(Abandoned::WasQueued) || self.holding.contains(&index)) {
            self.end_wait(index, SqlState::QUERY_CANCELED, "canceling statement due to user request");
        }
    }

    /// Asks the control thread to cancel what a backend runs. It is not lent to anybody else before that is over.
    pub(super) fn send_cancel(&mut self, place: usize, done: Option<oneshot::Sender<()>>) {
        let Some(backend) = self.backends.get_mut(place) else { return };
        // A server that gave no key can't be asked.
        let Some((pid, key)) = backend.origin.cancel.clone() else { return };
        let request = ToControl::CancelBackend {
            backend: backend.key(self.parts.index, place),
            address: backend.origin.address,
            pid,
            key,
            done,
        };
        if self.parts.control.try_send(request).is_ok() {
            backend.cancels += 1;
        }
    }

    /// No new clients; each client ends when it is idle.
    pub(super) fn drain(&mut self) {
        self.phase = Phase::Draining;
        // What only waits for a backend or a node runs nowhere: nothing is lost with it.
        let waiting: Vec<usize> = self
            .clients
            .iter()
            .filter(|(_, c)| c.session.waiting_since().is_some())
            .map(|(i, _)| i)
            .collect();
        for index in waiting {
            self.close_with(index, SqlState::ADMIN_SHUTDOWN, "the router is shutting down");
        }
        self.close_idle_clients();
    }

    /// Tells a client why, and closes it.
    fn close_with(&mut self, index: usize, code: SqlState, message: &str) {
        self.session_call(index, |session, _, cx| session.end_fatally(code, message, cx));
        self.close_client(index);
    }

    fn close_idle_clients(&mut self) {
        let idle: Vec<usize> = self
            .clients
            .iter()
            .filter(|(_, c)| c.session.is_idle() && c.backend.is_none())
            .map(|(i, _)| i)
            .collect();
        for index in idle {
            self.close_with(index, SqlState::ADMIN_SHUTDOWN, "the router is shutting down");
        }
        if self.clients.is_empty() && self.phase == Phase::Draining {
            let places: Vec<usize> =
                self.backends.iter().filter(|(_, b)| b.used != Use::Cleaning).map(|(p, _)| p).collect();
            for place in places {
                let mut goodbye = Vec::new();
                wire::encode::terminate(&mut goodbye);
                self.backends[place].socket.send_bytes(&goodbye);
            }
            self.phase = Phase::Ended;
        }
    }
}
