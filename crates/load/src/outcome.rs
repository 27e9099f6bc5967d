//! What is known of a load test: how many transactions, how long they took, what failed, where reads ran, second by
//! second.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::histogram::Histogram;
use crate::pace::Seen;

/// Kinds of message kept as examples, and characters of each.
const EXAMPLES_MAX: usize = 20;
const EXAMPLE_CHARS_MAX: usize = 200;

/// Recorded in place of a SQLSTATE: the connection was lost.
pub const LOST: &str = "connection lost";
/// Recorded in place of a SQLSTATE: no connection could be made.
pub const UNREACHABLE: &str = "no connection";
/// Recorded in place of a SQLSTATE: no answer came before the run was given up.
pub const UNANSWERED: &str = "no answer";

/// The outcome of a stint, or of several together.
#[derive(Clone, Default, Debug)]
pub struct Outcome {
    /// How long arrivals came, or connections asked.
    pub elapsed: Duration,
    /// Statements answered without an error.
    pub statements: u64,
    /// How long transactions took that ended well: from their arrival, in an open loop, or from their first
    /// statement's write, to the last answer. In an open loop, those that were never served have their wait.
    pub latency: Histogram,
    /// By transaction, in the order of the script.
    pub kinds: Vec<Kind>,
    /// What went wrong.
    pub faults: Faults,
    /// Where reads ran, as far as a router tells.
    pub routes: Routes,
    /// The course of time, in steps of equal length.
    pub series: Vec<Step>,
    /// The queue of an open loop.
    pub queue: Option<Seen>,
    /// The step that is not over yet.
    open: Open,
}

/// The transactions of one name.
#[derive(Clone, Default, Debug)]
pub struct Kind {
    /// How many ended well.
    pub done: u64,
    /// How many did not.
    pub failed: u64,
    /// How long the good ones took.
    pub latency: Histogram,
}

/// What went wrong.
#[derive(Clone, Default, Debug)]
pub struct Faults {
    /// By SQLSTATE, or one of [`LOST`], [`UNREACHABLE`], [`UNANSWERED`].
    pub errors: BTreeMap<String, u64>,
    /// The first message of each.
    pub examples: BTreeMap<String, String>,
    /// Answers that were not those to their questions.
    pub mixed_up: u64,
    /// The first of them in words.
    pub first_mix_up: Option<String>,
}

/// Where reads ran: asked of the router after some of them.
#[derive(Clone, Default, Debug)]
pub struct Routes {
    /// How many reads it was asked about.
    pub sampled: u64,
    /// By role and node.
    pub nodes: BTreeMap<(String, String), u64>,
    /// By the router's reason.
    pub reasons: BTreeMap<String, u64>,
}

/// A step of the course of time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Step {
    /// When it began, since the beginning of the stint.
    pub at: Duration,
    /// Its length; the last one is shorter.
    pub length: Duration,
    /// Transactions that ended well in it.
    pub done: u64,
    /// Errors in it.
    pub errors: u64,
    /// The 95th percentile of their latencies; none when there were none.
    pub p95: Option<Duration>,
}

/// The step under way.
#[derive(Clone, Default, Debug)]
struct Open {
    at: Duration,
    errors: u64,
    latency: Histogram,
}

impl Outcome {
    /// Nothing yet, of so many kinds of transaction.
    #[must_use]
    pub fn new(kinds: usize) -> Outcome {
        Outcome { kinds: vec![Kind::default(); kinds], ..Outcome::default() }
    }

    /// Transactions that ended well.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.done).sum()
    }

    /// Transactions that did not.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.failed).sum()
    }

    /// Transactions a second.
    #[must_use]
    pub fn transaction_rate(&self) -> f64 {
        per_second(self.transactions(), self.elapsed)
    }

    /// Statements a second.
    #[must_use]
    pub fn statement_rate(&self) -> f64 {
        per_second(self.statements, self.elapsed)
    }

    /// Adds what was measured at another time; the course of time goes on where it ended.
    pub fn add(&mut self, other: &Outcome) {
        let shift = self.elapsed;
        self.series.extend(other.series.iter().map(|step| Step { at: step.at + shift, ..*step }));
        self.elapsed += other.elapsed;
        self.statements += other.statements;
        self.latency.add(&other.latency);
        self.kinds.resize(self.kinds.len().max(other.kinds.len()), Kind::default());
        for (mine, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            mine.done += theirs.done;
            mine.failed += theirs.failed;
            mine.latency.add(&theirs.latency);
        }
        self.faults.add(&other.faults);
        self.routes.add(&other.routes);
        if let Some(theirs) = other.queue {
            let mine = self.queue.get_or_insert_default();
            mine.arrived += theirs.arrived;
            mine.turned_away += theirs.turned_away;
            mine.unserved += theirs.unserved;
            mine.longest = mine.longest.max(theirs.longest);
        }
    }

    /// A transaction has ended well.
    pub(crate) fn done(&mut self, kind: usize, took: Duration) {
        self.kinds[kind].done += 1;
        self.kinds[kind].latency.record(took);
        self.latency.record(took);
        self.open.latency.record(took);
    }

    /// A transaction has failed.
    pub(crate) fn failed_one(&mut self, kind: usize) {
        self.kinds[kind].failed += 1;
    }

    /// Somebody has waited this long, and was not served.
    pub(crate) fn waited(&mut self, wait: Duration) {
        self.latency.record(wait);
    }

    pub(crate) fn error(&mut self, code: &str, message: &str) {
        self.open.errors += 1;
        self.faults.error(code, message);
    }

    /// The stint is this old: steps of this length that are over are written down.
    pub(crate) fn on_time(&mut self, at: Duration, length: Duration) {
        while at >= self.open.at + length {
            self.close_step(length);
        }
    }

    /// The stint is over.
    pub(crate) fn finish(&mut self, elapsed: Duration, length: Duration) {
        self.on_time(elapsed, length);
        let rest = elapsed.saturating_sub(self.open.at);
        // What is left of a step says little when it is short.
        if rest * 2 >= length || self.series.is_empty() {
            self.close_step(rest);
        }
        self.elapsed = elapsed;
    }

    fn close_step(&mut self, length: Duration) {
        let open = std::mem::take(&mut self.open);
        let done = open.latency.count();
        let p95 = (done > 0).then(|| open.latency.quantile(0.95));
        self.series.push(Step { at: open.at, length, done, errors: open.errors, p95 });
        self.open.at = open.at + length;
    }
}

impl Faults {
    /// All errors together.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.errors.values().sum()
    }

    fn error(&mut self, code: &str, message: &str) {
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
            return;
        }
        self.errors.insert(code.to_owned(), 1);
        self.example(code, message);
    }

    fn example(&mut self, code: &str, message: &str) {
        if self.examples.len() < EXAMPLES_MAX && !message.is_empty() {
            let short = message.chars().take(EXAMPLE_CHARS_MAX).collect();
            self.examples.entry(code.to_owned()).or_insert(short);
        }
    }

    pub(crate) fn mix_up(&mut self, describe: impl FnOnce() -> String) {
        self.mixed_up += 1;
        self.first_mix_up.get_or_insert_with(describe);
    }

    fn add(&mut self, other: &Faults) {
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
        other.examples.iter().for_each(|(code, message)| self.example(code, message));
        self.mixed_up += other.mixed_up;
        if self.first_mix_up.is_none() {
            self.first_mix_up.clone_from(&other.first_mix_up);
        }
    }
}

impl Routes {
    /// The share of the reads asked about that ran on a replica; none when none was asked about.
    #[must_use]
    pub fn deflected(&self) -> Option<f64> {
        let on_replicas: u64 =
            self.nodes.iter().filter(|((role, _), _)| role == "replica").map(|(_, count)| count).sum();
        (self.sampled > 0).then(|| on_replicas as f64 / self.sampled as f64)
    }

    pub(crate) fn sample(&mut self, node: String, role: String, reason: String) {
        self.sampled += 1;
        *self.nodes.entry((role, node)).or_default() += 1;
        *self.reasons.entry(reason).or_default() += 1;
    }

    fn add(&mut self, other: &Routes) {
        self.sampled += other.sampled;
        for (place, count) in &other.nodes {
            *self.nodes.entry(place.clone()).or_default() += count;
        }
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
    }
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_course_of_time_has_no_gaps_and_a_short_rest_is_left_out() {
        let mut outcome = Outcome::new(1);
        outcome.done(0, ms(5));
        outcome.on_time(ms(2500), SECOND);
        outcome.error("22012", "division by zero");
        outcome.finish(ms(3200), SECOND);
        let seen: Vec<_> = outcome.series.iter().map(|s| (s.at.as_millis(), s.done, s.errors)).collect();
        assert_eq!(seen, [(0, 1, 0), (1000, 0, 0), (2000, 0, 1)]);
        assert_eq!(outcome.series[1].p95, None);
        assert_eq!(outcome.transaction_rate(), 1.0 / 3.2);
    }

    #[test]
    fn rounds_together_are_one_course_and_one_sum() {
        let mut round = Outcome::new(2);
        round.done(1, ms(5));
        round.failed_one(0);
        round.error("22012", "division by zero");
        round.routes.sample("replica-1".to_owned(), "replica".to_owned(), "fresh_replica".to_owned());
        round.finish(SECOND, SECOND);
        let mut all = Outcome::default();
        all.add(&round);
        all.add(&round);
        assert_eq!((all.transactions(), all.failed(), all.faults.count()), (2, 2, 2));
        assert_eq!(all.series.iter().map(|step| step.at).collect::<Vec<_>>(), [ms(0), SECOND]);
        assert_eq!(all.faults.examples.get("22012").map(String::as_str), Some("division by zero"));
        assert_eq!((all.routes.deflected(), Routes::default().deflected()), (Some(1.0), None));
        for node in ["primary", "primary", "primary", "replica-1", "replica-2", "primary"] {
            let role = node.split('-').next().unwrap_or_default();
            all.routes.sample(node.to_owned(), role.to_owned(), "balance".to_owned());
        }
        assert_eq!(all.routes.deflected(), Some(0.5), "4 of 8 ran on replicas");
    }
}
