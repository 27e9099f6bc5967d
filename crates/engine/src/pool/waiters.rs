//! Who waits for a backend: for each worker a queue in the order of coming, first come, first served.

use std::collections::VecDeque;
use std::time::Duration;

use super::{WaiterId, WorkerId};
use crate::time::Instant;

/// Fair queues. Their length is bounded by the number of clients, which the shell limits.
#[derive(Clone, Debug)]
pub(super) struct Waiters {
    queues: Box<[VecDeque<Waiter>]>,
    len: u32,
}

/// One who waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiter {
    pub(super) id: WaiterId,
    pub(super) since: Instant,
}

impl Waiters {
    pub(super) fn new(workers: u16) -> Self {
        Waiters { queues: (0..workers).map(|_| VecDeque::new()).collect(), len: 0 }
    }

    pub(super) fn push(&mut self, worker: WorkerId, id: WaiterId, now: Instant) {
        self.queues[worker.index()].push_back(Waiter { id, since: now });
        self.len += 1;
    }

    /// Takes the one of this worker who came first.
    pub(super) fn pop(&mut self, worker: WorkerId) -> Option<Waiter> {
        let waiter = self.queues[worker.index()].pop_front()?;
        self.len -= 1;
        Some(waiter)
    }

    /// Takes one who has waited so long, whoever's it is.
    pub(super) fn pop_after(&mut self, now: Instant, wait: Duration) -> Option<(WorkerId, Waiter)> {
        let (worker, since) = self.oldest(|_| 0)?;
        if now.since(since) < wait {
            return None;
        }
        Some((worker, self.pop(worker)?))
    }

    /// Takes out one who no longer waits; `false` if it did not wait.
    pub(super) fn remove(&mut self, worker: WorkerId, id: WaiterId) -> bool {
        let queue = &mut self.queues[worker.index()];
        let Some(place) = queue.iter().position(|waiter| waiter.id == id) else { return false };
        queue.remove(place);
        self.len -= 1;
        true
    }

    /// Nobody of this worker waits any more.
    pub(super) fn clear(&mut self, worker: WorkerId) {
        let queue = &mut self.queues[worker.index()];
        self.len -= u32::try_from(queue.len()).expect("all queues together are counted in a u32");
        queue.clear();
    }

    /// Since when this worker's first has waited.
    pub(super) fn since(&self, worker: WorkerId) -> Option<Instant> {
        self.queues[worker.index()].front().map(|waiter| waiter.since)
    }

    /// The worker of the one who has waited longest, and since when, if the first so many of each worker (`skipped`) are
    /// not counted.
    pub(super) fn oldest(&self, skipped: impl Fn(WorkerId) -> u32) -> Option<(WorkerId, Instant)> {
        if self.len == 0 {
            return None;
        }
        let first = |(worker, queue): (WorkerId, &VecDeque<Waiter>)| {
            let waiter = queue.get(skipped(worker) as usize)?;
            Some((worker, waiter.since))
        };
        let queues = (0..).map(WorkerId).zip(&self.queues);
        queues.filter_map(first).min_by_key(|(_, since)| *since)
    }

    /// When the one who came first came.
    pub(super) fn first_since(&self) -> Option<Instant> {
        self.oldest(|_| 0).map(|(_, since)| since)
    }

    pub(super) fn longest_wait(&self, now: Instant) -> Duration {
        self.first_since().map_or(Duration::ZERO, |since| now.since(since))
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.queues.iter().map(VecDeque::len).sum::<usize>(), self.len as usize, "waiters");
        for queue in &self.queues {
            assert!(queue.iter().is_sorted_by_key(|waiter| waiter.since), "waiters out of order");
        }
    }
}
