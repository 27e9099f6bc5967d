//! One node's health, and when to ask it next.
//!
//! Health is about answering, not about role or freshness. A fault of one probe makes a node suspect, which costs
//! it its turn and nothing else; only proof (nobody listens) or repeated silence takes it out.

use std::sync::Arc;
use std::time::Duration;

use wire::lsn::Lsn;

use super::observation::{ProbeFault, Report};
use super::settings::ClusterSettings;
use super::timeline::{Claim, Hearing, Witness};
use crate::freshness::lag::Replay;
use crate::time::Instant;
use crate::view::{Health, NodeId, NodeView, Role};

/// First pause before a node that is down is asked again; doubles up to `retry_max`.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// First pause of a monitor that was refused to log in; doubles up to `credentials_retry_max`.
const CREDENTIALS_RETRY_MIN: Duration = Duration::from_secs(1);

/// Whether a node answers, with what is needed to change one's mind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pulse {
    /// Not probed yet. → `Up`, `Suspect`, `Down`
    Unknown,
    /// The last probe was answered. → `Suspect`, `Down`
    Up,
    /// Something failed, not enough to give up; or answered once after being down. → `Up`, `Down`
    Suspect {
        /// Silent or reset probes in a row.
        strikes: u32,
    },
    /// Gets nothing. → `Suspect`
    Down {
        /// When it went down for this cause.
        since: Instant,
        /// Whether the process is proved gone.
        cause: Cause,
    },
}

/// Why a node is down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    /// Nobody listens at its address.
    Gone,
    /// It may be alive where we cannot hear it, or not be ready.
    Silent,
}

/// What of a node is shown in a view; compared to find out whether the view has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Belief {
    pub(crate) role: Role,
    pub(crate) health: Health,
    pub(crate) position: Option<Lsn>,
    pub(crate) lag_bytes: Option<u64>,
    pub(crate) fresh_as_of: Option<Instant>,
    pub(crate) claim: Option<Claim>,
    pub(crate) drained: bool,
    pub(crate) spared: bool,
}

/// One node as the monitor follows it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) name: Arc<str>,
    pub(crate) pulse: Pulse,
    /// What it said last.
    pub(crate) claim: Option<Claim>,
    /// Where it said it was, last.
    pub(crate) position: Option<Lsn>,
    pub(crate) replay: Replay,
    pub(crate) belief: Belief,
    /// When the newest probe was asked.
    asked: Option<Instant>,
    /// When it must be asked again, if that is not a matter of the interval.
    due: Option<Instant>,
    /// Failed probes in a row, for the pause between them.
    failures: u32,
    /// Since when it has not moved while a write was awaited on it.
    pub(crate) behind_since: Option<Instant>,
}

impl Node {
    pub(crate) fn new(id: NodeId, name: Arc<str>) -> Self {
        let belief = Belief {
            role: Role::Unknown,
            health: Health::Unknown,
            position: None,
            lag_bytes: None,
            fresh_as_of: None,
            claim: None,
            drained: false,
            spared: false,
        };
        Node {
            id,
            name,
            pulse: Pulse::Unknown,
            claim: None,
            position: None,
            replay: Replay::Unproved,
            belief,
            asked: None,
            due: None,
            failures: 0,
            behind_since: None,
        }
    }

    /// Takes in an answer. `false`: a later one is known already, and nothing was taken.
    pub(crate) fn on_report(&mut self, asked: Instant, answered: Instant, report: &Report) -> bool {
        if self.asked.is_some_and(|newest| asked < newest) {
            return false;
        }
        self.asked = Some(asked);
        self.failures = 0;
        self.due = None;
        self.pulse = match self.pulse {
            Pulse::Unknown | Pulse::Up | Pulse::Suspect { .. } => Pulse::Up,
            Pulse::Down { .. } => {
                // One good answer is not yet health: the second is asked for at once.
                self.due = Some(answered);
                Pulse::Suspect { strikes: 0 }
            }
        };
        let same_run = self.claim.filter(|claim| claim.incarnation == report.incarnation);
        if same_run.is_none() {
            self.replay = Replay::Unproved;
        }
        self.claim = Some(Claim {
            in_recovery: report.in_recovery,
            // One run of a server has one set of files.
            system: report.system_identifier.or(same_run.and_then(|claim| claim.system)),
            timeline: report.timeline,
            incarnation: report.incarnation,
            receiving: report.receiving,
        });
        self.position = Some(report.position).filter(|position| *position != Lsn::INVALID);
        true
    }

    /// Takes in that a probe has no answer.
    pub(crate) fn on_fault(&mut self, at: Instant, fault: ProbeFault, settings: &ClusterSettings) {
        self.asked = self.asked.max(Some(at));
        self.failures = self.failures.saturating_add(1);
        self.pulse = match fault {
            ProbeFault::Refused => self.pulse.down(at, Cause::Gone),
            ProbeFault::NotReady => self.pulse.down(at, Cause::Silent),
            ProbeFault::Reset | ProbeFault::TimedOut => self.pulse.struck(at, settings.strikes),
            ProbeFault::Credentials | ProbeFault::Other => match self.pulse {
                Pulse::Unknown | Pulse::Up => Pulse::Suspect { strikes: 0 },
                Pulse::Suspect { .. } | Pulse::Down { .. } => self.pulse,
            },
        };
        let pause = match (fault, self.pulse) {
            (ProbeFault::Credentials | ProbeFault::Other, _) => {
                backoff(CREDENTIALS_RETRY_MIN, settings.credentials_retry_max, self.failures)
            }
            (_, Pulse::Down { .. }) => backoff(RETRY_MIN, settings.retry_max, self.failures),
            // The second strike follows at once: doubt must be short.
            (_, Pulse::Unknown | Pulse::Up | Pulse::Suspect { .. }) => Duration::ZERO,
        };
        self.due = Some(at + pause);
    }

    /// Live traffic says: look at once.
    pub(crate) fn on_noticed(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// When it should be asked next, if nothing fixed says otherwise every `interval`.
    pub(crate) fn next_probe(&self, interval: Duration) -> Instant {
        match (self.due, self.asked) {
            (Some(due), _) => due,
            (None, Some(asked)) => asked + interval,
            (None, None) => Instant::START,
        }
    }

    /// Whether a write has been awaited on it for longer than hurrying lasts.
    pub(crate) fn is_stalled(&self, hurry_max: Duration) -> bool {
        self.behind_since.zip(self.asked).is_some_and(|(since, asked)| asked.since(since) > hurry_max)
    }

    pub(crate) fn health(&self) -> Health {
        match self.pulse {
            Pulse::Unknown => Health::Unknown,
            Pulse::Up => Health::Up,
            Pulse::Suspect { .. } => Health::Suspect,
            Pulse::Down { .. } => Health::Down,
        }
    }

    /// Whether it is the accepted primary and may be given work.
    pub(crate) fn is_serving_primary(&self) -> bool {
        self.belief.role == Role::Primary && matches!(self.belief.health, Health::Up | Health::Suspect)
    }

    pub(crate) fn witness(&self, now: Instant, takeover_after: Duration) -> Witness {
        let hearing = match self.pulse {
            Pulse::Unknown => Hearing::NeverAsked,
            Pulse::Up | Pulse::Suspect { .. } => Hearing::Answers,
            Pulse::Down { cause: Cause::Gone, .. } => Hearing::Gone,
            Pulse::Down { cause: Cause::Silent, since } if now.since(since) >= takeover_after => {
                Hearing::SilentTooLong
            }
            Pulse::Down { cause: Cause::Silent, .. } => Hearing::Silent,
        };
        Witness { node: self.id, hearing, claim: self.claim }
    }

    /// It is not a node of the cluster any more, and will not be asked again. What it said last does not hold from here
    /// on: it counts as silent, or as gone when that is known.
    pub(crate) fn leave(&mut self, at: Instant) {
        let follows = self.claim.is_none_or(|claim| claim.in_recovery);
        let cause = if follows { Cause::Gone } else { Cause::Silent };
        self.pulse = match self.pulse {
            Pulse::Down { since, cause: Cause::Gone } => Pulse::Down { since, cause: Cause::Gone },
            pulse @ (Pulse::Unknown | Pulse::Up | Pulse::Suspect { .. } | Pulse::Down { .. }) => {
                pulse.down(at, cause)
            }
        };
    }

    pub(crate) fn view(&self) -> NodeView {
        let Belief { role, health, position, lag_bytes, fresh_as_of, claim, drained, spared } = self.belief;
        NodeView {
            id: self.id,
            name: Arc::clone(&self.name),
            role,
            health,
            incarnation: claim.map(|claim| claim.incarnation),
            timeline: claim.and_then(|claim| claim.timeline),
            position,
            lag_bytes,
            fresh_as_of,
            drained,
            spared,
        }
    }
}

impl Pulse {
    fn down(self, at: Instant, cause: Cause) -> Pulse {
        match self {
            Pulse::Down { since, cause: before } if before == cause => Pulse::Down { since, cause },
            Pulse::Unknown | Pulse::Up | Pulse::Suspect { .. } | Pulse::Down { .. } => {
                Pulse::Down { since: at, cause }
            }
        }
    }

    fn struck(self, at: Instant, strikes_max: u32) -> Pulse {
        let strikes = match self {
            Pulse::Unknown | Pulse::Up => 1,
            Pulse::Suspect { strikes } => strikes + 1,
            Pulse::Down { .. } => return self.down(at, Cause::Silent),
        };
        if strikes >= strikes_max { self.down(at, Cause::Silent) } else { Pulse::Suspect { strikes } }
    }
}

/// The pause after so many failures in a row: doubles from `first` to `longest`.
fn backoff(first: Duration, longest: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    first.saturating_mul(1 << doublings).min(longest)
}
