//! Tells on standard error how far the run is: a bar with live figures on a terminal, a line for each turn elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use load::clock::now;
use load::outcome::Outcome;

use super::report::text;
use crate::output;

/// Characters of the bar.
const BAR: usize = 24;
/// ANSI: to the beginning of the line, and clear it.
const CLEAR: &str = "\r\x1b[K";
/// Over how long the live rate is taken.
const RATE_OVER: Duration = Duration::from_millis(900);

/// How much is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Bar,
    Lines,
    Quiet,
}

/// What a target is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Warming,
    /// Which round of how many.
    Measuring(u32, u32),
}

/// Told how far the run is.
pub(crate) struct Progress {
    mode: Mode,
    start: Instant,
    whole: Duration,
    /// Where the live rate is counted from: when, how many transactions were done, and the rate before.
    mark: (Duration, u64, f64),
}

impl Progress {
    /// Of a run that takes this long.
    pub(crate) fn begin(quiet: bool, whole: Duration) -> Progress {
        let mode = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Mode::Quiet,
            (false, true) => Mode::Bar,
            (false, false) => Mode::Lines,
        };
        Progress { mode, start: now(), whole, mark: (Duration::ZERO, 0, 0.0) }
    }

    /// How a target's turn stands.
    pub(crate) fn show(&mut self, stage: Stage, name: &str, outcome: &Outcome, at: Duration) {
        if self.mode != Mode::Bar {
            return;
        }
        let done = outcome.transactions();
        if at < self.mark.0 || done < self.mark.1 {
            self.mark = (Duration::ZERO, 0, 0.0);
        }
        let over = at - self.mark.0;
        if over >= RATE_OVER || self.mark.2 == 0.0 {
            let rate = (done - self.mark.1) as f64 / over.as_secs_f64().max(1e-3);
            self.mark = (at, done, rate);
        }
        let line = live(self.start.elapsed(), self.whole, stage, name, outcome, self.mark.2);
        let mut out = std::io::stderr().lock();
        // Nobody is left to be told when the terminal has gone.
        let _ = write!(out, "{CLEAR}{line}").and_then(|()| out.flush());
    }

    /// A target's turn is over.
    pub(crate) fn turn(&mut self, name: &str, round: u32, rounds: u32, outcome: &Outcome) {
        if self.mode == Mode::Lines {
            output::note(format!(
                "round {round}/{rounds}  {name}: {} tx/s, p95 {}, {} errors",
                text::rate(outcome.transaction_rate()),
                text::time(outcome.latency.quantile(0.95)),
                outcome.faults.count()
            ));
        }
    }

    /// The run is over.
    pub(crate) fn end(&mut self) {
        if self.mode == Mode::Bar {
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "{CLEAR}").and_then(|()| out.flush());
        }
    }
}

fn live(
    elapsed: Duration,
    whole: Duration,
    stage: Stage,
    name: &str,
    outcome: &Outcome,
    rate: f64,
) -> String {
    let part = (elapsed.as_secs_f64() / whole.as_secs_f64().max(1e-3)).min(1.0);
    let full = (part * BAR as f64) as usize;
    let what = match stage {
        Stage::Warming => "warm-up".to_owned(),
        Stage::Measuring(round, rounds) => format!("round {round}/{rounds}"),
    };
    format!(
        "[{}{}] {name}  {what}  {} tx/s  p95 {}  errors {}  {} s left",
        "#".repeat(full),
        "-".repeat(BAR - full),
        text::rate(rate),
        text::time(outcome.latency.quantile(0.95)),
        outcome.faults.count(),
        whole.saturating_sub(elapsed).as_secs_f64().ceil()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let second = Duration::from_secs(1);
        let line = live(5 * second, 20 * second, Stage::Measuring(1, 3), "router", &Outcome::new(1), 1234.6);
        let expected = "[######------------------] router  round 1/3  1,235 tx/s  p95 -  errors 0  15 s left";
        assert_eq!(line, expected);
        assert!(
            live(30 * second, 20 * second, Stage::Warming, "r", &Outcome::new(1), 0.0).contains("0 s left")
        );
    }
}
