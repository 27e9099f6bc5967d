//! When to ask, if not as fast as answers come: a fixed rate of arrivals, and the queue of those that find no free
//! connection.
//!
//! A user does not wait for the answer to somebody else's question before asking. So an arrival has its time whether or
//! not the server keeps up, and its latency counts from there: a server that stalls is charged for everybody who came
//! meanwhile (what closed loops leave out is known as coordinated omission). All times are since the beginning of the
//! run and handed in.

use std::collections::VecDeque;
use std::time::Duration;

use crate::random::Random;

/// How arrivals are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrivals {
    /// Independently of each other, as many users do: sometimes several at once.
    Poisson,
    /// Evenly.
    Uniform,
}

/// The times of arrivals.
#[derive(Clone, Debug)]
struct Schedule {
    arrivals: Arrivals,
    /// Arrivals a second.
    rate: f64,
    random: Random,
    next: Duration,
    /// How many came before `next`.
    count: u64,
}

impl Schedule {
    fn new(arrivals: Arrivals, rate: f64, mut random: Random) -> Schedule {
        let next = match arrivals {
            Arrivals::Poisson => random.exponential(Duration::from_secs_f64(1.0 / rate)),
            Arrivals::Uniform => Duration::ZERO,
        };
        Schedule { arrivals, rate, random, next, count: 0 }
    }

    fn advance(&mut self) {
        self.count += 1;
        self.next = match self.arrivals {
            Arrivals::Poisson => {
                self.next + self.random.exponential(Duration::from_secs_f64(1.0 / self.rate))
            }
            // Not a sum of rounded gaps: that would drift.
            Arrivals::Uniform => Duration::from_secs_f64(self.count as f64 / self.rate),
        };
    }
}

/// Arrivals, and those of them that wait for a connection.
#[derive(Clone, Debug)]
pub struct Queue {
    schedule: Schedule,
    /// No arrival at or after this.
    end: Duration,
    waiting: VecDeque<Duration>,
    limit: usize,
    /// What happened.
    pub seen: Seen,
}

/// What happened in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// How many arrived.
    pub arrived: u64,
    /// How many of them found the queue full and were sent away: they have no latency.
    pub turned_away: u64,
    /// How many still waited at the end: their wait until then counts as their latency.
    pub unserved: u64,
    /// The longest the queue ever was.
    pub longest: usize,
}

impl Queue {
    /// Arrivals at this rate (a second, above 0) from 0 to `end`; at most `limit` of them wait.
    #[must_use]
    pub fn new(arrivals: Arrivals, rate: f64, end: Duration, limit: usize, random: Random) -> Queue {
        let schedule = Schedule::new(arrivals, rate, random);
        Queue { schedule, end, waiting: VecDeque::new(), limit, seen: Seen::default() }
    }

    /// It is this late: who has arrived meanwhile stands in the queue.
    pub fn on_time(&mut self, at: Duration) {
        while self.schedule.next <= at && self.schedule.next < self.end {
            self.seen.arrived += 1;
            if self.waiting.len() < self.limit {
                self.waiting.push_back(self.schedule.next);
            } else {
                self.seen.turned_away += 1;
            }
            self.schedule.advance();
        }
        self.seen.longest = self.seen.longest.max(self.waiting.len());
    }

    /// A connection is free: whose turn is it, and when did they arrive?
    pub fn take(&mut self) -> Option<Duration> {
        self.waiting.pop_front()
    }

    /// When somebody arrives next, if ever.
    #[must_use]
    pub fn next_arrival(&self) -> Option<Duration> {
        (self.schedule.next < self.end).then_some(self.schedule.next)
    }

    /// The run is over: the arrivals of those who are still waiting.
    pub fn close(&mut self) -> impl Iterator<Item = Duration> + '_ {
        self.end = Duration::ZERO;
        self.seen.unserved += self.waiting.len() as u64;
        self.waiting.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;

    const SECOND: Duration = Duration::from_secs(1);

    fn queue(arrivals: Arrivals, rate: f64, seconds: u32, limit: usize) -> Queue {
        Queue::new(arrivals, rate, SECOND * seconds, limit, Random::new(3, 0))
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn uniform_arrivals_come_at_equal_distances_without_drift() {
        let mut queue = queue(Arrivals::Uniform, 300.0, 100, usize::MAX);
        queue.on_time(SECOND * 99);
        assert_eq!(queue.seen.arrived, 99 * 300 + 1);
        assert_eq!(queue.take(), Some(Duration::ZERO));
        assert_eq!(queue.take().map(|at| at.as_micros()), Some(3333));
        queue.on_time(SECOND * 200);
        assert_eq!((queue.seen.arrived, queue.next_arrival()), (30_000, None));
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_bunching_of_independent_users_and_repeat_with_the_seed() {
        let times = |_| {
            let mut queue = queue(Arrivals::Poisson, 1000.0, 20, usize::MAX);
            queue.on_time(SECOND * 20);
            std::iter::from_fn(move || queue.take()).collect::<Vec<_>>()
        };
        let (one, two) = (times(0), times(1));
        assert_eq!(one, two);
        assert!((19_000..21_000).contains(&one.len()), "{}", one.len());
        // Of independent arrivals, 1 - 1/e come within the mean distance of the one before.
        let close = one.windows(2).filter(|pair| pair[1] - pair[0] < ms(1)).count() as f64;
        assert!((0.61..0.65).contains(&(close / one.len() as f64)), "{close}");
    }

    #[test]
    fn a_stalled_server_is_charged_for_everybody_who_came_meanwhile() {
        // One connection, 100 arrivals a second, 1 ms an answer; for one second in the middle nothing is answered.
        let mut queue = queue(Arrivals::Uniform, 100.0, 3, usize::MAX);
        let (mut latency, mut free_at) = (Histogram::default(), Duration::ZERO);
        for now in 0..4000 {
            let now = ms(now);
            queue.on_time(now);
            if now < free_at {
                continue;
            }
            let Some(due) = queue.take() else { continue };
            free_at = if now == ms(1000) { now + SECOND } else { now + ms(1) };
            latency.record(free_at - due);
        }
        assert_eq!((latency.count(), queue.seen.unserved), (300, 0));
        // A closed loop would have seen one slow answer in 300. A third of the users have seen it: 100 came meanwhile.
        let slow = latency.quantile(0.70).as_millis();
        assert!(slow > 90, "{slow} ms");
        assert!(latency.quantile(0.5) < ms(3));
        assert!(latency.quantile(0.99) > ms(950));
    }

    #[test]
    fn a_full_queue_sends_away_and_says_how_many() {
        let mut queue = queue(Arrivals::Uniform, 100.0, 1, 10);
        queue.on_time(SECOND);
        assert_eq!(queue.seen, Seen { arrived: 100, turned_away: 90, unserved: 0, longest: 10 });
        assert_eq!(queue.close().count(), 10);
        assert_eq!(queue.seen.unserved, 10);
    }
}
