//! Chance from a seed: the same seed gives the same numbers, so that every target is asked the same questions.
//!
//! Good enough to choose keys and arrivals with; not for secrets.

use std::time::Duration;

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// One of the many streams of a seed.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Random {
        // The mixing step of splitmix64, so that neighbouring seeds and streams have nothing in common; 0 would stay 0.
        let mut mixed = seed ^ stream.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Random((mixed ^ (mixed >> 31)).max(1))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        // xorshift64*.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `max`, evenly; 0 if there is none.
    pub fn below(&mut self, max: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(max)) >> 64) as u64
    }

    /// From 0 to 1, never 0 itself.
    pub fn unit(&mut self) -> f64 {
        ((self.number() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// The time until the next of events that come independently of each other, one every `mean` on average.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-self.unit().ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_streams_differ() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            (0..8).map(|_| random.number()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 3), draw(7, 3));
        assert_ne!(draw(7, 3), draw(7, 4));
        assert_ne!(draw(7, 3), draw(8, 3));
    }

    #[test]
    fn numbers_are_spread_evenly_below_their_limit() {
        let mut random = Random::new(1, 0);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[random.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn waiting_times_have_the_mean_that_was_asked_for() {
        let mut random = Random::new(1, 0);
        let mean = Duration::from_millis(10);
        let sum: Duration = (0..10_000).map(|_| random.exponential(mean)).sum();
        let measured = sum / 10_000;
        assert!((9.5..10.5).contains(&(measured.as_secs_f64() * 1e3)), "{measured:?}");
    }
}
