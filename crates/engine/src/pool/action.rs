//! What a pool wants done, and by whom: one queue of actions for each worker.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Fault, SlotId, WaiterId, WorkerId};

/// What the shell is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Have a backend connected for the worker `home`, which then tells [`super::Pool::on_connected`] or
    /// [`super::Pool::on_connect_failed`].
    Connect {
        /// For which slot.
        slot: SlotId,
        /// Who gets the backend.
        home: WorkerId,
    },
    /// Close this backend, if it is not lost already. The slot is free from here on: tell nothing more about it.
    Close(SlotId),
    /// Let go of this idle backend and pass it to the worker `to`, which then tells [`super::Pool::on_arrived`] or
    /// [`super::Pool::on_lost`].
    HandOver {
        /// Which.
        slot: SlotId,
        /// Whose it is from here on.
        to: WorkerId,
    },
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

impl Action {
    /// Whose wait it ends, if it does.
    fn ends_wait_of(&self) -> Option<WaiterId> {
        match *self {
            Action::Grant { waiter, .. }
            | Action::TimedOut { waiter, .. }
            | Action::Refuse { waiter, .. } => Some(waiter),
            Action::Connect { .. } | Action::Close(_) | Action::HandOver { .. } => None,
        }
    }
}

/// The workers for which something is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkerSet(u64);

impl WorkerSet {
    /// Whether this worker is in it.
    pub fn has(self, worker: WorkerId) -> bool {
        self.0 & bit(worker) != 0
    }

    /// Puts a worker in.
    pub fn add(&mut self, worker: WorkerId) {
        self.0 |= bit(worker);
    }

    /// Takes a worker out.
    pub fn remove(&mut self, worker: WorkerId) {
        self.0 &= !bit(worker);
    }

    /// Those who are in this set and not in the other.
    pub fn without(self, other: WorkerSet) -> WorkerSet {
        WorkerSet(self.0 & !other.0)
    }

    /// Nobody is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Iterator for WorkerSet {
    type Item = WorkerId;

    /// Takes the first one out.
    fn next(&mut self) -> Option<WorkerId> {
        let first = u16::try_from(self.0.trailing_zeros()).ok().map(WorkerId).filter(|_| self.0 != 0)?;
        self.remove(first);
        Some(first)
    }
}

fn bit(worker: WorkerId) -> u64 {
    1 << worker.0
}

/// Actions that have not been carried out, in order, for each worker.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    queues: Box<[VecDeque<Action>]>,
    /// Who has some.
    pub(super) pending: WorkerSet,
}

impl Outbox {
    pub(super) fn new(workers: u16) -> Self {
        Outbox { queues: (0..workers).map(|_| VecDeque::new()).collect(), pending: WorkerSet::default() }
    }

    pub(super) fn push(&mut self, worker: WorkerId, action: Action) {
        self.queues[worker.index()].push_back(action);
        self.pending.add(worker);
    }

    pub(super) fn pop(&mut self, worker: WorkerId) -> Option<Action> {
        if !self.pending.has(worker) {
            return None;
        }
        let queue = &mut self.queues[worker.index()];
        let action = queue.pop_front();
        if queue.is_empty() {
            self.pending.remove(worker);
        }
        action
    }

    /// Takes out what would tell this waiter the end of its wait.
    pub(super) fn take_end_of_wait(&mut self, worker: WorkerId, waiter: WaiterId) -> Option<Action> {
        self.take(worker, |action| action.ends_wait_of() == Some(waiter))
    }

    /// Takes back the order to hand this backend over. `false`: it has been carried out.
    pub(super) fn take_hand_over(&mut self, worker: WorkerId, slot: SlotId) -> bool {
        self.take(worker, |action| matches!(action, Action::HandOver { slot: s, .. } if *s == slot)).is_some()
    }

    /// Forgets what only concerns this worker: it is gone.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        let queue = &mut self.queues[worker.index()];
        queue.retain(|action| matches!(action, Action::Connect { home, .. } if *home != worker));
        if queue.is_empty() {
            self.pending.remove(worker);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Action> {
        self.queues.iter().flatten()
    }

    fn take(&mut self, worker: WorkerId, wanted: impl Fn(&Action) -> bool) -> Option<Action> {
        let queue = &mut self.queues[worker.index()];
        let place = queue.iter().position(wanted)?;
        let action = queue.remove(place);
        if queue.is_empty() {
            self.pending.remove(worker);
        }
        action
    }
}
