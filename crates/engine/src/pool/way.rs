//! Whether connecting makes sense: after a failure it is paused, ever longer, then tried once.

use std::time::Duration;

use super::Fault;
use crate::time::Instant;

/// Most connects under way at a time, in one pool.
const CONNECTING_MAX: u32 = 4;
/// First pause after a failed connect; doubles up to `connect_retry`.
const CONNECT_RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest pause after 57P03: a node that is starting up is ready any moment.
const NOT_READY_RETRY_MAX: Duration = Duration::from_secs(1);

/// Whether connecting makes sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// As far as known. → `Blocked`
    Open,
    /// The last connect failed: no further one until then. → `Trying`, `Open`
    Blocked { until: Instant, pause: Duration },
    /// One connect at a time, until one succeeds. → `Open`, `Blocked`
    Trying { pause: Duration },
}

impl Way {
    /// How many connects may be under way.
    pub(super) fn connecting_max(self) -> u32 {
        match self {
            Way::Open => CONNECTING_MAX,
            Way::Trying { .. } => 1,
            Way::Blocked { .. } => 0,
        }
    }

    /// After a failed connect: a pause, twice as long as last time, at most `retry`. Connects that were under way together
    /// fail once.
    pub(super) fn block(&mut self, fault: Fault, now: Instant, retry: Duration) {
        let longest = match fault {
            Fault::NotReady => retry.min(NOT_READY_RETRY_MAX),
            Fault::Node | Fault::Full | Fault::Credentials => retry,
        };
        let pause = match *self {
            Way::Open => CONNECT_RETRY_MIN,
            Way::Trying { pause } => pause.saturating_mul(2),
            Way::Blocked { .. } => return,
        };
        let pause = pause.min(longest).max(Duration::from_millis(1));
        *self = Way::Blocked { until: now + pause, pause };
    }

    /// Ends a pause. `true`: there was one.
    pub(super) fn unblock(&mut self) -> bool {
        let Way::Blocked { pause, .. } = *self else { return false };
        *self = Way::Trying { pause };
        true
    }
}
