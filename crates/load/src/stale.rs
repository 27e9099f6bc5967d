//! Which reads missed a write that somebody had been told of, and how old that write was.
//!
//! Told only what was acknowledged when and what was read when; it opens no connection. A counter in one row goes up
//! with each write, so that a read of it shows which writes it saw.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;

/// Acknowledged writes that are remembered; a read that misses older ones counts as this old at least.
const WRITES_KEPT_MAX: usize = 10_000;

/// Whose write a read could have missed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// Of the same connection.
    Own,
    /// Of another one.
    Others,
}

/// What was seen.
#[derive(Clone, Default, Debug)]
pub struct Stale {
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Reads on the connection that wrote.
    pub own_reads: u64,
    /// Those that missed its last acknowledged write.
    pub own_missed: u64,
    /// Reads on another connection.
    pub others_reads: u64,
    /// Those that missed a write that was acknowledged before they began.
    pub others_missed: u64,
    /// How long before a read the first write that it missed had been acknowledged.
    pub age: Histogram,
}

impl Stale {
    /// Adds what was seen at another time.
    pub fn add(&mut self, other: &Stale) {
        self.writes += other.writes;
        self.own_reads += other.own_reads;
        self.own_missed += other.own_missed;
        self.others_reads += other.others_reads;
        self.others_missed += other.others_missed;
        self.age.add(&other.age);
    }
}

/// Judges the reads of one counter.
#[derive(Clone, Default, Debug)]
pub struct Judge {
    /// The counter's values and when each was acknowledged; rising.
    acknowledged: VecDeque<(u64, Instant)>,
    seen: Stale,
}

impl Judge {
    /// A write that made the counter `value` was acknowledged.
    pub fn on_acknowledged(&mut self, value: u64, at: Instant) {
        self.seen.writes += 1;
        self.acknowledged.push_back((value, at));
        if self.acknowledged.len() > WRITES_KEPT_MAX {
            self.acknowledged.pop_front();
        }
    }

    /// A read that began at `asked` saw `value`.
    pub fn on_read(&mut self, whose: Whose, value: u64, asked: Instant) {
        let missed = self.age_of_first_missed(value, asked);
        let (reads, count) = match whose {
            Whose::Own => (&mut self.seen.own_reads, &mut self.seen.own_missed),
            Whose::Others => (&mut self.seen.others_reads, &mut self.seen.others_missed),
        };
        *reads += 1;
        if let Some(age) = missed {
            *count += 1;
            self.seen.age.record(age);
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn seen(&self) -> &Stale {
        &self.seen
    }

    fn age_of_first_missed(&self, value: u64, asked: Instant) -> Option<Duration> {
        let first = self.acknowledged.partition_point(|(written, _)| *written <= value);
        let (_, at) = self.acknowledged.get(first)?;
        (*at <= asked).then(|| asked - *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_stale_by_the_first_write_it_missed_and_only_if_that_was_acknowledged_before() {
        let start = crate::clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut judge = Judge::default();
        for (value, ms) in [(5, 0), (6, 100), (7, 200)] {
            judge.on_acknowledged(value, at(ms));
        }
        judge.on_read(Whose::Own, 7, at(250));
        judge.on_read(Whose::Others, 5, at(250));
        assert_eq!(judge.seen().age.max(), Duration::from_millis(150), "6 was the first it missed");
        judge.on_read(Whose::Others, 6, at(199));
        judge.on_read(Whose::Own, 4, at(210));
        let seen = judge.seen();
        assert_eq!((seen.own_reads, seen.own_missed), (2, 1));
        assert_eq!((seen.others_reads, seen.others_missed), (2, 1));
    }
}
