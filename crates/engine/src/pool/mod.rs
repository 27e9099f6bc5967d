//! Who may use a backend: slots, waiters, limits. Pure; the shell connects and closes as told.
//!
//! One [`Pool`] is one node, one database, one user. It never sees a socket: a backend is a [`SlotId`], a session
//! is a [`WaiterId`]. After each call the shell pulls [`Pool::next_action`] until there is none.

pub mod settings;
mod slot;
mod waiters;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

pub use settings::{PoolMode, Settings};

use crate::time::Instant;
use slot::Slots;
use waiters::Waiters;

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

/// What the shell is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Connect a backend, then tell [`Pool::on_connected`] or [`Pool::on_connect_failed`].
    Connect(SlotId),
    /// Close this backend, if it is not lost already. The slot is free from here on: tell nothing more about it.
    Close(SlotId),
    /// The wait is over: the backend is this session's.
    Grant {
        /// Who waited.
        waiter: WaiterId,
        /// What it gets.
        slot: SlotId,
    },
    /// The wait is over: it was too long.
    TimedOut {
        /// Who waited.
        waiter: WaiterId,
        /// How long.
        waited: Duration,
    },
    /// The wait is over: there is no backend, and none will come soon. The session may decide anew.
    Refuse {
        /// Who waited.
        waiter: WaiterId,
        /// Why there is none.
        fault: Fault,
    },
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
    /// Sessions that wait.
    pub waiting: u32,
}

/// Most connects under way at a time, in one pool.
const CONNECTING_MAX: u32 = 4;
/// First pause after a failed connect; doubles up to `connect_retry`.
const CONNECT_RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest pause after 57P03: a node that is starting up is ready any moment.
const NOT_READY_RETRY_MAX: Duration = Duration::from_secs(1);

/// Whether connecting makes sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// As far as known. → `Blocked`
    Open,
    /// The last connect failed: no further one until then. → `Trying`, `Open`
    Blocked { until: Instant, pause: Duration },
    /// One connect at a time, until one succeeds. → `Open`, `Blocked`
    Trying { pause: Duration },
}

/// The backends of one user of one database on one node.
#[derive(Clone, Debug)]
pub struct Pool {
    settings: Settings,
    slots: Slots,
    waiters: Waiters,
    actions: VecDeque<Action>,
    way: Way,
    /// Backends of an older round are closed when they are given back.
    round: u32,
    /// No idle backend was connected before this.
    eldest: Option<Instant>,
    /// The latest instant we were told of.
    now: Instant,
}

impl Pool {
    /// An empty pool. With a `min_size`, its first deadline is at once.
    pub fn new(settings: Settings) -> Self {
        Pool {
            settings,
            slots: Slots::default(),
            waiters: Waiters::default(),
            actions: VecDeque::new(),
            way: Way::Open,
            round: 0,
            eldest: None,
            now: Instant::START,
        }
    }

    /// A session wants a backend. It must not wait here already.
    pub fn check_out(&mut self, now: Instant, waiter: WaiterId) -> CheckOut {
        self.advance(now);
        while let Some((slot, born, round)) = self.slots.take_idle() {
            if self.is_over_age(born) {
                self.close(slot);
            } else {
                self.slots.lend(slot, born, round);
                return CheckOut::Ready(slot);
            }
        }
        self.waiters.push(waiter, self.now);
        self.connect_more();
        CheckOut::Queued
    }

    /// A session waits no longer: its client left or cancelled.
    pub fn abandon(&mut self, waiter: WaiterId) -> Abandoned {
        if self.waiters.remove(waiter) {
            return Abandoned::WasQueued;
        }
        let named = |action: &Action| match *action {
            Action::Grant { waiter: named, .. }
            | Action::TimedOut { waiter: named, .. }
            | Action::Refuse { waiter: named, .. } => named == waiter,
            Action::Connect(_) | Action::Close(_) => false,
        };
        let place = self.actions.iter().position(named);
        match place.and_then(|place| self.actions.remove(place)) {
            None => Abandoned::Unknown,
            Some(Action::Grant { slot, .. }) => {
                self.take_back(slot, Condition::Clean);
                Abandoned::WasQueued
            }
            Some(_) => Abandoned::WasQueued,
        }
    }

    /// A session is done with its backend. It goes to the one who waits longest, or rests, or is closed.
    pub fn give_back(&mut self, now: Instant, slot: SlotId, condition: Condition) {
        self.advance(now);
        self.take_back(slot, condition);
    }

    /// The connect that was asked for succeeded: the backend is logged in and idle.
    pub fn on_connected(&mut self, now: Instant, slot: SlotId) {
        self.advance(now);
        let Some(round) = self.slots.end_connecting(slot) else {
            debug_assert!(false, "connected without being asked to");
            return;
        };
        self.way = Way::Open;
        if round == self.round && self.live() < self.settings.size {
            self.offer(slot, self.now, round);
        } else {
            self.close(slot);
        }
        self.connect_more();
    }

    /// The connect that was asked for failed.
    pub fn on_connect_failed(&mut self, now: Instant, slot: SlotId, fault: Fault) {
        self.advance(now);
        if self.slots.end_connecting(slot).is_none() {
            debug_assert!(false, "a connect failed that was not asked for");
            return;
        }
        self.slots.vacate(slot);
        self.block(fault);
        let hopeless = match fault {
            Fault::Credentials => true,
            // Those who wait can be served by what is lent out, or by a connect still under way.
            Fault::Node | Fault::NotReady => self.live() == 0,
            Fault::Full => false,
        };
        if hopeless {
            while let Some(waiter) = self.waiters.pop() {
                self.actions.push_back(Action::Refuse { waiter: waiter.id, fault });
            }
        }
    }

    /// An idle backend has died; its socket is closed.
    pub fn on_closed(&mut self, now: Instant, slot: SlotId) {
        self.advance(now);
        if self.slots.take_this_idle(slot) {
            self.slots.vacate(slot);
            self.connect_more();
        }
    }

    /// Time has come for something: a wait that is too long, a backend too old, another try to connect.
    pub fn on_deadline(&mut self, now: Instant) {
        self.advance(now);
        self.expire_waiters();
        self.close_unused();
        self.connect_more();
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

    /// What to do next; none when all is done.
    pub fn next_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if let Some(Action::Close(slot)) = action {
            self.slots.vacate(slot);
            self.connect_more();
        }
        action
    }

    /// Every backend that is present is closed: idle ones at once, lent ones when they are given back.
    pub fn recycle(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.close_idle();
    }

    /// Closes what nobody uses: the node went away, or is drained.
    pub fn close_idle(&mut self) {
        while let Some((slot, ..)) = self.slots.take_idle() {
            self.close(slot);
        }
    }

    /// The node is known to be back: do not wait for the pause after a failed connect to end.
    pub fn retry_now(&mut self, now: Instant) {
        self.advance(now);
        if let Way::Blocked { pause, .. } = self.way {
            self.way = Way::Trying { pause };
        }
        self.connect_more();
    }

    /// Other settings: what is above the new size is closed as soon as nobody uses it.
    pub fn resize(&mut self, now: Instant, settings: Settings) {
        // First of all: nothing may be connected by the old limit any more.
        self.settings = settings;
        self.advance(now);
        while self.live() > self.settings.size {
            let Some((slot, _)) = self.slots.oldest_idle() else { break };
            self.slots.take_this_idle(slot);
            self.close(slot);
        }
        self.connect_more();
    }

    /// What the pool has.
    pub fn counts(&self) -> Counts {
        Counts {
            idle: self.slots.idle(),
            lent: self.slots.lent(),
            connecting: self.slots.connecting(),
            waiting: self.waiters.len(),
        }
    }

    /// How long the one who waits longest has waited.
    pub fn longest_wait(&self, now: Instant) -> Duration {
        self.waiters.longest_wait(now)
    }

    /// Nothing is here and nothing is asked for: the pool may be dropped.
    pub fn is_unused(&self) -> bool {
        self.slots.present() == 0 && self.waiters.is_empty() && self.actions.is_empty()
    }

    /// Instants from different calls may be out of order by a little; ours never goes back.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if let Way::Blocked { until, pause } = self.way
            && self.now >= until
        {
            self.way = Way::Trying { pause };
            self.connect_more();
        }
    }

    fn take_back(&mut self, slot: SlotId, condition: Condition) {
        let Some((born, round)) = self.slots.end_lending(slot) else {
            debug_assert!(false, "given back without being lent");
            return;
        };
        let keep = match condition {
            Condition::Broken => false,
            Condition::Clean => {
                round == self.round && !self.is_over_age(born) && self.live() < self.settings.size
            }
        };
        if keep {
            self.offer(slot, born, round);
        } else {
            self.close(slot);
        }
    }

    /// A good backend that was just taken out of another state goes to the first who waits, or rests.
    fn offer(&mut self, slot: SlotId, born: Instant, round: u32) {
        match self.waiters.pop() {
            Some(waiter) => {
                self.slots.lend(slot, born, round);
                self.actions.push_back(Action::Grant { waiter: waiter.id, slot });
            }
            None => {
                self.eldest = Some(self.eldest.map_or(born, |eldest| eldest.min(born)));
                self.slots.rest(slot, born, round, self.now);
            }
        }
    }

    /// A slot that was just taken out of another state is closed; it counts until the shell has been told.
    fn close(&mut self, slot: SlotId) {
        self.slots.condemn(slot);
        self.actions.push_back(Action::Close(slot));
        self.connect_more();
    }

    fn expire_waiters(&mut self) {
        if self.settings.wait_max.is_zero() {
            return;
        }
        while let Some(waiter) = self.waiters.pop_after(self.now, self.settings.wait_max) {
            let waited = self.now.since(waiter.since);
            self.actions.push_back(Action::TimedOut { waiter: waiter.id, waited });
        }
    }

    fn close_unused(&mut self) {
        while let Some((slot, since)) = self.slots.oldest_idle() {
            let idle_max = self.settings.idle_max;
            let spare = self.live() > self.settings.min_size;
            if idle_max.is_zero() || !spare || self.now.since(since) < idle_max {
                break;
            }
            self.slots.take_this_idle(slot);
            self.close(slot);
        }
        loop {
            let eldest = self.slots.eldest_idle();
            self.eldest = eldest.map(|(_, born)| born);
            match eldest {
                Some((slot, born)) if self.is_over_age(born) => {
                    self.slots.take_this_idle(slot);
                    self.close(slot);
                }
                Some(_) | None => break,
            }
        }
    }

    fn is_over_age(&self, born: Instant) -> bool {
        let lifetime_max = self.settings.lifetime_max;
        !lifetime_max.is_zero() && self.now.since(born) >= lifetime_max
    }

    /// After a failed connect: pause, twice as long as last time. Connects that were under way together fail once.
    fn block(&mut self, fault: Fault) {
        let longest = match fault {
            Fault::NotReady => self.settings.connect_retry.min(NOT_READY_RETRY_MAX),
            Fault::Node | Fault::Full | Fault::Credentials => self.settings.connect_retry,
        };
        let pause = match self.way {
            Way::Open => CONNECT_RETRY_MIN,
            Way::Trying { pause } => pause.saturating_mul(2),
            Way::Blocked { .. } => return,
        };
        let pause = pause.min(longest).max(Duration::from_millis(1));
        self.way = Way::Blocked { until: self.now + pause, pause };
    }

    fn connect_more(&mut self) {
        while self.may_connect() {
            let Some(permit) = self.slots.permit(self.settings.size) else { break };
            let slot = self.slots.connect(permit, self.round);
            self.actions.push_back(Action::Connect(slot));
        }
    }

    fn may_connect(&self) -> bool {
        let under_way_max = match self.way {
            Way::Open => CONNECTING_MAX,
            Way::Trying { .. } => 1,
            Way::Blocked { .. } => 0,
        };
        self.slots.connecting() < under_way_max
            && self.slots.present() < self.settings.size
            && self.connects_wanted() > 0
    }

    /// How many connects are wanted on top of those under way.
    fn connects_wanted(&self) -> u32 {
        let waiting = self.waiters.len().saturating_sub(self.slots.connecting());
        let missing = self.settings.min_size.min(self.settings.size).saturating_sub(self.live());
        waiting.max(missing)
    }

    /// Backends that are there or on their way, without those about to be closed.
    fn live(&self) -> u32 {
        self.slots.idle() + self.slots.lent() + self.slots.connecting()
    }

    /// Panics unless what must always be true between calls is. For tests, simulation and fuzzing.
    pub fn check_invariants(&self) {
        self.slots.check_invariants();
        self.waiters.check_invariants();
        assert!(self.slots.idle() == 0 || self.waiters.is_empty(), "somebody waits beside an idle backend");
        let closing = self.actions.iter().filter(|action| matches!(action, Action::Close(_))).count();
        assert_eq!(closing, (self.slots.present() - self.live()) as usize, "closing");
        assert!(
            !self.may_connect() || self.waiters.is_empty(),
            "somebody waits and a connect is not asked for"
        );
    }
}
