//! Who may use a backend: slots, waiters, limits. Pure; the shell connects and closes as told.
//!
//! One [`Pool`] is one node, one database, one user. It never sees a socket: a backend is a [`SlotId`], a session
//! is a [`WaiterId`], a thread that serves sessions a [`WorkerId`].
//!
//! Workers share a pool. Each backend has a home, the worker that has its socket, and is lent to sessions of that worker
//! only; it changes its home by being handed over. Every call says which worker calls. After it, that worker pulls
//! [`Pool::next_action`] until there is none, and so does each worker in [`Pool::pending`]: the shell lets them know.

mod action;
pub mod settings;
mod slot;
mod waiters;
mod way;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use action::{Action, WorkerSet};
pub use settings::{PoolMode, Settings};

use crate::time::Instant;
use action::Outbox;
use slot::{Mark, Slot, Slots};
use waiters::Waiters;
use way::Way;

/// Most workers that may share a pool.
pub const WORKERS_MAX: u16 = 64;

/// A thread that serves sessions: its place among the workers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct WorkerId(pub u16);

impl WorkerId {
    /// Its place, to index by.
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// A slot of one pool: the right to one backend.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SlotId(pub u32);

/// Who waits for a backend: the shell's key of a session. Unique among live sessions of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct WaiterId(pub u64);

/// The answer to [`Pool::check_out`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum CheckOut {
    /// This backend is the session's until it is given back.
    Ready(SlotId),
    /// It waits: [`Action::Grant`], [`Action::TimedOut`] or [`Action::Refuse`] will name it, once.
    Queued,
}

/// The answer to [`Pool::abandon`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Abandoned {
    /// It waited, or was about to be told the end of its wait; no action will name it any more.
    WasQueued,
    /// It does not wait here.
    Unknown,
}

/// In what state a backend is given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Idle, in step and brought into line: the next session may have it.
    Clean,
    /// Lost, out of step, or of an incarnation that is not believed in: to be closed.
    Broken,
}

/// Whose fault it is that a connect failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// Refused, unreachable, reset or silent: the node.
    Node,
    /// 57P03: alive, not ready.
    NotReady,
    /// 53300: alive, full.
    Full,
    /// 28xxx or 3D000: this user or database, not the node.
    Credentials,
}

/// What a pool has at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Backends that nobody uses.
    pub idle: u32,
    /// Backends lent to sessions.
    pub lent: u32,
    /// Backends being connected.
    pub connecting: u32,
    /// Backends on their way from one worker to another.
    pub moving: u32,
    /// Sessions that wait.
    pub waiting: u32,
}

/// A backend given back goes to a waiter of the same worker, which costs nothing, unless somebody of another worker has
/// waited longer by more than this. So much can the order of coming be missed among workers; within one it is exact.
const OVERTAKEN_MAX: Duration = Duration::from_millis(5);

/// The backends of one user of one database on one node.
#[derive(Clone, Debug)]
pub struct Pool {
    settings: Settings,
    slots: Slots,
    waiters: Waiters,
    outbox: Outbox,
    way: Way,
    /// Of each worker: backends of an older round are closed when they are given back.
    rounds: Box<[u32]>,
    /// Workers that have ended.
    gone: WorkerSet,
    /// The node is not of the cluster any more: the limit is nothing, whatever the settings say.
    retired: bool,
    /// No idle backend was connected before this.
    eldest: Option<Instant>,
    /// The latest instant we were told of.
    now: Instant,
}

impl Pool {
    /// An empty pool for so many workers, at most [`WORKERS_MAX`]. With a `min_size`, its first deadline is at once.
    pub fn new(settings: Settings, workers: u16) -> Self {
        assert!((1..=WORKERS_MAX).contains(&workers), "there are 1 to {WORKERS_MAX} workers");
        Pool {
            settings,
            slots: Slots::new(workers),
            waiters: Waiters::new(workers),
            outbox: Outbox::new(workers),
            way: Way::Open,
            rounds: vec![0; workers.into()].into(),
            gone: WorkerSet::default(),
            retired: false,
            eldest: None,
            now: Instant::START,
        }
    }

    /// A session of the worker `by` wants a backend. It must not wait here already.
    pub fn check_out(&mut self, now: Instant, by: WorkerId, waiter: WaiterId) -> CheckOut {
        self.advance(now, by);
        while let Some((slot, mark)) = self.slots.take_idle(by) {
            if self.is_over_age(mark.born) {
                self.close(slot, mark.home, by);
            } else {
                self.slots.lend(slot, mark);
                return CheckOut::Ready(slot);
            }
        }
        self.waiters.push(by, waiter, self.now);
        self.hand_over_idle(by);
        self.connect_more(by);
        self.turn_away_if_retired();
        CheckOut::Queued
    }

    /// A session waits no longer: its client left or cancelled.
    pub fn abandon(&mut self, by: WorkerId, waiter: WaiterId) -> Abandoned {
        if self.waiters.remove(by, waiter) {
            return Abandoned::WasQueued;
        }
        match self.outbox.take_end_of_wait(by, waiter) {
            None => Abandoned::Unknown,
            Some(Action::Grant { slot, .. }) => {
                self.take_back(slot, Condition::Clean, by);
                Abandoned::WasQueued
            }
            Some(_) => Abandoned::WasQueued,
        }
    }

    /// A session is done with its backend. It goes to one who waits, or rests, or is closed.
    pub fn give_back(&mut self, now: Instant, by: WorkerId, slot: SlotId, condition: Condition) {
        self.advance(now, by);
        self.take_back(slot, condition, by);
    }

    /// The connect that was asked for succeeded: the backend is logged in and idle.
    pub fn on_connected(&mut self, now: Instant, by: WorkerId, slot: SlotId) {
        self.advance(now, by);
        let Some((home, round)) = self.slots.end_connecting(slot) else {
            debug_assert!(false, "connected without being asked to");
            return;
        };
        self.way = Way::Open;
        self.keep_or_close(slot, Mark { home, born: self.now, round }, by);
        self.connect_more(by);
    }

    /// The connect that was asked for failed.
    pub fn on_connect_failed(&mut self, now: Instant, by: WorkerId, slot: SlotId, fault: Fault) {
        self.advance(now, by);
        if self.slots.end_connecting(slot).is_none() {
            debug_assert!(false, "a connect failed that was not asked for");
            return;
        }
        self.slots.vacate(slot);
        self.way.block(fault, self.now, self.settings.connect_retry);
        let hopeless = match fault {
            Fault::Credentials => true,
            // Those who wait can be served by what is lent out, or by a connect still under way.
            Fault::Node | Fault::NotReady => self.live() == 0,
            Fault::Full => false,
        };
        while hopeless && let Some((worker, waiter)) = self.waiters.pop_after(self.now, Duration::ZERO) {
            self.outbox.push(worker, Action::Refuse { waiter: waiter.id, fault });
        }
    }

    /// A backend that was handed over has come to the worker `by`, alive and of the run that is believed in.
    pub fn on_arrived(&mut self, now: Instant, by: WorkerId, slot: SlotId) {
        self.advance(now, by);
        let Some((mark, to)) = self.slots.end_moving(slot) else {
            debug_assert!(false, "handed over without being asked to");
            return;
        };
        let mark = Mark { home: to, born: mark.born, round: self.rounds[to.index()] };
        self.keep_or_close(slot, mark, by);
        // If it was of no more use, another idle one may be for whom it was to serve.
        self.hand_over_idle(by);
        self.connect_more(by);
    }

    /// A backend that was being handed over has died, or could not be passed on; its socket is closed.
    pub fn on_lost(&mut self, now: Instant, by: WorkerId, slot: SlotId) {
        self.advance(now, by);
        if self.slots.end_moving(slot).is_some() {
            self.free(slot, by);
        }
    }

    /// An idle backend of the worker `by` has died; its socket is closed.
    pub fn on_closed(&mut self, now: Instant, by: WorkerId, slot: SlotId) {
        self.advance(now, by);
        if self.slots.take_this_idle(slot).is_some() {
            self.free(slot, by);
        } else if self.outbox.take_hand_over(by, slot) {
            self.slots.end_moving(slot).expect("what is to be handed over is moving");
            self.free(slot, by);
        }
    }

    /// Time has come for something: a wait that is too long, a backend too old, another try to connect.
    pub fn on_deadline(&mut self, now: Instant, by: WorkerId) {
        self.advance(now, by);
        self.expire_waiters();
        self.close_unused(by);
        self.connect_more(by);
    }

    /// When [`Pool::on_deadline`] has something to do; may be early, never late.
    pub fn next_deadline(&self) -> Option<Instant> {
        let after = |since: Option<Instant>, limit: Duration| {
            since.filter(|_| !limit.is_zero()).map(|since| since + limit)
        };
        let wait = after(self.waiters.first_since(), self.settings.wait_max);
        let spare = self.live() > self.settings.min_size;
        let idle_since = self.slots.oldest_idle().filter(|_| spare).map(|(_, since)| since);
        let idle = after(idle_since, self.settings.idle_max);
        let age = after(self.eldest.filter(|_| self.slots.idle() > 0), self.settings.lifetime_max);
        let connect = match self.way {
            Way::Blocked { until, .. } => Some(until).filter(|_| self.connects_wanted() > 0),
            Way::Open | Way::Trying { .. } => Some(self.now).filter(|_| self.may_connect()),
        };
        [wait, idle, age, connect].into_iter().flatten().min()
    }

    /// What the worker `by` is to do next; none when all is done.
    pub fn next_action(&mut self, by: WorkerId) -> Option<Action> {
        let action = self.outbox.pop(by);
        if let Some(Action::Close(slot)) = action {
            self.slots.vacate(slot);
            self.connect_more(by);
        }
        action
    }

    /// The workers that have something to do.
    pub fn pending(&self) -> WorkerSet {
        self.outbox.pending
    }

    /// Every backend that the worker `by` has is closed: idle ones at once, lent ones when they are given back.
    pub fn recycle(&mut self, by: WorkerId) {
        let round = &mut self.rounds[by.index()];
        *round = round.wrapping_add(1);
        self.close_idle(by);
    }

    /// Closes what the worker `by` has and nobody uses: the node went away, or is drained.
    pub fn close_idle(&mut self, by: WorkerId) {
        while let Some((slot, mark)) = self.slots.take_idle(by) {
            self.close(slot, mark.home, by);
        }
    }

    /// The worker `by` ends: its backends are closed, its sessions gone. What is left to do by it is to have others' backends
    /// connected.
    pub fn leave(&mut self, now: Instant, by: WorkerId) {
        self.gone.add(by);
        self.advance(now, by);
        self.waiters.clear(by);
        for slot in self.slots.ids() {
            if self.is_left_by(slot, by) {
                self.slots.vacate(slot);
            }
        }
        self.outbox.forget(by);
        self.hand_over_idle(by);
        self.connect_more(by);
    }

    /// Takes a slot out of its state if its backend goes with the worker `by`, which ends.
    fn is_left_by(&mut self, slot: SlotId, by: WorkerId) -> bool {
        match self.slots.slot(slot) {
            Slot::Connecting { home, .. } if home == by => self.slots.end_connecting(slot).is_some(),
            Slot::Idle { mark, .. } if mark.home == by => self.slots.take_this_idle(slot).is_some(),
            Slot::Lent(mark) if mark.home == by => self.slots.end_lending(slot).is_some(),
            Slot::Closing { home } => home == by,
            Slot::Moving { mark, to } if to == by => {
                self.slots.end_moving(slot);
                let still_there = self.outbox.take_hand_over(mark.home, slot);
                if still_there {
                    self.slots.condemn(slot, mark.home);
                    self.outbox.push(mark.home, Action::Close(slot));
                }
                !still_there
            }
            Slot::Moving { mark, .. } if mark.home == by && self.outbox.take_hand_over(by, slot) => {
                self.slots.end_moving(slot).is_some()
            }
            Slot::Vacant
            | Slot::Connecting { .. }
            | Slot::Idle { .. }
            | Slot::Lent(_)
            | Slot::Moving { .. } => false,
        }
    }

    /// The node is known to be back: do not wait for the pause after a failed connect to end.
    pub fn retry_now(&mut self, now: Instant, by: WorkerId) {
        self.advance(now, by);
        self.way.unblock();
        self.connect_more(by);
    }

    /// Other settings: what is above the new size is closed as soon as nobody uses it.
    pub fn resize(&mut self, now: Instant, by: WorkerId, settings: Settings) {
        // First of all: nothing may be connected by the old limit any more.
        self.settings = settings;
        if self.retired {
            (self.settings.size, self.settings.min_size) = (0, 0);
        }
        self.advance(now, by);
        while self.live() > self.settings.size {
            let Some((slot, _)) = self.slots.oldest_idle() else { break };
            self.close_this_idle(slot, by);
        }
        self.connect_more(by);
    }

    /// The node is not of the cluster any more, for good. Nobody gets a backend from here on: idle ones are closed at once,
    /// lent ones when they are given back, and whoever waits is sent away, to be given another node.
    pub fn retire(&mut self, now: Instant, by: WorkerId) {
        self.retired = true;
        self.resize(now, by, self.settings.clone());
        self.turn_away_if_retired();
    }

    /// Whether [`Pool::retire`] was called.
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// What the pool has.
    pub fn counts(&self) -> Counts {
        Counts {
            idle: self.slots.idle(),
            lent: self.slots.lent(),
            connecting: self.slots.connecting(),
            moving: self.slots.moving(),
            waiting: self.waiters.len(),
        }
    }

    /// How long the one who waits longest has waited.
    pub fn longest_wait(&self, now: Instant) -> Duration {
        self.waiters.longest_wait(now)
    }

    /// Nothing is here and nothing is asked for: the pool may be dropped.
    pub fn is_unused(&self) -> bool {
        self.slots.present() == 0 && self.waiters.is_empty() && self.outbox.pending.is_empty()
    }

    /// Instants from different calls may be out of order by a little; ours never goes back.
    fn advance(&mut self, now: Instant, by: WorkerId) {
        self.now = self.now.max(now);
        if let Way::Blocked { until, .. } = self.way
            && self.now >= until
        {
            self.way.unblock();
            self.connect_more(by);
        }
    }

    fn take_back(&mut self, slot: SlotId, condition: Condition, by: WorkerId) {
        let Some(mark) = self.slots.end_lending(slot) else {
            debug_assert!(false, "given back without being lent");
            return;
        };
        match condition {
            Condition::Broken => self.close(slot, mark.home, by),
            Condition::Clean => self.keep_or_close(slot, mark, by),
        }
    }

    /// A good backend that was just taken out of another state, unless it is of no more use.
    fn keep_or_close(&mut self, slot: SlotId, mark: Mark, by: WorkerId) {
        let current = mark.round == self.rounds[mark.home.index()];
        if current && !self.is_over_age(mark.born) && self.live() < self.settings.size {
            self.offer(slot, mark);
        } else {
            self.close(slot, mark.home, by);
        }
    }

    /// A good backend that was just taken out of another state goes to one who waits, or rests.
    fn offer(&mut self, slot: SlotId, mark: Mark) {
        match self.next_in_turn(mark.home) {
            Some(worker) if worker == mark.home => {
                let waiter = self.waiters.pop(worker).expect("it is its turn");
                self.slots.lend(slot, mark);
                self.outbox.push(worker, Action::Grant { waiter: waiter.id, slot });
            }
            Some(worker) => self.hand_over(slot, mark, worker),
            None => {
                self.eldest = Some(self.eldest.map_or(mark.born, |eldest| eldest.min(mark.born)));
                self.slots.rest(slot, mark, self.now);
            }
        }
    }

    /// Whose waiter gets a backend of the worker `home`. Waiters of other workers to whom a backend is on its way are served.
    fn next_in_turn(&self, home: WorkerId) -> Option<WorkerId> {
        if self.waiters.is_empty() {
            return None;
        }
        let Some(own_since) = self.waiters.since(home) else {
            return self.waiters.oldest(|worker| self.slots.moving_to(worker)).map(|(worker, _)| worker);
        };
        // One at a time to each worker: else all of them would go, and soon come back.
        let served = |worker| worker == home || self.slots.moving_to(worker) > 0;
        let other = self.waiters.oldest(|worker| if served(worker) { u32::MAX } else { 0 });
        let overtaken = other.filter(|(_, since)| *since + OVERTAKEN_MAX < own_since);
        Some(overtaken.map_or(home, |(worker, _)| worker))
    }

    /// While somebody waits for whom nothing is on its way, idle backends go there.
    fn hand_over_idle(&mut self, by: WorkerId) {
        while let Some((worker, _)) = self.waiters.oldest(|worker| self.slots.moving_to(worker))
            && let Some((slot, mark)) = self.slots.take_any_idle()
        {
            if self.is_over_age(mark.born) {
                self.close(slot, mark.home, by);
            } else {
                debug_assert!(worker != mark.home, "somebody waits beside an idle backend");
                self.hand_over(slot, mark, worker);
            }
        }
    }

    /// A good backend that was just taken out of another state goes to another worker.
    fn hand_over(&mut self, slot: SlotId, mark: Mark, to: WorkerId) {
        self.slots.send(slot, mark, to);
        self.outbox.push(mark.home, Action::HandOver { slot, to });
    }

    /// A slot that was just taken out of another state is closed by its home; it counts until that has been told.
    fn close(&mut self, slot: SlotId, home: WorkerId, by: WorkerId) {
        self.slots.condemn(slot, home);
        self.outbox.push(home, Action::Close(slot));
        self.connect_more(by);
    }

    fn close_this_idle(&mut self, slot: SlotId, by: WorkerId) {
        if let Some(mark) = self.slots.take_this_idle(slot) {
            self.close(slot, mark.home, by);
        }
    }

    /// A slot that was just taken out of another state has lost its backend.
    fn free(&mut self, slot: SlotId, by: WorkerId) {
        self.slots.vacate(slot);
        self.hand_over_idle(by);
        self.connect_more(by);
    }

    fn turn_away_if_retired(&mut self) {
        while self.retired
            && let Some((worker, waiter)) = self.waiters.pop_after(self.now, Duration::ZERO)
        {
            self.outbox.push(worker, Action::Refuse { waiter: waiter.id, fault: Fault::Node });
        }
    }

    fn expire_waiters(&mut self) {
        if self.settings.wait_max.is_zero() {
            return;
        }
        while let Some((worker, waiter)) = self.waiters.pop_after(self.now, self.settings.wait_max) {
            let waited = self.now.since(waiter.since);
            self.outbox.push(worker, Action::TimedOut { waiter: waiter.id, waited });
        }
    }

    fn close_unused(&mut self, by: WorkerId) {
        while let Some((slot, since)) = self.slots.oldest_idle() {
            let idle_max = self.settings.idle_max;
            let spare = self.live() > self.settings.min_size;
            if idle_max.is_zero() || !spare || self.now.since(since) < idle_max {
                break;
            }
            self.close_this_idle(slot, by);
        }
        loop {
            let eldest = self.slots.eldest_idle();
            self.eldest = eldest.map(|(_, born)| born);
            match eldest {
                Some((slot, born)) if self.is_over_age(born) => self.close_this_idle(slot, by),
                Some(_) | None => break,
            }
        }
    }

    fn is_over_age(&self, born: Instant) -> bool {
        let lifetime_max = self.settings.lifetime_max;
        !lifetime_max.is_zero() && self.now.since(born) >= lifetime_max
    }

    fn connect_more(&mut self, by: WorkerId) {
        while self.may_connect() {
            // For the one who waits longest and has no connect under way; else it is for `min_size`.
            let waiting = self.waiters.oldest(|worker| self.slots.connecting_for(worker));
            let workers = (0..).map(WorkerId).take(self.rounds.len());
            let mut present = [by].into_iter().chain(workers).filter(|worker| !self.gone.has(*worker));
            let Some(home) = waiting.map(|(worker, _)| worker).or_else(|| present.next()) else { break };
            let Some(permit) = self.slots.permit(self.settings.size) else { break };
            let slot = self.slots.connect(permit, home, self.rounds[home.index()]);
            self.outbox.push(by, Action::Connect { slot, home });
        }
    }

    fn may_connect(&self) -> bool {
        self.slots.connecting() < self.way.connecting_max()
            && self.slots.present() < self.settings.size
            && self.connects_wanted() > 0
    }

    /// How many connects are wanted on top of those under way. Backends handed over do not count: a worker that needs one of
    /// another's lacks one of its own.
    fn connects_wanted(&self) -> u32 {
        let waiting = self.waiters.len().saturating_sub(self.slots.connecting());
        let missing = self.settings.min_size.min(self.settings.size).saturating_sub(self.live());
        waiting.max(missing)
    }

    /// Backends that are there or on their way, without those about to be closed.
    fn live(&self) -> u32 {
        self.slots.idle() + self.slots.lent() + self.slots.connecting() + self.slots.moving()
    }

    /// Panics unless what must always be true between calls is. For tests, simulation and fuzzing.
    pub fn check_invariants(&self) {
        self.slots.check_invariants();
        self.waiters.check_invariants();
        let waiting = self.waiters.oldest(|worker| self.slots.moving_to(worker));
        assert!(self.slots.idle() == 0 || waiting.is_none(), "somebody waits beside an idle backend");
        let of = |wanted: fn(&Action) -> bool| self.outbox.all().filter(|action| wanted(action)).count();
        let closing = of(|action| matches!(action, Action::Close(_)));
        assert_eq!(closing, (self.slots.present() - self.live()) as usize, "closing");
        let moving = of(|action| matches!(action, Action::HandOver { .. }));
        assert!(moving <= self.slots.moving() as usize, "handed over without moving");
        assert!(
            !self.may_connect() || self.waiters.is_empty(),
            "somebody waits and a connect is not asked for"
        );
    }
}
