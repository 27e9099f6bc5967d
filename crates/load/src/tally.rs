//! What is known after a run: how many, how long, and what went wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::histogram::Histogram;

/// The outcome of a run.
#[derive(Clone, Default)]
pub struct Tally {
    /// Statements answered, errors included.
    pub answered: u64,
    /// From the first question to the last answer.
    pub elapsed: Duration,
    /// How long each answer took, from its question's write to its ReadyForQuery.
    pub latency: Histogram,
    /// Errors by SQLSTATE.
    pub errors: BTreeMap<String, u64>,
    /// Answers that were not those to their questions. Anything but 0 makes the run void.
    pub mixed_up: u64,
    /// The first mix-up in words.
    pub first_mix_up: Option<String>,
    /// Bytes received.
    pub bytes_in: u64,
}

impl Tally {
    /// Statements per second.
    pub fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.answered as f64 / seconds } else { 0.0 }
    }

    /// All errors together.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Why the run proves nothing, if so: an answer that belongs to another question, or errors.
    pub fn void(&self) -> Option<String> {
        if self.mixed_up > 0 {
            let first = self.first_mix_up.as_deref().unwrap_or("no example was kept");
            return Some(format!("{} answers MIXED UP, the first: {first}", self.mixed_up));
        }
        let codes: Vec<String> =
            self.errors.iter().map(|(code, count)| format!("{count} times {code}")).collect();
        (!codes.is_empty()).then(|| format!("errors: {}", codes.join(", ")))
    }

    /// Adds what another thread has measured in the same time.
    pub fn add(&mut self, other: &Tally) {
        self.answered += other.answered;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.latency.add(&other.latency);
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
        self.mixed_up += other.mixed_up;
        if self.first_mix_up.is_none() {
            self.first_mix_up.clone_from(&other.first_mix_up);
        }
        self.bytes_in += other.bytes_in;
    }

    pub(crate) fn error(&mut self, sqlstate: &str) {
        *self.errors.entry(sqlstate.to_owned()).or_default() += 1;
    }

    pub(crate) fn mix_up(&mut self, describe: impl FnOnce() -> String) {
        self.mixed_up += 1;
        self.first_mix_up.get_or_insert_with(describe);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_errors_or_mix_ups_is_void_and_says_why() {
        let mut tally = Tally::default();
        assert_eq!(tally.void(), None);
        tally.error("26000");
        tally.error("26000");
        assert_eq!(tally.void().as_deref(), Some("errors: 2 times 26000"));
        tally.mix_up(|| "asked for 1, was told 2".to_owned());
        assert!(tally.void().is_some_and(|why| why.contains("MIXED UP") && why.contains("was told 2")));
    }

    #[test]
    fn what_two_threads_counted_is_counted_together() {
        let second = Duration::from_secs(1);
        let mut both = Tally { answered: 3, elapsed: second, ..Tally::default() };
        let mut other = Tally { answered: 4, elapsed: second, ..Tally::default() };
        other.error("57014");
        both.add(&other);
        assert_eq!((both.answered, both.error_count(), both.rate()), (7, 1, 7.0));
    }
}
