//! What the primary's WAL position was, and when it was asked: the clock against which replicas are proved.
//!
//! A sample `(asked, lsn)` says: every record inserted before `asked` ends at or before `lsn`. So a replica that
//! has replayed `lsn` shows everything that was acknowledged to anyone before `asked`. Only samples of one
//! history may stand together; whoever sees the history change clears the ring.

use std::collections::VecDeque;

use wire::lsn::Lsn;

use crate::time::Instant;

/// One answer of the primary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// When it was asked: before the question left.
    pub asked: Instant,
    /// The insert position, with a page header behind it taken off ([`wire::lsn::normalise`]).
    pub lsn: Lsn,
}

/// What became of a sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It is in the ring, or says nothing that a later one does not.
    Taken,
    /// Its position is below one seen before: not the history that the ring was filled from. Not taken.
    WentBack,
}

/// Samples of one history, oldest first; both fields grow strictly from each to the next.
#[derive(Clone, Debug)]
pub struct Samples {
    ring: VecDeque<Sample>,
    max: usize,
}

impl Samples {
    /// An empty ring for at most `max` samples (at least 8).
    pub fn new(max: usize) -> Self {
        Samples { ring: VecDeque::new(), max: max.max(8) }
    }

    /// Adds what the primary answered to a question asked later than all before.
    ///
    /// A position seen before moves its sample's instant: an idle primary keeps proving that nothing is missing,
    /// at no cost in memory.
    pub fn push(&mut self, sample: Sample) -> Pushed {
        match self.ring.back_mut() {
            Some(newest) if sample.lsn < newest.lsn => return Pushed::WentBack,
            Some(newest) if sample.asked <= newest.asked => {}
            Some(newest) if sample.lsn == newest.lsn => newest.asked = sample.asked,
            Some(_) | None => {
                if self.ring.len() >= self.max {
                    self.thin();
                }
                self.ring.push_back(sample);
            }
        }
        Pushed::Taken
    }

    /// The newest sample.
    pub fn newest(&self) -> Option<Sample> {
        self.ring.back().copied()
    }

    /// The instant before which everything acknowledged is at or below `replayed`.
    pub fn proved_by(&self, replayed: Lsn) -> Option<Instant> {
        let reached = self.ring.partition_point(|sample| sample.lsn <= replayed);
        reached.checked_sub(1).and_then(|last| self.ring.get(last)).map(|sample| sample.asked)
    }

    /// The history has changed: what was sampled before proves nothing.
    pub fn clear(&mut self) {
        self.ring.clear();
    }

    /// Drops every second sample of the older half. A replica that stands between two that remain is proved as of
    /// the earlier one, so that less memory only ever makes the proof more cautious.
    fn thin(&mut self) {
        let half = self.ring.len() / 2;
        let mut place = 0;
        self.ring.retain(|_| {
            place += 1;
            place > half || place % 2 == 0
        });
    }

    /// Always true between calls.
    pub(crate) fn check_invariants(&self) {
        assert!(self.ring.len() <= self.max, "more samples than the limit");
        let pairs = self.ring.iter().zip(self.ring.iter().skip(1));
        for (older, newer) in pairs {
            assert!(older.asked < newer.asked && older.lsn < newer.lsn, "samples out of order");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn ring(samples: &[(u64, u64)]) -> Samples {
        let mut ring = Samples::new(8);
        for &(asked, lsn) in samples {
            assert_eq!(ring.push(Sample { asked: at(asked), lsn: Lsn(lsn) }), Pushed::Taken);
            ring.check_invariants();
        }
        ring
    }

    #[test]
    fn a_replica_is_proved_as_of_the_newest_sample_that_it_has_reached() {
        let ring = ring(&[(1, 100), (2, 200), (3, 300)]);
        for (replayed, proved) in
            [(99, None), (100, Some(1)), (199, Some(1)), (200, Some(2)), (300, Some(3)), (999, Some(3))]
        {
            assert_eq!(ring.proved_by(Lsn(replayed)), proved.map(at), "{replayed}");
        }
    }

    #[test]
    fn an_idle_primary_moves_the_instant_and_takes_no_memory() {
        let ring = ring(&[(1, 100), (2, 100), (50, 100), (51, 100)]);
        assert_eq!(ring.ring.len(), 1);
        assert_eq!(ring.proved_by(Lsn(100)), Some(at(51)));
    }

    #[test]
    fn a_position_below_one_seen_before_is_not_taken() {
        let mut ring = ring(&[(1, 100), (2, 200)]);
        assert_eq!(ring.push(Sample { asked: at(3), lsn: Lsn(150) }), Pushed::WentBack);
        assert_eq!(ring.newest(), Some(Sample { asked: at(2), lsn: Lsn(200) }));
    }

    #[test]
    fn a_full_ring_keeps_its_ends_and_proves_never_more_than_before() {
        let mut thinned = Samples::new(8);
        let mut all = Vec::new();
        for step in 1..=1000_u64 {
            let sample = Sample { asked: at(step), lsn: Lsn(step * 10) };
            all.push(sample);
            thinned.push(sample);
            thinned.check_invariants();
            assert_eq!(thinned.newest(), Some(sample));
        }
        for replayed in 0..=10_010 {
            let exact = all.iter().rev().find(|sample| sample.lsn.0 <= replayed).map(|sample| sample.asked);
            assert!(thinned.proved_by(Lsn(replayed)) <= exact, "{replayed}");
        }
        assert_eq!(thinned.proved_by(Lsn(10_000)), Some(at(1000)));
    }
}
