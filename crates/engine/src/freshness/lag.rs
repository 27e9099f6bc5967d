//! How far behind is one replica: in bytes, and as the instant before which it is proved to show everything.
//!
//! No clock of a replica and no time-lag function is used: both are wrong on an idle primary and on a replica
//! that is cut off. Whether a position belongs to the primary's history is judged by `cluster`; only positions
//! of which that is proved come here.

use wire::lsn::Lsn;

use super::samples::{Sample, Samples};
use crate::time::Instant;

/// How far one run of one replica is proved to have replayed the primary's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Replay {
    /// Nothing is known. → `Proved`
    #[default]
    Unproved,
    /// It has replayed this much, and shows everything acknowledged before that instant. → `Contradicted`; →
    /// `Unproved` with another history or another run
    Proved(Proof),
    /// It was ahead of what the primary had written: it is not of this history, whatever its timeline says.
    /// → `Unproved` with another history or another run
    Contradicted,
}

/// What is proved of a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proof {
    /// The highest position it reported. It never goes back within one run.
    replayed: Lsn,
    /// When the answer that said so was complete.
    answered: Instant,
    /// Everything acknowledged to anyone before this is visible on it; `None` while no sample is old enough.
    fresh_as_of: Option<Instant>,
}

impl Replay {
    /// The replica reported a position of the primary's history.
    pub fn on_position(&mut self, replayed: Lsn, answered: Instant, samples: &Samples) {
        let proof = match *self {
            Replay::Contradicted => return,
            Replay::Proved(proof) if proof.replayed >= replayed => proof,
            Replay::Proved(Proof { fresh_as_of, .. }) => Proof { replayed, answered, fresh_as_of },
            Replay::Unproved => Proof { replayed, answered, fresh_as_of: None },
        };
        *self = Replay::Proved(proof.against(samples));
    }

    /// The primary was sampled; `inserted` is its insert position as it stands, page header and all.
    ///
    /// A position that was reported before the primary was even asked cannot be above what the primary then had
    /// written, unless the two have parted (a primary restored from a snapshot keeps its timeline).
    pub fn on_sample(&mut self, asked: Instant, inserted: Lsn, samples: &Samples) {
        if let Replay::Proved(proof) = *self {
            let parted = proof.answered <= asked && proof.replayed > inserted;
            *self = if parted { Replay::Contradicted } else { Replay::Proved(proof.against(samples)) };
        }
    }

    /// Everything acknowledged before this instant is visible on the replica.
    pub fn fresh_as_of(&self) -> Option<Instant> {
        match self {
            Replay::Proved(proof) => proof.fresh_as_of,
            Replay::Unproved | Replay::Contradicted => None,
        }
    }

    /// Bytes of WAL between this replica and the newest sample.
    pub fn lag_bytes(&self, newest: Option<Sample>) -> Option<u64> {
        match (self, newest) {
            (Replay::Proved(proof), Some(newest)) => Some(newest.lsn.distance(proof.replayed)),
            (Replay::Proved(_), None) | (Replay::Unproved | Replay::Contradicted, _) => None,
        }
    }
}

impl Proof {
    /// What is proved never shrinks within one history: thinned samples must not take back what was known.
    fn against(self, samples: &Samples) -> Proof {
        Proof { fresh_as_of: self.fresh_as_of.max(samples.proved_by(self.replayed)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn sampled(samples: &[(u64, u64)]) -> Samples {
        let mut ring = Samples::new(8);
        for &(asked, lsn) in samples {
            ring.push(Sample { asked: at(asked), lsn: Lsn(lsn) });
        }
        ring
    }

    #[test]
    fn a_later_sample_of_the_same_position_makes_a_replica_fresher() {
        let mut replay = Replay::default();
        replay.on_position(Lsn(100), at(5), &sampled(&[(1, 100)]));
        assert_eq!(replay.fresh_as_of(), Some(at(1)));
        replay.on_sample(at(9), Lsn(100), &sampled(&[(9, 100)]));
        assert_eq!(replay.fresh_as_of(), Some(at(9)));
    }

    #[test]
    fn a_lower_position_of_the_same_run_takes_nothing_back() {
        let mut replay = Replay::default();
        let samples = sampled(&[(1, 100), (2, 200)]);
        replay.on_position(Lsn(200), at(5), &samples);
        replay.on_position(Lsn(100), at(6), &samples);
        assert_eq!(replay.fresh_as_of(), Some(at(2)));
    }

    #[test]
    fn a_replica_that_was_ahead_of_its_primary_is_of_another_history() {
        let mut replay = Replay::default();
        let samples = sampled(&[(6, 200)]);
        replay.on_position(Lsn(300), at(5), &samples);
        replay.on_sample(at(6), Lsn(200), &samples);
        assert_eq!(replay, Replay::Contradicted);
        replay.on_position(Lsn(100), at(7), &samples);
        assert_eq!(replay.fresh_as_of(), None);
    }

    #[test]
    fn a_position_reported_after_the_primary_was_asked_may_be_above_the_sample() {
        let mut replay = Replay::default();
        let samples = sampled(&[(6, 200)]);
        replay.on_position(Lsn(300), at(8), &samples);
        replay.on_sample(at(6), Lsn(200), &samples);
        assert_eq!(replay.fresh_as_of(), Some(at(6)));
    }

    #[test]
    fn lag_is_unknown_until_both_sides_are_known() {
        let mut replay = Replay::default();
        let newest = Some(Sample { asked: at(1), lsn: Lsn(500) });
        assert_eq!(replay.lag_bytes(newest), None);
        replay.on_position(Lsn(100), at(5), &Samples::new(8));
        assert_eq!(replay.lag_bytes(None), None);
        assert_eq!(replay.lag_bytes(newest), Some(400));
    }
}
