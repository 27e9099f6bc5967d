//! Who waits for a backend, in the order of coming. Strictly first come, first served.

use std::collections::VecDeque;
use std::time::Duration;

use super::WaiterId;
use crate::time::Instant;

/// A fair queue. Its length is bounded by the number of clients, which the shell limits.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters {
    queue: VecDeque<Waiter>,
}

/// One who waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiter {
    pub(super) id: WaiterId,
    pub(super) since: Instant,
}

impl Waiters {
    pub(super) fn push(&mut self, id: WaiterId, now: Instant) {
        self.queue.push_back(Waiter { id, since: now });
    }

    /// Takes the one who came first.
    pub(super) fn pop(&mut self) -> Option<Waiter> {
        self.queue.pop_front()
    }

    /// Takes the one who came first, if that one has waited so long.
    pub(super) fn pop_after(&mut self, now: Instant, wait: Duration) -> Option<Waiter> {
        if now.since(self.first_since()?) >= wait { self.queue.pop_front() } else { None }
    }

    /// Takes out one who no longer waits; `false` if it did not wait.
    pub(super) fn remove(&mut self, id: WaiterId) -> bool {
        let place = self.queue.iter().position(|waiter| waiter.id == id);
        place.and_then(|place| self.queue.remove(place)).is_some()
    }

    /// When the one who came first came.
    pub(super) fn first_since(&self) -> Option<Instant> {
        self.queue.front().map(|waiter| waiter.since)
    }

    pub(super) fn longest_wait(&self, now: Instant) -> Duration {
        self.first_since().map_or(Duration::ZERO, |since| now.since(since))
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.queue.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn check_invariants(&self) {
        let pairs = self.queue.iter().zip(self.queue.iter().skip(1));
        for (earlier, later) in pairs {
            assert!(earlier.since <= later.since, "waiters out of order");
        }
    }
}
