//! The world's clock, its queue of what is to happen, and its chance: everything follows from the seed.
//!
//! Nothing here knows what an event means; [`crate::run`] gives it to whom it concerns.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use engine::time::Instant;

/// Nanoseconds of a microsecond.
pub(crate) const US: u64 = 1_000;
/// Nanoseconds of a millisecond.
pub(crate) const MS: u64 = 1_000_000;

/// The only source of chance: splitmix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Chance(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` up to, not including, `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low).max(1)
    }

    /// True that often in a hundred.
    pub(crate) fn percent(&mut self, often: u64) -> bool {
        self.between(0, 100) < often
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let place = self.between(0, of.len() as u64);
        of[usize::try_from(place).expect("a place in a slice")]
    }
}

/// What is to happen, soonest first; what is due at the same moment in the order of asking.
#[derive(Clone, Debug)]
pub(crate) struct Agenda<E> {
    now: u64,
    asked: u64,
    heap: BinaryHeap<Reverse<Entry<E>>>,
}

#[derive(Clone, Debug)]
struct Entry<E> {
    due: u64,
    turn: u64,
    event: E,
}

impl<E> Agenda<E> {
    pub(crate) fn new() -> Self {
        Agenda { now: 0, asked: 0, heap: BinaryHeap::new() }
    }

    /// Now, in nanoseconds since the world began.
    pub(crate) fn nanos(&self) -> u64 {
        self.now
    }

    /// Now, as the engine is told it.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    /// Lets something happen after so many nanoseconds.
    pub(crate) fn after(&mut self, nanos: u64, event: E) {
        self.at(self.now + nanos, event);
    }

    /// Lets something happen then, or at once if that is past.
    pub(crate) fn at(&mut self, due: u64, event: E) {
        self.asked += 1;
        self.heap.push(Reverse(Entry { due: due.max(self.now), turn: self.asked, event }));
    }

    /// Goes on to what is due next, up to a moment.
    pub(crate) fn next(&mut self, until: u64) -> Option<E> {
        if self.heap.peek().is_none_or(|Reverse(entry)| entry.due > until) {
            self.now = until;
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.due;
        Some(entry.event)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.turn == other.turn
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.turn).cmp(&(other.due, other.turn))
    }
}
