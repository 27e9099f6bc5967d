//! Tells on standard error what is being done, with the time since the start.

use daemon::clock::Clock;
use engine::time::Instant;

use crate::output;

/// Since when, and by which clock.
#[derive(Debug)]
pub(crate) struct Progress {
    clock: Clock,
    start: Instant,
    voice: Voice,
}

/// Whether anything is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Voice {
    Loud,
    Silent,
}

impl Progress {
    /// Begins to count.
    pub(crate) fn begin() -> Progress {
        let clock = Clock::new();
        Progress { clock, start: clock.now(), voice: Voice::Loud }
    }

    /// Begins to count, and says nothing.
    pub(crate) fn silent() -> Progress {
        Progress { voice: Voice::Silent, ..Progress::begin() }
    }

    /// One line: this is being done now.
    pub(crate) fn step(&self, what: &str) {
        if self.voice == Voice::Loud {
            output::note(format!("{:>5.1} s  {what}", self.seconds()));
        }
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.clock.now().since(self.start).as_secs_f64()
    }
}
